//! The task of one WebSocket connection.
//!
//! It waits for the socket to become readable, reads into a buffer that belongs to the thread and
//! keeps only what is incomplete, so that an idle connection holds no buffer. Handlers start in its
//! turn. Over plain TCP, whoever emits writes to the socket in place; the task only steps in when the
//! socket is full.

use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use socketio_proto::engine::{CloseReason, Message, Packet, PacketError, Revision, Via, v3};
use socketio_proto::websocket::{self, DecodeError, Decoder, Item, Negotiated, Opcode, Role};

use super::budget::{self, Budget};
use super::ending::Ending;
use super::farewell::{Left, Tcp, poll_write};
use super::outbox::{Flushed, Link, send};
use super::running::Running;
use super::session::Session;
use super::turn;
use crate::read_buffer::with_buffer;

/// Reads in one turn, so that one busy connection starves nobody.
const READS_PER_TURN: usize = 4;
/// Bytes of answers that a probed connection keeps for a peer that does not read them.
const MAX_ANSWERS: usize = 64 * 1024;

/// The incoming half: from bytes to packets.
pub(crate) struct Incoming {
    session: Arc<Session>,
    decoder: Decoder,
    terms: Terms,
    /// Bytes of a frame that is not complete, or not to be handled yet.
    rest: Vec<u8>,
    via: Via,
    running: Running,
    input: Input,
}

/// What the client asked for in its handshake, and got.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) deflate: Option<Negotiated>,
    /// Bytes are to come as base64, in texts (`b64` in the query).
    pub(crate) base64: bool,
}

/// Whether more is to come from the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Input {
    Open,
    /// No: it has said so.
    Ended,
    /// Nothing that could be read.
    Broken,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.session.shared().http_connections().websocket_ended();
    }
}

/// What became of the connection's input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fed {
    Open,
    /// The turn is over; there may be more.
    Spent,
    /// Nothing more is to be read.
    Ended,
}

impl Incoming {
    /// Begins to read from a connection whose handshake is done; `rest` was read already.
    pub(crate) fn new(session: Arc<Session>, via: Via, terms: Terms, rest: Bytes) -> Incoming {
        let max_payload = session.shared().max_payload();
        session.shared().http_connections().websocket_began();
        Incoming {
            session,
            decoder: match &terms.deflate {
                Some(negotiated) => Decoder::with_deflate(Role::Server, max_payload, negotiated),
                None => Decoder::new(Role::Server, max_payload),
            },
            terms,
            // A copy: what was read ahead would keep hyper's whole buffer alive.
            rest: rest.to_vec(),
            via,
            running: Running::default(),
            input: Input::Open,
        }
    }

    /// Leads the session's outbox to this connection.
    fn link(&self, link: Link) {
        self.session.forget_probe();
        let options = &self.session.shared().config().per_message_deflate;
        self.session.with_outbox(|outbox| {
            if let (Some(options), Some(negotiated)) = (options, self.terms.deflate) {
                outbox.set_deflate(options.outgoing(), negotiated);
            }
            if self.terms.base64 {
                outbox.set_base64();
            }
            outbox.set_link(link);
        });
    }

    fn feed(&mut self, data: &mut [u8], budget: &mut Budget) -> Fed {
        if self.rest.is_empty() {
            let (used, fed) = self.frames(data, budget);
            self.rest.extend_from_slice(&data[used..]);
            return fed;
        }
        self.rest.extend_from_slice(data);
        self.resume(budget)
    }

    /// Handles what was kept.
    fn resume(&mut self, budget: &mut Budget) -> Fed {
        let mut rest = std::mem::take(&mut self.rest);
        let (used, fed) = self.frames(&mut rest, budget);
        if used < rest.len() {
            rest.drain(..used);
            self.rest = rest;
        }
        fed
    }

