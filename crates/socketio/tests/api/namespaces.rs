//! Namespaces, rooms and broadcasts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::json;
use socketio::parser::{EncodedMessage, JsonParser, Packet, PacketDecoder, ParseError, Parser};
use socketio::{
    Adapter, Args, BroadcastAckError, ConnectError, LocalAdapter, Recovery, RoomEvent, Server,
    Socket, Target,
};
use tokio::sync::mpsc;

use crate::emits::refusal;
use crate::support::{Ws, soon, start, until};

// S048: a child of a dynamic namespace is freed when its last socket has left.
#[tokio::test(flavor = "multi_thread")]
async fn empty_children_are_freed() {
    let (io, address) = start(Server::builder().cleanup_empty_child_namespaces()).await;
    let parent = io.of_pattern(r"^/room-\d+$");
    parent.middleware(async |_: Socket, auth: Option<String>| match auth {
        Some(_) => Err("no"),
        None => Ok(()),
    });
    let mut clients = Vec::new();
    for i in 0..20 {
        clients.push(Ws::join(address, &format!("/room-{i}")).await.0);
    }
    assert_eq!(parent.children().len(), 20);
    drop(clients);
    until(|| parent.children().is_empty()).await;
}

// S048: without that they are given back, too, after a time.
#[tokio::test]
async fn empty_children_are_given_back_after_a_minute() {
    // A minute is the default.
    let keep = Duration::from_millis(300);
    let (io, address) = start(Server::builder().keep_empty_child_namespaces(keep)).await;
    let parent = io.of_pattern(r"^/room-\d+$");
    let made = Arc::new(Mutex::new(Vec::new()));
    let log = made.clone();
    io.on_new_namespace(move |namespace| log.lock().push(namespace.name().to_owned()));
    let names = || {
        let children = parent.children();
        let mut names: Vec<_> = children.iter().map(|c| c.name().to_owned()).collect();
        names.sort();
        names
    };
    let mut clients = Vec::new();
    for name in ["/room-1", "/room-2", "/room-3", "/room-4"] {
        clients.push(Ws::join(address, name).await.0);
    }
    let stays = clients.remove(3);
    let held = io.of("/room-3");
    drop(clients);
    let begin = std::time::Instant::now();
    // Who comes in time finds it.
    let (again, _) = Ws::join(address, "/room-2").await;
    until(|| io.clients_count() == 2).await;
    until(|| names().len() == 3).await;
    assert!(begin.elapsed() >= keep);
    // What has sockets stays, and what the application holds.
    assert_eq!(names(), ["/room-2", "/room-3", "/room-4"]);
    assert_eq!(io.metrics().dynamic_namespaces, 3);
    drop(again);
    let begin = std::time::Instant::now();
    until(|| names().len() == 2).await;
    assert!(begin.elapsed() >= keep);
    assert_eq!(names(), ["/room-3", "/room-4"]);
    drop(held);
    until(|| names() == ["/room-4"]).await;
    assert_eq!(io.metrics().dynamic_namespaces, 1);
    let (_new, _) = Ws::join(address, "/room-1").await;
    let all = ["/room-1", "/room-2", "/room-3", "/room-4", "/room-1"];
    assert_eq!(*made.lock(), all);
    drop(stays);
}

// Who is away may come back to where it was.
#[tokio::test]
async fn children_stay_for_as_long_as_somebody_may_be_recovered() {
    let away = Duration::from_millis(500);
    let builder = Server::builder()
        .keep_empty_child_namespaces(Duration::from_millis(1))
        .ping_interval(Duration::from_millis(100))
        .ping_timeout(Duration::from_millis(100))
        .recovery(Recovery::new().max_disconnection(away));
    let (io, address) = start(builder).await;
    let parent = io.of_pattern(r"^/room-\d+$");
    drop(Ws::join(address, "/room-1").await);
    let begin = std::time::Instant::now();
    until(|| io.clients_count() == 0).await;
    until(|| parent.children().is_empty()).await;
    assert!(begin.elapsed() >= away + Duration::from_millis(200));
}

