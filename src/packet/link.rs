//! Link layers: what stands before the IP header.
//!
//! Ethernet with tags of all sorts, LLC/SNAP, Linux cooked captures, loopback, raw IP and the smaller
//! wrappers are here; PPP and Wi-Fi have files of their own. What says neither "IP" nor "another header
//! that is known" is [`Skip::NotIp`]. Sources: IEEE 802.3, 802.1Q, 802.1BR, 802.1ah; RFC 1042, RFC 3032,
//! RFC 8300, RFC 2427; the LINKTYPE_ registry of tcpdump.org.

use super::wire::{behind, chunk, u8_at, u16_at, u32_at};
use super::{Decoded, Encapsulation, Tag, ip, ppp, wifi};
use crate::{capture::LinkType, limits::Limits, stats::Skip};

/// Takes off the link layer's headers and decodes what is inside.
pub fn decode<'a>(
    link: LinkType,
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    match link {
        LinkType::ETHERNET => ethernet(bytes, around, limits),
        LinkType::RAW | LinkType::RAW_12 | LinkType::RAW_14 => ip::decode(bytes, around, limits),
        LinkType::IPV4 => ip::decode_v4(bytes, around, limits),
        LinkType::IPV6 => ip::decode_v6(bytes, around, limits),
        // The family's number differs between systems and byte orders; the IP version does not.
        LinkType::NULL | LinkType::LOOP => ip::decode(behind(bytes, 4)?, around, limits),
        LinkType::LINUX_SLL => ether_type(u16_at(bytes, 14)?, behind(bytes, 16)?, around, limits),
        LinkType::LINUX_SLL2 => {
            let kind = u16_at(bytes, 0)?;
            ether_type(kind, behind(bytes, 20)?, around, limits)
        }
        LinkType::PPP | LinkType::PPP_SERIAL | LinkType::C_HDLC => {
            ppp::framed(bytes, around, limits)
        }
        // A byte that tells the direction, then PPP.
        LinkType::PPP_PPPD | LinkType::PPP_WITH_DIR => {
            ppp::framed(behind(bytes, 1)?, around, limits)
        }
        LinkType::PPP_ETHER => ppp::pppoe(bytes, around, limits),
        LinkType::IEEE802_11 => wifi::ieee802_11(bytes, false, around, limits),
        LinkType::IEEE802_11_RADIOTAP => wifi::radiotap(bytes, around, limits),
        LinkType::IEEE802_11_PRISM | LinkType::IEEE802_11_AVS => wifi::prism(bytes, around, limits),
        LinkType::PPI => wifi::ppi(bytes, around, limits),
        LinkType::NFLOG => nflog(bytes, around, limits),
        LinkType::FRAME_RELAY => frame_relay(bytes, around, limits),
        // A direction byte and the compressed header, 15 bytes; then IP.
        LinkType::SLIP => ip::decode(behind(bytes, 16)?, around, limits),
        LinkType::FDDI => llc(behind(bytes, 13)?, around, limits),
        LinkType::ATM_RFC1483 => llc(bytes, around, limits),
        LinkType::ENC => ip::decode(behind(bytes, 12)?, around, limits),
        LinkType::MPLS => mpls(bytes, around, limits),
        // Four bytes of the analyzer hardware, of a switch's tag, or a preamble; then Ethernet.
        LinkType::NETANALYZER | LinkType::DSA_BRCM_PREPEND => {
            ethernet(behind(bytes, 4)?, around, limits)
        }
        LinkType::ETHERNET_MPACKET => ethernet(behind(bytes, 8)?, around, limits),
        LinkType::PKTAP => pktap(bytes, around, limits),
        _ => Err(Skip::LinkType),
    }
}

/// An Ethernet frame.
pub(super) fn ethernet<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let kind = u16_at(bytes, 12)?;
    ether_type(kind, behind(bytes, 14)?, around, limits)
}

