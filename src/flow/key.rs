//! The key of a conversation: both endpoints, in an order that does not depend on the direction.

use crate::packet::{Addresses, Segment};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowKey {
    /// IPv4: addresses, and both ports in one number.
    V4 {
        /// Lower endpoint's address.
        low: u32,
        /// Higher endpoint's address.
        high: u32,
        /// Lower endpoint's port in the upper half.
        ports: u32,
    },
    /// IPv6.
    V6 {
        /// Lower endpoint's address.
        low: [u64; 2],
        /// Higher endpoint's address.
        high: [u64; 2],
        /// Lower endpoint's port in the upper half.
        ports: u32,
    },
}

impl core::hash::Hash for FlowKey {
    #[inline(always)]
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        match *self {
            Self::V4 { low, high, ports } => {
                state.write_u64(u64::from(low) << 32 | u64::from(high));
                state.write_u64(u64::from(ports));
            }
            Self::V6 { low, high, ports } => {
                for word in low.into_iter().chain(high) {
                    state.write_u64(word);
                }
                state.write_u64(u64::from(ports));
            }
        }
    }
}

fn halves(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

fn join([upper, lower]: [u64; 2]) -> u128 {
    u128::from(upper) << 64 | u128::from(lower)
}

impl FlowKey {
    /// The key of a segment, and which of its endpoints sent it.
    #[inline]
    pub fn of(segment: &Segment<'_>) -> (Self, Direction) {
        let (source, destination) = (segment.source_port, segment.destination_port);
        Self::new(segment.addresses, source, destination)
    }

    /// The key of a packet, and which of its endpoints sent it.
    #[inline(always)]
    pub fn new(addresses: Addresses, source_port: u16, destination_port: u16) -> (Self, Direction) {
        match addresses {
            Addresses::V4 {
                source,
                destination,
            } => {
                if (source, source_port) <= (destination, destination_port) {
                    let ports = u32::from(source_port) << 16 | u32::from(destination_port);
                    (
                        Self::V4 {
                            low: source,
                            high: destination,
                            ports,
                        },
                        Direction::Up,
                    )
                } else {
                    let ports = u32::from(destination_port) << 16 | u32::from(source_port);
                    (
                        Self::V4 {
                            low: destination,
                            high: source,
                            ports,
                        },
                        Direction::Down,
                    )
                }
            }
            Addresses::V6 {
                source,
                destination,
            } => {
                if (source, source_port) <= (destination, destination_port) {
                    let ports = u32::from(source_port) << 16 | u32::from(destination_port);
                    (
                        Self::V6 {
                            low: halves(source),
                            high: halves(destination),
                            ports,
                        },
                        Direction::Up,
                    )
                } else {
                    let ports = u32::from(destination_port) << 16 | u32::from(source_port);
                    (
                        Self::V6 {
                            low: halves(destination),
                            high: halves(source),
                            ports,
                        },
                        Direction::Down,
                    )
                }
            }
        }
    }

    /// Address and port of the endpoint that sends in this direction.
    pub fn sender(&self, direction: Direction) -> (IpAddr, u16) {
        let (low, high, ports): (IpAddr, IpAddr, u32) = match *self {
            Self::V4 { low, high, ports } => (
                Ipv4Addr::from(low).into(),
                Ipv4Addr::from(high).into(),
                ports,
            ),
            Self::V6 { low, high, ports } => (
                Ipv6Addr::from(join(low)).into(),
                Ipv6Addr::from(join(high)).into(),
                ports,
            ),
        };
        match direction {
            Direction::Up => (low, (ports >> 16) as u16),
            Direction::Down => (high, ports as u16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