// S048, with the children of all dynamic namespaces limited, whoever asks for one more.
#[tokio::test]
async fn children_are_limited_in_number() {
    for cleans_up in [false, true] {
        let mut builder = Server::builder().max_dynamic_namespaces(3);
        if cleans_up {
            builder = builder.cleanup_empty_child_namespaces();
        }
        let (io, address) = start(builder).await;
        io.of_pattern("^/pattern");
        io.of_fn(async |name, _| name.starts_with("/fn"));
        let mut clients = Vec::new();
        for nsp in ["/pattern-1", "/fn-1", "/pattern-2"] {
            clients.push(Ws::join(address, nsp).await.0);
        }
        let mut other = Ws::open(address).await;
        for (count, nsp) in (1..).zip(["/pattern-3", "/fn-2", "/fn-2"]) {
            other.send(&format!("40{nsp},")).await;
            let refusal = format!("44{nsp},{{\"message\":\"Invalid namespace\"}}");
            assert_eq!(other.text().await, refusal);
            assert_eq!(io.stats().refused_namespaces, count);
        }
        assert_eq!(io.metrics().dynamic_namespaces, 3);
        // Those that are there stay open to all, and the application is not bound.
        other.send("40/fn-1,").await;
        assert!(other.text().await.starts_with("40/fn-1,"));
        io.of("/pattern-of-the-application");
        assert_eq!(io.metrics().dynamic_namespaces, 4);
        drop(clients);
        let left = if cleans_up { 2 } else { 4 };
        until(|| io.metrics().dynamic_namespaces == left && io.clients_count() == 1).await;
        other.send("40/fn-2,").await;
        let answer = other.text().await;
        let expected = if cleans_up { "40/fn-2," } else { "44/fn-2," };
        assert!(answer.starts_with(expected), "{answer}");
    }
}

// S044: a predicate decides, with the client's auth, and may wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_makes_namespaces() {
    let (io, address) = start(Server::builder()).await;
    io.of_fn(async |name, auth| {
        tokio::task::yield_now().await;
        name == "/yes" && auth == json!({ "key": 1 })
    })
    .on("hi", async |socket: Socket| {
        socket.namespace().name().to_owned()
    });
    let mut ws = Ws::open(address).await;
    ws.send("40/yes,{\"key\":2}").await;
    assert_eq!(
        ws.text().await,
        "44/yes,{\"message\":\"Invalid namespace\"}"
    );
    ws.send("40/yes,{\"key\":1}").await;
    assert!(ws.text().await.starts_with("40/yes,{\"sid\":\""));
    ws.send("42/yes,7[\"hi\"]").await;
    assert_eq!(ws.text().await, "43/yes,7[\"/yes\"]");
}

// S011: middlewares run in order; the first refusal is what the client gets.
#[tokio::test(flavor = "multi_thread")]
async fn middlewares_decide_who_joins() {
    let (io, address) = start(Server::builder()).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    for i in 1..=2 {
        let order = order.clone();
        io.middleware(async move |_: Socket, auth: serde_json::Value| {
            tokio::task::yield_now().await;
            order.lock().push(i);
            match auth["token"] == i {
                true => Err(ConnectError::new("not you").with_data(json!({ "at": i }))),
                false => Ok(()),
            }
        });
    }
    let mut ws = Ws::open(address).await;
    ws.send("40{\"token\":2}").await;
    assert_eq!(
        ws.text().await,
        r#"44{"message":"not you","data":{"at":2}}"#
    );
    assert_eq!(*order.lock(), [1, 2]);
    ws.send("40{\"token\":1}").await;
    assert_eq!(
        ws.text().await,
        r#"44{"message":"not you","data":{"at":1}}"#
    );
    ws.send("40{}").await;
    assert!(ws.text().await.starts_with("40{\"sid\":\""));
    assert_eq!(*order.lock(), [1, 2, 1, 1, 2]);
}

