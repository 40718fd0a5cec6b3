//! Base64 as Node reads it: what `Buffer.from(text, "base64")` makes of generated texts, recorded by
//! `interop/record-base64.mjs`.

use socketio_proto::engine::{Message, Packet, decode_payload, v3};

fn recorded() -> impl Iterator<Item = (String, Vec<u8>)> {
    let lines = include_str!("base64.jsonl").lines().skip(1);
    lines.map(|line| {
        let (text, hex): (String, String) = serde_json::from_str(line).expect("a pair of strings");
        let bytes = hex.as_bytes().chunks(2).map(|pair| {
            let pair = str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("two digits")
        });
        (text, bytes.collect())
    })
}

fn binary(bytes: &[u8]) -> Packet<'_> {
    Packet::Message(Message::Binary(bytes.into()))
}

// E024.
#[test]
fn base64_is_read_as_node_reads_it() {
    let mut count = 0;
    for (text, bytes) in recorded() {
        let packet = format!("b{text}");
        assert_eq!(Packet::decode_text(&packet), Ok(binary(&bytes)), "{text:?}");
        let packet = format!("b4{text}");
        assert_eq!(v3::decode_text(&packet), Ok(binary(&bytes)), "{text:?}");
        count += 1;
    }
    assert_eq!(count, 1200);
}

// E024, E067: a body is cut into its packets before base64 is looked at.
#[test]
fn base64_of_a_body_ends_where_its_packet_ends() {
    let lengthy = |packet: &str| format!("{}:{packet}", packet.encode_utf16().count());
    let pairs: Vec<_> = recorded().collect();
    for pair in pairs.chunks_exact(2) {
        let [(first, first_bytes), (second, second_bytes)] = pair else {
            unreachable!("chunks of two")
        };
        let expected = [Ok(binary(first_bytes)), Ok(binary(second_bytes))];
        let body = lengthy(&format!("b4{first}")) + &lengthy(&format!("b4{second}"));
        assert_eq!(
            v3::decode_payload(&body).collect::<Vec<_>>(),
            expected,
            "{body:?}"
        );
        if !body.contains('\u{1e}') {
            let body = format!("b{first}\u{1e}b{second}");
            assert_eq!(
                decode_payload(&body).collect::<Vec<_>>(),
                expected,
                "{body:?}"
            );
        }
    }
}
