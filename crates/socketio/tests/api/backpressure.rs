//! Clients that do not read, and clients that send faster than they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use socketio::{EmitError, QueuePolicy, Server, Socket, Transport};
use socketio_proto::websocket::{Opcode, masked_frame};

use crate::support::{Polling, Received, Ws, http, soon, start, until};

const PIECE: usize = 100_000;

// E075: the queue of a client that does not read is bounded; the client is disconnected.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_disconnected_at_its_bound() {
    let (io, address) = start(Server::builder().max_queue(1_000_000)).await;
    let reasons = Arc::new(Mutex::new(Vec::new()));
    io.on_disconnect({
        let reasons = reasons.clone();
        async move |_: Socket, reason: (String, Option<String>)| reasons.lock().push(reason)
    });
    let _deaf = Ws::connect(address).await;
    let socket = io.sockets().pop().expect("the client");
    let piece = "x".repeat(PIECE);
    let refused = loop {
        assert!(socket.connection().queued_bytes() <= 1_000_000);
        if let Err(error) = socket.emit("x", &piece).now() {
            break error;
        }
    };
    assert!(matches!(refused, EmitError::QueueFull), "{refused}");
    until(|| !reasons.lock().is_empty()).await;
    let description = Some("the client's queue is full".to_owned());
    assert_eq!(
        *reasons.lock(),
        [("transport error".to_owned(), description)]
    );
    assert_eq!(io.stats().dropped_full, 1);
    assert_eq!(io.clients_count(), 0);
}

// The other policy drops, counts, and lets the client live.
#[tokio::test(flavor = "multi_thread")]
async fn drops_are_counted_where_the_policy_is_to_drop() {
    let builder = Server::builder()
        .max_queue(1_000_000)
        .queue_policy(QueuePolicy::DropNewest);
    let (io, address) = start(builder).await;
    let mut deaf = Ws::connect(address).await;
    let piece = "x".repeat(PIECE);
    let socket = io.sockets().pop().expect("the client");
    let mut sent = 0;
    while socket.emit("x", &piece).now().is_ok() {
        sent += 1;
    }
    assert_eq!(io.stats().dropped_full, 1);
    for _ in 0..sent {
        assert_eq!(deaf.text().await.len(), PIECE + "42[\"x\",\"\"]".len());
    }
    assert!(soon(socket.emit("x", "again")).await.is_ok());
    assert_eq!(deaf.text().await, "42[\"x\",\"again\"]");
}

// Who awaits an emit waits for the client, and queues no more than the mark.
#[tokio::test(flavor = "multi_thread")]
async fn an_awaited_emit_waits_for_the_client() {
    let (io, address) = start(Server::builder()).await;
    io.on("pour", async |socket: Socket| {
        let piece = "x".repeat(PIECE);
        for _ in 0..200 {
            socket.emit("x", &piece).await.expect("to be connected");
            assert!(socket.connection().queued_bytes() < 1_000_000);
        }
        socket.emit("end", ());
    });
    let mut ws = Ws::connect(address).await;
    ws.send("42[\"pour\"]").await;
    for _ in 0..200 {
        assert!(ws.text().await.starts_with("42[\"x\","));
    }
    assert_eq!(ws.text().await, "42[\"end\"]");
}

// S033: volatile packets are dropped under back-pressure and take no memory; others are not.
#[tokio::test(flavor = "multi_thread")]
async fn volatile_packets_are_dropped_for_a_client_that_does_not_read() {
    let (io, address) = start(Server::builder()).await;
    let mut ws = Ws::connect(address).await;
    let piece = "x".repeat(PIECE);
    let mut emitted = 0;
    while io.stats().dropped_volatile < 100 {
        io.volatile().emit("v", &piece);
        emitted += 1;
    }
    let socket = io.sockets().pop().expect("the client");
    assert!(socket.connection().queued_bytes() < 2 * PIECE);
    io.emit("end", ());
    let mut received = 0;
    while ws.text().await != "42[\"end\"]" {
        received += 1;
    }
    assert_eq!(received + 100, emitted);
}

// A client is not read while as many of its handlers run as may; nothing of it is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_is_read_no_faster_than_it_is_served() {
    let (io, address) = start(Server::builder().max_running_handlers(4)).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    io.on("work", {
        let (gate, running, most) = (gate.clone(), running.clone(), most.clone());
        async move |_: Socket, n: u32| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            running.fetch_sub(1, Ordering::SeqCst);
            n
        }
    });
    let mut ws = Ws::connect(address).await;
    for n in 0..100 {
        ws.send(&format!("42{n}[\"work\",{n}]")).await;
    }
    until(|| running.load(Ordering::SeqCst) == 4).await;
    assert_eq!(io.stats().saturated, 1);
    gate.add_permits(100);
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.push(ws.text().await);
    }
    answers.sort();
    let mut expected: Vec<_> = (0..100).map(|n| format!("43{n}[{n}]")).collect();
    expected.sort();
    assert_eq!(answers, expected);
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

