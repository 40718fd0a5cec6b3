//! How a client connects, fails to, and connects again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::client::{Client, ClientBuilder, ManagerEvent, Socket as ClientSocket, Version};
use socketio::{ConnectError, DisconnectReason, Server, Socket, Transport};

use crate::client::{ALL, Log, POLLING, WEBSOCKET, builder, channel, echo_server, next, url};
use crate::fake::{Fake, Reply, header, open};
use crate::support::{listen, soon};

const MILLI: Duration = Duration::from_millis(1);

/// Connects again at once.
fn quick(url: &str, transports: &[Transport]) -> ClientBuilder {
    builder(url, transports)
        .reconnection_delay(MILLI)
        .reconnection_delay_max(MILLI)
}

/// The lifecycle of a socket and its connection, as it is told.
fn watch(socket: &ClientSocket) -> (Log, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let log = Log::default();
    let (sender, receiver) = channel();
    let add = {
        let log = log.clone();
        move |entry: String| {
            log.add(entry.clone());
            let _ = sender.send(entry);
        }
    };
    let add = Arc::new(add);
    let tell = add.clone();
    socket.on_connect(async move |_: ClientSocket| tell("connect".to_owned()));
    let tell = add.clone();
    socket.on_connect_error(
        async move |_: ClientSocket, error: socketio::client::ConnectError| {
            tell(format!("connect_error {}", error.message()));
        },
    );
    let tell = add.clone();
    socket.on_disconnect(
        async move |_: ClientSocket, gone: socketio::client::Disconnected| {
            tell(format!("disconnect {}", gone.reason()));
        },
    );
    socket.manager().on(move |event| {
        let text = match event {
            ManagerEvent::Open => "open".to_owned(),
            ManagerEvent::Error(error) => format!("error {}", error.message()),
            ManagerEvent::Closed(gone) => format!("close {}", gone.reason()),
            ManagerEvent::Ping => return,
            ManagerEvent::UpgradeFailed(_) => "upgrade failed".to_owned(),
            ManagerEvent::Upgraded(_) => "upgraded".to_owned(),
            ManagerEvent::ReconnectAttempt(n) => format!("reconnect_attempt {n}"),
            ManagerEvent::Reconnected(n) => format!("reconnect {n}"),
            ManagerEvent::ReconnectError => "reconnect_error".to_owned(),
            ManagerEvent::ReconnectFailed => "reconnect_failed".to_owned(),
            other => format!("{other:?}"),
        };
        add(text);
    });
    (log, receiver)
}

async fn until(events: &mut tokio::sync::mpsc::UnboundedReceiver<String>, wanted: &str) {
    while next(events).await != wanted {}
}

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

// --- Requests ---

// C005, C006, C042, M34
#[tokio::test]
async fn requests_have_the_path_and_query_that_are_asked_for() {
    let fake = Fake::start(|_, _| Reply::Http(404, "", String::new())).await;
    let target = async |build: &dyn Fn(ClientBuilder) -> ClientBuilder| {
        let client = build(builder(&format!("{}/?own=1&x=a%20b", fake.url), POLLING));
        soon(client.connect()).await.expect_err("no server");
        let targets = fake.targets();
        targets.last().expect("a request").clone()
    };
    let plain = target(&|client| client).await;
    let (start, rest) = plain.split_once("&t=").expect("a time stamp");
    assert_eq!(start, "GET /socket.io/?EIO=4&transport=polling");
    assert_eq!(&rest[8..], "&own=1&x=a%20b");
    let other = target(&|client| {
        client
            .path("/my-custom-path")
            .query("k", "v&w")
            .without_timestamps()
    });
    assert_eq!(
        other.await,
        "GET /my-custom-path/?EIO=4&transport=polling&own=1&x=a%20b&k=v%26w"
    );
    let bare = target(&|client| {
        client
            .path("x/")
            .without_trailing_slash()
            .without_timestamps()
    });
    assert!(bare.await.starts_with("GET /x?EIO=4&"));
    let old = target(&|client| client.version(Version::V2).without_timestamps());
    assert!(
        old.await
            .starts_with("GET /socket.io/?EIO=3&transport=polling&b64=1&")
    );
    let base64 = target(&|client| client.force_base64().without_timestamps());
    assert!(
        base64
            .await
            .starts_with("GET /socket.io/?EIO=4&transport=polling&b64=1&")
    );
    let websocket = target(&|client| client.transports([Transport::WebSocket]));
    assert_eq!(
        websocket.await,
        "GET /socket.io/?EIO=4&transport=websocket&own=1&x=a%20b"
    );
}

