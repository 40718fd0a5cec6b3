//! The checks, in the order in which they are made.

mod backend;
mod channel;
mod client;
mod cookies;
mod cors;
mod emit;
mod handshake;
mod heartbeat;
mod limits;
mod namespace;
mod payload;
mod polling;
mod reach;
mod recovery;
mod soak;
mod sticky;
mod transports;
mod versions;
mod websocket;

#[cfg(test)]
mod sticky_tests;
#[cfg(test)]
mod tests;

use super::check::Check;

pub(super) const ALL: [&dyn Check; 28] = [
    &reach::Address,
    &reach::Names,
    &reach::Tcp,
    &reach::Encryption,
    &handshake::Redirects,
    &handshake::Handshake,
    &handshake::Path,
    &versions::Versions,
    &client::Fit,
    &websocket::Direct,
    &transports::Transports,
    &sticky::Stickiness,
    &websocket::Upgrade,
    &polling::LongPoll,
    &namespace::Join,
    &heartbeat::Heartbeat,
    &recovery::Recovery,
    &cors::Simple,
    &cors::Preflight,
    &cors::Credentials,
    &cors::Errors,
    &cors::AnyOrigin,
    &cookies::CrossSite,
    &emit::Ack,
    &payload::Payload,
    &soak::Soak,
    &limits::Limits,
    &backend::Behind,
];
