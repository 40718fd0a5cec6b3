//! The plug-in interface for other forms of packets on the wire.

use std::borrow::Cow;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::decoder::Decoder;
use super::encode::encode_packet;
use super::packet::{Packet, ParseError};

/// Translates between packets and the messages of a wire format.
///
/// A packet's canonical form is JSON text with placeholders, and its attachments. A parser is shared
/// by all connections; each has a decoder of its own. Client and server must use the same.
pub trait Parser: Debug + Send + Sync {
    /// Gives the messages that a packet consists of, in their order.
    fn encode(&self, packet: &Packet<'_>) -> Vec<EncodedMessage>;

    /// Makes the decoder of a connection.
    fn decoder(&self) -> Box<dyn PacketDecoder>;
}

/// The decoding half of a [`Parser`], with the state of one connection.
///
/// What it accepts must be canonical: `data` is valid JSON whose placeholders have attachments.
pub trait PacketDecoder: Send {
    /// Takes a text message; gives a packet if it is complete with it.
    ///
    /// # Errors
    ///
    /// An error closes the connection.
    fn add_text(&mut self, text: &str) -> Result<Option<Packet<'static>>, ParseError>;

    /// Takes a binary message; gives a packet if it is complete with it.
    ///
    /// # Errors
    ///
    /// An error closes the connection.
    fn add_binary(&mut self, bytes: &[u8]) -> Result<Option<Packet<'static>>, ParseError>;

    /// Says whether a packet has begun whose next message did not come `within` this time. It is asked
    /// now and then, and the first time that it sees the packet begins the time; an error closes the
    /// connection then. For parsers whose packets are of several messages; by default none is late.
    fn is_late(&mut self, now: Instant, within: Duration) -> bool {
        let _ = (now, within);
        false
    }
}

/// One message of an encoded packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EncodedMessage {
    /// A binary message.
    Binary(Bytes),
    /// A text message.
    Text(String),
}

/// The default parser as a plug-in, to build others on.
#[derive(Clone, Copy, Debug)]
pub struct JsonParser {
    /// How many attachments a packet may have.
    pub max_attachments: usize,
    /// How many bytes the attachments of a packet may have together.
    pub max_bytes: usize,
}

impl Parser for JsonParser {
    fn encode(&self, packet: &Packet<'_>) -> Vec<EncodedMessage> {
        let mut out = Vec::new();
        encode_packet(&mut out, packet);
        let text = String::from_utf8(out).expect("made of strings");
        let attachments = packet
            .attachments
            .iter()
            .cloned()
            .map(EncodedMessage::Binary);
        [EncodedMessage::Text(text)]
            .into_iter()
            .chain(attachments)
            .collect()
    }

    fn decoder(&self) -> Box<dyn PacketDecoder> {
        Box::new(Decoder::new(self.max_attachments, self.max_bytes))
    }
}

impl PacketDecoder for Decoder {
    fn add_text(&mut self, text: &str) -> Result<Option<Packet<'static>>, ParseError> {
        Ok(self.text(text)?.map(|packet| Packet {
            kind: packet.kind,
            nsp: Cow::Owned(packet.nsp.into_owned()),
            id: packet.id,
            data: Cow::Owned(packet.data.into_owned()),
            attachments: packet.attachments,
        }))
    }

    fn add_binary(&mut self, bytes: &[u8]) -> Result<Option<Packet<'static>>, ParseError> {
        self.binary(Cow::Borrowed(bytes))
    }

    fn is_late(&mut self, now: Instant, within: Duration) -> bool {
        Decoder::is_late(self, now, within)
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::PacketKind;
    use super::*;

    // P013.
    #[test]
    fn what_the_json_parser_encodes_it_decodes() {
        let parser = JsonParser {
            max_attachments: 10,
            max_bytes: 1000,
        };
        for packet in [
            (PacketKind::Connect, "/", None, r#"{"a":1}"#, 0),
            (PacketKind::Disconnect, "/n", None, "", 0),
            (
                PacketKind::ConnectError,
                "/n",
                None,
                r#"{"message":"m"}"#,
                0,
            ),
            (PacketKind::Event, "/", None, r#"["a",1]"#, 0),
            (
                PacketKind::Event,
                "/n",
                Some(3),
                r#"["a",{"_placeholder":true,"num":0}]"#,
                1,
            ),
            (PacketKind::Ack, "/n", Some(4), r#"[1,2]"#, 0),
            (PacketKind::Ack, "/", Some(4), "[ 1 ] ", 0),
            (PacketKind::Ack, "/", None, "", 0),
            (PacketKind::Event, "/", None, "", 0),
        ] {
            let (kind, nsp, id, data, attachments) = packet;
            let attachments = vec![Bytes::from_static(b"x"); attachments];
            let packet = Packet {
                kind,
                nsp: nsp.into(),
                id,
                data: data.into(),
                attachments,
            };
            let mut decoder = parser.decoder();
            let mut decoded = None;
            for message in parser.encode(&packet) {
                decoded = match message {
                    EncodedMessage::Text(text) => decoder.add_text(&text).unwrap(),
                    EncodedMessage::Binary(bytes) => decoder.add_binary(&bytes).unwrap(),
                };
            }
            assert_eq!(decoded, Some(packet));
        }
    }
}
