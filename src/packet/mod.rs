//! Stage 2: a packet becomes a TCP segment or a UDP datagram, or a named reason why not.
//!
//! Everything borrows from the capture block. Headers are read by `etherparse`'s layer slices, one by
//! one; lengths that the snap length or an offloading driver made wrong are judged here, so that no
//! later stage has to.

pub mod ip;
pub mod link;

use crate::{capture::LinkType, limits::Limits, stats::Skip};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The two addresses of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4, in host order.
    V4 {
        /// Sender.
        source: u32,
        /// Receiver.
        destination: u32,
    },
    /// IPv6, in host order.
    V6 {
        /// Sender.
        source: u128,
        /// Receiver.
        destination: u128,
    },
}

impl Addresses {
    /// Sender and receiver as the standard library's type.
    pub fn ips(&self) -> (IpAddr, IpAddr) {
        match *self {
            Self::V4 {
                source,
                destination,
            } => (
                Ipv4Addr::from(source).into(),
                Ipv4Addr::from(destination).into(),
            ),
            Self::V6 {
                source,
                destination,
            } => (
                Ipv6Addr::from(source).into(),
                Ipv6Addr::from(destination).into(),
            ),
        }
    }
}

/// The flags of a TCP header that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN is set.
    pub fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }
    /// SYN is set.
    pub fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }
    /// RST is set.
    pub fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }
    /// ACK is set.
    pub fn ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}

/// A TCP segment inside the capture block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Sender's and receiver's address.
    pub addresses: Addresses,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Sequence number of the first payload byte (of the SYN itself, where set).
    pub sequence: u32,
    /// Acknowledgement number; meaningful where ACK is set.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// TCP options.
    pub options: &'a [u8],
    /// Payload, without link-layer padding.
    pub payload: &'a [u8],
    /// Payload bytes that the snap length cut off.
    pub cut: u32,
}

impl Segment<'_> {
    /// The maximum segment size that a SYN announces (RFC 9293 section 3.7.1).
    pub fn mss(&self) -> Option<u16> {
        let mut rest = self.options;
        loop {
            match *rest {
                [0, ..] | [] => return None,
                [1, ref after @ ..] => rest = after,
                [2, 4, high, low, ..] => return Some(u16::from_be_bytes([high, low])),
                [_, length, ..] => rest = rest.get(usize::from(length).max(2)..)?,
                [_] => return None,
            }
        }
    }
}

/// A UDP datagram inside the capture block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Sender's and receiver's address.
    pub addresses: Addresses,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Payload.
    pub payload: &'a [u8],
}

/// What a packet carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// TCP.
    Tcp(Segment<'a>),
    /// UDP.
    Udp(Datagram<'a>),
}

/// The tags and tunnels around a packet, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Encapsulation {
    layers: [Option<Layer>; Self::MAX],
}

/// One tag or tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An 802.1Q or 802.1ad tag with its VLAN id.
    Vlan(u16),
}

impl Encapsulation {
    const MAX: usize = 8;

    /// Adds an inner layer; beyond the eighth they are not kept.
    pub fn push(&mut self, layer: Layer) {
        if let Some(slot) = self.layers.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(layer);
        }
    }

    /// No tag and no tunnel.
    pub fn is_empty(&self) -> bool {
        self.layers[0].is_none()
    }

    /// The layers, outermost first.
    pub fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.layers.iter().map_while(|layer| *layer)
    }
}

impl core::fmt::Display for Layer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Vlan(id) => write!(f, "vlan:{id}"),
        }
    }
}

/// Takes a packet apart. `original_len` is its length on the wire; what lies between that and
/// `bytes.len()` was cut by the snap length. `around` is filled with tags and tunnels.
#[inline]
pub fn decode<'a>(
    link: LinkType,
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    // The one case that makes up nearly all traffic.
    if link == LinkType::ETHERNET
        && let Some((header, ip)) = bytes.split_first_chunk::<14>()
        && let [.., 0x08, 0x00] = header
    {
        return ip::decode_v4(ip);
    }
    link::decode(link, bytes, around, limits)
}
