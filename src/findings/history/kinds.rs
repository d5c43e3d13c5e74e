//! Kinds of handshakes, each stored once for as long as a trace is of it.

use crate::findings::trace::Kind;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

/// Kinds by number.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    slots: Vec<Slot>,
    numbers: HashTable<u32>,
    hasher: RandomState,
    /// Numbers that no trace has.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    kind: Kind,
    hash: u64,
    traces: u32,
}

impl Kinds {
    /// The number of a kind, for one more trace.
    pub(super) fn number(&mut self, kind: Kind) -> u32 {
        let hash = self.hasher.hash_one(&kind);
        let slots = &mut self.slots;
        let is_it = |number: &u32| {
            slot(slots, *number).is_some_and(|slot| slot.hash == hash && slot.kind == kind)
        };
        if let Some(number) = self.numbers.find(hash, is_it).copied() {
            if let Some(slot) = slots.get_mut(number as usize) {
                slot.traces += 1;
            }
            return number;
        }
        let new = Slot {
            kind,
            hash,
            traces: 1,
        };
        let number = match self.free.pop() {
            Some(number) => {
                slots[number as usize] = new;
                number
            }
            None => {
                slots.push(new);
                // Kinds are no more than traces, and these no more than memory holds.
                u32::try_from(slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let hash_of = |number: &u32| slot(slots, *number).map_or(0, |slot| slot.hash);
        self.numbers.insert_unique(hash, number, hash_of);
        number
    }

    /// A trace of this kind goes.
    pub(super) fn release(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else {
            return;
        };
        slot.traces -= 1;
        if slot.traces == 0 {
            if let Ok(found) = self.numbers.find_entry(slot.hash, |known| *known == number) {
                found.remove();
            }
            self.free.push(number);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        // A table is half empty at its worst.
        (self.slots.len() - self.free.len()) * (size_of::<Slot>() + 4 * size_of::<u32>())
    }

    pub(super) fn get(&self, number: u32) -> Option<&Kind> {
        slot(&self.slots, number).map(|slot| &slot.kind)
    }

    /// The kinds by their numbers; those of no trace among them.
    pub(super) fn listed(self) -> Vec<Kind> {
        self.slots.into_iter().map(|slot| slot.kind).collect()
    }
}

fn slot(slots: &[Slot], number: u32) -> Option<&Slot> {
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
        assert_eq!(kinds.number(a.clone()), 0);
        assert_eq!(kinds.number(a.clone()), 0);
        assert_eq!(kinds.number(b.clone()), 1);
        let both = kinds.bytes();
        kinds.release(0);
        assert_eq!(kinds.bytes(), both, "one is left");
        kinds.release(0);
        assert!(kinds.bytes() < both);
        // Its number is given to another one.
        let c = kind("10.0.0.7:443");
        assert_eq!(kinds.number(c.clone()), 0);
        assert_eq!((kinds.get(0), kinds.get(1)), (Some(&c), Some(&b)));
        assert_eq!(kinds.number(a), 2);
    }
}
