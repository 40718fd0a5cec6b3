//! Upgrade from polling to WebSocket, in every order of things.

use socketio_proto::engine::{
    Close, CloseReason, Event, GetStart, PacketError, PostStart, Queue, ReadyState, Transmit,
    Transport, Via,
};

use crate::engine_sessions::{
    CLOSE, CLOSE_MAIN, CLOSE_PROBE, Driver, NOOP, PING, PONG_PROBE, closed, failed, ms,
};

const UPGRADING: Event = Event::Upgrading(Transport::WebSocket);
const UPGRADED: Event = Event::Upgraded(Transport::WebSocket);

// E044, E046
#[test]
fn probe_then_upgrade_moves_the_session() {
    let mut driver = Driver::polling();
    assert!(driver.probe());
    assert!(driver.session.is_upgrading());
    driver.assert_silent();
    assert_eq!(driver.receive_on(Via::Probe, "2probe"), None);
    assert_eq!(driver.transmits(), [PONG_PROBE]);
    assert_eq!(driver.events(), [UPGRADING]);
    assert_eq!(driver.session.transport(), Transport::Polling);
    assert_eq!(driver.receive_on(Via::Probe, "5"), None);
    assert_eq!(driver.transmits(), []);
    assert_eq!(driver.events(), [UPGRADED]);
    assert_eq!(driver.session.transport(), Transport::WebSocket);
    assert!(driver.session.is_upgraded() && !driver.session.is_upgrading());
    assert_eq!(driver.receive("4a").as_deref(), Some("a"));
}

#[test]
fn both_events_are_told_in_order_when_polled_late() {
    let mut driver = Driver::polling();
    assert!(driver.probe());
    driver.receive_on(Via::Probe, "2probe");
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.transmits(), []);
    assert_eq!(driver.events(), [UPGRADING, UPGRADED]);
}

#[test]
fn upgrade_without_a_probe_is_accepted() {
    let mut driver = Driver::polling();
    assert!(driver.probe());
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.transmits(), []);
    assert_eq!(driver.events(), [UPGRADED]);
}

#[test]
fn repeated_probe_is_answered_again() {
    let mut driver = Driver::probed();
    driver.receive_on(Via::Probe, "2probe");
    assert_eq!(driver.transmits(), [PONG_PROBE]);
    assert_eq!(driver.events(), []);
}

// E045
#[test]
fn pending_get_returns_at_the_probe_and_every_100_ms() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert!(driver.probe());
    driver.assert_silent();
    driver.receive_on(Via::Probe, "2probe");
    assert_eq!(driver.transmits(), [PONG_PROBE, NOOP]);
    driver.session.handle_get_answered();
    for _ in 0..3 {
        assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
        driver.pass(ms(99));
        assert_eq!(driver.transmits(), []);
        driver.pass(ms(1));
        assert_eq!(driver.transmits(), [NOOP]);
        driver.session.handle_get_answered();
    }
}

// E045
#[test]
fn get_that_comes_after_the_probe_returns_at_once() {
    let mut driver = Driver::probed();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    let now = driver.now;
    assert!(driver.session.poll_timeout().is_some_and(|at| at <= now));
    driver.pass(ms(0));
    assert_eq!(driver.transmits(), [NOOP]);
}

#[test]
fn nothing_is_due_every_100_ms_without_a_get() {
    let driver = Driver::probed();
    assert_eq!(driver.session.poll_timeout(), Some(driver.now + ms(10_000)));
}

// E047
#[test]
fn get_pending_at_the_upgrade_stays_pending_until_it_is_answered() {
    let mut driver = Driver::probed();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.transmits(), []);
    assert_eq!(driver.events(), [UPGRADED]);
    assert!(driver.session.has_pending_get());
    driver.session.handle_get_answered();
    assert!(!driver.session.has_pending_get());
    driver.assert_silent();
}

#[test]
fn polling_requests_that_end_after_the_upgrade_do_no_harm() {
    let mut driver = Driver::probed();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_post(), PostStart::Accepted);
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.events(), [UPGRADED]);
    driver.session.handle_get_aborted();
    driver.session.handle_post_aborted();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_post(), PostStart::Accepted);
    assert_eq!(driver.session.handle_post(), PostStart::Accepted);
    driver.session.handle_bad_content();
    driver.assert_silent();
    assert!(driver.session.is_open());
}

