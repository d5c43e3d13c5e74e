//! ICMP errors: what a router or a host says of a TCP segment that it could not deliver (RFC 792, RFC 1191; RFC 4443), with
//! the begin of that segment.

use super::{
    Addresses,
    wire::{behind, u8_at, u16_at, u32_at},
};
use crate::stats::Skip;
use std::net::IpAddr;

const TCP: u8 = 6;
/// ICMP for IPv4: destination unreachable, time exceeded.
const V4_KINDS: [u8; 2] = [3, 11];
/// ICMPv6: destination unreachable, packet too big, time exceeded.
const V6_KINDS: [u8; 3] = [1, 2, 3];

/// A TCP segment that was not delivered, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Who says so.
    pub from: IpAddr,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// The largest packet that the next network takes, where it was too large.
    pub mtu: Option<u32>,
    /// Sender and receiver of the segment.
    pub addresses: Addresses,
    /// Port of its sender.
    pub source_port: u16,
    /// Port of its receiver.
    pub destination_port: u16,
}

/// Reads an ICMP message for IPv4, from its type on.
pub(super) fn v4(bytes: &[u8], from: IpAddr) -> Result<Undelivered, Skip> {
    let (kind, code) = (u8_at(bytes, 0)?, u8_at(bytes, 1)?);
    let quoted = behind(bytes, 8)?;
    if !V4_KINDS.contains(&kind) || u8_at(quoted, 0)? >> 4 != 4 || u8_at(quoted, 9)? != TCP {
        return Err(Skip::NotTcpUdp);
    }
    let segment = behind(quoted, 4 * usize::from(u8_at(quoted, 0)? & 0xf))?;
    let mtu = u16_at(bytes, 6)?;
    Ok(Undelivered {
        from,
        kind,
        code,
        // Routers of before 1990 say 0.
        mtu: (kind == 3 && code == 4 && mtu > 0).then_some(u32::from(mtu)),
        addresses: Addresses::V4 {
            source: u32_at(quoted, 12)?,
            destination: u32_at(quoted, 16)?,
        },
        source_port: u16_at(segment, 0)?,
        destination_port: u16_at(segment, 2)?,
    })
}

/// Reads an ICMPv6 message, from its type on. A segment behind extension headers is left alone.
pub(super) fn v6(bytes: &[u8], from: IpAddr) -> Result<Undelivered, Skip> {
    let (kind, code) = (u8_at(bytes, 0)?, u8_at(bytes, 1)?);
    let quoted = behind(bytes, 8)?;
    if !V6_KINDS.contains(&kind) || u8_at(quoted, 0)? >> 4 != 6 || u8_at(quoted, 6)? != TCP {
        return Err(Skip::NotTcpUdp);
    }
    let segment = behind(quoted, 40)?;
    let address = |at: usize| -> Result<u128, Skip> {
        let half = |at: usize| -> Result<u64, Skip> {
            Ok(u64::from(u32_at(quoted, at)?) << 32 | u64::from(u32_at(quoted, at + 4)?))
        };
        Ok(u128::from(half(at)?) << 64 | u128::from(half(at + 8)?))
    };
    let mtu = u32_at(bytes, 4)?;
    Ok(Undelivered {
        from,
        kind,
        code,
        mtu: (kind == 2).then_some(mtu),
        addresses: Addresses::V6 {
            source: address(8)?,
            destination: address(24)?,
        },
        source_port: u16_at(segment, 0)?,
        destination_port: u16_at(segment, 2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn quoted_v4() -> Vec<u8> {
        let mut quoted = vec![
            0x46, 0, 0, 44, 0, 1, 0x40, 0, 9, 6, 0, 0, 10, 0, 0, 5, 192, 0, 2, 7,
        ];
        // An option, then the first 8 bytes of the segment.
        quoted.extend([1, 1, 1, 0, 0xc0, 1, 1, 0xbb, 0, 0, 0, 9]);
        quoted
    }

    #[test]
    fn a_router_that_forbids_says_of_which_segment() {
        let from = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let mut bytes = vec![3, 13, 0, 0, 0, 0, 0, 0];
        bytes.extend(quoted_v4());
        let found = v4(&bytes, from).unwrap();
        assert_eq!(
            (found.from, found.kind, found.code, found.mtu),
            (from, 3, 13, None)
        );
        let (source, destination) = found.addresses.ips();
        assert_eq!(
            (source.to_string(), found.source_port),
            ("10.0.0.5".into(), 0xc001)
        );
        assert_eq!(
            (destination.to_string(), found.destination_port),
            ("192.0.2.7".into(), 443)
        );
        // Too large, for a network of which the router knows what it takes.
        (bytes[1], bytes[6], bytes[7]) = (4, 0x05, 0x78);
        assert_eq!(v4(&bytes, from).unwrap().mtu, Some(1400));
        // An echo, another protocol, a quote that is cut.
        assert_eq!(
            v4(&[8, 0, 0, 0, 0, 0, 0, 0, 0x45], from),
            Err(Skip::NotTcpUdp)
        );
        let mut udp = bytes.clone();
        udp[8 + 9] = 17;
        assert_eq!(v4(&udp, from), Err(Skip::NotTcpUdp));
        for end in 0..bytes.len() - 4 {
            assert!(v4(&bytes[..end], from).is_err(), "{end}");
        }
    }

    #[test]
    fn packets_too_big_for_a_network_of_ipv6() {
        let from = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let mut bytes = vec![2, 0, 0, 0, 0, 0, 0x05, 0x00];
        bytes.extend([0x60, 0, 0, 0, 0, 20, 6, 64]);
        bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5).octets());
        bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets());
        bytes.extend([0xc0, 1, 1, 0xbb]);
        let found = v6(&bytes, from).unwrap();
        assert_eq!(
            (found.kind, found.mtu, found.destination_port),
            (2, Some(1280), 443)
        );
        let (source, destination) = found.addresses.ips();
        assert_eq!(source.to_string(), "2001:db8::5");
        assert_eq!(destination.to_string(), "2001:db8::7");
        bytes[0] = 135;
        assert_eq!(v6(&bytes, from), Err(Skip::NotTcpUdp));
    }
}
