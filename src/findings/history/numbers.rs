//! Numbers of values that many traces share, each for as long as a trace holds it.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::{
    hash::{BuildHasher as _, Hasher},
    net::IpAddr,
};

/// What is quickly hashed and compared.
pub(super) trait Key: Copy + Eq {
    fn hash(&self, state: &mut impl Hasher);
}

impl<const N: usize> Key for [u64; N] {
    fn hash(&self, state: &mut impl Hasher) {
        self.iter().for_each(|word| state.write_u64(*word));
    }
}

impl Key for u32 {
    fn hash(&self, state: &mut impl Hasher) {
        state.write_u32(*self);
    }
}

impl Key for u128 {
    fn hash(&self, state: &mut impl Hasher) {
        state.write_u128(*self);
    }
}

/// The numbers of values, and how often each is held. What is looked at stands in the table itself.
#[derive(Debug)]
pub(super) struct Numbers<K> {
    held: HashTable<Held<K>>,
    /// Numbers that nobody holds.
    free: Vec<u32>,
    /// How many there are, free ones included.
    count: u32,
    hasher: RandomState,
}

#[derive(Debug)]
struct Held<K> {
    value: K,
    number: u32,
    times: u32,
}

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Self {
            held: HashTable::new(),
            free: Vec::new(),
            count: 0,
            hasher: RandomState::default(),
        }
    }
}

fn hash_of(hasher: &RandomState, value: &impl Key) -> u64 {
    let mut state = hasher.build_hasher();
    value.hash(&mut state);
    state.finish()
}

impl<K: Key> Numbers<K> {
    /// The number of a value, which is held once more, and whether it is new.
    pub(super) fn hold(&mut self, value: &K) -> (u32, bool) {
        let hash = hash_of(&self.hasher, value);
        if let Some(held) = self.held.find_mut(hash, |held| held.value == *value) {
            held.times += 1;
            return (held.number, false);
        }
        let number = self.free.pop().unwrap_or(self.count);
        // Values are no more than traces, and these no more than memory holds.
        self.count = self.count.max(number.saturating_add(1));
        let new = Held {
            value: *value,
            number,
            times: 1,
        };
        let hasher = &self.hasher;
        self.held
            .insert_unique(hash, new, |held| hash_of(hasher, &held.value));
        (number, true)
    }

    /// Held once less.
    pub(super) fn release(&mut self, value: &K) {
        let hash = hash_of(&self.hasher, value);
        if let Ok(mut found) = self.held.find_entry(hash, |held| held.value == *value) {
            let held = found.get_mut();
            held.times = held.times.saturating_sub(1);
            if held.times == 0 {
                let number = held.number;
                found.remove();
                self.free.push(number);
            }
        }
    }

    /// The number of a value that is held.
    fn get(&self, value: &K) -> Option<u32> {
        let hash = hash_of(&self.hasher, value);
        let found = self.held.find(hash, |held| held.value == *value);
        found.map(|held| held.number)
    }

    /// How many values are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn bytes(&self) -> usize {
        // An eighth of a table stays empty, and each place has a byte that tells of it.
        self.held.capacity() * 8 / 7 * (size_of::<Held<K>>() + 1)
            + self.free.capacity() * size_of::<u32>()
    }
}

/// Puts a value where its number says: in place of one that nobody holds, or at the end. Room is made for an eighth more,
/// as for traces.
pub(super) fn put<T>(list: &mut Vec<T>, number: u32, value: T) {
    const LEAST: usize = 64;
    if let Some(slot) = list.get_mut(number as usize) {
        *slot = value;
        return;
    }
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(LEAST));
    }
    list.push(value);
}

/// Numbers of addresses. Most are of IPv4, and each takes a fourth of the room that one of IPv6 takes.
#[derive(Debug, Default)]
pub(in crate::findings) struct Addresses {
    v4: Numbers<u32>,
    v6: Numbers<u128>,
    /// By their numbers; those of no trace among them.
    v4_of: Vec<u32>,
    v6_of: Vec<u128>,
}