// C038: sticky sessions work: the cookie comes back with each request and with the WebSocket.
#[tokio::test]
async fn headers_and_cookies_are_sent_with_every_request() {
    let fake = Fake::start(|head, body| {
        if head.contains("transport=websocket") {
            return Reply::Http(400, "", String::new());
        }
        match (head.contains("sid="), body) {
            (false, _) => {
                let open = open("abc", "\"websocket\"");
                Reply::Http(200, "Set-Cookie: SERVER=a; Path=/; HttpOnly\r\n", open)
            }
            (true, "") => Reply::Nothing,
            (true, _) => Reply::Http(200, "", "ok".to_owned()),
        }
    })
    .await;
    let client = Client::builder(&fake.url)
        .header("X-Tenant", "7")
        .header("Cookie", "own=1");
    let socket = client.build().expect("valid");
    let (_, mut events) = watch(&socket);
    let connecting = socket.connect();
    until(&mut events, "upgrade failed").await;
    drop(connecting);
    let (first, later): (Vec<_>, Vec<_>) = fake
        .requests()
        .into_iter()
        .partition(|head| !head.contains("sid="));
    assert_eq!(first.len(), 1);
    assert_eq!(header(&first[0], "cookie"), Some("own=1"));
    // The GET that waits, CONNECT and the WebSocket.
    assert!(later.len() >= 2, "{later:?}");
    for head in &later {
        assert_eq!(header(head, "x-tenant"), Some("7"), "{head}");
        assert_eq!(header(head, "cookie"), Some("own=1; SERVER=a"), "{head}");
    }
}

// C002
#[tokio::test]
async fn websocket_alone_needs_no_polling_request() {
    let (sender, mut requests) = channel();
    let builder = Server::builder().allow_request(async move |request: socketio::RequestInfo| {
        let _ = sender.send(request.uri.to_string());
        Ok(())
    });
    let url = url(&builder.build()).await;
    let socket = self::builder(&url, WEBSOCKET).connect();
    let socket = soon(socket).await.expect("connected");
    assert_eq!(socket.manager().transport(), Some(Transport::WebSocket));
    assert_eq!(
        next(&mut requests).await,
        "/socket.io/?EIO=4&transport=websocket"
    );
    assert!(requests.try_recv().is_err());
}

// C004, M58: the session goes on with polling.
#[tokio::test]
async fn a_failed_upgrade_does_no_harm() {
    let fake = Fake::start(|head, body| {
        if head.contains("transport=websocket") {
            return Reply::Http(502, "", "<html>bad gateway</html>".to_owned());
        }
        match (head.contains("sid="), body) {
            (false, _) => Reply::Http(200, "", open("abc", "\"websocket\"")),
            (true, "") if head.starts_with("GET") => {
                Reply::Http(200, "", "40{\"sid\":\"x\"}\x1e2".to_owned())
            }
            (true, _) => Reply::Http(200, "", "ok".to_owned()),
        }
    })
    .await;
    let socket = Client::builder(&fake.url).build().expect("valid");
    let (sender, mut failed) = channel();
    socket.manager().on(move |event| {
        if let ManagerEvent::UpgradeFailed(error) = event {
            let _ = sender.send(error.clone());
        }
    });
    soon(socket.connect()).await.expect("connected");
    let error = next(&mut failed).await;
    assert!(
        error.starts_with("websocket error: the server answered 502"),
        "{error}"
    );
    assert!(socket.is_connected());
    assert_eq!(socket.manager().transport(), Some(Transport::Polling));
}

// io.socket's server in Java knows a session a moment after it has told it, as any may that writes its
// answer first.
#[tokio::test]
async fn a_session_is_used_a_moment_after_it_was_told() {
    let told = Mutex::new(None);
    let fake = Fake::start(move |head, body| {
        if !head.contains("sid=") {
            *told.lock() = Some(Instant::now());
            return Reply::Http(200, "", open("abc", "\"websocket\""));
        }
        let told = told.lock().expect("a session");
        let answer = match (told.elapsed() < MILLI, body) {
            (true, _) => {
                let unknown = r#"{"code":1,"message":"Session ID unknown"}"#;
                return Reply::Http(400, "", unknown.to_owned());
            }
            (false, "") => "40{\"sid\":\"x\"}\x1e2",
            (false, _) => "ok",
        };
        Reply::Http(200, "", answer.to_owned())
    })
    .await;
    let socket = Client::builder(&fake.url).build().expect("valid");
    soon(socket.connect()).await.expect("connected");
}

// C039
#[tokio::test]
async fn an_upgrade_is_remembered_until_an_error() {
    let io = echo_server();
    let url = url(&io).await;
    let socket = quick(&url, &[Transport::Polling, Transport::WebSocket]).remember_upgrade();
    let socket = socket.build().expect("valid");
    let (_, mut events) = watch(&socket);
    soon(socket.connect()).await.expect("connected");
    until(&mut events, "upgraded").await;
    socket.manager().break_off();
    until(&mut events, "connect").await;
    assert_eq!(socket.manager().transport(), Some(Transport::WebSocket));
}

