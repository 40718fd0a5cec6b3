//! HTTP long-polling: a GET waits for packets, a POST brings some.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;

use socketio_proto::engine::{
    GetStart, Message, Packet, PacketError, PayloadEncoder, PostStart, Query, Revision, Via,
    decode_payload, jsonp, v3,
};
use socketio_proto::websocket::Opcode;

use super::Shared;
use super::body::ResponseBody;
use super::budget::Budget;
use super::compression::{ASIDE, Encoding};
use super::http::{Answer, Response, change_headers, respond};
use super::running::Running;
use super::session::{Dialect, Session};
use super::turn;

/// Answers a polling request of a session.
pub(crate) fn answer<Q, B>(
    session: Arc<Session>,
    parts: Parts,
    body: Q,
    headers: HeaderMap,
) -> Answer<B>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: Send + 'static,
{
    match parts.method {
        Method::GET => match session.handle_get() {
            GetStart::Accepted => Answer::Get(Get::new(session, parts, headers)),
            GetStart::Overlap => Answer::Now(Some(respond(
                StatusCode::BAD_REQUEST,
                headers,
                Bytes::new(),
            ))),
        },
        Method::POST => Answer::Later(Box::pin(answer_post(session, parts, body, headers))),
        _ => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Answer::Now(Some(respond(status, headers, Bytes::new())))
        }
    }
}

/// A GET that waits. Dropped unanswered, it tells the session that the client is gone.
pub(crate) struct Get {
    session: Arc<Session>,
    headers: HeaderMap,
    /// The request, if a hook wants to see it again, or it says how to answer.
    parts: Option<Box<Parts>>,
    encoding: Option<Encoding>,
    answered: bool,
    /// The answer, which is large.
    compressing: Option<Compressing>,
}

/// An answer that is being compressed, and whether it was.
type Compressing = Pin<Box<dyn Future<Output = (Bytes, bool)> + Send>>;

/// An answer in the making.
enum Answering {
    V3(v3::PayloadEncoder),
    V4(PayloadEncoder),
}

impl Answering {
    fn new(dialect: Dialect) -> Answering {
        match dialect.revision {
            Revision::V3 => Answering::V3(v3::PayloadEncoder::new()),
            Revision::V4 => Answering::V4(PayloadEncoder::new()),
        }
    }

    fn push(&mut self, opcode: Opcode, bytes: &[u8]) {
        match (self, opcode) {
            (Answering::V3(payload), Opcode::Binary) => payload.push_binary(bytes),
            (Answering::V3(payload), _) => payload.push_encoded(bytes),
            (Answering::V4(payload), Opcode::Binary) => payload.push_binary(bytes),
            (Answering::V4(payload), _) => payload.push_encoded(bytes),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Answering::V3(payload) => payload.is_empty(),
            Answering::V4(payload) => payload.is_empty(),
        }
    }

    /// Gives the body and sets what the headers say of it.
    fn finish(self, dialect: Dialect, parts: Option<&Parts>, headers: &mut HeaderMap) -> Vec<u8> {
        let (body, is_binary) = match self {
            Answering::V3(payload) => payload.finish(!dialect.base64),
            Answering::V4(payload) => (payload.finish(), false),
        };
        if is_binary {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            );
        }
        if !dialect.jsonp {
            return body;
        }
        let query = parts
            .and_then(|parts| parts.uri.query())
            .unwrap_or_default();
        let query = Query::parse(query);
        let index = query.get("j").unwrap_or_default();
        // Packets are made of text, and of base64 here.
        jsonp::wrap(index, &String::from_utf8_lossy(&body)).into_bytes()
    }
}

/// The answer to the first request of a session, with what is queued.
pub(crate) fn first_answer(session: &Session, parts: &Parts, headers: &mut HeaderMap) -> Vec<u8> {
    let dialect = session.dialect();
    let mut payload = Answering::new(dialect);
    session.with_outbox(|outbox| outbox.take_frames(|opcode, bytes| payload.push(opcode, bytes)));
    payload.finish(dialect, Some(parts), headers)
}

impl Get {
    fn new(session: Arc<Session>, parts: Parts, mut headers: HeaderMap) -> Get {
        text_headers(&mut headers, &parts);
        let is_hooked = !session.shared().config().headers.is_empty();
        let encoding = match session.shared().config().http_compression {
            Some(_) => Encoding::accepted(&parts.headers),
            None => None,
        };
        let parts = (is_hooked || session.dialect().jsonp).then(|| Box::new(parts));
        Get {
            session,
            headers,
            parts,
            encoding,
            answered: false,
            compressing: None,
        }
    }