/// Emits numbered pieces until one is refused or dropped; gives their number.
fn fill(io: &Server, mut emit: impl FnMut(u32) -> bool) -> u32 {
    let mut n = 0;
    while io.stats().dropped_full == 0 && emit(n) {
        n += 1;
    }
    n
}

fn number(text: &str) -> u32 {
    let rest = text.strip_prefix("42[\"x\",").expect("an event");
    rest.split(',').next().unwrap().parse().expect("a number")
}

// E075: the newest events are what the client gets, whole and in order; acks stay.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_events_are_dropped_where_that_is_the_policy() {
    let builder = Server::builder()
        .max_queue(1_000_000)
        .queue_policy(QueuePolicy::DropOldest);
    let (io, address) = start(builder).await;
    io.on("ask", async |_: Socket| "answered");
    let mut deaf = Ws::connect(address).await;
    let socket = io.sockets().pop().expect("the client");
    let piece = "x".repeat(PIECE);
    let bytes = bytes::Bytes::from(piece.clone());
    let mut n = 0;
    let mut emit = || {
        assert!(socket.connection().queued_bytes() <= 1_000_000);
        n += 1;
        match n % 2 {
            0 => socket.emit("x", (n, &bytes)).now().is_ok(),
            _ => socket.emit("x", (n, &piece)).now().is_ok(),
        }
    };
    while io.stats().dropped_full == 0 {
        assert!(emit());
    }
    // An answer among the events.
    deaf.send("427[\"ask\"]").await;
    until(|| io.stats().events > 0).await;
    for _ in 0..50 {
        assert!(emit());
    }
    let last = n;
    let dropped = io.stats().dropped_full;
    assert!(dropped >= 40, "{dropped}");
    let (mut numbers, mut answers) = (Vec::new(), 0);
    loop {
        match deaf.next().await {
            Received::Text(text) if text == "437[\"answered\"]" => answers += 1,
            Received::Text(text) => {
                let text = text
                    .strip_prefix("451-")
                    .map_or(text.clone(), |rest| format!("42{rest}"));
                numbers.push(number(&text));
            }
            Received::Binary(bytes) => {
                assert_eq!(bytes.len(), PIECE);
                assert_eq!(
                    numbers.last().unwrap() % 2,
                    0,
                    "an attachment follows its event"
                );
            }
            other => panic!("{other:?}"),
        }
        if numbers.last() == Some(&last) {
            break;
        }
    }
    assert!(numbers.is_sorted());
    assert_eq!(numbers.len() as u64 + dropped, u64::from(last));
    assert_eq!(answers, 1);
    assert_eq!(io.clients_count(), 1);
}

// E075: the same over polling, where a queue is only emptied by the next GET.
#[tokio::test(flavor = "multi_thread")]
async fn policies_hold_for_polling_too() {
    for policy in [QueuePolicy::DropOldest, QueuePolicy::DropNewest] {
        let builder = Server::builder().max_queue(1_000_000).queue_policy(policy);
        let (io, address) = start(builder).await;
        let polling = Polling::connect(address).await;
        let piece = "x".repeat(PIECE);
        let n = fill(&io, |n| io.emit("x", (n, &piece)).now().is_ok());
        let body = polling.get().await;
        assert!(body.len() <= 1_000_000);
        let numbers: Vec<_> = body.split('\u{1e}').map(number).collect();
        let first = match policy {
            QueuePolicy::DropOldest => n - numbers.len() as u32,
            _ => 0,
        };
        assert_eq!(
            numbers,
            (first..first + numbers.len() as u32).collect::<Vec<_>>()
        );
        let dropped = io.stats().dropped_full;
        assert_eq!(numbers.len() as u64 + dropped, u64::from(n));
        assert!(numbers.len() >= 7);
    }
}

// E075: else a message that is larger than the queue could never be sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_queue_takes_one_message_of_any_size() {
    for policy in [
        QueuePolicy::Disconnect,
        QueuePolicy::DropNewest,
        QueuePolicy::DropOldest,
        QueuePolicy::Wait,
    ] {
        let builder = Server::builder().max_queue(1000).queue_policy(policy);
        let (io, address) = start(builder).await;
        let text = "x".repeat(5000);
        let polling = Polling::connect(address).await;
        let mut ws = Ws::connect(address).await;
        for n in 0..3 {
            io.emit("x", (n, &text)).now().expect("an empty queue");
            let expected = format!("42[\"x\",{n},\"{text}\"]");
            assert_eq!(ws.text().await, expected, "{policy:?}");
            assert_eq!(polling.get().await, expected, "{policy:?}");
        }
        assert_eq!(io.stats().dropped_full, 0);
        // But no second one.
        let mut sockets = io.sockets().into_iter();
        let socket = sockets.find(|socket| socket.connection().transport() == Transport::Polling);
        let socket = socket.expect("the one over polling");
        socket.emit("x", (3, &text)).now().expect("an empty queue");
        let second = socket.emit("x", (4, &text)).now();
        match policy {
            QueuePolicy::DropOldest => second.expect("the place of the first"),
            _ => assert!(matches!(second, Err(EmitError::QueueFull)), "{second:?}"),
        }
    }
}

