//! What one connection may do before the others have their turn: so much time, whatever it sends.
//!
//! The clock is looked at after so many bytes only, for which each message counts some hundred more than
//! it has: a look at each message would cost more than many a message does.

use std::future::Future;
use std::pin::pin;
use std::task::Context;
use std::time::{Duration, Instant};

/// The time of one turn.
#[derive(Debug)]
pub(crate) struct Budget {
    /// When the turn is over; unknown until something is handled.
    until: Option<Instant>,
    /// So much is handled before the clock is looked at again.
    left: isize,
}

/// The time that a turn may take. What is under way is ended first: one message, and what its handlers
/// do before they wait.
const TURN: Duration = Duration::from_micros(500);
/// Bytes between two looks at the clock.
const LOOK: isize = 32 * 1024;
/// Bytes that each message counts for beside its own.
const MESSAGE: usize = 512;

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget {
            until: None,
            left: LOOK,
        }
    }

    /// Something is about to be handled, and it is so late.
    pub(crate) fn begin(&mut self, now: Instant) {
        let until = *self.until.get_or_insert(now + TURN);
        self.left = if until <= now { 0 } else { LOOK };
    }

    /// A message of so many bytes was handled: says whether the turn is over.
    #[inline]
    pub(crate) fn is_spent(&mut self, bytes: usize) -> bool {
        self.left -= (bytes + MESSAGE) as isize;
        self.left <= 0 && self.look()
    }

    #[cold]
    fn look(&mut self) -> bool {
        self.left = LOOK;
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

/// Lets the others have their turn, and the sockets be looked at, before this task goes on: one that only
/// wakes itself would keep a thread from looking at its sockets for dozens of turns.
pub(crate) fn go_on_later(cx: &mut Context<'_>) {
    // Its first poll does all there is to do.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_with_its_time_and_not_with_its_messages() {
        let now = Instant::now();
        let mut budget = Budget::new();
        budget.begin(now + Duration::from_secs(3600));
        assert!((0..10_000).all(|_| !budget.is_spent(1000)));
        let mut budget = Budget::new();
        budget.begin(now - TURN);
        let handled = (1..).find(|_| budget.is_spent(20));
        assert_eq!(handled, Some(62));
        assert!(budget.until <= Some(now));
        // What was read late is begun all the same: something is handled in each turn.
        budget.begin(now);
        assert!(budget.is_spent(1));
    }
}
