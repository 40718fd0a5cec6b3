//! Where clients are kept that may come back to any server of a cluster.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use socketio_proto::cluster::streams::{Offset, StoredSession};
use socketio_proto::cluster::{Message, Uid, Values};

use super::bus::BusError;
use crate::id::{Pid, SocketId};
use crate::server::socket::{Socket, SocketInner};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The part of a [`Channel`](super::Channel) that keeps clients, and finds what they have missed.
pub trait Store: Debug + Send + Sync + 'static {
    /// Keeps a client that has changed: [`KeptClient::take_change`] tells what is to be stored, and is
    /// asked when the change is written. Comes before everything that is published after this call.
    /// Never blocks.
    fn keep(&self, client: Arc<KeptClient>);

    /// Makes `owner` the owner of a session, if the client has everything up to `offset`. The server
    /// that believed the client to be with it is told: by a message, in its turn, that disconnects the
    /// sockets in the [`taken_room`] of the owner before. From then on the session is kept for
    /// `lifetime`: should this server fail, the client may come to another.
    ///
    /// An owner begins with the id of its server, and is another each time: what an earlier one of the
    /// same server still has to write must not be mistaken for this one's.
    ///
    /// When this is done, this server has received all that was published before it was. It has a
    /// deadline of its own, and may be dropped before it is done.
    ///
    /// # Errors
    ///
    /// [`NotTaken`].
    fn take<'a>(
        &'a self,
        pid: &'a str,
        offset: Offset,
        owner: &'a Uid,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Taken, NotTaken>>;

    /// Gives what was published after `after`, which must still be there, and not after `until`: the
    /// first part of it, and nothing if there is no more. What is no message of this namespace is
    /// `None`. It has a deadline of its own.
    ///
    /// # Errors
    ///
    /// When the backend does not answer, and `Ok(None)` when `after` is not there any more.
    fn published(
        &self,
        after: Offset,
        until: Offset,
    ) -> BoxFuture<'_, Result<Option<Published>, BusError>>;
}

/// The room that nobody is in but one owner's socket, for the message that tells it that its client has
/// come back elsewhere.
pub fn taken_room(owner: &Uid, sid: &str) -> String {
    format!("{owner} {sid}")
}

/// What was published, with its places.
pub type Published = Vec<(Offset, Option<Message>)>;

/// A session that was taken.
#[derive(Debug)]
pub struct Taken {
    /// What it was.
    pub session: StoredSession,
    /// As it is stored from now on; see [`KeptClient::set_stored`].
    pub stored: String,
    /// Everything up to here has been received.
    pub received: Offset,
}

/// Why a session was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// The backend does not answer.
    #[error("the session cannot be taken now: {0}")]
    Later(BusError),
    /// What follows the offset is not kept any more.
    #[error("the offset is not known")]
    Offset,
    /// There is no session of this namespace under this private id.
    #[error("the private id is not known")]
    Unknown,
}

/// A client of this server as it is kept, so that it may come back to any.
pub struct KeptClient {
    pid: Pid,
    sid: SocketId,
    nsp: Box<str>,
    owner: Uid,
    lifetimes: Lifetimes,
    is_waiting: AtomicBool,
    state: Mutex<State>,
}

/// How long a session is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// After the client has left.
    pub(crate) away: Duration,
    /// After a sign of life.
    pub(crate) connected: Duration,
}

struct State {
    place: Place,
    data: Value,
    is_alive: bool,
    stored: Option<String>,
}

enum Place {
    /// Not let in yet.
    Coming,
    Live(Weak<SocketInner>),
    /// With the rooms it was in.
    Away(Vec<String>),
    /// It has left for good.
    Ended,
    /// It has another connection.
    Superseded,
}

/// What of a client is to be written.
#[derive(Debug)]
pub struct Change {
    /// What is stored from now on, and for how long; nothing if the client has left for good.
    pub session: Option<(StoredSession, Duration)>,
    /// The client has just answered: if nothing is stored, it was lost and is stored again.
    /// Otherwise somebody has taken it, and nothing is to be stored.
    pub is_alive: bool,
}