/// Follows an EtherType, through tags, to IP.
pub(super) fn ether_type<'a>(
    mut kind: u16,
    mut bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    // Each round either returns or goes one layer deeper, which is capped.
    loop {
        let (tag, number, length) = match kind {
            0x0800 => return ip::decode_v4(bytes, around, limits),
            0x86dd => return ip::decode_v6(bytes, around, limits),
            // A length: 802.3 with LLC.
            0..=0x05dc => return llc(bytes, around, limits),
            0x8847 | 0x8848 => return mpls(bytes, around, limits),
            0x8864 => return ppp::pppoe(bytes, around, limits),
            0x880b => return ppp::ppp(bytes, around, limits),
            0x894f => return nsh(bytes, around, limits),
            // Transparent Ethernet bridging: as in GRE and Geneve.
            0x6558 => {
                around.descend(limits)?;
                return ethernet(bytes, around, limits);
            }
            // 802.1ah: flags and I-SID, then the customer's frame.
            0x88e7 => {
                around.enter(Tag::Pbb, u32_at(bytes, 0)? & 0x00ff_ffff, limits)?;
                return ethernet(behind(bytes, 4)?, around, limits);
            }
            // 802.1Q, 802.1ad and the older QinQ types: tag control, then the next type.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => {
                (Tag::Vlan, u32::from(u16_at(bytes, 0)? & 0x0fff), 2)
            }
            // 802.1BR: priority and ingress E-CID, group and E-CID, extensions.
            0x893f => (Tag::ETag, u32::from(u16_at(bytes, 2)? & 0x3fff), 6),
            // VN-tag: direction, pointer, destination (14 bits); loop, version, source (12 bits).
            0x8926 => (Tag::VnTag, u32::from(u16_at(bytes, 0)? & 0x3fff), 4),
            // Cisco metadata: version, length in units of four bytes, option, security group.
            0x8909 => (
                Tag::Cmd,
                u32::from(u16_at(bytes, 4)?),
                2 + 4 * usize::from(u8_at(bytes, 1)?.max(1)),
            ),
            _ => return Err(Skip::NotIp),
        };
        around.enter(tag, number, limits)?;
        kind = u16_at(bytes, length)?;
        bytes = behind(bytes, length + 2)?;
    }
}

/// A logical link control header, which with SNAP carries an EtherType (RFC 1042), or names a network
/// layer protocol (RFC 2684).
pub(super) fn llc<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    around.descend(limits)?;
    match bytes {
        [0xaa, 0xaa, 0x03, snap @ ..] => self::snap(snap, around, limits),
        // The SAP of IP itself.
        [0x06, 0x06, 0x03, packet @ ..] => ip::decode(packet, around, limits),
        [0xfe, 0xfe, 0x03, 0xcc, packet @ ..] => ip::decode_v4(packet, around, limits),
        [0xfe, 0xfe, 0x03, 0x8e, packet @ ..] => ip::decode_v6(packet, around, limits),
        [] | [0xaa] | [0xaa, 0xaa] => Err(Skip::CutHeader),
        _ => Err(Skip::NotIp),
    }
}

/// An organisation's number and its type.
fn snap<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let kind = u16_at(bytes, 3)?;
    let rest = behind(bytes, 5)?;
    match chunk::<3>(bytes, 0)? {
        // RFC 1042, and the tunnel of 802.1H.
        [0, 0, 0] | [0, 0, 0xf8] => ether_type(kind, rest, around, limits),
        // Bridged Ethernet, with and without its checksum (RFC 2684 section 5.2): padding, then frame.
        [0, 0x80, 0xc2] if matches!(kind, 1 | 7) => ethernet(behind(rest, 2)?, around, limits),
        _ => Err(Skip::NotIp),
    }
}

