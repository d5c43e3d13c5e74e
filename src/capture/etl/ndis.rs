//! Packets of `netsh trace start capture=yes`: the provider Microsoft-Windows-NDIS-PacketCapture.
//!
//! Since Windows 8.1 an event is a packet; before, a packet came in several events of one thread, the first marked
//! "start" and the last "end". Native Wi-Fi frames still bear the mark of encryption though their payload is
//! decrypted: the mark is taken off. New builds put 16 bytes of offload facts behind the frame, old ones do
//! not, so the frame's own length decides.

use super::events::Event;
use super::packets::{
    Direction, ETHERNET, Found, PacketExtra, Packets, Place, RAW_IP, WIFI, original_len,
};
use crate::capture::block::{Block, LinkType};
use crate::capture::le::{Fields, Guid};
use crate::limits::Limits;
use std::collections::HashMap;

/// Microsoft-Windows-NDIS-PacketCapture.
pub(in crate::capture) const NDIS: Guid =
    Guid::new(0x2ED6_006E, 0x4729, 0x4609, 0xB423_3EE7_BCD6_78EF);
/// Ras-NdisWan-PacketCapture.
pub(super) const RAS: Guid = Guid::new(0xD845_21F7, 0x2235, 0x4237, 0xA7C0_14E3_A967_6286);
/// Microsoft-Pef-WFP-MessageProvider.
pub(super) const FILTER_PLATFORM: Guid =
    Guid::new(0xC22D_1B14, 0xC242, 0x49DE, 0x9F17_1D76_B8B9_C458);

const KEYWORD_RAW_IP: u64 = 0x200;
const KEYWORD_WIFI: u64 = 0x1_0000;
const KEYWORD_START: u64 = 0x4000_0000;
const KEYWORD_END: u64 = 0x8000_0000;
const KEYWORD_SEND: u64 = 0x1_0000_0000;
const KEYWORD_RECEIVE: u64 = 0x2_0000_0000;
/// What runs when nothing runs: it owns no packets.
pub(super) const IDLE_PROCESS: u32 = 0;
/// "Protected frame" in the second byte of an 802.11 header.
const WIFI_PROTECTED: u8 = 0x40;

/// The beginning of a packet that waits for its end.
struct Half {
    bytes: Vec<u8>,
    time_ns: i64,
    place: Place,
    link: LinkType,
    extra: PacketExtra,
}

/// What the joining of fragments passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::capture) struct Joins {
    /// Ends whose beginning the trace lacks.
    pub(in crate::capture) headless: u64,
    /// Beginnings whose end the trace lacks; they are shown as far as they go.
    pub(in crate::capture) endless: u64,
    /// Beginnings beyond the cap.
    pub(in crate::capture) beyond_cap: u64,
}

/// Reads the packet events.
pub(in crate::capture) struct Ndis {
    halves: HashMap<(u32, u32), Half>,
    scratch: Vec<u8>,
    halves_max: usize,
    half_bytes: usize,
    half_bytes_max: usize,
    packet_bytes_max: usize,
    /// What could not be joined.
    pub(in crate::capture) joins: Joins,
    /// Rules that the capture was filtered by.
    pub(in crate::capture) rules: u32,
}

impl Ndis {
    pub(in crate::capture) fn new(limits: &Limits) -> Self {
        Self {
            halves: HashMap::new(),
            scratch: Vec::new(),
            halves_max: limits.trace_names_max,
            half_bytes: 0,
            half_bytes_max: limits.packet_bytes_max,
            packet_bytes_max: limits.packet_bytes_max,
            joins: Joins::default(),
            rules: 0,
        }
    }

    /// Takes an event of [`NDIS`]; `None` where its payload is not what its number promises.
    pub(in crate::capture) fn take(
        &mut self,
        event: &Event<'_>,
        time_ns: i64,
        packets: &mut Packets,
        block: &mut Block,
    ) -> Option<()> {
        let mut fields = Fields(event.payload);
        match event.id {
            1001 => {
                let place = Place::Adapter {
                    adapter: fields.u32()?,
                    lower: fields.u32()?,
                };
                let frame = frame(&mut fields)?;
                self.part(event, time_ns, place, frame, packets, block);
            }
            1003 => {
                let adapter = fields.u32()?;
                fields.u32()?;
                let place = Place::SwitchPort {
                    adapter,
                    port: fields.u32()?,
                };
                for _ in 0..3 {
                    fields.utf16();
                }
                let destinations = usize::try_from(fields.u32()?).ok()?;
                fields.take(destinations.checked_mul(8)?)?;
                let frame = frame(&mut fields)?;
                self.part(event, time_ns, place, frame, packets, block);
            }
            1011 => {
                self.rules = self
                    .rules
                    .max(fields.u32().or_else(|| fields.u8().map(u32::from))?)
            }
            _ => {}
        }
        Some(())
    }

