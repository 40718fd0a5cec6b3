//! How this side ends a session, and what its client hears of it.

use socketio_proto::socket::DisconnectReason;

use super::handshake::Handshake;

/// How, when and why this side ends a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Close {
    pub(crate) when: When,
    /// What the sockets learn, at once. Without it they learn `forced close` when the session has
    /// ended.
    pub(crate) reason: Option<DisconnectReason>,
    pub(crate) description: Option<&'static str>,
}

/// When a session that this side closes ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum When {
    /// When what is queued has been written.
    Written,
    /// Now: what is queued is dropped.
    Now,
}

impl Close {
    /// `forced close`, when what is queued has been written.
    pub(crate) const FORCED: Close = Close {
        when: When::Written,
        reason: None,
        description: None,
    };

    /// When what is queued has been written; the sockets learn the reason at once.
    pub(crate) fn because_of(reason: DisconnectReason) -> Close {
        Close {
            reason: Some(reason),
            ..Close::FORCED
        }
    }

    /// Now, for a transport that is not worth writing to.
    pub(crate) fn broken(description: &'static str) -> Close {
        Close {
            when: When::Now,
            reason: Some(DisconnectReason::TransportError),
            description: Some(description),
        }
    }
}

/// How a WebSocket is ended when what was queued for it has been written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// By a close frame. The stream ends when the peer has sent its own.
    CloseFrame,
    /// By the end of the stream.
    Fin,
}

/// How a server that shuts down ends its WebSockets ([`ServerBuilder::farewell`](crate::ServerBuilder::farewell)).
///
/// The Java client (Android, Kotlin) does not heed close frames, neither this server's nor
/// Node's: it takes a connection for alive until the ping timeout, 45 s by default. The end of the
/// stream without a close frame it notices at once. For JavaScript clients both are a
/// `transport close`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Farewell {
    /// `EndOfStream` for clients that are known to need it (their `User-Agent` begins with `okhttp/`),
    /// `CloseFrame` for all others.
    #[default]
    ByMake,
    /// A close frame without a status, as Node's server sends it.
    CloseFrame,
    /// The end of the stream without a close frame, after all that was queued.
    EndOfStream,
}

impl Farewell {
    /// How the WebSocket of this client is ended.
    pub(crate) fn ending(self, handshake: &Handshake) -> Ending {
        match self {
            Farewell::ByMake => {
                let agent = handshake.header("user-agent").unwrap_or_default();
                match agent.starts_with("okhttp/") {
                    true => Ending::Fin,
                    false => Ending::CloseFrame,
                }
            }
            Farewell::CloseFrame => Ending::CloseFrame,
            Farewell::EndOfStream => Ending::Fin,
        }
    }
}
