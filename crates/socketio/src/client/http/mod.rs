//! HTTP/1.1 as a client speaks it: one request on a connection, and what answers it.
//!
//! A request is written once and never again: Engine.IO does not number requests, so a second POST
//! doubles messages and a second GET hides lost ones. Answers are read as leniently as browsers read
//! them, each part within bounds. Nothing here bounds the time of a good answer: the caller does.
//!
//! Spec: RFC 9112.

mod body;
mod encoding;
mod head;
mod reuse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CONTENT_ENCODING, LOCATION};
use http::uri::InvalidUri;
use http::{HeaderMap, HeaderValue, Method, Uri};
use socketio_proto::Hint;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::dial::explain_late;
use super::error::TransportError;
use super::hints;
pub(crate) use body::End;
use body::{BodyError, Framing};
use head::HeadError;
pub(crate) use head::{Head, end as head_end};
pub(crate) use reuse::{Connections, Habits};

/// A connection on which a request is being written and its answer read: both at once, because a
/// server may refuse a request that it has not read.
pub(crate) struct Exchange<S> {
    stream: S,
    request: Vec<u8>,
    written: usize,
    /// Why the rest of the request cannot be written.
    failed: Option<io::Error>,
    /// What has come and is not used.
    bytes: BytesMut,
}

