//! The messages that servers of a cluster send each other, types 1 to 13 of socket.io-adapter.
//!
//! Values are kept in their canonical form: JSON text, in which placeholders stand for attachments.
//! How messages are written is told by the modules of the transports. Specification:
//! socket.io-adapter 2.5.8, `ClusterAdapter`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::socket::{Reader, validate};

/// A message between servers, or from an emitter to all of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Who sends it.
    pub uid: Uid,
    /// The namespace.
    pub nsp: String,
    /// What it says.
    pub body: Body,
}

/// What a [`Message`] says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// Type 1: a node has come, and asks who is there.
    InitialHeartbeat,
    /// Type 2: a node is alive.
    Heartbeat,
    /// Type 3: an event for sockets.
    Broadcast {
        /// The event.
        event: Event,
        /// Whom it is for.
        opts: BroadcastOptions,
        /// Set when the sockets are to answer.
        request_id: Option<RequestId>,
    },
    /// Type 4: sockets join rooms.
    SocketsJoin {
        /// Which sockets.
        opts: BroadcastOptions,
        /// The rooms.
        rooms: Vec<String>,
    },
    /// Type 5: sockets leave rooms.
    SocketsLeave {
        /// Which sockets.
        opts: BroadcastOptions,
        /// The rooms.
        rooms: Vec<String>,
    },
    /// Type 6: sockets are disconnected.
    DisconnectSockets {
        /// Which sockets.
        opts: BroadcastOptions,
        /// Whether their connections are closed, too.
        close: bool,
    },
    /// Type 7: a node asks for sockets.
    FetchSockets {
        /// Which sockets.
        opts: BroadcastOptions,
        /// What the answers refer to.
        request_id: RequestId,
    },
    /// Type 8: the answer to type 7.
    FetchSocketsResponse {
        /// The request.
        request_id: RequestId,
        /// The sockets that the node has.
        sockets: Sockets,
    },
    /// Type 9: an event for servers.
    ServerSideEmit {
        /// The event.
        event: Event,
        /// Set when the servers are to answer.
        request_id: Option<RequestId>,
    },
    /// Type 10: the answer to type 9.
    ServerSideEmitResponse {
        /// The request.
        request_id: RequestId,
        /// The one value; none if it is `undefined`.
        value: Option<Values>,
    },
    /// Type 11: how many sockets of a node are to answer a broadcast.
    BroadcastClientCount {
        /// The request.
        request_id: RequestId,
        /// How many.
        client_count: u64,
    },
    /// Type 12: the answer of a socket to a broadcast.
    BroadcastAck {
        /// The request.
        request_id: RequestId,
        /// The one value; none if it is `undefined`.
        value: Option<Values>,
    },
    /// Type 13: a node takes its leave.
    AdapterClose,
}

impl Body {
    /// The number of the type.
    pub fn message_type(&self) -> u8 {
        match self {
            Body::InitialHeartbeat => 1,
            Body::Heartbeat => 2,
            Body::Broadcast { .. } => 3,
            Body::SocketsJoin { .. } => 4,
            Body::SocketsLeave { .. } => 5,
            Body::DisconnectSockets { .. } => 6,
            Body::FetchSockets { .. } => 7,
            Body::FetchSocketsResponse { .. } => 8,
            Body::ServerSideEmit { .. } => 9,
            Body::ServerSideEmitResponse { .. } => 10,
            Body::BroadcastClientCount { .. } => 11,
            Body::BroadcastAck { .. } => 12,
            Body::AdapterClose => 13,
        }
    }

    /// Says whether this answers a request, and is for the node that asked.
    pub fn is_response(&self) -> bool {
        matches!(
            self,
            Body::FetchSocketsResponse { .. }
                | Body::ServerSideEmitResponse { .. }
                | Body::BroadcastClientCount { .. }
                | Body::BroadcastAck { .. }
        )
    }

    /// The request that this makes or answers.
    pub fn request_id(&self) -> Option<&RequestId> {
        match self {
            Body::Broadcast { request_id, .. } | Body::ServerSideEmit { request_id, .. } => {
                request_id.as_ref()
            }
            Body::FetchSockets { request_id, .. }
            | Body::FetchSocketsResponse { request_id, .. }
            | Body::ServerSideEmitResponse { request_id, .. }
            | Body::BroadcastClientCount { request_id, .. }
            | Body::BroadcastAck { request_id, .. } => Some(request_id),
            Body::InitialHeartbeat
            | Body::Heartbeat
            | Body::SocketsJoin { .. }
            | Body::SocketsLeave { .. }
            | Body::DisconnectSockets { .. }
            | Body::AdapterClose => None,
        }
    }

