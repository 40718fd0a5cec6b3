//! Engine.IO, revisions 4 and 3: packets, payloads, requests, and both ends of a session.
//!
//! An Engine.IO session carries messages over one transport at a time and moves from HTTP
//! long-polling to WebSocket when it can. This module decides; reading and writing are the caller's.
//! Messages that go out never pass through it: the caller frames and queues them itself.
//!
//! It knows nothing of Socket.IO, and nothing of WebSocket frames.
//!
//! Spec: Engine.IO v4.

mod client;
mod client_event;
mod client_polls;
mod config;
mod event;
pub mod jsonp;
mod open;
mod packet;
mod payload;
mod query;
mod request;
mod request_error;
mod session;
pub mod v3;

pub use client::Client;
pub use client_event::{ClientConfig, ClientEvent, ClientPacket, ClientTransmit};
pub use config::Config;
pub use event::{
    Close, CloseReason, ControlPacket, Event, GetStart, PostStart, Queue, ReadyState, Transmit, Via,
};
pub use open::{OpenData, OpenError, OpenPacket};
pub use packet::{Message, Packet, PacketError, Transport};
pub use payload::{Payload, PayloadEncoder, decode_payload};
pub use query::Query;
pub use request::{Request, RequestMeta, Revision, SessionView, Verified, verify, verify_protocol};
pub use request_error::RequestError;
pub use session::Session;
