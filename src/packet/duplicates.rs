//! Copies of one packet that a mirror made at another point of observation.
//!
//! A switch that mirrors two VLANs or two ports, or a machine that captures on several of its layers,
//! gives each packet more than once. Taken for what they seem, copies are retransmissions, and a
//! diagnosis of packet loss is wrong. A copy has the addresses, the IPv4 identification, the numbers,
//! flags and length of a packet seen within a millisecond at *another* point: another interface, other
//! tags or tunnels, or another time to live (before and behind a router). The same packet at the same
//! point is a retransmission and stays one.
//!
//! Most conversations are seen at one point only: for them the work is one comparison a packet, and
//! the memory two numbers. The ring of recent packets exists from the second point on.

use super::{Segment, plain::Glimpse};

/// How far apart copies may be.
const APART_NS: u64 = 1_000_000;
/// Recent packets of one direction that are remembered where there are two points.
const RECENT: usize = 16;

/// What copies of a packet have in common: sequence number, identification, flags and length.
#[inline]
fn print(glimpse: &Glimpse) -> u64 {
    u64::from(glimpse.sequence) << 32
        | u64::from(glimpse.id) << 16
        | u64::from(glimpse.length as u16 ^ u16::from(glimpse.flags.0) << 8)
}

/// A point of observation, where the time to live tells points before and behind a router apart.
#[inline]
fn with_ttl(point: u32, ttl: u8) -> u32 {
    // Never 0; the interface's number keeps all of its low bits.
    (point ^ u32::from(ttl) << 16).rotate_left(1) | 1
}

/// A packet, where and when it was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Sight {
    print: u64,
    time_ns: i64,
    point: u32,
    acknowledgement: u32,
}

/// The last packets of one direction.
#[derive(Clone, Debug, Default)]
struct Ring {
    sights: [Sight; RECENT],
    next: usize,
}

impl Ring {
    fn push(&mut self, sight: Sight) {
        if let Some(slot) = self.sights.get_mut(self.next % RECENT) {
            *slot = sight;
        }
        self.next = self.next.wrapping_add(1);
    }

    fn has_copy_of(&self, sight: &Sight) -> bool {
        self.sights.iter().any(|other| {
            other.print == sight.print
                && other.acknowledgement == sight.acknowledgement
                && other.point != sight.point
                && other.point != 0
                && other.time_ns.abs_diff(sight.time_ns) <= APART_NS
        })
    }
}

/// Tells copies in both directions of a conversation.
#[derive(Debug, Default)]
pub struct Copies {
    /// Where each direction was first seen; 0 for not yet.
    points: [u32; 2],
    /// The last packet of each direction, until there are rings.
    last: [u64; 2],
    rings: Option<Box<[Ring; 2]>>,
}

impl Copies {
    /// Was every packet of its direction seen at this one's point? Then it is no copy.
    #[inline]
    pub fn is_alone(&self, direction: usize, glimpse: &Glimpse, point: u32) -> bool {
        self.rings.is_none() && self.points[direction & 1] == with_ttl(point, glimpse.ttl)
    }

    /// Takes a packet that is alone.
    #[inline]
    pub fn note(&mut self, direction: usize, glimpse: &Glimpse) {
        self.last[direction & 1] = print(glimpse);
    }

    /// Is this packet a copy of one that was seen at another point? `point` tells interface and layers
    /// around the packet, `before_ns` is the time of the conversation's last packet.
    #[inline]
    pub fn has(
        &mut self,
        direction: usize,
        segment: &Segment<'_>,
        point: u32,
        time_ns: i64,
        before_ns: i64,
    ) -> bool {
        let glimpse = Glimpse::of(segment);
        if self.is_alone(direction, &glimpse, point) {
            self.note(direction, &glimpse);
            return false;
        }
        let point = with_ttl(point, segment.ttl);
        self.look(direction & 1, segment, point, time_ns, before_ns)
    }

