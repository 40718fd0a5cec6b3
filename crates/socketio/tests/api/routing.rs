//! Three servers behind a load balancer that gives each connection to the next one: no stickiness at
//! all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::cluster::MemoryBus;
use socketio::{
    ConfigError, ConnectionError, Recovery, Routing, Server, ServerBuilder, Socket, Transport,
    client,
};
use socketio_proto::websocket::Opcode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::{HANDSHAKE, Polling, Received, Ws, http, open_polling, soon, until};

const SECRET: &str = "the secret of all three servers";

/// A server and its own address.
struct Node {
    io: Server,
    address: SocketAddr,
    refused: Arc<Mutex<Vec<ConnectionError>>>,
}

/// Answers an echo, for as long as the server stands.
fn node_on(listener: &TcpListener, routing: Routing, builder: ServerBuilder) -> Node {
    let io = builder.routing(routing).build();
    io.on("echo", async |_: Socket, value: Value| value);
    io.on("bytes", async |_: Socket, bytes: Bytes| bytes);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let log = refused.clone();
    io.on_connection_error(move |error| log.lock().push(error.clone()));
    Node {
        io,
        address: listener.local_addr().expect("an address"),
        refused,
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

async fn node(options: impl Fn(Routing) -> Routing, builder: ServerBuilder) -> Node {
    let listener = listener().await;
    let address = listener.local_addr().expect("an address").to_string();
    let node = node_on(&listener, options(Routing::new(address, SECRET)), builder);
    let listening = node.io.listen_on(listener);
    tokio::spawn(async move { listening.await });
    node
}

/// Three servers, and the address of the load balancer in front of them.
struct Trio {
    nodes: Vec<Node>,
    front: SocketAddr,
}

impl Trio {
    async fn start(builder: impl Fn() -> ServerBuilder) -> Trio {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(node(|routing| routing, builder()).await);
        }
        let front = balance(nodes.iter().map(|node| node.address).collect()).await;
        Trio { nodes, front }
    }

    fn sum(&self, of: impl Fn(&Node) -> u64) -> u64 {
        self.nodes.iter().map(of).sum()
    }

    fn forwarded(&self) -> u64 {
        self.sum(|node| node.io.stats().forwarded)
    }

    fn refused(&self) -> u64 {
        self.sum(|node| node.io.stats().refused_requests)
    }

    /// The server that has the only session, and the two others.
    fn owner(&self) -> (&Node, Vec<&Node>) {
        let (owners, others): (Vec<_>, Vec<_>) = self
            .nodes
            .iter()
            .partition(|node| node.io.clients_count() == 1);
        assert_eq!(owners.len(), 1);
        (owners[0], others)
    }
}

/// Gives each connection to the next server.
async fn balance(servers: Vec<SocketAddr>) -> SocketAddr {
    let listener = listener().await;
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut next = servers.into_iter().cycle();
        while let (Ok((mut client, _)), Some(server)) = (listener.accept().await, next.next()) {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

/// Sends bytes and gives all that is answered until the end.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("to connect");
    stream.write_all(request).await.expect("to write");
    let mut answer = Vec::new();
    // A connection that is dropped with unread bytes is reset.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn target(sid: &str) -> String {
    format!("{HANDSHAKE}&sid={sid}")
}

// S095
#[tokio::test]
async fn polling_needs_no_stickiness() {
    let trio = Trio::start(Server::builder).await;
    let polling = Polling::connect(trio.front).await;
    for i in 0..20 {
        let event = format!("42{i}[\"echo\",{i}]");
        assert_eq!(polling.post(&event).await.body, "ok");
        assert_eq!(polling.get().await, format!("43{i}[{i}]"));
    }
    let bytes = "451-0[\"bytes\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQIDBA==";
    assert_eq!(polling.post(bytes).await.body, "ok");
    assert_eq!(trio.refused(), 0);
    // Of 43 requests after the handshake two in three.
    assert_eq!(trio.forwarded(), 29);
}

// S095
#[tokio::test]
async fn a_get_that_waits_is_answered_from_afar() {
    let trio = Trio::start(Server::builder).await;
    let polling = Polling::connect(trio.front).await;
    let (owner, others) = trio.owner();
    let target = target(polling.sid());
    let waiting = http(others[0].address, "GET", &target, "");
    let emit = async {
        until(|| others[0].io.stats().forwarded > 0).await;
        owner.io.emit("news", "x".repeat(100_000));
    };
    let (answer, ()) = tokio::join!(waiting, emit);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        format!("42[\"news\",\"{}\"]", "x".repeat(100_000))
    );
}

// S095
#[tokio::test]
async fn an_upgrade_that_reaches_another_server_passes_through_it() {
    let trio = Trio::start(Server::builder).await;
    let polling = Polling::connect(trio.front).await;
    let (owner, others) = trio.owner();
    for node in others {
        let upgrade = HANDSHAKE.replace("polling", "websocket");
        let upgrade = format!("{upgrade}&sid={}", polling.sid());
        if owner.io.stats().upgraded > 0 {
            break;
        }
        let mut ws = Ws::upgrade(node.address, &upgrade).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        ws.send("5").await;
        for size in [0, 10, 1_000, 900_000] {
            let text = "é".repeat(size / 2);
            ws.send(&format!("421[\"echo\",\"{text}\"]")).await;
            assert_eq!(ws.text().await, format!("431[\"{text}\"]"));
            ws.send("451-2[\"bytes\",{\"_placeholder\":true,\"num\":0}]")
                .await;
            ws.frame(Opcode::Binary, &vec![7; size]).await;
            let answer = ws.text().await;
            assert_eq!(answer, "461-2[{\"_placeholder\":true,\"num\":0}]");
            assert_eq!(ws.next().await, Received::Binary(vec![7; size]));
        }
        assert_eq!(owner.io.stats().upgraded, 1);
        // The client goes, and its server sees it.
        drop(ws);
        until(|| owner.io.clients_count() == 0).await;
    }
    assert_eq!(trio.refused(), 0);
}

// S095
#[tokio::test]
async fn a_server_that_sends_away_ends_the_websocket_of_another() {
    let trio = Trio::start(Server::builder).await;
    let polling = Polling::connect(trio.front).await;
    let (owner, others) = trio.owner();
    let mut ws = upgraded(&polling, others[0]).await;
    owner.io.close_connections();
    assert_eq!(ws.closed().await, Some(None));
}

/// Moves a session to a WebSocket at a server.
async fn upgraded(polling: &Polling, node: &Node) -> Ws {
    let upgrade = HANDSHAKE.replace("polling", "websocket");
    let mut ws = Ws::upgrade(node.address, &format!("{upgrade}&sid={}", polling.sid())).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send("5").await;
    ws.send("421[\"echo\",0]").await;
    assert_eq!(ws.text().await, "431[0]");
    ws
}

// S095
#[tokio::test]
async fn a_websocket_alone_needs_no_forwarding() {
    let trio = Trio::start(Server::builder).await;
    for _ in 0..6 {
        let mut ws = Ws::connect(trio.front).await;
        ws.send("421[\"echo\",1]").await;
        assert_eq!(ws.text().await, "431[1]");
    }
    assert_eq!((trio.forwarded(), trio.refused()), (0, 0));
}

// S095
#[tokio::test]
async fn a_body_may_be_as_large_as_on_its_own_server() {
    let trio = Trio::start(|| Server::builder().max_payload(100_000)).await;
    let event = |size: usize| format!("421[\"echo\",\"{}\"]", "x".repeat(size - 14));
    for node in &trio.nodes {
        let polling = Polling::connect(trio.front).await;
        let whole = http_owned(node.address, target(polling.sid()), event(100_000)).await;
        assert_eq!(whole, (200, "ok".to_owned()));
        assert_eq!(polling.get().await.len(), 100_000 - 7);
        assert_eq!(chunked(node.address, &polling, &event(100_000)).await, 200);
        polling.get().await;
        // A larger one ends its session, wherever it came to.
        for size in [100_001, 10_000_000] {
            let polling = Polling::connect(trio.front).await;
            let whole = http_owned(node.address, target(polling.sid()), event(size)).await;
            assert_eq!(whole, (413, String::new()));
            assert_eq!(polling.post("421[\"echo\",1]").await.status, 400);
        }
        for size in [100_001, 300_000] {
            let polling = Polling::connect(trio.front).await;
            let status = chunked(node.address, &polling, &event(size)).await;
            assert_eq!(status, 413);
            assert_eq!(polling.post("421[\"echo\",1]").await.status, 400);
        }
    }
}

/// A POST whose answer is read while it is still being written.
async fn http_owned(address: SocketAddr, target: String, body: String) -> (u16, String) {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    post(address, [head, body].concat().into_bytes()).await
}

async fn chunked(address: SocketAddr, polling: &Polling, body: &str) -> u16 {
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        target(polling.sid())
    );
    for chunk in body.as_bytes().chunks(30_000) {
        let text = str::from_utf8(chunk).expect("ASCII");
        request += &format!("{:x}\r\n{text}\r\n", chunk.len());
    }
    request += "0\r\n\r\n";
    post(address, request.into_bytes()).await.0
}

