//! What joins several Socket.IO servers, of Rust and of Node, into one.
//!
//! With the feature `redis` (off by default): [`redis::RedisBus`] and [`redis::ShardedBus`], which join
//! a server to all that use the official Redis adapter, classic or sharded, [`redis::StreamsBus`], which
//! does so for the Redis streams adapter and brings clients back to any server, and [`redis::Emitter`],
//! which emits to the clients of the classic one without being a server. With the feature `postgres`:
//! [`postgres::PostgresBus`] and [`postgres::Emitter`], which do the same with the official Postgres
//! adapter. With the feature `nats`: [`nats::NatsBus`], which joins servers of Rust.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod emitter;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;

#[cfg(any(feature = "postgres", feature = "redis"))]
pub use emitter::{Emit, EmitterError, Target};

#[cfg(all(doctest, feature = "nats", feature = "postgres", feature = "redis"))]
#[doc = include_str!("../../../docs/scaling.md")]
mod scaling {}
