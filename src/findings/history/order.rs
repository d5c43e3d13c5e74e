//! Traces in order of time, and their kinds by server and first trace: so the same records give the same findings, in
//! whatever order they came, and what is asked of one server stands together.

use super::{clock::Clock, shared::Shared};
use crate::findings::lists::Numbering;
use crate::findings::quality::CLOCK_STEP_US;
use crate::findings::trace::Own;

/// Where traces and kinds stand at the end.
pub(super) struct Ordered {
    /// Places of the traces, in order of time.
    pub(super) order: Vec<u32>,
    /// By trace in order of time, the number of its kind.
    pub(super) kind_of: Vec<u32>,
    /// Server and sort of each kind: those of one server together, and of these those of the first traces first.
    pub(super) kinds: Vec<(u32, u32)>,
    /// Numbers of all kinds, those of the first traces first.
    pub(super) by_first: Vec<u32>,
    /// By trace in order of time, the number of its client.
    pub(super) client_of: Vec<u32>,
    /// The clients by their numbers.
    pub(super) clients: Numbering,
    /// The clock of a capture may have gone back.
    pub(super) may_go_back: bool,
}

/// What puts traces into order, read once as they lie: to read all of each trace takes longer than what is done with it.
struct Columns {
    starts: Vec<i64>,
    /// Server and sort, as one number.
    parts: Vec<u64>,
    clients: Vec<u32>,
    numbering: Numbering,
    clocks: Clocks,
}

/// The clocks of the first captures; of more they would take much memory.
#[derive(Default)]
struct Clocks {
    by_capture: Vec<Clock>,
    are_more: bool,
}

impl Clocks {
    const MAX: usize = 64;

    fn add(&mut self, own: &Own, capture: Option<u32>) {
        let place = capture.map_or(usize::MAX, |number| number as usize);
        if place >= Self::MAX {
            self.are_more = true;
            return;
        }
        if place >= self.by_capture.len() {
            self.by_capture.resize_with(place + 1, Clock::default);
        }
        if let Some(clock) = self.by_capture.get_mut(place) {
            clock.add(own.frame, own.start, own.end);
        }
    }

    fn may_go_back(&self) -> bool {
        let mut clocks = self.by_capture.iter();
        self.are_more || clocks.any(|clock| clock.may_go_back(CLOCK_STEP_US))
    }
}

impl Columns {
    fn of(traces: &[Own], shared: &Shared) -> Self {
        let mut columns = Self {
            starts: Vec::with_capacity(traces.len()),
            parts: Vec::with_capacity(traces.len()),
            clients: Vec::with_capacity(traces.len()),
            numbering: Numbering::default(),
            clocks: Clocks::default(),
        };
        for own in traces {
            columns.starts.push(own.start.0);
            columns
                .parts
                .push(u64::from(own.server) << 32 | u64::from(own.sort));
            columns.clients.push(columns.numbering.number(own.client));
            let sort = shared.sort(own.sort);
            columns.clocks.add(own, sort.map(|sort| sort.capture));
        }
        columns
    }
}

/// Puts traces and kinds into order.
pub(super) fn ordered(traces: &[Own], shared: &Shared) -> Ordered {
    let columns = Columns::of(traces, shared);
    let (order, mut parts) = by_time(columns.starts, traces, shared);
    parts.clear();
    parts.extend(in_order(&columns.parts, &order));
    let split = |part: u64| ((part >> 32) as u32, part as u32);
    let by_server = by_server(parts.iter().map(|part| split(*part).0));
    let mut kind_of = vec![u32::MAX; parts.len()];
    let mut kinds: Vec<(u32, u32)> = Vec::new();
    // By sort, the last server that was seen to have it, and the kind of both.
    let mut latest = vec![(u32::MAX, u32::MAX); shared.sorts().len()];
    for index in by_server {
        let index = index as usize;
        let (Some(part), Some(slot)) = (parts.get(index), kind_of.get_mut(index)) else {
            continue;
        };
        let (server, sort) = split(*part);
        let Some(latest) = latest.get_mut(sort as usize) else {
            continue;
        };
        if latest.0 != server {
            *latest = (server, u32::try_from(kinds.len()).unwrap_or(u32::MAX));
            kinds.push((server, sort));
        }
        *slot = latest.1;
    }
    let mut is_known = vec![false; kinds.len()];
    let mut is_first = |kind: &u32| {
        let known = is_known.get_mut(*kind as usize);
        known.is_some_and(|known| !core::mem::replace(known, true))
    };
    let by_first = kind_of.iter().copied().filter(|kind| is_first(kind));
    Ordered {
        by_first: by_first.collect(),
        client_of: in_order(&columns.clients, &order).collect(),
        clients: columns.numbering,
        may_go_back: columns.clocks.may_go_back(),
        order,
        kind_of,
        kinds,
    }
}

/// What lies at these places.
fn in_order<T: Copy>(lying: &[T], order: &[u32]) -> impl Iterator<Item = T> {
    let places = order.iter();
    places.filter_map(|place| lying.get(*place as usize).copied())
}

