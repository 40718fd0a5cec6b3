//! One WebSocket: its opening handshake, frames in, frames out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::header::HOST;
use ::http::{HeaderValue, Method};
use socketio_proto::engine::Transport;
use socketio_proto::websocket::{self, Decoder, DeflateOffer, Deflater, Item, Opcode, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Stream;
use super::error::{TransportError, WEBSOCKET_ERROR};
use super::http::{self, Exchange, Head};
use super::shared::Shared;
use crate::read_buffer::with_buffer;

pub(crate) struct WebSocket {
    stream: Stream,
    decoder: Decoder,
    /// What compresses messages, if that was negotiated.
    deflater: Option<Box<Deflater>>,
    /// Bytes of a frame that is not complete.
    rest: Vec<u8>,
    /// Masked frames that are not written yet, and how much of them is.
    writing: Vec<u8>,
    written: usize,
}

/// What became of a WebSocket.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer has ended it, with this code, or the stream ended without one.
    Closed(u16, String),
    /// It broke, or the peer broke the rules.
    Failed(TransportError),
}

/// From so many bytes on a message is compressed, as by the JavaScript client.
const THRESHOLD: usize = 1024;
/// How hard the compressor tries; zlib's default.
const LEVEL: u32 = 6;

impl WebSocket {
    /// Connects, for a new session or for one that is to move here.
    pub(crate) async fn connect(
        shared: &Shared,
        sid: Option<&str>,
    ) -> Result<WebSocket, TransportError> {
        let config = &shared.config;
        let target = config.request_target(Transport::WebSocket, sid);
        let url = format!("{}{target}", config.address.origin());
        let key = websocket::client_key(rand::random());
        let mut headers = config.headers.clone();
        let host = HeaderValue::from_str(&config.address.host);
        headers.entry(HOST).or_insert(host.map_err(broken)?);
        shared.cookies.add(&url, &mut headers);
        let mut request = http::request(&Method::GET, &target, &headers).map_err(broken)?;
        request.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
        request.extend_from_slice(&key);
        let offer = config.deflate.then(DeflateOffer::default);
        if let Some(offer) = &offer {
            request.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            request.extend_from_slice(offer.to_header().as_bytes());
        }
        if !config.subprotocols.is_empty() {
            request.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            request.extend_from_slice(config.subprotocols.join(", ").as_bytes());
        }
        request.extend_from_slice(b"\r\n\r\n");

        let stream = config
            .dialer
            .dial(&config.address.target)
            .await
            .map_err(|error| TransportError::unreachable(WEBSOCKET_ERROR, &error))?;
        let mut exchange = Exchange::new(stream, request);
        let is_plain = !config.address.target.is_tls;
        let head = exchange.head().await;
        let head = head.map_err(|error| error.told(WEBSOCKET_ERROR, is_plain))?;
        shared.cookies.keep(&url, &head.headers);
        if head.status != 101 {
            let body = exchange.refusal(&head).await;
            return Err(TransportError::refused(WEBSOCKET_ERROR, &head, &body));
        }
        let [upgrade, connection, accept, extensions, protocol] = [
            "upgrade",
            "connection",
            "sec-websocket-accept",
            "sec-websocket-extensions",
            "sec-websocket-protocol",
        ]
        .map(|name| head.joined(name));
        let response = websocket::ResponseHeaders {
            status: head.status,
            upgrade: upgrade.as_deref(),
            connection: connection.as_deref(),
            accept: accept.as_deref(),
            extensions: extensions.as_deref(),
            protocol: protocol.as_deref(),
        };
        let negotiated =
            websocket::check_response(&response, &key, offer.as_ref(), &config.subprotocols)
                .map_err(broken)?;
        let chosen = protocol.map(|chosen| String::from_utf8_lossy(&chosen).trim().into());
        shared.with_state(|state| state.subprotocol = chosen);
        let (stream, rest) = exchange.into_parts();
        Ok(WebSocket {
            stream,
            decoder: match &negotiated {
                Some(deflate) => Decoder::with_deflate(Role::Client, config.max_message, deflate),
                None => Decoder::new(Role::Client, config.max_message),
            },
            deflater: negotiated
                .map(|negotiated| Box::new(Deflater::new(Role::Client, &negotiated, LEVEL))),
            rest,
            writing: Vec::new(),
            written: 0,
        })
    }

