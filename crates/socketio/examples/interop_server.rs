//! The scenario server that the official JavaScript clients are tested against; see
//! `interop/CONTRACT.md`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Html;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use socketio::parser::MsgpackParser;
use socketio::{
    Ack, Args, BroadcastAckError, ConnectError, Cors, EngineRefusal, Forbidden, Handlers,
    ParentNamespace, PerMessageDeflate, Recovery, Routing, SameSite, Server, ServerBuilder,
    SessionCookie, Socket, Transport,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

fn fact(fact: Value) {
    println!("{fact}");
}

/// A fact that says whose it is, where the handshake has the header `x-case`.
fn fact_of(socket: &Socket, told: Value) {
    let mut headers = socket.handshake().headers();
    let case = headers.find(|(name, _)| *name == "x-case");
    fact(with_case(told, case.map(|(_, case)| case)));
}

fn with_case(mut told: Value, case: Option<&[u8]>) -> Value {
    if let Some(case) = case {
        told["case"] = String::from_utf8_lossy(case).into();
    }
    told
}

/// One room or several.
fn rooms(value: &Value) -> Vec<String> {
    match value {
        Value::String(room) => vec![room.clone()],
        value => serde_json::from_value(value.clone()).unwrap_or_default(),
    }
}

/// Says whether a value is none in JavaScript.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Bool(true) | Value::Object(_) => false,
    }
}

/// The options of a server of the reference that this one takes, too.
const OPTIONS: &[&str] = &[
    "addTrailingSlash",
    "allowEIO3",
    "allowUpgrades",
    "cleanupEmptyChildNamespaces",
    "connectTimeout",
    "connectionStateRecovery",
    "cookie",
    "cors",
    "destroyUpgrade",
    "destroyUpgradeTimeout",
    "httpCompression",
    "initialPacket",
    "maxHttpBufferSize",
    "path",
    "perMessageDeflate",
    "pingInterval",
    "pingTimeout",
    "serveClient",
    "transports",
    "upgradeTimeout",
];

fn builder(options: &Value, flags: &Value) -> ServerBuilder {
    let mut builder = Server::builder();
    let millis = |value: &Value| Duration::from_millis(value.as_u64().expect("milliseconds"));
    let empty = serde_json::Map::new();
    for (name, value) in options.as_object().unwrap_or(&empty) {
        builder = match (&**name, value) {
            // What is on by default and can be switched off.
            ("allowUpgrades", Value::Bool(false)) => builder.without_upgrades(),
            ("addTrailingSlash", Value::Bool(false)) => builder.without_trailing_slash(),
            ("destroyUpgrade", Value::Bool(false)) => builder.destroy_upgrade(None),
            ("httpCompression", Value::Bool(false)) => builder.without_http_compression(),
            (
                "allowUpgrades" | "addTrailingSlash" | "destroyUpgrade" | "httpCompression",
                Value::Bool(true),
            ) => builder,
            // All else that is off is as if left out; whether there is such an option is still asked.
            (name, Value::Null | Value::Bool(false)) if OPTIONS.contains(&name) => builder,
            ("pingInterval", value) => builder.ping_interval(millis(value)),
            ("pingTimeout", value) => builder.ping_timeout(millis(value)),
            ("upgradeTimeout", value) => builder.upgrade_timeout(millis(value)),
            ("connectTimeout", value) => builder.connect_timeout(millis(value)),
            ("maxHttpBufferSize", value) => {
                builder.max_payload(value.as_u64().expect("bytes") as usize)
            }
            ("transports", value) => {
                let names = value.as_array().expect("a list");
                let transport = |name: &Value| Transport::from_name(name.as_str()?);
                builder.transports(names.iter().filter_map(transport))
            }
            ("path", value) => builder.path(value.as_str().expect("a path")),
            ("destroyUpgradeTimeout", value) => builder.destroy_upgrade(Some(millis(value))),
            ("cleanupEmptyChildNamespaces", _) => builder.cleanup_empty_child_namespaces(),
            ("allowEIO3", Value::Bool(true)) => builder.allow_eio3(),
            ("serveClient", Value::Bool(true)) => {
                builder.serve_client(flags["clientFiles"].as_str().expect("a directory"))
            }
            ("perMessageDeflate", value) => builder.per_message_deflate(deflate(value)),
            ("httpCompression", value) => {
                let threshold = value["threshold"].as_u64().unwrap_or(1024);
                builder.http_compression(threshold as usize)
            }
            ("initialPacket", value) => builder.initial_packet(value.as_str().expect("a text")),
            ("connectionStateRecovery", value) => builder.recovery(recovery(value)),
            ("cookie", value) => builder.cookie(cookie(value)),
            // An origin that is nothing switches it off; one that is not there is every origin.
            ("cors", value) => match value.get("origin").map(is_off) {
                Some(true) => builder,
                Some(false) | None => builder.cors(cors(value)),
            },
            (name, value) => panic!("unknown option {name}: {value}"),
        };
    }
    if let Some(answer) = flags["allowRequest"].as_str().map(str::to_owned) {
        builder = builder.allow_request(async move |request| {
            fact(json!({ "allow_request": request.uri.to_string() }));
            match &*answer {
                "allow" => Ok(()),
                "deny" => Err(Forbidden::new()),
                message => Err(message.into()),
            }
        });
    }
    if let Some(kind) = flags["generateId"].as_str().map(str::to_owned) {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        builder = builder.generate_id(async move |_| match &*kind {
            "fail" => Err("no id".to_owned()),
            _ => {
                let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(format!("custom-{}", count + 1))
            }
        });
    }
    if flags["parser"] == "msgpack" {
        builder = builder.parser(MsgpackParser::default());
    }
    if flags["headers"] == true {
        let set = |name: &'static str| {
            move |headers: &mut HeaderMap, _: &_| {
                headers.insert(name, HeaderValue::from_static("1"));
            }
        };
        builder = builder
            .on_initial_headers(set("x-initial"))
            .on_headers(set("x-each"));
    }
    if let Some(kind) = flags["middleware"].as_str().map(str::to_owned) {
        builder = builder.engine_middleware(async move |request| match &*kind {
            "header" => {
                let name = http::HeaderName::from_static("x-middleware");
                Ok([(name, HeaderValue::from_static("1"))]
                    .into_iter()
                    .collect())
            }
            "fail" => Err(EngineRefusal::Failed("no".to_owned())),
            "tell" => {
                fact(json!({ "request": format!("{} {}", request.method, request.uri) }));
                Ok(HeaderMap::new())
            }
            _ => {
                let mut response = Response::new("who are you?".into());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                Err(EngineRefusal::Response(response))
            }
        });
    }
    builder
}

