//! Redis, as the official adapters for Node (`@socket.io/redis-adapter`,
//! `@socket.io/redis-streams-adapter`) use it.

mod classic;
mod emitter;
mod line;
mod master;
mod publisher;
mod sharded;
mod shards;
mod streams;
mod subscriber;

pub use classic::{RedisAddressError, RedisBus};
pub use emitter::Emitter;
pub use sharded::{ShardedBus, SubscriptionMode};
pub use streams::{StreamsBus, StreamsBusBuilder};
