//! IP fragments become whole packets again.
//!
//! Parts may come in any order and more than once. Where parts overlap, the policy is: in IPv4 bytes
//! that are the same are fine, and bytes that differ make the whole packet void, for no two hosts agree
//! on whose bytes win, and attackers know; in IPv6 any overlap other than an exact repetition makes it
//! void (RFC 5722, RFC 8200 section 4.5). A void packet stays void until it is forgotten. Held parts are
//! bounded in number, bytes and age by [`Limits`]; the oldest give way. Time is the capture's.

use super::{Addresses, Encapsulation, Fragment};
use crate::{
    limits::Limits,
    stats::{Counters, Skip},
};
use std::collections::{HashMap, VecDeque};

/// Longest payload that parts can make.
const PAYLOAD_MAX: u32 = 65_535;
/// What an open packet costs beside its bytes, about.
const OVERHEAD: usize = 256;

/// What the parts of one packet have in common. In IPv6 the protocol does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: u128,
    destination: u128,
    identification: u32,
    protocol: Option<u8>,
    around: Encapsulation,
}

impl Key {
    fn new(fragment: &Fragment<'_>, around: &Encapsulation) -> Self {
        let (source, destination, protocol) = match fragment.addresses {
            Addresses::V4 {
                source,
                destination,
            } => (source.into(), destination.into(), Some(fragment.protocol)),
            Addresses::V6 {
                source,
                destination,
            } => (source, destination, None),
        };
        Self {
            source,
            destination,
            identification: fragment.identification,
            protocol,
            around: *around,
        }
    }
}

/// Why a packet can't be whole any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Void;

/// A packet of which parts are there.
#[derive(Debug)]
struct Open {
    serial: u64,
    first_ns: i64,
    bytes: Vec<u8>,
    /// What is there of `bytes`: start and end, sorted, not touching.
    have: Vec<(u32, u32)>,
    length: Option<u32>,
    /// Protocol and time to live of the first part.
    front: (u8, u8),
    parts: u64,
    void: bool,
}

impl Open {
    fn cost(&self) -> usize {
        OVERHEAD + self.bytes.len() + self.have.len() * size_of::<(u32, u32)>()
    }

    fn is_whole(&self) -> bool {
        match (self.length, self.have.as_slice()) {
            (Some(length), [(0, end)]) => *end == length,
            _ => false,
        }
    }

    fn add(&mut self, fragment: &Fragment<'_>, may_overlap: bool) -> Result<(), Void> {
        let start = fragment.offset;
        let end = start.saturating_add(u32::try_from(fragment.payload.len()).unwrap_or(u32::MAX));
        if end > PAYLOAD_MAX || self.length.is_some_and(|length| end > length) {
            return Err(Void);
        }
        if !fragment.more {
            let highest = self.have.last().map_or(0, |&(_, end)| end);
            if self.length.is_some_and(|length| length != end) || highest > end {
                return Err(Void);
            }
            self.length = Some(end);
        }
        if start == 0 {
            self.front = (fragment.protocol, fragment.ttl);
        }
        self.check_overlap(start, end, fragment.payload, may_overlap)?;
        if self.bytes.len() < end as usize {
            self.bytes.resize(end as usize, 0);
        }
        if let Some(place) = self.bytes.get_mut(start as usize..end as usize) {
            place.copy_from_slice(fragment.payload);
        }
        self.mark(start, end);
        Ok(())
    }

    fn check_overlap(
        &self,
        start: u32,
        end: u32,
        payload: &[u8],
        may_overlap: bool,
    ) -> Result<(), Void> {
        for &(from, to) in &self.have {
            let (from, to) = (from.max(start), to.min(end));
            if from >= to {
                continue;
            }
            let known = self.bytes.get(from as usize..to as usize);
            let same = known == payload.get((from - start) as usize..(to - start) as usize);
            let repeated = (from, to) == (start, end);
            if !same || !(may_overlap || repeated) {
                return Err(Void);
            }
        }
        Ok(())
    }

    /// Marks a run of bytes as there, and joins it with those that it touches.
    fn mark(&mut self, mut start: u32, mut end: u32) {
        self.have.retain(|&(from, to)| {
            let touches = from <= end && to >= start;
            if touches {
                (start, end) = (start.min(from), end.max(to));
            }
            !touches
        });
        let index = self.have.partition_point(|&(from, _)| from < start);
        self.have.insert(index, (start, end));
    }
}