// C040
#[tokio::test]
async fn the_next_transport_is_tried_at_once_if_wanted() {
    let builder = Server::builder().transports([Transport::Polling]);
    let url = url(&builder.build()).await;
    let both = [Transport::WebSocket, Transport::Polling];
    let socket = self::builder(&url, &both).try_all_transports().connect();
    let socket = soon(socket).await.expect("connected");
    assert_eq!(socket.manager().transport(), Some(Transport::Polling));
    let error = soon(self::builder(&url, &both).connect()).await;
    assert_eq!(
        error.expect_err("no WebSocket").message(),
        "websocket error"
    );
}

// --- Failures ---

// C010, M02, M03, M04
#[tokio::test]
async fn a_polling_error_has_status_body_and_hint() {
    let io = Server::builder().path("/elsewhere").build();
    let address = listen(&io).await;
    let error = soon(builder(&format!("http://{address}"), POLLING).connect()).await;
    let error = error.expect_err("another path");
    assert_eq!(
        (error.message(), error.status()),
        ("xhr poll error", Some(404))
    );
    assert!(error.hint().expect("a hint").contains("`path`"));
    assert!(!error.is_refused());
    let error = soon(builder(&nowhere().await, POLLING).connect()).await;
    let error = error.expect_err("nobody listens");
    assert_eq!((error.message(), error.status()), ("xhr poll error", None));
    assert!(
        error
            .detail()
            .expect("a detail")
            .contains("cannot be reached")
    );
    assert!(
        error
            .hint()
            .expect("a hint")
            .contains("is the server running")
    );
    let io = Server::builder().transports([Transport::WebSocket]).build();
    let error = soon(builder(&url(&io).await, POLLING).connect()).await;
    let error = error.expect_err("no polling");
    assert_eq!(
        error.body(),
        Some(r#"{"code":0,"message":"Transport unknown"}"#)
    );
    assert!(error.hint().expect("a hint").contains("`transports`"));
}

// C011
#[tokio::test]
async fn a_websocket_error_says_what_it_knows() {
    let io = Server::builder()
        .path("/elsewhere")
        .destroy_upgrade(Some(MILLI))
        .build();
    let error = soon(builder(&url(&io).await, WEBSOCKET).connect()).await;
    assert_eq!(
        error.expect_err("another path").message(),
        "websocket error"
    );
    let fake = Fake::start(|_, _| Reply::Http(200, "", "<html></html>".to_owned())).await;
    let error = soon(builder(&fake.url, WEBSOCKET).connect()).await;
    let error = error.expect_err("no WebSocket");
    assert_eq!(
        (error.message(), error.status()),
        ("websocket error", Some(200))
    );
    assert!(error.hint().expect("a hint").contains("`Upgrade`"));
    let allow = Server::builder().allow_request(async |_| Err(socketio::Forbidden::default()));
    let error = soon(builder(&url(&allow.build()).await, WEBSOCKET).connect()).await;
    let error = error.expect_err("forbidden");
    assert_eq!(
        (error.status(), error.body()),
        (Some(400), Some("Forbidden"))
    );
    assert!(error.hint().is_some());
}

// C012
#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let fake = Fake::start(|_, _| Reply::Nothing).await;
    for transports in ALL {
        let client = builder(&fake.url, transports).timeout(50 * MILLI);
        let error = soon(client.connect()).await.expect_err("no answer");
        assert_eq!(error.message(), "timeout");
        assert!(error.hint().is_some());
    }
}

// C013, C044
#[tokio::test]
async fn a_refused_client_learns_why_and_does_not_try_again() {
    let io = Server::new();
    io.of("/guarded")
        .middleware(async |_: Socket, auth: Value| match auth["token"] == "ok" {
            true => Ok(()),
            false => Err(ConnectError::new("not authorized").with_data(json!({"code": 42}))),
        });
    let url = url(&io).await;
    for transports in ALL {
        let socket = quick(&format!("{url}/guarded"), transports).auth(json!({"token": "no"}));
        let socket = socket.build().expect("valid");
        let (log, mut events) = watch(&socket);
        let error = soon(socket.connect()).await.expect_err("refused");
        assert_eq!(error.message(), "not authorized");
        assert_eq!(error.data(), Some(&json!({"code": 42})));
        assert!(error.is_refused() && !socket.is_active());
        until(&mut events, "close forced close").await;
        let told: Vec<_> = log
            .take()
            .into_iter()
            .filter(|told| told != "upgraded")
            .collect();
        assert_eq!(
            told,
            ["open", "connect_error not authorized", "close forced close"]
        );
    }
    // With other words it may come in.
    let socket = Client::builder(format!("{url}/guarded"))
        .build()
        .expect("valid");
    soon(socket.connect()).await.expect_err("refused");
    socket.set_auth(json!({"token": "ok"})).expect("an object");
    soon(socket.connect()).await.expect("let in");
    let error = soon(Client::connect(format!("{url}/nowhere"))).await;
    let error = error.expect_err("no such namespace");
    assert_eq!(error.message(), "Invalid namespace");
    assert!(error.hint().expect("a hint").contains("namespace"));
}

