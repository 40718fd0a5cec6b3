//! What a client holds while a server floods it: the allocator of this binary counts.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socketio::Transport;
use socketio::client::{Client, Disconnected, Socket, Version};
use socketio_proto::websocket::accept_key;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn held(more: usize, less: usize) {
    let now = HELD.fetch_add(more, SeqCst) + more;
    PEAK.fetch_max(now, SeqCst);
    HELD.fetch_sub(less, SeqCst);
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(layout.size(), 0);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        held(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // What is large is moved by its pages.
        held(
            size.saturating_sub(layout.size()),
            layout.size().saturating_sub(size),
        );
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1024 * 1024;
/// The flood in an answer.
const FLOOD: usize = 20 * MIB;
/// The flood of frames.
const FRAMES: usize = 5 * MIB;

/// What a server floods the client with, after it has let it in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    /// An answer to polling of pings alone.
    Pings,
    /// An answer to polling whose body comes in chunks of one byte and never ends.
    Chunks,
    /// Frames of a WebSocket, again and again; the client's are not read.
    Frames(&'static [u8]),
}

/// A server on threads of its own, which allocate next to nothing.
struct Flooding {
    flood: Flood,
    version: Version,
    gets: AtomicUsize,
    posts: Mutex<Vec<String>>,
    written: AtomicUsize,
}

impl Flooding {
    fn start(flood: Flood, version: Version) -> (Arc<Flooding>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Arc::new(Flooding {
            flood,
            version,
            gets: AtomicUsize::new(0),
            posts: Mutex::default(),
            written: AtomicUsize::new(0),
        });
        let accepting = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = accepting.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        (server, url)
    }

    fn packets(&self, packets: &[&str]) -> String {
        match self.version {
            Version::V2 => packets
                .iter()
                .map(|packet| format!("{}:{packet}", packet.len()))
                .collect(),
            _ => packets.join("\x1e"),
        }
    }

    fn joined(&self) -> &'static str {
        match self.version {
            Version::V2 => "40",
            _ => r#"40{"sid":"a"}"#,
        }
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        loop {
            let (head, body) = request(&mut stream, &mut bytes)?;
            if head.contains("transport=websocket") {
                return self.websocket(stream, &head);
            }
            if head.starts_with("POST") {
                self.posts.lock().expect("no panic").push(body);
                self.answer(&mut stream, "ok")?;
                continue;
            }
            match self.gets.fetch_add(1, SeqCst) {
                0 => self.answer(&mut stream, &self.packets(&[OPEN])),
                1 => self.answer(&mut stream, &self.packets(&[self.joined()])),
                2 if self.flood == Flood::Chunks => self.chunks(&mut stream),
                2 => self.pings(&mut stream),
                3 => self.answer(&mut stream, &self.packets(&[DONE])),
                _ => loop {
                    std::thread::park();
                },
            }?;
        }
    }

    fn answer(&self, stream: &mut TcpStream, body: &str) -> Option<()> {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).ok()
    }

    fn repeat(&self, stream: &mut TcpStream, part: &[u8], bytes: usize) -> Option<()> {
        let block = part.repeat(MIB / 16 / part.len());
        let mut left = bytes;
        while left > 0 {
            let size = block.len().min(left);
            stream.write_all(&block[..size]).ok()?;
            self.written.fetch_add(size, SeqCst);
            left -= size;
        }
        Some(())
    }

    fn pings(&self, stream: &mut TcpStream) -> Option<()> {
        let (part, last) = match self.version {
            Version::V2 => ("1:2", ""),
            _ => ("2\x1e", "2"),
        };
        let flood = FLOOD / part.len() * part.len();
        let length = flood + last.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        self.repeat(stream, part.as_bytes(), flood)?;
        stream.write_all(last.as_bytes()).ok()
    }

    fn chunks(&self, stream: &mut TcpStream) -> Option<()> {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).ok()?;
        self.repeat(stream, b"1\r\n2\r\n", usize::MAX)
    }

    fn websocket(&self, mut stream: TcpStream, head: &str) -> Option<()> {
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("sec-websocket-key")
                .then_some(value)
        })?;
        let mut answer = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ".to_vec();
        answer.extend_from_slice(&accept_key(key.as_bytes()));
        answer.extend_from_slice(b"\r\n\r\n");
        let text = |text: &str| [&[0x81, text.len() as u8], text.as_bytes()].concat();
        answer.extend(text(OPEN));
        answer.extend(text(self.joined()));
        stream.write_all(&answer).ok()?;
        let Flood::Frames(part) = self.flood else {
            return None;
        };
        self.repeat(&mut stream, part, FRAMES / part.len() * part.len())?;
        stream.write_all(&text(DONE)).ok()?;
        loop {
            std::thread::park();
        }
    }
}

