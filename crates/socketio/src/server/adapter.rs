//! Who is where, and how many are reached: the index of one namespace, and the interface through
//! which a cluster widens it to other servers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use socketio_proto::cluster;
use socketio_proto::socket::Parser;
use thiserror::Error;

use super::ack::{Collector, Waiter};
use super::broadcast::{Flags, Target};
use super::emit::Waiting;
use super::namespace::{Namespace, NamespaceInner};
use super::outbox::SharedFrames;
use super::recovery::{Log, Recoveries, Returns};
use super::remote::RemoteSocket;
use super::rooms::{Member, Rooms};
use super::socket::Socket;
use super::turn;
use crate::application::{Application, Callback};
use crate::args::Args;
use crate::encode::{EventArgs, EventHead};
use crate::error::EmitError;
use crate::id::SocketId;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a namespace reaches its sockets.
///
/// The methods' defaults reach the sockets of this server through [`local`](Adapter::local). An
/// adapter for several servers overrides them, tells the others, and calls the local ones too.
///
/// Calls of one socket's events come in their order. No method may block. One that panics has done
/// nothing: it is logged and counted ([`Stats::panics`](crate::Stats::panics)), and what would wait for its
/// answer gets [`AdapterError::Unreachable`]. A namespace whose adapter could not even be made is without
/// the other servers.
pub trait Adapter: fmt::Debug + Send + Sync + 'static {
    /// The index of this server's sockets.
    fn local(&self) -> &Arc<LocalAdapter>;

    /// Says whether [`BroadcastPacket::args`] has to be filled.
    fn needs_args(&self) -> bool {
        false
    }

    /// Learns which namespace it serves, inside the runtime, before anything else is asked of it.
    fn init(&self, namespace: &Namespace) {
        let _ = namespace;
    }

    /// Makes a socket of this server join rooms.
    fn join(&self, socket: &Socket, rooms: &[String]) {
        self.local().join(socket, rooms);
    }

    /// Makes a socket of this server leave rooms.
    fn leave(&self, socket: &Socket, rooms: &[String]) {
        self.local().leave(socket, rooms);
    }

    /// Sends a packet to all sockets of the target.
    fn broadcast(&self, packet: &BroadcastPacket, target: &Target) {
        self.local().broadcast(packet, target);
    }

    /// Sends a packet that is to be answered, and gives the number of its receivers.
    fn broadcast_with_ack(&self, packet: &BroadcastPacket, target: &Target) -> usize {
        self.local().broadcast(packet, target)
    }

    /// Gives the sockets of the target.
    fn fetch_sockets<'a>(
        &'a self,
        target: &'a Target,
        local: bool,
    ) -> BoxFuture<'a, Result<Vec<RemoteSocket>, AdapterError>> {
        let _ = local;
        Box::pin(async move { Ok(self.local().fetch_sockets(target)) })
    }

    /// Makes the sockets of the target join rooms.
    fn sockets_join(&self, target: &Target, rooms: &[String], local: bool) {
        let _ = local;
        self.local()
            .select(target)
            .iter()
            .for_each(|socket| self.join(socket, rooms));
    }

    /// Makes the sockets of the target leave rooms.
    fn sockets_leave(&self, target: &Target, rooms: &[String], local: bool) {
        let _ = local;
        self.local()
            .select(target)
            .iter()
            .for_each(|socket| self.leave(socket, rooms));
    }

    /// Makes the sockets of the target leave the namespace, and closes their connections if asked.
    fn disconnect_sockets(&self, target: &Target, close: bool, local: bool) {
        let _ = local;
        self.local().disconnect(target, close);
    }

    /// Sends an event to the other servers, and gives their answers if they are wanted.
    fn server_side_emit<'a>(
        &'a self,
        event: &'a str,
        args: Args,
        answers: bool,
    ) -> BoxFuture<'a, Result<Vec<Value>, AdapterError>> {
        let _ = (event, args, answers);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Gives the number of servers, this one included.
    fn server_count(&self) -> BoxFuture<'_, Result<usize, AdapterError>> {
        Box::pin(async { Ok(1) })
    }

    /// Ends the adapter, when its namespace is closed.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Why other servers of a cluster could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The connection to the other servers is broken.
    #[error("the other servers cannot be reached: {0}")]
    Unreachable(String),
    /// Some servers did not answer in time.
    #[error("timeout reached: missing {missing} responses")]
    Timeout {
        /// The sockets which those that answered have.
        sockets: Vec<RemoteSocket>,
        /// The answers of those that answered.
        answers: Vec<Value>,
        /// How many servers did not answer.
        missing: usize,
        /// What those call themselves, where that is known.
        servers: Vec<String>,
    },
    /// The namespace stands for several: ask them one by one.
    #[error("fetchSockets() is not supported on parent namespaces")]
    ParentNamespace,
}

