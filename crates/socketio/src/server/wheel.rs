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
            // here, and what goes to a later slot of this turn is looked at once more.
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

    /// Puts an absent key into the slot of its deadline, be it a turn away or several.
    fn link(&mut self, key: u32) {
        let deadline = self.nodes[key as usize].deadline;
        let slot = (deadline.max(self.now + 1) % SLOTS) as usize;
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const TICK: Duration = Duration::from_millis(TICK_MILLIS);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn expired(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now, &mut due);
        due
    }

    #[test]
    fn node_takes_16_bytes() {
        assert_eq!(size_of::<Node>(), 16);
    }

    #[test]
    fn wheel_without_keys_has_no_deadline() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        assert_eq!(wheel.next_deadline(), None);
        assert_eq!(expired(&mut wheel, start + ms(100_000)), [0; 0]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn key_expires_once_at_the_next_tick_and_not_before() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.set(7, start + ms(17));
        assert_eq!(wheel.next_deadline(), Some(start + ms(24)));
        assert_eq!(expired(&mut wheel, start + ms(23)), [0; 0]);
        assert_eq!(expired(&mut wheel, start + ms(24)), [7]);
        assert_eq!(expired(&mut wheel, start + ms(24)), [0; 0]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn deadline_on_a_tick_is_kept_exactly() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.set(0, start + ms(25_000));
        assert_eq!(wheel.next_deadline(), Some(start + ms(25_000)));
        assert_eq!(expired(&mut wheel, start + ms(25_000)), [0]);
    }

    #[test]
    fn passed_deadline_expires_at_the_next_tick() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.expire(start + ms(1000), &mut Vec::new());
        wheel.set(0, start + ms(5));
        assert_eq!(wheel.next_deadline(), Some(start + ms(1008)));
        assert_eq!(expired(&mut wheel, start + ms(1008)), [0]);
    }

    #[test]
    fn deadline_that_was_put_off_waits() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.set(0, start + ms(80));
        wheel.set(0, start + ms(160));
        assert_eq!(expired(&mut wheel, start + ms(80)), [0; 0]);
        assert_eq!(wheel.next_deadline(), Some(start + ms(160)));
        assert_eq!(expired(&mut wheel, start + ms(160)), [0]);
    }

    #[test]
    fn deadline_that_was_brought_forward_is_not_missed() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.set(0, start + ms(160));
        wheel.set(0, start + ms(80));
        assert_eq!(wheel.next_deadline(), Some(start + ms(80)));
        assert_eq!(expired(&mut wheel, start + ms(80)), [0]);
        assert_eq!(expired(&mut wheel, start + ms(160)), [0; 0]);
    }

    #[test]
    fn deadline_beyond_the_wheel_is_kept() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let deadline = start + TICK * (3 * SLOTS as u32 + 5);
        wheel.set(0, deadline);
        let mut looks = 0;
        while let Some(next) = wheel.next_deadline()
            && next < deadline
        {
            assert_eq!(expired(&mut wheel, next), [0; 0]);
            looks += 1;
        }
        assert_eq!(looks, 3);
        assert_eq!(expired(&mut wheel, deadline - TICK), [0; 0]);
        assert_eq!(expired(&mut wheel, deadline), [0]);
    }

    #[test]
    fn expiry_after_several_turns_finds_all_that_is_due() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.set(0, start + TICK);
        wheel.set(1, start + TICK * SLOTS as u32);
        wheel.set(2, start + TICK * (2 * SLOTS as u32 + 1));
        wheel.set(3, start + TICK * (5 * SLOTS as u32 + 1));
        let mut due = expired(&mut wheel, start + TICK * (3 * SLOTS as u32));
        due.sort_unstable();
        assert_eq!(due, [0, 1, 2]);
        assert_eq!(
            expired(&mut wheel, start + TICK * (5 * SLOTS as u32)),
            [0; 0]
        );
        assert_eq!(
            expired(&mut wheel, start + TICK * (5 * SLOTS as u32 + 1)),
            [3]
        );
    }

    #[test]
    fn clock_that_stands_still_or_goes_back_is_harmless() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start + ms(1000));
        wheel.expire(start + ms(2000), &mut Vec::new());
        wheel.set(0, start + ms(2008));
        assert_eq!(expired(&mut wheel, start + ms(2000)), [0; 0]);
        assert_eq!(expired(&mut wheel, start), [0; 0]);
        assert_eq!(expired(&mut wheel, start + ms(2008)), [0]);
    }

    #[test]
    fn removed_key_does_not_expire_and_its_memory_is_given_back() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for key in 0..10_000 {
            wheel.set(key, start + ms(100));
        }
        for key in (0..10_000).filter(|&key| key != 5) {
            wheel.remove(key);
        }
        assert_eq!(wheel.nodes.len(), 6);
        assert!(wheel.nodes.capacity() <= KEPT);
        assert_eq!(expired(&mut wheel, start + ms(104)), [5]);
        wheel.remove(5);
        wheel.remove(5);
        wheel.remove(1_000_000);
        assert!(wheel.nodes.is_empty());
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn many_keys_expire_each_in_its_tick() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for key in 0..100_000 {
            wheel.set(key, start + Duration::from_micros(1 + u64::from(key) * 250));
        }
        let mut expected = 0..100_000;
        while let Some(now) = wheel.next_deadline() {
            let mut due = expired(&mut wheel, now);
            due.sort_unstable();
            assert!(!due.is_empty());
            for key in due {
                assert_eq!(Some(key), expected.next());
                let late = now - (start + Duration::from_micros(1 + u64::from(key) * 250));
                assert!(late < TICK);
            }
        }
        assert_eq!(expected.next(), None);
    }

    #[test]
    fn random_calls_agree_with_a_naive_model() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let start = Instant::now();
            let mut now = start;
            let mut wheel = Wheel::new(start);
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for _ in 0..5000 {
                let key = rng.random_range(0..60);
                match rng.random_range(0..10) {
                    0..=4 => {
                        let far = *[50, 2000, 40_000, 200_000].get(key as usize % 4).unwrap();
                        let micros = rng.random_range(0..far * 1000);
                        let deadline = now + Duration::from_micros(micros);
                        wheel.set(key, deadline);
                        model.insert(key, deadline);
                    }
                    5 => {
                        wheel.remove(key);
                        model.remove(&key);
                    }
                    6 => now += Duration::from_micros(rng.random_range(0..100_000_000)),
                    7 => now += Duration::from_micros(rng.random_range(0..20_000)),
                    _ => {
                        now = wheel.next_deadline().map_or(now, |next| next.max(now));
                    }
                }
                check_expiry(&mut wheel, &mut model, now, start);
            }
        }
    }

    /// Expires at `now` and checks that nothing is early and nothing more than a tick late.
    fn check_expiry(
        wheel: &mut Wheel,
        model: &mut BTreeMap<u32, Instant>,
        now: Instant,
        start: Instant,
    ) {
        let due = expired(wheel, now);
        assert_eq!(due.iter().collect::<BTreeSet<_>>().len(), due.len());
        for key in due {
            assert!(model.remove(&key).unwrap() <= now);
        }
        // Whatever has come more than one tick ago is out.
        assert!(model.values().all(|&deadline| deadline + TICK > now));
        // And the wheel wakes in time for the rest.
        let first = model.values().min();
        assert_eq!(first.is_none(), wheel.next_deadline().is_none());
        if let (Some(&first), Some(next)) = (first, wheel.next_deadline()) {
            assert!(next > now && next <= first.max(now) + TICK);
            assert_eq!((next - start).as_millis() % u128::from(TICK_MILLIS), 0);
        }
        let linked = wheel
            .nodes
            .iter()
            .filter(|node| node.prev != ABSENT)
            .count();
        assert_eq!(linked, model.len());
    }
}
