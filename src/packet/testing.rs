//! Packets for tests, built from the inside out.

use super::{Decoded, Encapsulation};
use crate::{capture::LinkType, limits::Limits, stats::Skip};

/// Joins parts.
pub(super) fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// TCP from port 8080 to 443, with payload.
pub(super) fn tcp(payload: &[u8]) -> Vec<u8> {
    let header = [
        0x1f, 0x90, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0, 0, 0, 0, 0, 0,
    ];
    cat(&[&header, payload])
}

/// UDP.
pub(super) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap();
    cat(&[
        &source.to_be_bytes(),
        &destination.to_be_bytes(),
        &length.to_be_bytes(),
        &[0, 0],
        payload,
    ])
}

/// An IPv4 packet; `place` is the field of flags and fragment offset.
pub(super) fn v4_part(protocol: u8, id: u16, place: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 20).unwrap();
    cat(&[
        &[0x45, 0],
        &length.to_be_bytes(),
        &id.to_be_bytes(),
        &place.to_be_bytes(),
        &[64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2],
        payload,
    ])
}

/// An IPv4 packet.
pub(super) fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_part(protocol, 7, 0, payload)
}

/// An IPv6 packet.
pub(super) fn v6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    cat(&[
        &[0x60, 0, 0, 0, length[0], length[1], protocol, 64],
        &[0x20; 16],
        &[0x30; 16],
        payload,
    ])
}

/// An IPv4 packet with TCP and `hello` in it.
pub(super) fn hello() -> Vec<u8> {
    v4(6, &tcp(b"hello"))
}

/// An Ethernet frame.
pub(super) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    cat(&[&[2; 12], &kind.to_be_bytes(), payload])
}

/// What a packet of this link type holds, and the layers around it.
pub(super) fn decode(link: LinkType, bytes: &[u8]) -> (Result<Decoded<'_>, Skip>, Vec<String>) {
    let mut around = Encapsulation::default();
    let decoded = super::decode(link, bytes, &mut around, &Limits::default());
    let layers = around.layers().map(|layer| layer.to_string()).collect();
    (decoded, layers)
}

/// The packet holds TCP with the payload `hello`, inside these layers. Every cut of it gives a reason
/// or less of the payload, and never something else.
#[track_caller]
pub(super) fn assert_hello(link: LinkType, bytes: &[u8], layers: &[&str]) {
    // Padding behind the packet is no payload.
    for padding in [0, 9] {
        let padded = cat(&[bytes, &vec![0; padding]]);
        match decode(link, &padded) {
            (Ok(Decoded::Tcp(segment)), around) => {
                assert_eq!(segment.payload, b"hello");
                assert_eq!(segment.destination_port, 443);
                assert_eq!(around, layers);
            }
            other => panic!("{link:?}: {other:?}"),
        }
    }
    for end in 0..bytes.len() {
        match decode(link, &bytes[..end]).0 {
            Ok(Decoded::Tcp(segment)) => {
                assert!(b"hello".starts_with(segment.payload) && segment.payload.len() < 5);
            }
            Ok(Decoded::Udp(_) | Decoded::Undelivered(_)) => {}
            Ok(Decoded::Fragment(_)) => panic!("a cut packet is no fragment"),
            Err(_) => {}
        }
    }
}