// S030: the room of a socket's id has that socket; S028: two rooms deliver one copy.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_deliver_one_copy_each() {
    let (io, address) = start(Server::builder()).await;
    io.on("join", async |socket: Socket, room: String| {
        socket.join(room)
    });
    let (mut a, a_id) = Ws::join(address, "").await;
    let (mut b, _) = Ws::join(address, "").await;
    for room in ["one", "two"] {
        for ws in [&mut a, &mut b] {
            ws.send(&format!("420[\"join\",\"{room}\"]")).await;
            assert_eq!(ws.text().await, "430[]");
        }
    }
    io.to(["one", "two"]).emit("once", ());
    io.to(&*a_id).emit("private", ());
    io.to("one").except(&*a_id).emit("not for a", ());
    io.to("nobody").emit("lost", ());
    io.emit("end", ());
    for expected in ["42[\"once\"]", "42[\"private\"]", "42[\"end\"]"] {
        assert_eq!(a.text().await, expected);
    }
    for expected in ["42[\"once\"]", "42[\"not for a\"]", "42[\"end\"]"] {
        assert_eq!(b.text().await, expected);
    }
}

// S025, S026, S027: broadcast acks; one without a timeout waits.
#[tokio::test(flavor = "multi_thread")]
async fn broadcast_acks_gather_all_answers() {
    let (io, address) = start(Server::builder()).await;
    let nobody: Vec<u32> = io
        .emit_with_ack("sum", ())
        .await
        .expect("nobody is missing");
    assert!(nobody.is_empty());
    let mut clients = [Ws::connect(address).await, Ws::connect(address).await];

    let all = tokio::spawn(io.emit_with_ack::<u32>("sum", (1, 2)));
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.text().await, "421[\"sum\",1,2]");
        client.send(&format!("431[{i}]")).await;
    }
    let mut responses = soon(all).await.expect("no panic").expect("all answer");
    responses.sort_unstable();
    assert_eq!(responses, [0, 1]);

    let brief = Duration::from_millis(50);
    let some = tokio::spawn(io.timeout(brief).emit_with_ack::<u32>("sum", ()));
    for client in &mut clients {
        assert_eq!(client.text().await, "422[\"sum\"]");
    }
    clients[0].send("432[7]").await;
    match soon(some).await.expect("no panic") {
        Err(BroadcastAckError::Incomplete { responses, missing }) => {
            assert_eq!((responses, missing), (vec![7], 1));
        }
        other => panic!("{other:?}"),
    }

    // As a stream, and a client that leaves counts as missing at once.
    let mut stream = io.emit_with_ack::<u32>("sum", ());
    for client in &mut clients {
        assert_eq!(client.text().await, "423[\"sum\"]");
    }
    clients[1].send("433[8]").await;
    assert_eq!(
        soon(stream.next())
            .await
            .expect("an answer")
            .expect("in time")
            .1,
        8
    );
    drop(clients);
    assert!(
        soon(stream.next())
            .await
            .expect("the one that left")
            .is_err()
    );
    assert!(soon(stream.next()).await.is_none());
}

// S016: rooms are still there while disconnecting, and gone afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_is_told_twice() {
    let (io, address) = start(Server::builder()).await;
    let (sender, mut told) = mpsc::unbounded_channel();
    let before = sender.clone();
    io.on_connect(async |socket: Socket| socket.join("a room"));
    io.on_disconnecting(async move |socket: Socket, reason: String| {
        before
            .send((reason, socket.rooms().len()))
            .expect("the test waits");
    });
    io.on_disconnect(async move |socket: Socket, reason: String| {
        sender
            .send((reason, socket.rooms().len()))
            .expect("the test waits");
    });
    let mut ws = Ws::connect(address).await;
    // S008: the client leaves the namespace; the connection stays, and it may join again.
    ws.send("41").await;
    let reason = "client namespace disconnect".to_owned();
    assert_eq!(soon(told.recv()).await, Some((reason.clone(), 2)));
    assert_eq!(soon(told.recv()).await, Some((reason, 0)));
    ws.send("40").await;
    assert!(ws.text().await.starts_with("40{\"sid\":\""));
    drop(ws);
    let reason = "transport close".to_owned();
    assert_eq!(soon(told.recv()).await, Some((reason, 2)));
}

