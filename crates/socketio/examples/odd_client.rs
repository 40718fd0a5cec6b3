//! Runs the cases of `interop/odd`: one line of JSON each in, its verdict out.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use socketio::Transport;
use socketio::client::{Client, Disconnected, Socket, Version};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

const TEXT: &str = "ünïcödé € 😀";
const BYTES: [u8; 4] = [1, 2, 3, 250];

#[derive(Deserialize)]
struct Order {
    id: u64,
    url: String,
    revision: u32,
    transport: String,
    deadline: u64,
    /// Files of certificates and of a key.
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    /// The URL of a proxy.
    proxy: Option<String>,
    /// The environment has one.
    env: Option<serde_json::Value>,
}

#[tokio::main]
async fn main() {
    let (orders, mut ordered) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let order: Order = serde_json::from_str(&line).expect("an order");
            let _ = orders.send(order);
        }
    });
    while let Some(order) = ordered.recv().await {
        tokio::spawn(async move {
            let limit = Duration::from_millis(order.deadline);
            let verdict = match timeout(limit, run(&order, limit)).await {
                Ok(Ok(over)) => format!("delivers over {over}"),
                Ok(Err(why)) => format!("fails: {why}"),
                Err(_) => "fails: nothing more came".to_owned(),
            };
            // Nobody may be left to hear it.
            let verdict = json!({ "id": order.id, "verdict": verdict });
            let _ = writeln!(std::io::stdout(), "{verdict}");
        });
    }
}

enum News {
    Number(u32),
    Text(String),
    Bytes(Bytes),
    Lost(String),
}

async fn run(order: &Order, limit: Duration) -> Result<&'static str, String> {
    let transports: &[Transport] = match &*order.transport {
        "polling" => &[Transport::Polling],
        "websocket" => &[Transport::WebSocket],
        _ => &[Transport::Polling, Transport::WebSocket],
    };
    let (sender, mut news) = unbounded_channel();
    let lost = sender.clone();
    let mut builder = Client::builder(&order.url);
    if let Some(ca) = &order.ca {
        builder = builder.root_certificate(ca);
    }
    if let (Some(cert), Some(key)) = (&order.cert, &order.key) {
        builder = builder.client_certificate(cert, key);
    }
    builder = match (&order.proxy, &order.env) {
        (Some(proxy), _) => builder.proxy(proxy),
        (None, Some(_)) => builder,
        (None, None) => builder.without_proxy(),
    };
    let socket = builder
        .namespace("/")
        .version(match order.revision {
            3 => Version::V2,
            _ => Version::V4,
        })
        .transports(transports.iter().copied())
        .without_reconnection()
        .timeout(limit)
        .on("news", async move |_: Socket, value: socketio::Value| {
            let _ = sender.send(match value {
                socketio::Value::Number(n) => News::Number(n.as_u64().unwrap_or(0) as u32),
                socketio::Value::String(text) => News::Text(text),
                socketio::Value::Binary(bytes) => News::Bytes(bytes),
                other => News::Text(format!("{other:?}")),
            });
        })
        .build()
        .map_err(|error| error.to_string())?;
    socket.on_disconnect(async move |_: Socket, why: Disconnected| {
        let _ = lost.send(News::Lost(why.to_string()));
    });
    let over = deliver(order, &socket, &mut news).await;
    socket.disconnect().await;
    over
}

async fn deliver(
    order: &Order,
    socket: &Socket,
    news: &mut UnboundedReceiver<News>,
) -> Result<&'static str, String> {
    socket.connect().await.map_err(|error| error.to_string())?;
    for n in 1..=3_u32 {
        let answer: u32 = match socket.emit_with_ack("echo", n).await {
            Ok(answer) => answer,
            Err(error) => {
                while let Some(one) = news.recv().await {
                    if let News::Lost(why) = one {
                        return Err(format!("{error}: {why}"));
                    }
                }
                return Err(error.to_string());
            }
        };
        if answer != n {
            return Err(format!("{answer} instead of {n}"));
        }
    }
    for n in 0..3 {
        match (n, news.recv().await) {
            (0, Some(News::Number(1))) => {}
            (1, Some(News::Text(text))) if text == TEXT => {}
            (2, Some(News::Bytes(bytes))) if bytes == BYTES[..] => {}
            (_, Some(News::Lost(why))) => return Err(why),
            _ => return Err("wrong news".to_owned()),
        }
    }
    let until = Instant::now() + Duration::from_millis(1500);
    loop {
        match socket.manager().transport() {
            _ if !socket.is_connected() => return Err("lost".to_owned()),
            Some(Transport::WebSocket) => return Ok("websocket"),
            Some(_) if order.transport != "both" || Instant::now() >= until => {
                return Ok("polling");
            }
            _ => sleep(Duration::from_millis(10)).await,
        }
    }
}
