//! The options of a client, as an application gives them.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_proto::engine::Transport;
use socketio_proto::socket::{ClientSocketConfig, Parser, ReconnectConfig};

use super::address::Address;
use super::auth::Auth;
use super::config::{Config, Version};
use super::dial::{DialOptions, Dialer, Pem, ProxyChoice};
use super::error::{BuildError, ConnectError};
use super::handlers::Handlers;
use super::shared::Shared;
use super::socket::Socket;
use crate::application::Application;
use crate::duration;
use crate::event::Event;
use crate::handler::Handler;

/// The options of a client; made by [`Client::builder`](super::Client::builder).
///
/// The defaults are those of the JavaScript client.
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect` or `build` is called"]
pub struct ClientBuilder {
    url: String,
    namespace: Option<String>,
    path: String,
    trailing_slash: bool,
    query: Vec<(String, String)>,
    auth: Result<Auth, BuildError>,
    version: Version,
    transports: Vec<Transport>,
    upgrade: bool,
    remember_upgrade: bool,
    try_all_transports: bool,
    parser: Option<Arc<dyn Parser>>,
    headers: Vec<(String, String)>,
    cookies: bool,
    force_base64: bool,
    timestamps: bool,
    deflate: bool,
    subprotocols: Vec<String>,
    reconnect: ReconnectConfig,
    retries: Option<u32>,
    ack_timeout: Option<Duration>,
    max_queue: usize,
    max_message: usize,
    max_attachments: usize,
    max_running_handlers: usize,
    dial: DialOptions,
    handlers: Handlers,
    application: Arc<Application>,
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> ClientBuilder {
        let application = Application::new();
        ClientBuilder {
            url: url.to_owned(),
            namespace: None,
            path: "/socket.io".to_owned(),
            trailing_slash: true,
            query: Vec::new(),
            auth: Ok(Auth::None),
            version: Version::V4,
            transports: vec![Transport::Polling, Transport::WebSocket],
            upgrade: true,
            remember_upgrade: false,
            try_all_transports: false,
            parser: None,
            headers: Vec::new(),
            cookies: true,
            force_base64: false,
            timestamps: true,
            deflate: false,
            subprotocols: Vec::new(),
            reconnect: ReconnectConfig::default(),
            retries: None,
            ack_timeout: None,
            max_queue: 16 * 1024 * 1024,
            max_message: 100 * 1024 * 1024,
            max_attachments: 10,
            max_running_handlers: 1000,
            dial: DialOptions::default(),
            handlers: Handlers::new(&application),
            application,
        }
    }

    // --- What to join ---

    /// Sets the namespace. Default: the path of the URL.
    pub fn namespace(mut self, name: impl Into<String>) -> ClientBuilder {
        self.namespace = Some(name.into());
        self
    }

    /// Sets the path of the requests, which is not the path of the URL. Default: `/socket.io`.
    pub fn path(mut self, path: impl Into<String>) -> ClientBuilder {
        self.path = path.into();
        self
    }

    /// Leaves the slash at the end of the requests' path out.
    #[doc(alias = "addTrailingSlash")]
    pub fn without_trailing_slash(mut self) -> ClientBuilder {
        self.trailing_slash = false;
        self
    }

    /// Adds a parameter to the query of each request. The query of the URL is sent as well.
    pub fn query(mut self, key: impl Into<String>, value: impl Into<String>) -> ClientBuilder {
        self.query.push((key.into(), value.into()));
        self
    }

    /// Sets what the server's middlewares get as `auth`: a JSON object.
    pub fn auth(mut self, auth: impl Serialize) -> ClientBuilder {
        self.auth = Auth::value(&auth);
        self
    }

    /// Sets what gives `auth`, each time anew that the namespace is joined: a token can be refreshed.
    ///
    /// An error is told as `connect_error`, and the connection is tried again after a pause. What takes
    /// longer than the [`timeout`](ClientBuilder::timeout) counts as failed, and so does what panics.
    ///
    /// ```
    /// use serde_json::json;
    /// use socketio::Client;
    ///
    /// # async fn fresh_token() -> Result<String, std::io::Error> { Ok("t".to_owned()) }
    /// let builder = Client::builder("http://localhost:3000").auth_with(async || {
    ///     let token = fresh_token().await?;
    ///     Ok::<_, std::io::Error>(json!({ "token": token }))
    /// });
    /// # drop(builder);
    /// ```
    pub fn auth_with<F, Fut, T, E>(mut self, provider: F) -> ClientBuilder
    where
        F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Display,
    {
        self.auth = Ok(Auth::provider(provider, &self.application));
        self
    }

    /// Speaks to servers of another version. Default: [`Version::V4`], which is Socket.IO 3 and 4.
    pub fn version(mut self, version: Version) -> ClientBuilder {
        self.version = version;
        self
    }

    /// Replaces the form of packets on the wire; the server must have the same.
    ///
    /// It must not block. Should it panic, the packet that it was to encode is not sent, and a message that
    /// it was to decode ends the connection as a malformed one does.
    pub fn parser(mut self, parser: impl Parser + 'static) -> ClientBuilder {
        self.parser = Some(Arc::new(parser));
        self
    }

    /// Handles an event, from the first on that the server sends. See [`Socket::on`].
    ///
    /// # Panics
    ///
    /// As [`Socket::on`].
    #[track_caller]
    pub fn on<S>(self, event: impl AsRef<str>, handler: impl Handler<Socket, S>) -> ClientBuilder {
        self.handlers.on(event.as_ref(), handler);
        self
    }

    /// Handles a typed event, whose name its type carries.
    ///
    /// # Panics
    ///
    /// As [`Socket::on`].
    #[track_caller]
    pub fn on_event<E, S>(self, handler: impl Handler<Socket, S>) -> ClientBuilder
    where
        E: Event + DeserializeOwned,
    {
        self.on(E::NAME, handler)
    }

    // --- Transports ---

    /// Sets the transports, in the order of preference: the first is opened, the others may be upgraded
    /// to. Default: polling, WebSocket.
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> ClientBuilder {
        self.transports = transports.into_iter().collect();
        self
    }

    /// Stays with the first transport.
    #[doc(alias = "upgrade")]
    pub fn without_upgrade(mut self) -> ClientBuilder {
        self.upgrade = false;
        self
    }

    /// Begins with WebSocket if the connection before has ended there.
    #[doc(alias = "rememberUpgrade")]
    pub fn remember_upgrade(mut self) -> ClientBuilder {
        self.remember_upgrade = true;
        self
    }

    /// Tries the next transport at once when the first cannot be opened.
    #[doc(alias = "tryAllTransports")]
    pub fn try_all_transports(mut self) -> ClientBuilder {
        self.try_all_transports = true;
        self
    }

    /// Sends a header with each request and WebSocket handshake. One that cannot be sent is a
    /// [`BuildError`].
    #[doc(alias = "extraHeaders")]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> ClientBuilder {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Forgets the server's cookies. By default they are kept for as long as the client lives and sent
    /// back, so that cookie-based sticky sessions work.
    #[doc(alias = "withCredentials")]
    pub fn without_cookies(mut self) -> ClientBuilder {
        self.cookies = false;
        self
    }

    /// Asks the server for base64 instead of binary in polling.
    #[doc(alias = "forceBase64")]
    pub fn force_base64(mut self) -> ClientBuilder {
        self.force_base64 = true;
        self
    }

    /// Leaves the parameter `t` out, which keeps caches from answering polling requests.
    #[doc(alias = "timestampRequests")]
    pub fn without_timestamps(mut self) -> ClientBuilder {
        self.timestamps = false;
        self
    }

    /// Offers subprotocols to the server in the handshakes of WebSockets; which one it has chosen, if
    /// any, is told by [`Manager::subprotocol`](crate::client::Manager::subprotocol). Default: none.
    ///
    /// A name that is no token, or there twice, is an error of [`build`](ClientBuilder::build).
    #[doc(alias = "protocols")]
    pub fn subprotocols(
        mut self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> ClientBuilder {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Offers the server to compress WebSocket messages, and compresses those of 1,024 bytes and more if
    /// it agrees (RFC 7692). Default: not.
    ///
    /// It costs up to 371 KiB for a connection to a server that lets the client compress with regard to
    /// earlier messages, and 47 KiB for one to a server that does so itself.
    #[doc(alias = "perMessageDeflate")]
    pub fn per_message_deflate(mut self) -> ClientBuilder {
        self.deflate = true;
        self
    }

    // --- Reconnection ---

    /// Does not connect again when the connection is lost or cannot be opened.
    #[doc(alias = "reconnection")]
    pub fn without_reconnection(mut self) -> ClientBuilder {
        self.reconnect.enabled = false;
        self
    }

    /// Sets after how many attempts to connect again it gives up. Default: never; 0 is the same.
    #[doc(alias = "reconnectionAttempts")]
    pub fn reconnection_attempts(mut self, attempts: u32) -> ClientBuilder {
        self.reconnect.attempts = Some(attempts).filter(|&attempts| attempts > 0);
        self
    }

    /// Sets the first pause before it connects again; each further one is twice as long. Default: 1 s.
    #[doc(alias = "reconnectionDelay")]
    pub fn reconnection_delay(mut self, delay: Duration) -> ClientBuilder {
        self.reconnect.delay = delay;
        self
    }

    /// Sets the longest pause. Default: 5 s.
    #[doc(alias = "reconnectionDelayMax")]
    pub fn reconnection_delay_max(mut self, delay: Duration) -> ClientBuilder {
        self.reconnect.delay_max = delay;
        self
    }

    /// Sets which part of a pause is random, from 0 to 1, so that clients do not come back all at once.
    /// Default: 0.5.
    #[doc(alias = "randomizationFactor")]
    pub fn randomization_factor(mut self, factor: f64) -> ClientBuilder {
        self.reconnect.randomization_factor = factor.clamp(0.0, 1.0);
        self
    }

    /// Bounds an attempt to connect, and then the joining of each namespace: the wait for `auth`, and the
    /// wait for the server's answer to CONNECT. Default: 20 s.
    ///
    /// A connection on which no namespace was joined in time is given up, as one that was not opened;
    /// beside others a namespace that the server does not answer for is told as an error, again and
    /// again.
    pub fn timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.reconnect.timeout = Some(timeout);
        self
    }

    // --- Delivery ---

    /// Bounds the wait for each answer that has no timeout of its own, and for each try of
    /// [`retries`](ClientBuilder::retries). Default: without bound; 10 s with `retries`.
    #[doc(alias = "ackTimeout")]
    pub fn ack_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.ack_timeout = Some(timeout);
        self
    }

    /// Sends each event again, up to so many times, until the server has answered it; one after the
    /// other, and across reconnections. Needs a server that answers each event. Each try has the
    /// [`ack_timeout`](ClientBuilder::ack_timeout), or the event's own
    /// [`timeout`](Socket::timeout). Volatile events are not repeated. Default: off.
    pub fn retries(mut self, retries: u32) -> ClientBuilder {
        self.retries = Some(retries);
        self
    }

    /// Bounds the bytes that wait to be sent, those that wait for a connection, and those of events that
    /// wait for their handlers. Default: 16 MiB each. Where nothing waits, one message of any size may.
    pub fn max_queue(mut self, bytes: usize) -> ClientBuilder {
        self.max_queue = bytes;
        self
    }

    /// Bounds a message of the server, in bytes: a larger one ends the connection. Default: 100 MiB.
    pub fn max_message(mut self, bytes: usize) -> ClientBuilder {
        self.max_message = bytes;
        self
    }

    /// Bounds the attachments of one packet of the server. Default: 10.
    #[doc(alias = "maxAttachments")]
    pub fn max_attachments(mut self, count: usize) -> ClientBuilder {
        self.max_attachments = count;
        self
    }

    /// Bounds the handlers that run at the same time; further events wait for them, in order, up to
    /// [`max_queue`](ClientBuilder::max_queue). Default: 1,000.
    pub fn max_running_handlers(mut self, count: usize) -> ClientBuilder {
        self.max_running_handlers = count;
        self
    }

    // --- Network ---

    /// Connects through a proxy: `http://`, `https://`, `socks5://` or, if it is to resolve names
    /// itself, `socks5h://`, with name and password in the URL if it needs them. Default: what
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    ///
    /// An HTTP proxy is asked for tunnels; one that refuses them with 403 or 405 forwards polling
    /// without TLS. Nothing goes around a proxy: one that cannot be used is an error, of
    /// [`build`](ClientBuilder::build) or, where a variable names it, of the attempt to connect. It may
    /// take three quarters of [`timeout`](ClientBuilder::timeout).
    pub fn proxy(mut self, url: impl Into<String>) -> ClientBuilder {
        self.dial.proxy = ProxyChoice::Url(url.into());
        self
    }

    /// Connects without a proxy, whatever the environment says.
    pub fn without_proxy(mut self) -> ClientBuilder {
        self.dial.proxy = ProxyChoice::None;
        self
    }

    /// Connects to a Unix socket; the URL's host is then only sent as a header.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> ClientBuilder {
        self.dial.unix_socket = Some(path.into());
        self
    }

    /// Connects from this address of the machine.
    #[doc(alias = "localAddress")]
    pub fn local_address(mut self, address: IpAddr) -> ClientBuilder {
        self.dial.local_address = Some(address);
        self
    }

    /// Trusts the certificates in a PEM file, beside those that the platform trusts.
    #[doc(alias = "ca")]
    pub fn root_certificate(mut self, file: impl Into<PathBuf>) -> ClientBuilder {
        let file = Pem::File(file.into());
        self.dial.tls.root_certificates.push(file);
        self
    }

    /// Trusts the certificates in a PEM text, as [`root_certificate`](ClientBuilder::root_certificate)
    /// does those in a file.
    pub fn root_certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> ClientBuilder {
        let pem = Pem::Bytes(pem.into());
        self.dial.tls.root_certificates.push(pem);
        self
    }

    /// Shows the server a certificate: a chain and its key, both PEM files.
    #[doc(alias = "cert")]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> ClientBuilder {
        let pair = (Pem::File(certificate.into()), Pem::File(key.into()));
        self.dial.tls.client_certificate = Some(pair);
        self
    }

    /// Shows the server a certificate: a chain and its key, both PEM texts.
    pub fn client_certificate_pem(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> ClientBuilder {
        let pair = (Pem::Bytes(certificate.into()), Pem::Bytes(key.into()));
        self.dial.tls.client_certificate = Some(pair);
        self
    }

    /// Accepts any certificate: whoever is on the way can read and change everything. For tests only.
    #[doc(alias = "rejectUnauthorized")]
    pub fn danger_accept_invalid_certificates(mut self) -> ClientBuilder {
        self.dial.tls.danger_accept_invalid_certificates = true;
        self
    }

    // --- The end ---

    /// Makes the socket without connecting: register handlers, then call [`Socket::connect`].
    ///
    /// # Errors
    ///
    /// When an option cannot be used.
    #[doc(alias = "autoConnect")]
    pub fn build(self) -> Result<Socket, BuildError> {
        let durations = [
            ("reconnection_delay", Some(self.reconnect.delay)),
            ("reconnection_delay_max", Some(self.reconnect.delay_max)),
            ("timeout", self.reconnect.timeout),
            ("ack_timeout", self.ack_timeout),
        ];
        for (option, given) in durations {
            duration::check(option, given.unwrap_or_default())?;
        }
        let address = Address::parse(&self.url)?;
        let namespace = self.namespace.unwrap_or_else(|| address.namespace.clone());
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (name, value) = header(name, value)?;
            headers.append(name, value);
        }
        if self.transports.is_empty() {
            return Err(BuildError::NoTransports);
        }
        let mut query = address.query.clone().unwrap_or_default();
        for (key, value) in &self.query {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(url::form_urlencoded::byte_serialize(key.as_bytes()));
            query.push('=');
            query.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
        }
        let mut path = self.path.trim_end_matches('/').to_owned();
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        if self.trailing_slash && path != "/" {
            path.push('/');
        }
        let config = Config {
            address,
            path: path.into(),
            query: query.into(),
            version: self.version,
            transports: self.transports,
            upgrade: self.upgrade,
            remember_upgrade: self.remember_upgrade,
            try_all_transports: self.try_all_transports,
            parser: self.parser,
            headers,
            cookies: self.cookies,
            force_base64: self.force_base64,
            timestamps: self.timestamps,
            deflate: self.deflate,
            subprotocols: subprotocols(self.subprotocols)?,
            socket: ClientSocketConfig {
                max_bytes: self.max_queue,
                retries: self.retries.unwrap_or(0),
                ack_timeout: self
                    .ack_timeout
                    .or(self.retries.map(|_| DEFAULT_TRY_TIMEOUT)),
            },
            retries: self.retries.is_some(),
            max_queue: self.max_queue,
            max_message: self.max_message,
            max_attachments: self.max_attachments,
            max_running_handlers: self.max_running_handlers.max(1),
            dialer: Dialer::new(DialOptions {
                timeout: self.reconnect.timeout,
                ..self.dial
            })?,
        };
        let manager = Shared::start(config, self.reconnect, self.application);
        manager.add(&namespace, self.auth?, self.handlers)
    }

    /// Connects; resolves when the namespace is joined.
    ///
    /// # Errors
    ///
    /// When an option cannot be used, and when the first attempt fails: nothing goes on then. To keep
    /// trying, [`build`](ClientBuilder::build) the socket and hold it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(self) -> Result<Socket, ConnectError> {
        let socket = self.build()?;
        socket.connect().await?;
        Ok(socket)
    }
}

/// Spec: RFC 6455, section 4.1, point 10: tokens, each once.
fn subprotocols(names: Vec<String>) -> Result<Vec<String>, BuildError> {
    for (at, name) in names.iter().enumerate() {
        let is_token = HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !is_token || names[..at].contains(name) {
            return Err(BuildError::Header {
                name: "Sec-WebSocket-Protocol".to_owned(),
                reason: format!("\"{name}\" is no token, or is offered twice"),
            });
        }
    }
    Ok(names)
}
/// How long a try has to be answered if nothing else is said.
const DEFAULT_TRY_TIMEOUT: Duration = Duration::from_secs(10);

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BuildError> {
    let wrong = |reason: &str| BuildError::Header {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let key = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| wrong("its name has characters that no header has"))?;
    let is_own = matches!(
        key.as_str(),
        "connection" | "content-length" | "transfer-encoding" | "upgrade"
    );
    if is_own || key.as_str().starts_with("sec-websocket-") {
        return Err(wrong("the client sets it by itself"));
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| wrong("its value has characters that no header has"))?;
    Ok((key, value))
}
