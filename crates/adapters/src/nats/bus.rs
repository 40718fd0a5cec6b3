//! A server among others on NATS: one connection, on which all is published in order.
//!
//! Servers know each other by heartbeats. NATS forgets what it cannot deliver at once: while a server
//! has no connection to it, what the others publish does not reach its clients.

use socketio_proto::Printable;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use socketio::cluster::{Bus, Channel, Inbox, PublishError, Rejected};
use socketio_proto::cluster::{Limits, Message, Uid};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::subjects::Subjects;

/// Joins the cluster of all servers of Rust that use the same NATS.
///
/// A handle: cheap to clone. It has one connection to NATS, which comes back by itself; what is published
/// while it is away waits, up to 64 MiB. No message may be larger than NATS takes, which is 1 MiB unless
/// it is configured otherwise.
///
/// # Examples
///
/// ```no_run
/// use socketio::Server;
/// use socketio_adapters::nats::NatsBus;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Server::builder()
///     .cluster(NatsBus::new("nats://127.0.0.1:4222")?)
///     .build();
/// io.serve("127.0.0.1:3000").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsBus {
    prefix: Arc<str>,
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Vec<ServerAddr>,
    /// To the task, once there is one. A `Publish` holds its bytes of `room`; the others are few.
    line: Mutex<Option<Line>>,
    room: Arc<Semaphore>,
    client: Arc<OnceLock<Client>>,
    dropped: Arc<AtomicU64>,
}

struct Line {
    tasks: mpsc::UnboundedSender<Task>,
    /// The task ends soon after this, whether NATS is there or not.
    _alive: oneshot::Sender<()>,
}

enum Task {
    /// Listen for a namespace.
    Open(Subjects, Ears, oneshot::Receiver<()>),
    Publish(String, Vec<u8>, OwnedSemaphorePermit),
    /// All that was queued before is published.
    Flushed(oneshot::Sender<()>),
}

/// So many bytes wait at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What a message costs besides its bytes.
const OVERHEAD: usize = 64;
/// So many messages are on their way to the socket, besides those that wait.
const CLIENT_CAPACITY: usize = 64;
/// So many messages for one namespace wait to be handled at most.
const UNHEARD: usize = 16 * 1024;
/// So often NATS is asked whether it is there; after two that it does not answer, it is not.
const PING: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// By then those that have lost their connections at the same time listen again.
const SETTLED: Duration = Duration::from_secs(2);
/// What waits is published within this time when a server ends.
const FLUSH: Duration = Duration::from_secs(1);

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
#[error("the address of NATS: {0}")]
pub struct NatsAddressError(#[from] std::io::Error);

impl NatsBus {
    /// Makes a bus for the NATS at an address, such as `nats://user:password@host:4222`, or
    /// `tls://host` for TLS; those of several servers are separated by commas. It connects when the
    /// server is used.
    ///
    /// # Errors
    ///
    /// When an address is none.
    pub fn new(urls: &str) -> Result<NatsBus, NatsAddressError> {
        let addresses = urls.split(',').map(|url| url.trim().parse());
        Ok(NatsBus {
            prefix: "socketio".into(),
            shared: Arc::new(Shared {
                addresses: addresses.collect::<Result<_, _>>()?,
                line: Mutex::default(),
                room: Arc::new(Semaphore::new(MAX_BYTES)),
                client: Arc::default(),
                dropped: Arc::default(),
            }),
        })
    }

    /// Sets how the subjects begin; it may have dots. All servers need the same. Default: `socketio`.
    pub fn prefix(mut self, prefix: &str) -> NatsBus {
        self.prefix = prefix.into();
        self
    }

    /// How many messages were given up, because NATS was away too long, or takes none as large.
    ///
    /// What was on its way when the connection broke is not among them: nobody knows whether it arrived.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBus")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Bus for NatsBus {
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let subjects = Subjects::new(&self.prefix, nsp);
        let (alive, gone) = oneshot::channel();
        let ears = Ears {
            nsp: nsp.to_owned(),
            own: subjects.response_to(uid),
            inbox,
        };
        // Before anything that is published: the answers to it are heard.
        self.shared.push(Task::Open(subjects.clone(), ears, gone));
        Arc::new(NatsChannel {
            nsp: nsp.to_owned(),
            subjects,
            alive: Mutex::new(Some(alive)),
            shared: self.shared.clone(),
        })
    }
}

impl Shared {
    fn push(&self, task: Task) {
        let mut line = self.line.lock();
        let line = line.get_or_insert_with(|| {
            let (tasks, receiver) = mpsc::unbounded_channel();
            let (alive, gone) = oneshot::channel();
            let (addresses, client) = (self.addresses.clone(), self.client.clone());
            let dropped = self.dropped.clone();
            tokio::spawn(run(addresses, client, receiver, dropped, gone));
            Line {
                tasks,
                _alive: alive,
            }
        });
        // Where there is no way to NATS, an error has said so.
        let _ = line.tasks.send(task);
    }

    fn publish(&self, subject: String, payload: Vec<u8>) -> Result<(), PublishError> {
        let refuse = |error| {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            Err(error)
        };
        let client = self.client.get();
        if client.is_some_and(|client| payload.len() > client.max_payload()) {
            return refuse(PublishError::TooLarge);
        }
        let size = u32::try_from(subject.len() + payload.len() + OVERHEAD).unwrap_or(u32::MAX);
        match self.room.clone().try_acquire_many_owned(size) {
            Ok(permit) => {
                self.push(Task::Publish(subject, payload, permit));
                Ok(())
            }
            Err(_) => refuse(PublishError::Full),
        }
    }
}

