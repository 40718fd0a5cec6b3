//! The handlers of one socket.

use socketio_proto::Printable;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::RwLock;
use socketio_proto::socket::is_reserved;

use super::error::{ConnectError, Disconnected};
use super::socket::Socket;
use crate::application::{Application, Callback};
use crate::args::Args;
use crate::handler::{Handler, HandlerFuture, Registered};

pub(crate) struct Handlers {
    application: Arc<Application>,
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
    pub(crate) fn new(application: &Arc<Application>) -> Handlers {
        Handlers {
            application: application.clone(),
            tables: RwLock::default(),
            has_outgoing: AtomicBool::new(false),
            told_unhandled: AtomicBool::new(false),
        }
    }

    #[track_caller]
    pub(crate) fn on<S>(&self, event: &str, handler: impl Handler<Socket, S>) {
        check_name(event);
        self.add(event, Registered::new(handler, &self.application));
    }

    #[track_caller]
    pub(crate) fn once<S>(&self, event: &str, handler: impl Handler<Socket, S>) {
        check_name(event);
        self.add(event, Registered::once(handler, &self.application));
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
        // The lock is free again when the handlers, and what they own, are dropped.
        let removed = self.tables.write().events.remove(event);
        drop(removed);
    }

    pub(crate) fn on_any<S>(&self, handler: impl Handler<Socket, S>) {
        let handler = Registered::new(handler, &self.application);
        self.tables.write().any.push(handler);
    }

    pub(crate) fn prepend_any<S>(&self, handler: impl Handler<Socket, S>) {
        let handler = Registered::new(handler, &self.application);
        self.tables.write().any.insert(0, handler);
    }

    pub(crate) fn off_any(&self) {
        let removed = std::mem::take(&mut self.tables.write().any);
        drop(removed);
    }

    pub(crate) fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &str, &Args) + Send + Sync + 'static,
    ) {
        let listener = self.application.hold(listener);
        let listener =
            move |socket: &Socket, event: &str, args: &Args| (*listener)(socket, event, args);
        self.tables.write().outgoing.push(Arc::new(listener));
        self.has_outgoing.store(true, Ordering::Release);
    }

    pub(crate) fn off_any_outgoing(&self) {
        self.has_outgoing.store(false, Ordering::Release);
        let removed = std::mem::take(&mut self.tables.write().outgoing);
        drop(removed);
    }

    pub(crate) fn on_connect<S>(&self, handler: impl Handler<Socket, S>) {
        let handler = Registered::new(handler, &self.application);
        self.tables.write().connect.push(handler);
    }

    pub(crate) fn on_connect_error<F, Fut>(&self, handler: F)
    where
        F: FnOnce(Socket, ConnectError) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = self.application.hold(handler);
        let handler = Arc::new(move |socket, error| -> HandlerFuture {
            Box::pin((*handler).clone()(socket, error))
        });
        self.tables.write().connect_error.push(handler);
    }

    pub(crate) fn on_disconnect<F, Fut>(&self, handler: F)
    where
        F: FnOnce(Socket, Disconnected) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = self.application.hold(handler);
        let handler = Arc::new(move |socket, gone| -> HandlerFuture {
            Box::pin((*handler).clone()(socket, gone))
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
        for listener in &listeners {
            let tell = || listener(socket, event, args);
            let _ = self.application.call(Callback::OutgoingListener, tell);
        }
    }

    /// Notes an event that nobody handles; tells of the first.
    pub(crate) fn unhandled(&self, event: &str) {
        if !self.told_unhandled.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                event = Printable::new(event).to_string(),
                "nobody handles this event; of others like it nothing is said"
            );
        }
    }
}

#[track_caller]
fn check_name(event: &str) {
    let method = match event {
        "connect" => "on_connect",
        "connect_error" => "on_connect_error",
        "disconnect" => "on_disconnect",
        name if is_reserved(name) => panic!("no server can send the event \"{name}\""),
        _ => return,
    };
    panic!("no server can send the event \"{event}\": register the handler with `{method}`");
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables.read();
        f.debug_struct("Handlers")
            .field("events", &tables.events.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
