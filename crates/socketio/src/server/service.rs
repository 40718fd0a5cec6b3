//! The server as a tower layer and service.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::Shared;
use super::body::ResponseBody;
use super::http;

/// Puts a Socket.IO server in front of a service: requests for its path are answered, all others
/// pass.
#[derive(Clone)]
pub struct SocketIoLayer(pub(crate) Arc<Shared>);

/// A service with a Socket.IO server in front of it.
#[derive(Clone)]
pub struct SocketIoService<S> {
    server: Arc<Shared>,
    inner: S,
}

impl SocketIoLayer {
    pub(crate) fn wrap<S>(&self, inner: S) -> SocketIoService<S> {
        SocketIoService {
            server: self.0.clone(),
            inner,
        }
    }
}

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoService<S>;

    fn layer(&self, inner: S) -> SocketIoService<S> {
        self.wrap(inner)
    }
}

impl<S, Q, B> Service<Request<Q>> for SocketIoService<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> ResponseFuture<S::Future, B> {
        ResponseFuture(match self.server.serves(request.uri().path()) {
            true => Kind::Ours(http::answer(&self.server, request, None)),
            false => Kind::Inner(Box::pin(self.inner.call(request))),
        })
    }
}

/// The answer of a [`SocketIoService`].
#[must_use = "futures do nothing unless awaited"]
pub struct ResponseFuture<F, B>(Kind<F, B>);

enum Kind<F, B> {
    Ours(http::Answer<B>),
    Inner(Pin<Box<F>>),
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Kind::Ours(answer) => Pin::new(answer).poll(cx).map(Ok),
            Kind::Inner(future) => future
                .as_mut()
                .poll(cx)
                .map_ok(|response| response.map(ResponseBody::inner)),
        }
    }
}

/// The service below a server that is alone: it knows no path.
#[derive(Clone, Copy, Debug, Default)]
pub struct NotFound;

impl<Q> Service<Request<Q>> for NotFound {
    type Response = Response<EmptyBody>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<EmptyBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Q>) -> Self::Future {
        let mut response = Response::new(EmptyBody);
        *response.status_mut() = StatusCode::NOT_FOUND;
        std::future::ready(Ok(response))
    }
}

/// A body without content.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyBody;

impl Body for EmptyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(0)
    }
}

impl fmt::Debug for SocketIoLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for SocketIoService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<S> SocketIoService<S> {
    pub(crate) fn server(&self) -> &Arc<Shared> {
        &self.server
    }
}
