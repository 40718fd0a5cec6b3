//! Redis, as the official adapters for Node (`@socket.io/redis-adapter`,
//! `@socket.io/redis-streams-adapter`) use it.

mod classic;
mod emitter;
mod publisher;
mod streams;
mod subscriber;

pub use classic::{RedisAddressError, RedisBus};
pub use emitter::{Emitter, EmitterError, Target};
pub use streams::{StreamsBus, StreamsBusBuilder};
