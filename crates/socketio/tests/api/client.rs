//! The client against this server, over all transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::client::{Client, ClientBuilder, ManagerEvent, Socket as ClientSocket};
use socketio::parser::MsgpackParser;
use socketio::{AckError, Args, Server, Socket, Transport};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::fake::{Fake, Reply, open};
use crate::support::{listen, soon};

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, entry: impl Into<String>) {
        self.0.lock().push(entry.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A channel whose sender can be used in handlers.
pub(crate) fn channel<T>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

pub(crate) async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    soon(receiver.recv()).await.expect("a sender")
}

/// A server that echoes and answers.
pub(crate) fn echo_server() -> Server {
    with_echo(Server::new())
}

pub(crate) fn with_echo(io: Server) -> Server {
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    io.on("ack", async |_: Socket, args: Args| args);
    io
}

pub(crate) fn builder(url: &str, transports: &[Transport]) -> ClientBuilder {
    Client::builder(url).transports(transports.iter().copied())
}

pub(crate) const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
pub(crate) const POLLING: &[Transport] = &[Transport::Polling];

pub(crate) const ALL: [&[Transport]; 3] = [
    WEBSOCKET,
    POLLING,
    &[Transport::Polling, Transport::WebSocket],
];

pub(crate) async fn url(io: &Server) -> String {
    format!("http://{}", listen(io).await)
}

// C002, C008, C028, C029, C033
#[tokio::test]
async fn events_and_answers_go_both_ways_over_each_transport() {
    let io = echo_server();
    let url = url(&io).await;
    for transports in ALL {
        let (sender, mut received) = channel();
        let socket = builder(&url, transports)
            .on("echo", async move |_: ClientSocket, args: Args| {
                let _ = sender.send(args);
            })
            .connect();
        let socket = soon(socket).await.expect("connected");
        assert!(socket.is_connected() && socket.is_active() && !socket.is_recovered());
        assert!(socket.id().is_some());
        let value = (
            1,
            "é€😀",
            json!({"a": [null, true]}),
            Bytes::from_static(b"\0\x01"),
            [Bytes::from_static(b"two")],
        );
        socket.emit("echo", &value).await.expect("sent");
        let args = next(&mut received).await;
        type Echoed = (i32, String, Value, Bytes, Vec<Bytes>);
        let echoed: Echoed = args.decode().expect("the same");
        assert_eq!(echoed.1, "é€😀");
        assert_eq!(echoed.3, value.3);
        assert_eq!(echoed.4[0], value.4[0]);
        let answer: (i32, Bytes) = soon(socket.emit_with_ack("ack", (7, Bytes::from_static(b"x"))))
            .await
            .expect("an answer");
        assert_eq!(answer, (7, Bytes::from_static(b"x")));
        // Nothing at all is an event as well.
        socket.emit("echo", ());
        assert!(next(&mut received).await.is_empty());
        soon(socket.disconnect()).await;
        assert!(!socket.is_connected() && socket.id().is_none());
    }
}

// C028, C033: bytes inside of JSON, in an event and in an answer, in both directions.
#[tokio::test]
async fn buffers_stand_where_they_stood() {
    #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Nested {
        first: Bytes,
        list: Vec<(u8, Bytes)>,
        text: String,
    }
    let nested = |first: &'static [u8], second: &'static [u8]| Nested {
        first: Bytes::from_static(first),
        list: vec![(1, Bytes::from_static(second))],
        text: "{\"_placeholder\":true,\"num\":0}".to_owned(),
    };
    let (there, back) = (nested(b"\x1e\0", b""), nested(b"", b"\xff\xfe"));
    let (sender, mut seen) = channel();
    let io = Server::new();
    let reply = back.clone();
    io.on("swap", async move |socket: Socket, value: Nested| {
        let answer = socket.emit_with_ack::<Nested>("ask", &reply).await;
        let _ = sender.send((value.clone(), answer.expect("an answer")));
        socket.emit("swapped", (&reply, &value));
        reply
    });
    let url = url(&io).await;
    for transports in ALL {
        let (sender, mut swapped) = channel();
        let socket = builder(&url, transports)
            .on("ask", async |_: ClientSocket, value: Nested| value)
            .on(
                "swapped",
                async move |_: ClientSocket, both: (Nested, Nested)| {
                    let _ = sender.send(both);
                },
            )
            .connect();
        let socket = soon(socket).await.expect("connected");
        let answer = soon(socket.emit_with_ack::<Nested>("swap", &there)).await;
        assert_eq!(answer.expect("an answer"), back);
        assert_eq!(next(&mut seen).await, (there.clone(), back.clone()));
        assert_eq!(next(&mut swapped).await, (back.clone(), there.clone()));
    }
}