/// Set in the numbers of addresses of IPv6. There are fewer than 2^31 of each: they are no more than traces.
const V6: u32 = 1 << 31;

impl Addresses {
    /// The number of an address, which is held once more.
    pub(super) fn hold(&mut self, ip: IpAddr) -> u32 {
        match ip {
            IpAddr::V4(ip) => {
                let bits = ip.to_bits();
                let (number, is_new) = self.v4.hold(&bits);
                if is_new {
                    put(&mut self.v4_of, number, bits);
                }
                number
            }
            IpAddr::V6(ip) => {
                let bits = ip.to_bits();
                let (number, is_new) = self.v6.hold(&bits);
                if is_new {
                    put(&mut self.v6_of, number, bits);
                }
                number | V6
            }
        }
    }

    /// Held once less.
    pub(super) fn release(&mut self, number: u32) {
        match self.get(number) {
            Some(IpAddr::V4(ip)) => self.v4.release(&ip.to_bits()),
            Some(IpAddr::V6(ip)) => self.v6.release(&ip.to_bits()),
            None => {}
        }
    }

    /// The address of a number.
    pub(super) fn get(&self, number: u32) -> Option<IpAddr> {
        let place = (number & !V6) as usize;
        match number & V6 {
            0 => Some(IpAddr::V4((*self.v4_of.get(place)?).into())),
            _ => Some(IpAddr::V6((*self.v6_of.get(place)?).into())),
        }
    }

    /// All addresses, those of no trace among them: at their places.
    pub(in crate::findings) fn listed(&self) -> Vec<IpAddr> {
        let v4 = self.v4_of.iter().map(|bits| IpAddr::V4((*bits).into()));
        let v6 = self.v6_of.iter().map(|bits| IpAddr::V6((*bits).into()));
        v4.chain(v6).collect()
    }

    /// Where the address of this number is listed.
    pub(super) fn place(&self, number: u32) -> u32 {
        match number & V6 {
            0 => number,
            // Both together are no more than a number tells.
            _ => (number & !V6).saturating_add(self.v4_of.len() as u32),
        }
    }

    /// Where an address is listed that a trace has.
    pub(in crate::findings) fn find(&self, ip: IpAddr) -> Option<usize> {
        let number = match ip {
            IpAddr::V4(ip) => self.v4.get(&ip.to_bits())?,
            IpAddr::V6(ip) => self.v6.get(&ip.to_bits())? | V6,
        };
        usize::try_from(self.place(number)).ok()
    }

    pub(super) fn bytes(&self) -> usize {
        let lists =
            self.v4_of.capacity() * size_of::<u32>() + self.v6_of.capacity() * size_of::<u128>();
        self.v4.bytes() + self.v6.bytes() + lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_number_each_for_as_long_as_they_are_held() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        // The second has the bits of the first.
        let all = ["10.0.0.1", "::a00:1", "fe80::1", "10.0.0.2"].map(ip);
        let mut addresses = Addresses::default();
        let numbers = all.map(|ip| addresses.hold(ip));
        assert_eq!(addresses.hold(all[0]), numbers[0]);
        for (ip, number) in all.iter().zip(numbers) {
            assert_eq!(addresses.get(number), Some(*ip));
            let place = addresses.place(number) as usize;
            assert_eq!(addresses.listed()[place], *ip);
            assert_eq!(addresses.find(*ip), Some(place));
        }
        addresses.release(numbers[0]);
        assert!(addresses.find(all[0]).is_some());
        numbers.iter().for_each(|number| addresses.release(*number));
        assert!(all.iter().all(|ip| addresses.find(*ip).is_none()));
        // What is free is given again.
        assert_eq!(addresses.hold(ip("10.0.0.9")) & !V6, 1);
        assert_eq!((addresses.v4.len(), addresses.v6.len()), (1, 0));
    }
}
