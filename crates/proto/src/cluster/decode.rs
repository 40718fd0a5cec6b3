//! Messages read from JSON or MessagePack.
//!
//! Members may stand in any order; those that are not known are passed over, and of equal ones the
//! last counts. What is missing where the packages always write it makes a message malformed: to
//! guess what it leaves out could reach more sockets than were meant.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use super::message::{
    Body, BroadcastOptions, Event, Flags, Message, RemoteSocket, RequestId, Sockets, Uid, Values,
};
use crate::socket::{
    Binary, MAX_DEPTH, MalformedJson, MsgpackParser, ParseError, Reader, is_reserved,
    msgpack_to_json,
};

/// How large a message may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many bytes it may have.
    pub max_bytes: usize,
    /// How many byte strings may be in it.
    pub max_attachments: usize,
    /// How many rooms, and how many sockets, each list may have.
    pub max_items: usize,
}

impl Default for Limits {
    /// 100 MB, a thousand byte strings, a million rooms or sockets.
    fn default() -> Limits {
        Limits {
            max_bytes: 100_000_000,
            max_attachments: 1000,
            max_items: 1_000_000,
        }
    }
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is neither JSON nor MessagePack, or not of the shape of a message.
    #[error("malformed message")]
    Malformed,
    /// A member is not there, or of another kind.
    #[error("`{0}` is missing, or not what it has to be")]
    Member(&'static str),
    /// It is larger than allowed, or has too many parts.
    #[error("message is too large")]
    TooLarge,
    /// Its type is none that is known.
    #[error("unknown message type {0}")]
    UnknownType(u64),
}

impl From<MalformedJson> for DecodeError {
    fn from(_: MalformedJson) -> DecodeError {
        DecodeError::Malformed
    }
}

impl From<ParseError> for DecodeError {
    fn from(error: ParseError) -> DecodeError {
        match error {
            ParseError::AttachmentsTooLarge | ParseError::TooManyAttachments => {
                DecodeError::TooLarge
            }
            _ => DecodeError::Malformed,
        }
    }
}

impl Message {
    /// Reads a message: JSON if it begins with a brace, else MessagePack.
    ///
    /// `nsp` is the namespace of the channel on which it came. A message that names none, as those
    /// of `@socket.io/postgres-emitter` 0.1.1, is meant for that.
    ///
    /// # Errors
    ///
    /// When it is not a message, or is too large.
    pub fn decode(bytes: &[u8], nsp: &str, limits: &Limits) -> Result<Message, DecodeError> {
        let text = Text::new(bytes, limits)?;
        let (mut kind, mut uid, mut own_nsp, mut data) = (None, None, None, None);
        let mut reader = Reader::new(&text.json);
        if !reader.enter_object()? {
            return Err(DecodeError::Malformed);
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "type" => kind = reader.integer()?,
                "uid" => uid = reader.text()?,
                "nsp" => own_nsp = reader.text()?,
                "data" => data = Data::read(&mut reader, limits)?,
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        let uid = Uid::new(uid.ok_or(DecodeError::Member("uid"))?);
        let nsp = own_nsp.as_deref().unwrap_or(nsp).to_owned();
        let kind = kind.ok_or(DecodeError::Member("type"))?;
        let body = data.unwrap_or_default().body(kind, text.attachments)?;
        Ok(Message { uid, nsp, body })
    }
}

/// Finds who has sent a message of any of the adapters, even if all else in it is wrong.
pub fn sender_of(bytes: &[u8], limits: &Limits) -> Option<Uid> {
    let text = Text::new(bytes, limits).ok()?;
    let mut reader = Reader::new(&text.json);
    if reader.first() == Some(b'[') {
        // A broadcast of the classic adapter.
        let has_first = reader.enter_array().ok()? && reader.next_item().ok()?;
        return has_first.then(|| reader.text().ok()?.map(Uid::new))?;
    }
    reader.enter_object().ok()?;
    while let Some(key) = reader.next_key().ok()? {
        match &*key {
            "uid" => return reader.text().ok()?.map(Uid::new),
            _ => reader.skip().ok()?,
        }
    }
    None
}

/// Reads a message's data, which came apart from its type.
pub(super) fn decode_data(
    kind: u64,
    data: Option<Text>,
    limits: &Limits,
) -> Result<Body, DecodeError> {
    let Some(text) = data else {
        return Data::default().body(kind, Vec::new());
    };
    let mut reader = Reader::new(&text.json);
    let data = Data::read(&mut reader, limits)?;
    reader.end()?;
    data.unwrap_or_default().body(kind, text.attachments)
}

/// A message as JSON with placeholders, not validated yet.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) json: String,
    pub(super) attachments: Vec<Bytes>,
}

impl Text {
    /// Takes JSON or MessagePack.
    pub(super) fn new(bytes: &[u8], limits: &Limits) -> Result<Text, DecodeError> {
        if bytes.first() != Some(&b'{') {
            return Text::from_msgpack(bytes, limits);
        }
        if bytes.len() > limits.max_bytes {
            return Err(DecodeError::TooLarge);
        }
        // As JavaScript reads bytes as text.
        let json = String::from_utf8_lossy(bytes).into_owned();
        Ok(Text {
            json,
            attachments: Vec::new(),
        })
    }

