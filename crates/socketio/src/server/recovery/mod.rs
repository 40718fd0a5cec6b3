//! Connection state recovery: a client that lost its connection gets its id, its rooms, its data and
//! the events it missed, each once and in order.
//!
//! `trail` remembers what was sent to one client, `log` what was broadcast in a namespace and whose
//! clients are away. A client proves who it is with its private id and says with an offset what it
//! has received. This works whether or not the server has noticed that the old connection is dead:
//! the newcomer takes over. It does not survive a restart of the server; `returns` does, in a cluster
//! whose backend keeps what was broadcast.
//!
//! Spec: the Socket.IO documentation, "Connection state recovery".

mod entries;
mod log;
mod position;
mod returns;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::cluster::KeptClient;
use crate::id::{Pid, SocketId};
pub(crate) use log::{Claim, Finished, Log, NotRecovered};
pub(crate) use returns::{Return, Returns};
pub(crate) use trail::{AfterPong, Trail};

/// The options of connection state recovery; see
/// [`ServerBuilder::recovery`](crate::ServerBuilder::recovery).
///
/// While it is on, each event to a client carries its position as one more argument, a text, unless
/// it is volatile or to be acknowledged: those are never sent again. An ack that ends with a text,
/// or a volatile event that does, is taken for a position by the official client: should its
/// connection break just then, it is not recovered.
///
/// In a [`cluster`](crate::cluster) whose bus keeps broadcasts in one order, clients come back to any
/// server. Then events to one socket wait for their turn among broadcasts; what is volatile or to be
/// acknowledged, and disconnecting the socket, does not, and `max_client_bytes` is of no use.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use socketio::{Recovery, Server, Socket};
///
/// let io = Server::builder()
///     .recovery(Recovery::new().max_disconnection(Duration::from_secs(60)))
///     .build();
/// io.on_connect(async |socket: Socket| {
///     if !socket.is_recovered() {
///         socket.join("news"); // a recovered socket is in its rooms already
///     }
/// });
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "options do nothing until they are given to a builder"]
pub struct Recovery {
    pub(crate) max_disconnection: Duration,
    pub(crate) skip_middlewares: bool,
    pub(crate) max_client_bytes: usize,
    pub(crate) max_bytes: usize,
}

impl Recovery {
    /// Clients may be away for 2 minutes; middlewares do not run again for them.
    pub fn new() -> Recovery {
        Recovery {
            max_disconnection: Duration::from_secs(120),
            skip_middlewares: true,
            max_client_bytes: 1024 * 1024,
            max_bytes: 256 * 1024 * 1024,
        }
    }

    /// Sets how long a client may be away. Default: 2 minutes.
    #[doc(alias = "maxDisconnectionDuration")]
    pub fn max_disconnection(mut self, duration: Duration) -> Recovery {
        self.max_disconnection = duration;
        self
    }

    /// Runs the connection middlewares for a recovered client, too. Default: they are skipped.
    #[doc(alias = "skipMiddlewares")]
    pub fn run_middlewares(mut self) -> Recovery {
        self.skip_middlewares = false;
        self
    }

    /// Sets how many bytes of events to one client are kept, broadcasts apart. Default: 1 MiB.
    ///
    /// Events that the client has certainly received, because it has answered a later ping, are not
    /// kept. A client that has missed more than this is not recovered.
    pub fn max_client_bytes(mut self, bytes: usize) -> Recovery {
        self.max_client_bytes = bytes;
        self
    }

    /// Sets how many bytes are kept for all clients of a namespace together: events, broadcasts, and the
    /// rooms and data of those who are away. Default: 256 MiB.
    ///
    /// Beyond it broadcasts and clients that are away are forgotten, the oldest first.
    pub fn max_bytes(mut self, bytes: usize) -> Recovery {
        self.max_bytes = bytes;
        self
    }
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery::new()
    }
}

/// What a namespace has for clients that come back.
#[derive(Clone)]
pub(crate) enum Recoveries {
    /// Of this server.
    Log(Arc<Log>),
    /// Of all servers.
    Returns(Arc<Returns>),
}

impl Recoveries {
    /// Bytes that are kept for clients.
    pub(crate) fn kept(&self) -> usize {
        match self {
            Recoveries::Log(log) => log.kept(),
            Recoveries::Returns(returns) => returns.kept(),
        }
    }
}

/// What is remembered of a socket's client.
#[derive(Clone)]
pub(crate) enum Memory {
    Kept(Arc<KeptClient>),
    Trail(Arc<Trail>),
}

impl Memory {
    pub(crate) fn pid(&self) -> &Pid {
        match self {
            Memory::Kept(client) => client.private_id(),
            Memory::Trail(trail) => trail.pid(),
        }
    }

    pub(crate) fn sid(&self) -> &SocketId {
        match self {
            Memory::Kept(client) => client.sid(),
            Memory::Trail(trail) => trail.sid(),
        }
    }

    pub(crate) fn data(&self) -> Value {
        match self {
            Memory::Kept(client) => client.data(),
            Memory::Trail(trail) => trail.data(),
        }
    }
}

/// Reads the private id and the offset out of a client's `auth`; `None` if it does not ask to be
/// recovered.
pub(crate) fn proof(auth: &str) -> Option<(String, Option<String>)> {
    // Of equal keys the last counts, as in JavaScript.
    let mut proof: Value = serde_json::from_str(auth).ok()?;
    let Value::String(pid) = proof.get_mut("pid")?.take() else {
        return None;
    };
    let offset = match proof.get_mut("offset").map(Value::take) {
        Some(Value::String(offset)) => Some(offset),
        None | Some(Value::Null) => None,
        // No offset of ours, whatever it is.
        _ => Some(String::new()),
    };
    Some((pid, offset))
}
