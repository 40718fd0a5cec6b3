//! The scenario client that servers are tested with which are not ours; see `interop/CONTRACT.md`.
//!
//! One scenario a run: it checks what it gets to the letter, and ends with its facts as one line of
//! JSON, or with status 1 and what was wrong.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value as Json, json};
use socketio::client::{
    Ack, Client, ClientBuilder, ConnectError, Disconnected, Events, ManagerEvent, ReceivedEvent,
    Socket, Version,
};
use socketio::parser::MsgpackParser;
use socketio::{AckError, Args, DisconnectReason, EmitError, Transport, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

#[path = "interop_client/plain.rs"]
mod plain;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let mut pairs = words.chunks_exact(2);
        pairs.find(|pair| pair[0] == name).map(|pair| &*pair[1])
    };
    let transports = option("--transports").unwrap_or("polling,websocket");
    let run = Run {
        url: option("--url").expect("--url").to_owned(),
        version: match option("--version") {
            Some("2") => Version::V2,
            _ => Version::V4,
        },
        transports: transports
            .split(',')
            .map(|name| Transport::from_name(name).expect("a transport"))
            .collect(),
        msgpack: option("--parser") == Some("msgpack"),
    };
    let scenario = option("--scenario").expect("--scenario").to_owned();
    // A task of its own, so that a failed check is a status.
    let facts = tokio::spawn(async move { run.scenario(&scenario).await });
    let facts = tokio::time::timeout(Duration::from_secs(60), facts).await;
    let facts = facts.expect("a scenario that ends");
    let Ok(mut facts) = facts else {
        std::process::exit(1);
    };
    facts["ok"] = true.into();
    println!("{facts}");
}

/// How to reach the server.
struct Run {
    url: String,
    version: Version,
    transports: Vec<Transport>,
    msgpack: bool,
}

impl Run {
    async fn scenario(&self, name: &str) -> Json {
        match name {
            "echo" => echo(self).await,
            "acks" => acks(self).await,
            "namespaces" => namespaces(self).await,
            "order" => order(self).await,
            "reconnect" => reconnect(self).await,
            "recovery" => recovery(self).await,
            "rooms" => rooms(self).await,
            "volatile" => volatile(self).await,
            "volatile moments" => volatile_moments(self).await,
            "disconnects" => disconnects(self).await,
            "last words" => last_words(self).await,
            "payload" => payload(self).await,
            "failure" => failure(self).await,
            name if name.starts_with("plain ") => plain::play(self, &name[6..]).await,
            name => panic!("unknown scenario {name}"),
        }
    }

    fn builder(&self) -> ClientBuilder {
        let builder = Client::builder(&self.url)
            .version(self.version)
            .transports(self.transports.iter().copied())
            .reconnection_delay(Duration::from_millis(20));
        match self.msgpack {
            true => builder.parser(MsgpackParser::default()),
            false => builder,
        }
    }

    async fn connect(&self) -> (Socket, Events) {
        let socket = self.builder().build().expect("valid options");
        let events = socket.events();
        join(&socket).await;
        (socket, events)
    }

    fn upgrades(&self) -> bool {
        self.transports.len() > 1
    }
}

// --- What is waited for ---

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(15), future).await;
    outcome.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn join(socket: &Socket) {
    if let Err(error) = soon("connected", socket.connect()).await {
        panic!("not connected: {error}; {:?}", error.hint());
    }
}

/// The next event, which has to have this name.
async fn take(events: &mut Events, name: &str) -> ReceivedEvent {
    let event = soon(name, events.next()).await;
    let event = event.unwrap_or_else(|| panic!("no \"{name}\": the stream has ended"));
    same("an event's name", &*event.name, name);
    event
}

/// The arguments of the next event.
async fn next(events: &mut Events, name: &str) -> Vec<Value> {
    let event = take(events, name).await;
    event.args.to_values().expect("whole arguments")
}

/// The first argument of the next event; with recovery on, the server adds an offset.
async fn first(events: &mut Events, name: &str) -> Value {
    next(events, name).await.swap_remove(0)
}

