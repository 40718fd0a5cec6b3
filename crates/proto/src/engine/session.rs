//! The server's side of one session: heartbeat, transports, upgrade, close.
//!
//! What comes in, and the time, pass through here; messages that go out do not: the caller queues
//! them, and appends the few packets that this machine asks for. There is no client.
//!
//! Spec: Engine.IO v4, "Heartbeat", "Upgrade", "Transport close". Where the reference (engine.io
//! 6.6) has a wart, the plain meaning of the specification is kept: a ping that is outstanding at an
//! upgrade keeps its deadline (the reference forgets it, and then never times the client out).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Config;
use super::event::{
    Close, CloseReason, ControlPacket, Event, GetStart, PostStart, Queue, ReadyState, Transmit, Via,
};
use super::packet::{Message, Packet, PacketError, Transport};
use super::request::Revision;

/// The server's side of one Engine.IO session.
///
/// After every `handle_*` and after [`close`](Session::close): drain
/// [`poll_transmit`](Session::poll_transmit), then [`poll_event`](Session::poll_event), and call
/// [`handle_timeout`](Session::handle_timeout) at [`poll_timeout`](Session::poll_timeout). Being
/// called early or twice does no harm.
///
/// The open packet is the caller's to send, before anything else.
///
/// Polling: what is queued answers the pending GET, at once. A close packet never shares an answer
/// with messages, because clients obey it before they hand on what stands beside it: a session that
/// this side closes ends with the first GET that finds nothing queued. When [`Event::Closed`] is told,
/// a pending GET is answered with what is queued, or a close packet if nothing is; a pending POST is
/// cut off. When
/// [`Event::Upgraded`] is told, a GET that is still pending is answered with a noop, not with what is
/// queued: that belongs to the new transport.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    revision: Revision,
    phase: Phase,
    heartbeat: Heartbeat,
    probe: Probe,
    transport: Transport,
    upgraded: bool,
    get_pending: bool,
    post_pending: bool,
    reading: Reading,
    /// The event that is to be told.
    upgrading: Option<Transport>,
    outputs: Outputs,
}

/// How far the session's life has come.
///
/// ```text
///              close(), nobody to tell, or messages to write first
///        Open ────────────────────────────────────────────────────► Closing
///         │                                                            │
///         │ close() on WebSocket, or                 a GET, and nothing is queued; upgraded;
///         │ with a GET and nothing queued;           close_timeout;
///         │ anything that goes wrong                 anything that goes wrong
///         ▼                                                            ▼
///        Closed ◄──────────────────────────────────────────────────────┘
/// ```
#[derive(Debug)]
enum Phase {
    Open,
    /// Closed by this side, which waits for a GET that takes the close packet, or for the client to
    /// move to another transport, whichever comes first. The wait begins with the next
    /// `handle_timeout`, because `close` does not know the time.
    Closing {
        since: Option<Instant>,
    },
    Closed {
        reason: CloseReason,
        detail: Option<Cow<'static, str>>,
    },
}

/// Whether an answer to a ping is awaited. In revision 3 the client asks: silence for the sum of
/// both times ends the session.
///
/// ```text
///              since + ping_interval: PING
///        Idle ────────────────────────────► Waiting ──► since + ping_timeout: closed
///         ▲ └─ PONG: since = now               │ └─ first other packet: since = now
///         └──────────── PONG ──────────────────┘
/// ```
#[derive(Debug)]
enum Heartbeat {
    /// Revision 3: the client was heard at `since`.
    Listening { since: Instant },
    /// The last pong, or the beginning, was at `since`.
    Idle { since: Instant },
    /// The pong's time counts from `since`.
    Waiting { since: Instant, extended: bool },
}

/// The second transport, which may become the session's.
///
/// ```text
///        handle_probe       2probe: 3probe         5
///   None ────────────► Connected ────────► Probed ───► None, upgraded
///    ▲                  │  │                 │
///    │ probe closed     │  └──────┬──────────┘
///    ├──────────────────┴─────────│ anything else, upgrade_timeout
///    └────── probe closed ── Refused
/// ```
#[derive(Debug)]
enum Probe {
    None,
    Connected {
        transport: Transport,
        deadline: Option<Instant>,
    },
    Probed {
        transport: Transport,
        deadline: Option<Instant>,
        next_noop: Option<Instant>,
    },
    /// It has been told to close. Until it has, another one could be taken for it.
    Refused {
        until: Option<Instant>,
    },
}

