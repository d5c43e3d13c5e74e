//! A shard: the conversations of one part of all address pairs, and what became of them.
//!
//! A conversation's part is told by its key alone, and there is always the same number of parts,
//! whatever the number of threads: what a shard does, evictions included, depends on the capture only.

mod kept;
mod udp;

pub use udp::shard_of_datagram;

use crate::capture::Catalog;
use crate::connection::datagrams::Conversation;
use crate::connection::dns;
use crate::connection::{Arrival, Connection, Context, Ended, Finished, Grown, Pools};
use crate::flow::{Direction, EntryId, FlowKey, Table};
use crate::keep::{Keeper, KeptPacket};
use crate::limits::Limits;
use crate::packet::{Encapsulation, Segment, Undelivered, plain::Glimpse};
use crate::record::{Handshake, Stacks, copy::Interner};
use crate::stats::{Counters, Skip};
use crate::tls::decrypt::{Keyring, OpenLimits};
use crate::tls::keylog::Secrets;
use kept::Kept;
use std::net::IpAddr;
use std::sync::Arc;

/// Number of shards.
pub const SHARDS: usize = 16;

/// What a thread lends to the shard that it works on.
pub struct Bench {
    /// Shapes and certificates seen before.
    pub interner: Interner,
    /// Records that are ready.
    pub records: Vec<Finished>,
    /// Packets of handshakes, where they are to be kept.
    pub kept: Vec<KeptPacket>,
    pools: Pools,
    keyring: Keyring,
}

impl Bench {
    /// An empty one.
    pub fn new(limits: &Limits, keep_der: bool, secrets: [Arc<Secrets>; 2]) -> Self {
        let open_limits = OpenLimits {
            bytes_max: limits.opened_bytes_max,
            record_bytes_max: limits.opened_record_bytes_max,
        };
        Self {
            interner: Interner::new(limits.interned_max).keeping_der(keep_der),
            records: Vec::new(),
            kept: Vec::new(),
            pools: Pools::default(),
            keyring: Keyring::new(secrets, open_limits),
        }
    }

    /// Names the senders of hellos by these rules.
    #[must_use]
    pub fn naming(mut self, stacks: Stacks) -> Self {
        self.interner = self.interner.naming(stacks);
        self
    }

    /// Takes a record that left the pipe: its memory serves the next one.
    pub fn take_back(&mut self, record: Box<Handshake>) {
        self.pools.take_back(record, &mut self.interner);
    }

    /// Work goes on at packet `order` of the run.
    pub fn go_on_at(&mut self, order: u64) {
        self.keyring.go_on_at(order);
    }
}

/// The conversations of one part of all address pairs.
#[derive(Debug, Default)]
pub struct Shard {
    table: Table<Kept>,
    heap_bytes: usize,
    /// UDP conversations, and their bytes on the heap.
    conversations: Table<Conversation>,
    datagram_bytes: usize,
    /// Names that clients asked for.
    pub dns: dns::Desk,
    /// Where QUIC packets are decrypted.
    scratch: Vec<u8>,
    /// Picks the packets of handshakes out, where they are to be kept.
    pub keeper: Keeper,
    /// What was passed over here.
    pub counters: Counters,
}

/// The shard of a client that asks for names: that of its address alone, so that all of one client's questions meet.
#[inline]
pub fn shard_of_client(client: IpAddr) -> usize {
    let bits = match client {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            (bits >> 64) as u64 ^ (bits as u64).rotate_left(7)
        }
    };
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize
}

/// The shard of a key.
#[inline]
pub fn shard_of(key: &FlowKey) -> usize {
    (key.spread() >> 60) as usize
}

impl Shard {
    /// The conversation with this key, if it is known.
    #[inline(always)]
    pub fn find(&mut self, key: &FlowKey) -> Option<EntryId> {
        self.table.find(key)
    }

    /// Takes a TCP segment of which the capture says nothing beside its bytes, if it changes no more than a
    /// conversation's counters, as nearly all do. Otherwise `false`: nothing is done, and it is to be taken.
    #[inline(always)]
    pub fn pass(
        &mut self,
        id: EntryId,
        direction: Direction,
        glimpse: &Glimpse,
        time_ns: i64,
        point: u32,
    ) -> bool {
        match self.table.get_mut(id) {
            Some(Kept::Open(connection)) => connection.pass(direction, glimpse, time_ns, point),
            Some(Kept::Closed(_)) => !glimpse.flags.syn(),
            None => false,
        }
    }

    /// Takes what ICMP says of a segment.
    #[cold]
    pub fn undelivered(
        &mut self,
        (key, direction): (FlowKey, Direction),
        undelivered: &Undelivered,
        frame: u64,
    ) {
        if let Some((_, Kept::Open(connection))) = self.table.find_mut(&key) {
            connection.undelivered(direction, undelivered, frame);
        }
    }

