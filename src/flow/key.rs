//! The key of a conversation: both endpoints, in an order that does not depend on the direction.

use crate::packet::{Addresses, Segment, Undelivered};
use std::net::IpAddr;

/// Which of the key's endpoints sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Direction {
    /// From the lower endpoint to the higher one.
    Up = 0,
    /// The other way.
    Down = 1,
}

impl Direction {
    /// The other direction.
    #[inline]
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// Both endpoints of a conversation, the lower one first.
///
/// IPv4 and IPv6 have one form, so that a key is compared and handed on without a look at which it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowKey {
    /// Lower endpoint's address; of IPv4, in the upper half of the first word.
    low: [u64; 2],
    /// Higher endpoint's address; of IPv4, in the lower half of the second word.
    high: [u64; 2],
    /// Lower endpoint's port in the upper half.
    ports: u32,
    is_v6: bool,
}

impl core::hash::Hash for FlowKey {
    #[inline(always)]
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        let Self { low, high, .. } = *self;
        if self.is_v6 {
            // Each by itself: what is lost here, no hasher brings back, and a capture could be made of such addresses.
            for word in low.into_iter().chain(high) {
                state.write_u64(word);
            }
        } else {
            state.write_u64(low[0] | high[1]);
        }
        state.write_u64(u64::from(self.ports));
    }
}

fn halves(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

fn join([upper, lower]: [u64; 2]) -> u128 {
    u128::from(upper) << 64 | u128::from(lower)
}

#[inline(always)]
fn direction(up: bool) -> Direction {
    match up {
        true => Direction::Up,
        false => Direction::Down,
    }
}

impl FlowKey {
    /// The key of a segment, and which of its endpoints sent it.
    #[inline]
    pub fn of(segment: &Segment<'_>) -> (Self, Direction) {
        let (source, destination) = (segment.source_port, segment.destination_port);
        Self::new(segment.addresses, source, destination)
    }

    /// The key of a segment of which ICMP speaks, and which of its endpoints sent it.
    pub fn undelivered(undelivered: &Undelivered) -> (Self, Direction) {
        let (source, destination) = (undelivered.source_port, undelivered.destination_port);
        Self::new(undelivered.addresses, source, destination)
    }

    /// The key of a packet, and which of its endpoints sent it.
    #[inline(always)]
    pub fn new(addresses: Addresses, source_port: u16, destination_port: u16) -> (Self, Direction) {
        match addresses {
            Addresses::V4 {
                source,
                destination,
            } => {
                // Without a branch: which way a packet goes can't be foretold.
                let end = |address: u32, port: u16| u64::from(address) << 16 | u64::from(port);
                let (from, to) = (end(source, source_port), end(destination, destination_port));
                let (low, high) = (from.min(to), from.max(to));
                let key = Self {
                    low: [low >> 16 << 32, 0],
                    high: [0, high >> 16],
                    ports: (low as u32) << 16 | (high as u32 & 0xffff),
                    is_v6: false,
                };
                (key, direction(from <= to))
            }
            Addresses::V6 {
                source,
                destination,
            } => {
                let (from, to) = ((source, source_port), (destination, destination_port));
                let up = from <= to;
                let (low, high) = if up { (from, to) } else { (to, from) };
                let key = Self {
                    low: halves(low.0),
                    high: halves(high.0),
                    ports: u32::from(low.1) << 16 | u32::from(high.1),
                    is_v6: true,
                };
                (key, direction(up))
            }
        }
    }

    /// A number in whose upper bits keys differ, the same in each run: whoever makes up keys can make it the same for
    /// many.
    #[inline(always)]
    pub fn spread(&self) -> u64 {
        let Self { low, high, .. } = *self;
        let mixed = low[0]
            ^ low[1].rotate_left(7)
            ^ high[0].rotate_left(13)
            ^ high[1]
            ^ u64::from(self.ports).rotate_left(21);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Address and port of the endpoint that sends in this direction.
    pub fn sender(&self, direction: Direction) -> (IpAddr, u16) {
        let (words, short, port) = match direction {
            Direction::Up => (self.low, self.low[0] >> 32, self.ports >> 16),
            Direction::Down => (self.high, self.high[1], self.ports),
        };
        let address = if self.is_v6 {
            IpAddr::V6(join(words).into())
        } else {
            IpAddr::V4((short as u32).into())
        };
        (address, port as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn keys_of_one_network_have_hashes_of_their_own() {
        use std::hash::{BuildHasher as _, DefaultHasher};
        let hashes: std::collections::HashSet<u64> = (2..1002)
            .map(|last| {
                let addresses = Addresses::V6 {
                    source: u128::MAX - u128::from(u64::MAX) + 1,
                    destination: u128::MAX - u128::from(u64::MAX) + last,
                };
                let (key, _) = FlowKey::new(addresses, 443, 443);
                std::hash::BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
            })
            .collect();
        assert_eq!(hashes.len(), 1000);
    }

    #[test]
    fn keys_hold_both_endpoints() {
        fn both(addresses: Addresses, source: IpAddr, destination: IpAddr) {
            let (key, direction) = FlowKey::new(addresses, 443, 50_000);
            assert_eq!(key.sender(direction), (source, 443));
            assert_eq!(key.sender(direction.reverse()), (destination, 50_000));
        }
        let (source, destination) = (Ipv4Addr::new(198, 51, 100, 25), Ipv4Addr::new(10, 0, 0, 1));
        let addresses = Addresses::V4 {
            source: source.into(),
            destination: destination.into(),
        };
        both(addresses, source.into(), destination.into());
        let source: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let destination: Ipv6Addr = "fe80::a:b:c:d".parse().unwrap();
        let addresses = Addresses::V6 {
            source: source.into(),
            destination: destination.into(),
        };
        both(addresses, source.into(), destination.into());
    }

    #[test]
    fn both_directions_have_one_key() {
        let there = Addresses::V4 {
            source: 7,
            destination: 9,
        };
        let back = Addresses::V4 {
            source: 9,
            destination: 7,
        };
        let (key, direction) = FlowKey::new(there, 50_000, 443);
        assert_eq!(FlowKey::new(back, 443, 50_000), (key, direction.reverse()));
        assert_eq!(key.sender(direction), (Ipv4Addr::from(7).into(), 50_000));
        assert_eq!(
            key.sender(direction.reverse()),
            (Ipv4Addr::from(9).into(), 443)
        );
    }

    #[test]
    fn an_endpoint_may_talk_to_itself() {
        let same = Addresses::V6 {
            source: 1,
            destination: 1,
        };
        let (key, direction) = FlowKey::new(same, 50_000, 443);
        assert_eq!(FlowKey::new(same, 443, 50_000), (key, direction.reverse()));
        assert_eq!(key.sender(direction).1, 50_000);
    }
}
