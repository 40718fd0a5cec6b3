//! Text as clients and servers of other makes write it: base64 in lines, bytes that are no UTF-8.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::Value;
use socketio::client::{Socket as ClientSocket, Version};
use socketio::{Args, Server, Socket, Transport};
use socketio_proto::websocket::Opcode;

use crate::client::{builder, channel, next};
use crate::fake::{Fake, Reply, open};
use crate::support::{Received, Ws, http, soon, start};

const EVENT: &str = r#"451-["bytes",{"_placeholder":true,"num":0}]"#;
const SIZES: [usize; 7] = [0, 1, 2, 3, 57, 58, 1000];

/// Base64 as `android.util.Base64` writes it by default.
fn in_lines(bytes: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(76);
    let lines = lines.map(|line| format!("{}\n", str::from_utf8(line).expect("ASCII")));
    lines.collect()
}

fn bytes_of(size: usize) -> Vec<u8> {
    (0..size).map(|i| 255 - (i % 251) as u8).collect()
}

/// A packet in a payload of this revision.
fn framed(revision: u8, packet: &str) -> String {
    match revision {
        3 => format!("{}:{packet}", packet.encode_utf16().count()),
        _ => packet.to_owned(),
    }
}

/// The packets of an event with bytes, in text.
fn event_in_text(revision: u8, bytes: &[u8]) -> [String; 2] {
    let kind = if revision == 3 { "b4" } else { "b" };
    [EVENT.to_owned(), format!("{kind}{}", in_lines(bytes))]
}

fn body_of(revision: u8, packets: &[String]) -> String {
    let packets = packets.iter().map(|packet| framed(revision, packet));
    let packets: Vec<_> = packets.collect();
    packets.join(if revision == 3 { "" } else { "\u{1e}" })
}

/// A polling session whose namespace is joined: its target.
async fn joined(address: SocketAddr, revision: u8, jsonp: bool) -> String {
    let query = if jsonp { "&j=0" } else { "" };
    let target = format!("/socket.io/?EIO={revision}&transport=polling{query}");
    let open = http(address, "GET", &target, "").await.body;
    let sid = open.replace('\\', "");
    let sid = sid.split("\"sid\":\"").nth(1).expect("a sid");
    let sid = sid.split('"').next().expect("its end");
    let target = format!("{target}&sid={sid}");
    if revision == 4 {
        let body = if jsonp { "d=40" } else { "40" };
        assert_eq!(http(address, "POST", &target, body).await.body, "ok");
    }
    target
}

/// A form as the JSONP transport sends it.
fn form(payload: &str) -> String {
    let mut form = "d=".to_owned();
    for byte in payload.replace('\n', "\\n").bytes() {
        form += &format!("%{byte:02X}");
    }
    form
}

