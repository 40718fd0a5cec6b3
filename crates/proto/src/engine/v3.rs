//! Packets and payloads of revision 3, for clients of Socket.IO 1 and 2.
//!
//! Text packets are those of revision 4, except that base64 has a type digit (`b4...`); in a
//! WebSocket frame of bytes the type is a byte of its own. A payload counts its packets' lengths in
//! UTF-16 code units, as JavaScript does; one with bytes in it has a form of its own.
//!
//! Spec: Engine.IO v3, "Encoding"; engine.io-parser 2.2 where that is silent.

use std::borrow::Cow;
use std::iter::FusedIterator;

use super::packet::{Message, Packet, PacketError};
use crate::base64;

/// The byte in front of a binary message in a WebSocket frame.
pub const BINARY_MESSAGE: u8 = 4;

/// Decodes the text form of a packet.
///
/// # Errors
/// As [`Packet::decode_text`].
pub fn decode_text(text: &str) -> Result<Packet<'_>, PacketError> {
    let Some(rest) = text.strip_prefix('b') else {
        return Packet::decode_text(text);
    };
    Ok(match rest.split_at_checked(1) {
        Some((kind, base64)) => {
            let kind = kind.as_bytes()[0].wrapping_sub(b'0');
            typed(kind, Cow::Owned(base64::decode(base64)))
        }
        None => Packet::Noop,
    })
}

/// Decodes the binary form of a packet: a type byte and data.
pub fn decode_binary(bytes: Cow<'_, [u8]>) -> Packet<'_> {
    let Some(&kind) = bytes.first() else {
        return Packet::Noop;
    };
    let data = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[1..]),
        Cow::Owned(mut bytes) => {
            bytes.remove(0);
            Cow::Owned(bytes)
        }
    };
    typed(kind, data)
}

/// Only messages carry bytes; what other packets have there means nothing. The reference ignores
/// packets of a type that there is not: it looks for one in text alone.
fn typed(kind: u8, data: Cow<'_, [u8]>) -> Packet<'_> {
    match kind {
        0 => Packet::Open(""),
        1 => Packet::Close,
        2 => Packet::Ping(""),
        3 => Packet::Pong(""),
        BINARY_MESSAGE => Packet::Message(Message::Binary(data)),
        5 => Packet::Upgrade,
        _ => Packet::Noop,
    }
}

/// Decodes the packets of a text body, one after the other.
///
/// The packets before a malformed one are given, then the error, then nothing. An empty body is
/// malformed; an empty packet is skipped, as by the reference.
pub fn decode_payload(body: &str) -> Payload<'_> {
    Payload {
        rest: Some(body),
        is_first: true,
    }
}

/// The packets of a text body; see [`decode_payload`].
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing until they are asked"]
pub struct Payload<'a> {
    rest: Option<&'a str>,
    is_first: bool,
}

impl<'a> Payload<'a> {
    /// Returns what has not been decoded yet; nothing behind the last packet, or a malformed one.
    pub fn rest(&self) -> Option<&'a str> {
        self.rest.filter(|rest| !rest.is_empty())
    }
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest.take()?;
            if rest.is_empty() && !std::mem::take(&mut self.is_first) {
                return None;
            }
            let Some((text, after)) = first_of_text(rest) else {
                return Some(Err(PacketError::Length));
            };
            self.is_first = false;
            if text.is_empty() {
                self.rest = Some(after);
                continue;
            }
            let packet = decode_text(text);
            if packet.is_ok() {
                self.rest = Some(after);
            }
            return Some(packet);
        }
    }
}

impl FusedIterator for Payload<'_> {}

/// Takes the first packet off a text payload.
fn first_of_text(body: &str) -> Option<(&str, &str)> {
    let (length, rest) = body.split_once(':')?;
    let units = length_of(length.bytes().map(|byte| byte.wrapping_sub(b'0')))?;
    // Mostly characters are bytes.
    if let Some(ascii) = rest.as_bytes().get(..units)
        && ascii.is_ascii()
    {
        return rest.split_at_checked(units);
    }
    let mut counted = 0;
    for (at, character) in rest.char_indices() {
        if counted >= units {
            // Beyond it when the length ends inside a pair of surrogates.
            return (counted == units).then(|| rest.split_at(at));
        }
        counted += character.len_utf16();
    }
    (counted == units).then_some((rest, ""))
}

/// Reads a decimal number; no payload is as long as `usize::MAX`.
fn length_of(digits: impl Iterator<Item = u8>) -> Option<usize> {
    let mut length = None;
    for digit in digits {
        if digit > 9 {
            return None;
        }
        let before: usize = length.unwrap_or(0);
        length = Some(before.checked_mul(10)?.checked_add(usize::from(digit))?);
    }
    length
}

