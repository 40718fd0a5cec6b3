//! The stream under the HTTP library, and what the library does not see.
//!
//! It is noted whether the client reads: who does not is not waited for, though an answer is pending.
//!
//! A request may have the end of the client's stream right behind it, as scripts and probes send it. The
//! library looks for the end before it answers, and then drops the request. Here the end is
//! told a little later: what can be answered at once is, as by the reference, and what has to wait
//! ends, because a client that has gone looks the same. A stream of TLS that ends without a word, and a
//! connection that was reset behind a request, are ends like others.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::first_head::Begun;
use super::http_connections::HttpConnection;

/// The stream that the HTTP library reads and writes.
pub(crate) struct HttpStream<S> {
    begun: Begun<S>,
    /// Told when the client does not read, and when it does again.
    http: Arc<HttpConnection>,
    /// How often the end was kept back.
    kept_back: u8,
    /// What was to be written last did not fit: the writing goes on when there is room.
    is_blocked: bool,
}

/// So many times the task of a connection runs before it learns of the end: a request whose body has
/// come takes two or three, one for each time that the body's reader asks for more.
const TURNS: u8 = 8;

impl<S> HttpStream<S> {
    pub(crate) fn new(begun: Begun<S>, http: Arc<HttpConnection>) -> HttpStream<S> {
        HttpStream {
            begun,
            http,
            kept_back: 0,
            is_blocked: false,
        }
    }

    /// The stream, and what was not taken of what was read.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        self.begun.into_parts()
    }

    fn written<T>(&mut self, written: Poll<T>) -> Poll<T> {
        if self.is_blocked != written.is_pending() {
            self.is_blocked = !self.is_blocked;
            self.http.set_blocked(self.is_blocked);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HttpStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.begun).poll_read(cx, buf));
        if buf.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        if self.is_blocked && read.is_ok() {
            return Poll::Pending;
        }
        // An end or an error is there again when it is asked for again.
        if self.kept_back < TURNS && self.http.is_pending() {
            self.kept_back += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HttpStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.begun.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.begun.stream).poll_flush(cx);
        self.written(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.begun.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.begun.stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.begun.stream.is_write_vectored()
    }
}
