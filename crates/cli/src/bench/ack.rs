//! `ack`: events with an answer.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socketio::AckError;
use tokio::task::JoinSet;

use super::client::Connected;
use super::stamp::Received;

/// Asks again and again, so many times at once.
///
/// One task for a connection, so that answers that came together bring questions that leave together.
pub(crate) fn begin(connected: &Connected, tasks: &mut JoinSet<()>) {
    let connected = connected.clone();
    tasks.spawn(async move {
        let bench = &connected.member.bench;
        let mut asking: FuturesUnordered<_> = (0..bench.options.depth)
            .map(|_| ask(&connected, Instant::now()))
            .collect();
        while asking.next().await.is_some() {
            if bench.is_sending() {
                asking.push(ask(&connected, Instant::now()));
            }
        }
    });
}

/// Asks once, at a fixed time.
pub(crate) fn ask_due(connected: &Connected, due: Instant) {
    let connected = connected.clone();
    if connected.member.lane.lock().in_flight() >= MOST_IN_FLIGHT {
        let cause = format!("not sent, because {MOST_IN_FLIGHT} of the connection were under way");
        connected.member.bench.recorder.errors.lock().add(cause);
        return;
    }
    // It ends by its timeout at the latest.
    tokio::spawn(async move { ask(&connected, due).await });
}

async fn ask(connected: &Connected, due: Instant) {
    let Connected { member, socket } = connected;
    let recorder = &member.bench.recorder;
    let due_us = recorder.us_of(due);
    let (sequence, answer) = {
        let mut lane = member.lane.lock();
        let answer = socket
            .timeout(ANSWER_WITHIN)
            .emit_with_ack::<Option<Received>>(member.bench.options.event(), lane.stamp(due_us));
        (lane.sent(recorder.now_us()), answer)
    };
    match answer.await {
        Ok(received) => {
            let now_us = recorder.now_us();
            recorder.record(member.index, now_us.saturating_sub(due_us));
            let size = match received {
                Some(Received::Stamped(stamp)) => stamp.size,
                Some(Received::Foreign) | None => 0,
            };
            member.lane.lock().acknowledged(sequence, size, now_us);
        }
        // It is lost, which is told by its absence.
        Err(AckError::Disconnected | AckError::Timeout) => member.lane.lock().unanswered(),
        Err(error) => {
            member.lane.lock().not_sent();
            recorder.errors.lock().add(error);
            // Whatever it is will not be better at once.
            tokio::time::sleep(AFTER_ERROR).await;
        }
    }
}

/// An answer that comes later is lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

const AFTER_ERROR: Duration = Duration::from_millis(100);

/// As with messages.
const MOST_IN_FLIGHT: u32 = 10_000;
