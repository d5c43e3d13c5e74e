//! Where packets of a trace end up: in the block, with the few facts that only a trace knows beside them.
//!
//! The same packet seen at several places of the network stack is counted once: see [`super::sightings`].

use super::sightings::{Sighting, Sightings};
use crate::capture::block::{Block, LinkType, Packet};
use crate::capture::extra::{DropCause, Extra, Way};
use crate::capture::le::{u16_at, utf16_at};
use crate::limits::Limits;
use std::collections::HashMap;

pub(in crate::capture) const ETHERNET: LinkType = LinkType(1);
pub(in crate::capture) const RAW_IP: LinkType = LinkType(101);
pub(in crate::capture) const WIFI: LinkType = LinkType(105);

/// Which way a packet went, as the system said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// What a trace knows of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketExtra {
    /// Process of the thread that was running when the packet passed: often the right one for sent packets,
    /// rarely for received ones.
    pub process_id: Option<u32>,
    /// That thread.
    pub thread_id: Option<u32>,
    /// Which way it went.
    pub direction: Option<Direction>,
    /// Why the system dropped it; the number's meaning depends on the build.
    pub drop_reason: Option<u32>,
    /// Where the system dropped it.
    pub drop_location: Option<u32>,
}

impl PacketExtra {
    /// What is said of the packet to those who analyse it. Of a received packet the process is whoever was
    /// running when it came, not whom it was for.
    fn told(&self) -> Extra {
        let sent = self.direction == Some(Direction::Out);
        Extra {
            process_id: self.process_id.filter(|_| sent).unwrap_or(0),
            way: self.direction.map(|direction| match direction {
                Direction::In => Way::In,
                Direction::Out => Way::Out,
            }),
            dropped: self.drop_reason.map(|reason| DropCause {
                reason,
                location: self.drop_location.unwrap_or(0),
            }),
            ..Extra::default()
        }
    }
}

/// Where packets are seen: an adapter's layer or a component of the network stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An adapter, and the layer below the point of capture; equal when nothing is between.
    Adapter {
        /// Number of the adapter.
        adapter: u32,
        /// Number of the layer.
        lower: u32,
    },
    /// A component as pktmon numbers them.
    Component(u16),
    /// A port of a virtual switch.
    SwitchPort {
        /// Number of the adapter.
        adapter: u32,
        /// Number of the port.
        port: u32,
    },
    /// Remote access (VPN) by Windows' own means.
    RemoteAccess,
    /// The filter platform, which also sees loopback traffic.
    FilterPlatform,
    /// One of those beyond the cap.
    Other,
}

/// One of a trace's interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it is.
    pub place: Place,
    /// Its name, where the trace has it.
    pub name: Option<String>,
    /// Its description, where the trace has it.
    pub description: Option<String>,
}

/// A packet as the decoders find it.
#[derive(Clone, Copy, Debug)]
pub(in crate::capture) struct Found<'a> {
    pub(in crate::capture) bytes: &'a [u8],
    pub(in crate::capture) original_len: u32,
    pub(in crate::capture) link: LinkType,
    pub(in crate::capture) time_ns: i64,
    pub(in crate::capture) place: Place,
    /// Which side of the place, where it has several.
    pub(in crate::capture) edge: u16,
    /// The system's own number of the packet, where it gives one.
    pub(in crate::capture) group: Option<(u64, u16)>,
    pub(in crate::capture) extra: PacketExtra,
}

/// What was counted on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::capture) struct Counts {
    pub(in crate::capture) packets: u64,
    pub(in crate::capture) folded: u64,
    pub(in crate::capture) drops: u64,
    /// Packets that are shorter than they were, and the longest of them.
    pub(in crate::capture) cut: u64,
    pub(in crate::capture) cut_at: u32,
    /// Packets beyond the cap of one packet's size, or empty.
    pub(in crate::capture) unusable: u64,
}

