//! The server: alone with [`Server::serve`], or in front of a service with [`Server::layer`].
//!
//! `transports -> session -> namespace, socket, broadcast -> adapter -> rooms, outbox`: each file
//! calls only what stands right of it. What the protocol says is decided in `socketio-proto`.

mod ack;
mod adapter;
mod admission;
mod body;
mod broadcast;
mod budget;
mod client_files;
pub mod cluster;
mod compression;
mod config;
mod connect;
mod cookie;
mod cors;
mod counters;
mod deadlines;
mod deflate;
mod drain;
mod emit;
mod ending;
mod expiry;
mod farewell;
mod files;
mod first_head;
mod handlers;
mod handshake;
mod http;
mod http_connections;
mod http_stream;
mod listen;
mod memory;
mod metrics;
mod middleware;
mod namespace;
mod outbox;
mod plugins;
mod polling;
mod proxies;
mod proxy_protocol;
mod rate;
mod recovery;
mod refusals;
mod remote;
mod request;
mod rooms;
mod routing;
mod running;
mod service;
mod session;
mod sessions;
mod socket;
mod total_queue;
mod turn;
mod upgrade;
mod websocket;
mod wheel;

use socketio_proto::Printable;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use regex::Regex;
use serde_json::Value;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::runtime::Handle;
use tokio::sync::watch;

use socketio_proto::engine;
use socketio_proto::socket::{ConnectionConfig, DisconnectReason, Parser};

use crate::application::{Application, Callback};
use crate::args::DecodeError;
use crate::duration;
use crate::error::EmitError;
use admission::{Admission, Busy};
use compression::Compressions;
use config::Config;
use counters::Counters;
use deadlines::Deadlines;
use ending::Close;
use http_connections::HttpConnections;
use namespace::Namespaces;
use refusals::{Rare, Refusals};
use routing::Router;
use sessions::Sessions;
use total_queue::TotalQueue;

pub use ack::{AckFuture, BroadcastAck};
pub use adapter::{Adapter, AdapterError, BroadcastPacket, LocalAdapter, RoomEvent};
pub use body::ResponseBody;
pub use broadcast::{Broadcast, RoomNames, Target};
pub use client_files::ClientFilesError;
pub use config::{ConfigError, QueuePolicy, ServerBuilder};
pub use cookie::{CookieError, SameSite, SessionCookie};
pub use cors::{Cors, CorsError};
pub use counters::Stats;
pub use deflate::PerMessageDeflate;
pub use emit::Emit;
pub use ending::Farewell;
pub use handlers::Handlers;
pub use handshake::Handshake;
pub use listen::{Listening, TlsError};
pub use metrics::{Histogram, Metrics};
pub use middleware::Middleware;
pub use namespace::{Namespace, ParentNamespace, ServerSideError};
pub use proxies::ForwardedHeader;
pub use rate::{RateLimit, RatePolicy};
pub use recovery::Recovery;
pub use remote::RemoteSocket;
pub use request::{ConnectionError, EngineRefusal, Forbidden, RequestInfo};
pub use routing::Routing;
pub use service::{EmptyBody, NotFound, ResponseFuture, SocketIoLayer, SocketIoService};
pub use socket::{Connection, Socket, SocketEmit};

/// A Socket.IO server.
///
/// A handle: cheap to clone. It dereferences to its main namespace, `/`, and through that to the
/// handlers of `/`. Dropping all handles does not end a server that is being served;
/// [`close`](Server::close) does.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    main: Namespace,
}

/// What all parts of a server share.
pub(crate) struct Shared {
    application: Arc<Application>,
    engine: Arc<engine::Config>,
    connection: ConnectionConfig,
    config: Config,
    sessions: Sessions,
    admission: Admission,
    http_connections: Arc<HttpConnections>,
    namespaces: Namespaces,
    deadlines: Arc<Deadlines>,
    counters: Counters,
    refused: RwLock<Vec<Arc<RefusedListener>>>,
    refusals: Refusals,
    router: Option<Arc<Router>>,
    runtime: OnceLock<Handle>,
    closed: watch::Sender<bool>,
    unfinished: AtomicUsize,
    compressions: Arc<Compressions>,
    total_queue: Arc<TotalQueue>,
    is_giving_back: AtomicBool,
    /// Events and namespaces that were complained about.
    complained: Mutex<HashMap<(String, String), Rare>>,
    /// The causes of failed emits that were told of, a bit each.
    told_emits: AtomicU8,
}

