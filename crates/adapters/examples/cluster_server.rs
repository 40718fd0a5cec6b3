//! One server of a cluster on Redis or Postgres, which does what clients of its namespace `/control` say: for the
//! tests with servers of Node in `interop/`.
//!
//! `cluster_server --port 0 --options '{"redis":"redis://127.0.0.1:6379","name":"a"}'`; with
//! `"streams":1` it uses the streams adapter with so many streams, and clients may come back.
//! `cluster_server --port 0 --options '{"postgres":"postgres://postgres@127.0.0.1/postgres","name":"a"}'`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use socketio::{AdapterError, Args, BroadcastAckError, Recovery, Server, Socket, Value};
use socketio_adapters::postgres::PostgresBus;
use socketio_adapters::redis::{RedisBus, ShardedBus, StreamsBus, SubscriptionMode};

#[derive(Deserialize)]
struct Options {
    redis: Option<String>,
    postgres: Option<String>,
    name: String,
    /// Of the sharded adapter.
    #[serde(default)]
    mode: Option<String>,
    /// The number of streams, if they are used.
    streams: Option<u32>,
    /// How many entries a stream keeps.
    #[serde(default = "ten_thousand")]
    max_len: u64,
}

fn ten_thousand() -> u64 {
    10_000
}

/// What is to be done.
#[derive(Deserialize)]
struct Command {
    op: String,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    event: String,
    #[serde(default)]
    args: Vec<Value>,
    /// For sockets of this server alone.
    #[serde(default)]
    local: bool,
    /// A socket's.
    #[serde(default)]
    id: String,
    #[serde(default)]
    timeout: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Values(Vec<Value>),
    Json(serde_json::Value),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1))
            .ok_or(format!("{name} is missing"))
    };
    let options: Options = serde_json::from_str(after("--options")?)?;
    let builder = Server::builder();
    let builder = match (&options.redis, &options.postgres) {
        (Some(urls), _) => match (options.mode.as_deref(), options.streams) {
            (Some(mode), _) => builder.cluster(sharded(urls, mode)?),
            (None, Some(count)) => {
                let bus = StreamsBus::builder(urls).stream_count(count);
                let bus = bus.max_len(options.max_len).build()?;
                builder.cluster(bus).recovery(Recovery::new())
            }
            (None, None) => builder.cluster(RedisBus::new(urls)?),
        },
        (None, Some(url)) => builder.cluster(PostgresBus::new(url)?),
        (None, None) => return Err("neither redis nor postgres".into()),
    };
    let io = builder.build();
    io.on_connect(async |socket: Socket, auth: serde_json::Value| {
        if !socket.is_recovered() {
            // The value comes from JSON.
            let _ = socket.set_data(auth);
        }
    });
    let name = options.name;
    io.of("/").on_server_side("hello", move |args: Args| {
        let args: Vec<_> = args.iter().map(str::to_owned).collect();
        println!("{}", json!({"heard": args}));
        Some(json!(name))
    });
    let this = io.clone();
    io.of("/control")
        .on("do", async move |_: Socket, command: Command| {
            done(&this, command)
                .await
                .unwrap_or_else(|error| Outcome::Json(json!({"error": error})))
        });
    let listening = io.listen(("127.0.0.1", after("--port")?.parse()?)).await?;
    println!("{}", json!({"listening": listening.local_addr()?.port()}));
    listening.await?;
    Ok(())
}

fn sharded(urls: &str, mode: &str) -> Result<ShardedBus, Box<dyn std::error::Error>> {
    let mode = match mode {
        "dynamic" => SubscriptionMode::Dynamic,
        "dynamic-private" => SubscriptionMode::DynamicPrivate,
        "static" => SubscriptionMode::Static,
        other => return Err(format!("no mode {other:?}").into()),
    };
    let nodes: Vec<_> = urls.split(',').collect();
    let bus = match &nodes[..] {
        [url] => ShardedBus::new(url)?,
        nodes => ShardedBus::cluster(nodes)?,
    };
    Ok(bus.subscription_mode(mode))
}

async fn done(io: &Server, command: Command) -> Result<Outcome, String> {
    let root = io.of("/");
    let mut sockets = root.to(&command.rooms).except(&command.except);
    if command.local {
        sockets = sockets.local();
    }
    if command.timeout > 0 {
        sockets = sockets.timeout(Duration::from_millis(command.timeout));
    }
    let args = Args::from_values(&command.args).map_err(|error| error.to_string())?;
    let text = |error: &dyn std::error::Error| error.to_string();
    let result = match &*command.op {
        "emit" => {
            sockets.emit(&command.event, args);
            json!(true)
        }
        "emitWithAck" => match sockets.emit_with_ack::<Value>(&command.event, args).await {
            Ok(answers) => return Ok(Outcome::Values(answers)),
            Err(BroadcastAckError::Incomplete { responses, .. }) => {
                return Ok(Outcome::Values(responses));
            }
            Err(error) => return Err(text(&error)),
        },
        "askOne" => {
            let all = root.fetch_sockets().await.map_err(|error| text(&error))?;
            let one = all.iter().find(|socket| *socket.id() == *command.id);
            let one = one.ok_or("no such socket")?;
            let timeout = Duration::from_millis(command.timeout);
            let answer = one.emit_with_ack::<Value>(timeout, &command.event, args);
            return Ok(Outcome::Values(vec![answer.await.map_err(|error| text(&error))?]));
        }
        "fetchSockets" => match sockets.fetch_sockets().await {
            Ok(all) => all
                .iter()
                .map(|s| json!({"id": s.id(), "rooms": s.rooms(), "data": s.data(), "handshake": s.handshake()}))
                .collect(),
            Err(AdapterError::Timeout { sockets, missing, .. }) => {
                return Err(format!("{} sockets, {missing} servers missing", sockets.len()));
            }
            Err(error) => return Err(text(&error)),
        },
        "socketsJoin" => {
            sockets.sockets_join(command.args.iter().filter_map(Value::as_str).collect::<Vec<_>>());
            json!(true)
        }
        "socketsLeave" => {
            sockets.sockets_leave(command.args.iter().filter_map(Value::as_str).collect::<Vec<_>>());
            json!(true)
        }
        "disconnectSockets" => {
            sockets.disconnect_sockets();
            json!(true)
        }
        "serverSideEmit" => {
            let sent = root.server_side_emit(&command.event, args).await;
            sent.map_err(|error| text(&error))?;
            json!(true)
        }
        "serverSideEmitWithAck" => {
            let answers = root.server_side_emit_with_ack(&command.event, args).await;
            serde_json::Value::Array(answers.map_err(|error| text(&error))?)
        }
        "tick" => {
            // All are told the number, and each client of this server one of its own.
            let number = command.args.first();
            root.emit("tick", (&command.event, number));
            for socket in root.sockets() {
                // Who leaves at this moment is sent nothing.
                let _ = socket.emit("own tick", (&command.event, number)).now();
            }
            json!(true)
        }
        "serverCount" => json!(root.server_count().await.map_err(|error| text(&error))?),
        other => return Err(format!("no operation {other:?}")),
    };
    Ok(Outcome::Json(result))
}
