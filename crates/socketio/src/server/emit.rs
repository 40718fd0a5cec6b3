//! What `emit` returns: the outcome now, and back-pressure for those who await it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::session::Session;
use crate::error::EmitError;

/// The outcome of an emit.
///
/// The event is on its way (or refused) whether or not this is awaited. Awaiting it waits until the
/// client's queue is short, so that a loop which awaits its emits never queues more than the client
/// can take.
///
/// # Cancel safety
///
/// Dropping it changes nothing: the event stays queued.
pub struct Emit<'a> {
    session: Option<&'a Arc<Session>>,
    outcome: Result<(), Option<EmitError>>,
}

impl<'a> Emit<'a> {
    pub(crate) fn new(
        session: Option<&'a Arc<Session>>,
        outcome: Result<(), EmitError>,
    ) -> Emit<'a> {
        Emit {
            session,
            outcome: outcome.map_err(Some),
        }
    }

    /// Gives the outcome without waiting.
    ///
    /// # Errors
    ///
    /// The same as awaiting gives.
    pub fn now(self) -> Result<(), EmitError> {
        self.outcome
            .map_err(|error| error.unwrap_or(EmitError::Disconnected))
    }
}

impl Future for Emit<'_> {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.outcome {
            Err(error) => Poll::Ready(Err(error.take().unwrap_or(EmitError::Disconnected))),
            Ok(()) => match self.session {
                Some(session) if session.wait_below_mark(cx.waker()) => Poll::Pending,
                _ => Poll::Ready(Ok(())),
            },
        }
    }
}

impl fmt::Debug for Emit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