/// Whether the caller takes bytes from the transport.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    Running,
    Paused,
    /// A pong may have waited unread: the client is owed some time.
    Resumed,
}

impl Session {
    /// Begins a session of revision 4; its first ping is due `ping_interval` after `now`.
    pub fn new(config: Arc<Config>, transport: Transport, now: Instant) -> Session {
        Session::with_revision(config, transport, Revision::V4, now)
    }

    /// Begins a session. In revision 3 the client pings, and is given up when nothing has come from
    /// it for `ping_interval` and `ping_timeout` together.
    pub fn with_revision(
        config: Arc<Config>,
        transport: Transport,
        revision: Revision,
        now: Instant,
    ) -> Session {
        Session {
            config,
            revision,
            phase: Phase::Open,
            heartbeat: match revision {
                Revision::V3 => Heartbeat::Listening { since: now },
                Revision::V4 => Heartbeat::Idle { since: now },
            },
            probe: Probe::None,
            transport,
            upgraded: false,
            get_pending: false,
            post_pending: false,
            reading: Reading::Running,
            upgrading: None,
            outputs: Outputs::default(),
        }
    }

    /// Returns the transport that carries the messages.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns the revision of the protocol.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns how alive the session is.
    pub fn ready_state(&self) -> ReadyState {
        match self.phase {
            Phase::Open => ReadyState::Open,
            Phase::Closing { .. } => ReadyState::Closing,
            Phase::Closed { .. } => ReadyState::Closed,
        }
    }

    /// Says whether messages flow.
    pub fn is_open(&self) -> bool {
        self.ready_state() == ReadyState::Open
    }

    /// Says whether a second transport is connected, and the session has not moved to it yet.
    pub fn is_upgrading(&self) -> bool {
        matches!(self.probe, Probe::Connected { .. } | Probe::Probed { .. })
    }

    /// Says whether the session has moved to a second transport.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    /// Says whether a GET waits for an answer.
    pub fn has_pending_get(&self) -> bool {
        self.get_pending
    }

    /// Says whether a ping of this side waits for its pong.
    #[must_use]
    pub fn awaits_pong(&self) -> bool {
        matches!(self.heartbeat, Heartbeat::Waiting { .. })
    }

    // --- What comes in ---

