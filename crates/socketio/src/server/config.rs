//! The options of a server.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, request};
use socketio_proto::engine::{self, Transport};
use socketio_proto::socket::{ConnectionConfig, Parser};
use thiserror::Error;

use super::Server;
use super::adapter::{Adapter, LocalAdapter};
use super::admission::{HandshakeRate, Limits};
use super::client_files::{ClientFiles, ClientFilesError};
use super::cluster::{Bus, ClusterAdapter};
use super::cookie::SessionCookie;
use super::cors::{Cors, CorsError};
use super::deflate::PerMessageDeflate;
use super::ending::Farewell;
use super::proxies::{ForwardedHeader, TrustedProxies};
use super::rate::{Limit, RateLimit};
use super::recovery::Recovery;
use super::request::{EngineRefusal, Forbidden, RequestInfo};
use super::routing::Routing;
use super::session::PAUSED;
use crate::application::{BoxFuture, Held};
use crate::duration::{self, DurationError};

pub(crate) type Hook<A, T> = Arc<dyn Fn(A) -> BoxFuture<T> + Send + Sync>;
pub(crate) type HeadersHook = Arc<dyn Fn(&mut HeaderMap, &RequestInfo) + Send + Sync>;
pub(crate) type AdapterFactory =
    Arc<dyn Fn(&str, &Arc<LocalAdapter>) -> Arc<dyn Adapter> + Send + Sync>;
pub(crate) type ProtocolHook =
    Arc<dyn for<'a> Fn(&[&'a str], &RequestInfo) -> Option<&'a str> + Send + Sync>;
pub(crate) type AddressHook = Arc<dyn Fn(&request::Parts) -> Option<SocketAddr> + Send + Sync>;

/// What happens to a packet for a client whose queue is full.
///
/// Set for the server ([`ServerBuilder::queue_policy`]), for a namespace
/// ([`Handlers::queue_policy`](crate::Handlers::queue_policy)) or for one emit
/// ([`Socket::if_full`](crate::Socket::if_full)); the narrowest counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum QueuePolicy {
    /// The client is disconnected, with the reason `transport error`.
    #[default]
    Disconnect,
    /// The packet is dropped and counted.
    DropNewest,
    /// Events that wait are dropped and counted, the oldest first, until there is room: as many as
    /// make an eighth of the queue free. Acks, CONNECT and the like stay. Where that is not enough,
    /// and with a parser of its own or compression with context, the packet itself is dropped.
    DropOldest,
    /// The packet waits with whoever awaits the emit, until there is room. If nobody does, it is
    /// dropped and counted. Events that are to be acknowledged are refused with
    /// [`EmitError::QueueFull`](crate::EmitError::QueueFull), and where recovery is on the client is
    /// disconnected: it gets the event when it comes back.
    Wait,
}

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) path: String,
    pub(crate) add_trailing_slash: bool,
    pub(crate) destroy_upgrade: Option<Duration>,
    pub(crate) cors: Option<Cors>,
    pub(crate) cookie: Option<SessionCookie>,
    pub(crate) allow_request: Option<Hook<RequestInfo, Result<(), Forbidden>>>,
    pub(crate) generate_id: Option<Hook<RequestInfo, Result<String, String>>>,
    pub(crate) engine_middlewares: Vec<Hook<RequestInfo, Result<HeaderMap, EngineRefusal>>>,
    pub(crate) initial_headers: Vec<HeadersHook>,
    pub(crate) headers: Vec<HeadersHook>,
    pub(crate) select_protocol: Option<ProtocolHook>,
    pub(crate) address: Option<AddressHook>,
    pub(crate) parser: Option<Arc<dyn Parser>>,
    pub(crate) adapter: Option<AdapterFactory>,
    /// Whether it is one of a cluster that puts broadcasts in one order.
    pub(crate) is_ordered: bool,
    pub(crate) client_files: Option<Arc<ClientFiles>>,
    /// How long children without sockets are kept.
    pub(crate) keep_children: Duration,
    pub(crate) rate_limit: Option<Arc<Limit>>,
    pub(crate) expiry_warning: Duration,
    pub(crate) max_queue: usize,
    pub(crate) max_total_queue: usize,
    pub(crate) queue_policy: QueuePolicy,
    pub(crate) max_running: u32,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) farewell: Farewell,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) initial_packet: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) max_pending_acks: usize,
    pub(crate) max_auth: Option<usize>,
    pub(crate) max_dynamic_namespaces: usize,
    pub(crate) max_header_bytes: usize,
    pub(crate) jsonp: bool,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) per_message_deflate: Option<PerMessageDeflate>,
    /// Answers of so many bytes are compressed.
    pub(crate) http_compression: Option<usize>,
}

