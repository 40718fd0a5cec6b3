//! The handlers of a namespace, shared by all of its sockets, or those of a single socket.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use socketio_proto::socket::is_reserved;

use super::config::QueuePolicy;
use super::middleware::{ErasedMiddleware, Middleware, erase};
use super::rate::{Limit, RateLimit};
use super::socket::Socket;
use crate::application::{Application, BoxFuture, Callback};
use crate::args::Args;
use crate::event::Event;
use crate::handler::{Handler, PreparingHandler, Registered, preparing};

/// What runs when clients connect, send events and leave.
///
/// A namespace's handlers are registered once and shared by all of its sockets; a socket has a table
/// of its own only if something is registered on it. Handlers may be registered at any time; an
/// event that arrives before its handler is registered is not kept for it. What is registered on a
/// socket is forgotten when it has left its namespace.
///
/// What panics ends alone: it is logged and counted ([`Stats::panics`](crate::Stats::panics)), and what
/// then becomes of its act stands with each method. Nothing here may block its thread: what does so for a
/// second is told in the log.
pub struct Handlers {
    application: Arc<Application>,
    is_of_socket: bool,
    is_closed: AtomicBool,
    events: RwLock<HashMap<Box<str>, List, RandomState>>,
    lifecycle: RwLock<Lifecycle>,
    outgoing: RwLock<Vec<Arc<Outgoing>>>,
    has_any: AtomicBool,
    has_outgoing: AtomicBool,
    has_event_middleware: AtomicBool,
    has_waiting_middleware: AtomicBool,
    sequential: AtomicBool,
    policy: Mutex<Option<QueuePolicy>>,
    has_policy: AtomicBool,
    limits: RwLock<Option<Box<Limits>>>,
    /// There is a limit here, or of the server.
    is_limited: AtomicBool,
}

/// How fast a client may send, and who is told of the end of its time.
#[derive(Default)]
struct Limits {
    all: Option<Arc<Limit>>,
    events: HashMap<Box<str>, Arc<Limit>, RandomState>,
    expiring: Vec<Registered<Socket>>,
}

/// The handlers of one event, in the order of registration.
pub(crate) type List = Arc<[Registered<Socket>]>;
type Outgoing = dyn Fn(&Socket, &str, &Args) + Send + Sync;
/// An event middleware that may wait.
pub(crate) type WaitingMiddleware =
    dyn Fn(Socket, String, Args) -> BoxFuture<Result<(), String>> + Send + Sync;
type EventMiddleware = dyn Fn(&Socket, &str, &Args) -> Result<(), String> + Send + Sync;

#[derive(Default)]
struct Lifecycle {
    any: Vec<Registered<Socket>>,
    connect: Vec<Arc<PreparingHandler<Socket>>>,
    disconnect: Vec<Registered<Socket>>,
    disconnecting: Vec<Registered<Socket>>,
    error: Vec<Registered<Socket>>,
    middleware: Vec<Arc<ErasedMiddleware>>,
    event_middleware: Vec<Arc<EventMiddleware>>,
    waiting_middleware: Vec<Arc<WaitingMiddleware>>,
}

/// A moment in a socket's life that handlers can be registered for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    Any,
    Disconnect,
    Disconnecting,
    Error,
    Expiring,
}

impl Handlers {
    pub(crate) fn of_namespace(application: &Arc<Application>) -> Handlers {
        Handlers::new(application, false)
    }

    pub(crate) fn of_socket(application: &Arc<Application>) -> Handlers {
        Handlers::new(application, true)
    }

    fn new(application: &Arc<Application>, is_of_socket: bool) -> Handlers {
        Handlers {
            application: application.clone(),
            is_of_socket,
            is_closed: AtomicBool::new(false),
            events: RwLock::default(),
            lifecycle: RwLock::default(),
            outgoing: RwLock::default(),
            has_any: AtomicBool::new(false),
            has_outgoing: AtomicBool::new(false),
            has_event_middleware: AtomicBool::new(false),
            has_waiting_middleware: AtomicBool::new(false),
            sequential: AtomicBool::new(false),
            policy: Mutex::new(None),
            has_policy: AtomicBool::new(false),
            limits: RwLock::default(),
            is_limited: AtomicBool::new(false),
        }
    }