    /// Handles a packet; gives the message that it carries.
    ///
    /// A session that is closing or closed gives none.
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
        if let Phase::Closing { .. } = self.phase {
            // A client may take its leave at any time; all else comes too late.
            if packet == Packet::Close {
                self.handle_close_packet();
            }
            return None;
        }
        if let Phase::Closed { .. } = self.phase {
            return None;
        }
        if !matches!(packet, Packet::Pong(_)) {
            self.heartbeat.extend(now);
        }
        match packet {
            Packet::Message(message) => return Some(message),
            Packet::Ping(_) if self.revision == Revision::V3 => {
                self.outputs.insert(Outputs::PONG);
            }
            Packet::Pong(_) if self.revision == Revision::V3 => {
                self.fail("invalid heartbeat direction");
            }
            Packet::Pong(_) => {
                self.heartbeat = Heartbeat::Idle { since: now };
                if self.reading == Reading::Resumed {
                    self.reading = Reading::Running;
                }
            }
            // In revision 4 the server asks and the client answers.
            Packet::Ping(_) => self.fail("invalid heartbeat direction"),
            Packet::Close => self.handle_close_packet(),
            // The reference ignores what a client has no business to send.
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {}
        }
        None
    }

    /// Handles bytes that are no packet.
    pub fn handle_bad_packet(&mut self, via: Via, error: PacketError) {
        match via {
            Via::Main if self.is_open() => {
                self.end(CloseReason::ParseError, Some(error.to_string().into()));
            }
            Via::Main => {}
            Via::Probe => self.refuse_probe(),
        }
    }

    /// Handles a GET, which finds so much queued.
    ///
    /// A session that has ended or upgraded meanwhile accepts it too: it is answered at once, as
    /// told at [`Session`].
    pub fn handle_get(&mut self, queue: Queue) -> GetStart {
        if !self.is_polled() {
            return GetStart::Accepted;
        }
        if self.get_pending {
            self.fail("overlap from client");
            return GetStart::Overlap;
        }
        self.get_pending = true;
        if let (Phase::Closing { .. }, Queue::Empty) = (&self.phase, queue) {
            self.end(CloseReason::ForcedClose, None);
            self.outputs.insert(Outputs::NOOP);
        }
        GetStart::Accepted
    }

    /// Learns that the answer to the pending GET has been handed over.
    pub fn handle_get_answered(&mut self) {
        self.get_pending = false;
    }

    /// Learns that the pending GET's connection is gone, and the answer with it.
    pub fn handle_get_aborted(&mut self) {
        if std::mem::take(&mut self.get_pending) && self.is_polled() {
            self.fail("poll connection closed prematurely");
        }
    }

    /// Handles the beginning of a POST.
    ///
    /// For a session that has ended it says [`PostStart::Overlap`] as well.
    pub fn handle_post(&mut self) -> PostStart {
        if let Phase::Closed { .. } = self.phase {
            return PostStart::Overlap;
        }
        if !self.is_polled() {
            return PostStart::Accepted;
        }
        if self.post_pending {
            self.fail("data request overlap from client");
            return PostStart::Overlap;
        }
        self.post_pending = true;
        PostStart::Accepted
    }

    /// Learns that the pending POST has been read and handled.
    pub fn handle_post_done(&mut self) {
        self.post_pending = false;
    }

    /// Refuses the pending POST, which is too large, in too many pieces or too slow: the session ends.
    pub fn handle_post_refused(&mut self, detail: &'static str) {
        if std::mem::take(&mut self.post_pending) && self.is_polled() {
            self.fail(detail);
        }
    }

    /// Learns that the pending POST's connection is gone before all was read.
    pub fn handle_post_aborted(&mut self) {
        if std::mem::take(&mut self.post_pending) && self.is_polled() {
            self.fail("data request connection closed prematurely");
        }
    }

    /// Handles a POST of a content type that the session's revision does not have.
    pub fn handle_bad_content(&mut self) {
        if self.is_polled() {
            self.fail("invalid content");
        }
    }

    /// Handles a second transport that has connected; says whether it may go on.
    ///
    /// If so, its packets are fed with [`Via::Probe`] until [`Event::Upgraded`]. If not, it is
    /// closed at once.
    #[must_use]
    pub fn handle_probe(&mut self, transport: Transport, now: Instant) -> bool {
        let is_free = match self.probe {
            Probe::None => true,
            Probe::Refused { until } => until.is_some_and(|until| until <= now),
            Probe::Connected { .. } | Probe::Probed { .. } => false,
        };
        let can_move = self.is_open() && self.transport == Transport::Polling;
        let accepted = is_free && can_move && transport != Transport::Polling;
        if accepted {
            let deadline = now.checked_add(self.config.upgrade_timeout);
            self.probe = Probe::Connected {
                transport,
                deadline,
            };
        }
        accepted
    }

    /// Learns that the probed transport is gone. The session lives on.
    pub fn handle_probe_closed(&mut self) {
        self.probe = Probe::None;
        self.outputs
            .remove(Outputs::PONG_PROBE | Outputs::CLOSE_PROBE);
    }

    /// Learns that the session's WebSocket is gone, or about to be.
    ///
    /// The caller has closed it, or is closing it: nothing more is asked for.
    pub fn handle_transport_closed(
        &mut self,
        reason: CloseReason,
        detail: Option<Cow<'static, str>>,
    ) {
        let was_closed = matches!(self.phase, Phase::Closed { .. });
        self.end(reason, detail);
        if !was_closed {
            self.outputs.remove(Outputs::CLOSE_MAIN);
        }
    }

    /// Tells whether the caller takes bytes from the transport.
    ///
    /// While it does not, and for one `ping_timeout` after, a missing pong is no sign that the client
    /// is gone.
    pub fn set_reading_paused(&mut self, paused: bool) {
        self.reading = match (paused, self.reading) {
            (true, _) => Reading::Paused,
            (false, Reading::Paused) => Reading::Resumed,
            (false, reading) => reading,
        };
    }

    // --- Commands ---

    /// Sends a ping now, unless the pong to an earlier one is awaited: it shows that the client has read
    /// what was sent before. Revision 4 only; in revision 3 the client pings.
    pub fn ping(&mut self, now: Instant) {
        if let (Phase::Open, Heartbeat::Idle { .. }) = (&self.phase, &self.heartbeat) {
            self.outputs.insert(Outputs::PING);
            self.heartbeat = Heartbeat::Waiting {
                since: now,
                extended: false,
            };
        }
    }

    /// Closes the session from this side: [`CloseReason::ForcedClose`]. The caller queues no message
    /// from here on.
    ///
    /// With [`Close::After`] a polling session lives on until a GET takes the close packet, which it
    /// does when what was queued has been taken, or until an upgrade in progress has moved it; at most
    /// for `close_timeout`.
    pub fn close(&mut self, close: Close) {
        match (&self.phase, close) {
            (Phase::Closed { .. }, _) | (Phase::Closing { .. }, Close::After(_)) => {}
            (_, Close::Discard) => {
                self.outputs.insert(Outputs::DISCARD);
                self.end(CloseReason::ForcedClose, None);
            }
            (Phase::Open, Close::After(queue)) => {
                self.outputs.remove(Outputs::PING);
                let is_told = self.get_pending && queue == Queue::Empty;
                if self.transport == Transport::Polling && !is_told {
                    self.phase = Phase::Closing { since: None };
                } else {
                    self.end(CloseReason::ForcedClose, None);
                }
            }
        }
    }

    // --- Time ---

    /// Returns when [`handle_timeout`](Session::handle_timeout) wants to be called.
    ///
    /// A time that has passed means at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Open => self.heartbeat.deadline(&self.config),
            // A time that has passed: `close` did not know the time.
            Phase::Closing { since: None } => Some(self.heartbeat.since()),
            Phase::Closing { since: Some(since) } => {
                let closed = since.checked_add(self.config.close_timeout);
                [closed, self.pong_due()].into_iter().flatten().min()
            }
            Phase::Closed { .. } => None,
        };
        let probe = match self.probe {
            Probe::None | Probe::Refused { .. } => None,
            Probe::Connected { deadline, .. } => deadline,
            Probe::Probed {
                deadline,
                next_noop,
                ..
            } => {
                let next_noop = next_noop.filter(|_| self.get_pending);
                [deadline, next_noop].into_iter().flatten().min()
            }
        };
        [phase, probe].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let pong_due = self.pong_due();
        match &mut self.probe {
            Probe::None | Probe::Refused { .. } => {}
            Probe::Connected { deadline, .. } | Probe::Probed { deadline, .. }
                if is_due(*deadline) =>
            {
                // As much time again for closing the transport.
                *deadline = now.checked_add(self.config.upgrade_timeout);
                self.refuse_probe();
            }
            Probe::Connected { .. } => {}
            Probe::Probed { next_noop, .. } => {
                if self.get_pending && is_due(*next_noop) {
                    *next_noop = now.checked_add(NOOP_INTERVAL);
                    self.outputs.insert(Outputs::NOOP);
                }
            }
        }
        match &mut self.phase {
            Phase::Open => self.beat(now),
            Phase::Closing { since } => {
                let since = *since.get_or_insert(now);
                if is_due(since.checked_add(self.config.close_timeout)) {
                    self.end(CloseReason::ForcedClose, None);
                } else if is_due(pong_due) {
                    self.beat(now);
                }
            }
            Phase::Closed { .. } => {}
        }
    }

    /// When a client that was asked has to have answered: one that is gone is not waited for any longer
    /// because the session is being closed.
    fn pong_due(&self) -> Option<Instant> {
        match self.heartbeat {
            Heartbeat::Waiting { .. } => self.heartbeat.deadline(&self.config),
            Heartbeat::Idle { .. } | Heartbeat::Listening { .. } => None,
        }
    }

    fn beat(&mut self, now: Instant) {
        let Some(due) = self.heartbeat.deadline(&self.config) else {
            return;
        };
        if now < due {
            return;
        }
        match (&mut self.heartbeat, self.reading) {
            (Heartbeat::Listening { since }, Reading::Paused) => *since = now,
            (Heartbeat::Listening { since }, Reading::Resumed) => {
                *since = now;
                self.reading = Reading::Running;
            }
            (Heartbeat::Listening { .. }, Reading::Running) => {
                self.end(CloseReason::PingTimeout, None);
            }
            (Heartbeat::Idle { .. }, _) => {
                self.outputs.insert(Outputs::PING);
                // A ping that is a little late does not prolong the client's time, so that a session
                // ends when its own figures say so; one that is very late does.
                let is_punctual = now - due <= LATENESS.min(self.config.ping_timeout / 4);
                self.heartbeat = Heartbeat::Waiting {
                    since: if is_punctual { due } else { now },
                    extended: false,
                };
            }
            (Heartbeat::Waiting { since, .. }, Reading::Paused) => *since = now,
            (Heartbeat::Waiting { since, .. }, Reading::Resumed) => {
                *since = now;
                self.reading = Reading::Running;
            }
            (Heartbeat::Waiting { .. }, Reading::Running) => {
                self.end(CloseReason::PingTimeout, None);
            }
        }
    }

    // --- What comes out ---

    /// Returns the next thing to write or close.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let packet = |via, packet| Transmit::Packet { via, packet };
        let order = [
            (Outputs::DISCARD, Transmit::DiscardQueue),
            (Outputs::PING, packet(Via::Main, ControlPacket::Ping)),
            (Outputs::PONG, packet(Via::Main, ControlPacket::Pong)),
            (
                Outputs::PONG_PROBE,
                packet(Via::Probe, ControlPacket::PongProbe),
            ),
            (Outputs::NOOP, packet(Via::Main, ControlPacket::Noop)),
            (Outputs::CLOSE, packet(Via::Main, ControlPacket::Close)),
            (
                Outputs::CLOSE_PROBE,
                Transmit::CloseTransport { via: Via::Probe },
            ),
            (
                Outputs::CLOSE_MAIN,
                Transmit::CloseTransport { via: Via::Main },
            ),
        ];
        if self.outputs.is_empty() {
            return None;
        }
        order
            .into_iter()
            .find_map(|(output, transmit)| self.outputs.take(output).then_some(transmit))
    }

    /// Returns the next thing to tell the application.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(transport) = self.upgrading.take() {
            Some(Event::Upgrading(transport))
        } else if self.outputs.take(Outputs::UPGRADED) {
            Some(Event::Upgraded(self.transport))
        } else if self.outputs.take(Outputs::CLOSED) {
            let Phase::Closed { reason, detail } = &mut self.phase else {
                return None;
            };
            Some(Event::Closed {
                reason: *reason,
                detail: detail.take(),
            })
        } else {
            None
        }
    }

    // --- Transitions ---

    fn handle_probe_packet(&mut self, packet: &Packet<'_>, now: Instant) {
        let (transport, deadline, is_first) = match self.probe {
            Probe::None | Probe::Refused { .. } => return,
            Probe::Connected {
                transport,
                deadline,
            } => (transport, deadline, true),
            Probe::Probed {
                transport,
                deadline,
                ..
            } => (transport, deadline, false),
        };
        match packet {
            Packet::Ping("probe") => {
                self.outputs.insert(Outputs::PONG_PROBE);
                if is_first {
                    // The client sends nothing more here before its pending GET has returned.
                    let next_noop = if self.get_pending {
                        self.outputs.insert(Outputs::NOOP);
                        now.checked_add(NOOP_INTERVAL)
                    } else {
                        Some(now)
                    };
                    self.probe = Probe::Probed {
                        transport,
                        deadline,
                        next_noop,
                    };
                    self.upgrading = Some(transport);
                }
            }
            Packet::Upgrade => {
                self.probe = Probe::None;
                self.transport = transport;
                self.upgraded = true;
                self.outputs.remove(Outputs::NOOP | Outputs::PONG_PROBE);
                self.outputs.insert(Outputs::UPGRADED);
                if let Phase::Closing { .. } = self.phase {
                    self.end(CloseReason::ForcedClose, None);
                }
            }
            Packet::Open(_)
            | Packet::Close
            | Packet::Ping(_)
            | Packet::Pong(_)
            | Packet::Message(_)
            | Packet::Noop => self.refuse_probe(),
        }
    }

    fn refuse_probe(&mut self) {
        let (Probe::Connected { deadline, .. } | Probe::Probed { deadline, .. }) = self.probe
        else {
            return;
        };
        self.probe = Probe::Refused { until: deadline };
        self.outputs.insert(Outputs::CLOSE_PROBE);
    }

    /// A close packet ends a session on polling; on WebSocket the close frame does.
    fn handle_close_packet(&mut self) {
        if self.transport == Transport::Polling {
            self.end(CloseReason::TransportClose, None);
            // The client knows. Its GET returns, with nothing to say.
            if self.outputs.take(Outputs::CLOSE) {
                self.outputs.insert(Outputs::NOOP);
            }
        }
    }

    fn fail(&mut self, detail: &'static str) {
        self.end(CloseReason::TransportError, Some(Cow::Borrowed(detail)));
    }

    /// The one way into `Closed`.
    fn end(&mut self, reason: CloseReason, detail: Option<Cow<'static, str>>) {
        if let Phase::Closed { .. } = self.phase {
            return;
        }
        self.outputs
            .remove(Outputs::PING | Outputs::PONG | Outputs::PONG_PROBE | Outputs::NOOP);
        if self.is_upgrading() {
            self.outputs.insert(Outputs::CLOSE_PROBE);
        }
        if self.is_polled() && self.get_pending {
            self.outputs.insert(Outputs::CLOSE);
        }
        self.outputs.insert(Outputs::CLOSE_MAIN | Outputs::CLOSED);
        self.probe = Probe::None;
        self.phase = Phase::Closed { reason, detail };
    }

    /// Says whether GETs and POSTs still mean something to this session.
    fn is_polled(&self) -> bool {
        self.transport == Transport::Polling && !matches!(self.phase, Phase::Closed { .. })
    }
}

