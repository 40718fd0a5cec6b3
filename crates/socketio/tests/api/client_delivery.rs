//! What becomes of a client's events when the connection is not there, slow, or lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::client::{Ack, Client, ManagerEvent, Socket as ClientSocket, Version};
use socketio::{AckError, Args, EmitError, PerMessageDeflate, Recovery, Server, Socket, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{ALL, Log, POLLING, WEBSOCKET, builder, channel, echo_server, next, url};
use crate::fake::{Fake, Reply, open};
use crate::support::soon;

const MILLI: Duration = Duration::from_millis(1);

/// A server that hands on what it gets, as text.
fn collecting() -> (Server, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let io = Server::new();
    let (sender, receiver) = channel();
    io.on_any(async move |_: Socket, (name, args): (String, Args)| {
        _ = sender.send(format!("{name} {args:?}"));
    });
    io.on("n", async |_: Socket| {});
    (io, receiver)
}

// C025: and before the handlers of the connection.
#[tokio::test]
async fn what_is_emitted_before_the_connection_is_sent_first_and_in_order() {
    for transports in ALL {
        let (io, mut received) = collecting();
        let url = url(&io).await;
        let socket = builder(&url, transports).build().expect("valid");
        socket.on_connect(async |socket: ClientSocket| _ = socket.emit("connected", ()));
        for n in 0..3 {
            socket
                .emit("n", (n, Bytes::from_static(b"x")))
                .await
                .expect("kept");
        }
        soon(socket.connect()).await.expect("connected");
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(
                next(&mut received)
                    .await
                    .split(',')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        assert_eq!(
            all,
            ["n Args([0", "n Args([1", "n Args([2", "connected Args([]"]
        );
    }
}

// C025: over a lost connection.
#[tokio::test]
async fn what_is_emitted_between_two_connections_arrives_in_the_second() {
    let (io, mut received) = collecting();
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET)
        .reconnection_delay(MILLI)
        .build()
        .expect("valid");
    socket.on_disconnect(async |socket: ClientSocket, _| {
        assert!(!socket.is_connected() && socket.is_active());
        _ = socket.emit("n", 2);
    });
    soon(socket.connect()).await.expect("connected");
    socket.emit("n", 1);
    assert_eq!(next(&mut received).await, "n Args([1], 0 attachments)");
    socket.manager().break_off();
    assert_eq!(next(&mut received).await, "n Args([2], 0 attachments)");
    assert!(received.try_recv().is_err());
}

// C026
#[tokio::test]
async fn volatile_events_are_not_kept() {
    let (io, mut received) = collecting();
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET).build().expect("valid");
    socket.volatile().emit("n", 1).await.expect("dropped");
    socket.emit("n", 2);
    soon(socket.connect()).await.expect("connected");
    assert_eq!(next(&mut received).await, "n Args([2], 0 attachments)");
    socket.volatile().emit("n", 3);
    assert_eq!(next(&mut received).await, "n Args([3], 0 attachments)");
}

// C027
#[tokio::test]
async fn an_event_whose_time_is_over_before_the_connection_is_not_sent() {
    let (io, mut received) = collecting();
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET).build().expect("valid");
    let late = socket.timeout(MILLI).emit_with_ack::<()>("n", 1);
    let kept = socket.emit_with_ack::<()>("n", 2);
    let error = soon(late).await.expect_err("not sent");
    assert!(matches!(error, AckError::Timeout), "{error:?}");
    soon(socket.connect()).await.expect("connected");
    assert_eq!(next(&mut received).await, "n Args([2], 0 attachments)");
    soon(kept).await.expect("the answer to what was kept");
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let socket = Client::builder("http://127.0.0.1:1")
        .max_queue(1000)
        .build()
        .expect("valid");
    let text = "x".repeat(300);
    let mut kept = 0;
    let error = loop {
        match socket.emit("n", &text).now() {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EmitError::QueueFull), "{error:?}");
    assert_eq!(kept, 2);
    let error = socket.emit("connect", ()).now().expect_err("reserved");
    assert!(matches!(error, EmitError::Reserved(_)), "{error:?}");
}

#[tokio::test]
async fn where_nothing_waits_one_event_of_any_size_may() {
    for retries in [false, true] {
        let (io, mut received) = collecting();
        let url = url(&io).await;
        let mut builder = builder(&url, POLLING).max_queue(1000);
        if retries {
            builder = builder.retries(1).ack_timeout(Duration::from_secs(60));
        }
        let socket = builder.build().expect("valid");
        let text = "x".repeat(5000);
        let expected = format!("n Args([\"{text}\"], 0 attachments)");
        socket.emit("n", &text).now().expect("nothing waits");
        let second = socket.emit("n", &text).now();
        assert!(matches!(second, Err(EmitError::QueueFull)), "{second:?}");
        soon(socket.connect()).await.expect("connected");
        assert_eq!(next(&mut received).await, expected);
        // With retries it waits until it is answered.
        if !retries {
            socket.emit("n", &text).now().expect("nothing waits");
            assert_eq!(next(&mut received).await, expected);
        }
    }
}