async fn from<T>(receiver: &mut UnboundedReceiver<T>, what: &str) -> T {
    soon(what, receiver.recv()).await.expect("a sender")
}

async fn ack(socket: &Socket, event: &str, args: impl Serialize) -> Vec<Value> {
    let answer = soon(event, socket.emit_with_ack::<Args>(event, args)).await;
    let answer = answer.unwrap_or_else(|error| panic!("no answer to \"{event}\": {error}"));
    answer.to_values().expect("whole arguments")
}

/// Everything that was emitted before has been answered, and the connection lives.
async fn fence(socket: &Socket) {
    same(
        "an answer",
        ack(socket, "ack", "fence").await,
        values(json!(["fence"])),
    );
}

fn same<T: Debug + PartialEq<U>, U: Debug>(what: &str, got: T, want: U) {
    if got != want {
        let (got, want) = (format!("{got:.300?}"), format!("{want:.300?}"));
        panic!("{what}: got {got:.2000}, want {want:.2000}");
    }
}

fn values(json: Json) -> Vec<Value> {
    serde_json::from_value(json).expect("an array")
}

fn binary(bytes: &[u8]) -> Value {
    Bytes::copy_from_slice(bytes).into()
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.map(|(key, value)| (key.to_owned(), value));
    Vec::from(entries).into()
}

// --- The scenarios ---

async fn echo(run: &Run) -> Json {
    let (socket, mut events) = run.connect().await;
    let nested = json!([{"a": [1, [2.5, {"b": null}]], "c": {"": "", "_": [[], {}]}}]);
    let two = object([
        ("first", binary(b"\0\x01\xff")),
        ("list", vec![Value::from(1), binary(b"second")].into()),
    ]);
    let large: Vec<u8> = (0..100_000).map(|n| (n % 251) as u8).collect();
    let all = [
        vec![],
        values(json!([1])),
        values(json!([null])),
        values(json!([null, true, -1.5, "", 9_007_199_254_740_991_u64])),
        values(nested),
        values(json!(["é€🦀\u{2028}\u{0}\"\\\n\u{1e}", "\u{10ffff}"])),
        values(json!(["é".repeat(150_000)])),
        vec![two],
        vec![binary(b"\x1e\x04"), "between".into(), binary(b"")],
        vec![binary(&large)],
    ];
    for args in &all {
        let args_out = Args::from_values(args).expect("JSON");
        soon("sent", socket.emit("echo", args_out))
            .await
            .expect("sent");
        same("an echo", &next(&mut events, "echo").await, args);
    }
    for args in &all {
        let args = Args::from_values(args).expect("JSON");
        socket.emit("echo", args).now().expect("queued");
    }
    for args in &all {
        same("an echo", &next(&mut events, "echo").await, args);
    }
    leave(&socket).await;
    json!({ "echoes": 2 * all.len() })
}

