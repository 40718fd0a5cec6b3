//! The bodies of forwarded requests and answers, passed on as they come.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request, of which no more is passed on than shows that it is too large.
///
/// Then it is silent: it has neither ended nor failed, so that its server refuses it in its own words
/// and takes no part of it for the whole.
pub(super) struct Bounded {
    body: Option<Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>>,
    left: u64,
}

impl Bounded {
    pub(super) fn new<Q>(body: Q, announced: Option<u64>, limit: usize) -> Bounded
    where
        Q: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let limit = limit as u64;
        let left = match announced {
            // Its length says enough.
            Some(length) if length > limit => 0,
            _ => limit + 1,
        };
        let body: Option<Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>> =
            match body.is_end_stream() {
                true => None,
                false => Some(Box::pin(AsBytes(Box::pin(body)))),
            };
        Bounded { body, left }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            // Whoever awaits the answer has a deadline.
            return Poll::Pending;
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let Some(frame) = ready!(body.as_mut().poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        let Ok(mut data) = frame.into_data() else {
            // Trailers mean nothing here.
            return Poll::Ready(None);
        };
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), |body| body.size_hint())
    }
}

/// A body of any sort of data as one of `Bytes`.
struct AsBytes<Q>(Pin<Box<Q>>);

impl<Q> Body for AsBytes<Q>
where
    Q: Body<Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.0.as_mut().poll_frame(cx));
        let to_bytes = |mut data: Q::Data| data.copy_to_bytes(data.remaining());
        Poll::Ready(frame.map(|frame| match frame {
            Ok(frame) => Ok(frame.map_data(to_bytes)),
            Err(error) => Err(error.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The body of another server's answer.
#[derive(Debug)]
pub(crate) struct Passing {
    body: Incoming,
    time: Duration,
    /// Begins when the body lets itself be waited for, which it mostly does not.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Passing {
    pub(super) fn new(body: Incoming, time: Duration, place: OwnedSemaphorePermit) -> Passing {
        Passing {
            body,
            time,
            deadline: None,
            _place: place,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let time = self.time;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Some(Err(
            "the rest of a forwarded answer did not come".into()
        )))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
