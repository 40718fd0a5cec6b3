//! A clock that goes on while the machine sleeps, and that nobody sets.
//!
//! `Instant` stands still during a suspension on Linux and macOS; a connection that the server has given
//! up in the meantime would then be thought alive for up to another heartbeat. The wall clock knows of
//! the sleep, but it can be set: forward for a moment, and no deadline is due for as long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Clock {
    begin: Instant,
    /// The system's clock that counts sleep, at the beginning; none where `Instant` counts it or
    /// nothing does.
    system_begin: Option<Duration>,
    /// How many nanoseconds the machine has slept since.
    slept: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        // In this order, as in `now` the other way round: a pause between the two is never taken for a
        // sleep.
        let begin = Instant::now();
        Clock {
            begin,
            system_begin: system_time(),
            slept: AtomicU64::new(0),
        }
    }

    /// The time that machines see.
    pub(crate) fn now(&self) -> Instant {
        let system = system_time();
        let slept = self.slept(system, self.begin.elapsed());
        // Tokio's time, which tests stop and move on.
        tokio::time::Instant::now().into_std() + slept
    }

    /// How long the machine has slept, by what the two clocks say.
    fn slept(&self, system: Option<Duration>, awake: Duration) -> Duration {
        let (Some(system), Some(begin)) = (system, self.system_begin) else {
            return Duration::ZERO;
        };
        let slept = system.saturating_sub(begin).saturating_sub(awake);
        let slept = u64::try_from(slept.as_nanos()).unwrap_or(u64::MAX);
        // The clocks are not read at the same moment: a smaller value is the less exact one.
        let before = self.slept.fetch_max(slept, Ordering::Relaxed);
        Duration::from_nanos(slept.max(before))
    }
}

#[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
fn system_time() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};

    #[cfg(any(target_os = "android", target_os = "linux"))]
    let clock = ClockId::CLOCK_BOOTTIME;
    // Here it counts sleep; what `Instant` reads does not.
    #[cfg(target_vendor = "apple")]
    let clock = ClockId::CLOCK_MONOTONIC;
    clock_gettime(clock).ok().map(Duration::from)
}

#[cfg(not(any(target_os = "android", target_os = "linux", target_vendor = "apple")))]
fn system_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> Clock {
        Clock {
            begin: Instant::now(),
            system_begin: Some(1000 * SECOND),
            slept: AtomicU64::new(0),
        }
    }

    // C036, M48
    #[test]
    fn a_sleep_of_the_machine_counts() {
        let clock = clock();
        let slept = |system: u32, awake| clock.slept(Some((1000 + system) * SECOND), awake);
        assert_eq!(slept(1, SECOND), Duration::ZERO);
        assert_eq!(slept(3600, 2 * SECOND), 3598 * SECOND);
        assert_eq!(slept(3601, 3 * SECOND), 3598 * SECOND);
    }

    #[test]
    fn clocks_that_are_read_one_after_the_other_do_not_turn_time_back() {
        let clock = clock();
        let slept = |system: u32, awake| clock.slept(Some((1000 + system) * SECOND), awake);
        assert_eq!(slept(10, 4 * SECOND), 6 * SECOND);
        assert_eq!(slept(11, 6 * SECOND), 6 * SECOND);
        assert_eq!(slept(0, 8 * SECOND), 6 * SECOND);
    }

    // The wall clock is never asked, so that setting it changes nothing.
    #[test]
    fn time_is_that_of_the_runtime_and_what_was_slept() {
        let clock = Clock::new();
        let before = Instant::now();
        let now = clock.now();
        assert!(now >= before && now - before < 3600 * SECOND);
        assert_eq!(clock.slept(None, SECOND), Duration::ZERO);
    }
}
