//! What a server hears: one connection for all namespaces, which comes back by itself.

use socketio_proto::Printable;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use parking_lot::Mutex;
use socketio::cluster::{Inbox, Rejected};
use socketio_proto::cluster::postgres::{Header, Outgoing};
use socketio_proto::cluster::{Body, Limits, Message, Uid};
use tokio::sync::Notify;
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
    /// Whether the first row that could not be read has been told.
    has_failed: AtomicBool,
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
            has_failed: AtomicBool::new(false),
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
        tracing::warn!(error = %Printable::new(&error), "does not hear the other servers through Postgres");
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
            messages: AtomicU64::new(0),
        };
        let mut wishes = pin!(self.follow(line, pause));
        // What came behind a row waits for it; of that, what is being read, and what comes then.
        let (mut reading, mut rows) = (FuturesOrdered::new(), 0);
        let (mut waiting, mut bytes) = (VecDeque::<Heard>::new(), 0);
        let error = loop {
            while rows < MAX_READS
                && let Some(heard) = waiting.pop_front()
            {
                rows += usize::from(heard.row.is_some());
                reading.push_back(self.read(line, heard));
            }
            tokio::select! {
                ended = &mut wishes => match ended {
                    Ok(()) => return Ok(()),
                    Err(error) => break error,
                },
                Some(read) = reading.next() => {
                    rows -= usize::from(read.row.is_some());
                    bytes -= read.size;
                    self.hand(&read.channel, &read.message);
                }
                message = poll_fn(|cx| connection.poll_message(cx)) => {
                    line.messages.fetch_add(1, Ordering::Relaxed);
                    let notification = match message {
                        Some(Ok(AsyncMessage::Notification(notification))) => notification,
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => break explain(&error),
                        None => break "the connection is closed".to_owned(),
                    };
                    match self.hear(&notification) {
                        None => {}
                        Some(heard) if heard.row.is_none() && reading.is_empty() => {
                            self.hand(&heard.channel, &heard.message);
                        }
                        Some(heard) if bytes + heard.size > MAX_BYTES => {
                            let reason = "too many wait to be read";
                            let rejected = Rejected::new(&heard.channel, None, &reason);
                            self.hand(&heard.channel, &Err(rejected));
                        }
                        Some(heard) => {
                            bytes += heard.size;
                            waiting.push_back(heard);
                        }
                    }
                }
            }
        };
        // What has come is handed on; rows that have not are counted.
        drop(connection);
        while let Some(read) = reading.next().await {
            self.hand(&read.channel, &read.message);
        }
        for heard in waiting {
            self.hand(&heard.channel, &heard.message);
        }
        Err(error)
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
        let (channel, payload) = (notification.channel(), notification.payload());
        let members = self.members(channel);
        let nsp = &members.first()?.nsp;
        let mut heard = Heard {
            channel: channel.to_owned(),
            size: payload.len() + OVERHEAD,
            row: None,
            message: Err(Rejected::new(channel, None, &"its row was not read")),
        };
        let reject = |error| Rejected::message(channel, payload.as_bytes(), &error);
        match Header::decode(payload) {
            Ok(header) => {
                let is_own = |member: &Arc<Member>| header.uid.as_ref() == Some(&member.uid);
                if members.iter().all(is_own) {
                    return None;
                }
                heard.row = header.row.map(|id| (id, nsp.clone()));
                if heard.row.is_none() {
                    let limits = Limits::default();
                    let message = Message::decode(payload.as_bytes(), nsp, &limits);
                    heard.message = message.map_err(reject);
                }
            }
            Err(error) => heard.message = Err(reject(error)),
        }
        Some(heard)
    }

    /// Reads the message if it is in a row.
    async fn read(&self, line: &Listening<'_>, mut heard: Heard) -> Heard {
        let Some((id, nsp)) = &heard.row else {
            return heard;
        };
        let row = line.answer(self.table.read(line.client, *id)).await;
        match row {
            Ok(Some(row)) => {
                let message = Message::decode(&row, nsp, &Limits::default());
                let reject = |error| Rejected::message(&heard.channel, &row, &error);
                heard.message = message.map_err(reject);
            }
            Ok(None) => {
                tracing::debug!(id, "a message was removed before it was read");
                let reason = "its row was removed before it was read";
                heard.message = Err(Rejected::new(&heard.channel, None, &reason));
            }
            Err(error) => {
                tracing::debug!(id, error, "a message was not read");
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error, "cannot read messages from Postgres");
                }
            }
        }
        heard
    }

    /// Hands a message on, or counts what is none.
    fn hand(&self, channel: &str, message: &Result<Message, Rejected>) {
        for member in self.members(channel) {
            match message {
                Ok(message) if message.nsp != member.nsp => {
                    let (sender, reason) = (message.uid.as_str(), "`nsp` is another namespace");
                    let rejected = Rejected::new(channel, Some(sender), &reason);
                    member.inbox.reject(&rejected);
                }
                Ok(message) if message.uid != member.uid => {
                    member.inbox.receive(message.clone());
                }
                Ok(_) => {}
                Err(rejected) => member.inbox.reject(rejected),
            }
        }
    }

    fn members(&self, channel: &str) -> Vec<Arc<Member>> {
        let members = self.members.lock();
        members.get(channel).cloned().unwrap_or_default()
    }
}

/// What came, or is to be read.
struct Heard {
    channel: String,
    size: usize,
    /// Where the message is, and its namespace.
    row: Option<(i64, String)>,
    message: Result<Message, Rejected>,
}

/// A connection on which notifications come, and answers behind them.
struct Listening<'a> {
    client: &'a Client,
    /// How many came.
    messages: AtomicU64,
}

impl Listening<'_> {
    /// Waits for an answer, as long as anything comes within the deadline.
    async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, String> {
        let mut answer = pin!(answer);
        let mut before = self.messages.load(Ordering::Relaxed);
        loop {
            if let Ok(answer) = timeout(ANSWER, &mut answer).await {
                return answer.map_err(|error| explain(&error));
            }
            let now = self.messages.load(Ordering::Relaxed);
            if now == before {
                return Err("no answer".to_owned());
            }
            before = now;
        }
    }
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