async fn post(address: SocketAddr, request: Vec<u8>) -> (u16, String) {
    let stream = TcpStream::connect(address).await.expect("to connect");
    let (mut read, mut write) = stream.into_split();
    let writing = tokio::spawn(async move {
        // Who is refused is not read to the end.
        let _ = write.write_all(&request).await;
        write
    });
    let mut answer = Vec::new();
    let _ = soon(read.read_to_end(&mut answer)).await;
    drop(writing);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

// S096
#[tokio::test]
async fn a_session_whose_server_is_gone_is_refused_and_the_server_named() {
    let trio = Trio::start(Server::builder).await;
    let polling = Polling::connect(trio.front).await;
    let (owner, others) = trio.owner();
    let other = Polling::connect(others[0].address).await;
    owner.io.close().await;
    let gone = owner.address.to_string();
    until(|| std::net::TcpStream::connect(owner.address).is_err()).await;
    for node in others {
        let answer = http(node.address, "GET", &target(polling.sid()), "").await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
        let error = node.refused.lock().pop().expect("a refusal");
        assert_eq!(error.code, 1);
        assert_eq!(error.context["name"], "SERVER_UNREACHABLE");
        assert_eq!(error.context["server"], json!(gone));
        assert!(error.hint.contains("does not answer"), "{}", error.hint);
        let upgrade = target(polling.sid()).replace("polling", "websocket");
        let answer = raw(
            node.address,
            format!(
                "GET {upgrade} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nSession ID unknown"), "{answer}");
    }
    // Nobody else notices.
    for node in trio
        .nodes
        .iter()
        .filter(|node| node.address != owner.address)
    {
        let event = http(
            node.address,
            "POST",
            &target(other.sid()),
            "421[\"echo\",1]",
        )
        .await;
        assert_eq!(event.body, "ok");
        assert_eq!(
            http(node.address, "GET", &target(other.sid()), "")
                .await
                .body,
            "431[1]"
        );
    }
}

// S096
#[tokio::test]
async fn a_server_that_dies_under_a_waiting_get_is_named() {
    let trio = Trio::start(Server::builder).await;
    let relay = Relay::start().await;
    let owner = relayed(&relay, Server::builder()).await;
    let polling = Polling::connect(owner.address).await;
    let node = &trio.nodes[0];
    let target = target(polling.sid());
    let waiting = http(node.address, "GET", &target, "");
    let cut = async {
        until(|| relay.count() > 0).await;
        relay.cut();
    };
    let (answer, ()) = tokio::join!(waiting, cut);
    assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
    let error = node.refused.lock().pop().expect("a refusal");
    assert_eq!(error.context["server"], json!(relay.address.to_string()));
}

// S096
#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let fast = || {
        Server::builder()
            .ping_interval(Duration::from_millis(300))
            .ping_timeout(Duration::from_millis(200))
            .body_timeout(Duration::from_millis(100))
    };
    let node = node(|routing| routing, fast()).await;
    let relay = Relay::start().await;
    let owner = relayed(&relay, fast()).await;
    let polling = Polling::connect(owner.address).await;
    let mut ws = upgraded(&polling, &node).await;
    let waits = Polling::connect(owner.address).await;
    relay.freeze();
    assert_eq!(ws.closed().await, None);
    let answer = http(node.address, "GET", &target(waits.sid()), "").await;
    assert_eq!(answer.status, 400);
    let error = node.refused.lock().pop().expect("a refusal");
    assert_eq!(error.context["error"], "no answer within 600ms");
}

