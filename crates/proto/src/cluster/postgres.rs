//! The Postgres adapter: notifications, and messages that are too large for one.
//!
//! A message is the JSON text of a notification. With bytes in it, or if it is too long, it is stored
//! in a table instead, and a short notification names the row. Specification:
//! @socket.io/postgres-adapter 0.5.0.

use super::decode::{DecodeError, Limits};
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
/// `None` if Postgres could not use the name: it is too long, or has a quote or a NUL in it.
pub fn channel(prefix: &str, nsp: &str) -> Option<String> {
    let name = format!("{prefix}#{nsp}");
    let is_usable = name.len() <= MAX_CHANNEL && !name.contains(['"', '\0']);
    is_usable.then_some(name)
}

/// How a message is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outgoing {
    /// As this notification.
    Notification(String),
    /// Stored with these bytes as a row, which [`notification_of_row`] tells of.
    Row(Vec<u8>),
}

impl Outgoing {
    /// Finds the form of a message.
    pub fn new(message: &Message) -> Outgoing {
        // Sockets are not searched for bytes: as text, they are what JSON makes of them.
        let is_searched = !matches!(message.body, Body::FetchSocketsResponse { .. });
        if is_searched && !message.body.attachments().is_empty() {
            return Outgoing::Row(message.to_msgpack());
        }
        let text = message.to_json();
        match text.len() < MAX_NOTIFICATION {
            true => Outgoing::Notification(text),
            false => Outgoing::Row(message.to_msgpack()),
        }
    }
}

/// Writes the notification of a message that was stored.
pub fn notification_of_row(message: &Message, row: &str) -> String {
    let mut out = Writer::new(Undefined::Absent);
    out.raw("{\"uid\":");
    out.string(message.uid.as_str());
    out.raw(",\"type\":");
    out.number(message.body.message_type().into());
    out.raw(",\"attachmentId\":");
    out.string(row);
    out.raw("}");
    out.finish()
}

/// What a notification brings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Incoming {
    /// A message.
    Message(Message),
    /// A message is stored in a row, and is read from there by [`Message::decode`].
    Row {
        /// Who sends it: one's own needs not be fetched.
        uid: Option<Uid>,
        /// The row's id, digits only.
        id: String,
    },
}

impl Incoming {
    /// Reads a notification that came on the channel of a namespace.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn decode(payload: &str, nsp: &str, limits: &Limits) -> Result<Incoming, DecodeError> {
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
        match id {
            None => Message::decode(payload.as_bytes(), nsp, limits).map(Incoming::Message),
            Some(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Incoming::Row {
                    uid: uid.map(Uid::new),
                    id: id.into_owned(),
                })
            }
            Some(_) => Err(DecodeError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

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
                Outgoing::Row(row) => Some(row),
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
        let header = r#"{"uid":"216dd3f2f6b63619","type":3,"attachmentId":"1"}"#;
        assert!(matches!(Outgoing::new(&message), Outgoing::Row(_)));
        assert_eq!(notification_of_row(&message, "1"), header);
        let row = Incoming::Row {
            uid: Some(message.uid),
            id: "1".to_owned(),
        };
        assert_eq!(Incoming::decode(header, "/", &Limits::default()), Ok(row));
    }

    #[test]
    fn a_message_of_the_emitter_is_for_the_namespace_of_its_channel() {
        let payload = concat!(
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1],"nsp":"/"},"#,
            r#""opts":{"rooms":[],"flags":{},"except":[]}},"uid":"emitter"}"#
        );
        let incoming = Incoming::decode(payload, "/foo", &Limits::default()).unwrap();
        let Incoming::Message(message) = incoming else {
            panic!("not a message: {incoming:?}");
        };
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
        assert_eq!(channel("socket.io", "/\""), None);
    }

    #[test]
    fn ids_of_rows_are_numbers() {
        for id in ["\"1;\"", "\"\"", "-1", "1.5"] {
            let payload = format!(r#"{{"uid":"a","type":3,"attachmentId":{id}}}"#);
            let incoming = Incoming::decode(&payload, "/", &Limits::default());
            assert_eq!(incoming, Err(DecodeError::Malformed), "{id}");
        }
    }
}
