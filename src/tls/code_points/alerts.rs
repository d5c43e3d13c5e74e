//! Alerts, and what Windows makes of them.
//!
//! Schannel turns the alert it receives into an error of its own, which is what stands in event logs and in the
//! messages of programs. RFC 8446 section 6, RFC 5246 7.2, Microsoft "Schannel error codes for TLS and SSL alerts".

use core::fmt;

use super::{find, tables, write_u8};

/// Number of an alert.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AlertDescription(pub u8);

impl AlertDescription {
    /// Everything known about the alert.
    #[must_use]
    pub fn entry(self) -> Option<&'static AlertEntry> {
        find(&tables::ALERTS, self.0, |entry| entry.code)
    }

    /// Name in the spelling of the RFCs, such as `handshake_failure`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|entry| entry.name)
    }

    /// Name and HRESULT of the error that Schannel reports when it receives the alert; `None` for unknown alerts and
    /// for `close_notify`, which is no error.
    #[must_use]
    pub fn schannel_error(self) -> Option<(&'static str, u32)> {
        self.entry().and_then(|entry| entry.schannel_error)
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u8(f, self.name(), self.0)
    }
}

/// What is known about an alert.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct AlertEntry {
    /// Number on the wire.
    pub code: u8,
    /// Name in the spelling of the RFCs.
    pub name: &'static str,
    /// Name and HRESULT of the error that Schannel reports to its caller.
    pub schannel_error: Option<(&'static str, u32)>,
}

/// Level of an alert.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AlertLevel(pub u8);

impl AlertLevel {
    /// "warning" or "fatal".
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        find(&tables::ALERT_LEVELS, self.0, |row| row.0).map(|row| row.1)
    }
}

impl fmt::Display for AlertLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u8(f, self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_in_the_words_of_schannel() {
        let alert = |code| {
            (
                AlertDescription(code).name(),
                AlertDescription(code).schannel_error(),
            )
        };
        let illegal = Some(("SEC_E_ILLEGAL_MESSAGE", 0x8009_0326));
        assert_eq!(alert(40), (Some("handshake_failure"), illegal));
        let unsupported = Some(("SEC_E_UNSUPPORTED_FUNCTION", 0x8009_0302));
        assert_eq!(alert(70), (Some("protocol_version"), unsupported));
        // Not named by Microsoft's table, so its "Default" row.
        assert_eq!(alert(112), (Some("unrecognized_name"), illegal));
        let mismatch = Some(("SEC_E_APPLICATION_PROTOCOL_MISMATCH", 0x8009_0367));
        assert_eq!(alert(120), (Some("no_application_protocol"), mismatch));
        assert_eq!(alert(44).1, Some(("CRYPT_E_REVOKED", 0x8009_2010)));
        assert_eq!(alert(0), (Some("close_notify"), None));
        assert_eq!(alert(200), (None, None));
    }

    #[test]
    fn every_row_is_found_by_its_number() {
        for entry in &tables::ALERTS {
            assert_eq!(AlertDescription(entry.code).entry(), Some(entry));
            assert_eq!(entry.schannel_error.is_none(), entry.code == 0);
        }
    }

    #[test]
    fn names_of_levels() {
        assert_eq!(AlertLevel::WARNING.name(), Some("warning"));
        assert_eq!(AlertLevel(2).name(), Some("fatal"));
        assert_eq!(AlertLevel(3).name(), None);
    }
}
