//! Tunnels: GRE with what it carries, and those that run over UDP.
//!
//! A UDP port is a hint only. What the datagram holds must be a tunnel's header without a fault in it,
//! and TCP, UDP or a fragment inside that was not cut more than the datagram itself: otherwise the
//! datagram is handed on as it is, for it may be QUIC, DTLS or DNS on that port.

use super::wire::{behind, u8_at, u16_at, u32_at};
use super::{Datagram, Decoded, Encapsulation, Tag, ip, link, ppp, wifi};
use crate::{limits::Limits, stats::Skip};

/// Takes off a tunnel's header.
pub(super) type Open =
    for<'a> fn(&'a [u8], &mut Encapsulation, &Limits) -> Result<Decoded<'a>, Skip>;

/// Ports of tunnels, a bit each: nearly all datagrams are of other ports, and are told by two bits.
static PORTS: [u64; 1024] = {
    const LIST: [u16; 10] = [4789, 8472, 4790, 6081, 6635, 37008, 2152, 5247, 3544, 1701];
    let mut bits = [0; 1024];
    let mut index = 0;
    while index < LIST.len() {
        bits[(LIST[index] / 64) as usize] |= 1 << (LIST[index] % 64);
        index += 1;
    }
    bits
};

#[inline]
pub(super) fn may_be_tunnel(port: u16) -> bool {
    let word = PORTS.get(usize::from(port / 64)).copied().unwrap_or(0);
    word >> (port % 64) & 1 != 0
}

/// The tunnel that a port is registered for. Some answer from it, the others send to it only.
#[inline]
pub(super) fn of_ports(source: u16, destination: u16) -> Option<Open> {
    if may_be_tunnel(source) || may_be_tunnel(destination) {
        tunnel_of_ports(source, destination)
    } else {
        None
    }
}

#[cold]
fn tunnel_of_ports(source: u16, destination: u16) -> Option<Open> {
    Some(match (source, destination) {
        // IANA's port, and the older one of Linux and Flannel.
        (_, 4789 | 8472 | 4790) => vxlan,
        (_, 6081) => geneve,
        (_, 6635) => mpls,
        (_, 37008) => tzsp,
        (2152, _) | (_, 2152) => gtp,
        (5247, _) | (_, 5247) => capwap,
        (3544, _) | (_, 3544) => teredo,
        (1701, _) | (_, 1701) => l2tp,
        _ => return None,
    })
}

/// What is inside of a datagram on a tunnel's port, or else the datagram. `cut` of its bytes were not
/// captured.
#[cold]
pub(super) fn inside<'a>(
    open: Open,
    datagram: Datagram<'a>,
    cut: u32,
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let before = *around;
    match open(datagram.payload, around, limits) {
        // A lie in the inner length, unless the outer one was cut, too.
        Ok(Decoded::Tcp(segment)) if segment.cut > 0 && cut == 0 => {}
        Ok(decoded) => return Ok(decoded),
        Err(Skip::TooDeep) => return Err(Skip::TooDeep),
        Err(_) => {}
    }
    *around = before;
    Ok(Decoded::Udp(datagram))
}

/// GRE: RFC 2784 with the key and sequence number of RFC 2890; version 1 is PPTP's (RFC 2637).
///
/// ```text
///   C . K S . . . . . . . . . version(3) │ protocol(16) │ [checksum, reserved] │ [key] │ [sequence]
/// ```
pub(super) fn gre<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGEMENT: u16 = 0x0080;
    let flags = u16_at(bytes, 0)?;
    let protocol = u16_at(bytes, 2)?;
    let mut length = 4;
    if flags & 7 == 1 {
        // Key: length of the payload, and the number of the call.
        let call = u16_at(bytes, 6)?;
        length += 4 * (1 + usize::from(flags & SEQUENCE != 0))
            + 4 * usize::from(flags & ACKNOWLEDGEMENT != 0);
        around.enter(Tag::Pptp, u32::from(call), limits)?;
        return ppp::ppp(behind(bytes, length)?, around, limits);
    }
    if flags & 7 != 0 || flags & ROUTING != 0 {
        return Err(Skip::NotTcpUdp);
    }
    if flags & CHECKSUM != 0 {
        length += 4;
    }
    let mut key = None;
    if flags & KEY != 0 {
        key = Some(u32_at(bytes, length)?);
        length += 4;
    }
    if flags & SEQUENCE != 0 {
        length += 4;
    }
    let rest = behind(bytes, length)?;
    match key {
        Some(key) => around.enter(Tag::GreKey, key, limits)?,
        None => around.enter(Tag::Gre, 0, limits)?,
    }
    match protocol {
        // Type I has no header of its own, and no sequence number in GRE's.
        0x88be if flags & SEQUENCE == 0 => {
            around.enter(Tag::Erspan, 0, limits)?;
            link::ethernet(rest, around, limits)
        }
        0x88be | 0x22eb => erspan(rest, around, limits),
        // WCCP: IP, in version 2 behind a redirect header.
        0x883e if ip::is_plausible(rest) => ip::decode(rest, around, limits),
        0x883e => ip::decode(behind(rest, 4)?, around, limits),
        // GRE has EtherTypes only, never a length.
        0..=0x05dc => Err(Skip::NotTcpUdp),
        _ => link::ether_type(protocol, rest, around, limits),
    }
}

