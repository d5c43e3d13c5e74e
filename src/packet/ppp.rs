//! PPP in its framings: HDLC-like, Cisco HDLC, over Ethernet.
//!
//! Address and control bytes may be left out, and the protocol number may be one byte long (RFC 1661
//! section 6.5 and 6.6), in any framing. Sources: RFC 1661, RFC 1662, RFC 2516, RFC 1990 (a whole packet
//! in one fragment only).

use super::wire::{behind, u8_at, u16_at};
use super::{Decoded, Encapsulation, Tag, ip, link};
use crate::{limits::Limits, stats::Skip};

/// A frame of a serial line: Cisco HDLC (address 0x0f or 0x8f) or PPP.
pub(super) fn framed<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    match bytes {
        [0x0f | 0x8f, 0x00, high, low, rest @ ..] => {
            link::ether_type(u16::from_be_bytes([*high, *low]), rest, around, limits)
        }
        _ => ppp(bytes, around, limits),
    }
}

/// A PPP packet, with or without address and control.
pub(super) fn ppp<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let bytes = bytes.strip_prefix(&[0xff, 0x03]).unwrap_or(bytes);
    let first = u8_at(bytes, 0)?;
    // The last byte of a protocol number is odd, all others are even.
    let (protocol, rest) = if first & 1 != 0 {
        (u16::from(first), behind(bytes, 1)?)
    } else {
        (u16_at(bytes, 0)?, behind(bytes, 2)?)
    };
    match protocol {
        0x0021 => ip::decode_v4(rest, around, limits),
        0x0057 => ip::decode_v6(rest, around, limits),
        0x0281 | 0x0283 => link::mpls(rest, around, limits),
        // Multilink: begin and end in one fragment is a whole packet.
        0x003d if u8_at(rest, 0)? & 0xc0 == 0xc0 => {
            around.descend(limits)?;
            ppp(behind(rest, 4)?, around, limits)
        }
        _ => Err(Skip::NotIp),
    }
}

/// A PPPoE header: version and type 0x11, code 0 (a session's data), session, length.
pub(super) fn pppoe<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    if u16_at(bytes, 0)? != 0x1100 {
        return Err(Skip::NotIp);
    }
    let session = u16_at(bytes, 2)?;
    let length = usize::from(u16_at(bytes, 4)?);
    let rest = behind(bytes, 6)?;
    around.enter(Tag::Pppoe, u32::from(session), limits)?;
    ppp(rest.get(..length).unwrap_or(rest), around, limits)
}
