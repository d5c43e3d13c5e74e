//! The raw time stamps of a trace as nanoseconds since 1970, UTC.
//!
//! A trace counts performance counter ticks, 100 ns units since 1601 ("FILETIME") or processor cycles; its
//! header says which, how fast, and what the wall clock said at the header event's own stamp. Stamps before
//! that happen (events that describe what was there already), so differences are signed.

use super::container::LogfileHeader;

/// 1970-01-01 as FILETIME.
const UNIX_EPOCH: i64 = 116_444_736_000_000_000;

/// FILETIME as nanoseconds since 1970; what 64 bits can't hold becomes their end.
pub(in crate::capture) fn filetime_ns(filetime: i64) -> i64 {
    filetime.saturating_sub(UNIX_EPOCH).saturating_mul(100)
}

/// What a trace's stamps count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// The performance counter.
    Counter,
    /// The system's time.
    System,
    /// Processor cycles.
    Cycles,
    /// A number that no known system writes; read as system time.
    Unknown(u32),
}

/// Turns stamps into time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    kind: ClockKind,
    start_filetime: i64,
    first_stamp: i64,
    /// 100 ns units in `per` ticks.
    units: i64,
    per: i64,
}

impl Clock {
    /// The clock of the trace with this header, whose header event bore `first_stamp`.
    pub(super) fn new(header: &LogfileHeader, first_stamp: i64) -> Self {
        let (kind, units, per) = match header.clock {
            1 => (ClockKind::Counter, 10_000_000, header.counter_frequency),
            2 => (ClockKind::System, 1, 1),
            3 => (ClockKind::Cycles, 10, i64::from(header.cpu_mhz)),
            other => (ClockKind::Unknown(other), 1, 1),
        };
        // A frequency of nothing can't be divided by: 10 MHz is what Windows uses wherever it may choose.
        let (units, per) = if per > 0 { (units, per) } else { (1, 1) };
        Self {
            kind,
            start_filetime: header.start_filetime,
            first_stamp,
            units,
            per,
        }
    }

    /// What it counts.
    pub(super) fn kind(&self) -> ClockKind {
        self.kind
    }

    /// Nanoseconds since 1970, in steps of the trace's own 100 ns.
    pub(super) fn ns(&self, stamp: i64) -> i64 {
        if matches!(self.kind, ClockKind::System | ClockKind::Unknown(_)) {
            return filetime_ns(stamp);
        }
        let elapsed = stamp.saturating_sub(self.first_stamp);
        let units = match elapsed.checked_mul(self.units) {
            Some(scaled) => scaled.div_euclid(self.per),
            None => {
                let scaled = i128::from(elapsed) * i128::from(self.units);
                i64::try_from(scaled.div_euclid(i128::from(self.per))).unwrap_or(i64::MAX)
            }
        };
        filetime_ns(self.start_filetime.saturating_add(units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(clock: u32, counter_frequency: i64) -> LogfileHeader {
        LogfileHeader {
            clock,
            counter_frequency,
            cpu_mhz: 2400,
            start_filetime: 132_102_896_937_707_292,
            ..LogfileHeader::default()
        }
    }

    #[test]
    fn the_counter_of_a_real_trace() {
        let clock = Clock::new(&header(1, 3_312_788), 0x1EBA_2DA2);
        assert_eq!(clock.ns(0x1EBA_CF26), filetime_ns(132_102_896_937_832_105));
        assert_eq!(
            clock.ns(0x1EBA_2DA2 - 3_312_788),
            filetime_ns(132_102_896_927_707_292),
            "before the header"
        );
        assert_eq!(
            clock.ns(0x1EBA_2DA2 + 3_312_788 * 1_000_000),
            filetime_ns(132_112_896_937_707_292),
            "needs 128 bits"
        );
    }

    #[test]
    fn system_time_and_cycles() {
        assert_eq!(Clock::new(&header(2, 0), 5).ns(UNIX_EPOCH + 3), 300);
        assert_eq!(
            Clock::new(&header(3, 0), 0).ns(2400),
            filetime_ns(132_102_896_937_707_302)
        );
    }

    #[test]
    fn nothing_overflows() {
        for (clock, frequency) in [
            (0, 0),
            (1, 0),
            (1, -1),
            (1, 1),
            (1, i64::MAX),
            (2, 0),
            (3, 0),
            (9, 9),
        ] {
            for first in [i64::MIN, 0, i64::MAX] {
                for stamp in [i64::MIN, -1, 0, 1, i64::MAX] {
                    Clock::new(&header(clock, frequency), first).ns(stamp);
                }
            }
        }
    }
}
