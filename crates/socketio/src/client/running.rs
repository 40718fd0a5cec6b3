//! The handlers of one connection which have started and not ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use crate::application::{Application, Callback};
use crate::handler::HandlerFuture;

pub(crate) struct Running {
    set: Option<Box<FuturesUnordered<Guarded>>>,
    application: Arc<Application>,
}

/// A handler that goes on; a panic ends only itself.
struct Guarded {
    future: Option<HandlerFuture>,
    application: Arc<Application>,
}

impl Running {
    pub(crate) fn new(application: &Arc<Application>) -> Running {
        Running {
            set: None,
            application: application.clone(),
        }
    }

    /// Makes a handler's future and starts it: polls it once, and keeps it if it is not done.
    pub(crate) fn start(&mut self, make: impl FnOnce() -> Option<HandlerFuture>) {
        let mut cx = Context::from_waker(Waker::noop());
        let started = self.application.call(Callback::Handler, || {
            let mut future = make()?;
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(()) => None,
                Poll::Pending => Some(future),
            }
        });
        if let Ok(Some(future)) = started {
            self.set.get_or_insert_default().push(Guarded {
                future: Some(future),
                application: self.application.clone(),
            });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.set.as_ref().map_or(0, |set| set.len())
    }

    /// Polls all that want it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(set) = &mut self.set {
            match Pin::new(&mut **set).poll_next(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => self.set = None,
                Poll::Pending => return,
            }
        }
    }
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Guarded {
            future,
            application,
        } = &mut *self;
        // What panics has ended, too.
        application.poll(Callback::Handler, future, cx).map(|_| ())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.application.discard(future);
        }
    }
}
