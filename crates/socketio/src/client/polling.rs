//! HTTP long-polling: a GET that waits, a POST that brings.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method};
use socketio_proto::engine::{
    OpenData, Packet, PayloadEncoder, Revision, Transport, decode_payload, v3,
};
use socketio_proto::websocket::{Frames, Opcode};
use tokio::time::Instant;

use super::dial::{Forwarding, Stream};
use super::error::{POLL_ERROR, POST_ERROR, TransportError};
use super::hints;
use super::http::{Connections, End, Exchange, Head, HttpError, request};
use super::shared::Shared;

/// JavaScript's client needs about that long for its next request.
const SETTLING: Duration = Duration::from_millis(5);

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, TransportError>> + Send>>;

/// The requests of one session.
pub(crate) struct Polling {
    pub(crate) get: Option<Answer>,
    pub(crate) post: Option<Answer>,
    /// What has come and is not read: the application does not keep up.
    pub(crate) unread: Option<Bytes>,
    /// Nothing more is begun: the session moves to WebSocket, or ends.
    pub(crate) paused: bool,
    pub(crate) sid: Option<String>,
    /// The request that opens the session has been sent.
    has_asked: bool,
    connections: Arc<Connections>,
}

impl Polling {
    pub(crate) fn new() -> Polling {
        Polling {
            get: None,
            post: None,
            unread: None,
            paused: false,
            sid: None,
            has_asked: false,
            connections: Arc::new(Connections::new()),
        }
    }

    /// Says whether a GET may be begun: the first, which opens the session, or another one in it.
    pub(crate) fn can_get(&self) -> bool {
        self.get.is_none() && self.unread.is_none() && (self.sid.is_some() || !self.has_asked)
    }

    pub(crate) fn start_get(&mut self, shared: &Arc<Shared>) {
        self.has_asked = true;
        let request = self.request(shared, Method::GET, Vec::new());
        self.get = Some(Box::pin(request.send()));
    }

    pub(crate) fn start_post(&mut self, shared: &Arc<Shared>, body: Vec<u8>) {
        let request = self.request(shared, Method::POST, body);
        self.post = Some(Box::pin(request.send()));
    }

    /// Looks after the connections that no request uses.
    pub(crate) fn watch(&self, shared: &Shared, cx: &mut Context<'_>) {
        let habits = shared.config.dialer.habits();
        self.connections.watch(habits, Instant::now(), cx);
    }

    fn request(&self, shared: &Arc<Shared>, method: Method, body: Vec<u8>) -> Request {
        Request {
            message: match method {
                Method::GET => POLL_ERROR,
                _ => POST_ERROR,
            },
            method,
            sid: self.sid.clone(),
            body,
            shared: shared.clone(),
            connections: self.connections.clone(),
        }
    }
}

/// One request of a session.
struct Request {
    method: Method,
    sid: Option<String>,
    body: Vec<u8>,
    /// What its errors are called.
    message: &'static str,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
}

impl Request {
    async fn send(self) -> Result<Bytes, TransportError> {
        let config = &self.shared.config;
        let habits = config.dialer.habits();
        let target = config.request_target(Transport::Polling, self.sid.as_deref());
        let url = format!("{}{target}", config.address.origin());
        let (stream, forwarding) = match self.connections.take(habits, Instant::now()).await {
            Some(stream) => (stream, config.dialer.forwarding(&config.address.target)),
            None => self.dial().await?,
        };
        let request = self.bytes(&url, &target, forwarding.as_ref())?;
        let mut exchange = Exchange::new(stream, request);
        let head = exchange.head().await.map_err(|error| match &forwarding {
            None => self.unanswered(&error),
            Some(forwarding) => {
                TransportError::unreachable(self.message, &forwarding.failed(&error))
            }
        })?;
        self.shared.cookies.keep(&url, &head.headers);
        if head.status != 200 {
            let body = exchange.refusal(&head).await;
            return Err(self.refused(&head, self.message, &body));
        }
        let body = exchange.body(&head, config.max_message).await;
        let (body, end) = match body {
            // Nobody looks at it.
            Err(error) if self.method == Method::POST && error.is_of_packing() => {
                (Vec::new(), End::Complete)
            }
            body => body.map_err(|error| self.unanswered(&error))?,
        };
        let (stream, rest) = exchange.into_parts();
        if end == End::Complete && rest.is_empty() {
            self.connections.keep(habits, stream, &head, Instant::now());
        }
        let body = self.checked(&head, body, end)?;
        if self.sid.is_none() {
            // A server may tell a session before it knows it: what came at once would be refused, or lost.
            tokio::time::sleep(SETTLING).await;
        }
        Ok(body)
    }

