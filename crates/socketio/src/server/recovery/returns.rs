//! Recovery across the servers of a cluster whose backend keeps broadcasts in one order.
//!
//! A client is kept in the cluster's store from the moment it is let in, not only when it has left: so
//! that it finds its place when its server is killed, and when it is back before its server has
//! noticed. Events to one client go the same way as broadcasts, so that one offset tells what it has
//! received.
//!
//! A client that comes back is let in between two broadcasts: what it has missed up to where this
//! server is when the client begins to wait is found among the recent broadcasts, which are read from
//! the backend as far back as somebody needs them; what comes from there on is gathered.

use socketio_proto::Printable;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use socketio_proto::cluster::streams::{Offset, StoredSession};
use socketio_proto::cluster::{Body, Uid};
use socketio_proto::socket::DisconnectReason;
use tokio::sync::Semaphore;

use super::super::Shared;
use super::super::adapter::LocalAdapter;
use super::super::broadcast::Target;
use super::super::cluster::{self, KeptClient, Lifetimes, NotTaken, Store};
use super::super::ending::Close;
use super::super::namespace::NamespaceInner;
use super::super::socket::Socket;
use super::Recovery;
use super::log::{Finished, NotRecovered, SUPERSEDED, is_recoverable, send_connect};
use crate::id::{Pid, SocketId};

/// The part of recovery across servers that a namespace's sockets share.
pub(crate) struct Returns {
    options: Recovery,
    lifetimes: Lifetimes,
    cluster: OnceLock<Cluster>,
    live: Mutex<Live>,
    /// So many are looked up at a time: what they have missed takes memory.
    turns: Semaphore,
    /// One at a time reads what is not among the recent broadcasts: it serves those behind it, too.
    reading: tokio::sync::Mutex<()>,
}

struct Cluster {
    store: Arc<dyn Store>,
    nsp: Box<str>,
    uid: Uid,
    /// Of clients.
    count: AtomicU64,
}

/// Where this server is in the order of broadcasts.
#[derive(Default)]
pub(crate) struct Live {
    received: Offset,
    waiting: Vec<Weak<Mutex<Gathered>>>,
    /// All broadcasts after this are recent.
    since: Option<Offset>,
    recent: VecDeque<Recent>,
    /// Bytes that they take.
    kept: usize,
}

struct Recent {
    offset: Offset,
    frames: Vec<Bytes>,
    target: Target,
}

/// What is broadcast while a client waits to be let in.
struct Gathered {
    session: StoredSession,
    /// What the client has.
    offset: Offset,
    frames: Vec<Bytes>,
    /// How many bytes there is room for; then the client has to come again.
    room: Option<usize>,
}

/// A client that may be let in.
pub(crate) struct Return {
    returns: Arc<Returns>,
    client: Arc<KeptClient>,
    missed: Vec<Bytes>,
    gathered: Arc<Mutex<Gathered>>,
    skips_middlewares: bool,
}

const TURNS: usize = 16;
/// After so long in the queue a client is sent away, to come again.
const TURN: Duration = Duration::from_secs(10);

impl Returns {
    pub(crate) fn new(options: &Recovery, server: &Shared) -> Arc<Returns> {
        let engine = server.engine();
        let away = options.max_disconnection;
        Arc::new(Returns {
            options: options.clone(),
            lifetimes: Lifetimes {
                away,
                connected: away + engine.ping_interval + engine.ping_timeout,
            },
            cluster: OnceLock::new(),
            live: Mutex::default(),
            turns: Semaphore::new(TURNS),
            reading: tokio::sync::Mutex::default(),
        })
    }

    /// The adapter has opened its channel.
    pub(crate) fn open(&self, store: Option<Arc<dyn Store>>, nsp: &str, uid: &Uid) {
        let (nsp, uid) = (nsp.into(), uid.clone());
        if let Some(store) = store {
            // Once only, as the adapter.
            let _ = self.cluster.set(Cluster {
                store,
                nsp,
                uid,
                count: AtomicU64::new(0),
            });
        }
    }

