//! pcapng: sections of typed blocks, each with its own byte order, interfaces and time units.
//!
//! The block that holds nearly all bytes (enhanced packet) is framed by its fixed fields alone, and its options
//! are looked at only where there are any: `pcap-parser`'s general block parser, which takes them apart
//! always, costs ten times as many instructions (see `benches/parse.rs`). What stands beside the packets is
//! read in `options`.
//! Source: draft-ietf-opsawg-pcapng.

mod options;
mod secrets;

pub use secrets::late_secrets;

use super::Named;
use super::block::{Block, LinkType, Packet};
use super::feed::{Fault, Step};
use options::{About, Aside, Order};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET_OBSOLETE: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
/// Bytes of a packet block in front of its packet.
const FIXED_BYTES: usize = 28;
/// Options of an interface description block.
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
/// Bytes kept of an interface's name or description.
const NAME_BYTES_MAX: usize = 256;
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
    order: Order,
    section_seen: bool,
    /// Interfaces of the current section, and how many there were in those before.
    interfaces: Vec<Interface>,
    interfaces_before: u32,
    /// The interfaces of all sections.
    named: Vec<Named>,
    aside: Aside,
    about: About,
    links: Vec<LinkType>,
    frame: u64,
    last_time_ns: i64,
    unknown_blocks: u64,
    packet_bytes_max: usize,
    /// The rest of a secrets block that is longer than any packet may be.
    long_secrets: Option<secrets::Long>,
}

impl Pcapng {
    /// Are these the first bytes of such a file?
    pub fn matches(bytes: &[u8]) -> bool {
        bytes.starts_with(&SECTION_HEADER.to_be_bytes())
    }

    /// A reader at the start of a file.
    pub fn new(packet_bytes_max: usize) -> Self {
        Self {
            order: Order::default(),
            section_seen: false,
            interfaces: Vec::new(),
            interfaces_before: 0,
            named: Vec::new(),
            aside: Aside::default(),
            about: About::default(),
            links: Vec::new(),
            frame: 0,
            last_time_ns: 0,
            unknown_blocks: 0,
            packet_bytes_max,
            long_secrets: None,
        }
    }

    /// What the interfaces of all sections seen so far are called, by the packets' interface numbers.
    pub fn interfaces(&self) -> &[Named] {
        &self.named
    }

    /// What is known beside the packets, as far as it was read.
    pub fn about(&self) -> super::About {
        super::About {
            links: self.links.clone(),
            unknown_blocks: self.unknown_blocks,
            notes: self.about.notes(),
            hosts: self.about.hosts.clone(),
            ..Default::default()
        }
    }

    /// Hands what the last step found beside the packets to the block in whose bytes it stepped.
    pub fn hand_over(&mut self, block: &mut Block) {
        self.aside.hand_over(block);
    }

