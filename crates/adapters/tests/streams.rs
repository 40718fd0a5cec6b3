//! Redis streams: clients that come back to another server, and a Redis that fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use socketio::{Args, Client, Recovery, Server, Socket, Transport, client};
use socketio_adapters::redis::StreamsBus;
use tokio::sync::mpsc;

#[path = "support/proxy.rs"]
mod proxy;
mod support;

use proxy::{Cut, Proxy};
use support::{Redis, signal, soon, spare_port};

struct Node {
    io: Server,
    bus: StreamsBus,
    address: SocketAddr,
    left: mpsc::UnboundedReceiver<String>,
}

async fn node(bus: StreamsBus, recovery: Recovery) -> Node {
    let io = Server::builder()
        .cluster(bus.clone())
        .recovery(recovery)
        .build();
    let (sender, left) = mpsc::unbounded_channel();
    io.on_disconnect(async move |_: Socket, reason: socketio::DisconnectReason| {
        let _ = sender.send(reason.as_str().to_owned());
    });
    io.on("join", async |socket: Socket, room: String| {
        socket.join(room);
        socket.set_data(json!({"name": "Ada"})).expect("JSON");
        true
    });
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(async move { listening.await });
    let node = Node {
        io,
        bus,
        address,
        left,
    };
    soon(async { while node.io.of("/").server_count().await.is_err() {} }).await;
    node
}

struct Guest {
    socket: client::Socket,
    heard: mpsc::UnboundedReceiver<String>,
    came: mpsc::UnboundedReceiver<bool>,
}

/// What was heard: the arguments without the offset, the sizes of attachments, the offset.
fn heard(args: &Args) -> String {
    let bytes = args.attachments().iter().map(|bytes| bytes.len());
    let bytes: Vec<_> = bytes.collect();
    let mut texts: Vec<_> = args.iter().collect();
    // What is volatile has no offset.
    let is_offset = |text: &str| text.contains('-');
    texts.pop_if(|last| is_offset(last));
    format!("{} {bytes:?}", texts.join(","))
}

impl Guest {
    async fn come(url: &str) -> Guest {
        let (sender, heard_events) = mpsc::unbounded_channel();
        let (coming, came) = mpsc::unbounded_channel();
        let socket = Client::builder(url)
            .transports([Transport::WebSocket])
            .reconnection_delay(Duration::from_millis(20))
            .reconnection_delay_max(Duration::from_millis(50))
            .on("news", async move |_: client::Socket, args: Args| {
                let _ = sender.send(heard(&args));
            })
            .connect()
            .await
            .expect("to connect");
        assert!(!socket.is_recovered());
        socket.on_connect(async move |socket: client::Socket| {
            let _ = coming.send(socket.is_recovered());
        });
        Guest {
            socket,
            heard: heard_events,
            came,
        }
    }

    async fn comes(&mut self) -> bool {
        soon(self.came.recv()).await.expect("a connection")
    }

    async fn hears(&mut self, expected: &str) {
        assert_eq!(soon(self.heard.recv()).await.as_deref(), Some(expected));
    }

    async fn joins(&self, room: &str) {
        let joined = self.socket.emit_with_ack::<Value>("join", room);
        soon(joined).await.expect("an answer");
    }

    fn id(&self) -> String {
        self.socket.id().expect("an id").to_string()
    }
}

async fn ask(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(&*redis.url).expect("an address");
    let connection = client.get_multiplexed_async_connection();
    soon(connection).await.expect("Redis")
}

async fn command<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    soon(command.query_async(connection))
        .await
        .expect("an answer")
}

/// The keys of all sessions.
async fn sessions(connection: &mut MultiplexedConnection) -> Vec<String> {
    command(connection, &["KEYS", "sio:session:*"]).await
}

