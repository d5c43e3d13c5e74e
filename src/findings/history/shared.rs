//! What many handshakes share, each stored once for as long as a trace refers to it: servers, and sorts.

use crate::findings::lists::Members;
use crate::findings::trace::{Own, Sort};
use crate::record::Endpoint;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, Hasher as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What a trace shares that lacks the numbers of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub(super) sort: Sort,
    /// The same in words.
    packed: [u64; 4],
    server: [u64; 3],
}

impl Fresh {
    pub(super) fn new(server: Endpoint, sort: Sort) -> Self {
        Self {
            sort,
            packed: sort.packed(),
            server: packed(server),
        }
    }

    pub(super) fn server(&self) -> Endpoint {
        unpacked(self.server)
    }
}

/// Servers and sorts by number.
#[derive(Debug, Default)]
pub(super) struct Shared {
    servers: Numbers<3>,
    sorts: Numbers<4>,
    /// By their numbers; those of no trace among them.
    server_of: Vec<Endpoint>,
    sort_of: Vec<Sort>,
}

impl Shared {
    /// Gives traces the numbers of their servers and sorts. One table after the other: the processor waits for many places
    /// of a table at once, where look-ups are short and do not depend on each other, and what it waited for is still at hand.
    ///
    /// `fresh` are those of the traces from `settled` on.
    pub(super) fn number(&mut self, fresh: &[Fresh], traces: &mut VecDeque<Own>, settled: usize) {
        for (fresh, own) in fresh.iter().zip(traces.range_mut(settled..)) {
            let (number, is_new) = self.servers.hold(&fresh.server);
            own.server = number;
            if is_new {
                put(&mut self.server_of, number, fresh.server());
            }
        }
        for (fresh, own) in fresh.iter().zip(traces.range_mut(settled..)) {
            let (number, is_new) = self.sorts.hold(&fresh.packed);
            own.sort = number;
            if is_new {
                put(&mut self.sort_of, number, fresh.sort);
            }
        }
    }

    /// A trace goes.
    pub(super) fn release(&mut self, trace: &Own) {
        if let Some(server) = self.server(trace.server) {
            self.servers.release(&packed(server), trace.server);
        }
        if let Some(sort) = self.sort(trace.sort).map(Sort::packed) {
            self.sorts.release(&sort, trace.sort);
        }
    }

    /// Bytes held, and those that each server takes at the end. What is free counts: it was not given back.
    pub(super) fn bytes(&self) -> usize {
        const SERVER_BYTES: usize = 3 * size_of::<(Endpoint, Members)>();
        let at_end = self.server_of.len() * SERVER_BYTES;
        let lists = self.server_of.capacity() * size_of::<Endpoint>()
            + self.sort_of.capacity() * size_of::<Sort>();
        self.servers.bytes() + self.sorts.bytes() + lists + at_end
    }

    pub(super) fn server(&self, number: u32) -> Option<Endpoint> {
        self.server_of.get(usize::try_from(number).ok()?).copied()
    }

    pub(super) fn sort(&self, number: u32) -> Option<&Sort> {
        self.sort_of.get(usize::try_from(number).ok()?)
    }

    /// The sorts by their numbers; those of no trace among them.
    pub(super) fn sorts(&self) -> &[Sort] {
        &self.sort_of
    }

    /// The servers and the sorts by their numbers; those of no trace among them.
    pub(super) fn listed(self) -> (Vec<Endpoint>, Vec<Sort>) {
        (self.server_of, self.sort_of)
    }
}

/// Puts a value where its number says: in place of one that nobody holds, or at the end. Room is made for an eighth more,
/// as for traces.
fn put<T>(list: &mut Vec<T>, number: u32, value: T) {
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

/// What stands before the port of an IPv6 endpoint.
const V6: u64 = 1 << 16;

/// An endpoint in words that are quickly compared: half an address, the other half, the port.
fn packed(server: Endpoint) -> [u64; 3] {
    let port = u64::from(server.port);
    match server.ip {
        IpAddr::V4(ip) => [u64::from(ip.to_bits()), 0, port],
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            [bits as u64, (bits >> 64) as u64, V6 | port]
        }
    }
}

