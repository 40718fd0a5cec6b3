//! What `emit` returns: the outcome now, and back-pressure for those who await it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::shared::Shared;
use crate::error::EmitError;

/// The outcome of an emit.
///
/// The event is on its way, kept for later, or refused, whether or not this is awaited. Awaiting it
/// waits until the queue is short, so that a loop which awaits its emits never queues more than the
/// server can take.
///
/// # Cancel safety
///
/// Dropping it changes nothing: the event stays queued.
pub struct Emit<'a> {
    shared: &'a Arc<Shared>,
    outcome: Result<(), Option<EmitError>>,
}

impl<'a> Emit<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, outcome: Result<(), EmitError>) -> Emit<'a> {
        Emit {
            shared,
            outcome: outcome.map_err(Some),
        }
    }

    /// Gives the outcome without waiting.
    ///
    /// # Errors
    ///
    /// When the event was refused.
    pub fn now(self) -> Result<(), EmitError> {
        self.outcome
            .map_err(|error| error.unwrap_or(EmitError::Disconnected))
    }
}

impl Future for Emit<'_> {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(error) = &mut self.outcome {
            return Poll::Ready(Err(error.take().unwrap_or(EmitError::Disconnected)));
        }
        let waits = |waker| {
            self.shared
                .with_state(|state| state.outbox.wait_below_mark(waker))
        };
        match waits(cx.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }
}

impl std::fmt::Debug for Emit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emit")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
