//! An open loop: messages are due at fixed times, whatever has come back.
//!
//! A thread, because the runtime's timers are only good to a millisecond.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Bench;

/// Calls `send` with a message's number and when it is due, so many times a second, while the run
/// sends.
pub(crate) fn start(
    bench: Arc<Bench>,
    rate: u32,
    mut send: impl FnMut(u64, Instant) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Handle::current();
    thread::Builder::new()
        .name("sio-pacer".to_owned())
        .spawn(move || {
            let _entered = runtime.enter();
            let begin = Instant::now();
            for number in 0.. {
                let due = begin + due(number, rate);
                loop {
                    if !bench.is_sending() {
                        return;
                    }
                    let wait = due.saturating_duration_since(Instant::now());
                    if wait.is_zero() {
                        break;
                    }
                    thread::sleep(wait.min(LONGEST_SLEEP));
                }
                send(number, due);
            }
        })
}

/// When a message is due after the beginning.
pub(crate) fn due(number: u64, rate: u32) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// So that a thread with little to do sees the end of the run.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_distances_without_drift() {
        assert_eq!(due(0, 3), Duration::ZERO);
        assert_eq!(due(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(due(3_000_000, 3), Duration::from_secs(1_000_000));
    }
}
