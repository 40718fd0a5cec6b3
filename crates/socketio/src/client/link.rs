//! One session's transports, driven by proto's machine: bytes in, bytes out.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socketio_proto::engine::{
    self, ClientPacket, ClientTransmit, CloseReason, Message, Packet, PacketError, Revision,
    Transport, Via, decode_payload, v3,
};
use socketio_proto::websocket::{Item, Opcode};

use super::error::TransportError;
use super::hints;
use super::inbox::{Broken, Inbox};
use super::polling::{Polling, payload};
use super::shared::Shared;
use super::websocket::{End, WebSocket};

/// A session, or one that is being opened.
pub(crate) struct Link {
    pub(crate) engine: engine::Client,
    shared: Arc<Shared>,
    main: Main,
    probe: Probe,
    /// What has ended the session, if a transport has.
    pub(crate) failure: Option<TransportError>,
    /// What kept a namespace from being joined, if that has.
    pub(crate) auth_failure: Option<super::ConnectError>,
    /// The session is being closed from here, until then.
    pub(crate) closing: Option<Instant>,
    close_sent: bool,
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

/// How long a closed session has to be written and answered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

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
            auth_failure: None,
            closing: None,
            close_sent: false,
            retired: false,
        }
    }

    pub(crate) fn set_sid(&mut self, sid: &str) {
        if let Main::Polling(polling) = &mut self.main {
            polling.sid = Some(sid.to_owned());
        }
    }

    /// Reads what there is; true if something was.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox, now: Instant) -> bool {
        self.poll_main(cx, inbox, now) | self.poll_probe(cx, inbox, now)
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
                let (pong, broken) = (reader.pong, reader.broken);
                if let Some(pong) = pong {
                    websocket.push(Opcode::Pong, &pong);
                }
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
                            .handle_transport_closed(CloseReason::TransportClose, None);
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
        let Main::Polling(polling) = &mut self.main else {
            return false;
        };
        polling.watch(&self.shared, cx);
        let mut progress = false;
        if let Some(get) = &mut polling.get
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
                Err(error) => self.broken(error),
            }
        }
        progress |= self.read_answer(inbox, now);
        let Main::Polling(polling) = &mut self.main else {
            return progress;
        };
        if let Some(post) = &mut polling.post
            && let Poll::Ready(answer) = post.as_mut().poll(cx)
        {
            polling.post = None;
            progress = true;
            self.shared.with_state(|state| {
                state.outbox.in_flight = 0;
                state.outbox.written();
            });
            self.shared.quiet.notify_waiters();
            if let Err(error) = answer {
                self.broken(error);
            }
        }
        let Main::Polling(polling) = &mut self.main else {
            return progress;
        };
        let is_open = self.engine.ready_state() == engine::ReadyState::Open;
        if polling.paused {
            if polling.get.is_none() && polling.post.is_none() && polling.unread.is_none() {
                self.engine.handle_paused();
            }
        } else if polling.can_get() && is_open && !inbox.is_full() {
            polling.start_get(&self.shared);
            progress = true;
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
        let broken = reader.broken;
        if rest > 0 {
            polling.unread = Some(body.slice(body.len() - rest..));
        }
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
            .handle_transport_closed(CloseReason::TransportError, None);
    }

    /// Ends the session for what the server has sent, or for want of `auth`.
    pub(crate) fn invalid(&mut self, broken: Broken) {
        let (reason, detail) = match broken {
            Broken::Parse(error) => (CloseReason::ParseError, error),
            Broken::Auth(error) => {
                let text = error.to_string();
                self.auth_failure = Some(error);
                (CloseReason::ForcedClose, text)
            }
        };
        self.engine
            .handle_transport_closed(reason, Some(Cow::Owned(detail)));
    }

    /// Does what the machine asks for.
    pub(crate) fn transmit(&mut self, transmit: ClientTransmit, now: Instant) {
        match transmit {
            ClientTransmit::Packet {
                via: Via::Main,
                packet,
            } => self.shared.with_state(|state| {
                state.outbox.push(Opcode::Text, packet.as_str().as_bytes());
            }),
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
                self.closing.get_or_insert(now + CLOSE_TIMEOUT);
            }
        }
    }

    /// Writes what is queued; true if something was written.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>, max_payload: Option<u64>) -> bool {
        if let Probe::Open(websocket) = &mut self.probe
            && let Poll::Ready(Err(error)) = websocket.poll_flush(cx)
        {
            self.probe_ended(error.to_string());
            return true;
        }
        let can_write = self.engine.can_write();
        let revision = self.shared.config.revision();
        let mut progress = false;
        match &mut self.main {
            Main::WebSocket(websocket) => {
                let before = websocket.unwritten();
                // What waits for a slow server waits in the outbox, where it is counted.
                if before == 0 && can_write {
                    progress = self.shared.with_state(|state| {
                        for (opcode, payload, _) in state.outbox.frames() {
                            push(websocket, revision, opcode, payload);
                        }
                        state.outbox.frames.clear();
                        if state.outbox.frames.capacity() > KEPT {
                            state.outbox.frames = Vec::new();
                        }
                        websocket.unwritten() > 0
                    });
                    if self.closing.is_some() && !self.close_sent {
                        self.close_sent = true;
                        websocket.push(Opcode::Close, &1000_u16.to_be_bytes());
                    }
                }
                if websocket.unwritten() == 0 {
                    return progress;
                }
                let flushed = websocket.poll_flush(cx);
                let unwritten = websocket.unwritten();
                self.shared.with_state(|state| {
                    state.outbox.in_flight = unwritten;
                    state.outbox.written();
                });
                if unwritten == 0 {
                    self.shared.quiet.notify_waiters();
                }
                if let Poll::Ready(Err(error)) = flushed {
                    self.broken(TransportError::broken(super::error::WEBSOCKET_ERROR, error));
                }
            }
            Main::Polling(polling) => {
                let has_post = polling.post.is_some();
                if can_write && !has_post && !polling.paused {
                    let body = self.shared.with_state(|state| {
                        if state.outbox.frames.is_empty() {
                            return None;
                        }
                        let (body, used) = payload(state.outbox.frames(), revision, max_payload);
                        state.outbox.frames.drain(..used);
                        state.outbox.in_flight = used;
                        Some(body)
                    });
                    if let Some(body) = body {
                        polling.start_post(&self.shared, body);
                        progress = true;
                    }
                }
                if self.closing.is_some() && polling.post.is_none() {
                    self.engine
                        .handle_transport_closed(CloseReason::ForcedClose, None);
                    progress = true;
                }
            }
            Main::Connecting(_) | Main::Gone => {
                if self.closing.is_some() {
                    self.engine
                        .handle_transport_closed(CloseReason::ForcedClose, None);
                }
            }
        }
        progress
    }

    /// Takes leave of a session that has ended, as far as that takes no time.
    pub(crate) fn farewell(mut self, cx: &mut Context<'_>) {
        if let Main::WebSocket(websocket) = &mut self.main {
            if !self.close_sent {
                websocket.push(Opcode::Close, &1000_u16.to_be_bytes());
            }
            let _ = websocket.poll_flush(cx);
        }
        self.main = Main::Gone;
    }
}