/// Puts packets into blocks.
pub(in crate::capture) struct Packets {
    interfaces: Vec<Place>,
    by_place: HashMap<Place, u32>,
    last_place: Option<(Place, u32)>,
    sightings: Sightings,
    /// Show every sighting.
    all: bool,
    frame: u64,
    extras: Vec<(u64, PacketExtra)>,
    packet_bytes_max: usize,
    names_max: usize,
    /// What happened.
    pub(in crate::capture) counts: Counts,
}

impl Packets {
    pub(in crate::capture) fn new(limits: &Limits) -> Self {
        Self {
            interfaces: Vec::new(),
            by_place: HashMap::new(),
            last_place: None,
            sightings: Sightings::new(limits.sightings_max),
            all: false,
            frame: 0,
            extras: Vec::new(),
            packet_bytes_max: limits.packet_bytes_max,
            names_max: limits.trace_names_max,
            counts: Counts::default(),
        }
    }

    /// Shows a packet each time it is seen.
    pub(in crate::capture) fn show_all(&mut self) {
        self.all = true;
    }

    /// A new block begins: the extras of the last one are forgotten.
    pub(in crate::capture) fn begin_block(&mut self) {
        self.extras.clear();
    }

    /// What is known of `frame`, which is in the block that was filled last.
    pub(in crate::capture) fn extra(&self, frame: u64) -> Option<&PacketExtra> {
        let at = self
            .extras
            .binary_search_by_key(&frame, |(frame, _)| *frame)
            .ok()?;
        self.extras.get(at).map(|(_, extra)| extra)
    }

    /// The places, in the order of their interface numbers.
    pub(in crate::capture) fn places(&self) -> &[Place] {
        &self.interfaces
    }

    /// The number of the frame that was shown last.
    pub(in crate::capture) fn set_frame(&mut self, frame: u64) {
        self.frame = frame;
    }

    /// Puts a packet into the block, unless it was there already.
    pub(in crate::capture) fn push(&mut self, found: &Found<'_>, block: &mut Block) {
        let captured = found.bytes.len();
        if captured == 0 || captured > self.packet_bytes_max {
            self.counts.unusable += 1;
            return;
        }
        let interface = self.interface(found.place);
        self.frame += 1;
        let seen = self.sightings.see(found, interface, self.frame);
        self.counts.drops += u64::from(found.extra.drop_reason.is_some());
        if let Sighting::Again { frame } = seen {
            self.counts.folded += 1;
            if !self.all {
                if found.extra.drop_reason.is_some() {
                    repeat(found, interface, frame, block);
                }
                return;
            }
        }
        let captured_len = u32::try_from(captured).unwrap_or(u32::MAX);
        if captured_len < found.original_len {
            self.counts.cut += 1;
            self.counts.cut_at = self.counts.cut_at.max(captured_len);
        }
        let Some(offset) = append(block, found.bytes) else {
            return;
        };
        self.counts.packets += 1;
        self.extras.push((self.frame, found.extra));
        block.packets.push(Packet {
            offset,
            captured_len,
            original_len: found.original_len.max(captured_len),
            interface,
            link: found.link,
            time_ns: found.time_ns,
            frame: self.frame,
        });
        if let Some(extra) = block.last_extra() {
            *extra = found.extra.told();
        }
    }

    fn interface(&mut self, place: Place) -> u32 {
        if let Some((last, number)) = self.last_place
            && last == place
        {
            return number;
        }
        let full = self.interfaces.len() >= self.names_max;
        let place = if full && !self.by_place.contains_key(&place) {
            Place::Other
        } else {
            place
        };
        let number = *self.by_place.entry(place).or_insert_with(|| {
            self.interfaces.push(place);
            u32::try_from(self.interfaces.len() - 1).unwrap_or(u32::MAX)
        });
        self.last_place = Some((place, number));
        number
    }
}