#[tokio::test]
async fn a_client_comes_back_to_another_server_once_and_in_order() {
    for (how, count) in [(Cut::Closed, 1), (Cut::HalfOpen, 1), (Cut::HalfOpen, 3)] {
        let Some(redis) = Redis::start().await else {
            return;
        };
        let mut first = node(redis.streams(count), Recovery::new()).await;
        let second = node(redis.streams(count), Recovery::new()).await;
        let proxy = Proxy::to(first.address).await;
        let mut guest = Guest::come(&proxy.url).await;
        let mut other = Guest::come(&format!("http://{}", second.address)).await;
        let id = guest.id();
        guest.joins("room").await;
        second.io.of("/").emit("news", "first");
        guest.hears("\"first\" []").await;
        other.hears("\"first\" []").await;

        proxy.cut(how);
        if how == Cut::Closed {
            assert_eq!(soon(first.left.recv()).await.unwrap(), "transport close");
        }
        let (one, two) = (first.io.of("/"), second.io.of("/"));
        two.emit("news", ("missed", 1));
        two.to("room")
            .emit("news", socketio::Value::Binary(vec![1, 2, 3].into()));
        two.to("elsewhere").emit("news", "not for us");
        two.to("room").except("room").emit("news", "except us");
        two.volatile().emit("news", "volatile");
        two.to(&*id).emit("news", "alone");
        soon(async {
            // The first server may be slower, and what it emits comes in its own turn.
            while two.to("room").fetch_sockets().await.is_err() {}
        })
        .await;
        one.emit("news", "by the first");
        for text in ["\"missed\",1 []", "\"volatile\" []", "\"by the first\" []"] {
            other.hears(text).await;
        }
        proxy.lead_to(second.address);
        assert!(guest.comes().await, "{how:?}");
        assert_eq!(guest.id(), id);
        let placeholder = r#"{"_placeholder":true,"num":0} [3]"#;
        for text in [
            "\"missed\",1 []",
            placeholder,
            "\"alone\" []",
            "\"by the first\" []",
        ] {
            guest.hears(text).await;
        }
        let socket = two.socket(&id.as_str().into()).expect("it is here");
        assert!(socket.is_recovered());
        assert_eq!(socket.data::<Value>(), Some(json!({"name": "Ada"})));
        assert!(socket.rooms().contains(&"room".to_owned()));
        // An event to it alone takes its turn behind the broadcasts.
        one.to("room").emit("news", "live");
        guest.hears("\"live\" []").await;
        socket.emit("news", "own").now().expect("to be sent");
        guest.hears("\"own\" []").await;
        if how == Cut::HalfOpen {
            // The first server is told that its connection is dead.
            let reason = soon(first.left.recv()).await.unwrap();
            assert_eq!(reason, "transport error");
        }
        assert_eq!(one.sockets().len(), 0);
        assert_eq!(second.io.stats().recovered, 1);
    }
}

#[tokio::test]
async fn a_server_that_has_just_started_knows_what_was_missed() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let first = node(redis.streams(1), Recovery::new()).await;
    let proxy = Proxy::to(first.address).await;
    let mut guest = Guest::come(&proxy.url).await;
    first.io.of("/").emit("news", "first");
    guest.hears("\"first\" []").await;
    guest.joins("room").await;
    proxy.cut(Cut::HalfOpen);
    // More than is read at a time.
    const MISSED: usize = 2500;
    for n in 0..MISSED {
        let room = if n % 2 == 0 { "room" } else { "elsewhere" };
        first.io.of("/").to(room).emit("news", n);
    }
    let bytes = socketio::Value::Binary(vec![1, 2, 3].into());
    first.io.of("/").emit("news", bytes);
    soon(async {
        while command::<usize>(&mut connection, &["XLEN", "socket.io"]).await < MISSED + 2 {}
    })
    .await;
    let second = node(redis.streams(1), Recovery::new()).await;
    proxy.lead_to(second.address);
    assert!(guest.comes().await);
    for n in (0..MISSED).step_by(2) {
        guest.hears(&format!("{n} []")).await;
    }
    guest.hears("{\"_placeholder\":true,\"num\":0} [3]").await;
    second.io.of("/").emit("news", "live");
    guest.hears("\"live\" []").await;
}

