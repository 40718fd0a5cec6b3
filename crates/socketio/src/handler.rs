//! Handlers: the three shapes a function can have, and how an event reaches it, on both sides.
//!
//! A handler is called and polled once in place, in the order of events; one that is not done then
//! goes on beside the others of its connection.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::application::{Application, BoxFuture};
use crate::args::{self, DecodeError};

pub(crate) type HandlerFuture = BoxFuture<()>;

/// Who gets events and can answer them: the sockets of server and client.
pub trait Endpoint: Clone + Send + Sync + 'static {
    /// Answers the event with this ack id.
    #[doc(hidden)]
    fn answer(&self, id: u64, answer: &(impl Serialize + ?Sized));
}

/// Answers one event of the other side, at most once.
///
/// Dropping it answers nothing: who has asked then waits until a timeout.
#[derive(Debug)]
#[must_use = "the other side waits for an answer"]
pub struct Ack<S: Endpoint = crate::Socket> {
    socket: S,
    id: Option<u64>,
}

impl<S: Endpoint> Ack<S> {
    pub(crate) fn new(socket: S, id: Option<u64>) -> Ack<S> {
        Ack { socket, id }
    }

    /// Says whether the other side waits for an answer.
    pub fn is_requested(&self) -> bool {
        self.id.is_some()
    }

    /// Answers; a tuple gives several arguments. Does nothing if the other side did not ask.
    pub fn send(self, answer: impl Serialize) {
        if let Some(id) = self.id {
            self.socket.answer(id, &answer);
        }
    }
}

/// One event on its way to its handlers. The arguments are still JSON text.
#[derive(Debug)]
pub struct Call<'a, S> {
    pub(crate) socket: &'a S,
    pub(crate) event: &'a str,
    pub(crate) args: &'a str,
    pub(crate) attachments: &'a [Bytes],
    pub(crate) ack: Option<u64>,
    /// Whether the arguments are what a client says of itself when it joins.
    pub(crate) is_auth: bool,
}

impl<S> Clone for Call<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Call<'_, S> {}

impl<S> Call<'_, S> {
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self.is_auth && self.args.is_empty() {
            false => args::decode(self.args, self.attachments),
            true => args::decode_no_auth(),
        }
    }
}

/// A function that can handle an event (or a connection) of a socket `S`.
///
/// Three shapes are possible, each an `async` closure or an `async fn`:
///
/// - `(Socket)`
/// - `(Socket, T)`: `T` is decoded from the event's arguments. A tuple takes several arguments, `()`
///   none, any other type the first one; [`Args`](crate::Args) takes all of them as they are.
/// - `(Socket, T, Ack)`: answers the other side's ack by hand.
///
/// In the first two shapes the returned value answers the ack, if the other side asked for one.
///
/// A handler that panics has ended: its event stays unanswered, the connection and everything else goes
/// on, and the panic is logged and counted. A handler that waits goes on beside the others; one that
/// never ends keeps its place among those that may run at a time, for as long as the process lives. A
/// handler must not block its thread, on which other connections wait: what does so for a second is told
/// in the log (see `tokio::task::spawn_blocking`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler of the shape (Socket), (Socket, T) or (Socket, T, Ack)",
    note = "a handler is an async closure or async fn, for example `async |socket: Socket, text: String| {{ .. }}`",
    note = "`Socket` is `socketio::Socket` on a server and `socketio::client::Socket` on a client",
    note = "`T` must implement `serde::de::DeserializeOwned`, the returned value `serde::Serialize`",
    note = "the handler must be `Clone + Send + Sync + 'static`, and its future `Send`"
)]
pub trait Handler<S, Shape>: Clone + Send + Sync + 'static {
    /// Decodes the arguments; what this gives makes the handler's future.
    #[doc(hidden)]
    fn prepare(
        self,
        call: Call<'_, S>,
    ) -> Result<impl FnOnce() -> HandlerFuture + Send + 'static, DecodeError>;
}

