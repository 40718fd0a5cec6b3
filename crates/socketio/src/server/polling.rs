//! HTTP long-polling: a GET waits for packets, a POST brings some.

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use ::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;

use socketio_proto::engine::{GetStart, Packet, PayloadEncoder, PostStart, Via, decode_payload};
use socketio_proto::websocket::Opcode;

use super::body::ResponseBody;
use super::http::{Answer, Response, change_headers, respond, text_headers};
use super::outbox::Link;
use super::running::Running;
use super::session::Session;
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
    /// The request, if a hook wants to see it again.
    parts: Option<Box<Parts>>,
    answered: bool,
}

impl Get {
    fn new(session: Arc<Session>, parts: Parts, mut headers: HeaderMap) -> Get {
        text_headers(&mut headers);
        if is_old_explorer(&parts) {
            let name = HeaderName::from_static("x-xss-protection");
            headers.insert(name, HeaderValue::from_static("0"));
        }
        let is_hooked = !session.shared().config().headers.is_empty();
        let parts = is_hooked.then(|| Box::new(parts));
        Get {
            session,
            headers,
            parts,
            answered: false,
        }
    }

    pub(crate) fn poll<B>(&mut self, cx: &mut Context<'_>) -> Poll<Response<B>> {
        let mut payload = PayloadEncoder::new();
        let done = self.session.with_outbox(|outbox| {
            if !outbox.is_polled() {
                // The session has moved to another transport, which takes the packets.
                payload.push(&Packet::Noop);
                return true;
            }
            if outbox.is_empty() && !outbox.is_closed() {
                outbox.set_link(Link::Get(cx.waker().clone()));
                return false;
            }
            outbox.take_frames(|opcode, bytes| match opcode {
                Opcode::Binary => payload.push_binary(bytes),
                _ => payload.push_encoded(bytes),
            });
            outbox.set_link(Link::None);
            true
        });
        if !done {
            return Poll::Pending;
        }
        self.answered = true;
        self.session.get_answered();
        if payload.is_empty() {
            payload.push(&Packet::Close);
        }
        let mut headers = std::mem::take(&mut self.headers);
        if let Some(parts) = &self.parts {
            let shared = self.session.shared();
            change_headers(shared, parts, &shared.config().headers, &mut headers);
        }
        Poll::Ready(respond(StatusCode::OK, headers, payload.finish()))
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
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
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
    if content_type == Some(b"application/octet-stream") {
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
                Poll::Pending => tokio::time::timeout(deadline, reading)
                    .await
                    .unwrap_or(Err(ReadError::Broken)),
            }
        }
    };
    match read {
        Ok(bytes) => {
            handle(session, &bytes).await;
            post.done = true;
            session.post_done();
            Posted::Ok
        }
        Err(ReadError::TooLarge) => {
            post.done = true;
            session.post_done();
            Posted::Refused(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Err(ReadError::Broken) => Posted::Abort,
    }
}

/// Handles the packets of a payload, in order.
async fn handle(session: &Arc<Session>, bytes: &[u8]) {
    let mut running = Running::default();
    {
        let _turn = turn::begin();
        let now = Instant::now();
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => {
                for packet in decode_payload(text) {
                    match packet {
                        Ok(packet) => {
                            session.handle_packet(Via::Main, packet, now, &mut running);
                        }
                        Err(_) => session.handle_bad_packet(Via::Main),
                    }
                }
            }
            Err(_) => session.handle_bad_packet(Via::Main),
        }
    }
    if session.is_saturated() {
        // The client's next POST waits: it feels the back-pressure.
        std::future::poll_fn(|cx| match running.poll(cx) {
            Poll::Pending if session.is_saturated() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }
    running.detach(session);
}

enum ReadError {
    Broken,
    TooLarge,
}

async fn read_body<Q>(mut body: Pin<&mut Q>, limit: usize) -> Result<Bytes, ReadError>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>>,
{
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

/// Old versions of Internet Explorer take a payload for HTML and filter it.
fn is_old_explorer(parts: &Parts) -> bool {
    parts.headers.get(USER_AGENT).is_some_and(|agent| {
        let agent = agent.as_bytes();
        [&b";MSIE"[..], b"Trident/"]
            .iter()
            .any(|m| agent.windows(m.len()).any(|w| w == *m))
    })
}
