//! The patient: how it is examined, and what the checks have learnt of it so far.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use socketio_proto::engine::{OpenData, Transport};

use super::check::Id;
use super::engine::{self, Reading};
use super::options::{Options, Origin};
use super::report::Layer;
use super::wire::{Answer, Ask, Exchange, Fault, Frame, Tls, WebSocket, Wire};

pub(super) struct Patient {
    pub(super) options: Options,
    pub(super) wire: Wire,
    pub(super) tls: Option<Tls>,
    pub(super) addresses: Vec<SocketAddr>,
    /// The first answer, for the check after the one that asked.
    pub(super) first: Option<Exchange>,
    /// The handshake over polling.
    pub(super) polling: Option<(Exchange, Option<Reading>)>,
    /// The attempt to open a WebSocket.
    pub(super) websocket: Option<(Exchange, Attempt)>,
    /// What the server says about itself when it opens a session.
    pub(super) open: Option<OpenData>,
    /// The revisions of Engine.IO that it speaks.
    pub(super) revisions: Vec<u8>,
    pub(super) family: Family,
    /// The ids of sessions opened over polling.
    pub(super) sids: Vec<String>,
    /// What answers the handshake is no Socket.IO server.
    pub(super) is_elsewhere: bool,
    /// The check that has found that polling works only now and then.
    pub(super) polling_fault: Option<Id>,
    /// The handshake of a page of another origin, if one was made.
    pub(super) cors: Option<Exchange>,
    /// An open WebSocket with the namespace joined, for the heartbeat and for recovery.
    pub(super) joined: Option<WebSocket>,
    /// What the server said to who joined.
    pub(super) greeting: Value,
    /// The place of the first event that came on it, where the server tells places.
    pub(super) offset: Option<String>,
    /// What came of the handshake in revision 3.
    pub(super) old: Option<Exchange>,
    /// What the checks so far have come to.
    pub(super) layers: Vec<Layer>,
    /// What was asked behind the proxy.
    pub(super) behind: Vec<Exchange>,
}

/// What became of an attempt to open a WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Attempt {
    /// A session was opened.
    Open(OpenData),
    /// The WebSocket is open, but this came instead of a session.
    NoSession(Frame),
    /// 101, but it is no proper handshake.
    Broken,
    /// It was refused.
    Refused(Answer),
    Fault(Fault),
}

/// Who made the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Family {
    Python,
    #[default]
    Unknown,
}

impl Patient {
    pub(super) fn new(options: Options, wire: Wire, tls: Option<Tls>) -> Patient {
        Patient {
            options,
            wire,
            tls,
            addresses: Vec::new(),
            first: None,
            polling: None,
            websocket: None,
            open: None,
            revisions: Vec::new(),
            family: Family::Unknown,
            sids: Vec::new(),
            is_elsewhere: false,
            polling_fault: None,
            cors: None,
            joined: None,
            greeting: Value::Null,
            offset: None,
            old: None,
            layers: Vec::new(),
            behind: Vec::new(),
        }
    }

    /// The revision in which to speak: the client's, if the server speaks it.
    pub(super) fn revision(&self) -> u8 {
        let wanted = self
            .options
            .client
            .as_ref()
            .map_or(4, |client| client.revision);
        match self.revisions.contains(&wanted) {
            true => wanted,
            false => self.revisions.first().copied().unwrap_or(wanted),
        }
    }

    /// The target of a request.
    pub(super) fn engine(&self, revision: u8, transport: Transport, sid: Option<&str>) -> String {
        let mut parameters = format!("EIO={revision}&transport={transport}");
        if let Some(sid) = sid {
            parameters += "&sid=";
            parameters.extend(url::form_urlencoded::byte_serialize(sid.as_bytes()));
        }
        self.wire.target.on(&self.wire.target.path, &parameters)
    }