impl<F, Fut, S> Handler<S, (S,)> for F
where
    S: Endpoint,
    F: FnOnce(S) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Serialize + Send> + Send + 'static,
{
    fn prepare(
        self,
        call: Call<'_, S>,
    ) -> Result<impl FnOnce() -> HandlerFuture + Send + 'static, DecodeError> {
        let (socket, id) = (call.socket.clone(), call.ack);
        Ok(move || answering(socket, id, self))
    }
}

impl<F, Fut, S, T> Handler<S, (S, T)> for F
where
    S: Endpoint,
    F: FnOnce(S, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Serialize + Send> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
{
    fn prepare(
        self,
        call: Call<'_, S>,
    ) -> Result<impl FnOnce() -> HandlerFuture + Send + 'static, DecodeError> {
        let (socket, id, value) = (call.socket.clone(), call.ack, call.decode()?);
        Ok(move || answering(socket, id, move |socket| self(socket, value)))
    }
}

impl<F, Fut, S, T> Handler<S, (S, T, Ack<S>)> for F
where
    S: Endpoint,
    F: FnOnce(S, T, Ack<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
{
    fn prepare(
        self,
        call: Call<'_, S>,
    ) -> Result<impl FnOnce() -> HandlerFuture + Send + 'static, DecodeError> {
        let socket = call.socket.clone();
        let (ack, value) = (Ack::new(socket.clone(), call.ack), call.decode()?);
        Ok(move || -> HandlerFuture { Box::pin(self(socket, value, ack)) })
    }
}

fn answering<S, Fut>(socket: S, id: Option<u64>, handler: impl FnOnce(S) -> Fut) -> HandlerFuture
where
    S: Endpoint,
    Fut: Future<Output: Serialize + Send> + Send + 'static,
{
    match id {
        None => {
            let future = handler(socket);
            Box::pin(async move { drop(future.await) })
        }
        Some(id) => {
            let future = handler(socket.clone());
            Box::pin(async move { socket.answer(id, &future.await) })
        }
    }
}

/// A handler without its type.
type ErasedHandler<S> =
    Box<dyn Fn(Call<'_, S>) -> Result<HandlerFuture, DecodeError> + Send + Sync>;

/// A handler whose arguments are decoded before it is known whether it is to run.
pub(crate) type PreparingHandler<S> =
    Box<dyn Fn(Call<'_, S>) -> Result<PreparedHandler, DecodeError> + Send + Sync>;
pub(crate) type PreparedHandler = Box<dyn FnOnce() -> HandlerFuture + Send>;

pub(crate) fn preparing<S: 'static, Shape>(
    handler: impl Handler<S, Shape>,
    application: &Arc<Application>,
) -> Arc<PreparingHandler<S>> {
    let handler = application.hold(handler);
    Arc::new(Box::new(move |call| {
        Ok(Box::new((*handler).clone().prepare(call)?))
    }))
}

/// A handler in a table.
pub(crate) struct Registered<S> {
    pub(crate) handler: Arc<ErasedHandler<S>>,
    /// Set for a handler that runs once; true when it has.
    once: Option<Arc<AtomicBool>>,
}

impl<S> Clone for Registered<S> {
    fn clone(&self) -> Self {
        Registered {
            handler: self.handler.clone(),
            once: self.once.clone(),
        }
    }
}

impl<S: 'static> Registered<S> {
    pub(crate) fn new<Shape>(
        handler: impl Handler<S, Shape>,
        application: &Arc<Application>,
    ) -> Registered<S> {
        let handler = application.hold(handler);
        Registered {
            handler: Arc::new(Box::new(move |call| {
                Ok((*handler).clone().prepare(call)?())
            })),
            once: None,
        }
    }

    pub(crate) fn once<Shape>(
        handler: impl Handler<S, Shape>,
        application: &Arc<Application>,
    ) -> Registered<S> {
        Registered {
            once: Some(Arc::default()),
            ..Registered::new(handler, application)
        }
    }

    /// Says whether the handler is to run now.
    pub(crate) fn take_turn(&self) -> bool {
        self.once
            .as_ref()
            .is_none_or(|done| !done.swap(true, Ordering::AcqRel))
    }
}