// C031: n more tries, one event after the other.
#[tokio::test]
async fn events_are_tried_again_until_they_are_answered() {
    let io = Server::new();
    let (sender, mut received) = channel();
    let count = Arc::new(AtomicU32::new(0));
    io.on("n", async move |_: Socket, n: u32, ack: socketio::Ack| {
        _ = sender.send(n);
        // Each third try is answered.
        match count.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => ack.send(n),
            _ => drop(ack),
        }
    });
    io.on("silence", async |_: Socket, (): (), ack: socketio::Ack| {
        drop(ack)
    });
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET).retries(2).ack_timeout(30 * MILLI);
    let socket = soon(socket.connect()).await.expect("connected");
    let (first, second) = tokio::join!(
        socket.emit_with_ack::<u32>("n", 1),
        socket.emit_with_ack::<u32>("n", 2)
    );
    assert_eq!(
        (first.expect("an answer"), second.expect("an answer")),
        (1, 2)
    );
    let mut tries = Vec::new();
    while let Ok(n) = received.try_recv() {
        tries.push(n);
    }
    assert_eq!(tries, [1, 1, 1, 2, 2, 2]);
    let error = soon(socket.emit_with_ack::<()>("silence", ()))
        .await
        .expect_err("no answer");
    assert!(matches!(error, AckError::Timeout), "{error:?}");
    assert!(socket.is_connected());
}

// C031: what was not answered when the connection broke is sent again, before what came later.
#[tokio::test]
async fn events_that_are_tried_survive_a_lost_connection() {
    let io = Server::new();
    let (sender, mut received) = channel();
    let seen = Arc::new(AtomicU32::new(0));
    io.on(
        "n",
        async move |socket: Socket, n: u32, ack: socketio::Ack| {
            _ = sender.send(n);
            match seen.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    drop(ack);
                    socket.connection().close();
                }
                _ => ack.send(()),
            }
        },
    );
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET)
        .retries(3)
        .reconnection_delay(MILLI);
    let socket = socket.ack_timeout(Duration::from_secs(20)).connect();
    let socket = soon(socket).await.expect("connected");
    socket.emit("n", 1);
    socket.emit("n", 2);
    assert_eq!(next(&mut received).await, 1);
    assert_eq!(next(&mut received).await, 1);
    assert_eq!(next(&mut received).await, 2);
}

// C032, C035, M66: what was missed comes once, in order, before the handlers of the connection.
#[tokio::test]
async fn a_recovered_client_has_missed_nothing() {
    for transports in ALL {
        let io = Server::builder().recovery(Recovery::new()).build();
        let (joined, mut joins) = channel();
        io.on_connect(async move |socket: Socket| _ = joined.send(socket));
        let url = url(&io).await;
        let log = Log::default();
        let (sender, mut events) = channel();
        let seen = log.clone();
        let socket = builder(&url, transports)
            .reconnection_delay(MILLI)
            .on(
                "n",
                async move |_: ClientSocket, (n, _offset): (u32, Option<Value>)| {
                    seen.add(format!("n {n}"));
                    _ = sender.send(n);
                },
            )
            .build()
            .expect("valid");
        let seen = log.clone();
        socket.on_connect(async move |socket: ClientSocket| {
            seen.add(format!("connect {}", socket.is_recovered()));
        });
        let (gone, mut goings) = channel();
        let server = io.clone();
        socket.on_disconnect(async move |_: ClientSocket, _| {
            // Nobody is there to get these.
            for n in 2..5 {
                server.emit("n", n);
            }
            _ = gone.send(());
        });
        soon(socket.connect()).await.expect("connected");
        let first = next(&mut joins).await;
        let id = socket.id();
        io.emit("n", 1);
        assert_eq!(next(&mut events).await, 1);
        socket.manager().break_off();
        next(&mut goings).await;
        for n in 2..5 {
            assert_eq!(next(&mut events).await, n);
        }
        let second = next(&mut joins).await;
        assert!(second.is_recovered() && second.id() == first.id());
        io.emit("n", 5);
        assert_eq!(next(&mut events).await, 5);
        assert_eq!(socket.id(), id);
        assert_eq!(
            log.take(),
            [
                "connect false",
                "n 1",
                "n 2",
                "n 3",
                "n 4",
                "connect true",
                "n 5"
            ]
        );
    }
}

