//! What a server publishes: one connection, one queue, in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::Client;
use redis::aio::MultiplexedConnection;
use socketio::cluster::PublishError;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

pub(super) struct Publisher(Arc<Shared>);

struct Shared {
    client: Client,
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
/// Redis is awaited so long.
const ANSWER: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

impl Publisher {
    pub(super) fn new(client: Client) -> Publisher {
        Publisher(Arc::new(Shared {
            client,
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
    let mut pause = FIRST_PAUSE;
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
            match this.connect().await {
                Ok(line) => {
                    connection = Some(line);
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot publish: Redis cannot be reached");
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
            tracing::warn!(%error, "the connection to Redis is lost");
            connection = None;
        }
    }
}

impl Shared {
    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let connecting = self.client.get_multiplexed_async_connection();
        match timeout(ANSWER, connecting).await {
            Ok(connection) => connection.map_err(|error| error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

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
    async fn send(&self, line: &mut MultiplexedConnection) -> Result<(), String> {
        let (mut pipe, mut asked, mut flushed) = (redis::pipe(), Vec::new(), Vec::new());
        let mut published = 0;
        {
            let mut queue = self.queue.lock();
            while published + asked.len() < MAX_BATCH {
                match queue.waiting.pop_front() {
                    Some(Task::Publish(channel, payload)) => {
                        queue.bytes -= channel.len() + payload.len() + OVERHEAD;
                        pipe.cmd("PUBLISH").arg(channel).arg(payload).ignore();
                        published += 1;
                    }
                    Some(Task::Count(channel, sender)) => {
                        pipe.cmd("PUBSUB").arg("NUMSUB").arg(channel);
                        asked.push(sender);
                    }
                    Some(Task::Flushed(sender)) => flushed.push(sender),
                    None => break,
                }
            }
        }
        if published + asked.len() > 0 {
            let sent = timeout(ANSWER, pipe.query_async::<Vec<(String, usize)>>(line)).await;
            let counts = match sent {
                Ok(Ok(counts)) => counts,
                failed => {
                    self.dropped.fetch_add(published as u64, Ordering::Relaxed);
                    let error = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer".to_owned(),
                    };
                    for sender in asked {
                        let _ = sender.send(Err(error.clone()));
                    }
                    return Err(error);
                }
            };
            for (sender, (_, count)) in asked.into_iter().zip(counts) {
                let _ = sender.send(Ok(count));
            }
        }
        for sender in flushed {
            let _ = sender.send(());
        }
        Ok(())
    }
}
