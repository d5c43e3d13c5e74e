//! The record layer's five-byte header (RFC 8446 section 5.1).

/// Largest record fragment that any version allows: 2¹⁴ bytes and 2048 of expansion (RFC 5246
/// section 6.2.3).
pub const FRAGMENT_MAX: usize = (1 << 14) + 2048;
/// Bytes of a record header.
pub const HEADER_BYTES: usize = 5;

/// A record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Content type.
    pub kind: u8,
    /// `legacy_record_version`.
    pub version: u16,
    /// Bytes of the fragment.
    pub length: usize,
}

/// Content types, for matching.
pub mod kind {
    /// ChangeCipherSpec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data.
    pub const APPLICATION_DATA: u8 = 23;
    /// Heartbeat (RFC 6520).
    pub const HEARTBEAT: u8 = 24;
}

impl Header {
    /// Reads a header; `None` where these five bytes can't be one.
    #[inline]
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let [kind, major, minor, high, low] = *bytes;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let known = (kind::CHANGE_CIPHER_SPEC..=kind::HEARTBEAT).contains(&kind);
        (known && major == 3 && minor <= 4 && length <= FRAGMENT_MAX).then_some(Self {
            kind,
            version: u16::from_be_bytes([major, minor]),
            length,
        })
    }
}
