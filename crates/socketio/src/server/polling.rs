//! HTTP long-polling: a GET waits for packets, a POST brings some.

use std::borrow::Cow;
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use ::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;

use socketio_proto::engine::{
    GetStart, Packet, PacketError, PayloadEncoder, PostStart, Query, Revision, Via, decode_payload,
    jsonp, v3,
};
use socketio_proto::websocket::Opcode;

use super::Shared;
use super::body::ResponseBody;
use super::compression::Encoding;
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
}

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
        }
    }

    pub(crate) fn poll<B>(&mut self, cx: &mut Context<'_>) -> Poll<Response<B>> {
        let dialect = self.session.dialect();
        let mut payload = Answering::new(dialect);
        let push = |opcode, bytes: &[u8]| payload.push(opcode, bytes);
        let Poll::Ready(is_compressible) = self.session.poll_get(cx.waker(), push) else {
            return Poll::Pending;
        };
        self.answered = true;
        if payload.is_empty() {
            payload.push(Opcode::Text, b"1");
        }
        let mut headers = std::mem::take(&mut self.headers);
        let mut body = payload.finish(dialect, self.parts.as_deref(), &mut headers);
        if let Some(encoding) = self.encoding.filter(|_| is_compressible)
            && let Some(threshold) = self.session.shared().config().http_compression
            && body.len() >= threshold
        {
            body = compress(encoding, &body, &mut headers);
        }
        if let Some(parts) = &self.parts {
            let shared = self.session.shared();
            change_headers(shared, parts, &shared.config().headers, &mut headers);
        }
        Poll::Ready(respond(StatusCode::OK, headers, body))
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
            match std::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
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
            handle(session, &bytes, is_binary).await;
            post.done = true;
            session.post_done();
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

/// Handles the packets of a payload, in order.
async fn handle(session: &Arc<Session>, bytes: &[u8], is_binary: bool) {
    let dialect = session.dialect();
    if is_binary {
        return handle_packets(session, v3::decode_binary_payload(bytes)).await;
    }
    // As the reference reads a body; a WebSocket's text has to be UTF-8.
    let text = match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    };
    let form;
    let text = match dialect.jsonp {
        false => &*text,
        true => match jsonp::unwrap(&text) {
            Some(payload) => {
                form = payload;
                &form
            }
            // The reference ignores a form without payload.
            None => return,
        },
    };
    match dialect.revision {
        Revision::V3 => handle_packets(session, v3::decode_payload(text)).await,
        Revision::V4 => handle_packets(session, decode_payload(text)).await,
    }
}

/// Handles packets in order. While as many handlers run as may, those that are left wait, and so does the
/// answer to the POST: the client feels the back-pressure.
async fn handle_packets<'a>(
    session: &Arc<Session>,
    mut packets: impl Iterator<Item = Result<Packet<'a>, PacketError>>,
) {
    let mut running = Running::default();
    let mut has_more = true;
    while has_more {
        {
            let _turn = turn::begin();
            let now = Instant::now();
            has_more = loop {
                match packets.next() {
                    None => break false,
                    Some(Ok(packet)) => {
                        session.handle_packet(Via::Main, packet, now, &mut running);
                    }
                    Some(Err(error)) => session.handle_bad_packet(Via::Main, error),
                }
                if session.is_saturated() {
                    break true;
                }
            };
        }
        if session.is_saturated() {
            // Handlers of another request may be those that run: they are not waited for.
            std::future::poll_fn(|cx| match running.poll(cx) {
                Poll::Pending if session.is_saturated() => Poll::Pending,
                _ => Poll::Ready(()),
            })
            .await;
        }
    }
    running.detach(session);
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
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
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
    std::future::poll_fn(|cx| {
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