// C001, C003, C017, M58: messages in both directions while the session moves: none lost, none doubled.
#[tokio::test]
async fn nothing_is_lost_or_doubled_while_the_session_moves_to_websocket() {
    let io = Server::new();
    io.on("n", async |socket: Socket, n: u32| {
        socket.emit("n", n);
    });
    let url = url(&io).await;
    let (sender, mut received) = channel();
    let (moved, mut moves) = channel();
    let socket = Client::builder(&url)
        .on("n", async move |_: ClientSocket, n: u32| _ = sender.send(n))
        .build()
        .expect("valid");
    let log = Log::default();
    let seen = log.clone();
    socket.manager().on(move |event| match event {
        ManagerEvent::Open => seen.add("open"),
        ManagerEvent::Upgraded(transport) => {
            seen.add(format!("upgraded to {}", transport.as_str()));
            let _ = moved.send(());
        }
        other => seen.add(format!("{other:?}")),
    });
    soon(socket.connect()).await.expect("connected");
    assert_eq!(socket.manager().transport(), Some(Transport::Polling));
    let (mut sent, mut got, mut has_moved) = (0, 0, false);
    // As long as the upgrade takes, and on.
    while !has_moved || sent < 2000 {
        has_moved |= moves.try_recv().is_ok();
        for _ in 0..10 {
            soon(socket.emit("n", sent)).await.expect("sent");
            sent += 1;
        }
        assert_eq!(next(&mut received).await, got);
        got += 1;
    }
    while got < sent {
        assert_eq!(next(&mut received).await, got);
        got += 1;
    }
    assert_eq!(socket.manager().transport(), Some(Transport::WebSocket));
    assert_eq!(log.take(), ["open", "upgraded to websocket"]);
}

// C022, M35: and ack ids of both never collide.
#[tokio::test]
async fn two_namespaces_share_one_connection() {
    let io = echo_server();
    with_echo_namespace(&io, "/admin");
    let url = url(&io).await;
    let main = soon(Client::connect(&url)).await.expect("connected");
    let manager = main.manager();
    let admin = soon(manager.socket("/admin").auth(json!({"token": 1})).connect());
    let admin = admin.await.expect("connected");
    assert_eq!((main.namespace(), admin.namespace()), ("/", "/admin"));
    assert_ne!(main.id(), admin.id());
    assert_eq!(io.clients_count(), 1);
    let (one, two) = tokio::join!(
        main.emit_with_ack::<u8>("ack", 1),
        admin.emit_with_ack::<u8>("ack", 2),
    );
    assert_eq!((one.expect("an answer"), two.expect("an answer")), (1, 2));
    soon(admin.disconnect()).await;
    assert!(!admin.is_connected() && main.is_connected());
    let still: u8 = soon(main.emit_with_ack("ack", 3)).await.expect("an answer");
    assert_eq!(still, 3);
    let direct = soon(Client::connect(format!("{url}/admin")))
        .await
        .expect("connected");
    assert_eq!(direct.namespace(), "/admin");
}

// C023, C024: each client has a connection of its own.
#[tokio::test]
async fn two_clients_have_two_connections() {
    let io = echo_server();
    let url = url(&io).await;
    let one = soon(Client::connect(&url)).await.expect("connected");
    let two = soon(Client::connect(&url)).await.expect("connected");
    assert_ne!(one.id(), two.id());
    assert_eq!(io.clients_count(), 2);
}

// C022, C028: sockets number their events by themselves, so an answer goes by its namespace.
#[tokio::test]
async fn the_answers_of_two_namespaces_do_not_mix() {
    let io = Server::new();
    let held = Arc::new(Mutex::new(Vec::new()));
    for name in ["/", "/admin"] {
        let held = held.clone();
        io.of(name).on(
            "hold",
            async move |_: Socket, n: u32, ack: socketio::Ack| {
                held.lock().push((n, ack));
            },
        );
    }
    let url = url(&io).await;
    let main = soon(Client::connect(&url)).await.expect("connected");
    let admin = soon(main.manager().socket("/admin").connect()).await;
    let admin = admin.expect("connected");
    let asked: Vec<_> = (0..20)
        .map(|n| match n % 2 {
            0 => main.emit_with_ack::<u32>("hold", n),
            _ => admin.emit_with_ack::<u32>("hold", n),
        })
        .collect();
    crate::support::until(|| held.lock().len() == 20).await;
    // The last first, so that no answer comes in the order of the questions.
    for (n, ack) in held.lock().drain(..).rev() {
        ack.send(n);
    }
    for (n, answer) in (0..20).zip(asked) {
        assert_eq!(soon(answer).await.expect("an answer"), n);
    }
}

