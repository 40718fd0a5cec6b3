//! How fast a client may send, whatever it speaks and whichever way round it tries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::client::Client as ClientOfLibrary;
use socketio::parser::MsgpackParser;
use socketio::{RateLimit, RatePolicy, Server, ServerBuilder, Socket, Stats, Transport};
use socketio_proto::websocket::{Opcode, masked_frame};

use crate::support::{Polling, Ws, http, raw, soon, start, until, upgrade_head};

const WAYS: [(&str, &str); 4] = [
    ("4", "websocket"),
    ("4", "polling"),
    ("3", "websocket"),
    ("3", "polling"),
];

/// A client that has joined the main namespace.
enum Way {
    Ws(Box<Ws>),
    Polling {
        address: SocketAddr,
        target: String,
        is_v3: bool,
    },
}

impl Way {
    async fn connect(address: SocketAddr, (revision, transport): (&str, &str)) -> Way {
        let target = format!("/socket.io/?EIO={revision}&transport={transport}");
        let mut way = match transport {
            "websocket" => Way::Ws(Box::new(Ws::upgrade(address, &target).await)),
            _ => Way::Polling {
                address,
                target: target.clone(),
                is_v3: revision == "3",
            },
        };
        let open = way.read().await;
        let begin = open[0].find('{').expect("an open packet");
        let sid: Value = serde_json::from_str(&open[0][begin..]).expect("json");
        if let Way::Polling { target, .. } = &mut way {
            *target = format!("{target}&sid={}", sid["sid"].as_str().expect("an id"));
        }
        if revision == "4" {
            way.send(&["40".to_owned()]).await;
        }
        if open.len() == 1 {
            assert!(way.read().await[0].starts_with("40"));
        }
        way
    }

    /// Sends packets in one piece.
    async fn send(&mut self, packets: &[String]) {
        match self {
            Way::Ws(ws) => {
                let mut bytes = Vec::new();
                for packet in packets {
                    masked_frame(&mut bytes, Opcode::Text, packet.as_bytes(), [1, 2, 3, 4]);
                }
                ws.raw(&bytes).await;
            }
            Way::Polling {
                address,
                target,
                is_v3,
            } => {
                let body = match is_v3 {
                    true => packets.iter().map(|p| format!("{}:{p}", p.len())).collect(),
                    false => packets.join("\u{1e}"),
                };
                assert_eq!(http(*address, "POST", target, body).await.status, 200);
            }
        }
    }

    /// The next packets.
    async fn read(&mut self) -> Vec<String> {
        match self {
            Way::Ws(ws) => vec![ws.text().await],
            Way::Polling {
                address,
                target,
                is_v3,
            } => {
                let body = http(*address, "GET", target, "").await.body;
                if !*is_v3 {
                    return body.split('\u{1e}').map(str::to_owned).collect();
                }
                let (mut packets, mut rest) = (Vec::new(), &*body);
                while let Some((length, after)) = rest.split_once(':') {
                    let (packet, after) = after.split_at(length.parse().expect("a length"));
                    packets.push(packet.to_owned());
                    rest = after;
                }
                packets
            }
        }
    }

    async fn read_all(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.read().await);
        }
        all
    }
}

/// Events that are to be acknowledged, with the ids from `first` on.
fn events(name: &str, first: usize, count: usize) -> Vec<String> {
    let event = |id| format!("42{id}[\"{name}\",{id}]");
    (first..first + count).map(event).collect()
}

fn counts(stats: &Stats) -> [u64; 4] {
    [
        stats.rate_waits,
        stats.rate_refused,
        stats.rate_dropped,
        stats.rate_disconnects,
    ]
}

fn three(policy: RatePolicy) -> RateLimit {
    RateLimit::new().events(1, 3).policy(policy)
}

async fn echo(builder: ServerBuilder) -> (Server, SocketAddr) {
    let (io, address) = start(builder.allow_eio3()).await;
    for nsp in ["/", "/other"] {
        for event in ["echo", "other"] {
            io.of(nsp).on(event, async |_: Socket, n: u32| n);
        }
    }
    (io, address)
}

#[tokio::test]
async fn too_fast_an_event_is_answered_with_an_error() {
    for way in WAYS {
        let (io, address) = echo(Server::builder().rate_limit(three(RatePolicy::Refuse))).await;
        let mut client = Way::connect(address, way).await;
        client.send(&events("echo", 0, 4)).await;
        let answers = client.read_all(4).await;
        let good: Vec<_> = (0..3).map(|id| format!("43{id}[{id}]")).collect();
        assert_eq!(answers[..3], good, "{way:?}");
        let refusal: Value = serde_json::from_str(&answers[3][3..]).expect("json");
        assert_eq!(refusal[0]["error"], "rate limit exceeded", "{way:?}");
        let wait = refusal[0]["retryAfter"].as_f64().expect("seconds");
        assert!(wait > 0.0 && wait <= 1.0, "{wait}");
        // Who wants no answer gets none.
        client.send(&["42[\"echo\",9]".to_owned()]).await;
        until(|| io.stats().events == 5).await;
        assert_eq!(counts(&io.stats()), [0, 2, 0, 0], "{way:?}");
    }
}

