//! Cipher suites: what each number stands for, and whether HTTP/2 may run over it.
//!
//! A lookup is two array reads, since it is made for every suite that a client offers: the high byte picks a page, the
//! low byte a slot in it. RFC 8446 B.4, RFC 5246 A.5, RFC 9113 9.2.2 and Appendix A (the same list as in RFC 7540).

use core::fmt;

use super::{Authentication, CipherMode, KeyExchange, Mac, PrfHash};
use super::{name_or_grease, tables, write_u16};

/// All known suites in ascending order of their numbers; GREASE is not among them.
pub static SUITES: &[SuiteEntry] = &tables::SUITES;

/// TLS cipher suite number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CipherSuite(pub u16);

impl CipherSuite {
    /// `TLS_EMPTY_RENEGOTIATION_INFO_SCSV` (RFC 5746).
    pub const RENEGOTIATION_INFO_SCSV: Self = Self(0x00FF);
    /// `TLS_FALLBACK_SCSV` (RFC 7507).
    pub const FALLBACK_SCSV: Self = Self(0x5600);

    /// Everything known about the suite.
    #[must_use]
    pub fn entry(self) -> Option<&'static SuiteEntry> {
        let [high, low] = self.0.to_be_bytes();
        let page = tables::SUITE_PAGES.get(usize::from(high))?;
        let slot = tables::SUITE_SLOTS
            .get(usize::from(*page))?
            .get(usize::from(low))?;
        SUITES.get(usize::from(*slot).checked_sub(1)?)
    }

    /// The IANA name, or the common one of an unregistered suite; "GREASE" for the values of RFC 8701.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        name_or_grease(self.0, self.entry().map(|entry| entry.name))
    }

    /// Whether the number is a signal that must never be selected.
    #[must_use]
    pub const fn is_signalling(self) -> bool {
        matches!(self, Self::RENEGOTIATION_INFO_SCSV | Self::FALLBACK_SCSV)
    }

    /// Whether RFC 9113 Appendix A prohibits it for HTTP/2 over TLS 1.2.
    #[must_use]
    pub fn is_h2_prohibited(self) -> bool {
        self.entry().is_some_and(|entry| entry.h2_prohibited)
    }

    /// Whether the suite belongs to TLS 1.3 and names neither key exchange nor authentication.
    #[must_use]
    pub fn is_tls13(self) -> bool {
        self.entry()
            .is_some_and(|entry| entry.key_exchange == KeyExchange::Tls13)
    }

    /// Whether Chromium goes on with HTTP/2 over it; its rule is narrower than the list of the RFC.
    #[must_use]
    pub fn chromium_accepts_h2(self) -> bool {
        self.entry().is_some_and(|entry| entry.chromium_accepts_h2)
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u16(f, self.name(), self.0)
    }
}

/// What is known about a cipher suite.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // six independent columns of a registry, not a state
pub struct SuiteEntry {
    /// Number on the wire.
    pub code: u16,
    /// Name by IANA, or the common one.
    pub name: &'static str,
    /// How the two sides come to a secret.
    pub key_exchange: KeyExchange,
    /// How the server (or both) prove who they are.
    pub authentication: Authentication,
    /// Cipher in upper case, such as "AES"; "NULL" for none, "-" for signalling values.
    pub encryption: &'static str,
    /// Nominal length of the key; 168 for triple DES, 0 without encryption.
    pub key_bits: u16,
    /// Mode of the cipher.
    pub mode: CipherMode,
    /// Integrity protection of a record.
    pub mac: Mac,
    /// Hash of the pseudorandom function or of HKDF.
    pub prf_hash: PrfHash,
    /// Whether the secret is gone when the connection is.
    pub forward_secret: bool,
    /// Whether records are protected by an AEAD.
    pub aead: bool,
    /// Whether it was weakened for export.
    pub export: bool,
    /// Listed in RFC 9113 Appendix A.
    pub h2_prohibited: bool,
    /// Accepted by Chromium for HTTP/2.
    pub chromium_accepts_h2: bool,
    /// Registered with IANA.
    pub registered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 24 ranges that the list of RFC 9113 Appendix A folds into.
    const PROHIBITED: [(u16, u16); 24] = [
        (0x0000, 0x001B),
        (0x001E, 0x0046),
        (0x0067, 0x006D),
        (0x0084, 0x009D),
        (0x00A0, 0x00A1),
        (0x00A4, 0x00A9),
        (0x00AC, 0x00C5),
        (0x00FF, 0x00FF),
        (0xC001, 0xC02A),
        (0xC02D, 0xC02E),
        (0xC031, 0xC051),
        (0xC054, 0xC055),
        (0xC058, 0xC05B),
        (0xC05E, 0xC05F),
        (0xC062, 0xC06B),
        (0xC06E, 0xC07B),
        (0xC07E, 0xC07F),
        (0xC082, 0xC085),
        (0xC088, 0xC089),
        (0xC08C, 0xC08F),
        (0xC092, 0xC09D),
        (0xC0A0, 0xC0A1),
        (0xC0A4, 0xC0A5),
        (0xC0A8, 0xC0A9),
    ];

