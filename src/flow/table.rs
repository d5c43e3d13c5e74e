//! A capped store of conversations, generic over what it holds.
//!
//! Entries lie in a slab and are found through a hash table of slot numbers, so that an entry never
//! moves and a probe touches two cache lines. In front of it stand the entries that were found last, by a cheaper
//! number: most packets are of a conversation that had one just before, and cost a comparison. Idle entries are found by a wheel of due times, by the
//! capture's clock and at block boundaries only: what expires when does not depend on threads.
//! The hash is seeded at random, for keys come from attackers.

use super::key::FlowKey;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::{collections::BTreeMap, hash::BuildHasher};

/// Entries found lately that are remembered.
const RECENT: usize = 128;
/// Width of a wheel's slot: entries are looked at this often at most.
const WHEEL_NS: i64 = 1_000_000_000;

#[derive(Debug)]
struct Slot<V> {
    key: FlowKey,
    generation: u32,
    value: Option<V>,
}

/// A stable number for an entry; it outlives the entry without ever naming another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryId {
    slot: u32,
    generation: u32,
}

/// Conversations by key.
#[derive(Debug)]
pub struct Table<V> {
    index: HashTable<u32>,
    /// Entries found lately, each at the place that its key gives; none that is gone. Empty before the first entry.
    recent: Vec<Option<(FlowKey, EntryId)>>,
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    wheel: BTreeMap<i64, Vec<EntryId>>,
    /// Places in the wheel, those of entries that are gone included.
    awaited: usize,
    hasher: RandomState,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            recent: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            wheel: BTreeMap::new(),
            awaited: 0,
            hasher: RandomState::default(),
        }
    }
}

/// Where an entry found lately is remembered. The bits above tell the shard.
#[inline(always)]
fn place(key: &FlowKey) -> usize {
    (key.spread() >> 48) as usize % RECENT
}

impl<V> Table<V> {
    /// Entries held.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// No entries are held.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes that the store itself takes; what entries hold on the heap comes on top.
    pub fn bytes(&self) -> usize {
        // Slot, its number in the index, and the places in the wheel, which a vector may have room for twice.
        let kept = self.index.len() * (size_of::<Slot<V>>() + 8);
        kept + self.awaited.max(self.index.len()) * 2 * size_of::<EntryId>()
    }

