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

use super::client_event::{ClientConfig, ClientEvent, ClientPacket, ClientTransmit};
use super::client_polls::{Brought, Polls};
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
/// Messages may be written while [`can_write`](Client::can_write) says so; others wait. The caller says
/// when it writes, as a session that gets nothing written ends, too.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    transport: Transport,
    phase: Phase,
    probe: Probe,
    heartbeat: Heartbeat,
    polls: Polls,
    writing: Writing,
    transmits: VecDeque<ClientTransmit>,
    events: VecDeque<ClientEvent>,
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
    Finishing {
        since: Instant,
    },
    /// Closed by this side; what is queued is being written.
    Closing {
        since: Instant,
    },
    Closed,
}

/// The second transport, which may become the session's.
///
/// ```text
///               opened: 2probe          3probe: pause            paused: 5
///   Connecting ────────────────► Asking ─────────────► Pausing ────────────► None, upgraded
///       └────────── closed, anything else, upgrade_timeout ────► None, failed
///                     until 5 is sent, not paused in time ─────► None, failed
/// ```
#[derive(Debug, PartialEq)]
enum Probe {
    None,
    Connecting { deadline: Option<Instant> },
    Asking { deadline: Option<Instant> },
    Pausing { deadline: Instant },
}

#[derive(Debug)]
struct Heartbeat {
    /// When the server was heard last.
    heard: Instant,
    /// When a ping was sent that has not been answered, in revision 3.
    asked: Option<Instant>,
}

/// What has been handed to the transport.
#[derive(Debug)]
struct Writing {
    /// When something was handed over, or was taken by the other side, last.
    moved: Instant,
    /// Not all of it has been taken.
    pending: bool,
    /// Something was written that the other side has not shown to have read.
    unproven: bool,
    /// Since when the other side is asked to show that it has read all; until then nothing is written.
    asked: Option<Instant>,
}

impl Writing {
    fn new(now: Instant) -> Writing {
        Writing {
            moved: now,
            pending: false,
            unproven: false,
            asked: None,
        }
    }

    /// When the other side is believed to have read what it has not shown to have.
    fn proof_due(&self) -> Option<Instant> {
        Some(self.asked?.max(self.moved) + PROOF_TIMEOUT)
    }
}

