//! Any sequence of calls keeps the session's invariants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use socketio_proto::engine::{
    Close, CloseReason, Config, Event, Packet, PacketError, Queue, ReadyState, Session, Transmit,
    Transport, Via,
};

use crate::engine_sessions::start;

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Counts what came out, and knows what must not.
#[derive(Default)]
struct Seen {
    upgrading: u32,
    upgraded: u32,
    closed: u32,
}

impl Seen {
    fn drain(&mut self, session: &mut Session) {
        let mut outputs = 0;
        while let Some(transmit) = session.poll_transmit() {
            outputs += 1;
            assert_eq!(self.closed, 0, "{transmit:?} after the end");
            if let Transmit::Packet { packet, .. } = transmit {
                assert!(Packet::decode_text(packet.as_str()).is_ok());
            }
            assert!(outputs <= 7, "each thing is asked for once");
        }
        while let Some(event) = session.poll_event() {
            assert_eq!(self.closed, 0, "{event:?} after the end");
            match event {
                Event::Upgrading(_) => self.upgrading += 1,
                Event::Upgraded(transport) => {
                    self.upgraded += 1;
                    assert_eq!(transport, session.transport());
                }
                Event::Closed { .. } => self.closed += 1,
            }
        }
        let is_closed = session.ready_state() == ReadyState::Closed;
        assert_eq!(
            self.closed,
            u32::from(is_closed),
            "told as soon as it is so"
        );
        assert_eq!(self.upgraded, u32::from(session.is_upgraded()));
        assert!(!(session.is_upgrading() && session.is_upgraded()));
        assert!(!(session.is_upgrading() && is_closed));
        if is_closed {
            assert_eq!(session.poll_timeout(), None);
        }
    }
}

/// What a well-behaved client sends, and then what ends a session or a probe.
const PACKETS: [&str; 12] = [
    "2probe", "5", "5", "3", "4a", "6", "0", "4b", "2probe", "3", "1", "2",
];

fn queue(random: &mut Random) -> Queue {
    match random.below(2) {
        0 => Queue::Empty,
        _ => Queue::Filled,
    }
}

fn call(session: &mut Session, random: &mut Random, now: Instant) {
    let via = match random.below(3) {
        0 => Via::Main,
        _ => Via::Probe,
    };
    match random.below(24) {
        0..8 => {
            let bound = if random.below(8) == 0 { 12 } else { 5 };
            let index = usize::try_from(random.below(bound)).unwrap();
            let was_open = session.is_open();
            let packet = Packet::decode_text(PACKETS[index]).unwrap();
            let message = session.handle_packet(via, packet, now);
            assert!(message.is_none() || (was_open && via == Via::Main));
        }
        8..10 if !session.has_pending_get() || random.below(16) == 0 => {
            let _ = session.handle_get(queue(random));
        }
        10..13 => session.handle_get_answered(),
        13 if random.below(4) == 0 => {
            let _ = session.handle_post();
        }
        14 | 15 => session.handle_post_done(),
        16 | 17 => {
            let _ = session.handle_probe(Transport::WebSocket, now);
        }
        18 => session.set_reading_paused(random.below(2) == 0),
        19 if random.below(2) == 0 => session.handle_probe_closed(),
        20 if random.below(8) == 0 => match random.below(4) {
            0 => session.handle_get_aborted(),
            1 => session.handle_post_aborted(),
            2 => session.handle_bad_packet(via, PacketError::Length),
            _ => session.handle_bad_content(),
        },
        21 if random.below(8) == 0 => {
            session.handle_transport_closed(CloseReason::TransportClose, None);
        }
        22 if random.below(4) == 0 => session.close(Close::After(queue(random))),
        23 if random.below(16) == 0 => session.close(Close::Discard),
        _ => {}
    }
}

#[test]
fn any_calls_in_any_order_keep_the_invariants() {
    let config = Arc::new(Config::default());
    let begin = start();
    let (mut upgrades, mut ends) = (0, 0);
    let sessions = 4_000;
    for seed in 1..=sessions {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let transport = match random.below(4) {
            0 => Transport::WebSocket,
            _ => Transport::Polling,
        };
        let mut session = Session::new(config.clone(), transport, begin);
        let mut seen = Seen::default();
        let mut now = begin;
        for _ in 0..random.below(100) {
            now += Duration::from_millis(match random.below(4) {
                0 => random.below(3_000),
                1 => random.below(200),
                _ => 0,
            });
            call(&mut session, &mut random, now);
            // A caller may drain late, but does so before the next time-out.
            if random.below(2) == 0 {
                seen.drain(&mut session);
            }
            if session.poll_timeout().is_some_and(|at| at <= now) || random.below(4) == 0 {
                session.handle_timeout(now);
                assert!(session.poll_timeout().is_none_or(|at| at > now));
            }
        }
        seen.drain(&mut session);
        upgrades += seen.upgraded;
        ends += seen.closed;

        // Left alone, every session ends, and soon: nobody answers its pings.
        let last = now;
        session.set_reading_paused(false);
        while let Some(at) = session.poll_timeout() {
            now = now.max(at);
            session.handle_timeout(now);
            seen.drain(&mut session);
        }
        assert_eq!(seen.closed, 1);
        assert!(now <= last + Duration::from_secs(25 + 3 * 20));
    }
    // The calls were neither so wild nor so tame that they showed nothing.
    assert!(upgrades > 400, "{upgrades} upgrades");
    assert!(
        ends > 400 && sessions - u64::from(ends) > 400,
        "{ends} ends"
    );
}
