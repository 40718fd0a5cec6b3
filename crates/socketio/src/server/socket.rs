//! One client in one namespace.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;

use socketio_proto::engine::{Revision, Transport};
use socketio_proto::socket::{DisconnectReason, PacketKind};

use super::Shared;
use super::ack::{AckFuture, Waiter, Waiters};
use super::broadcast::{Broadcast, Flags, RoomNames};
use super::cluster::KeptClient;
use super::config::QueuePolicy;
use super::connect::Auth;
use super::emit::{Emit, Waiting};
use super::ending::Close;
use super::expiry::{self, Expiry};
use super::handlers::Handlers;
use super::handshake::Handshake;
use super::namespace::{Namespace, NamespaceInner};
use super::recovery::{AfterPong, Memory, Recoveries, Trail};
use super::rooms::Slot;
use super::session::Session;
use crate::application::Application;
use crate::args::Args;
use crate::encode::{self, Encoded, EventHead};
use crate::error::EmitError;
use crate::event::Event;
use crate::id::SocketId;

/// One client in one namespace: what its events are emitted to.
///
/// A handle: cheap to clone, and dropping it changes nothing. It may outlive the connection; emits
/// then fail with [`EmitError::Disconnected`].
///
/// Handlers can be registered on the socket itself (through [`Handlers`], which it dereferences to),
/// best at the start of the namespace's `on_connect`; those of the namespace cost less.
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<SocketInner>);

pub(crate) struct SocketInner {
    pub(crate) id: SocketId,
    pub(crate) namespace: Arc<NamespaceInner>,
    pub(crate) session: Arc<Session>,
    /// The place in the namespace's index.
    pub(crate) slot: AtomicU32,
    /// How far its life in the namespace has come: one of the constants below.
    stage: AtomicU8,
    /// The application has made it leave.
    was_sent_away: AtomicBool,
    auth: Box<str>,
    /// What is remembered for the client's return, if recovery is on.
    memory: Option<Memory>,
    is_recovered: bool,
    /// The socket has left, and nothing of the application's is kept any more. Set under the lock of
    /// `extra`.
    is_forgotten: AtomicBool,
    handlers: OnceLock<Box<Handlers>>,
    extra: Mutex<Option<Box<Extra>>>,
}

/// The socket is not in its namespace yet.
const JOINING: u8 = 0;
const CONNECTED: u8 = 1;
/// It is in for as long as its handlers of `disconnecting` begin.
const LEAVING: u8 = 2;
const LEFT: u8 = 3;

/// What only some sockets have.
#[derive(Default)]
struct Extra {
    data: Value,
    extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    waiters: Waiters,
    /// Events that wait for the one before, in a sequential namespace.
    sequence: Option<super::running::Sequence>,
    /// When its time ends.
    expiry: Option<Expiry>,
}

impl Socket {
    pub(crate) fn new(
        id: SocketId,
        namespace: Arc<NamespaceInner>,
        session: Arc<Session>,
        auth: Auth,
    ) -> Socket {
        // Clients of version 2 know nothing of recovery.
        let recoveries = match session.dialect().revision {
            Revision::V3 => None,
            Revision::V4 => namespace.local().recoveries(),
        };
        let memory = recoveries.and_then(|recoveries| match recoveries {
            Recoveries::Log(log) => Some(Memory::Trail(log.trail(&id))),
            Recoveries::Returns(returns) => returns.client(&id).map(Memory::Kept),
        });
        Socket::with(id, namespace, session, auth, memory, false)
    }

    /// Makes the socket of a client that has come back.
    pub(crate) fn recovered(
        memory: Memory,
        namespace: Arc<NamespaceInner>,
        session: Arc<Session>,
        auth: Auth,
    ) -> Socket {
        let id = memory.sid().clone();
        Socket::with(id, namespace, session, auth, Some(memory), true)
    }

    fn with(
        id: SocketId,
        namespace: Arc<NamespaceInner>,
        session: Arc<Session>,
        auth: Auth,
        memory: Option<Memory>,
        is_recovered: bool,
    ) -> Socket {
        Socket(Arc::new(SocketInner {
            id,
            namespace,
            session,
            slot: AtomicU32::new(u32::MAX),
            stage: AtomicU8::new(JOINING),
            was_sent_away: AtomicBool::new(false),
            auth: auth.into_text(),
            memory,
            is_recovered,
            is_forgotten: AtomicBool::new(false),
            handlers: OnceLock::new(),
            extra: Mutex::new(None),
        }))
    }

