//! What joins several Socket.IO servers, of Rust and of Node, into one.
//!
//! With the feature `redis` (off by default): [`redis::RedisBus`], which joins a server to all that
//! use the official Redis adapter, [`redis::StreamsBus`], which does so for the Redis streams adapter
//! and brings clients back to any server, and [`redis::Emitter`], which emits to their clients without being a
//! server.

#[cfg(feature = "redis")]
pub mod redis;

#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../../../docs/scaling.md")]
mod scaling {}
