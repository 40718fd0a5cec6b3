//! The text of each way in which a session can end or not begin: where, what came, and what to do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socketio::Transport;
use socketio::client::{ConnectError, Disconnected, ManagerEvent, Socket as ClientSocket};

use crate::client::{POLLING, WEBSOCKET, builder, channel, next};
use crate::fake::{Fake, Reply, open};
use crate::support::soon;

const JOINED: &str = r#"40{"sid":"a"}"#;
const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const PAGE: &str = "<!doctype html>\n<html>\n<title>App</title>\r\n</html>";

/// When the fault comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    /// Instead of the open packet.
    Opening,
    /// Instead of the answer to CONNECT.
    Joining,
    /// After the namespace was joined.
    Joined,
}

/// What comes.
#[derive(Clone, Debug)]
enum Fault {
    /// An answer to a GET, or instead of a WebSocket.
    Answer(u16, &'static str),
    /// An answer to a POST.
    PostAnswer(u16, &'static str),
    /// A packet.
    Packet(&'static str),
    /// The close frame of a WebSocket.
    Code(u16),
    /// The end of the TCP connection.
    Cut,
    /// An answer whose body is packed in a way that nobody knows.
    Packed(u16),
}

/// What begins as Brotli does.
const PACKED: &[u8] = b"\x8b\x02\x80\xff\xfe";

fn http(status: u16, body: &str) -> Reply {
    Reply::Http(status, "", body.to_owned())
}

fn packed(status: u16) -> Reply {
    let length = PACKED.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Encoding: br\r\nContent-Length: {length}\r\n\r\n");
    Reply::Raw([head.as_bytes(), PACKED].concat())
}

async fn server(when: When, fault: Fault) -> Fake {
    let gets = AtomicU32::new(0);
    Fake::start(move |head, _| {
        if head.contains("transport=websocket") {
            let mut texts = match when {
                When::Opening => vec![],
                When::Joining => vec![open("s", "")],
                When::Joined => vec![open("s", ""), JOINED.to_owned()],
            };
            return match fault.clone() {
                Fault::Answer(status, body) => http(status, body),
                Fault::Packet(packet) => {
                    texts.push(packet.to_owned());
                    Reply::WebSocket(texts)
                }
                Fault::Code(code) => Reply::Closing(texts, code),
                Fault::Packed(status) => packed(status),
                Fault::PostAnswer(..) | Fault::Cut => Reply::Close,
            };
        }
        if head.starts_with("POST") {
            return match fault {
                Fault::PostAnswer(status, body) => http(status, body),
                _ => http(200, "ok"),
            };
        }
        let n = match (when, gets.fetch_add(1, Ordering::SeqCst)) {
            (When::Opening, _) | (When::Joining, 1..) | (When::Joined, 2..) => {
                return match fault.clone() {
                    Fault::Answer(status, body) => http(status, body),
                    Fault::Packet(packet) => http(200, packet),
                    Fault::PostAnswer(..) => Reply::Nothing,
                    Fault::Packed(status) => packed(status),
                    Fault::Code(_) | Fault::Cut => Reply::Close,
                };
            }
            (_, n) => n,
        };
        match n {
            0 => http(200, &open("s", "")),
            _ => http(200, JOINED),
        }
    })
    .await
}

/// What is told of it: the text, and what to do.
async fn told(when: When, fault: Fault, transports: &[Transport]) -> (String, Option<String>) {
    let server = server(when, fault).await;
    let socket = builder(&server.url, transports)
        .without_reconnection()
        .timeout(Duration::from_secs(50))
        .build()
        .expect("valid");
    let (sender, mut ends) = channel();
    socket.on_disconnect(async move |_: ClientSocket, gone: Disconnected| {
        _ = sender.send(gone);
    });
    let joined: Result<(), ConnectError> = soon(socket.connect()).await;
    match joined {
        Err(error) => (error.to_string(), error.hint().map(str::to_owned)),
        Ok(()) => {
            // Something to be answered by POST.
            socket.emit("a", ());
            let gone = next(&mut ends).await;
            (gone.to_string(), gone.hint().map(str::to_owned))
        }
    }
}

#[tokio::test]
async fn each_end_says_what_came_and_what_to_do() {
    use Fault::{Answer, Code, Cut, Packed, Packet, PostAnswer};
    use When::{Joined, Joining, Opening};

    for (when, fault, transports, part) in [
        // The commonest faults of all.
        (
            Joining,
            Answer(400, UNKNOWN),
            POLLING,
            "the server answered 400",
        ),
        (
            Joining,
            PostAnswer(400, UNKNOWN),
            POLLING,
            "xhr post error: the server answered 400",
        ),
        (Joined, Answer(400, UNKNOWN), POLLING, "Session ID unknown"),
        (Opening, Answer(403, "no"), POLLING, "answered 403 (no)"),
        (Opening, Answer(403, "no"), WEBSOCKET, "answered 403 (no)"),
        (Joining, PostAnswer(413, ""), POLLING, "answered 413"),
        (Joined, PostAnswer(413, ""), POLLING, "answered 413"),
        (
            Opening,
            Answer(502, "Bad\nGateway"),
            POLLING,
            "answered 502 (Bad Gateway)",
        ),
        (
            Joining,
            Answer(502, "Bad Gateway"),
            POLLING,
            "answered 502 (Bad Gateway)",
        ),
        (
            Joined,
            Answer(502, "Bad Gateway"),
            POLLING,
            "answered 502 (Bad Gateway)",
        ),
        (Opening, Answer(200, PAGE), POLLING, "<!doctype html>"),
        (Opening, Answer(200, PAGE), WEBSOCKET, "<!doctype html>"),
        (Opening, Answer(200, "hello"), POLLING, "hello"),
        (Opening, Packet("40"), POLLING, "40"),
        (Opening, Packet("40"), WEBSOCKET, "40"),
        (Opening, Packet("hello\nyou"), WEBSOCKET, "hello"),
        (Opening, Packet("0{}"), POLLING, "0{}"),
        (Opening, Packet("0{}"), WEBSOCKET, "0{}"),
        (Joined, Packet("what\u{1b}[31m"), WEBSOCKET, "what"),
        (Joined, Packet("what"), POLLING, "what"),
        // What could not be read is shown.
        (Joined, Packet("4nonsense"), WEBSOCKET, r#": "nonsense""#),
        (Joined, Packet("4nonsense"), POLLING, r#": "nonsense""#),
        (Joining, Packet("4nonsense"), WEBSOCKET, r#": "nonsense""#),
        (Joining, Packet("4nonsense"), POLLING, r#": "nonsense""#),
        (Joined, Packet("42[\"a\""), WEBSOCKET, r#": "2[\"a\""#),
        (Joined, Packet("bAQID"), POLLING, "a message of bytes"),
        (
            Joined,
            Packet("1"),
            POLLING,
            "transport closed by the server",
        ),
        (
            Joined,
            Packet("1"),
            WEBSOCKET,
            "transport closed by the server",
        ),
        (Joining, Packet("41"), WEBSOCKET, ": io server disconnect"),
        (Joining, Packet("41"), POLLING, ": io server disconnect"),
        (Joined, Packet("41"), WEBSOCKET, "sent this client away"),
        (Joined, Packet("41"), POLLING, "sent this client away"),
        (Joining, Packet("44"), WEBSOCKET, "without a message"),
        (Joining, Packet("44{}"), POLLING, "without a message"),
        (
            Joining,
            Packet(r#"44{"message":""}"#),
            WEBSOCKET,
            "without a message",
        ),
        (Joining, Packet(r#"44"""#), POLLING, "without a message"),
        (Opening, Packet("1"), WEBSOCKET, "the first packet"),
        (Joining, Packet("1"), POLLING, "the packet that closes"),
        (Opening, Packed(200), POLLING, "compressed with br"),
        (
            Opening,
            Packed(502),
            POLLING,
            "answered 502: its body is compressed with br",
        ),
        (
            Opening,
            Packed(502),
            WEBSOCKET,
            "answered 502: its body is compressed with br",
        ),
        (Opening, Packed(200), WEBSOCKET, "compressed with br"),
        (Joining, Packed(200), POLLING, "compressed with br"),
        (Joined, Packed(502), POLLING, "compressed with br"),
        (Joined, Code(1000), WEBSOCKET, "code 1000"),
        (Opening, Answer(403, "Forbidden"), POLLING, "answered 403"),
        (Joined, Answer(403, "Forbidden"), POLLING, "answered 403"),
        (Opening, Code(1008), WEBSOCKET, "code 1008"),
        (Joining, Code(1009), WEBSOCKET, "code 1009"),
        (Joined, Code(1001), WEBSOCKET, "code 1001"),
        (Opening, Cut, WEBSOCKET, "without an answer"),
        (Opening, Cut, POLLING, "xhr poll error: "),
        (Joined, Cut, POLLING, "xhr poll error: "),
    ] {
        let what = format!("{when:?} {fault:?} {transports:?}");
        let (text, hint) = told(when, fault, transports).await;
        println!("{what}\n    {text}\n    {hint:?}");
        assert!(text.contains(part), "{what}: {text}");
        assert!(!text.contains(char::is_control), "{what}: {text:?}");
        assert_no_word_alone(&what, &text);
        assert!(hint.is_some(), "{what}: no hint");
    }
}

/// Never the bare word, nor twice.
fn assert_no_word_alone(what: &str, text: &str) {
    for word in [
        "transport error",
        "server error",
        "parse error",
        "transport close",
        "forced close",
        "ping timeout",
        "io server disconnect",
        "io client disconnect",
    ] {
        assert!(!text.ends_with(word), "{what}: {text}");
        assert!(
            !format!("{text}:").contains(&format!("{word}: {word}:")),
            "{what}: {text}"
        );
    }
}

/// What is told of a client's own acts: each way to end what it has begun.
#[tokio::test]
async fn own_ends_are_told_in_words_too() {
    let io = crate::client::echo_server();
    let url = crate::client::url(&io).await;
    let silent = Fake::start(|_, _| Reply::Nothing).await;
    let left = "io client disconnect: this side has left the namespace";
    let closed = "forced close: this side has closed the connection";
    let before = "the connection ended before the namespace was joined: ";
    for (joins, breaks_off, expected) in [
        (true, false, vec![left.to_owned(), closed.to_owned()]),
        (true, true, vec![closed.to_owned(), closed.to_owned()]),
        (
            false,
            false,
            vec![format!("{before}{left}"), closed.to_owned()],
        ),
        (false, true, vec![closed.to_owned()]),
    ] {
        let asked = silent.requests().len();
        let url = if joins { &url } else { &silent.url };
        let socket = builder(url, WEBSOCKET)
            .without_reconnection()
            .build()
            .expect("valid");
        let (sender, mut texts) = channel();
        let (gone, all, failed) = (sender.clone(), sender.clone(), sender);
        socket.on_disconnect(async move |_: ClientSocket, why: Disconnected| {
            _ = gone.send(why.to_string());
        });
        socket.manager().on(move |event| {
            if let ManagerEvent::Closed(why) = event {
                _ = all.send(why.to_string());
            }
        });
        let connecting = socket.connect();
        let end = async {
            while match joins {
                true => !socket.is_connected(),
                false => silent.requests().len() == asked,
            } {
                tokio::task::yield_now().await;
            }
            match breaks_off {
                true => socket.manager().break_off(),
                false => drop(socket.disconnect()),
            }
        };
        let (joined, ()) = soon(async { tokio::join!(connecting, end) }).await;
        if let Err(error) = joined {
            _ = failed.send(error.to_string());
        }
        let mut told = Vec::new();
        while told.len() < expected.len() {
            told.push(next(&mut texts).await);
        }
        told.iter()
            .for_each(|text| assert_no_word_alone("own", text));
        told.sort();
        let mut expected = expected;
        expected.sort();
        assert_eq!(told, expected);
    }
}

// What a server's middleware says is printed on one line.
#[tokio::test]
async fn a_refusal_is_one_line() {
    let refusal =
        r#"44{"message":"first\nsecond\u001b[31m\u202e\u061c\u200e\u200f","data":{"a":"b"}}"#;
    let server =
        Fake::start(move |_, _| Reply::WebSocket(vec![open("s", ""), refusal.to_owned()])).await;
    let joined = soon(builder(&server.url, WEBSOCKET).connect()).await;
    let error = joined.expect_err("refused");
    assert_eq!(
        error.message(),
        "first\nsecond\u{1b}[31m\u{202e}\u{61c}\u{200e}\u{200f}"
    );
    assert_eq!(error.to_string(), r#"first second [31m     ({"a":"b"})"#);
}

#[tokio::test]
async fn attachments_that_do_not_come_end_the_connection() {
    for transports in [WEBSOCKET, POLLING] {
        let open = |sid: &str| open(sid, "").replace("20000", "150");
        let packets = ["452-[\"x\"]", "bAAAA"];
        let gets = AtomicU32::new(0);
        let fake = Fake::start(move |head, _| {
            let gets = match head.starts_with("GET /socket.io/?EIO=4&transport=polling") {
                true => gets.fetch_add(1, Ordering::SeqCst),
                false => 0,
            };
            match gets {
                _ if head.contains("transport=websocket") => {
                    let texts = [&open("s"), JOINED, packets[0]];
                    Reply::WebSocket(texts.map(str::to_owned).to_vec())
                }
                _ if head.starts_with("POST") => http(200, "ok"),
                0 => http(200, &open("s")),
                1 => http(200, &[JOINED, packets[0], packets[1]].join("\u{1e}")),
                _ => Reply::Nothing,
            }
        })
        .await;
        let (sender, mut gone) = channel();
        let socket = builder(&fake.url, transports)
            .without_reconnection()
            .build()
            .expect("a client");
        socket.on_disconnect(async move |_: ClientSocket, why: Disconnected| {
            drop(sender.send(why));
        });
        soon(socket.connect()).await.expect("to join");
        let why = next(&mut gone).await;
        assert_eq!(why.reason().as_str(), "parse error", "{why}");
        assert!(why.to_string().contains("attachments are missing"), "{why}");
    }
}

// Nobody looks at what a POST is answered with.
#[tokio::test]
async fn an_answer_to_a_post_need_not_be_unpacked() {
    let (gets, has_event) = (AtomicU32::new(0), AtomicU32::new(0));
    let server = Fake::start(move |head, body| {
        if head.starts_with("POST") {
            if body.contains("420[") {
                has_event.store(1, Ordering::SeqCst);
            }
            return packed(200);
        }
        let answer = match gets.fetch_add(1, Ordering::SeqCst) {
            0 => open("s", ""),
            1 => JOINED.to_owned(),
            _ if has_event.swap(0, Ordering::SeqCst) == 1 => "430[7]".to_owned(),
            _ => "6".to_owned(),
        };
        http(200, &answer)
    })
    .await;
    let socket = soon(builder(&server.url, POLLING).connect()).await;
    let socket = socket.expect("connected");
    let answer = soon(socket.emit_with_ack::<u32>("a", ())).await;
    assert_eq!(answer.expect("an answer"), 7);
}

// serde shows names that were not expected as they came.
#[test]
fn what_does_not_fit_a_type_is_told_on_one_line() {
    #[derive(Debug, serde::Deserialize)]
    enum Known {
        A,
    }
    let name = "first\nsecond\u{1b}[31m\u{202e}";
    let args = socketio::Args::from_values(&[name]).expect("arguments");
    let error = args.decode::<Known>().expect_err("not known");
    let text = error.to_string();
    assert!(text.contains("first") && text.contains("second"), "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(!text.contains('\u{202e}'), "{text:?}");
    _ = Known::A;
}

/// What makes an error or an end.
const MAKERS: &[&str] = &[
    "ConnectError::auth(",
    "ConnectError::closed(",
    "ConnectError::not_joined(",
    "ConnectError::old_server(",
    "ConnectError::refused(",
    "ConnectError::timeout(",
    "Disconnected::new(",
    "TransportError::answer(",
    "TransportError::broken(",
    "TransportError::closed(",
    "TransportError::ended(",
    "TransportError::found(",
    "TransportError::old_server(",
    "TransportError::refused(",
    "TransportError::unanswered(",
    "TransportError::unreachable(",
    "self.end(",
    "self.fail(",
    "self.probe_ended(",
    "self.probe_failed(",
];

/// The places of the sources that make an error or an end: file, maker, how often, and the tests that
/// read what is then told.
#[rustfmt::skip]
const MADE: &[(&str, &str, usize, &[&str])] = &[
    ("engine/client.rs", "self.end(", 7, &[
        EACH, OWN, "each_phase_ends_when_the_server_falls_silent", "a_disconnect_ends_in_each_phase",
    ]),
    ("engine/client.rs", "self.fail(", 3, &[EACH]),
    ("engine/client.rs", "self.probe_failed(", 5, &["each_phase_ends_when_the_server_falls_silent"]),
    ("error.rs", "ConnectError::old_server(", 1, &["a_server_of_version_2_is_recognised"]),
    ("error.rs", "TransportError::answer(", 1, &[EACH, "a_redirect_says_where_to"]),
    ("error.rs", "TransportError::broken(", 2, &[EACH, "an_old_server_is_named_unless_the_client_speaks_its_version"]),
    ("error.rs", "TransportError::found(", 1, &[OWN]),
    ("error.rs", "TransportError::unanswered(", 1, &["each_mistake_of_a_certificate_has_its_own_words"]),
    ("http/mod.rs", "TransportError::unanswered(", 2, &[EACH, "a_client_shows_its_certificate_where_one_is_wanted"]),
    ("inbox.rs", "ConnectError::auth(", 1, &["an_attempt_without_auth_says_why"]),
    ("inbox.rs", "ConnectError::closed(", 1, &[EACH]),
    ("inbox.rs", "ConnectError::not_joined(", 1, &["a_namespace_that_is_not_answered_for_does_not_end_the_others"]),
    ("inbox.rs", "ConnectError::refused(", 1, &[EACH, "a_refusal_is_one_line"]),
    ("inbox.rs", "Disconnected::new(", 1, &[EACH]),
    ("link.rs", "TransportError::broken(", 1, &["what_a_broken_websocket_says"]),
    ("link.rs", "TransportError::closed(", 1, &[EACH, "a_closed_websocket_says_with_which_code"]),
    ("link.rs", "TransportError::found(", 2, &[EACH, "an_attempt_without_auth_says_why"]),
    ("link.rs", "TransportError::old_server(", 1, &["an_old_server_is_named_unless_the_client_speaks_its_version"]),
    ("link.rs", "self.probe_ended(", 4, &["a_failed_upgrade_does_no_harm"]),
    ("polling.rs", "TransportError::broken(", 2, &["what_may_be_cut_is_taken_only_where_nothing_can_be_missing"]),
    ("polling.rs", "TransportError::refused(", 1, &[EACH]),
    ("polling.rs", "TransportError::unreachable(", 2, &[
        "each_mistake_of_a_certificate_has_its_own_words", "a_proxy_that_refuses_tunnels_forwards_polling_without_tls",
    ]),
    ("socket.rs", "ConnectError::closed(", 2, &[OWN]),
    ("task.rs", "ConnectError::closed(", 1, &[EACH]),
    ("task.rs", "ConnectError::timeout(", 1, &["each_phase_ends_when_the_server_falls_silent"]),
    ("task.rs", "Disconnected::new(", 3, &[EACH, OWN]),
    ("task.rs", "TransportError::ended(", 1, &[OWN]),
    ("task.rs", "TransportError::found(", 1, &[EACH, "a_disconnect_ends_in_each_phase"]),
    ("websocket.rs", "TransportError::broken(", 1, &["what_a_broken_websocket_says"]),
    ("websocket.rs", "TransportError::refused(", 2, &[EACH, "an_answer_instead_of_a_frame_says_why"]),
    ("websocket.rs", "TransportError::unreachable(", 1, &["each_mistake_of_a_certificate_has_its_own_words"]),
];

const EACH: &str = "each_end_says_what_came_and_what_to_do";
const OWN: &str = "own_ends_are_told_in_words_too";

/// The sources of some folders, without their tests.
pub(crate) fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut waiting: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let name = path.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("text");
        found.push((name, text));
    }
    found.sort();
    found
}

/// The part of a source that is no test.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

#[test]
fn each_place_that_makes_an_end_has_a_test_that_reads_it() {
    let is_source = |name: &str| !name.ends_with("tests.rs");
    let client = sources(&["src/client", "../proto/src/engine/client.rs"]);
    let mut made = Vec::new();
    for (name, text) in client.iter().filter(|(name, _)| is_source(name)) {
        for maker in MAKERS {
            let count = without_tests(text).matches(maker).count();
            if count > 0 {
                let file = name.rsplit_once("/src/").map_or(&**name, |(_, file)| file);
                let file = file.strip_prefix("client/").unwrap_or(file);
                made.push((file.to_owned(), *maker, count));
            }
        }
    }
    let mut known: Vec<_> = MADE
        .iter()
        .map(|(file, maker, count, _)| ((*file).to_owned(), *maker, *count))
        .collect();
    made.sort();
    known.sort();
    assert_eq!(
        made, known,
        "on the left the sources, on the right the table"
    );
    let tests = sources(&["src/client", "tests/api"]);
    for test in MADE.iter().flat_map(|(_, _, _, tests)| *tests) {
        let name = format!("fn {test}(");
        assert!(tests.iter().any(|(_, text)| text.contains(&name)), "{test}");
    }
}

// What is no frame, and what breaks off within one.
#[tokio::test]
async fn what_a_broken_websocket_says() {
    for (bytes, part) in [
        (&b"\xff\xff\xff"[..], "websocket error: "),
        (b"\x81", "websocket connection closed with code 1006"),
    ] {
        let server = Fake::start(move |head, _| {
            let key = crate::fake::header(head, "sec-websocket-key").expect("a key");
            let accept = socketio_proto::websocket::accept_key(key.as_bytes());
            let mut answer = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ".to_vec();
            answer.extend_from_slice(&accept);
            answer.extend_from_slice(b"\r\n\r\n");
            for text in [open("s", ""), JOINED.to_owned()] {
                use socketio_proto::websocket::{Opcode, frame};
                answer.extend_from_slice(&frame(Opcode::Text, text.as_bytes()));
            }
            answer.extend_from_slice(bytes);
            Reply::Last(answer)
        })
        .await;
        let socket = builder(&server.url, WEBSOCKET)
            .without_reconnection()
            .build()
            .expect("valid");
        let (sender, mut ends) = channel();
        socket.on_disconnect(async move |_: ClientSocket, gone: Disconnected| {
            _ = sender.send(gone);
        });
        soon(socket.connect()).await.expect("connected");
        let gone = next(&mut ends).await;
        let text = gone.to_string();
        assert!(text.contains(part), "{text}");
        assert_no_word_alone("broken", &text);
        assert!(gone.hint().is_some(), "{text}");
    }
}

#[tokio::test]
async fn an_attempt_without_auth_says_why() {
    let server = Fake::start(|_, _| Reply::WebSocket(vec![open("s", "")])).await;
    let socket = builder(&server.url, WEBSOCKET)
        .without_reconnection()
        .auth_with(async || Err::<serde_json::Value, _>("no\ntoken"))
        .build()
        .expect("valid");
    let (sender, mut ends) = channel();
    socket.manager().on(move |event| {
        if let ManagerEvent::Closed(why) = event {
            _ = sender.send(why.to_string());
        }
    });
    let error = soon(socket.connect()).await.expect_err("no auth");
    let expected = "auth could not be provided: no token";
    assert_eq!(error.to_string(), expected);
    assert_eq!(next(&mut ends).await, format!("forced close: {expected}"));
}
