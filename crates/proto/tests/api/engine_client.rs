//! The client's side of a session alone: each of its phases ends, and what may be written when.

use std::time::{Duration, Instant};

use socketio_proto::engine::{
    Client, ClientConfig, ClientEvent, ClientPacket, ClientTransmit, CloseReason, Message, Packet,
    ReadyState, Revision, Transport, Via,
};

use crate::engine_sessions::start;

const OPEN: &str =
    r#"{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn client(transport: Transport, now: Instant) -> Client {
    let config = ClientConfig {
        revision: Revision::V4,
        upgrade: true,
        upgrade_timeout: seconds(20),
    };
    Client::new(config, transport, now)
}

fn get(client: &mut Client, packet: Packet<'_>, now: Instant) {
    drop(client.handle_packet(Via::Main, packet, now));
}

fn opened(transport: Transport, now: Instant) -> Client {
    let mut client = client(transport, now);
    get(&mut client, Packet::Open(OPEN), now);
    client
}

/// A session over polling that asks whether a WebSocket works.
fn asking(now: Instant) -> Client {
    let mut client = opened(Transport::Polling, now);
    client.handle_probe_opened();
    client
}

fn pausing(now: Instant) -> Client {
    let mut client = asking(now);
    drop(client.handle_packet(Via::Probe, Packet::Pong("probe"), now));
    client
}

fn upgraded(now: Instant) -> Client {
    let mut client = pausing(now);
    client.handle_paused();
    client
}

fn transmits(client: &mut Client) -> Vec<ClientTransmit> {
    std::iter::from_fn(|| client.poll_transmit()).collect()
}

fn events(client: &mut Client) -> Vec<ClientEvent> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

/// Lets time pass from deadline to deadline until the session has ended; gives how, and after how long.
fn end(client: &mut Client, begin: Instant) -> (CloseReason, String, Duration) {
    let mut now = begin;
    for _ in 0..100 {
        for event in events(client) {
            if let ClientEvent::Closed {
                reason,
                message,
                detail,
            } = event
            {
                assert_eq!(client.ready_state(), ReadyState::Closed);
                assert_eq!(client.poll_timeout(), None);
                let text = format!("{message}: {}", detail.unwrap_or_default());
                return (reason, text, now - begin);
            }
        }
        now = client.poll_timeout().expect("a deadline").max(now);
        client.handle_timeout(now);
    }
    panic!("it does not end");
}