impl Heartbeat {
    fn since(&self) -> Instant {
        match *self {
            Heartbeat::Idle { since }
            | Heartbeat::Listening { since }
            | Heartbeat::Waiting { since, .. } => since,
        }
    }

    fn deadline(&self, config: &Config) -> Option<Instant> {
        match self {
            Heartbeat::Idle { since } => since.checked_add(config.ping_interval),
            Heartbeat::Listening { since } => since
                .checked_add(config.ping_interval)?
                .checked_add(config.ping_timeout),
            Heartbeat::Waiting { since, .. } => since.checked_add(config.ping_timeout),
        }
    }

    /// Any packet shows that the client is there, in revision 4 once per ping: a big upload may
    /// delay the pong.
    fn extend(&mut self, now: Instant) {
        match self {
            Heartbeat::Listening { since } => *since = now,
            Heartbeat::Waiting {
                since,
                extended: extended @ false,
            } => {
                *since = now;
                *extended = true;
            }
            Heartbeat::Idle { .. } | Heartbeat::Waiting { .. } => {}
        }
    }
}

/// What is to be polled, as a set: nothing can be due twice, and nothing is allocated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Outputs(u16);

impl Outputs {
    const DISCARD: u16 = 1 << 0;
    const PING: u16 = 1 << 1;
    const PONG_PROBE: u16 = 1 << 2;
    const NOOP: u16 = 1 << 3;
    const CLOSE: u16 = 1 << 4;
    const CLOSE_PROBE: u16 = 1 << 5;
    const CLOSE_MAIN: u16 = 1 << 6;
    const UPGRADED: u16 = 1 << 7;
    const CLOSED: u16 = 1 << 8;
    const PONG: u16 = 1 << 9;

    fn insert(&mut self, outputs: u16) {
        self.0 |= outputs;
    }

    fn remove(&mut self, outputs: u16) {
        self.0 &= !outputs;
    }

    fn take(&mut self, output: u16) -> bool {
        let had = self.0 & output != 0;
        self.remove(output);
        had
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a caller's clock may be late by.
const LATENESS: Duration = Duration::from_millis(50);

/// The time between two noops that make a client's GET return during an upgrade.
const NOOP_INTERVAL: Duration = Duration::from_millis(100);
