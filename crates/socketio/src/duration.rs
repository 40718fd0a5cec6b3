//! Durations that applications give: none is so long that a moment in time overflows.

use std::time::Duration;

use thiserror::Error;

/// An option of a server or client has a duration that it cannot have.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("{option} is {given:?}, and has to be {range}")]
pub struct DurationError {
    option: &'static str,
    given: Duration,
    range: &'static str,
}

impl DurationError {
    /// The name of the option.
    pub fn option(&self) -> &'static str {
        self.option
    }
}

/// Refuses what is longer than 365 days.
pub(crate) fn check(option: &'static str, given: Duration) -> Result<(), DurationError> {
    match given <= LONGEST {
        true => Ok(()),
        false => Err(DurationError {
            option,
            given,
            range: "at most 365 days",
        }),
    }
}

/// Refuses zero, too.
pub(crate) fn check_positive(option: &'static str, given: Duration) -> Result<(), DurationError> {
    match given.is_zero() || given > LONGEST {
        false => Ok(()),
        true => Err(DurationError {
            option,
            given,
            range: "longer than zero and at most 365 days",
        }),
    }
}

/// Refuses a heartbeat that JavaScript clients cannot wait for.
pub(crate) fn check_heartbeat(interval: Duration, timeout: Duration) -> Result<(), DurationError> {
    let given = interval + timeout;
    match given <= LONGEST_TIMER {
        true => Ok(()),
        false => Err(DurationError {
            option: "ping_interval + ping_timeout",
            given,
            range: "at most 24 days: a timer of a JavaScript client that is longer ends at once",
        }),
    }
}

/// What a call waits that cannot refuse: 365 days are as good as for ever.
pub(crate) fn capped(given: Duration) -> Duration {
    given.min(LONGEST)
}

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// 2^31 - 1 milliseconds are 24 days and 20 hours.
const LONGEST_TIMER: Duration = Duration::from_millis(i32::MAX as u64);
