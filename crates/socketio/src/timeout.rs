//! A bound on a wait that begins where it is set, not where it is awaited.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Over at a deadline, or never. The timer is only made when somebody waits: it needs a runtime, and who
/// sets the bound may have none.
pub(crate) struct Timeout {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timeout {
    pub(crate) fn new(timeout: Option<Duration>) -> Timeout {
        Timeout {
            // One that is further away than there is time for does not come.
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            sleep: None,
        }
    }

    /// # Panics
    ///
    /// Outside of a tokio runtime, if there is a deadline.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        sleep.as_mut().poll(cx)
    }
}
