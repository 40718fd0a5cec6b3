//! Packets as MessagePack: each is one map with the keys `type`, `data`, `nsp` and `id`.
//!
//! A packet is one binary message, bytes included; there are no placeholders on the wire, and no
//! types 5 and 6. This is what socket.io-msgpack-parser 3.0.2 speaks, which encodes with notepack.io
//! 2.2.0. What other encoders write for dates, bytes and nothing is read as well. Specification: the
//! MessagePack format, and Socket.IO protocol, revision 5, for the packets.

mod date;
mod decode;
mod encode;

use bytes::Bytes;

use super::packet::{Packet, ParseError};
use super::parser::{EncodedMessage, PacketDecoder, Parser};

/// Writes and reads packets as MessagePack.
///
/// Values have the meaning that they have in JSON: a date becomes its text, `NaN` and `undefined`
/// become `null`. Bytes become attachments. An object of the peer that only looks like a
/// placeholder stays an object: where the packet has attachments, so that it could be taken for one
/// of them, its `_placeholder` becomes `null`.
///
/// A payload that is not JSON cannot be written: such a packet has no messages.
#[doc(alias = "socket.io-msgpack-parser")]
#[derive(Clone, Copy, Debug)]
pub struct MsgpackParser {
    /// How many byte strings a packet may have. Each costs more memory than it has bytes on the
    /// wire; the reference has no such bound.
    pub max_attachments: usize,
    /// How many bytes they may have together. They are part of one message, whose size is bounded
    /// as well.
    pub max_bytes: usize,
}

impl Default for MsgpackParser {
    /// A thousand byte strings, of 100 MB together.
    fn default() -> MsgpackParser {
        MsgpackParser {
            max_attachments: 1000,
            max_bytes: 100_000_000,
        }
    }
}

impl Parser for MsgpackParser {
    fn encode(&self, packet: &Packet<'_>) -> Vec<EncodedMessage> {
        let message = encode::encode(packet).map(|bytes| EncodedMessage::Binary(bytes.into()));
        message.into_iter().collect()
    }

    fn decoder(&self) -> Box<dyn PacketDecoder> {
        Box::new(Decoder { limits: *self })
    }
}

/// Every message is a packet: there is nothing to remember.
#[derive(Debug)]
struct Decoder {
    limits: MsgpackParser,
}

impl PacketDecoder for Decoder {
    fn add_text(&mut self, _: &str) -> Result<Option<Packet<'static>>, ParseError> {
        Err(ParseError::Malformed)
    }

    fn add_binary(&mut self, bytes: &[u8]) -> Result<Option<Packet<'static>>, ParseError> {
        decode::decode(bytes, self.limits).map(Some)
    }
}

/// Which encoder's numbers are written. All write the least form of an integer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// `@msgpack/msgpack` 2.8: what is beyond 2^53 - 1 is a float.
    Msgpack,
    /// notepack.io: integers up to 64 bits.
    Notepack,
}

/// What becomes of bytes in JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Binary {
    /// They are set aside, and a placeholder stands for them.
    Attach,
    /// They are written as `JSON.stringify` writes a Buffer.
    Inline,
}

/// Writes a JSON text as MessagePack, with the attachments in the places of their placeholders;
/// `None` if it is not JSON.
pub(crate) fn json_to_msgpack(
    text: &str,
    attachments: &[Bytes],
    dialect: Dialect,
) -> Option<Vec<u8>> {
    encode::encode_value(text, attachments, dialect)
}

/// Writes a MessagePack value as a JSON text nested at most `max_depth` deep, with its attachments.
pub(crate) fn msgpack_to_json(
    bytes: &[u8],
    limits: MsgpackParser,
    max_depth: usize,
    binary: Binary,
) -> Result<(String, Vec<Bytes>), ParseError> {
    decode::decode_value(bytes, limits, max_depth, binary)
}

/// The keys of a placeholder.
const PLACEHOLDER: &str = "_placeholder";
const NUM: &str = "num";

