//! Real sockets on the loopback: one file for each behaviour.

mod backpressure;
mod client;
mod client_connect;
mod client_delivery;
mod client_diagnose;
mod client_dial;
mod client_proxy;
mod client_wire;
mod cluster;
mod fake;
mod foreign_text;
mod hostile;
mod lifetime;
mod limits;
mod logs;
mod namespaces;
mod open_files;
mod options;
mod order;
mod polling;
mod recovery;
mod routing;
mod subprotocols;
mod support;
mod tls;
mod transports;
