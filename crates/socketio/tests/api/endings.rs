//! How sessions end on the server: last words arrive, and a goodbye is said once.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socketio::{Farewell, Server, Socket};
use socketio_proto::websocket::Opcode;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use crate::support::{Polling, Received, Ws, http, open_polling, soon, start, until};

// --- Every way of ending, on every transport and revision ---

/// A way in which the server ends a session after it has emitted something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    AllSockets,
    AfterAnAwait,
    Close,
    CloseConnections,
    CloseServer,
    Drain,
    Invalid,
    OneSocket,
    OnDisconnecting,
    Remote,
}

const WAYS: [Way; 10] = [
    Way::AllSockets,
    Way::AfterAnAwait,
    Way::Close,
    Way::CloseConnections,
    Way::CloseServer,
    Way::Drain,
    Way::Invalid,
    Way::OneSocket,
    Way::OnDisconnecting,
    Way::Remote,
];

impl Way {
    /// The packets that the client gets, but for those of the engine.
    fn words(self) -> Vec<&'static str> {
        let mut words = vec!["42[\"last\",1]", "42[\"last\",2]"];
        match self {
            Way::AllSockets | Way::AfterAnAwait | Way::OneSocket | Way::Remote => words.push("41"),
            Way::OnDisconnecting => words.push("42[\"leaving\"]"),
            Way::Close | Way::CloseConnections | Way::CloseServer | Way::Drain | Way::Invalid => {}
        }
        words
    }

    fn reason(self) -> &'static str {
        match self {
            Way::AllSockets | Way::AfterAnAwait | Way::OneSocket | Way::Remote => {
                "server namespace disconnect"
            }
            Way::Close | Way::CloseConnections | Way::Invalid => "forced close",
            Way::CloseServer | Way::Drain | Way::OnDisconnecting => "server shutting down",
        }
    }

    async fn take(self, io: &Server, socket: &Socket) {
        socket.emit("last", 1);
        io.emit("last", 2);
        let io = io.clone();
        match self {
            Way::AllSockets => io.disconnect_and_close_sockets(),
            Way::AfterAnAwait => {
                tokio::task::yield_now().await;
                socket.disconnect_and_close();
            }
            Way::Close => socket.connection().close(),
            Way::CloseConnections => io.close_connections(),
            Way::CloseServer | Way::OnDisconnecting => {
                tokio::spawn(async move { io.close().await });
            }
            Way::Drain => {
                tokio::spawn(async move { io.drain(Duration::ZERO).await });
            }
            Way::Invalid => {}
            Way::OneSocket => socket.disconnect_and_close(),
            Way::Remote => {
                for remote in io.fetch_sockets().await.expect("one server") {
                    remote.disconnect_and_close();
                }
            }
        }
    }
}

/// A server whose handler of `end` takes that way, or that of `connect`; the reasons that it learns.
async fn ending_server(
    way: Way,
    at_connect: bool,
) -> (Server, SocketAddr, Arc<Mutex<Vec<String>>>) {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    let reasons: Arc<Mutex<Vec<String>>> = Arc::default();
    if at_connect {
        let server = io.clone();
        io.on_connect(async move |socket: Socket| way.take(&server, &socket).await);
    }
    let server = io.clone();
    io.on("end", async move |socket: Socket| {
        way.take(&server, &socket).await
    });
    if way == Way::OnDisconnecting {
        io.on_disconnecting(async |socket: Socket| drop(socket.emit("leaving", ())));
    }
    let told = reasons.clone();
    io.on_disconnect(async move |_: Socket, reason: String| told.lock().push(reason));
    (io, address, reasons)
}

/// What a client sends to make the server end.
fn trigger(way: Way) -> [&'static str; 2] {
    match way {
        // The second is no packet of Socket.IO.
        Way::Invalid => ["42[\"end\"]", "4invalid"],
        _ => ["42[\"end\"]", "6"],
    }
}

