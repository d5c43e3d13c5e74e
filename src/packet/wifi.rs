//! IEEE 802.11 data frames, and what monitor-mode captures put in front of them.
//!
//! A frame that is marked as protected is still read when its body begins with LLC: Windows hands over
//! decrypted bodies with the mark left on. Of an aggregate, the first packet is read. Sources: IEEE
//! 802.11-2020 section 9.2 and 9.3; radiotap.org; the PPI, Prism and AVS layouts of the LINKTYPE_
//! registry.

use super::wire::{behind, chunk, u8_at};
use super::{Decoded, Encapsulation, link};
use crate::{capture::LinkType, limits::Limits, stats::Skip};

/// An 802.11 frame; `padded` to four bytes behind its header, as some drivers do.
pub(super) fn ieee802_11<'a>(
    bytes: &'a [u8],
    padded: bool,
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let [kind, flags] = chunk::<2>(bytes, 0)?;
    let fragment = u8_at(bytes, 22)? & 0x0f;
    data(kind, flags, fragment, bytes, padded, around, limits)
}

/// The same as some controllers send it through CAPWAP: the two bytes of the frame control, and of the sequence control,
/// are exchanged.
pub(super) fn ieee802_11_exchanged<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let [flags, kind] = chunk::<2>(bytes, 0)?;
    let fragment = u8_at(bytes, 23)? & 0x0f;
    data(kind, flags, fragment, bytes, false, around, limits)
}

fn data<'a>(
    kind: u8,
    flags: u8,
    fragment: u8,
    bytes: &'a [u8],
    padded: bool,
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const TO_AND_FROM_DS: u8 = 0x03;
    const MORE_FRAGMENTS: u8 = 0x04;
    const PROTECTED: u8 = 0x40;
    const ORDER: u8 = 0x80;
    // Version 0, type 2 (data), and not one of the subtypes without data.
    if kind & 0x0f != 0x08 || kind & 0x40 != 0 {
        return Err(Skip::NotIp);
    }
    if flags & MORE_FRAGMENTS != 0 || fragment != 0 {
        return Err(Skip::NotIp);
    }
    let mut length = 24;
    if flags & TO_AND_FROM_DS == TO_AND_FROM_DS {
        length += 6;
    }
    let mut aggregate = false;
    if kind & 0x80 != 0 {
        aggregate = u8_at(bytes, length)? & 0x80 != 0;
        length += if flags & ORDER != 0 { 6 } else { 2 };
    }
    if padded {
        length = (length + 3) & !3;
    }
    if aggregate {
        // Two addresses and a length in front of each packet.
        length += 14;
    }
    let body = behind(bytes, length)?;
    if flags & PROTECTED != 0 && !body.starts_with(&[0xaa, 0xaa, 0x03]) {
        return Err(Skip::NotIp);
    }
    link::llc(body, around, limits)
}

/// A radiotap header: version 0, length, fields present; of the fields only the flags matter.
pub(super) fn radiotap<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    const PADDED: u8 = 0x20;
    let length = usize::from(u16::from_le_bytes(chunk(bytes, 2)?));
    let header = bytes.get(..length).ok_or(Skip::CutHeader)?;
    let flags = radiotap_flags(header).unwrap_or(0);
    around.descend(limits)?;
    ieee802_11(behind(bytes, length)?, flags & PADDED != 0, around, limits)
}

fn radiotap_flags(header: &[u8]) -> Option<u8> {
    let present = |index: usize| {
        let word = *header.get(4 + 4 * index..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(word))
    };
    // Bit 31: another word of bits follows.
    let words = 1
        + (0..64)
            .take_while(|&index| present(index).is_some_and(|word| word >> 31 != 0))
            .count();
    let fields = present(0)?;
    let mut at = 4 + 4 * words;
    if fields & 1 != 0 {
        // The timer, aligned to its own size.
        at = ((at + 7) & !7) + 8;
    }
    (fields & 2 != 0).then(|| header.get(at).copied()).flatten()
}

/// A Prism header of fixed length, or the AVS header that took its place.
pub(super) fn prism<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let length = match chunk::<4>(bytes, 0)? {
        [0x80, 0x21, 0x10, 0x01 | 0x02] => u32::from_be_bytes(chunk(bytes, 4)?),
        _ => 144,
    };
    ieee802_11(behind(bytes, length as usize)?, false, around, limits)
}

/// A per-packet information header: version, flags, length, link type of what follows.
pub(super) fn ppi<'a>(
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    let length = u16::from_le_bytes(chunk(bytes, 2)?);
    let link = u32::from_le_bytes(chunk(bytes, 4)?);
    let link = LinkType(u16::try_from(link).map_err(|_| Skip::LinkType)?);
    around.descend(limits)?;
    link::decode(link, behind(bytes, usize::from(length))?, around, limits)
}