/// Puts IP fragments together.
#[derive(Debug, Default)]
pub struct Reassembler {
    open: HashMap<Key, Open>,
    /// Keys by age; the serial number tells a key's later use.
    order: VecDeque<(Key, u64)>,
    bytes: usize,
    serial: u64,
    taken: u64,
    joined: u64,
    whole: Vec<u8>,
}

impl Reassembler {
    /// Takes a part. Hands back the IP packet that it makes whole.
    pub fn take(
        &mut self,
        fragment: &Fragment<'_>,
        around: &Encapsulation,
        time_ns: i64,
        limits: &Limits,
        counters: &mut Counters,
    ) -> Option<&[u8]> {
        self.taken += 1;
        self.forget_old(time_ns, limits);
        // Parts but the last come in units of eight bytes; a cut or empty one is of no use.
        let odd = fragment.more && !fragment.payload.len().is_multiple_of(8);
        if fragment.cut > 0 || fragment.payload.is_empty() || odd {
            return None;
        }
        let key = Key::new(fragment, around);
        let open = match self.open.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                self.serial += 1;
                self.order.push_back((key, self.serial));
                self.bytes += OVERHEAD;
                entry.insert(Open {
                    serial: self.serial,
                    first_ns: time_ns,
                    bytes: Vec::new(),
                    have: Vec::new(),
                    length: None,
                    front: (fragment.protocol, fragment.ttl),
                    parts: 0,
                    void: false,
                })
            }
        };
        open.parts += 1;
        if open.void {
            return None;
        }
        let before = open.cost();
        let is_v4 = key.protocol.is_some();
        if open.add(fragment, is_v4) == Err(Void) {
            counters.skip(Skip::FragmentOverlap);
            open.void = true;
            (open.bytes, open.have) = (Vec::new(), Vec::new());
        }
        let is_whole = open.is_whole();
        self.bytes = self.bytes + open.cost() - before;
        if is_whole {
            let open = self.remove(&key)?;
            self.joined += open.parts;
            write_packet(&mut self.whole, &key, &open);
            return Some(&self.whole);
        }
        self.make_room(limits, counters);
        None
    }

    /// Parts that were taken and are in no whole packet.
    pub fn loose(&self) -> u64 {
        self.taken - self.joined
    }

    fn remove(&mut self, key: &Key) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.bytes = self.bytes.saturating_sub(open.cost());
        Some(open)
    }

    fn forget_old(&mut self, time_ns: i64, limits: &Limits) {
        while let Some((key, serial)) = self.order.front() {
            match self.open.get(key).filter(|open| open.serial == *serial) {
                Some(open) if time_ns.saturating_sub(open.first_ns) < limits.fragment_age_ns => {
                    return;
                }
                Some(_) => {
                    let key = *key;
                    self.remove(&key);
                }
                // It became whole.
                None => {}
            }
            self.order.pop_front();
        }
    }

    fn make_room(&mut self, limits: &Limits, counters: &mut Counters) {
        while self.open.len() > limits.fragment_packets_max
            || self.bytes > limits.fragment_bytes_max
            || self.order.len() > limits.fragment_packets_max.saturating_mul(4)
        {
            let Some((key, serial)) = self.order.pop_front() else {
                return;
            };
            if self
                .open
                .get(&key)
                .is_some_and(|open| open.serial == serial)
            {
                self.remove(&key);
                counters.skip(Skip::FragmentCap);
            }
        }
    }
}

/// An IP header without options, and the payload.
fn write_packet(out: &mut Vec<u8>, key: &Key, open: &Open) {
    out.clear();
    let (protocol, ttl) = open.front;
    let length = open.bytes.len();
    if let (Ok(source), Ok(destination), true) = (
        u32::try_from(key.source),
        u32::try_from(key.destination),
        key.protocol.is_some(),
    ) {
        // Too long for the field: 0, as large send offload writes it.
        let total = u16::try_from(length + 20).unwrap_or(0).to_be_bytes();
        let [id_high, id_low] = (key.identification as u16).to_be_bytes();
        out.extend([0x45, 0, total[0], total[1], id_high, id_low, 0, 0]);
        out.extend([ttl, protocol, 0, 0]);
        out.extend(source.to_be_bytes());
        out.extend(destination.to_be_bytes());
    } else {
        let length = u16::try_from(length).unwrap_or(0).to_be_bytes();
        out.extend([0x60, 0, 0, 0, length[0], length[1], protocol, ttl]);
        out.extend(key.source.to_be_bytes());
        out.extend(key.destination.to_be_bytes());
    }
    out.extend(&open.bytes);
}

#[cfg(test)]
#[path = "fragments_tests.rs"]
mod tests;
