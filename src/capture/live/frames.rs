//! Steps over a block of a TPACKET_V3 ring (Linux, `if_packet.h`), copied from the kernel, and says where its
//! packets lie. Bytes in, offsets out; the tag of a VLAN that the hardware took off is put back.
//!
//! ```text
//! block:  version │ offset_to_priv │ status │ num_pkts @12 │ offset_to_first_pkt @16 │ blk_len @20 │ …
//! packet: next_offset @0 │ sec @4 │ nsec @8 │ snaplen @12 │ len @16 │ status @20 │ mac @24 │ net @26 │
//!         rxhash @28 │ vlan_tci @32 │ vlan_tpid @36 │ … │ sockaddr_ll @48 │ … │ frame @mac
//! ```

use crate::capture::block::{Block, LinkType, Packet};

/// Status bits: the VLAN fields of a packet hold something.
const VLAN_VALID: u32 = 1 << 4;
const VLAN_TPID_VALID: u32 = 1 << 6;
/// The usual type of a VLAN tag (IEEE 802.1Q).
const TPID: u16 = 0x8100;
/// Bytes of a tag, and of the two addresses in front of it.
const TAG_BYTES: usize = 4;
const ADDRESSES_BYTES: usize = 12;

/// Hardware types (`if_arp.h`).
mod hardware {
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const RAWIP: u16 = 519;
    pub(super) const LOOPBACK: u16 = 772;
    pub(super) const IEEE802_11: u16 = 801;
    pub(super) const IEEE802_11_PRISM: u16 = 802;
    pub(super) const IEEE802_11_RADIOTAP: u16 = 803;
    pub(super) const NONE: u16 = 0xFFFE;
}

/// Finds the packets in `block.bytes[..block.filled]`, numbering them from `frame` + 1. Gives the number of the last one.
/// What contradicts itself ends the block: the kernel wrote it, so this is not expected.
pub fn step(block: &mut Block, mut frame: u64) -> u64 {
    let count = u32_at(block, 12).unwrap_or(0);
    let mut at = u32_at(block, 16).unwrap_or(0) as usize;
    for _ in 0..count {
        let Some(packet) = packet_at(block, at, frame + 1) else {
            break;
        };
        frame += 1;
        block.packets.push(packet);
        match u32_at(block, at) {
            Some(next @ 1..) => at += next as usize,
            _ => break,
        }
    }
    frame
}

fn packet_at(block: &mut Block, at: usize, frame: u64) -> Option<Packet> {
    let seconds = i64::from(u32_at(block, at + 4)?);
    let nanoseconds = i64::from(u32_at(block, at + 8)?);
    let snapped = u32_at(block, at + 12)? as usize;
    let length = u32_at(block, at + 16)?;
    let status = u32_at(block, at + 20)?;
    let (mac, net) = (
        usize::from(u16_at(block, at + 24)?),
        usize::from(u16_at(block, at + 26)?),
    );
    let interface = u32_at(block, at + 52)?;
    let hardware = u16_at(block, at + 56)?;
    let mut start = at + mac;
    if start + snapped > block.filled {
        return None;
    }
    let (mut captured, mut original) = (snapped, length);
    let link = link_of(hardware);
    if let Some(link) = link {
        if link == LinkType::ETHERNET && status & VLAN_VALID != 0 && snapped >= ADDRESSES_BYTES {
            let tci = u32_at(block, at + 32)?.to_be_bytes();
            let told = status & VLAN_TPID_VALID != 0;
            let tpid = if told { u16_at(block, at + 36)? } else { TPID };
            let mut tag = [0; TAG_BYTES];
            tag[..2].copy_from_slice(&tpid.to_be_bytes());
            tag[2..].copy_from_slice(&tci[2..]);
            start = restore_tag(block, start, tag)?;
            captured += TAG_BYTES;
            original += TAG_BYTES as u32;
        }
    } else {
        // A header that only this kind of device has: the network's one is told, and enough.
        let skip = net.saturating_sub(mac).min(snapped);
        start += skip;
        captured -= skip;
        original = original.saturating_sub(skip as u32);
    }
    Some(Packet {
        offset: u32::try_from(start).ok()?,
        captured_len: u32::try_from(captured).ok()?,
        original_len: original,
        interface,
        link: link.unwrap_or(LinkType::RAW),
        time_ns: seconds * 1_000_000_000 + nanoseconds,
        frame,
    })
}

/// Moves the addresses to the front, over the packet's own ring header, and writes the tag behind them.
fn restore_tag(block: &mut Block, start: usize, tag: [u8; TAG_BYTES]) -> Option<usize> {
    let front = start.checked_sub(TAG_BYTES)?;
    let end = front + ADDRESSES_BYTES + TAG_BYTES;
    let bytes = block.bytes.get_mut(front..end)?;
    bytes.copy_within(TAG_BYTES.., 0);
    bytes.get_mut(ADDRESSES_BYTES..)?.copy_from_slice(&tag);
    Some(front)
}

