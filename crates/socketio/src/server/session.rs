//! One session: drives the protocol's machines and hands what they say to handlers and outbox.
//!
//! Decisions of the protocol are the machines'; this file feeds, drains and tells. Locks are taken in
//! the order state, outbox, and never held while handlers run.

use socketio_proto::Printable;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use socketio_proto::engine::{
    self, CloseReason, ControlPacket, Event, GetStart, Message, Packet, PacketError, PostStart,
    Queue, ReadyState, Revision, Transmit, Transport, Via,
};
use socketio_proto::socket::{
    Connection, DisconnectReason, Incoming, Invalid, PacketDecoder, PacketKind, ParseError,
};
use socketio_proto::websocket::{self, Opcode};

use super::broadcast::Flags;
use super::connect;
use super::emit::Waiting;
use super::ending::{Close, Ending, When};
use super::handshake::Handshake;
use super::http::{New, open_packet};
use super::memory;
use super::outbox::{Flushed, LOW_WATER, Link, Outbox, Pushed, SharedFrames};
use super::rate::{self, Buckets};
use super::recovery::AfterPong;
use super::running::{self, Running};
use super::socket::Socket;
use super::total_queue::STEP;
use super::{QueuePolicy, Shared, turn};
use crate::application::Callback;
use crate::encode::Encoded;
use crate::error::EmitError;
use crate::id::SessionId;

/// One Engine.IO connection across its transports.
pub(crate) struct Session {
    id: SessionId,
    dialect: Dialect,
    shared: Arc<Shared>,
    handshake: Handshake,
    state: Mutex<State>,
    outbox: Mutex<Outbox>,
    /// Handlers that have started, or wait in a sequence, and have not ended.
    running: AtomicU32,
    /// Whether there are sockets that have left.
    has_left: AtomicBool,
    /// Bytes of `auth` that are kept for its sockets.
    auth_bytes: AtomicUsize,
}

/// How a client speaks, as its first request says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Dialect {
    pub(crate) revision: Revision,
    /// It cannot take bytes over polling.
    pub(crate) base64: bool,
    /// It polls by script elements.
    pub(crate) jsonp: bool,
}

impl Dialect {
    pub(crate) fn of(
        request: &engine::Request<'_>,
        revision: Revision,
        transport: Transport,
    ) -> Dialect {
        let jsonp = transport == Transport::Polling && request.j.is_some();
        Dialect {
            revision,
            base64: jsonp || request.b64.is_some(),
            jsonp,
        }
    }

    /// Says whether this is what the clients of today speak.
    pub(crate) fn is_usual(self) -> bool {
        self.revision == Revision::V4 && !self.jsonp
    }
}

struct State {
    engine: engine::Session,
    connection: Connection<Socket>,
    /// The deadline that the wheel knows.
    armed: Option<Instant>,
    /// The key in the table of sessions.
    key: u32,
    /// It is being closed, and its client is to take something, or has come to do so.
    is_awaited: bool,
    rare: Option<Box<Rare>>,
}

type UpgradeListener = Box<dyn FnOnce(Transport) + Send>;

/// What only some sessions need.
#[derive(Default)]
struct Rare {
    /// With a lock of its own, since it may be the application's code.
    decoder: Option<Arc<Mutex<Box<dyn PacketDecoder>>>>,
    on_upgrade: Vec<UpgradeListener>,
    /// Sockets that have left and are forgotten when the client's handlers have ended.
    left: Vec<Socket>,
    /// The task of a WebSocket that is being probed.
    probe: Option<Probe>,
    bounds: Option<Box<Bounds>>,
}

/// What is limited for this client alone.
#[derive(Default)]
struct Bounds {
    /// What it may still send at once.
    rates: Buckets,
    /// When to look whether the time of a socket ends.
    expiry: Option<Instant>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.decoder.is_none()
            && self.on_upgrade.is_empty()
            && self.left.is_empty()
            && self.probe.is_none()
            && self.bounds.is_none()
    }
}

/// The connection of a transport that is being probed: what it is to write, and its task.
struct Probe {
    frames: Vec<u8>,
    /// Set when it is to be closed.
    ending: Option<Ending>,
    waker: Option<Waker>,
}

/// What the machines have said, to be acted on when the state's lock is free.
#[derive(Default)]
struct Told {
    upgraded: Option<Transport>,
    listeners: Vec<UpgradeListener>,
    /// Those whose upgrade has not come.
    unused: Vec<UpgradeListener>,
    closed: Option<Closed>,
    flush: bool,
}

struct Closed {
    reason: DisconnectReason,
    description: Option<Cow<'static, str>>,
    sockets: Vec<Socket>,
    key: u32,
}

