//! IPv4 and IPv6 up to TCP and UDP.
//!
//! The IP length says where the payload ends: bytes behind it are link-layer padding, never payload. An
//! IP length of 0 is a packet that the sending driver had not cut into segments yet (large send
//! offload): its payload reaches to the end. Sources: RFC 791, RFC 8200, RFC 9293, RFC 768.

use super::wire::{behind, u8_at, u32_at};
use super::{
    Addresses, Datagram, Decoded, Encapsulation, Fragment, Segment, Tag, TcpFlags, Undelivered,
};
use super::{icmp, link, tunnel};
use crate::{limits::Limits, stats::Skip};
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice};

const TCP: u8 = 6;
const UDP: u8 = 17;
const AUTHENTICATION: u8 = 51;
/// Extension headers of one IPv6 packet that are followed.
const EXTENSIONS_MAX: usize = 8;

/// IPv4 or IPv6, by the version number.
pub fn decode<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => decode_v4(bytes, around, limits),
        Some(6) => decode_v6(bytes, around, limits),
        Some(_) => Err(Skip::NotIp),
        None => Err(Skip::CutHeader),
    }
}

/// Could this be an IP packet, where nothing before it says so?
pub(super) fn is_plausible(bytes: &[u8]) -> bool {
    match bytes {
        [0x45..=0x4f, _, high, low, ..] => {
            let length = u16::from_be_bytes([*high, *low]);
            length == 0 || length >= 20
        }
        [0x60..=0x6f, ..] => bytes.len() >= 40,
        _ => false,
    }
}

/// A payload, and how many of its bytes the snap length cut.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    /// What is there.
    pub(super) bytes: &'a [u8],
    /// How much is not.
    pub(super) cut: u32,
}

impl<'a> Body<'a> {
    /// The first `length` bytes of `rest`; all of them where the length is 0 (offload).
    fn new(rest: &'a [u8], length: Option<usize>) -> Self {
        let Some(length) = length else {
            return Self {
                bytes: rest,
                cut: 0,
            };
        };
        match rest.get(..length) {
            Some(bytes) => Self { bytes, cut: 0 },
            None => Self {
                bytes: rest,
                cut: (length - rest.len()) as u32,
            },
        }
    }
}

/// An IPv4 packet.
#[inline(never)]
pub fn decode_v4<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    decode_v4_inline(bytes, around, limits)
}

/// An IPv4 packet, in the caller's own code: without `always` the compiler would not, for a tunnel leads
/// back here. Everything but whole TCP is a call.
#[inline(always)]
pub(super) fn decode_v4_inline<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| header_fault(bytes, 20))?;
    let header_len = header.slice().len();
    let rest = bytes.get(header_len..).unwrap_or(&[]);
    let length = match usize::from(header.total_len()) {
        0 => None,
        total => Some(total.checked_sub(header_len).ok_or(Skip::MalformedHeader)?),
    };
    let body = Body::new(rest, length);
    if header.is_fragmenting_payload() {
        return Ok(fragment_v4(&header, bytes, body));
    }
    let carrier = Carrier {
        addresses: addresses_v4(&header),
        ttl: header.ttl(),
        id: header.identification(),
    };
    match header.protocol().0 {
        TCP => segment(body, carrier),
        UDP => udp(body, carrier, around, limits),
        protocol => beside_tcp(protocol, body, carrier, around, limits),
    }
}

#[inline(always)]
fn addresses_v4(header: &Ipv4HeaderSlice<'_>) -> Addresses {
    Addresses::V4 {
        source: u32::from_be_bytes(header.source()),
        destination: u32::from_be_bytes(header.destination()),
    }
}

#[cold]
#[inline(never)]
fn fragment_v4<'a>(header: &Ipv4HeaderSlice<'_>, packet: &'a [u8], body: Body<'a>) -> Decoded<'a> {
    Decoded::Fragment(Fragment {
        addresses: addresses_v4(header),
        identification: u32::from(header.identification()),
        protocol: header.protocol().0,
        ttl: header.ttl(),
        offset: u32::from(header.fragments_offset().value()) * 8,
        more: header.more_fragments(),
        payload: body.bytes,
        cut: body.cut,
        packet,
    })
}

/// What the transport layer is told of the IP header.
#[derive(Clone, Copy)]
struct Carrier {
    addresses: Addresses,
    ttl: u8,
    id: u16,
}

