//! The client's requests on the wire, before servers that close connections, cut them or answer oddly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use socketio::Server;
use socketio::client::{self, ClientBuilder, Version};
use socketio_proto::Hint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::client::{POLLING, WEBSOCKET, builder, channel, echo_server, next};
use crate::client_dial::{direct, fails, listen_tls};
use crate::fake::{Fake, Reply, header, open};
use crate::support::{listen, soon, start};
use crate::tls::Files;

/// A request whole: its head and its body.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = header(&head, "content-length").and_then(|value| value.parse().ok());
    let end = end + length.unwrap_or(0);
    while bytes.len() < end {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    let whole: Vec<u8> = bytes.drain(..end).collect();
    let body = whole[head.len()..].to_vec();
    Some((head, body))
}

/// What stands between a client and a server: takes each request whole, passes it on over a connection
/// of its own, and brings the answer back as it likes.
struct Relay {
    url: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// Closes each connection after its answer, and does not say so.
    Closes,
    /// Closes the connection of each request of this kind that is passed on, instead of an answer.
    CutsAfter(&'static str),
    /// The same, once each; the request is not passed on.
    CutsBefore(&'static str),
    /// Says behind each answer that it has waited for too long, and closes.
    TimesOut,
}

impl Relay {
    async fn start(to: SocketAddr, habit: Habit) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, to, habit));
            }
        });
        Relay { url }
    }
}

async fn relay(mut stream: TcpStream, to: SocketAddr, habit: Habit) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let (head, body) = request(&mut stream, &mut bytes).await?;
        let matches =
            |kind: &str| head.starts_with(kind) && head.contains("sid=") && has_event(kind, &body);
        if matches!(habit, Habit::CutsBefore(kind) if matches(kind)) {
            return None;
        }
        let mut server = TcpStream::connect(to).await.ok()?;
        let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        server
            .write_all(&[head.as_bytes(), &body].concat())
            .await
            .ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.ok()?;
        if matches!(habit, Habit::CutsAfter(kind) if matches(kind)) {
            return None;
        }
        let text = String::from_utf8_lossy(&answer).replacen(
            "onnection: close",
            "onnection: keep-alive",
            1,
        );
        stream.write_all(text.as_bytes()).await.ok()?;
        match habit {
            Habit::Closes => return None,
            Habit::TimesOut => {
                let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
                return None;
            }
            Habit::CutsAfter(_) | Habit::CutsBefore(_) => {}
        }
    }
}

/// POSTs are told apart by what they carry; GETs by nothing.
fn has_event(kind: &str, body: &[u8]) -> bool {
    kind == "GET" || body.windows(5).any(|five| five == b"\"cut\"")
}

/// A server that notes what it is sent and answers with it.
async fn echoing() -> (Server, SocketAddr, Arc<Mutex<Vec<u64>>>) {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let log = seen.clone();
    io.on_connect(async move |socket: socketio::Socket| {
        for name in ["n", "cut"] {
            let log = log.clone();
            socket.on(
                name,
                async move |_: socketio::Socket, n: u64, ack: socketio::Ack| {
                    log.lock().push(n);
                    ack.send(n);
                },
            );
        }
    });
    (io, address, seen)
}

fn each(url: &str) -> [ClientBuilder; 2] {
    let client = || direct(url, POLLING);
    [client(), client().version(Version::V2)]
}

// netty-socketio does so.
#[tokio::test]
async fn a_server_that_closes_connections_after_answers_loses_nothing() {
    for habit in [Habit::Closes, Habit::TimesOut] {
        let (_io, address, seen) = echoing().await;
        let relay = Relay::start(address, habit).await;
        for client in each(&relay.url) {
            seen.lock().clear();
            let socket = soon(client.connect()).await.expect("connected");
            for n in 0..30 {
                let answer = soon(socket.emit_with_ack::<u64>("n", n)).await;
                assert_eq!(answer.expect("an answer"), n);
            }
            assert_eq!(*seen.lock(), (0..30).collect::<Vec<u64>>());
            soon(socket.disconnect()).await;
        }
    }
}