async fn acks(run: &Run) -> Json {
    let (socket, mut events) = run.connect().await;
    // Ours, answered by the server.
    same("no answer", ack(&socket, "ack", ()).await, vec![]);
    let several = vec![1.into(), binary(b"\x01\x02"), Value::Null, "four".into()];
    let args = Args::from_values(&several).expect("JSON");
    same("an answer", ack(&socket, "ack", args).await, several);
    let asked = (0..100).map(|n| socket.emit_with_ack::<u32>("ack", n));
    let answers = soon(
        "100 answers",
        join_all(asked.collect::<Vec<_>>().into_iter().rev()),
    )
    .await;
    for (answer, want) in answers.into_iter().zip((0..100).rev()) {
        same("an answer of its own", answer.expect("an answer"), want);
    }
    let late = socket.timeout(Duration::from_millis(50));
    let late = soon("a timeout", late.emit_with_ack::<Json>("nobody answers", 1)).await;
    let late = late.expect_err("nobody answers");
    assert!(matches!(late, AckError::Timeout), "{late:?}");

    // The server's, answered by a value, by hand, from the stream, and not at all.
    socket.on("question", async |_: Socket, n: i64| n + 1);
    socket.emit("ask", (41, 0));
    take(&mut events, "question").await;
    same(
        "by value",
        next(&mut events, "answered").await,
        values(json!([null, 42])),
    );
    socket.off("question");
    socket.on("question", async |_: Socket, text: String, ack: Ack| {
        ack.send(object([("bytes", binary(text.as_bytes()))]));
    });
    socket.emit("ask", ("by hand", 0));
    take(&mut events, "question").await;
    let want = vec![Value::Null, object([("bytes", binary(b"by hand"))])];
    same("by hand", next(&mut events, "answered").await, want);
    socket.off("question");
    socket.emit("ask", ("by stream", 5000));
    let question = take(&mut events, "question").await;
    question.ack.expect("an ack").send(vec![1, 2]);
    same(
        "by stream",
        next(&mut events, "answered").await,
        values(json!([null, [1, 2]])),
    );
    socket.emit("ask", ("silence", 50));
    take(&mut events, "question").await;
    let want = values(json!(["operation has timed out", null]));
    same("silence", next(&mut events, "answered").await, want);

    // One that the connection takes along.
    let (closed, mut closes) = unbounded_channel();
    socket.on_disconnect(async move |_: Socket, _: Disconnected| _ = closed.send(()));
    let gone = socket.emit_with_ack::<Json>("nobody answers", 2);
    fence(&socket).await;
    socket.manager().break_off();
    let gone = soon("an error", gone).await.expect_err("nobody answers");
    assert!(matches!(gone, AckError::Disconnected), "{gone:?}");
    from(&mut closes, "the end of the connection").await;
    fence(&socket).await;
    leave(&socket).await;
    json!({ "late": late.to_string(), "gone": gone.to_string() })
}

async fn namespaces(run: &Run) -> Json {
    let (main, _events) = run.connect().await;
    let sessions = ack(&main, "count", ()).await;
    let manager = main.manager();
    let admin = manager.socket("/admin").connect();
    let admin = soon("/admin", admin).await.expect("connected");
    assert_ne!(main.id().expect("an id"), admin.id().expect("an id"));
    let (one, two) = tokio::join!(ack(&main, "ack", 1), ack(&admin, "ack", 2));
    same(
        "answers",
        (one, two),
        (values(json!([1])), values(json!([2]))),
    );
    same("sessions", ack(&main, "count", ()).await, sessions.clone());

    // Refused, then let in: `auth` is asked for each time.
    let token = Arc::new(Mutex::new("no"));
    let provided = token.clone();
    let guarded = manager.socket("/guarded").auth_with(async move || {
        let token = *provided.lock();
        Ok::<_, String>(json!({ "token": token, "more": { "n": [1] } }))
    });
    let guarded = guarded.build().expect("valid options");
    let refused = soon("a refusal", guarded.connect()).await;
    let refused = refused.expect_err("not authorized");
    assert!(refused.is_refused() && !guarded.is_active());
    *token.lock() = "ok";
    join(&guarded).await;
    let handshake = ack(&guarded, "handshake", ()).await;
    let auth = handshake[0].get("auth").expect("auth");
    let auth = serde_json::to_value(auth).expect("JSON");
    let unknown = soon("a refusal", manager.socket("/nope").connect()).await;
    let unknown = unknown.expect_err("no such namespace");
    assert!(unknown.is_refused());

    // One leaves, and comes back; the others stay.
    soon("left", admin.disconnect()).await;
    assert!(!admin.is_connected() && admin.id().is_none());
    fence(&main).await;
    fence(&guarded).await;
    join(&admin).await;
    fence(&admin).await;
    same("sessions", ack(&main, "count", ()).await, sessions.clone());
    soon("closed", manager.close()).await;
    assert!(!main.is_connected() && !guarded.is_connected());
    json!({
        "refused": { "message": refused.message(), "data": refused.data() },
        "unknown": { "message": unknown.message(), "hint": unknown.hint() },
        "auth": auth,
    })
}

