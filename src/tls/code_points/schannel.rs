//! Cipher suites that Schannel enables by default, per Windows release.
//!
//! A hello or a server's choices are held against these orders; how well they match, and what follows from it, is
//! judged elsewhere. Releases share lists, so a match names a generation and not a build. Microsoft win32
//! documentation, "TLS cipher suites in Windows".

use super::tables;

/// The documented default of each release, oldest first.
pub static RELEASES: &[WindowsRelease] = tables::RELEASES;

/// Other orders that Schannel clients were seen to offer; no document explains them.
pub static OBSERVED_VARIANTS: &[WindowsRelease] = tables::OBSERVED;

/// A list of suites that Schannel offers or prefers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct WindowsRelease {
    /// Release, such as "10 1607 / Server 2016", or what the variant is.
    pub name: &'static str,
    /// Numbers of the suites in order of preference.
    pub suites: &'static [u16],
    /// Second part of the JA4 fingerprint of the whole list.
    pub ja4_b: Option<&'static str>,
    /// The same without the two RC4 suites, as with `SCH_USE_STRONG_CRYPTO`.
    pub ja4_b_no_rc4: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::super::CipherSuite;
    use super::*;

    fn named(name: &str) -> Option<&'static WindowsRelease> {
        RELEASES.iter().find(|release| release.name == name)
    }

    #[test]
    fn lists_are_complete_and_without_repetition() {
        assert_eq!((RELEASES.len(), OBSERVED_VARIANTS.len()), (18, 5));
        for release in RELEASES.iter().chain(OBSERVED_VARIANTS) {
            let mut codes = release.suites.to_vec();
            codes.sort_unstable();
            codes.dedup();
            assert_eq!(codes.len(), release.suites.len(), "{}", release.name);
            assert!(
                codes
                    .iter()
                    .all(|code| CipherSuite(*code).entry().is_some()),
                "{}",
                release.name
            );
        }
        assert!(
            RELEASES
                .iter()
                .all(|r| r.ja4_b.is_some() && r.ja4_b_no_rc4.is_some())
        );
    }

    #[test]
    fn orders_of_well_known_releases() {
        let head = |name| named(name).and_then(|release| release.suites.get(..3));
        assert_eq!(
            head("8.1 / Server 2012 R2"),
            Some([0xC028, 0xC027, 0xC014].as_slice())
        );
        assert_eq!(
            head("10 1607 / Server 2016"),
            Some([0xC02C, 0xC02B, 0xC030].as_slice())
        );
        assert_eq!(
            head("Server 2022"),
            Some([0x1302, 0x1301, 0xC02C].as_slice())
        );
        assert_eq!(
            named("10 22H2").and_then(|release| release.ja4_b),
            Some("4b22cbed5bed")
        );
    }
}