// S076: an adapter of one's own sees what passes, and the local one does the work.
#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_can_be_replaced() {
    #[derive(Debug)]
    struct Recording(Arc<LocalAdapter>, Arc<Mutex<Vec<String>>>);
    impl Adapter for Recording {
        fn local(&self) -> &Arc<LocalAdapter> {
            &self.0
        }
        fn needs_args(&self) -> bool {
            true
        }
        fn broadcast(&self, packet: &socketio::BroadcastPacket, target: &Target) {
            let args = packet.args.as_ref().map(Args::len);
            self.1
                .lock()
                .push(format!("{} {args:?} {:?}", packet.event, target.rooms));
            self.0.broadcast(packet, target);
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let builder = Server::builder().adapter(move |_, local| Recording(local.clone(), seen.clone()));
    let (io, address) = start(builder).await;
    let mut ws = Ws::connect(address).await;
    io.emit("hello", (1, 2));
    assert_eq!(ws.text().await, "42[\"hello\",1,2]");
    io.to("room").emit("hello", ());
    assert_eq!(
        *log.lock(),
        ["hello Some(2) []", "hello Some(0) [\"room\"]"]
    );
}

// S042: a server that is alone reaches no other; reserved names are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_alone_reaches_no_other_server() {
    let io = Server::new();
    let answers: Vec<u32> = io
        .server_side_emit_with_ack("sum", 1)
        .await
        .expect("no answers");
    assert!(answers.is_empty());
    for name in ["connect", "connection", "new_namespace"] {
        let refused = io.server_side_emit(name, ()).await.expect_err("reserved");
        assert_eq!(
            refused.to_string(),
            format!("\"{name}\" is a reserved event name")
        );
        let refused = refusal(|| _ = io.on_server_side(name, |_| None));
        assert_eq!(refused, format!("no server can send the event \"{name}\""));
    }
}

// S013: rooms that a middleware joined are kept. S015: the client is told before the handlers run.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_joined_in_a_middleware_are_kept() {
    let (io, address) = start(Server::builder()).await;
    io.middleware(async |socket: Socket| {
        assert!(!socket.is_connected());
        socket.join("early");
        Ok::<_, &str>(())
    });
    io.on_connect(async |socket: Socket| {
        socket.emit("rooms", socket.rooms());
    });
    let (mut ws, id) = Ws::join(address, "").await;
    assert_eq!(
        ws.text().await,
        format!("42[\"rooms\",[\"{id}\",\"early\"]]")
    );
    io.to("early").emit("to early", ());
    assert_eq!(ws.text().await, "42[\"to early\"]");
}

// S032: over polling a volatile packet needs a GET that waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_volatile_packet_needs_a_waiting_get() {
    let (io, address) = start(Server::builder()).await;
    let polling = crate::support::Polling::connect(address).await;
    io.volatile().emit("lost", ());
    io.emit("kept", ());
    assert_eq!(polling.get().await, "42[\"kept\"]");
    assert_eq!(io.stats().dropped_volatile, 1);
}

// S034, S035, S036: options of an emit, and `send`.
#[tokio::test(flavor = "multi_thread")]
async fn options_of_an_emit_can_be_combined() {
    let (io, address) = start(Server::builder()).await;
    let (mut ws, _) = Ws::join(address, "").await;
    io.local().uncompressed().emit("here", 1);
    io.send("a message");
    let socket = io.sockets().pop().expect("the client");
    socket.uncompressed().emit("one", ());
    socket.send(("two", "arguments"));
    for expected in [
        "42[\"here\",1]",
        "42[\"message\",\"a message\"]",
        "42[\"one\"]",
        "42[\"message\",\"two\",\"arguments\"]",
    ] {
        assert_eq!(ws.text().await, expected);
    }
}

// S041: the answer of a described socket is one value.
#[tokio::test(flavor = "multi_thread")]
async fn a_remote_socket_answers_with_one_value() {
    let (io, address) = start(Server::builder()).await;
    let (mut ws, _) = Ws::join(address, "").await;
    let remote = io
        .fetch_sockets()
        .await
        .expect("this server alone")
        .pop()
        .expect("the client");
    let asked = tokio::spawn(async move {
        remote
            .emit_with_ack::<u32>(Duration::from_secs(10), "q", ())
            .await
    });
    assert_eq!(ws.text().await, "420[\"q\"]");
    ws.send("430[7]").await;
    assert_eq!(soon(asked).await.expect("no panic").expect("an answer"), 7);
}