/// There and back; on the way the session moves, if it may.
async fn order(run: &Run) -> Json {
    const COUNT: u32 = 5000;
    let socket = run.builder().build().expect("valid options");
    let mut events = socket.events();
    let (moved, mut moves) = unbounded_channel();
    socket.manager().on(move |event| match event {
        ManagerEvent::Upgraded(_) => _ = moved.send(Ok(())),
        ManagerEvent::UpgradeFailed(why) => _ = moved.send(Err(why.clone())),
        _ => {}
    });
    join(&socket).await;
    let (mut sent, mut got, mut has_moved) = (0, 0, !run.upgrades());
    while sent < COUNT || !has_moved {
        if let Ok(outcome) = moves.try_recv() {
            outcome.expect("upgraded");
            has_moved = true;
        }
        for _ in 0..20 {
            soon("sent", socket.emit("echo", sent)).await.expect("sent");
            sent += 1;
        }
        // Some stay on the way.
        while sent - got > 200 {
            same("an echo", next(&mut events, "echo").await, [got.into()]);
            got += 1;
        }
    }
    while got < sent {
        same("an echo", next(&mut events, "echo").await, [got.into()]);
        got += 1;
    }
    fence(&socket).await;
    let last = run.transports.last().expect("a transport");
    same("the transport", socket.manager().transport(), Some(*last));
    let theirs = ack(&socket, "transport", ()).await;
    same("the server's transport", theirs, [last.as_str().into()]);
    socket.emit("many", COUNT);
    for n in 0..COUNT {
        same("one of many", next(&mut events, "n").await, [n.into()]);
    }
    leave(&socket).await;
    json!({ "sent": sent })
}

/// The server ends the session, and the client comes back.
async fn reconnect(run: &Run) -> Json {
    let socket = run.builder().build().expect("valid options");
    let mut events = socket.events();
    let (log, mut logged) = unbounded_channel();
    let lost = log.clone();
    socket.on_connect(async |socket: Socket| _ = socket.emit("echo", "connected").now());
    socket.on_disconnect(async move |socket: Socket, why: Disconnected| {
        for n in 0..10 {
            socket.emit("echo", n).now().expect("kept");
        }
        let _ = lost.send(format!("disconnect, {}", why.will_reconnect()));
        let _ = lost.send(why.reason().as_str().to_owned());
    });
    socket.manager().on(move |event| {
        let _ = match event {
            ManagerEvent::ReconnectAttempt(n) => log.send(format!("attempt {n}")),
            ManagerEvent::Reconnected(n) => log.send(format!("reconnected {n}")),
            _ => return,
        };
    });
    join(&socket).await;
    same(
        "a first echo",
        next(&mut events, "echo").await,
        ["connected".into()],
    );
    let id = socket.id();
    socket.emit("close engine", ());
    same(
        "the end",
        from(&mut logged, "the end").await,
        "disconnect, true",
    );
    let reason = from(&mut logged, "a reason").await;
    same("again", from(&mut logged, "an attempt").await, "attempt 1");
    same(
        "again",
        from(&mut logged, "a connection").await,
        "reconnected 1",
    );
    for n in 0..10 {
        same("what was kept", next(&mut events, "echo").await, [n.into()]);
    }
    same(
        "the handler after it",
        next(&mut events, "echo").await,
        ["connected".into()],
    );
    assert_ne!(socket.id().expect("an id"), id.expect("an id"));
    assert!(!socket.is_recovered());
    leave(&socket).await;
    json!({ "reason": reason })
}