fn deflate(value: &Value) -> PerMessageDeflate {
    let mut options = PerMessageDeflate::new();
    if let Some(threshold) = value["threshold"].as_u64() {
        options = options.threshold(threshold as usize);
    }
    if let Some(bits) = value["serverMaxWindowBits"].as_u64() {
        options = options.server_max_window_bits(bits as u8);
    }
    if let Some(bits) = value["clientMaxWindowBits"].as_u64() {
        options = options.client_max_window_bits(bits as u8);
    }
    if value["serverNoContextTakeover"] == false {
        options = options.server_context_takeover();
    }
    if value["clientNoContextTakeover"] == false {
        options = options.client_context_takeover();
    }
    options
}

fn recovery(value: &Value) -> Recovery {
    let mut recovery = Recovery::new();
    if let Some(millis) = value["maxDisconnectionDuration"].as_u64() {
        recovery = recovery.max_disconnection(Duration::from_millis(millis));
    }
    match value["skipMiddlewares"] == false {
        true => recovery.run_middlewares(),
        false => recovery,
    }
}

fn cookie(value: &Value) -> SessionCookie {
    let mut cookie = SessionCookie::new();
    if let Some(name) = value["name"].as_str() {
        cookie = cookie.name(name).expect("a name");
    }
    if let Some(path) = value["path"].as_str() {
        cookie = cookie.path(Some(path)).expect("a path");
    }
    if let Some(seconds) = value["maxAge"].as_u64() {
        cookie = cookie.max_age(Duration::from_secs(seconds));
    }
    if value["secure"] == true {
        cookie = cookie.secure();
    }
    if value["sameSite"] == "strict" {
        cookie = cookie.same_site(Some(SameSite::Strict));
    }
    cookie
}

fn cors(value: &Value) -> Cors {
    let cors = match &value["origin"] {
        Value::Array(origins) => Cors::new().origins(origins.iter().filter_map(Value::as_str)),
        Value::String(origin) => Cors::new().origin(origin),
        Value::Bool(true) => Cors::new().mirror_origin(),
        Value::Object(rule) => match (rule.get("pattern"), rule.get("ending")) {
            (Some(Value::String(pattern)), _) => Cors::new().origin_pattern(pattern),
            (_, Some(Value::String(ending))) => {
                let ending = ending.clone();
                Cors::new().origin_fn(move |origin| origin.ends_with(&ending))
            }
            _ => panic!("unknown rule of origins: {rule:?}"),
        },
        _ => Cors::new(),
    };
    match value["credentials"] == true {
        true => cors.allow_credentials(),
        false => cors,
    }
}

