//! Heartbeat: when the server pings, and how long it waits.

use socketio_proto::engine::{Close, CloseReason, Event, Queue, Transport, Via};

use crate::engine_sessions::{CLOSE, CLOSE_MAIN, Driver, PING, closed, failed, ms};

// E039
#[test]
fn server_pings_an_interval_after_the_beginning_and_after_each_pong() {
    for mut driver in [Driver::polling(), Driver::websocket()] {
        driver.pass(ms(24_999));
        driver.assert_silent();
        driver.pass(ms(1));
        assert_eq!(driver.transmits(), [PING]);
        driver.pass(ms(7_000));
        driver.receive("3");
        driver.pass(ms(24_999));
        driver.assert_silent();
        driver.pass(ms(1));
        assert_eq!(driver.transmits(), [PING]);
    }
}

// E039
#[test]
fn other_traffic_does_not_delay_the_ping() {
    let mut driver = Driver::websocket();
    for _ in 0..24 {
        driver.pass(ms(1_000));
        driver.receive("4a");
    }
    driver.assert_silent();
    driver.pass(ms(1_000));
    assert_eq!(driver.transmits(), [PING]);
}

#[test]
fn unsolicited_pong_restarts_the_interval() {
    let mut driver = Driver::websocket();
    driver.pass(ms(20_000));
    driver.receive("3");
    driver.pass(ms(24_999));
    driver.assert_silent();
    driver.pass(ms(1));
    assert_eq!(driver.transmits(), [PING]);
}

#[test]
fn one_pong_answers_a_ping() {
    let mut driver = Driver::websocket();
    driver.receive("3");
    assert!(!driver.session.awaits_pong());
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    assert!(driver.session.awaits_pong());
    driver.receive("3");
    assert!(!driver.session.awaits_pong());
}

// E040: a timer that is a little late does not add up.
#[test]
fn a_session_ends_when_its_figures_say_so() {
    let mut driver = Driver::websocket();
    driver.sleep(ms(25_010));
    driver.session.handle_timeout(driver.now);
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(19_989));
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
}

// A process that was suspended pings late, and the client has its whole time from then on.
#[test]
fn a_client_has_its_time_after_a_very_late_ping() {
    let mut driver = Driver::websocket();
    driver.sleep(ms(3_600_000));
    driver.session.handle_timeout(driver.now);
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(19_999));
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
}

// E040
#[test]
fn silent_client_times_out_once() {
    let mut driver = Driver::websocket();
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(19_999));
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
}

// E040
#[test]
fn silent_client_that_polls_reads_a_close_packet() {
    let mut driver = Driver::polling();
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    let _ = driver.session.handle_get(Queue::Empty);
    driver.pass(ms(20_000));
    driver.assert_ends(&[CLOSE, CLOSE_MAIN], closed(CloseReason::PingTimeout));
}

// E041
#[test]
fn ping_from_the_client_is_an_error() {
    for text in ["2", "2probe"] {
        let mut driver = Driver::websocket();
        assert_eq!(driver.receive(text), None);
        driver.assert_ends(&[CLOSE_MAIN], failed("invalid heartbeat direction"));
    }
}

// E042
#[test]
fn other_packets_extend_the_wait_for_a_pong_once() {
    for text in ["4a", "6", "5", "0"] {
        let mut driver = Driver::websocket();
        driver.pass(ms(25_000));
        assert_eq!(driver.transmits(), [PING]);
        driver.pass(ms(15_000));
        driver.receive(text);
        driver.pass(ms(15_000));
        driver.receive(text);
        driver.pass(ms(4_999));
        driver.assert_silent();
        driver.pass(ms(1));
        driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
    }
}

// E042
#[test]
fn each_ping_may_be_extended() {
    let mut driver = Driver::websocket();
    for _ in 0..3 {
        driver.pass(ms(25_000));
        assert_eq!(driver.transmits(), [PING]);
        driver.pass(ms(19_000));
        driver.receive("4a");
        driver.pass(ms(19_000));
        driver.receive("3");
    }
    driver.assert_silent();
    assert!(driver.session.is_open());
}