/// The connection is cut, and goes on where it was.
async fn recovery(run: &Run) -> Json {
    let (other, _other_events) = run.connect().await;
    let socket = run.builder().without_reconnection().build();
    let socket = socket.expect("valid options");
    let mut events = socket.events();
    let (closed, mut closes) = unbounded_channel();
    socket.on_disconnect(async move |_: Socket, why: Disconnected| _ = closed.send(why));
    join(&socket).await;
    assert!(!socket.is_recovered());
    let id = socket.id().expect("an id");
    ack(&socket, "join", "room").await;
    // It is recovered from the last event that it has got.
    other.emit("emit to", (["room"], [(); 0], "news", 0));
    same("news", first(&mut events, "news").await, 0.into());
    socket.manager().break_off();
    let why = from(&mut closes, "the end of the connection").await;
    same("a reason", why.reason(), DisconnectReason::ForcedClose);
    assert!(events.next().await.is_none());
    let mut events = socket.events();
    // The server may not know yet.
    while ack(&other, "count", ()).await != values(json!([1])) {}
    for n in 1..=50 {
        other.emit("emit to", (["room"], [(); 0], "news", (n, "é€")));
    }
    fence(&other).await;
    join(&socket).await;
    assert!(socket.is_recovered(), "not recovered");
    same("the id", socket.id().expect("an id"), id.clone());
    for n in 1..=50 {
        let want = Value::Array(vec![n.into(), "é€".into()]);
        same("what was missed", first(&mut events, "news").await, want);
    }
    other.emit("emit to", (["room"], [(); 0], "news", "last"));
    same("the last", first(&mut events, "news").await, "last".into());
    let rooms = ack(&socket, "leave", "nowhere").await;
    same("rooms", rooms, values(json!([[id.as_str(), "room"]])));
    leave(&socket).await;
    leave(&other).await;
    json!({ "missed": 50 })
}

async fn rooms(run: &Run) -> Json {
    let (a, mut a_events) = run.connect().await;
    let (b, mut b_events) = run.connect().await;
    let (c, mut c_events) = run.connect().await;
    let id = |socket: &Socket| socket.id().expect("an id").to_string();
    let sorted = |mut rooms: Vec<Value>| {
        let mut rooms: Vec<String> = match rooms.pop() {
            Some(rooms) => serde_json::from_value(serde_json::to_value(rooms).expect("JSON")),
            None => Ok(Vec::new()),
        }
        .expect("a list of rooms");
        rooms.sort();
        rooms
    };
    let with_id = |socket: &Socket, rooms: &[&str]| {
        let mut all: Vec<String> = rooms.iter().map(|&room| room.to_owned()).collect();
        all.push(id(socket));
        all.sort();
        all
    };
    let of_a = ack(&a, "join", ["one", "two"]).await;
    same("rooms", sorted(of_a), with_id(&a, &["one", "two"]));
    ack(&b, "join", ["one", "two"]).await;
    let of_a = ack(&a, "leave", "two").await;
    same("rooms", sorted(of_a), with_id(&a, &["one"]));
    let none: [&str; 0] = [];
    a.emit(
        "send to",
        (["one", "two"], none, "news", "not to the sender"),
    );
    a.emit(
        "emit to",
        (["one", "two"], none, "news", "to the sender too"),
    );
    a.emit("emit to", (none, ["two"], "news", "all but two"));
    a.emit("emit to", ([id(&c)], none, "news", "private"));
    a.emit("send to", (none, none, "news", "broadcast"));
    fence(&a).await;
    a.emit("emit to", (none, none, "news", "end"));
    for (events, want) in [
        (&mut a_events, &["to the sender too", "all but two"][..]),
        (
            &mut b_events,
            &["not to the sender", "to the sender too", "broadcast"],
        ),
        (&mut c_events, &["all but two", "private", "broadcast"]),
    ] {
        let mut got = Vec::new();
        loop {
            let mut news = next(events, "news").await;
            match news.pop() {
                Some(Value::String(text)) if text == "end" => break,
                Some(Value::String(text)) => got.push(text),
                other => panic!("no news: {other:?}"),
            }
        }
        same("news", got, want);
    }
    for socket in [&a, &b, &c] {
        leave(socket).await;
    }
    json!({})
}

/// What is volatile may be dropped on a slow connection, and is while there is none.
async fn volatile(run: &Run) -> Json {
    let (socket, mut events) = run.connect().await;
    let (closed, mut closes) = unbounded_channel();
    socket.on_disconnect(async move |socket: Socket, _: Disconnected| {
        socket
            .volatile()
            .emit("echo", "lost")
            .now()
            .expect("dropped");
        socket.emit("echo", "kept").now().expect("kept");
        let _ = closed.send(());
    });
    for n in 0..100 {
        let emitted = socket.volatile().emit("echo", n);
        soon("sent", emitted).await.expect("sent or dropped");
        fence(&socket).await;
    }
    socket.emit("echo", "end");
    let (mut arrived, mut last) = (0, -1);
    loop {
        match &next(&mut events, "echo").await[..] {
            [Value::Number(n)] => {
                let n = n.as_i64().expect("a number");
                assert!(n > last, "{n} came after {last}");
                (arrived, last) = (arrived + 1, n);
            }
            end => break same("the end", end, ["end".into()]),
        }
    }
    assert!(arrived > 0, "none of the volatile events has arrived");
    socket.manager().break_off();
    from(&mut closes, "the end of the connection").await;
    same(
        "what was kept",
        next(&mut events, "echo").await,
        ["kept".into()],
    );
    fence(&socket).await;
    leave(&socket).await;
    json!({ "arrived": arrived })
}