// E046
#[test]
fn messages_flow_on_polling_until_the_upgrade() {
    let mut driver = Driver::probed();
    assert_eq!(driver.receive("4a").as_deref(), Some("a"));
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.receive("4b").as_deref(), Some("b"));
}

// E048
#[test]
fn upgrade_that_takes_too_long_closes_the_probe_only() {
    for probed in [false, true] {
        let mut driver = match probed {
            false => Driver::polling(),
            true => Driver::probed(),
        };
        assert!(probed || driver.probe());
        driver.pass(ms(9_999));
        driver.assert_silent();
        driver.pass(ms(1));
        assert_eq!(driver.transmits(), [CLOSE_PROBE]);
        assert_eq!(driver.events(), []);
        assert!(driver.session.is_open() && !driver.session.is_upgrading());
        driver.receive_on(Via::Probe, "5");
        assert_eq!(driver.session.transport(), Transport::Polling);
        assert_eq!(driver.receive("4a").as_deref(), Some("a"));
        driver.assert_silent();
    }
}

// E049
#[test]
fn bad_first_packet_closes_the_probe_only() {
    for text in ["0", "1", "2", "2prob", "2probe!", "3", "3probe", "4a", "6"] {
        let mut driver = Driver::polling();
        assert!(driver.probe());
        assert_eq!(driver.receive_on(Via::Probe, text), None);
        assert_eq!(driver.transmits(), [CLOSE_PROBE], "{text}");
        assert_eq!(driver.events(), []);
        assert_eq!(driver.receive("4a").as_deref(), Some("a"));
        driver.receive_on(Via::Probe, "5");
        driver.assert_silent();
        assert!(driver.session.is_open() && !driver.session.is_upgraded());
    }
}

// E049
#[test]
fn bytes_that_are_no_packet_close_the_probe_only() {
    let mut driver = Driver::probed();
    driver
        .session
        .handle_bad_packet(Via::Probe, PacketError::Length);
    driver
        .session
        .handle_bad_packet(Via::Probe, PacketError::Length);
    assert_eq!(driver.transmits(), [CLOSE_PROBE]);
    assert_eq!(driver.events(), []);
    assert!(driver.session.is_open());
}

#[test]
fn message_before_the_upgrade_packet_closes_the_probe() {
    let mut driver = Driver::probed();
    assert_eq!(driver.receive_on(Via::Probe, "4a"), None);
    assert_eq!(driver.transmits(), [CLOSE_PROBE]);
}

// E050
#[test]
fn second_probe_is_refused_while_upgrading_and_after() {
    let mut driver = Driver::polling();
    assert!(driver.probe());
    assert!(!driver.probe());
    driver.receive_on(Via::Probe, "2probe");
    assert!(!driver.probe());
    driver.receive_on(Via::Probe, "5");
    assert!(!driver.probe());
    assert_eq!(driver.transmits(), []);
    assert_eq!(driver.events(), [UPGRADING, UPGRADED]);
    assert!(driver.session.is_open());
}

#[test]
fn websocket_session_takes_no_probe() {
    assert!(!Driver::websocket().probe());
}

#[test]
fn polling_is_no_transport_to_upgrade_to() {
    let mut driver = Driver::polling();
    let now = driver.now;
    assert!(!driver.session.handle_probe(Transport::Polling, now));
    assert!(driver.probe());
}

#[test]
fn lost_probe_leaves_the_session_and_the_way_free() {
    for probed in [false, true] {
        let mut driver = match probed {
            false => Driver::polling(),
            true => Driver::probed(),
        };
        assert!(probed || driver.probe());
        driver.session.handle_probe_closed();
        driver.assert_silent();
        assert!(driver.session.is_open() && !driver.session.is_upgrading());
        assert!(driver.probe());
        driver.receive_on(Via::Probe, "5");
        assert_eq!(driver.events(), [UPGRADED]);
    }
}

