//! Socket.IO 5: packets, their forms on the wire, and a connection's namespaces.
//!
//! This part sees messages, not transports: what an Engine.IO message carries comes in as text or
//! bytes. Specification: Socket.IO protocol, revision 5.

mod backoff;
mod client;
mod connection;
mod decoder;
mod encode;
mod incoming;
mod json;
mod kept;
mod manager;
mod msgpack;
mod packet;
mod parser;
mod placeholder;
mod reader;
mod reason;

pub use backoff::Backoff;
pub use client::{
    ClientSocket, ClientSocketConfig, GivenUp, Lost, OldServer, StoredEvent, TooMuch,
};
pub use connection::{Connection, ConnectionConfig, EventRef, Incoming, Invalid};
pub use decoder::Decoder;
pub use encode::{
    encode_ack, encode_connect, encode_connect_error, encode_disconnect, encode_event,
    write_json_string,
};
pub use incoming::ServerPacket;
pub use json::{MAX_DEPTH, MalformedJson, SplitArgs, readable, split_args, validate};
pub use manager::{Manager, ManagerAction, ManagerEvent, ReconnectConfig};
pub use msgpack::MsgpackParser;
pub(crate) use msgpack::{Binary, Dialect, json_to_msgpack, msgpack_to_json};
pub use packet::{Packet, PacketKind, ParseError, is_reserved};
pub use parser::{EncodedMessage, JsonParser, PacketDecoder, Parser};
pub(crate) use reader::Reader;
pub use reason::DisconnectReason;