    pub(crate) fn poll<B>(&mut self, cx: &mut Context<'_>) -> Poll<Response<B>> {
        if self.compressing.is_none() {
            let (body, is_compressible) = ready!(self.take(cx));
            let encoding = self.encoding.take().filter(|_| is_compressible);
            match (encoding, self.session.shared().config().http_compression) {
                (Some(encoding), Some(threshold)) if body.len() >= threshold.max(ASIDE + 1) => {
                    let compressions = self.session.shared().compressions().clone();
                    let body = body.into();
                    self.encoding = Some(encoding);
                    self.compressing = Some(Box::pin(async move {
                        compressions.compress(encoding, body).await
                    }));
                }
                (Some(encoding), Some(threshold)) if body.len() >= threshold => {
                    let body = compress(encoding, &body, &mut self.headers);
                    return Poll::Ready(self.respond(body));
                }
                _ => return Poll::Ready(self.respond(body)),
            }
        }
        let Some(compressing) = &mut self.compressing else {
            return Poll::Pending;
        };
        let (body, is_compressed) = ready!(compressing.as_mut().poll(cx));
        if let Some(encoding) = self.encoding.filter(|_| is_compressed) {
            self.headers.insert(CONTENT_ENCODING, encoding.name());
        }
        Poll::Ready(self.respond(body))
    }

    /// Takes what is queued; true if it may be compressed.
    fn take(&mut self, cx: &mut Context<'_>) -> Poll<(Vec<u8>, bool)> {
        let dialect = self.session.dialect();
        let mut payload = Answering::new(dialect);
        let push = |opcode, bytes: &[u8]| payload.push(opcode, bytes);
        let is_compressible = ready!(self.session.poll_get(cx.waker(), push));
        self.answered = true;
        if payload.is_empty() {
            payload.push(Opcode::Text, b"1");
        }
        let body = payload.finish(dialect, self.parts.as_deref(), &mut self.headers);
        Poll::Ready((body, is_compressible))
    }

    fn respond<B>(&mut self, body: impl Into<Bytes>) -> Response<B> {
        let mut headers = std::mem::take(&mut self.headers);
        if let Some(parts) = &self.parts {
            let shared = self.session.shared();
            change_headers(shared, parts, &shared.config().headers, &mut headers);
        }
        respond(StatusCode::OK, headers, body)
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        if !self.answered {
            self.session.get_aborted();
        }
    }
}

async fn answer_post<Q, B>(
    session: Arc<Session>,
    parts: Parts,
    body: Q,
    mut headers: HeaderMap,
) -> Response<B>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    match post(&session, &parts, body).await {
        Posted::Ok => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            usual_headers(&mut headers, &parts);
            let shared = session.shared();
            change_headers(shared, &parts, &shared.config().headers, &mut headers);
            respond(StatusCode::OK, headers, Bytes::from_static(b"ok"))
        }
        Posted::Refused(status) => respond(status, headers, Bytes::new()),
        Posted::Abort => ::http::Response::new(ResponseBody::abort()),
    }
}

enum Posted {
    Ok,
    Refused(StatusCode),
    /// Another POST came while this one was being read: its connection is dropped.
    Abort,
}

/// A POST that is being read. Dropped unfinished, it tells the session that the client is gone.
struct Post<'a> {
    session: &'a Arc<Session>,
    done: bool,
}

impl Post<'_> {
    /// The session ends with it, as in engine.io from 6.6.13 on.
    fn refuse(mut self, status: StatusCode, detail: &'static str) -> Posted {
        self.done = true;
        self.session.post_refused(detail);
        Posted::Refused(status)
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.session.post_aborted();
        }
    }
}

