//! E074: nothing that a peer sends harms the process or anybody else.

use socketio::{Args, Server, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{HANDSHAKE, Received, Ws, http, open_polling, soon, start, until};

// E034, S071 and the like: each of these ends its own connection, with the close code that belongs to it.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_input_ends_one_connection_only() {
    let (io, address) = start(Server::builder().max_payload(1000)).await;
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let mut witness = Ws::connect(address).await;
    let deep = format!("42[\"x\",{}]", "[".repeat(900));
    let cases: &[(&[u8], Option<u16>)] = &[
        (&frame(0x81, b"9"), None),
        (&frame(0x81, b""), None),
        (&frame(0x81, b"2"), None),
        (&frame(0x81, b"42[\"echo\""), None),
        (&frame(0x81, deep.as_bytes()), None),
        (
            &frame(
                0x81,
                b"451000000000-[\"x\",{\"_placeholder\":true,\"num\":0}]",
            ),
            None,
        ),
        (&frame(0x81, b"40"), None),
        (&frame(0x81, b"42/other,[\"x\"]"), None),
        (&frame(0x82, b"stray binary"), None),
        (&frame(0x81, b"\xff\xfe"), Some(1007)),
        (&frame(0xc1, b"rsv1"), Some(1002)),
        (&frame(0x83, b"opcode 3"), Some(1002)),
        (&frame(0x09, b"ping in pieces"), Some(1002)),
        (&frame(0x80, b"nothing to continue"), Some(1002)),
        (&[0x81, 0x02, b'4', b'0'], Some(1002)),
        // Announces 2^62 bytes: refused by its header, with nothing allocated for it.
        (
            &[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            Some(1009),
        ),
        (&frame(0x82, &[0; 1001]), Some(1009)),
    ];
    for (bytes, code) in cases {
        let mut ws = Ws::connect(address).await;
        ws.raw(bytes).await;
        assert_eq!(
            ws.closed().await,
            Some(*code),
            "after {:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    until(|| io.clients_count() == 1).await;
    assert_eq!(io.stats().large_messages, 2);
    witness.send("42[\"echo\",\"still here\"]").await;
    assert_eq!(witness.text().await, "42[\"echo\",\"still here\"]");
}

/// A masked frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n if n < 126 => frame.push(0x80 | n as u8),
        n => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_answered_or_dropped() {
    let (io, address) = start(Server::builder()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET /socket.io/?EIO=4&transport=polling HTTP/9.9\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=%ff%fe&sid=%00 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        b"GET /socket.io/?__proto__=1&transport=__proto__ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.expect("to connect");
        stream.write_all(bytes).await.expect("to write");
        stream.shutdown().await.expect("to end");
        let mut answer = Vec::new();
        // Whether it is answered or dropped: it ends.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    let sid = open_polling(address).await;
    let target = format!("{HANDSHAKE}&sid={sid}");
    // E035, E037: what stands before a bad packet counts, and the POST is answered all the same.
    assert_eq!(
        http(address, "POST", &target, "40\x1e\u{1F600}").await.body,
        "ok"
    );
    until(|| io.clients_count() == 0).await;
}

// A flood of CONNECTs to namespaces that do not exist, or for one that is joined, leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connects_leaves_nothing() {
    let (io, address) = start(Server::builder()).await;
    let mut ws = Ws::connect(address).await;
    for i in 0..1000 {
        ws.send(&format!("40/nope-{i},")).await;
        assert_eq!(
            ws.text().await,
            format!("44/nope-{i},{{\"message\":\"Invalid namespace\"}}")
        );
    }
    ws.send("40").await;
    assert_eq!(ws.next().await, Received::Close(None));
    until(|| io.clients_count() == 0).await;
    assert!(io.local_adapter().is_empty());
}
