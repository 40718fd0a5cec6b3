//! The way to a server's byte stream: TCP or a Unix socket, a proxy, TLS.
//!
//! Nothing here bounds the time: the caller does, and dropping the future releases everything.

mod no_proxy;
mod proxy;
#[cfg(test)]
mod proxy_tests;
mod socks;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(test)]
mod tls_tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socketio_proto::Hint;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::http::Habits;
use proxy::Proxies;
pub(crate) use proxy::{Forwarding, ProxyChoice};
use tls::Tls;
pub use tls::TlsError;
pub(crate) use tls::{Pem, TlsOptions, explain_late};

/// How long an address has to answer before the next one is tried beside it.
///
/// Spec: RFC 8305, section 5, "Connection Attempt Delay".
const STAGGER: Duration = Duration::from_millis(250);

/// Further addresses of a name are not tried: a name server may send thousands.
const MAX_ADDRESSES: usize = 16;

/// A byte stream to a server.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
pub(crate) type Stream = Box<dyn Io>;

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
}

/// How servers are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct DialOptions {
    pub(crate) proxy: ProxyChoice,
    pub(crate) unix_socket: Option<PathBuf>,
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) tls: TlsOptions,
    /// What bounds an attempt to connect.
    pub(crate) timeout: Option<Duration>,
}

/// Opens streams; shared by all connections of one client.
#[derive(Clone, Debug)]
pub(crate) struct Dialer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    proxies: Proxies,
    unix_socket: Option<PathBuf>,
    local_address: Option<IpAddr>,
    tls: Tls,
    habits: Habits,
    /// The proxy refuses tunnels to where this client connects, and forwards requests.
    forwards: AtomicBool,
    /// How long a proxy may take: less than an attempt to connect, so that it is known what hangs.
    proxy_patience: Option<Duration>,
    /// What the doctor trusts.
    #[cfg(feature = "doctor")]
    trusted: TlsOptions,
}

/// Why there is no stream.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error("{address} cannot be reached: {source}")]
    Connect {
        /// The server, and the addresses of its name if it has one.
        address: String,
        source: io::Error,
    },
    #[error("the name {host} cannot be resolved: {source}")]
    Dns { host: String, source: io::Error },
    #[error("the proxy {proxy} cannot be used: {what}")]
    Proxy {
        /// Its URL, without credentials.
        proxy: String,
        what: String,
    },
    #[error("TLS with {host} failed: {what}")]
    Tls {
        host: String,
        what: String,
        hint: Option<&'static str>,
    },
    #[error("the Unix socket {path} cannot be reached: {source}")]
    Unix { path: String, source: io::Error },
}

impl DialError {
    /// Says what to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            DialError::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => Hint::Refused.as_str(),
                io::ErrorKind::AddrNotAvailable => {
                    "the option `local_address` has to be an address of this machine, of the same family as the server's"
                }
                _ => Hint::Unreachable.as_str(),
            },
            DialError::Dns { .. } => Hint::UnknownHost.as_str(),
            DialError::Proxy { .. } => {
                "check the proxy's address and credentials in the option `proxy` or in HTTPS_PROXY, HTTP_PROXY and ALL_PROXY; NO_PROXY names hosts that need none"
            }
            DialError::Tls { hint, .. } => return *hint,
            DialError::Unix { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => {
                    "the socket was left behind by a server that has ended: is the server running?"
                }
                io::ErrorKind::PermissionDenied => {
                    "this user may not write to the socket: change its mode or owner"
                }
                io::ErrorKind::Unsupported => "connect by the server's address",
                _ => "is the server running, and is the path right?",
            },
        })
    }
}

impl Dialer {
    /// Reads the application's files and the environment; nothing of the network.
    pub(crate) fn new(options: DialOptions) -> Result<Dialer, TlsError> {
        Ok(Dialer(Arc::new(Inner {
            proxies: Proxies::new(&options.proxy)?,
            unix_socket: options.unix_socket,
            local_address: options.local_address,
            tls: Tls::new(&options.tls)?,
            habits: Habits::default(),
            forwards: AtomicBool::new(false),
            proxy_patience: options.timeout.map(|timeout| timeout / 4 * 3),
            #[cfg(feature = "doctor")]
            trusted: TlsOptions {
                client_certificate: None,
                ..options.tls
            },
        })))
    }

    /// What is known of the server's connections.
    pub(crate) fn habits(&self) -> &Habits {
        &self.0.habits
    }

    /// Whom the client trusts, without its own certificate.
    #[cfg(feature = "doctor")]
    pub(crate) fn trusted(&self) -> &TlsOptions {
        &self.0.trusted
    }

    #[cfg(feature = "doctor")]
    pub(crate) fn is_unix(&self) -> bool {
        self.0.unix_socket.is_some()
    }

