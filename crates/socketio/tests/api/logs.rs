//! What is logged, at which level, and what never is.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::json;
use socketio::cluster::{Bus, Channel, Inbox, PublishError, Rejected};
use socketio::{Server, Socket};
use socketio_proto::cluster::{Limits, Message, Uid};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Level};

use crate::support::{
    HANDSHAKE, Polling, WEBSOCKET, Ws, http, open_polling, raw, start, until, upgrade_head,
};

/// What this thread logs while the guard lives, one line each.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn capture(level: Level) -> (Lines, DefaultGuard) {
        // While there is one subscriber only, a place in the code that logs for the first time asks the
        // subscriber of its own thread whether it is ever of interest: tests without one say no for all.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// The lines of this level and target.
    pub(crate) fn of(&self, level: &str, target: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock()).into_owned();
        text.lines()
            .filter(|line| line.trim_start().starts_with(level) && line.contains(target))
            .map(str::to_owned)
            .collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn lines_of_a_handler_stand_in_the_span_of_its_event() {
    let (lines, _guard) = Lines::capture(Level::TRACE);
    let (io, address) = start(Server::builder()).await;
    io.of("/chat").on("say", async |_: Socket, _: String| {
        tracing::info!("before");
        tokio::task::yield_now().await;
        tracing::info!("after");
    });
    let (mut ws, id) = Ws::join(address, "/chat").await;
    ws.send("42/chat,[\"say\",\"x\"]").await;
    until(|| lines.of("INFO", "after").len() == 1).await;
    let span = format!("event{{namespace=\"/chat\" event=\"say\" socket={id}}}: ");
    for line in [lines.of("INFO", "before"), lines.of("INFO", "after")] {
        assert!(line[0].contains(&span), "{line:?}");
    }
}

#[tokio::test]
async fn a_storm_of_refusals_is_one_line_with_cause_and_remedy() {
    let (lines, _guard) = Lines::capture(Level::WARN);
    let (io, address) = start(Server::builder()).await;
    for n in 0..100 {
        let answer = http(address, "GET", &format!("{HANDSHAKE}&sid=none{n}"), "").await;
        assert_eq!(answer.status, 400);
    }
    let refused = lines.of("WARN", "refused: ");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("refused: Session ID unknown; "));
    assert!(refused[0].contains("code=1") && refused[0].contains("address=127.0.0.1:"));
    assert_eq!(io.stats().refused_requests, 100);
}

/// How a session came to its end.
#[derive(Clone, Copy, Debug)]
enum End {
    ByClient,
    ByServer,
    NamespaceRefused,
}

// A session that was here has not lost its way: only ids that nobody knows may belong to another server.
#[tokio::test]
async fn a_late_request_is_not_told_to_stick() {
    for end in [End::ByClient, End::ByServer, End::NamespaceRefused] {
        let (lines, _guard) = Lines::capture(Level::WARN);
        let (io, address) = start(Server::builder()).await;
        io.of("/closed")
            .middleware(async |_: Socket| Err::<(), _>("no"));
        let client = Polling::connect(address).await;
        match end {
            End::ByClient => drop(client.post("1").await),
            End::ByServer => {
                io.disconnect_and_close_sockets();
                client.get().await;
            }
            End::NamespaceRefused => {
                client.post("40/closed,").await;
                assert!(client.get().await.contains("44/closed,"), "{end:?}");
                client.post("1").await;
            }
        }
        until(|| io.stats().clients == 0).await;
        for late in [client.get().await, client.post("3").await.body] {
            assert!(late.contains("Session ID unknown"), "{end:?}: {late}");
        }
        let unknown = http(address, "GET", &format!("{HANDSHAKE}&sid=none"), "").await;
        assert_eq!(unknown.status, 400);
        let refused = lines.of("WARN", "refused: Session ID unknown");
        let [late, unknown] = &refused[..] else {
            panic!("{end:?}: {refused:?}");
        };
        assert!(
            late.contains("has ended") && !late.contains("sticky"),
            "{end:?}: {late}"
        );
        assert!(unknown.contains("sticky"), "{unknown}");
    }
}

