//! The client's side of one session: opening, heartbeat, upgrade, close.
//!
//! As with the server's [`Session`](super::Session), what comes in and the time pass through here;
//! messages that go out do not. Reconnecting is not its affair: a session that has ended stays ended.
//!
//! Spec: Engine.IO v4, "Handshake", "Heartbeat", "Upgrade"; Engine.IO v3 for the heartbeat of old
//! servers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::event::{CloseReason, ReadyState, Via};
use super::open::OpenData;
use super::packet::{Message, Packet, Transport};
use super::request::Revision;

/// The client's side of one Engine.IO session.
///
/// After every `handle_*` and after [`close`](Client::close): drain
/// [`poll_transmit`](Client::poll_transmit), then [`poll_event`](Client::poll_event), and call
/// [`handle_timeout`](Client::handle_timeout) at [`poll_timeout`](Client::poll_timeout). Being called
/// early or twice does no harm.
///
/// Messages may be written while [`can_write`](Client::can_write) says so; others wait.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    transport: Transport,
    phase: Phase,
    probe: Probe,
    heartbeat: Heartbeat,
    transmits: VecDeque<ClientTransmit>,
    events: VecDeque<ClientEvent>,
}

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
    /// [`Client::can_write`] does not allow messages.
    Packet {
        /// The transport.
        via: Via,
        /// The packet.
        packet: ClientPacket,
    },
    /// Opens a second transport with the session's id; then
    /// [`handle_probe_opened`](Client::handle_probe_opened) or
    /// [`handle_probe_closed`](Client::handle_probe_closed) is called.
    OpenProbe(Transport),
    /// Begins no further GET or POST, and calls [`handle_paused`](Client::handle_paused) when those
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
        /// What exactly happened, if there is more to say.
        detail: Option<Cow<'static, str>>,
    },
}

const PONG: ClientTransmit = ClientTransmit::Packet {
    via: Via::Main,
    packet: ClientPacket::Pong,
};

/// How far the session's life has come.
///
/// ```text
///            open packet              close()                     written
///   Opening ────────────► Open ────────────────────────► Closing ────────► Closed
///      │                   │ └─ close() while probed ─► Finishing ─┘ ▲        ▲
///      └───────────────────┴──────── anything that goes wrong ───────┼────────┘
///                                               upgraded or failed ──┘
/// ```
#[derive(Debug, PartialEq)]
enum Phase {
    Opening,
    Open {
        interval: Duration,
        timeout: Duration,
    },
    /// Closed by this side while it moves to the second transport.
    Finishing,
    /// Closed by this side; what is queued is being written.
    Closing,
    Closed,
}

/// The second transport, which may become the session's.
///
/// ```text
///               opened: 2probe          3probe: pause            paused: 5
///   Connecting ────────────────► Asking ─────────────► Pausing ────────────► None, upgraded
///       └────────── closed, anything else, upgrade_timeout ────► None, failed
/// ```
#[derive(Debug, PartialEq)]
enum Probe {
    None,
    Connecting { deadline: Option<Instant> },
    Asking { deadline: Option<Instant> },
    Pausing,
}

#[derive(Debug)]
struct Heartbeat {
    /// When the server was heard last.
    heard: Instant,
    /// When a ping was sent that has not been answered, in revision 3.
    asked: Option<Instant>,
}

