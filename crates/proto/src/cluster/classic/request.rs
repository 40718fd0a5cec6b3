//! Requests of the classic Redis adapter.

use super::super::decode::{DecodeError, Limits, Text, read_event, read_packet};
use super::super::encode::{Undefined, Writer, inline, to_msgpack};
use super::super::message::{BroadcastOptions, Event, RequestId, Uid};
use super::Members;
use crate::socket::Dialect;

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
    /// [`Response::Done`](super::Response::Done).
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
        let member = DecodeError::Member;
        let text = Text::new(bytes, limits)?;
        let members = Members::read(&text.json, limits)?;
        let uid = members.uid.map(Uid::new);
        let request_id = members.request_id;
        let required_id = request_id.clone().ok_or(member("requestId"));
        let room = members.room.map(|room| vec![room]);
        let is_one = members.opts.is_none();
        let sockets = match (members.opts.clone(), members.sid) {
            (Some(opts), _) => Ok(Which::Matching(opts)),
            (None, Some(sid)) => Ok(Which::One {
                request_id: request_id.clone(),
                sid: sid.into_owned(),
            }),
            (None, None) => Err(member("opts")),
        };
        let rooms = match is_one {
            true => room,
            false => members.rooms.clone(),
        };
        let rooms = rooms.ok_or(member("rooms"));
        let body = match members.kind.ok_or(member("type"))? {
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
                opts: members.opts.ok_or(member("opts"))?,
            },
            6 => RequestBody::ServerSideEmit {
                request_id,
                event: read_event(&members.data.ok_or(member("data"))?, text.attachments)?,
            },
            7 => {
                let packet = members.packet.ok_or(member("packet"))?;
                let (nsp, event) = read_packet(&packet, text.attachments)?;
                RequestBody::Broadcast {
                    request_id: required_id?,
                    nsp: nsp.unwrap_or_else(|| "/".to_owned()),
                    event,
                    opts: members.opts.ok_or(member("opts"))?,
                }
            }
            kind => return Err(DecodeError::UnknownType(kind)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_old_servers_are_about_one_socket() {
        for text in [
            r#"{"requestId":"a","type":0,"rooms":["r"]}"#,
            r#"{"requestId":"a","type":2,"sid":"s","room":"r"}"#,
            r#"{"requestId":"a","type":3,"sid":"s","room":"r"}"#,
            r#"{"requestId":"a","type":4,"sid":"s","close":true}"#,
        ] {
            let request = Request::decode(text.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(String::from_utf8(request.encode()).unwrap(), text);
        }
    }

    #[test]
    fn every_request_is_read_from_messagepack_too() {
        let text = r#"{"uid":"a","requestId":"b","type":5,"opts":{"rooms":["r"],"except":[]}}"#;
        let bytes = to_msgpack(text, &[], Dialect::Notepack);
        let request = Request::decode(&bytes, &Limits::default()).unwrap();
        assert_eq!(String::from_utf8(request.encode()).unwrap(), text);
    }

    #[test]
    fn a_request_that_does_not_say_whom_it_means_is_refused() {
        let member = DecodeError::Member;
        for (text, error) in [
            (r#"{"type":2,"rooms":["r"]}"#, member("opts")),
            (r#"{"type":2,"opts":null,"rooms":["r"]}"#, member("opts")),
            (
                r#"{"type":2,"opts":{"rooms":1},"rooms":[]}"#,
                member("opts"),
            ),
            (
                r#"{"type":2,"opts":{"rooms":[{}]},"rooms":[]}"#,
                member("the name of a room"),
            ),
            (r#"{"type":3,"opts":{}}"#, member("rooms")),
            (r#"{"type":4,"close":true}"#, member("opts")),
            (r#"{"type":1}"#, member("requestId")),
            (r#"{"type":6}"#, member("data")),
            (r#"{"type":6,"data":[]}"#, member("the name of the event")),
            (
                r#"{"type":6,"data":["connect"]}"#,
                member("the name of the event"),
            ),
            (r#"{"type":7,"requestId":"r"}"#, member("packet")),
            (r#"{"type":10}"#, DecodeError::UnknownType(10)),
            (r#"{}"#, member("type")),
            ("[]", DecodeError::Malformed),
            ("", DecodeError::Malformed),
        ] {
            let request = Request::decode(text.as_bytes(), &Limits::default());
            assert_eq!(request, Err(error), "{text}");
        }
    }
}
