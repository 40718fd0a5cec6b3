//! Socket.IO for Rust: a server that the official clients cannot tell from the reference, and a client
//! for any server.
//!
//! ```no_run
//! use socketio::{Server, Socket};
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let io = Server::new();
//! io.on("message", async |socket: Socket, (room, text): (String, String)| {
//!     socket.to(room).emit("message", text);
//!     "stored" // a returned value answers the client's ack
//! });
//! io.serve("127.0.0.1:3000").await
//! # }
//! ```
//!
//! Begin with [`Server`], or with [`Client`] and [`client`]; [`Handlers`] has what can be registered, [`Socket`] and [`Broadcast`] have
//! what can be sent, [`ServerBuilder`] has the options. Those who come from JavaScript find every name
//! they know in the search.
//!
//! | feature | what it adds |
//! |---|---|
//! | `doctor` | `client::Socket::diagnose`, which says why a client does not connect |

mod application;
mod args;
pub mod client;
mod duration;
mod encode;
mod error;
mod event;
mod handler;
mod id;
mod plugins;
mod read_buffer;
mod server;
mod timeout;
mod wakers;

pub use args::{Args, DecodeError, EncodeError, Value};
pub use client::Client;
pub use duration::DurationError;
pub use error::{AckError, BroadcastAckError, ConnectError, EmitError};
pub use event::Event;
pub use handler::{Ack, Endpoint, Handler};
pub use id::{SessionId, SocketId};
pub use server::*;
pub use socketio_proto::engine::Transport;
pub use socketio_proto::socket::DisconnectReason;

/// The doctor: [`diagnose`](client::Socket::diagnose) runs it with the settings of a client. Needs the feature
/// `doctor`.
#[cfg(feature = "doctor")]
pub use socketio_doctor as doctor;

/// What a custom parser is made of.
pub mod parser {
    pub use socketio_proto::socket::{
        EncodedMessage, JsonParser, MsgpackParser, Packet, PacketDecoder, PacketKind, ParseError,
        Parser,
    };
}

/// The examples of the README are compiled with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// So are those of the guides.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/operations.md")]
struct Operations;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/client.md")]
struct ClientGuide;
