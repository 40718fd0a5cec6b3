//! HTTP long-polling: a GET that waits, a POST that brings.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, Request, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socketio_proto::Hint;
use socketio_proto::engine::{PayloadEncoder, Revision, Transport, v3};
use socketio_proto::websocket::{Frames, Opcode};

use super::dial::{DialError, Dialer, Stream, Target, late_hint};
use super::error::{POLL_ERROR, POST_ERROR, TransportError};
use super::shared::Shared;

type Answer = Pin<Box<dyn Future<Output = Result<Bytes, TransportError>> + Send>>;

/// The requests of one session.
pub(crate) struct Polling {
    client: HttpClient<Connector, PostBody>,
    pub(crate) get: Option<Answer>,
    pub(crate) post: Option<Answer>,
    /// Nothing more is begun: the session moves to WebSocket, or ends.
    pub(crate) paused: bool,
    pub(crate) sid: Option<String>,
    /// The request that opens the session has been sent.
    has_asked: bool,
}

impl Polling {
    pub(crate) fn new(shared: &Shared) -> Polling {
        let connector = Connector {
            dialer: shared.config.dialer.clone(),
            target: shared.config.address.target.clone(),
        };
        let client = HttpClient::builder(TokioExecutor::new())
            // Node closes idle connections after 5 s: a request that meets this is lost.
            .pool_idle_timeout(Duration::from_secs(4))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_max_idle_per_host(2)
            .build(connector);
        Polling {
            client,
            get: None,
            post: None,
            paused: false,
            sid: None,
            has_asked: false,
        }
    }

    /// Says whether a GET may be begun: the first, which opens the session, or another one in it.
    pub(crate) fn can_get(&self) -> bool {
        self.get.is_none() && (self.sid.is_some() || !self.has_asked)
    }

    pub(crate) fn start_get(&mut self, shared: &Arc<Shared>) {
        self.has_asked = true;
        self.get = Some(self.request(shared, Method::GET, Bytes::new()));
    }

    pub(crate) fn start_post(&mut self, shared: &Arc<Shared>, body: Vec<u8>) {
        self.post = Some(self.request(shared, Method::POST, body.into()));
    }

    fn request(&self, shared: &Arc<Shared>, method: Method, body: Bytes) -> Answer {
        let config = &shared.config;
        let target = config.request_target(Transport::Polling, self.sid.as_deref());
        let url = format!("{}{target}", config.address.origin());
        let message = if method == Method::GET {
            POLL_ERROR
        } else {
            POST_ERROR
        };
        let mut request = Request::new(PostBody(Some(body)));
        *request.headers_mut() = config.headers.clone();
        let headers = request.headers_mut();
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        if method == Method::POST {
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain;charset=UTF-8"),
            );
        }
        shared.cookies.add(&url, headers);
        *request.method_mut() = method;
        let is_plain_first = self.sid.is_none() && !config.address.target.is_tls;
        let (client, shared) = (self.client.clone(), shared.clone());
        Box::pin(async move {
            let broken =
                |error: &dyn std::error::Error| TransportError::broken(message, chain(error));
            *request.uri_mut() = url.parse::<Uri>().map_err(|error| broken(&error))?;
            let answer =
                client
                    .request(request)
                    .await
                    .map_err(|error| match dial_error(&error) {
                        Some(error) => TransportError::unreachable(message, error),
                        None => {
                            let hint = late_hint(&error);
                            let hint = hint.or(is_plain_first.then_some(Hint::NoHttp.as_str()));
                            TransportError::unanswered(message, chain(&error), hint)
                        }
                    })?;
            let (head, body) = answer.into_parts();
            shared.cookies.keep(&url, &head.headers);
            let body = read(body, shared.config.max_message)
                .await
                .map_err(|error| broken(&*error))?;
            if head.status.as_u16() != 200 {
                let location = head
                    .headers
                    .get(LOCATION)
                    .and_then(|value| value.to_str().ok());
                return Err(TransportError::answer(
                    message,
                    head.status.as_u16(),
                    location,
                    &body,
                ));
            }
            Ok(body)
        })
    }
}

/// Joins what is queued to a body for a POST, as much as the server takes at once, at least one packet.
/// Gives the body, and how many bytes of frames are in it.
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
        let length = match opcode {
            Opcode::Binary => 2 + payload.len().div_ceil(3) * 4,
            _ => payload.len(),
        };
        // One for what separates packets; in revision 3 a length.
        size += length + if revision == Revision::V3 { 12 } else { 1 };
        // A close packet travels alone, as with the JavaScript client: in one body with the packet by
        // which a namespace is left, the reference closes first and tells "transport close".
        let is_close = opcode == Opcode::Text && payload == b"1";
        if used > 0 && (size > max || is_close) {
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
    let body = match revision {
        Revision::V4 => v4.finish(),
        Revision::V3 => v3.finish(false).0,
    };
    (body, used)
}

/// Reads a body that is not larger than allowed.
async fn read(
    mut body: Incoming,
    max: usize,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let mut whole = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            if whole.len() + data.len() > max {
                return Err(
                    format!("the answer is larger than the {max} bytes of `max_message`").into(),
                );
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.into())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn dial_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a DialError> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(dial) = error.downcast_ref() {
            return Some(dial);
        }
        source = error.source();
    }
    None
}

/// The body of a request: whole, or nothing.
pub(crate) struct PostBody(Option<Bytes>);

impl Body for PostBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let body = self.0.take().filter(|body| !body.is_empty());
        Poll::Ready(body.map(|body| Ok(http_body::Frame::data(body))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
    }
}

/// Opens connections for hyper.
#[derive(Clone)]
struct Connector {
    dialer: Dialer,
    target: Target,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Dialled;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let stream = connector.dialer.dial(&connector.target).await?;
            Ok(Dialled(TokioIo::new(stream)))
        })
    }
}

/// A stream as hyper wants it.
struct Dialled(TokioIo<Stream>);

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use socketio_proto::websocket::{frame, frames};

    use super::*;

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
