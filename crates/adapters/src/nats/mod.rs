//! NATS as a bus. There is no official adapter for it: the messages are those of the official
//! adapters, the subjects are our own.

mod bus;
mod subjects;

pub use bus::{NatsAddressError, NatsBus};
