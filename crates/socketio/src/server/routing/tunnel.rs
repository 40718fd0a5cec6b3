//! A WebSocket that passes through this server to the session's own one, byte for byte.
//!
//! Bytes go through the thread's read buffer, and only what cannot be written at once is kept: an idle
//! WebSocket owns no buffer here.

use socketio_proto::Printable;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::{Either, select};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::read_buffer::with_buffer;
use crate::server::Shared;
use crate::server::upgrade::plain_tcp;

/// The time that one side has for its last bytes when the other has ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Passes bytes on until one side has ended, the server is silent for longer than a heartbeat takes, or
/// this server is closed. While it is drained, its WebSockets end one after the other.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut leaving: watch::Receiver<Option<Leaving>>,
    client: OnUpgrade,
    server: OnUpgrade,
    place: OwnedSemaphorePermit,
) {
    let both = async { Ok::<_, hyper::Error>((client.await?, server.await?)) };
    let (client, server) = match timeout(shared.config().head_timeout, both).await {
        Ok(Ok((client, server))) => (side(client), side(server)),
        Ok(Err(error)) => {
            return tracing::debug!(error = %Printable::new(&error), "a forwarded WebSocket ended during its handshake");
        }
        Err(_) => return tracing::debug!("the handshake of a forwarded WebSocket took too long"),
    };
    let _passing = shared.http_connections().pass();
    let mut closed = shared.closed();
    // The server sends something at each ping, or answers the client's.
    let engine = shared.engine();
    let silence = engine.ping_interval + engine.ping_timeout;
    drop(shared);
    let passing = Tunnel::new(client, server, silence);
    // Here and below, an error means that the server is gone altogether.
    let closed = pin!(closed.wait_for(|closed| *closed));
    let leave = pin!(async move {
        let at = leaving.wait_for(Option::is_some).await.ok();
        let at = at.and_then(|leaving| *leaving);
        if let Some(Leaving { start, window }) = at {
            sleep_until(start + window.mul_f64(rand::random())).await;
        }
    });
    if let Either::Left((Err(error), _)) = select(passing, select(closed, leave)).await {
        tracing::debug!(error = %Printable::new(&error), "a forwarded WebSocket broke");
    }
    drop(place);
}

/// A server that is being drained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub(super) start: Instant,
    pub(super) window: Duration,
}

/// Both connections, and what passes between them.
struct Tunnel {
    client: Side,
    server: Side,
    up: Direction,
    down: Direction,
    /// How long the server may be silent.
    silence: Duration,
    /// When it is given up, unless something came from the server in the meantime.
    limit: Instant,
    deadline: Pin<Box<Sleep>>,
    /// One side has ended.
    is_ending: bool,
}

impl Tunnel {
    fn new(
        (client, sent): (Side, Bytes),
        (server, heard): (Side, Bytes),
        silence: Duration,
    ) -> Tunnel {
        let limit = Instant::now() + silence;
        Tunnel {
            client,
            server,
            up: Direction::beginning_with(sent),
            down: Direction::beginning_with(heard),
            silence,
            limit,
            deadline: Box::pin(sleep_until(limit)),
            is_ending: false,
        }
    }
}

impl Future for Tunnel {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let up = this.up.poll(cx, &mut this.client, &mut this.server)?;
        let down = this.down.poll(cx, &mut this.server, &mut this.client)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let has_heard = std::mem::take(&mut this.down.has_moved);
        let is_ending = up.is_ready() || down.is_ready();
        if is_ending && !this.is_ending {
            this.limit = Instant::now() + CLOSE_TIMEOUT;
            this.deadline.as_mut().reset(this.limit);
        } else if has_heard && !is_ending {
            // The timer is set anew when it has rung: that spares it at each packet.
            this.limit = Instant::now() + this.silence;
        }
        this.is_ending = is_ending;
        loop {
            ready!(this.deadline.as_mut().poll(cx));
            if this.limit <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.deadline.as_mut().reset(this.limit);
        }
    }
}

/// What goes one way.
struct Direction {
    /// Read, and not written yet.
    rest: Bytes,
    state: State,
    has_moved: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Open,
    /// Written, and perhaps not sent yet.
    Unflushed,
    /// Nothing more comes, which is to be said.
    Ending,
    Ended,
}

impl Direction {
    fn beginning_with(rest: Bytes) -> Direction {
        Direction {
            rest,
            state: State::Open,
            has_moved: false,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side,
        to: &mut Side,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.rest.is_empty() {
                let written = ready!(to.as_mut().poll_write(cx, &self.rest))?;
                self.wrote(written)?;
                self.rest.advance(written);
            }
            match self.state {
                State::Open | State::Unflushed => {
                    if self.pass(cx, from, to)?.is_pending() {
                        if self.state == State::Unflushed {
                            ready!(to.as_mut().poll_flush(cx))?;
                            self.state = State::Open;
                        }
                        return Poll::Pending;
                    }
                }
                State::Ending => {
                    ready!(to.as_mut().poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads once, and writes as much of it as goes at once.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side,
        to: &mut Side,
    ) -> Poll<io::Result<()>> {
        with_buffer(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(from.as_mut().poll_read(cx, &mut read))?;
            let bytes = read.filled();
            self.has_moved = true;
            if bytes.is_empty() {
                self.state = State::Ending;
                return Poll::Ready(Ok(()));
            }
            let written = match to.as_mut().poll_write(cx, bytes)? {
                Poll::Ready(written) => {
                    self.wrote(written)?;
                    written
                }
                Poll::Pending => 0,
            };
            if written < bytes.len() {
                self.rest = Bytes::copy_from_slice(&bytes[written..]);
            }
            Poll::Ready(Ok(()))
        })
    }

    fn wrote(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.state = State::Unflushed;
        Ok(())
    }
}

type Side = Pin<Box<dyn Stream>>;

trait Stream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// A connection after its handshake, and what was read from it already.
fn side(upgraded: Upgraded) -> (Side, Bytes) {
    match plain_tcp(upgraded) {
        Ok((stream, rest)) => {
            // Small packets must not wait for each other.
            let _ = stream.set_nodelay(true);
            // A copy: what was read ahead would keep hyper's whole buffer alive.
            (Box::pin(stream), Bytes::copy_from_slice(&rest))
        }
        Err(upgraded) => (Box::pin(TokioIo::new(upgraded)), Bytes::new()),
    }
}
