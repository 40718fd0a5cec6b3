//! What one message of a megabyte costs a server, in milliseconds of a thread:
//! `cargo run --release -p socketio-proto --example costs`. The least of many, since other programs only
//! make it more.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use socketio_proto::engine::decode_payload;
use socketio_proto::socket::{
    Connection, ConnectionConfig, EncodedMessage, MsgpackParser, Packet as SocketPacket,
    PacketKind, Parser,
};
use socketio_proto::websocket::{
    Decoder, DeflateConfig, Opcode, Role, compress, masked_compressed_frame, masked_frame,
    negotiate,
};

const SIZE: usize = 1_000_000;
const TIMES: usize = 30;

fn main() {
    println!("milliseconds for a message of {SIZE} bytes");
    let numbers = filled(r#"2["x""#, ",1234567.5", "]");
    let objects = filled(r#"2["x""#, r#",{"name":"value","list":[1,2,3]}"#, "]");
    let brackets = filled(r#"2["x""#, ",[]", "]");
    let escapes = filled(r#"2["x",""#, r"\u00e9\n", r#""]"#);
    for (name, text) in [
        ("JSON: numbers", &numbers),
        ("JSON: objects", &objects),
        ("JSON: empty lists", &brackets),
        ("JSON: escapes", &escapes),
    ] {
        let mut connection = Connection::<u8>::new(&ConnectionConfig::default(), now());
        connection.handle_text("0").expect("CONNECT");
        connection.accept("/", 1);
        print(name, || {
            let _ = connection.handle_text(text).expect("an event");
        });
    }

    let parser = MsgpackParser::default();
    let packet = SocketPacket {
        kind: PacketKind::Event,
        nsp: "/".into(),
        id: None,
        data: numbers[1..].into(),
        attachments: Vec::new(),
    };
    let Some(EncodedMessage::Binary(bytes)) = parser.encode(&packet).into_iter().next() else {
        panic!("no message")
    };
    let mut decoder = parser.decoder();
    print(
        &format!("MessagePack: numbers ({} bytes)", bytes.len()),
        || {
            decoder.add_binary(&bytes).expect("a packet");
        },
    );

    let encoded = format!("b{}", STANDARD.encode(vec![7; SIZE * 3 / 4 - 3]));
    print("base64: one attachment over polling", || {
        let packets = decode_payload(&encoded).map(|packet| packet.is_ok());
        assert_eq!(packets.filter(|&is_ok| is_ok).count(), 1);
    });

    let config = DeflateConfig::default();
    let offer: &[u8] =
        b"permessage-deflate; client_no_context_takeover; server_no_context_takeover";
    let (negotiated, _) = negotiate(&config, [offer].into_iter()).expect("an offer");
    let mut plain = Vec::new();
    masked_frame(&mut plain, Opcode::Text, objects.as_bytes(), [1, 2, 3, 4]);
    let compressed = compress(objects.as_bytes(), &negotiated, 6);
    let mut frame = Vec::new();
    masked_compressed_frame(&mut frame, Opcode::Text, &compressed, [1, 2, 3, 4]);
    for (name, frame) in [
        ("WebSocket: unmasked", plain),
        ("WebSocket: inflated", frame),
    ] {
        let mut copies = vec![frame; TIMES];
        print(name, || {
            let mut decoder = Decoder::with_deflate(Role::Server, 2 * SIZE, &negotiated);
            let mut frame = copies.pop().expect("one for each time");
            assert!(decoder.decode(&mut frame).is_ok_and(|item| item.is_some()));
        });
    }
    print("WebSocket: deflated, for an echo (level 6)", || {
        assert!(!compress(objects.as_bytes(), &negotiated, 6).is_empty());
    });
}

/// A text of the size, of one piece many times.
fn filled(start: &str, piece: &str, end: &str) -> String {
    let pieces = (SIZE - start.len() - end.len()) / piece.len();
    [start, &piece.repeat(pieces), end].concat()
}

fn print(name: &str, mut act: impl FnMut()) {
    let mut least = Duration::MAX;
    for _ in 0..TIMES {
        let start = now();
        act();
        least = least.min(start.elapsed());
    }
    println!("{:8.2}  {name}", least.as_secs_f64() * 1000.0);
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
