//! The server standing alone: a listener, HTTP/1.1, and TLS if wanted.

use socketio_proto::Printable;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::http::header::{CONNECTION, HOST, UPGRADE};
use ::http::{HeaderValue, Request, Response, StatusCode, Version};
use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as HyperService;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower_service::Service;

use super::admission::Limits;
use super::body::ResponseBody;
use super::config::ConfigError;
use super::first_head::Begun;
use super::http::{self, Answer, Peer};
use super::http_connections::{End, Entry, HttpConnection, Pending};
use super::http_stream::HttpStream;
use super::proxies::Networks;
use super::service::{NotFound, SocketIoLayer, SocketIoService};
use super::{Shared, files, proxy_protocol};
use crate::application::Callback;

/// The pause after the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The same, when connections were sent away.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// So many connections at most are sent away when one cannot be accepted.
const ROOM: usize = 64;
/// So many lines a request's head may have; some proxies add dozens.
const MAX_HEADER_LINES: usize = 500;
/// The HTTP library allows 100. A connection may have more if its first request has as many as this.
const MANY_LINES: usize = 50;

/// A listening server. It accepts when awaited, and until [`Server::close`](crate::Server::close).
#[must_use = "it accepts nobody unless awaited"]
pub struct Listening<S = NotFound> {
    server: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    /// Whose connections begin with the PROXY protocol; there are no others then.
    proxies: Option<Networks>,
    fallback: S,
    /// After which time upgrade requests that are nobody's are dropped.
    destroy_upgrade: Option<Duration>,
}

/// Why a server cannot serve TLS.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or has no PEM section of the kind expected.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key cannot be used together.
    #[error("the certificate and the key cannot be used: {0}")]
    Rejected(String),
}

impl Listening<NotFound> {
    pub(crate) async fn bind(server: Arc<Shared>, address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Listening::on(server, TcpListener::bind(address).await?))
    }

    pub(crate) fn on(server: Arc<Shared>, listener: TcpListener) -> Self {
        let destroy_upgrade = server.config().destroy_upgrade;
        Listening {
            server,
            listener,
            tls: None,
            proxies: None,
            fallback: NotFound,
            destroy_upgrade,
        }
    }
}

impl<S> Listening<S> {
    /// The address, with the port that the system chose if 0 was asked for.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests for other paths by a service, such as an axum router; upgrades are then its
    /// own affair, too. Default: 404, and upgrade requests are dropped. Where the service panics, the
    /// answer is 500.
    pub fn fallback<T>(self, fallback: T) -> Listening<T> {
        let Listening {
            server,
            listener,
            tls,
            proxies,
            ..
        } = self;
        Listening {
            server,
            listener,
            tls,
            proxies,
            fallback,
            destroy_upgrade: None,
        }
    }

    /// Serves HTTPS and WSS with a certificate (a chain in PEM) and its key (in PEM).
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or certificate and key do not fit.
    pub fn tls(
        mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| file_error(certificate, &error))?;
        if chain.is_empty() {
            return Err(file_error(certificate, &"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
            pem::Error::NoItemsFound => file_error(key, &"there is no private key in it"),
            error => file_error(key, &error),
        })?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Rejected(error.to_string()))?;
        self.tls = Some(TlsAcceptor::from(Arc::new(config)));
        Ok(self)
    }

    /// Expects the PROXY protocol, version 1 or 2, at the beginning of each connection, as a load
    /// balancer that passes TCP on can send it; the client's address is taken from it.
    ///
    /// The load balancers are named by address or network, such as `10.0.0.0/8`. Connections of anybody
    /// else are dropped, who could claim any address, and so are those that begin otherwise;
    /// [`Stats::refused_proxies`](crate::Stats::refused_proxies) counts both. Where only load balancers
    /// reach the port, `["0.0.0.0/0", "::/0"]` lets all in.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let io = socketio::Server::new();
    /// let listening = io.listen("127.0.0.1:0").await?.proxy_protocol(["10.0.0.0/8", "fd00::/8"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When one is neither an address nor a network.
    pub fn proxy_protocol<'a>(
        mut self,
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        self.proxies = Some(Networks::parse(networks)?);
        Ok(self)
    }

    /// Serves HTTPS and WSS with a configuration of rustls.
    pub fn tls_config(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(TlsAcceptor::from(config));
        self
    }
}