#[test]
fn packet_before_the_ping_does_not_count_as_its_extension() {
    let mut driver = Driver::websocket();
    driver.pass(ms(24_000));
    driver.receive("4a");
    driver.pass(ms(1_000));
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(19_000));
    driver.receive("4a");
    driver.pass(ms(19_999));
    driver.assert_silent();
    driver.pass(ms(1));
    assert_eq!(driver.transmits(), [CLOSE_MAIN]);
}

// E043
#[test]
fn upgrade_does_not_reset_the_schedule() {
    let mut driver = Driver::polling();
    driver.pass(ms(20_000));
    assert!(driver.probe());
    driver.receive_on(Via::Probe, "2probe");
    driver.receive_on(Via::Probe, "5");
    driver.transmits();
    assert_eq!(driver.events().len(), 2);
    driver.pass(ms(4_999));
    driver.assert_silent();
    driver.pass(ms(1));
    assert_eq!(driver.transmits(), [PING]);
}

// The reference forgets the ping (engine.io 6.6): such a session never ends.
#[test]
fn ping_outstanding_at_the_upgrade_keeps_its_deadline() {
    let mut driver = Driver::polling();
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(10_000));
    assert!(driver.probe());
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.events(), [Event::Upgraded(Transport::WebSocket)]);
    driver.pass(ms(9_999));
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
}

#[test]
fn client_is_not_timed_out_while_it_is_not_read() {
    let mut driver = Driver::websocket();
    driver.session.set_reading_paused(true);
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(200_000));
    driver.assert_silent();
    driver.session.set_reading_paused(false);
    // What was left of the last wait, and one whole wait for reading what had arrived.
    driver.pass(ms(39_999));
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
}

#[test]
fn pause_between_pings_costs_nothing_later() {
    let mut driver = Driver::websocket();
    driver.session.set_reading_paused(true);
    driver.session.set_reading_paused(false);
    driver.receive("3");
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(20_000));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::PingTimeout));
}

#[test]
fn late_timeout_pings_before_it_gives_up() {
    let mut driver = Driver::websocket();
    driver.sleep(ms(3_600_000));
    let now = driver.now;
    driver.session.handle_timeout(now);
    driver.session.handle_timeout(now);
    assert_eq!(driver.transmits(), [PING]);
    assert!(driver.session.is_open());
    assert_eq!(driver.session.poll_timeout(), Some(now + ms(20_000)));
}

#[test]
fn early_timeout_does_no_harm() {
    let mut driver = Driver::websocket();
    let at = driver.session.poll_timeout();
    let now = driver.now;
    driver.session.handle_timeout(now);
    driver.session.handle_timeout(now + ms(24_999));
    driver.assert_silent();
    assert_eq!(driver.session.poll_timeout(), at);
}

#[test]
fn endless_durations_never_end() {
    use std::sync::Arc;
    use std::time::Duration;

    use socketio_proto::engine::{Close, Config, Session};

    let mut config = Config::default();
    config.ping_interval = Duration::MAX;
    config.close_timeout = Duration::MAX;
    config.upgrade_timeout = Duration::MAX;
    let now = crate::engine_sessions::start();
    let mut session = Session::new(Arc::new(config), Transport::Polling, now);
    assert!(session.handle_probe(Transport::WebSocket, now));
    assert_eq!(session.poll_timeout(), None);
    session.handle_timeout(now);
    session.handle_probe_closed();
    session.close(Close::After(Queue::Empty));
    session.handle_timeout(now);
    assert_eq!(session.poll_timeout(), None);
}

// A session that nobody polls is closed when no namespace was joined in time, and ends when its
// heartbeat says that the client is gone; not later, as if the close had begun its time anew.
#[test]
fn a_session_that_is_closed_ends_with_its_heartbeat() {
    let mut driver = Driver::polling();
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    driver.pass(ms(15_000));
    driver.session.close(Close::After(Queue::Empty));
    driver.session.handle_timeout(driver.now);
    let _ = driver.transmits();
    driver.pass(ms(4_999));
    assert_eq!(driver.events(), []);
    driver.pass(ms(1));
    assert!(matches!(
        driver.events()[..],
        [Event::Closed {
            reason: CloseReason::PingTimeout,
            ..
        }]
    ));
}
