//! Connection state recovery on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socketio::{ConnectError, DisconnectReason, Recovery, Server, ServerBuilder, Socket};

use super::support::{Polling, Received, Ws, listen, soon, start, until};

fn builder() -> ServerBuilder {
    Server::builder().recovery(Recovery::new())
}

/// A client that remembers what it takes to come back.
struct Client {
    ws: Ws,
    sid: String,
    pid: String,
}

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        let mut ws = Ws::open(address).await;
        ws.send("40").await;
        let welcome = ws.text().await;
        Client::welcomed(ws, &welcome)
    }

    fn welcomed(ws: Ws, welcome: &str) -> Client {
        let data: Value =
            serde_json::from_str(welcome.strip_prefix("40").expect("CONNECT")).unwrap();
        let text = |key: &str| data[key].as_str().expect("a text").to_owned();
        Client {
            sid: text("sid"),
            pid: text("pid"),
            ws,
        }
    }

    /// The next event and its offset.
    async fn event(&mut self) -> (Vec<Value>, String) {
        let text = self.ws.text().await;
        event(&text)
    }

    /// Comes back; gives what was sent ahead of CONNECT.
    async fn back(address: SocketAddr, proof: &Value) -> (Client, Vec<(Vec<Value>, String)>) {
        let mut ws = Ws::open(address).await;
        ws.send(&format!("40{proof}")).await;
        let mut missed = Vec::new();
        loop {
            let text = ws.text().await;
            if text.starts_with("40") {
                return (Client::welcomed(ws, &text), missed);
            }
            missed.push(event(&text));
        }
    }

    fn proof(&self, offset: &str) -> Value {
        json!({ "pid": self.pid, "offset": offset })
    }
}

fn event(text: &str) -> (Vec<Value>, String) {
    let mut args: Vec<Value> =
        serde_json::from_str(text.strip_prefix("42").expect("an event")).unwrap();
    let offset = args.pop().expect("an offset");
    (args, offset.as_str().expect("a text").to_owned())
}

fn args(events: &[(Vec<Value>, String)]) -> Vec<Value> {
    events.iter().map(|(args, _)| json!(args)).collect()
}

// Rooms and data count as events do: who has been away longest is forgotten.
#[tokio::test]
async fn what_is_kept_for_clients_that_are_away_is_bounded() {
    const MAX: usize = 100_000;
    let recovery = Recovery::new().max_bytes(MAX);
    let (io, address) = start(Server::builder().recovery(recovery)).await;
    io.on_connect(async |socket: Socket| {
        if !socket.is_recovered() {
            let data = json!({ "text": "d".repeat(20_000) });
            socket.set_data(data).expect("JSON");
            let rooms = (0..10).map(|n| format!("{n}{}", "r".repeat(1000)));
            socket.join(rooms.collect::<Vec<_>>());
        }
    });
    let (mut here, mut proofs) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let mut client = Client::connect(address).await;
        io.to(client.sid.as_str()).emit("x", ());
        let offset = client.event().await.1;
        proofs.push((client.sid.clone(), client.proof(&offset)));
        here.push(client);
    }
    for away in 1..=6 {
        drop(here.remove(0));
        until(|| io.clients_count() == 6 - away).await;
        let kept = io.stats().recovery_bytes;
        assert!(kept <= MAX && kept > 30_000 * away.min(3), "{away}: {kept}");
    }
    for (at, is_kept) in [(0, false), (5, true)] {
        let (sid, proof) = &proofs[at];
        let (client, _) = Client::back(address, proof).await;
        assert_eq!(client.sid == *sid, is_kept, "{at}");
    }
    let stats = io.stats();
    assert_eq!((stats.recovered, stats.not_recovered_unknown), (1, 1));
}

async fn gone(io: &Server) {
    until(|| io.clients_count() == 0).await;
}

// S059.
#[tokio::test]
async fn plain_events_carry_an_offset_and_others_do_not() {
    let (io, address) = start(builder()).await;
    io.on("go", async |socket: Socket| {
        socket.emit("own", 1);
        socket.namespace().emit("all", ());
        socket.volatile().emit("volatile", 2);
        let _ = socket.emit_with_ack::<Value>("ack", 3).await;
    });
    let mut client = Client::connect(address).await;
    client.ws.send("42[\"go\"]").await;
    assert_eq!(client.event().await.0, [json!("own"), json!(1)]);
    assert_eq!(client.event().await.0, [json!("all")]);
    assert_eq!(client.ws.text().await, "42[\"volatile\",2]");
    assert_eq!(client.ws.text().await, "420[\"ack\",3]");
    assert_ne!(client.pid, client.sid);
}

