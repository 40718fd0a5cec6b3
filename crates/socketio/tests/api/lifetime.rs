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
    let (io, address) = start(Server::builder().connect_timeout(Duration::from_millis(500))).await;
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
    let builder = Server::builder().upgrade_timeout(Duration::from_millis(500));
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

/// What is registered on a socket, or kept with it, and owns the socket itself.
type Own = fn(Socket, Arc<()>);

const OWN: [(&str, Own); 9] = [
    ("on", |socket, token| {
        let own = (socket.clone(), token);
        socket.on("x", async move |_: Socket| drop(own));
    }),
    ("on_any", |socket, token| {
        let own = (socket.clone(), token);
        socket.on_any(async move |_: Socket| drop(own));
    }),
    ("on_disconnect", |socket, token| {
        let own = (socket.clone(), token);
        socket.on_disconnect(async move |_: Socket| {
            tokio::task::yield_now().await;
            drop(own);
        });
    }),
    ("on_disconnecting", |socket, token| {
        let own = (socket.clone(), token);
        socket.on_disconnecting(async move |_: Socket| drop(own));
    }),
    ("on_error", |socket, token| {
        let own = (socket.clone(), token);
        socket.on_error(async move |_: Socket| drop(own));
    }),
    ("on_any_outgoing", |socket, token| {
        let own = (socket.clone(), token);
        socket.on_any_outgoing(move |_, _, _| drop(own.clone()));
    }),
    ("event_middleware", |socket, token| {
        let own = (socket.clone(), token);
        socket.event_middleware(move |_, _, _| {
            drop(own.clone());
            Ok(())
        });
    }),
    ("set_extension", |socket, token| {
        let own = (socket.clone(), token);
        socket.set_extension(own);
    }),
    ("on_upgrade", |socket, token| {
        let own = (socket.clone(), token);
        socket.connection().on_upgrade(move |_| drop(own));
    }),
];

/// How a socket leaves.
const ENDS: [&str; 6] = [
    "it goes",
    "it leaves",
    "it is sent away",
    "its connection is closed",
    "it is refused",
    "it goes before it is let in",
];

// A socket that owns itself is freed when it has left, and so is what it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_socket_owns_is_freed_when_it_has_left_also_if_it_owns_the_socket() {
    for (name, own) in OWN {
        for end in ENDS {
            let (io, address) = start(Server::builder()).await;
            let alive: Arc<parking_lot::Mutex<Vec<Weak<()>>>> = Arc::default();
            let count = alive.clone();
            let go = Arc::new(tokio::sync::Notify::new());
            let wait = go.clone();
            io.middleware(async move |socket: Socket| {
                let token = Arc::new(());
                count.lock().push(Arc::downgrade(&token));
                own(socket, token);
                match end {
                    "it is refused" => return Err("no"),
                    "it goes before it is let in" => wait.notified().await,
                    _ => {}
                }
                Ok(())
            });
            io.on("leave", async |socket: Socket| socket.disconnect());
            io.on("close", async |socket: Socket| socket.connection().close());
            let mut ws = Ws::open(address).await;
            ws.send("40").await;
            let expected = if end == "it is refused" { "44" } else { "40" };
            if end != "it goes before it is let in" {
                assert!(ws.text().await.starts_with(expected));
            }
            match end {
                "it leaves" => ws.send("41").await,
                "it is sent away" => ws.send("42[\"leave\"]").await,
                "its connection is closed" => ws.send("42[\"close\"]").await,
                "it goes before it is let in" => {
                    until(|| alive.lock().len() == 1).await;
                    drop(ws);
                    until(|| io.clients_count() == 0 && io.local_adapter().is_empty()).await;
                    go.notify_one();
                    until(|| alive.lock()[0].strong_count() == 0).await;
                    continue;
                }
                _ => {}
            }
            // An upgrade may still come for as long as there is the connection.
            if end == "it goes" || name == "on_upgrade" {
                drop(ws);
                until(|| alive.lock()[0].strong_count() == 0).await;
            } else {
                until(|| alive.lock()[0].strong_count() == 0).await;
                drop(ws);
            }
            assert_eq!(alive.lock().len(), 1, "{name}, {end}");
        }
    }
}

// Until its handlers have ended a socket keeps what they may look for.
#[tokio::test(flavor = "multi_thread")]
async fn extensions_are_there_until_the_client_s_handlers_have_ended() {
    let (io, address) = start(Server::builder()).await;
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (go, wait) = {
        let notify = Arc::new(tokio::sync::Semaphore::new(0));
        (notify.clone(), notify)
    };
    let (tell, tell_last) = (sender.clone(), sender);
    io.on_connect(async |socket: Socket| socket.set_extension(7_u8));
    io.on("x", async move |socket: Socket| {
        let _permit = wait.acquire().await;
        let _ = tell.send(("event", socket.extension::<u8>().as_deref().copied()));
    });
    io.on("bye", async |socket: Socket| {
        socket.disconnect();
        assert!(socket.extension::<u8>().is_some(), "in the handler itself");
    });
    io.on_disconnect(async move |socket: Socket| {
        tokio::task::yield_now().await;
        let _ = tell_last.send(("disconnect", socket.extension::<u8>().as_deref().copied()));
    });
    let mut ws = Ws::connect(address).await;
    let socket = io.sockets().pop().expect("the client");
    ws.send("42[\"x\"]").await;
    ws.send("42[\"bye\"]").await;
    assert_eq!(soon(told.recv()).await, Some(("disconnect", Some(7))));
    go.add_permits(1);
    assert_eq!(soon(told.recv()).await, Some(("event", Some(7))));
    until(|| socket.extension::<u8>().is_none()).await;
    socket.set_extension(8_u8);
    assert!(
        socket.extension::<u8>().is_none(),
        "nothing is kept any more"
    );
    assert_eq!(io.stats().panics, 0);
}
