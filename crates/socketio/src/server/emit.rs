//! What `emit` returns: the outcome now, and back-pressure for those who await it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::broadcast::Flags;
use super::outbox::SharedFrames;
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
    /// What could not be queued, where the policy is to wait.
    waiting: Vec<Waiting>,
}

/// An event that waits for room in a client's queue. Dropped before, it is counted.
pub(crate) struct Waiting {
    session: Arc<Session>,
    frames: Vec<Bytes>,
    flags: Flags,
    done: bool,
}

impl Waiting {
    pub(crate) fn new(session: &Arc<Session>, frames: Vec<Bytes>, flags: Flags) -> Waiting {
        Waiting {
            session: session.clone(),
            frames,
            flags,
            done: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EmitError>> {
        let frames = SharedFrames::new(&self.frames);
        if self.session.wait_for_room(frames.size(), cx.waker()) {
            return Poll::Pending;
        }
        if self.session.with_outbox(|outbox| outbox.is_closed()) {
            return Poll::Ready(Err(EmitError::Disconnected));
        }
        let sent = self.session.send_shared(&frames, &self.flags);
        self.done = true;
        // Somebody else may have taken the room.
        Poll::Ready(sent.map_err(|_| EmitError::QueueFull))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.done {
            self.session.shared().counters().dropped_full();
        }
    }
}

impl<'a> Emit<'a> {
    pub(crate) fn new(
        session: Option<&'a Arc<Session>>,
        outcome: Result<(), EmitError>,
    ) -> Emit<'a> {
        Emit {
            session,
            outcome: outcome.map_err(Some),
            waiting: Vec::new(),
        }
    }

    /// An emit of which something could not be queued yet.
    pub(crate) fn waiting(waiting: Vec<Waiting>) -> Emit<'a> {
        Emit {
            session: None,
            outcome: Ok(()),
            waiting,
        }
    }

    /// Gives the outcome without waiting.
    ///
    /// # Errors
    ///
    /// The same as awaiting gives, and [`EmitError::QueueFull`] where the event would have to wait.
    pub fn now(self) -> Result<(), EmitError> {
        match self.waiting.is_empty() {
            true => self
                .outcome
                .map_err(|error| error.unwrap_or(EmitError::Disconnected)),
            false => Err(EmitError::QueueFull),
        }
    }
}

impl Future for Emit<'_> {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = &mut this.outcome;
        this.waiting.retain_mut(|waiting| match waiting.poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => {
                *outcome = Err(Some(error));
                false
            }
        });
        if !this.waiting.is_empty() {
            return Poll::Pending;
        }
        match outcome {
            Err(error) => Poll::Ready(Err(error.take().unwrap_or(EmitError::Disconnected))),
            Ok(()) => match this.session {
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
