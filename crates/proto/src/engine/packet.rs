//! Packets, and their text form.
//!
//! A packet is a type digit and its data; a binary message is `b` and base64 where only text can
//! travel, and has no type at all in a WebSocket frame (there the caller makes the
//! [`Packet::Message`] itself). Decoding borrows, except for base64.
//!
//! Spec: Engine.IO v4, "Packet encoding".

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use crate::base64;

/// How packets travel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// Returns the name that stands in the query of a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        }
    }

    /// Finds the transport with this name.
    pub fn from_name(name: &str) -> Option<Transport> {
        match name {
            "polling" => Some(Transport::Polling),
            "websocket" => Some(Transport::WebSocket),
            _ => None,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the application sends and receives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes: borrowed from a WebSocket frame, or decoded from base64.
    Binary(Cow<'a, [u8]>),
}

/// One packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Packet<'a> {
    /// The server's first packet, with a JSON object.
    Open(&'a str),
    /// The sender closes the session.
    Close,
    /// Asks for a pong with the same data.
    Ping(&'a str),
    /// Answers a ping.
    Pong(&'a str),
    /// Carries a message.
    Message(Message<'a>),
    /// Makes the probed transport the session's.
    Upgrade,
    /// Does nothing, but ends a poll.
    Noop,
}

impl<'a> Packet<'a> {
    /// Decodes the text form.
    ///
    /// # Errors
    /// Fails on an empty text and an unknown type. Any text is base64.
    pub fn decode_text(text: &'a str) -> Result<Packet<'a>, PacketError> {
        let Some(&kind) = text.as_bytes().first() else {
            return Err(PacketError::Empty);
        };
        let Some(data) = text.get(1..) else {
            return Err(PacketError::unknown_type(text));
        };
        Ok(match kind {
            b'0' => Packet::Open(data),
            b'1' => Packet::Close,
            b'2' => Packet::Ping(data),
            b'3' => Packet::Pong(data),
            b'4' => Packet::Message(Message::Text(data)),
            b'5' => Packet::Upgrade,
            b'6' => Packet::Noop,
            b'b' => Packet::Message(Message::Binary(Cow::Owned(base64::decode(data)))),
            _ => return Err(PacketError::unknown_type(text)),
        })
    }

    /// Appends the text form.
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        let (kind, data) = match self {
            Packet::Open(data) => (b'0', *data),
            Packet::Close => (b'1', ""),
            Packet::Ping(data) => (b'2', *data),
            Packet::Pong(data) => (b'3', *data),
            Packet::Message(Message::Text(text)) => (b'4', *text),
            Packet::Message(Message::Binary(bytes)) => return encode_binary(bytes, out),
            Packet::Upgrade => (b'5', ""),
            Packet::Noop => (b'6', ""),
        };
        out.reserve(1 + data.len());
        out.push(kind);
        out.extend_from_slice(data.as_bytes());
    }
}

/// Appends a binary message as `b` and base64.
pub(super) fn encode_binary(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'b');
    base64::push(bytes, out);
}

/// Bytes that are no packet.
///
/// The session that received them ends with [`CloseReason::ParseError`](super::CloseReason).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PacketError {
    /// There is no type digit.
    #[error("empty packet")]
    Empty,
    /// The length of a packet in a payload of revision 3 is malformed, or wrong.
    #[error("malformed length")]
    Length,
    /// This first character is no packet type.
    #[error("unknown packet type {0:?}")]
    UnknownType(char),
    /// Text in a binary payload of revision 3 is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
}

impl PacketError {
    pub(super) fn unknown_type(text: &str) -> PacketError {
        match text.chars().next() {
            Some(kind) => PacketError::UnknownType(kind),
            None => PacketError::Empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(packet: &Packet<'_>) -> String {
        let mut out = Vec::new();
        packet.encode_text(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn binary(bytes: &[u8]) -> Packet<'_> {
        Packet::Message(Message::Binary(Cow::Borrowed(bytes)))
    }

    #[test]
    fn every_type_has_its_digit_both_ways() {
        let packets = [
            ("0{}", Packet::Open("{}")),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3probe", Packet::Pong("probe")),
            ("4", Packet::Message(Message::Text(""))),
            ("4hello", Packet::Message(Message::Text("hello"))),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
        ];
        for (text, packet) in packets {
            assert_eq!(Packet::decode_text(text).as_ref(), Ok(&packet));
            assert_eq!(encode(&packet), text);
        }
    }

    // E024
    #[test]
    fn binary_message_is_base64_both_ways() {
        assert_eq!(encode(&binary(&[1, 2, 3, 4])), "bAQIDBA==");
        assert_eq!(Packet::decode_text("bAQIDBA=="), Ok(binary(&[1, 2, 3, 4])));
        assert_eq!(encode(&binary(b"")), "b");
        assert_eq!(Packet::decode_text("b"), Ok(binary(b"")));
        for length in 0..70 {
            let bytes: Vec<u8> = (0..length).map(|i| 255 - i * 3).collect();
            assert_eq!(
                Packet::decode_text(&encode(&binary(&bytes))),
                Ok(binary(&bytes))
            );
        }
    }

    #[test]
    fn base64_may_lack_its_padding() {
        assert_eq!(Packet::decode_text("bAQIDBA"), Ok(binary(&[1, 2, 3, 4])));
        assert_eq!(Packet::decode_text("bAQIDBA="), Ok(binary(&[1, 2, 3, 4])));
    }

    // Java's clients break base64 into lines, and end with one.
    #[test]
    fn base64_may_be_in_lines() {
        for text in ["bAQID\n", "bAQ\r\nID\r\n", "b\nAQID"] {
            assert_eq!(
                Packet::decode_text(text),
                Ok(binary(&[1, 2, 3])),
                "{text:?}"
            );
        }
    }

    #[test]
    fn malformed_packets_are_refused() {
        assert_eq!(Packet::decode_text(""), Err(PacketError::Empty));
        for text in ["7", "x", "a4", " 4", "é", "\u{1e}", "B"] {
            assert_eq!(
                Packet::decode_text(text),
                Err(PacketError::unknown_type(text)),
                "{text:?}"
            );
        }
        let error = PacketError::unknown_type("\u{1e}x");
        assert_eq!(error.to_string(), r"unknown packet type '\u{1e}'");
    }

    // E025
    #[test]
    fn text_of_many_bytes_survives() {
        let message = Packet::Message(Message::Text("héllo €😀"));
        assert_eq!(encode(&message), "4héllo €😀");
        assert_eq!(Packet::decode_text("4héllo €😀"), Ok(message));
    }

    #[test]
    fn transports_have_names() {
        for transport in [Transport::Polling, Transport::WebSocket] {
            assert_eq!(Transport::from_name(transport.as_str()), Some(transport));
        }
        for name in ["", "Polling", "webtransport", "__proto__"] {
            assert_eq!(Transport::from_name(name), None);
        }
    }
}
