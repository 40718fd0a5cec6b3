//! The handlers of one connection which have started and not ended.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use crate::handler::{HandlerFuture, log_panic};

#[derive(Default)]
pub(crate) struct Running(Option<Box<FuturesUnordered<Guarded>>>);

/// A handler that goes on; a panic ends only itself.
struct Guarded(HandlerFuture);

impl Running {
    /// Makes a handler's future and starts it: polls it once, and keeps it if it is not done.
    pub(crate) fn start(&mut self, make: impl FnOnce() -> Option<HandlerFuture>) {
        let mut cx = Context::from_waker(Waker::noop());
        let started = catch_unwind(AssertUnwindSafe(|| {
            let mut future = make()?;
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(()) => None,
                Poll::Pending => Some(future),
            }
        }));
        match started {
            Ok(Some(future)) => self.0.get_or_insert_default().push(Guarded(future)),
            Ok(None) => {}
            Err(panic) => log_panic("event", &*panic),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |set| set.len())
    }

    /// Polls all that want it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(set) = &mut self.0 {
            match Pin::new(&mut **set).poll_next(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => self.0 = None,
                Poll::Pending => return,
            }
        }
    }
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                log_panic("event", &*panic);
                Poll::Ready(())
            }
        }
    }
}
