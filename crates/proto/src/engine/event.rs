//! The words between a session and its caller: what it asks for, tells and answers.
//!
//! They are without behaviour; who says them when is [`Session`](super::Session)'s matter.

use std::borrow::Cow;
use std::fmt;

use super::packet::Transport;

/// The transport on which something happens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Via {
    /// The session's transport.
    Main,
    /// The transport that is being probed.
    Probe,
}

/// What to write, or whom to close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transmit {
    /// Drops all that is queued.
    DiscardQueue,
    /// Appends a packet to the queue of this transport.
    Packet {
        /// The transport.
        via: Via,
        /// The packet.
        packet: ControlPacket,
    },
    /// Closes this transport when what is queued on it has been written.
    ///
    /// A WebSocket gets a close frame without a status, or, if its client is known not to heed one, the
    /// end of the stream; for polling there is nothing to do beyond answering the pending GET. A probed transport is closed without touching the session, and
    /// [`Session::handle_probe_closed`](super::Session::handle_probe_closed) is called when that is done.
    CloseTransport {
        /// The transport.
        via: Via,
    },
}

/// A packet that the session sends by itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ControlPacket {
    /// `1`: the session is closed. It may stand behind a noop, never behind messages: if any are
    /// queued, it is left out.
    Close,
    /// `6`: nothing; it ends a poll.
    Noop,
    /// `2`: asks whether the client is there.
    Ping,
    /// `3`: answers a ping, in revision 3.
    Pong,
    /// `3probe`: answers a probe.
    PongProbe,
}

impl ControlPacket {
    /// Returns the packet's text form.
    pub fn as_str(self) -> &'static str {
        match self {
            ControlPacket::Close => "1",
            ControlPacket::Noop => "6",
            ControlPacket::Ping => "2",
            ControlPacket::Pong => "3",
            ControlPacket::PongProbe => "3probe",
        }
    }
}

/// What has become of the session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A second transport has been probed.
    Upgrading(Transport),
    /// The session has moved to this transport.
    ///
    /// What is queued goes out there. A GET that is still pending is answered with a noop.
    Upgraded(Transport),
    /// The session has ended: told once, and last.
    Closed {
        /// Why, in the reference's words.
        reason: CloseReason,
        /// What exactly happened, if there is more to say.
        detail: Option<Cow<'static, str>>,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CloseReason {
    /// This side closed it.
    ForcedClose,
    /// The client sent what is no packet.
    ParseError,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// The transport was closed by the client.
    TransportClose,
    /// The transport broke, or the client broke its rules.
    TransportError,
}

impl CloseReason {
    /// Returns the reference's text.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::ForcedClose => "forced close",
            CloseReason::ParseError => "parse error",
            CloseReason::PingTimeout => "ping timeout",
            CloseReason::TransportClose => "transport close",
            CloseReason::TransportError => "transport error",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How this side closes a session.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Close {
    /// What is queued goes out first: so much it is.
    After(Queue),
    /// What is queued is dropped, and the session ends at once.
    Discard,
}

/// Whether messages wait to be written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Queue {
    /// Nothing waits.
    Empty,
    /// Something does.
    Filled,
}

/// What to do with a GET.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum GetStart {
    /// It is answered with what is queued, as soon as there is something, or when the session ends.
    Accepted,
    /// Another one is pending: 400 with an empty body. The session has ended.
    Overlap,
}

/// What to do with a POST.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum PostStart {
    /// Its packets are handled, then `handle_post_done` is called.
    Accepted,
    /// Another one is pending: 400 with an empty body. The session has ended.
    Overlap,
}

/// How alive a session is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReadyState {
    /// Messages flow.
    Open,
    /// This side has closed it, and the client does not know yet.
    Closing,
    /// It has ended.
    Closed,
}
