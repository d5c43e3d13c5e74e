//! Tells when the system's clock was set. Packets bear the system's time; how long the watching went on, the
//! monotonic clock knows. Both come in as arguments.

/// The clock was set if it went this much further than time did. Slewing (NTP) stays far below between two looks.
const JUMP_NS: i64 = 2_000_000_000;

/// The system's time in nanoseconds since 1970.
#[cfg(any(
    feature = "libpcap",
    all(feature = "live", target_os = "linux", not(tlscope_portable))
))]
pub(super) fn now_ns() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
}

/// The system's clock against the monotonic one.
#[derive(Debug, Default)]
pub struct Clock {
    /// Their difference when last looked at.
    ahead_ns: Option<i64>,
}

impl Clock {
    /// Looks at both clocks. Gives by how much the system's clock was set since the last look, if it was.
    pub fn look(&mut self, system_ns: i64, monotonic_ns: i64) -> Option<i64> {
        let ahead_ns = system_ns.saturating_sub(monotonic_ns);
        let by_ns = ahead_ns.saturating_sub(self.ahead_ns.replace(ahead_ns)?);
        (by_ns.saturating_abs() >= JUMP_NS).then_some(by_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_clock_that_is_set_is_told_once_and_time_that_passes_never() {
        let mut clock = Clock::default();
        assert_eq!(clock.look(1000 * SECOND, 5 * SECOND), None);
        assert_eq!(
            clock.look(9000 * SECOND, 8005 * SECOND),
            None,
            "a machine that slept"
        );
        assert_eq!(
            clock.look(9001 * SECOND + 400_000_000, 8006 * SECOND),
            None,
            "slewed"
        );
        let set = clock.look(5000 * SECOND, 8007 * SECOND);
        assert_eq!(set, Some(-4002 * SECOND - 400_000_000));
        assert_eq!(clock.look(5001 * SECOND, 8008 * SECOND), None);
        let set = clock.look(8601 * SECOND, 8008 * SECOND);
        assert_eq!(set, Some(3600 * SECOND));
    }
}