type RefusedListener = dyn Fn(&ConnectionError) + Send + Sync;

/// Complaints about events are logged once a minute for each name, for at most so many names.
const MAX_COMPLAINTS: usize = 1000;

impl Server {
    /// Makes a server with the default options.
    pub fn new() -> Server {
        Server::builder().build()
    }

    /// Makes a server with options.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    fn with(
        engine: engine::Config,
        connection: ConnectionConfig,
        mut config: Config,
        routing: Option<Routing>,
    ) -> Server {
        let application = Application::new();
        config.parser = config
            .parser
            .map(|parser| plugins::parser(parser, &application));
        let shared = Arc::new(Shared {
            application,
            engine: Arc::new(engine),
            connection,
            config,
            sessions: Sessions::default(),
            compressions: Arc::default(),
            total_queue: Arc::default(),
            is_giving_back: AtomicBool::new(false),
            admission: Admission::default(),
            http_connections: Arc::default(),
            namespaces: Namespaces::default(),
            deadlines: Arc::new(Deadlines::new()),
            counters: Counters::default(),
            refused: RwLock::default(),
            refusals: Refusals::default(),
            router: routing.map(|options| Arc::new(Router::new(options))),
            runtime: OnceLock::new(),
            closed: watch::Sender::new(false),
            unfinished: AtomicUsize::new(0),
            complained: Mutex::default(),
            told_emits: AtomicU8::new(0),
        });
        let main = Namespace(shared.namespaces.get_or_create(&shared, "/"));
        Server { shared, main }
    }

    /// Gives a namespace, and makes it if there is none of this name yet. A missing leading slash is
    /// added.
    pub fn of(&self, name: impl AsRef<str>) -> Namespace {
        let name = name.as_ref();
        let name = match name.starts_with('/') {
            true => name.to_owned(),
            false => format!("/{name}"),
        };
        Namespace(self.shared.namespaces.get_or_create(&self.shared, &name))
    }

    /// Makes a namespace for each name that matches a pattern, when a client asks for it.
    ///
    /// # Panics
    ///
    /// When the pattern is not a regular expression.
    #[doc(alias = "of")]
    #[track_caller]
    pub fn of_pattern(&self, pattern: &str) -> ParentNamespace {
        match Regex::new(pattern) {
            Ok(pattern) => self
                .shared
                .namespaces
                .add_pattern(pattern, &self.shared.application),
            Err(error) => panic!("the pattern of a dynamic namespace is invalid: {error}"),
        }
    }

    /// Makes a namespace for each name that a predicate accepts, when a client asks for it. The
    /// predicate gets the name and the client's `auth`.
    ///
    /// One that panics has accepted nothing. For as long as it waits the client is in no namespace:
    /// [`connect_timeout`](ServerBuilder::connect_timeout) ends a connection that has joined none.
    #[doc(alias = "of")]
    pub fn of_fn<F, Fut>(&self, predicate: F) -> ParentNamespace
    where
        F: FnOnce(String, Value) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.shared
            .namespaces
            .add_predicate(predicate, &self.shared.application)
    }

    /// Calls a function for each namespace that is made from now on. It must not block; should it panic,
    /// the namespace is there nevertheless.
    #[doc(alias = "new_namespace")]
    pub fn on_new_namespace(&self, listener: impl Fn(&Namespace) + Send + Sync + 'static) {
        let listener = self.shared.application.hold(listener);
        self.shared
            .namespaces
            .on_created(move |namespace| (*listener)(namespace));
    }

    /// Calls a function for each request that is refused, with the cause and a hint at the remedy. It must
    /// not block; should it panic, the request is refused nevertheless.
    #[doc(alias = "connection_error")]
    pub fn on_connection_error(&self, listener: impl Fn(&ConnectionError) + Send + Sync + 'static) {
        let listener = self.shared.application.hold(listener);
        let listener = move |error: &ConnectionError| (*listener)(error);
        self.shared.refused.write().push(Arc::new(listener));
    }

    /// The number of open sessions.
    #[doc(alias = "clientsCount")]
    pub fn clients_count(&self) -> usize {
        self.shared.sessions.len()
    }

    /// What the server has counted.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// What there is to say of the server for those who watch it. The gauges are taken now, which
    /// looks at each session.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    /// A tower layer that answers the requests for the server's path, for axum and others.
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer(self.shared.clone())
    }

    /// A tower service which answers the requests for the server's path, and 404 to all others.
    pub fn service(&self) -> SocketIoService<NotFound> {
        self.layer().wrap(NotFound)
    }

    /// Listens on an address and serves until [`close`](Server::close).
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops accepting; the connections stay.
    #[doc(alias = "listen")]
    pub async fn serve(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        self.listen(address).await?.await
    }

    /// Listens on an address; awaiting the result serves. In between, TLS and a fallback for other
    /// paths can be set, and the port be read.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listening> {
        Listening::bind(self.shared.clone(), address).await
    }

    /// Serves on a listener of the application's.
    pub fn listen_on(&self, listener: TcpListener) -> Listening {
        Listening::on(self.shared.clone(), listener)
    }

    /// Closes all sessions and stops accepting. The sockets leave with the reason
    /// `server shutting down`; the clients see `transport close` and reconnect.
    ///
    /// What was emitted before goes out first, and what handlers of `disconnecting` emit. It waits
    /// until the clients have taken it and the handlers of `disconnect` have ended, at most for
    /// [`shutdown_timeout`](ServerBuilder::shutdown_timeout) (5 s); only then does
    /// [`serve`](Server::serve) return. A client that polls, has nothing to take, and does not come
    /// within a second, is not waited for.
    ///
    /// From the first moment a handshake is refused with status 503 and `Retry-After`, also where the
    /// server is a [`layer`](Server::layer) of another one, which goes on. Closing twice does nothing.
    /// Called in a handler of `disconnect`, it waits for that handler, too, until the time is over:
    /// spawn it there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the listeners open; closing again goes on.
    pub async fn close(&self) {
        self.shared.admission().drain();
        let reason = DisconnectReason::ServerShuttingDown;
        self.shared.close_sessions(Close::because_of(reason));
        drain::finish(&self.shared).await;
        for namespace in self.shared.namespaces.all() {
            namespace.adapter().close().await;
        }
        self.shared.closed.send_replace(true);
    }

    /// Ends the server so that its clients do not all come back at once, for a restart without haste.
    ///
    /// From the first moment nobody is let in ([`is_ready`](Server::is_ready) is false, a handshake is
    /// refused with status 503 and `Retry-After`). The sessions are closed one by one over the window,
    /// each when its handlers have ended and its awaited answers have come, at the latest when the
    /// window ends (a window is at most 365 days). Then the server is [closed](Server::close), which
    /// takes up to [`shutdown_timeout`](ServerBuilder::shutdown_timeout) longer if something is left
    /// to be done.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the sessions that are not closed yet open, and lets nobody in.
    pub async fn drain(&self, window: Duration) {
        drain::drain(&self.shared, duration::capped(window)).await;
        self.close().await;
    }

    /// Says whether the server lets clients in: false from the beginning of
    /// [`drain`](Server::drain) or [`close`](Server::close) on.
    pub fn is_ready(&self) -> bool {
        self.shared.is_ready()
    }

    /// Closes all sessions with the reason `forced close`, and goes on accepting. What was emitted
    /// before goes out first.
    #[doc(alias = "engine.close")]
    pub fn close_connections(&self) {
        let reason = DisconnectReason::ForcedClose;
        self.shared.close_sessions(Close::because_of(reason));
    }
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

