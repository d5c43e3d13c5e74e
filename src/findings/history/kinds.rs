//! Kinds of handshakes, each stored once for as long as a trace is of it.
//!
//! Servers are many, and what handshakes with them look like is alike: a kind is the number of a server and the number of
//! a sort. So what is looked at for each handshake stays small enough for the processor's caches.

use crate::findings::trace::{Kind, Sort};
use crate::record::Endpoint;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher as _, Hash};

/// Kinds by number.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    servers: Counted<Endpoint>,
    sorts: Counted<Sort>,
    pairs: Pairs,
}

impl Kinds {
    /// The number of a kind, for one more trace.
    pub(super) fn number(&mut self, kind: Kind) -> u32 {
        let server = self.servers.hold(kind.server);
        let sort = self.sorts.hold(kind.sort);
        self.pairs.hold((server, sort))
    }

    /// A trace of this kind goes.
    pub(super) fn release(&mut self, number: u32) {
        if let Some((server, sort)) = self.pairs.release(number) {
            self.servers.release(server);
            self.sorts.release(sort);
        }
    }

    /// Bytes held, and those that the kinds will take at the end, when they are listed and numbered anew. What is free
    /// counts: it was not given back.
    pub(super) fn bytes(&self) -> usize {
        let at_end = 3 * size_of::<Kind>() * self.pairs.values.len();
        self.servers.bytes() + self.sorts.bytes() + self.pairs.bytes() + at_end
    }

    pub(super) fn get(&self, number: u32) -> Option<Kind> {
        let (server, sort) = self.pairs.get(number)?;
        Some(Kind {
            server: self.servers.get(server)?,
            sort: self.sorts.get(sort)?,
        })
    }

    /// The kinds by their numbers; those of no trace among them.
    pub(super) fn listed(&self) -> Vec<Option<Kind>> {
        let numbers = 0..self.pairs.values.len();
        numbers
            .map(|number| self.get(u32::try_from(number).ok()?))
            .collect()
    }
}

/// Values that are stored once, and how often each is held.
#[derive(Debug)]
struct Counted<T> {
    slots: Vec<(T, u32)>,
    numbers: HashTable<u32>,
    /// Numbers of slots that nobody holds.
    free: Vec<u32>,
    hasher: RandomState,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            numbers: HashTable::new(),
            free: Vec::new(),
            hasher: RandomState::default(),
        }
    }
}

impl<T: Hash + Eq + Copy> Counted<T> {
    /// The number of a value, which is held once more.
    fn hold(&mut self, value: T) -> u32 {
        let hash = self.hasher.hash_one(value);
        let slots = &mut self.slots;
        let is_it = |number: &u32| at(slots, *number).is_some_and(|(known, _)| *known == value);
        if let Some(number) = self.numbers.find(hash, is_it).copied() {
            if let Some((_, times)) = slots.get_mut(number as usize) {
                *times += 1;
            }
            return number;
        }
        let number = put(slots, &mut self.free, (value, 1));
        let hasher = &self.hasher;
        let hash_of = |number: &u32| at(slots, *number).map_or(0, |(one, _)| hasher.hash_one(one));
        self.numbers.insert_unique(hash, number, hash_of);
        number
    }

    /// Held once less.
    fn release(&mut self, number: u32) {
        let Some((value, times)) = self.slots.get_mut(number as usize) else {
            return;
        };
        *times = times.saturating_sub(1);
        if *times == 0 {
            let hash = self.hasher.hash_one(*value);
            if let Ok(found) = self.numbers.find_entry(hash, |known| *known == number) {
                found.remove();
                self.free.push(number);
            }
        }
    }

    fn get(&self, number: u32) -> Option<T> {
        at(&self.slots, number).map(|(value, _)| *value)
    }

    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<(T, u32)>()
            + table_bytes::<u32>(self.numbers.capacity())
            + self.free.capacity() * size_of::<u32>()
    }
}