/// An event for many sockets, encoded once.
#[derive(Clone)]
#[non_exhaustive]
pub struct BroadcastPacket {
    /// The event's name.
    pub event: String,
    /// The arguments, if [`Adapter::needs_args`] says that they are needed.
    pub args: Option<Args>,
    /// The finished frames, or what they are made of when each broadcast carries an offset.
    pub(crate) frames: Frames,
    pub(crate) flags: Flags,
    /// Its place in the order of all servers, if it is one that clients remember.
    pub(crate) offset: Option<cluster::streams::Offset>,
    /// Gathers what waits for room, where that is the policy.
    pub(crate) waiting: Option<Arc<Mutex<Vec<Waiting>>>>,
    /// Set when the receivers are to answer.
    pub(crate) collector: Option<(u64, Arc<Collector>)>,
}

impl BroadcastPacket {
    /// An event that another server has sent.
    pub(crate) fn received(
        namespace: &NamespaceInner,
        event: &str,
        args: &Args,
        flags: Flags,
        collector: Option<(u64, Arc<Collector>)>,
    ) -> Result<BroadcastPacket, EmitError> {
        let flags = flags.or_policy_of(namespace.handlers());
        let id = collector.as_ref().map(|(id, _)| *id);
        Ok(BroadcastPacket {
            event: event.to_owned(),
            args: namespace
                .local()
                .application()
                .listens_to_outgoing()
                .then(|| args.clone()),
            frames: namespace.encode_event(event, args, id, &flags)?,
            flags,
            offset: None,
            // Nobody is there who could wait.
            waiting: None,
            collector,
        })
    }

    /// Says whether the packet is for this server's sockets only.
    pub fn is_local(&self) -> bool {
        self.flags.local
    }

    /// Says whether the packet may be dropped.
    pub fn is_volatile(&self) -> bool {
        self.flags.volatile
    }
}

/// The frames of a broadcast.
#[derive(Clone)]
pub(crate) enum Frames {
    Finished(Vec<Bytes>),
    /// To be finished with an offset, which only the server that sends it knows.
    Unfinished(EventArgs),
}

impl fmt::Debug for BroadcastPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastPacket")
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// What happens to rooms: listeners learn it in order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// A room has its first socket.
    Created(String),
    /// A room has lost its last socket.
    Deleted(String),
    /// A socket has joined a room.
    Joined(String, SocketId),
    /// A socket has left a room.
    Left(String, SocketId),
}

type RoomListener = dyn Fn(&RoomEvent) + Send + Sync;

/// The sockets of one namespace on this server and the rooms they are in.
pub struct LocalAdapter {
    rooms: RwLock<Rooms<Socket>>,
    recoveries: Option<Recoveries>,
    nsp: Box<str>,
    parser: Option<Arc<dyn Parser>>,
    application: Arc<Application>,
    listeners: RwLock<Vec<Arc<RoomListener>>>,
    has_listeners: AtomicBool,
}

impl Member for Socket {
    fn id(&self) -> &SocketId {
        Socket::id(self)
    }
}

impl LocalAdapter {
    pub(crate) fn new(
        nsp: &str,
        parser: Option<&Arc<dyn Parser>>,
        recoveries: Option<Recoveries>,
        application: &Arc<Application>,
    ) -> LocalAdapter {
        LocalAdapter {
            rooms: RwLock::new(Rooms::new()),
            recoveries,
            nsp: nsp.into(),
            parser: parser.cloned(),
            application: application.clone(),
            listeners: RwLock::default(),
            has_listeners: AtomicBool::new(false),
        }
    }

    /// The way to the application's code.
    pub(crate) fn application(&self) -> &Arc<Application> {
        &self.application
    }

    /// What is remembered for clients that come back.
    pub(crate) fn recoveries(&self) -> Option<&Recoveries> {
        self.recoveries.as_ref()
    }

    /// The same, where this server alone remembers.
    pub(crate) fn log(&self) -> Option<&Arc<Log>> {
        match &self.recoveries {
            Some(Recoveries::Log(log)) => Some(log),
            Some(Recoveries::Returns(_)) | None => None,
        }
    }

    /// The same, where the cluster remembers.
    pub(crate) fn returns(&self) -> Option<&Arc<Returns>> {
        match &self.recoveries {
            Some(Recoveries::Returns(returns)) => Some(returns),
            Some(Recoveries::Log(_)) | None => None,
        }
    }

