//! Several servers without sticky sessions: a session's id names its server, and whoever gets a
//! request of another server's session forwards it there.
//!
//! A request is forwarded once at most: what another server has forwarded is answered here, whatever
//! comes of it. The server that only forwards runs nothing of the application's and adds no headers;
//! all that is the owner's.

mod forward;
mod keys;
mod passing;
mod tunnel;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::request::Parts;
use ::http::uri::Authority;
use ::http::{HeaderName, HeaderValue, Request};
use http_body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use socketio_proto::engine::{Query, RequestError};

use super::Shared;
use super::config::ConfigError;
use super::http::{self, Answer, Peer};
use crate::id::SessionId;
use keys::Keys;
use passing::Bounded;
use tunnel::Leaving;

pub(crate) use passing::Passing;

/// Makes several servers work behind a load balancer without sticky sessions.
///
/// The ids of sessions then name their server, which only those who know the secret can read. A
/// request that reaches another server is forwarded to its own one, by plain HTTP from server to
/// server; a WebSocket is passed on byte for byte. All servers need the same secret, and each an
/// address of its own at which the others reach it, past the load balancer. What is on the way
/// between them is not encrypted.
///
/// When the server of a session is gone, its requests are refused with code 1 like those of any
/// unknown session, and [`on_connection_error`](crate::Server::on_connection_error) tells which
/// server that was.
///
/// ```
/// use socketio::{Routing, Server};
///
/// let io = Server::builder()
///     .routing(Routing::new("10.0.0.5:3000", "a secret of all servers"))
///     .build();
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until it is given to `ServerBuilder::routing`"]
pub struct Routing {
    address: String,
    secret: Vec<u8>,
    forwards: bool,
    max_forwarded: usize,
}

impl Routing {
    /// Takes the address (host and port) at which the other servers reach this one, and the secret
    /// that all of them share, of at least 16 bytes.
    pub fn new(address: impl Into<String>, secret: impl AsRef<[u8]>) -> Routing {
        Routing {
            address: address.into(),
            secret: secret.as_ref().to_vec(),
            forwards: true,
            max_forwarded: 25_000,
        }
    }

    /// Sets how many requests and WebSockets may be on their way to other servers. Default: 25,000.
    ///
    /// One address has about 28,000 ports for connections to another. A request above this is refused
    /// with status 503 and `Retry-After`. WebSockets may take three quarters of the places: a client
    /// whose upgrade is refused stays on polling, and needs one of the others.
    pub fn max_forwarded(mut self, count: usize) -> Self {
        self.max_forwarded = count;
        self
    }

    /// Forwards nothing: a request that has reached the wrong server is refused, and the refusal
    /// names the right one. For those who have sticky sessions, and want to know when these fail.
    pub fn without_forwarding(mut self) -> Self {
        self.forwards = false;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let is_address = self
            .address
            .parse::<Authority>()
            .is_ok_and(|address| !address.as_str().contains('@') && address.port_u16() > Some(0));
        if !is_address || self.address.len() > MAX_ADDRESS {
            return Err(ConfigError::RoutingAddress(self.address.clone()));
        }
        if self.secret.len() < MIN_SECRET {
            return Err(ConfigError::RoutingSecret);
        }
        Ok(())
    }
}

/// More than 2^100 guesses if each byte has as little as 6.3 bits.
const MIN_SECRET: usize = 16;
/// The longest name of a host, and a port.
const MAX_ADDRESS: usize = 260;

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routing")
            .field("address", &self.address)
            .field("secret", &format_args!(".."))
            .field("forwards", &self.forwards)
            .field("max_forwarded", &self.max_forwarded)
            .finish()
    }
}

/// A server's part in routing.
pub(crate) struct Router {
    address: String,
    forwards: bool,
    keys: Keys,
    client: Client<HttpConnector, Bounded>,
    /// One for each request and each WebSocket that is on its way to another server.
    places: Arc<Semaphore>,
    max_forwarded: usize,
    leaving: watch::Sender<Option<Leaving>>,
}

/// Marks a request that another server has forwarded, and has from this client.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub(crate) client: Option<SocketAddr>,
    proof: String,
}

/// The header of a forwarded request (its proof, a semicolon and the client's address, if that is
/// known) and of the answer to it (the proof that it is one).
const FORWARDED: HeaderName = HeaderName::from_static("socketio-forwarded");

