//! Emitting to the clients of all servers without being one of them.
//!
//! It writes what `@socket.io/redis-emitter` writes, to the byte, and reads nothing: there are no
//! answers. The servers have to use the classic adapter (`createAdapter` in Node).

use std::fmt;
use std::sync::Arc;

use redis::aio::ConnectionManager;
use redis::{Client, RedisError};
use serde::Serialize;
use socketio::{Args, EncodeError, RoomNames};
use socketio_proto::cluster::classic::{Broadcast, Channels, Request, RequestBody, Which};
use socketio_proto::cluster::{BroadcastOptions, Event, Uid, Values};
use socketio_proto::socket::is_reserved;
use thiserror::Error;

/// Emits to the clients of all servers that share a Redis.
///
/// A handle: cheap to clone. The connection comes back by itself; what is emitted while it is away fails.
///
/// # Examples
///
/// ```no_run
/// use socketio_adapters::redis::Emitter;
///
/// # async fn example() -> Result<(), socketio_adapters::redis::EmitterError> {
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

/// Why something was not emitted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The arguments cannot be serialised.
    #[error("the arguments cannot be serialised")]
    Encode(#[from] EncodeError),
    /// Redis cannot be reached, or refused.
    #[error("Redis: {0}")]
    Redis(String),
    /// The name belongs to the protocol, such as `connect`.
    #[error("\"{0}\" is a reserved event name")]
    Reserved(String),
    /// The arguments are nested too deeply.
    #[error("the arguments are nested too deeply")]
    TooDeep,
}

impl From<RedisError> for EmitterError {
    fn from(error: RedisError) -> EmitterError {
        EmitterError::Redis(error.to_string())
    }
}

impl Emitter {
    /// Connects to Redis: `redis://host:port`, `rediss://` with TLS, `unix:///path`; name and password
    /// stand in the URL.
    ///
    /// # Errors
    ///
    /// When the URL is none, or Redis cannot be reached.
    pub async fn connect(url: &str) -> Result<Emitter, EmitterError> {
        let client = Client::open(url)?;
        Ok(Emitter {
            connection: ConnectionManager::new(client).await?,
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
    pub fn of(&self, namespace: &str) -> Target {
        let slash = if namespace.starts_with('/') { "" } else { "/" };
        let nsp = format!("{slash}{namespace}");
        Target {
            emitter: self.clone(),
            channels: Channels::new(&self.prefix, &nsp),
            nsp,
            opts: BroadcastOptions::default(),
        }
    }

    async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<usize, EmitterError> {
        let mut connection = self.connection.clone();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(message);
        Ok(publish.query_async(&mut connection).await?)
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

/// Sockets of a namespace, on all servers; made by [`Emitter::of`].
///
/// What it does gives the number of servers that Redis handed the message to; 0 means that no server is
/// there.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until something is emitted"]
pub struct Target {
    emitter: Emitter,
    channels: Channels,
    nsp: String,
    opts: BroadcastOptions,
}

impl Target {
    /// Addresses the sockets in these rooms; called again, those in any of them.
    #[doc(alias = "in")]
    pub fn to(mut self, rooms: impl RoomNames) -> Target {
        self.opts.rooms.extend(rooms.into_names());
        self
    }

    /// Leaves the sockets in these rooms out.
    pub fn except(mut self, rooms: impl RoomNames) -> Target {
        self.opts.except.extend(rooms.into_names());
        self
    }

    /// Lets the event be lost for clients that cannot take it at once.
    pub fn volatile(mut self) -> Target {
        self.opts.flags.volatile = true;
        self
    }

    /// Sends the event without compression.
    #[doc(alias = "compress")]
    pub fn uncompressed(mut self) -> Target {
        self.opts.flags.compress = Some(false);
        self
    }

    /// Emits an event to the sockets. A tuple gives several arguments, `()` none, anything else one.
    ///
    /// # Errors
    ///
    /// When it was not emitted, and why.
    pub async fn emit(
        self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> Result<usize, EmitterError> {
        let broadcast = Broadcast {
            uid: Uid::new(Uid::EMITTER),
            event: make(event.as_ref(), &args)?,
            nsp: self.nsp,
            opts: self.opts,
        };
        let channel = self.channels.broadcast_to(&broadcast.opts);
        self.emitter.publish(&channel, broadcast.encode()).await
    }

    /// Makes the sockets join rooms.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached.
    pub async fn sockets_join(self, rooms: impl RoomNames) -> Result<usize, EmitterError> {
        let rooms = rooms.into_names();
        self.request(|sockets| RequestBody::RemoteJoin { sockets, rooms })
            .await
    }

    /// Makes the sockets leave rooms.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached.
    pub async fn sockets_leave(self, rooms: impl RoomNames) -> Result<usize, EmitterError> {
        let rooms = rooms.into_names();
        self.request(|sockets| RequestBody::RemoteLeave { sockets, rooms })
            .await
    }

    /// Makes the sockets leave the namespace.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached.
    pub async fn disconnect_sockets(self) -> Result<usize, EmitterError> {
        let close = false;
        self.request(|sockets| RequestBody::RemoteDisconnect { sockets, close })
            .await
    }

    /// Closes the connections of the sockets.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached.
    pub async fn disconnect_and_close_sockets(self) -> Result<usize, EmitterError> {
        let close = true;
        self.request(|sockets| RequestBody::RemoteDisconnect { sockets, close })
            .await
    }

    /// Sends an event to the servers themselves; rooms do not matter.
    ///
    /// # Errors
    ///
    /// When it was not sent, and why.
    pub async fn server_side_emit(
        self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> Result<usize, EmitterError> {
        let request = Request {
            uid: Some(Uid::new(Uid::EMITTER)),
            body: RequestBody::ServerSideEmit {
                request_id: None,
                event: make(event.as_ref(), &args)?,
            },
        };
        self.emitter
            .publish(&self.channels.request, request.encode())
            .await
    }

    async fn request(self, body: impl FnOnce(Which) -> RequestBody) -> Result<usize, EmitterError> {
        let request = Request {
            uid: None,
            body: body(Which::Matching(self.opts)),
        };
        self.emitter
            .publish(&self.channels.request, request.encode())
            .await
    }
}

fn make(name: &str, args: &impl Serialize) -> Result<Event, EmitterError> {
    if is_reserved(name) {
        return Err(EmitterError::Reserved(name.to_owned()));
    }
    let args = Args::from_value(args)?;
    let text = args.iter().collect::<Vec<_>>().join(",");
    let args = Values::new(text, args.attachments().to_vec()).ok_or(EmitterError::TooDeep)?;
    Ok(Event {
        name: name.to_owned(),
        args,
    })
}