    /// Handles an event.
    ///
    /// Several handlers of one event all run, in the order of registration. The shapes are those of
    /// [`Handler`], which also says what becomes of a handler that panics.
    ///
    /// # Panics
    ///
    /// For the names of moments, which no client can send, and for which there are methods: `connect`,
    /// `disconnect`, `disconnecting` and, on a namespace, `connection`; also for `connect_error`,
    /// `newListener` and `removeListener`.
    #[track_caller]
    pub fn on<S>(&self, event: impl AsRef<str>, handler: impl Handler<Socket, S>) -> &Self {
        self.check_name(event.as_ref());
        self.add(event.as_ref(), Registered::new(handler, &self.application))
    }

    /// Handles an event the first time it comes: the first from any socket when registered on a
    /// namespace, the first of the socket when registered on a socket.
    ///
    /// # Panics
    ///
    /// As [`on`](Handlers::on).
    #[track_caller]
    pub fn once<S>(&self, event: impl AsRef<str>, handler: impl Handler<Socket, S>) -> &Self {
        self.check_name(event.as_ref());
        self.add(event.as_ref(), Registered::once(handler, &self.application))
    }

    /// Handles a typed event, whose name its type carries.
    ///
    /// # Panics
    ///
    /// As [`on`](Handlers::on).
    #[track_caller]
    pub fn on_event<E, S>(&self, handler: impl Handler<Socket, S>) -> &Self
    where
        E: Event + DeserializeOwned,
    {
        self.on(E::NAME, handler)
    }

    /// Removes all handlers of an event.
    #[doc(alias = "removeAllListeners")]
    pub fn off(&self, event: impl AsRef<str>) -> &Self {
        // The lock is free again when the handlers, and what they own, are dropped.
        let removed = self.events.write().remove(event.as_ref());
        drop(removed);
        self
    }

    /// Runs for each client that has joined the namespace, with its `auth` as `T`.
    ///
    /// A client whose `auth` is not of this type is refused with the `connect_error` "invalid auth"; the
    /// log says what does not fit. For a message and data of your own take the `auth` in a
    /// [`middleware`](Handlers::middleware) by [`Socket::auth`], whose errors are yours. A client that
    /// sends no `auth` has `None` for an `Option<T>`, and for all else `{}`, as in JavaScript: an empty
    /// map or `Value`.
    ///
    /// The client has been let in when the handler starts: should it panic, the client stays.
    #[doc(alias = "connection")]
    pub fn on_connect<S>(&self, handler: impl Handler<Socket, S>) -> &Self {
        let handler = preparing(handler, &self.application);
        self.lifecycle.write().connect.push(handler);
        self.added()
    }

    /// Runs when a client has left, with the reason as `T` (a
    /// [`DisconnectReason`](crate::DisconnectReason) or a `String`; a second argument describes it).
    /// The socket is in no room any more.
    ///
    /// Should it panic, the client has left nevertheless.
    pub fn on_disconnect<S>(&self, handler: impl Handler<Socket, S>) -> &Self {
        let handler = Registered::new(handler, &self.application);
        self.lifecycle.write().disconnect.push(handler);
        self.added()
    }

    /// Runs when a client is leaving, while its rooms can still be read.
    ///
    /// Should it panic, the client leaves nevertheless.
    pub fn on_disconnecting<S>(&self, handler: impl Handler<Socket, S>) -> &Self {
        let handler = Registered::new(handler, &self.application);
        self.lifecycle.write().disconnecting.push(handler);
        self.added()
    }

    /// Runs when a packet of a client was refused: by an event middleware, or because it was
    /// malformed. `T` is the message.
    pub fn on_error<S>(&self, handler: impl Handler<Socket, S>) -> &Self {
        let handler = Registered::new(handler, &self.application);
        self.lifecycle.write().error.push(handler);
        self.added()
    }