    /// Makes a new client; `None` where clients are not kept.
    pub(crate) fn client(&self, sid: &SocketId) -> Option<Arc<KeptClient>> {
        let cluster = self.cluster.get()?;
        let (pid, owner) = (Pid::generate(), cluster.owner());
        Some(self.make(cluster, pid, sid.clone(), serde_json::Value::Null, owner))
    }

    /// Bytes that one client may have missed.
    fn room(&self) -> usize {
        self.options.max_bytes / TURNS
    }

    fn make(
        &self,
        cluster: &Cluster,
        pid: Pid,
        sid: SocketId,
        data: serde_json::Value,
        owner: Uid,
    ) -> Arc<KeptClient> {
        let place = (&*cluster.nsp, owner);
        Arc::new(KeptClient::new(pid, sid, data, place, self.lifetimes))
    }

    /// A client's rooms or data have changed, or where it is.
    pub(crate) fn changed(&self, client: &Arc<KeptClient>) {
        if let Some(cluster) = self.cluster.get()
            && client.waits()
        {
            cluster.store.keep(client.clone());
        }
    }

    /// A client has answered a ping.
    pub(crate) fn ponged(&self, client: &Arc<KeptClient>) {
        client.is_alive();
        self.changed(client);
    }

    // --- Broadcasts ---