/// Why there is no answer, or no whole one.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error("in the body of the answer: {0}")]
    Body(#[from] BodyError),
    #[error("the server closed the connection without an answer")]
    Closed,
    /// In the middle of a head.
    #[error("the connection ended within the head of the answer: {0}")]
    Cut(String),
    #[error("the head of the answer cannot be used: {0}")]
    Head(#[from] HeadError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the answer is not HTTP: it begins with {0}")]
    NotHttp(String),
}

/// An answer is waited for without a bound; what tells why a request was refused is not.
const PATIENCE: Duration = Duration::from_secs(1);
/// More of the body of a refusal is not read.
pub(crate) const MAX_REFUSAL: usize = 64 * 1024;
/// Heads, those of answers that only say to wait included.
const MAX_HEAD: usize = 64 * 1024;
/// What is read at once.
const CHUNK: usize = 8 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<S> {
    /// Begins to send a request.
    pub(crate) fn new(stream: S, request: Vec<u8>) -> Exchange<S> {
        Exchange {
            stream,
            request,
            written: 0,
            failed: None,
            bytes: BytesMut::new(),
        }
    }

    /// Waits for the head of the final answer; others, which only say to wait, are skipped.
    pub(crate) async fn head(&mut self) -> Result<Head, HttpError> {
        let mut size = 0;
        let mut searched = 0;
        loop {
            // Some servers end a body with a line too many.
            while let [b'\r' | b'\n', ..] = self.bytes[..] {
                let _ = self.bytes.split_to(1);
                size += 1;
                searched = 0;
            }
            let begins = self.bytes.len().min(HTTP.len());
            if self.bytes[..begins] != HTTP[..begins] {
                return Err(HttpError::NotHttp(shown(&self.bytes)));
            }
            match head::end(&self.bytes, searched) {
                Some(length) => {
                    let head = Head::parse(&self.bytes[..length])?;
                    let _ = self.bytes.split_to(length);
                    (size, searched) = (size + length, 0);
                    if !matches!(head.status, 100 | 102..200) {
                        return Ok(head);
                    }
                }
                None => {
                    searched = self.bytes.len();
                    if size + searched > MAX_HEAD {
                        return Err(HeadError::TooLong.into());
                    }
                    match self.fill().await {
                        Ok(1..) => {}
                        // TLS tells an end without its goodbye so.
                        Err(error)
                            if searched == 0 && error.kind() != io::ErrorKind::UnexpectedEof =>
                        {
                            return Err(error.into());
                        }
                        _ if searched == 0 => return Err(HttpError::Closed),
                        _ => return Err(HttpError::Cut(shown(&self.bytes))),
                    }
                }
            }
        }
    }

    /// Reads the body of an answer that is as it should be; writes what the server has not waited for.
    pub(crate) async fn body(
        &mut self,
        head: &Head,
        max: usize,
    ) -> Result<(Vec<u8>, End), HttpError> {
        let mut body = Vec::new();
        let end = body::read(self, Framing::of(head)?, max, &mut body).await?;
        poll_fn(|cx| self.poll_write(cx)).await?;
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        Ok((decoded(head, body, max)?, end))
    }

    /// Reads what comes soon of a body that tells why a request was refused.
    pub(crate) async fn refusal(&mut self, head: &Head) -> Vec<u8> {
        let mut body = Vec::new();
        if let Ok(framing) = Framing::of(head) {
            // Whatever ends it, what has come is told.
            let _ = timeout(PATIENCE, body::read(self, framing, MAX_REFUSAL, &mut body)).await;
        }
        decoded(head, body, MAX_REFUSAL).unwrap_or_default()
    }

    /// Gives the connection back, and what has come behind the answer.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.bytes.to_vec())
    }

    /// Reads more, while the rest of the request is written; 0 is the end.
    async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            // Who cannot write may still read why.
            self.failed = Some(error);
        }
        self.bytes.reserve(CHUNK);
        let filled = self.bytes.len();
        self.bytes.resize(filled + CHUNK, 0);
        let mut buffer = ReadBuf::new(&mut self.bytes[filled..]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        self.bytes.truncate(filled + count);
        match (read, self.failed.take_if(|_| count == 0)) {
            (Poll::Ready(Ok(())), Some(error)) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), None) => Poll::Ready(Ok(count)),
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(error)),
            (Poll::Pending, failed) => {
                self.failed = failed;
                Poll::Pending
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.request.len() && self.failed.is_none() {
            let rest = &self.request[self.written..];
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match &self.failed {
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }
}

impl HttpError {
    /// What is told of it. Where nothing has shown yet that HTTP is spoken, that may be what is wrong.
    pub(crate) fn told(&self, message: &'static str, is_unproven: bool) -> TransportError {
        if let Some(tls) = explain_late(self) {
            let hint = tls.hint.map(Hint::as_str);
            return TransportError::unanswered(message, tls.what, hint);
        }
        let hint = match self {
            HttpError::Body(BodyError::Encoding(_)) => Some(hints::ENCODED),
            _ if is_unproven && self.is_silence() => Some(Hint::NoHttp.as_str()),
            _ => None,
        };
        TransportError::unanswered(message, self, hint)
    }

    /// Says whether a whole body came that cannot be unpacked.
    pub(crate) fn is_of_packing(&self) -> bool {
        matches!(
            self,
            HttpError::Body(BodyError::Encoding(_) | BodyError::Unpack(_))
        )
    }

    /// Says whether nothing came that looks like HTTP.
    fn is_silence(&self) -> bool {
        matches!(
            self,
            HttpError::Closed | HttpError::Io(_) | HttpError::NotHttp(_)
        )
    }
}

impl Head {
    /// Where the server redirects to.
    pub(crate) fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }

    /// What the body is packed with, if that is not known here.
    pub(crate) fn unknown_encoding(&self) -> Option<String> {
        encoding::unknown(&self.joined(CONTENT_ENCODING.as_str())?)
    }

    /// The values of all headers of a name, as one.
    pub(crate) fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values = self.headers.get_all(name).iter();
        let values: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    }
}

/// The head of a request, without the empty line at its end.
pub(crate) fn request(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
) -> Result<Vec<u8>, InvalidUri> {
    let target = Uri::try_from(target)?;
    let mut request = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    Ok(request)
}

fn decoded(head: &Head, body: Vec<u8>, max: usize) -> Result<Vec<u8>, BodyError> {
    match head.joined(CONTENT_ENCODING.as_str()) {
        Some(encodings) => encoding::decode(&encodings, body, max),
        None => Ok(body),
    }
}

/// The first bytes of what came, for an error's text.
fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 16;
    let text = bytes
        .iter()
        .take(SHOWN)
        .flat_map(|byte| byte.escape_ascii());
    format!("\"{}\"", text.map(char::from).collect::<String>())
}

impl<S> fmt::Debug for Exchange<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

const HTTP: &[u8] = b"HTTP/";