    /// Runs some time ([`expiry_warning`](crate::ServerBuilder::expiry_warning), 30 s) before a socket's
    /// time ends, which [`Socket::expires_at`] has set: at once if it ends sooner. The time can be set anew
    /// here, or until its end.
    ///
    /// Should it panic, the socket's time ends nevertheless.
    pub fn on_expiring<S>(&self, handler: impl Handler<Socket, S>) -> &Self {
        let handler = Registered::new(handler, &self.application);
        let mut limits = self.limits.write();
        limits.get_or_insert_default().expiring.push(handler);
        drop(limits);
        self.added()
    }

    /// Runs for each event before its own handlers; `T` takes the event's name and its arguments,
    /// as in `(name, args): (String, Args)`.
    #[doc(alias = "onAny")]
    pub fn on_any<S>(&self, handler: impl Handler<Socket, S>) -> &Self {
        let handler = Registered::new(handler, &self.application);
        self.lifecycle.write().any.push(handler);
        self.has_any.store(true, Ordering::Release);
        self.added()
    }

    /// Like [`on_any`](Handlers::on_any), before those that are there already.
    #[doc(alias = "prependAny")]
    pub fn prepend_any<S>(&self, handler: impl Handler<Socket, S>) -> &Self {
        let handler = Registered::new(handler, &self.application);
        self.lifecycle.write().any.insert(0, handler);
        self.has_any.store(true, Ordering::Release);
        self.added()
    }

    /// Removes all that [`on_any`](Handlers::on_any) registered.
    #[doc(alias = "offAny")]
    pub fn off_any(&self) -> &Self {
        self.has_any.store(false, Ordering::Release);
        let removed = std::mem::take(&mut self.lifecycle.write().any);
        drop(removed);
        self
    }

