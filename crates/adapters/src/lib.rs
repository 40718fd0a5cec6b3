//! What joins several Socket.IO servers, of Rust and of Node, into one.
//!
//! With the feature `redis` (off by default): [`redis::RedisBus`] and [`redis::ShardedBus`], which join
//! a server to all that use the official Redis adapter, classic or sharded, and [`redis::Emitter`],
//! which emits to the clients of the classic one without being a server.
//!
//! With the feature `nats` (off by default): [`nats::NatsBus`], which joins servers of Rust.

#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "redis")]
pub mod redis;

#[cfg(all(doctest, feature = "nats", feature = "redis"))]
#[doc = include_str!("../../../docs/scaling.md")]
mod scaling {}