    /// Connects to a server.
    pub(crate) async fn dial(&self, target: &Target) -> Result<Stream, DialError> {
        let (stream, _) = self.plain(target, false).await?;
        if !target.is_tls {
            return Ok(stream);
        }
        match self.0.tls.wrap(&target.host, stream, true).await {
            // What then comes has to be HTTP/1 as ever.
            Err(unwrapped) if unwrapped.wants_no_protocol => {
                let (stream, _) = self.plain(target, false).await?;
                let wrapped = self.0.tls.wrap(&target.host, stream, false).await;
                wrapped.map_err(|unwrapped| unwrapped.error)
            }
            wrapped => wrapped.map_err(|unwrapped| unwrapped.error),
        }
    }

    /// Connects for requests of HTTP, which without TLS a proxy may forward.
    pub(crate) async fn dial_http(
        &self,
        target: &Target,
    ) -> Result<(Stream, Option<Forwarding>), DialError> {
        match target.is_tls {
            true => Ok((self.dial(target).await?, None)),
            false => self.plain(target, true).await,
        }
    }

    /// Says how a connection of the pool is used: as all of the client that came by
    /// [`dial_http`](Dialer::dial_http).
    pub(crate) fn forwarding(&self, target: &Target) -> Option<Forwarding> {
        if !self.0.forwards.load(Ordering::Relaxed) {
            return None;
        }
        self.0.proxies.of(target)?.forwarding()
    }

    async fn plain(
        &self,
        target: &Target,
        may_forward: bool,
    ) -> Result<(Stream, Option<Forwarding>), DialError> {
        if let Some(path) = &self.0.unix_socket {
            return Ok((unix(path).await?, None));
        }
        match self.0.proxies.of(target) {
            Some(proxy) => proxy.connect(self, target, may_forward).await,
            None => Ok((Box::new(self.tcp(&target.host, target.port).await?), None)),
        }
    }

    /// Connects to the first address of a host that answers.
    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        self.tcp_to(host, port, resolve(host, port).await?).await
    }

    /// Spec: RFC 8305, "Happy Eyeballs Version 2", without its section 3: the resolver of the system
    /// gives all addresses at once.
    async fn tcp_to(
        &self,
        host: &str,
        port: u16,
        addresses: Vec<SocketAddr>,
    ) -> Result<TcpStream, DialError> {
        let mut waiting = addresses.iter();
        let mut attempts = FuturesUnordered::new();
        let mut failure: Option<io::Error> = None;
        loop {
            let next = waiting.next();
            attempts.extend(next.map(|address| self.attempt(*address)));
            let attempt = match next {
                // When it is over, the next one is tried even though this may still succeed.
                Some(_) => match timeout(STAGGER, attempts.next()).await {
                    Ok(attempt) => attempt,
                    Err(_) => continue,
                },
                None => attempts.next().await,
            };
            match attempt {
                Some(Ok(stream)) => {
                    // What is queued leaves in one write anyway.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Some(Err(error)) => {
                    // That nothing listens tells more than that a network is out of reach.
                    let tells_more = error.kind() == io::ErrorKind::ConnectionRefused;
                    if tells_more || failure.is_none() {
                        failure = Some(error);
                    }
                }
                None => break,
            }
        }
        Err(DialError::Connect {
            address: shown(host, port, &addresses),
            source: failure.unwrap_or_else(|| io::Error::other("it has no addresses")),
        })
    }

    async fn attempt(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(local) = self.0.local_address else {
            return TcpStream::connect(address).await;
        };
        if local.is_ipv4() != address.is_ipv4() {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("the local address {local} is of the other family"),
            ));
        }
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4()?,
            false => TcpSocket::new_v6()?,
        };
        socket.bind((local, 0).into())?;
        socket.connect(address).await
    }
}

/// The addresses of a host, in the order in which they are tried.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    let dns = |source| DialError::Dns {
        host: host.to_owned(),
        source,
    };
    let found: Vec<_> = lookup_host((host, port)).await.map_err(dns)?.collect();
    if found.is_empty() {
        return Err(dns(io::Error::other("it has no addresses")));
    }
    Ok(alternating(found))
}

/// Lets the families take turns, so that a broken one costs little, beginning with the resolver's
/// first choice.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let turns = std::iter::repeat_with(|| [first.next(), second.next()]);
    turns
        .take_while(|turn| turn.iter().any(Option::is_some))
        .flatten()
        .flatten()
        .take(MAX_ADDRESSES)
        .collect()
}

/// `[::1]:3000`, or `localhost:3000 (127.0.0.1, ::1)`.
fn shown(host: &str, port: u16, addresses: &[SocketAddr]) -> String {
    let authority = authority(host, port);
    if host.parse::<IpAddr>().is_ok() {
        return authority;
    }
    let addresses: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
    format!("{authority} ({})", addresses.join(", "))
}

/// Host and port as they stand in a URL.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(unix)]
async fn unix(path: &Path) -> Result<Stream, DialError> {
    let stream = tokio::net::UnixStream::connect(path).await;
    let error = |source| DialError::Unix {
        path: path.display().to_string(),
        source,
    };
    Ok(Box::new(stream.map_err(error)?))
}

#[cfg(not(unix))]
async fn unix(path: &Path) -> Result<Stream, DialError> {
    Err(DialError::Unix {
        path: path.display().to_string(),
        source: io::Error::new(
            io::ErrorKind::Unsupported,
            "this platform has no Unix sockets",
        ),
    })
}