    /// Sees each event that is emitted to a socket, broadcasts included, acks not.
    ///
    /// The function is called on the spot, with the event's name and arguments; it must not block. Should
    /// it panic, the event is sent nevertheless.
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &str, &Args) + Send + Sync + 'static,
    ) -> &Self {
        let listener = self.application.hold(listener);
        let listener =
            move |socket: &Socket, event: &str, args: &Args| (*listener)(socket, event, args);
        self.outgoing.write().push(Arc::new(listener));
        self.has_outgoing.store(true, Ordering::Release);
        self.application.listen_to_outgoing();
        self.added()
    }

    /// Removes all that [`on_any_outgoing`](Handlers::on_any_outgoing) registered.
    #[doc(alias = "offAnyOutgoing")]
    pub fn off_any_outgoing(&self) -> &Self {
        self.has_outgoing.store(false, Ordering::Release);
        let removed = std::mem::take(&mut *self.outgoing.write());
        drop(removed);
        self
    }

    /// Decides whether a client may join, before [`on_connect`](Handlers::on_connect).
    ///
    /// Middlewares run one after the other in the order of registration; the first error refuses the
    /// client, which gets it as `connect_error` with its message and data.
    ///
    /// One that panics refuses the client with "internal error". For as long as one waits the client is in
    /// no namespace: [`connect_timeout`](crate::ServerBuilder::connect_timeout) ends a connection that has
    /// joined none. See [`Middleware`] for `auth`.
    #[doc(alias = "use")]
    pub fn middleware<S>(&self, middleware: impl Middleware<S>) -> &Self {
        let middleware = Arc::new(erase(middleware, &self.application));
        self.lifecycle.write().middleware.push(middleware);
        self.added()
    }

    /// Decides whether an event may reach its handlers.
    ///
    /// An error drops the event and is told to [`on_error`](Handlers::on_error), and so does a panic, as
    /// "internal error". The function is called on the spot, in the order of events; it must not block.
    #[doc(alias = "use")]
    pub fn event_middleware(
        &self,
        middleware: impl Fn(&Socket, &str, &Args) -> Result<(), String> + Send + Sync + 'static,
    ) -> &Self {
        let middleware = self.application.hold(middleware);
        let middleware =
            move |socket: &Socket, event: &str, args: &Args| (*middleware)(socket, event, args);
        self.lifecycle
            .write()
            .event_middleware
            .push(Arc::new(middleware));
        self.has_event_middleware.store(true, Ordering::Release);
        self.added()
    }

    /// Decides whether an event may reach its handlers, and may wait for that.
    ///
    /// It runs after all [`event_middleware`](Handlers::event_middleware)s. As in JavaScript, the next
    /// event does not wait: it may overtake one whose middleware waits for longer, unless the namespace
    /// is [`sequential`](Handlers::sequential). An error drops the event and is told to
    /// [`on_error`](Handlers::on_error), and so does a panic, as "internal error". One that never ends
    /// keeps the place of a running handler.
    ///
    /// ```
    /// use socketio::{Args, Server, Socket};
    ///
    /// # async fn may(_: &Socket, _: &str) -> bool { true }
    /// let io = Server::new();
    /// io.event_middleware_async(async |socket: Socket, event: String, _: Args| {
    ///     match may(&socket, &event).await {
    ///         true => Ok(()),
    ///         false => Err("not allowed".to_owned()),
    ///     }
    /// });
    /// ```
    #[doc(alias = "use")]
    pub fn event_middleware_async<F, Fut>(&self, middleware: F) -> &Self
    where
        F: FnOnce(Socket, String, Args) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let middleware = self.application.hold(middleware);
        let middleware = move |socket, event, args| -> BoxFuture<Result<(), String>> {
            Box::pin((*middleware).clone()(socket, event, args))
        };
        self.lifecycle
            .write()
            .waiting_middleware
            .push(Arc::new(middleware));
        self.has_waiting_middleware.store(true, Ordering::Release);
        self.added()
    }

    /// Lets a socket's event wait until the handlers of the one before have ended, instead of only
    /// started.
    ///
    /// As many may wait as handlers may run
    /// ([`max_running_handlers`](crate::ServerBuilder::max_running_handlers)): beyond that nothing more
    /// is read from the client. Those that wait when the client leaves are handled still, and counted
    /// as `events_after_leaving`; after a [`disconnect`](crate::Socket::disconnect) of yours they are
    /// dropped, and counted as `dropped_after_leaving`.
    pub fn sequential(&self) -> &Self {
        self.sequential.store(true, Ordering::Release);
        self
    }

    /// Sets what happens where the queue of a client is full, for the events of this namespace.
    /// Default: what the server does. Of no effect on the handlers of a single socket.
    pub fn queue_policy(&self, policy: QueuePolicy) -> &Self {
        *self.policy.lock() = Some(policy);
        self.has_policy.store(true, Ordering::Release);
        self
    }

    /// Sets how fast each client may send the events of this namespace; those of all children of a
    /// dynamic one count together. Default: no limit. Of no effect on the handlers of a single socket.
    ///
    /// One that is set again counts anew. See [`RateLimit`].
    pub fn rate_limit(&self, limit: RateLimit) -> &Self {
        self.limits.write().get_or_insert_default().all = Some(Limit::new(limit));
        self.set_limited();
        self
    }

    /// Sets how fast each client may send one event of this namespace, beside
    /// [`rate_limit`](Handlers::rate_limit). Default: no limit. Of no effect on the handlers of a single
    /// socket.
    pub fn rate_limit_of(&self, event: impl AsRef<str>, limit: RateLimit) -> &Self {
        let limit = Limit::new(limit);
        let mut limits = self.limits.write();
        let events = &mut limits.get_or_insert_default().events;
        events.insert(event.as_ref().into(), limit);
        drop(limits);
        self.set_limited();
        self
    }

    pub(crate) fn set_limited(&self) {
        self.is_limited.store(true, Ordering::Release);
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// Adds the limits that an event has here.
    pub(crate) fn add_limits(&self, event: &str, limits: &mut Vec<Arc<Limit>>) {
        if let Some(here) = &*self.limits.read() {
            limits.extend(here.all.iter().cloned());
            limits.extend(here.events.get(event).cloned());
        }
    }

    pub(crate) fn policy(&self) -> Option<QueuePolicy> {
        match self.has_policy.load(Ordering::Acquire) {
            true => *self.policy.lock(),
            false => None,
        }
    }

    /// Forgets everything, also what is registered from now on; what runs goes on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.clear();
    }

    /// Something has been registered.
    fn added(&self) -> &Self {
        if self.is_closed.load(Ordering::SeqCst) {
            self.clear();
        }
        self
    }

    fn clear(&self) {
        let events = std::mem::take(&mut *self.events.write());
        let lifecycle = std::mem::take(&mut *self.lifecycle.write());
        let outgoing = std::mem::take(&mut *self.outgoing.write());
        let limits = std::mem::take(&mut *self.limits.write());
        for has in [
            &self.has_any,
            &self.has_outgoing,
            &self.has_event_middleware,
            &self.has_waiting_middleware,
        ] {
            has.store(false, Ordering::Release);
        }
        drop((events, lifecycle, outgoing, limits));
    }

    #[track_caller]
    fn check_name(&self, event: &str) {
        let method = match event {
            "connect" => "on_connect",
            "connection" if !self.is_of_socket => "on_connect",
            "disconnect" => "on_disconnect",
            "disconnecting" => "on_disconnecting",
            name if is_reserved(name) => panic!("no client can send the event \"{name}\""),
            _ => return,
        };
        panic!("no client can send the event \"{event}\": register the handler with `{method}`");
    }

    fn add(&self, event: &str, registered: Registered<Socket>) -> &Self {
        let mut events = self.events.write();
        let list = events.entry(event.into()).or_insert_with(|| Arc::new([]));
        *list = list.iter().cloned().chain([registered]).collect();
        drop(events);
        self.added()
    }

    pub(crate) fn is_sequential(&self) -> bool {
        self.sequential.load(Ordering::Acquire)
    }

    pub(crate) fn event(&self, name: &str) -> Option<List> {
        self.events.read().get(name).cloned()
    }

    pub(crate) fn moment(&self, moment: Moment) -> Vec<Registered<Socket>> {
        if moment == Moment::Any && !self.has_any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let lifecycle = self.lifecycle.read();
        match moment {
            Moment::Any => lifecycle.any.clone(),
            Moment::Disconnect => lifecycle.disconnect.clone(),
            Moment::Disconnecting => lifecycle.disconnecting.clone(),
            Moment::Error => lifecycle.error.clone(),
            Moment::Expiring => {
                let limits = self.limits.read();
                limits
                    .as_ref()
                    .map_or_else(Vec::new, |l| l.expiring.clone())
            }
        }
    }

    pub(crate) fn connect(&self) -> Vec<Arc<PreparingHandler<Socket>>> {
        self.lifecycle.read().connect.clone()
    }

    pub(crate) fn middlewares(&self) -> Vec<Arc<ErasedMiddleware>> {
        self.lifecycle.read().middleware.clone()
    }

    pub(crate) fn has_event_middleware(&self) -> bool {
        self.has_event_middleware.load(Ordering::Acquire)
    }

    pub(crate) fn has_waiting_middleware(&self) -> bool {
        self.has_waiting_middleware.load(Ordering::Acquire)
    }

    pub(crate) fn waiting_middlewares(&self) -> Vec<Arc<WaitingMiddleware>> {
        match self.has_waiting_middleware() {
            true => self.lifecycle.read().waiting_middleware.clone(),
            false => Vec::new(),
        }
    }

    pub(crate) fn check_event(
        &self,
        socket: &Socket,
        name: &str,
        args: &Args,
    ) -> Result<(), String> {
        let middlewares = self.lifecycle.read().event_middleware.clone();
        middlewares.iter().try_for_each(|middleware| {
            let decide = || middleware(socket, name, args);
            let decided = self.application.call(Callback::EventMiddleware, decide);
            decided.unwrap_or_else(|_| Err(INTERNAL_ERROR.to_owned()))
        })
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        self.has_outgoing.load(Ordering::Acquire)
    }

    pub(crate) fn tell_outgoing(&self, socket: &Socket, name: &str, args: &Args) {
        let listeners = self.outgoing.read().clone();
        for listener in listeners.iter() {
            let tell = || listener(socket, name, args);
            let _ = self.application.call(Callback::OutgoingListener, tell);
        }
    }
}

/// What the other side reads where something of the application's has panicked.
pub(crate) const INTERNAL_ERROR: &str = "internal error";

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers")
            .field(
                "events",
                &self.events.read().keys().cloned().collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}
