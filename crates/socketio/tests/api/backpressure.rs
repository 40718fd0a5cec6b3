//! Clients that do not read, and clients that send faster than they are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use socketio::{EmitError, QueuePolicy, Server, Socket};

use crate::support::{Ws, soon, start, until};

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