/// Sets the options of a [`Server`].
///
/// The defaults are those of the JavaScript server.
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ServerBuilder {
    engine: engine::Config,
    connection: ConnectionConfig,
    config: Config,
    client_files: Option<PathBuf>,
    proxies: Vec<String>,
    forwarded_header: ForwardedHeader,
    routing: Option<Routing>,
}

impl Default for ServerBuilder {
    fn default() -> ServerBuilder {
        ServerBuilder {
            engine: engine::Config::default(),
            connection: ConnectionConfig::default(),
            config: Config {
                path: "/socket.io".to_owned(),
                add_trailing_slash: true,
                destroy_upgrade: Some(Duration::from_secs(1)),
                cors: None,
                cookie: None,
                allow_request: None,
                generate_id: None,
                engine_middlewares: Vec::new(),
                initial_headers: Vec::new(),
                headers: Vec::new(),
                select_protocol: None,
                address: None,
                parser: None,
                adapter: None,
                is_ordered: false,
                client_files: None,
                keep_children: Duration::from_secs(60),
                rate_limit: None,
                expiry_warning: Duration::from_secs(30),
                max_queue: 32 * 1024 * 1024,
                max_total_queue: 1024 * 1024 * 1024,
                queue_policy: QueuePolicy::default(),
                max_running: 1024,
                head_timeout: Duration::from_secs(30),
                body_timeout: Duration::from_secs(30),
                shutdown_timeout: Duration::from_secs(5),
                farewell: Farewell::default(),
                recovery: None,
                initial_packet: None,
                limits: Limits {
                    max_connections: 1_000_000,
                    max_tcp_connections: None,
                    max_per_address: None,
                    ipv6_prefix: 64,
                    handshakes: None,
                },
                max_pending_acks: 10_000,
                max_auth: None,
                max_dynamic_namespaces: 100_000,
                max_header_bytes: 64 * 1024,
                jsonp: true,
                trusted_proxies: TrustedProxies::default(),
                per_message_deflate: None,
                http_compression: Some(1024),
            },
            client_files: None,
            proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            routing: None,
        }
    }
}

/// Why a server cannot be made with these options.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The files of the client cannot be served.
    #[error(transparent)]
    ClientFiles(#[from] ClientFilesError),
    /// The CORS options contradict each other.
    #[error(transparent)]
    Cors(#[from] CorsError),
    /// A duration is zero, or so long that it has no end.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// Without a transport no client can connect.
    #[error("no transport is allowed: name polling, websocket or both in `transports`")]
    NoTransport,
    /// The path is empty or has characters that no URL path has.
    #[error("the path {0:?} is not a URL path: write it as \"/socket.io\"")]
    Path(String),
    /// A proxy is neither an address nor a network.
    #[error(
        "the proxy {0:?} is neither an address nor a network: write it as \"10.1.2.3\" or \"10.0.0.0/8\""
    )]
    Proxy(String),
    /// The address for the other servers is none.
    #[error(
        "the address {0:?} for the other servers has no host and port: write it as \"10.0.0.5:3000\""
    )]
    RoutingAddress(String),
    /// With routing, ids name their server: `generate_id` cannot make them.
    #[error("`generate_id` makes ids that name no server: leave it out, or `routing`")]
    RoutingId,
    /// The secret of all servers can be guessed.
    #[error("the secret for `routing` is too short: it needs at least 16 bytes")]
    RoutingSecret,
}