// S060, S065, M66.
#[tokio::test]
async fn a_client_gets_its_id_rooms_data_and_what_it_missed_in_order() {
    let (io, address) = start(builder()).await;
    io.on_connect(async |socket: Socket| {
        if !socket.is_recovered() {
            socket.join("room");
            socket.set_data(json!({ "name": "Ann" })).unwrap();
            socket.emit("hello", ());
        }
    });
    let mut client = Client::connect(address).await;
    let (_, offset) = client.event().await;
    let socket = io.sockets().remove(0);
    drop(client.ws);
    gone(&io).await;
    io.emit("missed", 1);
    io.to("room").emit("missed", 2);
    // The handle of before reaches the client, too.
    socket.emit("missed", 3).now().unwrap();
    io.to(socket.id()).emit("missed", 4);
    let proof = json!({ "pid": client.pid, "offset": offset });
    let (mut back, missed) = Client::back(address, &proof).await;
    let expected: Vec<_> = (1..5).map(|n| json!(["missed", n])).collect();
    assert_eq!(args(&missed), expected);
    assert_eq!((&back.sid, &back.pid), (&client.sid, &client.pid));
    let recovered = io.sockets().remove(0);
    assert!(recovered.is_recovered());
    assert_eq!(recovered.rooms(), [client.sid.as_str(), "room"]);
    assert_eq!(recovered.data::<Value>(), Some(json!({ "name": "Ann" })));
    assert_eq!(io.stats().recovered, 1);
    io.to("room").emit("now", ());
    socket.emit("by the old handle", ()).now().unwrap();
    assert_eq!(back.event().await.0, [json!("now")]);
    assert_eq!(back.event().await.0, [json!("by the old handle")]);
}

// S061.
#[tokio::test]
async fn only_what_was_for_the_client_and_may_be_repeated_is_replayed() {
    let (io, address) = start(builder()).await;
    io.on_connect(async |socket: Socket| socket.join(["in", "out"]));
    let client = Client::connect(address).await;
    drop(client.ws);
    gone(&io).await;
    io.to("other").emit("no", 1);
    io.to("in").except("out").emit("no", 2);
    io.volatile().emit("no", 3);
    drop(
        io.timeout(Duration::from_millis(1))
            .emit_with_ack::<Value>("no", 4),
    );
    io.to("in").emit("yes", ());
    let (_, missed) = Client::back(address, &json!({ "pid": client.pid })).await;
    assert_eq!(args(&missed), [json!(["yes"])]);
}

// S062.
#[tokio::test]
async fn who_cannot_be_recovered_gets_a_new_session() {
    let (io, address) = start(builder()).await;
    io.on_connect(async |socket: Socket| drop(socket.emit("hello", ())));
    let mut client = Client::connect(address).await;
    let (_, offset) = client.event().await;
    drop(client.ws);
    gone(&io).await;
    for proof in [
        json!({ "pid": client.pid, "offset": "hello" }),
        json!({ "pid": client.pid, "offset": offset.replace('1', "2") }),
        json!({ "pid": "unknown", "offset": offset }),
        json!({ "pid": 7, "offset": offset }),
        json!({ "offset": offset }),
    ] {
        let (new, missed) = Client::back(address, &proof).await;
        assert_ne!(new.sid, client.sid, "{proof}");
        assert_ne!(new.pid, client.pid, "{proof}");
        assert!(missed.is_empty(), "{proof}");
    }
    let stats = io.stats();
    assert_eq!(
        (
            stats.recovered,
            stats.not_recovered_offset,
            stats.not_recovered_unknown
        ),
        (0, 2, 1)
    );
}

// S062, S067.
#[tokio::test]
async fn who_stays_away_too_long_is_forgotten_with_all_that_was_kept() {
    let recovery = Recovery::new().max_disconnection(Duration::from_millis(50));
    let (io, address) = start(
        Server::builder()
            .ping_interval(Duration::from_millis(50))
            .ping_timeout(Duration::from_millis(50))
            .recovery(recovery),
    )
    .await;
    let client = Client::connect(address).await;
    io.emit("news", "x".repeat(1000));
    io.sockets()[0].emit("own", "x".repeat(1000));
    assert!(io.stats().recovery_bytes > 2000);
    drop(client.ws);
    until(|| io.stats().recovery_bytes == 0).await;
    let (new, _) = Client::back(address, &json!({ "pid": client.pid })).await;
    assert_ne!(new.sid, client.sid);
    assert_eq!(io.stats().not_recovered_unknown, 1);
}

