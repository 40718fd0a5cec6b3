//! Many clients in one process: what they cost idle, and how fast client and server echo together.
//!
//! `cargo run --profile dist --example bench_client -- --url http://127.0.0.1:4000 --clients 10000 --idle`
//! prints the bytes of resident memory for each client that holds a joined WebSocket; without `--idle`
//! it keeps `--depth` messages in flight on each of `--clients` for `--seconds` and prints echoes a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socketio::client::{Client, Socket};
use socketio::{Args, Transport};

/// Resident KiB of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

async fn connect(url: &str, echoes: &Arc<AtomicU64>) -> Socket {
    let echoes = echoes.clone();
    Client::builder(url)
        .transports([Transport::WebSocket])
        .on("message", async move |socket: Socket, args: Args| {
            echoes.fetch_add(1, Ordering::Relaxed);
            socket.emit("message", args);
        })
        .connect()
        .await
        .expect("a server")
}

#[tokio::main]
async fn main() {
    let (mut url, mut clients, mut depth) = ("http://127.0.0.1:4000".to_owned(), 100, 8);
    let (mut seconds, mut idle) = (5, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a number")
        };
        match &*argument {
            "--clients" => clients = number(),
            "--depth" => depth = number(),
            "--seconds" => seconds = number(),
            "--idle" => idle = true,
            "--url" => url = arguments.next().expect("a URL"),
            _ => panic!(
                "usage: bench_client [--url URL] [--clients N] [--idle | --depth N --seconds N]"
            ),
        }
    }
    let echoes = Arc::new(AtomicU64::new(0));
    // What the first one costs is not each one's.
    let mut sockets = vec![connect(&url, &echoes).await];
    let before = resident();
    while sockets.len() < clients + 1 {
        let missing = clients + 1 - sockets.len();
        let some = (0..missing.min(100)).map(|_| {
            let (url, echoes) = (url.clone(), echoes.clone());
            tokio::spawn(async move { connect(&url, &echoes).await })
        });
        for joining in some.collect::<Vec<_>>() {
            sockets.push(joining.await.expect("no panic"));
        }
    }
    if idle {
        let grown = (resident() - before) * 1024;
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert!(sockets.iter().all(Socket::is_connected));
        println!(
            r#"{{"clients":{clients},"bytes_per_client":{},"tasks":{tasks}}}"#,
            grown / clients as u64
        );
        return;
    }
    for socket in &sockets[1..] {
        for _ in 0..depth {
            socket.emit("message", "x".repeat(32));
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (start, before) = (Instant::now(), echoes.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let count = echoes.load(Ordering::Relaxed) - before;
    let each_second = count as f64 / start.elapsed().as_secs_f64();
    println!(r#"{{"clients":{clients},"depth":{depth},"echoes_per_second":{each_second:.0}}}"#);
}