    fn frames(&mut self, data: &mut [u8], budget: &mut Budget) -> (usize, Fed) {
        let now = Instant::now();
        budget.begin(now);
        let mut used = 0;
        while used < data.len() && !self.session.is_saturated() {
            match self.decoder.decode(&mut data[used..]) {
                Ok(Some(decoded)) => {
                    used += decoded.consumed;
                    if item(
                        &self.session,
                        &mut self.via,
                        &mut self.running,
                        decoded.item,
                        now,
                    ) == Fed::Ended
                    {
                        self.input = Input::Ended;
                        return (data.len(), Fed::Ended);
                    }
                    if budget.is_spent(decoded.consumed) {
                        return (used, Fed::Spent);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    if error == DecodeError::TooLarge {
                        self.session.shared().counters().large_messages();
                    }
                    self.end(Some(error.close_code()), &error.to_string());
                    return (data.len(), Fed::Ended);
                }
            }
        }
        (used, Fed::Open)
    }

    /// Nothing more can be written, or the peer broke the rules of WebSocket.
    fn end(&mut self, close_code: Option<u16>, description: &str) {
        self.end_with(CloseReason::TransportError, close_code, description);
    }

    /// Nothing more can be read: that is an end like others, as with the reference.
    fn reset(&mut self, description: &str) {
        self.end_with(CloseReason::TransportClose, None, description);
    }

    fn end_with(&mut self, reason: CloseReason, close_code: Option<u16>, description: &str) {
        self.input = Input::Broken;
        if let Some(code) = close_code.map(u16::to_be_bytes) {
            match self.via {
                Via::Main => self.session.with_outbox(|o| o.push(Opcode::Close, &code)),
                Via::Probe => self.session.answer_on_probe(Opcode::Close, &code),
            }
        }
        if self.via == Via::Probe {
            return;
        }
        let description = Some(description.to_owned().into());
        self.session.transport_closed(reason, description);
    }

    /// Leaves what a probed connection has to write; the session knows then that it has ended.
    fn end_probe(&mut self, left: &mut Left, cx: &Context<'_>) -> Option<Ending> {
        let ending = self.session.take_probe_frames(cx.waker(), &mut left.own);
        if ending == Some(Ending::CloseFrame) && self.input == Input::Open {
            left.own.extend_from_slice(&websocket::CLOSE_EMPTY);
        }
        self.session.probe_closed();
        ending
    }

    /// After a close frame of ours the stream ends when the peer has sent its own.
    fn end_input(&mut self, left: &mut Left, ending: Option<Ending>) {
        if self.input == Input::Open && ending == Some(Ending::CloseFrame) {
            left.expect_close(std::mem::take(&mut self.rest));
        }
    }

    fn closed_by_peer(&mut self) {
        self.input = Input::Ended;
        if self.via == Via::Main {
            self.session
                .transport_closed(CloseReason::TransportClose, None);
        }
    }
}

fn item(
    session: &Arc<Session>,
    via: &mut Via,
    running: &mut Running,
    item: Item<'_>,
    now: Instant,
) -> Fed {
    match item {
        Item::Text(text) => match decode_text(session, &text) {
            Ok(packet) => {
                if session.handle_packet(*via, packet, now, running) {
                    *via = Via::Main;
                }
            }
            Err(error) => session.handle_bad_packet(*via, error),
        },
        Item::Binary(bytes) => {
            let packet = match session.dialect().revision {
                Revision::V4 => Packet::Message(Message::Binary(bytes)),
                Revision::V3 => v3::decode_binary(bytes),
            };
            session.handle_packet(*via, packet, now, running);
        }
        Item::Ping(payload) => match *via {
            Via::Main => session.send_pong(payload),
            Via::Probe => session.answer_on_probe(Opcode::Pong, payload),
        },
        Item::Pong(_) | Item::Fragment => {}
        Item::Close(close) => {
            let code = close.map(|(code, _)| code.to_be_bytes());
            let code = code.as_ref().map_or(&[][..], |code| &code[..]);
            match *via {
                Via::Main => {
                    session.with_outbox(|outbox| outbox.push(Opcode::Close, code));
                    session.transport_closed(CloseReason::TransportClose, None);
                }
                Via::Probe => session.answer_on_probe(Opcode::Close, code),
            }
            return Fed::Ended;
        }
    }
    Fed::Open
}

fn decode_text<'a>(session: &Session, text: &'a str) -> Result<Packet<'a>, PacketError> {
    match session.dialect().revision {
        Revision::V4 => Packet::decode_text(text),
        Revision::V3 => v3::decode_text(text),
    }
}

