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
        let (server, _) = self.servers.number(kind.server);
        let (sort, _) = self.sorts.number(kind.sort);
        let (number, is_new) = self.kinds.number((server, sort));
        if is_new {
            self.servers.hold(server);
            self.sorts.hold(sort);
        }
        self.kinds.hold(number);
        number
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
        let (server, sort) = *self.kinds.get(number)?;
        Some(Kind {
            server: *self.servers.get(server)?,
            sort: *self.sorts.get(sort)?,
        })
    }

    /// The kinds by their numbers; those of no trace among them.
    pub(super) fn listed(&self) -> Vec<Option<Kind>> {
        let numbers = 0..self.kinds.slots.len();
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
    hasher: RandomState,
    /// Numbers that nobody holds.
    free: Vec<u32>,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            numbers: HashTable::new(),
            hasher: RandomState::default(),
            free: Vec::new(),
        }
    }
}

impl<T: Hash + Eq + Copy> Counted<T> {
    /// The number of a value, and whether it is new; then nobody holds it yet.
    fn number(&mut self, value: T) -> (u32, bool) {
        let hash = self.hasher.hash_one(value);
        let slots = &mut self.slots;
        let is_it = |number: &u32| at(slots, *number).is_some_and(|(known, _)| *known == value);
        if let Some(number) = self.numbers.find(hash, is_it) {
            return (*number, false);
        }
        let number = match self.free.pop() {
            Some(number) => {
                slots[number as usize] = (value, 0);
                number
            }
            None => {
                slots.push((value, 0));
                // Values are no more than traces, and these no more than memory holds.
                u32::try_from(slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let hash_of =
            |number: &u32| at(slots, *number).map_or(0, |(known, _)| self.hasher.hash_one(known));
        self.numbers.insert_unique(hash, number, hash_of);
        (number, true)
    }

    fn hold(&mut self, number: u32) {
        if let Some((_, held)) = self.slots.get_mut(number as usize) {
            *held += 1;
        }
    }

    /// Held once less; gives the value back where it was the last time.
    fn release(&mut self, number: u32) -> Option<T> {
        let (value, held) = self.slots.get_mut(number as usize)?;
        let value = *value;
        *held -= 1;
        if *held > 0 {
            return None;
        }
        let hash = self.hasher.hash_one(value);
        if let Ok(found) = self.numbers.find_entry(hash, |known| *known == number) {
            found.remove();
        }
        self.free.push(number);
        Some(value)
    }

    fn get(&self, number: u32) -> Option<&T> {
        at(&self.slots, number).map(|(value, _)| value)
    }

    fn bytes(&self) -> usize {
        // A table is half empty at its worst.
        (self.slots.len() - self.free.len()) * (size_of::<(T, u32)>() + 4 * size_of::<u32>())
    }
}

fn at<T>(slots: &[(T, u32)], number: u32) -> Option<&(T, u32)> {
    slots.get(usize::try_from(number).ok()?)
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
