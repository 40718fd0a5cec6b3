//! The end of a WebSocket: what is left is written, and the stream ended so that it arrives.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use socketio_proto::websocket::{self, CloseSearch};

use super::outbox::{Flushed, send};
use super::session::Session;
use crate::read_buffer::with_buffer;

/// The time that a connection which is being closed has for its last bytes and the peer's close frame,
/// and again for the peer's end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// So many bytes are read and thrown away of a peer that goes on sending; then the connection is dropped.
const MAX_LATE: usize = 32 * 1024 * 1024;

/// What is left to do on a connection that ends.
#[derive(Default)]
pub(super) struct Left {
    /// Its outbox is to be written.
    pub(super) session: Option<Arc<Session>>,
    /// So are these frames.
    pub(super) own: Vec<u8>,
    /// The peer's close frame is awaited, in this and what is read behind it.
    awaited: Option<Vec<u8>>,
}

impl Left {
    pub(super) fn writing(own: Vec<u8>) -> Left {
        Left {
            own,
            ..Left::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.session.is_none() && self.own.is_empty()
    }

    /// The stream ends when the peer's close frame has come: it is looked for in what is still to be
    /// read, and what was read already, which begins with a frame.
    pub(super) fn expect_close(&mut self, rest: Vec<u8>) {
        self.awaited = Some(rest);
    }

    /// Writes what is left, says that nothing more comes, and reads until the peer has said so too: a
    /// socket that is dropped with unread bytes would take back what was just written.
    ///
    /// A peer that does not do its part is not waited for, neither for its close frame nor for its end.
    pub(super) async fn farewell(self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        self.farewell_within(CLOSE_TIMEOUT, stream).await;
    }

    async fn farewell_within(
        mut self,
        patience: Duration,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) {
        let mut late = Late { left: MAX_LATE };
        // What went wrong concerns nobody any more.
        let _ = timeout(patience, self.say_goodbye(stream, &mut late)).await;
        let _ = timeout(patience, async {
            stream.shutdown().await?;
            while late.read(stream, |_| ()).await?.is_some() {}
            io::Result::Ok(())
        })
        .await;
    }

    async fn say_goodbye(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        late: &mut Late,
    ) -> io::Result<()> {
        stream.write_all(&self.own).await?;
        if let Some(session) = &self.session {
            poll_fn(|cx| {
                let write = poll_write(stream, cx);
                match session.with_outbox(|outbox| outbox.write_with(write)) {
                    Flushed::Blocked => Poll::Pending,
                    Flushed::Done | Flushed::Broken => Poll::Ready(()),
                }
            })
            .await;
        }
        stream.flush().await?;
        let Some(rest) = self.awaited.take() else {
            return Ok(());
        };
        let mut search = CloseSearch::default();
        let mut has_come = search.finds(&rest);
        while !has_come {
            match late.read(stream, |data| search.finds(data)).await? {
                Some(found) => has_come = found,
                None => break,
            }
        }
        Ok(())
    }
}

/// What a peer sends that nobody wants any more.
struct Late {
    /// So many bytes of it are still read.
    left: usize,
}

impl Late {
    /// Reads once, into the thread's buffer; `None` at the end of the stream, or when it was enough. The
    /// others have their turn after each read.
    async fn read<R>(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut then: impl FnMut(&[u8]) -> R,
    ) -> io::Result<Option<R>> {
        let (read, result) = poll_fn(|cx| {
            with_buffer(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
                Poll::Ready(io::Result::Ok(match read.filled() {
                    [] => (0, None),
                    data => (data.len(), Some(then(data))),
                }))
            })
        })
        .await?;
        if read > self.left {
            return Ok(None);
        }
        self.left -= read;
        tokio::task::yield_now().await;
        Ok(result)
    }
}

/// Writes slices, as an outbox does it.
pub(super) fn poll_write<'a>(
    stream: &'a mut (impl AsyncWrite + Unpin),
    cx: &'a mut Context<'_>,
) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> + 'a {
    |slices| match Pin::new(&mut *stream).poll_write_vectored(cx, slices) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Closes a WebSocket that is none of ours.
pub(crate) async fn dismiss(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send) {
    let mut left = Left::writing(websocket::CLOSE_EMPTY.to_vec());
    left.expect_close(Vec::new());
    left.farewell(&mut stream).await;
}

/// A TCP connection that others write to, too.
pub(super) struct Tcp(pub(super) Arc<TcpStream>);

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match send(&self.0, slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    fn awaiting(rest: &[u8]) -> Left {
        let mut left = Left::writing(websocket::CLOSE_EMPTY.to_vec());
        left.expect_close(rest.to_vec());
        left
    }

    /// Runs a farewell; the peer's side, and what becomes of ours.
    fn begin(left: Left, patience: Duration) -> (DuplexStream, JoinHandle<()>) {
        let (mut ours, peer) = duplex(64);
        let ending = tokio::spawn(async move { left.farewell_within(patience, &mut ours).await });
        (peer, ending)
    }

    /// A test that waits for so long fails by its own deadline.
    const LONG: Duration = Duration::from_secs(3600);
    const ANSWER: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        let deadline = Duration::from_secs(20);
        timeout(deadline, future).await.expect("in time")
    }

    #[tokio::test]
    async fn the_end_follows_the_peer_s_close_frame() {
        // In one piece, in two, behind a message, or read before.
        for (before, after) in [
            (&[][..], &ANSWER[..]),
            (&ANSWER[..3], &ANSWER[3..]),
            (b"\x81\x81\0\0\0\x004", &ANSWER),
            (&ANSWER, &[]),
        ] {
            let (mut peer, ending) = begin(awaiting(before), LONG);
            let mut close = [0; 2];
            soon(peer.read_exact(&mut close))
                .await
                .expect("a close frame");
            peer.write_all(after).await.expect("to write");
            assert_eq!(soon(peer.read(&mut close)).await.expect("the end"), 0);
            // What comes late is read, too.
            soon(peer.write_all(&[0; 200])).await.expect("to be read");
            drop(peer);
            soon(ending).await.expect("no panic");
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_answer_is_not_waited_for() {
        let (mut peer, ending) = begin(awaiting(&[]), Duration::from_millis(5));
        let mut bytes = Vec::new();
        soon(peer.read_to_end(&mut bytes)).await.expect("the end");
        assert_eq!(bytes, websocket::CLOSE_EMPTY);
        soon(ending).await.expect("no panic");
        drop(peer);
    }

    // However fast it sends, the others have their turns, and it ends.
    #[tokio::test]
    async fn a_peer_that_goes_on_sending_is_dropped() {
        let (mut peer, ending) = begin(awaiting(&[]), LONG);
        let flood = tokio::spawn(async move {
            let mut sent = 0;
            while peer.write_all(&[0x82; 64]).await.is_ok() {
                sent += 64;
            }
            sent
        });
        soon(ending).await.expect("no panic");
        let sent = soon(flood).await.expect("no panic");
        assert!((MAX_LATE..MAX_LATE + 1024 * 1024).contains(&sent), "{sent}");
    }

    #[tokio::test]
    async fn without_a_close_frame_the_end_comes_at_once() {
        let (mut peer, ending) = begin(Left::default(), LONG);
        assert_eq!(soon(peer.read(&mut [0])).await.expect("the end"), 0);
        drop(peer);
        soon(ending).await.expect("no panic");
    }
}
