//! The one shape that nearly all traffic has: TCP in IP in Ethernet, nothing between and nothing around, read at fixed
//! places.
//!
//! Only what tells a packet that can't matter from one that may: who talks to whom, and the numbers that a known
//! conversation counts. What is otherwise in any way gives `None` and is left to the layers, which also name what is
//! wrong with it. They take 136 instructions a packet, this takes about 50 (`benches/instructions.sh`, `bulk`).

use super::tunnel::may_be_tunnel;
use super::{Addresses, Segment, TcpFlags};
use crate::capture::LinkType;

const ETHERNET_BYTES: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a conversation counts of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Sequence number of the first payload byte (of the SYN itself, where set).
    pub sequence: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Identification of the IPv4 packet; 0 for IPv6.
    pub id: u16,
    /// Payload bytes on the wire.
    pub length: u32,
    /// The snap length cut off some of them.
    pub is_cut: bool,
}

impl Glimpse {
    /// From the TCP header (RFC 9293 section 3.1) at `start` of a packet that ends at `end`, of which `present` bytes are
    /// there, and what its IP header says.
    #[inline(always)]
    fn read(
        header: &[u8; 20],
        (start, end, present): (usize, usize, usize),
        (ttl, id): (u8, u16),
    ) -> Option<Self> {
        let header_bytes = usize::from(header[12] >> 4) * 4;
        let payload = start + header_bytes;
        if header_bytes < 20 || payload > end || payload > present {
            return None;
        }
        Some(Self {
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            flags: TcpFlags(header[13]),
            ttl,
            id,
            length: (end - payload) as u32,
            is_cut: end > present,
        })
    }

    /// The same of a segment that was taken apart.
    #[inline]
    pub fn of(segment: &Segment<'_>) -> Self {
        Self {
            sequence: segment.sequence,
            flags: segment.flags,
            ttl: segment.ttl,
            id: segment.id,
            length: (segment.payload.len() as u32).wrapping_add(segment.cut),
            is_cut: segment.cut > 0,
        }
    }
}

/// Hands the addresses and ports (sender's, receiver's) of a packet of that shape to `take`, and what a conversation counts
/// of it.
#[inline(always)]
pub fn segment<T>(
    link: LinkType,
    frame: &[u8],
    take: impl Fn(Addresses, u16, u16, Glimpse) -> T,
) -> Option<T> {
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    // The shorter one's length: what does not reach it holds no TCP.
    let head = frame.first_chunk::<54>()?;
    if link != LinkType::ETHERNET {
        return None;
    }
    match (head[12], head[13], head[14]) {
        // Not a fragment: neither "more fragments" nor an offset (RFC 791 section 3.1).
        (0x08, 0x00, 0x45) if head[23] == TCP && word(head[20], head[21]) & 0x3fff == 0 => {
            let addresses = Addresses::V4 {
                source: u32::from_be_bytes([head[26], head[27], head[28], head[29]]),
                destination: u32::from_be_bytes([head[30], head[31], head[32], head[33]]),
            };
            // A length of 0 ends before the header: such a packet is left to the layers.
            let end = ETHERNET_BYTES + usize::from(word(head[16], head[17]));
            let carrier = (head[22], word(head[18], head[19]));
            let header = head[34..].first_chunk()?;
            let glimpse = Glimpse::read(header, (34, end, frame.len()), carrier)?;
            let (source, destination) = (word(header[0], header[1]), word(header[2], header[3]));
            Some(take(addresses, source, destination, glimpse))
        }
        // No extension header (RFC 8200 section 3).
        (0x86, 0xdd, 0x60..=0x6f) if head[20] == TCP => {
            let head = frame.first_chunk::<74>()?;
            let addresses = Addresses::V6 {
                source: u128::from_be_bytes(*head[22..].first_chunk()?),
                destination: u128::from_be_bytes(*head[38..].first_chunk()?),
            };
            let end = ETHERNET_BYTES + 40 + usize::from(word(head[18], head[19]));
            let header = head[54..].first_chunk()?;
            let glimpse = Glimpse::read(header, (54, end, frame.len()), (head[21], 0))?;
            let (source, destination) = (word(header[0], header[1]), word(header[2], header[3]));
            Some(take(addresses, source, destination, glimpse))
        }
        _ => None,
    }
}