impl Session {
    pub(crate) fn new(
        new: New,
        shared: &Arc<Shared>,
        handshake: Handshake,
        now: Instant,
    ) -> Session {
        let New {
            id,
            transport,
            dialect,
        } = new;
        let connection = Connection::new(shared.connection(), now);
        let connection = match dialect.revision {
            Revision::V3 => connection.with_namespace_queries(),
            Revision::V4 => connection,
        };
        let config = shared.engine().clone();
        let decoder = shared.parser().map(|parser| parser.decoder());
        let rare = decoder.map(|decoder| {
            Box::new(Rare {
                decoder: Some(Arc::new(Mutex::new(decoder))),
                ..Rare::default()
            })
        });
        Session {
            id,
            dialect,
            shared: shared.clone(),
            handshake,
            state: Mutex::new(State {
                engine: engine::Session::with_revision(config, transport, dialect.revision, now),
                connection,
                armed: None,
                key: u32::MAX,
                is_awaited: false,
                rare,
            }),
            outbox: Mutex::new(Outbox::new(dialect.revision)),
            running: AtomicU32::new(0),
            has_left: AtomicBool::new(false),
            auth_bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    pub(crate) fn transport(&self) -> Transport {
        self.state.lock().engine.transport()
    }

    /// The transport, as a request finds it now; `None` if the session's time is over, whether or not
    /// the task that watches the deadlines has come to it.
    pub(crate) fn transport_at(self: &Arc<Session>, now: Instant) -> Option<Transport> {
        // Twice: a ping may have been due, and its answer too.
        for _ in 0..2 {
            let state = self.state.lock();
            if state.engine.poll_timeout().is_none_or(|due| due > now) {
                break;
            }
            drop(state);
            self.handle_timeout(now);
        }
        let state = self.state.lock();
        (state.engine.ready_state() != ReadyState::Closed).then(|| state.engine.transport())
    }

    /// Begins the session's life in the table of sessions.
    pub(crate) fn started(&self, key: u32) {
        let mut state = self.state.lock();
        state.key = key;
        self.arm(&mut state);
    }

    /// Queues the open packet and what follows it unasked.
    pub(crate) fn greet(self: &Arc<Session>) {
        let _turn = turn::begin();
        let transport = self.transport();
        self.send_raw(&open_packet(self, transport));
        if let Some(text) = &self.shared.config().initial_packet {
            self.send_raw(&[b"4", text.as_bytes()].concat());
        }
        if self.dialect.revision == Revision::V3 {
            // Clients of version 2 are in the main namespace without asking.
            let mut running = Running::default();
            if self.state.lock().connection.connect("/").is_ok() {
                connect::connect(self, "/", "", &mut running);
            }
            running.detach(self);
        }
    }

    // --- What comes in ---

    /// Handles one packet of a transport; true when it has made a probed transport the session's own.
    pub(crate) fn handle_packet(
        self: &Arc<Session>,
        via: Via,
        packet: Packet<'_>,
        now: Instant,
        running: &mut Running,
    ) -> bool {
        let mut state = self.state.lock();
        // A pong that nobody has asked for says nothing, and there may be many.
        let is_answer =
            matches!(packet, Packet::Pong(_)) && via == Via::Main && state.engine.awaits_pong();
        let Some(message) = state.engine.handle_packet(via, packet, now) else {
            let mut next = AfterPong::Nothing;
            if is_answer && self.shared.config().recovery.is_some() {
                let ponged = state.connection.sockets().map(Socket::ponged);
                next = ponged.max().unwrap_or(next);
            }
            if next == AfterPong::Ping {
                state.engine.ping(now);
            }
            let has_upgraded = self.settle(state);
            if next == AfterPong::Close {
                self.close(Close::FORCED);
            }
            return has_upgraded;
        };
        let decoder = state.rare.as_ref().and_then(|rare| rare.decoder.clone());
        let incoming = match decoder {
            None => {
                let incoming = match message {
                    Message::Text(text) => state.connection.handle_text(text),
                    Message::Binary(bytes) => state.connection.handle_binary(bytes),
                };
                drop(state);
                incoming
            }
            Some(decoder) => {
                drop(state);
                let decoded = match message {
                    Message::Text(text) => decoder.lock().add_text(text),
                    Message::Binary(bytes) => decoder.lock().add_binary(&bytes),
                };
                match decoded {
                    Ok(Some(packet)) => self.state.lock().connection.handle_packet(packet),
                    Ok(None) => Ok(None),
                    Err(error) => Err(Invalid::Parse(error)),
                }
            }
        };
        match incoming {
            Ok(Some(incoming)) => self.dispatch(incoming, running),
            Ok(None) => {}
            Err(invalid) => self.refuse(&invalid, running),
        }
        false
    }

    fn dispatch(self: &Arc<Session>, incoming: Incoming<'_, Socket>, running: &mut Running) {
        match incoming {
            Incoming::Event {
                socket,
                id,
                event,
                attachments,
            } => {
                if let Some(event) = event {
                    self.shared.counters().event();
                    if socket.0.namespace.handlers().is_limited() {
                        let bytes = attachments.iter().map(Bytes::len).sum::<usize>();
                        let size = event.args.len() + bytes;
                        if !rate::admits(&socket, event.name(), size, id, running) {
                            return;
                        }
                    }
                    running::event(&socket, event.name(), &event.args, attachments, id, running);
                }
            }
            Incoming::Ack {
                socket,
                id,
                args,
                attachments,
            } => {
                socket.receive_ack(id, &args, attachments);
            }
            Incoming::Connect { nsp, auth } => connect::connect(self, &nsp, &auth, running),
            Incoming::Disconnect { socket } => {
                socket.left(DisconnectReason::ClientNamespaceDisconnect, None);
            }
        }
    }

    /// Ends the connection after a malformed packet, or one that does not fit the state.
    fn refuse(self: &Arc<Session>, invalid: &Invalid, running: &mut Running) {
        if self.state.lock().connection.is_closed() {
            // It is being closed in another way, which stays the one.
            return;
        }
        self.shared.counters().invalid_packets();
        tracing::debug!(session = ?self.id, invalid = %Printable::new(&invalid), "closing after an invalid packet");
        if let Invalid::Parse(error) = invalid {
            let sockets: Vec<_> = self.state.lock().connection.sockets().cloned().collect();
            for socket in sockets {
                running::error(&socket, &error.to_string(), running);
            }
        }
        // Without a GET that takes the end it may be long in coming; the sockets learn it at once.
        let state = self.state.lock();
        let is_polling = state.engine.transport() == Transport::Polling;
        let is_told = state.engine.has_pending_get() && self.outbox.lock().is_empty();
        drop(state);
        self.close(match invalid {
            Invalid::State(_) if is_polling && !is_told => {
                Close::because_of(DisconnectReason::ForcedServerClose)
            }
            Invalid::State(_) | Invalid::Parse(_) => Close::FORCED,
        });
    }

    /// Closes after bytes that are no packet.
    pub(crate) fn handle_bad_packet(self: &Arc<Session>, via: Via, error: PacketError) {
        self.feed(|engine| engine.handle_bad_packet(via, error));
    }

    /// Ends the session because its WebSocket has ended.
    pub(crate) fn transport_closed(
        self: &Arc<Session>,
        reason: CloseReason,
        description: Option<Cow<'static, str>>,
    ) {
        self.feed(|engine| engine.handle_transport_closed(reason, description));
    }

    pub(crate) fn handle_timeout(self: &Arc<Session>, now: Instant) {
        let mut state = self.state.lock();
        state.armed = None;
        let is_late = state.connection.handle_timeout(now);
        let (within, is_read) = (self.shared.engine().ping_timeout, !self.is_saturated());
        let is_open = state.engine.ready_state() == ReadyState::Open;
        let held = state.connection.check_attachments(now, within, is_read);
        let decoder = state.rare.as_ref().and_then(|rare| rare.decoder.clone());
        state.engine.handle_timeout(now);
        let expiring = state.expiring(now);
        self.settle(state);
        let is_late_at =
            |decoder: Arc<Mutex<Box<dyn PacketDecoder>>>| decoder.lock().is_late(now, within);
        let is_missing = held.is_err() || is_read && decoder.is_some_and(is_late_at);
        // One that is being closed has been told already.
        if is_open && is_missing {
            self.shared.counters().late_attachments();
            let mut running = Running::default();
            self.refuse(
                &Invalid::Parse(ParseError::AttachmentsMissing),
                &mut running,
            );
            running.detach(self);
        }
        self.expire(&expiring, now);
        if is_late {
            self.shared.counters().connect_timeouts();
            tracing::debug!(session = ?self.id, "no namespace was joined in time");
            self.close(Close::FORCED);
        }
    }

    /// Looks at the time of all sockets, now or at this time.
    pub(crate) fn look_for_expiry(self: &Arc<Session>, at: Instant) {
        let mut state = self.state.lock();
        if state.engine.ready_state() == ReadyState::Closed {
            return;
        }
        let expiry = &mut state.bounds().expiry;
        *expiry = Some(expiry.map_or(at, |expiry| expiry.min(at)));
        self.arm(&mut state);
    }

    /// Ends the time of sockets whose end has come, and announces that of others.
    fn expire(self: &Arc<Session>, sockets: &[Socket], now: Instant) {
        let _turn = (!sockets.is_empty()).then(turn::begin);
        let looks = sockets.iter().filter_map(|s| s.look_at_expiry(now));
        if let Some(next) = looks.min() {
            self.look_for_expiry(next);
        }
    }

    fn feed<R>(self: &Arc<Session>, feed: impl FnOnce(&mut engine::Session) -> R) -> R {
        let mut state = self.state.lock();
        let result = feed(&mut state.engine);
        self.settle(state);
        result
    }

    // --- Polling ---

    pub(crate) fn handle_get(self: &Arc<Session>) -> GetStart {
        let mut state = self.state.lock();
        let queue = self.outbox.lock().queue();
        state.is_awaited |= state.engine.ready_state() == ReadyState::Closing;
        let start = state.engine.handle_get(queue);
        self.settle(state);
        start
    }

    /// Gives what answers a GET, frame by frame; true if it may be compressed. While there is nothing,
    /// the waker is remembered.
    pub(crate) fn poll_get(
        self: &Arc<Session>,
        waker: &Waker,
        mut each: impl FnMut(Opcode, &[u8]),
    ) -> Poll<bool> {
        // Under both locks: a GET that has taken what was queued is not pending any more.
        let mut state = self.state.lock();
        let mut outbox = self.outbox.lock();
        let is_compressible = if !outbox.is_polled() {
            // The session has moved to another transport, which takes the packets.
            each(Opcode::Text, b"6");
            false
        } else if outbox.is_empty() && !outbox.is_closed() {
            outbox.set_link(Link::Get(waker.clone()));
            return Poll::Pending;
        } else {
            outbox.set_link(Link::None);
            outbox.take_frames(each)
        };
        drop(outbox);
        state.engine.handle_get_answered();
        self.settle(state);
        Poll::Ready(is_compressible)
    }

    pub(crate) fn get_aborted(self: &Arc<Session>) {
        self.feed(engine::Session::handle_get_aborted);
    }

    pub(crate) fn handle_post(self: &Arc<Session>) -> PostStart {
        self.feed(engine::Session::handle_post)
    }

    pub(crate) fn post_done(self: &Arc<Session>) {
        self.feed(engine::Session::handle_post_done);
    }

    pub(crate) fn post_refused(self: &Arc<Session>, detail: &'static str) {
        self.feed(|engine| engine.handle_post_refused(detail));
    }

    pub(crate) fn post_aborted(self: &Arc<Session>) {
        self.feed(engine::Session::handle_post_aborted);
    }

    pub(crate) fn bad_content(self: &Arc<Session>) {
        self.feed(engine::Session::handle_bad_content);
    }

    // --- Upgrade ---

    /// Asks whether a second transport may be probed.
    pub(crate) fn handle_probe(self: &Arc<Session>, transport: Transport, now: Instant) -> bool {
        let accepted = self.feed(|engine| engine.handle_probe(transport, now));
        if accepted {
            let probe = Probe {
                frames: Vec::new(),
                ending: None,
                waker: None,
            };
            self.state.lock().rare.get_or_insert_default().probe = Some(probe);
        }
        accepted
    }

    pub(crate) fn probe_closed(self: &Arc<Session>) {
        self.shared.counters().failed_upgrades();
        self.feed(engine::Session::handle_probe_closed);
    }

    /// Takes what the probed connection is to write; its ending when it is to be closed then.
    pub(crate) fn take_probe_frames(&self, waker: &Waker, out: &mut Vec<u8>) -> Option<Ending> {
        let mut state = self.state.lock();
        let probe = state.rare.as_mut().and_then(|rare| rare.probe.as_mut())?;
        out.append(&mut probe.frames);
        probe.waker = Some(waker.clone());
        probe.ending
    }

    /// Learns that the connection is the session's own by now, and has what it was to write.
    pub(crate) fn forget_probe(&self) {
        let mut state = self.state.lock();
        if let Some(rare) = &mut state.rare {
            rare.probe = None;
        }
        if state.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            state.rare = None;
        }
    }

    /// Answers a control frame on the connection that is being probed.
    pub(crate) fn answer_on_probe(&self, opcode: Opcode, payload: &[u8]) {
        let mut state = self.state.lock();
        if let Some(probe) = state.rare.as_mut().and_then(|rare| rare.probe.as_mut()) {
            websocket::header(&mut probe.frames, opcode, payload.len());
            probe.frames.extend_from_slice(payload);
        }
    }

    pub(crate) fn on_upgrade(&self, listener: UpgradeListener) {
        let mut state = self.state.lock();
        let transport = state.engine.transport();
        if state.engine.is_upgraded() {
            drop(state);
            self.tell_upgraded(listener, transport);
        } else if state.engine.ready_state() != ReadyState::Closed {
            state.rare.get_or_insert_default().on_upgrade.push(listener);
        } else {
            drop(state);
            self.shared.application().discard(listener);
        }
    }

    fn tell_upgraded(&self, listener: UpgradeListener, transport: Transport) {
        let application = self.shared.application();
        let _ = application.call(Callback::UpgradeListener, || listener(transport));
    }

    // --- Closing ---

    /// Ends the session from this side. The sockets leave first, if they are told a reason: what they
    /// say on leaving goes out, too.
    pub(crate) fn close(self: &Arc<Session>, close: Close) {
        if let Some(reason) = close.reason {
            tracing::debug!(session = ?self.id, reason = reason.as_str(), "closing");
            let sockets = self.state.lock().connection.close();
            for socket in sockets {
                socket.left(reason, close.description);
            }
        }
        let ending = match close.reason {
            Some(DisconnectReason::ServerShuttingDown) => self.farewell(),
            Some(_) | None => Ending::CloseFrame,
        };
        let mut state = self.state.lock();
        let close = match close.when {
            When::Written => engine::Close::After(self.outbox.lock().seal(ending)),
            When::Now => engine::Close::Discard,
        };
        let has_words = close == engine::Close::After(Queue::Filled);
        state.is_awaited |= has_words || state.engine.is_upgrading();
        state.engine.close(close);
        self.settle(state);
    }

    /// Sends a ping behind what is queued.
    pub(crate) fn ping(self: &Arc<Session>) {
        let mut state = self.state.lock();
        state.engine.ping(Instant::now());
        self.settle(state);
    }

    pub(crate) fn awaits_pong(&self) -> bool {
        self.state.lock().engine.awaits_pong()
    }

    /// Says whether this session's client, which is being sent away, can be expected to hear of it: it
    /// has something to take, or has come for it. One that polls, and does not now, may never come.
    pub(crate) fn is_awaited(&self) -> bool {
        self.state.lock().is_awaited
    }

    fn farewell(&self) -> Ending {
        self.shared.config().farewell.ending(&self.handshake)
    }

    /// Says whether handlers run, or answers of the client are awaited.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
            || self
                .state
                .lock()
                .connection
                .sockets()
                .any(Socket::awaits_acks)
    }

