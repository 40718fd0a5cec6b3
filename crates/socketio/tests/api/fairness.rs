//! What one client makes the server do leaves the others their turn.
//!
//! All runs on one thread. The first event of the busy client sends one of another's, as its network
//! would: that has its turn before the busy client's last.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socketio::{Server, Socket};
use socketio_proto::websocket::{Opcode, masked_frame};

use super::support::{Polling, Ws, start, until};

const EVENTS: usize = 20_000;

/// A server, and how many events of the busy client were handled before that of the other.
async fn serve() -> (Server, SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (io, address) = start(Server::builder()).await;
    let mut frame = Vec::new();
    masked_frame(&mut frame, Opcode::Text, b"42[\"other\"]", [1, 2, 3, 4]);
    let other = Ws::connect(address)
        .await
        .stream
        .into_std()
        .expect("a socket");
    let (busy, before) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, other) = (busy.clone(), Arc::new(other));
    io.on("busy", async move |_: Socket| {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            (&*other).write_all(&frame).expect("room for a frame");
        }
    });
    let (count, noted) = (busy.clone(), before.clone());
    io.on("other", async move |_: Socket| {
        noted.store(count.load(Ordering::Relaxed), Ordering::Relaxed);
    });
    (io, address, busy, before)
}

#[tokio::test]
async fn a_flood_over_websocket_leaves_others_their_turn() {
    let (_io, address, busy, before) = serve().await;
    let mut ws = Ws::connect(address).await;
    let mut frames = Vec::new();
    for _ in 0..EVENTS {
        masked_frame(&mut frames, Opcode::Text, b"42[\"busy\"]", [1, 2, 3, 4]);
    }
    ws.raw(&frames).await;
    until(|| busy.load(Ordering::Relaxed) == EVENTS).await;
    until(|| before.load(Ordering::Relaxed) > 0).await;
    let before = before.load(Ordering::Relaxed);
    assert!(before < EVENTS / 4, "{before} of {EVENTS}");
}

#[tokio::test]
async fn a_body_of_many_packets_leaves_others_their_turn() {
    let (io, address, busy, before) = serve().await;
    let polling = Polling::connect(address).await;
    let body = vec!["42[\"busy\"]"; EVENTS].join("\u{1e}");
    assert_eq!(polling.post(&body).await.body, "ok");
    // It is answered when all is handled.
    assert_eq!(busy.load(Ordering::Relaxed), EVENTS);
    until(|| before.load(Ordering::Relaxed) > 0).await;
    let before = before.load(Ordering::Relaxed);
    assert!(before < EVENTS / 4, "{before} of {EVENTS}");
    assert_eq!(polling.post("42[\"busy\"]").await.body, "ok");
    assert_eq!(io.stats().invalid_packets, 0);
}

// The limit holds within one body, too.
#[tokio::test]
async fn a_body_starts_no_more_handlers_than_may_run() {
    let (io, address) = start(Server::builder().max_running_handlers(10)).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    io.on("work", async move |_: Socket| {
        peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        now.fetch_sub(1, Ordering::Relaxed);
    });
    let polling = Polling::connect(address).await;
    let body = vec!["42[\"work\"]"; 1000].join("\u{1e}");
    assert_eq!(polling.post(&body).await.body, "ok");
    until(|| io.stats().events == 1000 && running.load(Ordering::Relaxed) == 0).await;
    assert_eq!(most.load(Ordering::Relaxed), 10);
}
