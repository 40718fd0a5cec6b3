//! What joins several Socket.IO servers, of Rust and of Node, into one.
//!
//! With the feature `redis` (off by default): [`redis::Emitter`], which emits to the clients of all
//! servers that use the official Redis adapter, without being a server.

#[cfg(feature = "redis")]
pub mod redis;
