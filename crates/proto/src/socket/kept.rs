//! What a client keeps until it can be sent: taken from the front, in order, and taken back from
//! anywhere, which costs no walk over what is kept.
//!
//! Whoever waits for an answer takes its event back when it gives up. When a connection is lost all of
//! them may do so at once: a walk for each would make that quadratic.

use std::collections::BTreeMap;

/// A queue of items, each with a key that is greater than those before it, and a size in bytes.
#[derive(Debug)]
pub(super) struct Kept<K, T> {
    entries: BTreeMap<K, (T, usize)>,
    bytes: usize,
}

impl<K: Ord, T> Kept<K, T> {
    pub(super) fn new() -> Kept<K, T> {
        Kept {
            entries: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Says whether `size` bytes more would be more than `max`. Where nothing is kept, one item of any
    /// size may be.
    pub(super) fn is_full(&self, size: usize, max: usize) -> bool {
        !self.entries.is_empty() && self.bytes + size > max
    }

    pub(super) fn push(&mut self, key: K, item: T, size: usize) {
        self.bytes += size;
        if let Some((_, replaced)) = self.entries.insert(key, (item, size)) {
            self.bytes -= replaced;
        }
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.entries.values().next().map(|(item, _)| item)
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut T> {
        self.entries.values_mut().next().map(|(item, _)| item)
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let (_, (item, size)) = self.entries.pop_first()?;
        self.bytes -= size;
        Some(item)
    }

    /// Takes one back, if there is one with this key and `may` allows it.
    pub(super) fn take_if(&mut self, key: &K, may: impl FnOnce(&T) -> bool) -> Option<T> {
        if !self.entries.get(key).is_some_and(|(item, _)| may(item)) {
            return None;
        }
        let (item, size) = self.entries.remove(key)?;
        self.bytes -= size;
        Some(item)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|(item, _)| item)
    }

    /// Takes out all that are to go, in order.
    pub(super) fn take_all(&mut self, goes: impl Fn(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        for (key, (item, size)) in std::mem::take(&mut self.entries) {
            if goes(&item) {
                self.bytes -= size;
                gone.push(item);
            } else {
                self.entries.insert(key, (item, size));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use super::*;

    /// A key whose comparisons are counted.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    struct Counted(u64);

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Counted) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Counted) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    #[test]
    fn items_leave_in_order_but_for_those_that_are_taken_back() {
        let mut kept = Kept::new();
        for key in 0..6 {
            kept.push(key, key * 10, 1 << key);
        }
        assert!(kept.is_full(1, 63) && !kept.is_full(1, 64));
        assert_eq!(kept.take_if(&2, |&item| item == 20), Some(20));
        assert_eq!(kept.take_if(&2, |_| true), None);
        assert_eq!(kept.take_if(&3, |_| false), None);
        assert_eq!(kept.take_all(|item| item % 20 == 0), [0, 40]);
        assert_eq!(kept.bytes, 0b10_1010);
        assert_eq!(kept.first(), Some(&10));
        assert_eq!(
            std::iter::from_fn(|| kept.pop()).collect::<Vec<_>>(),
            [10, 30, 50]
        );
        assert!(kept.bytes == 0 && !kept.is_full(1000, 1));
    }

    // When a connection is lost, all who wait may give up, in whatever order.
    #[test]
    fn taking_all_back_one_by_one_is_not_quadratic() {
        let compared = |count: u64, is_reversed: bool| {
            COMPARED.set(0);
            let mut kept = Kept::new();
            (0..count).for_each(|key| kept.push(Counted(key), (), 1));
            for key in 0..count {
                let key = if is_reversed { count - 1 - key } else { key };
                kept.take_if(&Counted(key), |()| true).expect("it is kept");
            }
            COMPARED.get()
        };
        for is_reversed in [false, true] {
            let (once, four) = (compared(1000, is_reversed), compared(4000, is_reversed));
            assert!(four < 6 * once, "{once} comparisons, and {four}");
        }
    }
}
