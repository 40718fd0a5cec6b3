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

/// What a call waits that cannot refuse: 365 days are as good as for ever.
pub(crate) fn capped(given: Duration) -> Duration {
    given.min(LONGEST)
}

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