    /// Nobody is let in while this is held.
    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock()
    }

    /// A broadcast has reached those that are here.
    pub(crate) fn received(
        &self,
        live: &mut Live,
        offset: Offset,
        frames: &[Bytes],
        target: &Target,
    ) {
        if offset <= live.received {
            // The backend has lost its end, and numbers begin again somewhere before it.
            live.recent.clear();
            live.kept = 0;
            live.since = None;
        }
        live.gather(offset, frames, target);
        let recent = Recent {
            offset,
            frames: frames.to_vec(),
            target: target.clone(),
        };
        live.since.get_or_insert(offset);
        live.kept += recent.size();
        live.recent.push_back(recent);
        let oldest = offset.milliseconds;
        let oldest = oldest.saturating_sub(self.lifetimes.connected.as_millis() as u64);
        while live.kept > self.options.max_bytes
            || live
                .recent
                .front()
                .is_some_and(|first| first.offset.milliseconds < oldest)
        {
            let Some(first) = live.recent.pop_front() else {
                break;
            };
            live.since = Some(first.offset);
            live.kept -= first.size();
        }
    }

    /// Bytes that are kept for clients.
    pub(crate) fn kept(&self) -> usize {
        self.live.lock().kept
    }

    // --- Leaving ---

    /// Takes note that a socket leaves; false if it has left already.
    pub(crate) fn leave(
        &self,
        socket: &Socket,
        client: &Arc<KeptClient>,
        reason: DisconnectReason,
    ) -> bool {
        if !socket.has_left() {
            return false;
        }
        match is_recoverable(reason) {
            true => client.leave(socket.rooms()),
            false => client.end(),
        }
        self.changed(client);
        true
    }

    // --- Coming back ---

    /// Says whether a message that disconnects sockets is about one whose client has come back to
    /// another server, and if so ends that.
    pub(crate) fn was_taken(&self, local: &LocalAdapter, target: &Target) -> bool {
        let [room] = &*target.rooms else {
            return false;
        };
        let old = room
            .split_once(' ')
            .and_then(|(_, sid)| local.socket(&sid.into()));
        let is_meant = |old: &Socket| {
            old.kept()
                .is_some_and(|client| client.taken_room() == *room)
        };
        old.filter(is_meant).inspect(supersede).is_some()
    }

    /// Looks up a client that proves who it is, and what it has missed.
    pub(crate) async fn claim(
        self: &Arc<Returns>,
        namespace: &NamespaceInner,
        pid: &str,
        offset: Option<&str>,
    ) -> Result<Return, NotRecovered> {
        let cluster = self.cluster.get().ok_or(NotRecovered::Unknown)?;
        let offset = offset.and_then(|offset| offset.parse().ok());
        let offset: Offset = offset.ok_or(NotRecovered::Offset)?;
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| NotRecovered::Later)?;
        let (owner, lifetime) = (cluster.owner(), self.lifetimes.away);
        let taken = cluster.store.take(pid, offset, &owner, lifetime).await;
        let taken = taken.map_err(|error| {
            tracing::debug!(error = %Printable::new(&error), "a client was not recovered");
            match error {
                NotTaken::Later(_) => NotRecovered::Later,
                NotTaken::Offset => NotRecovered::Offset,
                NotTaken::Unknown => NotRecovered::Unknown,
            }
        })?;
        // Node does not tell. Who has a private id of another namespace is not to evade the middlewares.
        let is_of_namespace = taken.session.nsp.is_some();
        let sid = SocketId::from(taken.session.sid.as_str());
        if let Some(old) = namespace.local().socket(&sid) {
            supersede(&old);
        }
        let data = serde_json::from_str(taken.session.data.as_str()).unwrap_or_default();
        let client = self.make(cluster, Pid::from(pid), sid, data, owner);
        client.set_stored(Some(taken.stored));
        let gathered = Arc::new(Mutex::new(Gathered {
            session: taken.session,
            offset,
            frames: Vec::new(),
            room: Some(self.room()),
        }));
        let mut claim = Return {
            returns: self.clone(),
            client,
            missed: Vec::new(),
            gathered,
            skips_middlewares: is_of_namespace && self.options.skip_middlewares,
        };
        if !claim.find()? {
            let reading = tokio::time::timeout(TURN, self.reading.lock()).await;
            let _reading = reading.map_err(|_| NotRecovered::Later)?;
            self.read_back(namespace, offset, taken.received).await?;
            if !claim.find()? {
                return Err(NotRecovered::Later);
            }
        }
        Ok(claim)
    }

    /// Reads what was published after `after`, as far as it is not recent.
    async fn read_back(
        &self,
        namespace: &NamespaceInner,
        mut after: Offset,
        received: Offset,
    ) -> Result<(), NotRecovered> {
        let cluster = self.cluster.get().ok_or(NotRecovered::Later)?;
        let (since, until) = (after, self.live.lock().since);
        // Nothing of this namespace has come since this server reads.
        let end = until.unwrap_or(received);
        let (mut read, mut size) = (Vec::new(), 0);
        while after < end {
            let page = cluster.store.published(after, end).await;
            let page = page.map_err(|error| {
                tracing::debug!(error = %Printable::new(&error), "a client was not recovered");
                NotRecovered::Later
            })?;
            let page = page.ok_or(NotRecovered::Offset)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (offset, message) in page {
                // What is volatile, or was to be answered, is not sent again.
                let Some(Body::Broadcast {
                    event,
                    opts,
                    request_id: None,
                }) = message.map(|message| message.body)
                else {
                    continue;
                };
                if opts.flags.volatile {
                    continue;
                }
                let packet = cluster::packet(namespace, &event, &opts, None, Some(offset));
                let Some(packet) = packet else { continue };
                let recent = Recent {
                    offset,
                    frames: namespace.local().finish(&packet),
                    target: cluster::target(&opts),
                };
                size += recent.size();
                if size > self.options.max_bytes {
                    return Err(NotRecovered::Offset);
                }
                read.push(recent);
            }
        }
        let mut live = self.live.lock();
        let is_next = match until {
            // The first that has come is still there.
            None => live.since == live.recent.front().map(|first| first.offset),
            Some(_) => live.since == until,
        };
        if is_next {
            // The one at the end may be there already.
            let first = live.recent.front().map(|first| first.offset);
            read.retain(|recent| first.is_none_or(|first| recent.offset < first));
            live.since = Some(since);
            live.kept += read.iter().map(Recent::size).sum::<usize>();
            read.into_iter()
                .rev()
                .for_each(|recent| live.recent.push_front(recent));
        }
        Ok(())
    }
}

