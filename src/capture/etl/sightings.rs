//! The same packet seen at several places of the network stack, told from a packet that was sent twice.
//!
//! pktmon numbers packets (until Windows 11 22H2); where there is no number, the packet's own bytes from the IP
//! header on make the key, without what the way changes: MAC addresses, tags, hop limit, checksums. A key that comes
//! again soon at *another* place is the same packet; at a place where it was seen already, it is a packet
//! sent again, and is shown. The earliest sighting is the one that is kept.

use super::packets::{ETHERNET, Found, RAW_IP, WIFI};
use crate::capture::block::LinkType;
use crate::capture::le::u16_at;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};

/// How long a packet may take from one place to the next.
const SOON_NS: i64 = 50_000_000;
/// The same where the system numbers the packets.
const SOON_NUMBERED_NS: i64 = 5_000_000_000;
/// Bytes of the payload's start that are part of the key: how much there is of a cut packet depends on the headers
/// before it, so more could differ between places.
const PAYLOAD_HEAD_BYTES: usize = 32;

/// Was a packet seen before?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// Not before, or sent again.
    First,
    /// It was, as `frame`.
    Again {
        /// The earliest sighting.
        frame: u64,
    },
}

struct Seen {
    time_ns: i64,
    frame: u64,
    /// One bit for each place where it was seen.
    places: u128,
}

/// The packets seen lately.
pub(super) struct Sightings {
    keys: foldhash::quality::RandomState,
    seen: hashbrown::HashMap<u64, Seen>,
    order: VecDeque<u64>,
    max: usize,
}

impl Sightings {
    pub(super) fn new(max: usize) -> Self {
        Self {
            keys: foldhash::quality::RandomState::default(),
            seen: hashbrown::HashMap::new(),
            order: VecDeque::new(),
            max,
        }
    }

    /// Notes that `found` was seen at `interface`, as `frame`.
    pub(super) fn see(&mut self, found: &Found<'_>, interface: u32, frame: u64) -> Sighting {
        let (key, soon_ns) = match found.group {
            Some(group) => (self.keys.hash_one(group), SOON_NUMBERED_NS),
            None => match self.content_key(found.link, found.bytes) {
                Some(key) => (key, SOON_NS),
                None => return Sighting::First,
            },
        };
        // Interfaces beyond the bits share the last one: there, a second sighting counts as a packet sent again.
        let place = 1_u128
            << (interface
                .saturating_mul(4)
                .saturating_add(u32::from(found.edge & 3)))
            .min(127);
        if let Some(seen) = self.seen.get_mut(&key) {
            let late = found.time_ns.abs_diff(seen.time_ns) > soon_ns.unsigned_abs();
            let same_place = found.group.is_none() && seen.places & place != 0;
            // The notice of a drop comes from the place where the packet was seen last.
            let drop = found.extra.drop_reason.is_some();
            if !late && (!same_place || drop) {
                seen.places |= place;
                return Sighting::Again { frame: seen.frame };
            }
            *seen = Seen {
                time_ns: found.time_ns,
                frame,
                places: place,
            };
            return Sighting::First;
        }
        if self.order.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.order.push_back(key);
        self.seen.insert(
            key,
            Seen {
                time_ns: found.time_ns,
                frame,
                places: place,
            },
        );
        Sighting::First
    }

    /// A number of what stays the same of a TCP or UDP packet on its way; `None` for all others.
    fn content_key(&self, link: LinkType, bytes: &[u8]) -> Option<u64> {
        let ip = ip_packet(link, bytes)?;
        let claimed = ip_bytes(ip)?;
        // Padding of short frames is not the packet's; a large send claims no length.
        let ip = if claimed == 0 {
            ip
        } else {
            ip.get(..claimed).unwrap_or(ip)
        };
        let mut hasher = self.keys.build_hasher();
        claimed.hash(&mut hasher);
        let (protocol, segment) = match ip.first()? >> 4 {
            4 => {
                let header_bytes = usize::from(ip.first()? & 15) * 4;
                // Identification, flags and fragment offset; addresses.
                ip.get(4..8)?.hash(&mut hasher);
                ip.get(12..20)?.hash(&mut hasher);
                (*ip.get(9)?, ip.get(header_bytes.max(20)..)?)
            }
            _ => {
                ip.get(8..40)?.hash(&mut hasher);
                (*ip.get(6)?, ip.get(40..)?)
            }
        };
        let payload = match protocol {
            6 => {
                let header_bytes = usize::from(*segment.get(12)? >> 4) * 4;
                segment.get(..16)?.hash(&mut hasher);
                segment.get(20..header_bytes.max(20))?.hash(&mut hasher);
                segment.get(header_bytes.max(20)..)?
            }
            17 => {
                segment.get(..6)?.hash(&mut hasher);
                segment.get(8..)?
            }
            _ => return None,
        };
        if claimed == 0 {
            payload.len().hash(&mut hasher);
        }
        payload
            .get(..payload.len().min(PAYLOAD_HEAD_BYTES))?
            .hash(&mut hasher);
        Some(hasher.finish())
    }
}

