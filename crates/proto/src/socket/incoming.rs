//! What a server's packets mean to a client.

use std::borrow::Cow;

use bytes::Bytes;

use super::connection::{self, EventRef};
use super::decoder::{Decoder, Protocol, Text};
use super::json;
use super::packet::{Packet, PacketKind, ParseError, check_control, is_reserved};

/// A server's packet, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerPacket<'a> {
    /// The answer to an event; the arguments are what stands between the brackets.
    Ack {
        /// The namespace.
        nsp: Cow<'a, str>,
        /// The id that the event had; an answer without one answers nothing.
        id: Option<u64>,
        /// The arguments.
        args: Cow<'a, str>,
        /// The attachments.
        attachments: Vec<Bytes>,
    },
    /// The namespace is joined.
    Connect {
        /// The namespace.
        nsp: Cow<'a, str>,
        /// A JSON object, or empty.
        data: Cow<'a, str>,
    },
    /// The namespace may not be joined.
    ConnectError {
        /// The namespace.
        nsp: Cow<'a, str>,
        /// A JSON object or string, or empty.
        data: Cow<'a, str>,
    },
    /// The server has ended the namespace.
    Disconnect {
        /// The namespace.
        nsp: Cow<'a, str>,
    },
    /// An event; `None` for a packet without payload.
    Event {
        /// The namespace.
        nsp: Cow<'a, str>,
        /// Set when the server wants an answer.
        id: Option<u64>,
        /// The event.
        event: Option<EventRef<'a>>,
        /// The attachments.
        attachments: Vec<Bytes>,
    },
}

impl Decoder {
    /// Decodes a text message of a server; `None` means that attachments follow, or that it is ignored.
    ///
    /// # Errors
    ///
    /// When it is not a packet, or an attachment was due.
    #[inline]
    pub fn server_text<'a>(
        &mut self,
        text: &'a str,
    ) -> Result<Option<ServerPacket<'a>>, ParseError> {
        match (self.text_of_server(text), self.protocol) {
            (Err(ParseError::Payload | ParseError::UnknownType(_)), Protocol::V4) => Ok(None),
            (packet, _) => packet,
        }
    }

    #[inline]
    fn text_of_server<'a>(
        &mut self,
        text: &'a str,
    ) -> Result<Option<ServerPacket<'a>>, ParseError> {
        let header = match self.header(text)? {
            Text::Whole(header) => header,
            Text::Partial => return Ok(None),
        };
        let (kind, nsp, attachments) = (header.kind, header.nsp.into(), Vec::new());
        let packet = server_packet(
            kind,
            nsp,
            header.id,
            header.data,
            attachments,
            self.protocol,
        )?;
        match &packet {
            ServerPacket::Event {
                event: Some(event), ..
            } if self.protocol == Protocol::V5 && is_reserved(event.name()) => {
                Err(ParseError::Payload)
            }
            _ => Ok(Some(packet)),
        }
    }
}

impl<'a> ServerPacket<'a> {
    /// Takes apart what a parser has decoded.
    ///
    /// # Errors
    ///
    /// When the payload is not of the shape that its type demands.
    pub fn from_packet(packet: &'a Packet<'_>) -> Result<ServerPacket<'a>, ParseError> {
        let attachments = packet.attachments.clone();
        server_packet(
            packet.kind,
            (&*packet.nsp).into(),
            packet.id,
            &packet.data,
            attachments,
            Protocol::V5,
        )
    }
}