// E024, E055, E067: whatever the transport and the revision, and in a JSONP form.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_lines_of_base64_reach_the_server() {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    let (sender, mut received) = channel();
    io.on("bytes", async move |_: Socket, bytes: Bytes| {
        let _ = sender.send(bytes);
    });
    for revision in [3, 4] {
        for jsonp in [false, true] {
            let target = joined(address, revision, jsonp).await;
            for size in SIZES {
                let bytes = bytes_of(size);
                let body = body_of(revision, &event_in_text(revision, &bytes));
                let body = if jsonp { form(&body) } else { body };
                assert_eq!(http(address, "POST", &target, &body).await.body, "ok");
                let seen: Bytes = next(&mut received).await;
                assert_eq!(seen, bytes, "revision {revision}, JSONP: {jsonp}");
            }
        }
        let target = format!("/socket.io/?EIO={revision}&transport=websocket");
        let mut ws = Ws::upgrade(address, &target).await;
        if revision == 4 {
            ws.send("40").await;
        }
        for size in SIZES {
            let bytes = bytes_of(size);
            for packet in event_in_text(revision, &bytes) {
                ws.send(&packet).await;
            }
            let seen: Bytes = next(&mut received).await;
            assert_eq!(seen, bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_lines_of_base64_reach_the_client() {
    for revision in [3_u8, 4] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            let connect = if revision == 3 {
                "40"
            } else {
                "40{\"sid\":\"x\"}"
            };
            let mut packets = vec![connect.to_owned()];
            for size in SIZES {
                packets.extend(event_in_text(revision, &bytes_of(size)));
            }
            let is_sent = AtomicBool::new(false);
            let fake = Fake::start(move |head, _| {
                if transport == Transport::WebSocket {
                    let open = std::iter::once(open("s", ""));
                    return Reply::WebSocket(open.chain(packets.iter().cloned()).collect());
                }
                let body = match (head.starts_with("GET"), head.contains("sid=")) {
                    (false, _) => "ok".to_owned(),
                    (true, false) => framed(revision, &open("s", "")),
                    (true, true) if is_sent.swap(true, Ordering::Relaxed) => return Reply::Nothing,
                    (true, true) => body_of(revision, &packets),
                };
                Reply::Http(200, "", body)
            })
            .await;
            let version = if revision == 3 {
                Version::V2
            } else {
                Version::V4
            };
            let socket = builder(&fake.url, &[transport]).version(version).build();
            let socket = socket.expect("valid");
            let (sender, mut received) = channel();
            socket.on("bytes", async move |_: ClientSocket, bytes: Bytes| {
                let _ = sender.send(bytes);
            });
            socket.connect().await.expect("to connect");
            for size in SIZES {
                let seen: Bytes = next(&mut received).await;
                assert_eq!(seen, bytes_of(size), "revision {revision}, {transport}");
            }
        }
    }
}

// Node decodes a body with replacement characters.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_utf_8_become_replacement_characters_over_polling() {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    let (sender, mut received) = channel();
    io.on("text", async move |_: Socket, text: Value| {
        let _ = sender.send(text);
    });
    // As Node's Buffer.toString() makes them.
    let table: [(&[u8], &str); 7] = [
        (b"\xff", "\u{fffd}"),
        (b"a\xc3", "a\u{fffd}"),
        (b"\xe2\x82a", "\u{fffd}a"),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xf0\x9f\x98", "\u{fffd}"),
        (b"\xc0\xaf", "\u{fffd}\u{fffd}"),
        ("é€😀".as_bytes(), "é€😀"),
    ];
    for revision in [3, 4] {
        let target = joined(address, revision, false).await;
        for (bytes, text) in table {
            let mut packet = br#"42["text",""#.to_vec();
            packet.extend_from_slice(bytes);
            packet.extend_from_slice(br#""]"#);
            if revision == 3 {
                let units = String::from_utf8_lossy(&packet).encode_utf16().count();
                packet = [format!("{units}:").as_bytes(), &packet].concat();
            }
            assert_eq!(http(address, "POST", &target, &packet).await.body, "ok");
            let seen = next(&mut received).await;
            assert_eq!(seen, text, "revision {revision}, {bytes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_read_is_told_as_the_description() {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    let (sender, mut received) = channel();
    io.on_disconnect(async move |_: Socket, reason: (String, Option<String>)| {
        let _ = sender.send(reason);
    });
    for (revision, body, told) in [
        (4, "", "empty packet"),
        (4, "9", "unknown packet type '9'"),
        (4, "42[\"x\"]\u{1e}\n", "unknown packet type '\\n'"),
        (4, "42[\"x\"]\u{1e}", "empty packet"),
        (3, "1:x", "unknown packet type 'x'"),
        (3, "5:4", "malformed length"),
        (3, "", "malformed length"),
    ] {
        let target = joined(address, revision, false).await;
        assert_eq!(http(address, "POST", &target, body).await.body, "ok");
        let reason = next(&mut received).await;
        let expected = ("parse error".to_owned(), Some(told.to_owned()));
        assert_eq!(reason, expected, "revision {revision}, {body:?}");
    }
}

// P011: what the application does not decode is sent on as it came.
#[tokio::test(flavor = "multi_thread")]
async fn text_that_only_passes_through_stays_as_it_came() {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    io.on("ack", async |_: Socket, args: Args| args);
    let all = io.clone();
    io.on("all", async move |_: Socket, args: Args| {
        all.emit("all", args);
    });
    let texts = [
        r#""\ud800""#,
        r#"{"\udc00":["\ud83e\udd80","\ud83e"]}, 1"#,
        "123456789012345678901234567890,1e400,-0,1.0",
        r#"{"_placeholder":true},[{"_placeholder":true,"num":0}]"#,
        r#"{"a":1,"a":2}"#,
    ];
    let mut ws = Ws::connect(address).await;
    let target = joined(address, 3, false).await;
    for text in texts {
        ws.send(&format!("42[\"echo\",{text}]")).await;
        assert_eq!(ws.text().await, format!("42[\"echo\",{text}]"));
        ws.send(&format!("427[\"ack\",{text}]")).await;
        assert_eq!(ws.text().await, format!("437[{text}]"));
        let packet = framed(3, &format!("42[\"all\",{text}]"));
        assert_eq!(http(address, "POST", &target, &packet).await.body, "ok");
        assert_eq!(ws.text().await, format!("42[\"all\",{text}]"));
        assert_eq!(http(address, "GET", &target, "").await.body, packet);
        // Beside an attachment, too.
        let rest = text.replace("\"_placeholder\"", "\"other\"");
        let event = format!(r#"["echo",{{"_placeholder":true,"num":0}},{rest}]"#);
        ws.send(&format!("451-{event}")).await;
        ws.frame(Opcode::Binary, b"x").await;
        assert_eq!(ws.text().await, format!("451-{event}"));
        assert_eq!(ws.next().await, Received::Binary(b"x".to_vec()));
    }
    // The ack cannot be sent, and the event is handled all the same.
    ws.send("4299999999999999999999999[\"echo\",1]").await;
    assert_eq!(ws.text().await, "42[\"echo\",1]");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_of_nothing_is_null_where_any_value_is_wanted() {
    let (io, address) = start(Server::builder()).await;
    let (sender, mut received) = channel();
    io.on("ask", async move |socket: Socket| {
        let any = socket.emit_with_ack::<Value>("what", ()).await;
        let ours = socket.emit_with_ack::<socketio::Value>("what", ()).await;
        let _ = sender.send((any.ok(), ours.ok()));
    });
    let mut ws = Ws::connect(address).await;
    ws.send("42[\"ask\"]").await;
    for answer in ["[]", ""] {
        let asked = ws.text().await;
        let id = asked
            .strip_prefix("42")
            .and_then(|rest| rest.split('[').next());
        ws.send(&format!("43{}{answer}", id.expect("an id"))).await;
    }
    let nothing = (Some(Value::Null), Some(socketio::Value::Null));
    assert_eq!(next(&mut received).await, nothing);

    let socket = builder(&format!("http://{address}"), &[Transport::WebSocket]).build();
    let socket = socket.expect("valid");
    socket.connect().await.expect("to connect");
    io.on("nothing", async |_: Socket| {});
    let answer = soon(socket.emit_with_ack::<Value>("nothing", ())).await;
    assert_eq!(answer.ok(), Some(Value::Null));
}
