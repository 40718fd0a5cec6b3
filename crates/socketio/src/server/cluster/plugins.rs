//! An application's bus, called as its code is called: it may panic, and never answer.
//!
//! A channel that could not be opened refuses whatever is published on it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socketio_proto::cluster::streams::Offset;
use socketio_proto::cluster::{Message, Uid};

use super::bus::{Bus, BusError, Channel, Inbox, PublishError};
use super::store::{KeptClient, NotTaken, Published, Store, Taken};
use crate::application::{Application, Callback, Held, Panicked};
use crate::server::plugins::CLOSE_TIMEOUT;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A backend has deadlines of its own; this is for one that forgets them.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens a channel behind the guard.
pub(super) fn open(
    bus: &Arc<dyn Bus>,
    nsp: &str,
    uid: &Uid,
    inbox: Arc<dyn Inbox>,
    application: &Arc<Application>,
) -> Arc<dyn Channel> {
    let open = || bus.open(nsp, uid, inbox);
    match application.call(Callback::Bus, open) {
        Ok(channel) => Arc::new(GuardedChannel {
            channel: application.hold(channel),
            application: application.clone(),
        }),
        Err(Panicked) => Arc::new(NoChannel),
    }
}

#[derive(Debug)]
struct NoChannel;

impl Channel for NoChannel {
    fn publish(&self, _: &Message, _: Option<&Uid>) -> Result<(), PublishError> {
        Err(PublishError::Closed)
    }

    fn has_heartbeats(&self) -> bool {
        false
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

struct GuardedChannel {
    channel: Held<Arc<dyn Channel>>,
    application: Arc<Application>,
}

impl GuardedChannel {
    fn call<R>(&self, call: impl FnOnce(&dyn Channel) -> R) -> Result<R, Panicked> {
        let call = || call(&**self.channel);
        self.application.call(Callback::Bus, call)
    }
}

impl Channel for GuardedChannel {
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        self.call(|channel| channel.publish(message, to))
            .unwrap_or(Err(PublishError::Panicked))
    }

    fn has_heartbeats(&self) -> bool {
        self.call(|channel| channel.has_heartbeats())
            .unwrap_or(true)
    }

    fn server_count(&self) -> BoxFuture<'_, Result<usize, BusError>> {
        Box::pin(async {
            let count = || self.channel.server_count();
            let count = self.application.run(Callback::Bus, count);
            answer(count, |error| error).await
        })
    }

    fn follows_rooms(&self) -> bool {
        self.call(|channel| channel.follows_rooms())
            .unwrap_or(false)
    }

    fn room_changed(&self, room: &str) {
        // It asks for the rooms as they are with the next change.
        let _ = self.call(|channel| channel.room_changed(room));
    }

    fn store(&self) -> Option<Arc<dyn Store>> {
        let store = self.call(|channel| channel.store()).ok().flatten()?;
        Some(Arc::new(GuardedStore {
            store: self.application.hold(store),
            application: self.application.clone(),
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let close = self.application.run(Callback::Bus, || self.channel.close());
            if tokio::time::timeout(CLOSE_TIMEOUT, close).await.is_err() {
                tracing::warn!(channel = ?self, "closing a channel takes too long; the server goes on");
            }
        })
    }
}

impl fmt::Debug for GuardedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.channel.fmt(f)
    }
}

struct GuardedStore {
    store: Held<Arc<dyn Store>>,
    application: Arc<Application>,
}

impl Store for GuardedStore {
    fn keep(&self, client: Arc<KeptClient>) {
        // Its next change is another chance.
        let keep = || self.store.keep(client);
        let _ = self.application.call(Callback::Store, keep);
    }

    fn take<'a>(
        &'a self,
        pid: &'a str,
        offset: Offset,
        owner: &'a Uid,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Taken, NotTaken>> {
        Box::pin(async move {
            let take = || self.store.take(pid, offset, owner, lifetime);
            let take = self.application.run(Callback::Store, take);
            answer(take, NotTaken::Later).await
        })
    }

    fn published(
        &self,
        after: Offset,
        until: Offset,
    ) -> BoxFuture<'_, Result<Option<Published>, BusError>> {
        Box::pin(async move {
            let read = || self.store.published(after, until);
            let read = self.application.run(Callback::Store, read);
            answer(read, |error| error).await
        })
    }
}

impl fmt::Debug for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// Awaits an answer of the backend, but not for ever.
async fn answer<T, E>(
    asked: impl Future<Output = Result<Result<T, E>, Panicked>>,
    failed: impl Fn(BusError) -> E,
) -> Result<T, E> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Panicked)) => Err(failed(BusError("the bus panicked".to_owned()))),
        Err(_) => Err(failed(BusError("the bus does not answer".to_owned()))),
    }
}
