//! The classic Redis adapter: its channels, and its own messages.
//!
//! `createAdapter` of @socket.io/redis-adapter 8.3.0, and @socket.io/redis-emitter 5.1.0, which speaks
//! to no other adapter. An emitter leaves out the `uid` of requests, but for type 6. Specification:
//! those packages.

use std::borrow::Cow;

use super::decode::{
    DecodeError, Limits, PACKET_DEPTH, Text, read_event, read_options, read_packet, read_sockets,
    read_strings, value,
};
use super::encode::{Undefined, Writer, inline, to_msgpack};
use super::message::{BroadcastOptions, Event, RequestId, Sockets, Uid, Values};
use crate::socket::{Dialect, Reader};

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

/// A broadcast without answers: three values in an array, always MessagePack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broadcast {
    /// Who sends it.
    pub uid: Uid,
    /// The namespace.
    pub nsp: String,
    /// The event.
    pub event: Event,
    /// Whom it is for.
    pub opts: BroadcastOptions,
}

impl Broadcast {
    /// Writes the broadcast.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(Undefined::Absent);
        out.raw("[");
        out.string(self.uid.as_str());
        out.raw(",");
        out.packet(&self.event, Some(&self.nsp));
        out.raw(",");
        match self.uid.is_emitter() {
            true => out.emitter_options(&self.opts),
            false => out.options(&self.opts),
        }
        out.raw("]");
        let attachments = self.event.args.attachments();
        to_msgpack(&out.finish(), attachments, Dialect::Notepack)
    }

    /// Reads a broadcast. A packet without namespace is for `/`.
    ///
    /// # Errors
    ///
    /// When it is none, or is too large.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Broadcast, DecodeError> {
        const MALFORMED: DecodeError = DecodeError::Malformed;
        let text = Text::from_msgpack(bytes, limits)?;
        let mut reader = Reader::new(&text.json);
        let next = |reader: &mut Reader<'_>| match reader.next_item()? {
            true => Ok(()),
            false => Err(MALFORMED),
        };
        if !reader.enter_array()? {
            return Err(MALFORMED);
        }
        next(&mut reader)?;
        let uid = Uid::new(reader.text()?.ok_or(MALFORMED)?);
        next(&mut reader)?;
        let packet = reader.raw_within(PACKET_DEPTH)?;
        next(&mut reader)?;
        let opts = read_options(&mut reader, limits)?.ok_or(MALFORMED)?;
        reader.rest_of_array()?;
        reader.end()?;
        let (nsp, event) = read_packet(&packet, text.attachments)?;
        Ok(Broadcast {
            uid,
            nsp: nsp.unwrap_or_else(|| "/".to_owned()),
            event,
            opts,
        })
    }
}

/// A request to all servers.
///
/// Types 2 to 4 are done by the sender, too, when it receives them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Who sends it; emitters do not say.
    pub uid: Option<Uid>,
    /// What it asks for.
    pub body: RequestBody,
}

/// What a [`Request`] asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequestBody {
    /// Type 0: the ids of sockets. Servers before version 4 ask so.
    Sockets {
        /// What answers refer to.
        request_id: RequestId,
        /// The rooms they are in.
        rooms: Vec<String>,
    },
    /// Type 1: the names of all rooms, those of sockets' ids included.
    AllRooms {
        /// What answers refer to.
        request_id: RequestId,
    },
    /// Type 2: sockets join rooms.
    RemoteJoin {
        /// Which sockets.
        sockets: Which,
        /// The rooms.
        rooms: Vec<String>,
    },
    /// Type 3: sockets leave rooms.
    RemoteLeave {
        /// Which sockets.
        sockets: Which,
        /// The rooms.
        rooms: Vec<String>,
    },
    /// Type 4: sockets are disconnected.
    RemoteDisconnect {
        /// Which sockets.
        sockets: Which,
        /// Whether their connections are closed, too.
        close: bool,
    },
    /// Type 5: descriptions of sockets.
    RemoteFetch {
        /// What answers refer to.
        request_id: RequestId,
        /// Which sockets; flags are not sent.
        opts: BroadcastOptions,
    },
    /// Type 6: an event for servers. Bytes in it do not survive: they become what
    /// `JSON.stringify` makes of a Buffer.
    ServerSideEmit {
        /// Set when the servers are to answer.
        request_id: Option<RequestId>,
        /// The event.
        event: Event,
    },
    /// Type 7: an event for sockets, which are to answer.
    Broadcast {
        /// What answers refer to.
        request_id: RequestId,
        /// The namespace.
        nsp: String,
        /// The event.
        event: Event,
        /// Whom it is for.
        opts: BroadcastOptions,
    },
}