/// What a frame of such a device begins with; `None` where only the network's header is of use.
fn link_of(hardware: u16) -> Option<LinkType> {
    match hardware {
        hardware::ETHERNET | hardware::LOOPBACK => Some(LinkType::ETHERNET),
        hardware::NONE | hardware::RAWIP => Some(LinkType::RAW),
        hardware::IEEE802_11 => Some(LinkType::IEEE802_11),
        hardware::IEEE802_11_PRISM => Some(LinkType::IEEE802_11_PRISM),
        hardware::IEEE802_11_RADIOTAP => Some(LinkType::IEEE802_11_RADIOTAP),
        _ => None,
    }
}

fn u32_at(block: &Block, at: usize) -> Option<u32> {
    let bytes = block.bytes.get(..block.filled)?.get(at..)?;
    bytes.first_chunk::<4>().copied().map(u32::from_ne_bytes)
}

fn u16_at(block: &Block, at: usize) -> Option<u16> {
    let bytes = block.bytes.get(..block.filled)?.get(at..)?;
    bytes.first_chunk::<2>().copied().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 48;
    const MAC: usize = 82;

    struct Made {
        frame: Vec<u8>,
        hardware: u16,
        vlan: Option<(u16, Option<u16>)>,
        net: usize,
    }

    fn ethernet(last: u8) -> Made {
        let mut frame: Vec<u8> = (0..14).collect();
        frame.push(last);
        Made {
            frame,
            hardware: 1,
            vlan: None,
            net: 14,
        }
    }

    fn ring_block(packets: &[Made]) -> Block {
        let mut bytes = vec![0; HEADER];
        bytes[12..16].copy_from_slice(&(packets.len() as u32).to_ne_bytes());
        bytes[16..20].copy_from_slice(&(HEADER as u32).to_ne_bytes());
        for (index, made) in packets.iter().enumerate() {
            let mut header = vec![0; MAC];
            let size = (MAC + made.frame.len()).next_multiple_of(16);
            let next = if index + 1 == packets.len() { 0 } else { size };
            let length = made.frame.len() as u32;
            let (mut status, mut tci, mut tpid) = (1_u32, 0_u32, 0_u16);
            if let Some((tag, told)) = made.vlan {
                status |= VLAN_VALID;
                tci = u32::from(tag);
                if let Some(told) = told {
                    status |= VLAN_TPID_VALID;
                    tpid = told;
                }
            }
            for (at, value) in [
                (0, next as u32),
                (4, 7),
                (8, 9),
                (12, length),
                (16, length + 100),
                (20, status),
                (32, tci),
                (52, 3),
            ] {
                header[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            }
            for (at, value) in [
                (24, MAC as u16),
                (26, (MAC + made.net) as u16),
                (36, tpid),
                (56, made.hardware),
            ] {
                header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
            }
            bytes.extend(header);
            bytes.extend(&made.frame);
            bytes.resize(bytes.len() - MAC - made.frame.len() + size, 0);
        }
        Block {
            filled: bytes.len(),
            bytes,
            ..Block::default()
        }
    }

    #[test]
    fn packets_are_found_with_their_facts() {
        let mut block = ring_block(&[ethernet(0xAA), ethernet(0xBB)]);
        assert_eq!(step(&mut block, 40), 42);
        let packet = block.packets[1];
        assert_eq!(block.data(&packet), &ethernet(0xBB).frame);
        assert_eq!(packet.time_ns, 7_000_000_009);
        assert_eq!((packet.original_len, packet.interface), (115, 3));
        assert_eq!((packet.link, packet.frame), (LinkType::ETHERNET, 42));
    }

    #[test]
    fn tags_that_the_hardware_took_are_put_back() {
        for (told, tpid) in [(None, [0x81, 0]), (Some(0x88A8), [0x88, 0xA8])] {
            let tagged = Made {
                vlan: Some((0x2007, told)),
                ..ethernet(0xAA)
            };
            let mut block = ring_block(&[tagged, ethernet(0xBB)]);
            step(&mut block, 0);
            let packet = block.packets[0];
            let mut expected: Vec<u8> = (0..12).collect();
            expected.extend(tpid);
            expected.extend([0x20, 7, 12, 13, 0xAA]);
            assert_eq!(block.data(&packet), expected);
            assert_eq!((packet.captured_len, packet.original_len), (19, 119));
            assert_eq!(block.data(&block.packets[1]), &ethernet(0xBB).frame);
        }
    }

    #[test]
    fn of_unknown_devices_the_network_header_is_taken() {
        let made = Made {
            hardware: 778,
            net: 4,
            ..ethernet(0xAA)
        };
        let mut block = ring_block(&[made]);
        step(&mut block, 0);
        let packet = block.packets[0];
        assert_eq!(packet.link, LinkType::RAW);
        assert_eq!(block.data(&packet), &ethernet(0xAA).frame[4..]);
    }

    #[test]
    fn contradictions_end_the_block_and_nothing_else() {
        let whole = ring_block(&[ethernet(1), ethernet(2)]);
        for cut in 0..whole.filled {
            let mut block = Block {
                bytes: whole.bytes.clone(),
                filled: cut,
                ..Block::default()
            };
            step(&mut block, 0);
            for packet in &block.packets {
                assert!(packet.offset as usize + packet.captured_len as usize <= cut);
            }
        }
        for at in 0..whole.filled {
            let mut block = ring_block(&[ethernet(1), ethernet(2)]);
            block.bytes[at] = 0xFF;
            step(&mut block, 0);
            assert!(block.packets.len() <= 2 || at < HEADER);
        }
    }
}