impl Client {
    /// Begins a session whose first transport is being opened.
    pub fn new(config: ClientConfig, transport: Transport, now: Instant) -> Client {
        Client {
            config,
            transport,
            phase: Phase::Opening,
            probe: Probe::None,
            heartbeat: Heartbeat {
                heard: now,
                asked: None,
            },
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Returns the transport that carries the messages.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns the revision of the protocol.
    pub fn revision(&self) -> Revision {
        self.config.revision
    }

    /// Returns how alive the session is; one that is being opened counts as open.
    pub fn ready_state(&self) -> ReadyState {
        match self.phase {
            Phase::Opening | Phase::Open { .. } => ReadyState::Open,
            Phase::Finishing | Phase::Closing => ReadyState::Closing,
            Phase::Closed => ReadyState::Closed,
        }
    }

    /// Says whether messages may be written to the transport now.
    pub fn can_write(&self) -> bool {
        matches!(self.phase, Phase::Open { .. } | Phase::Closing) && self.probe != Probe::Pausing
    }

    // --- What comes in ---

    /// Handles a packet; gives the message that it carries.
    #[must_use = "a message is for the application"]
    pub fn handle_packet<'a>(
        &mut self,
        via: Via,
        packet: Packet<'a>,
        now: Instant,
    ) -> Option<Message<'a>> {
        if via == Via::Probe {
            self.handle_probe_packet(&packet);
            return None;
        }
        match self.phase {
            Phase::Opening => {
                match packet {
                    Packet::Open(json) => self.handle_open(json, now),
                    // As in the reference, what says nothing may come first.
                    Packet::Noop | Packet::Ping(_) | Packet::Pong(_) | Packet::Upgrade => {}
                    Packet::Close | Packet::Message(_) => self.fail("server error"),
                }
                return None;
            }
            Phase::Open { .. } => {}
            // The answers to what was sent before the end are of no use to anybody.
            Phase::Finishing | Phase::Closing | Phase::Closed => return None,
        }
        self.handle_activity(now);
        match packet {
            Packet::Message(message) => return Some(message),
            // Many that come together have one answer.
            Packet::Ping(_) if self.transmits.back() == Some(&PONG) => {}
            Packet::Ping(_) => {
                self.transmits.push_back(PONG);
                self.events.push_back(ClientEvent::Ping);
            }
            Packet::Pong(_) => {
                if self.heartbeat.asked.take().is_some() {
                    self.events.push_back(ClientEvent::Ping);
                }
            }
            Packet::Close => self.end(
                CloseReason::TransportClose,
                Some("transport closed by the server".into()),
            ),
            // The reference ignores what a server has no business to send.
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {}
        }
        None
    }

    /// Handles bytes that are no packet.
    pub fn handle_bad_packet(&mut self, via: Via) {
        match via {
            Via::Main => self.fail("server error"),
            Via::Probe => self.probe_failed("probe error"),
        }
    }

    /// Learns that bytes have come, if only a part of a packet: the server is there.
    ///
    /// The reference counts pings alone, and so gives up a connection on which one large message takes
    /// longer than the heartbeat.
    pub fn handle_activity(&mut self, now: Instant) {
        self.heartbeat.heard = self.heartbeat.heard.max(now);
    }

    /// Learns that the second transport is connected.
    pub fn handle_probe_opened(&mut self) {
        if let Probe::Connecting { deadline } = self.probe {
            self.probe = Probe::Asking { deadline };
            self.transmits.push_back(ClientTransmit::Packet {
                via: Via::Probe,
                packet: ClientPacket::PingProbe,
            });
        }
    }

    /// Learns that the second transport is gone, or could not be opened. The session lives on, unless
    /// it was about to move there.
    pub fn handle_probe_closed(&mut self, detail: impl Into<Cow<'static, str>>) {
        if self.probe != Probe::None {
            self.probe = Probe::None;
            self.events
                .push_back(ClientEvent::UpgradeFailed(detail.into()));
            self.finish();
        }
    }

    /// Learns that no GET and no POST is pending any more.
    pub fn handle_paused(&mut self) {
        if self.probe != Probe::Pausing {
            return;
        }
        self.transmits.push_back(ClientTransmit::Packet {
            via: Via::Probe,
            packet: ClientPacket::Upgrade,
        });
        self.probe = Probe::None;
        self.transport = Transport::WebSocket;
        self.events
            .push_back(ClientEvent::Upgraded(Transport::WebSocket));
        self.finish();
    }

    /// Learns that the session's transport is gone.
    pub fn handle_transport_closed(
        &mut self,
        reason: CloseReason,
        detail: Option<Cow<'static, str>>,
    ) {
        let reason = match self.phase {
            // It is gone because this side has closed it.
            Phase::Closing | Phase::Finishing => CloseReason::ForcedClose,
            Phase::Opening | Phase::Open { .. } | Phase::Closed => reason,
        };
        self.end(reason, detail);
    }

    /// Ends the session when what is queued has been written.
    pub fn close(&mut self) {
        match self.phase {
            Phase::Opening => self.end(CloseReason::ForcedClose, None),
            Phase::Open { .. } if self.probe == Probe::Pausing => self.phase = Phase::Finishing,
            Phase::Open { .. } => {
                self.drop_probe();
                self.phase = Phase::Finishing;
                self.finish();
            }
            Phase::Finishing | Phase::Closing | Phase::Closed => {}
        }
    }

    // --- Time ---

