//! What a server writes: one connection, one queue, in order, each thing once.
//!
//! When a connection breaks, nobody knows what of the last batch was done. So a batch has a number,
//! and a script, which Redis does whole or not at all, does none that has been done: it is sent until
//! Redis answers.

use socketio_proto::Printable;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use socketio::cluster::{KeptClient, PublishError};
use socketio_proto::cluster::streams::session_key;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::line::{ANSWER, connect};
use super::reader::Stream;
use crate::redis::master::Master;

pub(super) struct Writer(Arc<Shared>);

struct Shared {
    master: Master,
    /// Where Redis keeps the number of the last batch.
    marker: String,
    session_prefix: Box<str>,
    queue: Mutex<Queue>,
    wake: Notify,
    dropped: AtomicU64,
    is_started: AtomicBool,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Task>,
    /// Of the commands that wait and those on their way.
    bytes: usize,
}

enum Task {
    Command(Vec<Vec<u8>>),
    /// A client to be written as it is when this is done. Each waits once at most.
    Keep(Arc<KeptClient>),
    /// A stream is read from here on: its server's own messages are in it from the next one on.
    Start(Arc<Stream>),
    Flushed(oneshot::Sender<()>),
}

/// What is sent at once.
#[derive(Default)]
struct Batch {
    number: u64,
    words: Vec<Vec<u8>>,
    commands: usize,
    size: usize,
    flushed: Vec<oneshot::Sender<()>>,
}

const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_COMMANDS: usize = 128;
/// Redis does nothing else while it does a batch.
const MAX_BATCH: usize = 1024 * 1024;
/// What a queued word takes besides its bytes.
const OVERHEAD: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
const SCRIPT: &str = include_str!("batch.lua");

impl Writer {
    pub(super) fn new(master: Master, marker: String, session_prefix: &str) -> Writer {
        Writer(Arc::new(Shared {
            master,
            marker,
            session_prefix: session_prefix.into(),
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

    /// Queues a command.
    pub(super) fn command(&self, words: Vec<Vec<u8>>) -> Result<(), PublishError> {
        let size = size(&words);
        {
            let mut queue = self.0.queue.lock();
            if queue.bytes + size > MAX_BYTES {
                drop(queue);
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
                return Err(PublishError::Full);
            }
            queue.bytes += size;
            queue.waiting.push_back(Task::Command(words));
        }
        self.0.wake.notify_one();
        Ok(())
    }

    pub(super) fn keep(&self, client: Arc<KeptClient>) {
        self.push(Task::Keep(client));
    }

    pub(super) fn begin(&self, stream: Arc<Stream>) {
        self.push(Task::Start(stream));
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

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

/// What is on its way.
enum Work {
    Batch(Batch),
    Start(Arc<Stream>),
}

/// Writes what is queued until the writer is gone.
async fn run(this: Arc<Shared>) {
    let (mut connection, mut work, mut number) = (None, None, 0);
    let mut pause = FIRST_PAUSE;
    loop {
        let current = match work.take().or_else(|| this.next(&mut number)) {
            Some(current) => current,
            None if this.is_closed.load(Ordering::Acquire) => return,
            None => {
                this.wake.notified().await;
                continue;
            }
        };
        match this.attempt(&mut connection, &current).await {
            Ok(()) => {
                pause = FIRST_PAUSE;
                if let Work::Batch(batch) = current {
                    this.queue.lock().bytes -= batch.size;
                    for sender in batch.flushed {
                        let _ = sender.send(());
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = %Printable::new(&error), "cannot write to Redis");
                connection = None;
                if this.is_closed.load(Ordering::Acquire) {
                    return;
                }
                work = Some(current);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

impl Shared {
    /// Takes what can be sent at once out of the queue.
    fn next(&self, number: &mut u64) -> Option<Work> {
        let mut batch = Batch::default();
        while batch.commands < MAX_COMMANDS && batch.size < MAX_BATCH {
            // Clients are asked for their changes outside the lock.
            let task = {
                let mut queue = self.queue.lock();
                let is_start = matches!(queue.waiting.front(), Some(Task::Start(_)));
                if is_start && !batch.is_empty() {
                    break;
                }
                queue.waiting.pop_front()
            };
            match task {
                Some(Task::Command(words)) => {
                    batch.size += size(&words);
                    batch.push(words);
                }
                Some(Task::Keep(client)) => {
                    if let Some(words) = self.kept(&client) {
                        batch.push(words);
                    }
                }
                Some(Task::Start(stream)) => return Some(Work::Start(stream)),
                Some(Task::Flushed(sender)) => batch.flushed.push(sender),
                None => break,
            }
        }
        if batch.is_empty() {
            return None;
        }
        *number += 1;
        batch.number = *number;
        Some(Work::Batch(batch))
    }

    /// What is to be written of a client.
    fn kept(&self, client: &KeptClient) -> Option<Vec<Vec<u8>>> {
        let change = client.take_change()?;
        let (value, lifetime) = match change.session {
            Some((session, lifetime)) => (Some(session.encode()), lifetime),
            None => (None, Duration::ZERO),
        };
        let before = client.set_stored(value.clone());
        if value.is_none() && before.is_none() {
            return None;
        }
        let anew = if change.is_alive { "anew" } else { "" };
        let words = [
            "KEEP",
            &session_key(&self.session_prefix, client.pid()),
            before.as_deref().unwrap_or_default(),
            value.as_deref().unwrap_or_default(),
            &lifetime.as_millis().max(1).to_string(),
            anew,
        ];
        Some(words.map(|word| word.as_bytes().to_vec()).to_vec())
    }

    /// Does the work, unless that was done before.
    async fn attempt(
        &self,
        connection: &mut Option<MultiplexedConnection>,
        work: &Work,
    ) -> Result<(), String> {
        let line = match connection {
            Some(line) => line,
            None => connection.insert(connect(&self.master).await?),
        };
        match work {
            Work::Start(stream) => stream.start(line).await,
            // There is nothing in it but somebody who waits.
            Work::Batch(batch) if batch.commands == 0 => Ok(()),
            Work::Batch(batch) => {
                let mut eval = redis::cmd("EVAL");
                eval.arg(SCRIPT).arg(1).arg(&self.marker).arg(batch.number);
                eval.arg(&batch.words);
                let wrong = timeout(ANSWER, eval.query_async::<Vec<String>>(line)).await;
                let wrong = wrong.map_err(|_| "no answer".to_owned())?;
                let wrong = wrong.map_err(|error| error.to_string())?;
                if let Some(error) = wrong.first() {
                    tracing::warn!(count = wrong.len(), error = %Printable::new(&error), "Redis refuses messages");
                }
                self.dropped
                    .fetch_add(wrong.len() as u64, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.commands == 0 && self.flushed.is_empty()
    }

    fn push(&mut self, words: Vec<Vec<u8>>) {
        self.commands += 1;
        self.words.push(words.len().to_string().into_bytes());
        self.words.extend(words);
    }
}

fn size(words: &[Vec<u8>]) -> usize {
    words.iter().map(|word| word.len() + OVERHEAD).sum()
}
