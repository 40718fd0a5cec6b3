//! Each option that takes a number or a duration, at the ends of its range: it is refused by name when the
//! server or client is made, or what was made works.

use std::collections::BTreeSet;
use std::time::Duration;

use socketio::client::{Client, ClientBuilder};
use socketio::{
    Cors, PerMessageDeflate, RateLimit, RatePolicy, Recovery, Routing, Server, ServerBuilder,
    SessionCookie,
};

use crate::support::{Polling, Ws, soon, start};

type On<B, V> = fn(B, V) -> B;

const SERVER_DURATIONS: &[(&str, On<ServerBuilder, Duration>)] = &[
    ("body_timeout", ServerBuilder::body_timeout),
    ("connect_timeout", ServerBuilder::connect_timeout),
    ("destroy_upgrade", |b, d| b.destroy_upgrade(Some(d))),
    ("expiry_warning", ServerBuilder::expiry_warning),
    ("head_timeout", ServerBuilder::head_timeout),
    (
        "keep_empty_child_namespaces",
        ServerBuilder::keep_empty_child_namespaces,
    ),
    ("max_age", |b, d| {
        b.cors(Cors::new().origin("http://a.example").max_age(d))
            .cookie(SessionCookie::new().max_age(d))
    }),
    ("max_disconnection", |b, d| {
        b.recovery(Recovery::new().max_disconnection(d))
    }),
    ("ping_interval", ServerBuilder::ping_interval),
    ("ping_timeout", ServerBuilder::ping_timeout),
    ("shutdown_timeout", ServerBuilder::shutdown_timeout),
    ("upgrade_timeout", ServerBuilder::upgrade_timeout),
];

const SERVER_NUMBERS: &[(&str, On<ServerBuilder, usize>)] = &[
    ("http_compression", ServerBuilder::http_compression),
    ("ipv6_prefix", |b, n| {
        b.max_connections_per_address(9).ipv6_prefix(n as u32)
    }),
    ("level", |b, n| {
        b.per_message_deflate(PerMessageDeflate::new().level(n as u32))
    }),
    ("bytes", |b, n| {
        b.rate_limit(RateLimit::new().bytes(n, n).policy(RatePolicy::Drop))
    }),
    ("events", |b, n| {
        b.rate_limit(RateLimit::new().events(n as u32, n as u32))
    }),
    ("max_attachments", ServerBuilder::max_attachments),
    ("max_bytes", |b, n| b.recovery(Recovery::new().max_bytes(n))),
    ("max_client_bytes", |b, n| {
        b.recovery(Recovery::new().max_client_bytes(n))
    }),
    ("max_auth", ServerBuilder::max_auth),
    ("max_connections", ServerBuilder::max_connections),
    ("max_connections_per_address", |b, n| {
        b.max_connections_per_address(n as u32)
    }),
    (
        "max_dynamic_namespaces",
        ServerBuilder::max_dynamic_namespaces,
    ),
    ("max_forwarded", |b, n| {
        b.routing(Routing::new("127.0.0.1:1", [7; 16]).max_forwarded(n))
    }),
    ("max_handshakes_per_second", |b, n| {
        b.max_handshakes_per_second(n as u32, n as u32)
    }),
    ("max_header_bytes", ServerBuilder::max_header_bytes),
    ("max_tcp_connections", ServerBuilder::max_tcp_connections),
    ("max_namespaces", ServerBuilder::max_namespaces),
    ("max_payload", ServerBuilder::max_payload),
    ("max_pending_acks", ServerBuilder::max_pending_acks),
    ("max_queue", ServerBuilder::max_queue),
    ("max_total_queue", ServerBuilder::max_total_queue),
    ("max_running_handlers", |b, n| {
        b.max_running_handlers(n as u32)
    }),
    ("threshold", |b, n| {
        b.per_message_deflate(PerMessageDeflate::new().threshold(n))
    }),
];

const CLIENT_DURATIONS: &[(&str, On<ClientBuilder, Duration>)] = &[
    ("ack_timeout", ClientBuilder::ack_timeout),
    ("reconnection_delay", ClientBuilder::reconnection_delay),
    (
        "reconnection_delay_max",
        ClientBuilder::reconnection_delay_max,
    ),
    ("timeout", ClientBuilder::timeout),
];

const CLIENT_NUMBERS: &[(&str, On<ClientBuilder, usize>)] = &[
    ("max_attachments", ClientBuilder::max_attachments),
    ("max_message", ClientBuilder::max_message),
    ("max_queue", ClientBuilder::max_queue),
    ("max_running_handlers", ClientBuilder::max_running_handlers),
    ("randomization_factor", |b, n| {
        b.randomization_factor(n as f64)
    }),
    ("reconnection_attempts", |b, n| {
        b.reconnection_attempts(n as u32)
    }),
    ("retries", |b, n| b.retries(n as u32)),
];

const DURATIONS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(365 * 24 * 60 * 60),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];
const NUMBERS: [usize; 4] = [0, 1, u32::MAX as usize, usize::MAX];