#[tokio::test]
async fn what_a_dead_connection_still_writes_is_not_taken_for_the_new_one() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let node = node(redis.streams(1), Recovery::new()).await;
    let proxy = Proxy::to(node.address).await;
    let mut guest = Guest::come(&proxy.url).await;
    node.io.of("/").emit("news", "first");
    guest.hears("\"first\" []").await;
    soon(async { while sessions(&mut connection).await.is_empty() {} }).await;
    let key = sessions(&mut connection).await.remove(0);
    let before: String = command(&mut connection, &["GET", &key]).await;
    // To the same server: all but the owner is as it was.
    proxy.cut(Cut::HalfOpen);
    proxy.lead_to(node.address);
    assert!(guest.comes().await);
    let after: String = command(&mut connection, &["GET", &key]).await;
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_client_comes_back_when_its_server_has_closed() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let first = node(redis.streams(1), Recovery::new()).await;
    let second = node(redis.streams(1), Recovery::new()).await;
    let proxy = Proxy::to(first.address).await;
    let mut guest = Guest::come(&proxy.url).await;
    first.io.of("/").emit("news", "first");
    guest.hears("\"first\" []").await;
    guest.joins("room").await;
    proxy.lead_to(second.address);
    soon(first.io.close()).await;
    second.io.of("/").to("room").emit("news", "missed");
    assert!(guest.comes().await);
    guest.hears("\"missed\" []").await;
}

#[tokio::test]
async fn what_is_stored_is_what_the_server_that_has_the_client_stores() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let mut node = node(redis.streams(1), Recovery::new()).await;
    let mut guest = Guest::come(&format!("http://{}", node.address)).await;
    let all = node.io.of("/");
    let key = async |connection: &mut MultiplexedConnection| {
        soon(async {
            loop {
                if let Some(key) = sessions(connection).await.pop() {
                    return key;
                }
            }
        })
        .await
    };
    let name = key(&mut connection).await;
    let socket = all.socket(&guest.id().as_str().into()).expect("it is here");
    // Somebody has taken it: what changes here is not written.
    let _: usize = command(&mut connection, &["DEL", &name]).await;
    socket.join("room");
    all.emit("news", "written after it");
    guest.hears("\"written after it\" []").await;
    assert!(sessions(&mut connection).await.is_empty());
    // Somebody else has written it: that stays, also when the client leaves for good.
    let _: String = command(&mut connection, &["SET", &name, "another's"]).await;
    socket.join("another room");
    socket.disconnect();
    soon(node.left.recv()).await;
    // The queue is written in order.
    all.emit("news", "nobody hears it");
    soon(async { while command::<usize>(&mut connection, &["XLEN", "socket.io"]).await < 2 {} })
        .await;
    let value: String = command(&mut connection, &["GET", &name]).await;
    assert_eq!(value, "another's");
}

#[tokio::test]
async fn a_session_lives_as_long_as_its_client_answers() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let io = Server::builder()
        .cluster(redis.streams(1))
        .recovery(Recovery::new().max_disconnection(Duration::from_secs(5)))
        .ping_interval(Duration::from_millis(100))
        .build();
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listening.local_addr().expect("an address"));
    tokio::spawn(async move { listening.await });
    let _guest = Guest::come(&url).await;
    soon(async { while sessions(&mut connection).await.is_empty() {} }).await;
    let key = sessions(&mut connection).await.remove(0);
    // It has less and less time, and then more.
    let mut last = u64::MAX;
    soon(async {
        loop {
            let left: u64 = command(&mut connection, &["PTTL", &key]).await;
            if left > last {
                break;
            }
            last = left;
        }
    })
    .await;
    // A Redis that has lost it gets it again.
    let _: usize = command(&mut connection, &["DEL", &key]).await;
    soon(async { while sessions(&mut connection).await != [&*key] {} }).await;
}

#[tokio::test]
async fn a_private_id_is_one_of_its_namespace() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let node = node(redis.streams(1), Recovery::new()).await;
    node.io
        .of("/guarded")
        .middleware(async |_: Socket| Err::<(), _>(socketio::ConnectError::new("not you")));
    let url = format!("http://{}", node.address);
    let mut guest = Guest::come(&url).await;
    node.io.of("/").emit("news", "first");
    guest.hears("\"first\" []").await;
    soon(async { while sessions(&mut connection).await.is_empty() {} }).await;
    let key = sessions(&mut connection).await.remove(0);
    let pid = key.strip_prefix("sio:session:").expect("a session");
    let entries: Vec<(String, redis::Value)> =
        command(&mut connection, &["XRANGE", "socket.io", "-", "+"]).await;
    let proof = json!({"pid": pid, "offset": entries[0].0});
    let came = Client::builder(format!("{url}/guarded"))
        .auth(proof)
        .connect();
    let refused = soon(came).await.expect_err("refused");
    assert!(refused.to_string().contains("not you"), "{refused}");
}

