//! The suite over shard channels of Redis, and what is peculiar to them. S077.

use socketio_adapters::redis::{ShardedBus, SubscriptionMode};

use super::load::under_load;
use super::*;

const MODES: [SubscriptionMode; 3] = [
    SubscriptionMode::Dynamic,
    SubscriptionMode::DynamicPrivate,
    SubscriptionMode::Static,
];

fn bus(redis: &Redis, mode: SubscriptionMode) -> ShardedBus {
    let bus = ShardedBus::new(&redis.url).expect("an address");
    bus.subscription_mode(mode).prefix(&format!("{mode:?}"))
}

#[tokio::test]
async fn broadcasts_through_shard_channels() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    for mode in MODES {
        broadcasts(|| bus(&redis, mode)).await;
    }
}

#[tokio::test]
async fn answers_through_shard_channels() {
    for mode in MODES {
        let Some(redis) = Redis::start().await else {
            return;
        };
        answers(|| bus(&redis, mode)).await;
        let other = |mode| bus(&redis, mode).prefix("other");
        a_silent_client_is_missed(|| other(mode)).await;
    }
}

#[tokio::test]
async fn sockets_through_shard_channels() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    for mode in MODES {
        sockets(|| bus(&redis, mode)).await;
    }
}

#[tokio::test]
async fn servers_through_shard_channels() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    for mode in MODES {
        servers(|| bus(&redis, mode)).await;
    }
}

/// A connection that asks Redis what is subscribed to.
struct Observer(::redis::aio::MultiplexedConnection);

impl Observer {
    async fn new(redis: &Redis) -> Observer {
        let client = ::redis::Client::open(&*redis.url).expect("an address");
        let connection = soon(client.get_multiplexed_async_connection()).await;
        Observer(connection.expect("Redis"))
    }

    async fn channels(&mut self) -> BTreeSet<String> {
        let mut command = ::redis::cmd("PUBSUB");
        let command = command.arg("SHARDCHANNELS");
        soon(command.query_async(&mut self.0)).await.expect("names")
    }

    /// Waits until exactly these channels are subscribed to, besides those of responses.
    async fn sees(&mut self, expected: &[&str]) {
        let expected: BTreeSet<_> = expected.iter().map(|&name| name.to_owned()).collect();
        let is_response = |name: &str| {
            let own = name.rsplit('#').nth(1).unwrap_or_default();
            own.len() == 16 && own.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let mut seen = BTreeSet::new();
        for _ in 0..30_000 {
            seen = self.channels().await;
            seen.retain(|name| !is_response(name));
            if seen == expected {
                return;
            }
        }
        panic!("{seen:?}, not {expected:?}");
    }
}

#[tokio::test]
async fn a_rooms_channel_is_subscribed_to_while_somebody_is_there() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut observer = Observer::new(&redis).await;
    let cluster = Cluster::new(|| bus(&redis, SubscriptionMode::Dynamic), 0).await;
    observer.sees(&["Dynamic#/#"]).await;
    cluster.join(1, "room").await;
    observer.sees(&["Dynamic#/#", "Dynamic#/#room#"]).await;
    cluster.of(0).to("room").sockets_leave("room");
    observer.sees(&["Dynamic#/#"]).await;
    cluster.join(1, "room").await;
    cluster.join(2, "room").await;
    observer.sees(&["Dynamic#/#", "Dynamic#/#room#"]).await;
    cluster.of(0).disconnect_sockets();
    observer.sees(&["Dynamic#/#"]).await;
    for server in &cluster.servers {
        soon(server.close()).await;
    }
    observer.sees(&[]).await;
}

