//! DTLS records (RFC 6347 section 4.1, RFC 9147 section 4, RFC 9146 section 4).

use crate::tls::record::FRAGMENT_MAX;
use crate::tls::wire::u16;

/// Bytes of a record header before DTLS 1.3 (and of clear records since).
pub(super) const HEADER_BYTES: usize = 13;
/// Content type of records with a connection id (RFC 9146 section 4).
const TLS12_CID: u8 = 25;

/// DTLS 1.0 and 1.2, and what OpenSSL spoke before DTLS 1.0 was done.
#[inline]
pub fn is_version(major: u8, minor: u8) -> bool {
    matches!((major, minor), (0xfe, 0xfc..=0xff) | (1, 0))
}

/// A record, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// With the header of DTLS 1.2: its content type is in clear.
    Plain {
        kind: u8,
        version: u16,
        epoch: u16,
        fragment: &'a [u8],
    },
    /// Content type encrypted; the two low bits of the epoch, where told.
    Hidden { epoch: Option<u8>, length: usize },
}

impl<'a> Record<'a> {
    /// Reads a record whose connection id, if it has one, takes `cid_bytes`.
    pub(super) fn parse(bytes: &'a [u8], cid_bytes: Option<usize>) -> Option<(Self, &'a [u8])> {
        match *bytes.first()? {
            first @ 0x20..=0x3f => Self::unified(first, bytes, cid_bytes),
            TLS12_CID => {
                // Without the id's length all of the datagram is the record.
                let Some(cid_bytes) = cid_bytes else {
                    let length = bytes.len();
                    return Some((
                        Self::Hidden {
                            epoch: None,
                            length,
                        },
                        &[],
                    ));
                };
                let (rest, length) = u16(bytes.get(11 + cid_bytes..)?).ok()?;
                let length = usize::from(length);
                let record = Self::Hidden {
                    epoch: None,
                    length,
                };
                Some((record, rest.get(length..)?))
            }
            _ => Self::plain(bytes),
        }
    }

    fn plain(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [kind, major, minor, e1, e2, .., high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !is_version(major, minor) || !(20..=26).contains(&kind) || length > FRAGMENT_MAX {
            return None;
        }
        // A record that the snap length cut is read as far as it goes.
        let (fragment, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let record = Self::Plain {
            kind,
            version: u16::from_be_bytes([major, minor]),
            epoch: u16::from_be_bytes([e1, e2]),
            fragment,
        };
        Some((record, rest))
    }

    /// `001CSLEE`, then id, number and length as the bits say (RFC 9147 section 4).
    fn unified(first: u8, bytes: &'a [u8], cid_bytes: Option<usize>) -> Option<(Self, &'a [u8])> {
        let epoch = Some(first & 3);
        let cid = if first & 0x10 != 0 {
            cid_bytes
        } else {
            Some(0)
        };
        let number = if first & 0x08 != 0 { 2 } else { 1 };
        let (Some(cid), true) = (cid, first & 0x04 != 0) else {
            let length = bytes.len();
            return Some((Self::Hidden { epoch, length }, &[]));
        };
        let (rest, length) = u16(bytes.get(1 + cid + number..)?).ok()?;
        let length = usize::from(length);
        Some((Self::Hidden { epoch, length }, rest.get(length..)?))
    }
}
