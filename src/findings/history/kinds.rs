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
    /// By server and sort.
    kinds: Counted<(u32, u32)>,
}

impl Kinds {
    /// The number of a kind, for one more trace.
    pub(super) fn number(&mut self, kind: Kind) -> u32 {
        let server = self.servers.hold(kind.server);
        let sort = self.sorts.hold(kind.sort);
        self.kinds.hold((server, sort))
    }

    /// A trace of this kind goes.
    pub(super) fn release(&mut self, number: u32) {
        if let Some((server, sort)) = self.kinds.release(number) {
            self.servers.release(server);
            self.sorts.release(sort);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.servers.bytes() + self.sorts.bytes() + self.kinds.bytes()
    }

    pub(super) fn get(&self, number: u32) -> Option<Kind> {
        let (server, sort) = self.kinds.get(number)?;
        Some(Kind {
            server: self.servers.get(server)?,
            sort: self.sorts.get(sort)?,
        })
    }

    /// The kinds by their numbers; those of no trace among them.
    pub(super) fn listed(&self) -> Vec<Option<Kind>> {
        let numbers = 0..self.kinds.values.len();
        numbers
            .map(|number| self.get(u32::try_from(number).ok()?))
            .collect()
    }
}

/// Values that are stored once, and how often each is held.
#[derive(Debug)]
struct Counted<T> {
    /// With the value beside its number, since to look at it elsewhere is what takes long.
    held: HashTable<Held<T>>,
    /// By number; those that nobody holds among them.
    values: Vec<T>,
    free: Vec<u32>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Held<T> {
    value: T,
    number: u32,
    times: u32,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self {
            held: HashTable::new(),
            values: Vec::new(),
            free: Vec::new(),
            hasher: RandomState::default(),
        }
    }
}

impl<T: Hash + Eq + Copy> Counted<T> {
    /// The number of a value, which is held once more.
    fn hold(&mut self, value: T) -> u32 {
        let hash = self.hasher.hash_one(value);
        if let Some(held) = self.held.find_mut(hash, |held| held.value == value) {
            held.times += 1;
            return held.number;
        }
        let number = match self.free.pop() {
            Some(number) => {
                self.values[number as usize] = value;
                number
            }
            None => {
                self.values.push(value);
                // Values are no more than traces, and these no more than memory holds.
                u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let new = Held {
            value,
            number,
            times: 1,
        };
        let hasher = &self.hasher;
        self.held
            .insert_unique(hash, new, |held| hasher.hash_one(held.value));
        number
    }

    /// Held once less. Gives the value.
    fn release(&mut self, number: u32) -> Option<T> {
        let value = self.get(number)?;
        let hash = self.hasher.hash_one(value);
        let mut found = self
            .held
            .find_entry(hash, |held| held.number == number)
            .ok()?;
        let held = found.get_mut();
        held.times -= 1;
        if held.times == 0 {
            found.remove();
            self.free.push(number);
        }
        Some(value)
    }

    fn get(&self, number: u32) -> Option<T> {
        self.values.get(usize::try_from(number).ok()?).copied()
    }

    fn bytes(&self) -> usize {
        // A table is half empty at its worst.
        self.held.len() * (2 * size_of::<Held<T>>() + size_of::<T>())
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
        assert_eq!(kinds.bytes(), both, "one is left");
        kinds.release(0);
        assert!(kinds.bytes() < both);
        // Its number is given to another one.
        let c = kind("10.0.0.7:443");
        assert_eq!(kinds.number(c), 0);
        assert_eq!((kinds.get(0), kinds.get(1)), (Some(c), Some(b)));
        assert_eq!(kinds.number(a), 2);
        (0..3).for_each(|number| kinds.release(number));
        assert_eq!(kinds.bytes(), 0);
    }
}