/// A way to a server that can be cut, or fall silent as when a machine loses its power.
struct Relay {
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    count: Arc<AtomicUsize>,
    is_frozen: Arc<AtomicBool>,
    cut: tokio::sync::watch::Sender<bool>,
}

impl Relay {
    async fn start() -> Relay {
        let listener = listener().await;
        Relay {
            address: listener.local_addr().expect("an address"),
            listener: Mutex::new(Some(listener)),
            count: Arc::default(),
            is_frozen: Arc::default(),
            cut: tokio::sync::watch::Sender::new(false),
        }
    }

    fn lead_to(&self, server: SocketAddr) {
        let listener = self.listener.lock().take().expect("one server");
        let (count, is_frozen) = (self.count.clone(), self.is_frozen.clone());
        let cut = self.cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let server = TcpStream::connect(server).await.expect("a server");
                let (is_frozen, mut cut) = (is_frozen.clone(), cut.subscribe());
                tokio::spawn(async move {
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let up = copy(&mut from_client, &mut to_server, &is_frozen);
                    let down = copy(&mut from_server, &mut to_client, &is_frozen);
                    tokio::select! {
                        _ = async { tokio::join!(up, down) } => {}
                        _ = cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn cut(&self) {
        self.cut.send_replace(true);
    }

    fn freeze(&self) {
        self.is_frozen.store(true, Ordering::Relaxed);
    }
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    is_frozen: &AtomicBool,
) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if is_frozen.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// A server that others reach through a relay.
async fn relayed(relay: &Relay, builder: ServerBuilder) -> Node {
    let listener = listener().await;
    let routing = Routing::new(relay.address.to_string(), SECRET);
    let node = node_on(&listener, routing, builder);
    relay.lead_to(node.address);
    let listening = node.io.listen_on(listener);
    tokio::spawn(async move { listening.await });
    node
}

// S096
#[tokio::test]
async fn a_session_that_has_ended_on_its_server_is_told_from_a_lost_one() {
    let trio = Trio::start(Server::builder).await;
    let polling = Polling::connect(trio.front).await;
    let (owner, others) = trio.owner();
    owner.io.close_connections();
    assert_eq!(polling.get().await, "6\x1e1");
    until(|| owner.io.clients_count() == 0).await;
    let answer = http(others[0].address, "GET", &target(polling.sid()), "").await;
    assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
    let error = owner.refused.lock().pop().expect("a refusal");
    assert_eq!(error.context["name"], "SESSION_ENDED");
    assert!(others[0].refused.lock().is_empty());
}

// S097
#[tokio::test]
async fn a_forged_id_leads_nowhere() {
    let trio = Trio::start(Server::builder).await;
    let sid = open_polling(trio.front).await;
    let stranger = {
        let listener = listener().await;
        let address = listener.local_addr().expect("an address").to_string();
        let other = Routing::new(address, "another secret, just as long");
        let node = node_on(&listener, other, Server::builder());
        let listening = node.io.listen_on(listener);
        tokio::spawn(async move { listening.await });
        open_polling(node.address).await
    };
    let mut forged = vec![stranger, "127.0.0.1:1".to_owned(), sid[1..].to_owned()];
    for at in [0, 19, 20, 30, sid.len() - 2] {
        let mut bytes = sid.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(bytes).expect("ASCII"));
    }
    for sid in forged {
        for node in &trio.nodes {
            let answer = http(node.address, "GET", &target(&sid), "").await;
            assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
            let error = node.refused.lock().pop().expect("a refusal");
            assert_eq!(error.context, json!({ "sid": sid }));
        }
    }
    assert_eq!(trio.forwarded(), 0);
}

// S097
#[tokio::test]
async fn a_request_that_only_claims_to_be_forwarded_is_one_like_any_other() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let trio = Trio::start(|| {
        let log = log.clone();
        Server::builder().on_headers(move |_, request| log.lock().push(request.clone()))
    })
    .await;
    let sid = open_polling(trio.front).await;
    for node in &trio.nodes {
        for claim in ["", "x", ";", "AAAA;6.6.6.6:6", "é;1.1.1.1:1"] {
            let request = format!(
                "POST {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\
                 socketio-forwarded: {claim}\r\n\r\n3",
                target(&sid)
            );
            let answer = raw(node.address, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(!answer.contains("socketio-forwarded"), "{answer}");
        }
    }
    // Two in three came from another server, and all look the same.
    assert_eq!(trio.forwarded(), 10);
    let seen = seen.lock();
    assert_eq!(seen.len(), 16);
    for request in &*seen {
        assert!(!request.headers.contains_key("socketio-forwarded"));
        let address = request.address.expect("an address").ip();
        assert_eq!(address.to_string(), "127.0.0.1");
    }
}

// S097
#[tokio::test]
async fn a_request_is_forwarded_once_at_most() {
    // Each says that it is at the address of the other.
    let (first, second) = (listener().await, listener().await);
    let at = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
    let one = node_on(&first, Routing::new(at(&second), SECRET), Server::builder());
    let two = node_on(&second, Routing::new(at(&first), SECRET), Server::builder());
    for (node, listener) in [(&one, first), (&two, second)] {
        let listening = node.io.listen_on(listener);
        tokio::spawn(async move { listening.await });
    }
    let three = node(|routing| routing, Server::builder()).await;
    let sid = open_polling(one.address).await;
    let answer = http(three.address, "GET", &target(&sid), "").await;
    assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
    let error = two.refused.lock().pop().expect("a refusal");
    // The second says of itself that it is at the first's, and this id is for the second's.
    assert_eq!(error.context["name"], "MISDIRECTED");
    assert_eq!(error.context["server"], json!(two.address.to_string()));
    assert_eq!(three.io.stats().forwarded, 1);
    assert_eq!(two.io.stats().forwarded, 0);
    assert_eq!(one.io.stats().forwarded, 0);
}

// S097
#[tokio::test]
async fn what_answers_without_the_secret_is_not_passed_on() {
    let impostor = listener().await;
    let address = impostor.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = impostor.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer =
                b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSocketio-Forwarded: eA\r\n\r\nsecret";
            let _ = stream.write_all(answer).await;
        }
    });
    // A server that was at this address once.
    let gone = listener().await;
    let gone = node_on(&gone, Routing::new(address, SECRET), Server::builder());
    let before = listener().await;
    let at = before.local_addr().expect("an address");
    let listening = gone.io.listen_on(before);
    tokio::spawn(async move { listening.await });
    let sid = open_polling(at).await;