// C028: an answer is for the connection on which it was asked.
#[tokio::test]
async fn answers_of_a_lost_connection_fail() {
    let io = Server::new();
    io.on("silence", async |_: Socket, (): (), ack: socketio::Ack| {
        std::future::pending::<()>().await;
        drop(ack);
    });
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET).reconnection_delay(MILLI).connect();
    let socket = soon(socket).await.expect("connected");
    let answer = socket.emit_with_ack::<()>("silence", ());
    socket.manager().break_off();
    let error = soon(answer).await.expect_err("no answer");
    assert!(matches!(error, AckError::Disconnected), "{error:?}");
}

// C028: ids go on in the next connection, so that a late answer is nobody else's.
#[tokio::test]
async fn ids_of_answers_are_not_used_again() {
    let posts = Arc::new(Mutex::new(Vec::<String>::new()));
    let log = posts.clone();
    let fake = Fake::start(move |head, body| {
        let ok = |body: &str| Reply::Http(200, "", body.to_owned());
        let mut posts = log.lock();
        match (head.starts_with("POST"), head.contains("&sid=")) {
            (true, _) => {
                posts.push(body.to_owned());
                ok("ok")
            }
            (false, false) => ok(&open("a", "")),
            (false, true) => match posts.join(" ").as_str() {
                "40" => ok("40{\"sid\":\"x\"}"),
                "40 420[\"q\",1]" => {
                    posts.push("lost".to_owned());
                    Reply::Close
                }
                "40 420[\"q\",1] lost 40" => ok("40{\"sid\":\"y\"}"),
                "40 420[\"q\",1] lost 40 421[\"q\",2]" => {
                    posts.push("answered".to_owned());
                    ok("430[\"late\"]\x1e431[\"own\"]")
                }
                _ => ok("6"),
            },
        }
    });
    let fake = fake.await;
    let socket = builder(&fake.url, POLLING).reconnection_delay(MILLI);
    let socket = soon(socket.connect()).await.expect("connected");
    let (back, mut again) = channel();
    socket.on_connect(async move |_: ClientSocket| _ = back.send(()));
    let lost = soon(socket.emit_with_ack::<String>("q", 1)).await;
    assert!(matches!(lost, Err(AckError::Disconnected)), "{lost:?}");
    next(&mut again).await;
    let answer = soon(socket.emit_with_ack::<String>("q", 2)).await;
    assert_eq!(answer.expect("an answer"), "own");
}

#[tokio::test]
async fn a_message_that_the_server_would_not_take_is_refused_here() {
    let io = crate::client::with_echo(Server::builder().max_payload(10_000).build());
    let url = url(&io).await;
    for transports in [WEBSOCKET, POLLING] {
        let socket = soon(builder(&url, transports).connect())
            .await
            .expect("connected");
        let error = socket
            .emit("echo", "x".repeat(10_000))
            .now()
            .expect_err("too large");
        assert!(
            matches!(
                error,
                EmitError::TooLarge {
                    size: 10_013,
                    max: 10_000
                }
            ),
            "{error:?}"
        );
        // In polling bytes travel as base64.
        let bytes = socket.emit("echo", Bytes::from(vec![1; 9000])).now();
        assert_eq!(bytes.is_err(), transports == POLLING);
        let error = soon(socket.emit_with_ack::<()>("ack", "x".repeat(20_000))).await;
        assert!(
            matches!(error, Err(AckError::Emit(EmitError::TooLarge { .. }))),
            "{error:?}"
        );
        // The connection is none the worse for it.
        let answer: String = soon(socket.emit_with_ack("ack", "y".repeat(9000)))
            .await
            .expect("an answer");
        assert_eq!(answer.len(), 9000);
    }
}

// C037
#[tokio::test]
async fn many_messages_are_split_over_several_requests() {
    let io = Server::builder().max_payload(2000).build();
    let (sender, mut received) = channel();
    io.on(
        "n",
        async move |_: Socket, (n, _, _): (u32, String, Bytes)| _ = sender.send(n),
    );
    let url = url(&io).await;
    let socket = builder(&url, POLLING).build().expect("valid");
    for n in 0..200 {
        socket.emit("n", (n, "x".repeat(700), Bytes::from(vec![1; 300])));
    }
    soon(socket.connect()).await.expect("connected");
    for n in 0..200 {
        assert_eq!(next(&mut received).await, n);
    }
    assert!(socket.is_connected());
}