/// A WebSocket over plain TCP.
pub(crate) struct TcpTask {
    incoming: Incoming,
    stream: Arc<TcpStream>,
    state: TaskState,
}

enum TaskState {
    /// Not polled yet.
    New,
    /// A transport that is being probed writes for itself.
    Probing,
    /// The session's outbox writes.
    Open,
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl TcpTask {
    /// Makes the task of a connection.
    pub(crate) fn new(incoming: Incoming, stream: TcpStream) -> TcpTask {
        TcpTask {
            incoming,
            stream: Arc::new(stream),
            state: TaskState::New,
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _turn = turn::begin();
        let mut budget = Budget::new();
        let _ = self.incoming.running.poll(cx);
        for _ in 0..READS_PER_TURN {
            if matches!(self.state, TaskState::Probing) && self.probe(cx) == Fed::Ended {
                return self.close(cx);
            }
            if self.has_ended(cx) {
                return self.close(cx);
            }
            if self.incoming.session.is_saturated() {
                return Poll::Pending;
            }
            let fed = match self.incoming.rest.is_empty() {
                true => ready!(self.read(cx, &mut budget)),
                // Frames that waited for handlers or for their turn, or a frame that is incomplete.
                false => match self.incoming.resume(&mut budget) {
                    Fed::Open if !self.incoming.session.is_saturated() => {
                        ready!(self.read(cx, &mut budget))
                    }
                    fed => fed,
                },
            };
            let _ = self.incoming.running.poll(cx);
            if self.incoming.via == Via::Main && matches!(self.state, TaskState::Probing) {
                // What the probe is owed goes ahead of the session's own.
                if self.probe(cx) == Fed::Ended {
                    return self.close(cx);
                }
                self.link(cx);
            }
            match fed {
                Fed::Open => {}
                Fed::Spent => break,
                Fed::Ended => return self.close(cx),
            }
        }
        budget::go_on_later(cx);
        Poll::Pending
    }

    /// Leads the session's outbox to this connection.
    fn link(&mut self, cx: &mut Context<'_>) {
        self.state = TaskState::Open;
        let link = Link::Tcp(self.stream.clone(), cx.waker().clone());
        self.incoming.link(link);
        turn::mark(&self.incoming.session);
    }

    fn read(&mut self, cx: &mut Context<'_>, budget: &mut Budget) -> Poll<Fed> {
        if ready!(self.stream.poll_read_ready(cx)).is_err() {
            self.incoming.reset("read failed");
            return Poll::Ready(Fed::Ended);
        }
        with_buffer(|buffer| {
            let mut read = 0;
            let result = self.stream.try_io(Interest::READABLE, || {
                read = (&*SockRef::from(&*self.stream)).read(buffer)?;
                // A short read has emptied the socket: saying so spares the call that would find out.
                match read > 0 && read < buffer.len() {
                    true => Err(io::ErrorKind::WouldBlock.into()),
                    false => Ok(()),
                }
            });
            match result {
                Ok(()) if read == 0 => {
                    self.incoming.closed_by_peer();
                    Poll::Ready(Fed::Ended)
                }
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                    self.incoming.reset(&e.to_string());
                    Poll::Ready(Fed::Ended)
                }
                // Readiness was stale: asking again registers this task.
                Err(_) if read == 0 => Poll::Ready(Fed::Open),
                Ok(()) | Err(_) => Poll::Ready(self.incoming.feed(&mut buffer[..read], budget)),
            }
        })
    }

    /// Writes what a probed transport has to say.
    fn probe(&mut self, cx: &mut Context<'_>) -> Fed {
        let mut frames = Vec::new();
        let session = &self.incoming.session;
        let ending = session.take_probe_frames(cx.waker(), &mut frames);
        // A few bytes on a connection that has written nothing but its handshake: they fit.
        let is_written = frames.is_empty()
            || self
                .stream
                .try_write(&frames)
                .is_ok_and(|n| n == frames.len());
        if !is_written {
            self.incoming.end(None, "write failed");
        }
        match is_written && ending.is_none() {
            true => Fed::Open,
            false => Fed::Ended,
        }
    }

    /// Says whether the session has ended; also continues a write that was blocked.
    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        if !matches!(self.state, TaskState::Open) {
            return false;
        }
        let (blocked, closed) = self
            .incoming
            .session
            .with_outbox(|outbox| (outbox.is_blocked(), outbox.is_closed()));
        if blocked && !closed && self.stream.poll_write_ready(cx).is_ready() {
            let stream = &self.stream;
            let flushed = self
                .incoming
                .session
                .with_outbox(|outbox| outbox.write_with(|s| send(stream, s)));
            match flushed {
                Flushed::Done => {}
                // Registers for the next time.
                Flushed::Blocked => cx.waker().wake_by_ref(),
                Flushed::Broken => self.incoming.end(None, "write failed"),
            }
        }
        closed
    }