/// Whoever knows the private id is the client: its old connection is dead. Should it not be, because
/// this was asked for by a connection that is even older, the client comes back once more.
fn supersede(old: &Socket) {
    if let Some(client) = old.kept() {
        client.supersede();
    }
    old.0.session.close(Close::broken(SUPERSEDED));
    old.left(DisconnectReason::TransportError, Some(SUPERSEDED));
    old.0.namespace.remove(old);
}

impl Cluster {
    /// Makes an owner of a session; see [`Store::take`].
    fn owner(&self) -> Uid {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        Uid::new(format!("{}.{number}", self.uid))
    }
}

impl Live {
    fn gather(&mut self, offset: Offset, frames: &[Bytes], target: &Target) {
        self.received = offset;
        self.waiting.retain(|waiting| {
            let Some(gathered) = waiting.upgrade() else {
                return false;
            };
            let mut gathered = gathered.lock();
            if offset > gathered.offset && target.reaches(&gathered.session.rooms) {
                let size = frames.iter().map(Bytes::len).sum();
                gathered.room = gathered.room.and_then(|room| room.checked_sub(size));
                match gathered.room {
                    Some(_) => gathered.frames.extend_from_slice(frames),
                    None => gathered.frames.clear(),
                }
            }
            true
        });
    }
}

impl Recent {
    fn size(&self) -> usize {
        let frames = self
            .frames
            .iter()
            .map(|frame| frame.len() + size_of::<Bytes>());
        let names = self.target.rooms.iter().chain(&self.target.except);
        let names = names.map(|name| name.len() + size_of::<String>());
        size_of::<Recent>() + frames.chain(names).sum::<usize>()
    }
}

impl Return {
    pub(crate) fn client(&self) -> &Arc<KeptClient> {
        &self.client
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.skips_middlewares
    }

    /// Finds what the client has missed among what is recent, and begins to gather what comes; false if
    /// that does not reach back far enough.
    fn find(&mut self) -> Result<bool, NotRecovered> {
        let mut live = self.returns.live.lock();
        let gathered = self.gathered.lock();
        if live.since.is_none_or(|since| since > gathered.offset) {
            return Ok(false);
        }
        live.waiting.retain(|waiting| waiting.strong_count() > 0);
        live.waiting.push(Arc::downgrade(&self.gathered));
        // Most have missed little.
        let recent = live.recent.iter().rev();
        let missed = recent.take_while(|recent| recent.offset > gathered.offset);
        let mut room = self.returns.room();
        for recent in missed.filter(|recent| recent.target.reaches(&gathered.session.rooms)) {
            let size = recent.frames.iter().map(Bytes::len).sum();
            room = room.checked_sub(size).ok_or(NotRecovered::Offset)?;
            self.missed.extend(recent.frames.iter().rev().cloned());
        }
        self.missed.reverse();
        Ok(true)
    }

    /// Lets the client in: it gets what it has missed, and everything from here on.
    ///
    /// CONNECT goes first. The official server sends it last; but a client keeps what comes before
    /// CONNECT without remembering its offset, and should the connection break in between, gets it
    /// twice.
    pub(crate) fn finish(mut self, socket: &Socket, local: &LocalAdapter) -> Finished {
        let live = self.returns.live.lock();
        if self.gathered.lock().room.is_none() || !socket.enter() {
            return Finished::Failed;
        }
        let (rooms, gathered) = {
            let mut gathered = self.gathered.lock();
            let frames = std::mem::take(&mut gathered.frames);
            (std::mem::take(&mut gathered.session.rooms), frames)
        };
        let events = local.join_quietly(socket, &rooms);
        let session = &socket.0.session;
        send_connect(socket, self.client.private_id());
        for frame in self.missed.drain(..).chain(gathered) {
            session.send_anyway(|outbox| outbox.push_shared(frame));
        }
        self.client.begin(socket);
        drop(live);
        self.returns.changed(&self.client);
        local.tell(&events);
        Finished::Recovered
    }
}
