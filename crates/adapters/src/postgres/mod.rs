//! Postgres, as the official adapter for Node (`@socket.io/postgres-adapter`) uses it.

mod bus;
mod connection;
mod emitter;
mod publisher;
mod subscriber;
mod table;

pub use bus::PostgresBus;
pub use connection::PostgresAddressError;
pub use emitter::Emitter;
