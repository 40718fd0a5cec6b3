//! What a server hears: one connection for all namespaces, which comes back by itself.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use parking_lot::Mutex;
use socketio::cluster::Inbox;
use socketio_proto::cluster::postgres::{Header, Outgoing};
use socketio_proto::cluster::{Body, Limits, Message, Uid};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{AsyncMessage, Client, Notification};

use super::connection::{ANSWER, Address, Connection, FIRST_PAUSE, LAST_PAUSE, explain};
use super::publisher::Publisher;
use super::table::{Table, quoted};

/// A namespace of a server.
pub(super) struct Member {
    pub(super) nsp: String,
    pub(super) uid: Uid,
    pub(super) channel: String,
    pub(super) inbox: Arc<dyn Inbox>,
}

/// Listens until it is dropped.
pub(super) struct Subscriber(Arc<Shared>);

struct Shared {
    address: Address,
    table: Arc<Table>,
    publisher: Publisher,
    /// By their channels.
    members: Mutex<HashMap<String, Vec<Arc<Member>>>>,
    changed: Notify,
    is_closed: AtomicBool,
}

/// So often Postgres is asked whether it is there.
const PING: Duration = Duration::from_secs(10);
/// So many rows are read at once.
const MAX_READS: usize = 16;
/// So many bytes of notifications wait at most for rows that stand before them.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What a notification costs besides its bytes.
const OVERHEAD: usize = 256;

impl Subscriber {
    /// Starts its task.
    pub(super) fn start(address: Address, table: Arc<Table>, publisher: Publisher) -> Subscriber {
        let shared = Arc::new(Shared {
            address,
            table,
            publisher,
            members: Mutex::default(),
            changed: Notify::new(),
            is_closed: AtomicBool::new(false),
        });
        tokio::spawn(run(shared.clone()));
        Subscriber(shared)
    }

    pub(super) fn add(&self, member: Arc<Member>) {
        let mut members = self.0.members.lock();
        let channel = member.channel.clone();
        members.entry(channel).or_default().push(member);
        self.0.changed.notify_one();
    }

    pub(super) fn remove(&self, member: &Arc<Member>) {
        let mut members = self.0.members.lock();
        if let Some(all) = members.get_mut(&member.channel) {
            all.retain(|other| !Arc::ptr_eq(other, member));
            if all.is_empty() {
                members.remove(&member.channel);
            }
        }
        self.0.changed.notify_one();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.changed.notify_one();
    }
}

