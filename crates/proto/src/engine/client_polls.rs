//! When a client begins a GET: at once, but for two cases.
//!
//! A server that answers each GET at once with nothing would keep a core busy; and a GET that is begun
//! after the one that was answered for the sake of an upgrade may never be answered.

use std::time::{Duration, Instant};

/// The GETs of a session.
#[derive(Debug)]
pub(super) struct Polls {
    begun: Instant,
    /// What the GET's answer has brought so far.
    brought: Brought,
    /// So many in a row were answered at once and brought no message.
    fruitless: u32,
    /// None is begun before.
    not_before: Option<Instant>,
}

/// The most that one answer has brought.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Brought {
    Nothing,
    /// Packets, of which none is a message.
    Packets,
    Messages,
}

impl Polls {
    pub(super) fn new(now: Instant) -> Polls {
        Polls {
            begun: now,
            brought: Brought::Nothing,
            fruitless: 0,
            not_before: None,
        }
    }

    pub(super) fn can_begin(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = now;
        self.brought = Brought::Nothing;
        self.not_before = None;
    }

    pub(super) fn bring(&mut self, what: Brought) {
        self.brought = self.brought.max(what);
    }

    /// The GET has been answered, and what it brought has been handled; gives that.
    pub(super) fn answered(&mut self, now: Instant) -> Brought {
        let is_fruitless = self.brought < Brought::Messages && now < self.begun + QUICK;
        self.fruitless = match is_fruitless {
            true => self.fruitless.saturating_add(1),
            false => 0,
        };
        if self.fruitless >= MAX_FRUITLESS {
            self.not_before = Some(now + PAUSE);
        }
        self.brought
    }

    /// Lets the next GET wait.
    pub(super) fn hold(&mut self, until: Option<Instant>) {
        self.not_before = until;
    }

    /// The next GET waits no more.
    pub(super) fn release(&mut self) {
        self.not_before = None;
    }

    /// When the next GET may be begun that waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.not_before
    }
}

/// A GET that was answered in less time was answered at once.
const QUICK: Duration = Duration::from_secs(1);
/// After so many GETs in a row that brought no message there is a pause.
const MAX_FRUITLESS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
