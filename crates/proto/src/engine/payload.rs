//! Payloads: several packets in one HTTP body.
//!
//! Packets are joined by the record separator 0x1E. A text packet that contains this character
//! itself cannot travel in a payload; JSON escapes it, so that Socket.IO never makes one.
//!
//! Spec: Engine.IO v4, "HTTP long-polling", packet encoding.

use std::iter::FusedIterator;

use super::packet::{self, Packet, PacketError};

const SEPARATOR: u8 = 0x1e;

/// Decodes the packets of a body, one after the other.
///
/// The packets before a malformed one are given, then the error, then nothing. An empty body is
/// malformed.
pub fn decode_payload(body: &str) -> Payload<'_> {
    Payload { rest: Some(body) }
}

/// The packets of a body; see [`decode_payload`].
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing until they are asked"]
pub struct Payload<'a> {
    rest: Option<&'a str>,
}

impl<'a> Payload<'a> {
    /// Returns what has not been decoded yet; nothing behind the last packet, or a malformed one.
    pub fn rest(&self) -> Option<&'a str> {
        self.rest
    }
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let (first, rest) = match memchr::memchr(SEPARATOR, rest.as_bytes()) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let packet = Packet::decode_text(first);
        if packet.is_ok() {
            self.rest = rest;
        }
        Some(packet)
    }
}

impl FusedIterator for Payload<'_> {}

/// Joins packets to a body.
#[derive(Clone, Debug, Default)]
#[must_use = "a payload has to be finished and sent"]
pub struct PayloadEncoder {
    body: Vec<u8>,
}

impl PayloadEncoder {
    /// Creates an encoder without packets.
    pub fn new() -> PayloadEncoder {
        PayloadEncoder::default()
    }

    /// Appends a packet.
    pub fn push(&mut self, packet: &Packet<'_>) {
        self.separate();
        packet.encode_text(&mut self.body);
    }

    /// Appends a binary message.
    pub fn push_binary(&mut self, bytes: &[u8]) {
        self.separate();
        packet::encode_binary(bytes, &mut self.body);
    }

    /// Appends a packet that is in its text form already.
    pub fn push_encoded(&mut self, text: &[u8]) {
        self.separate();
        self.body.extend_from_slice(text);
    }

    /// Says whether there is no packet.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Returns the body.
    pub fn finish(self) -> Vec<u8> {
        self.body
    }

    fn separate(&mut self) {
        if !self.body.is_empty() {
            self.body.push(SEPARATOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::packet::Message;
    use super::*;

    fn text(text: &str) -> Packet<'_> {
        Packet::Message(Message::Text(text))
    }

    // E023, E024, E025
    // P002.
    #[test]
    fn packets_are_joined_by_the_record_separator() {
        let mut payload = PayloadEncoder::new();
        assert!(payload.is_empty());
        payload.push(&text("é€"));
        payload.push_binary(&[1, 2, 3, 4]);
        payload.push_encoded(b"2");
        payload.push(&Packet::Noop);
        assert!(!payload.is_empty());
        assert_eq!(payload.finish(), "4é€\x1ebAQIDBA==\x1e2\x1e6".as_bytes());
    }

    #[test]
    fn joined_packets_are_taken_apart() {
        let packets: Result<Vec<_>, _> = decode_payload("4é€\x1ebAQIDBA==\x1e2\x1e4").collect();
        let binary = Packet::Message(Message::Binary(Cow::Borrowed(&[1, 2, 3, 4])));
        assert_eq!(
            packets,
            Ok(vec![text("é€"), binary, Packet::Ping(""), text("")])
        );
    }

    // E035, E037
    #[test]
    fn packets_before_a_malformed_one_are_given_and_none_after() {
        let mut payload = decode_payload("4a\x1e9\x1e4b");
        assert_eq!(payload.next(), Some(Ok(text("a"))));
        assert_eq!(payload.next(), Some(Err(PacketError::UnknownType('9'))));
        assert_eq!(payload.next(), None);
        assert_eq!(payload.next(), None);
    }

    #[test]
    fn empty_packets_are_malformed() {
        let last = |body| decode_payload(body).last();
        assert_eq!(last(""), Some(Err(PacketError::Empty)));
        assert_eq!(last("4a\x1e"), Some(Err(PacketError::Empty)));
        assert_eq!(decode_payload("\x1e4a").count(), 1);
    }
}