/// Emits once or more; `how` says what is special about it.
async fn emit_with(
    socket: Socket,
    (how, times, event, value): (Value, u32, String, socketio::Value),
) {
    let event = match how["send"] == true {
        true => "message".to_owned(),
        false => event,
    };
    if how["first"] == true {
        socket.emit("first", ());
    }
    for _ in 0..times {
        if how["local"] == true {
            let all = socket.namespace().local();
            let all = match how["volatile"] == true {
                true => all.volatile(),
                false => all,
            };
            all.emit(&event, &value);
        } else if how["volatile"] == true {
            socket.volatile().emit(&event, &value);
        } else if how["compress"] == false {
            socket.uncompressed().emit(&event, &value);
        } else if how["send"] == true {
            socket.send(&value);
        } else {
            socket.emit(&event, &value);
        }
    }
}

type Addressed = (Vec<String>, Vec<String>, String, socketio::Value);

fn register(io: &Server, handlers: &Handlers, children: &ParentNamespace) {
    handlers.on_connect(async |socket: Socket| {
        let nsp = socket.namespace().name().to_owned();
        fact_of(
            &socket,
            json!({ "connect": { "nsp": nsp, "id": socket.id() } }),
        );
        if socket
            .auth::<Value>()
            .is_ok_and(|auth| auth["greet"] == true)
        {
            socket.volatile().emit("greeting", ());
        }
        let upgraded = socket.clone();
        if socket.connection().transport() == Transport::Polling {
            socket.connection().on_upgrade(move |transport| {
                fact_of(&upgraded, json!({ "upgrade": transport.as_str() }))
            });
        }
    });
    handlers.on_disconnecting(async |socket: Socket| {
        let rooms = socket.rooms();
        fact_of(&socket, json!({ "disconnecting": { "rooms": rooms } }));
    });
    handlers.on_disconnect(async |socket: Socket, reason: String| {
        let nsp = socket.namespace().name().to_owned();
        let told = json!({ "nsp": nsp, "id": socket.id(), "reason": reason });
        fact_of(&socket, json!({ "disconnect": told }));
    });
    handlers.on_error(async |socket: Socket, message: String| {
        fact_of(&socket, json!({ "error": message }));
    });
    handlers.event_middleware(|_, event, _| match event {
        "drop me" => Err("dropped".to_owned()),
        _ => Ok(()),
    });
    handlers.on(
        "last",
        async |socket: Socket, (how, n, _): (String, u64, socketio::Value)| {
            fact(json!({ "last": { "id": socket.id(), "how": how, "n": n } }));
        },
    );
    handlers.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    handlers.on("ack", async |_: Socket, args: Args| args);
    handlers.on(
        "ask",
        async |socket: Socket, (value, ms): (socketio::Value, u64)| {
            let answer = match ms {
                0 => socket.emit_with_ack("question", value),
                ms => socket
                    .timeout(Duration::from_millis(ms))
                    .emit_with_ack("question", value),
            };
            match answer.await {
                Ok::<socketio::Value, _>(answer) => socket.emit("answered", (None::<&str>, answer)),
                Err(error) => socket.emit("answered", (error.to_string(), None::<u8>)),
            };
        },
    );
    handlers.on("join", async |socket: Socket, names: Value| {
        socket.join(rooms(&names));
        socket.rooms()
    });
    handlers.on("leave", async |socket: Socket, names: Value| {
        socket.leave(rooms(&names));
        socket.rooms()
    });
    handlers.on("send to", async |socket: Socket, to: Addressed| {
        let (rooms, except, event, value) = to;
        socket.to(rooms).except(except).emit(event, value);
    });
    handlers.on("emit to", async |socket: Socket, to: Addressed| {
        let (rooms, except, event, value) = to;
        socket
            .namespace()
            .to(rooms)
            .except(except)
            .emit(event, value);
    });
    handlers.on(
        "gather",
        async |socket: Socket, (room, ms): (String, u64)| {
            let target = socket
                .namespace()
                .to(room)
                .timeout(Duration::from_millis(ms));
            let (complete, responses) = match target.emit_with_ack::<Value>("sum", ()).await {
                Ok(responses) => (true, responses),
                Err(BroadcastAckError::Incomplete { responses, .. }) => (false, responses),
                Err(error) => panic!("{error}"),
            };
            json!({ "complete": complete, "responses": responses })
        },
    );
    handlers.on("sockets", async |socket: Socket, room: String| {
        let sockets = socket
            .namespace()
            .to(room)
            .fetch_sockets()
            .await
            .expect("this server alone");
        let described = sockets.iter().map(
            |socket| json!({ "id": socket.id(), "rooms": socket.rooms(), "data": socket.data() }),
        );
        described.collect::<Vec<_>>()
    });
    handlers.on("set data", async |socket: Socket, data: Value| {
        socket.set_data(data).expect("JSON");
    });
    handlers.on(
        "sockets join",
        async |socket: Socket, (from, to): (String, String)| {
            socket.namespace().to(from).sockets_join(to);
        },
    );
    handlers.on(
        "sockets leave",
        async |socket: Socket, (from, what): (String, String)| {
            socket.namespace().to(from).sockets_leave(what);
        },
    );
    handlers.on(
        "kick",
        async |socket: Socket, (room, close): (String, bool)| match close {
            true => socket.namespace().to(room).disconnect_and_close_sockets(),
            false => socket.namespace().to(room).disconnect_sockets(),
        },
    );
    handlers.on(
        "remote ask",
        async |socket: Socket, (room, value, ms): (String, Value, u64)| {
            let found = socket.namespace().to(room).fetch_sockets().await;
            let found = found.expect("this server alone");
            let timeout = Duration::from_millis(ms);
            let answer = found[0].emit_with_ack::<Value>(timeout, "question", value);
            answer.await.ok()
        },
    );
    handlers.on("emit with", emit_with);
    let server = io.clone();
    handlers.on("make", async move |_: Socket, name: String| {
        server.of(name).name().to_owned()
    });
    let children = children.clone();
    handlers.on(
        "emit to children",
        async move |_: Socket, (event, value): (String, Value)| {
            children.emit(event, value).expect("an event");
        },
    );
    handlers.on(
        "leave me",
        async |socket: Socket, close: bool| match close {
            true => socket.disconnect_and_close(),
            false => socket.disconnect(),
        },
    );
    let server = io.clone();
    handlers.on(
        "last words",
        async move |socket: Socket, (count, how): (u32, String)| {
            for n in 1..=count {
                match n % 2 {
                    0 => socket.namespace().emit("last", n),
                    _ => socket.emit("last", n),
                };
            }
            match &*how {
                "later" => {
                    tokio::task::yield_now().await;
                    socket.disconnect_and_close();
                }
                "socket" => socket.disconnect_and_close(),
                "all" => socket.namespace().disconnect_and_close_sockets(),
                "remote" => {
                    for remote in socket
                        .namespace()
                        .fetch_sockets()
                        .await
                        .expect("one server")
                    {
                        remote.disconnect_and_close();
                    }
                }
                "leave" => socket.disconnect(),
                "connection" => socket.connection().close(),
                "engine" => server.close_connections(),
                "server" => server.close().await,
                _ => {}
            }
        },
    );
    handlers.on("handshake", async |socket: Socket| socket.handshake_json());
    handlers.on("transport", async |socket: Socket| {
        socket.connection().transport().as_str()
    });
    handlers.on("many", async |socket: Socket, count: u32| {
        for i in 0..count {
            socket.emit("n", i);
        }
    });
    handlers.on(
        "reserved",
        async |socket: Socket, (name,): (String,), ack: Ack| {
            let error = socket
                .emit(name, ())
                .now()
                .err()
                .map(|error| error.to_string());
            ack.send(error);
        },
    );
    handlers.on("spy", async |socket: Socket| {
        socket.on_any(async |socket: Socket, args: Args| {
            let name: String = args.decode().expect("a name");
            socket.emit("any", (name, args.len() - 1));
        });
        let case = socket.handshake().header("x-case").map(ToOwned::to_owned);
        socket.on_any_outgoing(move |_, name, _| {
            if name != "any" {
                let case = case.as_deref().map(str::as_bytes);
                fact(with_case(json!({ "outgoing": name }), case));
            }
        });
    });
    handlers.on(
        "ticks",
        async |socket: Socket, (count, every): (u64, u64)| {
            let namespace = socket.namespace();
            // Handles of before reach those who have come back, too.
            let sockets = namespace.sockets();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(Duration::from_millis(every));
                for n in 0..count {
                    interval.tick().await;
                    namespace.emit("tick", n);
                    if n % 10 == 0 {
                        for socket in &sockets {
                            socket.emit("own tick", n / 10);
                        }
                    }
                }
            });
        },
    );
    let server = io.clone();
    handlers.on("count", async move |_: Socket| server.clients_count());
    let server = io.clone();
    handlers.on(
        "close server",
        async move |_: Socket, times: Option<u32>| {
            let times = times.unwrap_or(1);
            // A task of its own, so that the fact is told whatever becomes of the connection's handlers.
            tokio::spawn(async move {
                for _ in 0..times {
                    server.close().await;
                }
                fact(json!({ "closed": times }));
            });
        },
    );
    let server = io.clone();
    handlers.on("close engine", async move |_: Socket| {
        server.close_connections()
    });
}