/// Integers up to here are exact as floats; JavaScript has no others. Spec: ECMAScript, "Number".
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::super::json::{self, MAX_DEPTH};
    use super::super::packet::PacketKind::{self, Ack, Connect, ConnectError, Disconnect, Event};
    use super::*;

    const PARSER: MsgpackParser = MsgpackParser {
        max_attachments: 10,
        max_bytes: 1000,
    };

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        let pairs = digits.chunks(2);
        pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn decode(message: &[u8]) -> Result<Packet<'static>, ParseError> {
        let packet = PARSER.decoder().add_binary(message)?;
        Ok(packet.expect("a message is a packet"))
    }

    fn encode(packet: &Packet<'_>) -> String {
        match &PARSER.encode(packet)[..] {
            [EncodedMessage::Binary(bytes)] => hex(bytes),
            other => panic!("not one binary message: {other:?}"),
        }
    }

    fn packet(
        kind: PacketKind,
        nsp: &'static str,
        id: Option<u64>,
        data: &'static str,
        attachments: &[&'static [u8]],
    ) -> Packet<'static> {
        Packet {
            kind,
            nsp: nsp.into(),
            id,
            data: data.into(),
            attachments: attachments.iter().copied().map(Bytes::from).collect(),
        }
    }

    /// An event named `a` with one argument, given in MessagePack.
    fn event(argument: &str) -> Vec<u8> {
        bytes(&format!(
            "83a47479706502a46461746192a161{argument}a36e7370a12f"
        ))
    }

    /// The argument of such an event as JSON.
    fn argument(hex: &str) -> Result<String, ParseError> {
        let packet = decode(&event(hex))?;
        json::value(&packet.data).expect("canonical");
        let inside = packet.data.strip_prefix("[\"a\",").expect("an event");
        Ok(inside[..inside.len() - 1].to_owned())
    }

    /// An argument in MessagePack.
    fn written(argument: &str, attachments: &[&'static [u8]]) -> String {
        let mut packet = packet(Event, "/", None, "", attachments);
        packet.data = format!("[\"a\",{argument}]").into();
        let hex = encode(&packet);
        let inside = hex.strip_prefix("83a47479706502a46461746192a161");
        let inside = inside.and_then(|hex| hex.strip_suffix("a36e7370a12f"));
        inside.expect("an event").to_owned()
    }

    // P012.
    #[test]
    fn packets_are_written_and_read_as_the_reference_does() {
        for (hex, expected) in [
            (
                "83a47479706500a36e7370a42f666f6fa46461746181a5746f6b656ea3626164",
                packet(Connect, "/foo", None, r#"{"token":"bad"}"#, &[]),
            ),
            (
                "83a47479706500a46461746181a5746f6b656ea174a36e7370a42f666f6f",
                packet(Connect, "/foo", None, r#"{"token":"t"}"#, &[]),
            ),
            (
                "83a47479706504a46461746182a76d657373616765a46e6f7065a46461746181a4636f646507\
                 a36e7370a42f666f6f",
                packet(
                    ConnectError,
                    "/foo",
                    None,
                    r#"{"message":"nope","data":{"code":7}}"#,
                    &[],
                ),
            ),
            (
                "84a269640ca47479706503a46461746192a26f6bc40109a36e7370a12f",
                packet(
                    Ack,
                    "/",
                    Some(12),
                    r#"["ok",{"_placeholder":true,"num":0}]"#,
                    &[b"\x09"],
                ),
            ),
            (
                "84a47479706502a46461746191a361736ba2696400a36e7370a12f",
                packet(Event, "/", Some(0), r#"["ask"]"#, &[]),
            ),
            (
                "83a47479706502a46461746192a8626967696e743533cf0020000000000000a36e7370a12f",
                packet(Event, "/", None, r#"["bigint53",9007199254740992]"#, &[]),
            ),
            (
                "84a47479706503a4646174619181a17801a2696400a36e7370a12f",
                packet(Ack, "/", Some(0), r#"[{"x":1}]"#, &[]),
            ),
            (
                "84a47479706503a2696401a4646174619181a3676f7401a36e7370a42f666f6f",
                packet(Ack, "/foo", Some(1), r#"[{"got":1}]"#, &[]),
            ),
            (
                "82a47479706501a36e7370a42f666f6f",
                packet(Disconnect, "/foo", None, "", &[]),
            ),
            (
                "82a47479706500a36e7370a12f",
                packet(Connect, "/", None, "", &[]),
            ),
        ] {
            let message = bytes(hex);
            assert_eq!(decode(&message).as_ref(), Ok(&expected), "{hex}");
            let written = bytes(&encode(&expected));
            assert_eq!(written.len(), message.len(), "{hex}");
            assert_eq!(decode(&written), Ok(expected));
        }
    }

    // P012.
    #[test]
    fn keys_stand_in_the_order_of_a_server_of_the_reference() {
        for hex in [
            "84a269640ca47479706503a46461746192a26f6bc40109a36e7370a12f",
            "84a47479706502a46461746191a361736ba2696400a36e7370a12f",
            "83a47479706504a46461746182a76d657373616765a46e6f7065a46461746181a4636f646507\
             a36e7370a42f666f6f",
            "82a47479706501a36e7370a42f666f6f",
        ] {
            assert_eq!(encode(&decode(&bytes(hex)).unwrap()), hex);
        }
    }

    // P012.
    #[test]
    fn what_only_the_reference_writes_is_read() {
        for (hex, expected) in [
            (
                "83a47479706500a464617461d40000a36e7370a12f",
                packet(Connect, "/", None, "", &[]),
            ),
            (
                "83a47479706500a46461746182a3736964b478466c555770356a344872383770544f41414143\
                 a3706964d40000a36e7370a42f666f6f",
                packet(
                    Connect,
                    "/foo",
                    None,
                    r#"{"sid":"xFlUWp5j4Hr87pTOAAAC","pid":null}"#,
                    &[],
                ),
            ),
            (
                "85a47479706502a46461746192a2686901a76f7074696f6e7381a8636f6d7072657373c3\
                 a269640ca36e7370a12f",
                packet(Event, "/", Some(12), r#"["hi",1]"#, &[]),
            ),
            (
                "84a47479706502a46461746193a2686901a178a76f7074696f6e7381a8636f6d7072657373c3\
                 a36e7370a42f666f6f",
                packet(Event, "/foo", None, r#"["hi",1,"x"]"#, &[]),
            ),
            (
                "85a47479706502a46461746192a26869c4020102a76f7074696f6e7381a8636f6d7072657373c3\
                 a2696400a36e7370a42f666f6f",
                packet(
                    Event,
                    "/foo",
                    Some(0),
                    r#"["hi",{"_placeholder":true,"num":0}]"#,
                    &[b"\x01\x02"],
                ),
            ),
            (
                "83a47479706502a46461746196a27265cb3ff8000000000000d40000d7000000000000000000c40101\
                 81a175d40000a36e7370a12f",
                packet(
                    Event,
                    "/",
                    None,
                    concat!(
                        r#"["re",1.5,null,"1970-01-01T00:00:00.000Z","#,
                        r#"{"_placeholder":true,"num":0},{"u":null}]"#
                    ),
                    &[b"\x01"],
                ),
            ),
            (
                "84a47479706502a46461746191a161a26964d40000a36e7370a12f",
                packet(Event, "/", None, r#"["a"]"#, &[]),
            ),
            (
                "84a474797065cb4000000000000000a46461746191cb3ff8000000000000a26964cb4028000000000000\
                 a36e7370a12f",
                packet(Event, "/", Some(12), "[1.5]", &[]),
            ),
        ] {
            assert_eq!(decode(&bytes(hex)), Ok(expected), "{hex}");
        }
    }

    #[test]
    fn every_form_of_a_value_is_read() {
        let zeros = "00".repeat(7);
        for (hex, expected) in [
            ("c0", "null"),
            ("c2", "false"),
            ("c3", "true"),
            ("7f", "127"),
            ("e0", "-32"),
            ("cc05", "5"),
            ("cd0100", "256"),
            ("ce00010000", "65536"),
            ("cf0020000000000001", "9007199254740993"),
            ("cfffffffffffffffff", "18446744073709551615"),
            ("d080", "-128"),
            ("d005", "5"),
            ("d1ff7f", "-129"),
            ("d2ffff7fff", "-32769"),
            ("d38000000000000000", "-9223372036854775808"),
            ("ca3fc00000", "1.5"),
            ("cb3ff0000000000000", "1"),
            ("cb8000000000000000", "0"),
            ("cbc340000000000000", "-9007199254740992"),
            ("cb7e37e43c8800759c", "1e+300"),
            ("cb7ff8000000000000", "null"),
            ("cbfff0000000000000", "null"),
            ("a0", r#""""#),
            ("a2220a", r#""\"\n""#),
            ("d903616263", r#""abc""#),
            ("da0003616263", r#""abc""#),
            ("db00000003616263", r#""abc""#),
            ("a161", r#""a""#),
            ("a1ff", "\"\u{fffd}\""),
            ("a3eda0bd", "\"\u{fffd}\u{fffd}\u{fffd}\""),
            ("90", "[]"),
            ("dc000101", "[1]"),
            ("dd0000000101", "[1]"),
            ("80", "{}"),
            ("de0001a16101", r#"{"a":1}"#),
            ("df00000001a16101", r#"{"a":1}"#),
            ("810102", r#"{"1":2}"#),
            ("81ff02", r#"{"-1":2}"#),
            ("81cb3ff800000000000002", r#"{"1.5":2}"#),
            ("81cb7ff800000000000002", r#"{"NaN":2}"#),
            ("81c002", r#"{"null":2}"#),
            ("81c302", r#"{"true":2}"#),
            ("81d4000002", r#"{"undefined":2}"#),
            ("81c4016102", r#"{"a":2}"#),
            ("81a95f5f70726f746f5f5f01", r#"{"__proto__":1}"#),
            ("d40000", "null"),
            ("d40007", "null"),
            ("c4020102", r#"{"_placeholder":true,"num":0}"#),
            ("c500020102", r#"{"_placeholder":true,"num":0}"#),
            ("c6000000020102", r#"{"_placeholder":true,"num":0}"#),
            ("c702000102", r#"{"_placeholder":true,"num":0}"#),
            (
                &format!("c70800{zeros}01"),
                r#"{"_placeholder":true,"num":0}"#,
            ),
            ("c70000", r#"{"_placeholder":true,"num":0}"#),
            ("c80002000102", r#"{"_placeholder":true,"num":0}"#),
            ("c900000002000102", r#"{"_placeholder":true,"num":0}"#),
            (
                "92c401ffc40200ff",
                r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            ),
            ("d4010a", r#"[1,{"_placeholder":true,"num":0}]"#),
            ("d5000102", r#"[0,{"_placeholder":true,"num":0}]"#),
            ("c701ff01", r#"[-1,{"_placeholder":true,"num":0}]"#),
            ("d700ffffffffffffffff", r#""1969-12-31T23:59:59.999Z""#),
            ("d70000000000000005dc", r#""1970-01-01T00:00:01.500Z""#),
            ("d7007fffffffffffffff", "null"),
            ("d6ff00000001", r#""1970-01-01T00:00:01.000Z""#),
            ("d6ffffffffff", r#""2106-02-07T06:28:15.000Z""#),
            ("d7ff7735940000000001", r#""1970-01-01T00:00:01.500Z""#),
            (
                "c70cff3b8b87c0ffffffffffffffff",
                r#""1969-12-31T23:59:59.999Z""#,
            ),
            ("c70cff000000007fffffffffffffff", "null"),
        ] {
            assert_eq!(argument(hex).as_deref(), Ok(expected), "{hex}");
        }
    }

    #[test]
    fn values_take_the_least_room() {
        for (text, expected) in [
            ("null", "c0"),
            ("false", "c2"),
            ("true", "c3"),
            ("0", "00"),
            ("-0", "00"),
            ("127", "7f"),
            ("128", "cc80"),
            ("255", "ccff"),
            ("256", "cd0100"),
            ("65535", "cdffff"),
            ("65536", "ce00010000"),
            ("4294967296", "cf0000000100000000"),
            ("9007199254740992", "cf0020000000000000"),
            ("18446744073709551615", "cfffffffffffffffff"),
            ("18446744073709551616", "cb43f0000000000000"),
            ("1e300", "cb7e37e43c8800759c"),
            ("1e400", "cb7ff0000000000000"),
            ("-1", "ff"),
            ("-32", "e0"),
            ("-33", "d0df"),
            ("-128", "d080"),
            ("-129", "d1ff7f"),
            ("-32769", "d2ffff7fff"),
            ("-2147483649", "d3ffffffff7fffffff"),
            ("-9007199254740991", "d3ffe0000000000001"),
            ("1.0", "01"),
            ("-1e2", "d09c"),
            ("1.5", "cb3ff8000000000000"),
            ("0.1", "cb3fb999999999999a"),
            ("9007199254740992.0", "cf0020000000000000"),
            ("9007199254740994.0", "cb4340000000000001"),
            (r#""""#, "a0"),
            (r#""é""#, "a2c3a9"),
            (r#""\u00e9\n""#, "a3c3a90a"),
            (r#""\ud83d""#, "a3efbfbd"),
            (r#""\ud83d\ude00""#, "a4f09f9880"),
            ("[]", "90"),
            (" [ 1 , [ ] ] ", "920190"),
            ("{}", "80"),
            (r#"{ "a" : { } , "1" : 2 }"#, "82a16180a13102"),
        ] {
            assert_eq!(written(text, &[]), expected, "{text}");
        }
        for (length, header) in [
            (31, "bf"),
            (32, "d920"),
            (256, "da0100"),
            (65536, "db00010000"),
        ] {
            let text = format!("\"{}\"", "a".repeat(length));
            let expected = format!("{header}{}", "61".repeat(length));
            assert_eq!(written(&text, &[]), expected);
        }
        for (count, array, map) in [
            (15, "9f", "8f"),
            (16, "dc0010", "de0010"),
            (65536, "dd00010000", "df00010000"),
        ] {
            let items = vec!["1"; count].join(",");
            let expected = format!("{array}{}", "01".repeat(count));
            assert_eq!(written(&format!("[{items}]"), &[]), expected);
            let items = vec!["\"\":1"; count].join(",");
            let expected = format!("{map}{}", "a001".repeat(count));
            assert_eq!(written(&format!("{{{items}}}"), &[]), expected);
        }
    }

    #[test]
    fn placeholders_become_bytes_however_they_are_written() {
        for (text, expected) in [
            (r#"{"_placeholder":true,"num":0}"#, "c401aa"),
            (r#"{"_placeholder":true,"num":1}"#, "c400"),
            (r#"{ "num" : 0 , "_placeholder" : true }"#, "c401aa"),
            (r#"{"\u005fplaceholder":true,"n\u0075m":0}"#, "c401aa"),
            (r#"{"_placeholder":true,"num":9,"num":0,"x":[1]}"#, "c401aa"),
            (r#"[{"x":{"_placeholder":true,"num":0}}]"#, "9181a178c401aa"),
            (
                r#"{"_placeholder":true,"num":2}"#,
                "82ac5f706c616365686f6c646572c3a36e756d02",
            ),
            (r#"{"_placeholder":true}"#, "81ac5f706c616365686f6c646572c3"),
            (
                r#"{"_placeholder":1,"num":0}"#,
                "82ac5f706c616365686f6c64657201a36e756d00",
            ),
            (
                r#"{"_placeholder":true,"_placeholder":[true],"num":0}"#,
                "83ac5f706c616365686f6c646572c3ac5f706c616365686f6c64657291c3a36e756d00",
            ),
        ] {
            assert_eq!(written(text, &[b"\xaa", b""]), expected, "{text}");
        }
        let large = Box::leak(vec![0; 65536].into_boxed_slice());
        let hex = written(r#"{"_placeholder":true,"num":0}"#, &[large]);
        assert!(hex.starts_with("c600010000"));
    }

    #[test]
    fn objects_that_look_like_placeholders_never_refer_to_attachments() {
        let lookalike = "82ac5f706c616365686f6c646572c3a36e756d00";
        let alone = argument(lookalike).unwrap();
        assert_eq!(alone, r#"{"_placeholder":true,"num":0}"#);
        assert_eq!(written(&alone, &[]), lookalike);
        let twice = "83ac5f706c616365686f6c646572c3ac5f706c616365686f6c646572c3a36e756d00";
        for (hex, expected) in [
            (
                format!("92{lookalike}c401aa"),
                r#"[{"_placeholder":null,"num":0},{"_placeholder":true,"num":0}]"#,
            ),
            (
                format!("92c401aa{twice}"),
                concat!(
                    r#"[{"_placeholder":true,"num":0},"#,
                    r#"{"_placeholder":null,"_placeholder":null,"num":0}]"#
                ),
            ),
            (
                "82c40c5f706c616365686f6c646572c3a161c401aa".to_owned(),
                r#"{"_placeholder":null,"a":{"_placeholder":true,"num":0}}"#,
            ),
        ] {
            assert_eq!(argument(&hex).as_deref(), Ok(expected), "{hex}");
        }
    }

    // P012.
    #[test]
    fn what_is_wrong_is_said_in_the_reference_s_words() {
        for (hex, error) in [
            ("", "Could not parse"),
            ("c1", "Could not parse"),
            ("82a47479706501a36e7370", "Could not parse"),
            ("82a47479706501a36e7370a42f666f", "Could not parse"),
            ("82a47479706501c1c1", "Could not parse"),
            (
                "83a47479706501a36e7370a12fa178dd00ffffff01",
                "Could not parse",
            ),
            ("81a4747970659101", "invalid packet type"),
            ("c0", "invalid packet type"),
            ("93000102", "invalid packet type"),
            ("81a36e7370a12f", "invalid packet type"),
            ("82a47479706509a36e7370a12f", "invalid packet type"),
            ("82a47479706505a36e7370a12f", "invalid packet type"),
            ("82a474797065ffa36e7370a12f", "invalid packet type"),
            ("82a474797065a131a36e7370a12f", "invalid packet type"),
            (
                "82a474797065cb3ff8000000000000a36e7370a12f",
                "invalid packet type",
            ),
            ("81a47479706501", "invalid namespace"),
            ("82a47479706501a36e737001", "invalid namespace"),
            ("82a47479706501a36e7370c0", "invalid namespace"),
            ("82a47479706501a36e7370c4012f", "invalid namespace"),
            ("83a47479706500a464617461c0a36e7370a12f", "invalid payload"),
            ("83a47479706500a46461746190a36e7370a12f", "invalid payload"),
            (
                "83a47479706500a464617461a161a36e7370a12f",
                "invalid payload",
            ),
            (
                "83a47479706500a464617461c40101a36e7370a12f",
                "invalid payload",
            ),
            ("83a47479706501a46461746180a36e7370a12f", "invalid payload"),
            ("83a47479706501a464617461c0a36e7370a12f", "invalid payload"),
            ("82a47479706502a36e7370a12f", "invalid payload"),
            ("83a47479706502a46461746180a36e7370a12f", "invalid payload"),
            ("82a47479706503a36e7370a12f", "invalid payload"),
            ("83a47479706503a46461746180a36e7370a12f", "invalid payload"),
            ("82a47479706504a36e7370a12f", "invalid payload"),
            ("83a47479706504a46461746190a36e7370a12f", "invalid payload"),
            ("83a47479706504a46461746101a36e7370a12f", "invalid payload"),
            (
                "83a47479706504a464617461d6ff00000000a36e7370a12f",
                "invalid payload",
            ),
            (
                "84a47479706502a46461746191a161a26964c0a36e7370a12f",
                "invalid packet id",
            ),
            (
                "84a47479706502a46461746191a161a26964a131a36e7370a12f",
                "invalid packet id",
            ),
            (
                "84a47479706502a46461746191a161a26964cb3ff8000000000000a36e7370a12f",
                "invalid packet id",
            ),
            (
                "84a47479706502a46461746191a161a269649101a36e7370a12f",
                "invalid packet id",
            ),
            ("82a47479706501a36e7370a12f00", "1 trailing bytes"),
            ("82a47479706501a36e7370a12f82a1", "2 trailing bytes"),
        ] {
            let found = decode(&bytes(hex)).map_err(|error| error.to_string());
            assert_eq!(found, Err(error.to_owned()), "{hex}");
        }
        assert_eq!(PARSER.decoder().add_text("0"), Err(ParseError::Malformed));
        for key in ["90", "80", "d6ff00000000", "d4010a"] {
            let found = argument(&format!("81{key}02"));
            assert_eq!(found, Err(ParseError::Malformed), "{key}");
        }
    }

    // The reference asks only that they are a list, and an integer.
    #[test]
    fn arguments_without_a_name_and_odd_ids_are_taken() {
        for arguments in [
            "90",
            "91c0",
            "91c3",
            "91c40101",
            "91d6ff00000000",
            "9190",
            "92c0a161",
        ] {
            let hex = format!("83a47479706502a464617461{arguments}a36e7370a12f");
            let nobodys = packet(Event, "/", None, "", &[]);
            assert_eq!(decode(&bytes(&hex)), Ok(nobodys), "{hex}");
        }
        for (id, expected) in [
            ("ff", None),
            ("d38000000000000000", None),
            ("cbbff0000000000000", None),
            ("cb7e37e43c8800759c", None),
            ("cb8000000000000000", Some(0)),
            ("cb4028000000000000", Some(12)),
        ] {
            for (kind, number) in [(Event, "02"), (Ack, "03")] {
                let hex = format!("84a474797065{number}a46461746191a161a26964{id}a36e7370a12f");
                let expected = packet(kind, "/", expected, r#"["a"]"#, &[]);
                assert_eq!(decode(&bytes(&hex)), Ok(expected), "{hex}");
            }
        }
        for id in ["cb7ff0000000000000", "cb7ff8000000000000", "c2"] {
            let hex = format!("84a47479706502a46461746191a161a26964{id}a36e7370a12f");
            assert_eq!(decode(&bytes(&hex)), Err(ParseError::PacketId), "{hex}");
        }
    }

    #[test]
    fn every_cut_message_is_malformed() {
        let message = event("95cb3ff8000000000000d90161c4020102d7ff773594000000000181a16192c0c3");
        assert!(decode(&message).is_ok());
        for length in 0..message.len() {
            assert_eq!(
                decode(&message[..length]),
                Err(ParseError::Malformed),
                "{length}"
            );
        }
    }

    #[test]
    fn announced_lengths_need_no_memory() {
        for hex in [
            "ddffffffff",
            "dfffffffff",
            "dbffffffff",
            "c6ffffffff",
            "c9ffffffff00",
            "91ddffffffff91dfffffffff",
        ] {
            assert_eq!(argument(hex), Err(ParseError::Malformed), "{hex}");
            let skipped = format!("81a178{hex}");
            assert_eq!(decode(&bytes(&skipped)), Err(ParseError::Malformed));
        }
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        let twice = "87a47479706501a47479706502a464617461d4000aa46461746191c40101\
                     a46461746192a161c40102a36e737001a36e7370a12f";
        assert_eq!(
            decode(&bytes(twice)),
            Ok(packet(
                Event,
                "/",
                None,
                r#"["a",{"_placeholder":true,"num":0}]"#,
                &[b"\x02"]
            ))
        );
    }

    // P010.
    #[test]
    fn depth_is_bounded_as_in_json() {
        // The list of arguments is the first level.
        let deepest = MAX_DEPTH - 1;
        for (open, close, extra) in [("91", "c0", 0), ("81a161", "c0", 0), ("91", "c401aa", 1)] {
            let nested = |depth: usize| format!("{}{close}", open.repeat(depth - extra));
            assert!(argument(&nested(deepest)).is_ok());
            assert_eq!(argument(&nested(deepest + 1)), Err(ParseError::TooDeep));
            assert_eq!(argument(&nested(100_000)), Err(ParseError::TooDeep));
        }
        let other = format!("83a47479706501a36e7370a12fa178{}c0", "91".repeat(100_000));
        assert!(decode(&bytes(&other)).is_ok());
        // What is encoded is the application's own.
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(written(&deep, &[]).len(), 200_000);
    }

    #[test]
    fn attachments_are_bounded() {
        let many = |count: usize| format!("dc00{count:02x}{}", "c400".repeat(count));
        assert!(argument(&many(10)).is_ok());
        assert_eq!(argument(&many(11)), Err(ParseError::TooManyAttachments));
        let large = |size: usize| format!("92c40100c5{size:04x}{}", "00".repeat(size));
        assert!(argument(&large(999)).is_ok());
        assert_eq!(argument(&large(1000)), Err(ParseError::AttachmentsTooLarge));
    }

    #[test]
    fn a_payload_that_is_not_json_has_no_messages() {
        for data in [
            "[",
            "[1",
            "[1,]",
            "[1 2]",
            "[1}",
            "{\"a\"}",
            "{\"a\":1,}",
            "{1:1}",
            "{\"a",
            "\"\\",
            "\"\\x\"",
            "\"\\é\"",
            "nul",
            "-",
            "1e",
            "[] []",
            "]",
            " ",
            "é",
        ] {
            let packet = packet(Event, "/", None, data, &[]);
            assert_eq!(PARSER.encode(&packet), [], "{data}");
        }
    }

    #[test]
    fn binary_kinds_are_written_as_the_plain_ones() {
        for (binary, plain) in [
            (PacketKind::BinaryEvent, Event),
            (PacketKind::BinaryAck, Ack),
        ] {
            let of = |kind| encode(&packet(kind, "/", Some(1), r#"["a"]"#, &[]));
            assert_eq!(of(binary), of(plain));
        }
    }
}
