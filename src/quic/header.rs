//! Long headers (RFC 9000 section 17.2) and variable-length integers (section 16).

use super::version::{PacketType, Version};
use crate::tls::wire::{u8, vec8};

/// Longest connection id of versions 1 and 2.
pub const CID_MAX: usize = 20;

/// A packet with a long header, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// First byte, its low bits still protected.
    pub first: u8,
    /// Version.
    pub version: Version,
    /// Destination connection id.
    pub dcid: &'a [u8],
    /// Source connection id.
    pub scid: &'a [u8],
    /// Bytes behind the ids.
    pub rest: &'a [u8],
}

impl<'a> LongHeader<'a> {
    /// Reads what all versions have in common (RFC 8999 section 5.1).
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[first @ 0x80..=0xff, a, b, c, d], rest) = bytes.split_first_chunk::<5>()? else {
            return None;
        };
        let (rest, dcid) = vec8(rest).ok()?;
        let (rest, scid) = vec8(rest).ok()?;
        Some(Self {
            first,
            version: Version(u32::from_be_bytes([a, b, c, d])),
            dcid,
            scid,
            rest,
        })
    }

    /// What the packet is, in the words of its version.
    pub fn packet_type(&self) -> PacketType {
        self.version.packet_type(self.first)
    }

    /// Token and protected bytes of an Initial packet, and what follows it in the datagram.
    pub fn initial(&self) -> Option<Protected<'a>> {
        let (token_length, rest) = varint(self.rest)?;
        let (token, rest) = rest.split_at_checked(usize::try_from(token_length).ok()?)?;
        let mut protected = Protected::parse(rest)?;
        protected.token = token;
        Some(protected)
    }

    /// The same of a 0-RTT or Handshake packet, which has no token.
    pub fn protected(&self) -> Option<Protected<'a>> {
        Protected::parse(self.rest)
    }

    /// The versions that a Version Negotiation packet lists.
    pub fn offered_versions(&self) -> impl Iterator<Item = Version> + use<'a> {
        let (versions, _) = self.rest.as_chunks::<4>();
        versions
            .iter()
            .map(|&version| Version(u32::from_be_bytes(version)))
    }
}

/// A packet's protected part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected<'a> {
    /// Token of an Initial packet.
    pub token: &'a [u8],
    /// Packet number, payload and tag.
    pub bytes: &'a [u8],
    /// The capture lacks the end of it.
    pub cut: bool,
    /// What follows in the datagram.
    pub after: &'a [u8],
}

impl<'a> Protected<'a> {
    fn parse(rest: &'a [u8]) -> Option<Self> {
        let (length, rest) = varint(rest)?;
        let length = usize::try_from(length).ok()?;
        let (bytes, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        Some(Self {
            token: &[],
            bytes,
            cut: bytes.len() < length,
            after,
        })
    }
}

/// A variable-length integer, and the bytes behind it.
#[inline]
pub fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (rest, first) = u8(bytes).ok()?;
    let more = (1usize << (first >> 6)) - 1;
    let (tail, rest) = rest.split_at_checked(more)?;
    let value = tail.iter().fold(u64::from(first & 0x3f), |value, &byte| {
        value << 8 | u64::from(byte)
    });
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_the_rfc() {
        // RFC 9000 appendix A.1.
        let long = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        assert_eq!(varint(&long), Some((151_288_809_941_952_652, &[][..])));
        assert_eq!(varint(&[0x9d, 0x7f, 0x3e, 0x7d]).unwrap().0, 494_878_333);
        assert_eq!(varint(&[0x7b, 0xbd, 9]), Some((15_293, &[9][..])));
        assert_eq!(varint(&[0x25]).unwrap().0, 37);
        assert_eq!(varint(&[0x7b]), None);
        assert_eq!(varint(&[]), None);
    }

    #[test]
    fn every_prefix_is_survived() {
        let packet = [
            0xc0, 0, 0, 0, 1, 2, 7, 7, 1, 9, 0x01, 0xaa, 0x04, 1, 2, 3, 4, 5,
        ];
        for end in 0..packet.len() {
            if let Some(header) = LongHeader::parse(&packet[..end]) {
                let _ = (
                    header.initial(),
                    header.protected(),
                    header.offered_versions().count(),
                );
            }
        }
        let header = LongHeader::parse(&packet).unwrap();
        let initial = header.initial().unwrap();
        assert_eq!((header.dcid, header.scid), (&[7, 7][..], &[9][..]));
        assert_eq!(
            (initial.token, initial.bytes),
            (&[0xaa][..], &[1, 2, 3, 4][..])
        );
        assert_eq!((initial.after, initial.cut), (&[5][..], false));
    }
}
