//! What only polling has: waiting GETs, bodies, overlaps and the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socketio::{Args, Server, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{HANDSHAKE, Polling, http, soon, start, until};

// E031: the limit is inclusive.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_at_the_limit_is_taken() {
    let (io, address) = start(Server::builder().max_payload(100)).await;
    io.on("x", async |socket: Socket, args: Args| {
        socket.emit("x", args);
    });
    let polling = Polling::connect(address).await;
    let exact = format!("42[\"x\",\"{}\"]", "a".repeat(100 - 10));
    assert_eq!(exact.len(), 100);
    assert_eq!(polling.post(&exact).await.body, "ok");
    assert_eq!(polling.get().await, exact);
    // E033: and one in chunks.
    let answer = chunked(address, &polling, &["42[\"x", "\"]", ""]).await;
    assert_eq!(answer, "200 ok");
    assert_eq!(polling.get().await, "42[\"x\"]");
    assert_eq!(io.stats().large_messages, 0);
}

/// Posts a body in chunks, of which an empty one is the last. Gives the status and the body.
async fn chunked(address: SocketAddr, polling: &Polling, chunks: &[&str]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("to connect");
    let mut request = format!(
        "POST {HANDSHAKE}&sid={} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        polling.sid()
    );
    for chunk in chunks {
        request += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    // It may be answered before all is read, and reset then.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.get(9..12).unwrap_or_default();
    format!("{status} {body}").trim_end().to_owned()
}

type Reasons = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Why sockets leave.
fn reasons(io: &Server) -> Reasons {
    let reasons = Reasons::default();
    io.on_disconnect({
        let reasons = reasons.clone();
        async move |_: Socket, reason: (String, Option<String>)| reasons.lock().push(reason)
    });
    reasons
}

// E032, E033: as engine.io 6.6.13 ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_much_or_too_slow_ends_the_session() {
    let large = ["4".repeat(15_000), "2".repeat(5001)];
    let table = [
        (
            vec![&*large[0], &*large[1]],
            "413",
            "payload too large",
            (1, 0),
        ),
        (vec!["4"; 10_001], "413", "too many chunks", (1, 0)),
        (vec!["42"], "408", "http request timeout", (0, 1)),
    ];
    for (chunks, status, description, counted) in table {
        // Nothing of the first two is missing when they are refused.
        let time = Duration::from_millis(if status == "408" { 100 } else { 60_000 });
        let builder = Server::builder().max_payload(20_000).body_timeout(time);
        let (io, address) = start(builder).await;
        let reasons = reasons(&io);
        let polling = Polling::connect(address).await;
        let post = chunked(address, &polling, &chunks);
        let (told, answer) = soon(async { tokio::join!(polling.get(), post) }).await;
        // Of a connection that is reset with unread bytes an answer may be lost.
        assert!(
            answer == status || answer.is_empty(),
            "{description}: {answer}"
        );
        // Whether the GET came before or after.
        assert!(
            told == "1" || told.contains("Session ID unknown"),
            "{description}: {told}"
        );
        until(|| !reasons.lock().is_empty()).await;
        let expected = ("transport error".to_owned(), Some(description.to_owned()));
        assert_eq!(*reasons.lock(), [expected]);
        assert_eq!(io.clients_count(), 0, "{description}");
        let stats = io.stats();
        assert_eq!(
            (stats.large_messages, stats.slow_clients),
            counted,
            "{description}"
        );
    }
}

// One that announces its length is not read at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_announced_as_too_large_ends_the_session() {
    let (io, address) = start(Server::builder().max_payload(100)).await;
    let reasons = reasons(&io);
    let polling = Polling::connect(address).await;
    let answer = polling.post(&"4".repeat(101)).await;
    assert_eq!((answer.status, &*answer.body), (413, ""));
    until(|| !reasons.lock().is_empty()).await;
    let expected = (
        "transport error".to_owned(),
        Some("payload too large".to_owned()),
    );
    assert_eq!(*reasons.lock(), [expected]);
    assert!(polling.get().await.contains("Session ID unknown"));
}