    fn policy(&self, flags: &Flags) -> QueuePolicy {
        flags.if_full.unwrap_or(self.shared.queue_policy())
    }

    /// Ends a connection whose client does not read, if that is the policy.
    pub(crate) fn overflowed(self: &Arc<Session>, flags: &Flags) {
        match self.policy(flags) {
            // Who could wait for room does not get here.
            QueuePolicy::Disconnect | QueuePolicy::Wait => {
                tracing::warn!(session = ?self.id, "closing a client that does not read");
                self.close(Close::broken("the client's queue is full"));
            }
            QueuePolicy::DropNewest | QueuePolicy::DropOldest => {}
        }
    }

    /// Makes one socket leave its namespace; its handlers may be told why.
    pub(crate) fn disconnect_socket(
        self: &Arc<Session>,
        socket: &Socket,
        description: Option<&str>,
    ) {
        let left = self
            .state
            .lock()
            .connection
            .leave(socket.0.namespace.name());
        if left.is_some() {
            self.outbox.lock().end_write();
            socket.send_control(PacketKind::Disconnect, "");
            socket.left(DisconnectReason::ServerNamespaceDisconnect, description);
        }
    }

    /// Makes all sockets leave and closes the connection.
    pub(crate) fn disconnect_all(self: &Arc<Session>, description: Option<&str>) {
        let sockets: Vec<_> = self.state.lock().connection.sockets().cloned().collect();
        sockets
            .iter()
            .for_each(|socket| self.disconnect_socket(socket, description));
        self.close(Close::FORCED);
    }

