//! A server on socketioxide; see `interop/CONTRACT.md`.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use tokio::net::TcpListener;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    max_http_buffer_size: usize,
    ping_interval: u64,
    ping_timeout: u64,
}

// Each event has a task: with one thread none overtakes another.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given: HashMap<&str, &str> = words
        .chunks_exact(2)
        .map(|pair| (&*pair[0], &*pair[1]))
        .collect();
    let options: Options = serde_json::from_str(given["--options"])?;
    let (layer, io) = SocketIo::builder()
        .max_payload(options.max_http_buffer_size as u64)
        .ws_max_message_size(options.max_http_buffer_size)
        .ws_max_frame_size(options.max_http_buffer_size)
        .ping_interval(Duration::from_millis(options.ping_interval))
        .ping_timeout(Duration::from_millis(options.ping_timeout))
        // What is emitted beyond that is lost.
        .max_buffer_size(10_000)
        .build_layer();
    io.ns("/", listen);
    io.ns("/admin", listen);
    io.ns(
        "/guarded",
        (async || {}).with(async || Err("not authorized")),
    );
    let port: u16 = given["--port"].parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{{\"listening\":{}}}", listener.local_addr()?.port());
    axum::serve(listener, axum::Router::new().layer(layer)).await?;
    Ok(())
}

async fn listen(socket: SocketRef) {
    socket.on("echo", async |socket: SocketRef, Data::<String>(text)| {
        let _ = socket.emit("echo", &text);
    });
    socket.on(
        "echo bytes",
        async |socket: SocketRef, Data::<Bytes>(bytes)| {
            let _ = socket.emit("echo bytes", &bytes);
        },
    );
    socket.on("ack", async |Data::<String>(text), ack: AckSender| {
        let _ = ack.send(&text);
    });
    socket.on("later", async |Data::<String>(text), ack: AckSender| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = ack.send(&text);
    });
    socket.on("ask", async |socket: SocketRef, Data::<String>(text)| {
        let Ok(answer) = socket.emit_with_ack::<_, String>("question", &text) else {
            return;
        };
        if let Ok(answer) = answer.await {
            let _ = socket.emit("answered", &answer);
        }
    });
    socket.on(
        "join",
        async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
            socket.join(room.clone());
            let _ = ack.send(&room);
        },
    );
    socket.on("news", async |socket: SocketRef, Data::<String>(room)| {
        let _ = socket.within(room.clone()).emit("news", &room).await;
    });
    socket.on("leave me", async |socket: SocketRef| {
        let _ = socket.disconnect();
    });
    socket.on("end", async || std::process::exit(0));
}