/// The sockets that a request is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Which {
    /// Those in rooms; nobody answers. Flags are not sent.
    Matching(BroadcastOptions),
    /// One, as servers before version 4 ask: the server that has it answers with
    /// [`Response::Done`].
    One {
        /// What the answer refers to.
        request_id: Option<RequestId>,
        /// The socket's id.
        sid: String,
    },
}

impl Request {
    /// Writes the request: type 7 as MessagePack, all others as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(Undefined::Absent);
        out.raw("{");
        if let Some(uid) = &self.uid {
            out.raw("\"uid\":");
            out.string(uid.as_str());
            out.raw(",");
        }
        let typed = |out: &mut Writer, request_id: Option<&RequestId>, number| {
            if let Some(id) = request_id {
                out.request_id(id);
                out.raw(",");
            }
            out.raw("\"type\":");
            out.number(number);
        };
        match &self.body {
            RequestBody::Sockets { request_id, rooms } => {
                typed(&mut out, Some(request_id), 0);
                out.raw(",\"rooms\":");
                out.strings(rooms);
            }
            RequestBody::AllRooms { request_id } => typed(&mut out, Some(request_id), 1),
            RequestBody::RemoteJoin { sockets, rooms } => {
                write_moved(&mut out, 2, sockets, rooms);
            }
            RequestBody::RemoteLeave { sockets, rooms } => {
                write_moved(&mut out, 3, sockets, rooms);
            }
            RequestBody::RemoteDisconnect { sockets, close } => {
                write_which(&mut out, 4, sockets);
                out.raw(",\"close\":");
                out.boolean(*close);
            }
            RequestBody::RemoteFetch { request_id, opts } => {
                typed(&mut out, Some(request_id), 5);
                out.raw(",\"opts\":");
                out.target(opts);
                out.raw("}");
            }
            RequestBody::ServerSideEmit { request_id, event } => {
                typed(&mut out, request_id.as_ref(), 6);
                out.raw(",\"data\":");
                out.event(event);
                out.raw("}");
                return inline(out.finish(), event.args.attachments()).into_bytes();
            }
            RequestBody::Broadcast {
                request_id,
                nsp,
                event,
                opts,
            } => {
                typed(&mut out, Some(request_id), 7);
                out.raw(",\"packet\":");
                out.packet(event, Some(nsp));
                out.raw(",\"opts\":");
                out.options(opts);
                out.raw("}");
                let attachments = event.args.attachments();
                return to_msgpack(&out.finish(), attachments, Dialect::Notepack);
            }
        }
        out.raw("}");
        out.finish().into_bytes()
    }

    /// Reads a request, in JSON or MessagePack.
    ///
    /// # Errors
    ///
    /// When it is none, or is too large.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Request, DecodeError> {
        const MALFORMED: DecodeError = DecodeError::Malformed;
        let text = Text::new(bytes, limits)?;
        let members = Members::read(&text.json, limits)?;
        let uid = members.uid.map(Uid::new);
        let request_id = members.request_id;
        let required_id = request_id.clone().ok_or(MALFORMED);
        let room = members.room.map(|room| vec![room]);
        let is_one = members.opts.is_none();
        let sockets = match (members.opts.clone(), members.sid) {
            (Some(opts), _) => Ok(Which::Matching(opts)),
            (None, Some(sid)) => Ok(Which::One {
                request_id: request_id.clone(),
                sid: sid.into_owned(),
            }),
            (None, None) => Err(MALFORMED),
        };
        let rooms = match is_one {
            true => room,
            false => members.rooms.clone(),
        };
        let rooms = rooms.ok_or(MALFORMED);
        let body = match members.kind.ok_or(MALFORMED)? {
            0 => RequestBody::Sockets {
                request_id: required_id?,
                rooms: members.rooms.unwrap_or_default(),
            },
            1 => RequestBody::AllRooms {
                request_id: required_id?,
            },
            2 => RequestBody::RemoteJoin {
                sockets: sockets?,
                rooms: rooms?,
            },
            3 => RequestBody::RemoteLeave {
                sockets: sockets?,
                rooms: rooms?,
            },
            4 => RequestBody::RemoteDisconnect {
                sockets: sockets?,
                close: members.close,
            },
            5 => RequestBody::RemoteFetch {
                request_id: required_id?,
                opts: members.opts.ok_or(MALFORMED)?,
            },
            6 => RequestBody::ServerSideEmit {
                request_id,
                event: read_event(&members.data.ok_or(MALFORMED)?, text.attachments)?,
            },
            7 => {
                let packet = members.packet.ok_or(MALFORMED)?;
                let (nsp, event) = read_packet(&packet, text.attachments)?;
                RequestBody::Broadcast {
                    request_id: required_id?,
                    nsp: nsp.unwrap_or_else(|| "/".to_owned()),
                    event,
                    opts: members.opts.ok_or(MALFORMED)?,
                }
            }
            _ => return Err(DecodeError::UnknownType),
        };
        Ok(Request { uid, body })
    }
}

