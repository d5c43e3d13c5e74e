//! Values that many handshakes share, stored once: names, hello shapes, answers.

use super::shelf::Weigh;
use crate::record::{Certificate, ClientHelloShape, ServerHelloShape};
use core::hash::Hash;
use hashbrown::HashMap;
use std::sync::Arc;

/// Distinct names, shapes and certificates that are kept; traces with others lack them.
pub(super) const INTERNED_MAX: usize = 65_536;

/// Values that are stored once and have a number.
#[derive(Debug)]
pub(super) struct Interned<T> {
    numbers: HashMap<T, u32>,
    room: Room,
}

/// Bytes of what is stored, and how many there may be: values are as large as their sender likes.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    bytes_max: usize,
}

impl Room {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: 0,
            bytes_max,
        }
    }

    /// Takes what an entry needs, if there is so much.
    pub(super) fn take(&mut self, bytes: usize) -> Option<()> {
        /// Of a table, with what of it is empty.
        const ENTRY_BYTES: usize = 64;
        let taken = self.bytes.saturating_add(bytes + ENTRY_BYTES);
        (taken <= self.bytes_max).then(|| self.bytes = taken)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes = 0;
    }
}

impl Weigh for Box<str> {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Weigh for Box<[u16]> {
    fn heap_bytes(&self) -> usize {
        size_of_val::<[u16]>(self)
    }
}

/// With its JSON, in which a code takes nine bytes.
const CODE_BYTES: usize = 12;

impl Weigh for ClientHelloShape {
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.codes() * CODE_BYTES + 2 * self.text_bytes() + 512
    }
}

impl Weigh for ServerHelloShape {
    fn heap_bytes(&self) -> usize {
        let texts = self.ja3s_string.len() + self.alpn.as_ref().map_or(0, |name| name.len());
        size_of::<Self>() + self.extensions.len() * CODE_BYTES + 2 * texts + 256
    }
}

impl Weigh for Certificate {
    fn heap_bytes(&self) -> usize {
        let texts = [
            &self.subject,
            &self.issuer,
            &self.serial,
            &self.tls_server_end_point,
        ];
        let texts: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
        let names: usize = self.san.iter().map(|name| name.len() + 16).sum();
        let der = self.der.as_ref().map_or(0, |der| der.len());
        size_of::<Self>() + 2 * (texts + names) + der + 512
    }
}

impl<T: Hash + Eq + Weigh> Interned<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            numbers: HashMap::new(),
            room: Room::new(bytes_max),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.room.bytes()
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
        let value: T = value.into();
        self.room.take(value.heap_bytes())?;
        self.numbers.insert(value, number);
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
    room: Room,
}

impl<S: Hash + Eq + Weigh> Shapes<S> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            recent: Recent::new(),
            by_address: HashMap::new(),
            by_content: HashMap::new(),
            room: Room::new(bytes_max),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.room.bytes()
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
                self.room.take(shape.heap_bytes())?;
                self.by_content.insert(Arc::clone(shape), number);
                (number, true)
            }
        };
        // One that equals another that is stored is stored besides.
        let bytes = if found.1 { 0 } else { shape.heap_bytes() };
        if self.by_address.len() < INTERNED_MAX
            && Arc::strong_count(shape) > 2
            && self.room.take(bytes).is_some()
        {
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
