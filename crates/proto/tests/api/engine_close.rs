//! Closing from this side, with and without somebody to tell; and transports that end.

use socketio_proto::engine::{
    Close, CloseReason, GetStart, PacketError, PostStart, Queue, ReadyState, Transmit, Via,
};

use crate::engine_sessions::{CLOSE, CLOSE_MAIN, Driver, NOOP, PING, closed, failed, ms};

#[test]
fn close_on_websocket_closes_it() {
    let mut driver = Driver::websocket();
    driver.session.close(Close::After(Queue::Empty));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

#[test]
fn close_with_a_pending_get_answers_it() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.session.close(Close::After(Queue::Empty));
    driver.assert_ends(&[CLOSE, CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

// E054
#[test]
fn close_without_a_pending_get_waits_for_the_next() {
    let mut driver = Driver::polling();
    driver.session.close(Close::After(Queue::Empty));
    driver.assert_silent();
    assert_eq!(driver.session.ready_state(), ReadyState::Closing);
    driver.pass(ms(29_000));
    driver.assert_silent();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.assert_ends(&[NOOP, CLOSE, CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

// A client obeys a close packet before it hands on the messages that stand beside it.
#[test]
fn close_packet_waits_until_what_is_queued_has_been_taken() {
    // A GET waits, and takes the messages: the close packet is for the next.
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.session.close(Close::After(Queue::Filled));
    driver.assert_silent();
    driver.session.handle_get_answered();
    // So does each GET that finds a part of them.
    for _ in 0..3 {
        assert_eq!(driver.session.handle_get(Queue::Filled), GetStart::Accepted);
        driver.assert_silent();
        driver.session.handle_get_answered();
    }
    assert_eq!(driver.session.ready_state(), ReadyState::Closing);
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.assert_ends(&[NOOP, CLOSE, CLOSE_MAIN], closed(CloseReason::ForcedClose));

    // On WebSocket each packet is a frame of its own.
    let mut driver = Driver::websocket();
    driver.session.close(Close::After(Queue::Filled));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

#[test]
fn messages_that_nobody_takes_are_not_waited_for_longer_than_the_close() {
    let mut driver = Driver::polling();
    driver.session.close(Close::After(Queue::Filled));
    driver.pass(ms(29_999));
    assert_eq!(driver.session.handle_get(Queue::Filled), GetStart::Accepted);
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE, CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

// E054
#[test]
fn close_is_not_waited_for_longer_than_its_time() {
    let mut driver = Driver::polling();
    // A ping that would have been due on the way is not sent any more.
    driver.pass(ms(24_000));
    driver.session.close(Close::After(Queue::Empty));
    driver.pass(ms(29_999));
    driver.assert_silent();
    driver.pass(ms(1));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

#[test]
fn close_asks_to_be_called_at_once_because_it_does_not_know_the_time() {
    let mut driver = Driver::polling();
    driver.sleep(ms(10_000));
    driver.session.close(Close::After(Queue::Empty));
    let now = driver.now;
    assert!(driver.session.poll_timeout().is_some_and(|at| at <= now));
    driver.session.handle_timeout(now);
    assert_eq!(driver.session.poll_timeout(), Some(now + ms(30_000)));
    driver.session.close(Close::After(Queue::Empty));
    assert_eq!(driver.session.poll_timeout(), Some(now + ms(30_000)));
}

#[test]
fn ping_that_was_not_sent_yet_is_not_sent_after_a_close() {
    let mut driver = Driver::polling();
    driver.pass(ms(25_000));
    driver.session.close(Close::After(Queue::Empty));
    driver.assert_silent();
}

// E071
#[test]
fn discarding_close_ends_at_once() {
    let mut driver = Driver::polling();
    driver.session.close(Close::Discard);
    let expected = [Transmit::DiscardQueue, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));

    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.session.close(Close::Discard);
    let expected = [Transmit::DiscardQueue, CLOSE, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));

    let mut driver = Driver::websocket();
    driver.session.close(Close::Discard);
    let expected = [Transmit::DiscardQueue, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));
}

#[test]
fn discarding_close_ends_one_that_waits() {
    let mut driver = Driver::polling();
    driver.session.close(Close::After(Queue::Empty));
    driver.assert_silent();
    driver.session.close(Close::Discard);
    let expected = [Transmit::DiscardQueue, CLOSE_MAIN];
    driver.assert_ends(&expected, closed(CloseReason::ForcedClose));
}

#[test]
fn closing_session_takes_no_messages_and_no_probe() {
    let mut driver = Driver::polling();
    driver.session.close(Close::After(Queue::Empty));
    assert_eq!(driver.session.handle_post(), PostStart::Accepted);
    for text in ["4a", "2", "3", "5"] {
        assert_eq!(driver.receive(text), None);
    }
    driver
        .session
        .handle_bad_packet(Via::Main, PacketError::Length);
    driver.session.handle_post_done();
    assert!(!driver.probe());
    driver.assert_silent();
    assert_eq!(driver.session.ready_state(), ReadyState::Closing);
}

#[test]
fn client_may_take_its_leave_from_a_closing_session() {
    let mut driver = Driver::polling();
    driver.session.close(Close::After(Queue::Empty));
    driver.receive("1");
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::TransportClose));
}

#[test]
fn overlap_ends_a_closing_session() {
    let mut driver = Driver::polling();
    driver.session.close(Close::After(Queue::Empty));
    assert_eq!(driver.session.handle_post(), PostStart::Accepted);
    assert_eq!(driver.session.handle_post(), PostStart::Overlap);
    driver.assert_ends(&[CLOSE_MAIN], failed("data request overlap from client"));
}

#[test]
fn end_of_the_websocket_ends_the_session() {
    let mut driver = Driver::websocket();
    driver
        .session
        .handle_transport_closed(CloseReason::TransportClose, None);
    driver.assert_ends(&[], closed(CloseReason::TransportClose));

    let mut driver = Driver::websocket();
    let detail = Some("Max payload size exceeded".into());
    driver
        .session
        .handle_transport_closed(CloseReason::TransportError, detail);
    driver.assert_ends(&[], failed("Max payload size exceeded"));
}

#[test]
fn end_of_the_websocket_after_a_close_changes_nothing() {
    let mut driver = Driver::websocket();
    driver.session.close(Close::After(Queue::Empty));
    driver
        .session
        .handle_transport_closed(CloseReason::TransportClose, None);
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

#[test]
fn ping_is_sent_before_the_close_that_follows_it() {
    let mut driver = Driver::websocket();
    driver.pass(ms(25_000));
    assert_eq!(driver.transmits(), [PING]);
    driver.session.close(Close::After(Queue::Empty));
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::ForcedClose));
}

#[test]
fn reasons_are_those_of_the_reference() {
    let texts = [
        (CloseReason::ForcedClose, "forced close"),
        (CloseReason::ParseError, "parse error"),
        (CloseReason::PingTimeout, "ping timeout"),
        (CloseReason::TransportClose, "transport close"),
        (CloseReason::TransportError, "transport error"),
    ];
    for (reason, text) in texts {
        assert_eq!(reason.as_str(), text);
        assert_eq!(reason.to_string(), text);
    }
}
