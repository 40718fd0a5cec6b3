//! Events that were not sent, and whose senders did not wait to be told: counted, and logged now and
//! then.

use socketio_proto::Printable;
use std::fmt::Display;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct UnsentEvents(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    all: u64,
    /// When a line was logged last, and how many there have been since.
    logged: Option<Instant>,
    since: u64,
}

/// The time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

impl UnsentEvents {
    /// How many there have been.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().all
    }

    pub(crate) fn note(&self, event: &str, error: &dyn Display) {
        if let Some(more) = self.admit(Instant::now()) {
            tracing::warn!(event = Printable::new(event).to_string(), error = %Printable::new(&error), more, "an event was not sent");
        }
    }

    /// Counts an event; if it is to be logged, gives how many were not since the last line.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut counted = self.0.lock();
        counted.all += 1;
        if counted.logged.is_some_and(|at| now < at + PAUSE) {
            counted.since += 1;
            return None;
        }
        counted.logged = Some(now);
        Some(std::mem::take(&mut counted.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_line_for_many_events() {
        let unsent = UnsentEvents::default();
        let now = Instant::now();
        assert_eq!(unsent.admit(now), Some(0));
        for _ in 0..1000 {
            assert_eq!(unsent.admit(now), None);
        }
        assert_eq!(unsent.admit(now + PAUSE), Some(1000));
        assert_eq!(unsent.count(), 1002);
    }
}