/// What becomes of volatile events at each moment: how many arrived, the best of many rounds.
async fn volatile_moments(run: &Run) -> Json {
    const ROUNDS: u32 = 10;
    let socket = run.builder().build().expect("valid options");
    let mut events = socket.events();
    let attempt = |socket: &Socket, moment: &str| {
        let emitted = socket.volatile().emit("echo", moment);
        emitted.now().expect("sent or dropped");
    };
    let (moved, mut moves) = unbounded_channel();
    socket.manager().on(move |event| {
        if let ManagerEvent::Upgraded(_) = event {
            let _ = moved.send(());
        }
    });
    socket.on_connect(async move |socket: Socket| attempt(&socket, "connect"));
    socket.on_disconnect(async move |socket: Socket, _: Disconnected| attempt(&socket, "away"));
    attempt(&socket, "before");
    join(&socket).await;
    if run.upgrades() {
        from(&mut moves, "an upgrade").await;
    }
    let other = socket.manager().socket("/admin");
    let other = other.build().expect("valid options");
    let mut others = other.events();
    attempt(&other, "not joined");
    join(&other).await;
    let mut arrived = arrivals(&other, &mut others).await;
    leave(&other).await;
    for _ in 0..ROUNDS {
        for moment in ["alone", "several", "after"] {
            // The POST of the round before is answered meanwhile, mostly.
            tokio::time::sleep(Duration::from_millis(5)).await;
            match moment {
                "several" => (0..3).for_each(|_| attempt(&socket, moment)),
                "after" => {
                    socket.emit("last", (moment, 0));
                    attempt(&socket, moment);
                }
                moment => attempt(&socket, moment),
            }
            for (moment, count) in arrivals(&socket, &mut events).await {
                let most = arrived.entry(moment).or_default();
                *most = count.max(*most);
            }
        }
    }
    socket.manager().break_off();
    let (back, mut returns) = unbounded_channel();
    socket.on_connect(async move |_: Socket| _ = back.send(()));
    from(&mut returns, "a connection").await;
    arrived.extend(arrivals(&socket, &mut events).await);
    leave(&socket).await;
    json!({ "arrived": arrived })
}

/// What has been echoed by now, and how often.
async fn arrivals(socket: &Socket, events: &mut Events) -> BTreeMap<String, u32> {
    let mut arrived = BTreeMap::new();
    socket.emit("echo", "end");
    loop {
        match &next(events, "echo").await[..] {
            [Value::String(moment)] if &**moment != "end" => {
                *arrived.entry(moment.to_string()).or_default() += 1;
            }
            end => break same("the end", end, ["end".into()]),
        }
    }
    arrived
}

/// In each way that a connection can end; the test looks at the server's side.
async fn disconnects(run: &Run) -> Json {
    let mut facts = Vec::new();
    for how in [
        "leave me",
        "leave me, all",
        "leave",
        "break off",
        "close engine",
    ] {
        let (socket, mut events) = run.connect().await;
        let manager = socket.manager();
        manager.set_reconnection(false);
        let (closed, mut closes) = unbounded_channel();
        socket.on_disconnect(async move |_: Socket, why: Disconnected| _ = closed.send(why));
        fence(&socket).await;
        let id = socket.id().expect("an id");
        match how {
            "leave me" => drop(socket.emit("leave me", false)),
            "leave me, all" => drop(socket.emit("leave me", true)),
            "leave" => soon("closed", socket.disconnect()).await,
            "break off" => manager.break_off(),
            how => drop(socket.emit(how, ())),
        }
        let why = from(&mut closes, "a reason").await;
        assert!(!why.will_reconnect() && !socket.is_active() && socket.id().is_none());
        assert!(soon("the end of the stream", events.next()).await.is_none());
        same("exactly one reason", closes.try_recv().is_err(), true);
        facts.push(json!({ "how": how, "id": id.as_str(), "reason": why.reason().as_str() }));
    }
    json!({ "ends": facts })
}

