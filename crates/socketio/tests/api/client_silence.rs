//! A server that falls silent, in each phase of a client's life: nobody waits for ever.
//!
//! Time is simulated: it moves on when nothing happens any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socketio::client::{ConnectError, Disconnected, ManagerEvent, Socket as ClientSocket, Version};
use socketio::{AckError, Transport};
use socketio_proto::websocket::{Decoder, Item, Opcode, Role, accept_key, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::client::{POLLING, WEBSOCKET, builder, channel};
use crate::fake::header;

/// How far a server goes before it falls silent; each goes on from the one before, as far as the
/// transport has it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Step {
    Accept,
    HalfHead,
    /// A whole head, and half of what follows: a body, or the frame of the open packet.
    HalfOpen,
    Open,
    PostAnswered,
    Joined,
    HalfGet,
    ProbeAccept,
    ProbeHalfHead,
    ProbeOpened,
    ProbeAnswered,
    Upgraded,
}

use Step::*;

const OF_POLLING: &[Step] = &[
    Accept,
    HalfHead,
    HalfOpen,
    Open,
    PostAnswered,
    Joined,
    HalfGet,
];
const OF_WEBSOCKET: &[Step] = &[Accept, HalfHead, HalfOpen, Open, Joined];
const OF_UPGRADES: &[Step] = &[
    ProbeAccept,
    ProbeHalfHead,
    ProbeOpened,
    ProbeAnswered,
    Upgraded,
];

const UPGRADING: &[Transport] = &[Transport::Polling, Transport::WebSocket];

/// All that a client can be in the middle of.
fn phases() -> impl Iterator<Item = (&'static [Transport], Version, Step)> {
    let ways = [
        (POLLING, OF_POLLING),
        (WEBSOCKET, OF_WEBSOCKET),
        (UPGRADING, OF_UPGRADES),
    ];
    ways.into_iter().flat_map(|(transports, steps)| {
        let versions = [Version::V4, Version::V2];
        versions.into_iter().flat_map(move |version| {
            let phase = move |step: &Step| (transports, version, *step);
            steps.iter().map(phase)
        })
    })
}

/// A server that goes so far.
struct Silent {
    step: Step,
    version: Version,
    /// What the next GETs get.
    queue: Mutex<VecDeque<String>>,
    queued: Notify,
    /// It has gone as far as it goes.
    silent: Notify,
    /// The client has been let in.
    has_joined: AtomicBool,
}

impl Silent {
    async fn start(step: Step, version: Version) -> (Arc<Silent>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Arc::new(Silent {
            step,
            version,
            queue: Mutex::default(),
            queued: Notify::new(),
            silent: Notify::new(),
            has_joined: AtomicBool::new(false),
        });
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        (server, url)
    }

    /// Says nothing more on this connection, and reads nothing.
    async fn stay<T>(&self, _stream: TcpStream) -> Option<T> {
        self.silent.notify_one();
        std::future::pending().await
    }

    fn open(&self) -> String {
        let upgrades = match self.step >= ProbeAccept {
            true => r#""websocket""#,
            false => "",
        };
        crate::fake::open("s", upgrades)
    }

    /// What lets the client into the namespace.
    fn joined(&self) -> String {
        self.has_joined.store(true, Ordering::SeqCst);
        match self.version {
            Version::V2 => "40".to_owned(),
            _ => r#"40{"sid":"a"}"#.to_owned(),
        }
    }

    /// Answers with the whole of a body, or a part.
    async fn answer(&self, stream: &mut TcpStream, packet: &str, part: f32) -> Option<()> {
        let body = match self.version {
            Version::V2 if packet != "ok" => format!("{}:{packet}", packet.chars().count()),
            _ => packet.to_owned(),
        };
        let length = body.len();
        let body = &body.as_bytes()[..(length as f32 * part) as usize];
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream
            .write_all(&[head.as_bytes(), body].concat())
            .await
            .ok()
    }

    fn push(&self, packet: String) {
        self.queue.lock().push_back(packet);
        self.queued.notify_one();
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        if self.step == Accept {
            return self.stay(stream).await;
        }
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
            let end = end + length.unwrap_or(0);
            while bytes.len() < end {
                if stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            bytes.drain(..end);
            if head.contains("transport=websocket") {
                return self.websocket(stream, &head).await;
            }
            if self.step == HalfHead {
                stream.write_all(b"HTTP/1.1 200 O").await.ok()?;
                return self.stay(stream).await;
            }
            if head.starts_with("POST") {
                if self.step < PostAnswered {
                    return self.stay(stream).await;
                }
                self.answer(&mut stream, "ok", 1.0).await?;
                if self.step >= Joined && self.version == Version::V4 {
                    self.push(self.joined());
                }
                continue;
            }
            if !head.contains("sid=") {
                if self.step == HalfOpen {
                    self.answer(&mut stream, &self.open(), 0.5).await?;
                    return self.stay(stream).await;
                }
                if self.step >= Joined && self.version == Version::V2 {
                    self.push(self.joined());
                }
                self.answer(&mut stream, &self.open(), 1.0).await?;
                continue;
            }
            let packet = loop {
                if let Some(packet) = self.queue.lock().pop_front() {
                    break packet;
                }
                match self.step {
                    HalfGet if self.has_joined.load(Ordering::SeqCst) => {
                        self.answer(&mut stream, "4", 0.5).await?;
                        return self.stay(stream).await;
                    }
                    step if step < ProbeAccept => self.silent.notify_one(),
                    _ => {}
                }
                self.queued.notified().await;
            };
            self.answer(&mut stream, &packet, 1.0).await?;
        }
    }