// E028: of two POSTs that are under way the second is refused, the first one's connection is reset,
// the session ends. Which of them the server sees first is chance.
#[tokio::test(flavor = "multi_thread")]
async fn overlapping_posts_end_the_session() {
    let (io, address) = start(Server::builder()).await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    io.on_disconnect({
        let reasons = reasons.clone();
        async move |_: Socket, reason: (String, Option<String>)| reasons.lock().push(reason)
    });
    let polling = Polling::connect(address).await;
    let head = format!(
        "POST {HANDSHAKE}&sid={} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\n42",
        polling.sid()
    );
    let half_sent = async || {
        let mut stream = TcpStream::connect(address).await.expect("to connect");
        stream.write_all(head.as_bytes()).await.expect("to write");
        stream
    };
    let (mut one, mut other) = (half_sent().await, half_sent().await);
    let mut answers = [Vec::new(), Vec::new()];
    let [first, second] = &mut answers;
    // A reset or a bare end: in any case no answer.
    let _ = soon(async { tokio::join!(one.read_to_end(first), other.read_to_end(second)) }).await;
    answers.sort();
    assert_eq!(answers[0], b"");
    let refused = String::from_utf8_lossy(&answers[1]);
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(refused.ends_with("\r\n\r\n"), "{refused}");
    until(|| reasons.lock().len() == 1).await;
    let expected = (
        "transport error".to_owned(),
        Some("data request overlap from client".to_owned()),
    );
    assert_eq!(*reasons.lock(), [expected]);
}

// E029: a client that drops its GET is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_get_ends_the_session() {
    let (io, address) = start(Server::builder()).await;
    let polling = Polling::connect(address).await;
    let mut get = TcpStream::connect(address).await.expect("to connect");
    let head = format!(
        "GET {HANDSHAKE}&sid={} HTTP/1.1\r\nHost: h\r\n\r\n",
        polling.sid()
    );
    get.write_all(head.as_bytes()).await.expect("to write");
    // Whether it waits by now or not: its bytes come before its end.
    drop(get);
    until(|| io.clients_count() == 0).await;
}

// E054: without a waiting GET the end waits for one, for so long and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_kept_for_the_next_get() {
    let (io, address) = start(Server::builder()).await;
    let polling = Polling::connect(address).await;
    io.disconnect_and_close_sockets();
    assert_eq!(polling.get().await, "41");
    assert_eq!(polling.get().await, "6\x1e1");
    until(|| io.clients_count() == 0).await;
    let unknown = http(
        address,
        "GET",
        &format!("{HANDSHAKE}&sid={}", polling.sid()),
        "",
    )
    .await;
    assert_eq!(unknown.body, r#"{"code":1,"message":"Session ID unknown"}"#);
}

// An abandoned polling session leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_session_is_forgotten() {
    let brief = Duration::from_millis(20);
    let builder = Server::builder().ping_interval(brief).ping_timeout(brief);
    let (io, address) = start(builder).await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    io.on_disconnect({
        let reasons = reasons.clone();
        async move |_: Socket, reason: String| reasons.lock().push(reason)
    });
    Polling::connect(address).await;
    until(|| io.clients_count() == 0).await;
    until(|| !reasons.lock().is_empty()).await;
    assert_eq!(*reasons.lock(), ["ping timeout"]);
}

// E040, P016: no request finds a session alive whose time is over, however late its timer is.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_session_is_gone_when_its_time_is_over() {
    // A ping that is later than a quarter of the timeout gives the client its time back: the machine that
    // runs the test may be that busy, but not for longer.
    let (interval, timeout) = (Duration::from_millis(50), Duration::from_millis(2950));
    let builder = Server::builder()
        .ping_interval(interval)
        .ping_timeout(timeout)
        .allow_eio3();
    let (_io, address) = start(builder).await;
    let mut sessions = Vec::new();
    for i in 0..40 {
        sessions.push(tokio::spawn(async move {
            let handshake = match i % 2 {
                0 => HANDSHAKE.to_owned(),
                _ => HANDSHAKE.replace("EIO=4", "EIO=3"),
            };
            let body = http(address, "GET", &handshake, "").await.body;
            let sid = body.split("\"sid\":\"").nth(1).expect("a sid");
            let sid = sid.split('"').next().expect("its end");
            // The client's clock begins later than the server's.
            tokio::time::sleep(interval + timeout).await;
            http(address, "GET", &format!("{handshake}&sid={sid}"), "").await
        }));
    }
    for session in sessions {
        let answer = soon(session).await.expect("an answer");
        assert_eq!(
            (answer.status, &*answer.body),
            (400, r#"{"code":1,"message":"Session ID unknown"}"#)
        );
    }
}
