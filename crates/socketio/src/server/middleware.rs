//! Middlewares that decide whether a client may join a namespace.

use std::future::Future;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::socket::Socket;
use crate::application::{Application, BoxFuture};
use crate::args::DecodeError;
use crate::error::ConnectError;
use crate::handler::Call;

pub(crate) type MiddlewareFuture = BoxFuture<Result<(), ConnectError>>;

/// A function that decides whether a client may join a namespace.
///
/// Its shapes are `(Socket)` and `(Socket, T)`, where `T` is decoded from the client's `auth`: a client
/// whose `auth` is not of this type is refused with the message "invalid auth", and the log says what does
/// not fit. For a message and data of your own, decode it yourself:
///
/// ```
/// use serde::Deserialize;
/// use serde_json::json;
/// use socketio::{ConnectError, Server, Socket};
///
/// #[derive(Deserialize)]
/// struct Auth {
///     token: String,
/// }
///
/// let io = Server::new();
/// io.middleware(async |socket: Socket| {
///     let auth = socket.auth::<Auth>().map_err(|_| {
///         ConnectError::new("sign in first").with_data(json!({ "page": "/sign-in" }))
///     })?;
///     match auth.token.is_empty() {
///         false => Ok(()),
///         true => Err(ConnectError::new("the token is empty")),
///     }
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a connection middleware",
    label = "not a middleware of the shape (Socket) or (Socket, T)",
    note = "a middleware is an async closure or async fn that returns `Result<(), E>`, where `E` becomes a `ConnectError`, for example `async |socket: Socket, auth: Auth| {{ Ok::<_, ConnectError>(()) }}`"
)]
pub trait Middleware<Shape>: Clone + Send + Sync + 'static {
    /// Decodes `auth` and makes the middleware's future.
    #[doc(hidden)]
    fn call(self, call: Call<'_, Socket>) -> Result<MiddlewareFuture, DecodeError>;
}

impl<F, Fut, E> Middleware<(Socket, E)> for F
where
    F: FnOnce(Socket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<ConnectError>,
{
    fn call(self, call: Call<'_, Socket>) -> Result<MiddlewareFuture, DecodeError> {
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
    fn call(self, call: Call<'_, Socket>) -> Result<MiddlewareFuture, DecodeError> {
        let future = self(call.socket.clone(), call.decode()?);
        Ok(Box::pin(async move { future.await.map_err(Into::into) }))
    }
}

/// A middleware without its type.
pub(crate) type ErasedMiddleware =
    Box<dyn Fn(Call<'_, Socket>) -> Result<MiddlewareFuture, DecodeError> + Send + Sync>;

pub(crate) fn erase<S, M: Middleware<S>>(
    middleware: M,
    application: &Arc<Application>,
) -> ErasedMiddleware {
    let middleware = application.hold(middleware);
    Box::new(move |call| (*middleware).clone().call(call))
}