/// The bodies of polling, in each dialect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Dialect {
    V3,
    V4,
    Jsonp,
}

impl Dialect {
    fn target(self) -> &'static str {
        match self {
            Dialect::V3 => "/socket.io/?EIO=3&transport=polling&b64=1",
            Dialect::V4 => "/socket.io/?EIO=4&transport=polling",
            Dialect::Jsonp => "/socket.io/?EIO=4&transport=polling&j=0",
        }
    }

    fn body(self, packets: &[&str]) -> String {
        match self {
            Dialect::V3 => packets
                .iter()
                .map(|packet| format!("{}:{packet}", packet.len()))
                .collect(),
            Dialect::V4 => packets.join("\x1e"),
            Dialect::Jsonp => {
                let payload = packets.join("%1E").replace('"', "%22").replace('[', "%5B");
                format!("d={}", payload.replace(']', "%5D"))
            }
        }
    }

    fn packets(self, body: &str) -> Vec<String> {
        match self {
            Dialect::V3 => {
                let (mut rest, mut packets) = (body, Vec::new());
                while let Some((length, tail)) = rest.split_once(':') {
                    let (packet, tail) = tail.split_at(length.parse().expect("a length"));
                    packets.push(packet.to_owned());
                    rest = tail;
                }
                packets
            }
            Dialect::V4 => body.split('\x1e').map(str::to_owned).collect(),
            Dialect::Jsonp => {
                let text = body
                    .strip_prefix("___eio[0](")
                    .and_then(|text| text.strip_suffix(");"))
                    .expect("a script");
                let text: String = serde_json::from_str(text).expect("a text");
                Dialect::V4.packets(&text)
            }
        }
    }
}

/// Polls until the session is unknown; the answers.
async fn answers(address: SocketAddr, target: &str, dialect: Dialect) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    loop {
        let answer = http(address, "GET", target, "").await;
        if answer.status != 200 {
            return answers;
        }
        answers.push(dialect.packets(&answer.body));
        if answers
            .last()
            .is_some_and(|last| last.contains(&"1".to_owned()))
        {
            return answers;
        }
    }
}

