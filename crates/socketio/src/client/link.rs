//! One session's transports, driven by proto's machine: bytes in, bytes out.

use socketio_proto::Printable;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use socketio_proto::engine::{
    self, ClientPacket, ClientTransmit, CloseReason, Message, Packet, PacketError, ReadyState,
    Revision, Transport, Via, decode_payload, v3,
};
use socketio_proto::websocket::{Item, Opcode, header_length};

use super::ConnectError;
use super::error::{Came, MAX_BODY, TransportError};
use super::hints;
use super::inbox::{Broken, Inbox};
use super::polling::{Polling, is_binary, payload};
use super::shared::{Outbox, Shared};
use super::websocket::{End, WebSocket};

/// A session, or one that is being opened.
pub(crate) struct Link {
    pub(crate) engine: engine::Client,
    shared: Arc<Shared>,
    main: Main,
    probe: Probe,
    /// What has ended the session, if a transport has.
    pub(crate) failure: Option<TransportError>,
    /// What kept a namespace from being joined, if that has ended the session.
    pub(crate) join_failure: Option<ConnectError>,
    /// What the server has sent that has ended the session.
    pub(crate) came: Option<Came>,
    leave: Leave,
    /// The application has closed it; what becomes of it concerns nobody.
    pub(crate) retired: bool,
}

type Connecting = Pin<Box<dyn Future<Output = Result<WebSocket, TransportError>> + Send>>;

enum Main {
    Connecting(Connecting),
    Polling(Box<Polling>),
    WebSocket(WebSocket),
    Gone,
}

enum Probe {
    None,
    Connecting(Connecting),
    Open(WebSocket),
}

/// How far this side has taken leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leave {
    No,
    /// When all is written, the transport is closed.
    Wanted,
    /// The close frame is among what is written.
    Said,
}

/// What a WebSocket ping carries whose pong shows that all before it was read.
const PROOF: &[u8] = b"read";

impl Link {
    /// Begins to open a session.
    pub(crate) fn open(shared: &Arc<Shared>, transport: Transport, now: Instant) -> Link {
        Link {
            engine: engine::Client::new(shared.config.engine(), transport, now),
            shared: shared.clone(),
            main: match transport {
                Transport::Polling => Main::Polling(Box::new(Polling::new())),
                _ => Main::Connecting(connect(shared, None)),
            },
            probe: Probe::None,
            failure: None,
            join_failure: None,
            came: None,
            leave: Leave::No,
            retired: false,
        }
    }

