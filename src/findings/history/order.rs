//! Traces in order of time, and kinds in the order of their first traces: so the same records give the same findings,
//! in whatever order they came.

use crate::findings::trace::{Kind, Own};
use crate::record::Timestamp;

/// Sorts small keys, and then each trace once into its place: there may be a hundred megabytes of them.
pub(super) fn by_time(mut traces: Vec<Own>, kinds: &[Option<Kind>]) -> Vec<Own> {
    let mut order: Vec<(Timestamp, usize)> = traces
        .iter()
        .enumerate()
        .map(|(index, trace)| (trace.start, index))
        .collect();
    let rest = |index: usize| {
        let own = traces.get(index)?;
        let kind = kinds.get(usize::try_from(own.kind).ok()?)?.as_ref()?;
        Some((kind.capture, own.frame, kind.server, index))
    };
    order.sort_unstable_by(|a, b| {
        let by_time = a.0.cmp(&b.0);
        by_time.then_with(|| rest(a.1).cmp(&rest(b.1)))
    });
    // Each cycle of the permutation once; what is done points to itself.
    let mut sources: Vec<usize> = order.into_iter().map(|(_, index)| index).collect();
    for start in 0..sources.len() {
        let mut place = start;
        loop {
            let source = core::mem::replace(&mut sources[place], place);
            if source == start || source == place {
                break;
            }
            traces.swap(place, source);
            place = source;
        }
    }
    traces
}

/// Numbers the kinds anew, by their first traces; those of no trace go.
pub(super) fn by_first_trace(traces: &mut [Own], mut old: Vec<Option<Kind>>) -> Vec<Kind> {
    let mut numbers = vec![u32::MAX; old.len()];
    let mut kinds = Vec::new();
    for own in traces {
        let at = own.kind as usize;
        if let Some(kind) = old.get_mut(at).and_then(Option::take) {
            // As long as the list that had an entry there.
            numbers[at] = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
            kinds.push(kind);
        }
        own.kind = numbers.get(at).copied().unwrap_or(u32::MAX);
    }
    kinds
}
