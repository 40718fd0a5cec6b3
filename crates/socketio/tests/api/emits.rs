//! What becomes of emits and their answers where something is wrong with them.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use socketio::client::Client;
use socketio::{
    AckError, BroadcastAckError, EmitError, QueuePolicy, Server, ServerBuilder, Socket, Transport,
};
use tracing::Level;

use crate::logs::Lines;
use crate::support::{Ws, soon, start};

struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

async fn client(builder: ServerBuilder) -> (Server, Ws, Socket) {
    let (io, address) = start(builder).await;
    let ws = Ws::connect(address).await;
    let socket = io.sockets().pop().expect("the client");
    (io, ws, socket)
}

// --- Only tuples are several arguments ---

#[tokio::test]
async fn an_array_is_one_argument_in_both_directions_and_everywhere() {
    let (io, mut ws, socket) = client(Server::builder()).await;
    io.on("array", async |_: Socket, pair: [u8; 2]| pair);
    io.on("tuple", async |_: Socket, (a, b): (u8, u8)| (b, a));
    socket.emit("x", [3, 4]);
    socket.emit("x", vec![3, 4]);
    socket.emit("x", (3, 4));
    let borrowed = &(3, [4, 5]);
    socket.emit("x", borrowed);
    io.emit("x", [3, 4]);
    io.volatile().emit("x", [[3, 4]]);
    for expected in [
        "42[\"x\",[3,4]]",
        "42[\"x\",[3,4]]",
        "42[\"x\",3,4]",
        "42[\"x\",3,[4,5]]",
        "42[\"x\",[3,4]]",
        "42[\"x\",[[3,4]]]",
    ] {
        assert_eq!(ws.text().await, expected);
    }
    ws.send("421[\"array\",[1,2]]").await;
    assert_eq!(ws.text().await, "431[[1,2]]");
    ws.send("422[\"tuple\",1,2]").await;
    assert_eq!(ws.text().await, "432[2,1]");
}

#[tokio::test]
async fn a_client_s_array_is_one_argument_too() {
    let (io, address) = start(Server::builder()).await;
    io.on("array", async |_: Socket, pair: [u8; 2]| pair);
    let url = format!("http://{address}");
    let socket = Client::builder(url).transports([Transport::WebSocket]);
    let socket = soon(socket.connect()).await.expect("to be let in");
    let answer = socket.emit_with_ack::<[u8; 2]>("array", [3, 4]).await;
    assert_eq!(answer.expect("an answer"), [3, 4]);
    let answer = socket.emit_with_ack::<Vec<u8>>("array", vec![3, 4]).await;
    assert_eq!(answer.expect("an answer"), [3, 4]);
}

// --- Answers of many ---

/// Two clients answer a broadcast: the first as given, the second with 2.
async fn two_answers<T: serde::de::DeserializeOwned + Send + 'static>(
    first: &str,
) -> Result<Vec<T>, BroadcastAckError<T>> {
    let (io, address) = start(Server::builder()).await;
    let (mut one, mut two) = (Ws::connect(address).await, Ws::connect(address).await);
    let asked = io.emit_with_ack::<T>("q", ());
    assert_eq!(one.text().await, "420[\"q\"]");
    one.send(&format!("430[{first}]")).await;
    assert_eq!(two.text().await, "420[\"q\"]");
    two.send("430[2]").await;
    soon(asked).await
}

#[tokio::test]
async fn an_answer_without_arguments_is_null_among_those_of_a_broadcast() {
    let mut answers = two_answers::<Value>("").await.expect("two answers");
    answers.sort_by_key(Value::is_null);
    assert_eq!(answers, [json!(2), Value::Null]);
    let mut answers = two_answers::<Option<u8>>("").await.expect("two answers");
    answers.sort();
    assert_eq!(answers, [None, Some(2)]);
}

