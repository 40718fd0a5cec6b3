//! How sessions end on the server: last words arrive, and a goodbye is said once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use socketio::{Server, Socket};
use socketio_proto::websocket::Opcode;
use tokio::sync::Semaphore;

use crate::support::{Ws, start, until};

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
