//! From messages to packets: the text of a packet, and the attachments that follow it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::json::{self, EventText};
use super::packet::{Header, Packet, PacketKind, ParseError, check_control};
use super::placeholder;

/// The state of one connection's incoming packets.
#[derive(Debug)]
pub struct Decoder {
    max_attachments: usize,
    max_bytes: usize,
    pub(super) protocol: Protocol,
    partial: Option<Box<Partial>>,
}

/// The protocol of Socket.IO that the peer speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// That of Socket.IO 1 and 2.
    V4,
    V5,
}

/// A packet that waits for its attachments.
#[derive(Debug)]
struct Partial {
    kind: PacketKind,
    nsp: String,
    id: Option<u64>,
    data: String,
    attachments: Vec<Bytes>,
    missing: usize,
    bytes: usize,
    /// Until when the next one has to come; set by the first look at a packet that waits.
    due: Option<Instant>,
}

/// A packet's text with its payload checked for its type.
#[derive(Debug)]
pub(super) enum Text<'a> {
    Whole(Header<'a>),
    /// Attachments follow.
    Partial,
}

impl Decoder {
    /// Makes a decoder. `max_bytes` bounds the attachments of one packet together.
    pub fn new(max_attachments: usize, max_bytes: usize) -> Decoder {
        Decoder {
            max_attachments,
            max_bytes,
            protocol: Protocol::V5,
            partial: None,
        }
    }

    /// Reads what servers of Socket.IO 1 and 2 send, as their clients do: CONNECT and ERROR may have any
    /// payload, events any name, and a packet that cannot be read is ignored.
    pub fn with_protocol_4(mut self) -> Decoder {
        self.protocol = Protocol::V4;
        self
    }

    /// Decodes a text message; `None` means that attachments follow.
    ///
    /// # Errors
    ///
    /// When it is not a packet, or an attachment was due.
    pub fn text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, ParseError> {
        match self.header(text)? {
            Text::Partial => Ok(None),
            Text::Whole(header) => {
                match header.kind {
                    PacketKind::Event if !header.data.is_empty() => drop(json::event(header.data)?),
                    PacketKind::Ack if !header.data.is_empty() => drop(json::ack(header.data)?),
                    PacketKind::Event | PacketKind::Ack => {}
                    kind => drop(check_control(kind, header.data)?),
                }
                Ok(Some(Packet {
                    kind: header.kind,
                    nsp: header.nsp.into(),
                    id: header.id,
                    data: header.data.into(),
                    attachments: Vec::new(),
                }))
            }
        }
    }

