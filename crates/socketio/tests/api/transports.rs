//! The ways in: standalone, as a service, TLS, and from polling to WebSocket.

use std::sync::Arc;

use parking_lot::Mutex;
use socketio::{Args, Server, Socket, Transport};
use socketio_proto::websocket::{Opcode, masked_frame};

use crate::support::{
    HANDSHAKE, Polling, Received, WEBSOCKET, Ws, http, listen, open_polling, raw, soon, start,
    until, upgrade_head,
};

// E044, E046: queued packets go out once and in order over the new transport.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_loses_and_doubles_nothing() {
    let (io, address) = start(Server::builder()).await;
    let upgraded = Arc::new(Mutex::new(Vec::new()));
    io.on_connect({
        let upgraded = upgraded.clone();
        async move |socket: Socket| {
            assert_eq!(socket.connection().transport(), Transport::Polling);
            socket
                .connection()
                .on_upgrade(move |transport| upgraded.lock().push(transport));
        }
    });
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let polling = Polling::connect(address).await;
    polling.post("42[\"echo\",1]\x1e42[\"echo\",2]").await;
    let target = format!(
        "/socket.io/?EIO=4&transport=websocket&sid={}",
        polling.sid()
    );
    let mut ws = Ws::upgrade(address, &target).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(polling.get().await, "42[\"echo\",1]\x1e42[\"echo\",2]");
    polling.post("42[\"echo\",3]").await;
    ws.send("5").await;
    ws.send("42[\"echo\",4]").await;
    assert_eq!(ws.text().await, "42[\"echo\",3]");
    assert_eq!(ws.text().await, "42[\"echo\",4]");
    assert_eq!(*upgraded.lock(), [Transport::WebSocket]);
    assert_eq!(io.stats().upgraded, 1);
    // E051: polling is over for this session.
    let target = format!("{HANDSHAKE}&sid={}", polling.sid());
    assert_eq!(
        http(address, "GET", &target, "").await.body,
        r#"{"code":3,"message":"Bad request"}"#
    );
}

// A GET that waits is answered when the probe comes, so that the client can go on at once (E045).
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_get_is_answered_at_the_probe() {
    let (_, address) = start(Server::builder()).await;
    let polling = Arc::new(Polling::connect(address).await);
    let waiting = tokio::spawn({
        let polling = polling.clone();
        async move { polling.get().await }
    });
    let target = format!(
        "/socket.io/?EIO=4&transport=websocket&sid={}",
        polling.sid()
    );
    let mut ws = Ws::upgrade(address, &target).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(soon(waiting).await.expect("an answer"), "6");
}

// What came with the probe is answered in order, whoever ends the session behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_behind_a_probe_takes_no_answer_with_it() {
    let (io, address) = start(Server::builder()).await;
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let echo = "42[\"echo\",1]";
    for (packets, expected) in [
        (&["2probe", "5"][..], &["3probe"][..]),
        (&["2probe", "2probe", "5"], &["3probe", "3probe"]),
        (&["2probe", "5", echo], &["3probe", echo]),
    ] {
        for closes in [false, true] {
            let polling = Polling::connect(address).await;
            let target = format!(
                "/socket.io/?EIO=4&transport=websocket&sid={}",
                polling.sid()
            );
            let mut ws = Ws::upgrade(address, &target).await;
            let mut bytes = Vec::new();
            for packet in packets {
                masked_frame(&mut bytes, Opcode::Text, packet.as_bytes(), [1, 2, 3, 4]);
            }
            if closes {
                masked_frame(&mut bytes, Opcode::Close, &[3, 232], [1, 2, 3, 4]);
            }
            ws.raw(&bytes).await;
            for text in expected {
                assert_eq!(ws.text().await, *text, "{packets:?}");
            }
            match closes {
                true => assert_eq!(ws.next().await, Received::Close(Some(1000))),
                false => {
                    ws.send(echo).await;
                    assert_eq!(ws.text().await, echo);
                }
            }
        }
    }
}

// The public id is another than the session's: who knows it cannot speak for the client.
#[tokio::test(flavor = "multi_thread")]
async fn the_public_id_is_not_the_session_id() {
    let (_, address) = start(Server::builder()).await;
    let sid = open_polling(address).await;
    let target = format!("{HANDSHAKE}&sid={sid}");
    http(address, "POST", &target, "40").await;
    let answer = http(address, "GET", &target, "").await.body;
    assert!(answer.starts_with("40{\"sid\":\""));
    assert!(!answer.contains(&sid));
}