    #[test]
    fn exactly_the_276_suites_of_appendix_a_are_prohibited() {
        let listed = |code| {
            PROHIBITED
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&code))
        };
        for code in 0..=u16::MAX {
            assert_eq!(
                CipherSuite(code).is_h2_prohibited(),
                listed(code),
                "{code:#06x}"
            );
        }
        assert_eq!(
            SUITES.iter().filter(|entry| entry.h2_prohibited).count(),
            276
        );
    }

    #[test]
    fn every_row_is_found_by_its_number_and_nothing_else_is() {
        let mut found = SUITES.iter();
        for code in 0..=u16::MAX {
            if let Some(entry) = CipherSuite(code).entry() {
                assert_eq!(entry.code, code);
                assert!(found.next().is_some_and(|row| core::ptr::eq(row, entry)));
                assert_eq!(CipherSuite(code).name(), Some(entry.name));
            }
        }
        assert!(found.next().is_none());
        assert_eq!(SUITES.len(), 408);
        assert_eq!(SUITES.iter().filter(|entry| entry.registered).count(), 352);
    }

    #[test]
    fn http2_verdicts_of_well_known_suites() {
        assert!(
            !CipherSuite(0xC02F).is_h2_prohibited() && CipherSuite(0xC02F).chromium_accepts_h2()
        );
        assert!(
            CipherSuite(0xC014).is_h2_prohibited() && !CipherSuite(0xC014).chromium_accepts_h2()
        );
        // DHE with GCM: allowed by the list, refused by Chromium.
        assert!(
            !CipherSuite(0x009E).is_h2_prohibited() && !CipherSuite(0x009E).chromium_accepts_h2()
        );
        let accepted: Vec<u16> = SUITES
            .iter()
            .filter(|e| e.chromium_accepts_h2)
            .map(|e| e.code)
            .collect();
        let expected = [
            0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9, 0xCCAC,
        ];
        assert_eq!(accepted, expected);
    }

    #[test]
    fn chacha20_has_keys_of_256_bits() {
        let rows: Vec<_> = SUITES
            .iter()
            .filter(|e| e.encryption.starts_with("CHACHA20"))
            .collect();
        assert_eq!(rows.len(), 11);
        assert!(
            rows.iter()
                .all(|e| e.key_bits == 256 && e.aead && e.mode == CipherMode::Aead)
        );
    }

    #[test]
    fn attributes_do_not_contradict_each_other_or_the_name() {
        for e in SUITES {
            assert_eq!(e.aead, e.mac == Mac::Aead, "{}", e.name);
            assert_eq!(e.name.contains("EXPORT"), e.export, "{}", e.name);
            assert_eq!(
                e.name.contains("_anon_"),
                e.authentication == Authentication::Anon,
                "{}",
                e.name
            );
            assert_eq!(
                e.key_exchange == KeyExchange::Tls13,
                e.authentication == Authentication::Tls13,
                "{}",
                e.name
            );
            assert!(
                e.mode == CipherMode::Cbc || !e.name.contains("_CBC_"),
                "{}",
                e.name
            );
            assert_eq!(
                e.name.contains("_GCM_"),
                e.mode == CipherMode::Gcm,
                "{}",
                e.name
            );
            assert_eq!(e.mode == CipherMode::Null, e.key_bits == 0, "{}", e.name);
            assert!(
                e.forward_secret || !e.name.starts_with("TLS_ECDHE_"),
                "{}",
                e.name
            );
        }
    }

    #[test]
    fn kinds_of_suites() {
        assert!(
            CipherSuite(0x1301).is_tls13()
                && !CipherSuite(0xC02F).is_tls13()
                && !CipherSuite(0x13FF).is_tls13()
        );
        assert!(CipherSuite(0x00FF).is_signalling() && CipherSuite(0x5600).is_signalling());
        let signals = SUITES
            .iter()
            .filter(|e| e.key_exchange == KeyExchange::Signalling);
        assert!(signals.map(|e| e.code).eq([0x00FF, 0x5600]));
        let words = |code| {
            let entry = CipherSuite(code).entry()?;
            Some((
                entry.key_exchange.as_str(),
                entry.authentication.as_str(),
                entry.mode.as_str(),
            ))
        };
        assert_eq!(words(0xC0AA), Some(("dhe_psk", "psk", "ccm_8")));
        assert_eq!(words(0xC014), Some(("ecdhe", "rsa", "cbc")));
        assert_eq!(words(0x1301), Some(("tls13", "tls13", "gcm")));
        assert!(CipherSuite(0x0047).entry().is_none() && CipherSuite(0x0047).name().is_none());
    }
}