/// An IPv6 packet.
pub fn decode_v6<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| header_fault(bytes, 40))?;
    let rest = bytes.get(40..).unwrap_or(&[]);
    let length = match usize::from(header.payload_length()) {
        0 => None,
        length => Some(length),
    };
    let addresses = Addresses::V6 {
        source: u128::from_be_bytes(header.source()),
        destination: u128::from_be_bytes(header.destination()),
    };
    let carrier = Carrier {
        addresses,
        ttl: header.hop_limit(),
        id: 0,
    };
    let (protocol, body) = match extensions(header.next_header().0, Body::new(rest, length))? {
        Next::Payload(protocol, body) => (protocol, body),
        Next::Fragment(protocol, header, body) => {
            let place = u32::from(u16::from_be_bytes([header[2], header[3]]));
            return Ok(Decoded::Fragment(Fragment {
                addresses,
                identification: u32_at(&header, 4)?,
                protocol,
                ttl: carrier.ttl,
                offset: place & 0xfff8,
                more: place & 1 != 0,
                payload: body.bytes,
                cut: body.cut,
                packet: bytes,
            }));
        }
    };
    match protocol {
        TCP => segment(body, carrier),
        _ => beside_tcp(protocol, body, carrier, around, limits),
    }
}

/// What extension headers lead to.
enum Next<'a> {
    /// Another protocol's header.
    Payload(u8, Body<'a>),
    /// A part of one: the protocol, and the fragment header.
    Fragment(u8, [u8; 8], Body<'a>),
}

/// Steps over extension headers.
fn extensions(mut next: u8, mut body: Body<'_>) -> Result<Next<'_>, Skip> {
    for _ in 0..EXTENSIONS_MAX {
        let length = match next {
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6: units of 8 bytes.
            0 | 43 | 60 | 135 | 139 | 140 => 8 * (usize::from(u8_at(body.bytes, 1)?) + 1),
            // Authentication header: units of 4 bytes (RFC 4302 section 2.2).
            AUTHENTICATION => 4 * (usize::from(u8_at(body.bytes, 1)?) + 2),
            44 => {
                let (header, rest) = body.bytes.split_first_chunk::<8>().ok_or(Skip::CutHeader)?;
                // Offset 0 and no more fragments: a whole packet with a fragment header (RFC 6946).
                if u16::from_be_bytes([header[2], header[3]]) & 0xfff9 != 0 {
                    body.bytes = rest;
                    return Ok(Next::Fragment(header[0], *header, body));
                }
                8
            }
            _ => return Ok(Next::Payload(next, body)),
        };
        next = u8_at(body.bytes, 0)?;
        body.bytes = behind(body.bytes, length)?;
    }
    Err(Skip::TooDeep)
}

#[inline(always)]
fn segment(body: Body<'_>, carrier: Carrier) -> Result<Decoded<'_>, Skip> {
    let header =
        TcpHeaderSlice::from_slice(body.bytes).map_err(|_| header_fault(body.bytes, 20))?;
    let bits = header.slice().get(13).copied().unwrap_or(0);
    Ok(Decoded::Tcp(Segment {
        addresses: carrier.addresses,
        source_port: header.source_port(),
        destination_port: header.destination_port(),
        sequence: header.sequence_number(),
        acknowledgement: header.acknowledgment_number(),
        flags: TcpFlags(bits),
        ttl: carrier.ttl,
        id: carrier.id,
        options: header.slice().get(20..).unwrap_or(&[]),
        payload: body.bytes.get(header.slice().len()..).unwrap_or(&[]),
        cut: body.cut,
    }))
}

/// Everything that IP carries other than TCP: UDP, and tunnels (protocol numbers of IANA).
#[inline(never)]
fn beside_tcp<'a>(
    protocol: u8,
    body: Body<'a>,
    carrier: Carrier,
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let bytes = body.bytes;
    let is_v4 = matches!(carrier.addresses, Addresses::V4 { .. });
    match protocol {
        UDP => udp(body, carrier, around, limits),
        1 if is_v4 => undelivered(icmp::v4(bytes, carrier.addresses.ips().0)),
        58 if !is_v4 => undelivered(icmp::v6(bytes, carrier.addresses.ips().0)),
        4 => {
            let tag = if is_v4 { Tag::IpInIp } else { Tag::FourInSix };
            around.enter(tag, 0, limits)?;
            decode_v4(bytes, around, limits)
        }
        41 => {
            let tag = if is_v4 { Tag::SixInFour } else { Tag::SixInSix };
            around.enter(tag, 0, limits)?;
            decode_v6(bytes, around, limits)
        }
        47 => tunnel::gre(bytes, around, limits),
        // In IPv6 it was stepped over with the other extension headers.
        AUTHENTICATION => {
            around.descend(limits)?;
            let length = 4 * (usize::from(u8_at(bytes, 1)?) + 2);
            let body = Body {
                bytes: behind(bytes, length)?,
                ..body
            };
            match u8_at(bytes, 0)? {
                TCP => segment(body, carrier),
                next => beside_tcp(next, body, carrier, around, limits),
            }
        }
        // Ethernet in IP: version 3 in the first four bits (RFC 3378).
        97 if u8_at(bytes, 0)? == 0x30 => {
            around.enter(Tag::EtherIp, 0, limits)?;
            link::ethernet(behind(bytes, 2)?, around, limits)
        }
        137 => link::mpls(bytes, around, limits),
        _ => Err(Skip::NotTcpUdp),
    }
}

/// Other messages of ICMP, and cut ones, are of no interest.
#[cold]
fn undelivered<'a>(read: Result<Undelivered, Skip>) -> Result<Decoded<'a>, Skip> {
    read.map(Decoded::Undelivered).map_err(|_| Skip::NotTcpUdp)
}

/// UDP; its header is eight bytes, whatever they say.
#[inline(never)]
fn udp<'a>(
    body: Body<'a>,
    carrier: Carrier,
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let Some((&[a, b, c, d, e, f, ..], rest)) = body.bytes.split_first_chunk::<8>() else {
        return Err(header_fault(body.bytes, 8));
    };
    let length = usize::from(u16::from_be_bytes([e, f])).checked_sub(8);
    let payload = length.and_then(|length| rest.get(..length)).unwrap_or(rest);
    let (source_port, destination_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let datagram = || Datagram {
        addresses: carrier.addresses,
        source_port,
        destination_port,
        payload,
    };
    match tunnel::of_ports(source_port, destination_port) {
        Some(open) => tunnel::inside(open, datagram(), body.cut, around, limits),
        // Made where it is handed over: copying it once more was a twentieth of the work on a datagram.
        None => Ok(Decoded::Udp(datagram())),
    }
}

/// Too short is the snap length's work; anything else is a lie in the header.
#[cold]
fn header_fault(bytes: &[u8], least: usize) -> Skip {
    if bytes.len() < least {
        Skip::CutHeader
    } else {
        Skip::MalformedHeader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_packet(total_len: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0];
        bytes.extend(total_len.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, TCP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        bytes.extend([
            0x1f, 0x90, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0, 0, 0, 0, 0, 0,
        ]);
        bytes.extend(payload);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Decoded<'_>, Skip> {
        super::decode(bytes, &mut Encapsulation::default(), &Limits::default())
    }

    fn segment(bytes: &[u8]) -> Segment<'_> {
        match decode(bytes) {
            Ok(Decoded::Tcp(segment)) => segment,
            other => panic!("no segment: {other:?}"),
        }
    }

    #[test]
    fn ethernet_padding_is_never_payload() {
        let bytes = tcp_packet(40, &[0; 6]);
        assert_eq!(segment(&bytes).payload, b"");
        let bytes = tcp_packet(43, b"abc\0\0\0");
        assert_eq!(segment(&bytes).payload, b"abc");
    }

    #[test]
    fn a_large_send_offload_packet_is_whole() {
        let bytes = tcp_packet(0, b"abcdef");
        assert_eq!(segment(&bytes).payload, b"abcdef");
        assert_eq!(segment(&bytes).cut, 0);
    }

    #[test]
    fn the_snap_length_is_told_from_the_end() {
        let bytes = tcp_packet(140, b"abcdef");
        assert_eq!(
            (segment(&bytes).payload, segment(&bytes).cut),
            (&b"abcdef"[..], 94)
        );
        assert_eq!(decode(&bytes[..30]), Err(Skip::CutHeader));
        assert_eq!(decode(&bytes[..3]), Err(Skip::CutHeader));
    }

    #[test]
    fn header_lies_are_named() {
        let mut bytes = tcp_packet(40, b"");
        bytes[0] = 0x4f;
        assert!(matches!(decode(&bytes), Err(Skip::MalformedHeader)));
        let mut bytes = tcp_packet(19, b"");
        bytes[0] = 0x45;
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 36, 0, 64];
        bytes.extend([0x20; 16]);
        bytes.extend([0x30; 16]);
        bytes.extend([44, 0, 0, 0, 0, 0, 0, 0]); // hop-by-hop, then an atomic fragment header
        bytes.extend([TCP, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([
            0, 80, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0, 0, 0, 0, 0, 0,
        ]);
        assert_eq!(segment(&bytes).payload, b"");
        assert_eq!(segment(&bytes).destination_port, 443);
        bytes[51] = 0x01; // now a true fragment
        assert!(matches!(
            decode(&bytes),
            Ok(Decoded::Fragment(Fragment {
                offset: 0,
                more: true,
                protocol: TCP,
                ..
            }))
        ));
    }
}