fn file_error(path: &Path, reason: &dyn fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

impl<S, B> IntoFuture for Listening<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S, B> Listening<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    async fn run(self) -> io::Result<()> {
        let server = self.server.clone();
        let mut closed = server.closed();
        let destroy_upgrade = self.destroy_upgrade;
        let service = SocketIoLayer(server.clone()).wrap(self.fallback);
        let connections = server.http_connections().clone();
        let number = connections.add_listener();
        let max = max_tcp_connections(&server.config().limits);
        let mut look = tokio::time::interval(server.config().head_timeout);
        let mut pause = None;
        loop {
            let accepted = {
                let accept = pin!(async {
                    if let Some(pause) = pause.take() {
                        tokio::time::sleep(pause).await;
                    }
                    self.listener.accept().await
                });
                let closed = pin!(wait_closed(&mut closed));
                let look = pin!(look.tick());
                // A flood of connections, or of failures, starves neither of the others.
                match select(select(closed, look), accept).await {
                    Either::Left((Either::Left(_), _)) => {
                        connections.close();
                        let timeout = self.server.config().shutdown_timeout;
                        // Answers that are being written are last words, too.
                        let _ = tokio::time::timeout(timeout, connections.all_ended()).await;
                        connections.cut_off();
                        return Ok(());
                    }
                    Either::Left((Either::Right(_), _)) => {
                        connections.end_idle(number);
                        continue;
                    }
                    Either::Right((accepted, _)) => accepted,
                }
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause = accept_failed(&server, &error);
                    continue;
                }
            };
            if let Some(proxies) = &self.proxies
                && !proxies.contains(address.ip())
            {
                server.counters().refused_proxies();
                server.refusals().log_stranger(address);
                continue;
            }
            if connections.len() >= max {
                server.refusals().log_crowd(max);
                if !make_room(&server) {
                    server.counters().dropped_connections();
                    continue;
                }
                // Whoever was sent away gets the time to go.
                tokio::task::yield_now().await;
            }
            // Small packets must not wait for each other.
            let _ = stream.set_nodelay(true);
            let peer = Peer {
                address,
                secure: self.tls.is_some(),
            };
            let entry = connections.add(number);
            let http = entry.connection().clone();
            let mut service = Connection {
                service: service.clone(),
                peer,
                http,
                destroy_upgrade,
            };
            let is_proxied = self.proxies.is_some();
            if self.tls.is_none() && !is_proxied {
                tokio::spawn(serve(stream, service, entry));
                continue;
            }
            let tls = self.tls.clone();
            let server = server.clone();
            tokio::spawn(async move {
                let mut stream = stream;
                let http = entry.connection().clone();
                if is_proxied {
                    let header = async {
                        let header = proxy_protocol::read(&mut stream).await;
                        header.inspect_err(|error| {
                            // What ends before was a look whether the port is open.
                            if error.kind() == io::ErrorKind::InvalidData {
                                server.counters().refused_proxies();
                                server.refusals().log_no_proxy_header(address);
                            }
                        })
                    };
                    let client =
                        within(&server, &http, "the PROXY protocol", address, header).await;
                    let Some(client) = client else { return };
                    service.peer.address = client.unwrap_or(address);
                }
                let Some(tls) = tls else {
                    return serve(stream, service, entry).await;
                };
                let accept = tls.accept(stream);
                if let Some(stream) = within(&server, &http, "TLS", address, accept).await {
                    serve(stream, service, entry).await;
                }
            });
        }
    }
}

/// How many TCP connections there may be.
fn max_tcp_connections(limits: &Limits) -> usize {
    match files::limit() {
        Some(files) => limits.max_tcp().min(files::for_connections(files)),
        None => limits.max_tcp(),
    }
}

/// Sends connections away that are the least loss; false if there are none.
fn make_room(server: &Shared) -> bool {
    let gone = server.http_connections().make_room(Instant::now());
    for _ in 0..gone {
        server.counters().dropped_connections();
    }
    gone > 0
}

/// Awaits the beginning of a connection, which must not take long.
async fn within<T>(
    server: &Shared,
    http: &HttpConnection,
    what: &str,
    address: SocketAddr,
    beginning: impl Future<Output = io::Result<T>>,
) -> Option<T> {
    let beginning = tokio::time::timeout(server.config().head_timeout, beginning);
    let end = std::future::poll_fn(|cx| http.poll_end(cx));
    match select(pin!(beginning), end).await {
        Either::Left((Ok(Ok(done)), _)) => return Some(done),
        Either::Left((Ok(Err(error)), _)) => {
            tracing::debug!(%address, error = %Printable::new(&error), "{what}: a handshake failed");
        }
        Either::Right((End::CrowdedOut, _)) => {}
        Either::Left((Err(_), _)) | Either::Right((End::Idle, _)) => {
            server.counters().slow_clients();
            tracing::debug!(%address, "{what}: a handshake took too long");
        }
    }
    None
}

async fn wait_closed(closed: &mut watch::Receiver<bool>) {
    // An error means that the server is gone altogether.
    let _ = closed.wait_for(|closed| *closed).await;
}

/// A failed accept concerns one connection, or the whole process is out of file descriptors: then
/// those connections end that are the least loss, and it helps to wait until they have. Gives for how
/// long.
fn accept_failed(server: &Shared, error: &io::Error) -> Option<Duration> {
    let kind = error.kind();
    if matches!(
        kind,
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        return None;
    }
    server.refusals().log_accept(error);
    let gone = (0..ROOM).take_while(|_| make_room(server)).count();
    Some(if gone > 0 { SHORT_PAUSE } else { ACCEPT_PAUSE })
}

