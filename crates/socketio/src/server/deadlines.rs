//! The one task that watches the deadlines of all sessions.
//!
//! No session has a timer of its own: an idle one costs a place in the wheel and nothing else.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shared;
use super::turn;
use super::wheel::Wheel;

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
                server.spawn(watch(Arc::downgrade(server)));
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

async fn watch(server: Weak<Shared>) {
    let mut due = Vec::new();
    loop {
        let Some(shared) = server.upgrade() else {
            return;
        };
        let next = shared.deadlines().expire(&mut due);
        let ended = next.is_none() && due.is_empty();
        {
            let _turn = turn::begin();
            let now = Instant::now();
            for session in due
                .drain(..)
                .filter_map(|key| shared.sessions().by_key(key))
            {
                session.handle_timeout(now);
            }
        }
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