#[tokio::test]
async fn an_answer_of_another_type_does_not_take_the_good_ones_along() {
    for wrong in ["", "\"text\"", "null", "{}"] {
        match two_answers::<u8>(wrong).await {
            Err(BroadcastAckError::Decode {
                responses,
                undecodable,
                missing,
            }) => {
                let counts = (undecodable.len(), missing);
                assert_eq!((responses, counts), (vec![2], (1, 0)), "{wrong}");
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

// --- Emits that nobody awaits ---

/// What counts of a server's failed emits, and the lines that tell of them.
async fn told(builder: ServerBuilder, fail: impl AsyncFn(&Server, &Socket)) -> (u64, Vec<String>) {
    let (lines, _guard) = Lines::capture(Level::WARN);
    let (io, _ws, socket) = client(builder).await;
    for _ in 0..3 {
        fail(&io, &socket).await;
    }
    let lines = lines.of("WARN", "nobody has looked at its outcome");
    (io.stats().failed_emits, lines)
}

#[tokio::test]
async fn what_nobody_awaits_and_fails_is_counted_and_told_once_for_each_cause() {
    // More than the kernel takes from a client that does not read: the first one fills the queue.
    let large = "x".repeat(32 * 1024 * 1024);
    let small = || Server::builder().max_queue(1000);
    type Fail = fn(&Server, &Socket);
    let cases: [(&str, ServerBuilder, Fail); 4] = [
        ("not serialisable", Server::builder(), |_, socket| {
            drop(socket.emit("x", Unserialisable));
        }),
        ("to all", Server::builder(), |io, _| {
            drop(io.emit("x", Unserialisable));
        }),
        ("reserved", Server::builder(), |_, socket| {
            drop(socket.emit("disconnect", ()));
        }),
        ("with ack", Server::builder(), |_, socket| {
            drop(socket.emit_with_ack::<()>("x", Unserialisable));
        }),
    ];
    for (name, builder, fail) in cases {
        let (count, lines) = told(builder, async |io, socket| fail(io, socket)).await;
        assert_eq!((count, lines.len()), (3, 1), "{name}: {lines:?}");
    }
    let full = small().queue_policy(QueuePolicy::DropNewest);
    let (count, lines) = told(full, async |_, socket| drop(socket.emit("x", &large))).await;
    assert_eq!((count, lines.len()), (2, 1), "full: {lines:?}");
    assert!(lines[0].contains("the queue is full"), "{lines:?}");
    let wait = small().queue_policy(QueuePolicy::Wait);
    let (count, lines) = told(wait, async |_, socket| drop(socket.emit("x", &large))).await;
    assert_eq!((count, lines.len()), (2, 1), "waiting: {lines:?}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_sent_is_counted() {
    let (io, mut ws, _) = client(Server::builder()).await;
    io.on("x", async |_: Socket| Unserialisable);
    io.on("y", async |_: Socket| 1);
    ws.send("421[\"x\"]").await;
    ws.send("422[\"y\"]").await;
    assert_eq!(ws.text().await, "432[1]");
    assert_eq!(io.stats().failed_emits, 1);
}

#[tokio::test]
async fn what_is_looked_at_or_goes_to_who_has_left_is_not_told() {
    let (count, lines) = told(Server::builder(), async |_, socket| {
        let error = socket.emit("x", Unserialisable).await;
        assert!(matches!(error, Err(EmitError::Encode(_))));
        let error = socket.emit("x", Unserialisable).now();
        assert!(matches!(error, Err(EmitError::Encode(_))));
        let error = socket.emit_with_ack::<()>("x", Unserialisable).await;
        assert!(matches!(error, Err(AckError::Emit(EmitError::Encode(_)))));
        socket.disconnect();
        drop(socket.emit("x", ()));
    })
    .await;
    assert_eq!((count, lines.len()), (0, 0), "{lines:?}");
}

// --- Without a runtime ---

#[tokio::test]
async fn what_is_emitted_outside_of_a_runtime_is_sent_and_its_timeout_runs() {
    let (io, mut ws, socket) = client(Server::builder()).await;
    let address = io.sockets()[0].handshake().address();
    assert!(address.is_some());
    let (late, one, all, remote) = std::thread::spawn({
        let (io, socket) = (io.clone(), socket.clone());
        move || {
            assert!(tokio::runtime::Handle::try_current().is_err());
            socket.emit("plain", ()).now().expect("to be sent");
            let minute = Duration::from_secs(60);
            let late = socket.timeout(Duration::from_millis(1));
            (
                late.emit_with_ack::<u8>("late", ()),
                socket.timeout(minute).emit_with_ack::<u8>("one", ()),
                io.timeout(minute).emit_with_ack::<u8>("all", ()),
                socket.timeout(Duration::MAX).emit_with_ack::<u8>("max", ()),
            )
        }
    })
    .join()
    .expect("no panic");
    assert_eq!(ws.text().await, "42[\"plain\"]");
    for (id, name) in ["late", "one", "all", "max"].into_iter().enumerate() {
        assert_eq!(ws.text().await, format!("42{id}[\"{name}\"]"));
        if id > 0 {
            ws.send(&format!("43{id}[{id}]")).await;
        }
    }
    assert!(matches!(soon(late).await, Err(AckError::Timeout)));
    assert_eq!(soon(one).await.expect("an answer"), 1);
    assert_eq!(soon(all).await.expect("an answer"), [2]);
    assert_eq!(soon(remote).await.expect("an answer"), 3);
}

#[tokio::test]
async fn a_client_s_timeout_is_set_without_a_runtime_too() {
    let (io, address) = start(Server::builder()).await;
    io.on("never", async |_: Socket| {
        std::future::pending::<()>().await
    });
    let url = format!("http://{address}");
    let socket = Client::builder(url).transports([Transport::WebSocket]);
    let socket = soon(socket.connect()).await.expect("to be let in");
    let asked = std::thread::spawn(move || {
        let soon = socket.timeout(Duration::from_millis(1));
        (soon.emit_with_ack::<()>("never", ()), socket)
    });
    let (asked, _socket) = asked.join().expect("no panic");
    assert!(matches!(soon(asked).await, Err(AckError::Timeout)));
}

// --- Names ---

/// Says what a registration panics with.
pub(crate) fn refusal(register: impl FnOnce()) -> String {
    let register = std::panic::AssertUnwindSafe(register);
    let panic = std::panic::catch_unwind(register).expect_err("refused");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[tokio::test]
async fn moments_are_no_events_and_say_with_which_method_to_register() {
    let (io, _ws, socket) = client(Server::builder()).await;
    let client = Client::builder("http://localhost:1").build().expect("good");
    let methods = [
        ("connect", "on_connect"),
        ("connection", "on_connect"),
        ("disconnect", "on_disconnect"),
        ("disconnecting", "on_disconnecting"),
        ("connect_error", ""),
        ("newListener", ""),
        ("removeListener", ""),
    ];
    type Register = Box<dyn Fn(&'static str)>;
    let (of_io, of_socket, once, of_client) = (io.clone(), socket, io.clone(), client);
    let registers: [(bool, Register); 4] = [
        (
            true,
            Box::new(move |n| {
                of_io.on(n, async |_: Socket| {});
            }),
        ),
        (
            true,
            Box::new(move |n| {
                once.once(n, async |_: Socket| {});
            }),
        ),
        (
            true,
            Box::new(move |n| {
                of_socket.on(n, async |_: Socket| {});
            }),
        ),
        (
            false,
            Box::new(move |n| {
                let handler = async |_: socketio::client::Socket| {};
                of_client.on(n, handler);
            }),
        ),
    ];
    for (at, (is_server, register)) in registers.iter().enumerate() {
        for (name, method) in methods {
            // On a single socket it is a name like others, and no client hears of it.
            if name == "connection" && at > 1 {
                register(name);
                continue;
            }
            let method = match (is_server, name) {
                (false, "connect_error") => "on_connect_error",
                (false, "disconnecting") => "",
                (_, _) => method,
            };
            let who = if *is_server { "client" } else { "server" };
            let text = refusal(|| register(name));
            let mut expected = format!("no {who} can send the event \"{name}\"");
            if !method.is_empty() {
                expected.push_str(&format!(": register the handler with `{method}`"));
            }
            assert_eq!(text, expected);
        }
    }
}