    /// Reads what has come and hands each item on, until that says stop. Gives how the WebSocket ended,
    /// if it has.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(Item<'_>),
    ) -> Poll<Result<(), End>> {
        if !self.rest.is_empty() {
            // What was read with the handshake, or is not complete.
            let mut rest = std::mem::take(&mut self.rest);
            let used = frames(&mut self.decoder, &mut rest, &mut each)?;
            rest.drain(..used);
            self.rest = rest;
            if used > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        with_buffer(|buffer| {
            let mut read = ReadBuf::new(buffer);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                Ok(()) => {}
                // An end without the goodbye of TLS is one, too.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Poll::Ready(Err(End::Failed(broken(error)))),
            }
            let data = read.filled_mut();
            if data.is_empty() {
                return Poll::Ready(Err(End::Closed(1006, String::new())));
            }
            if self.rest.is_empty() {
                let used = frames(&mut self.decoder, data, &mut each)?;
                self.rest.extend_from_slice(&data[used..]);
            } else {
                self.rest.extend_from_slice(data);
                let mut rest = std::mem::take(&mut self.rest);
                let used = frames(&mut self.decoder, &mut rest, &mut each)?;
                rest.drain(..used);
                self.rest = rest;
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Queues a frame.
    pub(crate) fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = rand::random();
        match &mut self.deflater {
            Some(deflater)
                if payload.len() >= THRESHOLD
                    && matches!(opcode, Opcode::Text | Opcode::Binary) =>
            {
                let payload = deflater.compress(payload);
                websocket::masked_compressed_frame(&mut self.writing, opcode, &payload, mask);
            }
            _ => websocket::masked_frame(&mut self.writing, opcode, payload, mask),
        }
    }

    /// Bytes that are not written yet.
    pub(crate) fn unwritten(&self) -> usize {
        self.writing.len() - self.written
    }

    /// Writes what is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.writing.len() {
            let rest = &self.writing[self.written..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // An idle connection holds no buffer.
        self.writing = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

fn frames(
    decoder: &mut Decoder,
    data: &mut [u8],
    each: &mut impl FnMut(Item<'_>),
) -> Result<usize, End> {
    let mut used = 0;
    while used < data.len() {
        match decoder.decode(&mut data[used..]) {
            Ok(Some(decoded)) => {
                used += decoded.consumed;
                if let Item::Close(close) = decoded.item {
                    let (code, reason) = close.unwrap_or((1005, ""));
                    return Err(End::Closed(code, reason.to_owned()));
                }
                each(decoded.item);
            }
            Ok(None) => break,
            Err(error) => {
                let refusal = late_answer(&data[used..]);
                return Err(End::Failed(refusal.unwrap_or_else(|| broken(error))));
            }
        }
    }
    Ok(used)
}

/// What the server answers after it has accepted the WebSocket: the reference refuses a revision that
/// it does not speak only then, with an answer of HTTP where a frame should be.
fn late_answer(bytes: &[u8]) -> Option<TransportError> {
    let head = bytes.get(..http::head_end(bytes, 0)?)?;
    let body = &bytes[head.len()..];
    let head = Head::parse(head).ok()?;
    Some(TransportError::refused(WEBSOCKET_ERROR, &head, body))
}

fn broken(error: impl std::fmt::Display) -> TransportError {
    TransportError::broken(WEBSOCKET_ERROR, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_instead_of_a_frame_says_why() {
        let answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 28\r\n\r\nUnsupported protocol version";
        let mut bytes = answer.as_bytes().to_vec();
        let mut decoder = Decoder::new(Role::Client, 1000);
        let Err(End::Failed(error)) = frames(&mut decoder, &mut bytes, &mut |_| {}) else {
            panic!("not failed");
        };
        assert_eq!(
            error.to_string(),
            "websocket error: the server answered 400 (Unsupported protocol version)"
        );
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("Version::V2"))
        );
        assert!(late_answer(b"\x70garbage").is_none());
    }
}
