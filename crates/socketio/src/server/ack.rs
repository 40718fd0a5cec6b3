//! Answers to events, in both directions.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::Stream;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::emit::Emit;
use super::socket::Socket;
use crate::args::{Args, DecodeError};
use crate::error::{AckError, BroadcastAckError, EmitError};
use crate::handler::Endpoint;
use crate::id::SocketId;
use crate::timeout::Timeout;

impl Endpoint for Socket {
    fn answer(&self, id: u64, answer: &(impl Serialize + ?Sized)) {
        self.send_ack(id, answer);
    }
}

/// Who waits for a client's answer.
pub(crate) enum Waiter {
    One(oneshot::Sender<Args>),
    Many(Arc<Collector>),
}

impl Waiter {
    /// Waits until the client answers or leaves.
    fn is_endless(&self) -> bool {
        match self {
            Waiter::One(_) => false,
            Waiter::Many(collector) => collector.timeout.is_none(),
        }
    }
}

/// Those who wait for answers of one client, by the ids of what it is to answer.
#[derive(Default)]
pub(crate) struct Waiters {
    all: HashMap<u64, Waiter>,
    endless: usize,
}

impl Waiters {
    /// Adds one; false if there are `max`. Broadcasts that wait without a timeout get half of the
    /// places: a client that answers none would use up all of them.
    pub(crate) fn insert(&mut self, id: u64, waiter: Waiter, max: usize) -> bool {
        let is_endless = waiter.is_endless();
        if self.all.len() >= max || is_endless && self.endless >= max.div_ceil(2) {
            return false;
        }
        self.endless += usize::from(is_endless);
        self.all.insert(id, waiter);
        true
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Waiter> {
        let waiter = self.all.remove(&id)?;
        self.endless -= usize::from(waiter.is_endless());
        Some(waiter)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn into_all(self) -> impl Iterator<Item = Waiter> {
        self.all.into_values()
    }
}

/// The answer of one client, to be awaited.
///
/// The event is sent whether or not this is awaited.
///
/// # Cancel safety
///
/// Dropping it forgets the answer: one that comes later is ignored.
///
/// # Panics
///
/// When it is awaited outside of a tokio runtime and has a timeout.
#[must_use = "futures do nothing unless awaited; use `emit` if no answer is needed"]
pub struct AckFuture<T> {
    state: State,
    timeout: Timeout,
    answer: PhantomData<fn() -> T>,
}

enum State {
    Failed(Emit<'static>),
    Waiting {
        receiver: oneshot::Receiver<Args>,
        socket: Socket,
        id: u64,
        since: Instant,
    },
}

impl<T> AckFuture<T> {
    pub(crate) fn failed(error: EmitError, server: Weak<Shared>) -> AckFuture<T> {
        AckFuture {
            state: State::Failed(Emit::failed(error, server)),
            timeout: Timeout::new(None),
            answer: PhantomData,
        }
    }

    pub(crate) fn waiting(
        socket: Socket,
        id: u64,
        receiver: oneshot::Receiver<Args>,
        timeout: Option<Duration>,
    ) -> AckFuture<T> {
        AckFuture {
            state: State::Waiting {
                receiver,
                socket,
                id,
                since: Instant::now(),
            },
            timeout: Timeout::new(timeout),
            answer: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (receiver, socket, since) = match &mut this.state {
            State::Failed(emit) => return Poll::Ready(Err(emit.take_error().into())),
            State::Waiting {
                receiver,
                socket,
                since,
                ..
            } => (receiver, socket, *since),
        };
        match Pin::new(receiver).poll(cx) {
            Poll::Ready(Ok(args)) => {
                let counters = socket.0.session.shared().counters();
                counters.ack_times.add(since.elapsed());
                return Poll::Ready(args.decode().map_err(Into::into));
            }
            Poll::Ready(Err(_)) => return Poll::Ready(Err(AckError::Disconnected)),
            Poll::Pending => {}
        }
        this.timeout.poll(cx).map(|()| Err(AckError::Timeout))
    }
}

impl<T> Drop for AckFuture<T> {
    fn drop(&mut self) {
        if let State::Waiting { socket, id, .. } = &self.state {
            socket.forget_ack(*id);
        }
    }
}

impl<T> std::fmt::Debug for AckFuture<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckFuture").finish_non_exhaustive()
    }
}

/// Gathers the answers to one broadcast.
pub(crate) struct Collector {
    id: u64,
    timeout: Option<Duration>,
    answers: Mutex<Option<mpsc::UnboundedSender<Answer>>>,
    sockets: Mutex<Vec<Socket>>,
    since: Instant,
}

enum Answer {
    Came(SocketId, Args),
    Gone,
    /// Of a socket of another server, which is not told by its id.
    Other(Args),
    /// From the other servers nothing more comes, and so many answers are missing.
    OthersDone(usize),
}

impl Collector {
    pub(crate) fn new(id: u64, timeout: Option<Duration>) -> (Arc<Collector>, Answers) {
        // Not unbounded in fact: at most one answer for each receiver.
        let (sender, receiver) = mpsc::unbounded_channel();
        let collector = Collector {
            id,
            timeout,
            answers: Mutex::new(Some(sender)),
            sockets: Mutex::default(),
            since: Instant::now(),
        };
        let collector = Arc::new(collector);
        (
            collector.clone(),
            Answers {
                collector,
                receiver,
                expected: 0,
                missing: 0,
            },
        )
    }

    pub(crate) fn add(&self, socket: Socket) {
        self.sockets.lock().push(socket);
    }

    pub(crate) fn answer(&self, from: &Socket, args: Args) {
        let counters = from.0.session.shared().counters();
        counters.ack_times.add(self.since.elapsed());
        self.send(Answer::Came(from.id().clone(), args));
    }

    pub(crate) fn gone(&self) {
        self.send(Answer::Gone);
    }

    pub(crate) fn other(&self, args: Args) {
        self.send(Answer::Other(args));
    }

    pub(crate) fn others_done(&self, missing: usize) {
        self.send(Answer::OthersDone(missing));
    }

    fn send(&self, answer: Answer) {
        if let Some(sender) = &*self.answers.lock() {
            // The receiver may have been dropped: then nobody wants the answer.
            let _ = sender.send(answer);
        }
    }
}

/// The receiving end of a broadcast's answers.
pub(crate) struct Answers {
    collector: Arc<Collector>,
    receiver: mpsc::UnboundedReceiver<Answer>,
    expected: usize,
    missing: usize,
}

impl Answers {
    pub(crate) fn expect(&mut self, receivers: usize) {
        self.expected = receivers;
    }

    pub(crate) async fn next(&mut self) -> Option<(SocketId, Args)> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(SocketId, Args)>> {
        while self.expected > 0 {
            let Some(answer) = std::task::ready!(self.receiver.poll_recv(cx)) else {
                break;
            };
            match answer {
                Answer::Came(from, args) => {
                    self.expected -= 1;
                    return Poll::Ready(Some((from, args)));
                }
                Answer::Gone => {
                    self.expected -= 1;
                    self.missing += 1;
                }
                Answer::Other(args) => return Poll::Ready(Some((SocketId::from(""), args))),
                Answer::OthersDone(missing) => {
                    self.expected -= 1;
                    self.missing = self.missing.saturating_add(missing.min(MAX_MISSING));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// What other servers say is missing counts up to this: as a stream, each is an item.
const MAX_MISSING: usize = 1_000_000;

impl Drop for Answers {
    fn drop(&mut self) {
        self.collector.answers.lock().take();
        // The lock is free again when the sockets, and what the application keeps with them, go.
        let sockets = std::mem::take(&mut *self.collector.sockets.lock());
        for socket in sockets {
            socket.forget_ack(self.collector.id);
        }
    }
}

/// The answers of all receivers of a broadcast.
///
/// Awaited, it gives the first argument of each answer when the last has come; an answer without
/// arguments is `null`, as in JavaScript (`None`, `Value::Null`). As a [`Stream`] it
/// gives each answer as it comes, with the socket it came from: an empty id for a socket of another
/// server, which does not tell. Without [`timeout`](crate::Broadcast::timeout) it waits until every
/// receiver has answered or left, and in a cluster at most 5 seconds for the sockets of the others.
///
/// # Cancel safety
///
/// Dropping it forgets the answers: those that come later are ignored.
///
/// # Panics
///
/// When it is awaited outside of a tokio runtime and has a timeout.
#[must_use = "futures do nothing unless awaited; use `emit` if no answer is needed"]
pub struct BroadcastAck<T> {
    answers: Result<Answers, Emit<'static>>,
    timeout: Timeout,
    responses: Vec<T>,
    undecodable: Vec<DecodeError>,
}

impl<T> BroadcastAck<T> {
    pub(crate) fn new(
        answers: Result<Answers, EmitError>,
        timeout: Option<Duration>,
        server: &Weak<Shared>,
    ) -> BroadcastAck<T> {
        BroadcastAck {
            answers: answers.map_err(|error| Emit::failed(error, server.clone())),
            timeout: Timeout::new(timeout),
            responses: Vec::new(),
            undecodable: Vec::new(),
        }
    }
}

impl<T> Unpin for BroadcastAck<T> {}

impl<T: DeserializeOwned> Future for BroadcastAck<T> {
    type Output = Result<Vec<T>, BroadcastAckError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let answers = match &mut this.answers {
            Ok(answers) => answers,
            Err(emit) => return Poll::Ready(Err(emit.take_error().into())),
        };
        let missing = loop {
            match answers.poll_next(cx) {
                Poll::Ready(Some((_, args))) => match decode(&args) {
                    Ok(response) => this.responses.push(response),
                    Err(error) => this.undecodable.push(error),
                },
                Poll::Ready(None) => break answers.missing,
                Poll::Pending => {
                    std::task::ready!(this.timeout.poll(cx));
                    break answers.missing + answers.expected;
                }
            }
        };
        let responses = std::mem::take(&mut this.responses);
        let undecodable = std::mem::take(&mut this.undecodable);
        Poll::Ready(match (undecodable.is_empty(), missing) {
            (true, 0) => Ok(responses),
            (true, missing) => Err(BroadcastAckError::Incomplete { responses, missing }),
            (false, missing) => Err(BroadcastAckError::Decode {
                responses,
                undecodable,
                missing,
            }),
        })
    }
}

impl<T: DeserializeOwned> Stream for BroadcastAck<T> {
    type Item = Result<(SocketId, T), AckError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let answers = match &mut this.answers {
            Ok(answers) => answers,
            Err(emit) => return Poll::Ready(emit.take_once().map(|error| Err(error.into()))),
        };
        match answers.poll_next(cx) {
            Poll::Ready(Some((from, args))) => {
                return Poll::Ready(Some(decode(&args).map(|t| (from, t)).map_err(Into::into)));
            }
            Poll::Ready(None) if answers.missing > 0 => {
                answers.missing -= 1;
                return Poll::Ready(Some(Err(AckError::Disconnected)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        std::task::ready!(this.timeout.poll(cx));
        answers.expected -= 1;
        Poll::Ready(Some(Err(AckError::Timeout)))
    }
}

/// The first argument of an answer; where there is none, `null`.
fn decode<T: DeserializeOwned>(args: &Args) -> Result<T, DecodeError> {
    match args.decode() {
        Err(_) if args.is_empty() => crate::args::decode("null", &[]),
        decoded => decoded,
    }
}

impl<T> std::fmt::Debug for BroadcastAck<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BroadcastAck").finish_non_exhaustive()
    }
}