#[tokio::test]
async fn rooms_that_come_and_go_quickly_end_as_they_are() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut observer = Observer::new(&redis).await;
    let cluster = Cluster::new(|| bus(&redis, SubscriptionMode::Dynamic), 0).await;
    let rooms = ["a", "b", "c", "d"];
    for _ in 0..200 {
        cluster.of(1).local().sockets_join(rooms);
        tokio::task::yield_now().await;
        cluster.of(1).local().sockets_leave(rooms);
        tokio::task::yield_now().await;
    }
    cluster.of(1).local().sockets_join(["a", "c"]);
    observer
        .sees(&["Dynamic#/#", "Dynamic#/#a#", "Dynamic#/#c#"])
        .await;
    // Nothing is under way that could change it.
    soon(cluster.of(0).fetch_sockets()).await.expect("sockets");
    observer
        .sees(&["Dynamic#/#", "Dynamic#/#a#", "Dynamic#/#c#"])
        .await;
}

#[tokio::test]
async fn private_rooms_have_channels_where_that_is_the_mode() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mut observer = Observer::new(&redis).await;
    let mode = SubscriptionMode::DynamicPrivate;
    let mut cluster = Cluster::new(|| bus(&redis, mode), 0).await;
    let own = |guest: &Guest| format!("DynamicPrivate#/#{}#", guest.id());
    let mut names: Vec<_> = cluster.clients.iter().map(own).collect();
    names.push("DynamicPrivate#/#".to_owned());
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    observer.sees(&names).await;
    let id = cluster.clients[1].id();
    cluster.of(0).to(id).emit("news", "private");
    cluster.clients[1].hears("\"private\"").await;
}

#[tokio::test]
async fn sharded_rooms_outlive_a_redis_that_restarts() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| bus(&redis, SubscriptionMode::Dynamic), 0).await;
    cluster.join(1, "room").await;
    redis.restart().await;
    cluster.count_to(3).await;
    cluster.reach("room", &[1]).await;
    cluster.of(0).to("room").emit("news", "again");
    cluster.clients[1].hears("\"again\"").await;
}

#[tokio::test]
async fn a_sharded_redis_that_restarts_under_load_doubles_nothing() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let url = redis.url.clone();
    let bus = || ShardedBus::new(&url).expect("an address");
    let restart = async || {
        redis.child.kill().await.expect("to end");
        tokio::time::sleep(Duration::from_secs(1)).await;
        redis.restart().await;
    };
    let figures = under_load("restart", bus, restart).await;
    assert_eq!((figures.doubled, figures.late), (0, 0));
    // Two clients have lost less than half each: what waited came when all listened again.
    assert!(figures.lost < figures.meanwhile);
}

#[tokio::test]
async fn a_sharded_redis_that_pauses_under_load_loses_nothing() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let bus = || ShardedBus::new(&redis.url).expect("an address");
    let pause = async || {
        signal(&redis.child, "-STOP").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        signal(&redis.child, "-CONT").await;
    };
    let figures = under_load("pause", bus, pause).await;
    assert_eq!((figures.lost, figures.doubled, figures.late), (0, 0, 0));
}

#[tokio::test]
async fn what_is_no_message_on_a_shard_channel_is_counted_and_ignored() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let bus = || ShardedBus::new(&redis.url).expect("an address");
    let mut cluster = Cluster::new(bus, 0).await;
    let mut observer = Observer::new(&redis).await;
    let foreign = br#"{"type":3,"uid":"x","nsp":"/other","data":{"packet":{"type":2,"data":["news","foreign"]},"opts":{"rooms":[],"except":[],"flags":{}}}}"#;
    let none = [
        &b""[..],
        b"{",
        b"\x93",
        b"\xc1\xff",
        b"{\"type\":5}",
        b"[1,2,3]",
    ];
    for payload in none.into_iter().chain([&foreign[..]]) {
        let mut publish = ::redis::cmd("SPUBLISH");
        let publish = publish.arg("socket.io#/#").arg(payload);
        soon(publish.query_async::<()>(&mut observer.0))
            .await
            .expect("to be published");
    }
    cluster.of(1).emit("news", "fine");
    for client in &mut cluster.clients {
        client.hears("\"fine\"").await;
    }
    for server in &cluster.servers {
        soon(async {
            while server.stats().cluster_rejected < none.len() as u64 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(server.stats().cluster_rejected, none.len() as u64);
    }
}
