//! The sharded adapter of Node (`createShardedAdapter` of @socket.io/redis-adapter) as a bus: a
//! server of ours and servers of Node are one cluster.
//!
//! Redis forgets what it cannot deliver at once, as with the classic adapter.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socketio::cluster::{Bus, BusError, Channel, Inbox, PublishError, Rejected};
pub use socketio_proto::cluster::SubscriptionMode;
use socketio_proto::cluster::{Limits, Message, ShardedChannels, Uid};

use super::classic::RedisAddressError;
use super::line::Backend;
use super::master::Master;
use super::publisher::Publisher;
use super::shards::Shards;
use super::subscriber::Listener;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Joins the cluster of all servers, of Rust and of Node, that use the sharded adapter with the same
/// Redis, of version 7 or later.
///
/// Messages for one room reach only the servers that have sockets in it, and the nodes of a Redis
/// Cluster share the work.
///
/// A handle: cheap to clone. Its connections come back by themselves; what is published while they are
/// away waits, up to 64 MiB.
///
/// A server subscribes to a room's channel when the room gets its first socket: what another server
/// sends to the room within that round trip to Redis may be missed. On a Redis Cluster messages of
/// different channels may come in another order than they were sent.
///
/// # Examples
///
/// ```no_run
/// use socketio::Server;
/// use socketio_adapters::redis::ShardedBus;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Server::builder()
///     .cluster(ShardedBus::new("redis://127.0.0.1:6379")?)
///     .build();
/// io.serve("127.0.0.1:3000").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "createShardedAdapter")]
pub struct ShardedBus {
    prefix: Arc<str>,
    mode: SubscriptionMode,
    publisher: Arc<Publisher>,
    shards: Arc<Shards>,
}

impl ShardedBus {
    /// Makes a bus for the Redis at an address, such as `redis://user:password@host:6379` or
    /// `rediss://host` for TLS. It connects when the server is used.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub fn new(url: &str) -> Result<ShardedBus, RedisAddressError> {
        Ok(ShardedBus::over(Backend::single(url)?))
    }

    /// Makes a bus for the Redis that some sentinels call `master`: after a failover, for its
    /// successor. A user, a password and a database in the sentinels' addresses are those of Redis;
    /// the sentinels are asked without.
    ///
    /// # Errors
    ///
    /// When one of the addresses is none.
    pub fn with_sentinels(urls: &[&str], master: &str) -> Result<ShardedBus, RedisAddressError> {
        let master = Master::watched(urls, master)?;
        Ok(ShardedBus::over(Backend::Single(master)))
    }

    /// Makes a bus for a Redis Cluster, of which some nodes are at these addresses.
    ///
    /// # Errors
    ///
    /// When an address is none.
    pub fn cluster(urls: &[&str]) -> Result<ShardedBus, RedisAddressError> {
        Ok(ShardedBus::over(Backend::cluster(urls)?))
    }

    fn over(backend: Backend) -> ShardedBus {
        ShardedBus {
            prefix: "socket.io".into(),
            mode: SubscriptionMode::default(),
            publisher: Arc::new(Publisher::sharded(backend.clone())),
            shards: Arc::new(Shards::new(backend)),
        }
    }

    /// Sets how the names of the channels begin. All servers need the same. Default: `socket.io`.
    #[doc(alias = "channelPrefix")]
    pub fn prefix(mut self, prefix: &str) -> ShardedBus {
        self.prefix = prefix.into();
        self
    }

    /// Sets which rooms have a channel of their own. All servers need the same: one that is `Static`
    /// among others does not hear what they send to rooms. Default: `Dynamic`.
    #[doc(alias = "subscriptionMode")]
    pub fn subscription_mode(mut self, mode: SubscriptionMode) -> ShardedBus {
        self.mode = mode;
        self
    }

    /// How many messages were given up, because Redis was away too long, or went away while they were
    /// being sent.
    pub fn dropped(&self) -> u64 {
        self.publisher.dropped()
    }
}

impl fmt::Debug for ShardedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedBus")
            .field("prefix", &self.prefix)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Bus for ShardedBus {
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let channels = ShardedChannels::new(&self.prefix, nsp, self.mode);
        let own = channels.response_to(uid);
        let ears: Arc<dyn Listener> = Arc::new(Ears {
            nsp: nsp.to_owned(),
            inbox: inbox.clone(),
        });
        self.publisher.start();
        self.shards.start();
        for channel in [channels.main().to_owned(), own] {
            self.shards.set(channel, &ears, || true);
        }
        Arc::new(ShardedChannel {
            nsp: nsp.to_owned(),
            mode: self.mode,
            channels,
            inbox,
            ears,
            publisher: self.publisher.clone(),
            shards: self.shards.clone(),
        })
    }
}

/// What listens for one namespace.
struct Ears {
    nsp: String,
    inbox: Arc<dyn Inbox>,
}

impl Listener for Ears {
    fn handle(&self, channel: &str, payload: &[u8]) {
        match Message::decode(payload, &self.nsp, &Limits::default()) {
            // A room of one namespace may have the channel of another namespace.
            Ok(message) if message.nsp != self.nsp => {}
            Ok(message) => self.inbox.receive(message),
            Err(error) => {
                let rejected = Rejected::message(channel, payload, &error);
                self.inbox.reject(&rejected);
            }
        }
    }
}

struct ShardedChannel {
    nsp: String,
    mode: SubscriptionMode,
    channels: ShardedChannels,
    inbox: Arc<dyn Inbox>,
    ears: Arc<dyn Listener>,
    publisher: Arc<Publisher>,
    shards: Arc<Shards>,
}

impl Channel for ShardedChannel {
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        let channel = match to {
            Some(uid) => self.channels.response_to(uid),
            None => self.channels.publish_to(&message.body),
        };
        self.publisher
            .publish(channel, message.to_json_or_notepack())
    }

    fn has_heartbeats(&self) -> bool {
        false
    }

    fn server_count(&self) -> BoxFuture<'_, Result<usize, BusError>> {
        Box::pin(async {
            let count = self.publisher.subscribers(self.channels.main());
            count.await.map_err(BusError)
        })
    }

    fn follows_rooms(&self) -> bool {
        self.mode != SubscriptionMode::Static
    }

    fn room_changed(&self, room: &str) {
        self.shards.set(self.channels.room(room), &self.ears, || {
            let is_own = self.inbox.has_socket(room);
            self.inbox.has_room(room) && self.channels.subscribes_to_room(is_own)
        });
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Before anything else: who is subscribed is asked, and waited for.
            self.shards.remove(&self.ears);
            self.publisher.flush(FLUSH).await;
        })
    }
}

/// What waits is published within this time when a server ends.
const FLUSH: Duration = Duration::from_secs(1);

impl Drop for ShardedChannel {
    fn drop(&mut self) {
        self.shards.remove(&self.ears);
    }
}

impl fmt::Debug for ShardedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedChannel")
            .field("nsp", &self.nsp)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
