//! Which traces belong together: by kind, server, name, and client with server. Each list is in order of time.

use super::trace::{AT_HELLO, Kind, Own, Sort};
use crate::record::{Endpoint, Outcome};
use core::{hash::Hash, ops::Range};
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

/// Gathers traces by what a kind says of them.
pub(super) struct Gathering<'k> {
    kinds: &'k Listed,
    kind_of: &'k [u32],
    by_first: &'k [u32],
}

impl<'k> Gathering<'k> {
    /// From the kinds, the kind of each trace, and the kinds in the order of their first traces.
    pub(super) fn new(kinds: &'k Listed, kind_of: &'k [u32], by_first: &'k [u32]) -> Self {
        Self {
            kinds,
            kind_of,
            by_first,
        }
    }

    /// `rank` orders keys as they order themselves, but is cheaper to compare.
    pub(super) fn by<K: Copy + Ord + Hash, R: Ord>(
        &self,
        key: impl Fn(&Kind<'_>) -> Option<K>,
        rank: impl Fn(&K) -> R,
    ) -> BTreeMap<K, Members> {
        let mut places: HashMap<K, usize> = HashMap::new();
        let mut found: Vec<(K, Members)> = Vec::new();
        // By kind, where its members are gathered.
        let mut place_of: Vec<u32> = vec![u32::MAX; self.kinds.len()];
        for number in self.by_first {
            let number = *number as usize;
            let Some(key) = self.kinds.get(number).and_then(|kind| key(&kind)) else {
                continue;
            };
            let place = *places.entry(key).or_insert_with(|| {
                found.push((key, Members::default()));
                found.len() - 1
            });
            if let Some((_, members)) = found.get_mut(place) {
                members.kinds.push(number);
            }
            if let Some(slot) = place_of.get_mut(number) {
                *slot = u32::try_from(place).unwrap_or(u32::MAX);
            }
        }
        for (index, kind) in self.kind_of.iter().enumerate() {
            let place = place_of.get(*kind as usize).copied();
            if let Some((_, members)) = place.and_then(|place| found.get_mut(place as usize)) {
                members.traces.push(index);
            }
        }
        found.sort_unstable_by_key(|(key, _)| rank(key));
        found.into_iter().collect()
    }
}

/// The clients, and which trace is whose.
#[derive(Debug)]
pub(super) struct Clients {
    /// By number, in no order to rely on.
    pub(super) addresses: Vec<IpAddr>,
    /// By trace, the number of its client.
    pub(super) of: Vec<u32>,
    pub(super) numbers: HashMap<IpAddr, u32>,
}

impl Clients {
    /// From the traces as they lie, which is how they are read best, and from where each stands in order of time.
    pub(super) fn new(traces: &[Own], order: &[u32]) -> Self {
        let mut numbers: HashMap<IpAddr, u32> = HashMap::new();
        let mut addresses = Vec::new();
        let lying = traces.iter().map(|own| {
            *numbers.entry(own.client).or_insert_with(|| {
                addresses.push(own.client);
                u32::try_from(addresses.len() - 1).unwrap_or(u32::MAX)
            })
        });
        let lying: Vec<u32> = lying.collect();
        let of = order
            .iter()
            .filter_map(|place| lying.get(*place as usize).copied())
            .collect();
        Self {
            addresses,
            of,
            numbers,
        }
    }
}

/// Handshakes of one client with one server, in number or by their outcome, that a survey has questions about. Most
/// clients of a large capture have a few good handshakes each: to list them all cost more than all surveys.
#[derive(Debug)]
pub(super) struct Pairs {
    /// By client, and of one client by server, as addresses order themselves.
    pairs: Vec<Pair>,
    /// Indexes of traces, those of one pair together and in order of time.
    traces: Vec<usize>,
}

#[derive(Debug)]
struct Pair {
    client: IpAddr,
    server: Endpoint,
    /// Where its traces stand.
    traces: Range<usize>,
    /// How they ended.
    outcomes: Outcomes,
}

/// A set of outcomes: most surveys ask for some, and can pass over a pair that has none of them.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes(u16);

impl Outcomes {
    fn of(outcomes: &[Outcome]) -> Self {
        let bits = outcomes.iter().map(|outcome| 1 << *outcome as u16);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// Failures of which surveys ask however few there are.
    fn notable() -> Self {
        let others = [
            Outcome::NoSynAck,
            Outcome::ConnectionRefused,
            Outcome::NoClientHello,
        ];
        Self(Self::of(&others).0 | Self::of(&AT_HELLO).0)
    }

    fn incomplete() -> Self {
        let all = Outcome::ALL.into_iter();
        let incomplete: Vec<Outcome> = all.filter(|outcome| !outcome.is_complete()).collect();
        Self::of(&incomplete)
    }

    fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Pairs {
    /// `many` handshakes of one pair are notable, whatever became of them.
    pub(super) fn new(
        clients: &Clients,
        by_client: &ByNumber,
        kind_of: &[u32],
        kinds: &Listed,
        many: usize,
    ) -> Self {
        let notable = Outcomes::notable();
        let places = ranked(kinds.endpoints.iter().map(endpoint_rank));
        // By kind, the place of its server among all, and how it ended.
        let outcomes = kinds.sorts.iter().map(|sort| Outcomes::of(&[sort.outcome]));
        let outcomes: Vec<Outcomes> = outcomes.collect();
        let of_kind = kinds.kinds.iter().map(|(server, sort)| {
            let place = places.place_of.get(*server as usize);
            let outcome = outcomes.get(*sort as usize);
            place.copied().zip(outcome.copied()).unwrap_or_default()
        });
        let of_kind: Vec<(u32, Outcomes)> = of_kind.collect();
        let seen = |index: &usize| {
            let kind = kind_of.get(*index).map(|kind| *kind as usize);
            kind.and_then(|kind| of_kind.get(kind))
                .copied()
                .unwrap_or_default()
        };
        let mut found = Self {
            pairs: Vec::new(),
            traces: Vec::new(),
        };
        // Place and index as one number, which sorts quicker.
        let mut by_server: Vec<u64> = Vec::new();
        for number in ranked(clients.addresses.iter().map(ip_rank)).numbers {
            let all = by_client.of(number as usize);
            let client = clients.addresses.get(number as usize);
            let is_notable = |index: &usize| seen(index).1.meet(notable);
            if all.len() < many && !all.iter().any(is_notable) {
                continue;
            }
            // In order of time within each server.
            by_server.clear();
            by_server.extend((all.iter()).map(|at| u64::from(seen(at).0) << 32 | *at as u64));
            by_server.sort_unstable();
            for same in by_server.chunk_by(|a, b| a >> 32 == b >> 32) {
                let indexes = same.iter().map(|key| (*key & u64::from(u32::MAX)) as usize);
                let outcomes = indexes.clone().fold(0, |all, index| all | seen(&index).1.0);
                let outcomes = Outcomes(outcomes);
                let place = same.first().map(|key| (key >> 32) as usize);
                let number = place.and_then(|place| places.numbers.get(place));
                let server = number.and_then(|number| kinds.endpoints.get(*number as usize));
                if let Some((client, server)) = client.zip(server)
                    && (same.len() >= many || outcomes.meet(notable))
                {
                    let begin = found.traces.len();
                    found.traces.extend(indexes);
                    found.pairs.push(Pair {
                        client: *client,
                        server: *server,
                        traces: begin..found.traces.len(),
                        outcomes,
                    });
                }
            }
        }
        found
    }

    fn traces(&self, pair: &Pair) -> &[usize] {
        self.traces.get(pair.traces.clone()).unwrap_or(&[])
    }

    /// The traces of one pair, if they are notable.
    pub(super) fn of(&self, client: IpAddr, server: Endpoint) -> &[usize] {
        let rank = |client: &IpAddr, server: &Endpoint| (ip_rank(client), endpoint_rank(server));
        let wanted = rank(&client, &server);
        let found =
            (self.pairs).binary_search_by_key(&wanted, |pair| rank(&pair.client, &pair.server));
        let pair = found.ok().and_then(|place| self.pairs.get(place));
        pair.map_or(&[], |pair| self.traces(pair))
    }

    /// The traces of each pair.
    pub(super) fn lists(&self) -> impl Iterator<Item = &[usize]> {
        self.pairs.iter().map(|pair| self.traces(pair))
    }

    /// Pairs of which a handshake ended in one of these ways.
    pub(super) fn with(
        &self,
        outcomes: &[Outcome],
    ) -> impl Iterator<Item = (IpAddr, Endpoint, &[usize])> {
        self.meeting(Outcomes::of(outcomes))
    }

    /// Pairs with a handshake that did not complete.
    pub(super) fn troubled(&self) -> impl Iterator<Item = (IpAddr, Endpoint, &[usize])> {
        self.meeting(Outcomes::incomplete())
    }

    fn meeting(&self, wanted: Outcomes) -> impl Iterator<Item = (IpAddr, Endpoint, &[usize])> {
        let found = self
            .pairs
            .iter()
            .filter(move |pair| pair.outcomes.meet(wanted));
        found.map(|pair| (pair.client, pair.server, self.traces(pair)))
    }
}

/// Numbers in the order of what they stand for, and the place of each among them.
struct Ranked {
    numbers: Vec<u32>,
    place_of: Vec<u32>,
}

fn ranked<R: Ord>(ranks: impl Iterator<Item = R>) -> Ranked {
    let mut by_rank: Vec<(R, u32)> = ranks.zip(0..).collect();
    by_rank.sort_unstable();
    let mut place_of = vec![0; by_rank.len()];
    for ((_, number), place) in by_rank.iter().zip(0..) {
        if let Some(slot) = place_of.get_mut(*number as usize) {
            *slot = place;
        }
    }
    Ranked {
        numbers: by_rank.into_iter().map(|(_, number)| number).collect(),
        place_of,
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
    fn pairs_are_found_by_their_names_and_by_how_they_ended() {
        use crate::findings::{Settings, facts::Facts, history::History, testing::Make};
        use crate::record::Dns;
        let mut history = History::new(&Settings::default());
        let good = || Make::new().answer(0x0303, 0xc02f);
        let reset = || Make::new().outcome(Outcome::HelloReset);
        let made = [
            good().client("10.0.0.9").at(0),
            reset().client("10.0.0.2").at(1),
            good().client("10.0.0.2").server("10.0.0.5:25").at(2),
            good().client("10.0.0.2").at(3),
            reset().client("10.0.0.1").server("[::1]:443").at(4),
        ];
        for one in &made {
            history.add(&Facts::of(&one.record));
        }
        let past = history.past(Settings::default().lang, Dns::default());
        let pair = |index: usize| (made[index].record.client.ip, made[index].record.server);
        let of = |index: usize| past.pairs.of(pair(index).0, pair(index).1);
        // Good ones alone are not notable.
        assert!(of(0).is_empty() && of(2).is_empty());
        assert_eq!(of(1), [1, 3]);
        let with = |outcomes: &[Outcome]| -> Vec<_> {
            let found = past.pairs.with(outcomes);
            found.map(|(client, server, _)| (client, server)).collect()
        };
        assert_eq!(with(&[Outcome::HelloReset]), [pair(4), pair(1)]);
        assert_eq!(with(&[Outcome::Established]), [pair(1)]);
        assert!(with(&[Outcome::HelloClosed]).is_empty());
        assert_eq!(past.pairs.troubled().count(), 2);
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