/// ERSPAN types II (version 1) and III (version 2); draft-foschiano-erspan.
fn erspan<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let session = u32::from(u16_at(bytes, 2)? & 0x03ff);
    around.enter(Tag::Erspan, session, limits)?;
    match u8_at(bytes, 0)? >> 4 {
        1 => link::ethernet(behind(bytes, 8)?, around, limits),
        2 => {
            // The last bit of the header: eight more bytes follow, of the platform.
            let last = u16_at(bytes, 10)?;
            let frame = behind(bytes, if last & 1 != 0 { 20 } else { 12 })?;
            match last >> 10 & 0x1f {
                2 => ip::decode(frame, around, limits),
                _ => link::ethernet(frame, around, limits),
            }
        }
        _ => Err(Skip::NotTcpUdp),
    }
}

/// CAPWAP's data channel (RFC 5415 section 4.3): what a wireless access point sends through its controller.
///
/// ```text
///   0 │ length/4(5) radio(5) binding(5) T F L W M K …(3) │ fragment id(16) offset(13) …(3) │ [more] │ frame
/// ```
fn capwap<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const NATIVE: u32 = 0x100;
    const FRAGMENT: u32 = 0x80;
    const KEEP_ALIVE: u32 = 0x08;
    const BINDING_802_11: u32 = 1;
    let header = u32_at(bytes, 0)?;
    let length = usize::try_from(header >> 19 & 0x1f).map_or(0, |words| 4 * words);
    // Another first byte: another version, or DTLS around it all.
    if header >> 24 != 0 || header & (FRAGMENT | KEEP_ALIVE) != 0 || length < 8 {
        return Err(Skip::NotTcpUdp);
    }
    around.enter(Tag::Capwap, 0, limits)?;
    let frame = behind(bytes, length)?;
    if header & NATIVE == 0 {
        return link::ethernet(frame, around, limits);
    }
    if header >> 9 & 0x1f != BINDING_802_11 {
        return Err(Skip::NotTcpUdp);
    }
    match frame {
        [kind, ..] if kind & 0x0f == 0x08 => wifi::ieee802_11(frame, false, around, limits),
        _ => wifi::ieee802_11_exchanged(frame, around, limits),
    }
}

/// VXLAN (RFC 7348), also with the policy group of Cisco and the next protocol of VXLAN-GPE (RFC 9305's
/// relative, draft-ietf-nvo3-vxlan-gpe).
fn vxlan<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const INSTANCE: u8 = 0x08;
    const NEXT_PROTOCOL: u8 = 0x04;
    let flags = u8_at(bytes, 0)?;
    let number = u32_at(bytes, 4)?;
    if flags & INSTANCE == 0 || number & 0xff != 0 {
        return Err(Skip::MalformedHeader);
    }
    around.enter(Tag::Vxlan, number >> 8, limits)?;
    let rest = behind(bytes, 8)?;
    if flags & NEXT_PROTOCOL != 0 {
        return link::next_protocol(u8_at(bytes, 3)?, rest, around, limits);
    }
    link::ethernet(rest, around, limits)
}

/// Geneve (RFC 8926 section 3.4): version and length of options, flags, EtherType, VNI, options.
fn geneve<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let first = u8_at(bytes, 0)?;
    let kind = u16_at(bytes, 2)?;
    let number = u32_at(bytes, 4)?;
    if first >> 6 != 0 || kind <= 0x05dc || number & 0xff != 0 {
        return Err(Skip::MalformedHeader);
    }
    around.enter(Tag::Geneve, number >> 8, limits)?;
    let rest = behind(bytes, 8 + 4 * usize::from(first & 0x3f))?;
    link::ether_type(kind, rest, around, limits)
}

