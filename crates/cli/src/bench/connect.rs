//! `connect`: connections that open, join and leave, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Bench, client, pacer};

/// Starts as many loops as there may be connections at once.
pub(crate) fn begin(bench: &Arc<Bench>) -> JoinSet<()> {
    let begin = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    (0..bench.options.connections)
        .map(|index| again_and_again(bench.clone(), index, begin, next.clone()))
        .collect()
}

async fn again_and_again(bench: Arc<Bench>, index: u32, begin: Instant, next: Arc<AtomicU64>) {
    while bench.is_sending() {
        let due = match bench.options.rate {
            None => Instant::now(),
            Some(rate) => {
                let due = begin + pacer::due(next.fetch_add(1, Ordering::Relaxed), rate);
                // Late by up to a millisecond, which is little beside opening a connection.
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        if bench.is_sending() {
            once(&bench, index, due).await;
        }
    }
}

async fn once(bench: &Bench, index: u32, due: Instant) {
    let begin = Instant::now();
    let builder = client::builder(&bench.options).without_reconnection();
    let socket = match builder.connect().await {
        Ok(socket) => socket,
        Err(error) => {
            bench.recorder.failed(&error, error.hint());
            // A server that refuses is not to be asked as fast as can be.
            tokio::time::sleep(AFTER_FAILURE).await;
            return;
        }
    };
    bench.recorder.opened(begin.elapsed());
    bench.recorder.joined();
    bench
        .recorder
        .record(index, due.elapsed().as_micros() as u64);
    socket.disconnect().await;
    bench.recorder.left();
}

const AFTER_FAILURE: Duration = Duration::from_millis(100);
