//! The Redis streams adapter: entries, offsets, and what is kept of clients that may come back.
//!
//! @socket.io/redis-streams-adapter 0.3: what must not be lost or reordered goes into a stream, and
//! requests and responses through Pub/Sub, always as `@msgpack/msgpack` writes them
//! ([`Message::to_msgpack`]). Versions before 0.3 put all into the stream, and are not served.
//! Specification: that package.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::decode::{DecodeError, Limits, Text, decode_data, read_strings, value};
use super::encode::{Undefined, Writer, inline, to_msgpack};
use super::message::{Body, BroadcastOptions, Message, Uid, Values};
use crate::base64;
use crate::socket::{Dialect, Reader};

/// How a message travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// As an entry of the stream.
    Stream,
    /// On the channel of all servers.
    Public,
    /// On the channel of the server that asked.
    Private,
}

impl Route {
    /// The way of a message. What comes on another is taken all the same.
    pub fn of(body: &Body) -> Route {
        match body {
            Body::FetchSockets { .. } | Body::ServerSideEmit { .. } => Route::Public,
            Body::Broadcast { request_id, .. } if request_id.is_some() => Route::Public,
            body if body.is_response() => Route::Private,
            _ => Route::Stream,
        }
    }
}

/// The channel of all servers; the reference's prefix is `socket.io`.
pub fn public_channel(prefix: &str, nsp: &str) -> String {
    format!("{prefix}#{nsp}#")
}

/// The channel of one server.
pub fn private_channel(prefix: &str, nsp: &str, uid: &Uid) -> String {
    format!("{prefix}#{nsp}#{uid}#")
}

/// The stream of a namespace, of `count` streams.
///
/// For some namespaces the reference writes to a stream with a negative number (`socket.io--1`),
/// which it does not read: to be heard there, read that stream as well.
pub fn stream_name(prefix: &str, nsp: &str, count: u32) -> String {
    match count {
        0 | 1 => prefix.to_owned(),
        count => format!("{prefix}-{}", i64::from(hash(nsp)) % i64::from(count)),
    }
}

/// Java's hash of a string.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The fields of a stream's entry, in their order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// `uid`: who sends it.
    pub uid: String,
    /// `nsp`: the namespace.
    pub nsp: String,
    /// `type`: the number of the message's type.
    pub message_type: String,
    /// `data`: JSON, or MessagePack in base64.
    pub data: Option<String>,
}

impl Entry {
    /// Makes the entry of a message: MessagePack if there are bytes in it.
    pub fn new(message: &Message) -> Entry {
        let attachments = message.body.attachments();
        let data = match attachments {
            [] => message.data_text(Undefined::Absent),
            attachments => message
                .data_text(Undefined::Null)
                .map(|text| base64::encode(&to_msgpack(&text, attachments, Dialect::Msgpack))),
        };
        Entry::with_data(message, data)
    }

    /// Makes an entry that is readable text: the reference's `onlyPlaintext`. Bytes become what
    /// `JSON.stringify` makes of a Buffer.
    pub fn plain(message: &Message) -> Entry {
        let data = message.data_text(Undefined::Absent);
        let data = data.map(|text| inline(text, message.body.attachments()));
        Entry::with_data(message, data)
    }

    fn with_data(message: &Message, data: Option<String>) -> Entry {
        Entry {
            uid: message.uid.as_str().to_owned(),
            nsp: message.nsp.clone(),
            message_type: message.body.message_type().to_string(),
            data,
        }
    }

    /// Takes an entry's fields, in any order; `None` if it is no message.
    pub fn from_fields<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Entry> {
        let (mut uid, mut nsp, mut message_type, mut data) = (None, None, None, None);
        for (name, value) in fields {
            match name {
                "uid" => uid = Some(value),
                "nsp" => nsp = Some(value),
                "type" => message_type = Some(value),
                "data" => data = Some(value),
                _ => {}
            }
        }
        Some(Entry {
            uid: uid?.to_owned(),
            nsp: nsp?.to_owned(),
            message_type: message_type?.to_owned(),
            data: data.map(str::to_owned),
        })
    }

    /// The fields to be written.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let data = self.data.as_deref().map(|data| ("data", data));
        [
            ("uid", &*self.uid),
            ("nsp", &*self.nsp),
            ("type", &*self.message_type),
        ]
        .into_iter()
        .chain(data)
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When it is none, or is too large.
    pub fn decode(&self, limits: &Limits) -> Result<Message, DecodeError> {
        let kind = self.message_type.parse();
        let kind = kind.map_err(|_| DecodeError::Member("type"))?;
        let data = self.data.as_deref().filter(|data| !data.is_empty());
        let text = data.map(|data| match data.starts_with('{') {
            true => Text::new(data.as_bytes(), limits),
            false => from_base64(data, limits),
        });
        Ok(Message {
            uid: Uid::new(&*self.uid),
            nsp: self.nsp.clone(),
            body: decode_data(kind, text.transpose()?, limits)?,
        })
    }
}