// C044: an old server is named as what it is.
#[tokio::test]
async fn a_server_of_version_2_is_recognised() {
    let fake = Fake::start(|_, _| Reply::WebSocket(vec![open("a", ""), "40".to_owned()])).await;
    let error = soon(builder(&fake.url, WEBSOCKET).connect()).await;
    let error = error.expect_err("too old");
    assert!(
        error
            .message()
            .starts_with("It seems you are trying to reach a Socket.IO server in v2.x")
    );
    assert!(error.hint().expect("a hint").contains("Version::V2"));
}

// C009: asked anew for each connection.
#[tokio::test]
async fn auth_is_provided_at_each_attempt() {
    let io = Server::new();
    let (sender, mut tokens) = channel();
    io.on_connect(async move |_: Socket, auth: Value| _ = sender.send(auth));
    let url = url(&io).await;
    let count = Arc::new(AtomicU32::new(0));
    let socket = quick(&url, WEBSOCKET).auth_with(async move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        match n {
            1 => Err("the token service is away".to_owned()),
            n => Ok(json!({ "token": n })),
        }
    });
    let socket = socket.build().expect("valid");
    let (log, _events) = watch(&socket);
    soon(socket.connect()).await.expect("connected");
    assert_eq!(next(&mut tokens).await, json!({"token": 0}));
    log.take();
    socket.manager().break_off();
    assert_eq!(next(&mut tokens).await, json!({"token": 2}));
    soon(socket.connect()).await.expect("connected");
    assert_eq!(
        log.take(),
        [
            "close forced close",
            "disconnect forced close",
            "reconnect_attempt 1",
            "open",
            "reconnect 1",
            "close forced close",
            "connect_error the token service is away",
            "reconnect_attempt 1",
            "open",
            "reconnect 1",
            "connect",
        ]
    );
}

#[tokio::test]
async fn options_that_cannot_be_used_are_named() {
    let error = |client: ClientBuilder| client.build().expect_err("wrong").to_string();
    assert_eq!(
        error(Client::builder("x").transports([])).split(':').next(),
        Some("the URL \"x\" cannot be used")
    );
    assert_eq!(error(builder("http://a", &[])), "No transports available");
    assert_eq!(
        error(Client::builder("http://a").auth([1, 2])),
        "auth has to be a JSON object such as {\"token\": \"..\"}, not [1,2]"
    );
    assert_eq!(
        error(Client::builder("http://a").header("x\n", "y")),
        "the header \"x\n\" cannot be sent: its name has characters that no header has"
    );
    assert_eq!(
        error(Client::builder("http://a").header("Upgrade", "h2c")),
        "the header \"Upgrade\" cannot be sent: the client sets it by itself"
    );
    assert!(error(Client::builder("http://a").proxy("ftp://u:secret@b")).ends_with("unlike \"b\""));
    assert!(
        error(Client::builder("http://a").root_certificate("/nowhere.pem"))
            .starts_with("/nowhere.pem: ")
    );
}

// --- Reconnection ---

// C014, C017, C046, M38, M64, M65: the same handlers, a new id, and nothing is kept for the old one.
#[tokio::test]
async fn a_lost_connection_comes_back_by_itself() {
    let io = echo_server();
    let url = url(&io).await;
    for transports in ALL {
        let (sender, mut echoes) = channel();
        let socket = quick(&url, transports).build().expect("valid");
        socket.on("echo", async move |_: ClientSocket, n: u32| {
            _ = sender.send(n)
        });
        let (log, mut events) = watch(&socket);
        soon(socket.connect()).await.expect("connected");
        let before = socket.id();
        socket.emit("echo", 1);
        assert_eq!(next(&mut echoes).await, 1);
        io.close_connections();
        until(&mut events, "reconnect 1").await;
        until(&mut events, "connect").await;
        assert!(socket.id().is_some() && socket.id() != before);
        io.to(before.expect("an id").as_str()).emit("echo", 99);
        socket.emit("echo", 2);
        assert_eq!(next(&mut echoes).await, 2);
        assert!(echoes.try_recv().is_err(), "each handler runs once");
        let told: Vec<_> = log
            .take()
            .into_iter()
            .filter(|told| !told.starts_with("upgrade"))
            .collect();
        // Over polling the server may find nobody to say goodbye to.
        let reason = match told[2].ends_with("error") && transports[0] == Transport::Polling {
            true => "transport error",
            false => "transport close",
        };
        assert_eq!(
            told,
            [
                "open",
                "connect",
                &format!("close {reason}"),
                &format!("disconnect {reason}"),
                "reconnect_attempt 1",
                "open",
                "reconnect 1",
                "connect",
            ]
        );
        soon(socket.disconnect()).await;
    }
}