/// The length that an IP packet's header claims; 0 where it claims none.
fn ip_bytes(ip: &[u8]) -> Option<usize> {
    match ip.first()? >> 4 {
        4 => ip
            .get(2..)?
            .first_chunk()
            .map(|field| usize::from(u16::from_be_bytes(*field))),
        6 => {
            let payload = ip
                .get(4..)?
                .first_chunk()
                .map(|field| usize::from(u16::from_be_bytes(*field)))?;
            Some(if payload == 0 { 0 } else { payload + 40 })
        }
        _ => None,
    }
}

/// The IP packet inside a frame, where it is where it usually is.
pub(super) fn ip_packet(link: LinkType, bytes: &[u8]) -> Option<&[u8]> {
    match link {
        RAW_IP => Some(bytes),
        ETHERNET => {
            let mut at = 12;
            for _ in 0..3 {
                match bytes.get(at..at + 2)? {
                    [0x81 | 0x91, 0] | [0x88, 0xA8] => at += 4,
                    [0x08, 0] | [0x86, 0xDD] => return bytes.get(at + 2..),
                    _ => return None,
                }
            }
            None
        }
        WIFI => {
            let control = u16_at(bytes, 0)?;
            let quality = if control & 0x80 == 0 { 0 } else { 2 };
            let fourth_address = if control & 0x300 == 0x300 { 6 } else { 0 };
            let frame = bytes.get(24 + quality + fourth_address..)?;
            match frame.first_chunk()? {
                [0xAA, 0xAA, 3, 0, 0, 0, 0x08, 0] | [0xAA, 0xAA, 3, 0, 0, 0, 0x86, 0xDD] => {
                    frame.get(8..)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::packets::{PacketExtra, Place};
    use super::*;

    fn segment(hop_limit: u8, sequence: u8) -> Vec<u8> {
        let mut bytes = vec![0; 14 + 20 + 20 + 5];
        bytes[12] = 8;
        bytes[14..24].copy_from_slice(&[0x45, 0, 0, 45, 1, 2, 0, 0, hop_limit, 6]);
        bytes[24] = hop_limit;
        bytes[37] = sequence;
        bytes[46] = 0x50;
        bytes
    }

    fn see(
        sightings: &mut Sightings,
        bytes: &[u8],
        interface: u32,
        time_ns: i64,
        frame: u64,
    ) -> Sighting {
        let found = Found {
            bytes,
            original_len: 0,
            link: ETHERNET,
            time_ns,
            place: Place::Other,
            edge: 0,
            group: None,
            extra: PacketExtra::default(),
        };
        sightings.see(&found, interface, frame)
    }

    #[test]
    fn another_place_is_the_same_packet_and_the_same_place_is_another_packet() {
        let mut all = Sightings::new(100);
        assert_eq!(see(&mut all, &segment(64, 1), 0, 0, 1), Sighting::First);
        assert_eq!(
            see(&mut all, &segment(63, 1), 1, 1_000, 2),
            Sighting::Again { frame: 1 }
        );
        assert_eq!(
            see(&mut all, &segment(64, 2), 1, 1_500, 3),
            Sighting::First,
            "another sequence number"
        );
        assert_eq!(
            see(&mut all, &segment(64, 1), 0, 2_000, 4),
            Sighting::First,
            "sent again"
        );
        assert_eq!(
            see(&mut all, &segment(64, 1), 1, 3_000, 5),
            Sighting::Again { frame: 4 }
        );
        assert_eq!(
            see(&mut all, &segment(64, 1), 2, 1_000_000_000, 6),
            Sighting::First,
            "much later"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut all = Sightings::new(2);
        for sequence in 0..10 {
            see(&mut all, &segment(64, sequence), 0, 0, u64::from(sequence));
        }
        assert_eq!((all.seen.len(), all.order.len()), (2, 2));
        assert_eq!(
            see(&mut all, &segment(64, 1), 1, 0, 11),
            Sighting::First,
            "forgotten"
        );
    }

    #[test]
    fn cut_packets_have_no_key() {
        let mut all = Sightings::new(2);
        let whole = segment(64, 1);
        for length in 0..54 {
            assert_eq!(see(&mut all, &whole[..length], 0, 0, 1), Sighting::First);
            assert_eq!(see(&mut all, &whole[..length], 1, 0, 2), Sighting::First);
        }
    }
}
