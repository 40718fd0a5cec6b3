//! Redis, as the official adapter for Node (`@socket.io/redis-adapter`) uses it.

mod emitter;

pub use emitter::{Emitter, EmitterError, Target};
