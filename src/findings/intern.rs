//! Values that many handshakes share, stored once: names, hello shapes, answers.

use core::hash::Hash;
use hashbrown::HashMap;
use std::sync::Arc;

/// Distinct names, shapes and certificates that are kept; traces with others lack them.
pub(super) const INTERNED_MAX: usize = 65_536;

/// Values that are stored once and have a number.
#[derive(Debug)]
pub(super) struct Interned<T> {
    numbers: HashMap<T, u32>,
}

impl<T: Hash + Eq> Interned<T> {
    pub(super) fn new() -> Self {
        Self {
            numbers: HashMap::new(),
        }
    }

    /// The values in the order of their numbers.
    pub(super) fn listed(&self) -> impl Iterator<Item = &T> {
        let mut numbered: Vec<_> = self.numbers.iter().collect();
        numbered.sort_by_key(|(_, number)| **number);
        numbered.into_iter().map(|(value, _)| value)
    }

    /// The number of a value, and whether it is new; `None` at the cap.
    pub(super) fn number<Q>(&mut self, value: &Q) -> Option<(u32, bool)>
    where
        Q: Hash + hashbrown::Equivalent<T> + ?Sized,
        T: for<'q> From<&'q Q>,
    {
        if let Some(number) = self.numbers.get(value) {
            return Some((*number, false));
        }
        if self.numbers.len() >= INTERNED_MAX {
            return None;
        }
        let number = u32::try_from(self.numbers.len()).ok()?;
        self.numbers.insert(value.into(), number);
        Some((number, true))
    }
}

/// What was found last by addresses: few programs and servers make most handshakes. An address must stay its own.
#[derive(Debug)]
pub(super) struct Recent<V>([(usize, V); 256]);

impl<V: Copy + Default> Recent<V> {
    pub(super) fn new() -> Self {
        Self([(0, V::default()); 256])
    }

    /// Where an address stands: boxes are not smaller than this.
    fn place(address: usize) -> usize {
        (address >> 5 ^ address >> 13) % 256
    }

    #[inline]
    pub(super) fn get(&self, address: usize) -> Option<V> {
        let (known, value) = self.0.get(Self::place(address))?;
        (*known == address).then_some(*value)
    }

    pub(super) fn put(&mut self, address: usize, value: V) {
        if let Some(place) = self.0.get_mut(Self::place(address)) {
            *place = (address, value);
        }
    }
}

/// Shapes by content, with a short way for an `Arc` that came before.
#[derive(Debug)]
pub(super) struct Shapes<S> {
    recent: Recent<u32>,
    by_address: HashMap<usize, (u32, Arc<S>)>,
    by_content: HashMap<Arc<S>, u32>,
}

impl<S: Hash + Eq> Shapes<S> {
    pub(super) fn new() -> Self {
        Self {
            recent: Recent::new(),
            by_address: HashMap::new(),
            by_content: HashMap::new(),
        }
    }

    pub(super) fn number(&mut self, shape: &Arc<S>) -> Option<(u32, bool)> {
        // The table holds the Arc, so that its address stays its own.
        let address = Arc::as_ptr(shape).addr();
        if let Some(number) = self.recent.get(address) {
            return Some((number, false));
        }
        if let Some((number, _)) = self.by_address.get(&address) {
            self.recent.put(address, *number);
            return Some((*number, false));
        }
        let found = match self.by_content.get(shape) {
            Some(number) => (*number, false),
            None if self.by_content.len() >= INTERNED_MAX => return None,
            None => {
                let number = u32::try_from(self.by_content.len()).ok()?;
                self.by_content.insert(Arc::clone(shape), number);
                (number, true)
            }
        };
        if self.by_address.len() < INTERNED_MAX && Arc::strong_count(shape) > 2 {
            self.by_address
                .insert(address, (found.0, Arc::clone(shape)));
        }
        Some(found)
    }
}

/// The texts in the order of their numbers.
pub(super) fn texts(interned: Interned<Box<str>>) -> Vec<Box<str>> {
    let mut numbered: Vec<_> = interned.numbers.into_iter().collect();
    numbered.sort_by_key(|(_, number)| *number);
    numbered.into_iter().map(|(text, _)| text).collect()
}
