//! The table of what is waited for, in docs/client.md: each row is walked by a test, and each time that
//! stands in the sources belongs to a row.
//!
//! Time is simulated: it moves on when nothing happens any more.

use std::time::Duration;

use socketio::client::ClientBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::client::{POLLING, WEBSOCKET, builder};
use crate::client_reasons::{sources, without_tests};
use crate::fake::{Fake, Reply, open};

/// The rows of the table, and what walks each: a server that falls silent there.
const ROWS: &[(&str, &str)] = &[
    (
        "the connection is opened: name, TCP, TLS, proxy, handshake, the packet that opens the session",
        "what_comes_before_a_session_ends",
    ),
    (
        "a proxy is asked for the way",
        "what_comes_before_a_session_ends",
    ),
    (
        "the rest of an answer comes that tells why a request was refused",
        "the_status_of_a_refusal_is_told_whatever_its_body_is_like",
    ),
    ("`auth` is asked for", "auth_that_never_comes_ends"),
    (
        "the server is asked for the namespace",
        "a_namespace_that_is_not_answered_for_does_not_end_the_others",
    ),
    (
        "the session is open and nothing comes",
        "each_phase_ends_when_the_server_falls_silent",
    ),
    (
        "the attachments of a packet come",
        "attachments_that_do_not_come_end_the_connection",
    ),
    (
        "what was sent is not taken (a POST without an answer, a WebSocket that is not read)",
        "each_phase_ends_when_the_server_falls_silent",
    ),
    (
        "the WebSocket of an upgrade is opened and asked",
        "each_phase_ends_when_the_server_falls_silent",
    ),
    (
        "the waiting GET is to be released for the upgrade",
        "each_phase_ends_when_the_server_falls_silent",
    ),
    (
        "a GET brought nothing while the upgrade is asked for, or a hundred in a row did",
        "gets_that_bring_nothing_are_begun_with_pauses",
    ),
    (
        "a namespace is left, and the server has not shown that it has read what was emitted before",
        "a_namespace_is_left_when_the_server_has_shown_that_it_has_read_the_rest",
    ),
    (
        "the connection is closed",
        "a_disconnect_ends_in_each_phase",
    ),
    (
        "an event that is repeated waits for its answer",
        "events_are_tried_again_until_they_are_answered",
    ),
    (
        "an answer is awaited",
        "each_phase_ends_when_the_server_falls_silent",
    ),
    (
        "a pause between two attempts",
        "a_client_without_a_server_rests_between_attempts",
    ),
];

/// Each time in the sources, and the row that has it, or why it needs none.
const TIMES: &[(&str, &str)] = &[
    ("client/auth.rs: timeout(limit", "`auth` is asked for"),
    (
        "client/builder.rs: DEFAULT_TRY_TIMEOUT",
        "an event that is repeated waits for its answer",
    ),
    (
        "client/config.rs: UPGRADE_TIMEOUT",
        "the WebSocket of an upgrade is opened and asked",
    ),
    (
        "client/dial/mod.rs: STAGGER",
        "not a wait of its own: the next address is tried beside it",
    ),
    (
        "client/dial/mod.rs: timeout(STAGGER",
        "not a wait of its own: the next address is tried beside it",
    ),
    (
        "client/dial/proxy.rs: timeout(patience",
        "a proxy is asked for the way",
    ),
    (
        "client/http/mod.rs: PATIENCE",
        "the rest of an answer comes that tells why a request was refused",
    ),
    (
        "client/http/mod.rs: timeout(PATIENCE",
        "the rest of an answer comes that tells why a request was refused",
    ),
    (
        "client/http/reuse.rs: MAX_IDLE",
        "not a wait: how long an idle connection is kept",
    ),
    (
        "client/http/reuse.rs: MOMENT",
        "not a wait: how long a connection is watched while nobody needs it",
    ),
    (
        "client/http/reuse.rs: sleep_until(since + MOMENT",
        "not a wait: how long a connection is watched while nobody needs it",
    ),
    (
        "client/polling.rs: SETTLING",
        "not a wait for anybody: a session that was told is used a moment later",
    ),
    (
        "client/polling.rs: sleep(SETTLING",
        "not a wait for anybody: a session that was told is used a moment later",
    ),
    (
        "client/task.rs: TICK",
        "not a wait: it looks whether the machine has slept",
    ),
    (
        "client/task.rs: sleep_until(until",
        "not a wait of its own: the next of all that is due",
    ),
    ("client/unsent.rs: PAUSE", "not a wait: lines of the log"),
    ("engine/client.rs: CLOSE_STALL", "the connection is closed"),
    (
        "engine/client.rs: CLOSE_TIMEOUT",
        "the connection is closed",
    ),
    (
        "engine/client.rs: PROBE_PATIENCE",
        "a GET brought nothing while the upgrade is asked for, or a hundred in a row did",
    ),
    (
        "engine/client.rs: PROOF_TIMEOUT",
        "a namespace is left, and the server has not shown that it has read what was emitted before",
    ),
    (
        "engine/client.rs: RELEASE_TIMEOUT",
        "the waiting GET is to be released for the upgrade",
    ),
    (
        "engine/client_polls.rs: PAUSE",
        "a GET brought nothing while the upgrade is asked for, or a hundred in a row did",
    ),
    (
        "engine/client_polls.rs: QUICK",
        "a GET brought nothing while the upgrade is asked for, or a hundred in a row did",
    ),
    ("socket/manager.rs: LONGEST", "a pause between two attempts"),
];

