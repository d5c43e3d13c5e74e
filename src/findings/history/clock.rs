//! Whether the clock of a capture may have gone back: asked roughly while traces are read for another reason, so that the
//! exact question needs to be asked of few captures.

use crate::record::Timestamp;

/// Handshakes of one capture, by their frames.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Each of `1 << width` frames.
    spans: Vec<Span>,
    width: u32,
}

/// What began last and what ended first in some frames.
#[derive(Clone, Copy, Debug)]
struct Span {
    latest_start: Timestamp,
    earliest_end: Timestamp,
}

impl Span {
    const EMPTY: Self = Self {
        latest_start: Timestamp(i64::MIN),
        earliest_end: Timestamp(i64::MAX),
    };

    fn join(&mut self, other: Self) {
        self.latest_start = self.latest_start.max(other.latest_start);
        self.earliest_end = self.earliest_end.min(other.earliest_end);
    }
}

impl Clock {
    /// Wider ones are as good: within such a part of a busy capture little time passes.
    const SPANS_MAX: usize = 4096;

    pub(super) fn add(&mut self, frame: u64, start: Timestamp, end: Timestamp) {
        while frame >> self.width >= Self::SPANS_MAX as u64 {
            self.widen();
        }
        let place = (frame >> self.width) as usize;
        if place >= self.spans.len() {
            self.spans.resize(place + 1, Span::EMPTY);
        }
        if let Some(span) = self.spans.get_mut(place) {
            span.join(Span {
                latest_start: start,
                earliest_end: end,
            });
        }
    }

    fn widen(&mut self) {
        self.width += 1;
        let pairs = self.spans.chunks(2);
        let joined = pairs.map(|pair| {
            let mut all = Span::EMPTY;
            pair.iter().for_each(|span| all.join(*span));
            all
        });
        self.spans = joined.collect();
    }

    /// A handshake began so much later than one ended that stands at the same place or behind it. If not, there is surely
    /// none that stands before such a one.
    pub(super) fn may_go_back(&self, by_us: i64) -> bool {
        let mut earliest_end = Timestamp(i64::MAX);
        self.spans.iter().rev().any(|span| {
            earliest_end = earliest_end.min(span.earliest_end);
            // An empty one would be beyond what a time can tell.
            let (start, end) = (i128::from(span.latest_start.0), i128::from(earliest_end.0));
            start - end > i128::from(by_us) * 1_000
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn may_go_back(handshakes: &[(u64, i64, i64)]) -> bool {
        let mut clock = Clock::default();
        for (frame, start, end) in handshakes {
            clock.add(*frame, Timestamp(*start), Timestamp(*end));
        }
        clock.may_go_back(1_000_000)
    }

    #[test]
    fn a_step_back_is_never_missed() {
        assert!(!may_go_back(&[]));
        // Later frames at later times, with long handshakes among them.
        let straight = (0..20_000).map(|n| (n * 7, n as i64 * SECOND / 100, n as i64 * SECOND));
        let straight: Vec<_> = straight
            .map(|(f, start, end)| (f, start, start.max(end)))
            .collect();
        assert!(!may_go_back(&straight));
        // Wherever it is, and in whatever order they come.
        for at in [1, 63, 5_000, 19_999] {
            let mut stepped = straight.clone();
            for (_, start, end) in &mut stepped[at..] {
                *start -= 100_000 * SECOND;
                *end = *start;
            }
            assert!(may_go_back(&stepped), "{at}");
            stepped.reverse();
            assert!(may_go_back(&stepped), "{at}");
        }
    }
}
