//! What one connection has sent and got: no sockets here, and no clock.
//!
//! A lane says how many messages may be sent, stamps them, and judges what comes.

use super::arrivals::{Arrival, Arrivals};
use super::stamp::{Payload, Received, Stamp};

#[derive(Debug)]
pub(crate) struct Lane {
    /// Which of the run's lanes this is, and which run.
    index: u32,
    run: u16,
    payload: Payload,
    /// The number of the next message.
    next: u32,
    /// Messages before this one are not waited for: the connection was cut, or they took too long.
    since: u32,
    in_flight: u32,
    /// When something came, or nothing was under way.
    heard_us: u64,
    /// Of each sender this lane hears.
    arrivals: Box<[Arrivals]>,
    /// The first sender, and how far they are apart.
    senders: Senders,
    counts: Counts,
}

/// Whom a lane hears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Senders {
    /// One in so many lanes.
    OneIn { step: u32, lanes: u32 },
    /// Itself.
    Own,
}

/// What a lane has counted; the sum of those of all lanes is what a run has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    /// Messages that were none of this run's.
    pub(crate) foreign: u64,
    /// Messages that came back with another size.
    pub(crate) altered: u64,
}

impl Lane {
    pub(crate) fn new(run: u16, index: u32, senders: Senders, payload: Payload) -> Lane {
        Lane {
            index,
            run,
            payload,
            next: 0,
            since: 0,
            in_flight: 0,
            heard_us: 0,
            arrivals: (0..senders.count()).map(|_| Arrivals::default()).collect(),
            senders,
            counts: Counts::default(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Says whether this lane sends at all.
    pub(crate) fn is_sender(&self) -> bool {
        match self.senders {
            Senders::OneIn { step, .. } => self.index.is_multiple_of(step),
            Senders::Own => true,
        }
    }

    /// The messages that are waited for.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The next message. It is not under way before [`sent`](Self::sent).
    pub(crate) fn stamp(&mut self, due_us: u64) -> &Payload {
        self.payload.stamp(self.run, self.index, self.next, due_us);
        &self.payload
    }

    /// Counts the stamped message as sent; gives its number.
    pub(crate) fn sent(&mut self, now_us: u64) -> u32 {
        if self.in_flight == 0 {
            self.heard_us = now_us;
        }
        let sequence = self.next;
        self.next += 1;
        self.in_flight += 1;
        self.counts.sent += 1;
        sequence
    }

    /// Judges what came; the stamp of a message that counts.
    pub(crate) fn received(&mut self, received: Received, now_us: u64) -> Option<Stamp> {
        let known = match received {
            Received::Stamped(stamp) if stamp.run == self.run => {
                self.senders.place(self.index, stamp.lane).zip(Some(stamp))
            }
            Received::Foreign | Received::Stamped(_) => None,
        };
        let Some((sender, stamp)) = known else {
            self.counts.foreign += 1;
            return None;
        };
        if !self.arrived(sender, stamp.sequence) {
            return None;
        }
        if stamp.size != self.payload.size() {
            self.counts.altered += 1;
        }
        self.counts.received_bytes += stamp.size as u64;
        if stamp.lane == self.index {
            self.answered(stamp.sequence, now_us);
        }
        Some(stamp)
    }

    /// Counts the answer to a message, which comes once; `size` are the bytes that came with it.
    pub(crate) fn acknowledged(&mut self, sequence: u32, size: usize, now_us: u64) {
        self.counts.received += 1;
        self.counts.received_bytes += size as u64;
        self.answered(sequence, now_us);
    }

    /// Notes that an answer does not come.
    pub(crate) fn unanswered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Takes back that a message was sent.
    pub(crate) fn not_sent(&mut self) {
        self.unanswered();
        self.counts.sent -= 1;
    }

    /// Counts a message; false if it had come before.
    fn arrived(&mut self, sender: usize, sequence: u32) -> bool {
        match self.arrivals[sender].note(sequence) {
            Arrival::Duplicate => {
                self.counts.duplicated += 1;
                return false;
            }
            Arrival::Late => self.counts.reordered += 1,
            Arrival::New => {}
        }
        self.counts.received += 1;
        true
    }

    fn answered(&mut self, sequence: u32, now_us: u64) {
        self.heard_us = now_us;
        if sequence >= self.since {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// Waits no longer for what is under way; it still counts if it comes.
    pub(crate) fn write_off(&mut self) {
        self.since = self.next;
        self.in_flight = 0;
    }

    /// Says whether nothing has come for long while something was under way.
    pub(crate) fn is_stuck(&self, now_us: u64) -> bool {
        self.in_flight > 0 && now_us.saturating_sub(self.heard_us) > STUCK_US
    }
}

impl Senders {
    /// How many there are.
    pub(crate) fn count(self) -> u32 {
        match self {
            Senders::OneIn { step, lanes } => lanes.div_ceil(step),
            Senders::Own => 1,
        }
    }

    /// Which of those that `own` hears a lane is.
    fn place(self, own: u32, lane: u32) -> Option<usize> {
        match self {
            Senders::OneIn { step, lanes } => {
                (lane.is_multiple_of(step) && lane < lanes).then_some((lane / step) as usize)
            }
            Senders::Own => (lane == own).then_some(0),
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.sent += other.sent;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.foreign += other.foreign;
        self.altered += other.altered;
    }
}

/// After so long a connection begins anew with its messages.
const STUCK_US: u64 = 5_000_000;

#[cfg(test)]
mod tests {
    use super::super::stamp::Kind;
    use super::*;

    const RUN: u16 = 7;

    fn lane(index: u32, senders: Senders) -> Lane {
        Lane::new(RUN, index, senders, Payload::new(32, Kind::Text))
    }

    fn message(lane: u32, sequence: u32) -> Received {
        Received::Stamped(Stamp {
            run: RUN,
            lane,
            sequence,
            due_us: 0,
            size: 32,
        })
    }

    #[test]
    fn an_echo_makes_room_for_the_next_message() {
        let mut lane = lane(3, Senders::Own);
        assert_eq!((lane.sent(0), lane.sent(0)), (0, 1));
        assert_eq!(lane.in_flight(), 2);
        assert!(lane.received(message(3, 0), 1).is_some());
        assert_eq!(lane.in_flight(), 1);
        assert_eq!((lane.counts().sent, lane.counts().received_bytes), (2, 32));
    }

    #[test]
    fn only_messages_of_the_run_and_of_its_senders_count() {
        let mut lane = lane(0, Senders::Own);
        lane.sent(0);
        let Received::Stamped(stamp) = message(0, 0) else {
            unreachable!()
        };
        let other_run = Received::Stamped(Stamp { run: 8, ..stamp });
        for received in [Received::Foreign, other_run, message(1, 0)] {
            assert_eq!(lane.received(received, 0), None);
        }
        assert_eq!((lane.counts().foreign, lane.counts().received), (3, 0));
    }

    #[test]
    fn doubled_late_and_altered_messages_are_counted() {
        let mut lane = lane(0, Senders::Own);
        let Received::Stamped(stamp) = message(0, 0) else {
            unreachable!()
        };
        let short = Received::Stamped(Stamp { size: 28, ..stamp });
        for received in [message(0, 1), message(0, 1), short] {
            lane.received(received, 0);
        }
        let counts = lane.counts();
        assert_eq!(
            (
                counts.received,
                counts.duplicated,
                counts.reordered,
                counts.altered
            ),
            (2, 1, 1, 1)
        );
    }

    #[test]
    fn what_was_under_way_at_a_cut_is_not_waited_for_but_counts() {
        let mut lane = lane(0, Senders::Own);
        lane.sent(0);
        lane.write_off();
        lane.sent(0);
        assert!(lane.received(message(0, 0), 0).is_some());
        assert_eq!((lane.in_flight(), lane.counts().received), (1, 1));
    }

    #[test]
    fn a_listener_hears_each_sender_of_a_broadcast() {
        let senders = Senders::OneIn { step: 2, lanes: 5 };
        assert_eq!(senders.count(), 3);
        let mut lane = lane(1, senders);
        assert!(!lane.is_sender());
        for sender in [0, 2, 4] {
            assert!(lane.received(message(sender, 0), 0).is_some());
        }
        for sender in [1, 6] {
            assert!(lane.received(message(sender, 0), 0).is_none());
        }
        assert_eq!((lane.counts().received, lane.counts().foreign), (3, 2));
    }

    #[test]
    fn a_lane_is_stuck_when_nothing_comes_for_five_seconds() {
        let mut lane = lane(0, Senders::Own);
        assert!(!lane.is_stuck(STUCK_US * 2));
        lane.sent(STUCK_US * 2);
        assert!(!lane.is_stuck(STUCK_US * 3));
        assert!(lane.is_stuck(STUCK_US * 3 + 1));
        lane.write_off();
        assert!(!lane.is_stuck(STUCK_US * 4));
    }
}