/// Ports (sender's, receiver's) and the first bytes of the payload of a UDP datagram in an Ethernet frame, where there is
/// nothing else to it: no fragment, no tunnel, no contradiction.
#[inline(always)]
pub fn datagram(link: LinkType, frame: &[u8]) -> Option<(u16, u16, [u8; 5])> {
    let head = frame.first_chunk::<47>()?;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    if link != LinkType::ETHERNET {
        return None;
    }
    let (least, length, udp): (u16, u16, &[u8; 13]) = match (head[12], head[13], head[14]) {
        (0x08, 0x00, 0x45) if head[23] == UDP && word(head[20], head[21]) & 0x3fff == 0 => {
            let length = word(head[16], head[17]);
            (20 + 13, length, head[34..].first_chunk()?)
        }
        (0x86, 0xdd, 0x60..=0x6f) if head[20] == UDP => {
            let length = word(head[18], head[19]);
            (13, length, frame.get(54..)?.first_chunk()?)
        }
        _ => return None,
    };
    let [a, b, c, d, e, f, _, _, first @ ..] = *udp;
    let (source, destination) = (word(a, b), word(c, d));
    let is_whole = length >= least && word(e, f) >= 13;
    let is_bare = !may_be_tunnel(source) && !may_be_tunnel(destination);
    (is_whole && is_bare).then_some((source, destination, first))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{cat, ethernet, tcp, v4, v6};
    use super::super::{Decoded, Encapsulation, decode};
    use super::*;
    use crate::limits::Limits;
    use proptest::prelude::*;

    /// Who talks to whom, and what is counted.
    type Read = ((Addresses, u16, u16), Glimpse);

    fn by_layers(frame: &[u8]) -> Option<Read> {
        let mut around = Encapsulation::default();
        match decode(LinkType::ETHERNET, frame, &mut around, &Limits::default()) {
            Ok(Decoded::Tcp(segment)) if around.is_empty() => Some((
                (
                    segment.addresses,
                    segment.source_port,
                    segment.destination_port,
                ),
                Glimpse::of(&segment),
            )),
            _ => None,
        }
    }

    fn plainly(frame: &[u8]) -> Option<Read> {
        segment(
            LinkType::ETHERNET,
            frame,
            |addresses, source, destination, glimpse| ((addresses, source, destination), glimpse),
        )
    }

    fn frames() -> [Vec<u8>; 2] {
        let mut tcp = tcp(b"hello, this is payload");
        tcp[12] = 0x80; // three words of options
        tcp.splice(20..20, [1; 12]);
        [
            ethernet(0x0800, &v4(6, &tcp)),
            ethernet(0x86dd, &v6(6, &tcp)),
        ]
    }

    #[test]
    fn whole_cut_and_padded_frames_are_what_the_layers_say() {
        for frame in frames() {
            assert!(plainly(&frame).is_some_and(|(_, glimpse)| glimpse.length == 22));
            let padded = cat(&[&frame, &[0; 6]]);
            assert_eq!(plainly(&padded), plainly(&frame));
            for end in 0..=frame.len() {
                let cut = &frame[..end];
                assert!(
                    plainly(cut).is_none() || plainly(cut) == by_layers(cut),
                    "{end}"
                );
            }
        }
    }

    fn datagrams() -> [Vec<u8>; 2] {
        let udp = cat(&[&[0x9c, 0x40, 0x1f, 0x90, 0, 19, 0, 0], b"hello, this"]);
        [
            ethernet(0x0800, &v4(17, &udp)),
            ethernet(0x86dd, &v6(17, &udp)),
        ]
    }

    fn same_datagram(frame: &[u8]) -> bool {
        let Some((source, destination, first)) = datagram(LinkType::ETHERNET, frame) else {
            return true;
        };
        let mut around = Encapsulation::default();
        match decode(LinkType::ETHERNET, frame, &mut around, &Limits::default()) {
            Ok(Decoded::Udp(datagram)) => {
                around.is_empty()
                    && (source, destination) == (datagram.source_port, datagram.destination_port)
                    && datagram.payload.starts_with(&first)
            }
            _ => false,
        }
    }

    #[test]
    fn datagrams_are_what_the_layers_say() {
        for frame in datagrams() {
            let read = datagram(LinkType::ETHERNET, &frame);
            assert_eq!(read, Some((40_000, 8080, *b"hello")));
            assert!((0..=frame.len()).all(|end| same_datagram(&frame[..end])));
            assert!(datagram(LinkType::RAW, &frame).is_none());
            // VXLAN's port.
            let mut tunnel = frame.clone();
            let port = frame.len() - 11 - 6;
            tunnel[port..port + 2].copy_from_slice(&4789u16.to_be_bytes());
            assert!(datagram(LinkType::ETHERNET, &tunnel).is_none());
        }
        for frame in frames() {
            assert!(datagram(LinkType::ETHERNET, &frame).is_none());
        }
    }

    fn damaged(mut frame: Vec<u8>, damage: &[(usize, u8)], end: usize) -> Vec<u8> {
        for (at, byte) in damage {
            if let Some(place) = frame.get_mut(*at) {
                *place = *byte;
            }
        }
        frame.truncate(end);
        frame
    }

    proptest! {
        #[test]
        fn a_damaged_datagram_is_what_the_layers_say(
            which in 0usize..2,
            damage in proptest::collection::vec((0usize..80, any::<u8>()), 0..4),
            end in 0usize..120,
        ) {
            let frame = damaged(datagrams()[which].clone(), &damage, end);
            prop_assert!(same_datagram(&frame));
        }

        #[test]
        fn a_damaged_frame_is_what_the_layers_say(
            which in 0usize..2,
            damage in proptest::collection::vec((0usize..80, any::<u8>()), 0..4),
            end in 0usize..120,
        ) {
            let frame = damaged(frames()[which].clone(), &damage, end);
            prop_assert!(plainly(&frame).is_none() || plainly(&frame) == by_layers(&frame));
        }
    }
}