// M64, M67: a socket's id is new with each connection; one of the application's own comes by `auth`
// or by a cookie, and is a room.
#[tokio::test]
async fn an_id_of_the_application_s_own_survives() {
    let io = echo_server();
    io.middleware(async |socket: Socket, auth: Value| {
        let cookie = socket.handshake().header("cookie");
        let cookie = cookie.and_then(|cookie| cookie.strip_prefix("session="));
        let session = auth["session"].as_str().or(cookie);
        socket.join(session.ok_or_else(|| ConnectError::new("who are you?"))?);
        Ok::<_, ConnectError>(())
    });
    let url = url(&io).await;
    for transports in ALL {
        let by_auth = quick(&url, transports).auth(json!({ "session": "ada" }));
        let by_cookie = quick(&url, transports)
            .auth(json!({}))
            .header("Cookie", "session=ada");
        for client in [by_auth, by_cookie] {
            let (sender, mut news) = channel();
            let socket = client
                .on("news", async move |_: ClientSocket, n: u32| {
                    _ = sender.send(n)
                })
                .build()
                .expect("valid");
            let (_, mut events) = watch(&socket);
            soon(socket.connect()).await.expect("connected");
            let before = socket.id();
            io.to("ada").emit("news", 1);
            assert_eq!(next(&mut news).await, 1);
            io.close_connections();
            until(&mut events, "reconnect 1").await;
            until(&mut events, "connect").await;
            assert_ne!(socket.id(), before);
            io.to("ada").emit("news", 2);
            assert_eq!(next(&mut news).await, 2);
            soon(socket.disconnect()).await;
        }
    }
    let nobody = builder(&url, WEBSOCKET)
        .auth(json!({}))
        .without_reconnection();
    let error = soon(nobody.connect()).await.expect_err("no id");
    assert_eq!(error.message(), "who are you?");
}