    let node = node(|routing| routing, Server::builder()).await;
    let answer = http(node.address, "GET", &target(&sid), "").await;
    assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
    let error = node.refused.lock().pop().expect("a refusal");
    assert_eq!(
        error.context["error"],
        "what answers there is no server with this secret"
    );
}

// S095
#[tokio::test]
async fn a_hook_sees_the_same_client_whichever_server_was_asked() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let trio = Trio::start(|| {
        let log = log.clone();
        Server::builder()
            .trusted_proxies(["127.0.0.1"])
            .engine_middleware(move |request| {
                let mut headers: Vec<_> = request
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), format!("{value:?}")))
                    .collect();
                headers.sort();
                log.lock().push((request.address, request.uri, headers));
                async {
                    Ok(http::HeaderMap::from_iter([(
                        http::header::SERVER,
                        "s".parse().unwrap(),
                    )]))
                }
            })
    })
    .await;
    let handshake = "X-Forwarded-For: 1.2.3.4\r\nX-Mine: a\r\nX-Mine: b\r\nCookie: c=d\r\n";
    let request = |target: &str, body: &str| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        format!(
            "{method} {target} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n{handshake}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let opened = raw(trio.front, request(HANDSHAKE, "").as_bytes()).await;
    let sid = opened.split('"').nth(3).expect("a sid").to_owned();
    let (owner, _) = trio.owner();
    seen.lock().clear();
    for node in &trio.nodes {
        let answer = raw(node.address, request(&target(&sid), "3").as_bytes()).await;
        // The middleware has run once.
        assert_eq!(answer.matches("server: s\r\n").count(), 1, "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    let seen = seen.lock();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].0.expect("an address").to_string(), "1.2.3.4:0");
    for request in &seen[1..] {
        assert_eq!((&request.0, &request.1), (&seen[0].0, &seen[0].1));
        let without = |headers: &[(String, String)]| {
            let of_a_hop = |(name, _): &&(String, String)| name != "connection";
            headers.iter().filter(of_a_hop).cloned().collect::<Vec<_>>()
        };
        assert_eq!(without(&request.2), without(&seen[0].2));
    }
    assert_eq!(owner.io.stats().forwarded, 0);
}

// S095
#[tokio::test]
async fn the_address_of_the_handshake_is_the_clients() {
    let trio = Trio::start(|| Server::builder().trusted_proxies(["127.0.0.1"])).await;
    for node in &trio.nodes {
        node.io.on("who", async |socket: Socket| {
            socket.handshake().address().map(|a| a.to_string())
        });
    }
    let request = format!(
        "GET {HANDSHAKE} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    );
    let opened = raw(trio.front, request.as_bytes()).await;
    let sid = opened.split('"').nth(3).expect("a sid").to_owned();
    let ask = |body: &'static str| {
        let (front, target) = (trio.front, target(&sid));
        async move {
            http(
                front,
                if body.is_empty() { "GET" } else { "POST" },
                &target,
                body,
            )
            .await
            .body
        }
    };
    assert_eq!(ask("40").await, "ok");
    assert!(ask("").await.starts_with("40{"));
    assert_eq!(ask("421[\"who\"]").await, "ok");
    assert_eq!(ask("").await, "431[\"1.2.3.4:0\"]");
    assert!(trio.forwarded() > 0);
}

// S095
#[tokio::test]
async fn a_client_that_comes_back_is_recovered_through_any_server() {
    let bus = MemoryBus::new();
    let trio = Trio::start(|| {
        Server::builder()
            .recovery(Recovery::new())
            .cluster(bus.clone())
    })
    .await;
    let polling = Polling::open(trio.front).await;
    assert_eq!(polling.post("40").await.body, "ok");
    let welcome = polling.get().await;
    let data: Value = serde_json::from_str(&welcome[2..]).expect("json");
    let (owner, _) = trio.owner();
    owner.io.emit("news", 1);
    let event = polling.get().await;
    let args: Vec<Value> = serde_json::from_str(&event[2..]).expect("json");
    let proof = json!({ "pid": data["pid"], "offset": args[2] });
    // The connection breaks: a GET is dropped, by way of whichever server.
    let stream = TcpStream::connect(trio.front).await.expect("to connect");
    let mut stream = stream;
    let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", target(polling.sid()));
    stream
        .write_all(request.as_bytes())
        .await
        .expect("to write");
    tokio::task::yield_now().await;
    drop(stream);
    until(|| owner.io.clients_count() == 0).await;
    owner.io.emit("news", 2);

    // Its next session begins on the same server, and is served through all of them.
    let back = Polling::open(owner.address).await;
    let through = |body: String| http_owned(trio.front, target(back.sid()), body);
    assert_eq!(through(format!("40{proof}")).await.1, "ok");
    let answer = http(trio.front, "GET", &target(back.sid()), "").await.body;
    let (missed, again) = answer
        .split_once('\u{1e}')
        .unwrap_or_else(|| panic!("{answer}"));
    assert!(missed.starts_with("42[\"news\",2,"), "{answer}");
    let again: Value = serde_json::from_str(&again[2..]).expect("json");
    assert_eq!((&again["sid"], &again["pid"]), (&data["sid"], &data["pid"]));
    assert!(trio.forwarded() > 0);
}

// S095
#[tokio::test]
async fn it_works_under_axum() {
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let listener = listener().await;
        let address = listener.local_addr().expect("an address").to_string();
        let node = node_on(&listener, Routing::new(address, SECRET), Server::builder());
        let app = axum::Router::new().layer(node.io.layer());
        tokio::spawn(async move { axum::serve(listener, app).await });
        nodes.push(node);
    }
    let polling = Polling::connect(nodes[0].address).await;
    let event = http(
        nodes[1].address,
        "POST",
        &target(polling.sid()),
        "421[\"echo\",1]",
    )
    .await;
    assert_eq!(event.body, "ok");
    assert_eq!(
        http(nodes[1].address, "GET", &target(polling.sid()), "")
            .await
            .body,
        "431[1]"
    );
    let mut ws = upgraded(&polling, &nodes[1]).await;
    ws.send("422[\"echo\",2]").await;
    assert_eq!(ws.text().await, "432[2]");
    assert_eq!(nodes[1].io.stats().forwarded, 3);
}

#[tokio::test]
async fn what_is_on_its_way_is_limited() {
    let owner = node(|routing| routing, Server::builder()).await;
    let node = node(|routing| routing.max_forwarded(4), Server::builder()).await;
    let mut websockets = Vec::new();
    for _ in 0..3 {
        let polling = Polling::connect(owner.address).await;
        websockets.push(upgraded(&polling, &node).await);
    }
    let other = Polling::connect(owner.address).await;
    let target = target(other.sid());
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let upgrade = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{upgrade}");
    let post = format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\n3"
    );
    let waiting = {
        let address = node.address;
        tokio::spawn(async move { http(address, "GET", &target, "").await })
    };
    until(|| node.io.metrics().forwarding == 4).await;
    let refused = [raw(node.address, post.as_bytes()).await, {
        // The last place is not for WebSockets, free or not.
        owner.io.emit("news", 1);
        assert_eq!(soon(waiting).await.expect("done").body, "42[\"news\",1]");
        until(|| node.io.metrics().forwarding == 3).await;
        raw(node.address, upgrade.as_bytes()).await
    }];
    for answer in refused {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
        assert!(
            answer.ends_with(r#"{"message":"Too many forwarded requests"}"#),
            "{answer}"
        );
    }
    assert_eq!(node.io.stats().refused_forwards, 2);
    assert!(raw(node.address, post.as_bytes()).await.ends_with("ok"));
    drop(websockets);
    until(|| node.io.metrics().forwarding == 0).await;
}

#[tokio::test]
async fn without_forwarding_the_refusal_names_the_right_server() {
    let owner = node(|routing| routing, Server::builder()).await;
    let node = node(Routing::without_forwarding, Server::builder()).await;
    let polling = Polling::connect(owner.address).await;
    let answer = http(node.address, "GET", &target(polling.sid()), "").await;
    assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
    let error = node.refused.lock().pop().expect("a refusal");
    assert_eq!(error.context["name"], "WRONG_SERVER");
    assert_eq!(error.context["server"], json!(owner.address.to_string()));
    assert!(error.hint.contains("sticky sessions"), "{}", error.hint);
}

#[tokio::test]
async fn a_server_that_is_closed_or_drained_ends_what_passes_through_it() {
    let owner = node(|routing| routing, Server::builder()).await;
    let closed = node(|routing| routing, Server::builder()).await;
    let drained = node(|routing| routing, Server::builder()).await;
    let (one, two) = (
        Polling::connect(owner.address).await,
        Polling::connect(owner.address).await,
    );
    let mut through_closed = upgraded(&one, &closed).await;
    let mut through_drained = upgraded(&two, &drained).await;
    closed.io.close().await;
    assert_eq!(through_closed.closed().await, None);
    drained.io.drain(Duration::from_millis(50)).await;
    assert_eq!(through_drained.closed().await, None);
    until(|| owner.io.clients_count() == 0).await;
}

#[tokio::test]
async fn a_server_that_is_drained_waits_for_the_gets_that_it_has_forwarded() {
    let owner = node(|routing| routing, Server::builder()).await;
    let drained = node(|routing| routing, Server::builder()).await;
    let polling = Polling::connect(owner.address).await;
    let target = target(polling.sid());
    let waiting = http(drained.address, "GET", &target, "");
    let io = drained.io.clone();
    let draining = tokio::spawn(async move {
        until(|| io.stats().forwarded > 0).await;
        // The window is much longer than the test may take.
        io.drain(Duration::from_secs(600)).await;
    });
    let news = async {
        until(|| !drained.io.is_ready()).await;
        owner.io.emit("news", 1);
    };
    let (answer, ()) = tokio::join!(waiting, news);
    assert_eq!(answer.body, "42[\"news\",1]");
    soon(draining).await.expect("drained");
    assert_eq!(owner.io.clients_count(), 1);
}

// S095
#[tokio::test]
async fn our_own_client_needs_no_stickiness_either() {
    let trio = Trio::start(Server::builder).await;
    for transports in [
        &[Transport::Polling][..],
        &[Transport::Polling, Transport::WebSocket],
        &[Transport::WebSocket],
    ] {
        let url = format!("http://{}", trio.front);
        let client = client::Client::builder(&url).transports(transports.iter().copied());
        let socket = soon(client.connect()).await.expect("to connect");
        for i in 0..20 {
            let answer = socket.emit_with_ack::<Value>("echo", i);
            assert_eq!(soon(answer).await.expect("an answer"), json!(i));
        }
        let answer = socket.emit_with_ack::<Bytes>("bytes", Bytes::from(vec![7; 100_000]));
        assert_eq!(soon(answer).await.expect("an answer"), vec![7; 100_000]);
        socket.disconnect();
    }
    assert_eq!(trio.refused(), 0);
    assert!(trio.forwarded() > 0);
}

#[test]
fn ids_of_ones_own_and_routing_contradict_each_other() {
    let server = Server::builder()
        .routing(Routing::new("a:1", SECRET))
        .generate_id(async |_| Ok("mine".to_owned()))
        .try_build();
    assert!(matches!(server, Err(ConfigError::RoutingId)));
}

// What passes through ends with the server: nothing is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_forwards_closes_at_once() {
    let patient = || Server::builder().shutdown_timeout(Duration::from_secs(3600));
    let owner = node(|routing| routing, patient()).await;
    let other = node(|routing| routing, patient()).await;
    let sid = open_polling(owner.address).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    let mut ws = Ws::upgrade(other.address, &target).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    soon(other.io.close()).await;
    ws.closed().await;
}
