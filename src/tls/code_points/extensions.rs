//! Extension types, with the private numbers that browsers and QUIC stacks send.
//!
//! RFC 8446 4.2, RFC 9849 (ECH), RFC 5746 (renegotiation).

use core::fmt;

use super::{find, name_or_grease, tables, write_u16};

/// Number of an extension.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ExtensionType(pub u16);

impl ExtensionType {
    /// Everything known about the extension.
    #[must_use]
    pub fn entry(self) -> Option<&'static ExtensionEntry> {
        find(&tables::EXTENSIONS, self.0, |entry| entry.code)
    }

    /// The IANA name, or the common one of a private number; "GREASE" for the values of RFC 8701.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        name_or_grease(self.0, self.entry().map(|entry| entry.name))
    }
}

impl fmt::Display for ExtensionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u16(f, self.name(), self.0)
    }
}

/// What is known about an extension.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ExtensionEntry {
    /// Number on the wire.
    pub code: u16,
    /// Name by IANA, or the common one.
    pub name: &'static str,
    /// Registered with IANA under this name.
    pub registered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_extensions() {
        let names = [
            (0x0000, "server_name"),
            (0x0010, "application_layer_protocol_negotiation"),
            (0x0016, "encrypt_then_mac"),
            (0x0017, "extended_master_secret"),
            (0x0018, "token_binding"),
            (0x001B, "compress_certificate"),
            (0x001C, "record_size_limit"),
            (0x0022, "delegated_credential"),
            (0x0031, "post_handshake_auth"),
            (0x0033, "key_share"),
            (0x0039, "quic_transport_parameters"),
            (0x3374, "next_protocol_negotiation"),
            (0x4469, "application_settings_old"),
            (0x44CD, "application_settings"),
            (0xFE0D, "encrypted_client_hello"),
            (0xFF01, "renegotiation_info"),
            (0xFFA5, "quic_transport_parameters_draft"),
        ];
        for (code, name) in names {
            assert_eq!(ExtensionType(code).name(), Some(name));
        }
        assert_eq!(ExtensionType(0x1234).name(), None);
        assert_eq!(ExtensionType(0x1234).entry(), None);
        assert_eq!(ExtensionType::SUPPORTED_VERSIONS, ExtensionType(43));
    }

    #[test]
    fn every_row_is_found_by_its_number() {
        for entry in &tables::EXTENSIONS {
            assert_eq!(ExtensionType(entry.code).entry(), Some(entry));
        }
    }
}