/// The times of one source: constants, and calls that wait.
fn times(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in without_tests(text).lines().map(str::trim) {
        if line.starts_with("//") {
            continue;
        }
        if let Some((name, _)) = line.split_once(": Duration =") {
            found.extend(name.rsplit_once("const ").map(|(_, name)| name.to_owned()));
        }
        for call in ["timeout(", "sleep(", "sleep_until(", "interval("] {
            for (at, _) in line.match_indices(call) {
                // A function of another name, a method, or the definition of one.
                let before = line[..at].chars().next_back();
                let is_other = before.is_some_and(|c| c.is_alphanumeric() || "_.".contains(c));
                if is_other || line[..at].ends_with("fn ") || line[..at].contains("ConnectError::")
                {
                    continue;
                }
                let argument = line[at + call.len()..].split([',', ')']).next();
                found.push(format!("{call}{}", argument.unwrap_or_default()));
            }
        }
    }
    found
}

#[test]
fn each_time_in_the_sources_stands_in_the_table() {
    let files = [
        "src/client",
        "../proto/src/engine/client.rs",
        "../proto/src/engine/client_polls.rs",
        "../proto/src/socket/client.rs",
        "../proto/src/socket/manager.rs",
    ];
    let mut found = Vec::new();
    for (name, text) in sources(&files) {
        if name.ends_with("tests.rs") {
            continue;
        }
        let file = name.rsplit_once("/src/").map_or(&*name, |(_, file)| file);
        found.extend(times(&text).iter().map(|time| format!("{file}: {time}")));
    }
    found.sort();
    let mut known: Vec<&str> = TIMES.iter().map(|(time, _)| *time).collect();
    known.sort_unstable();
    assert_eq!(
        found, known,
        "on the left the sources, on the right the table"
    );
    for (time, row) in TIMES {
        let is_row = ROWS.iter().any(|(known, _)| known == row);
        assert!(is_row || row.starts_with("not a wait"), "{time}: {row}");
    }
}

#[test]
fn the_table_of_the_guide_is_walked_by_tests() {
    let guide = include_str!("../../../../docs/client.md");
    let table = guide.split("No wait is without an end").nth(1).expect("it");
    let rows = table
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("|---"));
    let rows: Vec<&str> = rows
        .skip(1)
        .map_while(|line| line.strip_prefix("| ")?.split(" | ").next())
        .collect();
    let known: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, known, "on the left the guide, on the right the table");
    let tests = sources(&["src/client", "tests/api"]);
    for (_, test) in ROWS {
        let name = format!("fn {test}(");
        assert!(tests.iter().any(|(_, text)| text.contains(&name)), "{test}");
    }
}

