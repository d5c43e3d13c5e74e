//! Stage 2: a packet becomes a TCP segment, a UDP datagram or what ICMP says of a segment, or a named reason why not.
//!
//! Everything borrows from the capture block. Headers are read by `etherparse`'s layer slices, one by
//! one; lengths that the snap length or an offloading driver made wrong are judged here, so that no
//! later stage has to.

pub mod duplicates;
mod encapsulation;
pub mod fragments;
mod icmp;
pub mod ip;
pub mod link;
pub mod plain;
mod ppp;
#[cfg(test)]
mod testing;
mod tunnel;
mod wifi;
mod wire;

pub use encapsulation::{Encapsulation, Layer, Tag};
pub use fragments::Reassembler;
pub use icmp::Undelivered;

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
    /// SYN, FIN or RST is set.
    #[inline]
    pub fn is_of_weight(self) -> bool {
        self.0 & 0x07 != 0
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
    /// Identification of the IPv4 packet; 0 for IPv6.
    pub id: u16,
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

/// A part of an IP packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Sender's and receiver's address.
    pub addresses: Addresses,
    /// What the parts of one packet have in common.
    pub identification: u32,
    /// Protocol of the whole packet's payload.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Where in the packet's payload this part begins, in bytes.
    pub offset: u32,
    /// It is not the last part.
    pub more: bool,
    /// This part of the payload.
    pub payload: &'a [u8],
    /// Bytes of it that the snap length cut off.
    pub cut: u32,
    /// From the IP header to the end of the captured packet.
    pub packet: &'a [u8],
}

/// What a packet carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// TCP.
    Tcp(Segment<'a>),
    /// UDP.
    Udp(Datagram<'a>),
    /// ICMP: a TCP segment was not delivered.
    Undelivered(Undelivered),
    /// A part of an IP packet, which [`Reassembler`] may put together with others.
    Fragment(Fragment<'a>),
}

/// Takes a packet apart, through all tags and tunnels, which are put into `around`.
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
        return ip::decode_v4_inline(ip, around, limits);
    }
    link::decode(link, bytes, around, limits)
}
