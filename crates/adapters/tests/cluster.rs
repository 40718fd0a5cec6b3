//! Several servers as one: the same tests for each bus, with clients on real sockets. S077.

#[path = "cluster/load.rs"]
mod load;
#[path = "cluster/nats.rs"]
mod nats;
#[path = "cluster/network.rs"]
mod network;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "cluster/redis_cluster.rs"]
mod redis_cluster;
#[path = "cluster/sentinel.rs"]
mod sentinel;
#[path = "cluster/sharded.rs"]
mod sharded;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use socketio::cluster::{Bus, MemoryBus};
use socketio::{AdapterError, Args, BroadcastAckError, Client, Namespace, Server, Socket, client};
use socketio_adapters::redis::{Emitter, RedisBus};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc};

#[path = "cluster/postgres.rs"]
mod postgres;

mod support;

use support::{Redis, signal, soon, spare_port};

/// Three servers with a client each.
struct Cluster {
    servers: Vec<Server>,
    clients: Vec<Guest>,
}

struct Guest {
    socket: client::Socket,
    heard: mpsc::UnboundedReceiver<String>,
    probed: Arc<Notify>,
}

impl Guest {
    async fn come(url: &str, silent: bool) -> Guest {
        let (sender, heard) = mpsc::unbounded_channel();
        let news = sender.clone();
        let probed = Arc::new(Notify::new());
        let heard_probe = probed.clone();
        let socket = Client::builder(url)
            .on("news", async move |_: client::Socket, args: Args| {
                let bytes = args.attachments().iter().map(|bytes| bytes.len());
                let bytes: Vec<_> = bytes.collect();
                let texts = args.iter().collect::<Vec<_>>().join(",");
                let _ = news.send(match bytes.is_empty() {
                    true => texts,
                    false => format!("{texts} {bytes:?}"),
                });
            })
            .on("probe", async move |_: client::Socket| {
                heard_probe.notify_one()
            })
            .connect()
            .await
            .expect("to connect");
        if !silent {
            socket.on("ask", async |socket: client::Socket, _: Args| {
                socket.id().expect("an id").to_string()
            });
        }
        socket.on_disconnect(async move |_, _| {
            let _ = sender.send("disconnected".to_owned());
        });
        Guest {
            socket,
            heard,
            probed,
        }
    }

    fn id(&self) -> String {
        self.socket.id().expect("an id").to_string()
    }

    async fn hears(&mut self, expected: &str) {
        assert_eq!(soon(self.heard.recv()).await.as_deref(), Some(expected));
    }
}

async fn serve(bus: impl Bus) -> (Server, String) {
    let io = Server::builder().cluster(bus).build();
    io.on_connect(async |socket: Socket| {
        socket.set_data(json!({"seen": true})).expect("JSON");
    });
    io.on("join", async |socket: Socket, room: String| {
        socket.join(room);
        true
    });
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listening.local_addr().expect("an address"));
    tokio::spawn(async move { listening.await });
    (io, url)
}

impl Cluster {
    async fn new<B: Bus>(bus: impl Fn() -> B, silent: usize) -> Cluster {
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for i in 0..3 {
            let (io, url) = serve(bus()).await;
            clients.push(Guest::come(&url, i < silent).await);
            servers.push(io);
        }
        let cluster = Cluster { servers, clients };
        cluster.count_to(3).await;
        cluster
    }

    fn of(&self, i: usize) -> Namespace {
        self.servers[i].of("/")
    }

