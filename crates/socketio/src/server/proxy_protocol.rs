//! The PROXY protocol, versions 1 and 2: a load balancer that passes TCP on says whose connection it
//! is.
//!
//! Spec: the PROXY protocol, haproxy.org, sections 2.1 and 2.2.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1.
const MAX_LINE: usize = 107;
/// More than addresses and the usual extensions; the specification allows 64 KiB.
const MAX_BLOCK: usize = 4096;

/// Reads the header in front of a connection; `None` if it says nothing of a client, as for a check
/// of the load balancer itself.
///
/// # Errors
///
/// When there is no such header: without it nobody may connect, or anybody could claim any address.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_block(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(malformed());
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() >= MAX_LINE {
            return Err(malformed());
        }
        line.push(stream.read_u8().await?);
    }
    parse_line(&line).ok_or_else(malformed)
}

fn parse_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.split(' ').skip(1);
    match words.next()? {
        "UNKNOWN" => Some(None),
        "TCP4" | "TCP6" => {
            let source: IpAddr = words.next()?.parse().ok()?;
            let _destination: IpAddr = words.next()?.parse().ok()?;
            let port = words.next()?.parse().ok()?;
            let _port: u16 = words.next()?.parse().ok()?;
            words
                .next()
                .is_none()
                .then(|| Some(SocketAddr::new(source, port)))
        }
        _ => None,
    }
}

async fn read_block(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let version_command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if version_command >> 4 != 2 || length > MAX_BLOCK {
        return Err(malformed());
    }
    let mut block = vec![0; length];
    stream.read_exact(&mut block).await?;
    match (version_command & 15, family) {
        // LOCAL: the load balancer speaks for itself.
        (0, _) => Ok(None),
        (1, 0x11) => v4(&block).map(Some).ok_or_else(malformed),
        (1, 0x21) => v6(&block).map(Some).ok_or_else(malformed),
        (1, _) => Ok(None),
        _ => Err(malformed()),
    }
}

fn v4(block: &[u8]) -> Option<SocketAddr> {
    let source: &[u8; 4] = block.first_chunk()?;
    let port = block.get(8..12)?.first_chunk()?;
    let address = IpAddr::from(Ipv4Addr::from(*source));
    Some(SocketAddr::new(address, u16::from_be_bytes(*port)))
}

fn v6(block: &[u8]) -> Option<SocketAddr> {
    let source: &[u8; 16] = block.first_chunk()?;
    let port = block.get(32..36)?.first_chunk()?;
    let address = IpAddr::from(Ipv6Addr::from(*source));
    Some(SocketAddr::new(address, u16::from_be_bytes(*port)))
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the connection does not begin with the PROXY protocol",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(mut bytes: &[u8]) -> Result<(Option<String>, usize), ()> {
        let address = read(&mut bytes).await.map_err(drop)?;
        Ok((address.map(|a| a.to_string()), bytes.len()))
    }

    #[tokio::test]
    async fn lines_are_read_and_nothing_behind_them() {
        for (line, address) in [
            (
                &b"PROXY TCP4 1.2.3.4 10.0.0.1 5678 80\r\nGET /"[..],
                Some("1.2.3.4:5678"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 1 2\r\nGET /",
                Some("[2001:db8::1]:1"),
            ),
            (b"PROXY UNKNOWN\r\nGET /", None),
            (b"PROXY UNKNOWN a b c\r\nGET /", None),
        ] {
            assert_eq!(parse(line).await, Ok((address.map(str::to_owned), 5)));
        }
    }

    #[tokio::test]
    async fn blocks_are_read_and_nothing_behind_them() {
        let block = |command: u8, family: u8, body: &[u8]| {
            let mut block = SIGNATURE.to_vec();
            block.extend_from_slice(&[command, family, 0, body.len() as u8]);
            block.extend_from_slice(body);
            block.extend_from_slice(b"GET /");
            block
        };
        let four = [
            1, 2, 3, 4, 10, 0, 0, 1, 0x16, 0x2e, 0, 80, 3, 0, 4, 1, 2, 3, 4,
        ];
        assert_eq!(
            parse(&block(0x21, 0x11, &four)).await,
            Ok((Some("1.2.3.4:5678".into()), 5))
        );
        let mut six = [0; 36];
        six[15] = 1;
        six[33] = 7;
        assert_eq!(
            parse(&block(0x21, 0x21, &six)).await,
            Ok((Some("[::1]:7".into()), 5))
        );
        assert_eq!(parse(&block(0x20, 0, &[])).await, Ok((None, 5)));
        assert_eq!(parse(&block(0x21, 0x31, &[0; 216])).await, Ok((None, 5)));
        for malformed in [
            block(0x11, 0x11, &four),
            block(0x22, 0x11, &four),
            block(0x21, 0x11, &four[..8]),
        ] {
            assert_eq!(parse(&malformed).await, Err(()));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 1.2.3.4 10.0.0.1 99999 80\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.1 1 80 more\r\n",
            b"PROXY TCP9 1.2.3.4 10.0.0.1 1 80\r\n",
            b"PROXY TCP4 1.2.3.4\r\n",
            b"PROXY ",
            &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
        ] {
            assert_eq!(
                parse(bytes).await,
                Err(()),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