// S063.
#[tokio::test]
async fn who_has_left_on_purpose_does_not_come_back() {
    let (io, address) = start(builder()).await;
    io.on("leave me", async |socket: Socket| socket.disconnect());
    for farewell in ["41", "42[\"leave me\"]"] {
        let mut client = Client::connect(address).await;
        client.ws.send(farewell).await;
        until(|| io.sockets().is_empty()).await;
        let (new, _) = Client::back(address, &json!({ "pid": client.pid })).await;
        assert_ne!(new.sid, client.sid);
        drop(new);
        until(|| io.sockets().is_empty()).await;
    }
    assert_eq!(io.stats().not_recovered_unknown, 2);
}

// S064.
#[tokio::test]
async fn middlewares_are_skipped_unless_told_otherwise() {
    for (recovery, runs) in [(Recovery::new(), 1), (Recovery::new().run_middlewares(), 2)] {
        let io = Server::builder().recovery(recovery).build();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = count.clone();
        io.middleware(async move |_: Socket| {
            tokio::task::yield_now().await;
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, ConnectError>(())
        });
        let address = listen(&io).await;
        let client = Client::connect(address).await;
        drop(client.ws);
        gone(&io).await;
        io.emit("missed", ());
        let (back, missed) = Client::back(address, &json!({ "pid": client.pid })).await;
        assert_eq!(back.sid, client.sid);
        assert_eq!(args(&missed), [json!(["missed"])]);
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), runs);
    }
}

// A middleware may refuse a client that comes back; its place stays its own.
#[tokio::test]
async fn a_refused_client_may_try_again() {
    let io = Server::builder()
        .recovery(Recovery::new().run_middlewares())
        .build();
    io.middleware(async |_: Socket, auth: Option<Value>| {
        match auth.unwrap_or_default()["token"] == "old" {
            true => Err(ConnectError::new("expired")),
            false => Ok(()),
        }
    });
    let address = listen(&io).await;
    let client = Client::connect(address).await;
    drop(client.ws);
    gone(&io).await;
    io.emit("missed", ());
    let mut ws = Ws::open(address).await;
    ws.send(&format!(
        "40{}",
        json!({ "pid": client.pid, "token": "old" })
    ))
    .await;
    assert_eq!(ws.text().await, "44{\"message\":\"expired\"}");
    let (back, missed) = Client::back(address, &json!({ "pid": client.pid })).await;
    assert_eq!((back.sid, missed.len()), (client.sid, 1));
}

#[tokio::test]
async fn a_client_is_recovered_before_the_server_has_noticed_that_it_was_away() {
    let (io, address) = start(builder()).await;
    let (left, reasons) = std::sync::mpsc::channel();
    io.on_disconnect(async move |_: Socket, why: (DisconnectReason, String)| {
        left.send(why).unwrap();
    });
    let mut client = Client::connect(address).await;
    io.emit("seen", ());
    let (_, offset) = client.event().await;
    let socket = io.sockets().remove(0);
    // These go to the connection that nobody reads any more.
    io.emit("missed", 1);
    socket.emit("missed", 2);
    io.emit("missed", 3);
    let (mut back, missed) = Client::back(address, &client.proof(&offset)).await;
    assert_eq!(back.sid, client.sid);
    let expected: Vec<_> = (1..4).map(|n| json!(["missed", n])).collect();
    assert_eq!(args(&missed), expected);
    let (reason, description) = reasons.recv().unwrap();
    assert_eq!(reason, DisconnectReason::TransportError);
    assert_eq!(
        description,
        "the client has come back on another connection"
    );
    assert_eq!(client.ws.closed().await, Some(None));
    assert_eq!(io.sockets().len(), 1);
    assert_eq!(io.clients_count(), 1);
    io.emit("now", ());
    assert_eq!(back.event().await.0, [json!("now")]);
}

// S066: one connection at a time has a client's place, and nobody once it has left.
#[tokio::test]
async fn a_place_is_taken_by_one_connection_at_a_time() {
    let (io, address) = start(builder()).await;
    let client = Client::connect(address).await;
    drop(client.ws);
    gone(&io).await;
    let proof = json!({ "pid": client.pid });
    let (mut first, _) = Client::back(address, &proof).await;
    let (mut second, _) = Client::back(address, &proof).await;
    assert_eq!((&first.sid, &second.sid), (&client.sid, &client.sid));
    assert_eq!(first.ws.closed().await, Some(None));
    assert_eq!(io.sockets().len(), 1);
    second.ws.send("41").await;
    until(|| io.sockets().is_empty()).await;
    let (third, _) = Client::back(address, &proof).await;
    assert_ne!(third.sid, client.sid);
}

