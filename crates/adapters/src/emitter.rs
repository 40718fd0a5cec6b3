//! What emitters of all backends have in common: whom they address, and what they can ask for.

use std::future::Future;

use serde::Serialize;
use socketio::{Args, EncodeError, RoomNames};
use socketio_proto::cluster::{BroadcastOptions, Event, Values};
use socketio_proto::socket::is_reserved;
use thiserror::Error;

/// Sockets of a namespace, on all servers; made by an emitter's `of`.
///
/// What it does gives what the backend says of it: Redis the number of servers that it handed the message
/// to, of which 0 means that no server is there, Postgres nothing.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until something is emitted"]
pub struct Target<E> {
    emitter: E,
    nsp: String,
    opts: BroadcastOptions,
}

/// An emitter.
pub trait Emit: Sync {
    /// What the backend says of something that was sent.
    type Receipt;

    /// Sends an order to all servers.
    #[doc(hidden)]
    fn send(
        &self,
        nsp: &str,
        order: Order,
    ) -> impl Future<Output = Result<Self::Receipt, EmitterError>> + Send;
}

/// What servers are asked for.
#[derive(Debug)]
pub enum Order {
    Emit {
        event: Event,
        opts: BroadcastOptions,
    },
    Join {
        opts: BroadcastOptions,
        rooms: Vec<String>,
    },
    Leave {
        opts: BroadcastOptions,
        rooms: Vec<String>,
    },
    Disconnect {
        opts: BroadcastOptions,
        close: bool,
    },
    ServerSideEmit {
        event: Event,
    },
}

/// Why something was not emitted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The address of Redis or Postgres is none.
    #[error("{0}")]
    Address(String),
    /// Redis or Postgres cannot be reached, or refused.
    #[error("{0}")]
    Backend(String),
    /// The arguments cannot be serialised.
    #[error("the arguments cannot be serialised")]
    Encode(#[from] EncodeError),
    /// The backend has no channel for a namespace of this name: it is too long.
    #[error("there is no channel for the namespace \"{0}\"")]
    Namespace(String),
    /// The name belongs to the protocol, such as `connect`.
    #[error("\"{0}\" is a reserved event name")]
    Reserved(String),
    /// The arguments are nested too deeply.
    #[error("the arguments are nested too deeply")]
    TooDeep,
}

impl<E: Emit> Target<E> {
    pub(crate) fn new(emitter: E, namespace: &str) -> Target<E> {
        let slash = if namespace.starts_with('/') { "" } else { "/" };
        Target {
            emitter,
            nsp: format!("{slash}{namespace}"),
            opts: BroadcastOptions::default(),
        }
    }

    /// Addresses the sockets in these rooms; called again, those in any of them.
    #[doc(alias = "in")]
    pub fn to(mut self, rooms: impl RoomNames) -> Target<E> {
        self.opts.rooms.extend(rooms.into_names());
        self
    }

    /// Leaves the sockets in these rooms out.
    pub fn except(mut self, rooms: impl RoomNames) -> Target<E> {
        self.opts.except.extend(rooms.into_names());
        self
    }

    /// Lets the event be lost for clients that cannot take it at once.
    pub fn volatile(mut self) -> Target<E> {
        self.opts.flags.volatile = true;
        self
    }

    /// Sends the event without compression.
    #[doc(alias = "compress")]
    pub fn uncompressed(mut self) -> Target<E> {
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
    ) -> Result<E::Receipt, EmitterError> {
        let (event, opts) = (make(event.as_ref(), &args)?, self.opts);
        let order = Order::Emit { event, opts };
        self.emitter.send(&self.nsp, order).await
    }

    /// Makes the sockets join rooms.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached, or refuses.
    pub async fn sockets_join(self, rooms: impl RoomNames) -> Result<E::Receipt, EmitterError> {
        let (opts, rooms) = (self.opts, rooms.into_names());
        let order = Order::Join { opts, rooms };
        self.emitter.send(&self.nsp, order).await
    }

    /// Makes the sockets leave rooms.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached, or refuses.
    pub async fn sockets_leave(self, rooms: impl RoomNames) -> Result<E::Receipt, EmitterError> {
        let (opts, rooms) = (self.opts, rooms.into_names());
        let order = Order::Leave { opts, rooms };
        self.emitter.send(&self.nsp, order).await
    }

    /// Makes the sockets leave the namespace.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached, or refuses.
    pub async fn disconnect_sockets(self) -> Result<E::Receipt, EmitterError> {
        let (opts, close) = (self.opts, false);
        let order = Order::Disconnect { opts, close };
        self.emitter.send(&self.nsp, order).await
    }

    /// Closes the connections of the sockets.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached, or refuses.
    pub async fn disconnect_and_close_sockets(self) -> Result<E::Receipt, EmitterError> {
        let (opts, close) = (self.opts, true);
        let order = Order::Disconnect { opts, close };
        self.emitter.send(&self.nsp, order).await
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
    ) -> Result<E::Receipt, EmitterError> {
        let event = make(event.as_ref(), &args)?;
        let order = Order::ServerSideEmit { event };
        self.emitter.send(&self.nsp, order).await
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