impl Router {
    pub(crate) fn new(options: Routing) -> Router {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(forward::CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Long before a server of ours ends an idle connection.
            .pool_idle_timeout(forward::IDLE_TIMEOUT)
            .pool_max_idle_per_host(forward::MAX_IDLE)
            .build(connector);
        let max_forwarded = options.max_forwarded.min(Semaphore::MAX_PERMITS);
        Router {
            address: options.address,
            forwards: options.forwards,
            keys: Keys::new(&options.secret),
            client,
            places: Arc::new(Semaphore::new(max_forwarded)),
            max_forwarded,
            leaving: watch::Sender::new(None),
        }
    }

    /// Ends the WebSockets of other servers' sessions over a window.
    pub(crate) fn leave(&self, window: Duration) {
        let start = Instant::now();
        self.leaving.send_replace(Some(Leaving { start, window }));
    }

    pub(crate) fn generate_id(&self) -> SessionId {
        self.keys.seal(&self.address)
    }

    /// Takes a place for a request, or for a WebSocket, which keeps it.
    fn place(&self, is_upgrade: bool) -> Option<OwnedSemaphorePermit> {
        let reserved = match is_upgrade {
            true => self.max_forwarded / 4,
            false => 0,
        };
        let is_free = self.places.available_permits() > reserved;
        is_free.then(|| self.places.clone().try_acquire_owned().ok())?
    }

    /// The number of requests and WebSockets that are on their way to other servers.
    pub(crate) fn in_flight(&self) -> usize {
        self.max_forwarded - self.places.available_permits()
    }

    /// The server that a request is to be forwarded to.
    fn elsewhere(&self, shared: &Shared, parts: &Parts) -> Option<String> {
        let query = Query::parse(parts.uri.query()?);
        let sid = query.get("sid")?;
        if !self.forwards || shared.sessions().get(sid).is_some() {
            return None;
        }
        self.keys.open(sid).filter(|server| *server != self.address)
    }

    /// Takes the mark off a forwarded request. What claims to be one and is none loses it, too.
    fn take_mark(&self, parts: &mut Parts) -> Option<Forwarded> {
        let value = parts.headers.remove(FORWARDED)?;
        let (proof, client) = value.to_str().ok()?.split_once(';')?;
        let target = parts.uri.path_and_query()?.as_str();
        self.keys
            .holds(proof, parts.method.as_str(), target, client)
            .then(|| Forwarded {
                client: client.parse().ok(),
                proof: proof.to_owned(),
            })
    }

    /// Says why there is no session with this id here.
    pub(crate) fn explain(&self, sid: String, parts: &Parts) -> RequestError {
        match self.keys.open(&sid) {
            None => RequestError::UnknownSid { sid },
            Some(server) if server == self.address => RequestError::SessionEnded { server },
            Some(server) if parts.extensions.get::<Forwarded>().is_some() => {
                RequestError::Misdirected { server }
            }
            Some(server) => RequestError::WrongServer { server },
        }
    }
}

/// Answers a request for the server's path, here or by way of the session's own server.
pub(crate) fn answer<Q, B>(
    shared: &Arc<Shared>,
    router: &Arc<Router>,
    request: Request<Q>,
    peer: Option<Peer>,
) -> Answer<B>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    if let Some(forwarded) = router.take_mark(&mut parts) {
        let proof = router.keys.prove_answer(&forwarded.proof);
        parts.extensions.insert(forwarded);
        let answer = http::answer_here(shared, Request::from_parts(parts, body), peer);
        return Answer::Later(Box::pin(async move {
            let mut response = answer.await;
            if let Ok(proof) = HeaderValue::try_from(proof) {
                response.headers_mut().insert(FORWARDED, proof);
            }
            response
        }));
    }
    match router.elsewhere(shared, &parts) {
        None => http::answer_here(shared, Request::from_parts(parts, body), peer),
        Some(server) => {
            parts.extensions.extend(http::extension(peer));
            let (shared, router) = (shared.clone(), router.clone());
            Answer::Later(Box::pin(forward::answer(
                shared, router, server, parts, body,
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port_and_nothing_else() {
        let validate = |address: &str| Routing::new(address, "0123456789abcdef").validate();
        for good in ["10.0.0.5:3000", "node-1.internal:80", "[::1]:3000"] {
            assert!(validate(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.0.0.5",
            "host:0",
            "host:99999",
            "a@host:80",
            "http://host:80",
            "host:80/path",
            "ho st:80",
            &format!("{}:80", "a".repeat(300)),
        ] {
            let error = validate(bad).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_no_secret_is_shown() {
        let error = Routing::new("a:1", "0123456789abcde").validate();
        assert!(matches!(error, Err(ConfigError::RoutingSecret)));
        let shown = format!("{:?}", Routing::new("a:1", "0123456789abcdef"));
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }
}