    /// The public id: new for each connection to the namespace, and the name of a room with this
    /// socket alone. It is not the id of the session, which is a secret.
    pub fn id(&self) -> &SocketId {
        &self.0.id
    }

    /// The namespace.
    #[doc(alias = "nsp")]
    pub fn namespace(&self) -> Namespace {
        Namespace(self.0.namespace.clone())
    }

    /// What the application may see of the session's first request.
    pub fn handshake(&self) -> &Handshake {
        self.0.session.handshake()
    }

    /// The handshake as the JavaScript server has it: headers, time, address, xdomain, secure,
    /// issued, url, query and auth.
    pub fn handshake_json(&self) -> Value {
        self.handshake()
            .to_json(Some(&*self.0.auth).filter(|auth| !auth.is_empty()))
    }

    /// The `auth` of the client, decoded. A client that sends none has `None` for an `Option<T>`, and for
    /// all else `{}`.
    ///
    /// # Errors
    ///
    /// When the client's `auth` is not of this type.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, crate::args::DecodeError> {
        match &*self.0.auth {
            "" => crate::args::decode_no_auth(),
            auth => crate::args::decode(auth, &[]),
        }
    }

    pub(crate) fn auth_text(&self) -> &str {
        &self.0.auth
    }

    /// The connection below: its transport and when that changes.
    #[doc(alias = "conn")]
    pub fn connection(&self) -> Connection<'_> {
        Connection(&self.0.session)
    }

    /// Says whether the socket is in its namespace.
    pub fn is_connected(&self) -> bool {
        matches!(self.0.stage.load(Ordering::Acquire), CONNECTED | LEAVING)
    }

    /// Says whether the application has made the socket leave: then what its client said before is
    /// not handled any more.
    pub(crate) fn was_sent_away(&self) -> bool {
        self.0.was_sent_away.load(Ordering::Acquire)
    }

    /// Says whether the client has come back after a lost connection, with its id, rooms and data,
    /// and gets the events it has missed. See [`ServerBuilder::recovery`](crate::ServerBuilder::recovery).
    #[doc(alias = "recovered")]
    pub fn is_recovered(&self) -> bool {
        self.0.is_recovered
    }

    pub(crate) fn memory(&self) -> Option<&Memory> {
        self.0.memory.as_ref()
    }

    pub(crate) fn trail(&self) -> Option<&Arc<Trail>> {
        match &self.0.memory {
            Some(Memory::Trail(trail)) => Some(trail),
            Some(Memory::Kept(_)) | None => None,
        }
    }

    pub(crate) fn kept(&self) -> Option<&Arc<KeptClient>> {
        match &self.0.memory {
            Some(Memory::Kept(client)) => Some(client),
            Some(Memory::Trail(_)) | None => None,
        }
    }

    /// The client has answered a ping.
    pub(crate) fn ponged(&self) -> AfterPong {
        match &self.0.memory {
            Some(Memory::Trail(trail)) => return trail.ponged(),
            Some(Memory::Kept(client)) => {
                if let Some(returns) = self.0.namespace.local().returns() {
                    returns.ponged(client);
                }
            }
            None => {}
        }
        AfterPong::Nothing
    }

    /// Joins the namespace; false if the connection has ended in the meantime.
    pub(crate) fn enter(&self) -> bool {
        self.0.stage.store(CONNECTED, Ordering::Release);
        let accepted = self.0.session.accept(self.0.namespace.name(), self);
        if !accepted {
            self.has_left();
        } else if self.expires().is_some() {
            // A middleware has set it, when the session did not know the socket yet.
            self.0.session.look_for_expiry(Instant::now());
        }
        accepted
    }

    /// Ends the socket's life in the namespace; false if that has happened, or never begun.
    pub(crate) fn has_left(&self) -> bool {
        matches!(
            self.0.stage.swap(LEFT, Ordering::AcqRel),
            CONNECTED | LEAVING
        )
    }

    pub(crate) fn slot(&self) -> Slot {
        Slot(self.0.slot.load(Ordering::Acquire))
    }

    // --- Emitting ---

    /// Sends an event to the client.
    ///
    /// A tuple gives several arguments, `()` none, anything else one. Bytes (`bytes::Bytes`,
    /// `serde_bytes`) may stand anywhere and travel as binary.
    ///
    /// The event is queued at once and in order, whether or not the returned value is awaited.
    /// Awaiting it waits until the client's queue is short again.
    pub fn emit(&self, event: impl AsRef<str>, args: impl Serialize) -> Emit<'_> {
        self.emit_with(event.as_ref(), &args, &Flags::default())
    }

    /// Sends a typed event, whose name its type carries.
    pub fn emit_event<E: Event>(&self, event: &E) -> Emit<'_> {
        self.emit_with(E::NAME, event, &Flags::default())
    }

    /// Sends the event `message`.
    #[doc(alias = "write")]
    pub fn send(&self, args: impl Serialize) -> Emit<'_> {
        self.emit("message", args)
    }

    /// Sends an event and gives the client's answer.
    ///
    /// It waits for as long as the client is connected; see [`timeout`](Socket::timeout).
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> AckFuture<T> {
        self.ack_with(event.as_ref(), &args, &Flags::default())
    }

    /// Drops the next event instead of queueing it if it cannot be written at once.
    pub fn volatile(&self) -> SocketEmit<'_> {
        SocketEmit {
            socket: self,
            flags: Flags {
                volatile: true,
                ..Flags::default()
            },
        }
    }

    /// Sends the next event without compression.
    #[doc(alias = "compress")]
    pub fn uncompressed(&self) -> SocketEmit<'_> {
        SocketEmit {
            socket: self,
            flags: Flags {
                uncompressed: true,
                ..Flags::default()
            },
        }
    }

    /// Sets what happens to the next event if the client's queue is full.
    pub fn if_full(&self, policy: QueuePolicy) -> SocketEmit<'_> {
        SocketEmit {
            socket: self,
            flags: Flags {
                if_full: Some(policy),
                ..Flags::default()
            },
        }
    }

    /// Bounds the wait for the next event's answer.
    pub fn timeout(&self, timeout: Duration) -> SocketEmit<'_> {
        SocketEmit {
            socket: self,
            flags: Flags {
                timeout: Some(timeout),
                ..Flags::default()
            },
        }
    }

    /// Addresses the sockets in these rooms, this one excepted.
    pub fn to(&self, rooms: impl RoomNames) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// Addresses the whole namespace but these rooms and this socket.
    pub fn except(&self, rooms: impl RoomNames) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Addresses all other sockets of the namespace.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(self.0.namespace.clone()).except(&self.0.id)
    }

    /// Addresses the other sockets on this server only.
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    pub(crate) fn emit_with<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        flags: &Flags,
    ) -> Emit<'_> {
        match self.transmit(event, args, None, flags) {
            Ok(Some(waiting)) => Emit::waiting(vec![waiting]),
            Ok(None) => Emit::sent(&self.0.session),
            Err(error) => Emit::failed(error, self.server()),
        }
    }

    fn transmit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        id: Option<u64>,
        flags: &Flags,
    ) -> Result<Option<Waiting>, EmitError> {
        let flags = &flags.or_policy_of(self.0.namespace.handlers());
        let head = EventHead {
            parser: self.0.session.shared().parser(),
            nsp: self.0.namespace.name(),
            id,
            name: event,
        };
        if let Some(memory) = &self.0.memory
            && id.is_none()
            && !flags.volatile
        {
            return match memory {
                Memory::Trail(trail) => encode::unfinished(head, args, |unfinished| {
                    self.tell_outgoing(event, args);
                    trail.send(self, unfinished, flags).map(|()| None)
                })?,
                Memory::Kept(client) if client.has_ended() => Err(EmitError::Disconnected),
                // In the order of broadcasts, and wherever the client is by then.
                Memory::Kept(_) => {
                    let alone = Broadcast::new(self.0.namespace.clone()).to(&self.0.id);
                    alone.with(flags).pass_on(event, args).map(|()| None)
                }
            };
        }
        encode::event(head, args, |encoded| {
            if !self.is_connected() {
                return Err(EmitError::Disconnected);
            }
            self.tell_outgoing(event, args);
            self.0.session.send_event(&encoded, flags)
        })?
    }

    fn tell_outgoing<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        let own = self.0.handlers.get().filter(|h| h.has_outgoing());
        let shared = Some(self.0.namespace.handlers()).filter(|h| h.has_outgoing());
        if own.is_none() && shared.is_none() {
            return;
        }
        let Ok(args) = Args::from_value(args) else {
            return;
        };
        if let Some(handlers) = shared {
            handlers.tell_outgoing(self, event, &args);
        }
        if let Some(handlers) = own {
            handlers.tell_outgoing(self, event, &args);
        }
    }

    /// Tells this socket's listeners of a broadcast that reaches it.
    pub(crate) fn tell_broadcast(&self, event: &str, args: &Args) {
        self.tell_outgoing(event, args);
    }

    pub(crate) fn ack_with<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
        flags: &Flags,
    ) -> AckFuture<T> {
        let id = self.0.namespace.next_ack_id();
        let (sender, receiver) = oneshot::channel();
        if !self.expect_ack(id, Waiter::One(sender)) {
            return AckFuture::failed(EmitError::TooManyAcks, self.server());
        }
        match self.transmit(event, args, Some(id), flags) {
            Ok(None) => AckFuture::waiting(self.clone(), id, receiver, flags.timeout),
            Ok(Some(_)) => {
                self.forget_ack(id);
                AckFuture::failed(EmitError::QueueFull, self.server())
            }
            Err(error) => {
                self.forget_ack(id);
                AckFuture::failed(error, self.server())
            }
        }
    }

    fn server(&self) -> Weak<Shared> {
        Arc::downgrade(self.0.session.shared())
    }

    pub(crate) fn send_ack(&self, id: u64, answer: &(impl Serialize + ?Sized)) {
        let parser = self.0.session.shared().parser();
        let sent = encode::ack(
            parser,
            self.0.namespace.name(),
            id,
            answer,
            |encoded| match self.is_connected() {
                true => {
                    let flags = Flags::default().or_policy_of(self.0.namespace.handlers());
                    self.0.session.send(encoded, &flags)
                }
                false => Ok(()),
            },
        );
        if let Err(error) | Ok(Err(error)) = sent {
            self.0.session.shared().emit_failed(&error);
        }
    }

    pub(crate) fn send_control(&self, kind: PacketKind, data: &str) {
        let parser = self.0.session.shared().parser();
        encode::control(
            parser,
            kind,
            self.0.namespace.name(),
            data,
            |encoded: Encoded<'_>| {
                // A connection that has ended needs no answer.
                let _ = self.0.session.send(encoded, &Flags::default());
            },
        );
    }

    // --- Answers of the client ---

    /// Remembers who waits for an answer; false if too many do.
    pub(crate) fn expect_ack(&self, id: u64, waiter: Waiter) -> bool {
        let shared = self.0.session.shared();
        let max = shared.config().max_pending_acks;
        let mut extra = self.0.extra.lock();
        let waiters = &mut extra.get_or_insert_default().waiters;
        let is_admitted = waiters.insert(id, waiter, max);
        drop(extra);
        if !is_admitted {
            shared.counters().refused_acks();
            shared.refusals().log_acks(&self.0.id, max);
        }
        is_admitted
    }

    pub(crate) fn awaits_acks(&self) -> bool {
        let extra = self.0.extra.lock();
        extra
            .as_ref()
            .is_some_and(|extra| !extra.waiters.is_empty())
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        let mut extra = self.0.extra.lock();
        let waiter = extra.as_mut().and_then(|extra| extra.waiters.remove(id));
        // A collector may own sockets, and they what is the application's.
        drop(extra);
        drop(waiter);
    }

    pub(crate) fn receive_ack(&self, id: u64, args: &str, attachments: Vec<Bytes>) {
        let waiter = self
            .0
            .extra
            .lock()
            .as_mut()
            .and_then(|extra| extra.waiters.remove(id));
        match waiter {
            // Who waited may have given up in the meantime.
            Some(Waiter::One(sender)) => drop(sender.send(Args::new(args, attachments))),
            Some(Waiter::Many(collector)) => {
                collector.answer(self, Args::new(args, attachments));
            }
            None => tracing::debug!(socket = %self.0.id, id, "an ack that nobody waits for"),
        }
    }

    fn fail_acks(&self) {
        let waiters = match &mut *self.0.extra.lock() {
            Some(extra) => std::mem::take(&mut extra.waiters),
            None => return,
        };
        for waiter in waiters.into_all() {
            match waiter {
                Waiter::One(sender) => drop(sender),
                Waiter::Many(collector) => collector.gone(),
            }
        }
    }

    // --- Rooms ---

    /// Joins rooms. Does nothing once the socket has left the namespace.
    pub fn join(&self, rooms: impl RoomNames) {
        self.0.namespace.adapter().join(self, &rooms.into_names());
    }

    /// Leaves rooms.
    pub fn leave(&self, rooms: impl RoomNames) {
        self.0.namespace.adapter().leave(self, &rooms.into_names());
    }

    /// The rooms the socket is in; the one named by its id comes first.
    pub fn rooms(&self) -> Vec<String> {
        self.0.namespace.local().rooms_of(self)
    }

    // --- State of the application ---

    /// The data that the application keeps with the socket, decoded; `None` if there is none of
    /// this type. Other servers of a cluster see it too.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.data_value()).ok()
    }

    /// Keeps data with the socket.
    ///
    /// # Errors
    ///
    /// When the data cannot be serialised.
    pub fn set_data(&self, data: impl Serialize) -> Result<(), serde_json::Error> {
        let data = serde_json::to_value(data)?;
        match &self.0.memory {
            Some(Memory::Trail(trail)) => trail.set_data(data),
            Some(Memory::Kept(client)) => {
                client.set_data(data);
                if let Some(returns) = self.0.namespace.local().returns() {
                    returns.changed(client);
                }
            }
            None => self.0.extra.lock().get_or_insert_default().data = data,
        }
        Ok(())
    }

    pub(crate) fn data_value(&self) -> Value {
        if let Some(memory) = &self.0.memory {
            return memory.data();
        }
        self.0
            .extra
            .lock()
            .as_ref()
            .map(|extra| extra.data.clone())
            .unwrap_or_default()
    }

    /// A value of any type that the application keeps with the socket, on this server only.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let extra = self.0.extra.lock();
        let value = extra.as_ref()?.extensions.get(&TypeId::of::<T>())?.clone();
        value.downcast().ok()
    }

    /// Keeps a value of any type with the socket, one of each type.
    ///
    /// It is kept until the socket has left its namespace, and all handlers have ended that run for the
    /// client then, those of [`on_disconnect`](Handlers::on_disconnect) included; from then on nothing is
    /// kept.
    pub fn set_extension<T: Send + Sync + 'static>(&self, value: T) {
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let mut extra = self.0.extra.lock();
        let unused = match self.0.is_forgotten.load(Ordering::Relaxed) {
            true => Some(value),
            false => {
                let extensions = &mut extra.get_or_insert_default().extensions;
                extensions.insert(TypeId::of::<T>(), value)
            }
        };
        drop(extra);
        self.0.application().discard(unused);
    }

    // --- The end of its time ---

    /// Makes the client leave the namespace at a time, such as the end of the token by which it came in.
    /// Setting it again moves it; a time that is over ends it at once.
    ///
    /// Some time before, the handlers of [`on_expiring`](Handlers::on_expiring) run, which can have the
    /// token renewed. At the end the client gets a DISCONNECT (in JavaScript `io server disconnect`, after
    /// which it does not come back by itself), and [`on_disconnect`](Handlers::on_disconnect) the reason
    /// `server namespace disconnect` with the description `expired`;
    /// [`Stats::expired`](crate::Stats::expired) counts it. The connection stays, for other namespaces.
    ///
    /// The time is that of the wall clock, to some milliseconds; should the clock be set, up to ten minutes
    /// pass before that is noticed. It is kept for a client that loses its connection and is
    /// [recovered](crate::ServerBuilder::recovery) on this server, to the second; where servers share what
    /// they recover, set it in [`on_connect`](Handlers::on_connect), which runs for recovered clients, too.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use socketio::{Server, Socket};
    ///
    /// # fn end_of(token: &str) -> Result<SystemTime, &'static str> {
    /// #     Ok(SystemTime::now() + Duration::from_secs(token.len() as u64))
    /// # }
    /// # #[derive(serde::Deserialize)] struct Auth { token: String }
    /// let io = Server::new();
    /// io.middleware(async |socket: Socket, auth: Auth| {
    ///     socket.expires_at(end_of(&auth.token)?);
    ///     Ok::<_, &str>(())
    /// });
    /// io.on_expiring(async |socket: Socket| {
    ///     let renewed = socket.timeout(Duration::from_secs(10)).emit_with_ack::<String>("renew", ());
    ///     if let Ok(Ok(end)) = renewed.await.map(|token| end_of(&token)) {
    ///         socket.expires_at(end);
    ///     }
    /// });
    /// ```
    pub fn expires_at(&self, time: SystemTime) {
        let expiry = Expiry {
            at: time,
            is_announced: false,
        };
        self.0.extra.lock().get_or_insert_default().expiry = Some(expiry);
        self.0.session.look_for_expiry(Instant::now());
    }

    /// Takes back what [`expires_at`](Socket::expires_at) has set.
    pub fn never_expires(&self) {
        if let Some(extra) = self.0.extra.lock().as_mut() {
            extra.expiry = None;
        }
    }

    /// When the client's time ends, if that was [set](Socket::expires_at).
    pub fn expires(&self) -> Option<SystemTime> {
        let extra = self.0.extra.lock();
        Some(extra.as_ref()?.expiry?.at)
    }

    pub(crate) fn with_expiry<R>(&self, look: impl FnOnce(&mut Expiry) -> R) -> Option<R> {
        self.0.extra.lock().as_mut()?.expiry.as_mut().map(look)
    }

    /// Does what the end of its time asks for now; gives when to look again.
    pub(crate) fn look_at_expiry(&self, now: Instant) -> Option<Instant> {
        expiry::look(self, now)
    }

    // --- Leaving ---

    /// Makes the client leave the namespace. Its connection stays, for other namespaces.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect(&self) {
        self.0.session.disconnect_socket(self, None);
    }

    /// Makes the client leave all of its namespaces and closes its connection.
    pub fn disconnect_and_close(&self) {
        self.0.session.disconnect_all(None);
    }

    /// Takes the socket out of its namespace; its handlers learn the reason. Once only.
    ///
    /// While the handlers of `disconnecting` begin, it is still in.
    pub(crate) fn left(&self, reason: DisconnectReason, description: Option<&str>) {
        if reason == DisconnectReason::ServerNamespaceDisconnect {
            self.0.was_sent_away.store(true, Ordering::Release);
        }
        let stage = &self.0.stage;
        let begun = stage.compare_exchange(CONNECTED, LEAVING, Ordering::AcqRel, Ordering::Acquire);
        if begun.is_err() {
            // It was refused or gone before it had joined, so that there may be rooms that a
            // middleware joined; or it is leaving in another thread.
            self.end(reason);
            self.0.namespace.remove(self);
            if begun == Err(JOINING) {
                self.forget();
            }
            return;
        }
        super::running::leave(self, reason, description, || self.end(reason));
    }

    /// Gives up what the socket had in the namespace, but its rooms.
    fn end(&self, reason: DisconnectReason) {
        let has_left = match (&self.0.memory, self.0.namespace.local().recoveries()) {
            (Some(Memory::Trail(trail)), Some(Recoveries::Log(log))) => {
                log.leave(self, trail, reason)
            }
            (Some(Memory::Kept(client)), Some(Recoveries::Returns(returns))) => {
                returns.leave(self, client, reason)
            }
            _ => self.has_left(),
        };
        if has_left {
            self.0.session.shared().counters().disconnected(reason);
            self.fail_acks();
        }
    }

    /// The socket has left for good: what is registered on it, and what the application keeps with it,
    /// goes when the client's handlers have ended. It may own the socket itself.
    pub(crate) fn forget(&self) {
        let extra = self.0.extra.lock();
        let has_extensions = extra
            .as_ref()
            .is_some_and(|extra| !extra.extensions.is_empty());
        if has_extensions || self.0.handlers.get().is_some() {
            drop(extra);
            self.0.session.forget_later(self);
        } else {
            self.0.is_forgotten.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn forget_now(&self) {
        if let Some(handlers) = self.0.handlers.get() {
            handlers.close();
        }
        self.0.forget_extensions();
    }

    pub(crate) fn own_handlers(&self) -> Option<&Handlers> {
        self.0.handlers.get().map(|handlers| &**handlers)
    }

    pub(crate) fn with_sequence<R>(
        &self,
        then: impl FnOnce(&mut super::running::Sequence) -> R,
    ) -> R {
        let mut extra = self.0.extra.lock();
        then(
            extra
                .get_or_insert_default()
                .sequence
                .get_or_insert_default(),
        )
    }
}

impl SocketInner {
    fn application(&self) -> &Application {
        self.session.shared().application()
    }

    fn forget_extensions(&self) {
        let extensions = {
            let mut extra = self.extra.lock();
            self.is_forgotten.store(true, Ordering::Relaxed);
            let extra = extra.as_mut();
            extra.map(|extra| std::mem::take(&mut extra.extensions))
        };
        for extension in extensions.into_iter().flat_map(HashMap::into_values) {
            self.application().discard(extension);
        }
    }
}

impl Drop for SocketInner {
    fn drop(&mut self) {
        self.session.forget_auth(self.auth.len());
        if self.extra.get_mut().is_some() {
            self.forget_extensions();
        }
    }
}

impl Deref for Socket {
    type Target = Handlers;

    /// The socket's own handlers.
    fn deref(&self) -> &Handlers {
        self.0.handlers.get_or_init(|| {
            let application = self.0.session.shared().application();
            let handlers = Handlers::of_socket(application);
            if self.0.is_forgotten.load(Ordering::Relaxed) {
                handlers.close();
            }
            Box::new(handlers)
        })
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Socket) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id)
            .field("namespace", &self.0.namespace.name())
            .finish_non_exhaustive()
    }
}