/// A stack of MPLS labels (RFC 3032). What is under it is not told, only guessed from its first bytes:
/// IP, or a pseudowire with Ethernet (RFC 4448), most often behind a control word that begins with 0.
pub(super) fn mpls<'a>(
    mut bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    loop {
        let entry = u32_at(bytes, 0)?;
        bytes = behind(bytes, 4)?;
        around.enter(Tag::Mpls, entry >> 12, limits)?;
        if entry & 0x100 != 0 {
            break;
        }
    }
    if ip::is_plausible(bytes) {
        return ip::decode(bytes, around, limits);
    }
    let frame = match bytes.split_first_chunk::<4>() {
        Some(([0..=0x0f, ..], frame)) if has_known_type(frame) => frame,
        Some(_) if has_known_type(bytes) => bytes,
        Some(_) => return Err(Skip::NotIp),
        None => return Err(Skip::CutHeader),
    };
    ethernet(frame, around, limits)
}

/// Is this an Ethernet frame of a type that leads to IP?
fn has_known_type(frame: &[u8]) -> bool {
    matches!(
        u16_at(frame, 12),
        Ok(0x0800 | 0x86dd | 0x8100 | 0x88a8 | 0x8847 | 0x8864)
    )
}

/// A network service header (RFC 8300 section 2.2).
pub(super) fn nsh<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let words = usize::from(u8_at(bytes, 1)? & 0x3f);
    let next = u8_at(bytes, 3)?;
    let path = u32_at(bytes, 4)? >> 8;
    if words < 2 {
        return Err(Skip::MalformedHeader);
    }
    around.enter(Tag::Nsh, path, limits)?;
    next_protocol(next, behind(bytes, 4 * words)?, around, limits)
}

/// The protocol numbers that NSH and VXLAN-GPE share.
pub(super) fn next_protocol<'a>(
    next: u8,
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    match next {
        1 => ip::decode_v4(bytes, around, limits),
        2 => ip::decode_v6(bytes, around, limits),
        3 => ethernet(bytes, around, limits),
        4 => nsh(bytes, around, limits),
        5 => mpls(bytes, around, limits),
        _ => Err(Skip::NotIp),
    }
}

/// Frame relay: an address of two to four bytes, then Cisco's EtherType or RFC 2427's protocol id.
fn frame_relay<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    // The last byte of the address has its lowest bit set.
    let length = 1 + bytes
        .iter()
        .take(4)
        .position(|byte| byte & 1 != 0)
        .ok_or(Skip::CutHeader)?;
    match behind(bytes, length)? {
        [0x03, 0xcc, packet @ ..] => ip::decode_v4(packet, around, limits),
        [0x03, 0x8e, packet @ ..] => ip::decode_v6(packet, around, limits),
        [0x03, 0x80, header @ ..] | [0x03, 0x00, 0x80, header @ ..] => snap(header, around, limits),
        [0x03, ..] => Err(Skip::NotIp),
        [high, low, packet @ ..] => {
            ether_type(u16::from_be_bytes([*high, *low]), packet, around, limits)
        }
        _ => Err(Skip::CutHeader),
    }
}

/// Attributes of Linux' netfilter log, in the byte order of the machine that captured; one of them is
/// the packet.
fn nflog<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const PAYLOAD: u16 = 9;
    let mut rest = behind(bytes, 4)?;
    // The first attribute is short: its length tells the byte order.
    let big_endian = rest.first() == Some(&0);
    let number = |pair: [u8; 2]| match big_endian {
        true => u16::from_be_bytes(pair),
        false => u16::from_le_bytes(pair),
    };
    loop {
        let length = usize::from(number(chunk(rest, 0)?));
        let kind = number(chunk(rest, 2)?) & 0x7fff;
        if length < 4 {
            return Err(Skip::MalformedHeader);
        }
        if kind == PAYLOAD {
            let packet = rest.get(4..length).or(rest.get(4..)).unwrap_or(&[]);
            return ip::decode(packet, around, limits);
        }
        rest = behind(rest, (length + 3) & !3)?;
    }
}

/// Apple's header: its length, and the link type of what follows, as little-endian numbers.
fn pktap<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let length = u32::from_le_bytes(chunk(bytes, 0)?);
    let link = u32::from_le_bytes(chunk(bytes, 8)?);
    let link = LinkType(u16::try_from(link).map_err(|_| Skip::LinkType)?);
    around.descend(limits)?;
    decode(link, behind(bytes, length as usize)?, around, limits)
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