/// Serves HTTP/1.1 on one connection until it ends or has become a WebSocket.
async fn serve<IO, S, B>(stream: IO, service: Connection<S>, entry: Entry)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let http = service.http.clone();
    let server = service.service.server().clone();
    let max_bytes = server.config().max_header_bytes;
    let mut stream = Begun::new(stream);
    let has_head = std::future::poll_fn(|cx| {
        http.register(cx);
        if let Some(end) = http.ending() {
            if end == End::Idle {
                server.counters().slow_clients();
            }
            return Poll::Ready(false);
        }
        if http.is_closed() {
            return Poll::Ready(false);
        }
        stream.poll_head(cx, max_bytes).map(|read| read.is_ok())
    })
    .await;
    if !has_head {
        return;
    }
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(max_bytes)
        .max_header_size(max_bytes)
        // Answers are small: one buffer costs less than two slices.
        .writev(false);
    // On a proxy's connections each request may be another client's.
    if stream.lines() > MANY_LINES || server.trusts(service.peer.address.ip()) {
        builder.max_headers(MAX_HEADER_LINES);
    }
    let connection = builder
        .serve_connection(TokioIo::new(HttpStream::new(stream, http.clone())), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut closing = false;
    let result = std::future::poll_fn(|cx| {
        if let Some(end) = http.ending() {
            if end == End::Idle && http.is_blocked() {
                server.counters().slow_clients();
            }
            return Poll::Ready(Ok(()));
        }
        if http.is_closed() && !closing {
            closing = true;
            // Being told has used the waker up.
            http.register(cx);
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    drop(entry);
    if let Err(error) = result {
        if error.is_parse_too_large() {
            server.counters().long_heads();
            server.refusals().log_long_head(max_bytes, MAX_HEADER_LINES);
        }
        tracing::trace!(error = %Printable::new(&error), "an HTTP connection ended");
    }
}

/// The service of one connection, which knows its peer.
struct Connection<S> {
    service: SocketIoService<S>,
    peer: Peer,
    http: Arc<HttpConnection>,
    destroy_upgrade: Option<Duration>,
}

impl<S, B> HyperService<Request<Incoming>> for Connection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<ResponseBody<B>>;
    type Error = Infallible;
    type Future = Answering<B>;

    fn call(&self, request: Request<Incoming>) -> Answering<B> {
        let pending = self.http.begin();
        if !has_host(&request) {
            return Answering {
                answer: Answer::Now(Some(bad_request())),
                pending: Some(pending),
                is_ours: true,
            };
        }
        let server = self.service.server();
        if server.serves(request.uri().path()) {
            return Answering {
                answer: http::answer(server, request, Some(self.peer)),
                pending: Some(pending),
                is_ours: true,
            };
        }
        let is_upgrade = request.headers().contains_key(UPGRADE);
        let answer: BoxFuture<_> = match self.destroy_upgrade {
            // Nobody here speaks for this path: like the reference, end the connection without a word.
            Some(after) if is_upgrade => Box::pin(async move {
                tokio::time::sleep(after).await;
                Response::new(ResponseBody::abort())
            }),
            _ => {
                let mut service = self.service.clone();
                let application = server.application().clone();
                Box::pin(async move {
                    let answer: BoxFuture<_> = Box::pin(async move {
                        let Ok(()) = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
                        let Ok(response) = service.call(request).await;
                        response
                    });
                    let answer = application.run(Callback::Fallback, || answer).await;
                    answer.unwrap_or_else(|_| {
                        let mut response = Response::new(ResponseBody::full(Bytes::new()));
                        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                        response
                    })
                })
            }
        };
        Answering {
            answer: Answer::Later(answer),
            pending: Some(pending),
            is_ours: false,
        }
    }
}

/// Says whether a request has the one `Host` that HTTP/1.1 demands. RFC 9112, section 3.2.
fn has_host(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    let is_there = headers.contains_key(HOST);
    let are_two = !http::has_no_twins(headers) && headers.get_all(HOST).iter().nth(1).is_some();
    !are_two && (is_there || request.version() != Version::HTTP_11)
}

fn bad_request<B>() -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::full(Bytes::new()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An answer in the making.
struct Answering<B> {
    answer: Answer<B>,
    pending: Option<Pending>,
    /// It is answered by the server, and not by the service below.
    is_ours: bool,
}

impl<B> Future for Answering<B> {
    type Output = Result<Response<ResponseBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(Ok(match self.pending.take() {
            Some(pending) if !self.is_ours => response.map(|body| body.holding(pending)),
            Some(pending) if response.status() == StatusCode::OK => {
                pending.is_of_session();
                response
            }
            _ => response,
        }))
    }
}

impl<S> fmt::Debug for Listening<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening")
            .field("address", &self.local_addr().ok())
            .finish_non_exhaustive()
    }
}
