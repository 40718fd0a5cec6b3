//! What comes from the server: from messages to handlers.

use socketio_proto::Printable;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use socketio_proto::engine::Message;
use socketio_proto::socket::{
    Decoder, DisconnectReason, EventRef, GivenUp, PacketDecoder, PacketKind, ParseError,
    ServerPacket, StoredEvent,
};

use super::auth::{self, Auth};
use super::backlog::Backlog;
use super::config::Version;
use super::error::{ConnectError, Disconnected, LINE};
use super::running::Running;
use super::shared::{Shared, SocketCore, Unsent, Waiter};
use crate::args::Args;
use crate::error::AckError;
use crate::handler::{Call, Registered};

/// Handles what comes, in order, and has the handlers that go on.
pub(crate) struct Inbox {
    shared: Arc<Shared>,
    decoder: PacketReader,
    pub(crate) running: Running,
    backlog: Backlog,
    /// Providers of `auth` that have not answered yet.
    joining: Option<Box<FuturesUnordered<Joining>>>,
    /// The id of the session, from which ids of Socket.IO 2 are made.
    sid: String,
    /// Messages that came together with the open packet, which is told of after them.
    early: Option<Vec<Early>>,
    /// When a namespace may have to have been joined; it may have been since.
    join_due: Option<Instant>,
    /// How long the next attachment of a packet may take: the session's ping timeout.
    patience: Duration,
}

enum Early {
    Binary(Vec<u8>),
    Text(String),
}

type Joining = Pin<Box<dyn Future<Output = (Arc<SocketCore>, Result<String, String>)> + Send>>;

enum PacketReader {
    Json(Decoder),
    Custom(Box<dyn PacketDecoder>),
}

/// Why the connection has to end.
#[derive(Debug)]
pub(crate) enum Broken {
    /// A namespace cannot be joined.
    Join(ConnectError),
    /// The server has sent what is no packet, or more than is kept.
    Parse(String),
}

impl Inbox {
    pub(crate) fn new(shared: Arc<Shared>) -> Inbox {
        let running = Running::new(&shared.application);
        Inbox {
            decoder: reader(&shared),
            shared,
            running,
            backlog: Backlog::default(),
            joining: None,
            sid: String::new(),
            early: None,
            join_due: None,
            patience: Duration::MAX,
        }
    }

    /// Begins anew with a connection.
    pub(crate) fn reset(&mut self) {
        self.decoder = reader(&self.shared);
        self.joining = None;
        self.join_due = None;
        self.early = Some(Vec::new());
    }

    /// The session is open: what came with the open packet is read.
    pub(crate) fn opened(&mut self, sid: String, ping_timeout: Duration) -> Result<(), Broken> {
        self.sid = sid;
        self.patience = ping_timeout;
        self.early
            .take()
            .into_iter()
            .flatten()
            .try_for_each(|early| match early {
                Early::Binary(bytes) => self.message(Message::Binary(bytes.into())),
                Early::Text(text) => self.message(Message::Text(&text)),
            })
    }