    /// Takes a TCP segment.
    #[allow(clippy::too_many_arguments)]
    pub fn take(
        &mut self,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        arrival: Arrival<'_>,
        around: &Encapsulation,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
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
        if let Some((id, kept)) = self.table.find_mut(&key) {
            if !kept.is_replaced_by(direction, segment) || arrival.is_repeated() {
                let Kept::Open(connection) = kept else {
                    return;
                };
                if arrival.is_repeated() {
                    return connection.remark_again(direction, segment, arrival, &mut context);
                }
                let grown = connection.take(direction, segment, arrival, &mut context);
                if grown != Grown::default() {
                    self.settle(id, grown, limits, arrival, captures, bench);
                }
                return;
            }
            self.heap_bytes = self.heap_bytes.saturating_sub(kept.heap_bytes());
            if let Kept::Open(connection) = kept {
                connection.finish(arrival, &mut context, Ended::Replaced);
            }
            self.table.remove(id);
        }
        if !Connection::opens(segment) || arrival.is_repeated() {
            return;
        }
        context.counters.connections += 1;
        let mut connection = Connection::new(arrival, around);
        connection.take(direction, segment, arrival, &mut context);
        let kept = Kept::new(connection, &mut context.pools.connections);
        let grown = Grown {
            bytes: isize::try_from(kept.heap_bytes()).unwrap_or(isize::MAX),
            due_sooner: false,
        };
        let due_ns = kept.due_ns(limits);
        let id = self.table.insert(key, kept, due_ns);
        self.settle(id, grown, limits, arrival, captures, bench);
    }

    /// Keeps the books after a conversation grew, shrank or ended.
    fn settle(
        &mut self,
        id: EntryId,
        grown: Grown,
        limits: &Limits,
        arrival: Arrival<'_>,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        self.heap_bytes = self.heap_bytes.saturating_add_signed(grown.bytes);
        if grown.due_sooner
            && let Some(kept) = self.table.get_mut(id)
        {
            let before = kept.heap_bytes();
            kept.bury(&mut bench.pools.connections);
            self.heap_bytes = self.heap_bytes.saturating_sub(before - kept.heap_bytes());
            let due_ns = kept.due_ns(limits);
            self.table.look_at(id, due_ns);
        }
        let cap = limits.flow_memory_bytes_max / SHARDS;
        if self.bytes() > cap {
            self.make_room(cap, limits, arrival, captures, bench);
        }
    }

    /// Conversations held, tombstones included.
    pub fn conversations(&self) -> usize {
        self.table.len() + self.conversations.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.heap_bytes + self.bytes_of_datagrams()
    }

    /// Evicts about the oldest conversations until some room below the cap is free.
    #[cold]
    fn make_room(
        &mut self,
        cap: usize,
        limits: &Limits,
        arrival: Arrival<'_>,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        let target = cap - cap / 16;
        while self.bytes() > target && !self.table.is_empty() {
            let (slot_end_ns, ids) = self.table.oldest();
            for id in ids {
                // Before the entry gives up its place in the wheel: what is kept takes it again, and must not be too much then.
                let is_too_much = self.bytes() > target;
                self.table.looked_at();
                let Some(kept) = self.table.get_mut(id) else {
                    continue;
                };
                let (due_ns, is_open) = (kept.due_ns(limits), matches!(kept, Kept::Open(_)));
                if due_ns > slot_end_ns || !is_too_much {
                    self.table.look_at(id, due_ns);
                } else {
                    self.counters.skip_many(Skip::Evicted, u64::from(is_open));
                    self.expire(id, Ended::Evicted, arrival, limits, captures, bench);
                }
            }
        }
    }

    /// Ends what is idle at `now_ns`; called at block boundaries. `order` is the block's first packet.
    pub fn tick(
        &mut self,
        now_ns: i64,
        order: u64,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        let arrival = Arrival {
            time_ns: now_ns,
            frame: 0,
            order,
            capture: 0,
            point: 0,
            interface: 0,
            noted: None,
        };
        self.keeper.tick(now_ns);
        self.tick_datagrams(arrival, limits, captures, bench);
        self.dns.tick(now_ns, limits);
        for id in self.table.due(now_ns) {
            let Some(kept) = self.table.get_mut(id) else {
                continue;
            };
            let due_ns = kept.due_ns(limits);
            if due_ns <= now_ns {
                self.expire(id, Ended::Idle, arrival, limits, captures, bench);
            } else {
                self.table.look_at(id, due_ns);
            }
        }
    }

    fn expire(
        &mut self,
        id: EntryId,
        how: Ended,
        arrival: Arrival<'_>,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        let Some((key, kept)) = self.table.remove(id) else {
            return;
        };
        self.heap_bytes = self.heap_bytes.saturating_sub(kept.heap_bytes());
        let Kept::Open(mut connection) = kept else {
            return;
        };
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
        connection.finish(arrival, &mut context, how);
        bench.pools.connections.take_back(connection);
    }

    /// The capture is over: ends everything.
    pub fn finish(
        &mut self,
        time_ns: i64,
        order: u64,
        limits: &Limits,
        captures: &Catalog,
        bench: &mut Bench,
    ) {
        let arrival = Arrival {
            time_ns,
            frame: 0,
            order,
            capture: 0,
            point: 0,
            interface: 0,
            noted: None,
        };
        self.finish_datagrams(arrival, limits, captures, bench);
        for (key, kept) in self.table.drain() {
            let Kept::Open(mut connection) = kept else {
                continue;
            };
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
            connection.finish(arrival, &mut context, Ended::CaptureEnd { time_ns });
        }
        self.heap_bytes = 0;
    }
}
