//! How much an examination may cost the server: so many requests, so many at once, and so long.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What is left of it.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
    slots: Semaphore,
    deadline: Instant,
    /// What was allowed beyond the deadline, in milliseconds.
    extra: AtomicU64,
    answer: Duration,
}

/// So many requests are made at most.
const REQUESTS: usize = 40;
/// So many are under way at once at most.
const AT_ONCE: usize = 4;
/// One answer is awaited so long at most.
const ANSWER: Duration = Duration::from_secs(3);

impl Budget {
    pub(super) fn new(total: Duration) -> Budget {
        Budget {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(REQUESTS),
            slots: Semaphore::new(AT_ONCE),
            deadline: Instant::now() + total,
            extra: AtomicU64::new(0),
            answer: ANSWER.min(total / 3),
        }
    }

    /// Allows more, for what was asked for expressly.
    pub(super) fn allow(&self, requests: usize, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.limit.fetch_add(requests, Ordering::Relaxed);
        self.extra.fetch_add(millis, Ordering::Relaxed);
    }

    /// Waits for a free place for one more request; `None` when there were too many.
    pub(super) async fn request(&self) -> Option<SemaphorePermit<'_>> {
        let slot = self.slots.acquire().await.ok()?;
        let limit = self.limit.load(Ordering::Relaxed);
        self.used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < limit).then_some(used + 1)
            })
            .ok()?;
        Some(slot)
    }

    /// How many requests were made.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How long one answer is awaited now.
    pub(super) fn answer(&self) -> Duration {
        self.answer.min(self.left())
    }

    /// How long the examination may still take.
    pub(super) fn left(&self) -> Duration {
        let extra = Duration::from_millis(self.extra.load(Ordering::Relaxed));
        (self.deadline + extra).saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_forty_first_request_is_not_made() {
        let budget = Budget::new(Duration::from_secs(1));
        for _ in 0..REQUESTS {
            assert!(budget.request().await.is_some());
        }
        assert!(budget.request().await.is_none());
        assert_eq!(budget.used(), 40);
        budget.allow(1, Duration::from_secs(60));
        assert!(budget.request().await.is_some());
        assert!(budget.request().await.is_none());
        assert!(budget.left() > Duration::from_secs(30));
    }
}