#[inline]
fn server_packet<'a>(
    kind: PacketKind,
    nsp: Cow<'a, str>,
    id: Option<u64>,
    data: &'a str,
    attachments: Vec<Bytes>,
    protocol: Protocol,
) -> Result<ServerPacket<'a>, ParseError> {
    let control = || match protocol {
        Protocol::V4 if !data.is_empty() => json::value(data).map_err(Into::into),
        Protocol::V4 | Protocol::V5 => check_control(kind, data),
    };
    Ok(match kind {
        PacketKind::Event | PacketKind::BinaryEvent => ServerPacket::Event {
            nsp,
            id,
            event: connection::any_event(data)?,
            attachments,
        },
        PacketKind::Ack | PacketKind::BinaryAck => ServerPacket::Ack {
            nsp,
            id,
            args: connection::ack(data)?.into(),
            attachments,
        },
        PacketKind::Connect => ServerPacket::Connect {
            nsp,
            data: control()?,
        },
        PacketKind::ConnectError => ServerPacket::ConnectError {
            nsp,
            data: control()?,
        },
        PacketKind::Disconnect => {
            control()?;
            ServerPacket::Disconnect { nsp }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Option<ServerPacket<'_>>, ParseError> {
        Decoder::new(10, 1000).server_text(text)
    }

    #[test]
    fn each_packet_is_taken_apart() {
        let packet = |text| decode(text).unwrap().unwrap();
        assert_eq!(
            packet(r#"0/a,{"sid":"x"}"#),
            ServerPacket::Connect {
                nsp: "/a".into(),
                data: r#"{"sid":"x"}"#.into()
            }
        );
        assert_eq!(
            packet(r#"4/a,{"message":"m"}"#),
            ServerPacket::ConnectError {
                nsp: "/a".into(),
                data: r#"{"message":"m"}"#.into()
            }
        );
        assert_eq!(
            packet("1/a,"),
            ServerPacket::Disconnect { nsp: "/a".into() }
        );
        let ServerPacket::Event {
            id: Some(3),
            event: Some(event),
            ..
        } = packet(r#"23["e",1,2]"#)
        else {
            panic!("no event")
        };
        assert_eq!((event.name(), &*event.args), ("e", "1,2"));
        assert_eq!(
            packet("35[1]"),
            ServerPacket::Ack {
                nsp: "/".into(),
                id: Some(5),
                args: "1".into(),
                attachments: vec![]
            }
        );
    }

    // What socket.io-client 2.5 does with it: socket.io-parser 3.3 checks little.
    #[test]
    fn servers_of_version_2_may_be_odd() {
        let mut decoder = Decoder::new(10, 1000).with_protocol_4();
        let any = [
            "",
            "[]",
            "{}",
            "null",
            "5",
            "true",
            r#""text""#,
            r#"[{"a":1}]"#,
            r#"{"sid":5}"#,
        ];
        for data in any {
            let nsp = Cow::Borrowed("/admin");
            let (connect, error) = (format!("0/admin,{data}"), format!("4/admin,{data}"));
            let expected = ServerPacket::Connect {
                nsp: nsp.clone(),
                data: data.into(),
            };
            // White space and digits are an ack id there.
            if data != "5" {
                assert_eq!(
                    decoder.server_text(&connect),
                    Ok(Some(expected)),
                    "{connect}"
                );
                let expected = ServerPacket::ConnectError {
                    nsp,
                    data: data.into(),
                };
                assert_eq!(decoder.server_text(&error), Ok(Some(expected)), "{error}");
            }
        }
        for name in [
            "connect",
            "connect_error",
            "disconnect",
            "disconnecting",
            "newListener",
            "removeListener",
        ] {
            let text = format!(r#"2["{name}",1]"#);
            let packet = decoder.server_text(&text).unwrap().unwrap();
            let ServerPacket::Event {
                event: Some(event), ..
            } = packet
            else {
                panic!("{packet:?}")
            };
            assert_eq!((event.name(), &*event.args), (name, "1"));
            assert_eq!(decode(&text), Err(ParseError::Payload));
            let text = format!(r#"51-["{name}",{{"_placeholder":true,"num":0}}]"#);
            assert_eq!(decoder.server_text(&text), Ok(None));
            let packet = decoder.binary(b"x"[..].into()).unwrap().unwrap();
            assert!(ServerPacket::from_packet(&packet).is_ok());
        }
        for ignored in ["7", "9{}", "x", "", "2{}", "2[", "3{}", "2[]", "0{", "4["] {
            assert_eq!(decoder.server_text(ignored), Ok(None), "{ignored}");
        }
        // A packet whose attachments would never fit is none that can be ignored.
        assert!(decoder.server_text("5[]").is_err());
        assert!(decoder.binary(b"x"[..].into()).is_err());
    }

    #[test]
    fn binary_packets_come_with_their_attachments() {
        let mut decoder = Decoder::new(10, 1000);
        let text = r#"61-2[{"_placeholder":true,"num":0}]"#;
        assert_eq!(decoder.server_text(text), Ok(None));
        let packet = decoder.binary(b"x"[..].into()).unwrap().unwrap();
        let Ok(ServerPacket::Ack {
            id: Some(2),
            attachments,
            ..
        }) = ServerPacket::from_packet(&packet)
        else {
            panic!("{packet:?}")
        };
        assert_eq!(attachments, [&b"x"[..]]);
    }

    // C043
    #[test]
    fn what_is_no_packet_is_an_error() {
        for text in [
            "",
            "9",
            "2{}",
            "2[",
            "0[]",
            "1{}",
            "4[1]",
            r#"2["connect"]"#,
            "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
