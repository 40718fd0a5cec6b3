//! Deadlines of many sessions in one place: a hashed timing wheel.
//!
//! The wheel has 4096 slots of 8 ms. A key stands in the slot of its deadline, or in an earlier one
//! (if the deadline is further away than the wheel reaches, or was put off meanwhile) and is then
//! looked at again. So putting off a deadline, which happens with every heartbeat, only writes a
//! number. This module has no clock and wakes nobody: time is an argument.
//! Specification: none; it serves the timers of Engine.IO v4, "Heartbeat".

use std::fmt;
use std::time::{Duration, Instant};

/// A set of keys with a deadline each.
///
/// Keys are small dense numbers: memory grows with the largest key. Deadlines are rounded up to
/// the next tick, so that no key expires early and none is more than one tick late.
///
/// To use it: `set` and `remove` keys; sleep until `next_deadline`; call `expire`.
pub(crate) struct Wheel {
    origin: Instant,
    /// The tick up to which `expire` has looked.
    now: u64,
    nodes: Vec<Node>,
    /// The first key of each slot's list.
    heads: Box<[u32]>,
    /// Which slots have a list.
    occupied: [u64; WORDS],
}

/// A key's deadline and its neighbours in the list of a slot.
#[derive(Clone, Copy)]
struct Node {
    /// In ticks since the origin.
    deadline: u64,
    /// A key; or for the first of a list, the slot with the bit [`FIRST`]; or [`ABSENT`].
    prev: u32,
    /// A key or [`END`].
    next: u32,
}

impl Wheel {
    /// Makes a wheel without keys.
    pub(crate) fn new(now: Instant) -> Wheel {
        let heads = vec![END; SLOTS as usize].into_boxed_slice();
        Wheel {
            origin: now,
            now: 0,
            nodes: Vec::new(),
            heads,
            occupied: [0; WORDS],
        }
    }

    /// Gives a key a deadline, instead of the one that it has.
    pub(crate) fn set(&mut self, key: u32, deadline: Instant) {
        debug_assert!(key < FIRST, "keys are dense");
        let deadline = self.tick_after(deadline);
        let index = key as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, VACANT);
        }
        let node = &mut self.nodes[index];
        let is_put_off = node.prev != ABSENT && deadline >= node.deadline;
        node.deadline = deadline;
        if !is_put_off {
            self.unlink(key);
            self.link(key);
        }
    }

    /// Removes a key and gives back memory that is not needed any more.
    ///
    /// This is also for keys which have expired and will not be used again.
    pub(crate) fn remove(&mut self, key: u32) {
        self.unlink(key);
        while self.nodes.pop_if(|node| node.prev == ABSENT).is_some() {}
        if self.nodes.capacity() > KEPT && self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }

    /// Gives the time for the next call of `expire`, at which a key may be due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tick = self.occupied_from(self.now + 1)?;
        Some(self.origin + Duration::from_millis(tick * TICK_MILLIS))
    }

    /// Takes out the keys whose deadline has come and appends them to `due`.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Vec<u32>) {
        let elapsed = now.saturating_duration_since(self.origin);
        let now = ticks(elapsed, u64::from(elapsed.subsec_nanos() / TICK_NANOS));
        let mut from = self.now + 1;
        // After one whole turn every slot has been seen.
        let to = now.min(self.now + SLOTS);
        while from <= to
            && let Some(tick) = self.occupied_from(from)
            && tick <= to
        {
            // What is not due is put relative to the end, not to this slot. So nothing comes back
            // here, and what goes to a slot of this turn is at most looked at once more.
            self.now = now;
            self.empty_slot(tick, due);
            from = tick + 1;
        }
        self.now = self.now.max(now);
    }

    /// Takes the keys out of a slot: those that are due, and the others to their places.
    fn empty_slot(&mut self, tick: u64, due: &mut Vec<u32>) {
        let slot = (tick % SLOTS) as usize;
        let mut key = std::mem::replace(&mut self.heads[slot], END);
        self.mark(slot, false);
        while let Some(node) = self.nodes.get_mut(key as usize) {
            let next = node.next;
            let is_due = node.deadline <= self.now;
            node.prev = ABSENT;
            if is_due {
                due.push(key);
            } else {
                self.link(key);
            }
            key = next;
        }
    }

    /// Puts an absent key into the slot of its deadline, or the furthest if that is too far.
    fn link(&mut self, key: u32) {
        let deadline = self.nodes[key as usize].deadline;
        let slot = (deadline.clamp(self.now + 1, self.now + SLOTS) % SLOTS) as usize;
        let next = std::mem::replace(&mut self.heads[slot], key);
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.prev = key;
        }
        self.nodes[key as usize] = Node {
            deadline,
            prev: FIRST | slot as u32,
            next,
        };
        self.mark(slot, true);
    }

    /// Takes a key out of its slot; does nothing if it is absent.
    fn unlink(&mut self, key: u32) {
        let Some(node) = self.nodes.get_mut(key as usize) else {
            return;
        };
        let Node { prev, next, .. } = *node;
        if prev == ABSENT {
            return;
        }
        node.prev = ABSENT;
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.prev = prev;
        }
        if prev & FIRST == 0 {
            self.nodes[prev as usize].next = next;
        } else {
            let slot = (prev & !FIRST) as usize;
            self.heads[slot] = next;
            self.mark(slot, next != END);
        }
    }

    fn mark(&mut self, slot: usize, is_occupied: bool) {
        let mask = 1 << (slot % 64);
        let word = &mut self.occupied[slot / 64];
        *word = if is_occupied {
            *word | mask
        } else {
            *word & !mask
        };
    }

    /// The first tick from `from` on whose slot has keys.
    fn occupied_from(&self, from: u64) -> Option<u64> {
        let slot = (from % SLOTS) as usize;
        // The word of the first slot comes first without the slots before, and last with them.
        let first = slot / 64;
        let in_first = self.occupied[first] & (u64::MAX << (slot % 64));
        let later = (first + 1..=first + WORDS).map(|word| (word, self.occupied[word % WORDS]));
        let (word, bits) = std::iter::once((first, in_first))
            .chain(later)
            .find(|&(_, bits)| bits != 0)?;
        let distance = word * 64 + bits.trailing_zeros() as usize - slot;
        Some(from + distance as u64)
    }

    /// The first tick that is not before a time.
    fn tick_after(&self, time: Instant) -> u64 {
        let elapsed = time.saturating_duration_since(self.origin);
        ticks(
            elapsed,
            u64::from(elapsed.subsec_nanos().div_ceil(TICK_NANOS)),
        )
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("next", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

/// The ticks of a time, given those of its last part of a second.
fn ticks(elapsed: Duration, of_last_second: u64) -> u64 {
    elapsed
        .as_secs()
        .saturating_mul(1000 / TICK_MILLIS)
        .saturating_add(of_last_second)
}

const TICK_MILLIS: u64 = 8;
const TICK_NANOS: u32 = 8_000_000;

/// The wheel turns once in 32.8 s: more than the usual interval between two heartbeats.
const SLOTS: u64 = 4096;
const WORDS: usize = SLOTS as usize / 64;

/// The bit in `prev` that makes it a slot.
const FIRST: u32 = 1 << 31;
/// The mark in `prev` of a key that is in no list.
const ABSENT: u32 = u32::MAX;
/// The mark in `next` of the last key of a list.
const END: u32 = u32::MAX;

const VACANT: Node = Node {
    deadline: 0,
    prev: ABSENT,
    next: END,
};

/// The capacity that is not worth giving back.
const KEPT: usize = 64;