    async fn count_to(&self, count: usize) {
        for server in &self.servers[..count] {
            soon(async {
                while server.of("/").server_count().await.ok() != Some(count) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }

    async fn join(&self, i: usize, room: &str) {
        let socket = &self.clients[i].socket;
        soon(socket.emit_with_ack::<Value>("join", room))
            .await
            .expect("an answer");
    }

    /// Waits until members hear what other servers send to a room: a bus may subscribe to it only when
    /// somebody is there.
    async fn reach(&self, room: &str, members: &[usize]) {
        for &i in members {
            let (other, probed) = (self.of((i + 1) % 3), &self.clients[i].probed);
            soon(async {
                loop {
                    other.to(room).emit("probe", ());
                    let heard = tokio::time::timeout(Duration::from_millis(50), probed.notified());
                    if heard.await.is_ok() {
                        break;
                    }
                }
            })
            .await;
        }
    }

    fn ids(&self) -> BTreeSet<String> {
        self.clients.iter().map(Guest::id).collect()
    }
}

async fn broadcasts<B: Bus>(bus: impl Fn() -> B) {
    let mut cluster = Cluster::new(bus, 0).await;
    cluster.join(1, "room").await;
    cluster.join(2, "room").await;
    cluster.join(2, "quiet").await;
    cluster.reach("room", &[1, 2]).await;
    cluster.of(0).emit("news", ("all", 1));
    cluster.of(0).to("room").emit("news", "room");
    cluster
        .of(0)
        .to("room")
        .except("quiet")
        .emit("news", "loud");
    cluster
        .of(1)
        .emit("news", socketio::Value::Binary(vec![1, 2, 3].into()));
    cluster.of(2).local().emit("news", "local");
    for i in 0..100 {
        cluster.of(0).emit("news", i);
    }
    let binary = r#"{"_placeholder":true,"num":0} [3]"#;
    for (i, client) in cluster.clients.iter_mut().enumerate() {
        // What different servers send comes in any order.
        let mut expected: Vec<String> = vec!["\"all\",1".into()];
        if i > 0 {
            expected.push("\"room\"".into());
        }
        if i == 1 {
            expected.push("\"loud\"".into());
        }
        expected.extend((0..100).map(|i| i.to_string()));
        let others = if i == 2 {
            vec![binary, "\"local\""]
        } else {
            vec![binary]
        };
        let (mut from_first, mut from_others) = (Vec::new(), Vec::new());
        for _ in 0..expected.len() + others.len() {
            let heard = soon(client.heard.recv()).await.expect("news");
            match others.contains(&heard.as_str()) {
                true => from_others.push(heard),
                false => from_first.push(heard),
            }
        }
        assert_eq!(from_first, expected, "client {i}");
        from_others.sort();
        let mut others = others;
        others.sort();
        assert_eq!(from_others, others, "client {i}");
    }
}

async fn answers<B: Bus>(bus: impl Fn() -> B) {
    let cluster = Cluster::new(&bus, 0).await;
    let asked = cluster.of(1).timeout(Duration::from_secs(20));
    let mut ids: Vec<String> = soon(asked.emit_with_ack("ask", ())).await.expect("answers");
    ids.sort();
    assert_eq!(ids, cluster.ids().into_iter().collect::<Vec<_>>());

    let sockets = soon(cluster.of(0).fetch_sockets()).await.expect("sockets");
    let id = cluster.clients[2].id();
    let other = sockets
        .iter()
        .find(|socket| *socket.id() == *id)
        .expect("the other's");
    let answer = other.emit_with_ack::<String>(Duration::from_secs(20), "ask", ());
    assert_eq!(soon(answer).await.expect("an answer"), id);

    let nobody = cluster.of(0).to("nobody").timeout(Duration::from_secs(20));
    let none: Vec<Value> = soon(nobody.emit_with_ack("ask", ()))
        .await
        .expect("no answers");
    assert!(none.is_empty());
}

async fn a_silent_client_is_missed<B: Bus>(bus: impl Fn() -> B) {
    // The client of the first server handles nothing; the second one asks.
    let cluster = Cluster::new(&bus, 1).await;
    let asked = cluster.of(1).timeout(Duration::from_millis(500));
    let answers = soon(asked.emit_with_ack::<String>("ask", ())).await;
    let Err(BroadcastAckError::Incomplete { responses, missing }) = answers else {
        panic!("{answers:?}");
    };
    assert_eq!((responses.len(), missing), (2, 1));
}

async fn sockets<B: Bus>(bus: impl Fn() -> B) {
    let mut cluster = Cluster::new(bus, 0).await;
    cluster.join(1, "room").await;
    let sockets = soon(cluster.of(0).fetch_sockets()).await.expect("sockets");
    let ids: BTreeSet<_> = sockets
        .iter()
        .map(|socket| socket.id().to_string())
        .collect();
    assert_eq!(ids, cluster.ids());
    for socket in &sockets {
        assert_eq!(*socket.data(), json!({"seen": true}));
        assert!(
            socket.handshake()["headers"]["host"].is_string(),
            "{socket:?}"
        );
    }
    let some = soon(cluster.of(2).to("room").fetch_sockets())
        .await
        .expect("sockets");
    let [socket] = &some[..] else {
        panic!("{some:?}")
    };
    assert_eq!(*socket.id(), *cluster.clients[1].id());
    assert!(socket.rooms().contains(&"room".to_owned()));
    let local = soon(cluster.of(0).local().fetch_sockets())
        .await
        .expect("sockets");
    assert_eq!(local.len(), 1);

    cluster.of(0).to("room").sockets_join(["a", "b"]);
    cluster.reach("a", &[1]).await;
    cluster.reach("b", &[1]).await;
    cluster.of(0).to("a").emit("news", "joined");
    cluster.clients[1].hears("\"joined\"").await;
    cluster.of(0).to("room").sockets_leave("a");
    cluster.of(0).to("a").emit("news", "not");
    cluster.of(0).to("b").emit("news", "left");
    cluster.clients[1].hears("\"left\"").await;
    cluster.of(2).to("b").disconnect_sockets();
    cluster.clients[1].hears("disconnected").await;
}

async fn servers<B: Bus>(bus: impl Fn() -> B) {
    let mut cluster = Cluster::new(bus, 0).await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    for (i, server) in cluster.servers.iter().enumerate() {
        let sender = sender.clone();
        server.of("/").on_server_side("hello", move |args: Args| {
            let _ = sender.send((i, args.iter().collect::<Vec<_>>().join(",")));
            Some(json!({"server": i}))
        });
    }
    soon(cluster.of(0).server_side_emit("hello", ("a", 1)))
        .await
        .expect("to be sent");
    let mut both = [soon(heard.recv()).await, soon(heard.recv()).await];
    both.sort();
    assert_eq!(both, [1, 2].map(|i| Some((i, "\"a\",1".to_owned()))));

    let third = cluster.of(2);
    let answers = third.server_side_emit_with_ack::<Value>("hello", ());
    let mut answers = soon(answers).await.expect("answers");
    answers.sort_by_key(|answer| answer["server"].as_u64());
    assert_eq!(answers, [json!({"server": 0}), json!({"server": 1})]);

    let last = cluster.servers.pop().expect("the third");
    soon(last.close()).await;
    cluster.count_to(2).await;
    assert_eq!(
        soon(cluster.of(0).fetch_sockets())
            .await
            .expect("sockets")
            .len(),
        2
    );
}

#[tokio::test]
async fn broadcasts_in_memory() {
    let bus = MemoryBus::new();
    broadcasts(|| bus.clone()).await;
}

#[tokio::test]
async fn answers_in_memory() {
    let bus = MemoryBus::new();
    answers(|| bus.clone()).await;
    let bus = MemoryBus::new();
    a_silent_client_is_missed(|| bus.clone()).await;
}

#[tokio::test]
async fn sockets_in_memory() {
    let bus = MemoryBus::new();
    sockets(|| bus.clone()).await;
}

#[tokio::test]
async fn servers_in_memory() {
    let bus = MemoryBus::new();
    servers(|| bus.clone()).await;
}

/// Somebody who is there and says nothing.
#[derive(Debug)]
struct Mute;

impl socketio::cluster::Inbox for Mute {
    fn receive(&self, _: socketio_proto::cluster::Message) {}
    fn reject(&self, _: &socketio::cluster::Rejected) {}
    fn room_names(&self) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named_and_what_came_is_kept() {
    use socketio_proto::cluster::{Body, Message, Uid};

    let bus = MemoryBus::new();
    let cluster = Cluster::new(|| bus.clone(), 0).await;
    let uid = Uid::new("mute");
    let channel = bus.open("/", &uid, std::sync::Arc::new(Mute));
    let (nsp, body) = ("/".to_owned(), Body::InitialHeartbeat);
    let hello = Message {
        uid: uid.clone(),
        nsp,
        body,
    };
    channel.publish(&hello, None).expect("to be published");
    let sockets = soon(cluster.of(0).fetch_sockets()).await;
    let Err(AdapterError::Timeout {
        sockets,
        missing,
        servers,
        ..
    }) = sockets
    else {
        panic!("{sockets:?}");
    };
    assert_eq!(
        (sockets.len(), missing, servers),
        (3, 1, vec!["mute".to_owned()])
    );
}

#[tokio::test]
async fn broadcasts_through_redis() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    broadcasts(|| redis.bus()).await;
}

#[tokio::test]
async fn a_redis_that_is_slow_for_a_second_loses_nothing() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let buses = RefCell::new(Vec::new());
    let bus = || {
        buses.borrow_mut().push(redis.bus());
        buses.borrow().last().expect("a bus").clone()
    };
    let mut cluster = Cluster::new(bus, 0).await;
    let client = redis::Client::open(&*redis.url).expect("an address");
    let mut line = soon(client.get_multiplexed_async_connection())
        .await
        .expect("Redis");
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(1000).arg("ALL");
    soon(pause.query_async::<()>(&mut line))
        .await
        .expect("to pause");
    cluster.of(0).emit("news", "in the pause");
    cluster.clients[1].hears("\"in the pause\"").await;
    cluster.of(0).emit("news", "after it");
    cluster.clients[1].hears("\"after it\"").await;
    assert_eq!(buses.borrow()[0].dropped(), 0);
}

#[tokio::test]
async fn answers_through_redis() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    answers(|| redis.bus()).await;
    let Some(redis) = Redis::start().await else {
        return;
    };
    a_silent_client_is_missed(|| redis.bus()).await;
}

#[tokio::test]
async fn sockets_through_redis() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    sockets(|| redis.bus()).await;
}

