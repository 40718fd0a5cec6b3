//! The Postgres adapter: notifications, and messages that are too large for one.
//!
//! A message is the JSON text of a notification. With bytes in it, or if it is too long, it is stored
//! in a table instead, and a short notification names the row. Specification:
//! @socket.io/postgres-adapter 0.5.0.

use super::decode::DecodeError;
use super::encode::Undefined;
use super::encode::Writer;
use super::message::{Body, Message, Uid};
use crate::socket::Reader;

/// A notification has to be shorter than this. The reference sends one of exactly 8000 bytes, which
/// Postgres refuses.
pub const MAX_NOTIFICATION: usize = 8000;

/// A channel's name may have this many bytes.
const MAX_CHANNEL: usize = 63;

/// Names the channel of a namespace; the reference's prefix is `socket.io`.
///
/// `None` if Postgres could not use the name: it is too long, or has a NUL in it. A name may have
/// quotes, which the reference does not escape: its servers do not hear such a namespace.
pub fn channel(prefix: &str, nsp: &str) -> Option<String> {
    let name = format!("{prefix}#{nsp}");
    (name.len() <= MAX_CHANNEL && !name.contains('\0')).then_some(name)
}

/// How a message is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outgoing {
    /// As this notification.
    Notification(String),
    /// Stored as a row.
    Row {
        /// The bytes that are stored.
        payload: Vec<u8>,
        /// What stands in the notification before the row's id.
        before: String,
        /// What stands after it.
        after: &'static str,
    },
}

impl Outgoing {
    /// Finds the form of a message.
    pub fn new(message: &Message) -> Outgoing {
        // Sockets are not searched for bytes: as text, they are what JSON makes of them.
        let is_searched = !matches!(message.body, Body::FetchSocketsResponse { .. });
        if is_searched && !message.body.attachments().is_empty() {
            return Outgoing::row(message);
        }
        let text = message.to_json();
        match text.len() < MAX_NOTIFICATION {
            true => Outgoing::Notification(text),
            false => Outgoing::row(message),
        }
    }

    fn row(message: &Message) -> Outgoing {
        let mut before = Writer::new(Undefined::Absent);
        before.raw("{\"uid\":");
        before.string(message.uid.as_str());
        before.raw(",\"type\":");
        before.number(message.body.message_type().into());
        before.raw(",\"attachmentId\":\"");
        Outgoing::Row {
            payload: message.to_msgpack(),
            before: before.finish(),
            after: "\"}",
        }
    }
}

/// What a notification says of itself: enough to know whether to read on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Who sends it.
    pub uid: Option<Uid>,
    /// The id of the row in which the message is stored. Without one, the notification is the message.
    /// Both are read by [`Message::decode`].
    pub row: Option<i64>,
}

impl Header {
    /// Reads a notification's header.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn decode(payload: &str) -> Result<Header, DecodeError> {
        let (mut uid, mut id) = (None, None);
        let mut reader = Reader::new(payload);
        if !reader.enter_object()? {
            return Err(DecodeError::Malformed);
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "uid" => uid = reader.text()?,
                "attachmentId" => id = reader.text_or_number()?,
                // As deep as values are in sockets' descriptions, or packets.
                _ => drop(reader.raw_within(4)?),
            }
        }
        reader.end()?;
        let is_number = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
        let row = match id {
            None => None,
            Some(id) if is_number(&id) => Some(id.parse().map_err(|_| DecodeError::Malformed)?),
            Some(_) => return Err(DecodeError::Malformed),
        };
        Ok(Header {
            uid: uid.map(Uid::new),
            row,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::decode::Limits;
    use super::super::message::{BroadcastOptions, Event, Values};
    use super::*;

    fn broadcast(args: String, attachments: Vec<Bytes>) -> Message {
        Message {
            uid: Uid::new("216dd3f2f6b63619"),
            nsp: "/".to_owned(),
            body: Body::Broadcast {
                event: Event {
                    name: "b".to_owned(),
                    args: Values::new(args, attachments).unwrap(),
                },
                opts: BroadcastOptions::default(),
                request_id: None,
            },
        }
    }

    #[test]
    fn a_message_too_long_for_a_notification_is_stored() {
        let rest = broadcast("\"\"".to_owned(), Vec::new()).to_json().len();
        for (length, is_stored) in [(7999, false), (8000, true), (8001, true)] {
            let message = broadcast(format!("\"{}\"", "y".repeat(length - rest)), Vec::new());
            let row = match Outgoing::new(&message) {
                Outgoing::Notification(text) => {
                    assert_eq!(text.len(), length);
                    None
                }
                Outgoing::Row { payload, .. } => Some(payload),
            };
            assert_eq!(row.is_some(), is_stored, "{length}");
            if let Some(row) = row {
                assert_eq!(Message::decode(&row, "/", &Limits::default()), Ok(message));
            }
        }
    }

    #[test]
    fn a_message_with_bytes_is_stored() {
        let args = r#"{"_placeholder":true,"num":0}"#.to_owned();
        let message = broadcast(args, vec![Bytes::from_static(b"\x01\x02\x03")]);
        let Outgoing::Row { before, after, .. } = Outgoing::new(&message) else {
            panic!("it is not stored");
        };
        let notification = format!("{before}1{after}");
        let expected = r#"{"uid":"216dd3f2f6b63619","type":3,"attachmentId":"1"}"#;
        assert_eq!(notification, expected);
        let header = Header {
            uid: Some(message.uid),
            row: Some(1),
        };
        assert_eq!(Header::decode(&notification), Ok(header));
    }

    #[test]
    fn a_message_of_the_emitter_is_for_the_namespace_of_its_channel() {
        let payload = concat!(
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1],"nsp":"/"},"#,
            r#""opts":{"rooms":[],"flags":{},"except":[]}},"uid":"emitter"}"#
        );
        assert_eq!(Header::decode(payload).unwrap().row, None);
        let message = Message::decode(payload.as_bytes(), "/foo", &Limits::default()).unwrap();
        assert!(message.uid.is_emitter());
        assert_eq!(message.nsp, "/foo");
    }

    #[test]
    fn names_that_postgres_cannot_use_are_refused() {
        assert_eq!(
            channel("socket.io", "/foo").as_deref(),
            Some("socket.io#/foo")
        );
        assert!(channel("socket.io", &format!("/{}", "a".repeat(52))).is_some());
        assert_eq!(channel("socket.io", &format!("/{}", "a".repeat(53))), None);
        assert_eq!(channel("socket.io", &format!("/{}", "é".repeat(27))), None);
        assert_eq!(channel("socket.io", "/\0"), None);
    }

    #[test]
    fn ids_of_rows_are_numbers() {
        for id in ["\"1;\"", "\"\"", "-1", "1.5", "\"9223372036854775808\""] {
            let payload = format!(r#"{{"uid":"a","type":3,"attachmentId":{id}}}"#);
            assert_eq!(
                Header::decode(&payload),
                Err(DecodeError::Malformed),
                "{id}"
            );
        }
    }
}