fn write_which(out: &mut Writer, number: u64, sockets: &Which) {
    if let Which::One {
        request_id: Some(id),
        ..
    } = sockets
    {
        out.request_id(id);
        out.raw(",");
    }
    out.raw("\"type\":");
    out.number(number);
    match sockets {
        Which::Matching(opts) => {
            out.raw(",\"opts\":");
            out.target(opts);
            out.raw("}");
        }
        Which::One { sid, .. } => {
            out.raw(",\"sid\":");
            out.string(sid);
        }
    }
}

fn write_moved(out: &mut Writer, number: u64, sockets: &Which, rooms: &[String]) {
    write_which(out, number, sockets);
    match (sockets, rooms) {
        (Which::One { .. }, [room, ..]) => {
            out.raw(",\"room\":");
            out.string(room);
        }
        _ => {
            out.raw(",\"rooms\":");
            out.strings(rooms);
        }
    }
}

/// An answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Response {
    /// To type 0, the ids of sockets.
    SocketIds {
        /// The request.
        request_id: RequestId,
        /// The ids.
        ids: Vec<String>,
    },
    /// To type 1.
    Rooms {
        /// The request.
        request_id: RequestId,
        /// The names.
        rooms: Vec<String>,
    },
    /// To types 2 to 4 about one socket. Of any server it says that there is nothing more to say.
    Done {
        /// The request.
        request_id: RequestId,
    },
    /// To type 5. Bytes in it become what `JSON.stringify` makes of a Buffer.
    Sockets {
        /// The request.
        request_id: RequestId,
        /// The sockets.
        sockets: Sockets,
    },
    /// To type 6, always on the channel of all responses.
    ServerSideEmit {
        /// The request.
        request_id: RequestId,
        /// The one value; none if it is `undefined`.
        value: Option<Values>,
    },
    /// To type 7: how many sockets of the server are to answer.
    ClientCount {
        /// The request.
        request_id: RequestId,
        /// How many.
        client_count: u64,
    },
    /// To type 7: the answer of a socket.
    Ack {
        /// The request.
        request_id: RequestId,
        /// The one value; none if it is `undefined`.
        value: Option<Values>,
    },
}

