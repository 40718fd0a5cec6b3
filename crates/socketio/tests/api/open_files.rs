//! A server that is out of file descriptors: it goes on, and is itself again when some are free.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use socketio::{Args, Server, Socket};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tracing_subscriber::fmt;

use crate::support::{Received, Ws, open_polling, soon};

const MODE: &str = "SOCKETIO_TEST_OPEN_FILES";

/// The server's half, in a process of its own: the limit is the process's.
#[test]
fn a_server_with_few_files() {
    let Ok(mode) = std::env::var(MODE) else {
        return;
    };
    fmt().with_ansi(false).with_writer(std::io::stdout).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let io = Server::new();
        io.on("echo", async |socket: Socket, args: Args| {
            socket.emit("echo", args);
        });
        let listening = io.listen("127.0.0.1:0").await.expect("a port");
        let address = listening.local_addr().expect("an address");
        let served = tokio::spawn(listening.into_future());
        let mut files = Vec::new();
        if mode == "others have them" {
            while let Ok(file) = std::fs::File::open("/dev/null") {
                files.push(file);
            }
            files.truncate(files.len() - 20);
        }
        println!("\naddress={address}");
        // A line on its standard input ends it.
        let line = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        let _ = line.await;
        io.close().await;
        served.await.expect("no panic").expect("no error");
        println!("\ndropped={}", io.stats().dropped_connections);
    });
}

struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    lines: Vec<String>,
}

impl Process {
    fn start(mode: &str) -> (Process, SocketAddr) {
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n 128; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().expect("a path"))
            .args([
                "--exact",
                "open_files::a_server_with_few_files",
                "--nocapture",
            ])
            .env(MODE, mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = BufReader::new(child.stdout.take().expect("an output"));
        let lines = Vec::new();
        let mut process = Process {
            child,
            output,
            lines,
        };
        let address = process.value("address=").parse().expect("an address");
        (process, address)
    }

    /// What stands behind a name at the beginning of a line.
    fn value(&mut self, name: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("a line");
            assert!(read > 0, "no {name} in {:?}", self.lines);
            self.lines.push(line.trim_end().to_owned());
            if let Some(value) = line.strip_prefix(name) {
                return value.trim_end().to_owned();
            }
        }
    }

    fn said(&self, what: &str) -> usize {
        let lines = self.lines.iter();
        lines.filter(|line| line.contains(what)).count()
    }

    /// Ends it from within; how many connections it has dropped.
    fn end(&mut self) -> usize {
        let mut input = self.child.stdin.take().expect("an input");
        input.write_all(b"end\n").expect("to write");
        self.value("dropped=").parse().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(soon(TcpStream::connect(address)).await.expect("to connect"));
    }
    silent
}

async fn echoes(ws: &mut Ws) {
    ws.send("42[\"echo\",1]").await;
    assert_eq!(ws.next().await, Received::Text("42[\"echo\",1]".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_stay_within_the_limit_of_open_files() {
    let (mut process, address) = Process::start("all for connections");
    let mut ws = Ws::connect(address).await;
    let mut crowd = silent(address, 300).await;
    // The first of them had to go, and sessions are opened while they come.
    assert_eq!(soon(crowd[0].read_u8()).await.ok(), None);
    open_polling(address).await;
    echoes(&mut ws).await;
    let dropped = process.end();
    assert!((150..=302).contains(&dropped), "{dropped}");
    assert_eq!(process.said("no connection can be accepted"), 0);
    assert_eq!(process.said("TCP connections are dropped"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_file_descriptors_recovers() {
    let (mut process, address) = Process::start("others have them");
    let mut ws = Ws::connect(address).await;
    let mut crowd = silent(address, 100).await;
    assert_eq!(soon(crowd[0].read_u8()).await.ok(), None);
    open_polling(address).await;
    let mut second = Ws::connect(address).await;
    for ws in [&mut ws, &mut second] {
        echoes(ws).await;
    }
    drop(crowd);
    assert!(process.end() > 0);
    assert_eq!(
        process.said("no connection can be accepted"),
        1,
        "{:?}",
        process.lines
    );
}

// All descriptors are in use by sessions, which nobody takes away: `close` is heard, though.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_cannot_accept_can_be_closed() {
    let (mut process, address) = Process::start("others have them");
    let mut sessions = Vec::new();
    for _ in 0..15 {
        sessions.push(Ws::connect(address).await);
    }
    let _waiting = silent(address, 30).await;
    for ws in &mut sessions {
        echoes(ws).await;
    }
    process.end();
    for ws in &mut sessions {
        assert_eq!(ws.closed().await, Some(None));
    }
}
