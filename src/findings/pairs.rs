//! Clients with servers: the handshakes of each pair that surveys have questions about.

use super::lists::{ByNumber, Clients, Listed, endpoint_rank, ip_rank};
use super::trace::AT_HELLO;
use crate::record::{Endpoint, Outcome};
use core::ops::Range;
use std::net::IpAddr;

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
    pub(super) fn new(clients: &Clients, kind_of: &[u32], kinds: &Listed, many: usize) -> Self {
        let notable = Outcomes::notable();
        let servers = ranked((0..).zip(kinds.endpoints.iter().map(endpoint_rank)));
        let of_kind = seen_by_kind(kinds, &servers);
        let seen = |kind: &u32| -> Seen {
            let seen = of_kind.get(*kind as usize);
            seen.copied().unwrap_or_default()
        };
        let wanted = busy_clients(clients, kind_of.iter().map(seen), notable, many);
        let mut found = Self {
            pairs: Vec::new(),
            traces: Vec::new(),
        };
        let place_of = |client: &u32| wanted.place_of.get(*client as usize).copied();
        let places = clients
            .of
            .iter()
            .map(|client| place_of(client).unwrap_or(u32::MAX));
        let by_client = ByNumber::new(places, wanted.numbers.len());
        // Place and index as one number, which sorts quicker.
        let mut by_server: Vec<u64> = Vec::new();
        let seen_at = |index: usize| kind_of.get(index).map(seen).unwrap_or_default();
        for (place, number) in wanted.numbers.iter().enumerate() {
            let Some(client) = clients.addresses.get(*number as usize) else {
                continue;
            };
            by_server.clear();
            let all = by_client.of(place);
            by_server.extend(all.map(|at| u64::from(seen_at(at).server) << 32 | at as u64));
            // In order of time within each server.
            by_server.sort_unstable();
            for same in by_server.chunk_by(|one, other| one >> 32 == other >> 32) {
                let indexes = same.iter().map(|key| (*key & u64::from(u32::MAX)) as usize);
                let place = same.first().map_or(0, |key| (key >> 32) as usize);
                let number = servers.numbers.get(place);
                let server = number.and_then(|number| kinds.endpoints.get(*number as usize));
                let outcomes = indexes
                    .clone()
                    .fold(0, |all, at| all | seen_at(at).outcome.0);
                if let Some(server) = server
                    && (same.len() >= many || Outcomes(outcomes).meet(notable))
                {
                    found.add((*client, *server), indexes, Outcomes(outcomes));
                }
            }
        }
        found
    }

    fn add(
        &mut self,
        (client, server): (IpAddr, Endpoint),
        traces: impl Iterator<Item = usize>,
        outcomes: Outcomes,
    ) {
        let begin = self.traces.len();
        self.traces.extend(traces);
        self.pairs.push(Pair {
            client,
            server,
            traces: begin..self.traces.len(),
            outcomes,
        });
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

/// What is asked of each trace here, which its kind tells: the place of its server among all, and how it ended.
#[derive(Clone, Copy, Default)]
struct Seen {
    server: u32,
    outcome: Outcomes,
}

fn seen_by_kind(kinds: &Listed, servers: &Ranked) -> Vec<Seen> {
    let outcomes = kinds.sorts.iter().map(|sort| Outcomes::of(&[sort.outcome]));
    let outcomes: Vec<Outcomes> = outcomes.collect();
    let seen = |(server, sort): &(u32, u32)| Seen {
        server: servers.place_of.get(*server as usize).copied().unwrap_or(0),
        outcome: outcomes.get(*sort as usize).copied().unwrap_or_default(),
    };
    kinds.kinds.iter().map(seen).collect()
}

/// How often a client was at each server, roughly: servers that share one of the sixteen places are counted together, so
/// that a count may be too high, never too low.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Busy(u64);

impl Busy {
    /// There is a pair to be looked at.
    const NOTABLE: Self = Self(u64::MAX);

    fn add(&mut self, server: u32, many: usize) {
        if *self == Self::NOTABLE {
            return;
        }
        // Neighbours are at different places.
        let shift = server.wrapping_mul(0x9e37_79b1) >> 28 << 2;
        self.0 += 1 << shift;
        let count = (self.0 >> shift) as usize & 0xf;
        if count >= many.min(0xf) {
            *self = Self::NOTABLE;
        }
    }
}

/// Clients that may have a notable pair, as their addresses order themselves.
fn busy_clients(
    clients: &Clients,
    seen: impl Iterator<Item = Seen>,
    notable: Outcomes,
    many: usize,
) -> Ranked {
    let mut busy = vec![Busy::default(); clients.addresses.len()];
    for (client, seen) in clients.of.iter().zip(seen) {
        let Some(busy) = busy.get_mut(*client as usize) else {
            continue;
        };
        if seen.outcome.meet(notable) {
            *busy = Busy::NOTABLE;
        } else {
            busy.add(seen.server, many);
        }
    }
    let all = (0..).zip(&clients.addresses).zip(busy);
    let found = all.filter(|(_, busy)| *busy == Busy::NOTABLE);
    ranked(found.map(|((number, ip), _)| (number, ip_rank(ip))))
}

/// Numbers in the order of what they stand for, and the place of each among them; `u32::MAX` for others.
struct Ranked {
    numbers: Vec<u32>,
    place_of: Vec<u32>,
}

/// From numbers and what they stand for; the highest number comes last.
fn ranked<R: Ord>(ranks: impl Iterator<Item = (u32, R)>) -> Ranked {
    let mut by_rank: Vec<(R, u32)> = ranks.map(|(number, rank)| (rank, number)).collect();
    let count = by_rank.last().map_or(0, |(_, last)| *last as usize + 1);
    by_rank.sort_unstable();
    let mut place_of = vec![u32::MAX; count];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_busy_where_one_place_has_many() {
        let count = |servers: &[u32], many: usize| {
            let mut busy = Busy::default();
            servers.iter().for_each(|server| busy.add(*server, many));
            busy == Busy::NOTABLE
        };
        assert!(count(&[7; 6], 6) && !count(&[7; 5], 6));
        // Each of a few at its own place, five times.
        let few: Vec<u32> = (0..40).map(|at| at % 8).collect();
        assert!(!count(&few, 6) && count(&[few.as_slice(), &[3]].concat(), 6));
        // However many are asked for, no place overflows into its neighbour.
        assert!(count(&[1; 15], 100) && !count(&[1; 14], 100));
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
}