fn unpacked([low, high, port]: [u64; 3]) -> Endpoint {
    let ip = if port & V6 == 0 {
        IpAddr::V4(Ipv4Addr::from_bits(low as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(high) << 64 | u128::from(low),
        ))
    };
    Endpoint {
        ip,
        port: port as u16,
    }
}

/// The numbers of values, and how often each is held. What is looked at stands in the table itself.
#[derive(Debug)]
struct Numbers<const N: usize> {
    held: HashTable<Held<N>>,
    /// Numbers that nobody holds.
    free: Vec<u32>,
    /// How many there are, free ones included.
    count: u32,
    hasher: RandomState,
}

#[derive(Debug)]
struct Held<const N: usize> {
    value: [u64; N],
    number: u32,
    times: u32,
}

impl<const N: usize> Default for Numbers<N> {
    fn default() -> Self {
        Self {
            held: HashTable::new(),
            free: Vec::new(),
            count: 0,
            hasher: RandomState::default(),
        }
    }
}

fn hash_of<const N: usize>(hasher: &RandomState, value: &[u64; N]) -> u64 {
    let mut state = hasher.build_hasher();
    value.iter().for_each(|word| state.write_u64(*word));
    state.finish()
}

impl<const N: usize> Numbers<N> {
    /// The number of a value, which is held once more, and whether it is new.
    fn hold(&mut self, value: &[u64; N]) -> (u32, bool) {
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
    fn release(&mut self, value: &[u64; N], number: u32) {
        let hash = hash_of(&self.hasher, value);
        if let Ok(mut found) = self.held.find_entry(hash, |held| held.number == number) {
            let held = found.get_mut();
            held.times = held.times.saturating_sub(1);
            if held.times == 0 {
                found.remove();
                self.free.push(number);
            }
        }
    }

    fn bytes(&self) -> usize {
        // An eighth of a table stays empty, and each place has a byte that tells of it.
        self.held.capacity() * 8 / 7 * (size_of::<Held<N>>() + 1)
            + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Settings, facts::Facts, history::History, testing::Make};

    fn fresh(server: &str) -> (Own, Fresh) {
        let made = Make::new().server(server);
        let mut history = History::new(&Settings::default());
        history.add(&Facts::of(&made.record));
        (history.traces[0], history.fresh[0])
    }

    #[test]
    fn endpoints_stay_what_they_are() {
        for text in [
            "0.0.0.0:0",
            "255.255.255.254:65535",
            "[::]:0",
            "[::a00:5]:443",
            "[fe80::1:2:3]:1",
        ] {
            let server = Make::new().server(text).record.server;
            assert_eq!(unpacked(packed(server)), server);
        }
    }

    #[test]
    fn equal_values_have_one_number_and_those_of_no_trace_go() {
        let mut shared = Shared::default();
        let numbers = |shared: &mut Shared, servers: &[&str]| -> Vec<Own> {
            let (mut traces, fresh): (VecDeque<Own>, Vec<Fresh>) =
                servers.iter().map(|server| fresh(server)).unzip();
            shared.number(&fresh, &mut traces, 0);
            traces.into()
        };
        let servers =
            |traces: &[Own]| -> Vec<u32> { traces.iter().map(|own| own.server).collect() };
        let (a, b, c) = ("10.0.0.5:443", "10.0.0.6:443", "10.0.0.7:443");
        let first = numbers(&mut shared, &[a, a, b]);
        assert_eq!(servers(&first), [0, 0, 1]);
        let both = shared.bytes();
        shared.release(&first[0]);
        shared.release(&first[1]);
        // Its number is given to another one.
        let next = numbers(&mut shared, &[c, a]);
        assert_eq!(servers(&next), [0, 2]);
        assert_eq!(shared.server(0), Some(fresh(c).1.server()));
        assert_eq!(shared.sort(next[0].sort), Some(&fresh(c).1.sort));
        assert_eq!((shared.servers.held.len(), shared.sorts.held.len()), (3, 1));
        assert!(shared.bytes() >= both);
        next.iter()
            .chain(&first[2..])
            .for_each(|trace| shared.release(trace));
        assert!(shared.servers.held.is_empty() && shared.sorts.held.is_empty());
    }
}