// The official client keeps what comes ahead of CONNECT without remembering its offset: cut there,
// it has events that it does not tell of.
#[tokio::test]
async fn a_client_cut_off_ahead_of_connect_is_asked_before_it_gets_anything_twice() {
    let (io, address) = start(builder()).await;
    let client = Client::connect(address).await;
    drop(client.ws);
    gone(&io).await;
    io.emit("missed", 1);
    io.emit("missed", 2);
    let proof = json!({ "pid": client.pid });
    let (back, missed) = Client::back(address, &proof).await;
    drop(back.ws);
    gone(&io).await;
    // As if the cut had come between the first event and CONNECT.
    let (mut asked, nothing) = Client::back(address, &proof).await;
    assert_eq!((&asked.sid, nothing.len()), (&client.sid, 0));
    assert_eq!(asked.ws.next().await, Received::Close(None));
    let (_, missed) = Client::back(address, &client_proof(&client.pid, &missed[0].1)).await;
    assert_eq!(args(&missed), [json!(["missed", 2])]);
}

// It is in, and the official client empties into it what it had kept offline. Over each transport, with an
// ack and without, and whatever the server sends it meanwhile.
#[tokio::test]
async fn what_a_client_that_is_asked_emits_is_handled_and_what_it_is_sent_comes_later() {
    for polls in [false, true] {
        let (io, address) = start(builder()).await;
        io.on_connect(async |socket: Socket| socket.join("room"));
        io.on("kept", async |socket: Socket, n: u32| {
            socket.join(format!("joined {n}"));
            socket.emit("own", n);
            socket.namespace().to("room").emit("all", n);
            n
        });
        let client = Client::connect(address).await;
        drop(client.ws);
        gone(&io).await;
        io.emit("missed", 1);
        let proof = json!({ "pid": client.pid });
        let (back, missed) = Client::back(address, &proof).await;
        drop(back.ws);
        gone(&io).await;
        let kept = ["42[\"kept\",1]", "4217[\"kept\",2]", "42[\"kept\",3]"];
        if polls {
            let asked = Polling::open(address).await;
            asked.post(&format!("40{proof}")).await;
            let answer = asked.get().await;
            assert!(
                answer.starts_with("40{") && answer.ends_with("\x1e2"),
                "{answer}"
            );
            // The official client answers the first ping before it has seen CONNECT.
            let body = format!("3\x1e{}", kept.join("\x1e"));
            assert_eq!(asked.post(&body).await.body, "ok");
            let answer = asked.get().await;
            assert!(
                ["2\x1e4317[2]", "4317[2]\x1e2"].contains(&&*answer),
                "{answer:?}"
            );
            assert_eq!(asked.post("3").await.body, "ok");
            let end = asked.get().await;
            assert!(["1", "6\x1e1"].contains(&&*end), "{end:?}");
        } else {
            let mut asked = Ws::open(address).await;
            asked.send(&format!("40{proof}")).await;
            let welcome = asked.text().await;
            assert!(welcome.starts_with("40{"), "{welcome}");
            for event in kept {
                asked.send(event).await;
            }
            assert_eq!(asked.text().await, "4317[2]");
            // Reading answers the ping, which leads to the end.
            assert_eq!(asked.next().await, Received::Close(None));
        }
        gone(&io).await;
        io.to("joined 3").emit("missed", 2);
        let (_, missed) = Client::back(address, &client_proof(&client.pid, &missed[0].1)).await;
        let both = |n: u32| [json!(["own", n]), json!(["all", n])];
        let expected: Vec<_> = (1..4)
            .flat_map(both)
            .chain([json!(["missed", 2])])
            .collect();
        assert_eq!(args(&missed), expected, "polls: {polls}");
    }
}

// The second answer is cut as well: what the client has is still not known.
#[tokio::test]
async fn a_client_is_asked_again_until_it_has_answered() {
    let (io, address) = start(builder()).await;
    let client = Client::connect(address).await;
    drop(client.ws);
    gone(&io).await;
    io.emit("missed", 1);
    let proof = json!({ "pid": client.pid });
    for expected in [1, 0, 0] {
        let mut ws = Ws::open(address).await;
        ws.send(&format!("40{proof}")).await;
        until(|| io.clients_count() == 1).await;
        until(|| io.sockets().len() == 1).await;
        let text = ws.text().await;
        assert_eq!(text.starts_with("42"), expected == 1, "{text}");
        drop(ws);
        gone(&io).await;
    }
    let (mut asked, _) = Client::back(address, &proof).await;
    assert_eq!(asked.ws.next().await, Received::Close(None));
    let (_, missed) = Client::back(address, &proof).await;
    assert_eq!(args(&missed), [json!(["missed", 1])]);
}

