//! The server that the benchmark measures: `cargo run --profile dist --example bench_server -- --port 4000`,
//! with `--axum` as a layer under axum, with `--recovery` with connection state recovery. `bench/instructions.mjs`
//! counts what it does between two events `mark`.

use socketio::{Args, Recovery, Server, Socket};

fn server(recovery: bool) -> Server {
    let io = match recovery {
        true => Server::builder().recovery(Recovery::new()).build(),
        false => Server::new(),
    };
    io.on("message", async |socket: Socket, args: Args| {
        socket.emit("message", args);
    });
    io.on("ack", async |_: Socket, args: Args| args);
    io.on("binary", async |socket: Socket, args: Args| {
        socket.emit("binary", args);
    });
    io.on("broadcast", async |socket: Socket, args: Args| {
        socket.namespace().emit("broadcast", args);
    });
    io.on("join", async |socket: Socket, room: String| {
        socket.join(room)
    });
    io.on("room", async |socket: Socket, args: Args| {
        let (room, _): (String, serde_json::Value) = args.decode().expect("a room and a payload");
        socket.namespace().to(room).emit("room", args);
    });
    io.on("mark", async |_: Socket| mark());
    io
}

/// The profiler writes down what it has counted when this is called.
#[inline(never)]
fn mark() {
    std::hint::black_box(());
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut port = 4000;
    let (mut under_axum, mut recovery) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--axum" => under_axum = true,
            "--recovery" => recovery = true,
            "--port" => {
                port = arguments
                    .next()
                    .and_then(|p| p.parse().ok())
                    .expect("a port")
            }
            _ => panic!("usage: bench_server [--port N] [--axum] [--recovery]"),
        }
    }
    let io = server(recovery);
    if under_axum {
        let app = axum::Router::new().layer(io.layer());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        axum::serve(listener, app).await
    } else {
        io.serve(("127.0.0.1", port)).await
    }
}