    async fn websocket(&self, mut stream: TcpStream, head: &str) -> Option<()> {
        let is_probe = head.contains("sid=");
        match self.step {
            ProbeAccept => return self.stay(stream).await,
            HalfHead | ProbeHalfHead => {
                stream.write_all(b"HTTP/1.1 101 S").await.ok()?;
                return self.stay(stream).await;
            }
            _ => {}
        }
        let accept = accept_key(header(head, "sec-websocket-key")?.as_bytes());
        let mut answer = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ".to_vec();
        answer.extend_from_slice(&accept);
        answer.extend_from_slice(b"\r\n\r\n");
        let mut texts = Vec::new();
        match (is_probe, self.step) {
            (false, HalfOpen) => {
                let open = frame(Opcode::Text, self.open().as_bytes());
                answer.extend_from_slice(&open[..open.len() / 2]);
            }
            (false, step) => {
                texts.push(self.open());
                if step >= Joined {
                    texts.push(self.joined());
                }
            }
            (true, ProbeOpened) => {}
            (true, _) => texts.push("3probe".to_owned()),
        }
        for text in texts {
            answer.extend_from_slice(&frame(Opcode::Text, text.as_bytes()));
        }
        stream.write_all(&answer).await.ok()?;
        if self.step == Upgraded {
            self.push("6".to_owned());
        }
        self.stay(stream).await
    }
}

/// Longer than anything may take: the heartbeat is 45 s, and to be let in takes 20 s.
const FOR_EVER: Duration = Duration::from_secs(200);

/// What is so far below the text of an error that says nothing.
fn assert_telling(what: &str, text: &str, hint: Option<&str>) {
    println!("{what}: {text}");
    assert!(text.contains(": "), "{what}: bare {text:?}");
    assert!(!text.contains(char::is_control), "{what}: {text:?}");
    assert!(hint.is_some(), "{what}: no hint for {text:?}");
}

