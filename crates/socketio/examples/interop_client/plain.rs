//! What servers of every make can: one text or some bytes an event. `interop/peers/servers.mjs` has
//! the same cases for JavaScript's clients.

use std::time::Duration;

use serde_json::{Value as Json, json};
use socketio::client::{Disconnected, Events, ManagerEvent, Socket};
use socketio::{AckError, DisconnectReason, Value};
use tokio::sync::mpsc::unbounded_channel;

use crate::{Run, ack, binary, fence, from, join, leave, next, same, soon, take};

const MEGABYTE: usize = 1_000_000;

pub(crate) async fn play(run: &Run, case: &str) -> Json {
    let (socket, mut events) = run.connect().await;
    let events = &mut events;
    match case {
        "text" => texts(&socket, events, &["plain", "", "\"\\\n"]).await,
        "unicode" => texts(&socket, events, &["é", "€", "🦀", "é€🦀\u{2028}"]).await,
        "large text" => texts(&socket, events, &[&"x".repeat(MEGABYTE)]).await,
        "bytes" => bytes(&socket, events, &[1, 57, 1000]).await,
        "large bytes" => bytes(&socket, events, &[MEGABYTE]).await,
        "acks" => acks(&socket, events).await,
        "late acks" => late_acks(&socket, events).await,
        "order" => order(&socket, events).await,
        "namespaces" => namespaces(&socket, events).await,
        "refusal" => refusal(&socket, events).await,
        "rooms" => {
            ack(&socket, "join", "room").await;
            socket.emit("news", "elsewhere");
            socket.emit("news", "room");
            same("news", next(events, "news").await, ["room".into()]);
        }
        "server leaves" => server_leaves(&socket).await,
        "client leaves" => client_leaves(&socket).await,
        "volatile" => volatile(&socket, events).await,
        "heartbeats" => heartbeats(&socket, events).await,
        "restart" => restart(&socket, events).await,
        case => panic!("unknown case {case}"),
    }
    leave(&socket).await;
    json!({})
}

async fn echoed(socket: &Socket, events: &mut Events, name: &str, value: Value) {
    socket.emit(name, value.clone());
    same("an echo", next(events, name).await, [value]);
}

async fn texts(socket: &Socket, events: &mut Events, all: &[&str]) {
    for &text in all {
        echoed(socket, events, "echo", text.into()).await;
    }
}

async fn bytes(socket: &Socket, events: &mut Events, sizes: &[usize]) {
    for &size in sizes {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        echoed(socket, events, "echo bytes", binary(&bytes)).await;
    }
}

async fn acks(socket: &Socket, events: &mut Events) {
    same("an answer", ack(socket, "ack", "b").await, ["b".into()]);
    socket.emit("ask", "who");
    let question = take(events, "question").await;
    question.ack.expect("an ack").send("me");
    same("the answer", next(events, "answered").await, ["me".into()]);
}

/// Other things come before the answer, on both sides, and one comes when nobody waits for it any more.
async fn late_acks(socket: &Socket, events: &mut Events) {
    let later = socket.emit_with_ack::<(Value,)>("later", "a");
    same("an answer", ack(socket, "ack", "b").await, ["b".into()]);
    let later = soon("a late answer", later).await.expect("an answer");
    same("a late answer", later, ("a".into(),));
    socket.emit("ask", "who");
    let question = take(events, "question").await;
    echoed(socket, events, "echo", "meanwhile".into()).await;
    question.ack.expect("an ack").send("me");
    same("the answer", next(events, "answered").await, ["me".into()]);
    let hurried = socket.timeout(Duration::from_millis(1));
    let hurried = hurried.emit_with_ack::<Json>("later", "c");
    let hurried = soon("a timeout", hurried).await;
    assert!(matches!(hurried, Err(AckError::Timeout)), "{hurried:?}");
    let later = socket.emit_with_ack::<(Value,)>("later", "d");
    let later = soon("a late answer", later).await.expect("an answer");
    same("a late answer", later, ("d".into(),));
}

/// Those with two transports move meanwhile.
async fn order(socket: &Socket, events: &mut Events) {
    for n in 0..5000 {
        socket.emit("echo", n.to_string());
    }
    for n in 0..5000 {
        let want = [Value::from(n.to_string())];
        same("an echo", next(events, "echo").await, want);
    }
}

async fn namespaces(socket: &Socket, events: &mut Events) {
    let admin = socket.manager().socket("/admin");
    let admin = admin.build().expect("valid options");
    let mut others = admin.events();
    join(&admin).await;
    echoed(&admin, &mut others, "echo", "admin".into()).await;
    soon("left", admin.disconnect()).await;
    echoed(socket, events, "echo", "main".into()).await;
}

async fn refusal(socket: &Socket, events: &mut Events) {
    let guarded = socket.manager().socket("/guarded");
    let guarded = guarded.auth(json!({ "token": "wrong" })).connect();
    let refused = soon("a refusal", guarded).await.expect_err("a refusal");
    assert!(refused.is_refused(), "{refused}");
    echoed(socket, events, "echo", "main".into()).await;
}

async fn server_leaves(socket: &Socket) {
    let (closed, mut closes) = unbounded_channel();
    socket.on_disconnect(async move |_: Socket, why: Disconnected| _ = closed.send(why));
    socket.emit("leave me", false);
    let why = from(&mut closes, "a reason").await;
    let want = DisconnectReason::IoServerDisconnect;
    same("a reason", why.reason(), want);
}

/// And comes back.
async fn client_leaves(socket: &Socket) {
    leave(socket).await;
    join(socket).await;
    fence(socket).await;
}

/// What is volatile may be dropped.
async fn volatile(socket: &Socket, events: &mut Events) {
    socket.volatile().emit("echo", "now");
    socket.emit("echo", "end");
    let mut echo = next(events, "echo").await;
    if echo == ["now".into()] {
        echo = next(events, "echo").await;
    }
    same("an echo", echo, ["end".into()]);
}

async fn heartbeats(socket: &Socket, events: &mut Events) {
    let (beat, mut beats) = unbounded_channel();
    socket.manager().on(move |event| {
        if matches!(event, ManagerEvent::Ping) {
            let _ = beat.send(());
        }
    });
    for _ in 0..3 {
        from(&mut beats, "a heartbeat").await;
    }
    echoed(socket, events, "echo", "alive".into()).await;
}

/// The server ends, and is started again by the test.
async fn restart(socket: &Socket, events: &mut Events) {
    let (told, mut tells) = unbounded_channel();
    let back = told.clone();
    socket.on_disconnect(async move |_: Socket, _: Disconnected| _ = told.send("lost"));
    socket.on_connect(async move |_: Socket| _ = back.send("back"));
    socket.emit("end", ());
    for want in ["lost", "back"] {
        same("what becomes of it", from(&mut tells, want).await, want);
    }
    echoed(socket, events, "echo", "again".into()).await;
}
