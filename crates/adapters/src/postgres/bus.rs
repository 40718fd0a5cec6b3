//! The Postgres adapter of Node (`createAdapter` of @socket.io/postgres-adapter) as a bus: a server of
//! ours and servers of Node are one cluster.
//!
//! Postgres forgets what it cannot deliver at once: while a server has no connection to it, what the
//! others publish does not reach its clients.

use socketio_proto::Printable;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socketio::cluster::{Bus, Channel, Inbox, PublishError};
use socketio_proto::cluster::postgres::{self, Outgoing};
use socketio_proto::cluster::{Body, Message, Uid};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connection::{Address, PostgresAddressError};
use super::publisher::Publisher;
use super::subscriber::{Member, Subscriber};
use super::table::Table;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Joins the cluster of all servers, of Rust and of Node, that use the Postgres adapter with the same
/// database.
///
/// A handle: cheap to clone. It has two connections to Postgres, which come back by themselves; what is
/// published while they are away waits, up to 64 MiB, and until the others have had three seconds to
/// come back. Messages with bytes in them, and those of 8000
/// bytes and more, go through a table, which has to be there:
///
/// ```sql
/// CREATE TABLE IF NOT EXISTS socket_io_attachments (
///     id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea
/// );
/// ```
///
/// The name of a namespace may have 53 bytes, with the default prefix: Postgres has no channels with
/// longer names. The clients of others are reached on their own server only, as in Node.
///
/// # Examples
///
/// ```no_run
/// use socketio::Server;
/// use socketio_adapters::postgres::PostgresBus;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Server::builder()
///     .cluster(PostgresBus::new("postgres://user:password@127.0.0.1/chat")?)
///     .build();
/// io.serve("127.0.0.1:3000").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresBus {
    address: Address,
    prefix: Arc<str>,
    table: Arc<Table>,
    cleanup: Duration,
    /// Once it is used.
    running: Arc<OnceLock<Arc<Running>>>,
}

/// What ends with the last namespace and the bus.
struct Running {
    publisher: Publisher,
    subscriber: Subscriber,
    cleaner: JoinHandle<()>,
}

/// The reference's name of the table.
pub(super) const TABLE: &str = "socket_io_attachments";
const CLEANUP: Duration = Duration::from_secs(30);
/// What waits is published within this time when a server ends.
const FLUSH: Duration = Duration::from_secs(1);

impl PostgresBus {
    /// Makes a bus for the database at an address, such as `postgres://user:password@host:5432/name`. It
    /// connects when the server is used, without a pooler in between that hands out connections by
    /// transaction: notifications do not pass it.
    ///
    /// With `?sslmode=require` it speaks TLS, and verifies the certificate by the platform's authorities
    /// or, with the environment's `SSL_CERT_FILE`, by those in a file. Otherwise it speaks none.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub fn new(url: &str) -> Result<PostgresBus, PostgresAddressError> {
        Ok(PostgresBus {
            address: Address::new(url)?,
            prefix: "socket.io".into(),
            table: Arc::new(Table::new(TABLE)),
            cleanup: CLEANUP,
            running: Arc::default(),
        })
    }

    /// Sets how the names of the channels begin. All servers need the same. Default: `socket.io`.
    #[doc(alias = "channelPrefix")]
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> PostgresBus {
        self.prefix = prefix.into();
        self
    }

    /// Sets the table of messages with bytes in them and of large ones; a schema may stand before it, and
    /// a dot. All servers need the same, before the first is made. Default: `socket_io_attachments`.
    #[doc(alias = "tableName")]
    #[must_use]
    pub fn table(mut self, name: &str) -> PostgresBus {
        self.table = Arc::new(Table::new(name));
        self
    }

    /// Sets how long messages are kept in the table, and how often older ones are removed; at least a
    /// second. To be set before the first server is made. Default: 30 seconds.
    #[doc(alias = "cleanupInterval")]
    #[must_use]
    pub fn cleanup_interval(mut self, interval: Duration) -> PostgresBus {
        self.cleanup = interval.max(Duration::from_secs(1));
        self
    }

    /// How many messages were given up, because Postgres refused them, was away too long, or went away
    /// while they were being sent.
    pub fn dropped(&self) -> u64 {
        let running = self.running.get();
        running.map_or(0, |running| running.publisher.dropped())
    }

    fn start(&self) -> Running {
        let (address, table) = (&self.address, &self.table);
        let publisher = Publisher::start(address.clone(), table.clone());
        Running {
            subscriber: Subscriber::start(address.clone(), table.clone(), publisher.clone()),
            publisher,
            cleaner: tokio::spawn(clean(address.clone(), table.clone(), self.cleanup)),
        }
    }
}

/// Removes old messages. Each server does it for all, as in Node: one that only writes does not. A
/// connection of its own lets no message wait.
async fn clean(address: Address, table: Arc<Table>, interval: Duration) {
    let mut has_failed = false;
    loop {
        tokio::time::sleep(interval).await;
        let cleaning = timeout(interval, async {
            let line = address.open().await?;
            let cleaned = table.clean(&line.client, interval).await;
            cleaned.map_err(|error| table.explain(&error))
        });
        if let Ok(Err(error)) = cleaning.await
            && !std::mem::replace(&mut has_failed, true)
        {
            tracing::warn!(error = %Printable::new(&error), "old messages are not removed from Postgres");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cleaner.abort();
    }
}

impl fmt::Debug for PostgresBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBus")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Bus for PostgresBus {
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let Some(channel) = postgres::channel(&self.prefix, nsp) else {
            tracing::warn!(
                nsp = Printable::new(nsp).to_string(),
                "Postgres has no channel for a name as long: other servers are not reached"
            );
            return Arc::new(NoChannel);
        };
        let member = Arc::new(Member {
            nsp: nsp.to_owned(),
            uid: uid.clone(),
            channel,
            inbox,
        });
        let running = self.running.get_or_init(|| Arc::new(self.start())).clone();
        running.subscriber.add(member.clone());
        Arc::new(PostgresChannel { member, running })
    }
}

struct PostgresChannel {
    member: Arc<Member>,
    running: Arc<Running>,
}

impl Channel for PostgresChannel {
    fn publish(&self, message: &Message, _: Option<&Uid>) -> Result<(), PublishError> {
        // The subscriber says it when the answers can be heard.
        if message.body == Body::InitialHeartbeat {
            return Ok(());
        }
        let publisher = &self.running.publisher;
        publisher.publish(&self.member.channel, Outgoing::new(message))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.running.subscriber.remove(&self.member);
            self.running.publisher.flush(FLUSH).await;
        })
    }
}

impl Drop for PostgresChannel {
    fn drop(&mut self) {
        self.running.subscriber.remove(&self.member);
    }
}

impl fmt::Debug for PostgresChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresChannel")
            .field("nsp", &self.member.nsp)
            .field("uid", &self.member.uid)
            .finish_non_exhaustive()
    }
}

/// Of a namespace whose name Postgres cannot use.
#[derive(Debug)]
struct NoChannel;

impl Channel for NoChannel {
    fn publish(&self, _: &Message, _: Option<&Uid>) -> Result<(), PublishError> {
        Err(PublishError::Namespace)
    }

    fn has_heartbeats(&self) -> bool {
        false
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