#[tokio::test]
async fn a_session_is_used_once_and_only_in_time() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let short = Recovery::new().max_disconnection(Duration::from_millis(50));
    let mut first = node(redis.streams(1), short.clone()).await;
    let mut second = node(redis.streams(1), short).await;
    let proxy = Proxy::to(first.address).await;
    let mut guest = Guest::come(&proxy.url).await;
    first.io.of("/").emit("news", "first");
    guest.hears("\"first\" []").await;
    // Too late.
    proxy.cut(Cut::Closed);
    soon(first.left.recv()).await;
    soon(async { while !sessions(&mut connection).await.is_empty() {} }).await;
    proxy.lead_to(second.address);
    assert!(!guest.comes().await);
    assert_eq!(second.io.stats().not_recovered_unknown, 1);

    // Twice, with the same proof.
    let entries: Vec<(String, redis::Value)> =
        command(&mut connection, &["XRANGE", "socket.io", "-", "+"]).await;
    soon(async { while sessions(&mut connection).await.len() != 1 {} }).await;
    let key = sessions(&mut connection).await.remove(0);
    let pid = key.strip_prefix("sio:session:").expect("a session");
    let proof = json!({"pid": pid, "offset": entries[0].0});
    proxy.cut(Cut::HalfOpen);
    for (node, recovered) in [(&first, 1), (&second, 0)] {
        let socket = Client::builder(format!("http://{}", node.address))
            .auth(proof.clone())
            .connect()
            .await
            .expect("to connect");
        assert_eq!(node.io.stats().recovered, recovered);
        socket.disconnect();
        // Who leaves on purpose leaves nothing.
        soon(async { while !sessions(&mut connection).await.is_empty() {} }).await;
    }
    assert_eq!(soon(second.left.recv()).await.unwrap(), "transport error");
}

#[tokio::test]
async fn who_has_missed_what_is_trimmed_starts_anew() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let mut node = node(redis.streams(1), Recovery::new()).await;
    let proxy = Proxy::to(node.address).await;
    let mut guest = Guest::come(&proxy.url).await;
    node.io.of("/").emit("news", "first");
    guest.hears("\"first\" []").await;
    proxy.cut(Cut::Closed);
    soon(node.left.recv()).await;
    let _: usize = command(&mut connection, &["XTRIM", "socket.io", "MAXLEN", "0"]).await;
    proxy.lead_to(node.address);
    assert!(!guest.comes().await);
    assert_eq!(node.io.stats().not_recovered_offset, 1);
    node.io.of("/").emit("news", "again");
    guest.hears("\"again\" []").await;
}