/// Does what is queued until the bus is gone.
async fn run(
    addresses: Vec<ServerAddr>,
    shared: Arc<OnceLock<Client>>,
    tasks: mpsc::UnboundedReceiver<Task>,
    dropped: Arc<AtomicU64>,
    gone: oneshot::Receiver<()>,
) {
    let (settled, is_settled) = watch::channel(true);
    let client = match connect(addresses, settled).await {
        Ok(client) => shared.get_or_init(|| client).clone(),
        Err(error) => {
            return tracing::error!(error = %Printable::new(&error), "there is no way to NATS");
        }
    };
    let too_late = async {
        let _ = gone.await;
        tokio::time::sleep(FLUSH).await;
    };
    tokio::select! {
        () = work(&client, tasks, is_settled, &dropped) => {}
        () = too_late => {}
    }
}

/// Publishes in order.
async fn work(
    client: &Client,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    mut is_settled: watch::Receiver<bool>,
    dropped: &AtomicU64,
) {
    while let Some(task) = tasks.recv().await {
        match task {
            Task::Open(subjects, ears, gone) => {
                let own = client.subscribe(ears.own.clone()).await;
                match (own, client.subscribe(subjects.all()).await) {
                    (Ok(own), Ok(all)) => drop(tokio::spawn(listen(own, all, ears, gone))),
                    (Err(error), _) | (_, Err(error)) => {
                        tracing::error!(error = %Printable::new(&error), nsp = Printable::new(&ears.nsp).to_string(), "cannot listen");
                    }
                }
            }
            Task::Publish(subject, payload, permit) => {
                // Most likely NATS was away for all servers, and what waits is for them. When nobody tells
                // any longer, publishing says why.
                let _ = is_settled.wait_for(|settled| *settled).await;
                if let Err(error) = client.publish(subject, payload.into()).await {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = %Printable::new(&error), "other servers do not get a message");
                }
                drop(permit);
            }
            Task::Flushed(sender) => {
                let _ = client.flush().await;
                let _ = sender.send(());
            }
        }
    }
    let _ = client.flush().await;
}

/// Gives a client at once, which connects by itself, now and each time the connection is lost.
async fn connect(
    addresses: Vec<ServerAddr>,
    settled: watch::Sender<bool>,
) -> Result<Client, async_nats::ConnectError> {
    let settled = Arc::new(settled);
    let options = ConnectOptions::new()
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let doublings = attempts.clamp(1, 10) as u32 - 1;
            (FIRST_PAUSE * 2u32.pow(doublings)).min(LAST_PAUSE)
        })
        .ping_interval(PING)
        .client_capacity(CLIENT_CAPACITY)
        .subscription_capacity(UNHEARD)
        .no_echo()
        .event_callback(move |event| {
            let settled = settled.clone();
            async move { told(event, &settled).await }
        });
    options.connect(addresses).await
}

/// Learns what has become of the connection.
async fn told(event: Event, settled: &watch::Sender<bool>) {
    match event {
        Event::Connected => {
            tracing::debug!("connected to NATS");
            if !*settled.borrow() {
                tokio::time::sleep(SETTLED).await;
                settled.send_replace(true);
            }
        }
        Event::Disconnected => {
            tracing::warn!("the connection to NATS is lost");
            settled.send_replace(false);
        }
        Event::SlowConsumer(_) => {
            tracing::warn!("messages of other servers are lost: too many wait to be handled");
        }
        other => tracing::warn!(event = %Printable::new(other), "NATS"),
    }
}

/// What listens for one namespace.
struct Ears {
    nsp: String,
    /// The subject of answers.
    own: String,
    inbox: Arc<dyn Inbox>,
}

impl Ears {
    fn hear(&self, message: &async_nats::Message) {
        let payload = &message.payload;
        match Message::decode(payload, &self.nsp, &Limits::default()) {
            // Long names of namespaces share a subject.
            Ok(message) if message.nsp != self.nsp => {}
            Ok(message) => self.inbox.receive(message),
            Err(error) => {
                let rejected = Rejected::message(&message.subject, payload, &error);
                self.inbox.reject(&rejected);
            }
        }
    }
}

/// Hands over what comes until the channel is gone.
async fn listen(
    mut own: Subscriber,
    mut all: Subscriber,
    ears: Ears,
    mut gone: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut gone => return,
            Some(message) = own.next() => ears.hear(&message),
            Some(message) = all.next() => {
                // Answers that a server gave before, such as one that takes its leave.
                while let Some(Some(message)) = own.next().now_or_never() {
                    ears.hear(&message);
                }
                ears.hear(&message);
            }
            else => return,
        }
    }
}

struct NatsChannel {
    nsp: String,
    subjects: Subjects,
    /// Whoever listens does so while this is there.
    alive: Mutex<Option<oneshot::Sender<()>>>,
    shared: Arc<Shared>,
}

impl Channel for NatsChannel {
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        let subject = match to {
            Some(uid) => self.subjects.response_to(uid),
            None => self.subjects.all(),
        };
        self.shared.publish(subject, message.to_json_or_notepack())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            drop(self.alive.lock().take());
            let (sender, receiver) = oneshot::channel();
            self.shared.push(Task::Flushed(sender));
            let _ = timeout(FLUSH, receiver).await;
        })
    }
}

impl fmt::Debug for NatsChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsChannel")
            .field("nsp", &self.nsp)
            .finish_non_exhaustive()
    }
}