async fn post<Q>(session: &Arc<Session>, parts: &Parts, body: Q) -> Posted
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_binary = content_type == Some(b"application/octet-stream");
    if is_binary && session.dialect().revision == Revision::V4 {
        session.bad_content();
        return Posted::Refused(StatusCode::BAD_REQUEST);
    }
    match session.handle_post() {
        PostStart::Accepted => {}
        PostStart::Overlap => return Posted::Refused(StatusCode::BAD_REQUEST),
    }
    let mut post = Post {
        session,
        done: false,
    };
    let limit = session.shared().max_payload();
    let announced: Option<u64> = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let read = match announced {
        Some(length) if length > limit as u64 => Err(ReadError::TooLarge),
        _ => {
            let body = pin!(body);
            let reading = until_closed(session, read_body(body, limit));
            let deadline = session.shared().config().body_timeout;
            let mut reading = pin!(reading);
            // The body mostly came with the head: then no timer is needed.
            match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
                Poll::Ready(read) => read,
                Poll::Pending => match tokio::time::timeout(deadline, reading).await {
                    Ok(read) => read,
                    Err(_) => Err(ReadError::TooSlow),
                },
            }
        }
    };
    match read {
        Ok(bytes) => {
            post.done = true;
            handle(session, &bytes, is_binary).await;
            Posted::Ok
        }
        Err(ReadError::Broken) => Posted::Abort,
        Err(ReadError::TooLarge) => {
            session.shared().counters().large_messages();
            post.refuse(StatusCode::PAYLOAD_TOO_LARGE, "payload too large")
        }
        Err(ReadError::TooManyChunks) => {
            session.shared().counters().large_messages();
            post.refuse(StatusCode::PAYLOAD_TOO_LARGE, "too many chunks")
        }
        Err(ReadError::TooSlow) => {
            session.shared().counters().slow_clients();
            post.refuse(StatusCode::REQUEST_TIMEOUT, "http request timeout")
        }
    }
}

/// Handles the packets of a payload, in order, and then tells the session that the POST is done.
///
/// What is more than one turn's work, or has to wait for handlers, goes on in a task of its own: it is
/// done whether or not the client waits for the answer. While it lasts, the client's next POST waits.
async fn handle(session: &Arc<Session>, bytes: &[u8], is_binary: bool) {
    let mut running = Running::default();
    let rest = {
        let (lossy, form);
        let payload = match is_binary {
            // The reference looks for a form, and bytes are none.
            true if session.dialect().jsonp => return session.post_done(),
            true => Payload::Binary(bytes),
            false => {
                // As the reference reads a body; a WebSocket's text has to be UTF-8.
                let text = match simdutf8::basic::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(_) => {
                        lossy = String::from_utf8_lossy(bytes);
                        &lossy
                    }
                };
                Payload::Text(match session.dialect().jsonp {
                    false => text,
                    true => {
                        // The reference ignores a form without payload.
                        let Some(payload) = jsonp::unwrap(text) else {
                            return session.post_done();
                        };
                        form = payload;
                        &form
                    }
                })
            }
        };
        handle_some(session, payload, &mut running).map(Payload::into_rest)
    };
    if rest.is_none() && !session.is_saturated() {
        running.detach(session);
        return session.post_done();
    }
    let (done, finished) = tokio::sync::oneshot::channel::<()>();
    let owner = session.clone();
    session.shared().spawn(async move {
        let _done = done;
        handle_rest(&owner, rest, running).await;
        owner.post_done();
    });
    let _ = finished.await;
}

/// Handles what is left of a payload, turn by turn.
async fn handle_rest(session: &Arc<Session>, mut rest: Option<Rest>, mut running: Running) {
    loop {
        poll_fn(|cx| {
            let _turn = turn::begin();
            match running.poll(cx) {
                Poll::Pending if session.is_saturated() => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
        let Some(some) = &mut rest else { break };
        match handle_some(session, some.payload(), &mut running).map(Payload::len) {
            Some(length) => some.keep(length),
            None => rest = None,
        }
        tokio::task::yield_now().await;
    }
    running.detach(session);
}

/// The packets of a body.
#[derive(Clone, Copy)]
enum Payload<'a> {
    Binary(&'a [u8]),
    Text(&'a str),
}

/// What is left of a body, at its end.
struct Rest {
    body: Whole,
    at: usize,
}

enum Whole {
    Binary(Box<[u8]>),
    Text(Box<str>),
}

impl Payload<'_> {
    fn len(self) -> usize {
        match self {
            Payload::Binary(bytes) => bytes.len(),
            Payload::Text(text) => text.len(),
        }
    }

    fn into_rest(self) -> Rest {
        Rest {
            body: match self {
                Payload::Binary(bytes) => Whole::Binary(bytes.into()),
                Payload::Text(text) => Whole::Text(text.into()),
            },
            at: 0,
        }
    }
}

impl Rest {
    fn payload(&self) -> Payload<'_> {
        match &self.body {
            Whole::Binary(bytes) => Payload::Binary(&bytes[self.at..]),
            Whole::Text(text) => Payload::Text(&text[self.at..]),
        }
    }

    /// All but the last bytes are handled.
    fn keep(&mut self, length: usize) {
        self.at += self.payload().len() - length;
    }
}

/// Handles packets for one turn; gives those that are left.
fn handle_some<'a>(
    session: &Arc<Session>,
    payload: Payload<'a>,
    running: &mut Running,
) -> Option<Payload<'a>> {
    let _turn = turn::begin();
    let now = Instant::now();
    let mut budget = Budget::new();
    budget.begin(now);
    let handle = |packet: Result<Packet<'_>, PacketError>| {
        let size = match &packet {
            Ok(Packet::Message(Message::Binary(bytes))) => bytes.len(),
            Ok(Packet::Message(Message::Text(text))) => text.len(),
            Ok(_) | Err(_) => 0,
        };
        match packet {
            Ok(packet) => drop(session.handle_packet(Via::Main, packet, now, running)),
            Err(error) => session.handle_bad_packet(Via::Main, error),
        }
        session.is_saturated() || budget.is_spent(size)
    };
    match (payload, session.dialect().revision) {
        (Payload::Binary(bytes), _) => {
            let packets = &mut v3::decode_binary_payload(bytes);
            (packets.any(handle)).then(|| packets.rest().map(Payload::Binary))?
        }
        (Payload::Text(text), Revision::V3) => {
            let packets = &mut v3::decode_payload(text);
            (packets.any(handle)).then(|| packets.rest().map(Payload::Text))?
        }
        (Payload::Text(text), Revision::V4) => {
            let packets = &mut decode_payload(text);
            (packets.any(handle)).then(|| packets.rest().map(Payload::Text))?
        }
    }
}