/// A server that says this at once, and then nothing, whatever it is asked.
async fn mute(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(says).await.ok()?;
                let mut bytes = Vec::new();
                while stream.read_buf(&mut bytes).await.ok()? > 0 {}
                Some(())
            });
        }
    });
    address.to_string()
}

/// Longer than anything may take.
const FOR_EVER: Duration = Duration::from_secs(200);

async fn assert_ends(what: &str, client: ClientBuilder) {
    let begin = Instant::now();
    let socket = client.without_reconnection().build().expect("valid");
    let joined = timeout(FOR_EVER, socket.connect()).await;
    let error = joined.expect("an outcome").expect_err("silence");
    println!("{what}: {error}");
    assert!(error.to_string().contains(": "), "{what}: bare {error}");
    assert!(error.hint().is_some(), "{what}: no hint for {error}");
    assert!(!socket.is_active(), "{what}");
    assert!(begin.elapsed() <= Duration::from_secs(21), "{what}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_a_session_ends() {
    for transports in [POLLING, WEBSOCKET] {
        // Of a server with TLS: nothing, half a record, half a handshake.
        for says in [&b""[..], b"\x16\x03", b"\x16\x03\x03\x00\x40\x02\x00"] {
            let url = format!("https://{}", mute(says).await);
            assert_ends(&format!("TLS {says:?}"), builder(&url, transports)).await;
        }
        // Of a proxy: nothing, half of what it says, a tunnel to silence.
        for (scheme, says) in [
            ("http", &b""[..]),
            ("http", b"HTTP/1.1 200 O"),
            ("http", b"HTTP/1.1 100 Continue\r\n\r\n"),
            ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
            ("https", b""),
            ("socks5h", b""),
            ("socks5h", b"\x05\x00"),
            ("socks5h", b"\x05\x00\x05\x00\x00\x01"),
            (
                "socks5h",
                b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50",
            ),
        ] {
            for target in ["http", "https"] {
                let proxy = format!("{scheme}://{}", mute(says).await);
                let client = builder(&format!("{target}://server.test"), transports).proxy(proxy);
                assert_ends(&format!("{target} by {scheme} {says:?}"), client).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn auth_that_never_comes_ends() {
    let server = Fake::start(|_, _| Reply::WebSocket(vec![open("s", "")])).await;
    let pending = async || std::future::pending::<Result<serde_json::Value, String>>().await;
    let client = builder(&server.url, WEBSOCKET).auth_with(pending);
    let socket = client.without_reconnection().build().expect("valid");
    let joined = timeout(FOR_EVER, socket.connect()).await;
    let error = joined.expect("an outcome").expect_err("no auth");
    assert_eq!(
        error.to_string(),
        "auth could not be provided: it was not provided within 20s"
    );
}

// A server that answers each GET at once with nothing is not asked as fast as it answers.
#[tokio::test(start_paused = true)]
async fn gets_that_bring_nothing_are_begun_with_pauses() {
    const GETS: usize = 300;
    for nothing in ["6", "2", "3"] {
        let server = Fake::start(move |head, _| match head {
            head if head.starts_with("POST") => Reply::Http(200, "", "ok".to_owned()),
            head if !head.contains("sid=") => {
                let both = format!("{}\x1e40{{\"sid\":\"a\"}}", open("s", ""));
                Reply::Http(200, "", both)
            }
            _ => Reply::Http(200, "", nothing.to_owned()),
        })
        .await;
        let socket = builder(&server.url, POLLING).build().expect("valid");
        let begin = Instant::now();
        drop(socket.connect());
        let gets = || {
            let targets = server.targets();
            targets
                .iter()
                .filter(|line| line.starts_with("GET"))
                .count()
        };
        while gets() < GETS {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A hundred are free, then there is a tenth of a second before each.
        let pauses = u32::try_from(GETS - 110).expect("few");
        let at_least = Duration::from_millis(100) * pauses;
        assert!(
            begin.elapsed() >= at_least,
            "{nothing}: {:?}",
            begin.elapsed()
        );
        assert!(socket.is_connected());
        socket.disconnect().await;
    }
}