/// The next event for one socket, with options.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is emitted"]
pub struct SocketEmit<'a> {
    socket: &'a Socket,
    flags: Flags,
}

impl<'a> SocketEmit<'a> {
    /// Drops the event instead of queueing it if it cannot be written at once.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sends the event without compression.
    #[doc(alias = "compress")]
    pub fn uncompressed(mut self) -> Self {
        self.flags.uncompressed = true;
        self
    }

    /// Sets what happens to the event if the client's queue is full.
    pub fn if_full(mut self, policy: QueuePolicy) -> Self {
        self.flags.if_full = Some(policy);
        self
    }

    /// Bounds the wait for the event's answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Sends the event; see [`Socket::emit`].
    pub fn emit(self, event: impl AsRef<str>, args: impl Serialize) -> Emit<'a> {
        self.socket.emit_with(event.as_ref(), &args, &self.flags)
    }

    /// Sends the event and gives the client's answer; see [`Socket::emit_with_ack`].
    pub fn emit_with_ack<T: DeserializeOwned>(
        self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> AckFuture<T> {
        self.socket.ack_with(event.as_ref(), &args, &self.flags)
    }
}

/// The connection below a socket, shared by all namespaces of the client.
#[derive(Clone, Copy)]
pub struct Connection<'a>(&'a Arc<Session>);

impl Connection<'_> {
    /// The transport in use: polling, or WebSocket once the client has upgraded.
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// Calls a function when the client has moved to another transport.
    ///
    /// Called at once if that has happened already, and forgotten if it does not happen. It must not block;
    /// should it panic, the client has moved nevertheless.
    pub fn on_upgrade(&self, listener: impl FnOnce(Transport) + Send + 'static) {
        self.0.on_upgrade(Box::new(listener));
    }

    /// Bytes that wait to be written to the client.
    pub fn queued_bytes(&self) -> usize {
        self.0.queued()
    }

    /// Closes the connection: its sockets leave with the reason `forced close`.
    pub fn close(&self) {
        self.0.close(Close::FORCED);
    }
}

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}