/// What must not be taken to be an option's effect: values so small that no client can get in.
const TOO_SMALL_TO_CONNECT: &[&str] = &[
    "body_timeout",
    "connect_timeout",
    "head_timeout",
    "max_connections",
    "max_connections_per_address",
    "max_handshakes_per_second",
    "max_header_bytes",
    "max_namespaces",
    "max_payload",
    "max_queue",
    "max_running_handlers",
    "max_tcp_connections",
    "ping_interval",
    "ping_timeout",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_duration_of_a_server_is_refused_by_name_or_works() {
    for (name, set) in SERVER_DURATIONS {
        for given in DURATIONS {
            serves(
                name,
                given < Duration::from_secs(1),
                set(Server::builder(), given),
            )
            .await;
        }
        let longest = set(Server::builder(), Duration::MAX).try_build();
        if *name != "max_age" {
            let error = longest.expect_err("a refusal").to_string();
            assert!(error.starts_with(name), "{error}");
            assert!(error.ends_with("at most 365 days"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_number_of_a_server_is_refused_by_name_or_works() {
    for (name, set) in SERVER_NUMBERS {
        for given in NUMBERS {
            serves(name, given < 2, set(Server::builder(), given)).await;
        }
    }
}

/// Refused with the option's name, or a client of each transport gets an echo.
async fn serves(name: &str, is_small: bool, builder: ServerBuilder) {
    match builder.clone().try_build() {
        Err(error) => return assert!(error.to_string().contains(name), "{name}: {error}"),
        Ok(_) if is_small && TOO_SMALL_TO_CONNECT.contains(&name) => return,
        Ok(_) => {}
    }
    println!("{name}: served");
    let (io, address) = start(builder).await;
    io.on("echo", async |socket: socketio::Socket, text: String| {
        socket.emit("echo", text);
    });
    soon(async {
        let mut ws = Ws::connect(address).await;
        ws.send(r#"42["echo","one"]"#).await;
        // With recovery an offset follows.
        while !ws.text().await.starts_with(r#"42["echo","one""#) {}
        let polling = Polling::connect(address).await;
        assert_eq!(polling.post(r#"42["echo","two"]"#).await.status, 200);
        while !polling.get().await.starts_with(r#"42["echo","two""#) {}
        polling.post("1").await;
    })
    .await;
    soon(io.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_option_of_a_client_is_refused_by_name_or_works() {
    let (io, address) = start(Server::builder()).await;
    io.on("echo", async |_: socketio::Socket, text: String| text);
    let url = format!("http://{address}");
    let durations = CLIENT_DURATIONS.iter().flat_map(|(name, set)| {
        DURATIONS.map(|given| {
            (
                *name,
                given < Duration::from_secs(1),
                set(Client::builder(&url), given),
            )
        })
    });
    let numbers = CLIENT_NUMBERS.iter().flat_map(|(name, set)| {
        NUMBERS.map(|given| (*name, given < 2, set(Client::builder(&url), given)))
    });
    for (name, is_small, builder) in durations.chain(numbers) {
        let socket = match builder.build() {
            Err(error) => {
                assert!(error.to_string().contains(name), "{name}: {error}");
                continue;
            }
            Ok(socket) => socket,
        };
        if is_small && ["ack_timeout", "max_message", "max_queue", "timeout"].contains(&name) {
            continue;
        }
        println!("{name}: connects");
        soon(socket.connect()).await.expect(name);
        let echo: String = soon(socket.emit_with_ack("echo", "x")).await.expect(name);
        assert_eq!(echo, "x");
        soon(socket.disconnect()).await;
    }
    for (name, set) in CLIENT_DURATIONS {
        let error = set(Client::builder(&url), Duration::MAX).build().err();
        assert!(error.expect("a refusal").to_string().starts_with(name));
    }
}

#[test]
fn each_option_that_the_sources_have_stands_in_a_table() {
    let sources = [
        include_str!("../../src/server/config.rs"),
        include_str!("../../src/server/cookie.rs"),
        include_str!("../../src/server/cors.rs"),
        include_str!("../../src/server/deflate.rs"),
        include_str!("../../src/server/rate.rs"),
        include_str!("../../src/server/recovery/mod.rs"),
        include_str!("../../src/server/routing/mod.rs"),
        include_str!("../../src/client/builder.rs"),
    ];
    let tables: BTreeSet<&str> = (SERVER_DURATIONS.iter().map(|row| row.0))
        .chain(SERVER_NUMBERS.iter().map(|row| row.0))
        .chain(CLIENT_DURATIONS.iter().map(|row| row.0))
        .chain(CLIENT_NUMBERS.iter().map(|row| row.0))
        .collect();
    let mut missing = Vec::new();
    for line in sources.iter().flat_map(|source| source.lines()) {
        let Some((name, arguments)) = line
            .strip_prefix("    pub fn ")
            .and_then(|rest| rest.split_once("(mut self, "))
        else {
            continue;
        };
        let is_quantity = ["Duration", ": usize", ": u32", ": u64", ": f64"]
            .iter()
            .any(|kind| arguments.contains(kind));
        if is_quantity && !tables.contains(name) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "not in a table: {missing:?}");
}

// Beyond it a timer of a JavaScript client ends at once, and the client with it.
#[test]
fn a_heartbeat_is_no_longer_than_javascript_can_wait() {
    let longest = Duration::from_millis(i32::MAX as u64);
    for timeout in [Duration::from_millis(1), longest / 2] {
        let build = |interval| {
            Server::builder()
                .ping_interval(interval)
                .ping_timeout(timeout)
                .try_build()
        };
        assert!(build(longest - timeout).is_ok());
        let error = build(longest - timeout + Duration::from_millis(1));
        let error = error.expect_err("a refusal").to_string();
        assert!(
            error.starts_with("ping_interval + ping_timeout is"),
            "{error}"
        );
    }
}