#[tokio::test(start_paused = true)]
async fn each_phase_ends_when_the_server_falls_silent() {
    for (transports, version, step) in phases() {
        let what = format!("{transports:?} {version:?} {step:?}");
        let (_server, url) = Silent::start(step, version).await;
        let socket = builder(&url, transports)
            .version(version)
            .without_reconnection()
            .build()
            .expect("valid");
        let (sender, mut ends) = channel();
        socket.on_disconnect(async move |_: ClientSocket, gone: Disconnected| {
            _ = sender.send(gone);
        });
        let (sender, mut failed) = channel();
        socket.manager().on(move |event| {
            if let ManagerEvent::UpgradeFailed(why) = event {
                _ = sender.send(why.clone());
            }
        });
        let begin = Instant::now();
        let joined: Result<(), ConnectError> = timeout(FOR_EVER, socket.connect())
            .await
            .expect("an outcome");
        match joined {
            Err(error) => assert_telling(&what, &error.to_string(), error.hint()),
            Ok(()) => {
                assert!(step >= Joined, "{what}");
                let asked = socket.emit_with_ack::<()>("a", ());
                let gone = timeout(FOR_EVER, ends.recv()).await.expect("an end");
                let gone = gone.expect("a sender");
                assert_telling(&what, &gone.to_string(), gone.hint());
                let answer = asked.await.expect_err("no answer");
                assert!(matches!(answer, AckError::Disconnected), "{what}: {answer}");
            }
        }
        assert!(!socket.is_connected() && !socket.is_active(), "{what}");
        assert!(begin.elapsed() <= Duration::from_secs(91), "{what}");
        while let Ok(why) = failed.try_recv() {
            println!("{what}: {why}");
            assert!(why.contains(": "), "{what}: bare {why:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_ends_in_each_phase() {
    for (transports, version, step) in phases() {
        for wait in [0, 1, 12] {
            let what = format!("{transports:?} {version:?} {step:?} after {wait} s");
            let (server, url) = Silent::start(step, version).await;
            let socket = builder(&url, transports)
                .version(version)
                .build()
                .expect("valid");
            let (sender, mut closed) = channel();
            socket.manager().on(move |event| {
                if let ManagerEvent::Closed(why) = event {
                    _ = sender.send(why.to_string());
                }
            });
            drop(socket.connect());
            server.silent.notified().await;
            sleep(Duration::from_secs(wait)).await;
            socket.emit("last", ());
            let begin = Instant::now();
            let done = timeout(FOR_EVER, socket.disconnect()).await;
            assert!(done.is_ok(), "{what}: for ever");
            assert!(begin.elapsed() <= Duration::from_secs(31), "{what}");
            while let Ok(why) = closed.try_recv() {
                println!("{what}: {why}");
                assert!(why.contains(": "), "{what}: bare {why:?}");
            }
        }
    }
}

// It would wait for itself.
#[tokio::test(start_paused = true)]
async fn a_handler_can_await_the_end_of_its_own_connection() {
    let io = crate::client::echo_server();
    let url = crate::client::url(&io).await;
    let (sender, mut done) = channel();
    let socket = builder(&url, WEBSOCKET).build().expect("valid");
    socket.on_connect(async move |socket: ClientSocket| {
        socket.disconnect().await;
        _ = sender.send(());
    });
    drop(socket.connect());
    let done = timeout(FOR_EVER, done.recv()).await;
    assert_eq!(done.expect("an end"), Some(()));
}

// A namespace that the server does not answer for is told as an error again and again; the others stay.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_answered_for_does_not_end_the_others() {
    let (_server, url) = Silent::start(Joined, Version::V4).await;
    let socket = builder(&url, WEBSOCKET)
        .timeout(Duration::from_secs(5))
        .connect()
        .await
        .expect("connected");
    let other = socket.manager().socket("/other").build().expect("valid");
    let (sender, mut errors) = channel();
    other.on_connect_error(async move |_: ClientSocket, error: ConnectError| {
        _ = sender.send(error);
    });
    let begin = Instant::now();
    let error = other.connect().await.expect_err("not joined");
    assert_eq!(error.message(), "timeout");
    assert_eq!(
        error.to_string(),
        "timeout: the server did not answer CONNECT for /other within 5s"
    );
    for n in 1..4 {
        errors.recv().await.expect("an error");
        assert_eq!(begin.elapsed().as_secs(), n * 5);
        assert!(socket.is_connected() && other.is_active());
    }
}

/// A server over WebSocket that lets the client in and gives what it reads, until the client is gone;
/// it answers WebSocket pings or not.
async fn reading(answers: bool) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, received) = channel();
    let server = Silent {
        step: Joined,
        version: Version::V4,
        queue: Mutex::default(),
        queued: Notify::new(),
        silent: Notify::new(),
        has_joined: AtomicBool::new(false),
    };
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.ok()?;
        let mut bytes = vec![0; 4096];
        let read = stream.read(&mut bytes).await.ok()?;
        let head = String::from_utf8_lossy(&bytes[..read]).into_owned();
        let accept = accept_key(header(&head, "sec-websocket-key")?.as_bytes());
        let mut answer = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ".to_vec();
        answer.extend_from_slice(&accept);
        answer.extend_from_slice(b"\r\n\r\n");
        for text in [server.open(), server.joined()] {
            answer.extend_from_slice(&frame(Opcode::Text, text.as_bytes()));
        }
        stream.write_all(&answer).await.ok()?;
        let mut decoder = Decoder::new(Role::Server, 1_000_000);
        let mut bytes = Vec::new();
        // What was read at once is one entry.
        while stream.read_buf(&mut bytes).await.ok()? > 0 {
            let mut entry = Vec::new();
            let mut pong = None;
            while let Ok(Some(decoded)) = decoder.decode(&mut bytes) {
                match decoded.item {
                    Item::Text(text) => entry.push(text.to_string()),
                    Item::Ping(payload) => {
                        entry.push("ping".to_owned());
                        pong = Some(frame(Opcode::Pong, payload));
                    }
                    Item::Close(_) => entry.push("close".to_owned()),
                    _ => {}
                }
                let consumed = decoded.consumed;
                bytes.drain(..consumed);
            }
            sender.send(entry.join(" ")).ok()?;
            if let Some(pong) = pong.filter(|_| answers) {
                stream.write_all(&pong).await.ok()?;
            }
        }
        Some(())
    });
    (url, received)
}

// Node's server drops the events that come together with the packet that leaves the namespace.
#[tokio::test(start_paused = true)]
async fn a_namespace_is_left_when_the_server_has_shown_that_it_has_read_the_rest() {
    for answers in [true, false] {
        let (url, mut received) = reading(answers).await;
        let socket = builder(&url, WEBSOCKET).connect().await.expect("connected");
        assert_eq!(received.recv().await.as_deref(), Some("40"));
        let begin = Instant::now();
        socket.emit("a", ());
        let ending = socket.disconnect();
        assert_eq!(received.recv().await.as_deref(), Some(r#"42["a"] ping"#));
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let leave = received.recv().await;
        assert_eq!(leave.as_deref(), Some("41 close"));
        // Without an answer it is believed after a while.
        let waited = if answers { 0 } else { 5 };
        assert_eq!(begin.elapsed().as_secs(), waited);
        timeout(FOR_EVER, ending).await.expect("an end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_without_last_words_is_left_at_once() {
    let (url, mut received) = reading(false).await;
    let socket = builder(&url, WEBSOCKET).connect().await.expect("connected");
    assert_eq!(received.recv().await.as_deref(), Some("40"));
    sleep(Duration::from_secs(6)).await;
    let begin = Instant::now();
    drop(socket.disconnect());
    assert_eq!(received.recv().await.as_deref(), Some("41 close"));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}