#[tokio::test]
async fn what_is_no_entry_is_counted_and_ignored() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let node = node(redis.streams(1), Recovery::new()).await;
    let mut guest = Guest::come(&format!("http://{}", node.address)).await;
    let foreign: [&[&str]; 7] = [
        &["a", "b"],
        &["uid", "x", "type", "3"],
        &["uid", "x", "nsp", "/", "type", "3"],
        &["uid", "x", "nsp", "/", "type", "three", "data", "{}"],
        &["uid", "x", "nsp", "/", "type", "99", "data", "{}"],
        &["uid", "x", "nsp", "/", "type", "3", "data", "{\"packet\":"],
        &["uid", "x", "nsp", "/", "type", "3", "data", "!!!"],
    ];
    for fields in foreign {
        let words = [&["XADD", "socket.io", "*"], fields].concat();
        let _: String = command(&mut connection, &words).await;
    }
    // Of a namespace that is not here: nobody's business.
    let elsewhere = ["uid", "x", "nsp", "/elsewhere", "type", "3", "data", "{"];
    let words = [&["XADD", "socket.io", "*"], &elsewhere[..]].concat();
    let _: String = command(&mut connection, &words).await;
    let _: usize = command(&mut connection, &["PUBLISH", "socket.io#/#", "\u{1}"]).await;
    node.io.of("/").emit("news", "fine");
    guest.hears("\"fine\" []").await;
    soon(async {
        while node.io.stats().cluster_rejected < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(node.io.stats().cluster_rejected, 8);
}

#[tokio::test]
async fn what_is_trimmed_before_it_is_read_is_noticed() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let node = node(redis.streams(1), Recovery::new()).await;
    let mut guest = Guest::come(&format!("http://{}", node.address)).await;
    node.io.of("/").emit("news", "read");
    guest.hears("\"read\" []").await;
    assert_eq!(node.bus.gaps(), 0);
    // While the server makes its connections again.
    let mut trouble = redis::pipe();
    trouble.cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal");
    trouble.arg("SKIPME").arg("yes").ignore();
    for _ in 0..3 {
        let entry = ["uid", "x", "nsp", "/elsewhere", "type", "3", "data", "{"];
        trouble
            .cmd("XADD")
            .arg("socket.io")
            .arg("*")
            .arg(&entry)
            .ignore();
    }
    trouble
        .cmd("XTRIM")
        .arg("socket.io")
        .arg("MAXLEN")
        .arg(1)
        .ignore();
    soon(trouble.query_async::<()>(&mut connection))
        .await
        .expect("an answer");
    soon(async {
        while node.bus.gaps() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.io.of("/").emit("news", "goes on");
    guest.hears("\"goes on\" []").await;
}

/// What stands in a stream: the fields of each entry.
async fn entries(connection: &mut MultiplexedConnection, stream: &str) -> Vec<Vec<String>> {
    let entries: Vec<(String, Vec<String>)> =
        command(connection, &["XRANGE", stream, "-", "+"]).await;
    entries.into_iter().map(|(_, fields)| fields).collect()
}

#[tokio::test]
async fn entries_stand_where_node_writes_them_and_as_text_if_that_is_wanted() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut connection = ask(&redis).await;
    let bus = || {
        let bus = StreamsBus::builder(&redis.url)
            .stream_name("app")
            .stream_count(3);
        let bus = bus.channel_prefix("app").session_key_prefix("app:session:");
        bus.only_plaintext().build().expect("an address")
    };
    let (first, second) = (
        node(bus(), Recovery::new()).await,
        node(bus(), Recovery::new()).await,
    );
    let here = first.io.of("/dashboard");
    second.io.of("/dashboard");
    let mut guest = Guest::come(&format!("http://{}/dashboard", second.address)).await;
    soon(async { while here.server_count().await.ok() != Some(2) {} }).await;
    here.emit("news", socketio::Value::Binary(vec![1, 2].into()));
    guest.hears("{\"type\":\"Buffer\",\"data\":[1,2]} []").await;
    // A number that Node does not read, but writes.
    let entry = entries(&mut connection, "app--1").await.remove(0);
    let fields: Vec<_> = entry.iter().step_by(2).collect();
    assert_eq!(fields, ["uid", "nsp", "type", "data"]);
    assert_eq!(entry[3..6], ["/dashboard", "type", "3"]);
    let packet = r#"{"packet":{"type":2,"data":["news",{"type":"Buffer","data":[1,2]}]},"#;
    let opts = r#""opts":{"rooms":[],"except":[],"flags":{}}}"#;
    assert_eq!(entry[7], format!("{packet}{opts}"));
    let keys: Vec<String> = command(&mut connection, &["KEYS", "app:session:*"]).await;
    assert_eq!(keys.len(), 1);

    // As @socket.io/redis-streams-emitter writes.
    let data = r#"{"packet":{"type":2,"data":["news","outside"],"nsp":"/dashboard"},"opts":{"rooms":[],"flags":{},"except":[]}}"#;
    let emitted = [
        "uid",
        "emitter",
        "nsp",
        "/dashboard",
        "type",
        "3",
        "data",
        data,
    ];
    let words = [&["XADD", "app--1", "*"], &emitted[..]].concat();
    let _: String = command(&mut connection, &words).await;
    guest.hears("\"outside\" []").await;
}

/// Emits from all servers while something happens to Redis; every client is to hear everything, once
/// and in the same order.
async fn under_load(redis: &mut Redis, name: &str, trouble: impl AsyncFnOnce(&mut Redis)) {
    const EACH: usize = 2000;
    let (mut nodes, mut guests) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let node = node(redis.streams(1), Recovery::new()).await;
        guests.push(Guest::come(&format!("http://{}", node.address)).await);
        nodes.push(node);
    }
    let started = Instant::now();
    let emitting: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(i, node)| {
            let all = node.io.of("/");
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(1));
                for n in 0..EACH {
                    ticks.tick().await;
                    all.emit("news", (i, n));
                }
            })
        })
        .collect();
    let first = soon(guests[0].heard.recv()).await.expect("news");
    trouble(redis).await;
    for emitting in emitting {
        soon(emitting).await.expect("to end");
    }
    // Nothing comes after all.
    for node in &nodes {
        node.io.of("/").emit("news", "end");
    }
    let mut orders = vec![vec![first], Vec::new(), Vec::new()];
    for (guest, order) in guests.iter_mut().zip(&mut orders) {
        let mut going_on = nodes.len();
        while going_on > 0 {
            match soon(guest.heard.recv()).await.expect("news") {
                text if text.starts_with("\"end\"") => going_on -= 1,
                text => order.push(text),
            }
        }
    }
    let sent = nodes.len() * EACH;
    let (mut lost, mut doubled) = (0, 0);
    for order in &orders {
        let mut times = BTreeMap::new();
        for text in order {
            *times.entry(text).or_insert(0) += 1;
        }
        lost += sent - times.len();
        doubled += times.values().filter(|&&times| times > 1).count();
    }
    let delivered: usize = orders.iter().map(Vec::len).sum();
    println!(
        "{name}: {sent} sent, {delivered} of {} delivered, {lost} lost, {doubled} doubled, {:?}",
        sent * guests.len(),
        started.elapsed()
    );
    assert_eq!((lost, doubled), (0, 0));
    assert!(orders.iter().all(|order| *order == orders[0]));
    for i in 0..nodes.len() {
        let of_one = orders[0]
            .iter()
            .filter(|text| text.starts_with(&format!("{i},")));
        assert!(
            of_one.eq((0..EACH)
                .map(|n| format!("{i},{n} []"))
                .collect::<Vec<_>>()
                .iter())
        );
    }
    for node in &nodes {
        assert_eq!((node.bus.dropped(), node.bus.gaps()), (0, 0));
    }
}

