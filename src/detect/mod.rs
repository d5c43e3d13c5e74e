//! Stage 4: the first bytes of a direction say what it speaks, at any port.

use crate::tls::record::{HEADER_BYTES, Header, kind};

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A TLS record that begins or ends a handshake.
    Tls,
    /// TLS application data: the handshake lies before the capture.
    TlsMidStream,
    /// So many bytes are needed to tell.
    NeedMore(usize),
    /// Not TLS.
    Other,
}

/// Tells what a direction speaks from its first bytes.
#[inline]
pub fn detect(bytes: &[u8]) -> Verdict {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return match bytes {
            [] | [20..=24] | [20..=24, 3, ..] => Verdict::NeedMore(HEADER_BYTES + 1),
            _ => Verdict::Other,
        };
    };
    let Some(header) = Header::parse(header) else {
        return Verdict::Other;
    };
    match (header.kind, bytes.get(HEADER_BYTES)) {
        (kind::HANDSHAKE, None) if header.length > 0 => Verdict::NeedMore(HEADER_BYTES + 1),
        // A hello, or what stands at the start of a record after a gap.
        (kind::HANDSHAKE, Some(0..=6 | 8 | 11..=16 | 20..=22)) => Verdict::Tls,
        (kind::ALERT, _) if header.length == 2 => Verdict::Tls,
        (kind::HANDSHAKE | kind::APPLICATION_DATA | kind::ALERT, _) => Verdict::TlsMidStream,
        (kind::CHANGE_CIPHER_SPEC, _) if header.length == 1 => Verdict::TlsMidStream,
        _ => Verdict::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        assert_eq!(detect(b"\x16\x03\x01\x02\x00\x01"), Verdict::Tls);
        assert_eq!(detect(b"\x15\x03\x03\x00\x02\x02\x28"), Verdict::Tls);
        assert_eq!(detect(b"\x17\x03\x03\x02\x00\x01"), Verdict::TlsMidStream);
        assert_eq!(detect(b"\x16\x03"), Verdict::NeedMore(6));
        assert_eq!(detect(b""), Verdict::NeedMore(6));
        assert_eq!(detect(b"GET / HTTP/1.1"), Verdict::Other);
        assert_eq!(detect(b"\x16\x05\x01\x02\x00\x01"), Verdict::Other);
        assert_eq!(detect(b"\x16\x03\x01\xff\xff\x01"), Verdict::Other);
    }
}
