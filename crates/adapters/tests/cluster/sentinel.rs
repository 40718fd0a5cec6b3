//! A Redis that is watched by sentinels, which make another one the master when it fails.

use std::path::PathBuf;

use socketio_adapters::redis::{ShardedBus, StreamsBus};

use super::*;

/// A master with a replica, and one sentinel.
struct Watched {
    master: Redis,
    _replica: Redis,
    sentinel: Child,
    url: String,
    folder: PathBuf,
}

impl Watched {
    async fn start() -> Option<Watched> {
        let master = Redis::start().await?;
        let of = ["--replicaof", "127.0.0.1", &master.port().to_string()];
        let often = ["--repl-diskless-sync-delay", "0", "--appendonly", "no"];
        let replica = Redis::start_with(spare_port(), &[&of[..], &often].concat()).await?;
        wait_for(&replica.url, "master_link_status:up").await;
        let folder = std::env::temp_dir().join(format!("sio-sentinel-{}", spare_port()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (port, file) = (spare_port(), folder.join("sentinel.conf"));
        let conf = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n",
            master.port()
        );
        std::fs::write(&file, conf).expect("to write");
        let sentinel = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let url = format!("redis://127.0.0.1:{port}");
        wait_for(&url, "slaves=1").await;
        Some(Watched {
            master,
            _replica: replica,
            sentinel: sentinel.expect("a sentinel"),
            url,
            folder,
        })
    }

    /// Kills the master, and waits until the sentinel has chosen another.
    async fn fail_over(&mut self) {
        let old = self.master.port();
        self.master.child.kill().await.expect("to end");
        soon(async {
            loop {
                let mut connection = connection(&self.url).await;
                let mut ask = ::redis::cmd("SENTINEL");
                ask.arg("get-master-addr-by-name").arg("main");
                let found = ask.query_async::<Vec<String>>(&mut connection).await;
                if found.expect("an answer")[1] != old.to_string() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.sentinel.start_kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn connection(url: &str) -> ::redis::aio::MultiplexedConnection {
    let client = ::redis::Client::open(url).expect("an address");
    soon(async {
        loop {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                return connection;
            }
        }
    })
    .await
}

/// Waits until Redis, or a sentinel, says something of itself.
async fn wait_for(url: &str, words: &str) {
    let mut connection = connection(url).await;
    soon(async {
        loop {
            let ask = ::redis::cmd("INFO");
            let info = ask.query_async::<String>(&mut connection).await;
            if info.is_ok_and(|info| info.contains(words)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn survives_a_failover<B: Bus>(bus: impl Fn(&[&str]) -> B) {
    let Some(mut watched) = Watched::start().await else {
        return;
    };
    let urls = [watched.url.clone()];
    let mut cluster = Cluster::new(|| bus(&[&urls[0]]), 0).await;
    cluster.of(0).emit("news", "before");
    for client in &mut cluster.clients {
        client.hears("\"before\"").await;
    }
    watched.fail_over().await;
    cluster.count_to(3).await;
    cluster.of(0).emit("news", "after");
    for client in &mut cluster.clients {
        client.hears("\"after\"").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_of_a_redis_is_found_through_sentinels() {
    survives_a_failover(|urls| RedisBus::with_sentinels(urls, "main").expect("addresses")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_is_found_by_the_sharded_adapter() {
    survives_a_failover(|urls| ShardedBus::with_sentinels(urls, "main").expect("addresses")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_is_found_by_streams() {
    let bus = |urls: &[&str]| StreamsBus::builder_with_sentinels(urls, "main").build();
    survives_a_failover(|urls| bus(urls).expect("addresses")).await;
}