/// An outbox that has grown beyond this gives its buffer back.
const KEPT: usize = 16 * 1024;

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
                self.packet(packet);
            }
            Item::Binary(bytes) => {
                let packet = match self.revision() {
                    Revision::V4 => Packet::Message(Message::Binary(bytes)),
                    Revision::V3 => v3::decode_binary(bytes),
                };
                self.packet(Ok(packet));
            }
            Item::Ping(payload) => self.pong = Some(payload.to_vec()),
            Item::Pong(_) | Item::Fragment | Item::Close(_) => {}
        }
    }

    /// Reads a body, or as much of it as the application keeps up with; gives the length of the rest.
    fn payload(&mut self, body: &[u8]) -> usize {
        let Ok(text) = std::str::from_utf8(body) else {
            self.engine.handle_bad_packet(self.via);
            return 0;
        };
        match self.revision() {
            Revision::V4 => {
                let mut packets = decode_payload(text);
                while let Some(packet) = packets.next() {
                    self.packet(packet);
                    if self.inbox.is_full() {
                        break;
                    }
                }
                packets.rest().map_or(0, str::len)
            }
            Revision::V3 => {
                let mut packets = v3::decode_payload(text);
                while let Some(packet) = packets.next() {
                    self.packet(packet);
                    if self.inbox.is_full() {
                        break;
                    }
                }
                packets.rest().map_or(0, str::len)
            }
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
