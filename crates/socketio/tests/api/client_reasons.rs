//! The text of each way in which a session can end or not begin: where, what came, and what to do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socketio::Transport;
use socketio::client::{ConnectError, Disconnected, Socket as ClientSocket};

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
}

fn http(status: u16, body: &str) -> Reply {
    Reply::Http(status, "", body.to_owned())
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
    use Fault::{Answer, Code, Cut, Packet, PostAnswer};
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
        // Never the bare word, nor twice.
        for word in [
            "transport error",
            "server error",
            "parse error",
            "transport close",
        ] {
            assert_ne!(text, word, "{what}");
            assert!(
                !format!("{text}:").contains(&format!("{word}: {word}:")),
                "{what}: {text}"
            );
        }
        // What the server says in words of its own needs no more.
        let says_all = ["code 100", "by the server"];
        let needs_hint = !says_all.iter().any(|part| text.contains(part));
        assert!(!needs_hint || hint.is_some(), "{what}: no hint");
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
