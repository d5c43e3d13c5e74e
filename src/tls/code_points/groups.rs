//! Groups for key exchange: elliptic curves, prime fields, and the post-quantum ones.
//!
//! RFC 8446 4.2.7, RFC 8422 5.1.1, RFC 7919; sizes of key shares tell how large a hello becomes.

use core::fmt;

use super::{find, name_or_grease, tables, write_u16};

/// Number of a group for key exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NamedGroup(pub u16);

impl NamedGroup {
    /// Everything known about the group.
    #[must_use]
    pub fn entry(self) -> Option<&'static GroupEntry> {
        find(&tables::GROUPS, self.0, |entry| entry.code)
    }

    /// The IANA name, such as "secp256r1"; "GREASE" for the values of RFC 8701.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        name_or_grease(self.0, self.entry().map(|entry| entry.name))
    }

    /// Size of the curve or of the prime; `None` where unknown or, as for ML-KEM, without meaning.
    #[must_use]
    pub fn bits(self) -> Option<u16> {
        self.entry().and_then(|entry| entry.bits)
    }

    /// Whether it withstands a quantum computer, alone or together with a curve.
    #[must_use]
    pub fn is_post_quantum(self) -> bool {
        self.entry()
            .is_some_and(|entry| matches!(entry.kind, GroupKind::Mlkem | GroupKind::Hybrid))
    }
}

impl fmt::Display for NamedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u16(f, self.name(), self.0)
    }
}

/// What is known about a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct GroupEntry {
    /// Number on the wire.
    pub code: u16,
    /// Name by IANA.
    pub name: &'static str,
    /// What kind of mathematics it is.
    pub kind: GroupKind,
    /// Size of the curve or of the prime.
    pub bits: Option<u16>,
    /// Bytes of the client's key share.
    pub client_share_bytes: Option<u16>,
    /// Bytes of the server's key share.
    pub server_share_bytes: Option<u16>,
}

/// Kind of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum GroupKind {
    /// Elliptic curve.
    Ec,
    /// Prime field of RFC 7919.
    Ffdhe,
    /// Post-quantum alone (ML-KEM).
    Mlkem,
    /// Post-quantum together with a curve.
    Hybrid,
    /// Curve spelled out in the message (RFC 8422 forbids it).
    Explicit,
}

impl GroupKind {
    /// The lower-case word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ec => "ec",
            Self::Ffdhe => "ffdhe",
            Self::Mlkem => "mlkem",
            Self::Hybrid => "hybrid",
            Self::Explicit => "explicit",
        }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_groups() {
        assert_eq!(NamedGroup(0x11EC).name(), Some("X25519MLKEM768"));
        assert_eq!(
            NamedGroup(0x11EC)
                .entry()
                .and_then(|e| e.client_share_bytes),
            Some(1216)
        );
        assert!(NamedGroup(0x11EC).is_post_quantum() && NamedGroup(0x0201).is_post_quantum());
        assert!(NamedGroup(0x6399).is_post_quantum() && !NamedGroup(0x001D).is_post_quantum());
        assert_eq!(NamedGroup::SECP256R1.bits(), Some(256));
        assert_eq!(NamedGroup(0x0100).bits(), Some(2048));
        assert_eq!(
            NamedGroup(0x0100).entry().map(|e| e.kind.as_str()),
            Some("ffdhe")
        );
        assert_eq!(NamedGroup(0x0001).bits(), Some(163));
        assert_eq!(NamedGroup(0x7777).name(), None);
        assert_eq!(NamedGroup(0x7777).entry(), None);
    }

    #[test]
    fn every_row_is_found_by_its_number() {
        for entry in &tables::GROUPS {
            assert_eq!(NamedGroup(entry.code).entry(), Some(entry));
            let sized = matches!(entry.kind, GroupKind::Ec | GroupKind::Ffdhe);
            assert_eq!(entry.bits.is_some(), sized, "{}", entry.name);
        }
    }
}
