//! The words between a client's session and its caller: what it asks for and tells.
//!
//! They are without behaviour; who says them when is [`Client`](super::Client)'s matter.

use std::borrow::Cow;
use std::time::Duration;

use super::event::{CloseReason, Via};
use super::open::OpenData;
use super::packet::Transport;
use super::request::Revision;

/// What a client's sessions are set up to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientConfig {
    /// The revision of the protocol that is spoken.
    pub revision: Revision,
    /// Whether a session that begins with polling moves to WebSocket if the server offers it.
    pub upgrade: bool,
    /// The time a second transport has to complete an upgrade.
    pub upgrade_timeout: Duration,
}

/// What to write, open or close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientTransmit {
    /// Appends a packet to the queue of this transport. A packet for the probe is written although
    /// [`Client::can_write`](super::Client::can_write) does not allow messages.
    Packet {
        /// The transport.
        via: Via,
        /// The packet.
        packet: ClientPacket,
    },
    /// Opens a second transport with the session's id; then
    /// [`handle_probe_opened`](super::Client::handle_probe_opened) or
    /// [`handle_probe_closed`](super::Client::handle_probe_closed) is called.
    OpenProbe(Transport),
    /// Begins no further GET or POST, and calls [`handle_paused`](super::Client::handle_paused) when those
    /// that are pending have been answered.
    Pause,
    /// Closes this transport when what is queued on it has been written.
    CloseTransport {
        /// The transport.
        via: Via,
    },
}

/// A packet that the client sends by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClientPacket {
    /// `1`: the session is closed; over polling, where nothing else tells the server.
    Close,
    /// `2`: asks whether the server is there, in revision 3.
    Ping,
    /// `2probe`: asks whether the second transport works.
    PingProbe,
    /// `3`: answers a ping.
    Pong,
    /// `5`: the session moves to the second transport.
    Upgrade,
}

impl ClientPacket {
    /// Returns the packet's text form.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientPacket::Close => "1",
            ClientPacket::Ping => "2",
            ClientPacket::PingProbe => "2probe",
            ClientPacket::Pong => "3",
            ClientPacket::Upgrade => "5",
        }
    }
}

/// What has become of the session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientEvent {
    /// The server has opened the session.
    Open(OpenData),
    /// The server has asked whether the client is there, or, in revision 3, answered that question.
    Ping,
    /// The session has moved to this transport: what waits is written there.
    Upgraded(Transport),
    /// The second transport did not work; the session goes on with the first.
    UpgradeFailed(Cow<'static, str>),
    /// The session has ended: told once, and last.
    Closed {
        /// Why, in the reference's words.
        reason: CloseReason,
        /// What the session itself has found out, in the reference's words where it has some; empty
        /// after [`handle_transport_closed`](super::Client::handle_transport_closed), whose caller
        /// knows.
        message: &'static str,
        /// What exactly happened, if there is more to say.
        detail: Option<Cow<'static, str>>,
    },
}