#[tokio::test]
async fn servers_through_redis() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    servers(|| redis.bus()).await;
}

#[tokio::test]
async fn broadcasts_through_redis_streams() {
    for count in [1, 3] {
        let Some(redis) = Redis::start().await else {
            return;
        };
        broadcasts(|| redis.streams(count)).await;
    }
}

#[tokio::test]
async fn answers_through_redis_streams() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    answers(|| redis.streams(1)).await;
    let Some(redis) = Redis::start().await else {
        return;
    };
    a_silent_client_is_missed(|| redis.streams(1)).await;
}

#[tokio::test]
async fn sockets_through_redis_streams() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    sockets(|| redis.streams(1)).await;
}

#[tokio::test]
async fn servers_through_redis_streams() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    servers(|| redis.streams(1)).await;
}

#[tokio::test]
async fn an_emitter_reaches_the_clients_of_all_servers() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| redis.bus(), 0).await;
    let emitter = soon(Emitter::connect(&redis.url)).await.expect("Redis");
    soon(emitter.of("/").emit("news", "from outside"))
        .await
        .expect("to be sent");
    for client in &mut cluster.clients {
        client.hears("\"from outside\"").await;
    }
}

/// Passes on what it is told.
#[derive(Debug)]
struct Ears(mpsc::UnboundedSender<socketio_proto::cluster::Message>);