    /// Says whether nothing goes on.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.len() == 0 && self.backlog.is_empty()
    }

    /// Says whether nothing more is to be read: so much waits for handlers.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog.bytes() > self.shared.config.max_queue
    }

    /// Goes on with the handlers, and with events that have waited for them.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        self.running.poll(cx);
        while !self.backlog.is_empty()
            && self.running.len() < self.shared.config.max_running_handlers
            && let Some((core, event)) = self.backlog.pop(|core| core.full_stream().is_none())
        {
            self.dispatch(
                &core,
                &event.name,
                &event.args,
                &event.attachments,
                event.id,
            );
        }
    }

    // --- Joining ---

    /// Joins a namespace.
    pub(crate) fn join(&mut self, core: &Arc<SocketCore>) {
        let auth = core.auth.lock().clone();
        match (&auth, self.shared.config.version) {
            // The server joins it by itself.
            (_, Version::V2) if &*core.nsp == "/" => self.expect(core),
            (Auth::None, _) => self.send_connect(core, ""),
            (Auth::Value(auth), _) => self.send_connect(core, auth),
            (Auth::Provider(provider), _) => {
                let (core, provider) = (core.clone(), provider.clone());
                let application = self.shared.application.clone();
                let timeout = self.timeout();
                let bounded = async move {
                    let auth = auth::provided(provider, application, timeout).await;
                    (core, auth)
                };
                self.joining.get_or_insert_default().push(Box::pin(bounded));
            }
        }
    }

    /// Goes on with what has been provided.
    pub(crate) fn poll_joining(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        while let Some(set) = &mut self.joining {
            match Pin::new(&mut **set).poll_next(cx) {
                Poll::Ready(Some((core, Ok(auth)))) => self.send_connect(&core, &auth),
                Poll::Ready(Some((_, Err(error)))) => {
                    return Err(Broken::Join(ConnectError::auth(error)));
                }
                Poll::Ready(None) => self.joining = None,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        self.shared
            .with_state(|state| state.machine.config().timeout)
    }

    /// The server is to let the client into a namespace, in time.
    fn expect(&mut self, core: &SocketCore) {
        let now = self.shared.clock.now();
        let until = self.timeout().and_then(|timeout| now.checked_add(timeout));
        core.inner.lock().machine.handle_joining(until);
        self.join_due = [self.join_due, until].into_iter().flatten().min();
    }

    /// When it has to be looked whether a namespace was not joined in time.
    pub(crate) fn join_due(&self) -> Option<Instant> {
        self.join_due
    }

    /// Looks whether a namespace was not joined in time.
    ///
    /// # Errors
    ///
    /// When none is joined: then the connection is of no use.
    pub(crate) fn check_joining(&mut self, now: Instant) -> Result<(), Broken> {
        if self.join_due.is_none_or(|due| due > now) {
            return Ok(());
        }
        self.join_due = None;
        let sockets = self.shared.sockets();
        let is_joined = |core: &Arc<SocketCore>| core.inner.lock().machine.is_joined();
        let has_joined = sockets.iter().any(is_joined);
        for core in &sockets {
            let (is_late, due) = {
                let machine = &mut core.inner.lock().machine;
                let is_late = machine.handle_join_timeout(now);
                (is_late, machine.join_timeout())
            };
            self.join_due = [self.join_due, due].into_iter().flatten().min();
            if !is_late {
                continue;
            }
            let error = ConnectError::not_joined(&core.nsp, self.timeout());
            if !has_joined {
                return Err(Broken::Join(error));
            }
            // The answer may still come: a second CONNECT would make a second socket of it.
            self.connect_error(core, &error);
            self.expect(core);
        }
        Ok(())
    }

    fn send_connect(&mut self, core: &Arc<SocketCore>, auth: &str) {
        // Who has left in the meantime does not join.
        let payload = {
            let inner = core.inner.lock();
            if !inner.machine.is_active() || inner.machine.is_joined() {
                return;
            }
            inner.machine.connect_payload(auth)
        };
        let parser = self.shared.config.parser.as_ref();
        let (nsp, data) = match self.shared.config.version {
            Version::V4 => (core.nsp.to_string(), payload),
            Version::V2 => (with_query(&core.nsp, &payload), String::new()),
        };
        crate::encode::control(parser, PacketKind::Connect, &nsp, &data, |encoded| {
            self.shared.push_control(&encoded);
        });
        self.expect(core);
    }

    // --- Packets ---

    pub(crate) fn message(&mut self, message: Message<'_>) -> Result<(), Broken> {
        if let Some(early) = &mut self.early {
            early.push(match message {
                Message::Binary(bytes) => Early::Binary(bytes.into_owned()),
                Message::Text(text) => Early::Text(text.to_owned()),
            });
            return Ok(());
        }
        let text = match &message {
            Message::Text(text) => Some(*text),
            Message::Binary(_) => None,
        };
        self.read(message).map_err(|broken| match (broken, text) {
            (Broken::Parse(why), Some(text)) => {
                let start: String = text.chars().take(LINE).collect();
                Broken::Parse(format!("{why}: {start:?}"))
            }
            (Broken::Parse(why), None) => Broken::Parse(format!("{why}: a message of bytes")),
            (join @ Broken::Join(_), _) => join,
        })
    }

    fn read(&mut self, message: Message<'_>) -> Result<(), Broken> {
        let parse = |error: ParseError| Broken::Parse(error.to_string());
        let decoded = match (&mut self.decoder, message) {
            (PacketReader::Json(decoder), Message::Text(text)) => {
                return match decoder.server_text(text).map_err(parse)? {
                    Some(packet) => self.packet(packet),
                    None => Ok(()),
                };
            }
            (PacketReader::Json(decoder), Message::Binary(bytes)) => decoder.binary(bytes),
            (PacketReader::Custom(decoder), Message::Text(text)) => decoder.add_text(text),
            (PacketReader::Custom(decoder), Message::Binary(bytes)) => decoder.add_binary(&bytes),
        };
        match decoded.map_err(parse)? {
            Some(packet) => self.packet(ServerPacket::from_packet(&packet).map_err(parse)?),
            None => Ok(()),
        }
    }

    /// When it has to be looked whether attachments have come.
    pub(crate) fn attachments_due(&self) -> Option<Instant> {
        match &self.decoder {
            PacketReader::Json(decoder) => decoder.poll_timeout(),
            PacketReader::Custom(_) => None,
        }
    }

    /// Looks whether a packet waits for attachments that do not come. What is not read cannot come.
    ///
    /// # Errors
    ///
    /// When the connection has to end.
    pub(crate) fn check_attachments(&mut self, now: Instant) -> Result<(), Broken> {
        let is_full = self.is_full();
        let is_late = match &mut self.decoder {
            PacketReader::Json(decoder) if is_full => {
                decoder.excuse();
                false
            }
            PacketReader::Json(decoder) => decoder.is_late(now, self.patience),
            PacketReader::Custom(decoder) => !is_full && decoder.is_late(now, self.patience),
        };
        match is_late {
            true => Err(Broken::Parse(ParseError::AttachmentsMissing.to_string())),
            false => Ok(()),
        }
    }

    fn core(&self, nsp: &str) -> Option<Arc<SocketCore>> {
        self.shared
            .with_state(|state| state.sockets.iter().find(|core| *core.nsp == *nsp).cloned())
    }

    fn packet(&mut self, packet: ServerPacket<'_>) -> Result<(), Broken> {
        let (ServerPacket::Ack { nsp, .. }
        | ServerPacket::Connect { nsp, .. }
        | ServerPacket::ConnectError { nsp, .. }
        | ServerPacket::Disconnect { nsp }
        | ServerPacket::Event { nsp, .. }) = &packet;
        let Some(core) = self.core(nsp) else {
            tracing::debug!(
                namespace = Printable::new(&**nsp).to_string(),
                "a packet for a namespace that is not joined"
            );
            return Ok(());
        };
        match packet {
            ServerPacket::Event {
                id,
                event: Some(event),
                attachments,
                ..
            } => self.event(&core, &event, id, attachments)?,
            ServerPacket::Event { event: None, .. } => {}
            ServerPacket::Ack {
                id: Some(id),
                args,
                attachments,
                ..
            } => self.ack(&core, id, &args, attachments),
            ServerPacket::Ack { id: None, .. } => {}
            ServerPacket::Connect { data, .. } => self.connected(&core, &data),
            ServerPacket::ConnectError { data, .. } => {
                self.refused(&core, &ConnectError::refused(&data));
            }
            ServerPacket::Disconnect { .. } => self.ended(&core),
        }
        Ok(())
    }

    fn event(
        &mut self,
        core: &Arc<SocketCore>,
        event: &EventRef<'_>,
        id: Option<u64>,
        attachments: Vec<Bytes>,
    ) -> Result<(), Broken> {
        {
            let mut inner = core.inner.lock();
            let now = inner.machine.handle_event(event, id, &attachments);
            if !now.map_err(|error| Broken::Parse(error.to_string()))? {
                return Ok(());
            }
            if id.is_none() {
                inner.machine.note_offset(&event.args);
            }
        }
        self.take(core, event.name(), &event.args, attachments, id);
        Ok(())
    }

    /// Handles an event, or lets it wait for handlers to end.
    fn take(
        &mut self,
        core: &Arc<SocketCore>,
        name: &str,
        args: &str,
        attachments: Vec<Bytes>,
        id: Option<u64>,
    ) {
        let is_saturated = self.running.len() >= self.shared.config.max_running_handlers;
        let full = core.full_stream();
        if !is_saturated && full.is_none() && !self.backlog.has(core) {
            return self.dispatch(core, name, args, &attachments, id);
        }
        let event = StoredEvent {
            name: name.into(),
            args: args.into(),
            attachments,
            id,
        };
        let is_too_much = || self.backlog.bytes() + event.size() > self.shared.config.max_queue;
        if let Some(stream) = full
            && is_too_much()
            && self.shared.has_others(core)
        {
            // Else nothing more would be read for the other namespaces either.
            if stream.miss() {
                tracing::warn!(
                    namespace = Printable::new(&*core.nsp).to_string(),
                    "a stream of events is not read: what comes for its namespace is dropped"
                );
            }
            return;
        }
        self.backlog.push(core, event);
    }

    fn dispatch(
        &mut self,
        core: &Arc<SocketCore>,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        id: Option<u64>,
    ) {
        // Without a handle there is nobody to handle it.
        let Some(socket) = self.shared.socket(core) else {
            return;
        };
        let streams = core.inner.lock().streams.clone();
        for queue in &streams {
            queue.push(name, args, attachments, id);
        }
        let (any, list) = core.handlers.of(name);
        let call = Call {
            socket: &socket,
            event: name,
            args,
            attachments,
            ack: id,
            is_auth: false,
        };
        if !any.is_empty() {
            let args = with_name(name, args);
            let call = Call {
                args: &args,
                ack: None,
                ..call
            };
            self.start(&any, call);
        }
        match list {
            Some(list) => self.start(&list, call),
            None if streams.is_empty() && any.is_empty() => core.handlers.unhandled(name),
            None => {}
        }
    }

    fn start(&mut self, list: &[Registered<super::Socket>], call: Call<'_, super::Socket>) {
        for registered in list.iter().filter(|registered| registered.take_turn()) {
            self.running.start(|| match (registered.handler)(call) {
                Ok(future) => Some(future),
                Err(error) => {
                    tracing::warn!(event = Printable::new(&call.event).to_string(), error = %Printable::new(&error), "the arguments of an event are not those that its handler takes");
                    None
                }
            });
        }
    }

    fn ack(&mut self, core: &Arc<SocketCore>, id: u64, args: &str, attachments: Vec<Bytes>) {
        let waiter = core.inner.lock().machine.take_waiter(id);
        match waiter {
            // Who waited may have given up in the meantime.
            Some(waiter) => drop(waiter.send(Ok(Args::new(args, attachments)))),
            None => tracing::debug!(id, "an ack that nobody waits for"),
        }
        if self.shared.config.retries {
            self.try_again(core);
        }
    }

    fn try_again(&self, core: &Arc<SocketCore>) {
        if let Some(socket) = self.shared.socket(core) {
            socket.try_again(self.shared.clock.now());
        }
    }

    // --- What becomes of a namespace ---

    fn connected(&mut self, core: &Arc<SocketCore>, data: &str) {
        let joined = {
            let mut inner = core.inner.lock();
            if !inner.machine.is_active() || inner.machine.is_joined() {
                return;
            }
            match self.shared.config.version {
                Version::V4 => inner.machine.handle_connect(data),
                Version::V2 => {
                    let sid = match &*core.nsp {
                        "/" => self.sid.clone(),
                        nsp => format!("{nsp}#{}", self.sid),
                    };
                    inner.machine.handle_old_connect(&sid);
                    Ok(())
                }
            }
        };
        if let Err(error) = joined {
            return self.connect_error(core, &error.into());
        }
        // What was missed, then what was emitted meanwhile, then the handlers: the reference's order.
        loop {
            let Some(event) = ({
                let mut inner = core.inner.lock();
                let event = inner.machine.take_received();
                if let Some(event) = &event
                    && event.id.is_none()
                {
                    inner.machine.note_offset(&event.args);
                }
                event
            }) else {
                break;
            };
            self.take(core, &event.name, &event.args, event.attachments, event.id);
        }
        let Some(socket) = self.shared.socket(core) else {
            return;
        };
        socket.send_offline();
        socket.try_again(self.shared.clock.now());
        let call = Call {
            socket: &socket,
            event: "connect",
            args: "",
            attachments: &[],
            ack: None,
            is_auth: false,
        };
        self.start(&core.handlers.connect(), call);
        let connecting = std::mem::take(&mut core.inner.lock().connecting);
        for waiting in connecting {
            let _ = waiting.send(Ok(()));
        }
    }

    /// The server does not let the client in: it does not try again by itself.
    fn refused(&mut self, core: &Arc<SocketCore>, error: &ConnectError) {
        self.leave(core);
        self.connect_error(core, error);
        self.end_streams(core);
        self.close_if_unused();
    }

    /// The server has ended the namespace.
    fn ended(&mut self, core: &Arc<SocketCore>) {
        if self.leave(core) {
            let reason = DisconnectReason::IoServerDisconnect;
            self.gone(core, &Disconnected::new(reason, false, None));
        } else {
            let reason = DisconnectReason::IoServerDisconnect;
            self.connect_error(core, &ConnectError::closed(reason, None));
        }
        self.end_streams(core);
        self.close_if_unused();
    }

    /// A namespace is not to be joined any more; says whether it was. Nobody waits for answers then.
    pub(crate) fn leave(&self, core: &SocketCore) -> bool {
        let lost = core.inner.lock().machine.deactivate();
        self.give_up(lost.given_up);
        lost.was_joined
    }

    /// An event was sent as often as may be.
    pub(crate) fn give_up(&self, given_up: Option<GivenUp<Unsent, Waiter>>) {
        if let Some(GivenUp { event, waiter }) = given_up {
            self.shared.fail(&event.name, waiter, AckError::Timeout);
        }
    }

    fn close_if_unused(&self) {
        if !self.shared.has_active_sockets() {
            self.shared.with_state(|state| state.machine.close());
        }
    }

    /// Tells who waits, and the handlers, that a namespace could not be joined.
    pub(crate) fn connect_error(&mut self, core: &Arc<SocketCore>, error: &ConnectError) {
        let connecting = std::mem::take(&mut core.inner.lock().connecting);
        for waiting in connecting {
            let _ = waiting.send(Err(error.clone()));
        }
        if let Some(socket) = self.shared.socket(core) {
            for handler in core.handlers.connect_error() {
                let (socket, error) = (socket.clone(), error.clone());
                self.running.start(|| Some(handler(socket, error)));
            }
        }
    }

    /// Tells the handlers that a namespace is joined no more.
    pub(crate) fn gone(&mut self, core: &Arc<SocketCore>, gone: &Disconnected) {
        if let Some(socket) = self.shared.socket(core) {
            for handler in core.handlers.disconnect() {
                let (socket, gone) = (socket.clone(), gone.clone());
                self.running.start(|| Some(handler(socket, gone)));
            }
        }
    }

    pub(crate) fn end_streams(&self, core: &Arc<SocketCore>) {
        let streams = std::mem::take(&mut core.inner.lock().streams);
        streams.iter().for_each(|queue| queue.end());
    }
}

fn reader(shared: &Shared) -> PacketReader {
    let config = &shared.config;
    match &config.parser {
        None => {
            let decoder = Decoder::new(config.max_attachments, config.max_message);
            PacketReader::Json(match config.version {
                Version::V2 => decoder.with_protocol_4(),
                Version::V4 => decoder,
            })
        }
        Some(parser) => PacketReader::Custom(parser.decoder()),
    }
}

/// The arguments with the event's name in front.
fn with_name(name: &str, args: &str) -> String {
    let mut text = Vec::with_capacity(name.len() + args.len() + 3);
    socketio_proto::socket::write_json_string(&mut text, name);
    if !args.is_empty() {
        text.push(b',');
        text.extend_from_slice(args.as_bytes());
    }
    String::from_utf8(text).expect("made of strings")
}

/// A namespace with `auth` as its query, as Socket.IO 2 has it.
fn with_query(nsp: &str, auth: &str) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(auth).unwrap_or_default();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in &object {
        match value {
            serde_json::Value::String(text) => query.append_pair(key, text),
            other => query.append_pair(key, &other.to_string()),
        };
    }
    match query.finish() {
        query if query.is_empty() => nsp.to_owned(),
        // A plus sign means a space to nobody but forms.
        query => format!("{nsp}?{}", query.replace('+', "%20")),
    }
}
