//! The body of an answer: ours, or the application's.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::http_connections::Pending;
use super::routing::Passing;

/// The body of an answer: one of the server's own, or of another server's, or that of the service
/// below.
#[derive(Debug)]
pub struct ResponseBody<B>(Kind<B>);

#[derive(Debug)]
enum Kind<B> {
    Full(Option<Bytes>),
    /// Makes the HTTP server drop the connection without an answer.
    Abort,
    Inner(Pin<Box<B>>),
    /// The same, and the request is pending until it is dropped.
    Held(Box<(Pin<Box<B>>, Pending)>),
    Passing(Box<Passing>),
}

impl<B> ResponseBody<B> {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> ResponseBody<B> {
        ResponseBody(Kind::Full(
            Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()),
        ))
    }

    pub(crate) fn abort() -> ResponseBody<B> {
        ResponseBody(Kind::Abort)
    }

    pub(crate) fn inner(body: B) -> ResponseBody<B> {
        ResponseBody(Kind::Inner(Box::pin(body)))
    }

    /// Holds the request, which has not ended before its answer's body has.
    pub(crate) fn holding(self, pending: Pending) -> ResponseBody<B> {
        ResponseBody(match self.0 {
            Kind::Inner(body) => Kind::Held(Box::new((body, pending))),
            kind => kind,
        })
    }

    pub(crate) fn passing(body: Passing) -> ResponseBody<B> {
        ResponseBody(Kind::Passing(Box::new(body)))
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Abort => Poll::Ready(Some(Err("the connection is dropped on purpose".into()))),
            Kind::Inner(body) => body.as_mut().poll_frame(cx).map_err(Into::into),
            Kind::Held(held) => held.0.as_mut().poll_frame(cx).map_err(Into::into),
            Kind::Passing(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Abort => false,
            Kind::Inner(body) => body.is_end_stream(),
            Kind::Held(held) => held.0.is_end_stream(),
            Kind::Passing(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Abort => SizeHint::new(),
            Kind::Inner(body) => body.size_hint(),
            Kind::Held(held) => held.0.size_hint(),
            Kind::Passing(body) => body.size_hint(),
        }
    }
}
