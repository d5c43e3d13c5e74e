//! What a shard keeps of a conversation: all of it while it is under way, and a tombstone once its record is written.
//!
//! Ten seconds of tombstones are many more than the conversations under way: a whole conversation for each would take
//! four times the memory, and drive those under way out of the processor's cache.

use crate::connection::{Connection, Tombstone};
use crate::flow::Direction;
use crate::limits::Limits;
use crate::packet::Segment;
use crate::pool::Pool;

/// A conversation, or what is left of one.
#[derive(Debug)]
pub(super) enum Kept {
    /// Under way.
    Open(Box<Connection>),
    /// Its record is written; late packets come to nothing.
    Closed(Tombstone),
}

impl Kept {
    pub(super) fn new(connection: Connection, pool: &mut Pool<Connection>) -> Self {
        if connection.is_closed() {
            Self::Closed(connection.tombstone())
        } else {
            Self::Open(pool.boxed(connection))
        }
    }

    /// Leaves a tombstone where the conversation is over.
    #[inline]
    pub(super) fn bury(&mut self, pool: &mut Pool<Connection>) {
        if let Self::Open(connection) = self
            && connection.is_closed()
        {
            let tombstone = Self::Closed(connection.tombstone());
            if let Self::Open(spent) = core::mem::replace(self, tombstone) {
                pool.take_back(spent);
            }
        }
    }

    /// Bytes on the heap that the shard was told of, the conversation's own included.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Open(connection) => size_of::<Connection>() + connection.weight(),
            Self::Closed(_) => 0,
        }
    }

    /// When it is over, if no packet comes any more.
    pub(super) fn due_ns(&self, limits: &Limits) -> i64 {
        match self {
            Self::Open(connection) => connection.due_ns(limits),
            Self::Closed(tombstone) => tombstone.due_ns(),
        }
    }

    /// A SYN that opens another conversation with the same addresses: its sequence number is a new one.
    #[inline]
    pub(super) fn is_replaced_by(&self, direction: Direction, segment: &Segment<'_>) -> bool {
        segment.flags.syn()
            && !segment.flags.ack()
            && match self {
                Self::Open(connection) => connection.tombstone(),
                Self::Closed(tombstone) => *tombstone,
            }
            .is_replaced_by(direction, segment)
    }
}