async fn run(this: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    while !this.is_closed.load(Ordering::Acquire) {
        let error = match this.address.connect().await {
            Ok((client, connection)) => match this.listen(&client, connection, &mut pause).await {
                Ok(()) => return,
                Err(error) => error,
            },
            Err(error) => error,
        };
        tracing::warn!(%error, "does not hear the other servers through Postgres");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

impl Shared {
    /// Hands on what comes until the connection ends, or the subscriber.
    async fn listen(
        &self,
        client: &Client,
        mut connection: Connection,
        pause: &mut Duration,
    ) -> Result<(), String> {
        let line = &Listening {
            client,
            has_spoken: AtomicBool::new(false),
        };
        let mut wishes = pin!(self.follow(line, pause));
        let permits = Semaphore::new(MAX_READS);
        // In the order in which it came.
        let mut waiting = FuturesOrdered::new();
        let mut bytes = 0;
        loop {
            tokio::select! {
                ended = &mut wishes => return ended,
                Some(read) = waiting.next() => {
                    let Read { channel, size, message, _permit } = read;
                    bytes -= size;
                    self.hand(&channel, message);
                }
                message = poll_fn(|cx| connection.poll_message(cx)) => {
                    line.has_spoken.store(true, Ordering::Relaxed);
                    let notification = match message {
                        Some(Ok(AsyncMessage::Notification(notification))) => notification,
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => return Err(explain(&error)),
                        None => return Err("the connection is closed".to_owned()),
                    };
                    let Some(heard) = self.hear(&notification) else {
                        continue;
                    };
                    let channel = notification.channel();
                    let size = notification.payload().len() + OVERHEAD;
                    match heard {
                        Heard::Message(message) if waiting.is_empty() => {
                            self.hand(channel, Some(message));
                        }
                        _ if bytes + size > MAX_BYTES => self.hand(channel, None),
                        heard => {
                            bytes += size;
                            waiting.push_back(self.read(line, &permits, channel.to_owned(), size, heard));
                        }
                    }
                }
            }
        }
    }

    /// Listens to the channels of those who are there, and asks from time to time whether Postgres is.
    async fn follow(&self, line: &Listening<'_>, pause: &mut Duration) -> Result<(), String> {
        let mut listened: HashSet<String> = HashSet::new();
        let mut greeted: HashSet<Uid> = HashSet::new();
        let mut pings = interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.is_closed.load(Ordering::Acquire) {
                return Ok(());
            }
            let members: Vec<_> = self.members.lock().values().flatten().cloned().collect();
            let wanted: HashSet<_> = members
                .iter()
                .map(|member| member.channel.clone())
                .collect();
            let added = wanted.difference(&listened).map(|name| ("LISTEN", name));
            let removed = listened.difference(&wanted).map(|name| ("UNLISTEN", name));
            let statements = added
                .chain(removed)
                .map(|(verb, name)| format!("{verb} {}", quoted(name)))
                .collect::<Vec<_>>();
            if !statements.is_empty() {
                line.answer(line.client.batch_execute(&statements.join(";")))
                    .await?;
                listened = wanted;
            }
            // Who says before that it is there may not hear the answers.
            for member in &members {
                if !greeted.contains(&member.uid) {
                    member.greet(&self.publisher);
                }
            }
            greeted = members.iter().map(|member| member.uid.clone()).collect();
            *pause = FIRST_PAUSE;
            tokio::select! {
                () = self.changed.notified() => {}
                // A network that is cut tells nobody.
                _ = pings.tick() => line.answer(line.client.check_connection()).await?,
            }
        }
    }

    /// Reads a notification, unless it is a server's own.
    fn hear(&self, notification: &Notification) -> Option<Heard> {
        let members = self.members(notification.channel());
        let nsp = &members.first()?.nsp;
        let payload = notification.payload();
        let heard = Header::decode(payload).and_then(|header| {
            let is_own = |member: &Arc<Member>| header.uid.as_ref() == Some(&member.uid);
            if members.iter().all(is_own) {
                return Ok(None);
            }
            Ok(Some(match header.row {
                Some(id) => Heard::Row(id, nsp.clone()),
                None => {
                    let limits = Limits::default();
                    Heard::Message(Message::decode(payload.as_bytes(), nsp, &limits)?)
                }
            }))
        });
        heard.unwrap_or_else(|_| {
            self.hand(notification.channel(), None);
            None
        })
    }

    async fn read<'a>(
        &self,
        line: &Listening<'_>,
        permits: &'a Semaphore,
        channel: String,
        size: usize,
        heard: Heard,
    ) -> Read<'a> {
        let (message, permit) = match heard {
            Heard::Message(message) => (Some(message), None),
            Heard::Row(id, nsp) => {
                let permit = permits.acquire().await.ok();
                (self.row(line, id, &nsp).await, permit)
            }
        };
        Read {
            channel,
            size,
            message,
            _permit: permit,
        }
    }

    async fn row(&self, line: &Listening<'_>, id: i64, nsp: &str) -> Option<Message> {
        let row = match line.answer(self.table.read(line.client, id)).await {
            Ok(Some(row)) => row,
            Ok(None) => {
                tracing::debug!(id, "a message was removed before it was read");
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read a message from Postgres");
                return None;
            }
        };
        Message::decode(&row, nsp, &Limits::default()).ok()
    }

    /// Hands a message on, or counts what is none.
    fn hand(&self, channel: &str, message: Option<Message>) {
        for member in self.members(channel) {
            match &message {
                Some(message) if message.nsp != member.nsp => member.inbox.reject(),
                Some(message) if message.uid != member.uid => {
                    member.inbox.receive(message.clone());
                }
                Some(_) => {}
                None => member.inbox.reject(),
            }
        }
    }

    fn members(&self, channel: &str) -> Vec<Arc<Member>> {
        let members = self.members.lock();
        members.get(channel).cloned().unwrap_or_default()
    }
}

/// A connection on which notifications come, and answers behind them.
struct Listening<'a> {
    client: &'a Client,
    /// Since it was last looked at.
    has_spoken: AtomicBool,
}

impl Listening<'_> {
    /// Waits for an answer, as long as anything comes within the deadline.
    async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, String> {
        let mut answer = pin!(answer);
        loop {
            match timeout(ANSWER, &mut answer).await {
                Ok(answer) => return answer.map_err(|error| explain(&error)),
                Err(_) if self.has_spoken.swap(false, Ordering::Relaxed) => {}
                Err(_) => return Err("no answer".to_owned()),
            }
        }
    }
}

enum Heard {
    Message(Message),
    /// In a row, for a namespace.
    Row(i64, String),
}

/// What is handed on next.
struct Read<'a> {
    channel: String,
    size: usize,
    /// Nothing, if it could not be read.
    message: Option<Message>,
    /// For a row, until it is handed on: no more than so many are in memory.
    _permit: Option<SemaphorePermit<'a>>,
}

impl Member {
    /// Says that it is there, so that the others say so, too.
    fn greet(&self, publisher: &Publisher) {
        let hello = Message {
            uid: self.uid.clone(),
            nsp: self.nsp.clone(),
            body: Body::InitialHeartbeat,
        };
        // If it is refused, the next heartbeat says so.
        let _ = publisher.publish(&self.channel, Outgoing::new(&hello));
    }
}
