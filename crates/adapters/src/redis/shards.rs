//! What a server hears on shard channels: which are subscribed to changes with its rooms.
//!
//! Redis, its connection and the application each change subscriptions at any time. So nothing here
//! follows single changes: a channel of which anything has changed is brought to what is wanted.

use socketio_proto::Printable;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::line::{Backend, FIRST_PAUSE, LAST_PAUSE, Line};
use super::subscriber::Listener;

pub(super) struct Shards(Arc<Shared>);

struct Shared {
    backend: Backend,
    state: Mutex<State>,
    wake: Notify,
    is_started: AtomicBool,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// By their channels. Namespaces and rooms may have one of the same name.
    wanted: HashMap<String, Vec<Arc<dyn Listener>>>,
    /// The channels of which it is not sure that they are as wanted.
    changed: HashSet<String>,
}

/// So many subscriptions change at once at most.
const MAX_BATCH: usize = 100;
/// So often Redis is asked whether it is there.
const PING: Duration = Duration::from_secs(10);

impl Shards {
    pub(super) fn new(backend: Backend) -> Shards {
        Shards(Arc::new(Shared {
            backend,
            state: Mutex::default(),
            wake: Notify::new(),
            is_started: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// Starts its task, which ends when this is dropped.
    pub(super) fn start(&self) {
        if !self.0.is_started.swap(true, Ordering::AcqRel) {
            tokio::spawn(run(self.0.clone()));
        }
    }

    /// Subscribes to a channel, or no longer, as `wants` says.
    ///
    /// It is asked under a lock: of two calls at once, the later one decides.
    pub(super) fn set(
        &self,
        channel: String,
        listener: &Arc<dyn Listener>,
        wants: impl FnOnce() -> bool,
    ) {
        let mut state = self.0.state.lock();
        let was_wanted = state.wanted.contains_key(&channel);
        let listeners = state.wanted.entry(channel.clone()).or_default();
        let place = listeners.iter().position(|l| Arc::ptr_eq(l, listener));
        match (wants(), place) {
            (true, None) => listeners.push(listener.clone()),
            (false, Some(place)) => drop(listeners.swap_remove(place)),
            _ => {}
        }
        let is_wanted = !listeners.is_empty();
        if !is_wanted {
            state.wanted.remove(&channel);
        }
        if is_wanted != was_wanted {
            state.changed.insert(channel);
            drop(state);
            self.0.wake.notify_one();
        }
    }

    /// Ends all that a listener is told.
    pub(super) fn remove(&self, listener: &Arc<dyn Listener>) {
        let mut state = self.0.state.lock();
        let State { wanted, changed } = &mut *state;
        wanted.retain(|channel, listeners| {
            listeners.retain(|l| !Arc::ptr_eq(l, listener));
            if listeners.is_empty() {
                changed.insert(channel.clone());
            }
            !listeners.is_empty()
        });
        drop(state);
        self.0.wake.notify_one();
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

/// Listens until the shards are gone.
async fn run(this: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    while !this.is_closed() {
        let lost = Arc::new(AtomicBool::new(false));
        let (shared, told) = (this.clone(), lost.clone());
        let pushes = move |push: PushInfo| {
            shared.handle(push, &told);
            Ok::<_, ()>(())
        };
        match this.backend.listen(pushes).await {
            Ok(line) => {
                this.state.lock().all_changed();
                let is_settled = this.listen(line, &lost).await;
                if this.is_closed() {
                    return;
                }
                tracing::warn!("the subscription to Redis is lost");
                if is_settled {
                    pause = FIRST_PAUSE;
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(error = %Printable::new(&error), "cannot listen: Redis cannot be reached")
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

impl State {
    fn all_changed(&mut self) {
        self.changed.extend(self.wanted.keys().cloned());
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Takes what Redis says unasked. Never blocks.
    fn handle(&self, push: PushInfo, lost: &AtomicBool) {
        match (push.kind, &push.data[..]) {
            (PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                let Ok(channel) = std::str::from_utf8(channel) else {
                    return;
                };
                let listeners = self.state.lock().wanted.get(channel).cloned();
                for listener in listeners.unwrap_or_default() {
                    listener.handle(channel, payload);
                }
            }
            // Either it was asked for, or the channel's slot has moved to another node.
            (PushKind::SUnsubscribe, [Value::BulkString(channel), ..]) => {
                let mut state = self.state.lock();
                if let Ok(channel) = std::str::from_utf8(channel)
                    && state.wanted.contains_key(channel)
                {
                    state.changed.insert(channel.to_owned());
                    self.wake.notify_one();
                }
            }
            (PushKind::Disconnection, _) => {
                match self.backend {
                    Backend::Single(_) => lost.store(true, Ordering::Release),
                    // The connection to one node, which comes back by itself.
                    Backend::Cluster(_) => self.state.lock().all_changed(),
                }
                self.wake.notify_one();
            }
            _ => {}
        }
    }

    /// Listens until the connection ends; says whether it had subscribed to all.
    async fn listen(&self, mut line: Line, lost: &AtomicBool) -> bool {
        let mut pings = tokio::time::interval(PING);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut is_settled, mut pause) = (false, FIRST_PAUSE);
        while !self.is_closed() && !lost.load(Ordering::Acquire) {
            let changes = self.changes();
            if !changes.is_empty() {
                if let Err(error) = self.change(&line, changes).await {
                    tracing::warn!(error = %Printable::new(&error), "cannot listen: Redis, or a node of it, does not let us");
                    if matches!(line, Line::Single(_)) {
                        return is_settled;
                    }
                    // One node of several: the channels of the others stay subscribed.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                continue;
            }
            (is_settled, pause) = (true, FIRST_PAUSE);
            tokio::select! {
                () = self.wake.notified() => {}
                // A network that is cut tells nobody.
                _ = pings.tick() => {
                    if line.command::<Value>(&redis::cmd("PING")).await.is_err() {
                        return true;
                    }
                }
            }
        }
        is_settled
    }

    /// The channels that have changed, and whether they are wanted.
    fn changes(&self) -> Vec<(String, bool)> {
        let mut state = self.state.lock();
        let changed = std::mem::take(&mut state.changed);
        let is_wanted = |channel: &String| state.wanted.contains_key(channel);
        let changes = changed.into_iter().map(|channel| {
            let is_wanted = is_wanted(&channel);
            (channel, is_wanted)
        });
        changes.collect()
    }

    /// Subscribes and unsubscribes; what fails has still to be done.
    async fn change(&self, line: &Line, changes: Vec<(String, bool)>) -> Result<(), String> {
        let mut result = Ok(());
        for some in changes.chunks(MAX_BATCH) {
            let done = join_all(some.iter().map(|(channel, is_wanted)| {
                let mut command = redis::cmd(match is_wanted {
                    true => "SSUBSCRIBE",
                    false => "SUNSUBSCRIBE",
                });
                // One by one: the channels of a command have to be on one node.
                command.arg(channel);
                let mut line = line.clone();
                async move { line.command::<Value>(&command).await }
            }))
            .await;
            for ((channel, _), done) in some.iter().zip(done) {
                if let Err(error) = done {
                    self.state.lock().changed.insert(channel.clone());
                    result = Err(error);
                }
            }
        }
        result
    }
}