#[tokio::test]
async fn an_awaited_emit_waits_for_a_server_that_reads_slowly() {
    let io = Server::builder().max_running_handlers(1).build();
    let (go, goes) = tokio::sync::watch::channel(false);
    let (sender, mut received) = channel();
    io.on("n", async move |_: Socket, (n, _): (u32, String)| {
        let mut goes = goes.clone();
        goes.wait_for(|go| *go).await.expect("a sender");
        _ = sender.send(n);
    });
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET).max_queue(1_000_000).connect();
    let socket = soon(socket).await.expect("connected");
    let text = "x".repeat(50_000);
    // As much as the system takes, and then no more.
    let mut sent = 0;
    loop {
        let emit = std::pin::pin!(socket.emit("n", (sent, &text)));
        if tokio::time::timeout(100 * MILLI, emit).await.is_err() {
            sent += 1;
            break;
        }
        sent += 1;
    }
    let mut full = false;
    for _ in 0..40 {
        match socket.emit("n", (sent, &text)).now() {
            Ok(()) => sent += 1,
            Err(error) => {
                assert!(matches!(error, EmitError::QueueFull), "{error:?}");
                full = true;
                break;
            }
        }
    }
    assert!(full);
    // A volatile event does not add to it.
    socket
        .volatile()
        .emit("n", (u32::MAX, ""))
        .now()
        .expect("dropped");
    go.send(true).expect("a receiver");
    for n in 0..sent {
        assert_eq!(next(&mut received).await, n);
    }
    soon(socket.emit("n", (sent, ""))).await.expect("sent");
    assert_eq!(next(&mut received).await, sent);
}

#[tokio::test]
async fn a_handler_s_panic_ends_only_that_handler() {
    let io = echo_server();
    let url = url(&io).await;
    let socket = soon(Client::connect(&url)).await.expect("connected");
    let (sender, mut received) = channel();
    socket.on("echo", async |_: ClientSocket, n: u32| assert_ne!(n, 1));
    socket.on("echo", async |_: ClientSocket, n: String| drop(n));
    socket.on("echo", async move |_: ClientSocket, n: u32| {
        _ = sender.send(n)
    });
    for n in 0..3 {
        socket.emit("echo", n);
        assert_eq!(next(&mut received).await, n);
    }
}

// The client speaks to servers of Socket.IO 2, when it is told to.
#[tokio::test]
async fn version_2_is_spoken_when_asked_for() {
    let io = crate::client::with_echo(Server::builder().allow_eio3().build());
    io.of("/admin")
        .middleware(async |_: Socket, auth: Option<Value>| {
            match auth == Some(json!({"token": "a b+c&d"})) {
                true => Ok(()),
                false => Err(socketio::ConnectError::new("not authorized")),
            }
        });
    io.of("/admin")
        .on("ack", async |_: Socket, args: Args| args);
    io.on("ask me", async |socket: Socket| {
        let answer: u32 = socket
            .emit_with_ack("question", 20)
            .await
            .expect("an answer");
        socket.emit("answered", answer);
    });
    let url = url(&io).await;
    for transports in ALL {
        let (sender, mut received) = channel();
        let socket = builder(&url, transports)
            .version(Version::V2)
            .on("question", async |_: ClientSocket, n: u32, ack: Ack| {
                ack.send(n + 1)
            })
            .on("answered", async move |_: ClientSocket, n: u32| {
                _ = sender.send(n)
            })
            .connect();
        let socket = soon(socket).await.expect("connected");
        assert!(socket.id().is_some());
        let value = ("é€😀", Bytes::from_static(b"\0\x01"), json!({"a": [null]}));
        let answer: (String, Bytes, Value) = soon(socket.emit_with_ack("ack", &value))
            .await
            .expect("an answer");
        assert_eq!(
            (&*answer.0, &answer.1, &answer.2),
            (value.0, &value.1, &value.2)
        );
        socket.emit("ask me", ());
        assert_eq!(next(&mut received).await, 21);
        let admin = socket
            .manager()
            .socket("/admin")
            .auth(json!({"token": "a b+c&d"}))
            .connect();
        let admin = soon(admin).await.expect("connected");
        let answer: u32 = soon(admin.emit_with_ack("ack", 1))
            .await
            .expect("an answer");
        assert_eq!(answer, 1);
        let refused = soon(
            builder(&format!("{url}/admin"), transports)
                .version(Version::V2)
                .connect(),
        );
        assert_eq!(
            refused.await.expect_err("refused").message(),
            "not authorized"
        );
        soon(socket.manager().close()).await;
    }
    let new = soon(
        Client::builder(&url)
            .version(Version::V2)
            .transports([Transport::WebSocket])
            .connect(),
    );
    assert!(new.await.is_ok());
}

