//! Long-polling: pending requests, overlaps, aborts.

use socketio_proto::engine::{CloseReason, GetStart, PacketError, PostStart, Queue, Via};

use crate::engine_sessions::{CLOSE, CLOSE_MAIN, Driver, NOOP, closed, failed, unreadable};

#[test]
fn get_is_pending_until_it_is_answered() {
    let mut driver = Driver::polling();
    for _ in 0..2 {
        assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
        assert!(driver.session.has_pending_get());
        driver.session.handle_get_answered();
        assert!(!driver.session.has_pending_get());
    }
    driver.assert_silent();
}

// E027
#[test]
fn second_get_ends_the_session_and_closes_the_first() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Overlap);
    driver.assert_ends(&[CLOSE, CLOSE_MAIN], failed("overlap from client"));
}

// E028
#[test]
fn second_post_ends_the_session() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_post(), PostStart::Accepted);
    assert_eq!(driver.session.handle_post(), PostStart::Overlap);
    driver.assert_ends(&[CLOSE_MAIN], failed("data request overlap from client"));
}

#[test]
fn posts_follow_each_other_beside_a_get() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    for _ in 0..3 {
        assert_eq!(driver.session.handle_post(), PostStart::Accepted);
        driver.session.handle_post_done();
    }
    driver.assert_silent();
    assert!(driver.session.has_pending_get());
}

// E029
#[test]
fn dropped_get_ends_the_session() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.session.handle_get_aborted();
    driver.assert_ends(&[CLOSE_MAIN], failed("poll connection closed prematurely"));
}

#[test]
fn drop_after_the_answer_is_no_abort() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.session.handle_get_answered();
    driver.session.handle_get_aborted();
    driver.session.handle_post_aborted();
    driver.assert_silent();
    assert!(driver.session.is_open());
}

#[test]
fn dropped_post_ends_the_session() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_post(), PostStart::Accepted);
    driver.session.handle_post_aborted();
    let detail = "data request connection closed prematurely";
    driver.assert_ends(&[CLOSE, CLOSE_MAIN], failed(detail));
}

// E030
#[test]
fn post_of_a_foreign_content_type_ends_the_session() {
    let mut driver = Driver::polling();
    driver.session.handle_bad_content();
    driver.assert_ends(&[CLOSE_MAIN], failed("invalid content"));
}

// E035
#[test]
fn bad_packet_ends_the_session() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.receive("4a").as_deref(), Some("a"));
    driver
        .session
        .handle_bad_packet(Via::Main, PacketError::Length);
    driver.assert_ends(&[CLOSE, CLOSE_MAIN], unreadable(PacketError::Length));
}

// E036
#[test]
fn bad_packet_on_websocket_closes_it() {
    let mut driver = Driver::websocket();
    driver
        .session
        .handle_bad_packet(Via::Main, PacketError::Length);
    driver.assert_ends(&[CLOSE_MAIN], unreadable(PacketError::Length));
}

// E038
#[test]
fn close_packet_ends_the_session_and_what_follows_is_ignored() {
    let mut driver = Driver::polling();
    assert_eq!(driver.receive("4a").as_deref(), Some("a"));
    assert_eq!(driver.receive("1"), None);
    assert_eq!(driver.receive("4b"), None);
    driver.assert_ends(&[CLOSE_MAIN], closed(CloseReason::TransportClose));
}

// E038
#[test]
fn client_that_took_its_leave_gets_its_poll_back_empty() {
    let mut driver = Driver::polling();
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    driver.receive("1");
    driver.assert_ends(&[NOOP, CLOSE_MAIN], closed(CloseReason::TransportClose));
}

#[test]
fn close_packet_on_websocket_is_ignored() {
    let mut driver = Driver::websocket();
    driver.receive("1");
    driver.assert_silent();
    assert_eq!(driver.receive("4a").as_deref(), Some("a"));
}

#[test]
fn unexpected_packets_are_ignored() {
    for mut driver in [Driver::polling(), Driver::websocket()] {
        for text in ["0{}", "3", "3probe", "5", "6"] {
            assert_eq!(driver.receive(text), None);
        }
        driver.assert_silent();
        assert!(driver.session.is_open() && !driver.session.is_upgraded());
    }
}

#[test]
fn requests_after_the_end_are_answered_without_a_trace() {
    let mut driver = Driver::polling();
    driver
        .session
        .handle_bad_packet(Via::Main, PacketError::Length);
    driver.assert_ends(&[CLOSE_MAIN], unreadable(PacketError::Length));
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_get(Queue::Empty), GetStart::Accepted);
    assert_eq!(driver.session.handle_post(), PostStart::Overlap);
    driver.assert_silent();
}
