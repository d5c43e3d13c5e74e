//! The one table of each TLS registry: number, name, attributes.
//!
//! Numbers of the wire are newtypes over the integer, so a value that nobody knows survives as its number; names are
//! looked up here and nowhere else. The rows stand in `data/*.tsv` and become static tables at build time, as do the
//! associated constants (`ExtensionType::SERVER_NAME`). Nothing here judges: what is weak or wrong is said by the
//! findings. Registries: RFC 8446 section 11, RFC 9147, RFC 8701 (GREASE), RFC 9113 Appendix A.

mod alerts;
mod attributes;
mod extensions;
mod groups;
mod messages;
mod schannel;
mod signatures;
mod suites;
mod tables;
mod versions;

use core::fmt;

pub use alerts::{AlertDescription, AlertEntry, AlertLevel};
pub use attributes::{Authentication, CipherMode, KeyExchange, Mac, PrfHash};
pub use extensions::{ExtensionEntry, ExtensionType};
pub use groups::{GroupEntry, GroupKind, NamedGroup};
pub use messages::{ContentType, HandshakeType};
pub use schannel::{OBSERVED_VARIANTS, RELEASES, WindowsRelease};
pub use signatures::{SignatureEntry, SignatureScheme};
pub use suites::{CipherSuite, SUITES, SuiteEntry};
pub use versions::{Version, VersionEntry, VersionRank};

/// Name given to each of the 16 reserved values of RFC 8701.
const GREASE: &str = "GREASE";

/// Whether `code` is one of the 16 values that RFC 8701 reserves in suites, groups, extensions, versions and
/// signature schemes: two equal bytes whose low half is A.
#[must_use]
pub const fn is_grease(code: u16) -> bool {
    code & 0x0F0F == 0x0A0A && code >> 8 == code & 0x00FF
}

/// The row of a table in ascending order of `key`.
fn find<T, K: Ord>(table: &'static [T], code: K, key: impl Fn(&T) -> K) -> Option<&'static T> {
    let index = table.binary_search_by_key(&code, key).ok()?;
    table.get(index)
}

/// The name of a row, or the one that all GREASE values share.
fn name_or_grease(code: u16, name: Option<&'static str>) -> Option<&'static str> {
    name.or_else(|| is_grease(code).then_some(GREASE))
}

/// Writes the name, or a 16-bit number such as `0x13ff` when there is none.
fn write_u16(f: &mut fmt::Formatter<'_>, name: Option<&str>, code: u16) -> fmt::Result {
    match name {
        Some(name) => f.pad(name),
        None => write!(f, "{code:#06x}"),
    }
}

/// Writes the name, or an 8-bit number in decimal when there is none.
fn write_u8(f: &mut fmt::Formatter<'_>, name: Option<&str>, code: u8) -> fmt::Result {
    match name {
        Some(name) => f.pad(name),
        None => write!(f, "{code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_is_exactly_sixteen_values() {
        let values: Vec<u16> = (0..=u16::MAX).filter(|code| is_grease(*code)).collect();
        let expected: Vec<u16> = (0..16_u16).map(|high| high * 0x1010 + 0x0A0A).collect();
        assert_eq!(values, expected);
        assert!(!is_grease(0x0A1A));
    }

    #[test]
    fn grease_has_a_name_but_no_row() {
        for code in (0..=u16::MAX).filter(|code| is_grease(*code)) {
            assert_eq!(CipherSuite(code).name(), Some(GREASE));
            assert_eq!(NamedGroup(code).name(), Some(GREASE));
            assert_eq!(SignatureScheme(code).name(), Some(GREASE));
            assert_eq!(ExtensionType(code).name(), Some(GREASE));
            assert_eq!(Version(code).name(), Some(GREASE));
            assert!(CipherSuite(code).entry().is_none() && NamedGroup(code).entry().is_none());
            assert!(
                ExtensionType(code).entry().is_none() && SignatureScheme(code).entry().is_none()
            );
            assert!(Version(code).rank().is_none());
        }
    }

    #[test]
    fn unknown_numbers_are_shown_as_numbers() {
        assert_eq!(CipherSuite(0x13FF).to_string(), "0x13ff");
        assert_eq!(
            CipherSuite(0xC02F).to_string(),
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        );
        assert_eq!(Version(0x0305).to_string(), "0x0305");
        assert_eq!(AlertDescription(200).to_string(), "200");
        assert_eq!(format!("{:>9}", HandshakeType(20)), " finished");
    }
}
