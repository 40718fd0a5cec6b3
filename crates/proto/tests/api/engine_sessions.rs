//! A session with a clock that only moves when told to, and short ways to drive it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use socketio_proto::engine::{
    Close, CloseReason, Config, ControlPacket, Event, Message, Packet, PacketError, Queue,
    Revision, Session, Transmit, Transport, Via,
};

pub(crate) const PING: Transmit = main_packet(ControlPacket::Ping);
pub(crate) const NOOP: Transmit = main_packet(ControlPacket::Noop);
pub(crate) const CLOSE: Transmit = main_packet(ControlPacket::Close);
pub(crate) const PONG_PROBE: Transmit = Transmit::Packet {
    via: Via::Probe,
    packet: ControlPacket::PongProbe,
};
pub(crate) const CLOSE_MAIN: Transmit = Transmit::CloseTransport { via: Via::Main };
pub(crate) const CLOSE_PROBE: Transmit = Transmit::CloseTransport { via: Via::Probe };

const fn main_packet(packet: ControlPacket) -> Transmit {
    Transmit::Packet {
        via: Via::Main,
        packet,
    }
}

pub(crate) fn closed(reason: CloseReason) -> Event {
    Event::Closed {
        reason,
        detail: None,
    }
}

pub(crate) fn failed(detail: &'static str) -> Event {
    Event::Closed {
        reason: CloseReason::TransportError,
        detail: Some(detail.into()),
    }
}

pub(crate) fn unreadable(error: PacketError) -> Event {
    Event::Closed {
        reason: CloseReason::ParseError,
        detail: Some(error.to_string().into()),
    }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's clock begins somewhere, then only moves when told to"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) now: Instant,
}

impl Driver {
    pub(crate) fn new(transport: Transport) -> Driver {
        let now = start();
        let session = Session::new(Arc::new(Config::default()), transport, now);
        Driver { session, now }
    }

    /// A client of revision 3.
    pub(crate) fn v3(transport: Transport) -> Driver {
        let now = start();
        let config = Arc::new(Config::default());
        let session = Session::with_revision(config, transport, Revision::V3, now);
        Driver { session, now }
    }

    pub(crate) fn polling() -> Driver {
        Driver::new(Transport::Polling)
    }

    pub(crate) fn websocket() -> Driver {
        Driver::new(Transport::WebSocket)
    }

    /// Begins on polling, with a second transport that has been probed and told so.
    pub(crate) fn probed() -> Driver {
        let mut driver = Driver::polling();
        assert!(driver.probe());
        driver.receive_on(Via::Probe, "2probe");
        assert_eq!(driver.transmits(), [PONG_PROBE]);
        assert_eq!(driver.events(), [Event::Upgrading(Transport::WebSocket)]);
        driver
    }

    pub(crate) fn probe(&mut self) -> bool {
        self.session.handle_probe(Transport::WebSocket, self.now)
    }

    pub(crate) fn receive(&mut self, text: &str) -> Option<String> {
        self.receive_on(Via::Main, text)
    }

    /// Feeds one packet; gives the text message that comes out.
    pub(crate) fn receive_on(&mut self, via: Via, text: &str) -> Option<String> {
        let packet = Packet::decode_text(text).unwrap();
        match self.session.handle_packet(via, packet, self.now)? {
            Message::Text(text) => Some(text.to_owned()),
            Message::Binary(_) => panic!("no binary message was sent"),
        }
    }

    /// Lets time pass, without a call.
    pub(crate) fn sleep(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Lets time pass; every deadline on the way is met.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Drains all that is to be written.
    pub(crate) fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.session.poll_transmit()).collect()
    }

    /// Drains all that is to be told.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// Asserts that nothing comes out.
    #[track_caller]
    pub(crate) fn assert_silent(&mut self) {
        assert_eq!(self.transmits(), []);
        assert_eq!(self.events(), []);
    }

    /// Asserts the last outputs, and that nothing follows whatever happens.
    #[track_caller]
    pub(crate) fn assert_ends(&mut self, transmits: &[Transmit], event: Event) {
        assert_eq!(self.transmits(), transmits);
        assert_eq!(self.events(), [event]);
        assert!(!self.session.is_open());
        assert!(!self.session.is_upgrading());
        assert_eq!(self.session.poll_timeout(), None);
        self.receive("4late");
        self.receive("1");
        self.session
            .handle_bad_packet(Via::Main, PacketError::Length);
        self.session
            .handle_timeout(self.now + Duration::from_secs(3600));
        self.session.close(Close::After(Queue::Empty));
        self.session.close(Close::Discard);
        self.session.handle_bad_content();
        self.session.handle_get_aborted();
        self.session.handle_post_aborted();
        self.session.handle_probe_closed();
        self.session
            .handle_transport_closed(CloseReason::TransportClose, None);
        assert!(!self.probe());
        self.assert_silent();
        assert_eq!(self.session.poll_timeout(), None);
    }
}

#[test]
fn idle_session_is_small() {
    assert!(size_of::<Session>() <= 128, "{}", size_of::<Session>());
}

#[test]
fn fresh_session_is_open_and_silent() {
    let mut driver = Driver::polling();
    assert!(driver.session.is_open());
    assert!(!driver.session.is_upgrading() && !driver.session.is_upgraded());
    assert!(!driver.session.has_pending_get());
    assert_eq!(driver.session.transport(), Transport::Polling);
    driver.assert_silent();
}

#[test]
fn messages_come_out_as_they_went_in() {
    for mut driver in [Driver::polling(), Driver::websocket()] {
        assert_eq!(driver.receive("4héllo").as_deref(), Some("héllo"));
        assert_eq!(driver.receive("4").as_deref(), Some(""));
        let binary = Packet::Message(Message::Binary((&[1, 2][..]).into()));
        let now = driver.now;
        let message = driver.session.handle_packet(Via::Main, binary, now);
        assert_eq!(message, Some(Message::Binary((&[1, 2][..]).into())));
        driver.assert_silent();
    }
}