type Phase = (&'static str, fn(Instant) -> Client);

/// Each phase of an open session; before it is open the reconnecting machine has the deadline.
const PHASES: [Phase; 9] = [
    ("open, polling", |now| opened(Transport::Polling, now)),
    ("open, WebSocket", |now| opened(Transport::WebSocket, now)),
    ("probe asked", asking),
    ("probe answered", pausing),
    ("upgraded", upgraded),
    ("POST pending", |now| {
        let mut client = opened(Transport::Polling, now);
        client.handle_writing(now);
        client
    }),
    ("frames not taken", |now| {
        let mut client = upgraded(now);
        client.handle_writing(now);
        client
    }),
    ("proof asked for", |now| {
        let mut client = upgraded(now);
        client.handle_writing(now);
        client.handle_written(true, now);
        assert!(client.handle_barrier(now));
        client
    }),
    ("GET refused while probed", |now| {
        let mut client = asking(now);
        assert!(client.handle_poll_refused());
        client
    }),
];

#[test]
fn each_phase_of_a_session_ends_when_the_server_falls_silent() {
    for (name, phase) in PHASES {
        let now = start();
        let (reason, text, after) = end(&mut phase(now), now);
        println!("{name}: {reason} ({text}) after {after:?}");
        assert!(after <= seconds(45), "{name}: {after:?}");
        assert!(
            text.len() > reason.as_str().len() + 2,
            "{name}: a bare {text}"
        );
    }
}

#[test]
fn a_session_that_is_closed_ends_in_each_phase_when_the_server_falls_silent() {
    for (name, phase) in PHASES {
        let now = start();
        let mut client = phase(now);
        client.close(now);
        let (reason, text, after) = end(&mut client, now);
        println!("{name}: {reason} ({text}) after {after:?}");
        assert_eq!(reason, CloseReason::ForcedClose, "{name}");
        assert!(after <= seconds(20), "{name}: {after:?}");
    }
}

#[test]
fn what_is_not_taken_ends_a_session_although_pings_come() {
    let begin = start();
    let mut client = opened(Transport::WebSocket, begin);
    client.handle_writing(begin);
    let mut now = begin;
    while client.ready_state() == ReadyState::Open {
        now += seconds(1);
        get(&mut client, Packet::Ping(""), now);
        client.handle_timeout(now);
    }
    assert_eq!(now - begin, seconds(45));
    // What goes on slowly goes on.
    let mut client = opened(Transport::WebSocket, begin);
    client.handle_writing(begin);
    for second in 0..300 {
        let now = begin + seconds(second);
        get(&mut client, Packet::Ping(""), now);
        client.handle_written(false, now);
        client.handle_timeout(now);
    }
    assert_eq!(client.ready_state(), ReadyState::Open);
}

#[test]
fn a_close_goes_on_while_something_is_written_but_not_for_ever() {
    let begin = start();
    let mut client = opened(Transport::WebSocket, begin);
    client.handle_writing(begin);
    client.close(begin);
    let mut now = begin;
    while client.ready_state() == ReadyState::Closing {
        now += seconds(9);
        client.handle_written(false, now);
        client.handle_timeout(now);
    }
    assert!(now - begin >= seconds(60) && now - begin < seconds(70));
}

#[test]
fn a_release_that_does_not_come_leaves_the_session_on_polling() {
    let now = start();
    let mut client = pausing(now);
    assert!(!client.can_write() && !client.can_poll(now));
    transmits(&mut client);
    events(&mut client);
    let due = client.poll_timeout().expect("a deadline");
    assert_eq!(due - now, seconds(10));
    client.handle_timeout(due);
    let probe = ClientTransmit::CloseTransport { via: Via::Probe };
    assert_eq!(transmits(&mut client), [probe]);
    let failed = "probe error: timeout, the waiting request was not answered";
    assert_eq!(
        events(&mut client),
        [ClientEvent::UpgradeFailed(failed.into())]
    );
    assert!(client.can_write() && client.can_poll(due));
    assert_eq!(client.transport(), Transport::Polling);
    // The request that is answered after all changes nothing.
    client.handle_paused();
    assert_eq!(transmits(&mut client), []);
}

#[test]
fn a_session_that_is_closed_while_it_moves_is_closed_on_either_transport() {
    let now = start();
    let mut client = pausing(now);
    client.close(now);
    client.handle_paused();
    assert_eq!(client.transport(), Transport::WebSocket);
    assert_eq!(client.ready_state(), ReadyState::Closing);
    let mut client = pausing(now);
    client.close(now);
    let due = client.poll_timeout().expect("a deadline");
    client.handle_timeout(due);
    assert_eq!(client.transport(), Transport::Polling);
    let close = ClientTransmit::Packet {
        via: Via::Main,
        packet: ClientPacket::Close,
    };
    assert!(transmits(&mut client).contains(&close));
}

#[test]
fn no_get_is_begun_once_the_probe_is_answered() {
    let now = start();
    let mut client = asking(now);
    assert!(client.can_poll(now));
    drop(client.handle_packet(Via::Probe, Packet::Pong("probe"), now));
    assert!(!client.can_poll(now));
}

#[test]
fn a_get_that_is_released_while_the_probe_is_asked_waits_for_its_answer() {
    let now = start();
    let mut client = asking(now);
    client.handle_poll_begun(now);
    get(&mut client, Packet::Noop, now);
    client.handle_poll_answered(now);
    assert!(!client.can_poll(now));
    let due = client.poll_timeout().expect("a deadline");
    assert_eq!(due - now, seconds(1));
    client.handle_timeout(due);
    assert!(client.can_poll(due));
    // One that brings something does not wait, and neither does one after the probe has failed.
    for packet in [Packet::Message(Message::Text("2")), Packet::Ping("")] {
        let mut client = asking(now);
        client.handle_poll_begun(now);
        get(&mut client, packet, now);
        client.handle_poll_answered(now);
        assert!(client.can_poll(now));
    }
    let mut client = asking(now);
    client.handle_poll_begun(now);
    client.handle_poll_answered(now);
    client.handle_probe_closed("gone");
    assert!(client.can_poll(now));
}

#[test]
fn a_refused_get_ends_only_a_session_that_is_not_moving() {
    let now = start();
    assert!(pausing(now).handle_poll_refused());
    assert!(!upgraded(now).handle_poll_refused());
    let mut client = asking(now);
    assert!(client.handle_poll_refused() && !client.can_poll(now));
    client.handle_probe_closed("gone");
    assert!(client.can_poll(now) && !client.handle_poll_refused());
}

#[test]
fn after_a_hundred_gets_that_brought_nothing_there_is_a_pause() {
    for packet in [Packet::Noop, Packet::Ping("")] {
        let mut now = start();
        let mut client = opened(Transport::Polling, now);
        client.handle_probe_closed("no WebSocket here");
        let mut paused = 0;
        for _ in 0..150 {
            if !client.can_poll(now) {
                paused += 1;
                now += Duration::from_millis(100);
            }
            assert!(client.can_poll(now));
            client.handle_poll_begun(now);
            get(&mut client, packet.clone(), now);
            client.handle_poll_answered(now);
        }
        assert_eq!(paused, 50);
        // A message ends the pauses, and so does a GET that had to wait.
        now += seconds(1);
        client.handle_poll_begun(now);
        get(&mut client, Packet::Message(Message::Text("2")), now);
        client.handle_poll_answered(now);
        assert!(client.can_poll(now));
    }
    let mut now = start();
    let mut client = opened(Transport::Polling, now);
    for _ in 0..200 {
        client.handle_poll_begun(now);
        now += seconds(1);
        get(&mut client, Packet::Ping(""), now);
        client.handle_poll_answered(now);
        assert!(client.can_poll(now));
    }
}

#[test]
fn pings_that_come_together_get_one_answer() {
    let now = start();
    let mut client = opened(Transport::WebSocket, now);
    transmits(&mut client);
    events(&mut client);
    for _ in 0..1000 {
        get(&mut client, Packet::Ping(""), now);
    }
    assert_eq!(transmits(&mut client).len(), 1);
    assert_eq!(events(&mut client), [ClientEvent::Ping]);
    get(&mut client, Packet::Ping(""), now);
    assert_eq!(transmits(&mut client).len(), 1);
}

#[test]
fn what_follows_a_barrier_waits_until_the_rest_is_known_to_be_read() {
    let now = start();
    // Nothing was written, or so long ago that it has been read.
    let mut client = upgraded(now);
    assert!(!client.handle_barrier(now) && client.can_write());
    client.handle_writing(now);
    client.handle_written(true, now);
    assert!(!client.handle_barrier(now + seconds(5)) && client.can_write());
    // An answer, and then nothing more is to be proven.
    assert!(client.handle_barrier(now) && !client.can_write());
    client.handle_proof();
    assert!(client.can_write() && !client.handle_barrier(now));
    // No answer.
    client.handle_writing(now);
    assert!(client.handle_barrier(now));
    client.handle_written(true, now + seconds(2));
    client.handle_timeout(now + seconds(5));
    assert!(!client.can_write());
    let due = client.poll_timeout().expect("a deadline");
    assert_eq!(due - now, seconds(7));
    client.handle_timeout(due);
    assert!(client.can_write());
    // Over polling each answer to a POST is a proof.
    let mut client = opened(Transport::Polling, now);
    client.handle_writing(now);
    assert!(!client.handle_barrier(now));
}