    /// The whole request.
    fn bytes(
        &self,
        url: &str,
        target: &str,
        forwarding: Option<&Forwarding>,
    ) -> Result<Vec<u8>, TransportError> {
        let config = &self.shared.config;
        let broken = |error: &dyn std::error::Error| TransportError::broken(self.message, error);
        let mut headers = config.headers.clone();
        let host = HeaderValue::from_str(&config.address.host).map_err(|error| broken(&error))?;
        headers.entry(HOST).or_insert(host);
        let any = HeaderValue::from_static("*/*");
        headers.entry(ACCEPT).or_insert(any);
        if config.dialer.habits().closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.method == Method::POST {
            let text = HeaderValue::from_static("text/plain;charset=UTF-8");
            headers.insert(CONTENT_TYPE, text);
            headers.insert(CONTENT_LENGTH, self.body.len().into());
        }
        self.shared.cookies.add(url, &mut headers);
        // Spec: RFC 9112, section 3.2.2: a proxy is told the whole URL.
        let target = if forwarding.is_some() { url } else { target };
        if let Some(authorization) = forwarding.and_then(|f| f.authorization.as_ref()) {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let mut bytes = request(&self.method, target, &headers).map_err(|error| broken(&error))?;
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    async fn dial(&self) -> Result<(Stream, Option<Forwarding>), TransportError> {
        let config = &self.shared.config;
        let stream = config.dialer.dial_http(&config.address.target).await;
        stream.map_err(|error| TransportError::unreachable(self.message, &error))
    }

    fn unanswered(&self, error: &HttpError) -> TransportError {
        let is_first = self.sid.is_none() && !self.shared.config.address.target.is_tls;
        error.told(self.message, is_first)
    }

    fn refused(&self, head: &Head, message: &'static str, body: &[u8]) -> TransportError {
        TransportError::refused(message, head, body)
    }

    /// Takes the body for what it should be, if it is that.
    fn checked(&self, head: &Head, body: Vec<u8>, end: End) -> Result<Bytes, TransportError> {
        let revision = self.shared.config.revision();
        let body = text(body, revision);
        let opens = self.sid.is_none();
        if end == End::Cut && !(opens && is_whole_open(&body, revision)) {
            let what =
                "the connection broke within the body of the answer, whose length was not told";
            return Err(TransportError::broken(self.message, what));
        }
        if opens && !has_open(&body, revision) && !hints::is_of_old_server(&body) {
            // In the words of the JavaScript client.
            return Err(self.refused(head, "server error", &body));
        }
        Ok(body)
    }
}

/// A body as a browser reads it. Binary payloads of revision 3 stay as they are.
fn text(body: Vec<u8>, revision: Revision) -> Bytes {
    if is_binary(&body, revision) {
        return body.into();
    }
    let body = match body.strip_prefix(BOM) {
        Some(rest) => Bytes::copy_from_slice(rest),
        None => body.into(),
    };
    match String::from_utf8_lossy(&body) {
        Cow::Borrowed(_) => body,
        Cow::Owned(text) => text.into(),
    }
}

/// Says whether a body is a binary payload: one of text begins with a digit.
pub(crate) fn is_binary(body: &[u8], revision: Revision) -> bool {
    revision == Revision::V3 && matches!(body.first(), Some(0 | 1))
}

const BOM: &[u8] = "\u{feff}".as_bytes();

/// The open packet of an answer.
fn open_packet(body: &[u8], revision: Revision) -> Option<&str> {
    let open = |packet| match packet {
        Ok(Packet::Open(json)) => Some(json),
        _ => None,
    };
    if is_binary(body, revision) {
        return v3::decode_binary_payload(body).find_map(open);
    }
    let text = std::str::from_utf8(body).ok()?;
    match revision {
        Revision::V4 => decode_payload(text).find_map(open),
        Revision::V3 => v3::decode_payload(text).find_map(open),
    }
}

fn has_open(body: &[u8], revision: Revision) -> bool {
    open_packet(body, revision).is_some()
}

fn is_whole_open(body: &[u8], revision: Revision) -> bool {
    open_packet(body, revision).is_some_and(|json| OpenData::decode(json).is_ok())
}

/// Joins what is queued to a body for a POST, as much as the server takes at once, at least one packet,
/// up to a barrier: the answer to the POST shows that it was read. Gives the body, and how many bytes of
/// frames are in it.
pub(crate) fn payload(
    frames: Frames<'_>,
    revision: Revision,
    max_payload: Option<u64>,
) -> (Vec<u8>, usize) {
    let max = max_payload.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let (mut used, mut size) = (0, 0);
    let mut v4 = PayloadEncoder::new();
    let mut v3 = v3::PayloadEncoder::new();
    for (opcode, payload, _) in frames {
        if opcode == Opcode::Ping {
            if size > 0 {
                break;
            }
            used += socketio_proto::websocket::header_length(0);
            continue;
        }
        let length = match opcode {
            Opcode::Binary => 2 + payload.len().div_ceil(3) * 4,
            _ => payload.len(),
        };
        let is_first = size == 0;
        // One for what separates packets; in revision 3 a length.
        size += length + if revision == Revision::V3 { 12 } else { 1 };
        // A close packet travels alone, as with the JavaScript client: in one body with the packet by
        // which a namespace is left, the reference closes first and tells "transport close".
        let is_close = opcode == Opcode::Text && payload == b"1";
        if !is_first && (size > max || is_close) {
            break;
        }
        used += socketio_proto::websocket::header_length(payload.len()) + payload.len();
        match (revision, opcode) {
            (Revision::V4, Opcode::Binary) => v4.push_binary(payload),
            (Revision::V4, _) => v4.push_encoded(payload),
            (Revision::V3, Opcode::Binary) => v3.push_binary(payload),
            (Revision::V3, _) => v3.push_encoded(payload),
        }
    }
    if size == 0 {
        // In revision 3 the payload of no packet is not empty.
        return (Vec::new(), used);
    }
    let body = match revision {
        Revision::V4 => v4.finish(),
        Revision::V3 => v3.finish(false).0,
    };
    (body, used)
}

#[cfg(test)]
mod tests {
    use socketio_proto::websocket::{frame, frames};

    use super::*;

    #[test]
    fn a_body_is_read_as_a_browser_reads_it() {
        let read = |bytes: &[u8]| text(bytes.to_vec(), Revision::V4);
        assert_eq!(read(b"4a"), "4a");
        assert_eq!(read(b"\xef\xbb\xbf4a"), "4a");
        assert_eq!(read(b"4\xff\xc3b"), "4\u{fffd}\u{fffd}b");
        assert_eq!(read(b""), "");
        // Lengths and packets of bytes.
        let binary = b"\x01\x03\xff\x04\x01\x02";
        assert_eq!(text(binary.to_vec(), Revision::V3), binary[..]);
    }

    // C037
    #[test]
    fn what_is_queued_is_split_to_the_server_s_bound() {
        let queue = [
            frame(Opcode::Text, b"42[\"a\",1]"),
            frame(Opcode::Binary, &[1, 2, 3, 4]),
            frame(Opcode::Text, b"42[\"b\"]"),
        ]
        .concat();
        let next = |rest: &[u8], max| payload(frames(rest), Revision::V4, max);
        let (body, used) = next(&queue, None);
        assert_eq!(body, "42[\"a\",1]\x1ebAQIDBA==\x1e42[\"b\"]".as_bytes());
        assert_eq!(used, queue.len());
        let mut rest = &queue[..];
        let mut bodies = Vec::new();
        while !rest.is_empty() {
            let (body, used) = next(rest, Some(20));
            assert!(body.len() <= 20);
            bodies.push(String::from_utf8(body).expect("text"));
            rest = &rest[used..];
        }
        assert_eq!(bodies, ["42[\"a\",1]", "bAQIDBA==\u{1e}42[\"b\"]"]);
        // A single packet is never split.
        assert_eq!(next(&queue, Some(1)).0, b"42[\"a\",1]");
    }

    #[test]
    fn a_close_packet_travels_alone() {
        let queue = [frame(Opcode::Text, b"41"), frame(Opcode::Text, b"1")].concat();
        let (body, used) = payload(frames(&queue), Revision::V4, None);
        assert_eq!(body, b"41");
        assert_eq!(payload(frames(&queue[used..]), Revision::V4, None).0, b"1");
    }

    // Node's server drops what it has read and not dispatched when the namespace is left.
    #[test]
    fn what_follows_a_barrier_travels_alone() {
        let barrier = frame(Opcode::Ping, b"");
        let queue = [
            barrier.clone(),
            frame(Opcode::Text, b"42[\"a\"]"),
            barrier.clone(),
            barrier,
            frame(Opcode::Text, b"41"),
        ]
        .concat();
        for revision in [Revision::V3, Revision::V4] {
            let mut rest = &queue[..];
            let mut bodies = Vec::new();
            while !rest.is_empty() {
                let (body, used) = payload(frames(rest), revision, None);
                bodies.push(String::from_utf8(body).expect("text"));
                rest = &rest[used..];
            }
            assert_eq!(
                bodies,
                match revision {
                    Revision::V3 => ["7:42[\"a\"]", "2:41"],
                    Revision::V4 => ["42[\"a\"]", "41"],
                }
            );
        }
    }

    #[test]
    fn without_a_packet_there_is_no_body() {
        for revision in [Revision::V3, Revision::V4] {
            let barrier = frame(Opcode::Ping, b"");
            assert_eq!(payload(frames(b""), revision, None), (vec![], 0));
            assert_eq!(payload(frames(&barrier), revision, None), (vec![], 2));
        }
    }

    #[test]
    fn revision_3_counts_its_packets() {
        let queue = [
            frame(Opcode::Text, b"42[\"a\"]"),
            frame(Opcode::Binary, &[1, 2]),
        ]
        .concat();
        let (body, _) = payload(frames(&queue), Revision::V3, None);
        assert_eq!(body, b"7:42[\"a\"]6:b4AQI=");
    }
}