    pub(crate) fn accept(&self, nsp: &str, socket: &Socket) -> bool {
        self.state.lock().connection.accept(nsp, socket.clone())
    }

    /// Says whether so much more `auth` may be kept, which then counts; a client's only one always may.
    pub(crate) fn keep_auth(&self, bytes: usize) -> bool {
        let max = self.shared.config().max_auth;
        let max = max.unwrap_or(self.shared.max_payload());
        let add = |kept: usize| match kept.saturating_add(bytes) {
            sum if sum <= max || kept == 0 => Some(sum),
            _ => None,
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.auth_bytes.fetch_update(set, fetch, add).is_ok()
    }

    pub(crate) fn forget_auth(&self, bytes: usize) {
        self.auth_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn refuse_namespace(&self, nsp: &str) {
        self.state.lock().connection.refuse(nsp);
    }

    /// Does what the machines ask for and tells those concerned; true if the transport is another.
    fn settle(self: &Arc<Session>, mut state: MutexGuard<'_, State>) -> bool {
        let mut told = Told::default();
        while let Some(transmit) = state.engine.poll_transmit() {
            self.transmit(&mut state, transmit, &mut told);
        }
        while let Some(event) = state.engine.poll_event() {
            match event {
                Event::Upgrading(_) => {}
                Event::Upgraded(transport) => {
                    told.upgraded = Some(transport);
                    if let Some(rare) = &mut state.rare {
                        told.listeners = std::mem::take(&mut rare.on_upgrade);
                    }
                }
                Event::Closed { reason, detail } => {
                    if let Some(rare) = &mut state.rare {
                        told.unused = std::mem::take(&mut rare.on_upgrade);
                    }
                    let sockets = state.connection.close();
                    told.closed = Some(Closed {
                        reason: reason_of(reason),
                        description: detail,
                        sockets,
                        key: state.key,
                    });
                    self.outbox.lock().close();
                    told.flush = true;
                }
            }
        }
        self.arm(&mut state);
        drop(state);
        let upgraded = told.upgraded.is_some();
        self.tell(told);
        upgraded
    }

    fn transmit(&self, state: &mut State, transmit: Transmit, told: &mut Told) {
        match transmit {
            Transmit::Packet {
                via: Via::Main,
                packet,
            } => {
                let mut outbox = self.outbox.lock();
                match packet {
                    ControlPacket::Close => outbox.push_close_packet(),
                    ControlPacket::Pong => {
                        told.flush |= outbox.push_pong(None) == Pushed::Mark;
                        return;
                    }
                    packet => outbox.push(Opcode::Text, control_text(packet)),
                }
                drop(outbox);
                if packet == ControlPacket::Ping && self.shared.config().recovery.is_some() {
                    let trails = state.connection.sockets().filter_map(Socket::trail);
                    trails.for_each(|trail| trail.pinged());
                }
                told.flush = true;
            }
            Transmit::Packet {
                via: Via::Probe,
                packet,
            } => {
                if let Some(probe) = state.rare.as_mut().and_then(|rare| rare.probe.as_mut()) {
                    let text = control_text(packet);
                    websocket::header(&mut probe.frames, Opcode::Text, text.len());
                    probe.frames.extend_from_slice(text);
                    probe.wake();
                }
            }
            Transmit::CloseTransport { via: Via::Probe } => {
                // The session's end is for clients that heed no close frame, too.
                let ending = match state.engine.ready_state() {
                    ReadyState::Closed => self.farewell(),
                    ReadyState::Open | ReadyState::Closing => Ending::CloseFrame,
                };
                if let Some(probe) = state.rare.as_mut().and_then(|rare| rare.probe.as_mut()) {
                    probe.ending = Some(ending);
                    probe.wake();
                }
            }
            Transmit::CloseTransport { via: Via::Main } => {
                let mut outbox = self.outbox.lock();
                let ending = outbox.close();
                if state.engine.transport() == Transport::WebSocket && ending == Ending::CloseFrame
                {
                    outbox.end_write();
                    outbox.push(Opcode::Close, &[]);
                }
                told.flush = true;
            }
            Transmit::DiscardQueue => self.outbox.lock().discard(),
        }
    }

    fn tell(self: &Arc<Session>, told: Told) {
        if told.flush {
            turn::mark(self);
        }
        if let Some(transport) = told.upgraded {
            self.shared.counters().upgraded();
            for listener in told.listeners {
                self.tell_upgraded(listener, transport);
            }
        }
        for listener in told.unused {
            self.shared.application().discard(listener);
        }
        if let Some(closed) = told.closed {
            tracing::debug!(
                session = ?self.id,
                reason = closed.reason.as_str(),
                description = closed.description.as_deref().map(|text| Printable::new(text).to_string()),
                "session closed"
            );
            let has_crowd_left = self.shared.sessions().remove(&self.id, closed.key);
            if has_crowd_left || self.shared.total_queue().has_freed() {
                memory::give_back(&self.shared);
            }
            let address = self.handshake.address().map(|address| address.ip());
            let limits = &self.shared.config().limits;
            self.shared.admission().closed(limits, address);
            self.shared.cancel_deadline(closed.key);
            for socket in closed.sockets {
                socket.left(closed.reason, closed.description.as_deref());
            }
        }
    }

    /// Tells the wheel when this session wants to be looked at, unless it will be in time anyway.
    fn arm(&self, state: &mut State) {
        if state.key == u32::MAX {
            return;
        }
        let next = [
            state.engine.poll_timeout(),
            state.connection.poll_timeout(),
            state.expiry(),
        ];
        let Some(next) = next.into_iter().flatten().min() else {
            return;
        };
        if state.armed.is_none_or(|armed| next < armed) {
            state.armed = Some(next);
            self.shared.set_deadline(state.key, next);
        }
    }

    // --- What goes out ---

    /// Queues an event for this client; gives it back if it is to wait for room.
    pub(crate) fn send_event(
        self: &Arc<Session>,
        encoded: &Encoded<'_>,
        flags: &Flags,
    ) -> Result<Option<Waiting>, EmitError> {
        match self.send_unless_full(encoded, flags) {
            Ok(Pushed::Closed) => Err(EmitError::Disconnected),
            Ok(_) => Ok(None),
            Err(Full) if self.policy(flags) == QueuePolicy::Wait => {
                Ok(Some(Waiting::new(self, encoded.to_shared(), *flags)))
            }
            Err(Full) => {
                self.overflowed(flags);
                Err(EmitError::QueueFull)
            }
        }
    }

    /// Queues a packet for this client.
    pub(crate) fn send(
        self: &Arc<Session>,
        encoded: Encoded<'_>,
        flags: &Flags,
    ) -> Result<(), EmitError> {
        let size = encoded.size();
        self.queue(size, flags, |outbox| {
            encoded.frames(|opcode, payload| outbox.push(opcode, payload));
        })
    }

    /// Queues a packet for this client; a connection that has ended takes none. The caller deals
    /// with a full queue.
    pub(crate) fn send_unless_full(
        self: &Arc<Session>,
        encoded: &Encoded<'_>,
        flags: &Flags,
    ) -> Result<Pushed, Full> {
        let size = encoded.size();
        match self.try_queue(size, flags, |outbox| {
            encoded.frames(|opcode, payload| outbox.push(opcode, payload));
        }) {
            Pushed::Full => Err(Full),
            pushed @ (Pushed::Mark | Pushed::Queued | Pushed::Closed) => Ok(pushed),
        }
    }

    /// Queues what a client is sent again, which may be more than its queue would take.
    pub(crate) fn send_anyway(self: &Arc<Session>, push: impl FnOnce(&mut Outbox)) {
        let mut outbox = self.outbox.lock();
        if outbox.is_open() {
            outbox.begin_message(true);
            push(&mut outbox);
            if outbox.queued() > STEP {
                self.is_long(&mut outbox);
            }
        }
        drop(outbox);
        turn::mark(self);
    }

    /// Deals with a queue that has become long.
    #[cold]
    fn is_long(&self, outbox: &mut Outbox) {
        // A handler that emits without end must not wait for its turn's end.
        if outbox.queued() > IN_TURN {
            outbox.flush();
        }
        if outbox.queued() > STEP {
            outbox.count(self.shared.total_queue());
            self.shared.shed_if_full();
        }
    }

    /// Ends the session because the queues of all clients are full together, and its own is among the
    /// largest.
    pub(crate) fn shed(self: &Arc<Session>) {
        tracing::warn!(session = ?self.id, queued = self.queued(), "closing the client with the longest queue: those of all clients are full together");
        self.close(Close::broken("the queues of all clients are full"));
    }

    /// Queues frames that many clients share. The caller deals with a full queue.
    pub(crate) fn send_shared(
        self: &Arc<Session>,
        frames: &SharedFrames<'_>,
        flags: &Flags,
    ) -> Result<(), Full> {
        match self.try_queue(frames.size(), flags, |outbox| outbox.push_frames(frames)) {
            Pushed::Full => Err(Full),
            Pushed::Mark | Pushed::Queued | Pushed::Closed => Ok(()),
        }
    }

    fn queue(
        self: &Arc<Session>,
        size: usize,
        flags: &Flags,
        push: impl FnOnce(&mut Outbox),
    ) -> Result<(), EmitError> {
        match self.try_queue(size, flags, push) {
            Pushed::Mark | Pushed::Queued => Ok(()),
            Pushed::Closed => Err(EmitError::Disconnected),
            Pushed::Full => {
                self.overflowed(flags);
                Err(EmitError::QueueFull)
            }
        }
    }

    fn try_queue(
        self: &Arc<Session>,
        size: usize,
        flags: &Flags,
        push: impl FnOnce(&mut Outbox),
    ) -> Pushed {
        let mut outbox = self.outbox.lock();
        if flags.volatile && !outbox.is_writable() {
            self.shared.counters().dropped_volatile();
            return Pushed::Queued;
        }
        let max = self.shared.max_queue();
        let mut pushed = outbox.admit(size, max);
        if pushed == Pushed::Full
            && self.policy(flags) == QueuePolicy::DropOldest
            && self.shared.parser().is_none()
        {
            let dropped = outbox.drop_events(size.max(max / 8));
            self.shared.counters().dropped_full_by(dropped);
            pushed = outbox.admit(size, max);
        }
        match pushed {
            Pushed::Closed => {}
            Pushed::Full if self.policy(flags) == QueuePolicy::Wait => {}
            Pushed::Full => self.shared.counters().dropped_full(),
            Pushed::Mark | Pushed::Queued => {
                self.shared.counters().packet();
                outbox.begin_message(!flags.uncompressed);
                push(&mut outbox);
                if outbox.queued() > STEP {
                    self.is_long(&mut outbox);
                }
            }
        }
        drop(outbox);
        if pushed == Pushed::Mark {
            turn::mark(self);
        }
        pushed
    }

    /// Queues a packet of the engine itself, such as the open packet.
    pub(crate) fn send_raw(self: &Arc<Session>, text: &[u8]) {
        let mut outbox = self.outbox.lock();
        if outbox.is_open() {
            outbox.begin_message(true);
            outbox.push(Opcode::Text, text);
        }
        drop(outbox);
        turn::mark(self);
    }

    /// Answers a WebSocket ping; while the client does not read, only the last.
    pub(crate) fn send_pong(self: &Arc<Session>, payload: &[u8]) {
        if self.outbox.lock().push_pong(Some(payload)) == Pushed::Mark {
            turn::mark(self);
        }
    }

    pub(crate) fn flush(&self) -> Flushed {
        self.outbox.lock().flush()
    }

    pub(crate) fn with_outbox<R>(&self, then: impl FnOnce(&mut Outbox) -> R) -> R {
        then(&mut self.outbox.lock())
    }

    pub(crate) fn set_link(&self, link: Link) {
        self.outbox.lock().set_link(link);
    }

    pub(crate) fn queued(&self) -> usize {
        self.outbox.lock().queued()
    }

    /// Bytes of a packet that waits for its attachments.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().connection.held()
    }

    pub(crate) fn wait_below_mark(&self, waker: &Waker) -> bool {
        self.outbox.lock().wait_below(LOW_WATER, waker)
    }

    /// Remembers who waits until there is room for so many bytes; false if there is.
    pub(crate) fn wait_for_room(&self, size: usize, waker: &Waker) -> bool {
        let mark = self.shared.max_queue().saturating_sub(size);
        self.outbox.lock().wait_below(mark.min(LOW_WATER), waker)
    }

    // --- Running handlers ---

    pub(crate) fn handler_started(&self) {
        let before = self.running.fetch_add(1, Ordering::AcqRel);
        if before + 1 == self.shared.max_running() {
            self.shared.counters().saturated();
            self.state.lock().engine.set_reading_paused(true);
        }
    }

    pub(crate) fn handler_ended(&self) {
        let before = self.running.fetch_sub(1, Ordering::SeqCst);
        if before == self.shared.max_running() {
            self.state.lock().engine.set_reading_paused(false);
            self.outbox.lock().wake();
        }
        if before == 1 && self.has_left.load(Ordering::SeqCst) {
            self.forget_left();
        }
    }

    /// Reads nothing more from the client, as if as many handlers ran as may, until it is to be resumed.
    pub(crate) fn pause_reading(&self) {
        self.running.fetch_add(PAUSED, Ordering::SeqCst);
        self.state.lock().engine.set_reading_paused(true);
    }

    pub(crate) fn resume_reading(&self) {
        let running = self.running.fetch_sub(PAUSED, Ordering::SeqCst) - PAUSED;
        if running < self.shared.max_running() {
            self.state.lock().engine.set_reading_paused(false);
            self.outbox.lock().wake();
        }
        if running == 0 && self.has_left.load(Ordering::SeqCst) {
            self.forget_left();
        }
    }

    pub(crate) fn with_rates<R>(&self, then: impl FnOnce(&mut Buckets) -> R) -> R {
        then(&mut self.state.lock().bounds().rates)
    }

    /// Has a socket that has left forget what the application keeps with it, when no handler runs any
    /// more that may look at that.
    pub(crate) fn forget_later(self: &Arc<Session>, socket: &Socket) {
        let mut state = self.state.lock();
        let rare = state.rare.get_or_insert_default();
        rare.left.push(socket.clone());
        drop(state);
        self.has_left.store(true, Ordering::SeqCst);
        if !turn::forget_later(self) {
            self.forget_if_idle();
        }
    }

    pub(crate) fn forget_if_idle(&self) {
        if self.running.load(Ordering::SeqCst) == 0 {
            self.forget_left();
        }
    }

    fn forget_left(&self) {
        let left = {
            let mut state = self.state.lock();
            self.has_left.store(false, Ordering::SeqCst);
            let rare = state.rare.as_mut();
            rare.map(|rare| std::mem::take(&mut rare.left))
        };
        left.iter().flatten().for_each(Socket::forget_now);
    }

    /// Says whether so many handlers run that nothing more is read from the client.
    pub(crate) fn is_saturated(&self) -> bool {
        self.running.load(Ordering::Acquire) >= self.shared.max_running()
    }
}

/// Counts as so many running handlers: more than there ever are.
pub(crate) const PAUSED: u32 = 1 << 30;

/// The queue of a client is full.
#[derive(Debug)]
pub(crate) struct Full;

/// Bytes after which a turn in progress is interrupted to write, so that a long turn does not queue
/// what the socket could take.
const IN_TURN: usize = 256 * 1024;

impl State {
    fn bounds(&mut self) -> &mut Bounds {
        let rare = self.rare.get_or_insert_default();
        rare.bounds.get_or_insert_default()
    }

