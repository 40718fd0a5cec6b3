//! The service for other paths: how long its answers may take, and who is cut off.
//!
//! Time stands still, and hours pass at once when a test says so.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{FutureExt, stream};
use hyper_util::rt::TokioIo;
use socketio::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{HANDSHAKE, raw, soon, until};

/// Far beyond what a connection without anything pending has.
const LONG: Duration = Duration::from_secs(3600);

/// A server whose other paths answer with what comes through a channel, for ever, or by a protocol of
/// their own.
async fn start() -> (Server, SocketAddr, mpsc::UnboundedSender<&'static str>) {
    let io = Server::new();
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let router = Router::new()
        .route(
            "/told",
            any(async move || {
                let chunks = stream::unfold(receiver, async |receiver| {
                    let next = receiver.lock().await.recv().await;
                    let chunk = next.filter(|chunk| *chunk != "end")?;
                    Some((Ok::<_, Infallible>(chunk), receiver))
                });
                Body::from_stream(chunks)
            }),
        )
        .route(
            "/endless",
            any(async || {
                let chunk = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
                Body::from_stream(stream::repeat_with(move || {
                    Ok::<_, Infallible>(chunk.clone())
                }))
            }),
        )
        .route("/silent", any(async || std::future::pending::<()>().await))
        .route("/short", any(async || "short"))
        .route("/own", any(own_protocol));
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(async move { listening.fallback(router).await });
    (io, address, sender)
}

/// Answers each byte after a long time.
async fn own_protocol(mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.expect("an upgrade"));
        while let Ok(byte) = stream.read_u8().await {
            tokio::time::sleep(LONG).await;
            stream.write_u8(byte).await.expect("to write");
        }
    });
    let upgrade = [("connection", "upgrade"), ("upgrade", "own")];
    (axum::http::StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response()
}

async fn send(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("to connect");
    stream.write_all(head.as_bytes()).await.expect("to write");
    stream
}

/// Reads until these bytes have come.
async fn read_until(stream: &mut TcpStream, end: &str) {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let count = stream.read_buf(&mut read).await.expect("to read");
        assert!(count > 0, "{:?}", String::from_utf8_lossy(&read));
    }
}

/// Keeps tokio's clock from going on by itself whenever nothing seems to happen: what is on its way
/// through the system is not seen.
struct Clock(
    #[expect(dead_code, reason = "its end lets the clock go")] std::sync::mpsc::Sender<()>,
);

impl Clock {
    fn stop() -> Clock {
        let (stopped, goes_on) = std::sync::mpsc::channel();
        // A test that hangs ends by its own timeouts then.
        let limit = Duration::from_secs(60);
        tokio::task::spawn_blocking(move || goes_on.recv_timeout(limit));
        Clock(stopped)
    }

    async fn pass(&self, time: Duration) {
        let step = Duration::from_secs(5);
        for _ in 0..time.as_secs() / step.as_secs() {
            tokio::time::advance(step).await;
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass, in which the connection has to end; what comes before is skipped.
    async fn ends(&self, stream: &mut TcpStream) {
        self.pass(LONG).await;
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_as_long_as_it_wants() {
    let clock = Clock::stop();
    for (version, more) in [("1.1", ""), ("1.1", "Connection: close\r\n"), ("1.0", "")] {
        let (io, address, tell) = start().await;
        let head = format!("GET /told HTTP/{version}\r\nHost: h\r\n{more}\r\n");
        let mut stream = send(address, &head).await;
        let is_chunked = version == "1.1";
        let end = if is_chunked { "\r\n" } else { "" };
        for chunk in ["one", "two", "three"] {
            tell.send(chunk).expect("a reader");
            read_until(&mut stream, &format!("{chunk}{end}")).await;
            clock.pass(LONG).await;
        }
        tell.send("end").expect("a reader");
        if is_chunked {
            read_until(&mut stream, "0\r\n\r\n").await;
        }
        // Then nothing is pending any more.
        clock.ends(&mut stream).await;
        assert_eq!(io.stats().slow_clients, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_long_in_coming() {
    let clock = Clock::stop();
    let (_io, address, _tell) = start().await;
    let mut stream = send(address, "GET /silent HTTP/1.1\r\nHost: h\r\n\r\n").await;
    clock.pass(LONG).await;
    assert!(stream.read_u8().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_has_been_answered_is_not_pending() {
    let clock = Clock::stop();
    for (method, target) in [
        ("HEAD", "/told"),
        ("HEAD", "/endless"),
        ("GET", "/short"),
        ("GET", "/nowhere"),
        ("GET", HANDSHAKE),
    ] {
        let (io, address, _tell) = start().await;
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut stream = send(address, &head).await;
        clock.ends(&mut stream).await;
        assert_eq!(io.stats().slow_clients, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_is_forgotten() {
    let _clock = Clock::stop();
    let (io, address, tell) = start().await;
    let mut stream = send(address, "GET /told HTTP/1.1\r\nHost: h\r\n\r\n").await;
    tell.send("one").expect("a reader");
    read_until(&mut stream, "one\r\n").await;
    drop(stream);
    // The end of the server waits for nobody.
    io.close().await;
    assert_eq!(raw(address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await, "");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_waited_for_and_who_reads_nothing_is_not() {
    let clock = Clock::stop();
    let (io, address, _tell) = start().await;
    let mut slow = send(address, "GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").await;
    // More than the system keeps: each time some is written anew.
    let mut buffer = vec![0; 16 * 1024 * 1024];
    for _ in 0..5 {
        soon(slow.read_exact(&mut buffer)).await.expect("more");
        clock.pass(Duration::from_secs(25)).await;
    }
    assert_eq!(io.stats().slow_clients, 0);
    clock.ends(&mut slow).await;
    assert_eq!(io.stats().slow_clients, 1);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_of_the_service_s_own_goes_on() {
    let clock = Clock::stop();
    let (_io, address, _tell) = start().await;
    let head = "GET /own HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: own\r\n\r\n";
    let mut stream = send(address, head).await;
    read_until(&mut stream, "\r\n\r\n").await;
    for byte in [1, 2] {
        stream.write_u8(byte).await.expect("to write");
        let mut answer = pin!(stream.read_u8());
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                () = clock.pass(LONG) => {}
            }
        };
        assert_eq!(answer.ok(), Some(byte));
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_cuts_off_what_does_not_end() {
    let clock = Clock::stop();
    let (io, address, tell) = start().await;
    let mut told = send(address, "GET /told HTTP/1.1\r\nHost: h\r\n\r\n").await;
    tell.send("one").expect("a reader");
    read_until(&mut told, "one\r\n").await;
    let mut silent = send(address, "GET /silent HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| io.clients_count() == 0).await;
    tokio::join!(io.close(), clock.pass(LONG));
    for stream in [&mut told, &mut silent] {
        clock.ends(stream).await;
    }
}