const OPEN: &str = r#"0{"sid":"s","upgrades":[],"pingInterval":60000,"pingTimeout":60000}"#;
const DONE: &str = r#"42["done"]"#;

/// The head and the body of the next request.
fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, String)> {
    let mut end = None;
    loop {
        if end.is_none() {
            let at = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            end = at.map(|at| {
                let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
                let length = head.split("content-length: ").nth(1);
                let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                (at + 4, at + 4 + length.unwrap_or(0))
            });
        }
        if let Some((head, whole)) = end
            && bytes.len() >= whole
        {
            let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
            let found = (text(&bytes[..head]), text(&bytes[head..whole]));
            bytes.drain(..whole);
            return Some(found);
        }
        let mut block = [0; 4096];
        let count = stream.read(&mut block).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&block[..count]);
    }
}

/// Connects, and gives why it has ended, or nothing if all came; beside the bytes that were held more
/// than before, at the most.
async fn outcome(url: &str, version: Version, transport: Transport) -> (Option<String>, usize) {
    let (sender, mut told) = unbounded_channel();
    let (done, gone) = (sender.clone(), sender);
    let before = HELD.load(SeqCst);
    PEAK.store(before, SeqCst);
    let socket = Client::builder(url)
        .version(version)
        .transports([transport])
        .without_proxy()
        .without_reconnection()
        .on("done", async move |_: Socket| _ = done.send(None))
        .build()
        .expect("valid");
    socket.on_disconnect(async move |_: Socket, why: Disconnected| {
        _ = gone.send(Some(why.to_string()));
    });
    socket.connect().await.expect("connected");
    let why = timeout(Duration::from_secs(300), told.recv()).await;
    let why = why.expect("an outcome").expect("a sender");
    (why, PEAK.load(SeqCst) - before)
}

// One after the other: the allocator is that of the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flood_is_held_once_and_answered_once() {
    for version in [Version::V4, Version::V2] {
        let (server, url) = Flooding::start(Flood::Pings, version);
        let (why, peak) = outcome(&url, version, Transport::Polling).await;
        println!(
            "{version:?}, 20 MiB of pings in an answer: {} KiB",
            peak / 1024
        );
        assert_eq!(why, None);
        // The body is there as a whole, in a vector that doubles.
        assert!(peak < 3 * FLOOD, "{peak}");
        let posts = server.posts.lock().expect("no panic");
        // What lets the client in, in revision 4, and one answer to all pings.
        assert!(posts.len() <= 2, "{posts:?}");
    }
    // Pings of Engine.IO, and of WebSocket.
    for part in [&b"\x81\x012"[..], b"\x89\x01x"] {
        let (server, url) = Flooding::start(Flood::Frames(part), Version::V4);
        let (why, peak) = outcome(&url, Version::V4, Transport::WebSocket).await;
        println!("5 MiB of {part:?}: {} KiB", peak / 1024);
        assert_eq!(why, None);
        assert!(server.written.load(SeqCst) >= FRAMES - part.len());
        assert!(peak < MIB, "{peak}");
    }
    let (server, url) = Flooding::start(Flood::Chunks, Version::V4);
    let (why, peak) = outcome(&url, Version::V4, Transport::Polling).await;
    println!("endless chunks: {} KiB, {why:?}", peak / 1024);
    let why = why.expect("an end");
    assert!(why.contains("they are too many and too small"), "{why}");
    assert!(peak < 4 * MIB, "{peak}");
    // Beyond what was read there is what the system keeps of a connection.
    assert!(server.written.load(SeqCst) < 32 * MIB);
}
