//! Protocol versions of TLS, SSL, DTLS and the drafts of TLS 1.3.
//!
//! DTLS counts downwards and drafts have numbers of their own, so versions are compared by rank, never by number.
//! RFC 8446 4.2.1, RFC 9147 5.3, RFC 6101.

use core::fmt;

use super::{find, name_or_grease, tables, write_u16};

/// Protocol version as it stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Version(pub u16);

impl Version {
    /// Name and rank of a known version.
    #[must_use]
    pub fn entry(self) -> Option<&'static VersionEntry> {
        find(&tables::VERSIONS, self.0, |entry| entry.code)
    }

    /// Name as people write it, such as "TLS 1.2"; "GREASE" for the values of RFC 8701.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        name_or_grease(self.0, self.entry().map(|entry| entry.name))
    }

    /// The TLS version it is equal to, for comparing; `None` (less than any rank) for unknown values and GREASE.
    #[must_use]
    pub fn rank(self) -> Option<VersionRank> {
        // Nearly all are of these.
        match self {
            Self::TLS_1_2 => Some(VersionRank::Tls12),
            Self::TLS_1_3 => Some(VersionRank::Tls13),
            _ => self.entry().map(|entry| entry.rank),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u16(f, self.name(), self.0)
    }
}

/// What is known about a version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct VersionEntry {
    /// Number on the wire.
    pub code: u16,
    /// Name as people write it.
    pub name: &'static str,
    /// The TLS version it is equal to.
    pub rank: VersionRank,
}

/// The versions in the order of their age: drafts count as TLS 1.3, DTLS 1.0 as TLS 1.1, DTLS 1.2 as TLS 1.2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum VersionRank {
    /// SSL 2.0.
    Ssl20,
    /// SSL 3.0.
    Ssl30,
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_versions() {
        let name = |code| Version(code).name();
        assert_eq!(name(0x0002), Some("SSL 2.0"));
        assert_eq!(name(0x0300), Some("SSL 3.0"));
        assert_eq!(name(0x0301), Some("TLS 1.0"));
        assert_eq!(name(0x0304), Some("TLS 1.3"));
        assert_eq!(name(0xFEFF), Some("DTLS 1.0"));
        assert_eq!(name(0xFEFD), Some("DTLS 1.2"));
        assert_eq!(name(0xFEFC), Some("DTLS 1.3"));
        assert_eq!(name(0x7F17), Some("TLS 1.3 draft 23"));
        assert_eq!(name(0xFB1A), Some("TLS 1.3 Facebook draft 26"));
        assert_eq!(name(0x0305), None);
    }

    #[test]
    fn ranks_compare_across_dtls_and_drafts() {
        let rank = |code| Version(code).rank();
        assert_eq!(rank(0xFEFD), rank(0x0303));
        assert_eq!(rank(0xFEFF), rank(0x0302));
        assert_eq!(rank(0xFEFC), rank(0x0304));
        assert_eq!(rank(0x7F1C), rank(0x0304));
        assert_eq!(rank(0xFB17), Some(VersionRank::Tls13));
        assert!(
            rank(0x0305) < rank(0x0002)
                && rank(0x0002) < rank(0x0300)
                && rank(0xFEFF) < rank(0xFEFD)
        );
        assert_eq!(Version::TLS_1_2, Version(0x0303));
    }

    #[test]
    fn every_row_is_found_by_its_number() {
        for entry in &tables::VERSIONS {
            assert_eq!(Version(entry.code).entry(), Some(entry));
        }
    }
}