impl Deref for Server {
    type Target = Namespace;

    /// The main namespace, `/`.
    fn deref(&self) -> &Namespace {
        &self.main
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("clients", &self.clients_count())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The way to the application's code.
    pub(crate) fn application(&self) -> &Arc<Application> {
        &self.application
    }

    pub(crate) fn engine(&self) -> &Arc<engine::Config> {
        &self.engine
    }

    pub(crate) fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn router(&self) -> Option<&Arc<Router>> {
        self.router.as_ref()
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn stats(&self) -> Stats {
        let namespaces = self.namespaces.all();
        let recoveries = namespaces.iter().filter_map(|nsp| nsp.local().recoveries());
        let recovery_bytes = recoveries.map(recovery::Recoveries::kept).sum();
        self.counters
            .stats(&self.application, self.sessions.len(), recovery_bytes)
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.admission.is_draining()
    }

    /// Says whether an address is that of a proxy in front of this server.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.config.trusted_proxies.trusts(address)
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    pub(crate) fn http_connections(&self) -> &Arc<HttpConnections> {
        &self.http_connections
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn deadlines(&self) -> &Arc<Deadlines> {
        &self.deadlines
    }

    pub(crate) fn parser(&self) -> Option<&Arc<dyn Parser>> {
        self.config.parser.as_ref()
    }

    pub(crate) fn max_payload(&self) -> usize {
        self.connection.max_payload
    }

    pub(crate) fn max_queue(&self) -> usize {
        self.config.max_queue
    }

    pub(crate) fn max_running(&self) -> u32 {
        self.config.max_running
    }

    pub(crate) fn queue_policy(&self) -> QueuePolicy {
        self.config.queue_policy
    }

    /// How long children of dynamic namespaces are kept that have no sockets.
    pub(crate) fn keeps_children(&self) -> Duration {
        let Some(recovery) = &self.config.recovery else {
            return self.config.keep_children;
        };
        // Who is away may come back.
        let heartbeat = self.engine.ping_interval + self.engine.ping_timeout;
        let away = recovery.max_disconnection + heartbeat;
        match self.config.keep_children {
            Duration::ZERO => Duration::ZERO,
            keep => keep.max(away),
        }
    }

    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Says whether a path is the server's.
    pub(crate) fn serves(&self, path: &str) -> bool {
        match path.strip_prefix(&*self.config.path) {
            Some(rest) => {
                self.config.add_trailing_slash || rest.is_empty() || rest.starts_with('/')
            }
            None => false,
        }
    }

    pub(crate) fn make_adapter(&self, name: &str, local: &Arc<LocalAdapter>) -> Arc<dyn Adapter> {
        match &self.config.adapter {
            Some(make) => {
                let made = self
                    .application
                    .call(Callback::Adapter, || make(name, local));
                plugins::adapter(made.ok(), local, &self.application)
            }
            None => Arc::new(adapter::InMemory(local.clone())),
        }
    }

    /// Spawns a task on the runtime that serves this server, wherever the caller is.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self.runtime.get() {
            Some(runtime) => drop(runtime.spawn(future)),
            None => match Handle::try_current() {
                Ok(runtime) => drop(self.runtime.get_or_init(|| runtime).spawn(future)),
                Err(_) => tracing::error!("no tokio runtime: a server works inside one only"),
            },
        }
    }

    pub(crate) fn total_queue(&self) -> &Arc<TotalQueue> {
        &self.total_queue
    }

    /// Ends the clients with the longest queues, if those of all are longer together than they may be.
    /// That is done in a moment, with no locks held.
    pub(crate) fn shed_if_full(self: &Arc<Shared>) {
        let is_full = self.total_queue.bytes() > self.config.max_total_queue;
        if !is_full || self.total_queue.is_shedding.swap(true, Ordering::AcqRel) {
            return;
        }
        let (total, max) = (self.total_queue.clone(), self.config.max_total_queue);
        let shared = self.clone();
        self.spawn(async move {
            let sessions = shared.sessions.all().into_iter();
            let sized = sessions.map(|session| (session.with_outbox(|o| o.counted()), session));
            let mut long: Vec<_> = sized.filter(|(size, _)| *size > 0).collect();
            long.sort_unstable_by_key(|(size, _)| Reverse(*size));
            for (_, session) in long {
                if total.bytes() <= max {
                    break;
                }
                shared.counters.shed_clients();
                session.shed();
            }
            total.is_shedding.store(false, Ordering::Release);
        });
    }

    pub(crate) fn compressions(&self) -> &Arc<Compressions> {
        &self.compressions
    }

    pub(crate) fn set_deadline(self: &Arc<Shared>, key: u32, deadline: Instant) {
        self.deadlines.set(self, key, deadline);
    }

    pub(crate) fn cancel_deadline(&self, key: u32) {
        self.deadlines.cancel(key);
    }

    fn close_sessions(&self, close: Close) {
        let _turn = turn::begin();
        for session in self.sessions.all() {
            session.close(close);
        }
    }

    /// Holds up the end of the server, for as long as it is held.
    pub(crate) fn unfinished(self: &Arc<Shared>) -> Unfinished {
        self.unfinished.fetch_add(1, Ordering::AcqRel);
        Unfinished(self.clone())
    }

    /// Says whether a WebSocket has not ended, a handler of a socket that has left still runs, or last
    /// words are to be taken. Clients that poll, and do not now, are on their way or will never come:
    /// `expects_all` says whether they are waited for, too.
    fn is_busy(&self, expects_all: bool) -> bool {
        let unfinished = self.unfinished.load(Ordering::Acquire);
        let websockets = self.http_connections.websockets();
        if unfinished + websockets > 0 {
            return true;
        }
        match expects_all {
            true => self.sessions.len() > 0,
            false => self.sessions.all().iter().any(|s| s.is_awaited()),
        }
    }

    /// Counts a refused request, logs its cause and tells the listeners.
    pub(crate) fn refused(&self, error: &ConnectionError) {
        self.counters.refused(error.code);
        self.refusals.log(error);
        let listeners = self.refused.read().clone();
        for listener in &listeners {
            let tell = || listener(error);
            let _ = self
                .application
                .call(Callback::ConnectionErrorListener, tell);
        }
    }

    /// Counts an emit that has failed, where nobody has looked at its outcome; the first of each cause is
    /// logged.
    pub(crate) fn emit_failed(&self, error: &EmitError) {
        let cause = match error {
            // Who has left needs no event, as in JavaScript, and volatile events may be dropped.
            EmitError::Disconnected | EmitError::Dropped => return,
            EmitError::Encode(_) => 0,
            EmitError::QueueFull => 1,
            EmitError::TooManyAcks => 2,
            EmitError::TooLarge { .. } => 3,
            EmitError::Reserved(_) => 4,
        };
        self.counters.failed_emits();
        let bit = 1 << cause;
        if self.told_emits.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let source = error
                .source()
                .map(|source| Printable::new(source).to_string());
            tracing::warn!(
                error = %Printable::new(error),
                source,
                "an emit failed, and nobody has looked at its outcome; of others like it nothing is \
                 said, but they are counted"
            );
        }
    }