/// Shows a packet again, under the number of its first sighting, because of what this sighting says of it.
fn repeat(found: &Found<'_>, interface: u32, frame: u64, block: &mut Block) {
    let Some(offset) = append(block, found.bytes) else {
        return;
    };
    let captured_len = u32::try_from(found.bytes.len()).unwrap_or(u32::MAX);
    block.packets.push(Packet {
        offset,
        captured_len,
        original_len: found.original_len.max(captured_len),
        interface,
        link: found.link,
        time_ns: found.time_ns,
        frame,
    });
    block.repeated += 1;
    if let Some(extra) = block.last_extra() {
        *extra = Extra {
            repeated: true,
            ..found.extra.told()
        };
    }
}

/// Copies bytes behind those that the block holds; where they begin.
pub(in crate::capture) fn append(block: &mut Block, bytes: &[u8]) -> Option<u32> {
    let start = block.filled;
    let end = start.checked_add(bytes.len())?;
    let offset = u32::try_from(start).ok()?;
    if block.bytes.len() < start {
        block.bytes.resize(start, 0);
    }
    if let Some(room) = block.bytes.get_mut(start..end) {
        room.copy_from_slice(bytes);
    } else {
        block.bytes.truncate(start);
        block.bytes.extend_from_slice(bytes);
    }
    block.filled = end;
    Some(offset)
}

/// The bytes that a packet had on the wire, when its own IP header claims more than was captured.
pub(super) fn original_len(link: LinkType, bytes: &[u8]) -> u32 {
    let captured = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (head, ip) = match link {
        RAW_IP => (0, bytes),
        ETHERNET => match bytes.get(12..14) {
            Some([0x08, 0x00] | [0x86, 0xDD]) => (14, bytes.get(14..).unwrap_or_default()),
            _ => return captured,
        },
        _ => return captured,
    };
    let claimed = match ip.first().map(|first| first >> 4) {
        Some(4) => ip
            .get(2..4)
            .and_then(|field| field.first_chunk())
            .map(|field| u32::from(u16::from_be_bytes(*field))),
        Some(6) => ip
            .get(4..6)
            .and_then(|field| field.first_chunk())
            .map(|field| u32::from(u16::from_be_bytes(*field)) + 40),
        _ => None,
    };
    claimed.map_or(captured, |claimed| (claimed + head).max(captured))
}

/// The name, description and number of an adapter, as the system's table of interfaces has them (MIB_IF_ROW2).
pub(super) fn interface_row(row: &[u8]) -> Option<(u32, String, String)> {
    let index = crate::capture::le::u32_at(row, 8)?;
    let alias = utf16_at(row.get(..0x1C + 514)?, 0x1C)?;
    let description = utf16_at(row.get(..0x21E + 514)?, 0x21E)?;
    u16_at(row, 0x468)?;
    Some((index, alias, description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ip_header_says_what_was_cut() {
        let mut frame = vec![0; 60];
        frame[12..18].copy_from_slice(&[8, 0, 0x45, 0, 0x05, 0xDC]);
        assert_eq!(original_len(ETHERNET, &frame), 1514);
        assert_eq!(original_len(RAW_IP, &frame[14..]), 1500);
        frame[16..18].copy_from_slice(&[0, 0]);
        assert_eq!(original_len(ETHERNET, &frame), 60, "large send: no length");
        frame[12..16].copy_from_slice(&[0x86, 0xDD, 0x60, 0]);
        frame[18..20].copy_from_slice(&[0x01, 0]);
        assert_eq!(original_len(ETHERNET, &frame), 14 + 40 + 256);
        for length in 0..60 {
            assert!(original_len(ETHERNET, &frame[..length]) >= length as u32);
        }
    }

    #[test]
    fn a_block_grows_and_is_used_again() {
        let mut block = Block::default();
        assert_eq!(append(&mut block, b"abc"), Some(0));
        assert_eq!(append(&mut block, b"de"), Some(3));
        block.clear();
        assert_eq!(append(&mut block, b"xyzw"), Some(0));
        assert_eq!(append(&mut block, b"12"), Some(4));
        assert_eq!(&block.bytes[..block.filled], b"xyzw12");
    }
}
