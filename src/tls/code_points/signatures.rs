//! Signature schemes, among them the (hash, signature) pairs of TLS 1.2.
//!
//! The same two bytes are read as one number by TLS 1.3 (RFC 8446 4.2.3) and as a pair by TLS 1.2 (RFC 5246
//! 7.4.1.4.1); pairs that TLS 1.3 does not name are called after their parts, such as `dsa_sha256`.

use core::fmt;

use super::{find, name_or_grease, tables, write_u16};

/// Number of a signature scheme.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SignatureScheme(pub u16);

impl SignatureScheme {
    /// Everything known about the scheme.
    #[must_use]
    pub fn entry(self) -> Option<&'static SignatureEntry> {
        find(&tables::SIGNATURE_SCHEMES, self.0, |entry| entry.code)
    }

    /// The IANA name, such as `rsa_pkcs1_sha256`; "GREASE" for the values of RFC 8701.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        name_or_grease(self.0, self.entry().map(|entry| entry.name))
    }

    /// Hash such as "sha256"; `None` where unknown or fixed by the signature algorithm (Ed25519, ML-DSA).
    #[must_use]
    pub fn hash(self) -> Option<&'static str> {
        self.entry().and_then(|entry| entry.hash)
    }

    /// Signature algorithm such as "rsa_pkcs1", "rsa_pss", "ecdsa", "eddsa" or "mldsa".
    #[must_use]
    pub fn signature(self) -> Option<&'static str> {
        self.entry().map(|entry| entry.signature)
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u16(f, self.name(), self.0)
    }
}

/// What is known about a signature scheme.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct SignatureEntry {
    /// Number on the wire.
    pub code: u16,
    /// Name by IANA, or after the parts of the pair.
    pub name: &'static str,
    /// Hash, unless the signature algorithm fixes it.
    pub hash: Option<&'static str>,
    /// Signature algorithm.
    pub signature: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_schemes() {
        let parts = |code| {
            let scheme = SignatureScheme(code);
            (scheme.name(), scheme.hash(), scheme.signature())
        };
        assert_eq!(
            parts(0x0401),
            (Some("rsa_pkcs1_sha256"), Some("sha256"), Some("rsa_pkcs1"))
        );
        assert_eq!(
            parts(0x0403),
            (
                Some("ecdsa_secp256r1_sha256"),
                Some("sha256"),
                Some("ecdsa")
            )
        );
        assert_eq!(
            parts(0x0804),
            (Some("rsa_pss_rsae_sha256"), Some("sha256"), Some("rsa_pss"))
        );
        assert_eq!(
            parts(0x0806),
            (Some("rsa_pss_rsae_sha512"), Some("sha512"), Some("rsa_pss"))
        );
        assert_eq!(parts(0x0807), (Some("ed25519"), None, Some("eddsa")));
        assert_eq!(
            parts(0x0201),
            (Some("rsa_pkcs1_sha1"), Some("sha1"), Some("rsa_pkcs1"))
        );
        assert_eq!(
            parts(0x0402),
            (Some("dsa_sha256"), Some("sha256"), Some("dsa"))
        );
        assert_eq!(parts(0x0904), (Some("mldsa44"), None, Some("mldsa")));
        assert_eq!(parts(0x0906), (Some("mldsa87"), None, Some("mldsa")));
        assert_eq!(parts(0xFE00), (None, None, None));
    }

    #[test]
    fn every_row_is_found_by_its_number() {
        for entry in &tables::SIGNATURE_SCHEMES {
            assert_eq!(SignatureScheme(entry.code).entry(), Some(entry));
        }
    }
}