    fn close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let session = self.incoming.session.clone();
        std::mem::take(&mut self.incoming.running).detach(&session);
        let mut left = Left::default();
        let ending = match self.state {
            TaskState::Open => {
                session.set_link(Link::None);
                let (flushed, ending) = session.with_outbox(|outbox| {
                    let flushed = outbox.write_with(|s| send(&self.stream, s));
                    (flushed, outbox.ending())
                });
                if flushed == Flushed::Blocked {
                    left.session = Some(session);
                }
                ending
            }
            _ => self.incoming.end_probe(&mut left, cx),
        };
        if self.incoming.input == Input::Ended && left.is_empty() {
            return Poll::Ready(());
        }
        self.incoming.end_input(&mut left, ending);
        let mut stream = Tcp(self.stream.clone());
        self.state = TaskState::Closing(Box::pin(async move { left.farewell(&mut stream).await }));
        Poll::Ready(())
    }
}

impl Future for TcpTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match &mut this.state {
            TaskState::Closing(closing) => return closing.as_mut().poll(cx),
            TaskState::New if this.incoming.via == Via::Main => this.link(cx),
            TaskState::New => this.state = TaskState::Probing,
            TaskState::Probing | TaskState::Open => {}
        }
        ready!(this.poll_open(cx));
        match &mut this.state {
            TaskState::Closing(closing) => closing.as_mut().poll(cx),
            _ => Poll::Ready(()),
        }
    }
}