fn from_base64(text: &str, limits: &Limits) -> Result<Text, DecodeError> {
    if text.len() / 4 > limits.max_bytes / 3 {
        return Err(DecodeError::TooLarge);
    }
    Text::from_msgpack(&base64::decode(text), limits)
}

/// The place of an entry in its stream. Compares as Redis does.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Offset {
    /// Milliseconds from 1970, by the clock of Redis.
    pub milliseconds: u64,
    /// Counts the entries of one millisecond.
    pub sequence: u64,
}

impl Offset {
    /// The least offset after this one: where a range begins that excludes this.
    pub fn next(self) -> Option<Offset> {
        let (milliseconds, sequence) = match self.sequence.checked_add(1) {
            Some(sequence) => (self.milliseconds, sequence),
            None => (self.milliseconds.checked_add(1)?, 0),
        };
        Some(Offset {
            milliseconds,
            sequence,
        })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

/// A text is not an offset.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid offset")]
pub struct InvalidOffset;

impl FromStr for Offset {
    type Err = InvalidOffset;

    fn from_str(text: &str) -> Result<Offset, InvalidOffset> {
        let number = |digits: &str| {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| is_number);
            number.ok_or(InvalidOffset)
        };
        let (milliseconds, sequence) = text.split_once('-').ok_or(InvalidOffset)?;
        Ok(Offset {
            milliseconds: number(milliseconds)?,
            sequence: number(sequence)?,
        })
    }
}

/// Says whether an entry's offset is appended to a broadcast: clients that come back name the last
/// one they have.
pub fn has_offset(body: &Body) -> bool {
    matches!(body, Body::Broadcast { opts, request_id: None, .. } if !opts.flags.volatile)
}

/// The key of a session; the reference's prefix is `sio:session:`.
pub fn session_key(prefix: &str, pid: &str) -> String {
    format!("{prefix}{pid}")
}

/// What is kept of a client that may come back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredSession {
    /// The socket's id.
    pub sid: String,
    /// The private id, by which the client is recognised.
    pub pid: String,
    /// The rooms that the socket was in.
    pub rooms: Vec<String>,
    /// The one value that was kept with the socket.
    pub data: Values,
    /// The namespace: a field `nsp`. The reference neither writes nor reads this, and whoever has the
    /// private id of one namespace is let into any.
    pub nsp: Option<String>,
    /// Whose the client is, while it is connected: a field `uid`, which the reference neither writes
    /// nor reads.
    pub owner: Option<Uid>,
}

impl StoredSession {
    /// Writes the session as it is stored.
    pub fn encode(&self) -> String {
        let mut out = Writer::new(Undefined::Null);
        out.raw("{\"sid\":");
        out.string(&self.sid);
        out.raw(",\"pid\":");
        out.string(&self.pid);
        out.raw(",\"rooms\":");
        out.strings(&self.rooms);
        out.value(",\"data\":", Some(&self.data));
        if let Some(nsp) = &self.nsp {
            out.raw(",\"nsp\":");
            out.string(nsp);
        }
        if let Some(owner) = &self.owner {
            out.raw(",\"uid\":");
            out.string(owner.as_str());
        }
        out.raw("}");
        let attachments = self.data.attachments();
        base64::encode(&to_msgpack(&out.finish(), attachments, Dialect::Msgpack))
    }