impl Response {
    /// The request that this answers.
    pub fn request_id(&self) -> &RequestId {
        match self {
            Response::SocketIds { request_id, .. }
            | Response::Rooms { request_id, .. }
            | Response::Done { request_id }
            | Response::Sockets { request_id, .. }
            | Response::ServerSideEmit { request_id, .. }
            | Response::ClientCount { request_id, .. }
            | Response::Ack { request_id, .. } => request_id,
        }
    }

    /// Writes the answer: a socket's as MessagePack, all others as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(Undefined::Absent);
        out.raw("{");
        match self {
            Response::ServerSideEmit { .. } => out.raw("\"type\":6,"),
            Response::ClientCount { .. } => out.raw("\"type\":8,"),
            Response::Ack { .. } => out.raw("\"type\":9,"),
            Response::SocketIds { .. }
            | Response::Rooms { .. }
            | Response::Done { .. }
            | Response::Sockets { .. } => {}
        }
        out.request_id(self.request_id());
        let mut attachments: &[_] = &[];
        match self {
            Response::SocketIds { ids, .. } => {
                out.raw(",\"sockets\":");
                out.strings(ids);
            }
            Response::Rooms { rooms, .. } => {
                out.raw(",\"rooms\":");
                out.strings(rooms);
            }
            Response::Done { .. } => {}
            Response::Sockets { sockets, .. } => {
                out.raw(",\"sockets\":");
                out.sockets(sockets);
                attachments = &sockets.attachments;
            }
            Response::ServerSideEmit { value, .. } => {
                out.value(",\"data\":", value.as_ref());
                attachments = value.as_ref().map_or(&[], Values::attachments);
            }
            Response::ClientCount { client_count, .. } => {
                out.raw(",\"clientCount\":");
                out.number(*client_count);
            }
            Response::Ack { value, .. } => {
                out.value(",\"packet\":", value.as_ref());
                out.raw("}");
                attachments = value.as_ref().map_or(&[], Values::attachments);
                return to_msgpack(&out.finish(), attachments, Dialect::Notepack);
            }
        }
        out.raw("}");
        inline(out.finish(), attachments).into_bytes()
    }

    /// Reads an answer, in JSON or MessagePack. Those to most requests do not say what they are: it
    /// is told by what they have.
    ///
    /// # Errors
    ///
    /// When it is none, or is too large.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Response, DecodeError> {
        let text = Text::new(bytes, limits)?;
        let members = Members::read(&text.json, limits)?;
        let request_id = members.request_id.ok_or(DecodeError::Malformed)?;
        let attachments = text.attachments;
        let one = |text: Option<Cow<'_, str>>, attachments| {
            text.map(|text| value(&text, attachments)).transpose()
        };
        Ok(match (members.kind, members.sockets, members.rooms) {
            (Some(6), ..) => Response::ServerSideEmit {
                request_id,
                value: one(members.data, attachments)?,
            },
            (Some(8), ..) => Response::ClientCount {
                request_id,
                client_count: members.client_count.ok_or(DecodeError::Malformed)?,
            },
            (Some(9), ..) => Response::Ack {
                request_id,
                value: one(members.packet, attachments)?,
            },
            (_, Some(text), _) => {
                let mut reader = Reader::new(&text);
                let mut first = Reader::new(&text);
                let is_ids = first.enter_array()?
                    && first.next_item()?
                    && matches!(first.first(), Some(b'"'));
                match is_ids {
                    true => Response::SocketIds {
                        request_id,
                        ids: read_strings(&mut reader, limits)?.unwrap_or_default(),
                    },
                    false => match read_sockets(&mut reader, limits)? {
                        Some(sockets) => Response::Sockets {
                            request_id,
                            sockets: Sockets {
                                sockets,
                                attachments,
                            },
                        },
                        None => Response::Done { request_id },
                    },
                }
            }
            (_, None, Some(rooms)) => Response::Rooms { request_id, rooms },
            (_, None, None) => Response::Done { request_id },
        })
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
