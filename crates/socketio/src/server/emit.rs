//! What `emit` returns: the outcome now, and back-pressure for those who await it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Shared;
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
/// An emit that fails and whose outcome nobody looks at is counted
/// ([`Stats::failed_emits`](crate::Stats::failed_emits)), and the first of each cause is logged, unless it
/// failed because the client has left.
///
/// # Cancel safety
///
/// Dropping it changes nothing: the event stays queued.
pub struct Emit<'a> {
    session: Option<&'a Arc<Session>>,
    outcome: Result<(), Option<Box<Failed>>>,
    /// What could not be queued, where the policy is to wait.
    waiting: Vec<Waiting>,
}

/// An emit that has failed. If nobody looks at that, the server counts it, and tells of the first.
struct Failed {
    error: EmitError,
    server: Weak<Shared>,
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
            let shared = self.session.shared();
            shared.counters().dropped_full();
            shared.emit_failed(&EmitError::QueueFull);
        }
    }
}

impl<'a> Emit<'a> {
    pub(crate) fn sent(session: &'a Arc<Session>) -> Emit<'a> {
        Emit {
            session: Some(session),
            outcome: Ok(()),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn failed(error: EmitError, server: Weak<Shared>) -> Emit<'a> {
        Emit {
            session: None,
            outcome: Err(Some(Box::new(Failed { error, server }))),
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
    pub fn now(mut self) -> Result<(), EmitError> {
        match self.waiting.is_empty() {
            true => self.take_outcome(),
            false => Err(EmitError::QueueFull),
        }
    }

    /// Gives the error of an emit that has failed, once.
    pub(crate) fn take_once(&mut self) -> Option<EmitError> {
        let failed = self.outcome.as_mut().err()?.take()?;
        Some(failed.error)
    }

    /// Gives the error of an emit that has failed.
    pub(crate) fn take_error(&mut self) -> EmitError {
        self.take_once().unwrap_or(EmitError::Disconnected)
    }

    fn take_outcome(&mut self) -> Result<(), EmitError> {
        match &mut self.outcome {
            Ok(()) => Ok(()),
            Err(_) => Err(self.take_error()),
        }
    }
}

impl Drop for Emit<'_> {
    fn drop(&mut self) {
        if let Err(Some(failed)) = &self.outcome
            && let Some(server) = failed.server.upgrade()
        {
            server.emit_failed(&failed.error);
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
                // It is looked at now.
                let server = Weak::new();
                *outcome = Err(Some(Box::new(Failed { error, server })));
                false
            }
        });
        if !this.waiting.is_empty() {
            return Poll::Pending;
        }
        match this.take_outcome() {
            Err(error) => Poll::Ready(Err(error)),
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
            .field("failed", &self.outcome.is_err())
            .finish_non_exhaustive()
    }
}
