//! What tests of several servers share.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use socketio_adapters::redis::{RedisBus, StreamsBus};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Nothing that is tested takes as long as this; it only ends a test that hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let deadline = Duration::from_secs(30);
    tokio::time::timeout(deadline, future)
        .await
        .expect("in time")
}

pub(crate) fn spare_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let status = Command::new("kill").args([name, &id]).status().await;
    assert!(status.expect("kill").success());
}

/// A Redis of its own for each test.
pub(crate) struct Redis {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Redis {
    /// `None` where there is no Redis: `./test` installs it.
    pub(crate) async fn start() -> Option<Redis> {
        Redis::start_with(spare_port(), &["--appendonly", "no"]).await
    }

    /// Starts one that keeps everything in a folder.
    #[allow(dead_code, reason = "each test uses what it needs")]
    pub(crate) async fn start_in(port: u16, folder: &Path) -> Option<Redis> {
        let folder = folder.to_str()?;
        // Otherwise it may answer two seconds before it writes.
        let always = ["--appendonly", "yes", "--appendfsync", "always"];
        Redis::start_with(port, &[&always[..], &["--dir", folder]].concat()).await
    }

    pub(crate) async fn start_with(port: u16, args: &[&str]) -> Option<Redis> {
        let port_text = port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port_text, "--bind", "127.0.0.1", "--save", ""])
            .args(args)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("redis-server is not installed: what goes through it is left out");
            return None;
        };
        let mut lines = BufReader::new(child.stdout.take()?).lines();
        let mut said = String::new();
        while let Some(line) = soon(lines.next_line()).await.expect("its output") {
            if line.contains("Ready to accept connections") {
                // Read on, so that it can write on.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                let url = format!("redis://127.0.0.1:{port}");
                return Some(Redis { child, url });
            }
            said.push_str(&line);
        }
        panic!("redis-server did not start: {said}");
    }

    #[allow(dead_code, reason = "each test uses what it needs")]
    pub(crate) fn port(&self) -> u16 {
        let port = self.url.rsplit_once(':').map(|(_, port)| port.parse());
        port.expect("a port").expect("a number")
    }

    /// Kills it, and starts an empty one in its place.
    #[allow(dead_code, reason = "each test uses what it needs")]
    pub(crate) async fn restart(&mut self) {
        self.child.kill().await.expect("to end");
        let again = Redis::start_with(self.port(), &["--appendonly", "no"]).await;
        *self = again.expect("Redis");
    }

    #[allow(dead_code, reason = "each test uses what it needs")]
    pub(crate) fn bus(&self) -> RedisBus {
        RedisBus::new(&self.url).expect("an address")
    }

    pub(crate) fn streams(&self, count: u32) -> StreamsBus {
        let bus = StreamsBus::builder(&self.url).stream_count(count);
        bus.build().expect("an address")
    }
}