/// GTP-U version 1 (3GPP TS 29.281 section 5): a G-PDU holds a packet behind extension headers, each of
/// which says its length in units of four bytes, and ends with the type of the next.
fn gtp<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const G_PDU: u8 = 0xff;
    let flags = u8_at(bytes, 0)?;
    if flags & 0xf0 != 0x30 || u8_at(bytes, 1)? != G_PDU {
        return Err(Skip::NotTcpUdp);
    }
    let tunnel = u32_at(bytes, 4)?;
    let mut at = 8;
    if flags & 0x07 != 0 {
        at += 4;
        let mut next = if flags & 0x04 != 0 {
            u8_at(bytes, at - 1)?
        } else {
            0
        };
        while next != 0 {
            let length = 4 * usize::from(u8_at(bytes, at)?);
            if length == 0 {
                return Err(Skip::MalformedHeader);
            }
            at += length;
            next = u8_at(bytes, at - 1)?;
        }
    }
    around.enter(Tag::Gtp, tunnel, limits)?;
    ip::decode(behind(bytes, at)?, around, limits)
}

/// Teredo (RFC 4380 section 5.1.1): IPv6, which may be preceded by authentication and by origin.
fn teredo<'a>(
    mut bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    if u16_at(bytes, 0)? == 0x0001 {
        let lengths = usize::from(u8_at(bytes, 2)?) + usize::from(u8_at(bytes, 3)?);
        bytes = behind(bytes, 4 + lengths + 9)?;
    }
    if u16_at(bytes, 0)? == 0x0000 {
        bytes = behind(bytes, 8)?;
    }
    // QUIC packets may begin with the same four bits: the length must be right, too.
    let length = usize::from(u16_at(bytes, 4)?);
    if u8_at(bytes, 0)? >> 4 != 6 || length + 40 > bytes.len() {
        return Err(Skip::NotTcpUdp);
    }
    around.enter(Tag::Teredo, 0, limits)?;
    ip::decode_v6(bytes, around, limits)
}

/// L2TP version 2 (RFC 2661 section 3.1), a data message.
///
/// ```text
///   T L . . S . O P . . . . version(4) │ [length] │ tunnel │ session │ [Ns, Nr] │ [offset, padding]
/// ```
fn l2tp<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = u16_at(bytes, 0)?;
    if flags & CONTROL != 0 || flags & 0x0f != 2 {
        return Err(Skip::NotTcpUdp);
    }
    let mut at = if flags & LENGTH != 0 { 4 } else { 2 };
    let session = u16_at(bytes, at + 2)?;
    at += if flags & SEQUENCE != 0 { 8 } else { 4 };
    if flags & OFFSET != 0 {
        at += 2 + usize::from(u16_at(bytes, at)?);
    }
    around.enter(Tag::L2tp, u32::from(session), limits)?;
    ppp::ppp(behind(bytes, at)?, around, limits)
}

/// MPLS in UDP (RFC 7510). A stack has no mark of its own: its end must be near, and IP behind it.
fn mpls<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let (entries, _) = bytes.as_chunks::<4>();
    let last = entries
        .iter()
        .take(limits.encapsulation_depth_max)
        .position(|entry| entry[2] & 1 != 0)
        .ok_or(Skip::NotTcpUdp)?;
    if !ip::is_plausible(behind(bytes, 4 * (last + 1))?) {
        return Err(Skip::NotTcpUdp);
    }
    link::mpls(bytes, around, limits)
}

/// TZSP: version 1, type, protocol of the packet, tagged fields up to the end tag.
fn tzsp<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const PADDING: u8 = 0;
    const END: u8 = 1;
    if u8_at(bytes, 0)? != 1 || u8_at(bytes, 1)? > 1 {
        return Err(Skip::NotTcpUdp);
    }
    let mut at = 4;
    loop {
        match u8_at(bytes, at)? {
            PADDING => at += 1,
            END => break,
            _ => at += 2 + usize::from(u8_at(bytes, at + 1)?),
        }
    }
    around.enter(Tag::Tzsp, 0, limits)?;
    let frame = behind(bytes, at + 1)?;
    match u16_at(bytes, 2)? {
        1 => link::ethernet(frame, around, limits),
        18 => wifi::ieee802_11(frame, false, around, limits),
        _ => Err(Skip::NotTcpUdp),
    }
}

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