/// Decodes the packets of a binary body, one after the other; otherwise as [`decode_payload`].
///
/// An empty body has no packets: to the reference only an empty text is malformed.
pub fn decode_binary_payload(body: &[u8]) -> BinaryPayload<'_> {
    BinaryPayload { rest: Some(body) }
}

/// The packets of a binary body; see [`decode_binary_payload`].
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing until they are asked"]
pub struct BinaryPayload<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> BinaryPayload<'a> {
    /// Returns what has not been decoded yet; nothing behind the last packet, or a malformed one.
    pub fn rest(&self) -> Option<&'a [u8]> {
        self.rest.filter(|rest| !rest.is_empty())
    }
}

impl<'a> Iterator for BinaryPayload<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take().filter(|rest| !rest.is_empty())?;
        let Some((is_binary, data, after)) = first_of_bytes(rest) else {
            return Some(Err(PacketError::Length));
        };
        let packet = match (is_binary, std::str::from_utf8(data)) {
            (true, _) => Ok(decode_binary(Cow::Borrowed(data))),
            (false, Ok(text)) => decode_text(text),
            (false, Err(_)) => Err(PacketError::Utf8),
        };
        if packet.is_ok() {
            self.rest = Some(after);
        }
        Some(packet)
    }
}

impl FusedIterator for BinaryPayload<'_> {}

/// Takes the first packet off a binary payload: whether it is bytes, its data, and the rest.
fn first_of_bytes(body: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (&kind, rest) = body.split_first()?;
    let end = memchr::memchr(0xff, rest)?;
    let length = length_of(rest[..end].iter().copied())?;
    let (data, after) = rest[end + 1..].split_at_checked(length)?;
    Some((kind != 0, data, after))
}

/// Joins packets to a body, whose form depends on whether there are bytes in it.
#[derive(Clone, Debug, Default)]
#[must_use = "a payload has to be finished and sent"]
pub struct PayloadEncoder {
    packets: Vec<Encoded>,
    has_binary: bool,
}

#[derive(Clone, Debug)]
enum Encoded {
    Binary(Vec<u8>),
    Text(Vec<u8>),
}

impl PayloadEncoder {
    /// Creates an encoder without packets.
    pub fn new() -> PayloadEncoder {
        PayloadEncoder::default()
    }

    /// Appends a packet that is in its text form already.
    pub fn push_encoded(&mut self, text: &[u8]) {
        self.packets.push(Encoded::Text(text.to_owned()));
    }

    /// Appends a binary message.
    pub fn push_binary(&mut self, bytes: &[u8]) {
        self.has_binary = true;
        self.packets.push(Encoded::Binary(bytes.to_owned()));
    }

    /// Says whether there is no packet.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns the body, and whether it is one of bytes (`application/octet-stream`). A client that
    /// cannot take bytes gets base64.
    pub fn finish(self, supports_binary: bool) -> (Vec<u8>, bool) {
        let is_binary = self.has_binary && supports_binary;
        let mut body = Vec::new();
        for packet in &self.packets {
            match is_binary {
                true => packet.push_to_bytes(&mut body),
                false => packet.push_to_text(&mut body),
            }
        }
        if body.is_empty() {
            body.extend_from_slice(b"0:");
        }
        (body, is_binary)
    }
}

impl Encoded {
    fn push_to_text(&self, body: &mut Vec<u8>) {
        let encoded;
        let (units, text) = match self {
            Encoded::Text(text) => (utf16_length(text), text),
            Encoded::Binary(bytes) => {
                let mut text = b"b4".to_vec();
                base64::push(bytes, &mut text);
                encoded = text;
                (encoded.len(), &encoded)
            }
        };
        body.extend_from_slice(units.to_string().as_bytes());
        body.push(b':');
        body.extend_from_slice(text);
    }

    fn push_to_bytes(&self, body: &mut Vec<u8>) {
        let (kind, length) = match self {
            Encoded::Text(text) => (0, text.len()),
            Encoded::Binary(bytes) => (1, bytes.len() + 1),
        };
        body.push(kind);
        body.extend(length.to_string().bytes().map(|digit| digit - b'0'));
        body.push(0xff);
        match self {
            Encoded::Text(text) => body.extend_from_slice(text),
            Encoded::Binary(bytes) => {
                body.push(BINARY_MESSAGE);
                body.extend_from_slice(bytes);
            }
        }
    }
}

