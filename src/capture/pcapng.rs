//! pcapng: sections of typed blocks, each with its own byte order, interfaces and time units.
//!
//! The block that holds nearly all bytes (enhanced packet) is framed here by its fixed fields alone:
//! `pcap-parser`'s general block parser costs ten times as many instructions for it, for it also takes
//! the options apart (see `benches/parse.rs`). All other blocks are read by `pcap-parser`.
//! Source: draft-ietf-opsawg-pcapng.

use super::block::{LinkType, Packet};
use super::feed::{Fault, Step};
use pcap_parser::{
    Block as Parsed, InterfaceDescriptionBlock, OptionCode, PcapError, parse_block_be,
    parse_block_le,
};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET_OBSOLETE: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Interfaces of one section that are remembered; a file that claims more is hostile.
const INTERFACES_MAX: usize = 65_536;

/// One interface of a section.
#[derive(Clone, Debug)]
struct Interface {
    link: LinkType,
    snap_len: u32,
    units: Units,
    offset_s: i64,
}

/// How a time stamp's units become nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Units {
    /// Units are this many nanoseconds long.
    Nanoseconds(u64),
    /// So many units make a second.
    PerSecond(u128),
}

impl Units {
    /// From the if_tsresol option: a power of 10, or of 2 where the top bit is set.
    fn new(resolution: Option<u8>) -> Self {
        let resolution = resolution.unwrap_or(6);
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Self::PerSecond(
                1u128
                    .checked_shl(exponent)
                    .filter(|&units| units != 0)
                    .unwrap_or(u128::MAX),
            )
        } else if exponent <= 9 {
            Self::Nanoseconds(10u64.pow(9 - exponent))
        } else {
            Self::PerSecond(10u128.checked_pow(exponent).unwrap_or(u128::MAX))
        }
    }

    fn to_ns(self, stamp: u64) -> i64 {
        match self {
            Self::Nanoseconds(unit) => stamp.wrapping_mul(unit) as i64,
            Self::PerSecond(units) => {
                let stamp = u128::from(stamp);
                let (seconds, rest) = (stamp / units, stamp % units);
                // The remainder is below `units`; halve both until the product fits.
                let shift = 32u32.saturating_sub(units.leading_zeros());
                let fraction = (rest >> shift) * 1_000_000_000 / (units >> shift).max(1);
                (seconds as i64)
                    .wrapping_mul(1_000_000_000)
                    .wrapping_add(fraction as i64)
            }
        }
    }
}

/// Where a pcapng file stands.
#[derive(Clone, Debug)]
pub struct Pcapng {
    big_endian: bool,
    section_seen: bool,
    interfaces: Vec<Interface>,
    links: Vec<LinkType>,
    frame: u64,
    last_time_ns: i64,
    unknown_blocks: u64,
    packet_bytes_max: usize,
}

impl Pcapng {
    /// Are these the first bytes of such a file?
    pub fn matches(bytes: &[u8]) -> bool {
        bytes.starts_with(&SECTION_HEADER.to_be_bytes())
    }

    /// A reader at the start of a file.
    pub fn new(packet_bytes_max: usize) -> Self {
        Self {
            big_endian: false,
            section_seen: false,
            interfaces: Vec::new(),
            links: Vec::new(),
            frame: 0,
            last_time_ns: 0,
            unknown_blocks: 0,
            packet_bytes_max,
        }
    }

    /// Link types of all interfaces seen so far.
    pub fn links(&self) -> &[LinkType] {
        &self.links
    }

    /// Blocks of a type that this reader does not know.
    pub fn unknown_blocks(&self) -> u64 {
        self.unknown_blocks
    }

