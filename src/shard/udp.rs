//! The UDP conversations of a shard: their own table, within half of the shard's memory.

use super::{Bench, SHARDS, Shard, shard_of, shard_of_client};
use crate::capture::Catalog;
use crate::connection::{
    Arrival, Context, Ended,
    datagrams::{Conversation, First},
    dns,
};
use crate::flow::{Direction, EntryId, FlowKey};
use crate::limits::Limits;
use crate::packet::{Datagram, Encapsulation};
use crate::stats::Skip;

/// Part of a shard's memory that UDP conversations may take.
const MEMORY_PART: usize = 2;

/// The key of a datagram's conversation, and which of its endpoints sent it.
fn key_of(datagram: &Datagram<'_>) -> (FlowKey, Direction) {
    let Datagram {
        addresses,
        source_port,
        destination_port,
        ..
    } = *datagram;
    FlowKey::new(addresses, source_port, destination_port)
}

/// The shard of a datagram that `first` found worth a look.
#[inline]
pub fn shard_of_datagram(first: First, datagram: &Datagram<'_>) -> usize {
    match first {
        First::Dns => shard_of_client(dns::parties(datagram).client.0),
        _ => shard_of(&key_of(datagram).0),
    }
}

impl Shard {
    /// Takes a UDP datagram that `first` found worth a look.
    #[allow(clippy::too_many_arguments)]
    pub fn take_datagram(
        &mut self,
        first: First,
        datagram: &Datagram<'_>,
        arrival: Arrival<'_>,
        around: &Encapsulation,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        if first == First::Dns {
            if arrival.is_repeated() {
                return;
            }
            let parties = dns::parties(datagram);
            let counters = &mut self.counters;
            return (self.dns).take(parties, datagram.payload, arrival, limits, counters);
        }
        if first == First::Later && self.conversations.is_empty() && !arrival.is_repeated() {
            return self.counters.skip(Skip::Udp);
        }
        let ((key, direction), payload) = (key_of(datagram), datagram.payload);
        let mut context = Context {
            limits,
            captures,
            interner: &mut bench.interner,
            counters: &mut self.counters,
            dns: &mut self.dns,
            records: &mut bench.records,
            pools: &mut bench.pools,
            keys: &mut bench.keyring,
            key,
        };
        let scratch = &mut self.scratch;
        let mut found = self.conversations.find_mut(&key);
        if arrival.is_repeated() {
            if let Some((_, conversation)) = found {
                conversation.remark_again(direction, payload, arrival, &mut context);
            }
            return;
        }
        if let Some((id, conversation)) = &mut found
            && conversation.is_replaced_by(first)
        {
            let (id, weight) = (*id, conversation.weight());
            conversation.finish(arrival, &mut context, Ended::Replaced);
            self.datagram_bytes = self.datagram_bytes.saturating_sub(weight);
            self.conversations.remove(id);
            found = None;
        }
        if let Some((_, conversation)) = found {
            let grown = conversation.take(direction, payload, scratch, arrival, &mut context);
            self.datagram_bytes = self.datagram_bytes.saturating_add_signed(grown.bytes);
        } else if let Some(mut conversation) = Conversation::new(first, arrival, around) {
            context.counters.connections += 1;
            let grown = conversation.take(direction, payload, scratch, arrival, &mut context);
            let due_ns = conversation.due_ns(limits);
            self.conversations.insert(key, conversation, due_ns);
            self.datagram_bytes = self.datagram_bytes.saturating_add_signed(grown.bytes);
        } else {
            return self.counters.skip(Skip::Udp);
        }
        let cap = limits.flow_memory_bytes_max / SHARDS / MEMORY_PART;
        if self.bytes_of_datagrams() > cap {
            self.make_room_for_datagrams(cap, limits, arrival, captures, bench);
        }
    }

    /// Bytes held for UDP conversations.
    pub(super) fn bytes_of_datagrams(&self) -> usize {
        self.conversations.bytes() + self.datagram_bytes
    }

    /// Evicts about the oldest conversations until some room below the cap is free.
    #[cold]
    fn make_room_for_datagrams(
        &mut self,
        cap: usize,
        limits: &Limits,
        arrival: Arrival<'_>,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        let target = cap - cap / 16;
        while self.bytes_of_datagrams() > target && !self.conversations.is_empty() {
            let (slot_end_ns, ids) = self.conversations.oldest();
            for id in ids {
                // As for TCP.
                let is_too_much = self.bytes_of_datagrams() > target;
                self.conversations.looked_at();
                let Some(conversation) = self.conversations.get_mut(id) else {
                    continue;
                };
                let due_ns = conversation.due_ns(limits);
                if due_ns <= slot_end_ns && is_too_much {
                    self.counters.skip(Skip::Evicted);
                    self.expire_datagrams(id, Ended::Evicted, arrival, limits, captures, bench);
                } else {
                    self.conversations.look_at(id, due_ns);
                }
            }
        }
    }

    /// Ends what is idle.
    pub(super) fn tick_datagrams(
        &mut self,
        arrival: Arrival<'_>,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        for id in self.conversations.due(arrival.time_ns) {
            let Some(conversation) = self.conversations.get_mut(id) else {
                continue;
            };
            let due_ns = conversation.due_ns(limits);
            if due_ns <= arrival.time_ns {
                self.expire_datagrams(id, Ended::Idle, arrival, limits, captures, bench);
            } else {
                self.conversations.look_at(id, due_ns);
            }
        }
    }

    fn expire_datagrams(
        &mut self,
        id: EntryId,
        how: Ended,
        arrival: Arrival<'_>,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        let Some((key, mut conversation)) = self.conversations.remove(id) else {
            return;
        };
        self.datagram_bytes = self.datagram_bytes.saturating_sub(conversation.weight());
        let mut context = Context {
            limits,
            captures,
            interner: &mut bench.interner,
            counters: &mut self.counters,
            dns: &mut self.dns,
            records: &mut bench.records,
            pools: &mut bench.pools,
            keys: &mut bench.keyring,
            key,
        };
        conversation.finish(arrival, &mut context, how);
    }

    /// The capture is over: ends everything.
    pub(super) fn finish_datagrams(
        &mut self,
        arrival: Arrival<'_>,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        let how = Ended::CaptureEnd {
            time_ns: arrival.time_ns,
        };
        for (key, mut conversation) in self.conversations.drain() {
            let mut context = Context {
                limits,
                captures,
                interner: &mut bench.interner,
                counters: &mut self.counters,
                dns: &mut self.dns,
                records: &mut bench.records,
                pools: &mut bench.pools,
                keys: &mut bench.keyring,
                key,
            };
            conversation.finish(arrival, &mut context, how);
        }
        self.datagram_bytes = 0;
    }
}
