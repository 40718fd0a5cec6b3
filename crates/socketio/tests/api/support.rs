//! A raw client, so that a test says what is on the wire: HTTP by hand and WebSocket frames.

use std::net::SocketAddr;
use std::time::Duration;

use socketio::{Server, ServerBuilder};
use socketio_proto::websocket::{Decoder, Item, Opcode, Role, masked_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing that is tested takes as long as this; it only ends a test that hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Awaits, but not forever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("in time")
}

/// Serves on a port of the system's choice.
pub(crate) async fn start(builder: ServerBuilder) -> (Server, SocketAddr) {
    let io = builder.build();
    let address = listen(&io).await;
    (io, address)
}

pub(crate) async fn listen(io: &Server) -> SocketAddr {
    let listening = io.listen("127.0.0.1:0").await.expect("a free port");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(async move { listening.await });
    address
}

/// The answer to an HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends one request on a connection of its own.
pub(crate) async fn http(
    address: SocketAddr,
    method: &str,
    target: &str,
    body: impl AsRef<[u8]>,
) -> Answer {
    let body = body.as_ref();
    let mut stream = TcpStream::connect(address).await.expect("to connect");
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(&[request.as_bytes(), body].concat())
        .await
        .expect("to write");
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes))
        .await
        .expect("an answer");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .expect("a status");
    Answer {
        status,
        body: body.to_owned(),
    }
}

/// Sends a request's head as it stands and gives all that is answered.
pub(crate) async fn raw(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("to connect");
    stream.write_all(head.as_bytes()).await.expect("to write");
    let mut answer = Vec::new();
    // A connection that is dropped with unread bytes is reset.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).expect("text")
}

