//! A TCP connection, and why there is none.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why an address cannot be reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TcpFault {
    /// Nothing listens there.
    Refused,
    /// Nothing came back: the packets are dropped.
    Silent,
    /// What the system says.
    Other(String),
}

pub(super) async fn connect(address: SocketAddr, wait: Duration) -> Result<TcpStream, TcpFault> {
    match timeout(wait, TcpStream::connect(address)).await {
        Err(_) => Err(TcpFault::Silent),
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => TcpFault::Refused,
            io::ErrorKind::TimedOut => TcpFault::Silent,
            _ => TcpFault::Other(error.to_string()),
        }),
    }
}

impl fmt::Display for TcpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TcpFault::Refused => f.write_str("connection refused"),
            TcpFault::Silent => f.write_str("no answer in time"),
            TcpFault::Other(error) => f.write_str(error),
        }
    }
}
