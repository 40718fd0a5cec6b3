//! Several servers as one.
//!
//! A [`Bus`] carries messages between servers; [`ServerBuilder::cluster`](crate::ServerBuilder::cluster)
//! takes one. From then on broadcasts, [`fetch_sockets`](crate::Namespace::fetch_sockets), joins,
//! leaves and disconnections reach the sockets of all servers, and
//! [`server_side_emit`](crate::Namespace::server_side_emit) the servers. The crate `socketio-adapters` has
//! the bus that Node's servers use; [`MemoryBus`] joins servers of one process.

mod adapter;
mod bus;
mod memory;
mod plugins;
mod rejected;
mod store;
mod wire;

pub(crate) use adapter::{ClusterAdapter, packet};
pub use bus::{Bus, BusError, Channel, Inbox, PublishError, together};
pub use memory::MemoryBus;
pub use rejected::Rejected;
pub(crate) use store::Lifetimes;
pub use store::{Change, KeptClient, NotTaken, Published, Store, Taken, taken_room};
pub(crate) use wire::target;