    /// When to look whether the time of a socket ends.
    fn expiry(&self) -> Option<Instant> {
        self.rare.as_ref()?.bounds.as_ref()?.expiry
    }

    /// All sockets, if it is time to look at theirs.
    fn expiring(&mut self, now: Instant) -> Vec<Socket> {
        match self.expiry() {
            Some(at) if at <= now => {
                self.bounds().expiry = None;
                self.connection.sockets().cloned().collect()
            }
            Some(_) | None => Vec::new(),
        }
    }
}

impl Probe {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn control_text(packet: ControlPacket) -> &'static [u8] {
    match packet {
        ControlPacket::Close => b"1",
        ControlPacket::Ping => b"2",
        ControlPacket::Pong => b"3",
        ControlPacket::PongProbe => b"3probe",
        ControlPacket::Noop => b"6",
    }
}

fn reason_of(reason: CloseReason) -> DisconnectReason {
    match reason {
        CloseReason::TransportError => DisconnectReason::TransportError,
        CloseReason::TransportClose => DisconnectReason::TransportClose,
        CloseReason::ForcedClose => DisconnectReason::ForcedClose,
        CloseReason::PingTimeout => DisconnectReason::PingTimeout,
        CloseReason::ParseError => DisconnectReason::ParseError,
    }
}
