//! One WebSocket, of which every frame and every ending is seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socketio_proto::websocket::{self, Decoder, Item, Opcode, Role};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::http::{self, Answer, Fault};
use super::{Ask, Stream};

pub(crate) struct WebSocket {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    bytes: Vec<u8>,
    transcript: Transcript,
}

/// What was said on a WebSocket, as far as it is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript(Arc<Mutex<Vec<Message>>>);

/// One message, without what is too long to be kept.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) direction: Direction,
    pub(crate) at: jiff::Timestamp,
    pub(crate) is_text: bool,
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    Received,
    Sent,
}

/// More messages of a WebSocket are not kept.
const MAX_KEPT: usize = 200;
/// More of a message is not kept.
const MAX_SHOWN: usize = 1000;

/// What came, or what became of the WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Frame {
    Binary(Vec<u8>),
    /// The peer broke the rules: what is wrong, and how the bytes begin.
    Broken(String, Vec<u8>),
    /// A close frame, with its code (1005 without one).
    Close(u16),
    /// The connection was closed without a close frame.
    Ended,
    Text(String),
    /// Nothing came in time.
    Silent,
}

const MAX_MESSAGE: usize = 1 << 20;

impl WebSocket {
    /// Asks for a WebSocket on a connection. An answer other than 101 is given with its body.
    pub(super) async fn open(
        mut stream: Box<dyn Stream>,
        ask: &Ask,
        headers: &[(String, String)],
        wait: Duration,
        transcript: Transcript,
    ) -> Result<(Answer, Option<WebSocket>), Fault> {
        let deadline = Instant::now() + wait;
        let key = websocket::client_key(rand::random());
        let mut head = headers.to_vec();
        let own = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            (
                "Sec-WebSocket-Key",
                std::str::from_utf8(&key).unwrap_or_default(),
            ),
        ];
        head.splice(
            1..1,
            own.map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let request = http::request(ask, &head);
        let mut bytes = Vec::new();
        let (mut answer, length) =
            http::head_of(&mut stream, &request, &mut bytes, deadline).await?;
        bytes.drain(..length);
        if answer.status != 101 {
            // A refusal may break off, or leave the connection open.
            let short = deadline.min(Instant::now() + Duration::from_millis(500));
            let come = bytes.clone();
            answer.body = http::body(&mut *stream, &answer, bytes, short)
                .await
                .unwrap_or(come);
            return Ok((answer, None));
        }
        let joined = |name| {
            let values: Vec<&str> = answer.all(name).collect();
            (!values.is_empty()).then(|| values.join(", ").into_bytes())
        };
        let [upgrade, connection, accept] =
            ["upgrade", "connection", "sec-websocket-accept"].map(joined);
        let response = websocket::ResponseHeaders {
            status: answer.status,
            upgrade: upgrade.as_deref(),
            connection: connection.as_deref(),
            accept: accept.as_deref(),
            extensions: None,
            protocol: None,
        };
        if websocket::check_response(&response, &key, None, &[""; 0]).is_err() {
            return Ok((answer, None));
        }
        let websocket = WebSocket {
            stream,
            decoder: Decoder::new(Role::Client, MAX_MESSAGE),
            bytes,
            transcript,
        };
        Ok((answer, Some(websocket)))
    }

    /// The next message, or the end. Pings of WebSocket are answered.
    pub(crate) async fn next(&mut self, wait: Duration) -> Frame {
        let deadline = Instant::now() + wait;
        loop {
            let begin: Vec<u8> = self.bytes.iter().copied().take(16).collect();
            let (used, frame, pong) = match self.decoder.decode(&mut self.bytes) {
                Err(error) => return Frame::Broken(error.to_string(), begin),
                Ok(None) => {
                    let is_first = self.bytes.is_empty();
                    match http::more(&mut *self.stream, &mut self.bytes, deadline).await {
                        Ok(()) => continue,
                        Err(Fault::Silent) => return Frame::Silent,
                        Err(_) if is_first => return Frame::Ended,
                        Err(_) if Instant::now() >= deadline => return Frame::Silent,
                        Err(_) => return Frame::Ended,
                    }
                }
                Ok(Some(decoded)) => match decoded.item {
                    Item::Binary(bytes) => (
                        decoded.consumed,
                        Some(Frame::Binary(bytes.into_owned())),
                        None,
                    ),
                    Item::Close(reason) => {
                        let code = reason.map_or(1005, |(code, _)| code);
                        (decoded.consumed, Some(Frame::Close(code)), None)
                    }
                    Item::Ping(data) => (decoded.consumed, None, Some(data.to_vec())),
                    Item::Text(text) => {
                        (decoded.consumed, Some(Frame::Text(text.into_owned())), None)
                    }
                    Item::Fragment | Item::Pong(_) => (decoded.consumed, None, None),
                },
            };
            self.bytes.drain(..used);
            if let Some(data) = pong {
                self.send(Opcode::Pong, &data, deadline).await;
            }
            if let Some(frame) = frame {
                let transcript = &self.transcript;
                match &frame {
                    Frame::Text(text) => transcript.add(Direction::Received, true, text.as_bytes()),
                    Frame::Binary(bytes) => transcript.add(Direction::Received, false, bytes),
                    _ => {}
                }
                return frame;
            }
        }
    }

    /// Sends a text. That it failed is seen at the next frame.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_text_for(text, WRITE).await;
    }

    /// Sends a text that may take so long.
    pub(crate) async fn send_text_for(&mut self, text: &str, wait: Duration) {
        self.transcript.add(Direction::Sent, true, text.as_bytes());
        self.send(Opcode::Text, text.as_bytes(), Instant::now() + wait)
            .await;
    }

    /// Sends bytes. That it failed is seen at the next frame.
    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.transcript.add(Direction::Sent, false, bytes);
        self.send(Opcode::Binary, bytes, Instant::now() + WRITE)
            .await;
    }

    async fn send(&mut self, opcode: Opcode, payload: &[u8], deadline: Instant) {
        let mut frame = Vec::new();
        websocket::masked_frame(&mut frame, opcode, payload, rand::random());
        let write = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        let _ = timeout_at(deadline, write).await;
    }

    /// Takes leave of the server.
    pub(crate) async fn close(mut self) {
        self.send(
            Opcode::Close,
            &1000_u16.to_be_bytes(),
            Instant::now() + WRITE,
        )
        .await;
        // The answer is awaited shortly, so that the server does not see a broken connection.
        let _ = timeout(WRITE, async {
            while !matches!(
                self.next(WRITE).await,
                Frame::Broken(..) | Frame::Close(_) | Frame::Ended | Frame::Silent
            ) {}
        })
        .await;
    }
}

impl Transcript {
    /// What is kept of it.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.clone()
    }

    fn add(&self, direction: Direction, is_text: bool, data: &[u8]) {
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() < MAX_KEPT {
            messages.push(Message {
                direction,
                at: jiff::Timestamp::now(),
                is_text,
                data: data[..data.len().min(MAX_SHOWN)].to_vec(),
            });
        }
    }
}

/// So long a frame is written, and a farewell awaited, at most.
const WRITE: Duration = Duration::from_millis(500);