impl ServerBuilder {
    /// Sets the time between a pong and the next ping. Default: 25 s.
    ///
    /// A proxy in front must allow connections to be silent for longer than this. With the timeout it
    /// is at most 24 days, since JavaScript's timers wait no longer, and clients of this library take
    /// the defaults where either is more than a day.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.engine.ping_interval = interval;
        self
    }

    /// Sets the time a client has to answer a ping. Default: 20 s.
    ///
    /// A longer one tolerates slow uploads, a shorter one notices dead clients sooner.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.engine.ping_timeout = timeout;
        self
    }

    /// Sets the time that an upgrade from polling may take. Default: 10 s.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.engine.upgrade_timeout = timeout;
        self
    }

    /// Sets the largest message a client may send, in bytes. Default: 1,000,000.
    ///
    /// It bounds one HTTP body and one WebSocket message and is announced to the clients.
    #[doc(alias = "maxHttpBufferSize")]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.engine.max_payload = bytes as u64;
        self.connection.max_payload = bytes;
        self
    }

    /// Sets the transports. Default: polling and WebSocket.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.engine.set_transports(transports);
        self
    }

    /// Refuses JSONP, which clients of Socket.IO 1 to 4 use with `forceJSONP` and very old browsers by
    /// themselves. Default: it is served, as by the reference.
    ///
    /// Its answers are scripts, which a page of any site can load and read, whatever
    /// [`cors`](ServerBuilder::cors) says; who authenticates by cookies should refuse it. A session that
    /// asks for it is refused with status 400, code 3 and the message `JSONP is disabled`, which
    /// [`Stats::refused_requests`](crate::Stats::refused_requests) counts.
    #[doc(alias = "jsonp")]
    pub fn without_jsonp(mut self) -> Self {
        self.config.jsonp = false;
        self
    }

    /// Announces no upgrade to clients which start with polling.
    #[doc(alias = "allowUpgrades")]
    pub fn without_upgrades(mut self) -> Self {
        self.engine.allow_upgrades = false;
        self
    }

    /// Sets the request path. Default: `/socket.io`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.config.path = path.into();
        self
    }

    /// Serves the path without a trailing slash, too.
    #[doc(alias = "addTrailingSlash")]
    pub fn without_trailing_slash(mut self) -> Self {
        self.config.add_trailing_slash = false;
        self
    }

    /// Sets after which time `serve` drops upgrade requests for other paths. `None` leaves them to
    /// the fallback service. Default: 1 s.
    #[doc(alias = "destroyUpgrade")]
    #[doc(alias = "destroyUpgradeTimeout")]
    pub fn destroy_upgrade(mut self, after: Option<Duration>) -> Self {
        self.config.destroy_upgrade = after;
        self
    }

    /// Lets browsers of other origins in. Default: no CORS headers.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.config.cors = Some(cors);
        self
    }

    /// Sets a cookie with the session's id on the first polling answer, for load balancers which
    /// route by cookie. Default: none.
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.config.cookie = Some(cookie);
        self
    }

    /// Decides about each handshake request, before a session is made.
    ///
    /// A refused client gets status 403 and code 4, "Forbidden" or the message given; so does one where
    /// this panics. The request waits for as long as this does: give what may take long a deadline.
    #[doc(alias = "allowRequest")]
    pub fn allow_request<F, Fut>(mut self, decide: F) -> Self
    where
        F: FnOnce(RequestInfo) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Forbidden>> + Send + 'static,
    {
        self.config.allow_request = Some(hook(decide));
        self
    }

    /// Makes the ids of sessions. They are secrets: who knows one can speak for its client. Default:
    /// 120 random bits.
    ///
    /// An error, and a panic, refuses the request with status 400 and code 3. The request waits for as
    /// long as this does.
    #[doc(alias = "generateId")]
    pub fn generate_id<F, Fut>(mut self, generate: F) -> Self
    where
        F: FnOnce(RequestInfo) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.config.generate_id = Some(hook(generate));
        self
    }

    /// Runs for every HTTP request and every upgrade; gives headers for the answer, or refuses.
    ///
    /// A panic refuses as [`EngineRefusal::Failed`] does. The request waits for as long as this does.
    #[doc(alias = "use")]
    pub fn engine_middleware<F, Fut>(mut self, middleware: F) -> Self
    where
        F: FnOnce(RequestInfo) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<HeaderMap, EngineRefusal>> + Send + 'static,
    {
        self.config.engine_middlewares.push(hook(middleware));
        self
    }

    /// Changes the headers of the first answer of each session. It must not block; should it panic, the
    /// answer is sent with the headers as they are then.
    #[doc(alias = "initial_headers")]
    pub fn on_initial_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &RequestInfo) + Send + Sync + 'static,
    ) -> Self {
        self.config.initial_headers.push(headers_hook(change));
        self
    }

    /// Changes the headers of every answer of a session, as
    /// [`on_initial_headers`](ServerBuilder::on_initial_headers) does those of the first.
    pub fn on_headers(
        mut self,
        change: impl Fn(&mut HeaderMap, &RequestInfo) + Send + Sync + 'static,
    ) -> Self {
        self.config.headers.push(headers_hook(change));
        self
    }

    /// Chooses among the subprotocols that a WebSocket offers, such as with `protocols` of the official
    /// client; `None` answers none, which browsers take for a failure. Default: the first one.
    ///
    /// It gets the offered names and the request: that of the upgrade where a session begins with
    /// polling. It is not called where nothing is offered, and what was not offered is not answered. A
    /// list that is malformed or names one twice is refused with 400 before it is called. It must not block;
    /// where it panics, none is answered.
    ///
    /// Some clients send a token this way, since browsers let a page set no other header: the list is
    /// in [`RequestInfo::headers`], and for WebSocket alone in [`Handshake`](crate::Handshake), too.
    ///
    /// ```
    /// use socketio::Server;
    ///
    /// let io = Server::builder()
    ///     .select_protocol(|offered, _| offered.iter().copied().find(|name| *name == "chat.v2"))
    ///     .build();
    /// ```
    #[doc(alias = "handleProtocols")]
    pub fn select_protocol(
        mut self,
        select: impl for<'a> Fn(&[&'a str], &RequestInfo) -> Option<&'a str> + Send + Sync + 'static,
    ) -> Self {
        /// Says that the name lives as long as those that were offered.
        fn typed<F>(select: F) -> F
        where
            F: for<'a> Fn(&[&'a str], &RequestInfo) -> Option<&'a str>,
        {
            select
        }
        let select = Held::uncounted(select);
        let select = typed(move |offered, request| (*select)(offered, request));
        self.config.select_protocol = Some(Arc::new(select));
        self
    }

    /// Tells the peer's address where the server below does not, such as under axum:
    /// `|parts| parts.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| info.0)`.
    ///
    /// It must not block; should it panic, the address is not known.
    pub fn peer_address(
        mut self,
        address: impl Fn(&request::Parts) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        let address = Held::uncounted(address);
        self.config.address = Some(Arc::new(move |parts| (*address)(parts)));
        self
    }

    /// Serves the official client's files from a directory such as
    /// `node_modules/socket.io/client-dist`. Default: none are served.
    ///
    /// They are sent as they are, in gzip or in deflate, as the client prefers; and in brotli those that
    /// lie there in that form, too, as `brotli socket.io.min.js` writes them (`socket.io.min.js.br`).
    #[doc(alias = "serveClient")]
    pub fn serve_client(mut self, directory: impl AsRef<Path>) -> Self {
        self.client_files = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets the time a client has to join its first namespace. Default: 45 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connection.connect_timeout = timeout;
        self
    }

    /// Sets how many attachments a binary event may have. Default: 10.
    pub fn max_attachments(mut self, count: usize) -> Self {
        self.connection.max_attachments = count;
        self
    }

    /// Sets how many namespaces one client may join. Default: 1,000.
    pub fn max_namespaces(mut self, count: usize) -> Self {
        self.connection.max_namespaces = count;
        self
    }

    /// Sets how many bytes of `auth` are kept for one client, over all namespaces that it has joined or
    /// is joining. Default: [`max_payload`](ServerBuilder::max_payload).
    ///
    /// Beyond it a namespace is refused with the `connect_error` "auth too large", but for a client's only
    /// one. [`Stats::large_auths`](crate::Stats::large_auths) counts them.
    pub fn max_auth(mut self, bytes: usize) -> Self {
        self.config.max_auth = Some(bytes);
        self
    }

    /// Sets how many children of dynamic namespaces clients may have made at a time. Default: 100,000.
    ///
    /// Beyond it a client that asks for one more is refused as for one that does not exist, and
    /// [`Stats::refused_namespaces`](crate::Stats::refused_namespaces) counts it. With
    /// [`cleanup_empty_child_namespaces`](ServerBuilder::cleanup_empty_child_namespaces) those without
    /// sockets make room at once, else
    /// [after a minute](ServerBuilder::keep_empty_child_namespaces).
    pub fn max_dynamic_namespaces(mut self, count: usize) -> Self {
        self.config.max_dynamic_namespaces = count;
        self
    }

    /// Forgets children of dynamic namespaces when their last socket has left.
    ///
    /// Default: [a minute later](ServerBuilder::keep_empty_child_namespaces).
    pub fn cleanup_empty_child_namespaces(self) -> Self {
        self.keep_empty_child_namespaces(Duration::ZERO)
    }

    /// Sets how long children of dynamic namespaces without sockets are kept. Default: a minute.
    ///
    /// Then what they have taken is given back, and the next client that asks for one makes it anew. One
    /// of which the application has a [`Namespace`](crate::Namespace) is kept for as long, and with
    /// [`recovery`](ServerBuilder::recovery) none goes before those who are away can come back no more.
    /// Zero forgets a child at once, whoever has it.
    pub fn keep_empty_child_namespaces(mut self, time: Duration) -> Self {
        self.config.keep_children = time;
        self
    }

    /// Sets how fast each client may send events, whatever they are. Default: no limit.
    ///
    /// See [`RateLimit`]; there are limits for namespaces and single events, too.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.config.rate_limit = Some(Limit::new(limit));
        self
    }

    /// Sets how long before the end that [`Socket::expires_at`](crate::Socket::expires_at) sets
    /// [`on_expiring`](crate::Handlers::on_expiring) runs. Default: 30 s; at most 365 days.
    pub fn expiry_warning(mut self, time: Duration) -> Self {
        self.config.expiry_warning = time;
        self
    }

    /// Replaces the parser. The clients must use the same. Default: JSON with attachments.
    ///
    /// It must not block. Should it panic, the packet that it was to encode is not sent, and a message that
    /// it was to decode ends the connection as a malformed one does.
    ///
    /// [`MsgpackParser`](crate::parser::MsgpackParser) speaks to clients which use
    /// socket.io-msgpack-parser, as the bundle `socket.io.msgpack.min.js` does:
    ///
    /// ```
    /// use socketio::Server;
    /// use socketio::parser::MsgpackParser;
    ///
    /// let io = Server::builder().parser(MsgpackParser::default()).build();
    /// ```
    pub fn parser(mut self, parser: impl Parser + 'static) -> Self {
        self.config.parser = Some(Arc::new(parser));
        self
    }

    /// Makes the adapter of each namespace, by its name and the index of this server's sockets.
    /// Default: this server alone, as it is where this panics. See [`Adapter`].
    pub fn adapter<A: Adapter>(
        mut self,
        make: impl Fn(&str, &Arc<LocalAdapter>) -> A + Send + Sync + 'static,
    ) -> Self {
        let make = Held::uncounted(make);
        self.config.adapter = Some(Arc::new(move |name, local| Arc::new((*make)(name, local))));
        self.config.is_ordered = false;
        self
    }

    /// Makes the server one of several: what is broadcast reaches the sockets of all.
    /// Default: this server alone.
    ///
    /// Takes the place of [`adapter`](ServerBuilder::adapter). See [`cluster`](crate::cluster).
    #[doc(alias = "adapter")]
    pub fn cluster(mut self, bus: impl Bus) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(bus);
        self.config.is_ordered = bus.is_ordered();
        self.config.adapter = Some(Arc::new(move |_, local| {
            Arc::new(ClusterAdapter::new(&bus, local))
        }));
        self
    }

    /// Makes sticky sessions unnecessary: a request of another server's session is forwarded to that
    /// server. Default: it is refused.
    ///
    /// See [`Routing`]. It does not need a [`cluster`](ServerBuilder::cluster), but mostly goes with one.
    pub fn routing(mut self, routing: Routing) -> Self {
        self.routing = Some(routing);
        self
    }

    /// Sets how many bytes may wait for one client. Default: 32 MiB. Where nothing waits, one message
    /// of any size may.
    pub fn max_queue(mut self, bytes: usize) -> Self {
        self.config.max_queue = bytes;
        self
    }

    /// Sets how many bytes may wait for all clients together. Default: 1 GiB.
    ///
    /// Beyond it the client with the longest queue is disconnected, whatever its queue policy, with the
    /// reason `transport error`, then the next, until there is room;
    /// [`Stats::shed_clients`](crate::Stats::shed_clients) counts them. Queues of less than 64 KiB do not
    /// count, and neither does a broadcast, which is there once for all its receivers. The clients are
    /// disconnected in a moment, not at once: what a handler emits before it waits for anything is bounded
    /// by [`max_queue`](ServerBuilder::max_queue) alone.
    pub fn max_total_queue(mut self, bytes: usize) -> Self {
        self.config.max_total_queue = bytes;
        self
    }

    /// Sets what happens when a client's queue is full. Default: the client is disconnected.
    pub fn queue_policy(mut self, policy: QueuePolicy) -> Self {
        self.config.queue_policy = policy;
        self
    }

    /// Sets how many sessions there may be. Default: 1,000,000.
    ///
    /// A handshake above this is refused with status 503 and `Retry-After`, before anything of the
    /// application's runs.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.config.limits.max_connections = count;
        self
    }

    /// Sets how many TCP connections there may be, WebSockets among them. Default: three times
    /// [`max_connections`](ServerBuilder::max_connections) and 64 more, since a session that polls has
    /// two, and one more while it upgrades.
    ///
    /// It is never more than the limit of open files (`ulimit -n`) less an eighth of it, 16 at least and
    /// 1,024 at most, which is left for everything else. Beyond it those connections are dropped whose
    /// first request has not come, the oldest first; then those that wait for nothing and have no
    /// session; then the new one. [`Stats::dropped_connections`](crate::Stats::dropped_connections)
    /// counts them. For [`Server::serve`]; under another HTTP server this is that server's matter.
    pub fn max_tcp_connections(mut self, count: usize) -> Self {
        self.config.limits.max_tcp_connections = Some(count.max(1));
        self
    }

    /// Sets how many sessions one address may have. Default: no limit, because behind a proxy that is
    /// not [trusted](ServerBuilder::trusted_proxies) all clients have the same address.
    ///
    /// A handshake above this is refused with status 503 and `Retry-After`, and
    /// [`Stats::refused_addresses`](crate::Stats::refused_addresses) counts it. IPv6 addresses are counted
    /// by their [network](ServerBuilder::ipv6_prefix).
    pub fn max_connections_per_address(mut self, count: u32) -> Self {
        self.config.limits.max_per_address = Some(count);
        self
    }

    /// Sets how many bits of an IPv6 address are one client's for
    /// [`max_connections_per_address`](ServerBuilder::max_connections_per_address). Default: 64, the
    /// network that a provider gives to each of its customers, who can choose any address of it.
    ///
    /// Some give more (56 or 48 bits); 128 counts each address. More than 128 is 128.
    pub fn ipv6_prefix(mut self, bits: u32) -> Self {
        self.config.limits.ipv6_prefix = bits.min(128) as u8;
        self
    }

    /// Sets how many sessions may be opened each second, and how many at once after a quiet time.
    /// Default: no limit.
    ///
    /// So a restart under many clients, which all come back together, does not overwhelm the server:
    /// a handshake above this costs no more than its HTTP request, is refused with status 503 and
    /// `Retry-After`, and the client tries again after its own delay.
    pub fn max_handshakes_per_second(mut self, rate: u32, burst: u32) -> Self {
        self.config.limits.handshakes = Some(HandshakeRate {
            rate,
            burst: burst.max(1),
        });
        self
    }

    /// Sets how many answers of one socket may be awaited at a time. Default: 10,000.
    ///
    /// Above this an event to one socket that is to be acknowledged is refused with
    /// [`EmitError::TooManyAcks`](crate::EmitError::TooManyAcks). A broadcast is delivered, and the
    /// receiver counts as missing; broadcasts without a timeout may use half of the places.
    pub fn max_pending_acks(mut self, count: usize) -> Self {
        self.config.max_pending_acks = count;
        self
    }

    /// Sets how many bytes the head of a request may have, at least 8,192. Default: 65,536.
    ///
    /// A longer one is answered with status 431, and so is one of more than 500 lines; of more than 100
    /// where neither the connection's first request has more than 50 nor the peer is one of the
    /// [`trusted_proxies`](ServerBuilder::trusted_proxies), because room for so many lines costs time at
    /// each request. For [`Server::serve`]; under another HTTP server this
    /// is that server's matter.
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.config.max_header_bytes = bytes.max(8192);
        self
    }

    /// Names the proxies in front of this server, by address or network such as `10.0.0.0/8`. Default:
    /// none.
    ///
    /// Where the peer is one of them, the client's address is the last one in `X-Forwarded-For` that
    /// is none of them, and whether the connection is secure is what `X-Forwarded-Proto` says. What is
    /// no address ends the search: then it is the last proxy before it. From anybody else these headers
    /// mean nothing.
    pub fn trusted_proxies<'a>(mut self, networks: impl IntoIterator<Item = &'a str>) -> Self {
        self.proxies = networks.into_iter().map(str::to_owned).collect();
        self
    }

    /// Names the header that the [`trusted_proxies`](ServerBuilder::trusted_proxies) write. Default:
    /// `X-Forwarded-For`. The other is not read, because proxies pass on what they do not write.
    pub fn forwarded_header(mut self, header: ForwardedHeader) -> Self {
        self.forwarded_header = header;
        self
    }

    /// Sets how many handlers of one client may run at a time. Default: 1,024.
    ///
    /// At this number nothing more is read from the client until one has ended.
    pub fn max_running_handlers(mut self, count: u32) -> Self {
        self.config.max_running = count.clamp(1, PAUSED);
        self
    }

    /// Sets how long a client may take for its TLS handshake and a PROXY header, and, give or take as
    /// much again, for the head of each request. Default: 30 s.
    ///
    /// A connection on which nothing has begun and nothing is pending for that long is closed; a request
    /// is pending until its answer's last byte is on its way, however long that of a
    /// [fallback](crate::Listening::fallback) takes. So is one whose client has read nothing of an answer
    /// that waits for it. For
    /// [`Server::serve`]; under another HTTP server this is that server's matter.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.config.head_timeout = timeout;
        self
    }

    /// Sets how long [`Server::close`] waits, at most, for clients to take what was queued for them and
    /// for handlers of sockets that have left. Default: 5 s; zero cuts them off.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.config.shutdown_timeout = timeout;
        self
    }

    /// Sets how WebSockets are ended by [`Server::close`] and [`Server::drain`]. Default:
    /// [`Farewell::ByMake`].
    pub fn farewell(mut self, farewell: Farewell) -> Self {
        self.config.farewell = farewell;
        self
    }

    /// Sets how long a client may take to send the body of one request. Default: 30 s.
    ///
    /// Then it is answered with status 408, and the session ends.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.config.body_timeout = timeout;
        self
    }

    /// Lets clients of Socket.IO 1 and 2 in: those of revision 3 of Engine.IO. Default: they are
    /// refused with code 5.
    ///
    /// Such a client is in the main namespace without asking; its middlewares see what the namespace's
    /// query says as `auth`. Recovery is not for them.
    #[doc(alias = "allowEIO3")]
    pub fn allow_eio3(mut self) -> Self {
        self.engine.allow_eio3 = true;
        self
    }

    /// Compresses polling answers from so many bytes on, for clients that accept it. Default: 1,024
    /// bytes.
    ///
    /// A packet that was emitted `uncompressed()` is no reason to compress.
    #[doc(alias = "httpCompression")]
    pub fn http_compression(mut self, threshold: usize) -> Self {
        self.config.http_compression = Some(threshold);
        self
    }

    /// Compresses WebSocket messages for clients that can take it. Default: off.
    ///
    /// It saves bytes on the network and costs much more time than everything else that happens to a
    /// message.
    #[doc(alias = "perMessageDeflate")]
    pub fn per_message_deflate(mut self, options: PerMessageDeflate) -> Self {
        self.config.per_message_deflate = Some(options);
        self
    }

    /// Compresses no polling answers.
    pub fn without_http_compression(mut self) -> Self {
        self.config.http_compression = None;
        self
    }

    /// Sends each client a message of the engine right after the open packet. Default: none.
    #[doc(alias = "initialPacket")]
    pub fn initial_packet(mut self, text: impl Into<String>) -> Self {
        self.config.initial_packet = Some(text.into()).filter(|text| !text.is_empty());
        self
    }

    /// Lets clients that lost their connection go on where they were. Default: off.
    #[doc(alias = "connectionStateRecovery")]
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.config.recovery = Some(recovery);
        self
    }

    /// Makes the server.
    ///
    /// # Panics
    ///
    /// When options contradict each other, with a sentence that says which;
    /// [`try_build`](ServerBuilder::try_build) returns it instead.
    #[track_caller]
    pub fn build(self) -> Server {
        match self.try_build() {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes the server.
    ///
    /// # Errors
    ///
    /// When options contradict each other, or one has a value that it cannot have.
    pub fn try_build(mut self) -> Result<Server, ConfigError> {
        if let Some(cors) = &self.config.cors {
            cors.validate()?;
        }
        if !self.engine.has_transports() {
            return Err(ConfigError::NoTransport);
        }
        for (name, duration) in [
            ("ping_interval", self.engine.ping_interval),
            ("ping_timeout", self.engine.ping_timeout),
            ("upgrade_timeout", self.engine.upgrade_timeout),
            ("connect_timeout", self.connection.connect_timeout),
            ("head_timeout", self.config.head_timeout),
            ("body_timeout", self.config.body_timeout),
        ] {
            duration::check_positive(name, duration)?;
        }
        duration::check_heartbeat(self.engine.ping_interval, self.engine.ping_timeout)?;
        duration::check("shutdown_timeout", self.config.shutdown_timeout)?;
        duration::check("keep_empty_child_namespaces", self.config.keep_children)?;
        duration::check("expiry_warning", self.config.expiry_warning)?;
        if let Some(after) = self.config.destroy_upgrade {
            duration::check("destroy_upgrade", after)?;
        }
        if let Some(recovery) = &self.config.recovery {
            duration::check("max_disconnection", recovery.max_disconnection)?;
        }
        if let Some(routing) = &self.routing {
            routing.validate()?;
            if self.config.generate_id.is_some() {
                return Err(ConfigError::RoutingId);
            }
        }
        self.config.trusted_proxies = TrustedProxies::parse(&self.proxies, self.forwarded_header)?;
        let path = self.config.path.trim_end_matches('/');
        let is_path =
            path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'?');
        if !is_path {
            return Err(ConfigError::Path(self.config.path));
        }
        self.config.path = match self.config.add_trailing_slash {
            true => format!("{path}/"),
            false => path.to_owned(),
        };
        if let Some(directory) = &self.client_files {
            self.config.client_files = Some(Arc::new(ClientFiles::load(directory)?));
        }
        Ok(Server::with(
            self.engine,
            self.connection,
            self.config,
            self.routing,
        ))
    }
}

fn hook<A, T, F, Fut>(function: F) -> Hook<A, T>
where
    F: FnOnce(A) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let function = Held::uncounted(function);
    Arc::new(move |argument| Box::pin((*function).clone()(argument)))
}

fn headers_hook(
    change: impl Fn(&mut HeaderMap, &RequestInfo) + Send + Sync + 'static,
) -> HeadersHook {
    let change = Held::uncounted(change);
    Arc::new(move |headers, request| (*change)(headers, request))
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("engine", &self.engine)
            .field("path", &self.config.path)
            .finish_non_exhaustive()
    }
}
