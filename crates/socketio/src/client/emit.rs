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
/// server can take. One that was refused, and is dropped without being awaited, is logged and counted
/// by [`Manager::unsent_events`](super::Manager::unsent_events).
///
/// # Cancel safety
///
/// Dropping it changes nothing: the event stays queued.
pub struct Emit<'a> {
    shared: &'a Arc<Shared>,
    outcome: Result<(), Box<Refused>>,
}

#[derive(Debug)]
struct Refused {
    event: Box<str>,
    /// Until it is told.
    error: Option<EmitError>,
}

impl Refused {
    fn tell(&mut self) -> EmitError {
        self.error.take().unwrap_or(EmitError::Disconnected)
    }
}

impl<'a> Emit<'a> {
    pub(crate) fn new(
        shared: &'a Arc<Shared>,
        event: &str,
        outcome: Result<(), EmitError>,
    ) -> Emit<'a> {
        let refused = |error| {
            let error = Some(error);
            let event = event.into();
            Box::new(Refused { event, error })
        };
        Emit {
            shared,
            outcome: outcome.map_err(refused),
        }
    }

    /// Gives the outcome without waiting.
    ///
    /// # Errors
    ///
    /// When the event was refused.
    pub fn now(mut self) -> Result<(), EmitError> {
        match &mut self.outcome {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused.tell()),
        }
    }
}

impl Future for Emit<'_> {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(refused) = &mut self.outcome {
            return Poll::Ready(Err(refused.tell()));
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

impl Drop for Emit<'_> {
    fn drop(&mut self) {
        if let Err(refused) = &self.outcome
            && let Some(error) = &refused.error
        {
            self.shared.unsent.note(&refused.event, error);
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