/// Passes bytes on, and counts connections: with TLS, each has its handshake.
async fn counting(to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn connections_are_used_again_once_one_was_seen_open_after_its_answer() {
    let files = Files::with("reuse", "localhost", |_| {});
    let plain = listen(&echo_server()).await;
    for (scheme, address) in [("http", plain), ("https", listen_tls(&files).await)] {
        let (address, connections) = counting(address).await;
        let url = format!("{scheme}://localhost:{}", address.port());
        let client = direct(&url, POLLING).root_certificate(files.cert());
        let socket = soon(client.connect()).await.expect("connected");
        soon(async {
            let mut calm = 0;
            while calm < 20 {
                let before = connections.load(Ordering::Relaxed);
                let answer = socket.emit_with_ack::<u32>("ack", 1).await;
                assert_eq!(answer.expect("an answer"), 1);
                let after = connections.load(Ordering::Relaxed);
                calm = if before == after { calm + 1 } else { 0 };
            }
        })
        .await;
        soon(socket.disconnect()).await;
    }
}

#[tokio::test]
async fn a_request_of_a_session_that_was_cut_is_not_sent_again() {
    for (habit, arrives) in [
        (Habit::CutsAfter("POST"), 1),
        (Habit::CutsBefore("POST"), 0),
        (Habit::CutsAfter("GET"), 0),
        (Habit::CutsBefore("GET"), 0),
    ] {
        let (_io, address, seen) = echoing().await;
        let relay = Relay::start(address, habit).await;
        for client in each(&relay.url) {
            seen.lock().clear();
            let (gone, mut ends) = tokio::sync::mpsc::unbounded_channel();
            let socket = client.build().expect("valid options");
            socket.on_disconnect(async move |_: client::Socket, why: client::Disconnected| {
                let _ = gone.send(why.to_string());
            });
            let why = match soon(socket.connect()).await {
                // A GET is cut before the namespace is joined.
                Err(error) => error.to_string(),
                Ok(()) => {
                    // A GET may bring the answer to what the server has got.
                    let answer = soon(socket.emit_with_ack::<u64>("cut", 7)).await;
                    assert!(answer.is_err() || arrives == 1);
                    soon(ends.recv()).await.expect("an end")
                }
            };
            assert!(why.contains("transport error"), "{why}");
            let seen = seen.lock().len();
            // Whether an event arrives is not the affair of a GET; twice it must not.
            assert!(
                seen == arrives
                    || matches!(habit, Habit::CutsAfter("GET") | Habit::CutsBefore("GET"))
                        && seen <= 1,
                "{seen}: {why}"
            );
        }
    }
}

/// Answers one request on each connection with these bytes, and leaves it open.
async fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Some((head, _)) = request(&mut stream, &mut bytes).await {
                    let answer = answer(&head);
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn the_status_of_a_refusal_is_told_whatever_its_body_is_like() {
    const REFUSALS: [(&str, &str); 8] = [
        ("Content-Length: 2\r\n\r\nno", "(no)"),
        (
            "Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            "(no)",
        ),
        // These never end.
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n", "(no)"),
        ("\r\nno", "(no)"),
        ("Content-Length: 100\r\n\r\nno", "(no)"),
        ("Content-Length: 999999999999\r\n\r\nno", "(no)"),
        ("Content-Length: x\r\n\r\nno", ""),
        ("Content-Encoding: br\r\nContent-Length: 2\r\n\r\nno", ""),
    ];
    const FIRST: [&str; 3] = [
        "",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n",
    ];
    let case = async |first: &str, rest: &str, text: &str, transports| {
        let answer = format!("{first}HTTP/1.1 403 Forbidden\r\n{rest}");
        let url = answering(move |_| answer.clone()).await;
        let error = fails(direct(&url, transports)).await;
        assert_eq!(error.status(), Some(403), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.hint().is_some());
    };
    let mut cases = Vec::new();
    for (rest, text) in REFUSALS {
        for first in FIRST {
            cases.extend([POLLING, WEBSOCKET].map(|each| case(first, rest, text, each)));
        }
    }
    join_all(cases).await;
}

#[tokio::test]
async fn an_answer_without_a_body_is_not_waited_for() {
    for status in [204, 304] {
        let url =
            answering(move |_| format!("HTTP/1.1 {status} X\r\nContent-Length: 100\r\n\r\n")).await;
        for transports in [POLLING, WEBSOCKET] {
            assert_eq!(fails(direct(&url, transports)).await.status(), Some(status));
        }
    }
}

#[tokio::test]
async fn a_refusal_within_a_session_has_its_status() {
    let url = answering(|head| match head.contains("sid=") {
        false => {
            let body = open("a", "");
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        true => {
            "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nno wa\r\n".to_owned()
        }
    })
    .await;
    let (gone, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let socket = direct(&url, POLLING).build().expect("valid options");
    socket.manager().on(move |event| {
        if let client::ManagerEvent::Closed(why) = event {
            let _ = gone.send((why.status(), why.to_string()));
        }
    });
    socket.manager().set_reconnection(false);
    let connecting = socket.connect();
    let (status, text) = soon(ends.recv()).await.expect("an end");
    assert_eq!(status, Some(403), "{text}");
    assert!(text.contains("no wa"), "{text}");
    drop(connecting);
}

#[tokio::test]
async fn subprotocols_are_offered_and_the_choice_is_told() {
    let io = echo_server();
    let url = format!("http://{}", listen(&io).await);
    for (offered, chosen) in [(&["b", "a"][..], Some("b")), (&[], None)] {
        let client = direct(&url, WEBSOCKET).subprotocols(offered.iter().copied());
        let socket = soon(client.connect()).await.expect("connected");
        assert_eq!(socket.manager().subprotocol().as_deref(), chosen);
        soon(socket.disconnect()).await;
    }
    for wrong in [&["a b"][..], &[""], &["a", "a"], &["a\r\nX: y"]] {
        let client = direct(&url, WEBSOCKET).subprotocols(wrong.iter().copied());
        assert!(client.build().is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn many_pings_in_one_answer_have_one_pong() {
    const PINGS: usize = 1 << 20;
    let posts: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (log, (asked, mut answered)) = (posts.clone(), tokio::sync::mpsc::unbounded_channel());
    tokio::spawn(async move {
        let gets = Arc::new(AtomicUsize::new(0));
        while let Ok((mut stream, _)) = listener.accept().await {
            let (log, gets, asked) = (log.clone(), gets.clone(), asked.clone());
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Some((head, body)) = request(&mut stream, &mut bytes).await {
                    let body = match (head.starts_with("GET"), head.contains("sid=")) {
                        (true, false) => open("a", ""),
                        (true, true) if gets.fetch_add(1, Ordering::Relaxed) == 0 => {
                            ["2"; PINGS].join("\x1e")
                        }
                        (true, true) => std::future::pending().await,
                        (false, _) => {
                            log.lock().push(String::from_utf8(body).expect("text"));
                            let _ = asked.send(());
                            "ok".to_owned()
                        }
                    };
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let socket = direct(&url, POLLING).build().expect("valid options");
    let connecting = socket.connect();
    let sent = || posts.lock().join("\x1e").matches('3').count();
    while sent() == 0 {
        soon(answered.recv()).await.expect("a POST");
    }
    assert_eq!(sent(), 1, "{:?}", posts.lock());
    drop(connecting);
}

/// A proxy that refuses tunnels, as squid does to all ports but 443, and forwards requests. Gives what
/// it was asked, and what it has passed on.
async fn squid(
    status: u16,
    to: SocketAddr,
) -> (String, Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!(
        "http://user:secret@{}",
        listener.local_addr().expect("an address")
    );
    type Log = Arc<Mutex<Vec<String>>>;
    let (asked, passed) = (Log::default(), Log::default());
    let logs = (asked.clone(), passed.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (asked, passed) = logs.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Some((head, body)) = request(&mut stream, &mut bytes).await {
                    asked.lock().push(head.clone());
                    if head.starts_with("CONNECT") {
                        let refusal = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nno");
                        return stream.write_all(refusal.as_bytes()).await;
                    }
                    let lines = head.lines().filter(|line| !line.starts_with("proxy-auth"));
                    let head = lines.collect::<Vec<_>>().join("\r\n");
                    let origin = head.replacen(&format!("http://{to}"), "", 1);
                    let origin = origin.replacen("\r\n", "\r\nconnection: close\r\n", 1) + "\r\n";
                    passed.lock().push(origin.clone());
                    let mut server = TcpStream::connect(to).await?;
                    server
                        .write_all(&[origin.as_bytes(), &body].concat())
                        .await?;
                    let mut answer = Vec::new();
                    server.read_to_end(&mut answer).await?;
                    stream.write_all(&answer).await?;
                }
                Ok(())
            });
        }
    });
    (url, asked, passed)
}

#[tokio::test]
async fn a_proxy_that_refuses_tunnels_forwards_polling_without_tls() {
    for status in [403, 405] {
        let (_io, address, seen) = echoing().await;
        let (proxy, asked, passed) = squid(status, address).await;
        let url = format!("http://{address}");
        let client = builder(&url, POLLING).without_reconnection().proxy(&proxy);
        let socket = soon(client.connect()).await.expect("connected");
        for n in 0..3 {
            let answer = soon(socket.emit_with_ack::<u64>("n", n)).await;
            assert_eq!(answer.expect("an answer"), n);
        }
        assert_eq!(*seen.lock(), [0, 1, 2]);
        soon(socket.disconnect()).await;
        let tunnels = asked
            .lock()
            .iter()
            .filter(|head| head.starts_with("CONNECT"))
            .count();
        assert_eq!(tunnels, 1, "it is not asked again and again");
        // Basic user:secret, for the proxy alone.
        let authorization = "proxy-authorization: Basic dXNlcjpzZWNyZXQ=";
        assert!(
            asked
                .lock()
                .iter()
                .skip(1)
                .all(|head| head.contains(authorization))
        );
        assert!(
            !passed
                .lock()
                .iter()
                .any(|head| head.contains("secret") || head.contains("Basic"))
        );

        // What needs a tunnel has none, and does not go without the proxy.
        for (url, transports) in [(&url, WEBSOCKET), (&url.replace("http", "https"), POLLING)] {
            let client = builder(url, transports)
                .without_reconnection()
                .proxy(&proxy);
            let error = fails(client).await.to_string();
            assert!(
                error.contains(&format!("the proxy refused: {status}")),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
    // Another refusal is one.
    let (_io, address, _) = echoing().await;
    let (proxy, asked, _) = squid(407, address).await;
    let client = builder(&format!("http://{address}"), POLLING).proxy(&proxy);
    let error = fails(client.without_reconnection()).await.to_string();
    assert!(error.contains("the proxy refused: 407"), "{error}");
    assert_eq!(asked.lock().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_hangs_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    for kind in ["http", "socks5h"] {
        let client = builder("http://server.test", POLLING)
            .without_reconnection()
            .proxy(format!("{kind}://{address}"))
            .timeout(Duration::from_millis(400));
        let error = fails(client).await.to_string();
        let expected = format!(
            "the proxy {kind}://{address} cannot be used: it has not connected to server.test:80 within 300ms"
        );
        assert!(error.contains(&expected), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_opens_no_session_is_told_with_its_hint() {
    for (body, hint) in [
        ("<!doctype html><title>App</title>", Hint::Page),
        ("\u{feff}\n<html>", Hint::Page),
        ("{\"status\":\"up\"}", Hint::NotSocketIo),
        ("ok", Hint::NotSocketIo),
        ("", Hint::NotSocketIo),
        ("404 page not found", Hint::NotSocketIo),
    ] {
        let url = answering(move |_| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        })
        .await;
        for version in [Version::V4, Version::V2] {
            let error = fails(direct(&url, POLLING).version(version)).await;
            assert_eq!(error.message(), "server error");
            assert_eq!(error.status(), Some(200));
            assert_eq!(error.hint(), Some(hint.as_str()), "{body}");
        }
    }
}

/// Answers over TLS without a length and ends each connection, with TLS's goodbye or without.
async fn ending_tls(
    files: &Files,
    says_goodbye: bool,
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> String {
    let key = PrivateKeyDer::from_pem_file(files.key()).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![files.der.clone()], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await? == 0 {
                        return Ok(());
                    }
                }
                let answer = answer(&String::from_utf8_lossy(&head));
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await?;
                match says_goodbye {
                    true => stream.shutdown().await,
                    // Behind the back of TLS.
                    false => stream.get_mut().0.shutdown().await,
                }
            });
        }
    });
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn what_may_be_cut_is_taken_only_where_nothing_can_be_missing() {
    let files = Files::with("goodbye", "localhost", |_| {});
    let client = |url: &str| {
        let client = direct(url, POLLING).root_certificate(files.cert());
        client.without_reconnection()
    };
    for says_goodbye in [true, false] {
        let refusal = |_: &str| "HTTP/1.1 403 X\r\n\r\nnot you".to_owned();
        let url = ending_tls(&files, says_goodbye, refusal).await;
        let error = fails(client(&url)).await;
        assert_eq!((error.status(), error.body()), (Some(403), Some("not you")));

        // The open packet is whole; what comes in the session may not be.
        let url = ending_tls(&files, says_goodbye, |head| {
            let body = match head.contains("sid=") {
                false => open("a", ""),
                true => r#"40{"sid":"b"}"#.to_owned(),
            };
            format!("HTTP/1.1 200 OK\r\n\r\n{body}")
        })
        .await;
        let connected = soon(client(&url).connect()).await;
        match says_goodbye {
            true => assert!(connected.is_ok()),
            false => {
                let error = connected.map(drop).expect_err("cut").to_string();
                assert!(error.contains("transport error"), "{error}");
            }
        }

        // An open packet that is cut is none.
        let url = ending_tls(&files, says_goodbye, |_| {
            format!("HTTP/1.1 200 OK\r\n\r\n{}", &open("a", "")[..20])
        })
        .await;
        fails(client(&url)).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_larger_than_the_queue_is_read_as_the_application_keeps_up() {
    const EVENTS: usize = 2000;
    let gets = AtomicUsize::new(0);
    let url = answering(move |head| {
        let body = match (head.starts_with("GET"), head.contains("sid=")) {
            (true, false) => open("a", ""),
            (true, true) if gets.fetch_add(1, Ordering::Relaxed) > 0 => "6".to_owned(),
            (true, true) => {
                let events = (0..EVENTS).map(|n| format!(r#"42["n",{n}]"#));
                let all: Vec<_> = [r#"40{"sid":"b"}"#.to_owned()]
                    .into_iter()
                    .chain(events)
                    .collect();
                all.join("\x1e")
            }
            (false, _) => "ok".to_owned(),
        };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    })
    .await;
    let (sender, mut numbers) = tokio::sync::mpsc::channel(1);
    let client = direct(&url, POLLING)
        .max_queue(1000)
        .max_running_handlers(1)
        .on("n", async move |_: client::Socket, n: usize| {
            let _ = sender.send(n).await;
        });
    let socket = soon(client.connect()).await.expect("connected");
    for n in 0..EVENTS {
        assert_eq!(soon(numbers.recv()).await, Some(n));
    }
    drop(numbers);
    soon(socket.disconnect()).await;
}

/// A binary payload of Engine.IO 3: for each packet whether it is bytes, the digits of its length, 0xff.
fn binary_payload(packets: &[(bool, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (is_binary, data) in packets {
        body.push(u8::from(*is_binary));
        let length = data.len().to_string();
        body.extend(length.bytes().map(|digit| digit - b'0'));
        body.push(0xff);
        body.extend_from_slice(data);
    }
    body
}

#[tokio::test]
async fn binary_payloads_of_revision_3_are_read() {
    let gets = AtomicUsize::new(0);
    let server = Fake::start(move |head, _| {
        if head.starts_with("POST") {
            return Reply::Http(200, "", "ok".to_owned());
        }
        let opening = open("a", "");
        Reply::Bytes(match gets.fetch_add(1, Ordering::Relaxed) {
            0 => binary_payload(&[(false, opening.as_bytes()), (false, b"40")]),
            1 => binary_payload(&[
                (false, "42[\"text\",\"h\u{e9}\u{20ac}\"]".as_bytes()),
                (false, br#"451-["bytes",{"_placeholder":true,"num":0}]"#),
                (true, b"\x04\xff\x00\x01"),
            ]),
            _ => return Reply::Nothing,
        })
    })
    .await;
    let (sender, mut events) = channel();
    let other = sender.clone();
    let socket = direct(&server.url, POLLING)
        .version(Version::V2)
        .on("text", async move |_: client::Socket, text: String| {
            let _ = sender.send(text.into_bytes());
        })
        .on(
            "bytes",
            async move |_: client::Socket, bytes: bytes::Bytes| {
                let _ = other.send(bytes.to_vec());
            },
        );
    let socket = soon(socket.connect()).await.expect("connected");
    let mut came = [next(&mut events).await, next(&mut events).await];
    came.sort();
    assert_eq!(came, ["h\u{e9}\u{20ac}".as_bytes(), b"\xff\x00\x01"]);
    drop(socket);
}

// A length that is none, or that is longer than the body, is not waited for.
#[tokio::test]
async fn a_binary_payload_that_is_malformed_is_no_packet() {
    for wrong in [
        &b"\0\x05\xff40"[..],
        b"\0\x0b\xff40",
        b"\x01",
        b"\0\xff\xff",
    ] {
        let first = AtomicUsize::new(0);
        let server = Fake::start(move |_, _| match first.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Bytes(binary_payload(&[(false, open("a", "").as_bytes())])),
            _ => Reply::Bytes(wrong.to_vec()),
        })
        .await;
        let socket = direct(&server.url, POLLING).version(Version::V2);
        let error = soon(socket.connect()).await.expect_err("malformed");
        assert!(
            error.to_string().contains("is no packet"),
            "{wrong:?}: {error}"
        );
    }
}
