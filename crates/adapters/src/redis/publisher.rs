//! What a server publishes: one connection, one queue, in order.

use socketio_proto::Printable;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use socketio::cluster::PublishError;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::line::{ANSWER, Backend, FIRST_PAUSE, LAST_PAUSE, Line, SETTLED};
use super::master::Master;

pub(super) struct Publisher(Arc<Shared>);

struct Shared {
    backend: Backend,
    /// The commands that publish and count.
    verbs: [&'static str; 2],
    queue: Mutex<Queue>,
    wake: Notify,
    dropped: AtomicU64,
    is_started: AtomicBool,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Task>,
    bytes: usize,
}

enum Task {
    Publish(String, Vec<u8>),
    /// How many listen to a channel.
    Count(String, oneshot::Sender<Result<usize, String>>),
    /// All that was queued before is published.
    Flushed(oneshot::Sender<()>),
}

/// So many bytes wait at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// So many commands are sent at once at most.
const MAX_BATCH: usize = 1000;
/// What a message costs besides its bytes.
const OVERHEAD: usize = 64;

impl Publisher {
    pub(super) fn new(master: Master) -> Publisher {
        Publisher::with(Backend::Single(master), ["PUBLISH", "NUMSUB"])
    }

    /// One for shard channels.
    pub(super) fn sharded(backend: Backend) -> Publisher {
        Publisher::with(backend, ["SPUBLISH", "SHARDNUMSUB"])
    }

    fn with(backend: Backend, verbs: [&'static str; 2]) -> Publisher {
        Publisher(Arc::new(Shared {
            backend,
            verbs,
            queue: Mutex::default(),
            wake: Notify::new(),
            dropped: AtomicU64::new(0),
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

    pub(super) fn publish(&self, channel: String, payload: Vec<u8>) -> Result<(), PublishError> {
        let size = channel.len() + payload.len() + OVERHEAD;
        {
            let mut queue = self.0.queue.lock();
            if queue.bytes + size > MAX_BYTES {
                drop(queue);
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
                return Err(PublishError::Full);
            }
            queue.bytes += size;
            queue.waiting.push_back(Task::Publish(channel, payload));
        }
        self.0.wake.notify_one();
        Ok(())
    }

    /// The number of connections that listen to a channel.
    pub(super) async fn subscribers(&self, channel: &str) -> Result<usize, String> {
        let (sender, receiver) = oneshot::channel();
        self.push(Task::Count(channel.to_owned(), sender));
        let late = || "Redis does not answer".to_owned();
        let answer = timeout(ANSWER, receiver).await.map_err(|_| late())?;
        answer.map_err(|_| late())?
    }

    pub(super) async fn flush(&self, within: Duration) {
        let (sender, receiver) = oneshot::channel();
        self.push(Task::Flushed(sender));
        let _ = timeout(within, receiver).await;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, task: Task) {
        self.0.queue.lock().waiting.push_back(task);
        self.0.wake.notify_one();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

/// Publishes what is queued until the publisher is gone.
async fn run(this: Arc<Shared>) {
    let mut connection = None;
    let (mut pause, mut was_away) = (FIRST_PAUSE, false);
    loop {
        let is_idle = this.queue.lock().waiting.is_empty();
        if is_idle {
            if this.is_closed.load(Ordering::Acquire) {
                return;
            }
            this.wake.notified().await;
            continue;
        }
        let Some(line) = &mut connection else {
            match this.backend.connect().await {
                Ok(line) => {
                    connection = Some(line);
                    pause = FIRST_PAUSE;
                    // Most likely Redis was away for all servers, and what waits is for them. A Redis
                    // Cluster loses one node of several, and nothing waits for that one.
                    if was_away && matches!(this.backend, Backend::Single(_)) {
                        tokio::time::sleep(SETTLED).await;
                    }
                    was_away = false;
                }
                Err(error) => {
                    tracing::warn!(error = %Printable::new(&error), "cannot publish: Redis cannot be reached");
                    was_away = true;
                    if this.is_closed.load(Ordering::Acquire) {
                        return;
                    }
                    this.refuse_counts(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
            continue;
        };
        if let Err(error) = this.send(line).await {
            tracing::warn!(error = %Printable::new(&error), "the connection to Redis is lost");
            connection = None;
            was_away = true;
        }
    }
}

impl Shared {
    /// Questions are not worth a wait for Redis.
    fn refuse_counts(&self, error: &str) {
        let mut queue = self.queue.lock();
        for task in std::mem::take(&mut queue.waiting) {
            match task {
                Task::Count(_, sender) => drop(sender.send(Err(error.to_owned()))),
                other => queue.waiting.push_back(other),
            }
        }
    }

    /// Sends what waits in one piece. What was on its way when the connection broke may have arrived:
    /// it is not sent again.
    async fn send(&self, line: &mut Line) -> Result<(), String> {
        let (mut messages, mut asked, mut flushed) = (Vec::new(), Vec::new(), Vec::new());
        {
            let mut queue = self.queue.lock();
            while messages.len() + asked.len() < MAX_BATCH {
                match queue.waiting.pop_front() {
                    Some(Task::Publish(channel, payload)) => {
                        queue.bytes -= channel.len() + payload.len() + OVERHEAD;
                        messages.push((channel, payload));
                    }
                    Some(Task::Count(channel, sender)) => asked.push((channel, sender)),
                    Some(Task::Flushed(sender)) => flushed.push(sender),
                    None => break,
                }
            }
        }
        let [publish, count] = self.verbs;
        if !messages.is_empty()
            && let Err((error, lost)) = line.publish(publish, messages).await
        {
            self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            for (_, sender) in asked {
                let _ = sender.send(Err(error.clone()));
            }
            return Err(error);
        }
        let counted = join_all(asked.iter().map(|(channel, _)| {
            let mut line = line.clone();
            async move { line.count(count, channel).await }
        }))
        .await;
        let mut result = Ok(());
        for ((_, sender), counted) in asked.into_iter().zip(counted) {
            if let Err(error) = &counted {
                result = Err(error.clone());
            }
            // Whoever asked may wait no longer.
            let _ = sender.send(counted);
        }
        for sender in flushed {
            let _ = sender.send(());
        }
        result
    }
}
