//! Which messages of one sender have come: new, late or twice.

use std::collections::VecDeque;

/// The messages of one sender that one connection has got.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// All messages below have come, or are given up.
    base: u64,
    /// Whether those from `base` on have come; the first has not. Ends behind the highest that has.
    window: VecDeque<bool>,
}

/// What is to be said of one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// It came before.
    Duplicate,
    /// A later one came before.
    Late,
    New,
}

impl Arrivals {
    /// Notes a message.
    pub(crate) fn note(&mut self, sequence: u32) -> Arrival {
        let Some(offset) = u64::from(sequence).checked_sub(self.base) else {
            return Arrival::Duplicate;
        };
        // Most of all messages.
        if offset == 0 && self.window.is_empty() {
            self.base += 1;
            return Arrival::New;
        }
        let offset = self.give_up_before(offset as usize);
        let arrival = match self.window.get(offset) {
            Some(true) => return Arrival::Duplicate,
            Some(false) => Arrival::Late,
            None => Arrival::New,
        };
        if arrival == Arrival::New {
            self.window.resize(offset + 1, false);
        }
        self.window[offset] = true;
        self.skip_arrived();
        arrival
    }

    /// Keeps the window bounded; gives the place of a message in it.
    fn give_up_before(&mut self, offset: usize) -> usize {
        let surplus = (offset + 1).saturating_sub(WINDOW);
        if surplus > 0 {
            self.window.drain(..surplus.min(self.window.len()));
            self.base += surplus as u64;
        }
        offset - surplus
    }

    fn skip_arrived(&mut self) {
        while self.window.front() == Some(&true) {
            self.window.pop_front();
            self.base += 1;
        }
    }
}

/// A message that is so far behind is given up: it is lost, and if it comes all the same, a duplicate.
const WINDOW: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn note(messages: &[u32]) -> Vec<Arrival> {
        let mut arrivals = Arrivals::default();
        messages
            .iter()
            .map(|message| arrivals.note(*message))
            .collect()
    }

    #[test]
    fn messages_in_order_are_new() {
        assert_eq!(note(&[0, 1, 2]), [Arrival::New; 3]);
    }

    #[test]
    fn a_message_behind_a_later_one_is_late() {
        use Arrival::{Late, New};
        assert_eq!(note(&[0, 2, 1, 3]), [New, New, Late, New]);
        assert_eq!(note(&[3, 2, 1, 0, 4]), [New, Late, Late, Late, New]);
    }

    #[test]
    fn a_message_that_comes_again_is_a_duplicate() {
        use Arrival::{Duplicate, Late, New};
        assert_eq!(note(&[0, 0, 2, 2]), [New, Duplicate, New, Duplicate]);
        assert_eq!(note(&[1, 0, 1, 0]), [New, Late, Duplicate, Duplicate]);
    }

    #[test]
    fn a_gap_costs_bounded_memory() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.note(u32::MAX), Arrival::New);
        assert!(arrivals.window.len() <= WINDOW);
        let mut arrivals = Arrivals::default();
        for message in 1..200_000 {
            assert_eq!(arrivals.note(message), Arrival::New);
            assert!(arrivals.window.len() <= WINDOW);
        }
        assert_eq!(arrivals.note(0), Arrival::Duplicate);
    }
}
