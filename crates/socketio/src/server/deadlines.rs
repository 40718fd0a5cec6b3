//! The one task that watches the deadlines of all sessions.
//!
//! No session has a timer of its own: an idle one costs a place in the wheel and nothing else.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shared;
use super::ending::Close;
use super::session::Session;
use super::turn;
use super::wheel::Wheel;
use crate::application::Callback;

/// The deadlines of all sessions of a server.
#[derive(Debug)]
pub(crate) struct Deadlines {
    state: Mutex<State>,
    sooner: Notify,
}

#[derive(Debug)]
struct State {
    wheel: Wheel,
    /// What the task sleeps for; `None` while it does not run.
    until: Option<Instant>,
    running: bool,
}

impl Deadlines {
    pub(crate) fn new() -> Deadlines {
        let wheel = Wheel::new(Instant::now());
        Deadlines {
            state: Mutex::new(State {
                wheel,
                until: None,
                running: false,
            }),
            sooner: Notify::new(),
        }
    }

    /// Sets when a session is to be looked at.
    pub(crate) fn set(&self, server: &Arc<Shared>, key: u32, deadline: Instant) {
        let mut state = self.state.lock();
        state.wheel.set(key, deadline);
        if state.until.is_none_or(|until| deadline < until) {
            state.until = Some(deadline);
            if state.running {
                self.sooner.notify_one();
            } else {
                state.running = true;
                server.spawn(keep_watching(Arc::downgrade(server), watch));
            }
        }
    }

    pub(crate) fn cancel(&self, key: u32) {
        self.state.lock().wheel.remove(key);
    }

    /// Takes out what is due. `None` ends the task: there is nothing to wait for.
    fn expire(&self, due: &mut Vec<u32>) -> Option<Instant> {
        let mut state = self.state.lock();
        state.wheel.expire(Instant::now(), due);
        state.until = state.wheel.next_deadline();
        state.running = state.until.is_some() || !due.is_empty();
        state.until
    }
}

/// Watches until there is nothing to watch; should the watch itself ever panic, another one begins.
async fn keep_watching<F>(server: Weak<Shared>, watch: impl Fn(Weak<Shared>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let Some(application) = server.upgrade().map(|shared| shared.application().clone()) else {
            return;
        };
        let watching = application.run(Callback::Deadline, || Box::pin(watch(server.clone())));
        let Some(shared) = watching.await.err().and_then(|_| server.upgrade()) else {
            return;
        };
        shared.counters().deadline_restarts();
        // It may have had deadlines in hand.
        look(&shared, shared.sessions().all());
    }
}

/// Lets sessions do what is due. This is done for all clients: what panics for one must not end it.
fn look(shared: &Shared, sessions: impl IntoIterator<Item = Arc<Session>>) {
    let _turn = turn::begin();
    let now = Instant::now();
    let application = shared.application();
    for session in sessions {
        let look = || session.handle_timeout(now);
        if application.call(Callback::Deadline, look).is_err() {
            // Nobody would look at it again.
            let close = Close::broken("an internal error");
            let _ = application.call(Callback::Deadline, || session.close(close));
        }
    }
}

async fn watch(server: Weak<Shared>) {
    let mut due = Vec::new();
    loop {
        let Some(shared) = server.upgrade() else {
            return;
        };
        let next = shared.deadlines().expire(&mut due);
        let ended = next.is_none() && due.is_empty();
        let sessions = due.drain(..);
        look(
            &shared,
            sessions.filter_map(|key| shared.sessions().by_key(key)),
        );
        if ended {
            return;
        }
        let deadlines = shared.deadlines().clone();
        drop(shared);
        let sooner = deadlines.sooner.notified();
        match next {
            // A session that was due may have set a new deadline, or none is left.
            None => tokio::task::yield_now().await,
            Some(next) => {
                let sleep = tokio::time::sleep_until(next.into());
                futures_util::future::select(std::pin::pin!(sleep), std::pin::pin!(sooner)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::Server;

    use super::*;

    #[tokio::test]
    async fn a_watch_that_panics_begins_again_and_is_counted() {
        let io = Server::new();
        let begun = Arc::new(AtomicU32::new(0));
        let count = begun.clone();
        keep_watching(Arc::downgrade(&io.shared), move |_| {
            let count = count.clone();
            async move {
                let before = count.fetch_add(1, Ordering::Relaxed);
                assert!(before >= 2, "on purpose");
            }
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        assert_eq!((io.stats().deadline_restarts, io.stats().panics), (2, 2));
    }
}