impl KeptClient {
    pub(crate) fn new(
        pid: Pid,
        sid: SocketId,
        data: Value,
        (nsp, owner): (&str, Uid),
        lifetimes: Lifetimes,
    ) -> KeptClient {
        KeptClient {
            pid,
            sid,
            nsp: nsp.into(),
            owner,
            lifetimes,
            is_waiting: AtomicBool::new(false),
            state: Mutex::new(State {
                place: Place::Coming,
                data,
                is_alive: false,
                stored: None,
            }),
        }
    }

    /// The private id.
    pub fn pid(&self) -> &str {
        self.pid.as_str()
    }

    pub(crate) fn private_id(&self) -> &Pid {
        &self.pid
    }

    /// The room by which its server is told that it has come back elsewhere.
    pub(crate) fn taken_room(&self) -> String {
        taken_room(&self.owner, self.sid.as_str())
    }

    pub(crate) fn sid(&self) -> &SocketId {
        &self.sid
    }

    /// Gives what is to be stored now, and begins to look for the next change. `None` if there is
    /// nothing to be done.
    pub fn take_change(&self) -> Option<Change> {
        self.is_waiting.store(false, Ordering::Release);
        let (socket, data, is_alive) = {
            let mut state = self.state.lock();
            let is_alive = std::mem::take(&mut state.is_alive);
            let data = || state.data.to_string();
            match &state.place {
                Place::Coming | Place::Superseded => return None,
                Place::Ended => {
                    let session = None;
                    return Some(Change { session, is_alive });
                }
                Place::Away(rooms) => {
                    let session = self.session(rooms.clone(), data(), None)?;
                    let session = Some((session, self.lifetimes.away));
                    let is_alive = false;
                    return Some(Change { session, is_alive });
                }
                Place::Live(socket) => (socket.upgrade().map(Socket)?, data(), is_alive),
            }
        };
        // The index of rooms has a lock that comes before the client's.
        let session = self.session(socket.rooms(), data, Some(self.owner.clone()))?;
        let session = Some((session, self.lifetimes.connected));
        Some(Change { session, is_alive })
    }

    /// Remembers what is stored from now on, and gives what was before: nobody else has written that.
    pub fn set_stored(&self, stored: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.state.lock().stored, stored)
    }

    fn session(
        &self,
        rooms: Vec<String>,
        data: String,
        owner: Option<Uid>,
    ) -> Option<StoredSession> {
        Some(StoredSession {
            sid: self.sid.as_str().to_owned(),
            pid: self.pid.as_str().to_owned(),
            rooms,
            data: Values::new(data, Vec::new())?,
            nsp: Some(self.nsp.to_string()),
            owner,
        })
    }

    /// Notes that it is to be written; false if that is so already.
    pub(crate) fn waits(&self) -> bool {
        !self.is_waiting.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn data(&self) -> Value {
        self.state.lock().data.clone()
    }

    pub(crate) fn set_data(&self, data: Value) {
        self.state.lock().data = data;
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state.lock().place, Place::Ended)
    }

    /// From here on a socket stands for the client.
    pub(crate) fn begin(&self, socket: &Socket) {
        self.state.lock().place = Place::Live(Arc::downgrade(&socket.0));
    }

    /// The client has answered.
    pub(crate) fn is_alive(&self) {
        self.state.lock().is_alive = true;
    }

    /// The client has left, and may come back with these rooms.
    pub(crate) fn leave(&self, rooms: Vec<String>) {
        self.move_on(Place::Away(rooms));
    }

    pub(crate) fn end(&self) {
        self.move_on(Place::Ended);
    }

    /// The client has come back on another connection: this one stores nothing any more.
    pub(crate) fn supersede(&self) {
        self.move_on(Place::Superseded);
    }

    fn move_on(&self, place: Place) {
        let mut state = self.state.lock();
        if matches!(state.place, Place::Live(_)) {
            state.place = place;
        }
    }
}

impl fmt::Debug for KeptClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptClient")
            .field("sid", &self.sid)
            .finish_non_exhaustive()
    }
}
