//! A list with a share of the memory: past it the oldest entries go, counted.

use std::collections::VecDeque;

/// What an entry holds on the heap, in bytes.
pub(super) trait Weigh {
    fn heap_bytes(&self) -> usize;
}

/// Entries in the order in which they came, or were sorted.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    entries: VecDeque<T>,
    bytes: usize,
    bytes_max: usize,
    /// Entries that had to go.
    pub(super) forgotten: u64,
}

impl<T: Weigh> Shelf<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
            forgotten: 0,
        }
    }

    /// Bytes of one entry. A list that grows has room for twice its entries.
    fn weight(entry: &T) -> usize {
        2 * size_of::<T>() + entry.heap_bytes()
    }

    pub(super) fn push(&mut self, entry: T) {
        let weight = Self::weight(&entry);
        if weight > self.bytes_max {
            self.forgotten += 1;
            return;
        }
        while self.bytes.saturating_add(weight) > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.forgotten += 1;
            self.bytes = self.bytes.saturating_sub(Self::weight(&oldest));
        }
        self.bytes += weight;
        self.entries.push_back(entry);
    }

    /// Adds all that another one holds.
    pub(super) fn absorb(&mut self, other: &Self)
    where
        T: Clone,
    {
        for entry in &other.entries {
            self.push(entry.clone());
        }
        self.forgotten += other.forgotten;
    }

    pub(super) fn sort_by_key<K: Ord>(&mut self, key: impl FnMut(&T) -> K) {
        self.entries.make_contiguous().sort_by_key(key);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_are_counted() {
        let word: Box<str> = "12345678".into();
        let weight = 2 * size_of::<Box<str>>() + 8;
        let mut shelf = Shelf::new(3 * weight);
        for _ in 0..5 {
            shelf.push(word.clone());
        }
        assert_eq!((shelf.iter().count(), shelf.forgotten), (3, 2));
        assert_eq!(shelf.bytes(), 3 * weight);
        // One that has no room at all is refused; what was there stays.
        shelf.push("x".repeat(1_000).into());
        assert_eq!((shelf.iter().count(), shelf.forgotten), (3, 3));
    }
}
