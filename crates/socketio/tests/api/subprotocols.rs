//! Subprotocols: the first one offered is answered, or what the application chooses, however a client
//! comes to its WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use socketio::{Server, ServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{HANDSHAKE, WEBSOCKET, http, soon, start, upgrade_head};

/// The head of the answer to an upgrade, in lower case.
async fn answer(address: SocketAddr, target: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("to connect");
    let head = upgrade_head(target, more);
    stream.write_all(head.as_bytes()).await.expect("to write");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
        let read = soon(stream.read_buf(&mut answer)).await.expect("an answer");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

/// The targets by which a client of each revision comes to its WebSocket: at once, and from polling.
async fn ways(address: SocketAddr) -> Vec<String> {
    let mut ways = Vec::new();
    for revision in ["EIO=4", "EIO=3"] {
        let websocket = WEBSOCKET.replace("EIO=4", revision);
        let polling = HANDSHAKE.replace("EIO=4", revision);
        let body = http(address, "GET", &polling, "").await.body;
        let (_, rest) = body.split_once("\"sid\":\"").expect("an open packet");
        let (sid, _) = rest.split_once('"').expect("an open packet");
        ways.push(format!("{websocket}&sid={sid}"));
        ways.push(websocket);
    }
    ways
}

/// Runs each way in with these header lines; the status and the subprotocol of each answer.
async fn answers(builder: &ServerBuilder, lines: &str) -> Vec<(String, Option<String>)> {
    let (_io, address) = start(builder.clone()).await;
    let mut answers = Vec::new();
    for target in ways(address).await {
        let head = answer(address, &target, lines).await;
        let status = head.split(' ').nth(1).expect("a status").to_owned();
        let mut lines = head.lines();
        let protocol = lines.find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        answers.push((status, protocol.map(str::to_owned)));
    }
    answers
}

fn line(list: &str) -> String {
    format!("Sec-WebSocket-Protocol: {list}\r\n")
}

#[tokio::test]
async fn the_first_one_offered_is_answered() {
    let builder = Server::builder().allow_eio3();
    for (lines, protocol) in [
        (String::new(), None),
        (line("chat"), Some("chat")),
        (line("chat, v2,token"), Some("chat")),
        (line("a\t,\tb"), Some("a")),
        (line("first") + &line("second"), Some("first")),
    ] {
        for answer in answers(&builder, &lines).await {
            let expected = ("101".to_owned(), protocol.map(str::to_owned));
            assert_eq!(answer, expected, "{lines:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    let builder = Server::builder().allow_eio3();
    for lines in [
        line(""),
        line(","),
        line("a,"),
        line("a,,b"),
        line("a b"),
        line("a, a"),
        line("a/b"),
        line("a") + &line("a"),
        line("a") + &line(""),
    ] {
        for answer in answers(&builder, &lines).await {
            assert_eq!(answer, ("400".to_owned(), None), "{lines:?}");
        }
    }
}

// At an upgrade it is asked with the upgrade's request.
#[tokio::test]
async fn the_application_chooses_among_what_is_offered() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let builder = Server::builder()
        .allow_eio3()
        .select_protocol(move |offered, request| {
            let list = request.headers.get("sec-websocket-protocol");
            let list = list.and_then(|list| list.to_str().ok()).map(str::to_owned);
            seen.lock().push((list, request.uri.to_string()));
            match offered {
                ["none", ..] => None,
                ["foreign", ..] => Some("not offered"),
                _ => offered.last().copied(),
            }
        });
    for (list, protocol) in [("a, b", Some("b")), ("none, b", None), ("foreign, b", None)] {
        asked.lock().clear();
        for answer in answers(&builder, &line(list)).await {
            let expected = ("101".to_owned(), protocol.map(str::to_owned));
            assert_eq!(answer, expected, "{list}");
        }
        let asked = asked.lock();
        assert_eq!(asked.len(), 4);
        for (seen, uri) in &*asked {
            assert_eq!(seen.as_deref(), Some(list));
            assert!(uri.contains("transport=websocket"), "{uri}");
        }
    }
    asked.lock().clear();
    answers(&builder, "").await;
    answers(&builder, &line("a,")).await;
    assert_eq!(*asked.lock(), []);
}

#[tokio::test]
async fn doubled_headers_of_a_handshake_are_refused() {
    let builder = Server::builder().allow_eio3();
    for more in [
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\n",
    ] {
        for answer in answers(&builder, more).await {
            assert_eq!(answer, ("400".to_owned(), None), "{more:?}");
        }
    }
}