/// Sorts small keys: there may be a hundred megabytes of traces. Hands back memory that is as large as the keys: to touch
/// other memory takes longer than what is done with it.
fn by_time(starts: Vec<i64>, traces: &[Own], shared: &Shared) -> (Vec<u32>, Vec<u64>) {
    let first = starts.iter().copied().min().unwrap_or(0);
    // From the first one on; what is above may be more than an i64 tells. In the same memory.
    let times = starts.into_iter();
    let times: Vec<u64> = times
        .map(|start| start.wrapping_sub(first) as u64)
        .collect();
    let last = times.iter().copied().max().unwrap_or(0);
    let bits = usize::BITS - traces.len().leading_zeros();
    let rest = |place: u32| {
        let own = traces.get(place as usize)?;
        let capture = shared.sort(own.sort)?.capture;
        Some((capture, own.frame, shared.server(own.server)?, place))
    };
    // A time and a place as one number, which sorts much quicker than a pair; and the smaller it is, the quicker.
    if last.leading_zeros() >= bits {
        let place = (1 << bits) - 1;
        let mut keys = times;
        (0..)
            .zip(&mut keys)
            .for_each(|(place, key)| *key = *key << bits | place);
        let (keys, spare) = by_digits(keys, bits);
        let order = placed(&keys, |key| (key >> bits, (key & place) as u32), rest);
        (order, spare)
    } else {
        let keys = (0u128..).zip(&times);
        let keys = keys.map(|(place, time)| u128::from(*time) << 64 | place);
        let mut keys: Vec<u128> = keys.collect();
        keys.sort_unstable();
        let order = placed(&keys, |key| ((key >> 64) as u64, key as u32), rest);
        (order, times)
    }
}

/// Sorts keys of which the lowest `bits` are in order already: digit by digit, the lowest first, which many keys of few
/// digits take a fourth of the time for that comparing them takes. The second list is what memory that took.
fn by_digits(mut keys: Vec<u64>, bits: u32) -> (Vec<u64>, Vec<u64>) {
    const DIGIT: u32 = 11;
    const FEW: usize = 4096;
    if keys.len() < FEW {
        keys.sort_unstable();
        return (keys, Vec::new());
    }
    let all = keys.iter().fold(0, |all, key| all | key);
    let mut sorted = vec![0; keys.len()];
    let mut shift = bits;
    while shift < u64::BITS && all >> shift > 0 {
        let digit = |key: u64| (key >> shift) as usize % (1 << DIGIT);
        let mut places = [0; 1 << DIGIT];
        for key in &keys {
            places[digit(*key)] += 1;
        }
        let mut sum = 0;
        for place in &mut places {
            sum += core::mem::replace(place, sum);
        }
        for key in &keys {
            let place = &mut places[digit(*key)];
            if let Some(slot) = sorted.get_mut(*place) {
                *slot = *key;
            }
            *place += 1;
        }
        core::mem::swap(&mut keys, &mut sorted);
        shift += DIGIT;
    }
    (keys, sorted)
}

/// The places of sorted keys; those of one time by `rest`.
fn placed<K: Copy, R: Ord>(
    keys: &[K],
    parts: impl Fn(K) -> (u64, u32),
    rest: impl Fn(u32) -> R,
) -> Vec<u32> {
    let mut order: Vec<u32> = keys.iter().map(|key| parts(*key).1).collect();
    let mut from = 0;
    for same in keys.chunk_by(|one, other| parts(*one).0 == parts(*other).0) {
        let range = from..from + same.len();
        from = range.end;
        if let Some(places) = order.get_mut(range).filter(|places| places.len() > 1) {
            places.sort_unstable_by_key(|place| rest(*place));
        }
    }
    order
}

/// From the servers of the traces in order of time: these traces by server, those of the server of the first trace first,
/// and those of one server in order of time.
fn by_server(servers: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
    let count = servers.clone().max().map_or(0, |last| last as usize + 1);
    // By server, its place among the servers; then, by this, how many traces it has, and where its next one goes.
    let mut rank_of = vec![u32::MAX; count];
    let mut places: Vec<u32> = Vec::new();
    for server in servers.clone() {
        let Some(rank) = rank_of.get_mut(server as usize) else {
            continue;
        };
        if *rank == u32::MAX {
            *rank = u32::try_from(places.len()).unwrap_or(u32::MAX);
            places.push(0);
        }
        if let Some(count) = places.get_mut(*rank as usize) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for place in &mut places {
        sum += core::mem::replace(place, sum);
    }
    let mut listed = vec![0; sum as usize];
    for (index, server) in (0..).zip(servers) {
        let rank = rank_of.get(server as usize);
        if let Some(place) = rank.and_then(|rank| places.get_mut(*rank as usize)) {
            if let Some(slot) = listed.get_mut(*place as usize) {
                *slot = index;
            }
            *place += 1;
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_sort_as_comparing_does() {
        for (count, spread) in [(0, 1), (100, 7), (5_000, 3), (9_000, u64::MAX >> 20)] {
            let mut state = 1_u64;
            let keys = (0..count).map(|place: u64| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                ((state >> 20) % spread) << 14 | place
            });
            let keys: Vec<u64> = keys.collect();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            assert_eq!(by_digits(keys, 14).0, sorted);
        }
    }
}