    pub(super) fn from_msgpack(bytes: &[u8], limits: &Limits) -> Result<Text, DecodeError> {
        if bytes.len() > limits.max_bytes {
            return Err(DecodeError::TooLarge);
        }
        let limits = MsgpackParser {
            max_attachments: limits.max_attachments,
            max_bytes: limits.max_bytes,
        };
        // Around the deepest value there are what sockets are in, or a packet.
        let max_depth = MAX_DEPTH + 8;
        let (json, attachments) = msgpack_to_json(bytes, limits, max_depth, Binary::Attach)?;
        Ok(Text { json, attachments })
    }
}

/// All that the data of a message may have, whatever its type.
#[derive(Debug, Default)]
struct Data<'a> {
    /// An event for sockets, one for servers, or one value: what it is depends on the type.
    packet: Option<Cow<'a, str>>,
    opts: Option<BroadcastOptions>,
    request_id: Option<RequestId>,
    rooms: Option<Vec<String>>,
    close: bool,
    sockets: Option<Vec<RemoteSocket>>,
    client_count: Option<u64>,
}

impl<'a> Data<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Option<Data<'a>>, DecodeError> {
        if !reader.enter_object()? {
            return Ok(None);
        }
        let mut data = Data::default();
        while let Some(key) = reader.next_key()? {
            match &*key {
                "packet" => data.packet = Some(reader.raw_within(PACKET_DEPTH)?),
                "opts" => data.opts = read_options(reader, limits)?,
                "requestId" => data.request_id = reader.text()?.map(RequestId::new),
                "rooms" => data.rooms = read_strings(reader, limits)?,
                "close" => data.close = reader.boolean()?.unwrap_or_default(),
                "sockets" => data.sockets = read_sockets(reader, limits)?,
                "clientCount" => data.client_count = reader.integer()?,
                _ => reader.skip()?,
            }
        }
        Ok(Some(data))
    }

    /// Puts a message together; each type takes what it needs.
    fn body(self, kind: u64, attachments: Vec<Bytes>) -> Result<Body, DecodeError> {
        let opts = self.opts.ok_or(DecodeError::Member("opts"));
        let rooms = self.rooms.ok_or(DecodeError::Member("rooms"));
        let required_id = self.request_id.clone();
        let required_id = required_id.ok_or(DecodeError::Member("requestId"));
        let request_id = self.request_id;
        let packet = self.packet.ok_or(DecodeError::Member("packet"));
        Ok(match kind {
            1 => Body::InitialHeartbeat,
            2 => Body::Heartbeat,
            3 => Body::Broadcast {
                event: read_packet(&packet?, attachments)?.1,
                opts: opts?,
                request_id,
            },
            4 => Body::SocketsJoin {
                opts: opts?,
                rooms: rooms?,
            },
            5 => Body::SocketsLeave {
                opts: opts?,
                rooms: rooms?,
            },
            6 => Body::DisconnectSockets {
                opts: opts?,
                close: self.close,
            },
            7 => Body::FetchSockets {
                opts: opts?,
                request_id: required_id?,
            },
            8 => Body::FetchSocketsResponse {
                request_id: required_id?,
                sockets: Sockets {
                    sockets: self.sockets.ok_or(DecodeError::Member("sockets"))?,
                    attachments,
                },
            },
            9 => Body::ServerSideEmit {
                event: read_event(&packet?, attachments)?,
                request_id,
            },
            10 => Body::ServerSideEmitResponse {
                request_id: required_id?,
                value: packet
                    .ok()
                    .map(|text| value(&text, attachments))
                    .transpose()?,
            },
            11 => Body::BroadcastClientCount {
                request_id: required_id?,
                client_count: self
                    .client_count
                    .ok_or(DecodeError::Member("clientCount"))?,
            },
            12 => Body::BroadcastAck {
                request_id: required_id?,
                value: packet
                    .ok()
                    .map(|text| value(&text, attachments))
                    .transpose()?,
            },
            13 => Body::AdapterClose,
            _ => return Err(DecodeError::UnknownType(kind)),
        })
    }
}