/// Emits and then ends the connection at once, in each way that there is; the test looks at what has
/// arrived on the server's side.
async fn last_words(run: &Run) -> Json {
    let mut facts = Vec::new();
    for how in [
        "disconnect",
        "close",
        "drop",
        "leave one of two",
        "come back",
    ] {
        let (socket, events) = run.connect().await;
        let id = socket.id().expect("an id");
        let manager = socket.manager();
        let (closed, mut closes) = unbounded_channel();
        manager.on(move |event| {
            if let ManagerEvent::Closed(_) = event {
                let _ = closed.send(());
            }
        });
        let other = match how {
            "leave one of two" => {
                let other = manager.socket("/admin").connect();
                Some(soon("joined", other).await.expect("joined"))
            }
            _ => None,
        };
        for n in 0..10 {
            socket.emit("last", (how, n, Bytes::from(vec![n; 10])));
            socket.emit("last", (how, 10 + n, "x".repeat(usize::from(n) * 1000)));
        }
        match how {
            "disconnect" => soon("closed", socket.disconnect()).await,
            "close" => soon("closed", manager.close()).await,
            "leave one of two" => {
                soon("left", socket.disconnect()).await;
                let other = other.expect("a second namespace");
                fence(&other).await;
                leave(&other).await;
            }
            "come back" => {
                drop(socket.disconnect());
                join(&socket).await;
                fence(&socket).await;
                leave(&socket).await;
            }
            _ => {
                drop((socket, manager, events));
                from(&mut closes, "the end").await;
            }
        }
        facts.push(json!({ "how": how, "id": id.as_str() }));
    }
    json!({ "ends": facts })
}

/// The server takes 10,000 bytes at once.
async fn payload(run: &Run) -> Json {
    let (socket, mut events) = run.connect().await;
    let refused = socket.emit("echo", "x".repeat(10_000)).now();
    let Err(EmitError::TooLarge { size, max }) = refused else {
        panic!("not refused: {refused:?}");
    };
    same("the bound", max, 10_000);
    same("the size", size, r#"42["echo",""]"#.len() + 10_000);
    let asked = socket.emit_with_ack::<Json>("ack", Bytes::from(vec![0; 10_001]));
    let asked = soon("a refusal", asked).await.expect_err("too large");
    assert!(
        matches!(asked, AckError::Emit(EmitError::TooLarge { .. })),
        "{asked:?}"
    );
    fence(&socket).await;
    let text = "é".repeat(500);
    for n in 0..100 {
        socket.emit("echo", (n, &text, Bytes::from(vec![n; 100])));
    }
    for n in 0..100 {
        let want = [n.into(), (&*text).into(), binary(&[n as u8; 100])];
        same("an echo", next(&mut events, "echo").await, want);
    }
    // As large as it may be.
    let whole = "x".repeat(10_000 - r#"42["echo",""]"#.len());
    socket.emit("echo", &whole).now().expect("not too large");
    same(
        "an echo",
        next(&mut events, "echo").await,
        [(&*whole).into()],
    );
    assert!(socket.is_connected());
    leave(&socket).await;
    json!({ "size": size })
}

/// What a server that cannot be connected to makes of it.
async fn failure(run: &Run) -> Json {
    let error: ConnectError = soon("an error", run.builder().connect())
        .await
        .expect_err("no connection");
    json!({
        "message": error.message(),
        "text": error.to_string(),
        "hint": error.hint(),
        "status": error.status(),
    })
}

async fn leave(socket: &Socket) {
    soon("closed", socket.disconnect()).await;
    assert!(!socket.is_connected());
}