/// The head of a request for a WebSocket, with further header lines.
pub(crate) fn upgrade_head(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

pub(crate) const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";
pub(crate) const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Opens a polling session and gives its id.
pub(crate) async fn open_polling(address: SocketAddr) -> String {
    let answer = http(address, "GET", HANDSHAKE, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let open: serde_json::Value = serde_json::from_str(&answer.body[1..]).expect("an open packet");
    open["sid"].as_str().expect("a sid").to_owned()
}

/// A session over polling.
pub(crate) struct Polling {
    address: SocketAddr,
    target: String,
}

impl Polling {
    pub(crate) async fn connect(address: SocketAddr) -> Polling {
        let polling = Polling::open(address).await;
        assert_eq!(polling.post("40").await.body, "ok");
        assert!(polling.get().await.starts_with("40{\"sid\":\""));
        polling
    }

    /// Opens a session that has joined no namespace.
    pub(crate) async fn open(address: SocketAddr) -> Polling {
        let sid = open_polling(address).await;
        Polling {
            address,
            target: format!("{HANDSHAKE}&sid={sid}"),
        }
    }

    pub(crate) async fn get(&self) -> String {
        http(self.address, "GET", &self.target, "").await.body
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        http(self.address, "POST", &self.target, body).await
    }

    pub(crate) fn sid(&self) -> &str {
        self.target.rsplit_once('=').expect("a sid").1
    }
}

/// What comes over a WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Close(Option<u16>),
    End,
}

/// A WebSocket connection.
pub(crate) struct Ws {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// How many of the server's pings have come.
    pub(crate) pings: usize,
}

impl Ws {
    /// Opens a session over WebSocket and takes its open packet.
    pub(crate) async fn open(address: SocketAddr) -> Ws {
        let mut ws = Ws::upgrade(address, "/socket.io/?EIO=4&transport=websocket").await;
        let open = ws.text().await;
        assert!(open.starts_with("0{\"sid\":\""), "{open}");
        ws
    }

    /// Opens a session and joins the main namespace.
    pub(crate) async fn connect(address: SocketAddr) -> Ws {
        Ws::join(address, "").await.0
    }

    /// Opens a session and joins a namespace (`""` is `/`); gives the socket's id, too.
    pub(crate) async fn join(address: SocketAddr, nsp: &str) -> (Ws, String) {
        let mut ws = Ws::open(address).await;
        let comma = if nsp.is_empty() { "" } else { "," };
        ws.send(&format!("40{nsp}{comma}")).await;
        let answer = ws.text().await;
        let data = answer
            .strip_prefix(&format!("40{nsp}{comma}"))
            .expect("to be let in");
        let data: serde_json::Value = serde_json::from_str(data).expect("json");
        (ws, data["sid"].as_str().expect("a sid").to_owned())
    }

    pub(crate) async fn upgrade(address: SocketAddr, target: &str) -> Ws {
        Ws::offering(address, target, "").await
    }

    /// Asks for a WebSocket with further header lines.
    pub(crate) async fn offering(address: SocketAddr, target: &str, lines: &str) -> Ws {
        Ws::beginning_with(address, upgrade_head(target, lines).as_bytes()).await
    }

    /// Sends a request, and perhaps what is to follow it.
    pub(crate) async fn beginning_with(address: SocketAddr, bytes: &[u8]) -> Ws {
        let mut stream = TcpStream::connect(address).await.expect("to connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.write_all(bytes).await.expect("to write");
        let mut buffer = Vec::new();
        let end = loop {
            let read = soon(stream.read_buf(&mut buffer)).await.expect("an answer");
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(read > 0, "no 101 in {:?}", String::from_utf8_lossy(&buffer));
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.to_lowercase()
                .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=")
        );
        buffer.drain(..end);
        Ws {
            stream,
            decoder: Decoder::new(Role::Client, usize::MAX >> 1),
            buffer,
            pings: 0,
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.frame(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut bytes = Vec::new();
        masked_frame(&mut bytes, opcode, payload, [1, 2, 3, 4]);
        self.raw(&bytes).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.expect("to write");
    }

    /// The next message; the server's pings are answered and left out, a close frame is answered.
    pub(crate) async fn next(&mut self) -> Received {
        loop {
            let decoded = self.decoder.decode(&mut self.buffer).expect("valid frames");
            let Some(decoded) = decoded else {
                match soon(self.stream.read_buf(&mut self.buffer)).await {
                    Ok(n) if n > 0 => continue,
                    _ => return Received::End,
                }
            };
            let (consumed, received) = (
                decoded.consumed,
                match decoded.item {
                    Item::Text(text) => Some(Received::Text(text.into_owned())),
                    Item::Binary(bytes) => Some(Received::Binary(bytes.into_owned())),
                    Item::Close(close) => Some(Received::Close(close.map(|(code, _)| code))),
                    Item::Ping(_) | Item::Pong(_) | Item::Fragment => None,
                },
            );
            self.buffer.drain(..consumed);
            match received {
                Some(Received::Text(text)) if text == "2" => {
                    self.pings += 1;
                    self.send("3").await;
                }
                Some(Received::Close(code)) => {
                    let payload = code.map(u16::to_be_bytes);
                    let payload = payload.as_ref().map_or(&[][..], |code| &code[..]);
                    let mut answer = Vec::new();
                    masked_frame(&mut answer, Opcode::Close, payload, [1, 2, 3, 4]);
                    // Where this side began, the server is gone already.
                    let _ = self.stream.write_all(&answer).await;
                    return Received::Close(code);
                }
                Some(received) => return received,
                None => {}
            }
        }
    }

    /// The next text, bytes or pong, as it came.
    pub(crate) async fn item(&mut self) -> (Opcode, Vec<u8>) {
        loop {
            let decoded = self.decoder.decode(&mut self.buffer).expect("valid frames");
            let Some(decoded) = decoded else {
                let read = soon(self.stream.read_buf(&mut self.buffer)).await;
                assert!(read.is_ok_and(|n| n > 0), "the connection has ended");
                continue;
            };
            let consumed = decoded.consumed;
            let item = match decoded.item {
                Item::Text(text) => Some((Opcode::Text, text.into_owned().into_bytes())),
                Item::Binary(bytes) => Some((Opcode::Binary, bytes.into_owned())),
                Item::Pong(payload) => Some((Opcode::Pong, payload.to_vec())),
                Item::Close(_) | Item::Ping(_) | Item::Fragment => None,
            };
            self.buffer.drain(..consumed);
            if let Some(item) = item {
                return item;
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Received::Text(text) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// Reads until the end of the connection; the close code, if a close frame came.
    pub(crate) async fn closed(&mut self) -> Option<Option<u16>> {
        let mut close = None;
        loop {
            match self.next().await {
                Received::Close(code) => close = Some(code),
                Received::End => return close,
                Received::Text(_) | Received::Binary(_) => {}
            }
        }
    }
}

/// Waits until a condition holds, by asking again whenever other tasks have had their turn.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