    /// Reads a stored session.
    ///
    /// # Errors
    ///
    /// When it is none, or is too large.
    pub fn decode(stored: &str, limits: &Limits) -> Result<StoredSession, DecodeError> {
        let text = from_base64(stored, limits)?;
        let (mut sid, mut pid, mut rooms, mut data) = (None, None, None, None);
        let (mut nsp, mut owner) = (None, None);
        let mut reader = Reader::new(&text.json);
        if !reader.enter_object()? {
            return Err(DecodeError::Malformed);
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "sid" => sid = reader.text()?,
                "pid" => pid = reader.text()?,
                "rooms" => rooms = read_strings(&mut reader, limits)?,
                "data" => data = Some(reader.raw()?),
                "nsp" => nsp = reader.text()?,
                "uid" => owner = reader.text()?,
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        let (Some(sid), Some(pid), Some(rooms)) = (sid, pid, rooms) else {
            return Err(DecodeError::Malformed);
        };
        Ok(StoredSession {
            sid: sid.into_owned(),
            pid: pid.into_owned(),
            rooms,
            data: value(data.as_deref().unwrap_or("null"), text.attachments)?,
            nsp: nsp.map(Cow::into_owned),
            owner: owner.map(|owner| Uid::new(owner.into_owned())),
        })
    }

    /// Says whether a broadcast was for this client.
    pub fn is_meant_by(&self, opts: &BroadcastOptions) -> bool {
        let is_in = |rooms: &[String]| self.rooms.iter().any(|room| rooms.contains(room));
        (opts.rooms.is_empty() || is_in(&opts.rooms)) && !is_in(&opts.except)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_spread_as_the_reference_spreads_them() {
        for (nsp, count, expected) in [
            ("/", 1, "socket.io"),
            ("/", 3, "socket.io-2"),
            ("/foo", 3, "socket.io-2"),
            ("/admin", 3, "socket.io-1"),
            // The reference's mistake.
            ("/dashboard", 3, "socket.io--1"),
            ("/notifications", 3, "socket.io--2"),
        ] {
            assert_eq!(stream_name("socket.io", nsp, count), expected, "{nsp}");
        }
        assert_eq!(
            (hash("/"), hash("/foo"), hash("/admin")),
            (47, 1_501_751, 1_438_238_848)
        );
    }

    #[test]
    fn offsets_are_two_numbers() {
        let offset: Offset = "1795396744511-0".parse().unwrap();
        assert_eq!(offset.next().unwrap().to_string(), "1795396744511-1");
        assert!(offset < "1795396744511-10".parse().unwrap());
        assert!("9-0".parse::<Offset>().unwrap() < "10-0".parse().unwrap());
        let last = "7-18446744073709551615".parse::<Offset>().unwrap();
        assert_eq!(last.next().unwrap().to_string(), "8-0");
        let end = format!("{0}-{0}", u64::MAX).parse::<Offset>().unwrap();
        assert_eq!(end.next(), None);
        for text in [
            "",
            "1",
            "1-",
            "-1",
            "+1-1",
            "1-2-3",
            "1-a",
            "$",
            "99999999999999999999-0",
        ] {
            assert_eq!(text.parse::<Offset>(), Err(InvalidOffset), "{text}");
        }
    }

    #[test]
    fn a_session_is_stored_as_the_reference_stores_it() {
        let stored = "hKNzaWS0VnhQTmpfalI4cHF1dWxQekFBQUGjcGlktGx0c0dMZVA5WEpXM0s0Qm1BQUFCpXJvb21zkrRW\
                      eFBOal9qUjhwcXV1bFB6QUFBQaVyb29tMaRkYXRhgaR1c2Vyo2JvYg==";
        let session = StoredSession::decode(stored, &Limits::default()).unwrap();
        assert_eq!(session.sid, "VxPNj_jR8pquulPzAAAA");
        assert_eq!(session.pid, "ltsGLeP9XJW3K4BmAAAB");
        assert_eq!(session.rooms, ["VxPNj_jR8pquulPzAAAA", "room1"]);
        assert_eq!(session.data.as_str(), r#"{"user":"bob"}"#);
        assert_eq!((&session.nsp, &session.owner), (&None, &None));
        assert_eq!(session.encode(), stored);
        let live = StoredSession {
            nsp: Some("/".to_owned()),
            owner: Some(Uid::new("9322e9305eeb5a7b")),
            ..session.clone()
        };
        let read = StoredSession::decode(&live.encode(), &Limits::default());
        assert_eq!(read, Ok(live));
        assert_eq!(
            session_key("sio:session:", &session.pid),
            "sio:session:ltsGLeP9XJW3K4BmAAAB"
        );

        let meant = |rooms: &[&str], except: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            session.is_meant_by(&BroadcastOptions {
                rooms: owned(rooms),
                except: owned(except),
                ..BroadcastOptions::default()
            })
        };
        assert!(meant(&[], &[]) && meant(&["other", "room1"], &["third"]));
        assert!(!meant(&["other"], &[]) && !meant(&[], &["room1"]));
    }

    #[test]
    fn what_is_not_a_session_is_refused() {
        for stored in ["", "!", "gA==", "kA==", "hKNzaWS0"] {
            let session = StoredSession::decode(stored, &Limits::default());
            assert_eq!(session, Err(DecodeError::Malformed), "{stored}");
        }
    }
}