#[tokio::test]
async fn a_parse_error_says_what_could_not_be_read() {
    let (lines, _guard) = Lines::capture(Level::DEBUG);
    let (io, address) = start(Server::builder()).await;
    let polling = Polling::open(address).await;
    polling.post("40\u{1e}9what is this").await;
    until(|| io.clients_count() == 0).await;
    let closed = lines.of("DEBUG", "session closed");
    assert_eq!(closed.len(), 1, "{closed:?}");
    let told = r#"reason="parse error" description="unknown packet type '9'""#;
    assert!(closed[0].contains(told), "{closed:?}");
}

// A session's id speaks for its client, also where another server of a cluster has opened it.
#[tokio::test]
async fn neither_secrets_nor_payloads_are_logged() {
    for level in [Level::DEBUG, Level::TRACE] {
        let (lines, guard) = Lines::capture(level);
        let (io, address) = start(Server::builder()).await;
        io.on("say", async |_: Socket, _: String| {});
        let polling = Polling::open(address).await;
        let auth = json!({ "token": "a secret" });
        assert_eq!(polling.post(&format!("40{auth}")).await.body, "ok");
        assert!(polling.get().await.starts_with("40"));
        let said = "42[\"say\",\"a payload\"]\x1e42[\"say\",{\"a payload\":1}]";
        polling.post(said).await;
        polling.post("42[\"nobody hears\",\"a payload\"]").await;
        polling.post("43999[\"a payload\"]").await;
        polling.post("4what is this a payload").await;
        // The first GET is told of the end, the second one finds nothing any more.
        polling.get().await;
        until(|| io.clients_count() == 0).await;
        assert!(polling.get().await.contains("Session ID unknown"));
        drop(guard);
        let all = lines.of("", "");
        for secret in [polling.sid(), "a secret", "a payload"] {
            let told: Vec<_> = all.iter().filter(|line| line.contains(secret)).collect();
            assert!(told.is_empty(), "{told:?}");
        }
        // But what happened is.
        for (level, text) in [
            ("WARN", "an event came that has no handler"),
            ("WARN", "the arguments of an event do not fit its handler"),
            ("WARN", "refused: Session ID unknown"),
            ("DEBUG", "closing after an invalid packet"),
            ("DEBUG", "an ack that nobody waits for"),
            ("DEBUG", "session closed"),
        ] {
            assert_eq!(lines.of(level, text).len(), 1, "{text} in {all:#?}");
        }
    }
}

// What native clients in Dart do unless told otherwise.
#[tokio::test]
async fn a_websocket_that_names_polling_is_refused_and_the_log_says_what_to_set() {
    let (lines, _guard) = Lines::capture(Level::WARN);
    let (io, address) = start(Server::builder().allow_eio3()).await;
    let sid = open_polling(address).await;
    let mut refused = 0;
    for target in [
        HANDSHAKE.to_owned(),
        HANDSHAKE.replace("EIO=4", "EIO=3"),
        format!("{HANDSHAKE}&sid={sid}"),
    ] {
        let answer = raw(address, &upgrade_head(&target, "")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        refused += 1;
        assert_eq!(io.stats().refused_requests, refused);
    }
    let said = lines.of("WARN", "refused");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("setTransports(['websocket'])"), "{said:?}");
    // The session that polls is none the worse.
    assert_eq!(io.clients_count(), 1);
    let target = format!("{WEBSOCKET}&sid={sid}");
    let upgraded = Ws::upgrade(address, &target).await;
    drop(upgraded);
}