    #[cold]
    fn look(
        &mut self,
        direction: usize,
        segment: &Segment<'_>,
        point: u32,
        time_ns: i64,
        before_ns: i64,
    ) -> bool {
        let sight = Sight {
            print: print(&Glimpse::of(segment)),
            time_ns,
            point,
            acknowledgement: segment.acknowledgement,
        };
        let (Some(first), Some(last)) =
            (self.points.get_mut(direction), self.last.get_mut(direction))
        else {
            return false;
        };
        if *first == 0 {
            (*first, *last) = (point, sight.print);
            if self.rings.is_none() {
                return false;
            }
        }
        let is_first_of_its_point = self.rings.is_none();
        let rings = self.rings.get_or_insert_default();
        let Some(ring) = rings.get_mut(direction) else {
            return false;
        };
        let known = ring.has_copy_of(&sight)
            || (is_first_of_its_point
                && *last == sight.print
                && before_ns.abs_diff(time_ns) <= APART_NS);
        if !known {
            ring.push(sight);
        }
        known
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.rings.as_ref().map_or(0, |_| size_of::<[Ring; 2]>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Addresses, TcpFlags};
    use super::*;

    fn segment(sequence: u32, id: u16, ttl: u8) -> Segment<'static> {
        Segment {
            addresses: Addresses::V4 {
                source: 1,
                destination: 2,
            },
            source_port: 1,
            destination_port: 443,
            sequence,
            acknowledgement: 9,
            flags: TcpFlags(0x18),
            ttl,
            id,
            options: &[],
            payload: b"abc",
            cut: 0,
        }
    }

    /// Feeds (sequence, id, ttl, point, time) and says which were copies.
    fn copies(packets: &[(u32, u16, u8, u32, i64)]) -> Vec<bool> {
        let mut copies = Copies::default();
        let mut before_ns = i64::MIN;
        packets
            .iter()
            .map(|&(sequence, id, ttl, point, time_ns)| {
                let seen = copies.has(0, &segment(sequence, id, ttl), point, time_ns, before_ns);
                before_ns = time_ns;
                seen
            })
            .collect()
    }

    #[test]
    fn the_same_packet_on_another_vlan_is_a_copy() {
        let seen = copies(&[
            (1, 7, 64, 10, 0),
            (1, 7, 64, 20, 5_000),
            (4, 8, 64, 10, 9_000_000),
            (7, 9, 64, 10, 9_001_000),
            (4, 8, 64, 20, 9_002_000),
            (7, 9, 64, 20, 9_003_000),
        ]);
        assert_eq!(seen, [false, true, false, false, true, true]);
    }

    #[test]
    fn behind_a_router_the_time_to_live_tells_the_point() {
        assert_eq!(
            copies(&[(1, 7, 64, 0, 0), (1, 7, 63, 0, 5_000)]),
            [false, true]
        );
    }

    #[test]
    fn retransmissions_are_no_copies() {
        // At the same point, even with the same identification.
        assert_eq!(
            copies(&[(1, 0, 64, 0, 0), (1, 0, 64, 0, 5_000)]),
            [false; 2]
        );
        // With another identification, or later than a millisecond.
        assert_eq!(
            copies(&[(1, 7, 64, 0, 0), (1, 8, 64, 1, 5_000)]),
            [false; 2]
        );
        assert_eq!(
            copies(&[(1, 7, 64, 0, 0), (1, 7, 64, 1, 1_000_001)]),
            [false; 2]
        );
        // A retransmission seen at both points: once at the first, its copy at the second.
        let seen = copies(&[
            (1, 7, 64, 10, 0),
            (1, 7, 64, 20, 5_000),
            (1, 8, 64, 10, 200_000_000),
            (1, 8, 64, 20, 200_005_000),
        ]);
        assert_eq!(seen, [false, true, false, true]);
    }

    #[test]
    fn one_point_needs_no_memory() {
        let mut copies = Copies::default();
        for sequence in 0..100 {
            assert!(!copies.has(1, &segment(sequence, 0, 64), 3, 0, 0));
        }
        assert_eq!(copies.heap_bytes(), 0);
    }
}
