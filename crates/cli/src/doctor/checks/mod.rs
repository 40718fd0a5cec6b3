//! The checks, in the order in which they are made.

mod cors;
mod handshake;
mod namespace;
mod polling;
mod reach;
mod sticky;
mod transports;
mod versions;
mod websocket;

#[cfg(test)]
mod sticky_tests;
#[cfg(test)]
mod tests;

use super::check::Check;

pub(super) const ALL: [&dyn Check; 20] = [
    &reach::Address,
    &reach::Names,
    &reach::Tcp,
    &reach::Encryption,
    &handshake::Redirects,
    &handshake::Handshake,
    &handshake::Path,
    &versions::Versions,
    &websocket::Direct,
    &transports::Transports,
    &sticky::Stickiness,
    &websocket::Upgrade,
    &polling::LongPoll,
    &namespace::Join,
    &namespace::Heartbeat,
    &cors::Simple,
    &cors::Preflight,
    &cors::Credentials,
    &cors::Errors,
    &cors::AnyOrigin,
];