/// A folder for what Redis keeps.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("sio-streams-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn who_comes_back_while_redis_is_away_waits_for_it() {
    let folder = Folder::new("away");
    let port = spare_port();
    let Some(mut redis) = Redis::start_in(port, &folder.0).await else {
        return;
    };
    let mut first = node(redis.streams(1), Recovery::new()).await;
    let second = node(redis.streams(1), Recovery::new()).await;
    let proxy = Proxy::to(first.address).await;
    let mut guest = Guest::come(&proxy.url).await;
    first.io.of("/").emit("news", "first");
    guest.hears("\"first\" []").await;
    proxy.cut(Cut::Closed);
    soon(first.left.recv()).await;
    redis.child.kill().await.expect("to end");
    // This waits for Redis, too.
    first.io.of("/").emit("news", "missed");
    proxy.lead_to(second.address);
    soon(async {
        while second.io.stats().opened < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let redis = Redis::start_in(port, &folder.0).await;
    assert!(guest.comes().await);
    guest.hears("\"missed\" []").await;
    drop(redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_under_load_loses_and_doubles_nothing() {
    let folder = Folder::new("killed");
    let port = spare_port();
    if let Some(mut redis) = Redis::start_in(port, &folder.0).await {
        under_load(&mut redis, "Redis killed 3 times", async |redis| {
            for _ in 0..3 {
                redis.child.kill().await.expect("to end");
                *redis = Redis::start_in(port, &folder.0).await.expect("Redis");
                let mut connection = ask(redis).await;
                let len = ["XLEN", "socket.io"];
                let before: usize = command(&mut connection, &len).await;
                soon(async {
                    while command::<usize>(&mut connection, &len).await < before + 100 {}
                })
                .await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_pauses_under_load_loses_and_doubles_nothing() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    under_load(&mut redis, "Redis paused", async |redis| {
        // Longer than an answer is waited for: what was on its way is sent again.
        signal(&redis.child, "-STOP").await;
        tokio::time::sleep(Duration::from_millis(5500)).await;
        signal(&redis.child, "-CONT").await;
        let mut connection = ask(redis).await;
        let _: String = command(&mut connection, &["CLIENT", "PAUSE", "300"]).await;
    })
    .await;
}
