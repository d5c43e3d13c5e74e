//! Which traces belong together: by kind, server, name, and client with server. Each list is in order of time.

use super::history::PAIR_NOTABLE;
use super::trace::{Kind, Own};
use crate::record::Endpoint;
use core::hash::{BuildHasher as _, Hash};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::{collections::BTreeMap, net::IpAddr};

/// The traces of one server or name.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Indexes of traces, in order of time.
    pub(super) traces: Vec<usize>,
    /// Numbers of their kinds, in the order of their first traces.
    pub(super) kinds: Vec<usize>,
}

/// The traces of each kind.
#[derive(Debug)]
pub(super) struct ByKind {
    /// All indexes of traces, those of one kind together and in order of time.
    traces: Vec<usize>,
    /// Where those of a kind begin; one more at the end.
    begins: Vec<usize>,
}

impl ByKind {
    pub(super) fn new(kind_of: &[u32], kinds: usize) -> Self {
        let mut begins = vec![0; kinds + 1];
        for kind in kind_of {
            if let Some(count) = begins.get_mut(*kind as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for begin in &mut begins {
            sum += *begin;
            *begin = sum;
        }
        let mut next = begins.clone();
        let mut traces = vec![0; sum];
        for (index, kind) in kind_of.iter().enumerate() {
            if let Some(place) = next.get_mut(*kind as usize) {
                if let Some(slot) = traces.get_mut(*place) {
                    *slot = index;
                }
                *place += 1;
            }
        }
        Self { traces, begins }
    }

    /// The traces of one kind, in order of time.
    pub(super) fn of(&self, kind: usize) -> &[usize] {
        let range = self.begins.get(kind).zip(self.begins.get(kind + 1));
        range
            .and_then(|(from, to)| self.traces.get(*from..*to))
            .unwrap_or(&[])
    }
}

/// Traces by what a kind says of them. `rank` orders keys as they order themselves, but is cheaper to compare.
pub(super) fn by<K: Copy + Ord + Hash, R: Ord>(
    kinds: &[Kind],
    kind_of: &[u32],
    key: impl Fn(&Kind) -> Option<K>,
    rank: impl Fn(&K) -> R,
) -> BTreeMap<K, Members> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut found: Vec<(K, Members)> = Vec::new();
    // By kind, where its members are gathered.
    let mut place_of: Vec<usize> = Vec::with_capacity(kinds.len());
    for (number, kind) in kinds.iter().enumerate() {
        let Some(key) = key(kind) else {
            place_of.push(usize::MAX);
            continue;
        };
        let place = *places.entry(key).or_insert_with(|| {
            found.push((key, Members::default()));
            found.len() - 1
        });
        if let Some((_, members)) = found.get_mut(place) {
            members.kinds.push(number);
        }
        place_of.push(place);
    }
    for (index, kind) in kind_of.iter().enumerate() {
        let place = place_of.get(*kind as usize).copied();
        if let Some((_, members)) = place.and_then(|place| found.get_mut(place)) {
            members.traces.push(index);
        }
    }
    found.sort_unstable_by_key(|(key, _)| rank(key));
    found.into_iter().collect()
}

/// Handshakes of one client with one server, in number or by their outcome, that a survey has questions about. Most
/// pairs of a large capture have a few good handshakes each: to list them all cost more than all surveys.
pub(super) fn notable_pairs(
    traces: &[Own],
    kinds: &[Kind],
) -> BTreeMap<(IpAddr, Endpoint), Vec<usize>> {
    let mut few = Sketch::new(traces.len());
    let keys = || {
        traces.iter().enumerate().filter_map(|(index, own)| {
            let kind = kinds.get(own.kind as usize)?;
            Some((index, (own.client, kind.server), kind))
        })
    };
    for (_, key, kind) in keys() {
        few.count(&key, kind.is_complete());
    }
    let mut found: HashMap<(IpAddr, Endpoint), Vec<usize>> = HashMap::new();
    for (index, key, _) in keys() {
        if few.may_be_notable(&key) {
            found.entry(key).or_default().push(index);
        }
    }
    let is_notable = |list: &[usize]| {
        let failed = |index: &usize| {
            let kind = traces.get(*index).map(|own| own.kind as usize);
            let kind = kind.and_then(|kind| kinds.get(kind));
            kind.is_some_and(|kind| !kind.is_complete())
        };
        list.len() >= PAIR_NOTABLE || list.iter().any(failed)
    };
    found.retain(|_, list| is_notable(list));
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable_by_key(|((client, server), _)| (rank(client), endpoint_rank(server)));
    found.into_iter().collect()
}

/// Counts of pairs in a small table without keys: pairs that share a place are counted together, so that a count is
/// never too low.
struct Sketch {
    counts: Vec<u8>,
    hasher: RandomState,
}

impl Sketch {
    /// Four places for each of so many pairs, but no more than processors keep at hand.
    fn new(pairs: usize) -> Self {
        const PLACES_MAX: usize = 1 << 20;
        let places = (4 * pairs).next_power_of_two().min(PLACES_MAX);
        Self {
            counts: vec![0; places],
            hasher: RandomState::default(),
        }
    }

    fn place(&self, pair: &(IpAddr, Endpoint)) -> usize {
        // Its length is a power of two.
        self.hasher.hash_one(pair) as usize & (self.counts.len() - 1)
    }

    fn count(&mut self, pair: &(IpAddr, Endpoint), is_complete: bool) {
        let place = self.place(pair);
        if let Some(count) = self.counts.get_mut(place) {
            *count = match is_complete {
                true => count.saturating_add(1),
                false => u8::MAX,
            };
        }
    }

    fn may_be_notable(&self, pair: &(IpAddr, Endpoint)) -> bool {
        let count = self.counts.get(self.place(pair));
        count.is_some_and(|count| usize::from(*count) >= PAIR_NOTABLE)
    }
}

/// IPv4 before IPv6, as addresses order themselves.
fn rank(ip: &IpAddr) -> (bool, u128) {
    match ip {
        IpAddr::V4(ip) => (false, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (true, ip.to_bits()),
    }
}

pub(super) fn endpoint_rank(endpoint: &Endpoint) -> ((bool, u128), u16) {
    (rank(&endpoint.ip), endpoint.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_order_as_endpoints_do() {
        let texts = [
            "10.0.0.9",
            "9.0.0.10",
            "::1",
            "255.255.255.255",
            "fe80::1",
            "::ffff:1.2.3.4",
        ];
        let mut all: Vec<Endpoint> = texts
            .iter()
            .flat_map(|ip| [443, 80].map(|port| (ip, port)))
            .map(|(ip, port)| Endpoint {
                ip: ip.parse().unwrap(),
                port,
            })
            .collect();
        all.sort_by_key(endpoint_rank);
        assert!(all.is_sorted());
    }

    #[test]
    fn the_traces_of_each_kind_stand_together() {
        let all = ByKind::new(&[0, 1, 0, 2, 1, 0], 4);
        assert_eq!(all.of(0), [0, 2, 5]);
        assert_eq!(all.of(1), [1, 4]);
        assert_eq!(all.of(2), [3]);
        assert!(all.of(3).is_empty() && all.of(4).is_empty());
    }
}
