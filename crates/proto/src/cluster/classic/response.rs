//! Responses of the classic Redis adapter.

use std::borrow::Cow;

use super::super::decode::{DecodeError, Limits, Text, read_sockets, read_strings, value};
use super::super::encode::{Undefined, Writer, inline, to_msgpack};
use super::super::message::{RequestId, Sockets, Values};
use super::Members;
use crate::socket::{Dialect, Reader};

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
        let request_id = members.request_id.ok_or(DecodeError::Member("requestId"))?;
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
                client_count: members
                    .client_count
                    .ok_or(DecodeError::Member("clientCount"))?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_told_apart_by_what_they_have() {
        for text in [
            r#"{"requestId":"a"}"#,
            r#"{"requestId":"a","sockets":["s","t"]}"#,
            r#"{"requestId":"a","sockets":[]}"#,
            r#"{"requestId":"a","sockets":[{"id":"s","handshake":{},"rooms":["s"],"data":[1]}]}"#,
            r#"{"requestId":"a","rooms":["r"]}"#,
            r#"{"type":6,"requestId":"a"}"#,
            r#"{"type":6,"requestId":"a","data":[{}]}"#,
            r#"{"type":8,"requestId":"a","clientCount":0}"#,
        ] {
            let response = Response::decode(text.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(String::from_utf8(response.encode()).unwrap(), text);
        }
        for text in [
            r#"{"requestId":"a","sockets":1}"#,
            r#"{"requestId":"a","rooms":null}"#,
        ] {
            let response = Response::decode(text.as_bytes(), &Limits::default()).unwrap();
            let request_id = RequestId::new("a");
            assert_eq!(response, Response::Done { request_id });
        }
    }

    #[test]
    fn an_answer_of_undefined_has_no_value() {
        let response = Response::Ack {
            request_id: RequestId::new("Dlz75e"),
            value: None,
        };
        let hex: String = response
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, "82a47479706509a9726571756573744964a6446c7a373565");
        let again = Response::decode(&response.encode(), &Limits::default());
        assert_eq!(again, Ok(response));
    }
}
