//! Several servers as one.

mod bus;

pub use bus::{Bus, BusError, Channel, Inbox, PublishError};