#[tokio::test]
async fn too_fast_an_event_is_dropped() {
    for way in WAYS {
        let (io, address) = echo(Server::builder().rate_limit(three(RatePolicy::Drop))).await;
        let mut client = Way::connect(address, way).await;
        client.send(&events("echo", 0, 5)).await;
        let good: Vec<_> = (0..3).map(|id| format!("43{id}[{id}]")).collect();
        assert_eq!(client.read_all(3).await, good, "{way:?}");
        assert_eq!(counts(&io.stats()), [0, 0, 2, 0], "{way:?}");
    }
}

#[tokio::test]
async fn who_sends_too_fast_is_disconnected() {
    for way in WAYS {
        let limit = three(RatePolicy::Disconnect);
        let (io, address) = echo(Server::builder().rate_limit(limit)).await;
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let told = reasons.clone();
        io.on_disconnect(async move |_: Socket, why: (String, String)| told.lock().push(why));
        let mut client = Way::connect(address, way).await;
        client.send(&events("echo", 0, 5)).await;
        let answers = client.read_all(4).await;
        assert_eq!(answers[3], "41", "{way:?}: {answers:?}");
        let mut last = answers;
        while way.1 == "polling" && last.last().is_none_or(|packet| packet != "1") {
            last = client.read().await;
        }
        drop(client);
        until(|| io.clients_count() == 0).await;
        let why = [
            "server namespace disconnect".to_owned(),
            "rate limit exceeded".to_owned(),
        ];
        let [one, two] = why;
        assert_eq!(*reasons.lock(), [(one, two)], "{way:?}");
        assert_eq!(counts(&io.stats()), [0, 0, 0, 1], "{way:?}");
    }
}

#[tokio::test]
async fn who_waits_loses_nothing_and_is_slowed_down() {
    for way in WAYS {
        let limit = RateLimit::new().events(20, 1);
        let (io, address) = echo(Server::builder().rate_limit(limit)).await;
        let mut client = Way::connect(address, way).await;
        let begin = Instant::now();
        client.send(&events("echo", 0, 5)).await;
        let good: Vec<_> = (0..5).map(|id| format!("43{id}[{id}]")).collect();
        assert_eq!(client.read_all(5).await, good, "{way:?}");
        // The last is handled before the pause that it causes.
        assert!(begin.elapsed() >= Duration::from_millis(150), "{way:?}");
        let [waits, rest @ ..] = counts(&io.stats());
        assert!((3..=4).contains(&waits), "{way:?}: {waits}");
        assert_eq!(rest, [0; 3]);
    }
}

// MessagePack, and attachments.
#[tokio::test]
async fn bytes_are_counted_however_they_come() {
    for is_msgpack in [false, true] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            let limit = RateLimit::new().bytes(1, 5000).policy(RatePolicy::Refuse);
            let mut builder = Server::builder().rate_limit(limit);
            if is_msgpack {
                builder = builder.parser(MsgpackParser::default());
            }
            let (io, address) = start(builder).await;
            io.on("size", async |_: Socket, bytes: bytes::Bytes| bytes.len());
            let mut client =
                ClientOfLibrary::builder(format!("http://{address}")).transports([transport]);
            if is_msgpack {
                client = client.parser(MsgpackParser::default());
            }
            let client = client.build().expect("valid");
            soon(client.connect()).await.expect("connected");
            let bytes = bytes::Bytes::from(vec![0; 3000]);
            for (count, is_good) in [(1, true), (2, true), (3, false), (4, false)] {
                let answer: Value = soon(client.emit_with_ack("size", bytes.clone()))
                    .await
                    .expect("an answer");
                match is_good {
                    true => assert_eq!(answer, 3000, "{is_msgpack} {transport:?} {count}"),
                    false => assert_eq!(answer["error"], "rate limit exceeded", "{count}"),
                }
            }
            assert_eq!(io.stats().rate_refused, 2);
            soon(client.disconnect()).await;
        }
    }
}

// Each limit counts for itself, and for itself alone.
#[tokio::test]
async fn namespaces_and_events_have_limits_of_their_own() {
    let (io, address) = echo(Server::builder()).await;
    io.of("/other").rate_limit(three(RatePolicy::Drop));
    let one = RateLimit::new().events(1, 1).policy(RatePolicy::Drop);
    io.rate_limit_of("echo", one);
    let mut ws = Ws::connect(address).await;
    ws.send("40/other,").await;
    assert!(ws.text().await.starts_with("40/other,"));
    for (event, sent, passed) in [("", "echo", 1), ("", "other", 5), ("/other,", "echo", 3)]
        .map(|(nsp, name, passed)| (nsp, name, passed))
    {
        for id in 0..5 {
            ws.send(&format!("42{event}{id}[\"{sent}\",{id}]")).await;
        }
        for id in 0..passed {
            assert_eq!(ws.text().await, format!("43{event}{id}[{id}]"));
        }
    }
    until(|| io.stats().events == 15).await;
    assert_eq!(io.stats().rate_dropped, 4 + 2);
}