/// The length of UTF-8 text in UTF-16 code units: one for each character, two for those of 4 bytes.
fn utf16_length(text: &[u8]) -> usize {
    let starts = text.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    starts + text.iter().filter(|byte| **byte >= 0xf0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(bytes: &[u8]) -> Packet<'_> {
        Packet::Message(Message::Binary(bytes.into()))
    }

    fn text(text: &str) -> Packet<'_> {
        Packet::Message(Message::Text(text))
    }

    fn all(body: &str) -> Vec<Result<Packet<'_>, PacketError>> {
        decode_payload(body).collect()
    }

    // P015.
    #[test]
    fn bytes_have_a_type() {
        assert_eq!(decode_text("b4AAEC"), Ok(binary(&[0, 1, 2])));
        assert_eq!(decode_binary(vec![4, 7].into()), binary(&[7]));
        assert_eq!(decode_binary(b"\x04"[..].into()), binary(&[]));
        assert_eq!(decode_binary(b"\x02x"[..].into()), Packet::Ping(""));
        assert_eq!(decode_text("4€"), Ok(text("€")));
    }

    #[test]
    fn bytes_of_an_unknown_type_are_ignored() {
        for strange in ["b", "b9AA", "bxAA", "b€", "b6"] {
            assert_eq!(decode_text(strange), Ok(Packet::Noop), "{strange}");
        }
        for strange in [&b""[..], b"\x07", b"\x064"] {
            assert_eq!(decode_binary(strange.into()), Packet::Noop, "{strange:?}");
        }
    }

    // E067: lengths are in UTF-16 code units.
    #[test]
    fn text_payloads_are_read() {
        let packets = [
            Ok(text("a")),
            Ok(text("€")),
            Ok(text("😀!")),
            Ok(Packet::Ping("probe")),
        ];
        assert_eq!(all("2:4a2:4€4:4😀!6:2probe"), packets);
        assert_eq!(
            all("6:b4AAEC1:1"),
            [Ok(binary(&[0, 1, 2])), Ok(Packet::Close)]
        );
        assert_eq!(all("0:2:4a"), [Ok(text("a"))]);
        assert_eq!(all("0:"), []);
    }

    #[test]
    fn a_malformed_text_payload_ends_with_an_error() {
        for body in [
            "",
            ":",
            "2",
            "2:",
            "2:4",
            "x:4",
            "-1:4",
            "1 :4",
            "2:4😀",
            "99999999999999999999999:4",
            "1:9",
            "1:1x",
            "1:1:",
        ] {
            let packets = all(body);
            assert!(
                packets.last().is_some_and(Result::is_err),
                "{body}: {packets:?}"
            );
            assert!(packets.iter().filter(|packet| packet.is_err()).count() == 1);
        }
    }

    // E067, E068, M18: as engine.io-parser 2.2 writes them.
    #[test]
    fn payloads_are_written() {
        let mut encoder = PayloadEncoder::new();
        encoder.push_encoded("4€😀".as_bytes());
        assert_eq!(encoder.clone().finish(true), ("4:4€😀".into(), false));
        encoder.push_binary(&[1, 2, 3]);
        assert_eq!(
            encoder.clone().finish(false),
            ("4:4€😀6:b4AQID".into(), false)
        );
        let (body, is_binary) = encoder.finish(true);
        assert!(is_binary);
        let expected = [
            &[0, 8, 0xff][..],
            "4€😀".as_bytes(),
            &[1, 4, 0xff, 4, 1, 2, 3],
        ]
        .concat();
        assert_eq!(body, expected);
        assert_eq!(PayloadEncoder::new().finish(true), (b"0:".to_vec(), false));
    }

    // E068.
    #[test]
    fn binary_payloads_are_read() {
        let body = [
            &[0, 8, 0xff][..],
            "4€😀".as_bytes(),
            &[1, 1, 2, 0xff, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
        ]
        .concat();
        let packets: Vec<_> = decode_binary_payload(&body).collect();
        assert_eq!(
            packets,
            [
                Ok(text("€😀")),
                Ok(binary(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]))
            ]
        );
        assert_eq!(
            decode_binary_payload(&[1, 0, 0xff, 7, 2, 0xff, 4, 1]).collect::<Vec<_>>(),
            [Ok(Packet::Noop), Ok(binary(&[1]))]
        );
        assert_eq!(decode_binary_payload(b"").next(), None);
        for body in [
            &[0][..],
            &[0, 1],
            &[0, 1, 0xff],
            &[0, 10, 0xff, b'1'],
            &[0, 1, 0xff, 0xc0],
            &[0, 0, 0xff],
        ] {
            let packets: Vec<_> = decode_binary_payload(body).collect();
            assert!(
                packets.last().is_some_and(Result::is_err),
                "{body:?}: {packets:?}"
            );
        }
    }
}
