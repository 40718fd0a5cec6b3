//! Ending a server so that its clients do not all come back at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use socketio_proto::socket::DisconnectReason;

use super::session::Session;
use super::{Shared, admission, turn};

/// How often a client that has something unfinished is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Lets nobody in, closes the sessions one by one over the window, each when its handlers have ended
/// and its answers have come, and at the end of the window in any case.
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
    // Those who came before the doors were closed, and those who are not done.
    shared.close_sessions_softly();
}

/// Closes a session that has nothing unfinished; true if it is closed.
fn farewell(session: &Arc<Session>) -> bool {
    let is_done = !session.has_unfinished();
    if is_done {
        session.close_because_of(DisconnectReason::ServerShuttingDown);
    }
    is_done
}