// E075: who awaits waits for room, nothing is dropped, and the client is not disconnected.
#[tokio::test(flavor = "multi_thread")]
async fn an_awaited_emit_waits_for_room_where_that_is_the_policy() {
    let builder = Server::builder()
        .max_queue(300_000)
        .queue_policy(QueuePolicy::Wait);
    let (io, address) = start(builder).await;
    let mut deaf = Ws::connect(address).await;
    let socket = io.sockets().pop().expect("the client");
    let piece = "x".repeat(PIECE);
    let mut n = 0;
    while socket.emit("x", (n, &piece)).now().is_ok() {
        n += 1;
    }
    assert_eq!(io.stats().dropped_full, 1, "nobody awaited that one");
    let broadcast = io.clone();
    let pouring = tokio::spawn(async move {
        for m in n..n + 40 {
            match m % 2 {
                0 => socket.emit("x", (m, &piece)).await.expect("room"),
                _ => broadcast.emit("x", (m, &piece)).await.expect("room"),
            }
            assert!(socket.connection().queued_bytes() <= 300_000);
        }
        // More than half of the queue fits when enough has gone.
        let large = "x".repeat(250_000);
        socket.emit("x", (n + 40, large)).await.expect("room");
        let huge = "x".repeat(400_000);
        let sent = socket.emit("x", (n + 41, huge)).await;
        sent.expect("an empty queue takes one of any size");
    });
    for expected in 0..n + 42 {
        assert_eq!(number(&deaf.text().await), expected);
    }
    soon(pouring).await.unwrap();
    assert_eq!(io.stats().dropped_full, 1);
    assert_eq!(io.clients_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emit_that_waits_for_room_learns_that_the_client_has_gone() {
    let builder = Server::builder()
        .max_queue(300_000)
        .queue_policy(QueuePolicy::Wait);
    let (io, address) = start(builder).await;
    let deaf = Ws::connect(address).await;
    let socket = io.sockets().pop().expect("the client");
    let piece = "x".repeat(PIECE);
    while socket.emit("x", &piece).now().is_ok() {}
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.emit("x", piece).await }
    });
    drop(deaf);
    let error = soon(waiting).await.unwrap().expect_err("nobody is there");
    assert!(matches!(error, EmitError::Disconnected), "{error}");
}

// E075: the narrowest policy counts, and others are not slowed.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_the_server_s_the_namespace_s_or_the_emit_s() {
    let (io, address) = start(Server::builder().max_queue(1_000_000)).await;
    let ticks = io.of("/ticks");
    ticks.queue_policy(QueuePolicy::DropNewest);
    let (_deaf, _) = Ws::join(address, "/ticks").await;
    let (mut other, _) = Ws::join(address, "/ticks").await;
    let piece = "x".repeat(PIECE);
    let mut n = 0;
    while io.stats().dropped_full < 5 {
        ticks.emit("x", (n, &piece));
        assert!(
            other
                .text()
                .await
                .starts_with(&format!("42/ticks,[\"x\",{n},"))
        );
        n += 1;
    }
    assert_eq!(io.clients_count(), 2);
    let deaf = ticks
        .sockets()
        .into_iter()
        .max_by_key(|s| s.connection().queued_bytes())
        .unwrap();
    assert!(
        deaf.if_full(QueuePolicy::DropOldest)
            .emit("x", &piece)
            .now()
            .is_ok()
    );
    assert_eq!(io.clients_count(), 2);
    ticks
        .all()
        .if_full(QueuePolicy::Disconnect)
        .emit("x", "x".repeat(900_000));
    until(|| io.clients_count() == 1).await;
}

