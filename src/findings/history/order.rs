//! Traces in order of time, and their kinds by server and first trace: so the same records give the same findings, in
//! whatever order they came, and what is asked of one server stands together.

use super::shared::Shared;
use crate::findings::lists::Numbering;
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
}

/// What puts traces into order, read once as they lie: to read all of each trace takes longer than what is done with it.
struct Columns {
    starts: Vec<i64>,
    /// Server and sort.
    parts: Vec<(u32, u32)>,
    clients: Vec<u32>,
    numbering: Numbering,
}

impl Columns {
    fn of(traces: &[Own]) -> Self {
        let mut columns = Self {
            starts: Vec::with_capacity(traces.len()),
            parts: Vec::with_capacity(traces.len()),
            clients: Vec::with_capacity(traces.len()),
            numbering: Numbering::default(),
        };
        for own in traces {
            columns.starts.push(own.start.0);
            columns.parts.push((own.server, own.sort));
            columns.clients.push(columns.numbering.number(own.client));
        }
        columns
    }
}

/// Puts traces and kinds into order.
pub(super) fn ordered(traces: &[Own], shared: &Shared) -> Ordered {
    let columns = Columns::of(traces);
    let order = by_time(&columns.starts, traces, shared);
    let parts = in_order(&columns.parts, &order);
    let by_server = by_server(parts.iter().map(|(server, _)| *server));
    let mut kind_of = vec![u32::MAX; parts.len()];
    let mut kinds: Vec<(u32, u32)> = Vec::new();
    // By sort, the last server that was seen to have it, and the kind of both.
    let mut latest = vec![(u32::MAX, u32::MAX); shared.sorts().len()];
    for index in by_server {
        let index = index as usize;
        let (Some((server, sort)), Some(slot)) = (parts.get(index), kind_of.get_mut(index)) else {
            continue;
        };
        let Some(latest) = latest.get_mut(*sort as usize) else {
            continue;
        };
        if latest.0 != *server {
            *latest = (*server, u32::try_from(kinds.len()).unwrap_or(u32::MAX));
            kinds.push((*server, *sort));
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
        client_of: in_order(&columns.clients, &order),
        clients: columns.numbering,
        order,
        kind_of,
        kinds,
    }
}

/// What lies at these places.
fn in_order<T: Copy>(lying: &[T], order: &[u32]) -> Vec<T> {
    let places = order.iter();
    places
        .filter_map(|place| lying.get(*place as usize).copied())
        .collect()
}

/// Sorts small keys: there may be a hundred megabytes of traces.
fn by_time(starts: &[i64], traces: &[Own], shared: &Shared) -> Vec<u32> {
    let starts = starts.iter().copied();
    let first = starts.clone().min().unwrap_or(0);
    // From the first one on; what is above may be more than an i64 tells.
    let times = starts.map(|start| start.wrapping_sub(first) as u64);
    let last = times.clone().max().unwrap_or(0);
    let bits = usize::BITS - traces.len().leading_zeros();
    let rest = |place: u32| {
        let own = traces.get(place as usize)?;
        let capture = shared.sort(own.sort)?.capture;
        Some((capture, own.frame, shared.server(own.server)?, place))
    };
    // A time and a place as one number, which sorts much quicker than a pair; and the smaller it is, the quicker.
    if last.leading_zeros() >= bits {
        let place = (1 << bits) - 1;
        let keys = times.zip(0u64..).map(|(time, place)| time << bits | place);
        let keys = by_digits(keys.collect(), bits);
        placed(&keys, |key| (key >> bits, (key & place) as u32), rest)
    } else {
        let keys = times.zip(0u128..);
        let keys = keys.map(|(time, place)| u128::from(time) << 64 | place);
        let mut keys: Vec<u128> = keys.collect();
        keys.sort_unstable();
        placed(&keys, |key| ((key >> 64) as u64, key as u32), rest)
    }
}

/// Sorts keys of which the lowest `bits` are in order already: digit by digit, the lowest first, which many keys of few
/// digits take a fourth of the time for that comparing them takes.
fn by_digits(mut keys: Vec<u64>, bits: u32) -> Vec<u64> {
    const DIGIT: u32 = 11;
    const FEW: usize = 4096;
    if keys.len() < FEW {
        keys.sort_unstable();
        return keys;
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
    keys
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
            assert_eq!(by_digits(keys, 14), sorted);
        }
    }
}
