//! Says of each packet of a block which shard is to take it, and puts the pieces of IP packets together: in the order of
//! packets, for what a packet is may depend on those before it.

use super::{
    Job,
    glance::{Looked, Sight},
};
use crate::capture::{self, Block, LinkType};
use crate::connection::datagrams::{self, First};
use crate::flow::FlowKey;
use crate::limits::Limits;
use crate::packet::{self, Datagram, Decoded, Encapsulation, Reassembler, plain};
use crate::shard::{SHARDS, shard_of, shard_of_datagram};
use crate::stats::{Counters, Skip};

/// Room in all parts of a block, in multiples of its packets, beyond which it is given back.
const ROOM_MAX: usize = 8;

/// Sorts packets.
pub(super) struct Sorter<'a> {
    limits: &'a Limits,
    pub(super) counters: Counters,
    pub(super) fragments: Reassembler,
    /// A conversation over UDP has begun.
    begun: bool,
}

impl<'a> Sorter<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            fragments: Reassembler::default(),
            begun: false,
        }
    }

    /// What a datagram is. What can only belong to a conversation is nothing as long as none has begun: most captures
    /// have no conversation over UDP, and then nothing more is asked of their datagrams.
    #[inline]
    pub(super) fn first(&mut self, datagram: &Datagram<'_>) -> First {
        match datagrams::first(datagram) {
            First::Later if !self.begun => First::Other,
            first => {
                self.begun |= first.begins();
                first
            }
        }
    }

    /// A plain datagram that [`Self::first`] would find to be of no interest.
    #[inline]
    pub(super) fn is_idle(&self, packet: &capture::Packet, data: &[u8]) -> bool {
        plain::datagram(packet.link, data).is_some_and(|(source, destination, bytes)| {
            datagrams::is_idle(source, destination, bytes, self.begun)
        })
    }

    /// Counts a packet that is not analysed, unless it was counted before.
    pub(super) fn pass_over(&mut self, block: &Block, index: usize, why: Skip) {
        if !block.is_repeated(index) {
            self.counters.skip(why);
        }
    }

    /// Puts packet `index`, which is an IP fragment, together with those before it. `true`: now all are
    /// there, and the packet is the whole one; its bytes are appended to the block's.
    #[cold]
    pub(super) fn reassemble(&mut self, block: &mut Block, index: usize) -> bool {
        let limits = self.limits;
        if block.is_repeated(index) {
            return false;
        }
        let Some(packet) = block.packets.get(index).copied() else {
            return false;
        };
        let mut around = Encapsulation::default();
        let bytes = block.data(&packet);
        let decoded = packet::decode(packet.link, bytes, &mut around, limits);
        let Ok(Decoded::Fragment(fragment)) = decoded else {
            return false;
        };
        // Tags say nothing about lengths: they are kept in front of the whole packet.
        let front = bytes.len().saturating_sub(fragment.packet.len());
        let (front, link) = if around.is_tags_only() {
            (front, packet.link)
        } else {
            (0, LinkType::RAW)
        };
        let (counters, time_ns) = (&mut self.counters, packet.time_ns);
        let whole = self
            .fragments
            .take(&fragment, &around, time_ns, limits, counters);
        whole.is_some_and(|whole| block.exchange(index, link, front, whole))
    }

    /// Sorts the block's packets by lane.
    pub(super) fn split(&mut self, job: &mut Job, lanes: usize) {
        let shards_a_lane = SHARDS / lanes;
        let mut parts = core::mem::take(&mut job.parts);
        // One conversation after the other could make each of them as large as a block.
        let room: usize = parts.iter().map(Vec::capacity).sum();
        if room > ROOM_MAX * job.block.packets.len().max(1024) {
            parts.clear();
        }
        parts.iter_mut().for_each(Vec::clear);
        parts.resize_with(lanes, Vec::new);
        let mut next = 0;
        while let Some(packet) = job.block.packets.get(next) {
            let index = next;
            next += 1;
            let data = job.block.data(packet);
            let mut hand_out = |shard: usize, sight| {
                if let Some(part) = parts.get_mut(shard / shards_a_lane) {
                    let index = index as u32;
                    part.push(Looked { index, sight });
                }
            };
            // Plain TCP mostly.
            if let Some(sight) = Sight::of(packet, data) {
                hand_out(shard_of(&sight.key), Some(sight));
                continue;
            }
            if self.is_idle(packet, data) {
                self.pass_over(&job.block, index, Skip::Udp);
                continue;
            }
            let mut around = Encapsulation::default();
            let limits = self.limits;
            match packet::decode(packet.link, data, &mut around, limits) {
                Ok(Decoded::Tcp(segment)) => {
                    hand_out(shard_of(&FlowKey::of(&segment).0), None);
                }
                Ok(Decoded::Udp(datagram)) => {
                    let first = self.first(&datagram);
                    if first == First::Other {
                        self.pass_over(&job.block, index, Skip::Udp);
                    } else {
                        hand_out(shard_of_datagram(first, &datagram), None);
                    }
                }
                Ok(Decoded::Undelivered(undelivered)) => {
                    hand_out(shard_of(&FlowKey::undelivered(&undelivered).0), None);
                    self.pass_over(&job.block, index, Skip::NotTcpUdp);
                }
                Ok(Decoded::Fragment(_)) => {
                    if self.reassemble(&mut job.block, index) {
                        next = index;
                    }
                }
                Err(why) => self.pass_over(&job.block, index, why),
            }
        }
        job.parts = parts;
    }
}
