//! Traces in order of time, and their kinds by server and first trace: so the same records give the same findings, in
//! whatever order they came, and what is asked of one server stands together.

use super::{clock::Clock, shared::Shared};
use crate::findings::lists::ByNumber;
use crate::findings::quality::CLOCK_STEP_US;
use crate::findings::trace::{Own, Parts};

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
    /// The clock of a capture may have gone back.
    pub(super) may_go_back: bool,
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

/// Puts traces, and what they share one by one, and kinds into order.
pub(super) fn ordered(traces: &[Own], parts: &[Parts], shared: &Shared) -> Ordered {
    let mut clocks = Clocks::default();
    // All that is asked of what traces have of their own, for to read it takes longer than what is done with it.
    let starts = traces.iter().zip(parts).map(|(own, parts)| {
        clocks.add(own, shared.sort(parts.sort).map(|sort| sort.capture));
        own.start.0
    });
    let starts: Vec<i64> = starts.collect();
    let order = by_time(starts, (traces, parts), shared);
    let in_order = |part: fn(&Parts) -> u32| {
        let places = order.iter();
        places.map(move |place| parts.get(*place as usize).map_or(u32::MAX, part))
    };
    let client_of: Vec<u32> = in_order(|parts| parts.client).collect();
    // The kind of a trace takes the place of its server.
    let mut kind_of: Vec<u32> = in_order(|parts| parts.server).collect();
    let sort_of: Vec<u32> = in_order(|parts| parts.sort).collect();
    let by_server = by_server(&kind_of);
    let mut kinds: Vec<(u32, u32)> = Vec::new();
    // By sort, the last server that was seen to have it, and the kind of both.
    let mut latest = vec![(u32::MAX, u32::MAX); shared.sorts().len()];
    for index in by_server.all() {
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
        may_go_back: clocks.may_go_back(),
        order,
        kind_of,
        kinds,
    }
}

/// The places of the traces in order of time. Sorts small keys: there may be a hundred megabytes of traces.
fn by_time(starts: Vec<i64>, (traces, parts): (&[Own], &[Parts]), shared: &Shared) -> Vec<u32> {
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
        let parts = parts.get(place as usize)?;
        let capture = shared.sort(parts.sort)?.capture;
        let server = shared.server(parts.server)?;
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
fn by_server(servers: &[u32]) -> ByNumber {
    let count = servers.iter().max().map_or(0, |last| *last as usize + 1);
    // By server, its place among the servers.
    let mut rank_of = vec![u32::MAX; count];
    let mut ranks = 0;
    for server in servers {
        if let Some(rank) = rank_of
            .get_mut(*server as usize)
            .filter(|rank| **rank == u32::MAX)
        {
            *rank = ranks;
            ranks += 1;
        }
    }
    let rank = |server: &u32| rank_of.get(*server as usize).copied().unwrap_or(u32::MAX);
    ByNumber::new(servers.iter().map(rank), ranks as usize)
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
