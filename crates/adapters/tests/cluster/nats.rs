//! The suite over NATS.
