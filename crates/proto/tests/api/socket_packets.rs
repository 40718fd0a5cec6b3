//! What is on the wire: the examples, what is refused, and that both directions agree.

use std::borrow::Cow;

use bytes::Bytes;
use socketio_proto::socket::{
    Decoder, EncodedMessage, JsonParser, MAX_DEPTH, Packet, PacketKind, ParseError, Parser,
    encode_ack, encode_connect, encode_connect_error, encode_disconnect, encode_event, split_args,
};

/// Marsaglia's xorshift: the same numbers in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const PARSER: JsonParser = JsonParser {
    max_attachments: 10,
    max_bytes: 1000,
};

fn packet<'a>(kind: PacketKind, nsp: &'a str, id: Option<u64>, data: &'a str) -> Packet<'a> {
    Packet {
        kind,
        nsp: nsp.into(),
        id,
        data: data.into(),
        attachments: Vec::new(),
    }
}

/// Decodes the text of a packet with as many attachments as it wants.
fn decode(text: &str) -> Result<Packet<'static>, ParseError> {
    let mut decoder = PARSER.decoder();
    let mut packet = decoder.add_text(text)?;
    let mut count = 0u8;
    while packet.is_none() {
        packet = decoder.add_binary(&[count])?;
        count += 1;
    }
    Ok(packet.expect("the loop has ended"))
}

fn refused(text: &str) -> String {
    match decode(text) {
        Ok(packet) => panic!("{text} is {packet:?}"),
        Err(error) => error.to_string(),
    }
}

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