// Who leaves and joins again, or joins a sibling, or upgrades, has nothing more to spend.
#[tokio::test]
async fn a_limit_is_not_passed_by_within_a_connection() {
    let (io, address) = echo(Server::builder()).await;
    let parent = io.of_pattern("^/dynamic-");
    parent.rate_limit(three(RatePolicy::Drop));
    parent.on("echo", async |_: Socket, n: u32| n);
    io.of("/other").rate_limit(three(RatePolicy::Drop));
    for (first, second) in [
        ("/other", "/other"),
        ("/dynamic-1", "/dynamic-1"),
        ("/dynamic-1", "/dynamic-2"),
    ] {
        let mut ws = Ws::join(address, first).await.0;
        for id in 0..3 {
            ws.send(&format!("42{first},{id}[\"echo\",{id}]")).await;
            assert_eq!(ws.text().await, format!("43{first},{id}[{id}]"));
        }
        let before = io.stats().rate_dropped;
        ws.send(&format!("41{first},")).await;
        ws.send(&format!("40{second},")).await;
        assert!(ws.text().await.starts_with(&format!("40{second},")));
        ws.send(&format!("42{second},7[\"echo\",7]")).await;
        until(|| io.stats().rate_dropped == before + 1).await;
        // Another connection has its own.
        let mut other = Ws::join(address, first).await.0;
        other.send(&format!("42{first},1[\"echo\",1]")).await;
        assert_eq!(other.text().await, format!("43{first},1[1]"));
    }
    io.rate_limit(three(RatePolicy::Drop));
    let polling = Polling::connect(address).await;
    polling.post(&events("echo", 0, 3).join("\u{1e}")).await;
    let target = format!(
        "/socket.io/?EIO=4&transport=websocket&sid={}",
        polling.sid()
    );
    let mut ws = Ws::upgrade(address, &target).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send("5").await;
    for id in 0..3 {
        assert_eq!(ws.text().await, format!("43{id}[{id}]"));
    }
    let before = io.stats().rate_dropped;
    ws.send("429[\"echo\",9]").await;
    until(|| io.stats().rate_dropped == before + 1).await;
}

// It waits for more than an hour: the end of its connection does not.
#[tokio::test]
async fn who_waits_can_be_sent_away() {
    for way in WAYS {
        let builder = Server::builder()
            .rate_limit(RateLimit::new().bytes(1, 1))
            .shutdown_timeout(Duration::from_millis(100));
        let (io, address) = echo(builder).await;
        let client = Way::connect(address, way).await;
        let event = format!("42[\"echo\",\"{}\"]", "x".repeat(5000));
        let sending = tokio::spawn(async move {
            let mut client = client;
            client.send(&[event]).await;
            client
        });
        until(|| io.stats().rate_waits == 1).await;
        let closing = io.clone();
        soon(closing.close()).await;
        until(|| io.clients_count() == 0).await;
        drop(soon(sending).await);
    }
}

// A body of many events is read on when handlers have ended.
#[tokio::test]
async fn no_more_handlers_run_than_may_whatever_is_in_a_body() {
    let (io, address) = start(Server::builder().max_running_handlers(4)).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let begun = Arc::new(Mutex::new(0));
    let (waits, counts) = (gate.clone(), begun.clone());
    io.on("work", async move |_: Socket, n: u32| {
        *counts.lock() += 1;
        waits.acquire().await.expect("open").forget();
        n
    });
    let polling = Arc::new(Polling::connect(address).await);
    let body = events("work", 0, 10).join("\u{1e}");
    let post = polling.clone();
    let posting = tokio::spawn(async move { post.post(&body).await.status });
    until(|| io.stats().saturated == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((*begun.lock(), io.stats().events), (4, 4));
    gate.add_permits(10);
    assert_eq!(soon(posting).await.ok(), Some(200));
    let mut answers = Vec::new();
    while answers.len() < 10 {
        let body = polling.get().await;
        answers.extend(body.split('\u{1e}').map(str::to_owned));
    }
    answers.sort();
    let all: Vec<_> = (0..10).map(|id| format!("43{id}[{id}]")).collect();
    assert_eq!(answers, all);
}

#[tokio::test]
async fn a_client_that_waits_reads_on() {
    let limit = RateLimit::new().bytes(1, 1);
    let (io, address) = echo(Server::builder().rate_limit(limit)).await;
    let mut ws = Ws::connect(address).await;
    ws.send(&format!("42[\"none\",\"{}\"]", "x".repeat(5000)))
        .await;
    until(|| io.stats().rate_waits == 1).await;
    io.emit("news", json!(1));
    assert_eq!(ws.text().await, "42[\"news\",1]");
    // Others are let in and served meanwhile.
    let head = upgrade_head("/elsewhere", "");
    drop(raw(address, &head).await);
    let mut other = Ws::connect(address).await;
    other.send("421[\"echo\",1]").await;
    assert_eq!(other.text().await, "431[1]");
}