    /// Finds an entry.
    #[inline(always)]
    pub fn find(&mut self, key: &FlowKey) -> Option<EntryId> {
        match self.recent.get(place(key)) {
            Some(Some((known, id))) if known == key => Some(*id),
            _ => self.look_up(key),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, key: &FlowKey) -> Option<EntryId> {
        let hash = self.hasher.hash_one(key);
        let slot = *self.index.find(hash, |&slot| {
            let entry = self.slots.get(slot as usize);
            entry.is_some_and(|entry| entry.key == *key)
        })?;
        let generation = self.slots.get(slot as usize)?.generation;
        let id = EntryId { slot, generation };
        self.remember(key, id);
        Some(id)
    }

    fn remember(&mut self, key: &FlowKey, id: EntryId) {
        if self.recent.is_empty() {
            self.recent.resize(RECENT, None);
        }
        if let Some(place) = self.recent.get_mut(place(key)) {
            *place = Some((*key, id));
        }
    }

    fn forget(&mut self, key: &FlowKey) {
        if let Some(place) = self.recent.get_mut(place(key))
            && place.is_some_and(|(known, _)| known == *key)
        {
            *place = None;
        }
    }

    /// Finds an entry, and what it holds.
    pub fn find_mut(&mut self, key: &FlowKey) -> Option<(EntryId, &mut V)> {
        let id = self.find(key)?;
        Some((id, self.get_mut(id)?))
    }

    /// The entry of this number, if it still is there.
    #[inline]
    pub fn get_mut(&mut self, id: EntryId) -> Option<&mut V> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    /// Adds an entry, which must not be there yet, to be looked at when `due_ns` comes.
    pub fn insert(&mut self, key: FlowKey, value: V, due_ns: i64) -> EntryId {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot {
                    key,
                    generation: 0,
                    value: None,
                });
                (self.slots.len() - 1) as u32
            }
        };
        let mut id = EntryId {
            slot,
            generation: 0,
        };
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.key = key;
            entry.value = Some(value);
            id.generation = entry.generation;
        }
        let Self {
            index,
            slots,
            hasher,
            ..
        } = self;
        index.insert_unique(hasher.hash_one(key), slot, |&slot| {
            slots
                .get(slot as usize)
                .map_or(0, |entry| hasher.hash_one(entry.key))
        });
        self.remember(&key, id);
        self.look_at(id, due_ns);
        id
    }

    /// Removes an entry.
    pub fn remove(&mut self, id: EntryId) -> Option<(FlowKey, V)> {
        let entry = self
            .slots
            .get_mut(id.slot as usize)
            .filter(|entry| entry.generation == id.generation)?;
        let value = entry.value.take()?;
        let key = entry.key;
        entry.generation = entry.generation.wrapping_add(1);
        let hash = self.hasher.hash_one(key);
        if let Ok(found) = self.index.find_entry(hash, |&slot| slot == id.slot) {
            found.remove();
        }
        self.free.push(id.slot);
        self.forget(&key);
        Some((key, value))
    }

    /// Asks to look at an entry when `due_ns` comes.
    pub fn look_at(&mut self, id: EntryId, due_ns: i64) {
        self.awaited += 1;
        self.wheel
            .entry(due_ns.div_euclid(WHEEL_NS))
            .or_default()
            .push(id);
    }

    /// The entries that are due at `now_ns`, which are then no longer asked to be looked at.
    pub fn due(&mut self, now_ns: i64) -> Vec<EntryId> {
        let mut due = Vec::new();
        while let Some(slot) = self.wheel.first_entry() {
            if *slot.key() >= now_ns.div_euclid(WHEEL_NS) {
                break;
            }
            due.append(&mut slot.remove());
        }
        self.awaited = self.awaited.saturating_sub(due.len());
        due
    }

    /// Some entries that are due next, for making room: about the oldest; and the end of the time slot
    /// in which they are due. Each counts as asked for until [`Table::looked_at`].
    pub fn oldest(&mut self) -> (i64, Vec<EntryId>) {
        let first = self.wheel.pop_first();
        first.map_or((i64::MAX, Vec::new()), |(slot, ids)| {
            ((slot + 1).saturating_mul(WHEEL_NS), ids)
        })
    }

    /// One entry of [`Table::oldest`] was looked at.
    pub fn looked_at(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// Takes all entries out, in no particular order.
    pub fn drain(&mut self) -> impl Iterator<Item = (FlowKey, V)> + '_ {
        self.index.clear();
        self.recent.clear();
        self.wheel.clear();
        self.awaited = 0;
        self.free.clear();
        self.slots
            .drain(..)
            .filter_map(|slot| slot.value.map(|value| (slot.key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Addresses;

    fn key(n: u32) -> FlowKey {
        FlowKey::new(
            Addresses::V4 {
                source: n,
                destination: 1,
            },
            5,
            6,
        )
        .0
    }

    #[test]
    fn entries_are_found_until_removed() {
        let mut table = Table::default();
        let ids: Vec<_> = (0..1000).map(|n| table.insert(key(n), n, 0)).collect();
        assert_eq!(table.find(&key(7)), Some(ids[7]));
        assert_eq!(table.get_mut(ids[7]), Some(&mut 7));
        assert_eq!(table.remove(ids[7]).map(|(_, value)| value), Some(7));
        assert!(table.find(&key(7)).is_none());
        assert!(table.get_mut(ids[7]).is_none());
        let again = table.insert(key(7), 77, 0);
        assert_ne!(again, ids[7]);
        assert!(
            table.remove(ids[7]).is_none(),
            "an old number never names a new entry"
        );
        assert_eq!(table.len(), 1000);
        assert_eq!(table.drain().count(), 1000);
    }

    #[test]
    fn what_was_found_lately_is_not_found_once_it_is_gone() {
        let mut table = Table::default();
        let id = table.insert(key(1), 1, 0);
        assert_eq!(table.find(&key(1)), Some(id));
        table.remove(id);
        assert_eq!(table.find(&key(1)), None);
        let again = table.insert(key(1), 2, 0);
        assert_eq!(table.find(&key(1)), Some(again));
        assert_eq!(table.drain().count(), 1);
        assert_eq!(table.find(&key(1)), None);
    }

    #[test]
    fn what_is_replaced_again_and_again_is_counted_until_its_time_has_come() {
        let mut table = Table::default();
        for _ in 0..1000 {
            let id = table.insert(key(1), (), WHEEL_NS);
            table.remove(id);
        }
        table.insert(key(1), (), WHEEL_NS);
        assert!(table.bytes() >= 1001 * size_of::<EntryId>());
        let (_, ids) = table.oldest();
        assert_eq!(ids.len(), 1001);
        assert!(table.bytes() >= 1001 * size_of::<EntryId>());
        ids.iter().for_each(|_| table.looked_at());
        assert!(table.bytes() < 10 * size_of::<Slot<()>>());
    }

    #[test]
    fn due_entries_come_once() {
        let mut table = Table::default();
        let first = table.insert(key(1), (), 10 * WHEEL_NS);
        table.insert(key(2), (), 20 * WHEEL_NS);
        assert!(table.due(10 * WHEEL_NS).is_empty());
        assert_eq!(table.due(11 * WHEEL_NS), [first]);
        assert!(table.due(12 * WHEEL_NS).is_empty());
        assert_eq!(table.oldest().1.len(), 1);
    }
}
