//! What a server publishes: one connection, one queue, in order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use socketio::cluster::PublishError;
use socketio_proto::cluster::postgres::Outgoing;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::connection::{ANSWER, Address, FIRST_PAUSE, LAST_PAUSE, Line};
use super::table::Table;

/// A handle: cheap to clone. Its task ends when the last is dropped and what waits is published, or
/// cannot be.
#[derive(Clone)]
pub(super) struct Publisher {
    tasks: mpsc::UnboundedSender<Task>,
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    table: Arc<Table>,
    /// What waits, and what is on its way.
    bytes: AtomicUsize,
    dropped: AtomicU64,
    /// Whether the first message that Postgres refused has been told.
    has_refused: AtomicBool,
}

enum Task {
    Publish(String, Outgoing),
    /// All that was queued before is published, or given up.
    Flushed(oneshot::Sender<()>),
}

/// So many bytes wait at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// No more is sent while the answers to so many bytes are awaited.
const WINDOW: usize = 1024 * 1024;
/// What a message costs besides its bytes.
const OVERHEAD: usize = 128;

impl Publisher {
    /// Starts its task.
    pub(super) fn start(address: Address, table: Arc<Table>) -> Publisher {
        // Bounded by the bytes in it.
        let (tasks, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            address,
            table,
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
        });
        tokio::spawn(run(shared.clone(), receiver));
        Publisher { tasks, shared }
    }

    pub(super) fn publish(&self, channel: &str, message: Outgoing) -> Result<(), PublishError> {
        let task = Task::Publish(channel.to_owned(), message);
        let size = task.size();
        let before = self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        if before + size > MAX_BYTES {
            self.shared.bytes.fetch_sub(size, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return Err(PublishError::Full);
        }
        self.tasks.send(task).map_err(|_| PublishError::Closed)
    }

    pub(super) async fn flush(&self, within: Duration) {
        let (sender, receiver) = oneshot::channel();
        let _ = self.tasks.send(Task::Flushed(sender));
        let _ = timeout(within, receiver).await;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Task {
    fn size(&self) -> usize {
        match self {
            Task::Publish(channel, Outgoing::Notification(text)) => {
                channel.len() + text.len() + OVERHEAD
            }
            Task::Publish(channel, Outgoing::Row { payload, .. }) => {
                channel.len() + payload.len() + OVERHEAD
            }
            Task::Flushed(_) => 0,
        }
    }
}

/// Publishes what is queued until the publisher is gone.
async fn run(this: Arc<Shared>, mut tasks: mpsc::UnboundedReceiver<Task>) {
    let mut line = None;
    let mut pause = FIRST_PAUSE;
    while let Some(task) = tasks.recv().await {
        let opened = loop {
            match line.take() {
                Some(opened) => break opened,
                None => match this.address.open().await {
                    Ok(opened) => line = Some(opened),
                    Err(error) => {
                        tracing::warn!(%error, "cannot publish: Postgres cannot be reached");
                        if tasks.is_closed() {
                            return;
                        }
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LAST_PAUSE);
                    }
                },
            }
        };
        pause = FIRST_PAUSE;
        match this.send(&opened, task, &mut tasks).await {
            Ok(()) => line = Some(opened),
            Err(error) => tracing::warn!(%error, "the connection to Postgres is lost"),
        }
    }
}

/// What is on its way.
enum Sent<'a> {
    Message(usize, Answer<'a>),
    Flushed(oneshot::Sender<()>),
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send + 'a>>;

impl Shared {
    /// Sends this and all that waits, without waiting for an answer before the next is sent.
    ///
    /// What was on its way when the connection broke may have arrived: it is not sent again, but
    /// counted.
    async fn send(
        &self,
        line: &Line,
        first: Task,
        tasks: &mut mpsc::UnboundedReceiver<Task>,
    ) -> Result<(), String> {
        let (mut next, mut sent, mut bytes) = (Some(first), VecDeque::new(), 0);
        loop {
            while bytes < WINDOW
                && let Some(task) = next.take().or_else(|| tasks.try_recv().ok())
            {
                let size = task.size();
                sent.push_back(match task {
                    Task::Publish(channel, message) => {
                        bytes += size;
                        Sent::Message(size, self.start(line, channel, message).await)
                    }
                    Task::Flushed(sender) => Sent::Flushed(sender),
                });
            }
            let (size, answer) = match sent.pop_front() {
                Some(Sent::Message(size, answer)) => (size, answer),
                Some(Sent::Flushed(sender)) => {
                    // Who waited may be gone.
                    let _ = sender.send(());
                    continue;
                }
                None => return Ok(()),
            };
            let answer = timeout(ANSWER, answer).await;
            bytes -= size;
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            let (is_refused, error) = match answer {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => (!line.client.is_closed(), self.table.explain(&error)),
                Err(_) => (false, "no answer".to_owned()),
            };
            self.dropped.fetch_add(1, Ordering::Relaxed);
            if is_refused {
                if !self.has_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "Postgres refuses a message");
                }
                continue;
            }
            for sent in sent {
                if let Sent::Message(size, _) = sent {
                    self.bytes.fetch_sub(size, Ordering::Relaxed);
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            return Err(error);
        }
    }

    /// Sends a message; when this returns, it stands before those that are sent later.
    async fn start<'a>(&'a self, line: &'a Line, channel: String, message: Outgoing) -> Answer<'a> {
        let publishing = async move { self.table.publish(&line.client, &channel, &message).await };
        let mut answer: Answer<'a> = Box::pin(publishing);
        match poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
            Poll::Ready(done) => Box::pin(std::future::ready(done)),
            Poll::Pending => answer,
        }
    }
}
