//! What servers of a cluster say to each other, as the adapters of the JavaScript server say it.
//!
//! One set of messages ([`Message`]) serves the sharded Redis, Redis streams and Postgres adapters;
//! the classic Redis adapter has its own ([`classic`]). [`Node`] knows who is there, and waits for
//! answers. Nothing here reads from or writes to Redis or Postgres.

#[cfg(test)]
mod captures;
pub mod classic;
mod decode;
mod encode;
mod message;
mod node;
pub mod postgres;
mod requests;
mod sharded;
pub mod streams;

pub use decode::{DecodeError, Limits, sender_of};
pub use message::{
    Body, BroadcastOptions, Event, Flags, Message, RemoteSocket, RequestId, Sockets, Uid, Values,
};
pub use node::{Node, NodeConfig, NodeEvent};
pub use requests::{
    Answer, Expected, Finished, Missing, Question, Requests, RequestsConfig, TooManyRequests,
};
pub use sharded::{ShardedChannels, SubscriptionMode};