fn client_proof(pid: &str, offset: &str) -> Value {
    json!({ "pid": pid, "offset": offset })
}

#[tokio::test]
async fn what_a_pong_confirms_is_not_kept() {
    let (io, address) = start(
        Server::builder()
            .ping_interval(Duration::from_millis(100))
            .recovery(Recovery::new()),
    )
    .await;
    let mut client = Client::connect(address).await;
    io.sockets()[0].emit("own", "x".repeat(10_000));
    let (_, offset) = client.event().await;
    assert!(io.stats().recovery_bytes > 10_000);
    // Reading answers the pings.
    let done = async { until(|| io.stats().recovery_bytes == 0).await };
    tokio::select! {
        () = done => {}
        _ = client.ws.next() => panic!("nothing else was sent"),
    }
    let (back, missed) = Client::back(address, &client.proof(&offset)).await;
    assert_eq!((back.sid, missed.len()), (client.sid, 0));
}

// E075: what is kept has a bound.
#[tokio::test]
async fn who_has_missed_more_than_is_kept_is_not_recovered() {
    let recovery = Recovery::new().max_client_bytes(10_000);
    let (io, address) = start(Server::builder().recovery(recovery)).await;
    let client = Client::connect(address).await;
    let socket = io.sockets().remove(0);
    drop(client.ws);
    gone(&io).await;
    // What it takes to remember the client.
    let client_bytes = io.stats().recovery_bytes;
    assert!((800..1600).contains(&client_bytes), "{client_bytes}");
    for _ in 0..100 {
        socket.emit("own", "x".repeat(1000)).now().unwrap();
        assert!(io.stats().recovery_bytes <= client_bytes + 10_000);
    }
    let (new, _) = Client::back(address, &json!({ "pid": client.pid })).await;
    assert_ne!(new.sid, client.sid);
    assert_eq!(io.stats().not_recovered_offset, 1);
}

// S067, E075: however many clients are away, and whatever they missed.
#[tokio::test]
async fn all_clients_together_have_a_bound() {
    const MAX: usize = 20_000;
    let recovery = Recovery::new().max_bytes(MAX);
    let (io, address) = start(Server::builder().recovery(recovery)).await;
    let mut proofs = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let client = Client::connect(address).await;
        proofs.push(json!({ "pid": client.pid }));
        let id = client.sid.clone();
        let all = io.sockets();
        sockets.extend(all.into_iter().filter(|socket| socket.id().as_str() == id));
        drop(client.ws);
    }
    gone(&io).await;
    // One event more than the bound may be kept: it is looked at before each.
    let text = "x".repeat(2000);
    for socket in &sockets {
        socket.emit("own", &text).now().unwrap();
        assert!(io.stats().recovery_bytes < MAX + 2 * text.len());
    }
    let (_back, missed) = Client::back(address, &proofs[0]).await;
    assert_eq!(args(&missed), [json!(["own", text])]);
    let (_new, missed) = Client::back(address, &proofs[19]).await;
    assert!(missed.is_empty());
    assert_eq!(io.stats().not_recovered_offset, 1);
    for _ in 0..20 {
        io.emit("all", &text);
        assert!(io.stats().recovery_bytes < MAX + 2 * text.len());
    }
    // The first of them is not kept any more.
    let (_new, missed) = Client::back(address, &proofs[1]).await;
    assert!(missed.is_empty());
    assert_eq!(io.stats().not_recovered_offset, 2);
}

#[tokio::test]
async fn a_polling_client_is_recovered_too() {
    let (io, address) = start(builder()).await;
    let client = Client::connect(address).await;
    drop(client.ws);
    gone(&io).await;
    io.emit("missed", serde_bytes_like());
    let polling = Polling::open(address).await;
    polling
        .post(&format!("40{}", json!({ "pid": client.pid })))
        .await;
    let answer = soon(polling.get()).await;
    let packets: Vec<_> = answer.split('\u{1e}').collect();
    assert_eq!(packets.len(), 3, "{answer}");
    assert!(packets[0].starts_with("451-[\"missed\",{\"_placeholder\":true,\"num\":0},\""));
    assert_eq!(packets[1], "bAQI=");
    assert!(packets[2].starts_with(&format!("40{{\"sid\":\"{}\"", client.sid)));
}

fn serde_bytes_like() -> bytes::Bytes {
    bytes::Bytes::from_static(&[1, 2])
}
