//! The server's answer to one event.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::socket::Socket;
use crate::args::Args;
use crate::error::{AckError, EmitError};
use crate::timeout::Timeout;

/// The server's answer, to be awaited.
///
/// The event is sent whether or not this is awaited; but one that still waits for a connection goes
/// when this is dropped.
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
    Failed(Option<EmitError>),
    Waiting {
        receiver: oneshot::Receiver<Result<Args, AckError>>,
        socket: Socket,
        sent: Sent,
    },
}

/// How an event was sent, and by what it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent {
    /// Once, with this ack id, if it has one.
    Once(Option<u64>),
    /// Until it is answered, with this ticket.
    Retried(u64),
}

impl<T> AckFuture<T> {
    pub(crate) fn failed(error: EmitError) -> AckFuture<T> {
        AckFuture {
            state: State::Failed(Some(error)),
            timeout: Timeout::new(None),
            answer: PhantomData,
        }
    }

    pub(crate) fn waiting(
        socket: Socket,
        sent: Sent,
        receiver: oneshot::Receiver<Result<Args, AckError>>,
        timeout: Option<Duration>,
    ) -> AckFuture<T> {
        AckFuture {
            state: State::Waiting {
                receiver,
                socket,
                sent,
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
        let receiver = match &mut this.state {
            State::Failed(error) => {
                let error = error.take().unwrap_or(EmitError::Disconnected);
                return Poll::Ready(Err(error.into()));
            }
            State::Waiting { receiver, .. } => receiver,
        };
        match Pin::new(receiver).poll(cx) {
            Poll::Ready(Ok(Ok(args))) => return Poll::Ready(args.decode().map_err(Into::into)),
            Poll::Ready(Ok(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(Err(_)) => return Poll::Ready(Err(AckError::Disconnected)),
            Poll::Pending => {}
        }
        this.timeout.poll(cx).map(|()| Err(AckError::Timeout))
    }
}

impl<T> Drop for AckFuture<T> {
    fn drop(&mut self) {
        if let State::Waiting { socket, sent, .. } = &self.state {
            socket.forget(*sent);
        }
    }
}

impl<T> std::fmt::Debug for AckFuture<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AckFuture").finish_non_exhaustive()
    }
}
