//! One exchange of HTTP/1.1, with all that can go wrong with it told apart.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::dial::TcpFault;
use super::{Ask, Stream};

/// An answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// From the end of the head to the end of the body.
    pub(crate) receive: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The connection was closed before a byte had come.
    Closed,
    /// The connection was closed, or nothing more came, within an answer.
    Cut,
    /// Something came that is not HTTP: its first bytes.
    NotHttp(Vec<u8>),
    /// Nothing came in time.
    Silent,
    /// The examination has used up its requests.
    Spent,
    /// TLS failed.
    Tls(String),
    /// There is no connection.
    Unreachable(TcpFault),
}

/// More of an answer is not read.
const MAX_ANSWER: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;

impl Answer {
    /// A header's value; of several the first.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self
            .headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request and reads the answer.
pub(super) async fn exchange(
    stream: &mut dyn Stream,
    ask: &Ask,
    headers: &[(String, String)],
    wait: Duration,
) -> Result<Answer, Fault> {
    let deadline = Instant::now() + wait;
    let mut head = headers.to_vec();
    head.insert(1, ("Connection".to_owned(), "keep-alive".to_owned()));
    let request = request(ask, &head);
    let mut bytes = Vec::new();
    let (mut answer, length) = head_of(stream, &request, &mut bytes, deadline).await?;
    bytes.drain(..length);
    let headed = Instant::now();
    answer.body = body(stream, &answer, bytes, deadline).await?;
    answer.receive = headed.elapsed();
    Ok(answer)
}

/// Reads the body of an answer, of which these bytes have come.
pub(super) async fn body(
    stream: &mut dyn Stream,
    answer: &Answer,
    mut bytes: Vec<u8>,
    deadline: Instant,
) -> Result<Vec<u8>, Fault> {
    let is_bodiless = matches!(answer.status, 100..200 | 204 | 304);
    let is_chunked = answer
        .all("transfer-encoding")
        .any(|value| value.to_ascii_lowercase().contains("chunked"));
    let length = answer
        .header("content-length")
        .and_then(|value| value.trim().parse().ok());
    Ok(if is_bodiless {
        Vec::new()
    } else if is_chunked {
        loop {
            if let Some(body) = unchunked(&bytes)? {
                break body;
            }
            if bytes.len() > MAX_ANSWER {
                break Vec::new();
            }
            more(stream, &mut bytes, deadline).await?;
        }
    } else {
        // Without a length the body ends with the connection.
        let wanted = length.unwrap_or(MAX_ANSWER).min(MAX_ANSWER);
        while bytes.len() < wanted {
            match more(stream, &mut bytes, deadline).await {
                Ok(()) => {}
                Err(_) if length.is_none() => break,
                Err(fault) => return Err(fault),
            }
        }
        bytes.truncate(wanted);
        bytes
    })
}

/// The bytes of a request.
pub(super) fn request(ask: &Ask, headers: &[(String, String)]) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", ask.method, ask.target);
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    out += "\r\n";
    out += ask.body.as_deref().unwrap_or_default();
    out.into_bytes()
}

/// Sends a request and reads until the end of the answer's head; gives its length.
pub(super) async fn head_of(
    stream: &mut dyn Stream,
    request: &[u8],
    bytes: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(Answer, usize), Fault> {
    let write = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    // Who refuses to read may have said why.
    if timeout_at(deadline, write).await.is_err() {
        return Err(Fault::Silent);
    }
    loop {
        if let Some(found) = parse(bytes)? {
            return Ok(found);
        }
        if bytes.len() > MAX_ANSWER {
            return Err(Fault::NotHttp(bytes[..16].to_vec()));
        }
        more(stream, bytes, deadline).await?;
    }
}

/// Reads once. An error tells whether anything had come before.
pub(super) async fn more(
    stream: &mut dyn Stream,
    bytes: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), Fault> {
    let is_first = bytes.is_empty();
    match timeout_at(deadline, stream.read_buf(bytes)).await {
        Err(_) if is_first => Err(Fault::Silent),
        Ok(Err(error)) if is_first && error.kind() == io::ErrorKind::TimedOut => Err(Fault::Silent),
        Ok(Ok(0) | Err(_)) if is_first => Err(Fault::Closed),
        Err(_) | Ok(Ok(0) | Err(_)) => Err(Fault::Cut),
        Ok(Ok(_)) => Ok(()),
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, Fault> {
    let not_http = || Fault::NotHttp(bytes[..bytes.len().min(16)].to_vec());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(not_http()),
        Ok(httparse::Status::Complete(length)) => {
            let headers = response.headers.iter().map(|header| {
                let value = String::from_utf8_lossy(header.value).into_owned();
                (header.name.to_owned(), value)
            });
            let answer = Answer {
                status: response.code.ok_or_else(not_http)?,
                headers: headers.collect(),
                ..Answer::default()
            };
            Ok(Some((answer, length)))
        }
    }
}

/// The body of chunks, if they are complete.
fn unchunked(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, length))) = httparse::parse_chunk_size(bytes)
        else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(|_| Fault::Cut)?;
        if length == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = length
            .checked_add(start)
            .and_then(|end| bytes.get(start..end))
        else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        let Some(rest) = bytes.get(start + length + 2..) else {
            return Ok(None);
        };
        bytes = rest;
    }
}

/// Reads an answer from a connection that has brought these bytes and ended.
pub(crate) async fn read_answer(bytes: &[u8]) -> Result<Answer, Fault> {
    let mut stream = tokio::io::join(bytes, tokio::io::sink());
    let ask = Ask::get("/".to_owned());
    let headers = [("Host".to_owned(), "h".to_owned())];
    exchange(&mut stream, &ask, &headers, Duration::from_secs(60)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(bytes: &[u8]) -> Result<Answer, Fault> {
        let (mut near, mut far) = tokio::io::duplex(1024);
        far.write_all(bytes).await.unwrap();
        // What is asked is read by nobody.
        far.shutdown().await.unwrap();
        exchange(
            &mut near,
            &Ask::get("/".to_owned()),
            &[("Host".to_owned(), "h".to_owned())],
            Duration::from_secs(1),
        )
        .await
    }

    #[tokio::test]
    async fn bodies_have_a_length_chunks_or_the_connection_s_end() {
        let body = async |text: &str| answer(text.as_bytes()).await.unwrap().text();
        assert_eq!(
            body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc").await,
            "ab"
        );
        let chunks =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
        assert_eq!(body(chunks).await, "abc");
        assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nabc").await, "abc");
        assert_eq!(body("HTTP/1.1 204 No\r\n\r\n").await, "");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_apart() {
        assert_eq!(answer(b"").await, Err(Fault::Closed));
        assert_eq!(answer(b"HTTP/1.1 20").await, Err(Fault::Cut));
        assert_eq!(
            answer(b"\x15\x03\x01\0\x02\x02F").await,
            Err(Fault::NotHttp(b"\x15\x03\x01\0\x02\x02F".to_vec()))
        );
        assert_eq!(
            answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await,
            Err(Fault::Cut)
        );
    }
}
