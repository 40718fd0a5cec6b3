//! A server that answers as a test tells it, also wrongly.

use std::sync::Arc;

use parking_lot::Mutex;
use socketio_proto::websocket::{Opcode, accept_key, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// What one request gets.
pub(crate) enum Reply {
    /// An answer: status, further header lines, body.
    Http(u16, &'static str, String),
    /// An answer with a body of bytes.
    Bytes(Vec<u8>),
    /// All bytes of an answer.
    Raw(Vec<u8>),
    /// The same, and then the end of the connection.
    Last(Vec<u8>),
    /// A WebSocket on which these texts are sent at once; then it stays open.
    WebSocket(Vec<String>),
    /// A WebSocket on which these texts are sent, and which is then closed with a code.
    Closing(Vec<String>, u16),
    /// Nothing, for ever.
    Nothing,
    /// The end of the connection.
    Close,
}

/// A running server.
pub(crate) struct Fake {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Starts a server; `answer` gets the head of each request and its body.
    pub(crate) async fn start(
        answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (answer.clone(), log.clone());
                tokio::spawn(async move {
                    serve(stream, &log, &*answer).await;
                });
            }
        });
        Fake { url, requests }
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }

    /// The targets of the requests so far, with the method in front.
    pub(crate) fn targets(&self) -> Vec<String> {
        let line = |head: &String| head.split(" HTTP").next().unwrap_or_default().to_owned();
        self.requests().iter().map(line).collect()
    }
}

/// Answers the requests of one connection, until one of them ends it.
pub(crate) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    log: &Mutex<Vec<String>>,
    answer: &(impl Fn(&str, &str) -> Reply + ?Sized),
) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = header(&head, "content-length").and_then(|value| value.parse().ok());
        let length = end + length.unwrap_or(0);
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        let body = String::from_utf8_lossy(&bytes[end..length]).into_owned();
        bytes.drain(..length);
        log.lock().push(head.clone());
        match answer(&head, &body) {
            Reply::Http(status, headers, body) => {
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.ok()?;
            }
            Reply::Bytes(body) => {
                let answer = format!(
                    "HTTP/1.1 200 X\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let answer = [answer.as_bytes(), &body].concat();
                stream.write_all(&answer).await.ok()?;
            }
            Reply::Raw(answer) => stream.write_all(&answer).await.ok()?,
            Reply::Last(answer) => {
                stream.write_all(&answer).await.ok()?;
                return None;
            }
            Reply::WebSocket(texts) => {
                websocket(&mut stream, &head, &texts).await?;
                while stream.read_buf(&mut bytes).await.ok()? > 0 {}
                return None;
            }
            Reply::Closing(texts, code) => {
                websocket(&mut stream, &head, &texts).await?;
                let close = frame(Opcode::Close, &code.to_be_bytes());
                stream.write_all(&close).await.ok()?;
                while stream.read_buf(&mut bytes).await.ok()? > 0 {}
                return None;
            }
            Reply::Nothing => while stream.read_buf(&mut bytes).await.ok()? > 0 {},
            Reply::Close => return None,
        }
    }
}

async fn websocket(
    stream: &mut (impl AsyncWrite + Unpin),
    head: &str,
    texts: &[String],
) -> Option<()> {
    let key = header(head, "sec-websocket-key")?;
    let accept = accept_key(key.as_bytes());
    let mut answer =
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            .to_vec();
    answer.extend_from_slice(&accept);
    answer.extend_from_slice(b"\r\n\r\n");
    for text in texts {
        answer.extend_from_slice(&frame(Opcode::Text, text.as_bytes()));
    }
    stream.write_all(&answer).await.ok()
}

/// A header's value.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// An open packet.
pub(crate) fn open(sid: &str, upgrades: &str) -> String {
    format!(
        r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
    )
}
