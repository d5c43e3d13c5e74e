//! Types of records and of handshake messages.
//!
//! RFC 8446 5.1 and section 4, RFC 9147 for DTLS.

use core::fmt;

use super::{find, tables, write_u8};

/// Type of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ContentType(pub u8);

impl ContentType {
    /// Name in the spelling of the RFCs, such as `application_data`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        find(&tables::CONTENT_TYPES, self.0, |row| row.0).map(|row| row.1)
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u8(f, self.name(), self.0)
    }
}

/// Type of a handshake message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HandshakeType(pub u8);

impl HandshakeType {
    /// Name in the spelling of the RFCs, such as `client_hello`.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        find(&tables::HANDSHAKE_TYPES, self.0, |row| row.0).map(|row| row.1)
    }
}

impl fmt::Display for HandshakeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_u8(f, self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types() {
        assert_eq!(ContentType::HANDSHAKE, ContentType(22));
        assert_eq!(ContentType(23).name(), Some("application_data"));
        assert_eq!(ContentType(128).name(), None);
        assert_eq!(HandshakeType::CLIENT_HELLO.name(), Some("client_hello"));
        assert_eq!(HandshakeType(22).name(), Some("certificate_status"));
        assert_eq!(HandshakeType(200).name(), None);
    }

    #[test]
    fn every_row_is_found_by_its_number() {
        for (code, name) in tables::CONTENT_TYPES {
            assert_eq!(ContentType(code).name(), Some(name));
        }
        for (code, name) in tables::HANDSHAKE_TYPES {
            assert_eq!(HandshakeType(code).name(), Some(name));
        }
    }
}
