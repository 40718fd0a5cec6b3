//! Revision 3: the client pings.

use socketio_proto::engine::{CloseReason, ControlPacket, Event, Transmit, Transport, Via};

use crate::engine_sessions::{CLOSE_MAIN, Driver, PONG_PROBE, closed, failed, ms};

const PONG: Transmit = Transmit::Packet {
    via: Via::Main,
    packet: ControlPacket::Pong,
};

// E069.
#[test]
fn server_answers_pings_and_sends_none() {
    let mut driver = Driver::v3(Transport::WebSocket);
    for data in ["2", "2probe"] {
        driver.pass(ms(44_999));
        driver.assert_silent();
        driver.receive(data);
        assert_eq!(driver.transmits(), [PONG]);
    }
}

// E069.
#[test]
fn silent_client_is_given_up_after_both_times() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        let mut driver = Driver::v3(transport);
        driver.pass(ms(44_999));
        driver.assert_silent();
        driver.pass(ms(1));
        driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
    }
}

#[test]
fn pong_is_the_wrong_direction() {
    let mut driver = Driver::v3(Transport::WebSocket);
    driver.receive("3");
    driver.assert_ends(&[CLOSE_MAIN], failed("invalid heartbeat direction"));
}

// E070: the reference forgets the timeout at the upgrade.
#[test]
fn upgrade_is_that_of_revision_4_and_keeps_the_timeout() {
    let mut driver = Driver::v3(Transport::Polling);
    assert!(driver.probe());
    driver.receive_on(Via::Probe, "2probe");
    assert_eq!(driver.transmits(), [PONG_PROBE]);
    driver.receive_on(Via::Probe, "5");
    assert_eq!(
        driver.events(),
        [
            Event::Upgrading(Transport::WebSocket),
            Event::Upgraded(Transport::WebSocket)
        ]
    );
    driver.receive("2");
    assert_eq!(driver.transmits(), [PONG]);
    driver.pass(ms(45_000));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
}