/// Keeps one value.
pub(super) fn value(text: &str, attachments: Vec<Bytes>) -> Result<Values, DecodeError> {
    Values::new(text.to_owned(), attachments).ok_or(DecodeError::Malformed)
}

/// Reads an event in a packet of Socket.IO, and the namespace that the packet names.
pub(super) fn read_packet(
    text: &str,
    attachments: Vec<Bytes>,
) -> Result<(Option<String>, Event), DecodeError> {
    let (mut kind, mut nsp, mut data) = (None, None, None);
    let mut reader = Reader::new(text);
    if !reader.enter_object()? {
        return Err(DecodeError::Member("packet"));
    }
    while let Some(key) = reader.next_key()? {
        match &*key {
            "type" => kind = reader.integer()?,
            "nsp" => nsp = reader.text()?,
            "data" => data = Some(reader.raw_within(1)?),
            _ => reader.skip()?,
        }
    }
    reader.end()?;
    // Nothing but events is broadcast; 5 is an event with attachments.
    let Some(2 | 5) = kind else {
        return Err(DecodeError::Member("packet.type"));
    };
    let data = data.ok_or(DecodeError::Member("packet.data"))?;
    Ok((nsp.map(Cow::into_owned), read_event(&data, attachments)?))
}

/// Reads an event: an array of its name and its arguments.
pub(super) fn read_event(text: &str, attachments: Vec<Bytes>) -> Result<Event, DecodeError> {
    let mut reader = Reader::new(text);
    let name = match reader.enter_array()? && reader.next_item()? {
        true => reader.text_or_number()?,
        false => None,
    };
    let name = name.filter(|name| !is_reserved(name));
    let name = name.ok_or(DecodeError::Member("the name of the event"))?;
    let args = reader.rest_of_array()?.into_owned();
    reader.end()?;
    Ok(Event {
        name: name.into_owned(),
        args: Values::from_valid(args, attachments),
    })
}

