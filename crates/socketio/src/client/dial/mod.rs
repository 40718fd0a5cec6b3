//! The way to a server's byte stream: TCP or a Unix socket, a proxy, TLS.
//!
//! Nothing here bounds the time: the caller does, and dropping the future releases everything.

mod proxy;
mod tls;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use proxy::Proxies;
pub(crate) use proxy::ProxyChoice;
use tls::Tls;
pub use tls::TlsError;
pub(crate) use tls::TlsOptions;

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
}

/// Why there is no stream.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error("the name {host} cannot be resolved: {source}")]
    Dns { host: String, source: io::Error },
    #[error("{address} cannot be reached: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the proxy {proxy} cannot be used: {what}")]
    Proxy { proxy: String, what: String },
    #[error("TLS with {host} failed: {what}")]
    Tls {
        host: String,
        what: String,
        hint: Option<&'static str>,
    },
    #[error("certificates cannot be used: {0}")]
    Certificates(#[from] TlsError),
    #[error("the Unix socket {path} cannot be reached: {source}")]
    Unix { path: String, source: io::Error },
}

impl DialError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            DialError::Dns { .. } => {
                Some("check the spelling of the host's name, and that a name server can be reached")
            }
            DialError::Connect { source, .. } | DialError::Unix { source, .. }
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                Some("nothing listens there: is the server running, and is the port right?")
            }
            DialError::Unix { .. } => Some("is the server running, and is the path right?"),
            DialError::Connect { .. } => {
                Some("check that the address is right, and that no firewall is between")
            }
            DialError::Proxy { .. } => Some(
                "check the proxy's address and credentials in the option `proxy` or in HTTPS_PROXY, HTTP_PROXY and ALL_PROXY; NO_PROXY names hosts that need none",
            ),
            DialError::Tls { hint, .. } => *hint,
            DialError::Certificates(_) => None,
        }
    }
}

impl Dialer {
    pub(crate) fn new(options: DialOptions) -> Result<Dialer, TlsError> {
        Ok(Dialer(Arc::new(Inner {
            proxies: Proxies::new(&options.proxy)?,
            unix_socket: options.unix_socket,
            local_address: options.local_address,
            tls: Tls::new(options.tls)?,
        })))
    }

    /// Connects to a server.
    pub(crate) async fn dial(&self, target: &Target) -> Result<Stream, DialError> {
        let stream = self.plain(target).await?;
        match target.is_tls {
            true => self.0.tls.wrap(&target.host, stream).await,
            false => Ok(stream),
        }
    }

    async fn plain(&self, target: &Target) -> Result<Stream, DialError> {
        if let Some(path) = &self.0.unix_socket {
            return unix(path).await;
        }
        match self.0.proxies.of(target) {
            Some(proxy) => proxy.connect(self, target).await,
            None => Ok(Box::new(self.tcp(&target.host, target.port).await?)),
        }
    }

    /// Tries all addresses of a host, one after the other.
    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let dns = |source| DialError::Dns {
            host: host.to_owned(),
            source,
        };
        let mut last = None;
        for address in lookup_host((host, port)).await.map_err(dns)? {
            let connected = match self.0.local_address {
                None => TcpStream::connect(address).await,
                Some(local) => connect_from(local, address).await,
            };
            match connected {
                Ok(stream) => {
                    // What is queued leaves in one write anyway.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(source) => {
                    let address = address.to_string();
                    last = Some(DialError::Connect { address, source });
                }
            }
        }
        let none = || dns(io::Error::other("it has no addresses"));
        Err(last.unwrap_or_else(none))
    }
}

async fn connect_from(local: IpAddr, address: std::net::SocketAddr) -> io::Result<TcpStream> {
    let socket = match address.is_ipv4() {
        true => TcpSocket::new_v4()?,
        false => TcpSocket::new_v6()?,
    };
    socket.bind((local, 0).into())?;
    socket.connect(address).await
}

#[cfg(unix)]
async fn unix(path: &std::path::Path) -> Result<Stream, DialError> {
    let stream = tokio::net::UnixStream::connect(path).await;
    let error = |source| DialError::Unix {
        path: path.display().to_string(),
        source,
    };
    Ok(Box::new(stream.map_err(error)?))
}

#[cfg(not(unix))]
async fn unix(path: &std::path::Path) -> Result<Stream, DialError> {
    Err(DialError::Unix {
        path: path.display().to_string(),
        source: io::ErrorKind::Unsupported.into(),
    })
}