    /// A socket's rooms are others now.
    fn moved(&self, socket: &Socket) {
        if let (Some(returns), Some(client)) = (self.returns(), socket.kept()) {
            returns.changed(client);
        }
    }

    /// Finishes the frames of a packet that another server has numbered.
    pub(crate) fn finish(&self, packet: &BroadcastPacket) -> Vec<Bytes> {
        match &packet.frames {
            Frames::Finished(frames) => frames.clone(),
            Frames::Unfinished(args) => {
                let offset = packet.offset.map(|offset| offset.to_string());
                let offset = offset.as_ref().map(|offset| offset.as_bytes());
                args.to_shared(self.head(packet), offset)
            }
        }
    }

    fn head<'a>(&'a self, packet: &'a BroadcastPacket) -> EventHead<'a> {
        EventHead {
            parser: self.parser.as_ref(),
            nsp: &self.nsp,
            id: None,
            name: &packet.event,
        }
    }

    /// The number of sockets.
    pub fn len(&self) -> usize {
        self.rooms.read().len()
    }

    /// Says whether there is no socket.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a socket by its id.
    pub fn socket(&self, id: &SocketId) -> Option<Socket> {
        self.rooms.read().get(id).cloned()
    }

    /// The names of all rooms, those of the sockets' ids included.
    pub fn room_names(&self) -> Vec<String> {
        self.rooms.read().rooms().map(str::to_owned).collect()
    }

    /// Says whether a room has sockets, each of which is in the room of its id unless it has left that.
    pub fn has_room(&self, name: &str) -> bool {
        self.rooms.read().contains_room(name)
    }

    /// Gives the sockets of a target, each once.
    pub fn select(&self, target: &Target) -> Vec<Socket> {
        let mut selected = Vec::new();
        let rooms = self.rooms.read();
        rooms.select(&target.rooms, &target.except, |socket| {
            if socket.is_connected() {
                selected.push(socket.clone());
            }
        });
        selected
    }

    /// Makes the sockets of a target leave the namespace, and closes their connections if asked.
    pub fn disconnect(&self, target: &Target, close: bool) {
        for socket in self.select(target) {
            if close {
                socket.disconnect_and_close();
            } else {
                socket.disconnect();
            }
        }
    }

    /// Describes the sockets of a target.
    pub fn fetch_sockets(&self, target: &Target) -> Vec<RemoteSocket> {
        self.select(target).iter().map(RemoteSocket::of).collect()
    }

    /// Calls a function for everything that happens to rooms. It must not block; should it panic, what
    /// has happened stays so, and it is told of the next thing again.
    pub fn on_room_event(&self, listener: impl Fn(&RoomEvent) + Send + Sync + 'static) {
        let listener = self.application.hold(listener);
        let listener = move |event: &RoomEvent| (*listener)(event);
        self.listeners.write().push(Arc::new(listener));
        self.has_listeners.store(true, Ordering::Release);
    }

    /// Makes a socket join rooms.
    pub fn join(&self, socket: &Socket, names: &[String]) {
        let events = self.join_quietly(socket, names);
        self.moved(socket);
        self.tell(&events);
    }

    /// The same, where listeners cannot be told yet; gives what they are to be told.
    pub(crate) fn join_quietly(&self, socket: &Socket, names: &[String]) -> Vec<RoomEvent> {
        let mut events = Vec::new();
        {
            let mut rooms = self.rooms.write();
            let slot = socket.slot();
            if rooms.at(slot) != Some(socket) {
                return events;
            }
            for name in names {
                let joined = rooms.join(slot, name);
                if self.has_listeners.load(Ordering::Acquire) {
                    if joined.created {
                        events.push(RoomEvent::Created(name.clone()));
                    }
                    if joined.joined {
                        events.push(RoomEvent::Joined(name.clone(), socket.id().clone()));
                    }
                }
            }
        }
        events
    }

    /// Makes a socket leave rooms.
    pub fn leave(&self, socket: &Socket, names: &[String]) {
        let mut events = Vec::new();
        {
            let mut rooms = self.rooms.write();
            let slot = socket.slot();
            if rooms.at(slot) != Some(socket) {
                return;
            }
            for name in names {
                let left = rooms.leave(slot, name);
                if left.left {
                    events.push(RoomEvent::Left(name.clone(), socket.id().clone()));
                }
                if left.deleted {
                    events.push(RoomEvent::Deleted(name.clone()));
                }
            }
        }
        self.moved(socket);
        self.tell(&events);
    }

