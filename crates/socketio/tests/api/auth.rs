//! What a client says of itself when it joins: who takes it for what, and what refused clients read.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use socketio::client::{BuildError, Client, Version};
use socketio::{Args, Server, Socket};
use tracing::Level;

use crate::logs::Lines;
use crate::support::{Polling, Ws, listen, start, until};

#[derive(Deserialize)]
struct Auth {
    token: String,
}

const INVALID: &str = r#"44{"message":"invalid auth"}"#;

/// What a server answers to CONNECT with this payload, without ids.
async fn connect(io: Server, auth: &str) -> String {
    let address = listen(&io).await;
    let mut ws = Ws::open(address).await;
    ws.send(&format!("40{auth}")).await;
    let answer = ws.text().await;
    match answer.starts_with("40{\"sid\"") {
        true => "let in".to_owned(),
        false => answer,
    }
}

type Install = fn(&Server);

fn takes<T: serde::de::DeserializeOwned + Send + 'static>() -> [Install; 2] {
    [
        |io| {
            io.on_connect(async |_: Socket, _: T| {});
        },
        |io| {
            io.middleware(async |_: Socket, _: T| Ok::<_, String>(()));
        },
    ]
}

#[tokio::test]
async fn whose_auth_is_not_of_the_handlers_type_is_refused_in_the_same_way_by_each() {
    let cases: Vec<([Install; 2], &str, &str)> = vec![
        (takes::<Auth>(), r#"{"token":"t"}"#, "let in"),
        (takes::<Auth>(), "", INVALID),
        (takes::<Auth>(), "{}", INVALID),
        (takes::<Auth>(), r#"{"token":1}"#, INVALID),
        (takes::<Option<Auth>>(), "", "let in"),
        (takes::<Option<Auth>>(), r#"{"token":"t"}"#, "let in"),
        (takes::<Option<Auth>>(), r#"{"token":1}"#, INVALID),
        (takes::<Value>(), "", "let in"),
        (takes::<HashMap<String, String>>(), "", "let in"),
        (takes::<HashMap<String, String>>(), r#"{"a":1}"#, INVALID),
        (takes::<String>(), "", INVALID),
        (takes::<()>(), "", "let in"),
        (takes::<Args>(), "", "let in"),
    ];
    for (number, (installs, auth, expected)) in cases.into_iter().enumerate() {
        for install in installs {
            let io = Server::new();
            install(&io);
            assert_eq!(connect(io, auth).await, expected, "{number}: {auth}");
        }
    }
}

#[tokio::test]
async fn no_auth_is_an_empty_object_or_none() {
    let (io, address) = start(Server::builder()).await;
    io.on_connect(async |socket: Socket, auth: Value| {
        let own = socket.auth::<Value>().expect("as here");
        let none = socket.auth::<Option<Auth>>().expect("none").is_none();
        socket.emit("auth", (auth, own, none));
    });
    let mut ws = Ws::connect(address).await;
    assert_eq!(ws.text().await, "42[\"auth\",{},{},true]");
}

// A client that could skip `on_connect` would evade the limits and rooms that are set up there.
#[tokio::test]
async fn who_is_refused_has_no_socket_and_its_events_are_not_handled() {
    let (io, address) = start(Server::builder()).await;
    io.on_connect(async |socket: Socket, _: Auth| socket.join("all"));
    io.on("x", async |_: Socket| "handled");
    let polling = Polling::open(address).await;
    polling.post("40").await;
    assert_eq!(polling.get().await, INVALID);
    assert!(io.local_adapter().is_empty());
    // As in the reference, an event for a namespace that was not joined ends the connection.
    polling.post("421[\"x\"]").await;
    until(|| io.clients_count() == 0).await;
    // With what is wanted it may come at once.
    let mut ws = Ws::open(address).await;
    ws.send("40{\"token\":1}").await;
    assert_eq!(ws.text().await, INVALID);
    ws.send("40{\"token\":\"t\"}").await;
    assert!(ws.text().await.starts_with("40{"));
    ws.send("421[\"x\"]").await;
    assert_eq!(ws.text().await, "431[\"handled\"]");
    assert_eq!(io.stats().undecodable_events, 2);
}

#[tokio::test]
async fn what_does_not_fit_stands_in_the_log_and_is_nothing_for_clients() {
    let (lines, _guard) = Lines::capture(Level::WARN);
    let io = Server::new();
    io.on_connect(async |_: Socket, _: Auth| {});
    assert_eq!(connect(io, "{}").await, INVALID);
    let told = lines.of("WARN", "missing field `token`");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_middleware_that_decodes_by_itself_has_its_own_message_and_data() {
    let io = Server::new();
    io.middleware(async |socket: Socket| {
        let auth = socket.auth::<Auth>().map_err(|_| {
            socketio::ConnectError::new("sign in first").with_data(json!({ "page": "/in" }))
        })?;
        match auth.token.is_empty() {
            true => Err("empty".into()),
            false => Ok::<_, socketio::ConnectError>(()),
        }
    });
    let expected = r#"44{"message":"sign in first","data":{"page":"/in"}}"#;
    assert_eq!(connect(io, "").await, expected);
}

#[tokio::test]
async fn auth_that_no_server_of_socket_io_2_could_get_is_refused() {
    let builder = || Client::builder("http://localhost:1").version(Version::V2);
    let auth = json!({ "token": "t" });
    let provide = async || Ok::<_, String>(json!({}));
    for refused in [
        builder().auth(&auth).build().map(drop),
        builder().auth_with(provide).build().map(drop),
        builder().namespace("").auth(&auth).build().map(drop),
        builder().build().expect("no auth").set_auth(&auth),
    ] {
        let error = refused.expect_err("a namespace without auth");
        assert!(matches!(error, BuildError::NoAuth), "{error}");
    }
    let socket = builder().namespace("/chat").auth(&auth).build();
    let manager = socket.expect("it has a query").manager();
    let main = manager.socket("/").auth(&auth).build();
    assert_eq!(
        main.expect_err("no auth").to_string(),
        "Socket.IO 2 has no auth for the namespace \"/\": send it with `query`"
    );
}