/// Bytes of a table with room for so many: an eighth stays empty, and each place has a byte that tells of it.
fn table_bytes<T>(capacity: usize) -> usize {
    capacity * 8 / 7 * (size_of::<T>() + 1)
}

fn at<T>(slots: &[T], number: u32) -> Option<&T> {
    slots.get(usize::try_from(number).ok()?)
}

/// Puts a value into a slot that is free, or into a new one. Room is made for an eighth more, as for traces.
fn put<T>(slots: &mut Vec<T>, free: &mut Vec<u32>, value: T) -> u32 {
    const LEAST: usize = 64;
    if let Some(number) = free.pop() {
        // What is free was the number of a slot.
        slots[number as usize] = value;
        return number;
    }
    if slots.len() == slots.capacity() {
        slots.reserve_exact((slots.len() / 8).max(LEAST));
    }
    slots.push(value);
    // Values are no more than traces, and these no more than memory holds.
    u32::try_from(slots.len() - 1).unwrap_or(u32::MAX)
}

/// Pairs of a server and a sort. These are the most, and so what is looked at stands in the table itself.
#[derive(Debug, Default)]
struct Pairs {
    held: HashTable<Held>,
    /// By number; those that nobody holds among them.
    values: Vec<(u32, u32)>,
    free: Vec<u32>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Held {
    pair: (u32, u32),
    number: u32,
    times: u32,
}

impl Pairs {
    fn hold(&mut self, pair: (u32, u32)) -> u32 {
        let hash = self.hasher.hash_one(pair);
        if let Some(held) = self.held.find_mut(hash, |held| held.pair == pair) {
            held.times += 1;
            return held.number;
        }
        let number = put(&mut self.values, &mut self.free, pair);
        let new = Held {
            pair,
            number,
            times: 1,
        };
        let hasher = &self.hasher;
        self.held
            .insert_unique(hash, new, |held| hasher.hash_one(held.pair));
        number
    }

    /// Held once less. Gives the pair.
    fn release(&mut self, number: u32) -> Option<(u32, u32)> {
        let pair = self.get(number)?;
        let hash = self.hasher.hash_one(pair);
        let mut found = self
            .held
            .find_entry(hash, |held| held.number == number)
            .ok()?;
        let held = found.get_mut();
        held.times = held.times.saturating_sub(1);
        if held.times == 0 {
            found.remove();
            self.free.push(number);
        }
        Some(pair)
    }

    fn get(&self, number: u32) -> Option<(u32, u32)> {
        at(&self.values, number).copied()
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<(u32, u32)>()
            + table_bytes::<Held>(self.held.capacity())
            + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Settings, facts::Facts, history::History, testing::Make};

    fn kind(server: &str) -> Kind {
        let made = Make::new().server(server);
        History::new(&Settings::default()).kind(&Facts::of(&made.record))
    }

    #[test]
    fn equal_kinds_have_one_number_and_those_of_no_trace_go() {
        let mut kinds = Kinds::default();
        let (a, b) = (kind("10.0.0.5:443"), kind("10.0.0.6:443"));
        assert_eq!(kinds.number(a), 0);
        assert_eq!(kinds.number(a), 0);
        assert_eq!(kinds.number(b), 1);
        let both = kinds.bytes();
        kinds.release(0);
        kinds.release(0);
        // Its number is given to another one.
        let c = kind("10.0.0.7:443");
        assert_eq!(kinds.number(c), 0);
        assert_eq!((kinds.get(0), kinds.get(1)), (Some(c), Some(b)));
        assert_eq!(kinds.number(a), 2);
        assert_eq!(kinds.pairs.held.len(), 3);
        assert!(kinds.bytes() > both);
        (0..3).for_each(|number| kinds.release(number));
        assert!(kinds.pairs.held.is_empty() && kinds.sorts.numbers.is_empty());
    }
}