enum ReadError {
    Broken,
    TooLarge,
    TooManyChunks,
    TooSlow,
}

/// In how many pieces a body may come: each costs something, however small it is.
const MAX_CHUNKS: usize = 10_000;

async fn read_body<Q>(mut body: Pin<&mut Q>, limit: usize) -> Result<Bytes, ReadError>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let mut chunks = 0;
    let mut first = Bytes::new();
    let mut whole: Option<BytesMut> = None;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(mut data) = frame.map_err(|_| ReadError::Broken)?.into_data() else {
            continue;
        };
        let length = whole.as_ref().map_or(first.len(), BytesMut::len) + data.remaining();
        if length > limit {
            return Err(ReadError::TooLarge);
        }
        chunks += 1;
        if chunks > MAX_CHUNKS {
            return Err(ReadError::TooManyChunks);
        }
        let data = data.copy_to_bytes(data.remaining());
        if first.is_empty() && whole.is_none() {
            first = data;
        } else {
            whole
                .get_or_insert_with(|| BytesMut::from(&first[..]))
                .extend_from_slice(&data);
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

/// Stops waiting for a body when its session has ended.
async fn until_closed<T>(
    session: &Arc<Session>,
    reading: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, ReadError> {
    let mut reading = pin!(reading);
    poll_fn(|cx| {
        if let Poll::Ready(result) = reading.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if !session.with_outbox(|outbox| outbox.wait_closed(cx.waker())) {
            return Poll::Ready(Err(ReadError::Broken));
        }
        Poll::Pending
    })
    .await
}

fn compress(encoding: Encoding, body: &[u8], headers: &mut HeaderMap) -> Vec<u8> {
    headers.insert(CONTENT_ENCODING, encoding.name());
    encoding.compress(body)
}

/// Compresses the first answer of a session, if it is to be.
pub(crate) fn compress_first(
    shared: &Shared,
    parts: &Parts,
    body: Vec<u8>,
    headers: &mut HeaderMap,
) -> Vec<u8> {
    match shared.config().http_compression {
        Some(threshold) if body.len() >= threshold => match Encoding::accepted(&parts.headers) {
            Some(encoding) => compress(encoding, &body, headers),
            None => body,
        },
        _ => body,
    }
}

/// The headers of an answer with packets.
pub(crate) fn text_headers(headers: &mut HeaderMap, parts: &Parts) {
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=UTF-8"),
    );
    usual_headers(headers, parts);
}

/// The headers of each answer of a session.
fn usual_headers(headers: &mut HeaderMap, parts: &Parts) {
    if is_old_explorer(parts) {
        let name = HeaderName::from_static("x-xss-protection");
        headers.insert(name, HeaderValue::from_static("0"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Old versions of Internet Explorer take a payload for HTML and filter it.
fn is_old_explorer(parts: &Parts) -> bool {
    parts.headers.get(USER_AGENT).is_some_and(|agent| {
        let agent = agent.as_bytes();
        [&b";MSIE"[..], b"Trident/"]
            .iter()
            .any(|m| agent.windows(m.len()).any(|w| w == *m))
    })
}
