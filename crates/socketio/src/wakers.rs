//! Those who wait for something, each once however often it asks.
//!
//! Thousands may wait for one queue: a walk over all for each that asks would make that quadratic.

use std::task::Waker;

use foldhash::fast::RandomState;
use hashbrown::HashSet;

/// Wakers, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    list: Vec<Waker>,
    /// What tells them apart, where they are many.
    known: HashSet<(usize, usize), RandomState>,
}

/// So many are looked through.
const FEW: usize = 8;

impl Wakers {
    /// Remembers who waits.
    pub(crate) fn add(&mut self, waker: &Waker) {
        let is_new = if self.list.len() < FEW {
            !self.list.iter().any(|other| other.will_wake(waker))
        } else {
            if self.known.is_empty() {
                self.known.extend(self.list.iter().map(key));
            }
            self.known.insert(key(waker))
        };
        if is_new {
            self.list.push(waker.clone());
        }
    }

    pub(crate) fn wake_all(&mut self) {
        self.known = HashSet::default();
        std::mem::take(&mut self.list)
            .into_iter()
            .for_each(Waker::wake);
    }
}

/// Equal for wakers that wake the same task.
fn key(waker: &Waker) -> (usize, usize) {
    let vtable = std::ptr::from_ref(waker.vtable()) as usize;
    (waker.data() as usize, vtable)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_is_woken_once_however_often_it_has_asked() {
        let tasks: Vec<_> = (0..100)
            .map(|_| Arc::new(Counting(AtomicUsize::new(0))))
            .collect();
        let mut wakers = Wakers::default();
        for _ in 0..3 {
            tasks
                .iter()
                .for_each(|task| wakers.add(&task.clone().into()));
        }
        assert_eq!(wakers.list.len(), tasks.len());
        wakers.wake_all();
        wakers.wake_all();
        assert!(tasks.iter().all(|task| task.0.load(Ordering::Relaxed) == 1));
    }
}