fn with_echo_namespace(io: &Server, name: &str) {
    io.of(name).on("ack", async |_: Socket, args: Args| args);
}

// C028: the server asks, the client answers, in each of the ways.
#[tokio::test]
async fn the_server_s_questions_are_answered() {
    let io = Server::new();
    let (sender, mut answers) = channel();
    io.on("ask me", async move |socket: Socket, name: String| {
        let answer = socket.emit_with_ack::<Value>(name, 20).await;
        let _ = sender.send(answer.map_err(|error| error.to_string()));
    });
    let url = url(&io).await;
    let socket = soon(Client::connect(&url)).await.expect("connected");
    socket.on("by value", async |_: ClientSocket, n: u32| n + 1);
    socket.on(
        "by hand",
        async |_: ClientSocket, n: u32, ack: socketio::client::Ack| {
            ack.send(n + 2);
        },
    );
    socket.on("late", async |_: ClientSocket, n: u32| {
        tokio::task::yield_now().await;
        n + 3
    });
    for (event, answer) in [("by value", 21), ("by hand", 22), ("late", 23)] {
        socket.emit("ask me", event);
        assert_eq!(next(&mut answers).await, Ok(json!(answer)));
    }
}

// C028, C029, C030: the time of an ack that nobody gives ends as a value.
#[tokio::test]
async fn an_answer_that_does_not_come_is_an_error() {
    let io = echo_server();
    io.on("silence", async |_: Socket, (): (), ack: socketio::Ack| {
        drop(ack)
    });
    io.on(
        "drop me",
        async |socket: Socket, (): (), ack: socketio::Ack| {
            drop(ack);
            socket.disconnect();
        },
    );
    let url = url(&io).await;
    let socket = Client::builder(&url)
        .ack_timeout(Duration::from_millis(50))
        .connect();
    let socket = soon(socket).await.expect("connected");
    let short = Duration::from_millis(20);
    let answer = soon(socket.timeout(short).emit_with_ack::<()>("silence", ())).await;
    assert!(matches!(answer, Err(AckError::Timeout)), "{answer:?}");
    let answer = soon(socket.emit_with_ack::<()>("silence", ())).await;
    assert!(matches!(answer, Err(AckError::Timeout)), "{answer:?}");
    let answer = soon(socket.emit_with_ack::<u8>("ack", "text")).await;
    assert!(matches!(answer, Err(AckError::Decode(_))), "{answer:?}");
    let long = Duration::from_secs(60);
    let answer = soon(socket.timeout(long).emit_with_ack::<()>("drop me", ())).await;
    assert!(matches!(answer, Err(AckError::Disconnected)), "{answer:?}");
}

// C034
#[tokio::test]
async fn catch_all_listeners_see_what_comes_and_goes() {
    let io = echo_server();
    let url = url(&io).await;
    let socket = soon(Client::connect(&url)).await.expect("connected");
    let log = Log::default();
    let (sender, mut done) = channel();
    let seen = log.clone();
    socket.on_any(async move |_: ClientSocket, (name, args): (String, Args)| {
        seen.add(format!("any {name} {args:?}"));
    });
    let seen = log.clone();
    socket.prepend_any(async move |_: ClientSocket| seen.add("first"));
    let seen = log.clone();
    socket.on_any_outgoing(move |_, name, args| seen.add(format!("out {name} {args:?}")));
    let seen = log.clone();
    socket.once("echo", async move |_: ClientSocket| seen.add("once"));
    socket.on("echo", async move |_: ClientSocket| _ = sender.send(()));
    socket.emit("echo", 1);
    next(&mut done).await;
    assert_eq!(
        log.take(),
        [
            "out echo Args([1], 0 attachments)",
            "first",
            "any echo Args([1], 0 attachments)",
            "once"
        ]
    );
    socket.off_any().off_any_outgoing();
    socket.emit("echo", 2);
    next(&mut done).await;
    assert_eq!(log.take(), [""; 0]);
    socket.off("echo");
}