/// Serves under axum, with TLS and the version of HTTP that the client prefers.
async fn http2(io: &Server, tcp: TcpListener, tls: &Value) -> std::io::Result<()> {
    let file = |name: &str| tls[name].as_str().expect("a file").to_owned();
    let chain = CertificateDer::pem_file_iter(file("cert")).expect("a chain");
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            chain.map(|der| der.expect("a certificate")).collect(),
            PrivateKeyDer::from_pem_file(file("key")).expect("a key"),
        )
        .expect("a key pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let app = axum::Router::new()
        .route("/app", axum::routing::get(async || Html("<!doctype html>")))
        .layer(io.layer());
    axum::serve(Tls { tcp, acceptor }, app).await
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.tcp.accept().await.expect("a connection");
            // Who does not trust the certificate hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: HashMap<&str, &str> = arguments
        .chunks(2)
        .map(|pair| (&*pair[0], &*pair[1]))
        .collect();
    let parse = |name| serde_json::from_str(arguments.get(name).unwrap_or(&"{}")).expect("JSON");
    let (options, flags): (Value, Value) = (parse("--options"), parse("--flags"));

    let port: u16 = arguments
        .get("--port")
        .and_then(|p| p.parse().ok())
        .unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let mut builder = builder(&options, &flags);
    if let Some(secret) = flags["routing"].as_str() {
        builder = builder.routing(Routing::new(address.to_string(), secret));
    }
    let io = builder.build();
    io.on_connection_error(|error| {
        let told = json!({ "connection_error": {
            "code": error.code,
            "message": error.message,
            "context": error.context,
            "url": error.request.uri.to_string(),
        } });
        let case = error.request.headers.get("x-case");
        fact(with_case(told, case.map(HeaderValue::as_bytes)));
    });
    io.on_new_namespace(|namespace| fact(json!({ "new_namespace": namespace.name() })));
    io.of("/guarded")
        .middleware(async |socket: Socket, auth: Option<Value>| {
            let auth = auth.unwrap_or_default();
            let rooms = rooms(&auth["rooms"]);
            socket.join(&rooms);
            if let Some(wait) = auth["wait"].as_u64() {
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            fact(json!({ "asked": { "rooms": rooms } }));
            Ok::<_, ConnectError>(())
        });
    io.of("/guarded")
        .middleware(async |_: Socket, auth: Option<Value>| {
            match auth.is_some_and(|auth| auth["token"] == "ok") {
                true => Ok(()),
                false => Err(ConnectError::new("not authorized").with_data(json!({ "code": 42 }))),
            }
        });
    let children = io.of_pattern(r"^/dyn-\d+$");
    children.middleware(async |_: Socket, auth: Option<Value>| {
        match auth.is_some_and(|auth| auth["refuse"] == true || auth["refuse"] == "true") {
            true => Err(ConnectError::new("refused")),
            false => Ok(()),
        }
    });
    register(&io, &io, &children);
    register(&io, &io.of("/admin"), &children);
    register(&io, &io.of("/guarded"), &children);
    register(&io, &children, &children);
    let predicate = async |name: String, auth: Value| name.starts_with("/fn-") && auth["key"] == 1;
    register(&io, &io.of_fn(predicate), &children);

    if flags["http2"] == true {
        fact(json!({ "listening": address.port() }));
        return http2(&io, listener, &flags["tls"]).await;
    }
    let listening = io.listen_on(listener);
    fact(json!({ "listening": address.port() }));
    if flags["noApp"] == true {
        return listening.await;
    }
    let listening = match (flags["tls"]["cert"].as_str(), flags["tls"]["key"].as_str()) {
        (Some(certificate), Some(key)) => listening.tls(certificate, key).expect("a key pair"),
        _ => listening,
    };
    let app = axum::Router::new().route("/app", axum::routing::get(async || "app"));
    listening.fallback(app).await
}