    /// Sends a packet to this server's sockets of the target and gives their number.
    pub fn broadcast(&self, packet: &BroadcastPacket, target: &Target) -> usize {
        let _turn = turn::begin();
        let mut receivers = 0;
        let mut full = Vec::new();
        let mut told = Vec::new();
        let finished;
        let mut numbered = None;
        let frames = match (&packet.frames, self.log()) {
            (Frames::Finished(frames), _) => frames,
            (Frames::Unfinished(args), Some(log)) => {
                let log = numbered.insert(log.number());
                finished = args.to_shared(self.head(packet), Some(log.offset().as_bytes()));
                &finished
            }
            (Frames::Unfinished(_), None) => {
                finished = self.finish(packet);
                &finished
            }
        };
        let returns = packet
            .offset
            .and_then(|offset| Some((self.returns()?, offset)));
        let live = returns.map(|(returns, offset)| (returns, returns.live(), offset));
        let shared = SharedFrames::new(frames);
        let number = numbered.as_ref().map(|numbered| numbered.number);
        self.rooms
            .read()
            .select(&target.rooms, &target.except, |socket| {
                if !socket.is_connected() {
                    return;
                }
                receivers += 1;
                if let Some((id, collector)) = &packet.collector {
                    collector.add(socket.clone());
                    // Its answer is ignored, as one that comes too late.
                    if !socket.expect_ack(*id, Waiter::Many(collector.clone())) {
                        collector.gone();
                    }
                }
                if packet.args.is_some() {
                    told.push(socket.clone());
                }
                let send = || socket.0.session.send_shared(&shared, &packet.flags);
                let sent = match (number, socket.trail()) {
                    (Some(number), Some(trail)) => trail.broadcast(number, send),
                    _ => send(),
                };
                if sent.is_err() {
                    full.push(socket.clone());
                }
            });
        if let Some(numbered) = numbered {
            numbered.keep(frames, target);
        }
        if let Some((returns, mut live, offset)) = live {
            returns.received(&mut live, offset, frames, target);
        }
        // Both may run code that takes the index's lock.
        if let Some(args) = &packet.args {
            told.iter()
                .for_each(|socket| socket.tell_broadcast(&packet.event, args));
        }
        for socket in full {
            let session = &socket.0.session;
            match &packet.waiting {
                Some(waiting) if number.is_none() => {
                    waiting
                        .lock()
                        .push(Waiting::new(session, frames.clone(), packet.flags));
                }
                _ => session.overflowed(&packet.flags),
            }
        }
        receivers
    }

    pub(crate) fn rooms_of(&self, socket: &Socket) -> Vec<String> {
        let rooms = self.rooms.read();
        if rooms.at(socket.slot()) != Some(socket) {
            return Vec::new();
        }
        rooms.rooms_of(socket.slot()).map(str::to_owned).collect()
    }

    pub(crate) fn insert(&self, socket: &Socket) {
        let id = socket.id();
        let tell = self.has_listeners.load(Ordering::Acquire);
        let created = {
            let mut rooms = self.rooms.write();
            let created = tell && !rooms.contains_room(id.as_str());
            let slot = rooms.insert(socket.clone());
            socket.0.slot.store(slot.0, Ordering::Release);
            created
        };
        if tell {
            let name = id.as_str().to_owned();
            let joined = RoomEvent::Joined(name.clone(), id.clone());
            match created {
                true => self.tell(&[RoomEvent::Created(name), joined]),
                false => self.tell(&[joined]),
            }
        }
    }

    pub(crate) fn remove(&self, socket: &Socket) -> bool {
        let mut events = Vec::new();
        {
            let mut rooms = self.rooms.write();
            let slot = socket.slot();
            if rooms.at(slot) != Some(socket) {
                return false;
            }
            let tell = self.has_listeners.load(Ordering::Acquire);
            let mut left = |name: &str, deleted| {
                events.push(RoomEvent::Left(name.to_owned(), socket.id().clone()));
                if deleted {
                    events.push(RoomEvent::Deleted(name.to_owned()));
                }
            };
            rooms.remove(slot, tell.then_some(&mut left));
        }
        self.tell(&events);
        true
    }

    pub(crate) fn tell(&self, events: &[RoomEvent]) {
        if !events.is_empty() && self.has_listeners.load(Ordering::Acquire) {
            let listeners = self.listeners.read().clone();
            for (event, listener) in events
                .iter()
                .flat_map(|e| listeners.iter().map(move |l| (e, l)))
            {
                let tell = || listener(event);
                let _ = self.application.call(Callback::RoomListener, tell);
            }
        }
    }
}

impl fmt::Debug for LocalAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAdapter")
            .field("sockets", &self.len())
            .finish_non_exhaustive()
    }
}

/// The adapter of a server that is alone.
#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Arc<LocalAdapter>);

impl Adapter for InMemory {
    fn local(&self) -> &Arc<LocalAdapter> {
        &self.0
    }
}