#[test]
fn refused_probe_must_be_gone_before_the_next() {
    let mut driver = Driver::polling();
    assert!(driver.probe());
    driver.receive_on(Via::Probe, "6");
    assert_eq!(driver.transmits(), [CLOSE_PROBE]);
    assert!(!driver.probe());
    driver.session.handle_probe_closed();
    assert!(driver.probe());
    // Its end is not waited for forever.
    driver.receive_on(Via::Probe, "6");
    driver.pass(ms(9_999));
    assert!(!driver.probe());
    driver.pass(ms(1));
    assert!(driver.probe());
}

#[test]
fn end_of_the_session_closes_the_probe() {
    let mut driver = Driver::probed();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Overlap);
    let expected = [CLOSE, CLOSE_PROBE, CLOSE_MAIN];
    driver.assert_ends(&expected, failed("overlap from client"));

    let mut driver = Driver::polling();
    assert!(driver.probe());
    driver.receive("1");
    let expected = [CLOSE_PROBE, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::TransportClose));
}

#[test]
fn ping_timeout_closes_the_probe() {
    let mut driver = Driver::polling();
    driver.pass(ms(40_000));
    assert_eq!(driver.transmits(), [PING]);
    assert!(driver.probe());
    driver.pass(ms(5_000));
    let expected = [CLOSE_PROBE, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::PingTimeout));
}

#[test]
fn packets_of_the_probe_do_not_extend_the_wait_for_a_pong() {
    let mut driver = Driver::polling();
    driver.pass(ms(25_000));
    assert!(driver.probe());
    driver.pass(ms(5_000));
    driver.receive_on(Via::Probe, "2probe");
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.session.poll_timeout(), Some(driver.now + ms(15_000)));
}

// Whichever comes first: the client moves, or it polls.
#[test]
fn close_during_an_upgrade_tells_the_client_where_it_is() {
    // It moves.
    let mut driver = Driver::probed();
    driver.session.close(Close::After(Queue::Empty));
    driver.assert_silent();
    assert_eq!(driver.session.ready_state(), ReadyState::Closing);
    assert!(driver.session.is_upgrading());
    assert_eq!(driver.receive("4late"), None);
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.transmits(), [CLOSE_MAIN]);
    assert_eq!(driver.session.transport(), Transport::WebSocket);
    assert_eq!(
        driver.events(),
        [UPGRADED, closed(CloseReason::ForcedClose)]
    );

    // It polls, and what is queued goes first.
    let mut driver = Driver::probed();
    driver.session.close(Close::After(Queue::Filled));
    assert_eq!(driver.session.handle_get(Queue::Filled), GetStart::Accepted);
    driver.session.handle_get_answered();
    driver.assert_silent();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    let expected = [NOOP, CLOSE, CLOSE_PROBE, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));

    // It waits for an answer.
    let mut driver = Driver::probed();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.session.close(Close::After(Queue::Empty));
    let expected = [CLOSE, CLOSE_PROBE, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));
}

#[test]
fn close_during_an_upgrade_that_fails_goes_on_with_polling() {
    // Whether or not the client polls again.
    let mut driver = Driver::probed();
    driver.session.close(Close::After(Queue::Empty));
    driver.pass(ms(10_000));
    assert_eq!(driver.transmits(), [CLOSE_PROBE]);
    assert_eq!(driver.session.ready_state(), ReadyState::Closing);
    driver.pass(ms(19_999));
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::ForcedClose));

    let mut driver = Driver::probed();
    driver.session.close(Close::After(Queue::Empty));
    driver.session.handle_probe_closed();
    driver.assert_silent();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    let expected = [NOOP, CLOSE, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));
}

#[test]
fn discarding_close_does_not_wait_for_an_upgrade() {
    let mut driver = Driver::probed();
    driver.session.close(Close::Discard);
    let expected = [Transmit::DiscardQueue, CLOSE_PROBE, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));
}

#[test]
fn noop_that_was_not_sent_yet_does_not_follow_to_websocket() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert!(driver.probe());
    driver.receive_on(Via::Probe, "2probe");
    driver.receive_on(Via::Probe, "5");
    assert_eq!(driver.transmits(), []);
}