// E053: a server without WebSocket announces no upgrade.
#[tokio::test(flavor = "multi_thread")]
async fn a_polling_only_server_announces_no_upgrade() {
    let builder = Server::builder().transports([Transport::Polling]);
    let (_, address) = start(builder).await;
    let answer = http(address, "GET", HANDSHAKE, "").await;
    assert!(answer.body.contains(r#""upgrades":[]"#), "{}", answer.body);
}

// S055: under axum, with a route of the application beside it.
#[tokio::test(flavor = "multi_thread")]
async fn it_works_as_a_layer_under_axum() {
    let io = Server::new();
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let app = axum::Router::new()
        .route("/hello", axum::routing::get(async || "hello"))
        .layer(io.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });

    assert_eq!(http(address, "GET", "/hello", "").await.body, "hello");
    let polling = Polling::connect(address).await;
    polling.post("42[\"echo\",\"ä\"]").await;
    assert_eq!(polling.get().await, "42[\"echo\",\"ä\"]");
    let mut ws = Ws::connect(address).await;
    ws.send("42[\"echo\",1]").await;
    assert_eq!(ws.text().await, "42[\"echo\",1]");
    io.close().await;
    assert_eq!(ws.closed().await, Some(None));
}

// The router goes on after the server has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_server_lets_nobody_in_under_axum() {
    let io = Server::new();
    let app = axum::Router::new()
        .route("/hello", axum::routing::get(async || "hello"))
        .layer(io.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let polling = Polling::connect(address).await;
    let mut ws = Ws::connect(address).await;
    io.close().await;
    assert_eq!(ws.closed().await, Some(None));
    assert!(!io.is_ready());
    for target in [HANDSHAKE, "/socket.io/?EIO=3&transport=polling"] {
        let refused = http(address, "GET", target, "").await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.body, r#"{"message":"Server is shutting down"}"#);
    }
    let refused = raw(address, &upgrade_head(WEBSOCKET, "")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    let target = format!("{WEBSOCKET}&sid={}", polling.sid());
    let unknown = raw(address, &upgrade_head(&target, "")).await;
    assert!(unknown.starts_with("HTTP/1.1 400 "), "{unknown}");
    assert_eq!((io.clients_count(), io.stats().refused_draining), (0, 3));
    assert_eq!(http(address, "GET", "/hello", "").await.body, "hello");
}

// M61: two servers on one listener, told apart by their paths.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_a_listener() {
    let (inner, outer) = (
        Server::builder().path("/inner").build(),
        Server::builder().build(),
    );
    let listening = outer
        .listen("127.0.0.1:0")
        .await
        .expect("a port")
        .fallback(inner.service());
    let address = listening.local_addr().expect("an address");
    let served = tokio::spawn(listening.into_future());
    let _inner = Ws::upgrade(address, "/inner/?EIO=4&transport=websocket").await;
    let _outer = Ws::upgrade(address, "/socket.io/?EIO=4&transport=websocket").await;
    until(|| inner.clients_count() == 1 && outer.clients_count() == 1).await;
    // S058: closing twice does no harm, and `serve` returns.
    outer.close().await;
    outer.close().await;
    soon(served).await.expect("no panic").expect("no error");
}

// S057: at the end the sockets learn why, and the clients see the transport close.
#[tokio::test(flavor = "multi_thread")]
async fn closing_tells_the_sockets_and_ends_the_connections() {
    let (io, address) = start(Server::builder()).await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    io.on_disconnect({
        let reasons = reasons.clone();
        async move |_: Socket, reason: String| reasons.lock().push(reason)
    });
    let mut ws = Ws::connect(address).await;
    io.close().await;
    assert_eq!(ws.next().await, Received::Close(None));
    until(|| reasons.lock().len() == 1).await;
    assert_eq!(*reasons.lock(), ["server shutting down"]);
    assert_eq!(io.clients_count(), 0);
}

// A server can be listened on twice, and be given a listener.
#[tokio::test(flavor = "multi_thread")]
async fn one_server_serves_several_listeners() {
    let io = Server::new();
    let (first, second) = (listen(&io).await, listen(&io).await);
    let mut a = Ws::connect(first).await;
    let mut b = Ws::connect(second).await;
    io.emit("all", 1);
    assert_eq!(a.text().await, "42[\"all\",1]");
    assert_eq!(b.text().await, "42[\"all\",1]");
}
