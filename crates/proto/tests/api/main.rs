//! Tests of the protocol machines, through their public API and with a clock of their own.

mod base64;
mod engine_client;
mod engine_close;
mod engine_heartbeat;
mod engine_polling;
mod engine_random;
mod engine_sessions;
mod engine_upgrade;
mod engine_v3;
mod pair;
mod socket_connection;
mod socket_packets;
