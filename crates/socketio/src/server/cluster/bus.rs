//! How the messages of a cluster travel: what a backend such as Redis implements.
//!
//! What the messages mean, who is there and who has answered is not a bus's business.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use socketio_proto::cluster::streams::Offset;
use socketio_proto::cluster::{Message, Uid};
use thiserror::Error;

use super::rejected::Rejected;
use super::store::Store;
use crate::server::turn;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to the other servers.
///
/// A method of this, of a [`Channel`] or of a [`Store`] that panics has done nothing: it is logged and
/// counted ([`Stats::panics`](crate::Stats::panics)), and who waits for its answer gets an error. What
/// should answer within a deadline of its own and does not within 15 seconds is given up, and a
/// [`close`](Channel::close) after 10.
pub trait Bus: Debug + Send + Sync + 'static {
    /// Opens the channel of a namespace for a server that calls itself `uid` there.
    ///
    /// Returns at once; what is published before the backend is reached waits, within a bound. A bus
    /// that loses its backend connects again by itself. Called inside a tokio runtime.
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel>;

    /// Says whether the backend puts in one order, for all servers, what all of them do alike:
    /// broadcasts that nobody answers, joins, leaves and disconnections. Then they come back to the
    /// server that published them, by [`Inbox::receive_at`], and it does its part only then. Where
    /// the backend keeps them as well, its channels have a [`store`](Channel::store).
    fn is_ordered(&self) -> bool {
        false
    }
}

/// Where a channel delivers what other servers and emitters have published.
pub trait Inbox: Debug + Send + Sync + 'static {
    /// Takes a message. Messages of one server come in the order in which it published them. The
    /// server's own may come as well, and are ignored. Never blocks.
    fn receive(&self, message: Message);

    /// Takes a message with its place in the order of all servers. The server's own are acted upon,
    /// too. Never blocks.
    fn receive_at(&self, message: Message, offset: Offset) {
        let _ = offset;
        self.receive(message);
    }

    /// Counts what came and was no message, or could not be read, and tells it in the log: once a
    /// minute for each sender and reason.
    fn reject(&self, rejected: &Rejected);

    /// The names of this server's rooms, for buses whose servers ask each other for them.
    fn room_names(&self) -> Vec<String>;

    /// Says whether this server has sockets in a room, for buses that
    /// [follow rooms](Channel::follows_rooms). Default: it has none.
    fn has_room(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Says whether a room is a socket's own on this server, likewise.
    fn has_socket(&self, id: &str) -> bool {
        let _ = id;
        false
    }
}

/// Delivers several messages at once: what inboxes [receive](Inbox::receive) while `deliver` runs is
/// written to each client in one piece, in its order, when it returns.
///
/// For what a bus has read in one go. What is to be written waits in the clients' queues until then,
/// so no more than some dozens of KiB should be delivered so.
pub fn together<R>(deliver: impl FnOnce() -> R) -> R {
    let _turn = turn::begin();
    deliver()
}

/// The channel of one namespace.
///
/// Dropping it ends it, like [`close`](Channel::close), but without waiting.
pub trait Channel: Debug + Send + Sync + 'static {
    /// Publishes a message, for all servers or, where that is an answer, for one. Never blocks.
    ///
    /// Order is kept. Where the backend cannot be reached and what waits has passed the bound, the
    /// message is refused.
    ///
    /// # Errors
    ///
    /// [`PublishError`], and then nobody gets the message.
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError>;

    /// Says whether servers know each other by heartbeats. Otherwise they are counted by
    /// [`server_count`](Channel::server_count), and no heartbeat is published.
    fn has_heartbeats(&self) -> bool {
        true
    }

    /// Asks the backend for the number of servers, this one included. Only called where there are no
    /// heartbeats. It has a deadline of its own.
    fn server_count(&self) -> BoxFuture<'_, Result<usize, BusError>> {
        Box::pin(async { Ok(1) })
    }

    /// Says whether the channel is told by [`room_changed`](Channel::room_changed). Default: no.
    fn follows_rooms(&self) -> bool {
        false
    }

    /// Learns that a room of this server has got its first socket, or lost its last. Never blocks.
    ///
    /// Two changes of one room may be told in the wrong order: what holds is what
    /// [`Inbox::has_room`] says at each call.
    fn room_changed(&self, room: &str) {
        let _ = room;
    }

    /// Where clients are kept that may come back to any server, if the backend has room for them.
    fn store(&self) -> Option<Arc<dyn Store>> {
        None
    }

    /// Publishes what waits, within a deadline, and ends the channel.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PublishError {
    /// The channel is closed.
    #[error("the channel to the other servers is closed")]
    Closed,
    /// The backend cannot have a channel for this namespace: its name is too long, or of other
    /// characters.
    #[error("there is no channel to the other servers for a namespace of this name")]
    Namespace,
    /// The bus has panicked; the log says where.
    #[error("the bus panicked")]
    Panicked,
    /// Too much waits for a backend that cannot be reached or is too slow.
    #[error("too much waits to be published to the other servers")]
    Full,
    /// The backend takes no message of this size.
    #[error("the message is larger than the backend takes")]
    TooLarge,
}

/// Why the backend did not answer.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct BusError(pub String);