/// The words among the answers, after it was shown that no close packet shares one with them.
fn words(answers: &[Vec<String>], seen: &str) -> Vec<String> {
    let end = answers
        .last()
        .unwrap_or_else(|| panic!("{seen}: no answer"));
    assert!(*end == ["1"] || *end == ["6", "1"], "{seen}: {answers:?}");
    let all = answers.iter().flatten();
    all.filter(|packet| packet.starts_with('4') && !packet.starts_with("40"))
        .cloned()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_arrive_over_polling_and_the_end_in_an_answer_of_its_own() {
    for dialect in [Dialect::V3, Dialect::V4, Dialect::Jsonp] {
        for way in WAYS {
            for waits in [false, true] {
                let seen = format!("{dialect:?}, {way:?}, a GET waits: {waits}");
                let (io, address, reasons) = ending_server(way, false).await;
                let open = http(address, "GET", dialect.target(), "").await;
                let open = dialect.packets(&open.body).swap_remove(0);
                let open: serde_json::Value = serde_json::from_str(&open[1..]).expect("json");
                let sid = open["sid"].as_str().expect("a sid");
                let target = format!("{}&sid={sid}", dialect.target());
                if dialect != Dialect::V3 {
                    http(address, "POST", &target, &dialect.body(&["40"])).await;
                    http(address, "GET", &target, "").await;
                }
                let waiting = waits.then(|| {
                    let target = target.clone();
                    tokio::spawn(async move { answers(address, &target, dialect).await })
                });
                let body = dialect.body(&trigger(way));
                assert_eq!(
                    http(address, "POST", &target, &body).await.body,
                    "ok",
                    "{seen}"
                );
                let answers = match waiting {
                    Some(waiting) => soon(waiting).await.expect("answers"),
                    None => answers(address, &target, dialect).await,
                };
                assert_eq!(words(&answers, &seen), way.words(), "{seen}: {answers:?}");
                until(|| io.clients_count() == 0).await;
                until(|| !reasons.lock().is_empty()).await;
                assert_eq!(*reasons.lock(), [way.reason()], "{seen}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_arrive_over_websocket_and_the_end_behind_them() {
    for revision in [3, 4] {
        for way in WAYS {
            let seen = format!("revision {revision}, {way:?}");
            let (io, address, reasons) = ending_server(way, false).await;
            let target = format!("/socket.io/?EIO={revision}&transport=websocket");
            let mut ws = Ws::upgrade(address, &target).await;
            ws.text().await;
            if revision == 4 {
                ws.send("40").await;
            }
            assert!(ws.text().await.starts_with("40"), "{seen}");
            for packet in trigger(way) {
                ws.send(packet).await;
            }
            for word in way.words() {
                assert_eq!(ws.text().await, word, "{seen}");
            }
            assert_eq!(ws.next().await, Received::Close(None), "{seen}");
            assert_eq!(ws.next().await, Received::End, "{seen}");
            until(|| io.clients_count() == 0).await;
            until(|| !reasons.lock().is_empty()).await;
            assert_eq!(*reasons.lock(), [way.reason()], "{seen}");
        }
    }
}

// The client is in the middle of its upgrade: it hears the end wherever it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn last_words_arrive_during_an_upgrade() {
    for way in WAYS {
        for moves in [false, true] {
            let seen = format!("{way:?}, it moves: {moves}");
            let (io, address, reasons) = ending_server(way, false).await;
            let polling = Polling::connect(address).await;
            let target = format!(
                "/socket.io/?EIO=4&transport=websocket&sid={}",
                polling.sid()
            );
            let mut ws = Ws::upgrade(address, &target).await;
            ws.send("2probe").await;
            assert_eq!(ws.text().await, "3probe", "{seen}");
            polling.post(&trigger(way).join("\x1e")).await;
            if moves {
                ws.send("5").await;
                for word in way.words() {
                    assert_eq!(ws.text().await, word, "{seen}");
                }
            } else {
                let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", polling.sid());
                let answers = answers(address, &target, Dialect::V4).await;
                assert_eq!(words(&answers, &seen), way.words(), "{seen}");
            }
            assert_eq!(ws.next().await, Received::Close(None), "{seen}");
            assert_eq!(ws.next().await, Received::End, "{seen}");
            until(|| io.clients_count() == 0).await;
            until(|| !reasons.lock().is_empty()).await;
            assert_eq!(*reasons.lock(), [way.reason()], "{seen}");
        }
    }
}

// A client that is sent away as soon as it is in knows that it was in.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_in_on_connect_says_connect_first() {
    for way in WAYS.into_iter().filter(|way| *way != Way::Invalid) {
        for waits in [false, true] {
            let seen = format!("{way:?}, a GET waits: {waits}");
            let (_, address, reasons) = ending_server(way, true).await;
            let target = format!(
                "/socket.io/?EIO=4&transport=polling&sid={}",
                open_polling(address).await
            );
            let waiting = waits.then(|| {
                let target = target.clone();
                tokio::spawn(async move { answers(address, &target, Dialect::V4).await })
            });
            assert_eq!(http(address, "POST", &target, "40").await.body, "ok");
            let answers = match waiting {
                Some(waiting) => soon(waiting).await.expect("answers"),
                None => answers(address, &target, Dialect::V4).await,
            };
            assert!(answers[0][0].starts_with("40{"), "{seen}: {answers:?}");
            assert_eq!(words(&answers, &seen), way.words(), "{seen}: {answers:?}");
            until(|| !reasons.lock().is_empty()).await;
            assert_eq!(*reasons.lock(), [way.reason()], "{seen}");
        }
    }
}

// Each hears its own goodbye, and nobody that of another namespace instead.
#[tokio::test]
async fn goodbyes_of_several_namespaces_follow_each_other() {
    let (io, address) = start(Server::builder()).await;
    io.of("/admin");
    io.on("end", async |socket: Socket| socket.disconnect_and_close());
    let mut ws = Ws::connect(address).await;
    ws.send("40/admin,").await;
    ws.text().await;
    ws.send("42[\"end\"]").await;
    assert_eq!(ws.text().await, "41");
    assert_eq!(ws.text().await, "41/admin,");
    assert_eq!(ws.next().await, Received::Close(None));
}

// --- The end of a WebSocket ---

#[tokio::test]
async fn the_stream_ends_when_the_peer_has_answered_the_close_frame() {
    let (io, address) = start(Server::builder()).await;
    let mut ws = Ws::connect(address).await;
    io.disconnect_and_close_sockets();
    let mut bytes = [0; 6];
    soon(ws.stream.read_exact(&mut bytes))
        .await
        .expect("41, Close");
    assert_eq!(bytes, [0x81, 2, b'4', b'1', 0x88, 0]);
    // Whatever comes before the answer does not end the stream, nor takes it back.
    ws.send("42[\"late\"]").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let end = ws.stream.try_read(&mut bytes);
    let is_open = end.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
    assert!(
        is_open,
        "the stream has ended before the peer's close frame"
    );
    ws.frame(Opcode::Close, &[]).await;
    assert_eq!(soon(ws.stream.read(&mut bytes)).await.expect("FIN"), 0);
}

#[tokio::test]
async fn a_websocket_that_is_being_probed_answers_ping_and_close() {
    let (io, address) = start(Server::builder()).await;
    let polling = Polling::connect(address).await;
    let target = format!(
        "/socket.io/?EIO=4&transport=websocket&sid={}",
        polling.sid()
    );
    let mut ws = Ws::upgrade(address, &target).await;
    ws.frame(Opcode::Ping, b"are you there?").await;
    let mut pong = [0; 16];
    soon(ws.stream.read_exact(&mut pong)).await.expect("a pong");
    assert_eq!(pong, *b"\x8a\x0eare you there?");
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.frame(Opcode::Close, &1001_u16.to_be_bytes()).await;
    assert_eq!(ws.next().await, Received::Close(Some(1001)));
    assert_eq!(ws.next().await, Received::End);
    // The session goes on, and may be upgraded again.
    until(|| io.stats().failed_upgrades == 1).await;
    let mut ws = Ws::upgrade(address, &target).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send("5").await;
    until(|| io.stats().upgraded == 1).await;
}

#[tokio::test]
async fn a_websocket_that_is_none_of_ours_is_closed_in_order() {
    let (_, address) = start(Server::builder()).await;
    let polling = Polling::connect(address).await;
    let target = format!(
        "/socket.io/?EIO=4&transport=websocket&sid={}",
        polling.sid()
    );
    let _first = Ws::upgrade(address, &target).await;
    let mut second = Ws::upgrade(address, &target).await;
    // What it says is read, so that the close frame is not taken back by a reset.
    second.send("2probe").await;
    assert_eq!(second.next().await, Received::Close(None));
    assert_eq!(second.next().await, Received::End);
}

// --- Shutting down ---

/// Opens a session as a client of that make.
async fn client_of(address: SocketAddr, agent: &str) -> Ws {
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut ws = Ws::offering(address, target, &format!("User-Agent: {agent}\r\n")).await;
    ws.text().await;
    ws.send("40").await;
    ws.text().await;
    ws
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_ends_each_websocket_as_its_make_notices() {
    const JAVA: &str = "okhttp/3.12.12";
    const OTHER: &str = "node-XMLHttpRequest";
    let close = vec![Received::Close(None), Received::End];
    let fin = vec![Received::End];
    let table = [
        (Farewell::ByMake, JAVA, &fin),
        (Farewell::ByMake, OTHER, &close),
        (Farewell::CloseFrame, JAVA, &close),
        (Farewell::CloseFrame, OTHER, &close),
        (Farewell::EndOfStream, JAVA, &fin),
        (Farewell::EndOfStream, OTHER, &fin),
    ];
    for (farewell, agent, expected) in table {
        for drains in [false, true] {
            let (io, address) = start(Server::builder().farewell(farewell)).await;
            let mut ws = client_of(address, agent).await;
            io.emit("last", ());
            let closing = tokio::spawn(async move {
                match drains {
                    false => io.close().await,
                    true => io.drain(Duration::ZERO).await,
                }
            });
            assert_eq!(ws.text().await, "42[\"last\"]");
            // What nobody reads does not turn the end into a reset.
            ws.send("42[\"unread\"]").await;
            let mut seen = Vec::new();
            while seen.last() != Some(&Received::End) {
                seen.push(ws.next().await);
            }
            assert_eq!(seen, *expected, "{farewell:?}, {agent}, drains: {drains}");
            drop(ws);
            soon(closing).await.expect("no panic");
        }
    }
    // `disconnect_and_close` is the same for all.
    let (io, address) = start(Server::builder()).await;
    let mut ws = client_of(address, JAVA).await;
    io.disconnect_and_close_sockets();
    assert_eq!(ws.text().await, "41");
    assert_eq!(ws.next().await, Received::Close(None));
}

// Its sockets have left, and the end is not there yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_server_shuts_down_does_not_change_how_it_ends() {
    for late in [
        "42[\"late\"]",
        "42/other,[\"late\"]",
        "430[]",
        "41",
        "4zzz",
        "452-[\"x\"]",
        "44{}",
    ] {
        let (io, address) = start(Server::builder()).await;
        let (leaving, mut is_leaving) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, goes_on) = std::sync::mpsc::channel();
        let goes_on = Arc::new(parking_lot::Mutex::new(goes_on));
        io.on_disconnect(async move |_: Socket| {
            leaving.send(()).expect("a test");
            let limit = std::time::Duration::from_secs(20);
            goes_on.lock().recv_timeout(limit).expect("in time");
        });
        let mut ws = client_of(address, "okhttp/3.12.12").await;
        let closing = tokio::spawn(async move { io.close().await });
        soon(is_leaving.recv()).await.expect("the handler");
        ws.send(late).await;
        // Its answer shows that what came before was read.
        ws.frame(Opcode::Ping, b"?").await;
        assert_eq!(ws.item().await, (Opcode::Pong, b"?".to_vec()), "{late}");
        go_on.send(()).expect("the handler");
        assert_eq!(ws.next().await, Received::End, "{late}");
        drop(ws);
        soon(closing).await.expect("no panic");
    }
}

// A client that heeds no close frame would go on with a WebSocket that is dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_probed_websocket_ends_as_its_make_notices_when_its_session_does() {
    for (agent, expected) in [
        ("okhttp/3.12.12", Received::End),
        ("node-XMLHttpRequest", Received::Close(None)),
    ] {
        let (io, address) = start(Server::builder()).await;
        let opening = format!(
            "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("to connect");
        tokio::io::AsyncWriteExt::write_all(&mut stream, opening.as_bytes())
            .await
            .expect("to write");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer))
            .await
            .expect("an answer");
        let sid = answer.split('"').nth(3).expect("a sid");
        let target = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
        let mut ws = Ws::upgrade(address, &target).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        // Two GETs at once end the session.
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        http(address, "POST", &target, "1").await;
        assert_eq!(ws.next().await, expected, "{agent}");
        until(|| io.clients_count() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_waits_for_the_handlers_of_those_who_leave() {
    for drains in [false, true] {
        let io = Server::new();
        let listening = io.listen("127.0.0.1:0").await.expect("a port");
        let address = listening.local_addr().expect("an address");
        let serving = tokio::spawn(async move { listening.await });
        let (gate, done) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let begun = Arc::new(AtomicUsize::new(0));
        io.on_disconnecting(slow_handler(&gate, &begun, &done));
        io.on_disconnect(slow_handler(&gate, &begun, &done));
        let mut ws = Ws::connect(address).await;
        let closing = tokio::spawn({
            let io = io.clone();
            async move {
                match drains {
                    false => io.close().await,
                    true => io.drain(Duration::ZERO).await,
                }
            }
        });
        assert_eq!(ws.closed().await, Some(None));
        drop(ws);
        until(|| begun.load(Ordering::SeqCst) == 2 && io.clients_count() == 0).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!closing.is_finished() && !serving.is_finished());
        gate.add_permits(2);
        soon(closing).await.expect("no panic");
        soon(serving).await.expect("no panic").expect("no error");
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }
}

/// A handler that waits at a gate.
fn slow_handler(
    gate: &Arc<Semaphore>,
    begun: &Arc<AtomicUsize>,
    done: &Arc<AtomicUsize>,
) -> impl FnOnce(Socket) -> Pin<Box<dyn Future<Output = ()> + Send>> + Clone + Send + Sync + 'static
{
    let (gate, begun, done) = (gate.clone(), begun.clone(), done.clone());
    move |_| {
        Box::pin(async move {
            begun.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            done.fetch_add(1, Ordering::SeqCst);
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_ends_with_its_time_whatever_is_unfinished() {
    let brief = Duration::from_millis(50);
    let (io, address) = start(Server::builder().shutdown_timeout(brief)).await;
    io.on_disconnect(async |_: Socket| std::future::pending::<()>().await);
    // One does not take its last words, one has a handler that never ends.
    let polling = Polling::connect(address).await;
    let _ws = Ws::connect(address).await;
    io.emit("last", ());
    soon(io.close()).await;
    assert_eq!(io.clients_count(), 0);
    drop(polling);
}

// A new handshake is refused from the first moment, also where the listener is another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_closed_lets_nobody_in() {
    let io = Server::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = axum::Router::new().layer(io.layer());
    tokio::spawn(async move { axum::serve(listener, app).await });
    open_polling(address).await;
    soon(io.close()).await;
    let target = "/socket.io/?EIO=4&transport=polling";
    assert_eq!(http(address, "GET", target, "").await.status, 503);
    assert_eq!(io.clients_count(), 0);
}

// --- What handlers find ---

/// A moment, whether the socket is connected, how many are in, and in how many rooms it is.
type Seen = (&'static str, bool, usize, usize);

// As in Node: whoever leaves is in until the handlers of `disconnecting` have begun.
#[tokio::test]
async fn a_socket_that_is_leaving_is_still_in() {
    let (io, address) = start(Server::builder()).await;
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let look = |moment: &'static str| {
        let (io, seen) = (io.clone(), seen.clone());
        async move |socket: Socket| {
            let fetched = io.fetch_sockets().await.expect("one server").len();
            let rooms = socket.rooms().len();
            seen.lock()
                .push((moment, socket.is_connected(), fetched, rooms));
        }
    };
    io.on_disconnecting(look("disconnecting"));
    io.on_disconnect(look("disconnect"));
    for end in ["1", "41", "2", "drop"] {
        let mut ws = Ws::connect(address).await;
        match end {
            "1" => io.disconnect_and_close_sockets(),
            "drop" => drop(ws),
            packet => ws.send(packet).await,
        }
        until(|| seen.lock().len() == 2).await;
        let expected = [("disconnecting", true, 1, 1), ("disconnect", false, 0, 0)];
        assert_eq!(std::mem::take(&mut *seen.lock()), expected, "{end}");
    }
}

// What was read before the goodbye is handled, in a sequence as without.
#[tokio::test]
async fn events_that_were_read_before_the_client_left_are_handled() {
    for (is_sequential, has_middleware) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        for end in ["41", "close", "drop"] {
            let (io, address) = start(Server::builder()).await;
            if is_sequential {
                io.sequential();
            }
            if has_middleware {
                io.event_middleware_async(async |_: Socket, _: String, _: socketio::Args| {
                    tokio::task::yield_now().await;
                    Ok(())
                });
            }
            let gate = Arc::new(Semaphore::new(0));
            let handled: Arc<Mutex<Vec<u32>>> = Arc::default();
            io.on("n", {
                let (gate, handled) = (gate.clone(), handled.clone());
                async move |_: Socket, n: u32| {
                    gate.acquire().await.expect("open").forget();
                    handled.lock().push(n);
                }
            });
            let left = Arc::new(AtomicUsize::new(0));
            let count = left.clone();
            io.on_disconnect(async move |_: Socket| {
                count.fetch_add(1, Ordering::SeqCst);
            });
            let mut ws = Ws::connect(address).await;
            for n in 0..5 {
                ws.send(&format!("42[\"n\",{n}]")).await;
            }
            match end {
                "41" => ws.send("41").await,
                "close" => ws.frame(Opcode::Close, &[]).await,
                _ => drop(ws),
            }
            until(|| left.load(Ordering::SeqCst) == 1).await;
            gate.add_permits(5);
            until(|| handled.lock().len() == 5).await;
            handled.lock().sort_unstable();
            assert_eq!(*handled.lock(), [0, 1, 2, 3, 4]);
            assert_eq!(io.stats().dropped_after_leaving, 0);
            if is_sequential && !has_middleware {
                assert_eq!(io.stats().events_after_leaving, 4, "{end}");
            }
        }
    }
}

// Who was sent away has no say any more.
#[tokio::test]
async fn events_that_wait_when_their_client_is_sent_away_are_dropped_and_counted() {
    let (io, address) = start(Server::builder()).await;
    io.sequential();
    let gate = Arc::new(Semaphore::new(0));
    let handled = Arc::new(AtomicUsize::new(0));
    io.on("n", {
        let (gate, handled) = (gate.clone(), handled.clone());
        async move |socket: Socket| {
            gate.acquire().await.expect("open").forget();
            handled.fetch_add(1, Ordering::SeqCst);
            socket.disconnect();
        }
    });
    let mut ws = Ws::connect(address).await;
    for _ in 0..5 {
        ws.send("42[\"n\"]").await;
    }
    until(|| io.stats().events == 5).await;
    gate.add_permits(5);
    assert_eq!(ws.text().await, "41");
    until(|| io.stats().dropped_after_leaving == 4).await;
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

// A GET that waits is told at once that the session has ended; without one the sockets need not wait.
// One thread: a request whose middleware has run waits when another task's turn comes.
#[tokio::test]
async fn who_breaks_the_rules_is_told_the_reference_s_reason() {
    for (waits, expected) in [(true, "forced close"), (false, "forced server close")] {
        let gets = Arc::new(AtomicUsize::new(0));
        let builder = Server::builder().engine_middleware({
            let gets = gets.clone();
            async move |request| {
                gets.fetch_add((request.method == "GET").into(), Ordering::SeqCst);
                Ok(Default::default())
            }
        });
        let (io, address) = start(builder).await;
        let reasons = Arc::new(Mutex::new(Vec::new()));
        io.on_disconnect({
            let reasons = reasons.clone();
            async move |_: Socket, reason: String| reasons.lock().push(reason)
        });
        let polling = Arc::new(Polling::connect(address).await);
        let before = gets.load(Ordering::SeqCst);
        let get = waits.then(|| {
            let polling = polling.clone();
            tokio::spawn(async move { polling.get().await })
        });
        until(|| gets.load(Ordering::SeqCst) > before || !waits).await;
        polling.post("40").await;
        if let Some(get) = get {
            assert_eq!(soon(get).await.expect("an answer"), "1");
        }
        until(|| !reasons.lock().is_empty()).await;
        assert_eq!(*reasons.lock(), [expected]);
    }
}