/// A WebSocket over any other stream, such as TLS: its task writes too.
pub(crate) struct StreamTask<S> {
    incoming: Incoming,
    stream: S,
    state: StreamState,
    /// Frames of a probed transport, and how much of them is written.
    own: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StreamState {
    New,
    Probing,
    Open,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> StreamTask<S> {
    /// Makes the task of a connection.
    pub(crate) fn new(incoming: Incoming, stream: S) -> StreamTask<S> {
        StreamTask {
            incoming,
            stream,
            state: StreamState::New,
            own: Vec::new(),
        }
    }

    /// Runs until the connection has ended.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll_open(cx)).await;
        let session = self.incoming.session.clone();
        std::mem::take(&mut self.incoming.running).detach(&session);
        let mut left = Left::writing(std::mem::take(&mut self.own));
        let ending = match self.state {
            StreamState::Open => {
                session.set_link(Link::None);
                let ending = session.with_outbox(|outbox| outbox.ending());
                left.session = Some(session);
                ending
            }
            StreamState::New | StreamState::Probing => {
                poll_fn(|cx| Poll::Ready(self.incoming.end_probe(&mut left, cx))).await
            }
        };
        self.incoming.end_input(&mut left, ending);
        left.farewell(&mut self.stream).await;
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state == StreamState::New {
            self.state = StreamState::Probing;
        }
        let mut budget = Budget::new();
        for _ in 0..READS_PER_TURN {
            let turn = turn::begin();
            let _ = self.incoming.running.poll(cx);
            self.link(cx);
            let read = match self.incoming.session.is_saturated() {
                true => Poll::Pending,
                false => self.read(cx, &mut budget),
            };
            self.link(cx);
            drop(turn);
            let written = self.write(cx);
            match (read, written) {
                (Poll::Ready(Fed::Ended), _) | (_, Fed::Ended) => return Poll::Ready(()),
                (Poll::Ready(Fed::Spent), _) => break,
                (Poll::Ready(Fed::Open), _) => {}
                (Poll::Pending, _) => return Poll::Pending,
            }
        }
        budget::go_on_later(cx);
        Poll::Pending
    }

    /// Leads the session's outbox to this connection, if it is the session's; what the probe is owed
    /// goes ahead.
    fn link(&mut self, cx: &mut Context<'_>) {
        if self.state == StreamState::Probing && self.incoming.via == Via::Main {
            let session = &self.incoming.session;
            session.take_probe_frames(cx.waker(), &mut self.own);
            self.state = StreamState::Open;
            self.incoming.link(Link::Task(cx.waker().clone()));
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, budget: &mut Budget) -> Poll<Fed> {
        if !self.incoming.rest.is_empty() {
            let before = self.incoming.rest.len();
            let fed = self.incoming.resume(budget);
            if fed == Fed::Ended || self.incoming.rest.len() < before {
                return Poll::Ready(fed);
            }
        }
        with_buffer(|buffer| {
            let mut read = ReadBuf::new(buffer);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)) {
                Ok(()) if read.filled().is_empty() => {
                    self.incoming.closed_by_peer();
                    Poll::Ready(Fed::Ended)
                }
                Ok(()) => Poll::Ready(self.incoming.feed(read.filled_mut(), budget)),
                Err(e) => {
                    self.incoming.reset(&e.to_string());
                    Poll::Ready(Fed::Ended)
                }
            }
        })
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Fed {
        match self.state {
            StreamState::New => Fed::Open,
            StreamState::Probing => self.write_probe(cx),
            StreamState::Open => self.write_outbox(cx),
        }
    }

    fn write_probe(&mut self, cx: &mut Context<'_>) -> Fed {
        let session = &self.incoming.session;
        let ending = session.take_probe_frames(cx.waker(), &mut self.own);
        if self.write_own(cx) == Fed::Ended {
            return Fed::Ended;
        }
        // Pending is not awaited here: a flush that is due goes out with the next write.
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        // Whoever sends pings without end, and reads no answer, is not waited for.
        match ending.is_some() || self.own.len() > MAX_ANSWERS {
            true => Fed::Ended,
            false => Fed::Open,
        }
    }

    /// Writes the probe's frames, as far as they fit.
    fn write_own(&mut self, cx: &mut Context<'_>) -> Fed {
        while !self.own.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.own) {
                Poll::Ready(Ok(n)) if n > 0 => drop(self.own.drain(..n)),
                Poll::Ready(_) => {
                    self.incoming.end(None, "write failed");
                    return Fed::Ended;
                }
                Poll::Pending => break,
            }
        }
        Fed::Open
    }

    fn write_outbox(&mut self, cx: &mut Context<'_>) -> Fed {
        if self.write_own(cx) == Fed::Ended {
            return Fed::Ended;
        }
        if !self.own.is_empty() {
            return match self
                .incoming
                .session
                .with_outbox(|outbox| outbox.is_closed())
            {
                true => Fed::Ended,
                false => Fed::Open,
            };
        }
        let (flushed, closed) = self.incoming.session.with_outbox(|outbox| {
            let flushed = outbox.write_with(poll_write(&mut self.stream, cx));
            (flushed, outbox.is_closed())
        });
        if flushed == Flushed::Broken {
            self.incoming.end(None, "write failed");
        }
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        if closed || flushed == Flushed::Broken {
            Fed::Ended
        } else {
            Fed::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // An idle connection is this future, a session and a socket.
    #[test]
    fn the_future_of_a_connection_is_small() {
        assert!(
            size_of::<TcpTask>() <= 128,
            "{} bytes",
            size_of::<TcpTask>()
        );
    }
}