/// Reads options; `None` if they are none.
pub(super) fn read_options(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Option<BroadcastOptions>, DecodeError> {
    if !reader.enter_object()? {
        return Ok(None);
    }
    let mut rooms = None;
    let mut opts = BroadcastOptions::default();
    while let Some(key) = reader.next_key()? {
        match &*key {
            "rooms" => rooms = read_target(reader, limits)?,
            "except" => opts.except = read_target(reader, limits)?.unwrap_or_default(),
            "flags" => opts.flags = read_flags(reader)?,
            _ => reader.skip()?,
        }
    }
    // Without rooms it would be for everybody. That is meant by an empty list, or by nothing, but
    // not by something that is not understood.
    opts.rooms = rooms.unwrap_or_default();
    Ok(Some(opts))
}

/// Reads the names of rooms; `None` is nothing, which is as good as an empty list.
fn read_target(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Option<Vec<String>>, DecodeError> {
    if let Some(b'[') = reader.first() {
        return read_strings(reader, limits);
    }
    match &*reader.raw()? {
        "null" | "{}" => Ok(None),
        _ => Err(DecodeError::Member("opts")),
    }
}

fn read_flags(reader: &mut Reader<'_>) -> Result<Flags, DecodeError> {
    let mut flags = Flags::default();
    if !reader.enter_object()? {
        return Ok(flags);
    }
    while let Some(key) = reader.next_key()? {
        match &*key {
            "expectSingleResponse" => flags.expect_single_response = is_true(reader)?,
            "volatile" => flags.volatile = is_true(reader)?,
            "compress" => flags.compress = reader.boolean()?,
            // Of a fraction of a millisecond nothing is lost that a timer could keep.
            "timeout" => flags.timeout = reader.number()?.and_then(milliseconds),
            _ => reader.skip()?,
        }
    }
    Ok(flags)
}

fn is_true(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    Ok(reader.boolean()? == Some(true))
}

/// Timers of JavaScript have 31 bits.
fn milliseconds(value: f64) -> Option<Duration> {
    (0.0..=f64::from(i32::MAX))
        .contains(&value)
        .then(|| Duration::from_millis(value as u64))
}

/// Reads strings. Numbers become their digits, as rooms may be numbers in JavaScript.
pub(super) fn read_strings(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Option<Vec<String>>, DecodeError> {
    if !reader.enter_array()? {
        return Ok(None);
    }
    let mut strings = Vec::new();
    while reader.next_item()? {
        if strings.len() >= limits.max_items {
            return Err(DecodeError::TooLarge);
        }
        let string = reader.text_or_number()?;
        let string = string.ok_or(DecodeError::Member("the name of a room"))?;
        strings.push(string.into_owned());
    }
    Ok(Some(strings))
}

/// Reads descriptions of sockets. What is missing in one is empty.
pub(super) fn read_sockets(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Option<Vec<RemoteSocket>>, DecodeError> {
    if !reader.enter_array()? {
        return Ok(None);
    }
    let mut sockets = Vec::new();
    while reader.next_item()? {
        if sockets.len() >= limits.max_items {
            return Err(DecodeError::TooLarge);
        }
        let (mut id, mut rooms) = (None, Vec::new());
        let (mut handshake, mut data) = (Cow::Borrowed("{}"), Cow::Borrowed("{}"));
        if !reader.enter_object()? {
            return Err(DecodeError::Member("sockets"));
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "id" => id = reader.text()?,
                "handshake" => handshake = reader.raw()?,
                "rooms" => rooms = read_strings(reader, limits)?.unwrap_or_default(),
                "data" => data = reader.raw()?,
                _ => reader.skip()?,
            }
        }
        let id = id.ok_or(DecodeError::Member("sockets.id"))?.into_owned();
        let (handshake, data) = (handshake.into_owned(), data.into_owned());
        sockets.push(RemoteSocket::from_valid(id, handshake, rooms, data));
    }
    Ok(Some(sockets))
}

/// How deep a value stands in a packet: in the packet, and in its array.
pub(super) const PACKET_DEPTH: usize = 2;

#[cfg(test)]
mod tests {
    use super::super::encode::to_msgpack;
    use super::*;
    use crate::socket::Dialect;

    const LIMITS: Limits = Limits {
        max_bytes: 4000,
        max_attachments: 2,
        max_items: 3,
    };

    fn decode(text: &str) -> Result<Message, DecodeError> {
        let message = Message::decode(text.as_bytes(), "/", &LIMITS);
        if text.starts_with('{')
            && crate::socket::validate(text).is_ok()
            && message != Err(DecodeError::TooLarge)
        {
            let bytes = to_msgpack(text, &[], Dialect::Msgpack);
            assert_eq!(Message::decode(&bytes, "/", &LIMITS), message, "{text}");
        }
        message
    }

    fn written(text: &str) -> String {
        decode(text).unwrap().to_json()
    }

    #[test]
    fn members_stand_in_any_order_and_others_are_passed_over() {
        let canonical = concat!(
            r#"{"type":3,"data":{"packet":{"type":2,"data":["a",{"b":[1]},null]},"requestId":"r","#,
            r#""opts":{"rooms":["1","2"],"except":[],"flags":{"volatile":true,"compress":false,"#,
            r#""timeout":700}}},"uid":"u","nsp":"/"}"#
        );
        let free = concat!(
            r#" { "nodeId" : {"x":[]} , "nsp":"/old", "uid":"u", "nsp":"/", "data": {"y":1,"opts":"#,
            r#"{"flags":{"timeout":700.5,"broadcast":true,"compress":false,"volatile":true,"z":{}},"#,
            r#""except":null,"rooms":[1,"2"]},"requestId":"r","packet":{"nsp":"/x","id":7,"#,
            r#""data":["a",{"b":[1]},null],"type":2.0}},"type":3 } "#
        );
        assert_eq!(written(free.trim()), canonical);
        assert_eq!(written(canonical), canonical);
    }

    #[test]
    fn nothing_is_as_good_as_an_empty_list_of_rooms() {
        for opts in [
            "{}",
            r#"{"rooms":null,"except":{},"flags":null}"#,
            r#"{"rooms":{}}"#,
        ] {
            let text = format!(r#"{{"type":4,"data":{{"opts":{opts},"rooms":["r"]}},"uid":"u"}}"#);
            let expected = concat!(
                r#"{"type":4,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["r"]},"#,
                r#""uid":"u","nsp":"/"}"#
            );
            assert_eq!(written(&text), expected);
        }
    }

    #[test]
    fn what_is_no_message_is_refused_and_what_is_missing_is_named() {
        for (text, missing) in [
            ("", ""),
            ("{", ""),
            ("[]", ""),
            ("{}", "uid"),
            (r#"{"type":1}"#, "uid"),
            (r#"{"uid":"u"}"#, "type"),
            (r#"{"type":1,"uid":1}"#, "uid"),
            (r#"{"type":"1","uid":"u"}"#, "type"),
            (r#"{"type":1,"uid":"u"}x"#, ""),
            (r#"{"type":3,"uid":"u"}"#, "packet"),
            (r#"{"type":3,"uid":"u","data":[]}"#, "packet"),
            (
                r#"{"type":3,"uid":"u","data":{"packet":{"type":2,"data":["a"]}}}"#,
                "opts",
            ),
            (
                r#"{"type":3,"uid":"u","data":{"packet":{"type":2,"data":["a"]},"opts":[]}}"#,
                "opts",
            ),
            (
                r#"{"type":3,"uid":"u","data":{"packet":{"type":3,"data":["a"]},"opts":{}}}"#,
                "packet.type",
            ),
            (
                r#"{"type":3,"uid":"u","data":{"packet":{"type":2},"opts":{}}}"#,
                "packet.data",
            ),
            (
                r#"{"type":3,"uid":"u","data":{"packet":{"type":2,"data":[]},"opts":{}}}"#,
                "the name of the event",
            ),
            (
                r#"{"type":3,"uid":"u","data":{"packet":{"type":2,"data":[{}]},"opts":{}}}"#,
                "the name of the event",
            ),
            (
                r#"{"type":3,"uid":"u","data":{"packet":{"type":2,"data":["connect"]},"opts":{}}}"#,
                "the name of the event",
            ),
            (
                r#"{"type":3,"uid":"u","data":{"packet":null,"opts":{}}}"#,
                "packet",
            ),
            (
                r#"{"type":4,"uid":"u","data":{"opts":{"rooms":"all"},"rooms":[]}}"#,
                "opts",
            ),
            (
                r#"{"type":4,"uid":"u","data":{"opts":{},"rooms":[null]}}"#,
                "the name of a room",
            ),
            (r#"{"type":4,"uid":"u","data":{"opts":{}}}"#, "rooms"),
            (r#"{"type":7,"uid":"u","data":{"opts":{}}}"#, "requestId"),
            (
                r#"{"type":8,"uid":"u","data":{"requestId":"r"}}"#,
                "sockets",
            ),
            (
                r#"{"type":8,"uid":"u","data":{"requestId":"r","sockets":[{}]}}"#,
                "sockets.id",
            ),
            (
                r#"{"type":8,"uid":"u","data":{"requestId":"r","sockets":[1]}}"#,
                "sockets",
            ),
            (
                r#"{"type":9,"uid":"u","data":{"packet":"a"}}"#,
                "the name of the event",
            ),
            (
                r#"{"type":11,"uid":"u","data":{"requestId":"r","clientcount":1}}"#,
                "clientCount",
            ),
            (
                r#"{"type":11,"uid":"u","data":{"requestId":"r","clientCount":-1}}"#,
                "clientCount",
            ),
        ] {
            let expected = match missing {
                "" => DecodeError::Malformed,
                missing => DecodeError::Member(missing),
            };
            assert_eq!(decode(text), Err(expected), "{text}");
            let sender = text.contains(r#""uid":"u""#).then(|| Uid::new("u"));
            assert_eq!(sender_of(text.as_bytes(), &LIMITS), sender, "{text}");
        }
        for kind in [0, 14, 255] {
            let text = format!(r#"{{"type":{kind},"uid":"u"}}"#);
            assert_eq!(decode(&text), Err(DecodeError::UnknownType(kind)));
        }
    }

    #[test]
    fn messages_are_bounded() {
        let join = |rooms: usize| {
            let rooms = vec!["\"r\""; rooms].join(",");
            format!(r#"{{"type":4,"data":{{"opts":{{}},"rooms":[{rooms}]}},"uid":"u"}}"#)
        };
        assert!(decode(&join(3)).is_ok());
        assert_eq!(decode(&join(4)), Err(DecodeError::TooLarge));
        let long = format!(r#"{{"type":1,"uid":"{}"}}"#, "u".repeat(4000));
        assert_eq!(decode(&long), Err(DecodeError::TooLarge));
        // {"type": 1, "uid": "u", "x": [three times bytes]}
        let bytes = b"\x83\xa4type\x01\xa3uid\xa1u\xa1x\x93\xc4\x00\xc4\x00\xc4\x00";
        assert_eq!(
            Message::decode(bytes, "/", &LIMITS),
            Err(DecodeError::TooLarge)
        );
        // An array of four billion values, of which none is there.
        let bytes = b"\x83\xa4type\x01\xa3uid\xa1u\xa1x\xdd\xff\xff\xff\xff";
        assert_eq!(
            Message::decode(bytes, "/", &LIMITS),
            Err(DecodeError::Malformed)
        );
    }

    #[test]
    fn values_may_be_as_deep_as_in_packets() {
        let emit = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"type":9,"data":{{"packet":["a",{open}{close}]}},"uid":"u","nsp":"/"}}"#)
        };
        let text = emit(MAX_DEPTH - 1);
        let message = Message::decode(text.as_bytes(), "/", &LIMITS).unwrap();
        assert_eq!(message.to_json(), text);
        let again = Message::decode(&message.to_msgpack(), "/", &LIMITS);
        assert_eq!(again, Ok(message));
        for depth in [MAX_DEPTH, 1900] {
            let deep = emit(depth);
            let message = Message::decode(deep.as_bytes(), "/", &LIMITS);
            assert_eq!(message, Err(DecodeError::Malformed));
            let bytes = to_msgpack(&deep, &[], Dialect::Msgpack);
            let message = Message::decode(&bytes, "/", &LIMITS);
            assert_eq!(message, Err(DecodeError::Malformed));
        }
    }

    #[test]
    fn half_surrogate_pairs_are_replaced() {
        let text = r#"{"type":9,"data":{"packet":["\ud800",{"\udc00":"\ud83d\ude00"}]},"uid":"u"}"#;
        let body = Message::decode(text.as_bytes(), "/", &LIMITS).unwrap().body;
        let Body::ServerSideEmit { event, .. } = body else {
            panic!("{body:?}");
        };
        assert_eq!(event.name, "\u{fffd}");
        assert_eq!(event.args.as_str(), r#"{"\ufffd":"\ud83d\ude00"}"#);
    }

    #[test]
    fn an_answer_of_undefined_is_nothing_or_null() {
        let text = r#"{"type":12,"data":{"requestId":"r"},"uid":"u","nsp":"/"}"#;
        let message = decode(text).unwrap();
        assert_eq!(message.to_json(), text);
        assert_eq!(message.to_json_or_notepack(), text.as_bytes());
        let null = Message::decode(&message.to_msgpack(), "/", &LIMITS).unwrap();
        let expected = r#"{"type":12,"data":{"requestId":"r","packet":null},"uid":"u","nsp":"/"}"#;
        assert_eq!(null.to_json(), expected);
    }
}