// E075: what a client sends faster than it is handled stays in the network.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_is_slowed_by_tcp() {
    let (io, address) = start(Server::builder().max_running_handlers(2)).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let handled = Arc::new(AtomicUsize::new(0));
    io.on("work", {
        let (gate, handled) = (gate.clone(), handled.clone());
        async move |_: Socket, _: String| {
            gate.acquire().await.expect("open").forget();
            handled.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut ws = Ws::connect(address).await;
    let piece = format!("42[\"work\",\"{}\"]", "x".repeat(PIECE));
    let mut frame = Vec::new();
    masked_frame(&mut frame, Opcode::Text, piece.as_bytes(), [1, 2, 3, 4]);
    let mut sent = 0;
    // Until the socket takes nothing more: the buffers of the kernel are full.
    let full = loop {
        match ws.stream.try_write(&frame[sent % frame.len()..]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let writable = ws.stream.writable();
                let waited = tokio::time::timeout(std::time::Duration::from_millis(300), writable);
                if waited.await.is_err() {
                    break sent;
                }
            }
            Err(error) => panic!("{error}"),
        }
    };
    // Loopback buffers take some MB; a server that buffered would take it all.
    assert!(full < 64_000_000, "{full}");
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    gate.add_permits(100_000);
    ws.raw(&frame[full % frame.len()..]).await;
    let whole = full / frame.len() + 1;
    until(|| handled.load(Ordering::SeqCst) == whole).await;
}

// RFC 6455, section 5.5.3: who has not answered a ping yet may answer the last one only.
#[tokio::test(flavor = "multi_thread")]
async fn pongs_for_a_client_that_does_not_read_do_not_pile_up() {
    for revision in [3, 4] {
        for is_upgraded in [false, true] {
            let (io, address) = start(Server::builder().allow_eio3()).await;
            let path = format!("/socket.io/?EIO={revision}&transport=websocket");
            let mut deaf = match is_upgraded {
                false => Ws::upgrade(address, &path).await,
                true => {
                    let polling = format!("/socket.io/?EIO={revision}&transport=polling");
                    let body = http(address, "GET", &polling, "").await.body;
                    let (_, rest) = body.split_once("\"sid\":\"").expect("an id");
                    let (sid, _) = rest.split_once('"').expect("an id");
                    let mut ws = Ws::upgrade(address, &format!("{path}&sid={sid}")).await;
                    ws.send("2probe").await;
                    assert_eq!(ws.text().await, "3probe");
                    ws.send("5").await;
                    ws
                }
            };
            if revision == 4 {
                deaf.send("40").await;
            }
            until(|| io.sockets().len() == 1).await;
            let socket = io.sockets().pop().expect("the client");
            let connection = socket.connection();
            until(|| connection.transport() == Transport::WebSocket).await;
            let piece = "x".repeat(PIECE);
            while connection.queued_bytes() < PIECE {
                socket.emit("x", &piece).now().expect("room");
            }
            let before = connection.queued_bytes();
            let (seen, counted) = (Arc::new(AtomicUsize::new(0)), 20_000);
            io.on("seen", {
                let seen = seen.clone();
                async move |_: Socket| {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            });
            let mut pings = Vec::new();
            for number in 0..counted {
                masked_frame(&mut pings, Opcode::Ping, &[number as u8; 125], [1, 2, 3, 4]);
                if revision == 3 {
                    masked_frame(&mut pings, Opcode::Text, b"2", [1, 2, 3, 4]);
                }
            }
            deaf.raw(&pings).await;
            deaf.send("42[\"seen\"]").await;
            until(|| seen.load(Ordering::Relaxed) == 1).await;
            let case = format!("revision {revision}, upgraded: {is_upgraded}");
            assert!(connection.queued_bytes() <= before, "{case}");
            // The answers may be overtaken by what is behind them in the queue, but do come.
            let (mut pongs, mut packets, mut is_last) = (Vec::new(), 0, false);
            loop {
                match deaf.item().await {
                    (Opcode::Pong, payload) => pongs.push(payload),
                    (Opcode::Text, text) if text == b"3" => packets += 1,
                    (_, text) if text == b"42[\"end\"]" => break,
                    _ => {}
                }
                if !pongs.is_empty() && (revision == 4 || packets > 0) && !is_last {
                    is_last = true;
                    socket.emit("end", ());
                }
            }
            assert_eq!(pongs, [vec![(counted - 1) as u8; 125]], "{case}");
            assert_eq!(packets, usize::from(revision == 3), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_takes_one_pong_for_many_pings() {
    let (_io, address) = start(Server::builder().allow_eio3()).await;
    let target = "/socket.io/?EIO=3&transport=polling";
    let open = http(address, "GET", target, "").await.body;
    let (_, rest) = open.split_once("\"sid\":\"").expect("an id");
    let target = format!("{target}&sid={}", rest.split('"').next().expect("an id"));
    if !open.contains("40") {
        http(address, "GET", &target, "").await;
    }
    for _ in 0..3 {
        assert_eq!(
            http(address, "POST", &target, &"1:2".repeat(1000))
                .await
                .body,
            "ok"
        );
    }
    let taken = http(address, "GET", &target, "").await.body;
    assert!(matches!(&*taken, "1:3" | "1:31:3"), "{} bytes", taken.len());
    assert_eq!(http(address, "POST", &target, "1:2").await.body, "ok");
    assert_eq!(http(address, "GET", &target, "").await.body, "1:3");
}