#[tokio::test]
async fn events_come_as_a_stream_too() {
    let io = Server::new();
    io.on("go", async |socket: Socket| {
        for n in 0..3000 {
            socket.emit("n", n);
        }
        let answer: u32 = socket
            .emit_with_ack("question", ())
            .await
            .expect("an answer");
        socket.emit("answered", answer);
        socket.disconnect();
    });
    let url = url(&io).await;
    let socket = soon(Client::connect(&url)).await.expect("connected");
    let mut events = socket.events();
    socket.emit("go", ());
    // More than are kept before the reader stops.
    for expected in 0..3000 {
        let event = soon(events.next()).await.expect("an event");
        assert_eq!(
            (&*event.name, event.decode::<u32>().ok()),
            ("n", Some(expected))
        );
    }
    let question = soon(events.next()).await.expect("an event");
    question.ack.expect("asked").send(42);
    let answered = soon(events.next()).await.expect("an event");
    assert_eq!(answered.decode::<u32>().ok(), Some(42));
    assert!(soon(events.next()).await.is_none());
}

// A stream that is not read holds up its own namespace; beyond the queue's bound, only if it is alone.
#[tokio::test]
async fn a_stream_that_is_not_read_leaves_other_namespaces_their_events() {
    const COUNT: u32 = 3000;
    for max_queue in [10_000_000, 100_000] {
        let io = Server::new();
        for nsp in ["/a", "/b"] {
            io.of(nsp).on("go", async |socket: Socket, count: u32| {
                for n in 0..count {
                    socket.emit("n", n);
                }
            });
        }
        let url = format!("{}/a", url(&io).await);
        let client = Client::builder(&url).max_queue(max_queue);
        let unread = soon(client.connect()).await.expect("connected");
        let other = soon(unread.manager().socket("/b").connect());
        let other = other.await.expect("connected");
        let (sender, mut got) = channel();
        other.on("n", async move |_: ClientSocket, n: u32| {
            _ = sender.send(n);
        });
        let mut events = unread.events();
        unread.emit("go", COUNT);
        other.emit("go", COUNT);
        for expected in 0..COUNT {
            assert_eq!(next(&mut got).await, expected);
        }
        // What was kept is there, in order, from the beginning.
        let kept = COUNT - u32::try_from(events.missed()).expect("few");
        assert_eq!(kept == COUNT, max_queue > 1_000_000);
        assert!(kept > 1024, "{kept}");
        for expected in 0..kept {
            let event = soon(events.next()).await.expect("an event");
            assert_eq!(event.decode::<u32>().ok(), Some(expected));
        }
        // Alone again, it waits for its reader and loses nothing.
        soon(other.disconnect()).await;
        let missed = events.missed();
        unread.emit("go", 2 * COUNT);
        for expected in 0..2 * COUNT {
            let event = soon(events.next()).await.expect("an event");
            assert_eq!(event.decode::<u32>().ok(), Some(expected));
        }
        assert_eq!(events.missed(), missed);
    }
}

// Room that is made while the task works is not forgotten when it goes to sleep.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_full_for_a_moment_goes_on() {
    const COUNT: u32 = 100_000;
    // All come in one answer, after which nothing wakes the task.
    let is_told = AtomicBool::new(false);
    let fake =
        Fake::start(
            move |head, _| match (head.contains("sid="), head.starts_with("POST")) {
                (false, _) => Reply::Http(200, "", open("abc", "")),
                (true, true) => Reply::Http(200, "", "ok".to_owned()),
                (true, false) if is_told.swap(true, Ordering::Relaxed) => Reply::Nothing,
                (true, false) => {
                    let events = (0..COUNT).map(|n| format!("\x1e42[\"n\",{n}]"));
                    let body = format!("40{{\"sid\":\"a\"}}{}", events.collect::<String>());
                    Reply::Http(200, "", body)
                }
            },
        )
        .await;
    let socket = builder(&fake.url, POLLING).build().expect("valid");
    let mut events = socket.events();
    soon(socket.connect()).await.expect("connected");
    for expected in 0..COUNT {
        // The task's own clock wakes it after 15 s.
        let event = timeout(Duration::from_secs(10), events.next()).await;
        let event = event.expect("in time").expect("an event");
        assert_eq!(event.decode::<u32>().ok(), Some(expected));
    }
}

// C013 of msgpack: both sides with the same parser.
#[tokio::test]
async fn another_parser_carries_everything_as_well() {
    let io = with_echo(Server::builder().parser(MsgpackParser::default()).build());
    let url = url(&io).await;
    for transports in ALL {
        let socket = builder(&url, transports).parser(MsgpackParser::default());
        let socket = soon(socket.connect()).await.expect("connected");
        let sent = (json!({"a": [1, "é"]}), Bytes::from_static(b"\x01\x02"));
        let answer: (Value, Bytes) = soon(socket.emit_with_ack("ack", &sent))
            .await
            .expect("an answer");
        assert_eq!(answer, sent);
    }
}
