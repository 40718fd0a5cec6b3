//! The handlers of one socket.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;

use super::error::{ConnectError, Disconnected};
use super::socket::Socket;
use crate::args::Args;
use crate::handler::{Handler, HandlerFuture, Registered};

#[derive(Default)]
pub(crate) struct Handlers {
    tables: RwLock<Tables>,
    has_outgoing: AtomicBool,
    /// An event that nobody handles has been told of in the log.
    told_unhandled: AtomicBool,
}

#[derive(Default)]
struct Tables {
    events: HashMap<Box<str>, List, RandomState>,
    any: Vec<Registered<Socket>>,
    outgoing: Vec<Arc<Outgoing>>,
    connect: Vec<Registered<Socket>>,
    connect_error: Vec<Arc<ErrorHandler>>,
    disconnect: Vec<Arc<GoneHandler>>,
}

pub(crate) type List = Arc<[Registered<Socket>]>;
type Outgoing = dyn Fn(&Socket, &str, &Args) + Send + Sync;
pub(crate) type ErrorHandler = dyn Fn(Socket, ConnectError) -> HandlerFuture + Send + Sync;
pub(crate) type GoneHandler = dyn Fn(Socket, Disconnected) -> HandlerFuture + Send + Sync;

impl Handlers {
    pub(crate) fn on<S>(&self, event: &str, handler: impl Handler<Socket, S>) {
        self.add(event, Registered::new(handler));
    }

    pub(crate) fn once<S>(&self, event: &str, handler: impl Handler<Socket, S>) {
        self.add(event, Registered::once(handler));
    }

    fn add(&self, event: &str, registered: Registered<Socket>) {
        let mut tables = self.tables.write();
        let list = tables
            .events
            .entry(event.into())
            .or_insert_with(|| Arc::new([]));
        *list = list.iter().cloned().chain([registered]).collect();
    }

    pub(crate) fn off(&self, event: &str) {
        self.tables.write().events.remove(event);
    }

    pub(crate) fn on_any<S>(&self, handler: impl Handler<Socket, S>) {
        self.tables.write().any.push(Registered::new(handler));
    }

    pub(crate) fn prepend_any<S>(&self, handler: impl Handler<Socket, S>) {
        self.tables.write().any.insert(0, Registered::new(handler));
    }

    pub(crate) fn off_any(&self) {
        self.tables.write().any.clear();
    }

    pub(crate) fn on_any_outgoing(&self, listener: Arc<Outgoing>) {
        self.tables.write().outgoing.push(listener);
        self.has_outgoing.store(true, Ordering::Release);
    }

    pub(crate) fn off_any_outgoing(&self) {
        self.has_outgoing.store(false, Ordering::Release);
        self.tables.write().outgoing.clear();
    }

    pub(crate) fn on_connect<S>(&self, handler: impl Handler<Socket, S>) {
        self.tables.write().connect.push(Registered::new(handler));
    }

    pub(crate) fn on_connect_error<F, Fut>(&self, handler: F)
    where
        F: FnOnce(Socket, ConnectError) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(move |socket, error| -> HandlerFuture {
            Box::pin(handler.clone()(socket, error))
        });
        self.tables.write().connect_error.push(handler);
    }

    pub(crate) fn on_disconnect<F, Fut>(&self, handler: F)
    where
        F: FnOnce(Socket, Disconnected) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(move |socket, gone| -> HandlerFuture {
            Box::pin(handler.clone()(socket, gone))
        });
        self.tables.write().disconnect.push(handler);
    }

    /// The handlers of an event, and those of all events.
    pub(crate) fn of(&self, event: &str) -> (Vec<Registered<Socket>>, Option<List>) {
        let tables = self.tables.read();
        // An empty list does not allocate.
        (tables.any.clone(), tables.events.get(event).cloned())
    }

    pub(crate) fn connect(&self) -> Vec<Registered<Socket>> {
        self.tables.read().connect.clone()
    }

    pub(crate) fn connect_error(&self) -> Vec<Arc<ErrorHandler>> {
        self.tables.read().connect_error.clone()
    }

    pub(crate) fn disconnect(&self) -> Vec<Arc<GoneHandler>> {
        self.tables.read().disconnect.clone()
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        self.has_outgoing.load(Ordering::Acquire)
    }

    pub(crate) fn tell_outgoing(&self, socket: &Socket, event: &str, args: &Args) {
        let listeners = self.tables.read().outgoing.clone();
        listeners
            .iter()
            .for_each(|listener| listener(socket, event, args));
    }

    /// Notes an event that nobody handles; tells of the first.
    pub(crate) fn unhandled(&self, event: &str) {
        if !self.told_unhandled.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                event,
                "nobody handles this event; of others like it nothing is said"
            );
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables.read();
        f.debug_struct("Handlers")
            .field("events", &tables.events.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