    /// The bytes in it, in the order of their numbers.
    pub(super) fn attachments(&self) -> &[Bytes] {
        match self {
            Body::Broadcast { event, .. } | Body::ServerSideEmit { event, .. } => {
                event.args.attachments()
            }
            Body::FetchSocketsResponse { sockets, .. } => &sockets.attachments,
            Body::ServerSideEmitResponse { value, .. } | Body::BroadcastAck { value, .. } => {
                value.as_ref().map_or(&[], Values::attachments)
            }
            Body::InitialHeartbeat
            | Body::Heartbeat
            | Body::SocketsJoin { .. }
            | Body::SocketsLeave { .. }
            | Body::DisconnectSockets { .. }
            | Body::FetchSockets { .. }
            | Body::BroadcastClientCount { .. }
            | Body::AdapterClose => &[],
        }
    }
}

/// The id of an adapter: one of a server for one namespace.
///
/// Cluster messages have 16 hexadecimal digits, the classic Redis adapter 6 characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uid(Box<str>);

impl Uid {
    /// What every emitter calls itself.
    pub const EMITTER: &str = "emitter";

    /// Takes an id.
    pub fn new(id: impl Into<Box<str>>) -> Uid {
        Uid(id.into())
    }

    /// The id as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether this is no server, but something that only writes.
    pub fn is_emitter(&self) -> bool {
        *self.0 == *Uid::EMITTER
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What answers refer to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// Takes an id.
    pub fn new(id: impl Into<Box<str>>) -> RequestId {
        RequestId(id.into())
    }

    /// The id as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which sockets an operation is for, and how.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BroadcastOptions {
    /// The rooms, or none for the whole namespace.
    pub rooms: Vec<String>,
    /// The rooms whose sockets are left out.
    pub except: Vec<String>,
    /// How it is done.
    pub flags: Flags,
}

/// How an event is broadcast. What a server keeps to itself, such as `local`, is not here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// One socket is to answer, and its answer is not part of a list.
    pub expect_single_response: bool,
    /// The event may be lost.
    pub volatile: bool,
    /// Whether the event is compressed, if that was said.
    pub compress: Option<bool>,
    /// How long answers are awaited, in milliseconds on the wire.
    pub timeout: Option<Duration>,
}

/// An event: its name and its arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The name.
    pub name: String,
    /// The arguments.
    pub args: Values,
}

/// JSON values, separated by commas, and the bytes that placeholders in them stand for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Values {
    /// UTF-8.
    text: Bytes,
    attachments: Vec<Bytes>,
}

impl Values {
    /// Takes values; `None` if they are not valid, or nested as deep as
    /// [`MAX_DEPTH`](crate::socket::MAX_DEPTH).
    pub fn new(text: impl Into<Bytes>, attachments: Vec<Bytes>) -> Option<Values> {
        let text = text.into();
        let str = simdutf8::basic::from_utf8(&text).ok()?;
        Reader::new(str).list().ok()?;
        Some(Values { text, attachments })
    }

    /// Takes values that were read as such.
    pub(super) fn from_valid(text: String, attachments: Vec<Bytes>) -> Values {
        Values {
            text: text.into(),
            attachments,
        }
    }

    /// The values as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("checked when it was made")
    }

    /// The values as bytes of UTF-8, which can be kept without being copied.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The attachments.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Gives up the text and the attachments.
    pub fn into_parts(self) -> (Bytes, Vec<Bytes>) {
        (self.text, self.attachments)
    }
}

/// Sockets of a node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sockets {
    /// The sockets.
    pub sockets: Vec<RemoteSocket>,
    /// The bytes that placeholders in all of them stand for.
    pub attachments: Vec<Bytes>,
}

/// A socket of another node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteSocket {
    /// Its id.
    pub id: String,
    /// The rooms it is in.
    pub rooms: Vec<String>,
    handshake: String,
    data: String,
}

impl RemoteSocket {
    /// Describes a socket; `None` if its handshake or its data is no JSON value.
    pub fn new(
        id: String,
        handshake: String,
        rooms: Vec<String>,
        data: String,
    ) -> Option<RemoteSocket> {
        validate(&handshake).and_then(|()| validate(&data)).ok()?;
        Some(RemoteSocket::from_valid(id, handshake, rooms, data))
    }

    pub(super) fn from_valid(
        id: String,
        handshake: String,
        rooms: Vec<String>,
        data: String,
    ) -> RemoteSocket {
        RemoteSocket {
            id,
            rooms,
            handshake,
            data,
        }
    }

    /// The handshake, a JSON value.
    pub fn handshake(&self) -> &str {
        &self.handshake
    }

    /// The data kept with it, a JSON value.
    pub fn data(&self) -> &str {
        &self.data
    }
}