    /// Counts a request that may come again later.
    pub(crate) fn refused_for_now(&self, busy: Busy, address: Option<IpAddr>) {
        self.refusals.log_busy(busy, address);
        match busy {
            Busy::Address => self.counters.refused_addresses(),
            Busy::Connections => self.counters.refused_connections(),
            Busy::Draining => self.counters.refused_draining(),
            Busy::Forwards => self.counters.refused_forwards(),
            Busy::Rate => self.counters.refused_handshakes(),
        }
    }

    /// Counts an event without a handler.
    pub(crate) fn unhandled(&self, nsp: &str, event: &str) {
        self.counters.unhandled_events();
        if let Some(suppressed) = self.complains(nsp, event) {
            tracing::warn!(
                namespace = Printable::new(nsp).to_string(),
                event = Printable::new(event).to_string(),
                suppressed,
                "an event came that has no handler"
            );
        }
    }

    /// Counts an event that a handler could not decode.
    pub(crate) fn undecodable(&self, socket: &Socket, event: &str, error: &DecodeError) {
        self.counters.undecodable_events();
        let nsp = socket.0.namespace.name();
        if let Some(suppressed) = self.complains(nsp, &format!("{event} (undecodable)")) {
            tracing::warn!(
                namespace = Printable::new(nsp).to_string(),
                event = Printable::new(event).to_string(),
                error = %Printable::new(&error),
                suppressed,
                "the arguments of an event do not fit its handler"
            );
        }
    }

    /// Counts a client whose `auth` a handler or middleware could not decode; it is refused.
    pub(crate) fn undecodable_auth(&self, socket: &Socket, error: &DecodeError) {
        self.counters.undecodable_events();
        let nsp = socket.0.namespace.name();
        if let Some(suppressed) = self.complains(nsp, "(auth)") {
            tracing::warn!(
                namespace = Printable::new(nsp).to_string(),
                error = %Printable::new(&error),
                suppressed,
                "refused with `invalid auth`: the client's `auth` does not fit the handler or middleware"
            );
        }
    }

    /// Says whether to log a complaint now; then how many like it were not since the last line.
    fn complains(&self, nsp: &str, event: &str) -> Option<u64> {
        let mut complained = self.complained.lock();
        let key = (nsp.to_owned(), event.chars().take(100).collect());
        if complained.len() >= MAX_COMPLAINTS && !complained.contains_key(&key) {
            return None;
        }
        complained.entry(key).or_default().admit(Instant::now())
    }
}

/// Something that the server does not cut off when it is closed.
pub(crate) struct Unfinished(Arc<Shared>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.unfinished.fetch_sub(1, Ordering::AcqRel);
    }
}
