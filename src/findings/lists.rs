//! Which traces belong together: by kind, client, server and name. Each list is in order of time.

use super::history::Addresses;
use super::trace::{Kind, Sort};
use crate::record::Endpoint;
use core::hash::Hash;
use hashbrown::HashMap;
use std::{cell::OnceCell, collections::BTreeMap, net::IpAddr};

/// Some traces of one server.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Indexes of traces, in order of time.
    pub(super) traces: Vec<usize>,
    /// Numbers of their kinds, in the order of their first traces.
    pub(super) kinds: Vec<usize>,
}

/// All traces of one server or name, by their kinds.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Numbers of the kinds, in the order of their first traces.
    pub(super) kinds: Vec<usize>,
    /// Indexes of the traces, in order of time: listed once somebody asks, for few do.
    pub(super) traces: OnceCell<Vec<usize>>,
}

/// The traces of each kind, or of each client: by number.
#[derive(Debug)]
pub(super) struct ByNumber {
    /// All indexes of traces, those of one number together and in order of time.
    traces: Vec<u32>,
    /// Where those of a number begin; one more at the end.
    begins: Vec<u32>,
}

impl ByNumber {
    /// From the number of each trace, of which there are `numbers`; traces with others are passed over.
    pub(super) fn new(number_of: impl Iterator<Item = u32> + Clone, numbers: usize) -> Self {
        let mut begins = vec![0_u32; numbers + 1];
        for number in number_of.clone() {
            if let Some(count) = begins.get_mut(number as usize) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for begin in &mut begins {
            sum += core::mem::replace(begin, sum);
        }
        let mut next = begins.clone();
        let mut traces = vec![0; sum as usize];
        for (index, number) in (0..).zip(number_of) {
            if let Some(place) = next.get_mut(number as usize) {
                if let Some(slot) = traces.get_mut(*place as usize) {
                    *slot = index;
                }
                *place += 1;
            }
        }
        Self { traces, begins }
    }

    /// All traces, those of the lowest number first.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        self.traces.iter().map(|index| *index as usize)
    }

    /// The traces of one number, in order of time.
    pub(super) fn list(&self, number: usize) -> &[u32] {
        let range = self.begins.get(number).zip(self.begins.get(number + 1));
        range
            .and_then(|(from, to)| self.traces.get(*from as usize..*to as usize))
            .unwrap_or(&[])
    }

    /// The same, one by one.
    pub(super) fn of(
        &self,
        number: usize,
    ) -> impl ExactSizeIterator<Item = usize> + DoubleEndedIterator + Clone {
        self.list(number).iter().map(|index| *index as usize)
    }
}

/// All kinds, put together from what they share.
#[derive(Debug)]
pub(super) struct Listed {
    /// By number, those of a server and of a sort.
    pub(super) kinds: Vec<(u32, u32)>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Some are of no kind.
    pub(super) sorts: Vec<Sort>,
}

impl Listed {
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<Kind<'_>> {
        self.of(self.kinds.get(number)?)
    }

    fn of(&self, (server, sort): &(u32, u32)) -> Option<Kind<'_>> {
        Some(Kind {
            server: *self.endpoints.get(usize::try_from(*server).ok()?)?,
            sort: self.sorts.get(usize::try_from(*sort).ok()?)?,
        })
    }

    /// The servers of some kinds, each once.
    pub(super) fn servers(&self, kinds: &[usize]) -> impl Iterator<Item = Endpoint> {
        let numbers = kinds
            .iter()
            .filter_map(|kind| Some(self.kinds.get(*kind)?.0));
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        numbers.dedup();
        let servers = numbers.into_iter();
        servers.filter_map(|number| self.endpoints.get(number as usize).copied())
    }

    /// The number of a kind's sort.
    pub(super) fn sort_number(&self, number: usize) -> Option<usize> {
        let (_, sort) = self.kinds.get(number)?;
        usize::try_from(*sort).ok()
    }

    /// By number; each has its parts.
    pub(super) fn iter(&self) -> impl Iterator<Item = Kind<'_>> {
        self.kinds.iter().filter_map(|parts| self.of(parts))
    }

    /// For each kind what its sort has.
    pub(super) fn by_sort<T: Copy>(&self, of_sort: &[T], none: T) -> Vec<T> {
        let kinds = self.kinds.iter();
        let of = kinds.map(|(_, sort)| of_sort.get(*sort as usize).copied().unwrap_or(none));
        of.collect()
    }
}

/// Gathers kinds by what they say.
pub(super) struct Gathering<'k> {
    kinds: &'k Listed,
    by_first: &'k [u32],
}

impl<'k> Gathering<'k> {
    /// From the kinds, and these in the order of their first traces.
    pub(super) fn new(kinds: &'k Listed, by_first: &'k [u32]) -> Self {
        Self { kinds, by_first }
    }

    /// `rank` orders keys as they order themselves, but is cheaper to compare.
    pub(super) fn by<K: Copy + Ord + Hash, R: Ord>(
        &self,
        key: impl Fn(&Kind<'_>) -> Option<K>,
        rank: impl Fn(&K) -> R,
    ) -> BTreeMap<K, Gathered> {
        let mut places: HashMap<K, usize> = HashMap::new();
        let mut found: Vec<(K, Gathered)> = Vec::new();
        for number in self.by_first {
            let number = *number as usize;
            let Some(key) = self.kinds.get(number).and_then(|kind| key(&kind)) else {
                continue;
            };
            let place = *places.entry(key).or_insert_with(|| {
                found.push((key, Gathered::default()));
                found.len() - 1
            });
            if let Some((_, gathered)) = found.get_mut(place) {
                gathered.kinds.push(number);
            }
        }
        found.sort_unstable_by_key(|(key, _)| rank(key));
        found.into_iter().collect()
    }
}

/// The clients, and which trace is whose.
#[derive(Debug)]
pub(super) struct Clients {
    /// By number, in no order to rely on; some may have no trace any more.
    pub(super) addresses: Vec<IpAddr>,
    /// By trace, the number of its client.
    pub(super) of: Vec<u32>,
    known: Addresses,
}

impl Clients {
    /// From the place of each trace's client among these.
    pub(super) fn new(of: Vec<u32>, known: Addresses) -> Self {
        Self {
            addresses: known.listed(),
            of,
            known,
        }
    }

    /// The number of a client.
    pub(super) fn number(&self, client: IpAddr) -> Option<usize> {
        self.known.find(client)
    }
}

/// IPv4 before IPv6, as addresses order themselves.
pub(super) fn ip_rank(ip: &IpAddr) -> (bool, u128) {
    match ip {
        IpAddr::V4(ip) => (false, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (true, ip.to_bits()),
    }
}

pub(super) fn endpoint_rank(endpoint: &Endpoint) -> ((bool, u128), u16) {
    (ip_rank(&endpoint.ip), endpoint.port)
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
        let all = ByNumber::new([0, 1, 0, 2, 9, 1, 0].into_iter(), 4);
        assert_eq!(all.list(0), [0, 2, 6]);
        assert_eq!(all.list(1), [1, 5]);
        assert!(all.of(2).eq([3]));
        assert!(all.list(3).is_empty() && all.list(4).is_empty());
    }
}
