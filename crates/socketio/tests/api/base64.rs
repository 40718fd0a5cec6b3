//! Bytes as base64 in the texts of a WebSocket, for clients that ask for it by `b64` in its query.

use bytes::Bytes;
use socketio::{Server, Socket};

use crate::support::{Polling, Received, Ws, soon, start};

/// A server that emits bytes to one client and to all, as one part of two and alone.
async fn emitting() -> (Server, std::net::SocketAddr) {
    let (io, address) = start(Server::builder().allow_eio3()).await;
    io.on("bytes", async |socket: Socket| {
        socket.emit("one", (Bytes::from_static(&[1, 2, 3]), 1));
        socket
            .namespace()
            .emit("all", Bytes::from_static(&[0xff; 4]));
        socket.emit("none", Bytes::new());
    });
    (io, address)
}

async fn received(ws: &mut Ws, count: usize) -> Vec<Received> {
    let mut received = Vec::new();
    while received.len() < count {
        received.push(soon(ws.next()).await);
    }
    received
}

fn texts(texts: &[&str]) -> Vec<Received> {
    texts
        .iter()
        .map(|text| Received::Text((*text).to_owned()))
        .collect()
}

const ONE: &str = r#"451-["one",{"_placeholder":true,"num":0},1]"#;
const ALL: &str = r#"451-["all",{"_placeholder":true,"num":0}]"#;
const NONE: &str = r#"451-["none",{"_placeholder":true,"num":0}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_asks_for_base64_gets_bytes_in_texts() {
    let (_io, address) = emitting().await;
    for (query, [one, all, none]) in [
        ("EIO=4&b64=1", ["bAQID", "b/////w==", "b"]),
        ("EIO=4&b64=true", ["bAQID", "b/////w==", "b"]),
        ("EIO=3&b64=1", ["b4AQID", "b4/////w==", "b4"]),
    ] {
        let mut ws =
            Ws::upgrade(address, &format!("/socket.io/?{query}&transport=websocket")).await;
        ws.text().await;
        if query.starts_with("EIO=4") {
            ws.send("40").await;
        }
        ws.text().await;
        // What comes is read either way.
        ws.send(r#"42["bytes"]"#).await;
        let expected = texts(&[ONE, one, ALL, all, NONE, none]);
        assert_eq!(received(&mut ws, 6).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transport_goes_by_its_own_request() {
    let (_io, address) = emitting().await;
    let plain = |bytes: &[u8]| Received::Binary(bytes.to_vec());
    for (query, [one, all, none]) in [
        ("", [plain(&[1, 2, 3]), plain(&[0xff; 4]), plain(&[])]),
        ("&b64=", [plain(&[1, 2, 3]), plain(&[0xff; 4]), plain(&[])]),
        (
            "&b64=1",
            [
                Received::Text("bAQID".to_owned()),
                Received::Text("b/////w==".to_owned()),
                Received::Text("b".to_owned()),
            ],
        ),
    ] {
        let polling = Polling::connect(address).await;
        let target = format!(
            "/socket.io/?EIO=4&transport=websocket&sid={}{query}",
            polling.sid()
        );
        let mut ws = Ws::upgrade(address, &target).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        // Queued for polling, and taken by the WebSocket.
        assert_eq!(polling.post(r#"42["bytes"]"#).await.status, 200);
        ws.send("5").await;
        let text = |text: &str| Received::Text(text.to_owned());
        let expected = vec![text(ONE), one, text(ALL), all, text(NONE), none];
        assert_eq!(received(&mut ws, 6).await, expected, "{query}");
    }
}