// Pages send tokens as subprotocols, since they can set no other header of a WebSocket.
#[tokio::test]
async fn subprotocols_are_shown_nowhere() {
    let (lines, _guard) = Lines::capture(Level::TRACE);
    let builder = Server::builder().allow_request(async |request| {
        tracing::info!(?request, "asked");
        match request.headers.contains_key("x-refuse") {
            true => Err("no".into()),
            false => Ok(()),
        }
    });
    let (io, address) = start(builder).await;
    io.on_connection_error(|error| tracing::info!(?error, "told"));
    io.on_connect(async |socket: Socket| {
        let token = socket.handshake().header("sec-websocket-protocol");
        assert_eq!(token, Some("sEcReT"));
        tracing::info!(?socket, handshake = ?socket.handshake(), "here");
    });
    let offered = "Sec-WebSocket-Protocol: sEcReT\r\n";
    raw(
        address,
        &upgrade_head(WEBSOCKET, &format!("{offered}X-Refuse: 1\r\n")),
    )
    .await;
    for more in [
        "Sec-WebSocket-Protocol: sEcReT\r\n",
        "Sec-WebSocket-Version: 1\r\n",
    ] {
        raw(
            address,
            &upgrade_head(WEBSOCKET, &format!("{offered}{more}")),
        )
        .await;
    }
    let mut ws = Ws::offering(address, WEBSOCKET, offered).await;
    assert!(ws.text().await.starts_with("0{"));
    ws.send("40").await;
    assert!(ws.text().await.starts_with("40{"));
    until(|| lines.of("INFO", "here").len() == 1).await;
    let shown: Vec<_> = ["ERROR", "WARN", "INFO", "DEBUG"]
        .iter()
        .flat_map(|level| lines.of(level, "sEcReT"))
        .collect();
    assert_eq!(shown, [""; 0]);
    assert_eq!(lines.of("INFO", "told").len(), 1);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_told_once_with_its_limits() {
    let (lines, _guard) = Lines::capture(Level::WARN);
    let (io, address) = start(Server::builder()).await;
    let many: String = (0..600).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "x".repeat(70_000));
    for more in [many, long] {
        raw(address, &upgrade_head(WEBSOCKET, &more)).await;
    }
    until(|| io.stats().long_heads == 2).await;
    let told = lines.of("WARN", "head is too long");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("max_bytes=65536 max_lines=500"),
        "{told:?}"
    );
}

/// A bus that gives its inboxes to the test.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Vec<Arc<dyn Inbox>>>>);

impl Bus for Wire {
    fn open(&self, _: &str, _: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        self.0.lock().push(inbox);
        Arc::new(self.clone())
    }
}

