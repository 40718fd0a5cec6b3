//! A clock that goes on while the machine sleeps.
//!
//! `Instant` stands still during a suspension on Linux; a connection that the server has given up in
//! the meantime would then be thought alive for up to another heartbeat.

use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub(crate) struct Clock {
    begin: Instant,
    wall_begin: SystemTime,
    /// Time never goes back, also when the wall clock does.
    latest: Duration,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            begin: Instant::now(),
            wall_begin: SystemTime::now(),
            latest: Duration::ZERO,
        }
    }

    /// The time that machines see.
    pub(crate) fn now(&mut self) -> Instant {
        self.at(self.begin.elapsed(), SystemTime::now())
    }

    fn at(&mut self, elapsed: Duration, wall: SystemTime) -> Instant {
        let wall = wall.duration_since(self.wall_begin).unwrap_or_default();
        self.latest = self.latest.max(elapsed).max(wall);
        self.begin + self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    // C036, M48
    #[test]
    fn a_sleep_of_the_machine_counts() {
        let mut clock = Clock::new();
        let (begin, wall) = (clock.begin, clock.wall_begin);
        assert_eq!(clock.at(SECOND, wall + SECOND), begin + SECOND);
        let later = clock.at(2 * SECOND, wall + 3600 * SECOND);
        assert_eq!(later, begin + 3600 * SECOND);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_does_not() {
        let mut clock = Clock::new();
        let (begin, wall) = (clock.begin, clock.wall_begin);
        assert_eq!(clock.at(5 * SECOND, wall + 5 * SECOND), begin + 5 * SECOND);
        assert_eq!(clock.at(6 * SECOND, wall - 60 * SECOND), begin + 6 * SECOND);
        assert_eq!(clock.at(4 * SECOND, wall), begin + 6 * SECOND);
    }
}
