//! The client's side of SOCKS 5, without what servers call binding and UDP.
//!
//! Spec: RFC 1928; RFC 1929 for name and password.

use std::io;
use std::net::IpAddr;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NOTHING_ACCEPTABLE: u8 = 0xff;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why there is no tunnel, in words.
#[derive(Debug, Eq, Error, PartialEq)]
pub(super) enum SocksError {
    #[error("{0}")]
    Failed(String),
    /// The proxy is as it should be, but does not connect to this host.
    #[error("the proxy refused: {0}")]
    Refused(String),
}

impl From<String> for SocksError {
    fn from(what: String) -> SocksError {
        SocksError::Failed(what)
    }
}

/// Asks the proxy to connect to a host, which is a name or an address. Reads not one byte more than
/// its answers: what follows is the server's.
///
/// # Errors
///
/// In words, of which "the proxy" is the subject elsewhere.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    port: u16,
    credentials: Option<(&str, &str)>,
) -> Result<(), SocksError> {
    let hello: &[u8] = match credentials {
        // A proxy that needs none must not fail for having been offered some.
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    send(stream, hello).await?;
    let [version, method] = receive(stream).await?;
    if version != VERSION {
        return Err(SocksError::Failed("it does not speak SOCKS 5".to_owned()));
    }
    match (method, credentials) {
        (NO_AUTHENTICATION, _) => {}
        (PASSWORD, Some((user, password))) => {
            let mut request = vec![1];
            push(&mut request, user, "the user name")?;
            push(&mut request, password, "the password")?;
            send(stream, &request).await?;
            let [_, status] = receive(stream).await?;
            if status != 0 {
                return Err(SocksError::Failed(
                    "it refused the user name or the password".to_owned(),
                ));
            }
        }
        (NOTHING_ACCEPTABLE, None) => {
            return Err(SocksError::Failed(
                "it wants a user name and a password".to_owned(),
            ));
        }
        (NOTHING_ACCEPTABLE, Some(_)) => {
            return Err(SocksError::Failed(
                "it does not accept user names and passwords".to_owned(),
            ));
        }
        _ => {
            return Err(SocksError::Failed(format!(
                "it chose method {method}, which was not offered"
            )));
        }
    }

    let mut request = vec![VERSION, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            request.push(NAME);
            push(&mut request, host, "the host's name")?;
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    send(stream, &request).await?;
    let [version, reply] = receive(stream).await?;
    if version != VERSION {
        return Err(SocksError::Failed(
            "its answer is not of SOCKS 5".to_owned(),
        ));
    }
    if reply != 0 {
        return Err(SocksError::Refused(refusal(reply)));
    }
    // The address from which the proxy connects; nobody needs it.
    let [_, kind] = receive(stream).await?;
    let skipped = match kind {
        IPV4 => skip::<{ 4 + 2 }>(stream).await,
        IPV6 => skip::<{ 16 + 2 }>(stream).await,
        NAME => {
            let [length] = receive(stream).await?;
            let mut name = vec![0; usize::from(length) + 2];
            received(stream.read_exact(&mut name).await)
        }
        _ => Err(format!("its answer has an address of unknown kind {kind}")),
    };
    Ok(skipped?)
}

/// Appends a text of at most 255 bytes and, before it, its length.
fn push(request: &mut Vec<u8>, text: &str, what: &str) -> Result<(), String> {
    let length =
        u8::try_from(text.len()).map_err(|_| format!("{what} is longer than 255 bytes"))?;
    request.push(length);
    request.extend_from_slice(text.as_bytes());
    Ok(())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), String> {
    stream
        .write_all(bytes)
        .await
        .map_err(|error| error.to_string())
}

async fn receive<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    received(stream.read_exact(&mut bytes).await)?;
    Ok(bytes)
}

async fn skip<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), String> {
    receive::<N>(stream).await.map(drop)
}

fn received(result: io::Result<usize>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("it closed the connection in the middle of the handshake".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Spec: RFC 1928, section 6.
fn refusal(reply: u8) -> String {
    let text = match reply {
        1 => "general failure",
        2 => "its rules do not allow the connection",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "the time to live has expired",
        7 => "it cannot connect to servers",
        8 => "it does not know this kind of address",
        _ => return format!("reply {reply}"),
    };
    text.to_owned()
}
