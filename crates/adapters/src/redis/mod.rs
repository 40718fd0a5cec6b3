//! Redis, as the official adapter for Node (`@socket.io/redis-adapter`) uses it.

mod classic;
mod emitter;
mod publisher;
mod subscriber;

pub use classic::{RedisAddressError, RedisBus};
pub use emitter::{Emitter, EmitterError, Target};