    /// What the session waits for while it is being opened, in words.
    pub(crate) fn awaited(&self) -> &'static str {
        match &self.main {
            Main::Polling(_) => "the polling request that opens a session was not answered",
            Main::Connecting(_) => "the WebSocket was not accepted",
            Main::WebSocket(_) | Main::Gone => {
                "the WebSocket brought no packet that opens a session"
            }
        }
    }

    pub(crate) fn set_sid(&mut self, sid: &str) {
        if let Main::Polling(polling) = &mut self.main {
            polling.sid = Some(sid.to_owned());
        }
    }

    /// Reads what there is; true if something was.
    ///
    /// The probe comes first: a server that answers it and releases the waiting GET at the same time is
    /// not to get another GET.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox, now: Instant) -> bool {
        self.poll_probe(cx, inbox, now) | self.poll_main(cx, inbox, now)
    }

    fn poll_main(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox, now: Instant) -> bool {
        match &mut self.main {
            Main::Connecting(connecting) => match connecting.as_mut().poll(cx) {
                Poll::Ready(Ok(websocket)) => self.main = Main::WebSocket(websocket),
                Poll::Ready(Err(error)) => self.broken(error),
                Poll::Pending => return false,
            },
            Main::WebSocket(websocket) => {
                if inbox.is_full() {
                    // That nothing is heard is this side's doing.
                    self.engine.handle_activity(now);
                    return false;
                }
                let mut reader = Reader::new(&mut self.engine, Via::Main, inbox, now);
                let ended = match websocket.poll_read(cx, |item| reader.item(item)) {
                    Poll::Pending => return false,
                    Poll::Ready(ended) => ended,
                };
                let Reader {
                    pong, broken, came, ..
                } = reader;
                if let Some(pong) = pong {
                    websocket.push(Opcode::Pong, &pong);
                }
                self.came = self.came.take().or(came);
                if let Some(broken) = broken {
                    self.invalid(broken);
                }
                match ended {
                    // A part of a message is a sign of life as well.
                    Ok(()) => self.engine.handle_activity(now),
                    Err(End::Closed(code, reason)) => {
                        self.failure
                            .get_or_insert(TransportError::closed(code, &reason));
                        self.engine
                            .handle_transport_closed(CloseReason::TransportClose);
                    }
                    Err(End::Failed(error)) => self.broken(error),
                }
            }
            Main::Polling(_) => return self.poll_polling(cx, inbox, now),
            Main::Gone => return false,
        }
        true
    }

    fn poll_polling(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox, now: Instant) -> bool {
        if let Main::Polling(polling) = &mut self.main {
            polling.watch(&self.shared, cx);
        }
        let mut progress = false;
        if let Main::Polling(polling) = &mut self.main
            && let Some(get) = &mut polling.get
            && let Poll::Ready(answer) = get.as_mut().poll(cx)
        {
            polling.get = None;
            progress = true;
            match answer {
                Ok(body) => {
                    let is_v4 = self.engine.revision() == Revision::V4;
                    if is_v4 && polling.sid.is_none() && hints::is_of_old_server(&body) {
                        self.failure = Some(TransportError::old_server());
                    }
                    polling.unread = Some(body);
                }
                Err(error) if error.is_late_poll() && self.engine.handle_poll_refused() => {
                    tracing::debug!(error = %Printable::new(&error), "a GET was refused since the session moves");
                }
                Err(error) => self.broken(error),
            }
        }
        progress |= self.read_answer(inbox, now);
        if let Main::Polling(polling) = &mut self.main
            && let Some(post) = &mut polling.post
            && let Poll::Ready(answer) = post.as_mut().poll(cx)
        {
            polling.post = None;
            progress = true;
            self.engine.handle_written(true, now);
            self.shared.with_state(|state| {
                state.outbox.in_flight = 0;
                state.outbox.written();
            });
            self.shared.quiet.notify_waiters();
            if let Err(error) = answer {
                self.broken(error);
            }
        }
        if let Main::Polling(polling) = &self.main
            && polling.paused
            && polling.get.is_none()
            && polling.post.is_none()
            && polling.unread.is_none()
        {
            self.engine.handle_paused();
        }
        progress
    }

    /// Reads what is left of the latest answer; true if something was read.
    fn read_answer(&mut self, inbox: &mut Inbox, now: Instant) -> bool {
        let Main::Polling(polling) = &mut self.main else {
            return false;
        };
        if polling.unread.is_none() {
            return false;
        }
        if inbox.is_full() {
            // That nothing is heard is this side's doing.
            self.engine.handle_activity(now);
            return false;
        }
        let Some(body) = polling.unread.take() else {
            return false;
        };
        let mut reader = Reader::new(&mut self.engine, Via::Main, inbox, now);
        let rest = reader.payload(&body);
        let Reader { broken, came, .. } = reader;
        match rest {
            0 => self.engine.handle_poll_answered(now),
            _ => polling.unread = Some(body.slice(body.len() - rest..)),
        }
        self.came = self.came.take().or(came);
        if let Some(broken) = broken {
            self.invalid(broken);
        }
        true
    }

    fn poll_probe(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox, now: Instant) -> bool {
        match &mut self.probe {
            Probe::None => return false,
            Probe::Connecting(connecting) => match connecting.as_mut().poll(cx) {
                Poll::Ready(Ok(websocket)) => {
                    self.probe = Probe::Open(websocket);
                    self.engine.handle_probe_opened();
                }
                Poll::Ready(Err(error)) => self.probe_ended(error.to_string()),
                Poll::Pending => return false,
            },
            Probe::Open(websocket) => {
                let mut reader = Reader::new(&mut self.engine, Via::Probe, inbox, now);
                let ended = match websocket.poll_read(cx, |item| reader.item(item)) {
                    Poll::Pending => return false,
                    Poll::Ready(ended) => ended,
                };
                match ended {
                    Ok(()) => {}
                    Err(End::Closed(..)) => {
                        self.probe_ended("probe error: transport closed".to_owned());
                    }
                    Err(End::Failed(error)) => self.probe_ended(error.to_string()),
                }
            }
        }
        true
    }

    fn probe_ended(&mut self, detail: String) {
        self.probe = Probe::None;
        if let Main::Polling(polling) = &mut self.main {
            polling.paused = false;
        }
        self.engine.handle_probe_closed(detail);
    }

    fn broken(&mut self, error: TransportError) {
        self.failure.get_or_insert(error);
        self.engine
            .handle_transport_closed(CloseReason::TransportError);
    }

    /// Ends the session for what the server has sent, or for want of `auth`.
    pub(crate) fn invalid(&mut self, broken: Broken) {
        match broken {
            Broken::Parse(text) => {
                self.failure
                    .get_or_insert(TransportError::found("parse error", Some(text.into())));
                self.engine.handle_transport_closed(CloseReason::ParseError);
            }
            Broken::Join(error) => self.not_joined(error),
        }
    }

    /// Ends the session because a namespace cannot be joined.
    pub(crate) fn not_joined(&mut self, error: ConnectError) {
        let text = error.to_string();
        self.failure
            .get_or_insert(TransportError::found("forced close", Some(text.into())));
        self.join_failure.get_or_insert(error);
        self.engine
            .handle_transport_closed(CloseReason::ForcedClose);
    }

    /// Does what the machine asks for.
    pub(crate) fn transmit(&mut self, transmit: ClientTransmit) {
        match transmit {
            ClientTransmit::Packet {
                via: Via::Main,
                packet,
            } => self.shared.with_state(|state| state.outbox.control(packet)),
            ClientTransmit::Packet {
                via: Via::Probe,
                packet,
            } => {
                if let Probe::Open(websocket) = &mut self.probe {
                    websocket.push(Opcode::Text, packet.as_str().as_bytes());
                }
                if packet == ClientPacket::Upgrade
                    && let Probe::Open(websocket) = std::mem::replace(&mut self.probe, Probe::None)
                {
                    self.main = Main::WebSocket(websocket);
                }
            }
            ClientTransmit::OpenProbe(_) => {
                if let Main::Polling(polling) = &self.main {
                    let connecting = connect(&self.shared, polling.sid.clone());
                    self.probe = Probe::Connecting(connecting);
                }
            }
            ClientTransmit::Pause => {
                if let Main::Polling(polling) = &mut self.main {
                    polling.paused = true;
                }
            }
            ClientTransmit::CloseTransport { via: Via::Probe } => {
                self.probe = Probe::None;
                if let Main::Polling(polling) = &mut self.main {
                    polling.paused = false;
                }
            }
            ClientTransmit::CloseTransport { via: Via::Main } => {
                if self.leave == Leave::No {
                    self.leave = Leave::Wanted;
                }
            }
        }
    }

    /// Writes what is queued, and polls; true if something was written or asked for. What the machine
    /// has asked for has been done before.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>, inbox: &Inbox, now: Instant) -> bool {
        if let Probe::Open(websocket) = &mut self.probe
            && let Poll::Ready(Err(error)) = websocket.poll_flush(cx)
        {
            self.probe_ended(error.to_string());
            return true;
        }
        match &self.main {
            Main::WebSocket(_) => self.flush_websocket(cx, now),
            Main::Polling(_) => self.start_requests(inbox, now),
            Main::Connecting(_) | Main::Gone => false,
        }
    }

    fn flush_websocket(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Main::WebSocket(websocket) = &mut self.main else {
            return false;
        };
        let before = websocket.unwritten();
        // What waits for a slow server waits in the outbox, where it is counted.
        if before == 0 && self.engine.can_write() {
            let revision = self.engine.revision();
            let is_empty = self.shared.with_state(|state| {
                take_frames(
                    &mut state.outbox,
                    &mut self.engine,
                    websocket,
                    revision,
                    now,
                );
                state.outbox.frames.is_empty()
            });
            if is_empty && self.leave == Leave::Wanted && self.engine.can_write() {
                self.leave = Leave::Said;
                websocket.push(Opcode::Close, &1000_u16.to_be_bytes());
            }
        }
        let unwritten = websocket.unwritten();
        if unwritten == 0 {
            return false;
        }
        self.engine.handle_writing(now);
        let flushed = websocket.poll_flush(cx);
        let rest = websocket.unwritten();
        if rest < unwritten {
            self.engine.handle_written(rest == 0, now);
        }
        self.shared.with_state(|state| {
            state.outbox.in_flight = rest;
            state.outbox.written();
        });
        if rest == 0 {
            self.shared.quiet.notify_waiters();
        }
        if let Poll::Ready(Err(error)) = flushed {
            self.broken(TransportError::broken(super::error::WEBSOCKET_ERROR, error));
        }
        rest < unwritten
    }

    fn start_requests(&mut self, inbox: &Inbox, now: Instant) -> bool {
        let Main::Polling(polling) = &mut self.main else {
            return false;
        };
        let mut progress = false;
        if polling.can_get() && !polling.paused && self.engine.can_poll(now) && !inbox.is_full() {
            self.engine.handle_poll_begun(now);
            polling.start_get(&self.shared);
            progress = true;
        }
        if polling.post.is_some() || polling.paused || !self.engine.can_write() {
            return progress;
        }
        let revision = self.engine.revision();
        let body = self.shared.with_state(|state| {
            let max_payload = state.session.as_ref()?.max_payload;
            let (body, used) = payload(state.outbox.frames(), revision, max_payload);
            state.outbox.take(used);
            state.outbox.in_flight = body.len();
            (!body.is_empty()).then_some(body)
        });
        if let Some(body) = body {
            self.engine.handle_writing(now);
            polling.start_post(&self.shared, body);
            return true;
        }
        if self.leave == Leave::Wanted {
            self.leave = Leave::Said;
            self.engine
                .handle_transport_closed(CloseReason::ForcedClose);
            return true;
        }
        progress
    }

    /// Takes leave of a session that has ended, as far as that takes no time.
    pub(crate) fn farewell(mut self, cx: &mut Context<'_>) {
        if let Main::WebSocket(websocket) = &mut self.main {
            if self.leave != Leave::Said {
                websocket.push(Opcode::Close, &1000_u16.to_be_bytes());
            }
            let _ = websocket.poll_flush(cx);
        }
        self.main = Main::Gone;
    }
}

