//! Ending a server so that its clients do not all come back at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use socketio_proto::socket::DisconnectReason;

use super::ending::{Close, When};
use super::session::Session;
use super::{Shared, admission, turn};

/// How often a client that has something unfinished is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often the end of a server looks whether it has come: few things hold it up, and not for long.
const BRIEF: Duration = Duration::from_millis(2);
/// The time in which a client that polls, and is alive, comes for the end.
const NEXT_POLL: Duration = Duration::from_secs(1);

/// Lets nobody in and closes the sessions one by one over the window, each when its handlers have ended
/// and its answers have come. Those who are not done by then are left to `close`.
pub(crate) async fn drain(shared: &Arc<Shared>, window: Duration) {
    shared.admission().drain();
    let start = Instant::now();
    if let Some(router) = shared.router() {
        router.leave(window);
    }
    let sessions = shared.sessions().all();
    let count = sessions.len();
    tracing::info!(clients = count, ?window, "draining");
    let mut unfinished = Vec::new();
    let mut due = sessions
        .into_iter()
        .zip(admission::spread(count, window))
        .peekable();
    while start.elapsed() < window && (due.peek().is_some() || !unfinished.is_empty()) {
        {
            let _turn = turn::begin();
            while let Some((session, _)) = due.next_if(|(_, at)| *at <= start.elapsed()) {
                unfinished.push(session);
            }
            unfinished.retain(|session| !farewell(session));
        }
        let next = due
            .peek()
            .map_or(LOOK, |(_, at)| at.saturating_sub(start.elapsed()));
        let next = next.clamp(Duration::from_millis(1), LOOK);
        let end = start + window;
        tokio::time::sleep_until((Instant::now() + next).min(end)).await;
    }
    // What is forwarded: WebSockets, and GETs, which end by themselves with the next ping.
    while start.elapsed() < window && shared.router().is_some_and(|router| router.in_flight() > 0) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until all that was begun has ended, at most for the time that closing may take; what is left
/// then is dropped.
pub(crate) async fn finish(shared: &Arc<Shared>) {
    let begin = Instant::now();
    let end = begin + shared.config().shutdown_timeout;
    while shared.is_busy(begin.elapsed() < NEXT_POLL) && Instant::now() < end {
        tokio::time::sleep_until((Instant::now() + BRIEF).min(end)).await;
    }
    shared.close_sessions(Close {
        when: When::Now,
        ..Close::because_of(DisconnectReason::ServerShuttingDown)
    });
}

/// Closes a session that has nothing unfinished; true if it is closed.
fn farewell(session: &Arc<Session>) -> bool {
    let is_done = !session.has_unfinished();
    if is_done {
        session.close(Close::because_of(DisconnectReason::ServerShuttingDown));
    }
    is_done
}