    fn u32_at(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let chunk = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian {
            u32::from_be_bytes(chunk)
        } else {
            u32::from_le_bytes(chunk)
        })
    }

    fn u16_at(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let chunk = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big_endian {
            u16::from_be_bytes(chunk)
        } else {
            u16::from_le_bytes(chunk)
        })
    }

    /// Steps over the bytes from the current position; see [`Step`].
    pub fn step(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Step {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or(&[]);
            // A section header's type reads the same in both byte orders; the byte order follows.
            if rest.starts_with(&SECTION_HEADER.to_be_bytes()) {
                match rest.get(8..12) {
                    Some([0x1a, 0x2b, 0x3c, 0x4d]) => self.big_endian = true,
                    Some([0x4d, 0x3c, 0x2b, 0x1a]) => self.big_endian = false,
                    Some(_) => return broken(used, "the byte-order magic of a section header"),
                    None => return Step::need(used, 12, "a section header block"),
                }
                self.section_seen = true;
            }
            let (Some(kind), Some(length)) = (self.u32_at(rest, 0), self.u32_at(rest, 4)) else {
                return Step::need(used, 8, "a block's type and length");
            };
            if !self.section_seen {
                return broken(used, "a section header block");
            }
            let length = length as usize;
            if length < 12 {
                return broken(
                    used,
                    format_args!("a block length of at least 12, found {length}"),
                );
            }
            // Lengths are multiples of four; some writers forget the padding.
            let length = length.saturating_add(3) & !3;
            if length > self.packet_bytes_max {
                let cap = self.packet_bytes_max;
                return broken(
                    used,
                    format_args!("a block length up to {cap}, found {length}"),
                );
            }
            let Some(block) = rest.get(..length) else {
                return Step::need(used, length, format_args!("a block of {length} bytes"));
            };
            self.block(kind, block, used, packets);
            used += length;
        }
    }

    fn block(&mut self, kind: u32, block: &[u8], at: usize, packets: &mut Vec<Packet>) {
        match kind {
            ENHANCED_PACKET => self.timed_packet(self.u32_at(block, 8), block, at, packets),
            SIMPLE_PACKET => self.simple_packet(block, at, packets),
            PACKET_OBSOLETE => {
                let interface = self.u16_at(block, 8).map(u32::from);
                self.timed_packet(interface, block, at, packets);
            }
            SECTION_HEADER => self.interfaces.clear(),
            INTERFACE_DESCRIPTION => self.interface(block),
            // Name resolution, statistics, journal, decryption secrets, custom blocks.
            4 | 5 | 9 | 10 | 0x0bad | 0x4000_0bad => {}
            _ => self.unknown_blocks += 1,
        }
    }

    fn interface(&mut self, block: &[u8]) {
        let parsed: Result<_, nom::Err<PcapError<&[u8]>>> = if self.big_endian {
            parse_block_be(block)
        } else {
            parse_block_le(block)
        };
        let interface = match parsed {
            Ok((_, Parsed::InterfaceDescription(idb))) => self.read_interface(&idb),
            // Unreadable options: the fixed fields still tell the link type.
            _ => Interface {
                link: LinkType(self.u16_at(block, 8).unwrap_or(0)),
                snap_len: self.u32_at(block, 12).unwrap_or(0),
                units: Units::new(None),
                offset_s: 0,
            },
        };
        if !self.links.contains(&interface.link) {
            self.links.push(interface.link);
        }
        if self.interfaces.len() < INTERFACES_MAX {
            self.interfaces.push(interface);
        }
    }

    fn read_interface(&self, idb: &InterfaceDescriptionBlock<'_>) -> Interface {
        let option = |code| {
            idb.options
                .iter()
                .find(|option| option.code == code)
                .map(|option| &*option.value)
        };
        let resolution = option(OptionCode::IfTsresol).and_then(|value| value.first().copied());
        let offset_s = option(OptionCode::IfTsoffset)
            .and_then(|value| value.first_chunk::<8>())
            .map_or(0, |&bytes| {
                if self.big_endian {
                    i64::from_be_bytes(bytes)
                } else {
                    i64::from_le_bytes(bytes)
                }
            });
        Interface {
            link: LinkType(idb.linktype.0 as u16),
            snap_len: idb.snaplen,
            units: Units::new(resolution),
            offset_s,
        }
    }

    /// Enhanced and obsolete packet blocks differ in the width of their interface number only.
    fn timed_packet(
        &mut self,
        interface: Option<u32>,
        block: &[u8],
        at: usize,
        packets: &mut Vec<Packet>,
    ) {
        let (Some(interface), Some(high), Some(low), Some(captured), Some(original), Some(room)) = (
            interface,
            self.u32_at(block, 12),
            self.u32_at(block, 16),
            self.u32_at(block, 20),
            self.u32_at(block, 24),
            // The fixed fields in front, the length behind: a shorter block is no packet.
            block.len().checked_sub(32),
        ) else {
            return self.odd_packet();
        };
        let stamp = u64::from(high) << 32 | u64::from(low);
        self.packet(interface, stamp, captured, original, at + 28, room, packets);
    }

    /// A simple packet block has neither a time nor an interface: it belongs to the first interface, and
    /// takes the time of the packet before it.
    fn simple_packet(&mut self, block: &[u8], at: usize, packets: &mut Vec<Packet>) {
        let Some(original) = self.u32_at(block, 8) else {
            return self.odd_packet();
        };
        let Some(room) = block.len().checked_sub(16) else {
            return self.odd_packet();
        };
        let (link, snap_len) = self
            .interfaces
            .first()
            .map_or((LinkType::ETHERNET, 0), |i| (i.link, i.snap_len));
        let captured = original
            .min(if snap_len == 0 { u32::MAX } else { snap_len })
            .min(room as u32);
        self.frame += 1;
        packets.push(Packet {
            offset: (at + 12) as u32,
            captured_len: captured,
            original_len: original,
            interface: 0,
            link,
            time_ns: self.last_time_ns,
            frame: self.frame,
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn packet(
        &mut self,
        interface: u32,
        stamp: u64,
        captured: u32,
        original: u32,
        offset: usize,
        room: usize,
        packets: &mut Vec<Packet>,
    ) {
        self.frame += 1;
        let Some(known) = self.interfaces.get(interface as usize) else {
            self.unknown_blocks += 1;
            return;
        };
        let time_ns = known
            .units
            .to_ns(stamp)
            .wrapping_add(known.offset_s.wrapping_mul(1_000_000_000));
        self.last_time_ns = time_ns;
        packets.push(Packet {
            offset: offset as u32,
            // A captured length beyond its block is a lie; the block's end is the truth.
            captured_len: captured.min(room as u32),
            original_len: original,
            interface,
            link: known.link,
            time_ns,
            frame: self.frame,
        });
    }

    /// A packet block too short for its own fields still counts as a frame, as Wireshark counts.
    fn odd_packet(&mut self) {
        self.frame += 1;
        self.unknown_blocks += 1;
    }
}

fn broken(used: usize, expected: impl ToString) -> Step {
    Step {
        used,
        need: 0,
        fault: Some(Fault::Broken(format!("expected {}", expected.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_blocks_shorter_than_their_fields_are_no_packets() {
        let section = [
            0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255,
            255, 255, 255, 255, 255, 28, 0, 0, 0,
        ];
        let interface = [1, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0];
        for kind in [2, 3, 6] {
            for length in (12..32u8).step_by(4) {
                let mut bytes = [&section[..], &interface].concat();
                let mut block = vec![0xffu8; usize::from(length)];
                block[..8].copy_from_slice(&[kind, 0, 0, 0, length, 0, 0, 0]);
                bytes.extend(block);
                let mut packets = Vec::new();
                Pcapng::new(1 << 20).step(&bytes, &mut packets);
                assert!(
                    packets.iter().all(|packet| packet.captured_len <= 12),
                    "{packets:?}"
                );
            }
        }
    }

    #[test]
    fn every_time_resolution_is_understood() {
        let second = 1_700_000_000u64;
        for (resolution, stamp) in [
            (None, second * 1_000_000 + 500_000),
            (Some(9), second * 1_000_000_000 + 500_000_000),
            (Some(3), second * 1_000 + 500),
            (Some(0x80 | 10), second << 10 | 512),
            (Some(0x80 | 20), second << 20 | 1 << 19),
            (Some(0x80 | 30), second << 30 | 1 << 29),
        ] {
            assert_eq!(
                Units::new(resolution).to_ns(stamp),
                1_700_000_000_500_000_000,
                "{resolution:?}"
            );
        }
        assert_eq!(Units::new(Some(12)).to_ns(1_500_000_000_000), 1_500_000_000);
        // Absurd resolutions give a time, not a panic.
        for resolution in 0..=255 {
            Units::new(Some(resolution)).to_ns(u64::MAX);
        }
    }
}