/// Hands what is queued to a WebSocket, up to a barrier that is not passed yet.
fn take_frames(
    outbox: &mut Outbox,
    engine: &mut engine::Client,
    websocket: &mut WebSocket,
    revision: Revision,
    now: Instant,
) {
    let mut used = 0;
    for (opcode, payload, _) in outbox.frames() {
        used += header_length(payload.len()) + payload.len();
        if opcode != Opcode::Ping {
            push(websocket, revision, opcode, payload);
            continue;
        }
        if websocket.unwritten() > 0 {
            engine.handle_writing(now);
        }
        if engine.handle_barrier(now) {
            websocket.push(Opcode::Ping, PROOF);
            break;
        }
    }
    outbox.take(used);
}

fn push(websocket: &mut WebSocket, revision: Revision, opcode: Opcode, payload: &[u8]) {
    match (revision, opcode) {
        (Revision::V3, Opcode::Binary) => {
            websocket.push(opcode, &[&[v3::BINARY_MESSAGE], payload].concat());
        }
        _ => websocket.push(opcode, payload),
    }
}

fn connect(shared: &Arc<Shared>, sid: Option<String>) -> Connecting {
    let shared = shared.clone();
    Box::pin(async move { WebSocket::connect(&shared, sid.as_deref()).await })
}