    /// Reads a packet's text, and keeps it if attachments follow. The payload of a whole packet is
    /// left to the caller to check.
    #[inline]
    pub(super) fn header<'a>(&mut self, text: &'a str) -> Result<Text<'a>, ParseError> {
        if self.partial.is_some() {
            return Err(ParseError::UnexpectedText);
        }
        let header = Header::parse(text, self.max_attachments)?;
        let kind = match header.kind {
            PacketKind::BinaryEvent => PacketKind::Event,
            PacketKind::BinaryAck => PacketKind::Ack,
            _ => return Ok(Text::Whole(header)),
        };
        let mut data = Cow::Borrowed(header.data);
        if !header.data.is_empty() {
            let args = match kind {
                PacketKind::Event => self.event(header.data)?.args,
                _ => json::ack(header.data)?,
            };
            if let Some(args_anew) = placeholder::check(args, header.attachments)? {
                // They are a part of the payload.
                let start = args.as_ptr() as usize - header.data.as_ptr() as usize;
                data.to_mut()
                    .replace_range(start..start + args.len(), &args_anew);
            }
        }
        self.partial = Some(Box::new(Partial {
            kind,
            nsp: header.nsp.to_owned(),
            id: header.id,
            data: data.into_owned(),
            attachments: Vec::with_capacity(header.attachments.min(16)),
            missing: header.attachments,
            bytes: 0,
            due: None,
        }));
        Ok(Text::Partial)
    }

    #[inline]
    pub(super) fn event<'a>(&self, data: &'a str) -> Result<EventText<'a>, ParseError> {
        match self.protocol {
            Protocol::V4 => json::any_event(data),
            Protocol::V5 => json::event(data),
        }
    }

    /// Bytes of a packet that waits for its attachments.
    pub fn held(&self) -> usize {
        let held = |partial: &Partial| partial.nsp.len() + partial.data.len() + partial.bytes;
        self.partial.as_deref().map_or(0, held)
    }

    /// Returns when [`is_late`](Decoder::is_late) is to be asked at the latest, once it has seen a packet
    /// that waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.partial.as_ref()?.due
    }

    /// Says whether a packet waits for an attachment that did not come in time. The first look at it
    /// begins the time, `within`, and each attachment begins it anew.
    pub fn is_late(&mut self, now: Instant, within: Duration) -> bool {
        let Some(partial) = &mut self.partial else {
            return false;
        };
        match partial.due {
            Some(due) => due <= now,
            None => {
                partial.due = now.checked_add(within);
                false
            }
        }
    }

    /// What is missing was not read: its time has not begun.
    pub fn excuse(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.due = None;
        }
    }

    /// Takes an attachment; gives the packet with the last one.
    ///
    /// # Errors
    ///
    /// When no attachment was due, or the attachments are too large together.
    pub fn binary(&mut self, bytes: Cow<'_, [u8]>) -> Result<Option<Packet<'static>>, ParseError> {
        let partial = self.partial.as_mut().ok_or(ParseError::UnexpectedBinary)?;
        partial.bytes += bytes.len();
        if partial.bytes > self.max_bytes {
            return Err(ParseError::AttachmentsTooLarge);
        }
        partial.attachments.push(match bytes {
            Cow::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Cow::Owned(bytes) => bytes.into(),
        });
        partial.missing -= 1;
        partial.due = None;
        if partial.missing > 0 {
            return Ok(None);
        }
        Ok(self.partial.take().map(|partial| Packet {
            kind: partial.kind,
            nsp: partial.nsp.into(),
            id: partial.id,
            data: partial.data.into(),
            attachments: partial.attachments,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Option<Packet<'_>>, ParseError> {
        Decoder::new(10, 1000).text(text)
    }

    fn packet<'a>(kind: PacketKind, nsp: &'a str, id: Option<u64>, data: &'a str) -> Packet<'a> {
        let (nsp, data) = (nsp.into(), data.into());
        Packet {
            kind,
            nsp,
            id,
            data,
            attachments: Vec::new(),
        }
    }

    // P001, P005, P006, S020.
    #[test]
    fn packets_are_read_as_the_reference_reads_them() {
        use PacketKind::{Ack, Connect, ConnectError, Disconnect, Event};
        for (text, expected) in [
            ("0", packet(Connect, "/", None, "")),
            (
                "0/admin,{\"token\":1}",
                packet(Connect, "/admin", None, "{\"token\":1}"),
            ),
            ("0/admin", packet(Connect, "/admin", None, "")),
            ("0/admin?a=b,", packet(Connect, "/admin?a=b", None, "")),
            ("1/admin,", packet(Disconnect, "/admin", None, "")),
            ("2[\"a\",1]", packet(Event, "/", None, "[\"a\",1]")),
            (
                "2/adm,12[\"a\"]",
                packet(Event, "/adm", Some(12), "[\"a\"]"),
            ),
            ("2", packet(Event, "/", None, "")),
            ("2[1]", packet(Event, "/", None, "[1]")),
            ("2 [\"x\"]", packet(Event, "/", Some(0), "[\"x\"]")),
            (
                "2\u{feff}\u{b}[\"x\"]",
                packet(Event, "/", Some(0), "[\"x\"]"),
            ),
            ("2 007\t[\"x\"]", packet(Event, "/", Some(7), "[\"x\"]")),
            (
                "299999999999999999999[\"a\"]",
                packet(Event, "/", None, "[\"a\"]"),
            ),
            ("21 2[\"a\"]", packet(Event, "/", None, "[\"a\"]")),
            ("318446744073709551616[]", packet(Ack, "/", None, "[]")),
            (" {}", packet(Connect, "/", None, "{}")),
            ("\u{a0}/a,", packet(Connect, "/a", None, "")),
            ("2/,[\"x\"]", packet(Event, "/", None, "[\"x\"]")),
            ("3", packet(Ack, "/", None, "")),
            ("312[]", packet(Ack, "/", Some(12), "[]")),
            (
                "318446744073709551615[]",
                packet(Ack, "/", Some(u64::MAX), "[]"),
            ),
            (
                "4/x,{\"message\":\"m\"}",
                packet(ConnectError, "/x", None, "{\"message\":\"m\"}"),
            ),
            ("4\"no\"", packet(ConnectError, "/", None, "\"no\"")),
        ] {
            assert_eq!(decode(text), Ok(Some(expected)), "{text}");
        }
    }

    // P003, P007, P008, S071, S073.
    #[test]
    fn what_is_wrong_is_said_in_the_reference_s_words() {
        for (text, error) in [
            ("", "unknown packet type NaN"),
            ("7", "unknown packet type 7"),
            ("-1", "unknown packet type NaN"),
            ("é", "unknown packet type NaN"),
            ("0[]", "invalid payload"),
            ("0\"a\"", "invalid payload"),
            ("0null", "invalid payload"),
            ("1{}", "invalid payload"),
            ("2{}", "invalid payload"),
            ("2[]", "invalid payload"),
            ("2[\"a\"", "invalid payload"),
            ("2[\"a\"]x", "invalid payload"),
            ("2[\"connect\"]", "invalid payload"),
            ("3{}", "invalid payload"),
            ("4[]", "invalid payload"),
            ("4true", "invalid payload"),
            ("5", "Illegal attachments"),
            ("5-[\"a\"]", "Illegal attachments"),
            ("50-[\"a\"]", "Illegal attachments"),
            ("51.5-[\"a\"]", "Illegal attachments"),
            ("5-1-[\"a\"]", "Illegal attachments"),
            ("511-[\"a\"]", "too many attachments"),
            ("51000000000-[\"a\"]", "too many attachments"),
            ("599999999999999999999999-[\"a\"]", "too many attachments"),
            (
                "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
                "illegal attachments",
            ),
        ] {
            let found = decode(text).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(found, Err(error.to_owned()), "{text}");
        }
    }

    // S072, P004.
    #[test]
    fn attachments_follow_in_order() {
        let mut decoder = Decoder::new(10, 1000);
        let text = r#"52-/n,7["b",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
        assert_eq!(decoder.text(text), Ok(None));
        assert_eq!(decoder.binary(b"first"[..].into()), Ok(None));
        let packet = decoder.binary(b"second"[..].into()).unwrap().unwrap();
        assert_eq!(
            (packet.kind, &*packet.nsp, packet.id),
            (PacketKind::Event, "/n", Some(7))
        );
        assert_eq!(packet.attachments, [&b"first"[..], b"second"]);
    }

    #[test]
    fn a_placeholder_s_number_is_one_of_javascript() {
        for (num, expected) in [("1e0", r#"{"_placeholder":true,"num":1}"#), ("0.5", "null")] {
            for (kind, name) in [(5, "\"b\" , "), (6, "")] {
                let mut decoder = Decoder::new(10, 1000);
                let text = format!(r#"{kind}2- [ {name}{{"_placeholder":true,"num":{num}}} ] "#);
                assert_eq!(decoder.text(&text), Ok(None), "{text}");
                assert_eq!(decoder.binary(b"first"[..].into()), Ok(None));
                let packet = decoder.binary(b"second"[..].into()).unwrap().unwrap();
                assert_eq!(packet.data, format!("[ {name}{expected} ] "));
            }
        }
    }

    // S074.
    #[test]
    fn text_and_attachments_come_in_their_turn() {
        let mut decoder = Decoder::new(10, 1000);
        assert_eq!(
            decoder.binary(b"x"[..].into()),
            Err(ParseError::UnexpectedBinary)
        );
        assert_eq!(
            decoder.text(r#"51-["b",{"_placeholder":true,"num":0}]"#),
            Ok(None)
        );
        assert_eq!(decoder.text("2[\"a\"]"), Err(ParseError::UnexpectedText));
    }

    // Each attachment has its time: a large one on a slow line is no reason to give up.
    #[test]
    fn attachments_that_do_not_come_are_late() {
        #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut decoder = Decoder::new(10, 1000);
        assert!(!decoder.is_late(now, second) && decoder.poll_timeout().is_none());
        decoder.text(r#"53-["b"]"#).unwrap();
        assert_eq!(decoder.held(), "/".len() + r#"["b"]"#.len());
        assert!(!decoder.is_late(now, second));
        assert_eq!(decoder.poll_timeout(), Some(now + second));
        decoder.binary(b"123"[..].into()).unwrap();
        assert_eq!((decoder.held(), decoder.poll_timeout()), (9, None));
        assert!(!decoder.is_late(now + second, second));
        decoder.excuse();
        assert!(!decoder.is_late(now + 2 * second, second));
        assert!(!decoder.is_late(now + 2 * second, second));
        assert!(decoder.is_late(now + 3 * second, second));
        decoder.binary(b"4"[..].into()).unwrap();
        assert!(decoder.binary(b"5"[..].into()).unwrap().is_some());
        assert!(!decoder.is_late(now + 9 * second, second) && decoder.held() == 0);
    }

    #[test]
    fn attachments_are_bounded_together() {
        let mut decoder = Decoder::new(10, 5);
        assert_eq!(decoder.text(r#"52-["b"]"#), Ok(None));
        assert_eq!(decoder.binary(b"12345"[..].into()), Ok(None));
        assert_eq!(
            decoder.binary(b"6"[..].into()),
            Err(ParseError::AttachmentsTooLarge)
        );
    }
}