    fn part(
        &mut self,
        event: &Event<'_>,
        time_ns: i64,
        place: Place,
        frame: &[u8],
        packets: &mut Packets,
        block: &mut Block,
    ) {
        let keyword = event.keyword;
        let link = link(keyword);
        let extra = PacketExtra {
            process_id: event.process_id.filter(|process| *process != IDLE_PROCESS),
            thread_id: event.thread_id,
            direction: direction(keyword),
            ..PacketExtra::default()
        };
        let thread = (event.process_id.unwrap_or(0), event.thread_id.unwrap_or(0));
        let (starts, ends) = (keyword & KEYWORD_START != 0, keyword & KEYWORD_END != 0);
        if starts && let Some(half) = self.forget(thread) {
            self.joins.endless += 1;
            self.show(&half, true, packets, block);
        }
        match (starts, ends) {
            (true, true) if link != WIFI => {
                packets.push(&found(frame, time_ns, place, link, extra), block)
            }
            (true, _) => self.begin(
                thread,
                Half {
                    bytes: frame.to_vec(),
                    time_ns,
                    place,
                    link,
                    extra,
                },
                ends,
                packets,
                block,
            ),
            (false, _) => self.go_on(thread, frame, ends, packets, block),
        }
    }

    fn begin(
        &mut self,
        thread: (u32, u32),
        half: Half,
        ends: bool,
        packets: &mut Packets,
        block: &mut Block,
    ) {
        if ends {
            self.show(&half, false, packets, block);
        } else if self.halves.len() >= self.halves_max
            || self.half_bytes + half.bytes.len() > self.half_bytes_max
        {
            self.joins.beyond_cap += 1;
        } else {
            self.half_bytes += half.bytes.len();
            self.halves.insert(thread, half);
        }
    }

    fn go_on(
        &mut self,
        thread: (u32, u32),
        frame: &[u8],
        ends: bool,
        packets: &mut Packets,
        block: &mut Block,
    ) {
        let Some(half) = self.halves.get_mut(&thread) else {
            self.joins.headless += u64::from(ends);
            return;
        };
        let more = half.bytes.len() + frame.len();
        if more > self.packet_bytes_max || self.half_bytes + frame.len() > self.half_bytes_max {
            self.joins.beyond_cap += 1;
            self.forget(thread);
            return;
        }
        half.bytes.extend_from_slice(frame);
        self.half_bytes += frame.len();
        if ends && let Some(half) = self.forget(thread) {
            self.show(&half, false, packets, block);
        }
    }

    fn forget(&mut self, thread: (u32, u32)) -> Option<Half> {
        if self.halves.is_empty() {
            return None;
        }
        let half = self.halves.remove(&thread)?;
        self.half_bytes -= half.bytes.len();
        Some(half)
    }

    /// The trace is over: beginnings without an end are shown as they are.
    pub(in crate::capture) fn finish(&mut self, packets: &mut Packets, block: &mut Block) {
        let mut threads: Vec<_> = self
            .halves
            .iter()
            .map(|(thread, half)| (half.time_ns, *thread))
            .collect();
        threads.sort_unstable();
        for (_, thread) in threads {
            if let Some(half) = self.forget(thread) {
                self.joins.endless += 1;
                self.show(&half, true, packets, block);
            }
        }
    }

    fn show(&mut self, half: &Half, cut: bool, packets: &mut Packets, block: &mut Block) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&half.bytes);
        if half.link == WIFI
            && let Some(control) = self.scratch.get_mut(1)
        {
            *control &= !WIFI_PROTECTED;
        }
        let mut found = found(
            &self.scratch,
            half.time_ns,
            half.place,
            half.link,
            half.extra,
        );
        // How much is missing is not known where the frame itself does not say: at least one byte is.
        found.original_len = found.original_len.saturating_add(u32::from(
            cut && found.original_len as usize == half.bytes.len(),
        ));
        packets.push(&found, block);
    }
}

/// Takes an event of [`RAS`]: packets of Windows' own VPN clients.
pub(super) fn remote_access(
    event: &Event<'_>,
    time_ns: i64,
    packets: &mut Packets,
    block: &mut Block,
) -> Option<()> {
    let direction = match event.id {
        5001 => Direction::Out,
        5002 => Direction::In,
        _ => return Some(()),
    };
    let mut fields = Fields(event.payload);
    fields.utf16();
    fields.utf16();
    let frame = frame(&mut fields)?;
    let extra = PacketExtra {
        process_id: event.process_id.filter(|process| *process != IDLE_PROCESS),
        thread_id: event.thread_id,
        direction: Some(direction),
        ..PacketExtra::default()
    };
    packets.push(
        &found(frame, time_ns, Place::RemoteAccess, ETHERNET, extra),
        block,
    );
    Some(())
}

/// A frame behind its own length.
fn frame<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(fields.u32()?).ok()?;
    fields.take(length)
}

fn link(keyword: u64) -> LinkType {
    if keyword & KEYWORD_WIFI != 0 {
        WIFI
    } else if keyword & KEYWORD_RAW_IP != 0 {
        RAW_IP
    } else {
        ETHERNET
    }
}

fn direction(keyword: u64) -> Option<Direction> {
    match (keyword & KEYWORD_SEND != 0, keyword & KEYWORD_RECEIVE != 0) {
        (true, false) => Some(Direction::Out),
        (false, true) => Some(Direction::In),
        _ => None,
    }
}

fn found(
    bytes: &[u8],
    time_ns: i64,
    place: Place,
    link: LinkType,
    extra: PacketExtra,
) -> Found<'_> {
    Found {
        bytes,
        original_len: original_len(link, bytes),
        link,
        time_ns,
        place,
        edge: 0,
        group: None,
        extra,
    }
}