// In revision 3 the client asks whether the server is there.
#[tokio::test]
async fn a_silent_server_of_version_2_is_given_up() {
    let quick = r#"0{"sid":"a","upgrades":[],"pingInterval":20,"pingTimeout":20}"#;
    let fake =
        Fake::start(move |_, _| Reply::WebSocket(vec![quick.to_owned(), "40".to_owned()])).await;
    let socket = builder(&fake.url, WEBSOCKET)
        .version(Version::V2)
        .without_reconnection();
    let socket = socket.build().expect("valid");
    let (sender, mut gone) = channel();
    socket.on_disconnect(
        async move |_: ClientSocket, reason: socketio::client::Disconnected| {
            _ = sender.send(reason.reason().as_str());
        },
    );
    soon(socket.connect()).await.expect("connected");
    assert_eq!(next(&mut gone).await, "ping timeout");
}

// A namespace that is refused does not touch the others, and the connection goes with the last.
#[tokio::test]
async fn a_lost_namespace_does_not_touch_the_others() {
    let io = echo_server();
    io.of("/b")
        .on("leave me", async |socket: Socket| socket.disconnect());
    let url = url(&io).await;
    let main = soon(Client::connect(&url)).await.expect("connected");
    let (sender, mut closed) = channel();
    main.manager().on(move |event| {
        if let ManagerEvent::Closed(gone) = event {
            _ = sender.send(gone.reason().as_str());
        }
    });
    let other = soon(main.manager().socket("/b").connect())
        .await
        .expect("connected");
    let (gone, mut goings) = channel();
    other.on_disconnect(
        async move |_: ClientSocket, reason: socketio::client::Disconnected| {
            _ = gone.send(reason.reason().as_str());
        },
    );
    soon(main.manager().socket("/nowhere").connect())
        .await
        .expect_err("refused");
    other.emit("leave me", ());
    assert_eq!(next(&mut goings).await, "io server disconnect");
    let answer: u32 = soon(main.emit_with_ack("ack", 1)).await.expect("an answer");
    assert_eq!(answer, 1);
    // It can be joined again.
    soon(other.connect()).await.expect("connected");
    soon(main.disconnect()).await;
    assert!(other.is_connected() && closed.try_recv().is_err());
    soon(other.disconnect()).await;
    assert_eq!(next(&mut closed).await, "forced close");
}

// The client offers compression, the server uses it, in both directions and with and without context.
#[tokio::test]
async fn messages_are_compressed_if_both_sides_want_it() {
    let text = "compress me ".repeat(1000);
    for options in [
        PerMessageDeflate::new(),
        PerMessageDeflate::new()
            .server_context_takeover()
            .client_context_takeover(),
    ] {
        let io = crate::client::with_echo(Server::builder().per_message_deflate(options).build());
        let url = url(&io).await;
        let sent = |deflate| {
            let (url, text) = (url.clone(), text.clone());
            async move {
                let (client, counted) = counting(&url).await;
                let client = builder(&client, WEBSOCKET);
                let client = if deflate {
                    client.per_message_deflate()
                } else {
                    client
                };
                let socket = soon(client.connect()).await.expect("connected");
                for n in 0..5 {
                    let value = (n, text.clone(), Bytes::from(vec![7; 5000]), "short");
                    type Answer = (u32, String, Bytes, String);
                    let answer: Answer = soon(socket.emit_with_ack("ack", &value))
                        .await
                        .expect("an answer");
                    assert_eq!((answer.0, &answer.1, &answer.2), (n, &text, &value.2));
                }
                counted.load(Ordering::Relaxed)
            }
        };
        let (plain, compressed) = (sent(false).await, sent(true).await);
        assert!(
            plain > 170_000 && compressed < plain / 20,
            "{plain} {compressed}"
        );
    }
}

/// A way to a server on which bytes in both directions are counted.
async fn counting(url: &str) -> (String, Arc<AtomicU32>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let here = format!("http://{}", listener.local_addr().expect("an address"));
    let counted = Arc::new(AtomicU32::new(0));
    let (server, count) = (url["http://".len()..].to_owned(), counted.clone());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut server = tokio::net::TcpStream::connect(server)
            .await
            .expect("a server");
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::join!(
            pump(&mut from_client, &mut to_server, &count),
            pump(&mut from_server, &mut to_client, &count)
        );
    });
    (here, counted)
}

async fn pump(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    count: &AtomicU32,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(n as u32, Ordering::Relaxed);
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