impl socketio::cluster::Inbox for Ears {
    fn receive(&self, message: socketio_proto::cluster::Message) {
        let _ = self.0.send(message);
    }
    fn reject(&self, _: &socketio::cluster::Rejected) {}
    fn room_names(&self) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_namespace_that_is_made_again_outlives_its_predecessor() {
    use socketio_proto::cluster::{Body, BroadcastOptions, Message, Uid};

    let Some(redis) = Redis::start().await else {
        return;
    };
    let (bus, other) = (redis.bus(), redis.bus());
    let open = |bus: &RedisBus, name: &str| {
        let (sender, heard) = mpsc::unbounded_channel();
        let ears = std::sync::Arc::new(Ears(sender));
        (bus.open("/child", &Uid::new(name), ears), heard)
    };
    let (first, _) = open(&bus, "first");
    let (second, mut heard) = open(&bus, "second");
    soon(first.close()).await;
    drop(first);
    let (there, _heard) = open(&other, "there");
    soon(async {
        while there.server_count().await != Ok(2) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let message = Message {
        uid: Uid::new("there"),
        nsp: "/child".to_owned(),
        body: Body::SocketsJoin {
            opts: BroadcastOptions::default(),
            rooms: vec!["room".to_owned()],
        },
    };
    there.publish(&message, None).expect("to be published");
    assert_eq!(soon(heard.recv()).await, Some(message));
    drop(second);
}

#[tokio::test]
async fn a_redis_that_restarts_is_found_again() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| redis.bus(), 0).await;
    redis.restart().await;
    cluster.count_to(3).await;
    cluster.of(0).emit("news", "again");
    for client in &mut cluster.clients {
        client.hears("\"again\"").await;
    }
    drop(redis);
}

#[tokio::test]
async fn a_redis_that_pauses_loses_nothing() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| redis.bus(), 0).await;
    signal(&redis.child, "-STOP").await;
    for i in 0..1000 {
        cluster.of(0).emit("news", i);
    }
    // This server's own client does not wait for Redis.
    for i in 0..1000 {
        cluster.clients[0].hears(&i.to_string()).await;
    }
    signal(&redis.child, "-CONT").await;
    for client in &mut cluster.clients[1..] {
        for i in 0..1000 {
            client.hears(&i.to_string()).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_message_disturbs_nobody() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| redis.bus(), 0).await;
    let client = ::redis::Client::open(&*redis.url).expect("an address");
    let mut connection = soon(client.get_multiplexed_async_connection())
        .await
        .expect("Redis");
    for channel in [
        "socket.io#/#",
        "socket.io#/#room#",
        "socket.io-request#/#",
        "socket.io-response#/#",
    ] {
        for payload in [
            &b""[..],
            b"{",
            b"\x93",
            b"\xc1\xff",
            b"{\"type\":5}",
            b"[1,2,3]",
            b"{\"type\":99}",
        ] {
            let mut publish = ::redis::cmd("PUBLISH");
            let publish = publish.arg(channel).arg(payload);
            soon(publish.query_async::<()>(&mut connection))
                .await
                .expect("to be published");
        }
    }
    cluster.of(1).emit("news", "fine");
    for client in &mut cluster.clients {
        client.hears("\"fine\"").await;
    }
    // An empty payload, broken JSON, broken MessagePack ...: of a channel's seven none is a message.
    for server in &cluster.servers {
        let rejected = server.stats().cluster_rejected;
        assert!(rejected >= 20, "{rejected}");
    }
}
