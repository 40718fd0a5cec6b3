//! Socket.IO for Rust.

mod args;
mod error;
mod event;
mod id;
mod server;

pub use args::{Args, DecodeError, EncodeError, Value};
pub use error::{AckError, BroadcastAckError, ConnectError, EmitError};
pub use event::Event;
pub use id::{SessionId, SocketId};
pub use server::*;
pub use socketio_proto::engine::Transport;
pub use socketio_proto::socket::DisconnectReason;

/// What a custom parser is made of.
pub mod parser {
    pub use socketio_proto::socket::{
        EncodedMessage, Packet, PacketDecoder, PacketKind, ParseError, Parser,
    };
}