    /// Steps over the bytes from the current position; see [`Step`].
    pub fn step(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Step {
        self.aside.clear();
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or(&[]);
            if let Some(long) = self.long_secrets {
                match self.long_secrets(rest, used, packets.len()) {
                    0 => return Step::need(used, long.need(), "the rest of a secrets block"),
                    count => used += count,
                }
                continue;
            }
            // A section header's type reads the same in both byte orders; the byte order follows.
            if rest.starts_with(&SECTION_HEADER.to_be_bytes()) {
                match rest.get(8..12) {
                    Some([0x1a, 0x2b, 0x3c, 0x4d]) => self.order.big_endian = true,
                    Some([0x4d, 0x3c, 0x2b, 0x1a]) => self.order.big_endian = false,
                    Some(_) => return broken(used, "the byte-order magic of a section header"),
                    None => return Step::need(used, 12, "a section header block"),
                }
                self.section_seen = true;
            }
            let (Some(kind), Some(length)) = (self.order.u32(rest, 0), self.order.u32(rest, 4))
            else {
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
            if length > self.packet_bytes_max && kind == DECRYPTION_SECRETS {
                let Some(head) = rest.get(..16) else {
                    return Step::need(used, 16, "a secrets block");
                };
                self.long_secrets = secrets::Long::new(self.order, head, length);
                used += head.len();
                continue;
            }
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

    /// Takes what has come of a long secrets block, of which `rest` begins at `at`; 0: more is needed.
    #[cold]
    fn long_secrets(&mut self, rest: &[u8], at: usize, before: usize) -> usize {
        let Some(long) = &mut self.long_secrets else {
            return 0;
        };
        let piece = long.piece(rest);
        if piece > 0 {
            long.secrets -= piece;
            self.aside.secrets_piece(long.kind, at, piece, before);
            return piece;
        }
        if long.secrets > 0 {
            return 0;
        }
        let behind = long.behind.min(rest.len());
        long.behind -= behind;
        if long.behind == 0 {
            self.long_secrets = None;
        }
        behind
    }

    fn block(&mut self, kind: u32, block: &[u8], at: usize, packets: &mut Vec<Packet>) {
        match kind {
            ENHANCED_PACKET => self.timed_packet(self.order.u32(block, 8), block, at, packets),
            SIMPLE_PACKET => self.simple_packet(block, at, packets),
            PACKET_OBSOLETE => {
                let interface = self.order.u16(block, 8).map(u32::from);
                self.timed_packet(interface, block, at, packets);
            }
            SECTION_HEADER => self.section(block),
            INTERFACE_DESCRIPTION => self.interface(block),
            NAME_RESOLUTION => self.about.names(self.order, block),
            INTERFACE_STATISTICS => {
                self.about
                    .statistics(self.order, block, self.interfaces_before)
            }
            DECRYPTION_SECRETS => self.aside.secrets(self.order, block, at, packets.len()),
            // Journal, custom blocks.
            9 | 0x0bad | 0x4000_0bad => {}
            _ => self.unknown_blocks += 1,
        }
    }

    /// Takes a section header block: interfaces are numbered anew behind it.
    fn section(&mut self, block: &[u8]) {
        self.interfaces_before = self.named.len() as u32;
        self.interfaces.clear();
        self.comments(block, 24);
    }

    /// Keeps the comments among the options of a block that describes something.
    fn comments(&mut self, block: &[u8], options_at: usize) {
        let options = block.get(options_at..block.len().saturating_sub(4));
        for (code, _, value) in self.order.options(options.unwrap_or(&[])) {
            if code == options::COMMENT {
                self.about.comment(value);
            }
        }
    }

    fn interface(&mut self, block: &[u8]) {
        let (mut resolution, mut offset_s) = (None, 0);
        let mut named = Named::default();
        let options = block.get(16..block.len().saturating_sub(4)).unwrap_or(&[]);
        for (code, _, value) in self.order.options(options) {
            match code {
                IF_NAME => named.name = Some(options::text(value, NAME_BYTES_MAX)),
                IF_DESCRIPTION => named.description = Some(options::text(value, NAME_BYTES_MAX)),
                IF_TSRESOL => resolution = value.first().copied(),
                IF_TSOFFSET => offset_s = self.order.u64(value, 0).unwrap_or(0) as i64,
                _ => {}
            }
        }
        self.comments(block, 16);
        let interface = Interface {
            link: LinkType(self.order.u16(block, 8).unwrap_or(0)),
            snap_len: self.order.u32(block, 12).unwrap_or(0),
            units: Units::new(resolution),
            offset_s,
        };
        if !self.links.contains(&interface.link) {
            self.links.push(interface.link);
        }
        if self.interfaces.len() < INTERFACES_MAX {
            self.interfaces.push(interface);
        }
        if self.named.len() < INTERFACES_MAX {
            self.named.push(named);
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
            self.order.u32(block, 12),
            self.order.u32(block, 16),
            self.order.u32(block, 20),
            self.order.u32(block, 24),
            // The fixed fields in front, the length behind: a shorter block is no packet.
            block.len().checked_sub(FIXED_BYTES + 4),
        ) else {
            return self.odd_packet();
        };
        self.frame += 1;
        let Some(known) = self.interfaces.get(interface as usize) else {
            self.unknown_blocks += 1;
            return;
        };
        let time_ns = known
            .units
            .to_ns(u64::from(high) << 32 | u64::from(low))
            .wrapping_add(known.offset_s.wrapping_mul(1_000_000_000));
        self.last_time_ns = time_ns;
        // A captured length beyond its block is a lie; the block's end is the truth.
        let captured_len = captured.min(room as u32);
        packets.push(Packet {
            offset: (at + FIXED_BYTES) as u32,
            captured_len,
            original_len: original,
            interface: self.interfaces_before.wrapping_add(interface),
            link: known.link,
            time_ns,
            frame: self.frame,
        });
        // Options, if there is more than their end.
        let options_at = FIXED_BYTES + (captured_len as usize).next_multiple_of(4);
        if let Some(options) = block.get(options_at..block.len() - 4)
            && options.len() > 4
        {
            let index = packets.len() - 1;
            self.aside
                .packet(self.order, options, at + options_at, index);
        }
    }

    /// A simple packet block has neither a time nor an interface: it belongs to the first interface, and
    /// takes the time of the packet before it.
    fn simple_packet(&mut self, block: &[u8], at: usize, packets: &mut Vec<Packet>) {
        let Some(original) = self.order.u32(block, 8) else {
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
            interface: self.interfaces_before,
            link,
            time_ns: self.last_time_ns,
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
