//! HTTP/2 under axum: polling, and WebSockets as RFC 8441 has them.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, StatusCode};
use parking_lot::Mutex;
use socketio::{Args, PerMessageDeflate, Routing, Server, Socket, Transport};
use socketio_proto::websocket::{Decoder, Item, Opcode, Role, masked_frame};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{HANDSHAKE, WEBSOCKET, soon, until};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Serves under axum, which tells the two versions of HTTP apart by the first bytes.
fn serve(io: &Server, listener: TcpListener) {
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let app = axum::Router::new()
        .route("/hello", axum::routing::get(async || "hello"))
        .layer(io.layer());
    tokio::spawn(axum::serve(listener, app).into_future());
}

/// A client's connection.
struct Http2 {
    requests: SendRequest<Bytes>,
}

impl Http2 {
    async fn connect(address: SocketAddr) -> Http2 {
        let stream = TcpStream::connect(address).await.expect("to connect");
        let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let http = Http2 { requests };
        assert_eq!(http.request(Method::GET, "/hello", "").await.1, "hello");
        assert!(http.requests.is_extended_connect_protocol_enabled());
        http
    }

    async fn request(&self, method: Method, target: &str, body: &str) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{target}"))
            .body(())
            .expect("a request");
        let mut requests = soon(self.requests.clone().ready()).await.expect("open");
        let sent = requests.send_request(request, body.is_empty());
        let (response, mut stream) = sent.expect("sent");
        if !body.is_empty() {
            let body = Bytes::copy_from_slice(body.as_bytes());
            stream.send_data(body, true).expect("sent");
        }
        let response = soon(response).await.expect("an answer");
        let (parts, mut body) = response.into_parts();
        let mut text = Vec::new();
        while let Some(data) = soon(body.data()).await {
            text.extend_from_slice(&data.expect("data"));
        }
        (parts.status, String::from_utf8(text).expect("text"))
    }

    /// Asks for a WebSocket.
    async fn ask(&self, target: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Ws) {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://localhost{target}"))
            .extension(Protocol::from_static("websocket"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let mut requests = soon(self.requests.clone().ready()).await.expect("open");
        let (response, send) = requests.send_request(request, false).expect("sent");
        let (parts, recv) = soon(response).await.expect("an answer").into_parts();
        let ws = Ws {
            send,
            recv,
            decoder: Decoder::new(Role::Client, 10_000_000),
            buffer: Vec::new(),
        };
        (parts.status, parts.headers, ws)
    }

    async fn websocket(&self, target: &str) -> Ws {
        let (status, headers, ws) = self.ask(target, &VERSION).await;
        assert_eq!(status, StatusCode::OK);
        for name in [
            "connection",
            "upgrade",
            "sec-websocket-accept",
            "content-length",
        ] {
            assert!(!headers.contains_key(name), "{headers:?}");
        }
        ws
    }

    /// A session with its namespace joined.
    async fn join(&self) -> Ws {
        let mut ws = self.websocket(WEBSOCKET).await;
        assert!(ws.text().await.starts_with("0{"));
        ws.send("40");
        assert!(ws.text().await.starts_with("40{"));
        ws
    }

    /// Opens a session over polling; the target of its requests, and its id.
    async fn poll(&self) -> (String, String) {
        let (status, body) = self.request(Method::GET, HANDSHAKE, "").await;
        assert_eq!(status, StatusCode::OK);
        let open: serde_json::Value = serde_json::from_str(&body[1..]).expect("an open packet");
        let sid = open["sid"].as_str().expect("an id").to_owned();
        let target = format!("{HANDSHAKE}&sid={sid}");
        self.request(Method::POST, &target, "40").await;
        let (_, answer) = self.request(Method::GET, &target, "").await;
        assert!(answer.starts_with("40{"), "{answer}");
        (target, sid)
    }
}

const VERSION: [(&str, &str); 1] = [("sec-websocket-version", "13")];

/// A WebSocket on a stream of HTTP/2.
struct Ws {
    send: SendStream<Bytes>,
    recv: RecvStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

#[derive(Debug, Eq, PartialEq)]
enum Received {
    Text(String),
    Close(Option<u16>),
    End,
}

impl Ws {
    fn send(&mut self, text: &str) {
        let mut frame = Vec::new();
        masked_frame(&mut frame, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        self.send.send_data(frame.into(), false).expect("sent");
    }

    async fn next(&mut self) -> Received {
        loop {
            let decoded = self.decoder.decode(&mut self.buffer).expect("valid frames");
            let Some(decoded) = decoded else {
                let Some(Ok(data)) = soon(self.recv.data()).await else {
                    return Received::End;
                };
                let flow = self.recv.flow_control();
                flow.release_capacity(data.len()).expect("its capacity");
                self.buffer.extend_from_slice(&data);
                continue;
            };
            let received = match decoded.item {
                Item::Text(text) => Received::Text(text.into_owned()),
                Item::Close(close) => Received::Close(close.map(|(code, _)| code)),
                other => panic!("unexpected: {other:?}"),
            };
            let consumed = decoded.consumed;
            self.buffer.drain(..consumed);
            return received;
        }
    }

    async fn text(&mut self) -> String {
        match self.next().await {
            Received::Text(text) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_http2_carries_a_session() {
    let (io, (listener, address)) = (Server::new(), listener().await);
    let reasons = std::sync::Arc::new(Mutex::new(Vec::new()));
    let told = reasons.clone();
    io.on_disconnect(async move |_: Socket, reason: String| told.lock().push(reason));
    serve(&io, listener);
    let http = Http2::connect(address).await;
    // Many share one TCP connection, and large messages pass its windows both ways.
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(http.join().await);
    }
    let event = format!("42[\"echo\",\"{}\"]", "x".repeat(300_000));
    for ws in &mut sessions {
        ws.send(&event);
        assert_eq!(ws.text().await, event);
    }
    io.emit("all", 1);
    for ws in &mut sessions {
        assert_eq!(ws.text().await, "42[\"all\",1]");
    }
    // One says goodbye, one goes without a word, one is sent away.
    let mut ended = sessions.remove(0);
    ended.send("41");
    until(|| reasons.lock().len() == 1).await;
    let mut lost = sessions.remove(0);
    lost.send.send_reset(h2::Reason::CANCEL);
    until(|| reasons.lock().len() == 2).await;
    io.close().await;
    until(|| reasons.lock().len() == 3).await;
    let mut last = sessions.remove(0);
    assert_eq!(last.next().await, Received::Close(None));
    assert_eq!(last.next().await, Received::End);
    let reasons = reasons.lock();
    assert_eq!(reasons[0], "client namespace disconnect");
    assert!(reasons[1].starts_with("transport "), "{reasons:?}");
    assert_eq!(reasons[2], "server shutting down");
    assert_eq!(io.clients_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_moves_from_polling_to_a_websocket_of_http2() {
    let (io, (listener, address)) = (Server::new(), listener().await);
    serve(&io, listener);
    let http = Http2::connect(address).await;
    let (target, sid) = http.poll().await;
    let mut ws = http.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    ws.send("2probe");
    assert_eq!(ws.text().await, "3probe");
    http.request(Method::POST, &target, "42[\"echo\",1]").await;
    assert_eq!(
        http.request(Method::GET, &target, "").await.1,
        "42[\"echo\",1]"
    );
    ws.send("5");
    ws.send("42[\"echo\",2]");
    assert_eq!(ws.text().await, "42[\"echo\",2]");
    assert_eq!(io.stats().upgraded, 1);
    let transport = io.sockets().remove(0).connection().transport();
    assert_eq!(transport, Transport::WebSocket);
}

#[tokio::test(flavor = "multi_thread")]
async fn subprotocols_and_compression_are_negotiated_over_http2() {
    let builder = Server::builder().per_message_deflate(PerMessageDeflate::new());
    let (io, (listener, address)) = (builder.build(), listener().await);
    serve(&io, listener);
    let http = Http2::connect(address).await;
    let offers = [
        VERSION[0],
        ("sec-websocket-protocol", "chat, other"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    let (status, headers, _ws) = http.ask(WEBSOCKET, &offers).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    let extensions = headers["sec-websocket-extensions"].to_str();
    assert!(extensions.expect("text").starts_with("permessage-deflate"));
}

// The same limits as over HTTP/1.1, and the same words.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_over_http2_is_refused_before_the_websocket() {
    let builder = Server::builder().max_connections(2).max_payload(1000);
    let (io, (listener, address)) = (builder.build(), listener().await);
    serve(&io, listener);
    let http = Http2::connect(address).await;
    let (_, sid) = http.poll().await;
    let bad = StatusCode::BAD_REQUEST;
    for (target, headers, status) in [
        (HANDSHAKE.to_owned(), &VERSION[..], bad),
        (format!("{HANDSHAKE}&sid={sid}"), &VERSION, bad),
        (format!("{WEBSOCKET}&sid=unknown"), &VERSION, bad),
        (WEBSOCKET.replace("EIO=4", "EIO=3"), &VERSION, bad),
        (WEBSOCKET.to_owned(), &[], bad),
        (
            WEBSOCKET.to_owned(),
            &[("sec-websocket-version", "12")],
            bad,
        ),
        (
            WEBSOCKET.to_owned(),
            &[VERSION[0], ("sec-websocket-protocol", "a,a")],
            bad,
        ),
    ] {
        let answer = http.ask(&target, headers).await;
        assert_eq!(answer.0, status, "{target} {headers:?}");
    }
    assert_eq!(io.clients_count(), 1);
    let mut ws = http.join().await;
    let (status, headers, _) = http.ask(WEBSOCKET, &VERSION).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "5");
    assert_eq!(io.stats().refused_connections, 1);
    ws.send(&format!("42[\"echo\",\"{}\"]", "x".repeat(1000)));
    assert_eq!(ws.next().await, Received::Close(Some(1009)));
    until(|| io.clients_count() == 1).await;
    io.close().await;
    let (status, ..) = http.ask(WEBSOCKET, &VERSION).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(http.request(Method::GET, "/hello", "").await.1, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_transport_a_connect_is_refused_like_any_request() {
    let builder = Server::builder().transports([Transport::Polling]);
    let (io, (listener, address)) = (builder.build(), listener().await);
    serve(&io, listener);
    let http = Http2::connect(address).await;
    let (status, ..) = http.ask(WEBSOCKET, &VERSION).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(io.stats().refused_requests, 1);
}

// A WebSocket that is idle lives by its pings, and one whose client is silent ends.
#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_holds_over_http2() {
    let builder = Server::builder()
        .ping_interval(Duration::from_millis(50))
        .ping_timeout(Duration::from_secs(2));
    let (io, (listener, address)) = (builder.build(), listener().await);
    serve(&io, listener);
    let http = Http2::connect(address).await;
    let mut ws = http.join().await;
    for _ in 0..3 {
        assert_eq!(ws.text().await, "2");
        ws.send("3");
    }
    assert_eq!(ws.text().await, "2");
    until(|| io.clients_count() == 0).await;
}

// Between servers HTTP/1.1 is spoken, whatever the client speaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_http2_reaches_the_session_s_own_server() {
    const SECRET: &str = "the secret of both servers";
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let (listener, address) = listener().await;
        let routing = Routing::new(address.to_string(), SECRET);
        let io = Server::builder().routing(routing).build();
        serve(&io, listener);
        nodes.push((io, Http2::connect(address).await));
    }
    let (_, sid) = nodes[0].1.poll().await;
    let target = format!("{WEBSOCKET}&sid={sid}");
    let mut ws = nodes[1].1.websocket(&target).await;
    ws.send("2probe");
    assert_eq!(ws.text().await, "3probe");
    ws.send("5");
    let event = format!("42[\"echo\",\"{}\"]", "x".repeat(100_000));
    ws.send(&event);
    assert_eq!(ws.text().await, event);
    let (owner, other) = (&nodes[0].0, &nodes[1].0);
    assert_eq!((owner.stats().upgraded, other.stats().forwarded), (1, 1));
    // What the owner refuses is refused here.
    let (status, ..) = nodes[1]
        .1
        .ask(&target.replace("EIO=4", "EIO=3"), &VERSION)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
