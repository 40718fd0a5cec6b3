//! What a server publishes: one connection, one queue, in order.

use socketio_proto::Printable;
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
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_postgres::error::Severity;

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
    Publish(Arc<Post>),
    /// All that was queued before is published, or given up.
    Flushed(oneshot::Sender<()>),
}

struct Post {
    channel: String,
    message: Outgoing,
}

/// So many bytes wait at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// No more is sent while the answers to so many bytes are awaited.
const WINDOW: usize = 1024 * 1024;
/// When Postgres was away, the others are given so long to listen again: servers of Node take up to three
/// seconds, ours up to two.
const RETURN: Duration = Duration::from_secs(3);
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
        let channel = channel.to_owned();
        let post = Arc::new(Post { channel, message });
        let size = post.size();
        let before = self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        if before + size > MAX_BYTES {
            self.shared.bytes.fetch_sub(size, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return Err(PublishError::Full);
        }
        let sent = self.tasks.send(Task::Publish(post));
        sent.map_err(|_| PublishError::Closed)
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

impl Post {
    fn size(&self) -> usize {
        let message = match &self.message {
            Outgoing::Notification(text) => text.len(),
            Outgoing::Row { payload, .. } => payload.len(),
        };
        self.channel.len() + message + OVERHEAD
    }
}

/// Publishes what is queued until the publisher is gone.
async fn run(this: Arc<Shared>, mut tasks: mpsc::UnboundedReceiver<Task>) {
    let mut line = None;
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            match tasks.recv().await {
                Some(task) => waiting.push_back(task),
                None => return,
            }
        }
        let (mut pause, mut was_away) = (FIRST_PAUSE, false);
        let opened = loop {
            match line.take().filter(|line: &Line| !line.client.is_closed()) {
                Some(opened) => break opened,
                None => match this.address.open().await {
                    Ok(opened) => {
                        if was_away {
                            tokio::time::sleep(RETURN).await;
                        }
                        line = Some(opened);
                    }
                    Err(error) => {
                        tracing::warn!(error = %Printable::new(&error), "cannot publish: Postgres cannot be reached");
                        if tasks.is_closed() {
                            return;
                        }
                        was_away = true;
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LAST_PAUSE);
                    }
                },
            }
        };
        match this.send(&opened, &mut waiting, &mut tasks).await {
            Ok(()) => line = Some(opened),
            Err(error) => {
                tracing::warn!(error = %Printable::new(&error), "the connection to Postgres is lost")
            }
        }
    }
}

/// What is on its way.
enum Sent<'a> {
    Post(Arc<Post>, Answer<'a>),
    Flushed(oneshot::Sender<()>),
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send + 'a>>;

impl Shared {
    /// Sends all that waits, without waiting for an answer before the next is sent.
    ///
    /// What was on its way when the connection broke may have arrived: it is not sent again, but
    /// counted. Where Postgres has said that it ends, only the one to which it said so may have.
    async fn send(
        &self,
        line: &Line,
        waiting: &mut VecDeque<Task>,
        tasks: &mut mpsc::UnboundedReceiver<Task>,
    ) -> Result<(), String> {
        let (mut sent, mut bytes) = (VecDeque::new(), 0);
        loop {
            while bytes < WINDOW
                && let Some(task) = waiting.pop_front().or_else(|| tasks.try_recv().ok())
            {
                sent.push_back(match task {
                    Task::Publish(post) => {
                        bytes += post.size();
                        let answer = self.start(line, post.clone()).await;
                        Sent::Post(post, answer)
                    }
                    Task::Flushed(sender) => Sent::Flushed(sender),
                });
            }
            let (post, answer) = match sent.pop_front() {
                Some(Sent::Post(post, answer)) => (post, answer),
                Some(Sent::Flushed(sender)) => {
                    // Who waited may be gone.
                    let _ = sender.send(());
                    continue;
                }
                None => return Ok(()),
            };
            let answer = timeout(ANSWER, answer).await;
            bytes -= post.size();
            self.forget(&post);
            let Err(failure) = Failure::of(answer, line, &self.table) else {
                continue;
            };
            self.dropped.fetch_add(1, Ordering::Relaxed);
            match failure {
                Failure::Refused(error) => {
                    if !self.has_refused.swap(true, Ordering::Relaxed) {
                        tracing::warn!(error = %Printable::new(&error), "Postgres refuses a message");
                    }
                }
                Failure::Ended(error) => {
                    let again = sent.into_iter().map(|sent| match sent {
                        Sent::Post(post, _) => Task::Publish(post),
                        Sent::Flushed(sender) => Task::Flushed(sender),
                    });
                    *waiting = again.chain(waiting.drain(..)).collect();
                    return Err(error);
                }
                Failure::Broken(error) => {
                    for sent in sent {
                        if let Sent::Post(post, _) = sent {
                            self.forget(&post);
                            self.dropped.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Sends a message; when this returns, it stands before those that are sent later.
    async fn start<'a>(&'a self, line: &'a Line, post: Arc<Post>) -> Answer<'a> {
        let mut answer: Answer<'a> = Box::pin(async move {
            let Post { channel, message } = &*post;
            self.table.publish(&line.client, channel, message).await
        });
        match poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
            Poll::Ready(done) => Box::pin(std::future::ready(done)),
            Poll::Pending => answer,
        }
    }

    fn forget(&self, post: &Post) {
        self.bytes.fetch_sub(post.size(), Ordering::Relaxed);
    }
}

/// Why a message was not published, and what becomes of those behind it.
enum Failure {
    /// They are published.
    Refused(String),
    /// They were not looked at.
    Ended(String),
    /// Nobody knows.
    Broken(String),
}

impl Failure {
    fn of(
        answer: Result<Result<(), tokio_postgres::Error>, Elapsed>,
        line: &Line,
        table: &Table,
    ) -> Result<(), Failure> {
        let error = match answer {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::Broken("no answer".to_owned())),
        };
        let text = table.explain(&error);
        let severity = error
            .as_db_error()
            .and_then(|error| error.parsed_severity());
        Err(match severity {
            Some(Severity::Fatal) => Failure::Ended(text),
            Some(_) if !line.client.is_closed() => Failure::Refused(text),
            _ => Failure::Broken(text),
        })
    }
}