// P001, S072.
#[test]
fn the_examples_are_the_same_in_both_directions() {
    use PacketKind::{Ack, Connect, ConnectError, Disconnect, Event};
    let two = r#"["b",{"_placeholder":true,"num":0},{"x":[{"_placeholder":true,"num":1}]}]"#;
    let one = r#"[{"_placeholder":true,"num":0}]"#;
    let error = r#"{"message":"m","data":{"a":1}}"#;
    for (text, expected, attachments) in [
        ("0".to_owned(), packet(Connect, "/", None, ""), 0),
        (
            r#"0/admin,{"token":1}"#.to_owned(),
            packet(Connect, "/admin", None, r#"{"token":1}"#),
            0,
        ),
        (
            "1/admin,".to_owned(),
            packet(Disconnect, "/admin", None, ""),
            0,
        ),
        (
            r#"2["a",1]"#.to_owned(),
            packet(Event, "/", None, r#"["a",1]"#),
            0,
        ),
        (
            r#"2/adm,12["a"]"#.to_owned(),
            packet(Event, "/adm", Some(12), r#"["a"]"#),
            0,
        ),
        ("312[]".to_owned(), packet(Ack, "/", Some(12), "[]"), 0),
        (format!("52-{two}"), packet(Event, "/", None, two), 2),
        (
            format!("61-/adm,7{one}"),
            packet(Ack, "/adm", Some(7), one),
            1,
        ),
        (
            format!("4/x,{error}"),
            packet(ConnectError, "/x", None, error),
            0,
        ),
    ] {
        let expected = Packet {
            attachments: (0..attachments)
                .map(|i| Bytes::copy_from_slice(&[i]))
                .collect(),
            ..expected
        };
        assert_eq!(decode(&text).as_ref(), Ok(&expected), "{text}");
        let messages = PARSER.encode(&expected);
        assert_eq!(messages[0], EncodedMessage::Text(text));
        assert_eq!(messages.len(), 1 + usize::from(attachments));
    }
}

// P001.
#[test]
fn what_the_server_writes_are_the_examples() {
    let one = br#"{"_placeholder":true,"num":0}"#;
    for (found, expected) in [
        (encoded(|o| encode_connect(o, "/", "")), "0"),
        (
            encoded(|o| encode_connect(o, "/a", r#"{"sid":"x"}"#)),
            r#"0/a,{"sid":"x"}"#,
        ),
        (encoded(|o| encode_disconnect(o, "/")), "1"),
        (encoded(|o| encode_disconnect(o, "/admin")), "1/admin,"),
        (
            encoded(|o| encode_event(o, "/adm", Some(12), 0, "a", b"")),
            r#"2/adm,12["a"]"#,
        ),
        (
            encoded(|o| encode_event(o, "/", None, 0, "\"\u{7f}\t", b"1,2")),
            "2[\"\\\"\u{7f}\\t\",1,2]",
        ),
        (
            encoded(|o| encode_ack(o, "/adm", 7, 1, one)),
            r#"61-/adm,7[{"_placeholder":true,"num":0}]"#,
        ),
        (
            encoded(|o| encode_connect_error(o, "/x", r#"{"message":"Invalid namespace"}"#)),
            r#"4/x,{"message":"Invalid namespace"}"#,
        ),
    ] {
        assert_eq!(found, expected);
    }
}

// P003, S071, S073.
#[test]
fn a_number_of_attachments_is_written_in_digits_and_bounded() {
    for text in [
        "5",
        "5-",
        "50-",
        "51.5-",
        "511",
        "5-1-[\"a\"]",
        "6",
        "6x-[]",
        "5+1-[\"a\"]",
        "51e0-[\"a\"]",
    ] {
        assert_eq!(refused(text), "Illegal attachments", "{text}");
    }
    for text in [
        "511-",
        "511-[\"a\"]",
        "51000000000-[\"a\"]",
        "699999999999999999999999-[]",
    ] {
        assert_eq!(refused(text), "too many attachments", "{text}");
    }
    assert_eq!(decode("510-[\"a\"]").unwrap().attachments.len(), 10);
    let mut more = Decoder::new(11, 1000);
    assert_eq!(more.text("511-[\"a\"]"), Ok(None));
}

// P004.
#[test]
fn a_placeholder_without_attachment_is_refused_however_it_is_written() {
    for value in [
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true}"#,
        r#"{ "num" : 1 , "_placeholder" : true }"#,
        r#"{"\u005fplaceholder":true,"num":1}"#,
        r#"[[{"a":{"_placeholder":true,"num":7}}]]"#,
    ] {
        for text in [format!("51-[\"a\",{value}]"), format!("61-3[{value}]")] {
            assert_eq!(refused(&text), "illegal attachments", "{text}");
        }
    }
}

// P005.
#[test]
fn a_namespace_ends_with_a_comma_or_with_the_packet() {
    for (text, nsp) in [
        ("0/admin", "/admin"),
        ("0/admin,", "/admin"),
        ("0/admin?a=b&c", "/admin?a=b&c"),
        ("0/admin?a=b,{}", "/admin?a=b"),
        ("0/", "/"),
        ("0/,{}", "/"),
        ("2/,[\"x\"]", "/"),
        ("2/é🦀,[\"x\"]", "/é🦀"),
        // Without a comma there is nothing but the name.
        ("0/a{\"b\":1}", "/a{\"b\":1}"),
    ] {
        assert_eq!(decode(text).unwrap().nsp, nsp, "{text}");
    }
}

// P006.
#[test]
fn an_ack_id_is_a_number_of_64_bits() {
    for (text, id) in [
        ("2[\"a\"]", None),
        ("20[\"a\"]", Some(0)),
        ("2007[\"a\"]", Some(7)),
        ("29007199254740993[\"a\"]", Some(9_007_199_254_740_993)),
        ("218446744073709551615[\"a\"]", Some(u64::MAX)),
        ("2 [\"a\"]", Some(0)),
        ("2/n, 5\t[\"a\"]", Some(5)),
        // As the reference, which cannot be answered either.
        ("218446744073709551616[\"a\"]", None),
        ("21 2[\"a\"]", None),
    ] {
        assert_eq!(decode(text).unwrap().id, id, "{text}");
    }
    for text in ["2-1[\"a\"]", "21.5[\"a\"]", "2x[\"a\"]"] {
        assert_eq!(refused(text), "invalid payload", "{text}");
    }
}

// P007, P008, P009, S019, S071.
#[test]
fn a_payload_has_the_shape_of_its_type() {
    for text in [
        "0[]",
        "0\"a\"",
        "0null",
        "0{\"a\"",
        "1{}",
        "1[]",
        "2[]",
        "2{}",
        "2[null]",
        "2[true]",
        "2[\"a\"",
        "2[\"a\"]]",
        "2[\"a\",]",
        "2[\"connect\"]",
        "2[\"connect_error\",1]",
        "2[\"disconnect\"]",
        "2[\"disconnecting\"]",
        "2[\"newListener\"]",
        "2[\"removeListener\"]",
        "51-[\"connect\"]",
        "51-{}",
        "3{}",
        "31\"a\"",
        "61-1{}",
        "4[]",
        "4null",
    ] {
        assert_eq!(refused(text), "invalid payload", "{text}");
    }
    for text in ["0{}", "1", "2[\"error\"]", "30[]", "4\"a\"", "4{}", "41"] {
        assert!(decode(text).is_ok(), "{text}");
    }
}

// S020, S071: what the reference accepts although nobody sends it.
#[test]
fn oddities_are_accepted() {
    for (text, data) in [
        ("2", ""),
        ("2[1]", "[1]"),
        ("3", ""),
        ("2 [\"x\"]", "[\"x\"]"),
        ("2/,[\"x\"]", "[\"x\"]"),
        ("51-", ""),
    ] {
        assert_eq!(decode(text).unwrap().data, data, "{text}");
    }
    assert_eq!(decode(" {}").unwrap().kind, PacketKind::Connect);
}

// S071.
#[test]
fn an_unknown_type_is_named_as_javascript_does() {
    for (text, number) in [
        ("7", "7"),
        ("9[\"a\"]", "9"),
        ("x", "NaN"),
        ("é", "NaN"),
        ("", "NaN"),
    ] {
        assert_eq!(refused(text), format!("unknown packet type {number}"));
    }
}

// S074.
#[test]
fn text_and_attachments_do_not_mix() {
    let mut decoder = Decoder::new(10, 1000);
    let error = decoder.binary(Cow::Borrowed(b"x")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "got binary data when not reconstructing a packet"
    );
    assert_eq!(decoder.text("52-[\"a\"]"), Ok(None));
    assert_eq!(decoder.binary(Cow::Borrowed(b"x")), Ok(None));
    let error = decoder.text("2[\"a\"]").unwrap_err();
    assert_eq!(
        error.to_string(),
        "got plaintext data when reconstructing a packet"
    );
}

// P010.
#[test]
fn deep_nesting_and_long_names_need_no_stack() {
    let nested = |depth: usize| format!("2[\"a\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    assert!(decode(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(refused(&nested(MAX_DEPTH)), "invalid payload");
    assert_eq!(refused(&nested(500_000)), "invalid payload");
    let opened = format!("51-[\"a\",{}", "{\"_placeholder\":".repeat(100_000));
    assert_eq!(refused(&opened), "invalid payload");
    let name = "n".repeat(1_000_000);
    assert_eq!(decode(&format!("2/{name},[\"{name}\"]")).unwrap().id, None);
}

/// Texts near to what is valid.
fn random_text(random: &mut Random) -> String {
    const SEEDS: [&str; 10] = [
        "0",
        r#"0/admin,{"token":1}"#,
        "1/admin,",
        r#"2["a",1]"#,
        r#"2/adm,12["a",{"b":[1.5,"\ud83e\udd80",null]}]"#,
        "312[]",
        r#"52-["b",{"_placeholder":true,"num":0},{"x":[{"_placeholder":true,"num":1}]}]"#,
        r#"61-/adm,7[{"num":0,"_placeholder":true}]"#,
        r#"4/x,{"message":"m","data":{"a":1}}"#,
        r#"51-["\ud800",{"\u005fplaceholder":true,"num":0}]"#,
    ];
    const LETTERS: &[char] = &[
        '0', '1', '2', '5', '9', '-', '/', ',', ' ', '[', ']', '{', '}', '"', ':', '\\', 'u', 'd',
        '8', 'a', 'é', '🦀', '\u{a0}', '\u{feff}', '\n', '\0',
    ];
    let mut text: Vec<char> = SEEDS[random.index(SEEDS.len())].chars().collect();
    for _ in 0..random.index(4) {
        let at = random.index(text.len() + 1);
        let letter = LETTERS[random.index(LETTERS.len())];
        match random.index(3) {
            0 => text.insert(at, letter),
            1 if at < text.len() => text[at] = letter,
            _ => text.truncate(at),
        }
    }
    text.into_iter().collect()
}

// P001: what is decoded is encoded and decoded to the same.
#[test]
fn what_is_decoded_survives_being_encoded() {
    let mut random = Random(0x5eed_0001);
    let mut decoded = 0;
    for _ in 0..100_000 {
        let text = random_text(&mut random);
        let Ok(packet) = decode(&text) else { continue };
        decoded += 1;
        let mut decoder = PARSER.decoder();
        let mut again = None;
        for message in PARSER.encode(&packet) {
            assert_eq!(again, None, "{text}: complete with the last message only");
            again = match message {
                EncodedMessage::Text(text) => decoder.add_text(&text),
                EncodedMessage::Binary(bytes) => decoder.add_binary(&bytes),
            }
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        assert_eq!(again.as_ref(), Some(&packet), "{text}");
    }
    assert!(decoded > 10_000, "{decoded} is enough to mean something");
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random(0x5eed_0002);
    for _ in 0..100_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.index(24) {
            bytes.push(random.index(256) as u8);
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut decoder = Decoder::new(10, 100);
        let _ = decoder.text(&text);
        let _ = decoder.binary(Cow::Borrowed(&bytes));
        assert!(split_args(&text).count() <= text.len());
    }
}
