//! Handlers: the three shapes a function can have, and how an event reaches it.
//!
//! A handler is called and polled once in place, in the order of events; one that is not done then
//! goes on beside the others of its connection. See `running`.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ack::Ack;
use super::socket::Socket;
use crate::args::{self, DecodeError};
use crate::error::ConnectError;

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(crate) type MiddlewareFuture = Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>;

/// One event on its way to its handlers. The arguments are still JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) event: &'a str,
    pub(crate) args: &'a str,
    pub(crate) attachments: &'a [Bytes],
    pub(crate) ack: Option<u64>,
}

impl Call<'_> {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        args::decode(self.args, self.attachments)
    }

    fn ack(&self) -> Ack {
        Ack::new(self.socket.clone(), self.ack)
    }
}

/// A function that can handle an event (or a connection).
///
/// Three shapes are possible, each an `async` closure or an `async fn`:
///
/// - `(Socket)`
/// - `(Socket, T)`: `T` is decoded from the event's arguments. A tuple takes several arguments, `()`
///   none, any other type the first one; [`Args`](crate::Args) takes all of them as they are.
/// - `(Socket, T, Ack)`: answers the client's ack by hand.
///
/// In the first two shapes the returned value answers the ack, if the client asked for one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler of the shape (Socket), (Socket, T) or (Socket, T, Ack)",
    note = "a handler is an async closure or async fn, for example `async |socket: Socket, text: String| {{ .. }}`",
    note = "`T` must implement `serde::de::DeserializeOwned`, the returned value `serde::Serialize`",
    note = "the handler must be `Clone + Send + Sync + 'static`, and its future `Send`"
)]
pub trait Handler<Shape>: Clone + Send + Sync + 'static {
    /// Decodes the arguments and makes the handler's future.
    #[doc(hidden)]
    fn call(self, call: Call<'_>) -> Result<HandlerFuture, DecodeError>;
}

impl<F, Fut> Handler<(Socket,)> for F
where
    F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Serialize + Send> + Send + 'static,
{
    fn call(self, call: Call<'_>) -> Result<HandlerFuture, DecodeError> {
        Ok(answering(call, self(call.socket.clone())))
    }
}

impl<F, Fut, T> Handler<(Socket, T)> for F
where
    F: FnOnce(Socket, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: Serialize + Send> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
{
    fn call(self, call: Call<'_>) -> Result<HandlerFuture, DecodeError> {
        Ok(answering(call, self(call.socket.clone(), call.decode()?)))
    }
}

impl<F, Fut, T> Handler<(Socket, T, Ack)> for F
where
    F: FnOnce(Socket, T, Ack) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
{
    fn call(self, call: Call<'_>) -> Result<HandlerFuture, DecodeError> {
        Ok(Box::pin(self(
            call.socket.clone(),
            call.decode()?,
            call.ack(),
        )))
    }
}

fn answering<Fut>(call: Call<'_>, future: Fut) -> HandlerFuture
where
    Fut: Future<Output: Serialize + Send> + Send + 'static,
{
    match call.ack {
        None => Box::pin(async move { drop(future.await) }),
        Some(_) => {
            let ack = call.ack();
            Box::pin(async move { ack.send(future.await) })
        }
    }
}

/// A function that decides whether a client may join a namespace.
///
/// Its shapes are `(Socket)` and `(Socket, T)`, where `T` is decoded from the client's `auth`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection middleware",
    label = "not a middleware of the shape (Socket) or (Socket, T)",
    note = "a middleware is an async closure or async fn that returns `Result<(), E>`, where `E` becomes a `ConnectError`, for example `async |socket: Socket, auth: Auth| {{ Ok::<_, ConnectError>(()) }}`"
)]
pub trait Middleware<Shape>: Clone + Send + Sync + 'static {
    /// Decodes `auth` and makes the middleware's future.
    #[doc(hidden)]
    fn call(self, call: Call<'_>) -> Result<MiddlewareFuture, DecodeError>;
}

impl<F, Fut, E> Middleware<(Socket, E)> for F
where
    F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<ConnectError>,
{
    fn call(self, call: Call<'_>) -> Result<MiddlewareFuture, DecodeError> {
        let future = self(call.socket.clone());
        Ok(Box::pin(async move { future.await.map_err(Into::into) }))
    }
}

impl<F, Fut, T, E> Middleware<(Socket, T, E)> for F
where
    F: FnOnce(Socket, T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
    E: Into<ConnectError>,
{
    fn call(self, call: Call<'_>) -> Result<MiddlewareFuture, DecodeError> {
        let future = self(call.socket.clone(), call.decode()?);
        Ok(Box::pin(async move { future.await.map_err(Into::into) }))
    }
}

/// A handler without its type.
pub(crate) type ErasedHandler =
    Box<dyn Fn(Call<'_>) -> Result<HandlerFuture, DecodeError> + Send + Sync>;
/// A middleware without its type.
pub(crate) type ErasedMiddleware =
    Box<dyn Fn(Call<'_>) -> Result<MiddlewareFuture, DecodeError> + Send + Sync>;

pub(crate) fn erase<S, H: Handler<S>>(handler: H) -> ErasedHandler {
    Box::new(move |call| handler.clone().call(call))
}

pub(crate) fn erase_middleware<S, M: Middleware<S>>(middleware: M) -> ErasedMiddleware {
    Box::new(move |call| middleware.clone().call(call))
}