/// From bytes to packets, and through the machine.
struct Reader<'a> {
    engine: &'a mut engine::Client,
    via: Via,
    inbox: &'a mut Inbox,
    now: Instant,
    pong: Option<Vec<u8>>,
    broken: Option<Broken>,
    /// What has ended the session.
    came: Option<Came>,
}

impl<'a> Reader<'a> {
    fn new(
        engine: &'a mut engine::Client,
        via: Via,
        inbox: &'a mut Inbox,
        now: Instant,
    ) -> Reader<'a> {
        Reader {
            engine,
            via,
            inbox,
            now,
            pong: None,
            broken: None,
            came: None,
        }
    }

    fn revision(&self) -> Revision {
        self.engine.revision()
    }

    fn item(&mut self, item: Item<'_>) {
        match item {
            Item::Text(text) => {
                let packet = match self.revision() {
                    Revision::V4 => Packet::decode_text(&text),
                    Revision::V3 => v3::decode_text(&text),
                };
                self.noting(text.as_bytes(), false, |reader| reader.packet(packet));
            }
            Item::Binary(bytes) => {
                let packet = match self.revision() {
                    Revision::V4 => Packet::Message(Message::Binary(bytes)),
                    Revision::V3 => v3::decode_binary(bytes),
                };
                self.packet(Ok(packet));
            }
            Item::Ping(payload) => self.pong = Some(payload.to_vec()),
            Item::Pong(payload) => {
                if payload == PROOF {
                    self.engine.handle_proof();
                }
            }
            Item::Fragment | Item::Close(_) => {}
        }
    }

    /// Reads a body, or as much of it as the application keeps up with; gives the length of the rest.
    fn payload(&mut self, body: &[u8]) -> usize {
        let mut rest = 0;
        self.noting(body, true, |reader| {
            if is_binary(body, reader.revision()) {
                let mut packets = v3::decode_binary_payload(body);
                for packet in packets.by_ref() {
                    reader.packet(packet);
                    if reader.inbox.is_full() {
                        break;
                    }
                }
                rest = packets.rest().map_or(0, <[u8]>::len);
                return;
            }
            let Ok(text) = std::str::from_utf8(body) else {
                return reader.engine.handle_bad_packet(reader.via);
            };
            match reader.revision() {
                Revision::V4 => {
                    let mut packets = decode_payload(text);
                    for packet in packets.by_ref() {
                        reader.packet(packet);
                        if reader.inbox.is_full() {
                            break;
                        }
                    }
                    rest = packets.rest().map_or(0, str::len);
                }
                Revision::V3 => {
                    let mut packets = v3::decode_payload(text);
                    for packet in packets.by_ref() {
                        reader.packet(packet);
                        if reader.inbox.is_full() {
                            break;
                        }
                    }
                    rest = packets.rest().map_or(0, str::len);
                }
            }
        });
        rest
    }

    /// Handles something, and keeps the beginning of it if that ends the session.
    fn noting(&mut self, bytes: &[u8], is_body: bool, handle: impl FnOnce(&mut Self)) {
        handle(self);
        if self.came.is_none() && self.engine.ready_state() == ReadyState::Closed {
            let bytes = bytes[..bytes.len().min(MAX_BODY)].to_vec();
            self.came = Some(Came { bytes, is_body });
        }
    }

    fn packet(&mut self, packet: Result<Packet<'_>, PacketError>) {
        let Ok(packet) = packet else {
            return self.engine.handle_bad_packet(self.via);
        };
        let message = self.engine.handle_packet(self.via, packet, self.now);
        if let Some(message) = message
            && self.broken.is_none()
            && let Err(broken) = self.inbox.message(message)
        {
            self.broken = Some(broken);
        }
    }
}
