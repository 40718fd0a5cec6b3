//! The suite over a Redis Cluster of three nodes. S077.

use std::path::PathBuf;

use ::redis::aio::MultiplexedConnection;
use socketio_adapters::redis::{ShardedBus, SubscriptionMode};

use super::load::under_load;
use super::*;

struct Nodes {
    nodes: Vec<Node>,
    folder: PathBuf,
}

struct Node {
    redis: Redis,
    port: u16,
    args: Vec<String>,
}

impl Node {
    async fn start(port: u16, args: Vec<String>) -> Option<Node> {
        let words: Vec<_> = args.iter().map(String::as_str).collect();
        let redis = Redis::start_with(port, &words).await?;
        Some(Node { redis, port, args })
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = ::redis::Client::open(&*self.redis.url).expect("an address");
        let connection = soon(client.get_multiplexed_async_connection()).await;
        connection.expect("Redis")
    }

    async fn says<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = ::redis::Cmd::new();
        command.arg(words);
        let answer = command.query_async(&mut self.connection().await).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
}

impl Nodes {
    async fn start() -> Option<Nodes> {
        let folder = std::env::temp_dir().join(format!("redis-cluster-{}", spare_port()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (mut nodes, mut second_ports) = (Vec::new(), Vec::new());
        for i in 0..3 {
            let second_port = spare_port().to_string();
            let mut args = vec!["--cluster-enabled".to_owned(), "yes".to_owned()];
            args.extend(["--cluster-port".to_owned(), second_port.clone()]);
            args.extend(["--cluster-node-timeout".to_owned(), "1000".to_owned()]);
            let file = folder.join(format!("{i}.conf")).display().to_string();
            args.extend(["--cluster-config-file".to_owned(), file]);
            nodes.push(Node::start(spare_port(), args).await?);
            second_ports.push(second_port);
        }
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (node, (first, last)) in nodes.iter().zip(slots) {
            node.says::<()>(&["CLUSTER", "ADDSLOTSRANGE", first, last])
                .await;
        }
        for (node, second_port) in nodes.iter().zip(&second_ports).skip(1) {
            let port = node.port.to_string();
            let words = ["CLUSTER", "MEET", "127.0.0.1", &port, second_port];
            nodes[0].says::<()>(&words).await;
        }
        let nodes = Nodes { nodes, folder };
        nodes.are_one().await;
        Some(nodes)
    }

    async fn are_one(&self) {
        for node in &self.nodes {
            soon(async {
                loop {
                    let info: String = node.says(&["CLUSTER", "INFO"]).await;
                    let has = |line: &str| info.lines().any(|other| other == line);
                    if has("cluster_state:ok") && has("cluster_size:3") {
                        break;
                    }
                }
            })
            .await;
        }
    }

    fn bus(&self, mode: SubscriptionMode) -> ShardedBus {
        let urls: Vec<_> = self.nodes.iter().map(|node| &*node.redis.url).collect();
        let bus = ShardedBus::cluster(&urls).expect("addresses");
        bus.subscription_mode(mode)
    }

    /// Moves the slot of the channel of all to another node, and waits for the three servers there.
    async fn move_main_channel(&self) {
        let channel = "socket.io#/#";
        let old = self.owner(channel).await;
        let new = (old + 1) % 3;
        let slot: usize = self.nodes[0].says(&["CLUSTER", "KEYSLOT", channel]).await;
        let slot = slot.to_string();
        let old_id: String = self.nodes[old].says(&["CLUSTER", "MYID"]).await;
        let new_id: String = self.nodes[new].says(&["CLUSTER", "MYID"]).await;
        for (i, state, other) in [(new, "IMPORTING", &old_id), (old, "MIGRATING", &new_id)] {
            let words = ["CLUSTER", "SETSLOT", &slot, state, other];
            self.nodes[i].says::<()>(&words).await;
        }
        for i in [new, old, (old + 2) % 3] {
            let words = ["CLUSTER", "SETSLOT", &slot, "NODE", &new_id];
            self.nodes[i].says::<()>(&words).await;
        }
        let subscribers = ["PUBSUB", "SHARDNUMSUB", channel];
        soon(async {
            while self.nodes[new]
                .says::<(String, usize)>(&subscribers)
                .await
                .1
                != 3
            {}
        })
        .await;
    }

    /// Which node has a channel.
    async fn owner(&self, channel: &str) -> usize {
        let slot: usize = self.nodes[0].says(&["CLUSTER", "KEYSLOT", channel]).await;
        [5460, 10922, 16383].partition_point(|&last| last < slot)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn broadcasts_through_a_redis_cluster() {
    let Some(nodes) = Nodes::start().await else {
        return;
    };
    // Where rooms have no channels of their own, the order is that of one channel.
    broadcasts(|| nodes.bus(SubscriptionMode::Static)).await;
}

#[tokio::test]
async fn answers_through_a_redis_cluster() {
    let Some(nodes) = Nodes::start().await else {
        return;
    };
    answers(|| nodes.bus(SubscriptionMode::Dynamic)).await;
    let other = || nodes.bus(SubscriptionMode::Dynamic).prefix("other");
    a_silent_client_is_missed(other).await;
}

#[tokio::test]
async fn sockets_through_a_redis_cluster() {
    let Some(nodes) = Nodes::start().await else {
        return;
    };
    sockets(|| nodes.bus(SubscriptionMode::Static)).await;
}

#[tokio::test]
async fn servers_through_a_redis_cluster() {
    let Some(nodes) = Nodes::start().await else {
        return;
    };
    servers(|| nodes.bus(SubscriptionMode::Dynamic)).await;
}

#[tokio::test]
async fn rooms_on_all_nodes_of_a_redis_cluster_are_reached() {
    let Some(nodes) = Nodes::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| nodes.bus(SubscriptionMode::Dynamic), 0).await;
    let rooms: Vec<_> = (0..12).map(|i| format!("room {i}")).collect();
    let mut owners = BTreeSet::new();
    for room in &rooms {
        owners.insert(nodes.owner(&format!("socket.io#/#{room}#")).await);
        cluster.join(1, room).await;
        cluster.reach(room, &[1]).await;
        cluster.of(0).to(room).emit("news", room);
        cluster.clients[1].hears(&format!("\"{room}\"")).await;
    }
    assert_eq!(owners, BTreeSet::from([0, 1, 2]));
}

#[tokio::test]
async fn a_channel_that_moves_to_another_node_is_followed() {
    let Some(nodes) = Nodes::start().await else {
        return;
    };
    let cluster = Cluster::new(|| nodes.bus(SubscriptionMode::Dynamic), 0).await;
    nodes.move_main_channel().await;
    // Counted, before anything is published.
    cluster.count_to(3).await;
}

#[tokio::test]
async fn a_channel_that_moves_under_load_doubles_nothing() {
    let Some(nodes) = Nodes::start().await else {
        return;
    };
    let buses = [(); 3].map(|()| nodes.bus(SubscriptionMode::Dynamic));
    let mut those = buses.iter().cloned();
    let figures = {
        let next = std::cell::RefCell::new(&mut those);
        let bus = || next.borrow_mut().next().expect("three servers");
        under_load("move", bus, async || nodes.move_main_channel().await).await
    };
    assert_eq!((figures.doubled, figures.late), (0, 0));
    // Each was published, if only after its channel was found again.
    assert_eq!(buses.map(|bus| bus.dropped()), [0; 3]);
}

#[tokio::test]
async fn a_node_of_a_redis_cluster_that_restarts_under_load_is_found_again() {
    let Some(mut nodes) = Nodes::start().await else {
        return;
    };
    let urls: Vec<_> = nodes.nodes.iter().map(|n| n.redis.url.clone()).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let owner = nodes.owner("socket.io#/#").await;
    let restart = async || {
        let node = &mut nodes.nodes[owner];
        node.redis.child.kill().await.expect("to end");
        let again = Node::start(node.port, node.args.clone()).await;
        *node = again.expect("Redis");
        nodes.are_one().await;
    };
    let bus = || ShardedBus::cluster(&urls).expect("addresses");
    let figures = under_load("node restart", bus, restart).await;
    assert_eq!((figures.doubled, figures.late), (0, 0));
}
