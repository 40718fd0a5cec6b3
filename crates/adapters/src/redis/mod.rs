//! Redis, as the official adapters for Node (`@socket.io/redis-adapter`) use it.

mod classic;
mod emitter;
mod line;
mod publisher;
mod sharded;
mod shards;
mod subscriber;

pub use classic::{RedisAddressError, RedisBus};
pub use emitter::Emitter;
pub use sharded::{ShardedBus, SubscriptionMode};
