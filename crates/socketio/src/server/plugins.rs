//! An application's adapter, called as its code is called: it may panic, and be closed without end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::adapter::{Adapter, AdapterError, BroadcastPacket, InMemory, LocalAdapter};
use super::broadcast::Target;
use super::namespace::Namespace;
use super::remote::RemoteSocket;
use super::socket::Socket;
use crate::application::{Application, Callback, Held};
use crate::args::Args;

pub(crate) use crate::plugins::parser;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is to be done when a server ends, or a namespace, takes no longer.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Puts an adapter behind the guard; one that could not be made leaves the server alone.
pub(crate) fn adapter(
    adapter: Option<Arc<dyn Adapter>>,
    local: &Arc<LocalAdapter>,
    application: &Arc<Application>,
) -> Arc<dyn Adapter> {
    match adapter {
        None => Arc::new(InMemory(local.clone())),
        Some(adapter) => Arc::new(GuardedAdapter {
            adapter: application.hold(adapter),
            local: local.clone(),
            application: application.clone(),
        }),
    }
}

struct GuardedAdapter {
    adapter: Held<Arc<dyn Adapter>>,
    local: Arc<LocalAdapter>,
    application: Arc<Application>,
}

impl GuardedAdapter {
    fn call<R: Default>(&self, call: impl FnOnce(&dyn Adapter) -> R) -> R {
        let call = || call(&**self.adapter);
        let called = self.application.call(Callback::Adapter, call);
        called.unwrap_or_default()
    }

    fn ask<'a, T: 'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Adapter) -> BoxFuture<'a, Result<T, AdapterError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, AdapterError>> {
        Box::pin(async move {
            let ask = || ask(&**self.adapter);
            let answer = self.application.run(Callback::Adapter, ask).await;
            answer.unwrap_or_else(|_| {
                Err(AdapterError::Unreachable("the adapter panicked".to_owned()))
            })
        })
    }
}

impl Adapter for GuardedAdapter {
    fn local(&self) -> &Arc<LocalAdapter> {
        &self.local
    }

    fn needs_args(&self) -> bool {
        self.call(|adapter| adapter.needs_args())
    }

    fn init(&self, namespace: &Namespace) {
        self.call(|adapter| adapter.init(namespace));
    }

    fn join(&self, socket: &Socket, rooms: &[String]) {
        self.call(|adapter| adapter.join(socket, rooms));
    }

    fn leave(&self, socket: &Socket, rooms: &[String]) {
        self.call(|adapter| adapter.leave(socket, rooms));
    }

    fn broadcast(&self, packet: &BroadcastPacket, target: &Target) {
        self.call(|adapter| adapter.broadcast(packet, target));
    }

    fn broadcast_with_ack(&self, packet: &BroadcastPacket, target: &Target) -> usize {
        self.call(|adapter| adapter.broadcast_with_ack(packet, target))
    }

    fn fetch_sockets<'a>(
        &'a self,
        target: &'a Target,
        local: bool,
    ) -> BoxFuture<'a, Result<Vec<RemoteSocket>, AdapterError>> {
        self.ask(move |adapter| adapter.fetch_sockets(target, local))
    }

    fn sockets_join(&self, target: &Target, rooms: &[String], local: bool) {
        self.call(|adapter| adapter.sockets_join(target, rooms, local));
    }

    fn sockets_leave(&self, target: &Target, rooms: &[String], local: bool) {
        self.call(|adapter| adapter.sockets_leave(target, rooms, local));
    }

    fn disconnect_sockets(&self, target: &Target, close: bool, local: bool) {
        self.call(|adapter| adapter.disconnect_sockets(target, close, local));
    }

    fn server_side_emit<'a>(
        &'a self,
        event: &'a str,
        args: Args,
        answers: bool,
    ) -> BoxFuture<'a, Result<Vec<Value>, AdapterError>> {
        self.ask(move |adapter| adapter.server_side_emit(event, args, answers))
    }

    fn server_count(&self) -> BoxFuture<'_, Result<usize, AdapterError>> {
        self.ask(|adapter| adapter.server_count())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let close = self
                .application
                .run(Callback::Adapter, || self.adapter.close());
            // Whether it has panicked or takes too long: the server ends nevertheless.
            if tokio::time::timeout(CLOSE_TIMEOUT, close).await.is_err() {
                tracing::warn!(adapter = ?self, "closing an adapter takes too long; the server goes on");
            }
        })
    }
}

impl fmt::Debug for GuardedAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.adapter.fmt(f)
    }
}
