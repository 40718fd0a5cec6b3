//! The classic Redis adapter: its channels, and its own messages.
//!
//! `createAdapter` of @socket.io/redis-adapter 8.3.0, and @socket.io/redis-emitter 5.1.0, which speaks
//! to no other adapter. An emitter leaves out the `uid` of requests, but for type 6. Specification:
//! those packages.

mod broadcast;
mod request;
mod response;

use std::borrow::Cow;

use super::decode::{DecodeError, Limits, PACKET_DEPTH, read_options, read_strings};
use super::message::{BroadcastOptions, RequestId, Uid};
use crate::socket::Reader;

pub use broadcast::Broadcast;
pub use request::{Request, RequestBody, Which};
pub use response::Response;

/// The names of the channels of a namespace.
///
/// A server subscribes to all but [`room`](Channels::room) and other servers' responses, and to
/// [`request`](Channels::request) exactly once: its subscribers are counted as servers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Channels {
    /// Broadcasts.
    pub broadcast: String,
    /// Requests.
    pub request: String,
    /// Responses to anybody.
    pub response: String,
}

impl Channels {
    /// Names the channels; the reference's prefix is `socket.io`.
    pub fn new(prefix: &str, nsp: &str) -> Channels {
        Channels {
            broadcast: format!("{prefix}#{nsp}#"),
            request: format!("{prefix}-request#{nsp}#"),
            response: format!("{prefix}-response#{nsp}#"),
        }
    }

    /// The pattern of all broadcasts. It may match more: see [`room_of`](Channels::room_of).
    pub fn broadcast_pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.broadcast.len() + 1);
        for c in self.broadcast.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern + "*"
    }

    /// Where a broadcast is published: one to a single room has a channel of its own.
    pub fn broadcast_to(&self, opts: &BroadcastOptions) -> String {
        match &opts.rooms[..] {
            [room] => self.room(room),
            _ => self.broadcast.clone(),
        }
    }

    /// The channel of broadcasts to one room.
    pub fn room(&self, room: &str) -> String {
        format!("{}{room}#", self.broadcast)
    }

    /// The room of a channel of broadcasts, empty for all; `None` if it is another's.
    pub fn room_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let rest = channel.strip_prefix(&self.broadcast)?;
        match rest {
            "" => Some(""),
            rest => rest.strip_suffix('#'),
        }
    }

    /// The channel of responses to one server.
    pub fn response_to(&self, uid: &Uid) -> String {
        format!("{}{uid}#", self.response)
    }
}

/// All that a request or a response may have.
#[derive(Debug, Default)]
struct Members<'a> {
    kind: Option<u64>,
    uid: Option<Cow<'a, str>>,
    request_id: Option<RequestId>,
    opts: Option<BroadcastOptions>,
    rooms: Option<Vec<String>>,
    room: Option<String>,
    sid: Option<Cow<'a, str>>,
    close: bool,
    data: Option<Cow<'a, str>>,
    packet: Option<Cow<'a, str>>,
    sockets: Option<Cow<'a, str>>,
    client_count: Option<u64>,
}

impl<'a> Members<'a> {
    fn read(text: &'a str, limits: &Limits) -> Result<Members<'a>, DecodeError> {
        let mut reader = Reader::new(text);
        if !reader.enter_object()? {
            return Err(DecodeError::Malformed);
        }
        let mut members = Members::default();
        while let Some(key) = reader.next_key()? {
            match &*key {
                "type" => members.kind = reader.integer()?,
                "uid" => members.uid = reader.text()?,
                "requestId" => members.request_id = reader.text()?.map(RequestId::new),
                "opts" => members.opts = read_options(&mut reader, limits)?,
                "rooms" => members.rooms = read_strings(&mut reader, limits)?,
                "room" => members.room = reader.text_or_number()?.map(Cow::into_owned),
                "sid" => members.sid = reader.text()?,
                "close" => members.close = reader.boolean()?.unwrap_or_default(),
                "data" => members.data = Some(reader.raw_within(1)?),
                "packet" => members.packet = Some(reader.raw_within(PACKET_DEPTH)?),
                // An array of objects, with values in them.
                "sockets" => members.sockets = Some(reader.raw_within(2)?),
                "clientCount" => members.client_count = reader.integer()?,
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_named_as_the_reference_names_them() {
        let channels = Channels::new("socket.io", "/foo");
        assert_eq!(channels.broadcast, "socket.io#/foo#");
        assert_eq!(channels.request, "socket.io-request#/foo#");
        assert_eq!(channels.response, "socket.io-response#/foo#");
        assert_eq!(channels.broadcast_pattern(), "socket.io#/foo#*");
        let own = channels.response_to(&Uid::new("stEOct"));
        assert_eq!(own, "socket.io-response#/foo#stEOct#");
    }

    #[test]
    fn a_pattern_matches_only_the_namespace_and_is_checked() {
        let channels = Channels::new("socket.io", "/a*[b]?\\");
        let pattern = channels.broadcast_pattern();
        assert_eq!(pattern, "socket.io#/a\\*\\[b\\]\\?\\\\#*");
        let channels = Channels::new("socket.io", "/");
        for (channel, room) in [
            ("socket.io#/#", Some("")),
            ("socket.io#/#room1#", Some("room1")),
            ("socket.io#/#a#b#", Some("a#b")),
            ("socket.io#/#room1", None),
            ("socket.io#/foo#", None),
        ] {
            assert_eq!(channels.room_of(channel), room, "{channel}");
        }
    }
}
