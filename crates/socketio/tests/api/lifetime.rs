//! What is freed, and when.

use std::sync::{Arc, Weak};
use std::time::Duration;

use socketio::{Server, Socket};

use crate::support::{HANDSHAKE, Ws, http, open_polling, soon, start, until};

// Nothing of a connection stays when it has ended, whichever way it ends.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_freed_with_their_connections() {
    let (io, address) = start(Server::builder()).await;
    let alive: Arc<parking_lot::Mutex<Vec<Weak<()>>>> = Arc::default();
    io.on_connect({
        let alive = alive.clone();
        async move |socket: Socket| {
            let token = Arc::new(());
            alive.lock().push(Arc::downgrade(&token));
            socket.set_extension(token);
        }
    });
    for round in 0..20 {
        let mut ws = Ws::connect(address).await;
        match round % 4 {
            0 => drop(ws),
            1 => {
                ws.frame(socketio_proto::websocket::Opcode::Close, &[])
                    .await
            }
            2 => ws.send("not a packet").await,
            _ => io.disconnect_and_close_sockets(),
        }
    }
    until(|| io.clients_count() == 0).await;
    until(|| alive.lock().iter().all(|token| token.strong_count() == 0)).await;
    assert_eq!(alive.lock().len(), 20);
}

// S004: a session that joins no namespace is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_a_namespace_is_closed() {
    let (io, address) = start(Server::builder().connect_timeout(Duration::from_millis(30))).await;
    let mut idle = Ws::open(address).await;
    assert_eq!(idle.closed().await, Some(None));
    let mut joined = Ws::connect(address).await;
    let polling = format!("{HANDSHAKE}&sid={}", open_polling(address).await);
    // The end is told with the next GET, or to the one that waits.
    let end = http(address, "GET", &polling, "").await.body;
    assert!(end.ends_with('1'), "{end}");
    until(|| io.clients_count() == 1).await;
    joined.send("40/nope,").await;
    assert_eq!(
        joined.text().await,
        "44/nope,{\"message\":\"Invalid namespace\"}"
    );
}

// E048: an upgrade that never finishes costs the probe, not the session.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_never_finishes_is_forgotten() {
    let builder = Server::builder().upgrade_timeout(Duration::from_millis(30));
    let (io, address) = start(builder).await;
    let sid = open_polling(address).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    let mut probe = Ws::upgrade(address, &target).await;
    probe.send("2probe").await;
    assert_eq!(probe.text().await, "3probe");
    assert_eq!(probe.closed().await, Some(None));
    let polling = format!("{HANDSHAKE}&sid={sid}");
    assert_eq!(http(address, "POST", &polling, "40").await.body, "ok");
    assert_eq!(io.clients_count(), 1);
}

// S012: a client that leaves while a middleware still thinks makes no socket.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_during_a_middleware_never_joins() {
    let (io, address) = start(Server::builder()).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let entered = Arc::new(tokio::sync::Notify::new());
    io.middleware({
        let (gate, entered) = (gate.clone(), entered.clone());
        async move |_: Socket| {
            entered.notify_one();
            drop(gate.acquire().await);
            Ok::<_, &str>(())
        }
    });
    io.on_connect(async |_: Socket| -> () { panic!("nobody has joined") });
    let mut ws = Ws::open(address).await;
    ws.send("40").await;
    soon(entered.notified()).await;
    drop(ws);
    until(|| io.clients_count() == 0).await;
    gate.add_permits(1);
    until(|| io.local_adapter().is_empty()).await;
}
