//! Which traces belong together: by kind, server, name, and client with server. Each list is in order of time.

use super::history::PAIR_NOTABLE;
use super::trace::{Kind, Own};
use crate::record::Endpoint;
use core::hash::Hash;
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

/// The traces of each kind, or of each client: by number.
#[derive(Debug)]
pub(super) struct ByNumber {
    /// All indexes of traces, those of one number together and in order of time.
    traces: Vec<usize>,
    /// Where those of a number begin; one more at the end.
    begins: Vec<usize>,
}

impl ByNumber {
    /// From the number of each trace; there are so many `numbers`.
    pub(super) fn new(number_of: &[u32], numbers: usize) -> Self {
        let mut begins = vec![0; numbers + 1];
        for number in number_of {
            if let Some(count) = begins.get_mut(*number as usize) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for begin in &mut begins {
            sum += core::mem::replace(begin, sum);
        }
        let mut next = begins.clone();
        let mut traces = vec![0; sum];
        for (index, number) in number_of.iter().enumerate() {
            if let Some(place) = next.get_mut(*number as usize) {
                if let Some(slot) = traces.get_mut(*place) {
                    *slot = index;
                }
                *place += 1;
            }
        }
        Self { traces, begins }
    }

    /// The traces of one number, in order of time.
    pub(super) fn of(&self, number: usize) -> &[usize] {
        let range = self.begins.get(number).zip(self.begins.get(number + 1));
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

/// The clients, and which trace is whose.
#[derive(Debug)]
pub(super) struct Clients {
    /// By number; those of the first traces first.
    pub(super) addresses: Vec<IpAddr>,
    /// By trace, the number of its client.
    pub(super) of: Vec<u32>,
    pub(super) numbers: HashMap<IpAddr, u32>,
}

impl Clients {
    pub(super) fn new(traces: &[Own]) -> Self {
        let mut numbers: HashMap<IpAddr, u32> = HashMap::new();
        let mut addresses = Vec::new();
        let of = traces.iter().map(|own| {
            *numbers.entry(own.client).or_insert_with(|| {
                addresses.push(own.client);
                u32::try_from(addresses.len() - 1).unwrap_or(u32::MAX)
            })
        });
        let of = of.collect();
        Self {
            addresses,
            of,
            numbers,
        }
    }
}

/// Handshakes of one client with one server, in number or by their outcome, that a survey has questions about. Most
/// pairs of a large capture have a few good handshakes each: to list them all cost more than all surveys.
pub(super) fn notable_pairs(
    clients: &Clients,
    kind_of: &[u32],
    kinds: &[Kind],
) -> BTreeMap<(IpAddr, Endpoint), Vec<usize>> {
    let mut numbers: HashMap<Endpoint, u32> = HashMap::new();
    // By kind, the number of its server, and whether such handshakes complete.
    let looks: Vec<(u32, bool)> = kinds
        .iter()
        .map(|kind| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(kind.server).or_insert(next);
            (number, kind.is_complete())
        })
        .collect();
    let pairs = || {
        clients.of.iter().zip(kind_of).map(|(client, kind)| {
            let (server, is_complete) = looks.get(*kind as usize).copied().unwrap_or_default();
            (u64::from(*client) << 32 | u64::from(server), is_complete)
        })
    };
    let mut few = Sketch::new(clients.of.len());
    pairs().for_each(|(pair, is_complete)| few.count(pair, is_complete));
    let mut found: HashMap<u64, (bool, Vec<usize>)> = HashMap::new();
    for (index, (pair, is_complete)) in pairs().enumerate() {
        if few.may_be_notable(pair) {
            let (troubled, list) = found.entry(pair).or_default();
            *troubled |= !is_complete;
            list.push(index);
        }
    }
    found.retain(|_, (troubled, list)| *troubled || list.len() >= PAIR_NOTABLE);
    let key = |list: &[usize]| {
        let first = *list.first()?;
        let client = clients.addresses.get(*clients.of.get(first)? as usize)?;
        let kind = kinds.get(*kind_of.get(first)? as usize)?;
        Some((*client, kind.server))
    };
    let mut found: Vec<_> = found
        .into_values()
        .filter_map(|(_, list)| Some((key(&list)?, list)))
        .collect();
    found.sort_unstable_by_key(|((client, server), _)| (rank(client), endpoint_rank(server)));
    found.into_iter().collect()
}

/// Counts of pairs in a small table without keys: pairs that share a place are counted together, so that a count is
/// never too low.
struct Sketch {
    counts: Vec<u8>,
    /// Bits of a place.
    bits: u32,
}

impl Sketch {
    /// Four places for each of so many pairs, but no more than processors keep at hand.
    fn new(pairs: usize) -> Self {
        const BITS_MAX: u32 = 20;
        let bits = (4 * pairs).next_power_of_two().ilog2().clamp(1, BITS_MAX);
        Self {
            counts: vec![0; 1 << bits],
            bits,
        }
    }

    fn place(&self, pair: u64) -> usize {
        // Fibonacci hashing: the upper bits of a product with the golden ratio.
        (pair.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - self.bits)) as usize
    }

    fn count(&mut self, pair: u64, is_complete: bool) {
        let place = self.place(pair);
        if let Some(count) = self.counts.get_mut(place) {
            *count = match is_complete {
                true => count.saturating_add(1),
                false => u8::MAX,
            };
        }
    }

    fn may_be_notable(&self, pair: u64) -> bool {
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
        let all = ByNumber::new(&[0, 1, 0, 2, 1, 0], 4);
        assert_eq!(all.of(0), [0, 2, 5]);
        assert_eq!(all.of(1), [1, 4]);
        assert_eq!(all.of(2), [3]);
        assert!(all.of(3).is_empty() && all.of(4).is_empty());
    }
}
