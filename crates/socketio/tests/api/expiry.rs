//! Sockets whose time ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::{Recovery, Server, Socket};

use crate::support::{HANDSHAKE, Polling, Ws, http, soon, start, until};

fn past() -> SystemTime {
    SystemTime::now() - Duration::from_secs(1)
}

fn hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

/// What `on_disconnect` is told.
type Reasons = Arc<Mutex<Vec<(String, String)>>>;

fn reasons(io: &Server) -> Reasons {
    let reasons = Reasons::default();
    let told = reasons.clone();
    io.on_disconnect(async move |_: Socket, why: (String, String)| told.lock().push(why));
    reasons
}

fn expired() -> (String, String) {
    ("server namespace disconnect".into(), "expired".into())
}

#[tokio::test]
async fn the_end_of_its_time_takes_a_socket_out_and_leaves_the_connection() {
    for in_middleware in [false, true] {
        let (io, address) = start(Server::builder()).await;
        let reasons = reasons(&io);
        match in_middleware {
            true => drop(io.middleware(async |socket: Socket| {
                socket.expires_at(past());
                Ok::<_, &str>(())
            })),
            false => drop(io.on_connect(async |socket: Socket| socket.expires_at(past()))),
        }
        io.of("/other");
        let (mut ws, _) = Ws::join(address, "").await;
        assert_eq!(ws.text().await, "41");
        assert_eq!(*reasons.lock(), [expired()]);
        assert_eq!(io.stats().expired, 1);
        ws.send("40/other,").await;
        assert!(ws.text().await.starts_with("40/other,"));
    }
}

#[tokio::test]
async fn it_ends_over_polling_and_for_old_clients_too() {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    let reasons = reasons(&io);
    let polling = Polling::connect(address).await;
    io.sockets().remove(0).expires_at(past());
    assert_eq!(polling.get().await, "41");
    let mut old = Ws::upgrade(address, "/socket.io/?EIO=3&transport=websocket").await;
    for begin in ["0{", "40"] {
        assert!(old.text().await.starts_with(begin));
    }
    io.sockets().remove(0).expires_at(past());
    assert_eq!(old.text().await, "41");
    assert_eq!(*reasons.lock(), [expired(), expired()]);
}

#[tokio::test]
async fn the_end_is_announced_and_the_time_can_be_renewed() {
    let (io, address) = start(Server::builder()).await;
    io.on_expiring(async |socket: Socket| {
        let renewed = socket.emit_with_ack::<u64>("renew", ()).await;
        let seconds = Duration::from_secs(renewed.expect("an answer"));
        socket.expires_at(SystemTime::now() + seconds);
        socket.emit("renewed", ());
    });
    let mut ws = Ws::connect(address).await;
    let socket = io.sockets().remove(0);
    assert_eq!(socket.expires(), None);
    // Half an hour is no time to be told of.
    socket.expires_at(hour());
    socket.expires_at(SystemTime::now() + Duration::from_secs(10));
    // What is renewed for a short time is announced again, and once each time.
    for (id, seconds) in [20, 25, 7200].into_iter().enumerate() {
        assert_eq!(ws.text().await, format!("42{id}[\"renew\"]"));
        ws.send(&format!("43{id}[{seconds}]")).await;
        assert_eq!(ws.text().await, "42[\"renewed\"]");
    }
    assert!(socket.expires().is_some_and(|at| at > hour()));
    socket.expires_at(past());
    socket.never_expires();
    assert_eq!(socket.expires(), None);
    socket.expires_at(past());
    assert_eq!(ws.text().await, "41");
    assert_eq!(io.stats().expired, 1);
    // Who has left has no time.
    socket.expires_at(past());
    drop(ws);
    until(|| io.clients_count() == 0).await;
    assert_eq!(io.stats().expired, 1);
}

#[tokio::test]
async fn each_namespace_of_a_client_has_its_own_time() {
    let (io, address) = start(Server::builder()).await;
    for nsp in ["/a", "/b"] {
        io.of(nsp).on("echo", async |_: Socket, n: u32| n);
    }
    let mut ws = Ws::join(address, "/a").await.0;
    ws.send("40/b,").await;
    assert!(ws.text().await.starts_with("40/b,"));
    io.of("/b").sockets().remove(0).expires_at(hour());
    io.of("/a").sockets().remove(0).expires_at(past());
    assert_eq!(ws.text().await, "41/a,");
    ws.send("42/b,1[\"echo\",1]").await;
    assert_eq!(ws.text().await, "43/b,1[1]");
}

// A connection that breaks in time does not prolong it.
#[tokio::test]
async fn a_recovered_client_has_what_was_left_of_its_time() {
    let (io, address) = start(Server::builder().recovery(Recovery::new())).await;
    let asked = Arc::new(Mutex::new(0));
    let counts = asked.clone();
    io.middleware(async move |_: Socket| {
        *counts.lock() += 1;
        Ok::<_, &str>(())
    });
    let join = async |proof: &Value| {
        let mut ws = Ws::open(address).await;
        ws.send(&format!("40{proof}")).await;
        let welcome = ws.text().await;
        let welcome: Value = serde_json::from_str(&welcome[2..]).expect("json");
        (ws, welcome)
    };
    for (is_recovered, is_noticed) in [(true, true), (true, false), (false, true), (false, false)] {
        *asked.lock() = 0;
        let (ws, welcome) = join(&json!({})).await;
        let end = match is_recovered {
            true => hour(),
            // It is over when the client comes back, though not when it goes.
            false => SystemTime::now() + Duration::from_millis(1500),
        };
        io.sockets().remove(0).expires_at(end);
        let kept = (!is_noticed).then_some(ws);
        until(|| is_noticed <= (io.clients_count() == 0)).await;
        if is_recovered || is_noticed {
            soon(async {
                while !is_recovered && SystemTime::now() < end {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let (back, again) = join(&json!({ "pid": welcome["pid"] })).await;
            let is_same = again["sid"] == welcome["sid"];
            assert_eq!(is_same, is_recovered, "{is_noticed}");
            assert_eq!(*asked.lock(), if is_recovered { 1 } else { 2 });
            let left = io.sockets().remove(0).expires();
            let left = left.map(|at| end.duration_since(at).expect("no later"));
            match is_recovered {
                true => assert!(left.is_some_and(|early| early <= Duration::from_secs(1))),
                false => assert_eq!(left, None),
            }
            drop(back);
        }
        drop(kept);
        until(|| io.clients_count() == 0).await;
    }
}

#[tokio::test]
async fn nothing_is_kept_of_a_time_that_nobody_waits_for() {
    let (io, address) = start(Server::builder()).await;
    io.on_connect(async |socket: Socket| socket.expires_at(hour()));
    let mut ws = Ws::open(address).await;
    for _ in 0..50 {
        ws.send("40").await;
        assert!(ws.text().await.starts_with("40"));
        ws.send("41").await;
    }
    let answer = http(address, "GET", HANDSHAKE, "").await;
    assert_eq!(answer.status, 200);
    until(|| io.sockets().is_empty()).await;
    assert_eq!(io.stats().expired, 0);
}
