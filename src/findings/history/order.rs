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
    servers: Vec<u32>,
    sorts: Vec<u32>,
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
            servers: Vec::with_capacity(traces.len()),
            sorts: Vec::with_capacity(traces.len()),
            clients: Vec::with_capacity(traces.len()),
            numbering: Numbering::default(),
            clocks: Clocks::default(),
        };
        for own in traces {
            columns.starts.push(own.start.0);
            columns.servers.push(own.server);
            columns.sorts.push(own.sort);
            columns.clients.push(columns.numbering.number(own.client));
            let sort = shared.sort(own.sort);
            columns.clocks.add(own, sort.map(|sort| sort.capture));
        }
        columns
    }
}

/// Puts traces and kinds into order. Lists take the memory of those that are done with: to touch other memory takes longer
/// than what is done with it.
pub(super) fn ordered(traces: &[Own], shared: &Shared) -> Ordered {
    let columns = Columns::of(traces, shared);
    let order = by_time(columns.starts, traces, shared);
    let client_of = in_order(&columns.clients, &order, Vec::new());
    let server_of = in_order(&columns.servers, &order, columns.clients);
    let sort_of = in_order(&columns.sorts, &order, columns.servers);
    let by_server = by_server(&server_of, columns.sorts);
    let mut kinds: Vec<(u32, u32)> = Vec::new();
    // By sort, the last server that was seen to have it, and the kind of both.
    let mut latest = vec![(u32::MAX, u32::MAX); shared.sorts().len()];
    // The kind of a trace in place of its server.
    let mut kind_of = server_of;
    for index in &by_server {
        let index = *index as usize;
        let (Some(slot), Some(sort)) = (kind_of.get_mut(index), sort_of.get(index)) else {
            continue;
        };
        let Some(latest) = latest.get_mut(*sort as usize) else {
            *slot = u32::MAX;
            continue;
        };
        if latest.0 != *slot {
            *latest = (*slot, u32::try_from(kinds.len()).unwrap_or(u32::MAX));
            kinds.push((*slot, *sort));
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
        client_of,
        clients: columns.numbering,
        may_go_back: columns.clocks.may_go_back(),
        order,
        kind_of,
        kinds,
    }
}

/// What lies at these places.
fn in_order(lying: &[u32], order: &[u32], mut memory: Vec<u32>) -> Vec<u32> {
    let places = order.iter();
    memory.clear();
    memory.extend(places.map(|place| lying.get(*place as usize).copied().unwrap_or(u32::MAX)));
    memory
}

/// The places of the traces in order of time. Sorts small keys: there may be a hundred megabytes of traces.
fn by_time(starts: Vec<i64>, traces: &[Own], shared: &Shared) -> Vec<u32> {
    /// Of the time between the first one and the last one: of a day, a microsecond. What is closer than that is compared.
    const TIME_BITS_MAX: u32 = 36;
    let first = starts.iter().copied().min().unwrap_or(0);
    // From the first one on; what is above may be more than an i64 tells.
    let time = |start: i64| start.wrapping_sub(first) as u64;
    let last = starts.iter().copied().max().map_or(0, time);
    let place_bits = usize::BITS - traces.len().leading_zeros();
    let time_bits = TIME_BITS_MAX.min(u64::BITS - place_bits);
    let coarse = (u64::BITS - last.leading_zeros()).saturating_sub(time_bits);
    // A time and a place as one number, which sorts much quicker than a pair; in the same memory.
    let keys = (0..).zip(starts);
    let keys = keys.map(|(place, start): (u64, i64)| time(start) >> coarse << place_bits | place);
    let keys = by_digits(keys.collect(), place_bits, time_bits);
    let rest = |place: u32| {
        let own = traces.get(place as usize)?;
        let capture = shared.sort(own.sort)?.capture;
        let server = shared.server(own.server)?;
        Some((own.start, capture, own.frame, server, place))
    };
    placed(&keys, place_bits, rest)
}

/// Sorts keys of which the lowest `sorted` bits are in order already, and the next `bits` are not: digit by digit, the
/// lowest first, which many keys of few digits take a fourth of the time for that comparing them takes.
fn by_digits(mut keys: Vec<u64>, sorted: u32, bits: u32) -> Vec<u64> {
    const DIGIT_MAX: u32 = 12;
    const FEW: usize = 4096;
    if keys.len() < FEW {
        keys.sort_unstable();
        return keys;
    }
    let all = keys.iter().fold(0, |all, key| all | key) >> sorted;
    let bits = bits.min(u64::BITS - all.leading_zeros()).max(1);
    let digits = bits.div_ceil(DIGIT_MAX);
    let width = bits.div_ceil(digits);
    let digit = |key: u64, shift: u32| (key >> shift) as usize & ((1 << width) - 1);
    let shifts = || (0..digits).map(|digit| sorted + digit * width);
    // For each digit, how many keys have each of its values; then, where the next one goes.
    let mut places = vec![0_u32; (digits as usize) << width];
    for key in &keys {
        for (shift, places) in shifts().zip(places.chunks_exact_mut(1 << width)) {
            if let Some(count) = places.get_mut(digit(*key, shift)) {
                *count += 1;
            }
        }
    }
    let mut moved = vec![0; keys.len()];
    for (shift, places) in shifts().zip(places.chunks_exact_mut(1 << width)) {
        let mut sum = 0;
        for place in &mut *places {
            sum += core::mem::replace(place, sum);
        }
        for key in &keys {
            if let Some(place) = places.get_mut(digit(*key, shift)) {
                if let Some(slot) = moved.get_mut(*place as usize) {
                    *slot = *key;
                }
                *place += 1;
            }
        }
        core::mem::swap(&mut keys, &mut moved);
    }
    keys
}

/// The places of sorted keys, which stand in their lowest bits; those of one time by `rest`.
fn placed<R: Ord>(keys: &[u64], place_bits: u32, rest: impl Fn(u32) -> R) -> Vec<u32> {
    let place = |key: &u64| (key & ((1 << place_bits) - 1)) as u32;
    let mut order: Vec<u32> = keys.iter().map(place).collect();
    let mut from = 0;
    for same in keys.chunk_by(|one, other| one >> place_bits == other >> place_bits) {
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
fn by_server(servers: &[u32], memory: Vec<u32>) -> Vec<u32> {
    let count = servers.iter().max().map_or(0, |last| *last as usize + 1);
    // By server, its place among the servers; then, by this, how many traces it has, and where its next one goes.
    let mut rank_of = vec![u32::MAX; count];
    let mut places: Vec<u32> = Vec::new();
    for server in servers {
        let Some(rank) = rank_of.get_mut(*server as usize) else {
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
    let mut listed = memory;
    listed.clear();
    listed.resize(sum as usize, 0);
    for (index, server) in (0..).zip(servers) {
        let rank = rank_of.get(*server as usize);
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
            assert_eq!(by_digits(keys, 14, 50), sorted);
        }
    }
}