// S045: a namespace that a pattern matches is its child. S047: a parent's emit reaches all children.
//
#[tokio::test(flavor = "multi_thread")]
async fn a_matching_namespace_is_a_child_of_the_pattern() {
    let (io, address) = start(Server::builder()).await;
    let parent = io.of_pattern(r"^/dyn-\d+$");
    parent.on("who", async |_: Socket| "parent");
    io.of("/dyn-7");
    assert_eq!(parent.children().len(), 1);
    let (mut seven, _) = Ws::join(address, "/dyn-7").await;
    let (mut eight, _) = Ws::join(address, "/dyn-8").await;
    seven.send("42/dyn-7,1[\"who\"]").await;
    assert_eq!(seven.text().await, "43/dyn-7,1[\"parent\"]");
    parent.emit("all", 1).expect("to be sent");
    assert_eq!(seven.text().await, "42/dyn-7,[\"all\",1]");
    assert_eq!(eight.text().await, "42/dyn-8,[\"all\",1]");
    let error = parent.fetch_sockets().await.expect_err("not supported");
    assert_eq!(
        error.to_string(),
        "fetchSockets() is not supported on parent namespaces"
    );
}

// S075: what happens to rooms is told in order.
#[tokio::test(flavor = "multi_thread")]
async fn room_events_come_in_order() {
    let (io, address) = start(Server::builder()).await;
    let (sender, mut told) = mpsc::unbounded_channel();
    io.local_adapter().on_room_event(move |event| {
        let text = match event {
            RoomEvent::Created(room) => format!("create {}", room.len()),
            RoomEvent::Deleted(room) => format!("delete {}", room.len()),
            RoomEvent::Joined(room, _) => format!("join {}", room.len()),
            RoomEvent::Left(room, _) => format!("leave {}", room.len()),
            other => panic!("{other:?}"),
        };
        sender.send(text).expect("the test listens");
    });
    io.on_connect(async |socket: Socket| {
        socket.join("ab");
        socket.leave("ab");
        socket.join("abc");
    });
    let (ws, _) = Ws::join(address, "").await;
    drop(ws);
    let expected = [
        "create 20",
        "join 20",
        "create 2",
        "join 2",
        "leave 2",
        "delete 2",
        "create 3",
        "join 3",
        "leave 20",
        "delete 20",
        "leave 3",
        "delete 3",
    ];
    for expected in expected {
        assert_eq!(soon(told.recv()).await.as_deref(), Some(expected));
    }
}

// S076, P013: a parser of one's own carries everything: here JSON with a mark in front.
#[tokio::test(flavor = "multi_thread")]
async fn a_parser_can_be_replaced() {
    #[derive(Debug)]
    struct Marked(JsonParser);
    struct MarkedDecoder(Box<dyn PacketDecoder>);
    impl Parser for Marked {
        fn encode(&self, packet: &Packet<'_>) -> Vec<EncodedMessage> {
            let mut messages = self.0.encode(packet);
            if let EncodedMessage::Text(text) = &mut messages[0] {
                text.insert(0, '!');
            }
            messages
        }
        fn decoder(&self) -> Box<dyn PacketDecoder> {
            Box::new(MarkedDecoder(self.0.decoder()))
        }
    }
    impl PacketDecoder for MarkedDecoder {
        fn add_text(&mut self, text: &str) -> Result<Option<Packet<'static>>, ParseError> {
            self.0
                .add_text(text.strip_prefix('!').ok_or(ParseError::Payload)?)
        }
        fn add_binary(&mut self, bytes: &[u8]) -> Result<Option<Packet<'static>>, ParseError> {
            self.0.add_binary(bytes)
        }
    }
    let parser = Marked(JsonParser {
        max_attachments: 10,
        max_bytes: 1000,
    });
    let (io, address) = start(Server::builder().parser(parser)).await;
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    io.on("ask", async |_: Socket, n: u32| n + 1);
    let mut ws = Ws::open(address).await;
    ws.send("4!0").await;
    assert!(ws.text().await.starts_with("4!0{\"sid\":\""));
    ws.send("4!2[\"echo\",1]").await;
    assert_eq!(ws.text().await, "4!2[\"echo\",1]");
    ws.send("4!27[\"ask\",1]").await;
    assert_eq!(ws.text().await, "4!37[2]");
    io.emit("all", "x");
    assert_eq!(ws.text().await, "4!2[\"all\",\"x\"]");
    ws.send("42[\"unmarked\"]").await;
    assert_eq!(ws.closed().await, Some(None));
}