// C046, M38: the server itself is gone and comes back; handlers are there once.
#[tokio::test]
async fn a_server_that_is_started_again_is_found() {
    for transports in ALL {
        let io = echo_server();
        let listening = io.listen("127.0.0.1:0").await.expect("a free port");
        let address = listening.local_addr().expect("an address");
        tokio::spawn(async move { listening.await });
        let (sender, mut echoes) = channel();
        let socket = quick(&format!("http://{address}"), transports)
            .on("echo", async move |_: ClientSocket, n: u32| {
                _ = sender.send(n)
            })
            .build()
            .expect("valid");
        socket.on_connect(async |socket: ClientSocket| drop(socket.emit("echo", 1)));
        let (_, mut events) = watch(&socket);
        soon(socket.connect()).await.expect("connected");
        assert_eq!(next(&mut echoes).await, 1);
        io.close().await;
        until(&mut events, "reconnect_error").await;
        assert!(!socket.is_connected() && socket.is_active());
        // Port and address are the same; the sessions are not.
        let io = echo_server();
        let listening = soon(async {
            loop {
                match io.listen(address).await {
                    Ok(listening) => return listening,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        let listening = listening.await;
        tokio::spawn(async move { listening.await });
        until(&mut events, "connect").await;
        socket.emit("echo", 2);
        assert_eq!(next(&mut echoes).await, 1);
        assert_eq!(next(&mut echoes).await, 2);
        assert!(echoes.try_recv().is_err(), "each handler runs once");
        soon(socket.disconnect()).await;
    }
}

// C015: between two attempts nothing is done; the first comes no sooner than it should.
#[tokio::test]
async fn a_client_without_a_server_rests_between_attempts() {
    let pause = Duration::from_millis(100);
    let socket = builder(&nowhere().await, WEBSOCKET)
        .reconnection_delay(pause)
        .reconnection_delay_max(pause)
        .randomization_factor(0.0)
        .reconnection_attempts(3);
    let socket = socket.build().expect("valid");
    let (log, mut events) = watch(&socket);
    let metrics = tokio::runtime::Handle::current().metrics();
    let (begin, busy) = (
        std::time::Instant::now(),
        metrics.worker_total_busy_duration(0),
    );
    soon(socket.connect()).await.expect_err("nobody listens");
    until(&mut events, "reconnect_failed").await;
    let (elapsed, busy) = (
        begin.elapsed(),
        metrics.worker_total_busy_duration(0) - busy,
    );
    assert!(elapsed >= 3 * pause, "{elapsed:?}");
    assert!(busy < elapsed / 2, "busy for {busy:?} of {elapsed:?}");
    let errors = log.take();
    let errors = errors.iter().filter(|told| told.starts_with("error"));
    assert_eq!(errors.count(), 4);
}

// C016, C017: in the reference's order.
#[tokio::test]
async fn after_so_many_attempts_it_gives_up() {
    let socket = quick(&nowhere().await, WEBSOCKET).reconnection_attempts(2);
    let socket = socket.build().expect("valid");
    let (log, mut events) = watch(&socket);
    let mut stream = socket.events();
    soon(socket.connect()).await.expect_err("nobody listens");
    until(&mut events, "reconnect_failed").await;
    until(&mut events, "reconnect_error").await;
    let failed = ["connect_error websocket error", "error websocket error"];
    let expected = [
        &failed[..],
        &["reconnect_attempt 1"],
        &failed,
        &["reconnect_error", "reconnect_attempt 2"],
        &failed,
        &["reconnect_failed", "reconnect_error"],
    ];
    assert_eq!(log.take(), expected.concat());
    assert!(!socket.is_active());
    assert!(soon(stream.next()).await.is_none());
}

// C018
#[tokio::test]
async fn without_reconnection_there_is_one_attempt() {
    let socket = builder(&nowhere().await, WEBSOCKET).without_reconnection();
    let socket = socket.build().expect("valid");
    let (log, _events) = watch(&socket);
    soon(socket.connect()).await.expect_err("nobody listens");
    soon(socket.manager().close()).await;
    assert_eq!(
        log.take(),
        ["connect_error websocket error", "error websocket error"]
    );
    assert!(!socket.is_active());
}

// C019, C020, M43
#[tokio::test]
async fn a_client_that_was_sent_away_waits_to_be_asked() {
    let io = Server::new();
    io.on(
        "leave me",
        async |socket: Socket, close: bool| match close {
            true => socket.disconnect_and_close(),
            false => socket.disconnect(),
        },
    );
    let url = url(&io).await;
    let socket = quick(&url, WEBSOCKET).build().expect("valid");
    let (log, mut events) = watch(&socket);
    soon(socket.connect()).await.expect("connected");
    for close in [false, true] {
        socket.emit("leave me", close);
        until(&mut events, "close forced close").await;
        assert_eq!(
            log.take(),
            [
                "open",
                "connect",
                "disconnect io server disconnect",
                "close forced close"
            ]
        );
        assert!(!socket.is_active());
        soon(socket.connect()).await.expect("connected");
        assert!(socket.is_connected());
    }
}

// C019, C021, M43: and it stays away.
#[tokio::test]
async fn who_disconnects_does_not_come_back() {
    let io = Server::new();
    let (sender, mut reasons) = channel();
    io.on_disconnect(async move |_: Socket, reason: DisconnectReason| _ = sender.send(reason));
    let url = url(&io).await;
    for transports in ALL {
        let socket = quick(&url, transports).build().expect("valid");
        let (log, mut events) = watch(&socket);
        soon(socket.connect()).await.expect("connected");
        socket.emit("last words", "x".repeat(100_000));
        soon(socket.disconnect()).await;
        assert_eq!(
            next(&mut reasons).await,
            DisconnectReason::ClientNamespaceDisconnect
        );
        until(&mut events, "close forced close").await;
        let told: Vec<_> = log
            .take()
            .into_iter()
            .filter(|told| !told.starts_with("upgrade"))
            .collect();
        assert_eq!(
            told,
            [
                "open",
                "connect",
                "disconnect io client disconnect",
                "close forced close"
            ]
        );
        assert!(!socket.is_active() && !socket.is_connected());
    }
}

// C045: also while it is being tried.
#[tokio::test]
async fn disconnecting_ends_the_attempts() {
    let socket = builder(&nowhere().await, WEBSOCKET).build().expect("valid");
    let (log, _events) = watch(&socket);
    soon(socket.connect()).await.expect_err("nobody listens");
    let again = socket.connect();
    soon(socket.disconnect()).await;
    let error = soon(again).await.expect_err("disconnected");
    assert_eq!(error.message(), "io client disconnect");
    assert!(!socket.is_active());
    assert_eq!(
        log.take(),
        ["connect_error websocket error", "error websocket error"]
    );
}

// C048
#[tokio::test]
async fn nothing_happens_before_connect() {
    let fake = Fake::start(|_, _| Reply::Close).await;
    let socket = Client::builder(&fake.url).build().expect("valid");
    socket.emit("early", 1);
    tokio::task::yield_now().await;
    assert!(!socket.is_active() && fake.requests().is_empty());
}

// C047
#[tokio::test]
async fn settings_can_be_changed_at_run_time() {
    const HOUR: Duration = Duration::from_secs(3600);
    let silent = Fake::start(|_, _| Reply::Nothing).await;
    let socket = builder(&silent.url, WEBSOCKET)
        .timeout(HOUR)
        .reconnection_delay(HOUR)
        .reconnection_delay_max(HOUR)
        .randomization_factor(1.0);
    let socket = socket.build().expect("valid");
    let (log, mut events) = watch(&socket);
    let manager = socket.manager();
    manager.set_timeout(50 * MILLI);
    manager.set_reconnection_delay(50 * MILLI);
    manager.set_reconnection_delay_max(50 * MILLI);
    manager.set_randomization_factor(0.0);
    manager.set_reconnection_attempts(2);
    let begin = std::time::Instant::now();
    soon(socket.connect()).await.expect_err("nobody answers");
    until(&mut events, "reconnect_error").await;
    until(&mut events, "reconnect_error").await;
    // Three attempts of 50 ms each, and two pauses of 50 ms that nothing was taken off from.
    assert!(begin.elapsed() >= 250 * MILLI);
    let failed = ["connect_error timeout", "error timeout"];
    let expected = [
        &failed[..],
        &["reconnect_attempt 1"],
        &failed,
        &["reconnect_error", "reconnect_attempt 2"],
        &failed,
        &["reconnect_failed", "reconnect_error"],
    ];
    assert_eq!(log.take(), expected.concat());
    // While it is connected, too.
    let io = echo_server();
    let socket = quick(&url(&io).await, WEBSOCKET).build().expect("valid");
    let (log, mut events) = watch(&socket);
    for enabled in [true, false] {
        soon(socket.connect()).await.expect("connected");
        socket.manager().set_reconnection(enabled);
        io.close_connections();
        let last = match enabled {
            true => "connect",
            false => "disconnect transport close",
        };
        until(&mut events, "close transport close").await;
        until(&mut events, last).await;
        assert_eq!(socket.is_active(), enabled);
    }
    assert!(!log.take().contains(&"reconnect_attempt 2".to_owned()));
}

// --- What ends a connection ---

// C019, C036: the sum of both times after the last sign of life.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let silent =
        r#"0{"sid":"a","upgrades":[],"pingInterval":30,"pingTimeout":20,"maxPayload":1000}"#;
    let fake = Fake::start(move |_, _| {
        Reply::WebSocket(vec![silent.to_owned(), "40{\"sid\":\"x\"}".to_owned()])
    });
    let fake = fake.await;
    let socket = builder(&fake.url, WEBSOCKET)
        .without_reconnection()
        .build()
        .expect("valid");
    let (_, mut events) = watch(&socket);
    soon(socket.connect()).await.expect("connected");
    until(&mut events, "disconnect ping timeout").await;
}

// C036: handlers that wait, or are many, do not keep the heartbeat from being answered.
#[tokio::test]
async fn a_slow_handler_misses_no_ping() {
    let builder = Server::builder()
        .ping_interval(10 * MILLI)
        .ping_timeout(Duration::from_secs(10));
    let io = builder.build();
    let url = url(&io).await;
    for transports in ALL {
        let (sender, mut ended) = channel();
        let socket = self::builder(&url, transports)
            .max_running_handlers(2)
            .on("work", async move |socket: ClientSocket| {
                // Until the server has asked several times more.
                let (pinged, mut pings) = channel();
                socket.manager().on(move |event| {
                    if let ManagerEvent::Ping = event {
                        let _ = pinged.send(());
                    }
                });
                for _ in 0..15 {
                    next(&mut pings).await;
                }
                let _ = sender.send(socket.is_connected());
            })
            .build()
            .expect("valid");
        let (log, _events) = watch(&socket);
        soon(socket.connect()).await.expect("connected");
        for _ in 0..10 {
            io.emit("work", ());
        }
        for _ in 0..10 {
            assert!(next(&mut ended).await);
        }
        assert!(!log.take().iter().any(|told| told.starts_with("disconnect")));
        soon(socket.disconnect()).await;
    }
}

// C043
#[tokio::test]
async fn what_is_no_packet_ends_the_connection_with_its_reason() {
    let connected = || vec![open("a", ""), "40{\"sid\":\"x\"}".to_owned()];
    for (bad, reason) in [
        ("49", "disconnect parse error"),
        ("42{}", "disconnect parse error"),
        ("9", "disconnect transport error"),
    ] {
        let fake =
            Fake::start(move |_, _| Reply::WebSocket([connected(), vec![bad.to_owned()]].concat()));
        let fake = fake.await;
        let socket = builder(&fake.url, WEBSOCKET)
            .without_reconnection()
            .build()
            .expect("valid");
        let (_, mut events) = watch(&socket);
        soon(socket.connect()).await.expect("connected");
        until(&mut events, reason).await;
    }
}

// C019, M39, M40, M41, M42
#[tokio::test]
async fn a_disconnection_says_what_happened_below() {
    let (sender, mut gone) = channel();
    let watch_gone = |socket: &ClientSocket| {
        let sender = sender.clone();
        socket.on_disconnect(
            async move |_: ClientSocket, gone: socketio::client::Disconnected| {
                let _ = sender.send(gone);
            },
        );
    };
    // The server closes the WebSocket with a code.
    let texts = || vec![open("a", ""), "40{\"sid\":\"x\"}".to_owned()];
    let fake = Fake::start(move |_, _| Reply::Closing(texts(), 1009)).await;
    let socket = builder(&fake.url, WEBSOCKET)
        .without_reconnection()
        .build()
        .expect("valid");
    watch_gone(&socket);
    soon(socket.connect()).await.expect("connected");
    let closed = next(&mut gone).await;
    assert_eq!(closed.reason(), DisconnectReason::TransportClose);
    assert_eq!(closed.message(), Some("websocket connection closed"));
    assert_eq!(closed.close_code(), Some(1009));
    assert!(!closed.will_reconnect() && closed.hint().is_some());
    // The server refuses a POST.
    let fake = Fake::start(|head, body| match (head.contains("sid="), body) {
        (false, _) => Reply::Http(200, "", open("a", "")),
        (true, "40") => Reply::Http(200, "", "ok".to_owned()),
        (true, "") if head.starts_with("GET") => {
            Reply::Http(200, "", "40{\"sid\":\"x\"}".to_owned())
        }
        (true, _) => Reply::Http(413, "", "too large".to_owned()),
    });
    let fake = fake.await;
    let socket = builder(&fake.url, POLLING)
        .without_reconnection()
        .build()
        .expect("valid");
    watch_gone(&socket);
    soon(socket.connect()).await.expect("connected");
    socket.emit("x", 1);
    let refused = next(&mut gone).await;
    assert_eq!(refused.reason(), DisconnectReason::TransportError);
    assert_eq!(refused.message(), Some("xhr post error"));
    assert_eq!(
        (refused.status(), refused.body()),
        (Some(413), Some("too large"))
    );
    assert!(refused.hint().expect("a hint").contains("max_payload"));
    // The server says so in polling.
    let fake = Fake::start(|head, body| match (head.contains("sid="), body) {
        (false, _) => Reply::Http(200, "", open("a", "")),
        (true, "") if head.starts_with("GET") => {
            Reply::Http(200, "", "40{\"sid\":\"x\"}\x1e1".to_owned())
        }
        (true, _) => Reply::Http(200, "", "ok".to_owned()),
    });
    let fake = fake.await;
    let socket = builder(&fake.url, POLLING)
        .without_reconnection()
        .build()
        .expect("valid");
    watch_gone(&socket);
    soon(socket.connect()).await.expect("connected");
    let closed = next(&mut gone).await;
    assert_eq!(closed.reason(), DisconnectReason::TransportClose);
    assert_eq!(closed.message(), Some("transport closed by the server"));
}

// --- The end ---

/// Waits until the runtime has no more tasks than these.
async fn tasks(expected: usize) {
    soon(async {
        while tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
            > expected
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn no_task_and_no_connection_is_left_when_the_last_handle_is_dropped() {
    let io = echo_server();
    let url = url(&io).await;
    // The server has tasks of its own from its first connection on.
    drop(crate::support::Ws::connect(url["http://".len()..].parse().expect("an address")).await);
    gone(&io).await;
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let mut before = alive();
    for transports in ALL {
        let socket = soon(builder(&url, transports).connect())
            .await
            .expect("connected");
        socket.on("echo", async |socket: ClientSocket| {
            drop(socket.emit("echo", 1))
        });
        let (other, manager) = (socket.clone(), socket.manager());
        drop(socket);
        assert!(other.is_connected());
        drop((other, manager));
        gone(&io).await;
        tasks(before).await;
        before = before.min(alive());
    }
    // One that is being tried.
    let socket = builder(&nowhere().await, WEBSOCKET).build().expect("valid");
    soon(socket.connect()).await.expect_err("nobody listens");
    assert!(socket.is_active());
    drop(socket);
    tasks(before).await;
}

async fn gone(io: &Server) {
    soon(async {
        while io.clients_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
