//! How a client connects, fails to, and connects again.