    /// Returns when [`handle_timeout`](Client::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let heartbeat = match self.phase {
            Phase::Open { interval, timeout } => self.heartbeat_due(interval, timeout),
            Phase::Opening | Phase::Finishing | Phase::Closing | Phase::Closed => None,
        };
        let probe = match self.probe {
            Probe::Connecting { deadline } | Probe::Asking { deadline } => deadline,
            // The GET that is waited for ends with the server's noop, or with the heartbeat.
            Probe::None | Probe::Pausing => None,
        };
        [heartbeat, probe].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Probe::Connecting { deadline } | Probe::Asking { deadline } = self.probe
            && deadline.is_some_and(|deadline| deadline <= now)
        {
            self.probe_failed("probe error: timeout");
        }
        let Phase::Open { interval, timeout } = self.phase else {
            return;
        };
        if self
            .heartbeat_due(interval, timeout)
            .is_none_or(|due| due > now)
        {
            return;
        }
        match (self.config.revision, self.heartbeat.asked) {
            (Revision::V3, None) => {
                self.heartbeat.asked = Some(now);
                self.send(ClientPacket::Ping);
            }
            (Revision::V3, Some(_)) | (Revision::V4, _) => self.end(CloseReason::PingTimeout, None),
        }
    }

    /// In revision 4 the server asks, and is gone when it has not for both times together; in
    /// revision 3 the client asks each `interval` and waits for `timeout`.
    fn heartbeat_due(&self, interval: Duration, timeout: Duration) -> Option<Instant> {
        let Heartbeat { heard, asked } = self.heartbeat;
        match (self.config.revision, asked) {
            (Revision::V4, _) => heard.checked_add(interval.saturating_add(timeout)),
            (Revision::V3, None) => heard.checked_add(interval),
            (Revision::V3, Some(asked)) => asked.max(heard).checked_add(timeout),
        }
    }

    // --- What goes out ---

    /// Returns what to write, open or close next.
    pub fn poll_transmit(&mut self) -> Option<ClientTransmit> {
        self.transmits.pop_front()
    }

    /// Returns what has happened next.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    fn handle_open(&mut self, json: &str, now: Instant) {
        let Ok(data) = OpenData::decode(json) else {
            return self.fail("server error");
        };
        self.phase = Phase::Open {
            interval: data.ping_interval,
            timeout: data.ping_timeout,
        };
        self.handle_activity(now);
        let upgrades = self.config.upgrade
            && self.transport == Transport::Polling
            && data.upgrades.contains(&Transport::WebSocket);
        self.events.push_back(ClientEvent::Open(data));
        if upgrades {
            self.probe = Probe::Connecting {
                deadline: now.checked_add(self.config.upgrade_timeout),
            };
            self.transmits
                .push_back(ClientTransmit::OpenProbe(Transport::WebSocket));
        }
    }

    fn handle_probe_packet(&mut self, packet: &Packet<'_>) {
        match (&self.probe, packet) {
            (Probe::Asking { .. }, Packet::Pong("probe")) => {
                self.probe = Probe::Pausing;
                self.transmits.push_back(ClientTransmit::Pause);
            }
            (Probe::Asking { .. }, _) => self.probe_failed("probe error"),
            (Probe::None | Probe::Connecting { .. } | Probe::Pausing, _) => {}
        }
    }

    fn probe_failed(&mut self, detail: &'static str) {
        if self.probe != Probe::None {
            self.drop_probe();
            self.events
                .push_back(ClientEvent::UpgradeFailed(detail.into()));
            self.finish();
        }
    }

    fn drop_probe(&mut self) {
        if std::mem::replace(&mut self.probe, Probe::None) != Probe::None {
            self.transmits
                .push_back(ClientTransmit::CloseTransport { via: Via::Probe });
        }
    }

    /// Goes on with a close that waited for the upgrade.
    fn finish(&mut self) {
        if self.phase == Phase::Finishing {
            self.phase = Phase::Closing;
            if self.transport == Transport::Polling {
                self.send(ClientPacket::Close);
            }
            self.transmits
                .push_back(ClientTransmit::CloseTransport { via: Via::Main });
        }
    }

    fn send(&mut self, packet: ClientPacket) {
        self.transmits.push_back(ClientTransmit::Packet {
            via: Via::Main,
            packet,
        });
    }

    fn fail(&mut self, detail: &'static str) {
        self.end(CloseReason::TransportError, Some(detail.into()));
    }

    fn end(&mut self, reason: CloseReason, detail: Option<Cow<'static, str>>) {
        if self.phase == Phase::Closed {
            return;
        }
        self.transmits.clear();
        self.drop_probe();
        self.phase = Phase::Closed;
        self.transmits
            .push_back(ClientTransmit::CloseTransport { via: Via::Main });
        self.events
            .push_back(ClientEvent::Closed { reason, detail });
    }
}