impl Channel for Wire {
    fn publish(&self, _: &Message, _: Option<&Uid>) -> Result<(), PublishError> {
        Ok(())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn what_a_neighbour_in_the_cluster_does_wrong_is_told_once_for_each_reason() {
    let (lines, _guard) = Lines::capture(Level::WARN);
    let wire = Wire::default();
    let (io, _) = start(Server::builder().cluster(wire.clone())).await;
    io.on("x", async |_: Socket| {});
    let inbox = wire.0.lock()[0].clone();
    let hear = |payload: &str| {
        let error = Message::decode(payload.as_bytes(), "/", &Limits::default());
        let error = error.expect_err("no message");
        inbox.reject(&Rejected::message(
            "socket.io#/#",
            payload.as_bytes(),
            &error,
        ));
    };
    for _ in 0..100 {
        hear(r#"{"type":11,"uid":"go-1","data":{"requestId":"r","clientcount":2}}"#);
        hear(r#"{"type":77,"uid":"go-1"}"#);
        hear(r#"{"type":77,"uid":"go-2\n"}"#);
        hear("nonsense");
    }
    assert_eq!(io.stats().cluster_rejected, 400);
    let told = lines.of("WARN", "a message of the cluster is not understood");
    let expected = [
        r#"sender="go-1" reason="`clientCount` is missing, or not what it has to be""#,
        r#"sender="go-1" reason="unknown message type 77""#,
        r#"sender="go-2\\n" reason="unknown message type 77""#,
        r#"sender="unknown" reason="malformed message""#,
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, expected) in told.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
        assert!(line.contains(r#"channel="socket.io#/#""#), "{line}");
    }
}

#[derive(Debug, serde::Deserialize)]
enum Choice {
    #[serde(rename = "yes")]
    Yes,
}

/// What a peer may put where a text belongs.
const HOSTILE: [&str; 8] = [
    "\n WARN socketio: forged",
    "\r\n WARN socketio: forged",
    "\u{1b}[2J",
    "\u{9b}31m",
    "\u{202e}forged",
    "\u{2028}forged",
    "\u{feff}\u{200f}\u{7f}",
    "\0",
];

// Each text alone and before a long one, as an event, a namespace and an argument.
#[tokio::test]
async fn a_peer_can_neither_forge_nor_flood_a_log() {
    let (lines, _guard) = Lines::capture(Level::TRACE);
    let (io, address) = start(Server::builder().max_payload(4 << 20)).await;
    io.on("choose", async |_: Socket, _: Choice| {});
    io.of_fn(async |nsp: String, _| nsp.starts_with("/any"));
    for hostile in HOSTILE {
        for long in [0, 1_000_000] {
            let text = format!("{hostile}{}", "x".repeat(long));
            let nsp = format!("/any{}", text.replace(',', ""));
            for (nsp, event, arg) in [
                ("", text.as_str(), "yes"),
                ("", "choose", text.as_str()),
                (&nsp, "unknown", "yes"),
            ] {
                let (mut ws, _) = Ws::join(address, nsp).await;
                let prefix = if nsp.is_empty() {
                    String::new()
                } else {
                    format!("{nsp},")
                };
                ws.send(&format!("42{prefix}{}", json!([event, arg]))).await;
                ws.send("9").await;
                until(|| io.stats().clients == 0).await;
            }
        }
    }
    let log = String::from_utf8(lines.0.lock().clone()).expect("UTF-8");
    assert!(log.contains("forged"), "the texts are told");
    assert!(!log.contains(|c| c != '\n' && socketio_proto::is_unprintable(c)));
    for line in log.lines() {
        assert!(
            !line.trim_start().starts_with("WARN socketio: forged"),
            "{line}"
        );
        assert!(line.len() < 4000, "{} bytes: {}", line.len(), &line[..200]);
    }
}

/// The `tracing` macros of a source.
fn macros(source: &str) -> impl Iterator<Item = &str> {
    source.split("tracing::").skip(1).filter_map(|rest| {
        let (name, body) = rest.split_once("!(")?;
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let mut depth = 1;
        let end = body.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        })?;
        is_name.then_some(&body[..end])
    })
}

// What is written by `Display` is foreign unless it is known not to be.
#[test]
fn every_text_that_may_be_a_peers_is_made_printable() {
    const OURS: [&str; 4] = ["address", "socket", "socket.0.id", "self.0.id"];
    let mut folders = vec![
        concat!(env!("CARGO_MANIFEST_DIR"), "/src").into(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../adapters/src").into(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/src").into(),
    ];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let folder: std::path::PathBuf = folder;
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("a source");
            for body in macros(&source) {
                seen += 1;
                for field in body.split(',').map(str::trim) {
                    let value = field.split_once(" = ").map_or(field, |(_, value)| value);
                    let told = value.strip_prefix('%').unwrap_or(match value {
                        "event" | "nsp" | "namespace" | "reason" | "detail" => value,
                        _ => "address",
                    });
                    let is_safe = told.starts_with("Printable::new(")
                        || OURS.contains(&told)
                        || told.contains("local_addr()")
                        || told.starts_with("socket.id()");
                    assert!(is_safe, "{}: {field} is not made printable", path.display());
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} places were found");
}
