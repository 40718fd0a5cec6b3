//! What waits for all clients together, counted where it is much.
//!
//! A queue counts from some KiB on, and then in steps, so that the paths which messages take pay nothing.
//! What many receivers share counts for none of them: it is there once. When a part of a queue has been
//! written, its share of the count is estimated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The count of a server.
#[derive(Debug, Default)]
pub(crate) struct TotalQueue {
    bytes: AtomicUsize,
    /// A queue was given up that was worth giving its memory back.
    has_freed: AtomicBool,
    /// Somebody looks for the largest queues.
    pub(crate) is_shedding: AtomicBool,
}

/// The part of one queue.
#[derive(Debug)]
pub(crate) struct Counted {
    total: Arc<TotalQueue>,
    /// The size of the queue when it was counted last.
    at: usize,
    /// Bytes of it that it does not share.
    own: usize,
}

/// Queues count from so many bytes on, and whenever they have grown by as many.
pub(crate) const STEP: usize = 64 * 1024;
/// So much at once is worth giving back.
const WORTH: usize = 1024 * 1024;

impl TotalQueue {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Says, once, whether there is memory to give back.
    pub(crate) fn has_freed(&self) -> bool {
        self.has_freed.load(Ordering::Relaxed) && self.has_freed.swap(false, Ordering::Relaxed)
    }
}

impl Counted {
    pub(crate) fn new(total: &Arc<TotalQueue>) -> Counted {
        Counted {
            total: total.clone(),
            at: 0,
            own: 0,
        }
    }

    /// Bytes that the queue does not share.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// The queue has so many bytes by now; `sizes` gives those of its chunks, the last one first, and
    /// whether they are its own.
    pub(crate) fn grow(&mut self, queued: usize, sizes: impl Iterator<Item = (usize, bool)>) {
        let mut new = queued.saturating_sub(self.at);
        if new < STEP {
            return;
        }
        self.at = queued;
        let before = self.own;
        for (size, is_own) in sizes {
            let counted = size.min(new);
            self.own += if is_own { counted } else { 0 };
            new -= counted;
            if new == 0 {
                break;
            }
        }
        self.total
            .bytes
            .fetch_add(self.own - before, Ordering::Relaxed);
    }

    /// The queue has only so many bytes left.
    pub(crate) fn shrink(&mut self, queued: usize) {
        if queued >= self.at {
            return;
        }
        // Both are far below 2^64.
        let own = (self.own as u128 * queued as u128 / self.at as u128) as usize;
        let freed = self.own - own;
        self.total.bytes.fetch_sub(freed, Ordering::Relaxed);
        if freed >= WORTH {
            self.total.has_freed.store(true, Ordering::Relaxed);
        }
        (self.at, self.own) = (queued, own);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_and_what_is_little_does_not_count() {
        let total = Arc::new(TotalQueue::default());
        let mut queue = Counted::new(&total);
        let chunks = [(3 * STEP, true), (STEP, false), (STEP, true)];
        queue.grow(STEP - 1, chunks.into_iter());
        assert_eq!(total.bytes(), 0);
        queue.grow(5 * STEP, chunks.into_iter());
        assert_eq!((total.bytes(), queue.own()), (4 * STEP, 4 * STEP));
        // Only the newest are looked at.
        queue.grow(
            7 * STEP,
            [(2 * STEP, false), (usize::MAX, true)].into_iter(),
        );
        assert_eq!(total.bytes(), 4 * STEP);
        let mut other = Counted::new(&total);
        other.grow(40 * STEP, [(40 * STEP, true)].into_iter());
        assert_eq!(total.bytes(), 44 * STEP);
        queue.shrink(7 * STEP / 2);
        assert_eq!(total.bytes(), 42 * STEP);
        assert!(!total.has_freed());
        drop(queue);
        assert_eq!(total.bytes(), 40 * STEP);
        drop(other);
        assert_eq!(total.bytes(), 0);
        assert!(total.has_freed() && !total.has_freed());
    }
}