    /// Opens a session over polling.
    pub(super) async fn handshake(&self, cookies: &[String]) -> (Exchange, Option<OpenData>) {
        let target = self.engine(self.revision(), Transport::Polling, None);
        self.open_by(Ask::get(target).with_cookies(cookies)).await
    }

    /// Opens a session over polling as a page of this origin.
    pub(super) async fn handshake_of(&self, origin: &str) -> (Exchange, Option<OpenData>) {
        let target = self.engine(self.revision(), Transport::Polling, None);
        self.open_by(Ask::get(target).with_header("Origin", origin))
            .await
    }

    async fn open_by(&self, ask: Ask) -> (Exchange, Option<OpenData>) {
        let exchange = self.wire.ask(ask).await;
        let open = match exchange.answer().map(Reading::of) {
            Some(Reading::Open(open, _)) => Some(open),
            _ => None,
        };
        (exchange, open)
    }

    /// Ends a session over polling.
    pub(super) async fn leave(&self, revision: u8, sid: &str) -> Exchange {
        self.post(revision, sid, "1", &[]).await
    }

    /// Sends a packet over polling.
    pub(super) async fn post(
        &self,
        revision: u8,
        sid: &str,
        packet: &str,
        cookies: &[String],
    ) -> Exchange {
        let target = self.engine(revision, Transport::Polling, Some(sid));
        let body = engine::payload(revision, packet);
        self.wire
            .ask(Ask::post(target, body).with_cookies(cookies))
            .await
    }

    /// Opens a WebSocket with a session of its own.
    pub(super) async fn open_websocket(
        &self,
        revision: u8,
    ) -> (Exchange, Attempt, Option<WebSocket>) {
        let target = self.engine(revision, Transport::WebSocket, None);
        self.attempt(Ask::get(target)).await
    }

    /// Opens a WebSocket and waits for the open packet.
    pub(super) async fn attempt(&self, ask: Ask) -> (Exchange, Attempt, Option<WebSocket>) {
        let ask = match &self.options.origin {
            Some(Origin(origin)) => ask.with_header("Origin", origin),
            None => ask,
        };
        let (exchange, websocket) = self.wire.websocket(ask).await;
        let Some(mut websocket) = websocket else {
            let attempt = match &exchange.got {
                Ok(answer) if answer.status == 101 => Attempt::Broken,
                Ok(answer) => Attempt::Refused(answer.clone()),
                Err(fault) => Attempt::Fault(fault.clone()),
            };
            return (exchange, attempt, None);
        };
        // A proxy may take its time, but the server sends it with the handshake.
        let wait = self.wire.budget.answer().min(OPEN);
        let frame = websocket.next(wait).await;
        let open = match &frame {
            Frame::Text(text) => text.strip_prefix('0').and_then(engine::open),
            _ => None,
        };
        match open {
            Some(open) => (exchange, Attempt::Open(open), Some(websocket)),
            None => {
                websocket.close().await;
                (exchange, Attempt::NoSession(frame), None)
            }
        }
    }

    /// Says whether sessions can be opened over polling.
    pub(super) fn has_polling(&self) -> bool {
        matches!(self.polling, Some((_, Some(Reading::Open(..)))))
    }

    /// Says whether the server has switched WebSocket off, and says so.
    pub(super) fn is_polling_only(&self) -> bool {
        let offers = self
            .open
            .as_ref()
            .is_some_and(|open| !open.upgrades.is_empty());
        match &self.websocket {
            Some((_, Attempt::Refused(answer))) => {
                !offers
                    && (Reading::of(answer).code() == Some(0)
                        || answer.text().trim() == "Transport unknown")
            }
            _ => false,
        }
    }

    /// Says whether sessions can be opened over WebSocket.
    pub(super) fn has_websocket(&self) -> bool {
        matches!(self.websocket, Some((_, Attempt::Open(_))))
    }
}

/// So long the open packet is awaited at most.
const OPEN: Duration = Duration::from_millis(1500);
