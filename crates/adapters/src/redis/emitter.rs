//! Emitting to the clients of all servers without being one of them.
//!
//! It writes what `@socket.io/redis-emitter` writes, to the byte, and reads nothing: there are no
//! answers. The servers have to use the classic adapter (`createAdapter` in Node).

use std::fmt;
use std::sync::Arc;

use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use socketio_proto::cluster::Uid;
use socketio_proto::cluster::classic::{Broadcast, Channels, Request, RequestBody, Which};

use super::line::{ANSWER, in_time, patient};
use crate::emitter::{Emit, EmitterError, Order, Target};

/// Emits to the clients of all servers that share a Redis.
///
/// A handle: cheap to clone. The connection comes back by itself; what is emitted while it is away fails.
///
/// # Examples
///
/// ```no_run
/// use socketio_adapters::redis::Emitter;
///
/// # async fn example() -> Result<(), socketio_adapters::EmitterError> {
/// let emitter = Emitter::connect("redis://127.0.0.1").await?;
/// emitter.of("/").to("room 1").emit("news", ("hello", 1)).await?;
/// emitter.of("/admin").to("user 7").disconnect_sockets().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Emitter {
    connection: ConnectionManager,
    prefix: Arc<str>,
}

fn failed(error: impl fmt::Display) -> EmitterError {
    EmitterError::Backend(format!("Redis: {error}"))
}

impl Emitter {
    /// Connects to Redis: `redis://host:port`, `rediss://` with TLS, `unix:///path`; name and password
    /// stand in the URL.
    ///
    /// # Errors
    ///
    /// When the URL is none, or Redis cannot be reached, or has not answered within 5 seconds.
    pub async fn connect(url: &str) -> Result<Emitter, EmitterError> {
        let client = Client::open(url).map_err(|error| EmitterError::Address(error.to_string()))?;
        // The manager would try several times, with pauses, before it says that nobody is there.
        let config = patient();
        let once = client.get_multiplexed_async_connection_with_config(&config);
        drop(in_time(once).await.map_err(failed)?);
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER));
        let connection = ConnectionManager::new_lazy_with_config(client, config);
        Ok(Emitter {
            connection: connection.map_err(failed)?,
            prefix: "socket.io".into(),
        })
    }

    /// Sets the prefix of the channels; the servers must have the same. Default: `socket.io`.
    #[doc(alias = "key")]
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Emitter {
        self.prefix = prefix.into();
        self
    }

    /// Addresses all sockets of a namespace.
    pub fn of(&self, namespace: &str) -> Target<Emitter> {
        Target::new(self.clone(), namespace)
    }
}

impl Emit for Emitter {
    /// The number of servers that have it.
    type Receipt = usize;

    async fn send(&self, nsp: &str, order: Order) -> Result<usize, EmitterError> {
        let channels = Channels::new(&self.prefix, nsp);
        let request = |uid, body| (channels.request.clone(), Request { uid, body }.encode());
        let emitter = || Uid::new(Uid::EMITTER);
        let (channel, message) = match order {
            Order::Emit { event, opts } => {
                let broadcast = Broadcast {
                    uid: emitter(),
                    event,
                    nsp: nsp.to_owned(),
                    opts,
                };
                let channel = channels.broadcast_to(&broadcast.opts);
                (channel, broadcast.encode())
            }
            Order::Join { opts, rooms } => {
                let sockets = Which::Matching(opts);
                request(None, RequestBody::RemoteJoin { sockets, rooms })
            }
            Order::Leave { opts, rooms } => {
                let sockets = Which::Matching(opts);
                request(None, RequestBody::RemoteLeave { sockets, rooms })
            }
            Order::Disconnect { opts, close } => {
                let sockets = Which::Matching(opts);
                request(None, RequestBody::RemoteDisconnect { sockets, close })
            }
            Order::ServerSideEmit { event } => {
                let request_id = None;
                let body = RequestBody::ServerSideEmit { request_id, event };
                request(Some(emitter()), body)
            }
        };
        let mut connection = self.connection.clone();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(message);
        let publishing = publish.query_async(&mut connection);
        in_time(publishing).await.map_err(failed)
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connection's address may have a password.
        f.debug_struct("Emitter")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
