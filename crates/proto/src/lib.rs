//! The Engine.IO and Socket.IO protocols as state machines, without any IO.
//!
//! Bytes and the time come in; bytes, deadlines and events go out. There are no sockets, no clocks,
//! no tasks and no randomness in this crate, so that every protocol decision can be tested without
//! them.

mod base64;
pub mod cluster;
pub mod engine;
mod hint;
mod printable;
pub mod socket;
pub mod websocket;

pub use hint::Hint;
pub use printable::{Printable, is_unprintable, printable_json};