/// How long the other side has to show that it has read what was written.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a session that is closed may write nothing, and how long it has for all.
const CLOSE_STALL: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the server may leave the GET unanswered that the upgrade waits for.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a GET waits for the answer to the probe when the one before was answered with nothing.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

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
            polls: Polls::new(now),
            writing: Writing::new(now),
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
            Phase::Finishing { .. } | Phase::Closing { .. } => ReadyState::Closing,
            Phase::Closed => ReadyState::Closed,
        }
    }

    /// Says whether messages may be written to the transport now.
    pub fn can_write(&self) -> bool {
        matches!(self.phase, Phase::Open { .. } | Phase::Closing { .. })
            && !self.is_pausing()
            && self.writing.asked.is_none()
    }

    /// Says whether a GET may be begun now; the one before has been answered.
    pub fn can_poll(&self, now: Instant) -> bool {
        self.ready_state() == ReadyState::Open && !self.is_pausing() && self.polls.can_begin(now)
    }

    fn is_pausing(&self) -> bool {
        matches!(self.probe, Probe::Pausing { .. })
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
            self.handle_probe_packet(&packet, now);
            return None;
        }
        match self.phase {
            Phase::Opening => {
                match packet {
                    Packet::Open(json) => self.handle_open(json, now),
                    // As in the reference, what says nothing may come first.
                    Packet::Noop | Packet::Ping(_) | Packet::Pong(_) | Packet::Upgrade => {}
                    Packet::Close | Packet::Message(_) => {
                        self.fail("the first packet is not the one that opens a session");
                    }
                }
                return None;
            }
            Phase::Open { .. } => {}
            // The answers to what was sent before the end are of no use to anybody.
            Phase::Finishing { .. } | Phase::Closing { .. } | Phase::Closed => return None,
        }
        self.handle_activity(now);
        match packet {
            Packet::Message(_) => self.polls.bring(Brought::Messages),
            Packet::Noop => {}
            _ => self.polls.bring(Brought::Packets),
        }
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
                "transport closed by the server",
                Some("it sent the packet that closes a session".into()),
            ),
            // The reference ignores what a server has no business to send.
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {}
        }
        None
    }

    /// Handles bytes that are no packet.
    pub fn handle_bad_packet(&mut self, via: Via) {
        match via {
            Via::Main => self.fail("what the server sent is no packet"),
            Via::Probe => self.probe_failed("probe error: the answer is no packet"),
        }
    }

    /// Learns that a GET is begun.
    pub fn handle_poll_begun(&mut self, now: Instant) {
        self.polls.begin(now);
    }

    /// Learns that a GET has been answered; its packets have been handled.
    pub fn handle_poll_answered(&mut self, now: Instant) {
        let brought = self.polls.answered(now);
        if brought == Brought::Nothing && matches!(self.probe, Probe::Asking { .. }) {
            // The server has made room for the upgrade, perhaps just once: its answer to the probe is
            // on the way.
            self.polls.hold(Some(now + PROBE_PATIENCE));
        }
    }

    /// Learns that the server has refused a GET because the session has moved; says whether that is
    /// the upgrade that is going on. If so, the session lives on, and polls again when the upgrade has
    /// failed.
    #[must_use = "else the session has to end"]
    pub fn handle_poll_refused(&mut self) -> bool {
        match self.probe {
            Probe::None => return false,
            Probe::Connecting { deadline } | Probe::Asking { deadline } => {
                self.polls.hold(deadline);
            }
            Probe::Pausing { .. } => {}
        }
        true
    }

    /// Learns that something has been handed to the transport.
    pub fn handle_writing(&mut self, now: Instant) {
        let writing = &mut self.writing;
        writing.unproven = true;
        if !writing.pending {
            writing.pending = true;
            writing.moved = now;
        }
    }

    /// Learns that the other side has taken something of what was handed to the transport, or, if
    /// `all`, the rest. Over polling that is told by the answer to the POST.
    pub fn handle_written(&mut self, all: bool, now: Instant) {
        self.writing.moved = now;
        self.writing.pending = !all;
    }

    /// Learns that what waits next may only be written when the other side has shown that it has read
    /// all that went before; says whether a WebSocket ping has to ask for that. Until
    /// [`handle_proof`](Client::handle_proof), and not for long, nothing more may be written.
    ///
    /// Node's server drops the events that it has read and not dispatched when the packet that leaves
    /// the namespace comes right behind them. Over polling the answer to each POST is such a proof.
    #[must_use = "a ping has to be sent"]
    pub fn handle_barrier(&mut self, now: Instant) -> bool {
        let writing = &mut self.writing;
        let asks = self.transport == Transport::WebSocket
            && writing.unproven
            && now < writing.moved + PROOF_TIMEOUT;
        if asks {
            writing.asked = Some(now);
        }
        asks
    }

    /// Learns that the ping has been answered.
    pub fn handle_proof(&mut self) {
        if self.writing.asked.take().is_some() {
            self.writing.unproven = false;
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
            self.polls.release();
            self.events
                .push_back(ClientEvent::UpgradeFailed(detail.into()));
            self.finish();
        }
    }

    /// Learns that no GET and no POST is pending any more.
    pub fn handle_paused(&mut self) {
        if !self.is_pausing() {
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
    pub fn handle_transport_closed(&mut self, reason: CloseReason) {
        let reason = match self.phase {
            // It is gone because this side has closed it.
            Phase::Closing { .. } | Phase::Finishing { .. } => CloseReason::ForcedClose,
            Phase::Opening | Phase::Open { .. } | Phase::Closed => reason,
        };
        self.end(reason, "", None);
    }

    /// Ends the session when what is queued has been written, or cannot be.
    pub fn close(&mut self, now: Instant) {
        match self.phase {
            Phase::Opening => self.end(CloseReason::ForcedClose, "", None),
            Phase::Open { .. } if self.is_pausing() => self.phase = Phase::Finishing { since: now },
            Phase::Open { .. } => {
                self.drop_probe();
                self.phase = Phase::Finishing { since: now };
                self.finish();
            }
            Phase::Finishing { .. } | Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    // --- Time ---

    /// Returns when [`handle_timeout`](Client::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (phase, writing) = match self.phase {
            Phase::Open { interval, timeout } => (
                self.heartbeat_due(interval, timeout),
                self.writing_due(interval, timeout),
            ),
            Phase::Closing { since } => (Some(self.close_due(since)), None),
            // It ends with the upgrade.
            Phase::Opening | Phase::Finishing { .. } | Phase::Closed => (None, None),
        };
        let probe = match self.probe {
            Probe::Connecting { deadline } | Probe::Asking { deadline } => deadline,
            Probe::Pausing { deadline } => Some(deadline),
            Probe::None => None,
        };
        let (proof, polls) = match self.phase {
            Phase::Closed => (None, None),
            _ => (self.writing.proof_due(), self.polls.due()),
        };
        [phase, writing, probe, proof, polls]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns when the server is given up unless it is heard before.
    pub fn expires(&self) -> Option<Instant> {
        let Phase::Open { interval, timeout } = self.phase else {
            return None;
        };
        let due = self.heartbeat_due(interval, timeout)?;
        match (self.config.revision, self.heartbeat.asked) {
            (Revision::V3, None) => due.checked_add(timeout),
            (Revision::V3, Some(_)) | (Revision::V4, _) => Some(due),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.probe {
            Probe::Connecting { deadline } if is_due(deadline) => {
                self.probe_failed("probe error: timeout, the WebSocket was not accepted");
            }
            Probe::Asking { deadline } if is_due(deadline) => {
                self.probe_failed("probe error: timeout, the probe was not answered");
            }
            Probe::Pausing { deadline } if deadline <= now => {
                // A close that has waited for this begins here.
                self.writing.moved = now;
                self.probe_failed("probe error: timeout, the waiting request was not answered");
            }
            Probe::None
            | Probe::Connecting { .. }
            | Probe::Asking { .. }
            | Probe::Pausing { .. } => {}
        }
        if is_due(self.polls.due()) {
            self.polls.release();
        }
        if is_due(self.writing.proof_due()) {
            self.handle_proof();
        }
        match self.phase {
            Phase::Open { interval, timeout } => self.beat(interval, timeout, now),
            Phase::Closing { since } if self.close_due(since) <= now => self.end(
                CloseReason::ForcedClose,
                "",
                Some(match self.writing.pending {
                    true => "what was emitted before could not be written in time".into(),
                    false => "the server has not closed the connection in time".into(),
                }),
            ),
            Phase::Opening | Phase::Finishing { .. } | Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    fn beat(&mut self, interval: Duration, timeout: Duration, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let both = interval.saturating_add(timeout);
        if is_due(self.heartbeat_due(interval, timeout)) {
            let patience = match (self.config.revision, self.heartbeat.asked) {
                (Revision::V3, None) => {
                    self.heartbeat.asked = Some(now);
                    return self.send(ClientPacket::Ping);
                }
                (Revision::V3, Some(_)) => timeout,
                (Revision::V4, _) => both,
            };
            let transport = self.transport.as_str();
            self.end(
                CloseReason::PingTimeout,
                CloseReason::PingTimeout.as_str(),
                Some(format!("nothing came over {transport} for {patience:?}").into()),
            );
        } else if is_due(self.writing_due(interval, timeout)) {
            let message = match self.transport {
                Transport::Polling => "xhr post error",
                _ => "websocket error",
            };
            let detail = format!("what was sent was not taken for {both:?}");
            self.end(CloseReason::TransportError, message, Some(detail.into()));
        }
    }

    /// When a session that is closed has had its time.
    fn close_due(&self, since: Instant) -> Instant {
        (self.writing.moved.max(since) + CLOSE_STALL).min(since + CLOSE_TIMEOUT)
    }

    /// What is not taken for as long as a heartbeat never will be: the answers to pings wait behind it,
    /// so that the server gives up as well.
    fn writing_due(&self, interval: Duration, timeout: Duration) -> Option<Instant> {
        let moved = self.writing.pending.then_some(self.writing.moved)?;
        moved.checked_add(interval.saturating_add(timeout))
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
        let data = match OpenData::decode(json) {
            Ok(data) => data,
            Err(error) => return self.fail(error.to_string()),
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

    fn handle_probe_packet(&mut self, packet: &Packet<'_>, now: Instant) {
        match (&self.probe, packet) {
            (Probe::Asking { .. }, Packet::Pong("probe")) => {
                self.probe = Probe::Pausing {
                    deadline: now + RELEASE_TIMEOUT,
                };
                self.transmits.push_back(ClientTransmit::Pause);
            }
            (Probe::Asking { .. }, _) => {
                self.probe_failed("probe error: another packet came than the probe's answer");
            }
            (Probe::None | Probe::Connecting { .. } | Probe::Pausing { .. }, _) => {}
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
            self.polls.release();
            self.transmits
                .push_back(ClientTransmit::CloseTransport { via: Via::Probe });
        }
    }

    /// Goes on with a close that waited for the upgrade.
    fn finish(&mut self) {
        if let Phase::Finishing { since } = self.phase {
            self.phase = Phase::Closing { since };
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

    fn fail(&mut self, detail: impl Into<Cow<'static, str>>) {
        self.end(
            CloseReason::TransportError,
            "server error",
            Some(detail.into()),
        );
    }

    fn end(
        &mut self,
        reason: CloseReason,
        message: &'static str,
        detail: Option<Cow<'static, str>>,
    ) {
        if self.phase == Phase::Closed {
            return;
        }
        self.transmits.clear();
        self.drop_probe();
        self.phase = Phase::Closed;
        self.transmits
            .push_back(ClientTransmit::CloseTransport { via: Via::Main });
        self.events.push_back(ClientEvent::Closed {
            reason,
            message,
            detail,
        });
    }
}
