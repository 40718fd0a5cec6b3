//! Both ends of a session over a simulated network with latency, in simulated time: what the client's
//! machine says reaches the server's machine, and the other way round.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socketio_proto::engine::{
    Client, ClientConfig, ClientEvent, ClientPacket, ClientTransmit, CloseReason, Config,
    ControlPacket, Event, GetStart, Message, OpenPacket, Packet, PostStart, Queue, Revision,
    Session, Transmit, Transport, Via,
};

use crate::engine_sessions::{ms, start};

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

/// What is on its way.
#[derive(Debug)]
enum Wire {
    Get,
    Post(Vec<String>),
    GetAnswer(Vec<String>),
    PostAnswer,
    ProbeOpens,
    ProbeOpened,
    ToServer(String),
    ToClient(String),
}

struct Pair {
    now: Instant,
    random: Random,
    revision: Revision,
    client: Client,
    server: Session,
    /// By the time of arrival, and in the order of sending.
    wire: BTreeMap<(Instant, u64), Wire>,
    sent: u64,
    /// The latest arrival in each direction over WebSocket, which keeps its order.
    last: [Instant; 2],
    /// Nothing arrives any more, from here on.
    cut: bool,
    client_queue: VecDeque<String>,
    server_queue: VecDeque<String>,
    getting: bool,
    posting: bool,
    paused: bool,
    probe_open: bool,
    /// The server has learned that its client polls.
    server_get: bool,
    received: [Vec<u64>; 2],
    emitted: [u64; 2],
    client_events: Vec<ClientEvent>,
    server_events: Vec<Event>,
}

impl Pair {
    fn new(seed: u64, revision: Revision) -> Pair {
        let now = start();
        let mut server_config = Config::default();
        server_config.allow_eio3 = true;
        let config = ClientConfig {
            revision,
            upgrade: true,
            upgrade_timeout: ms(10_000),
        };
        let server = Session::with_revision(
            Arc::new(server_config.clone()),
            Transport::Polling,
            revision,
            now,
        );
        let mut pair = Pair {
            now,
            random: Random(seed),
            revision,
            client: Client::new(config, Transport::Polling, now),
            server,
            wire: BTreeMap::new(),
            sent: 0,
            last: [now; 2],
            cut: false,
            client_queue: VecDeque::new(),
            server_queue: VecDeque::new(),
            getting: true,
            posting: false,
            paused: false,
            probe_open: false,
            server_get: false,
            received: [Vec::new(), Vec::new()],
            emitted: [0; 2],
            client_events: Vec::new(),
            server_events: Vec::new(),
        };
        let open = OpenPacket {
            sid: "a",
            upgrades: &[Transport::WebSocket],
            ping_interval: server_config.ping_interval,
            ping_timeout: server_config.ping_timeout,
            max_payload: server_config.max_payload,
        };
        let open = String::from_utf8(open.encode()).unwrap();
        pair.send(Wire::GetAnswer(vec![open]));
        pair
    }

    fn send(&mut self, wire: Wire) {
        let mut at = self.now + ms(1 + self.random.below(80));
        let direction = match wire {
            Wire::ToServer(_) => Some(0),
            Wire::ToClient(_) => Some(1),
            _ => None,
        };
        if let Some(direction) = direction {
            at = at.max(self.last[direction]);
            self.last[direction] = at;
        }
        self.sent += 1;
        self.wire.insert((at, self.sent), wire);
    }

    fn emit(&mut self, side: usize) {
        let n = self.emitted[side];
        self.emitted[side] += 1;
        match side {
            0 => self.client_queue.push_back(format!("4{n}")),
            _ => self.server_queue.push_back(format!("4{n}")),
        }
    }

    fn is_upgraded(&self) -> bool {
        self.client.transport() == Transport::WebSocket
    }

    /// Tells the client that no request is pending, if it wants to know.
    fn pause(&mut self) {
        if self.paused && !self.getting && !self.posting {
            self.paused = false;
            self.client.handle_paused();
        }
    }

    /// Does what both machines ask for, and writes what can be written.
    fn settle(&mut self) {
        self.pause();
        while let Some(transmit) = self.client.poll_transmit() {
            match transmit {
                ClientTransmit::Packet {
                    via: Via::Main,
                    packet,
                } => {
                    self.client_queue.push_back(packet.as_str().to_owned());
                }
                ClientTransmit::Packet {
                    via: Via::Probe,
                    packet,
                } => {
                    let is_upgrade = packet == ClientPacket::Upgrade;
                    self.send(Wire::ToServer(packet.as_str().to_owned()));
                    assert!(!is_upgrade || (!self.getting && !self.posting));
                }
                ClientTransmit::OpenProbe(_) => self.send(Wire::ProbeOpens),
                ClientTransmit::Pause => self.paused = true,
                ClientTransmit::CloseTransport { via: Via::Probe } => self.paused = false,
                ClientTransmit::CloseTransport { via: Via::Main } => {}
            }
            self.pause();
        }
        while let Some(event) = self.client.poll_event() {
            self.client_events.push(event);
        }
        while let Some(transmit) = self.server.poll_transmit() {
            match transmit {
                Transmit::Packet {
                    via: Via::Main,
                    packet,
                } => match packet {
                    // A noop only answers a GET that waits.
                    ControlPacket::Noop if self.server_queue.is_empty() => {
                        self.server_queue.push_back("6".to_owned());
                    }
                    ControlPacket::Noop => {}
                    packet => self.server_queue.push_back(packet.as_str().to_owned()),
                },
                Transmit::Packet {
                    via: Via::Probe,
                    packet,
                } => {
                    self.send(Wire::ToClient(packet.as_str().to_owned()));
                }
                Transmit::DiscardQueue => self.server_queue.clear(),
                Transmit::CloseTransport { .. } => {}
            }
        }
        while let Some(event) = self.server.poll_event() {
            if let Event::Upgraded(_) = event
                && std::mem::take(&mut self.server_get)
            {
                self.server.handle_get_answered();
                self.send(Wire::GetAnswer(vec!["6".to_owned()]));
            }
            self.server_events.push(event);
        }
        self.write();
    }

    fn write(&mut self) {
        if self.server.transport() == Transport::WebSocket {
            for packet in std::mem::take(&mut self.server_queue) {
                self.send(Wire::ToClient(packet));
            }
        } else if self.server_get && !self.server_queue.is_empty() {
            self.server_get = false;
            self.server.handle_get_answered();
            let packets = std::mem::take(&mut self.server_queue).into();
            self.send(Wire::GetAnswer(packets));
        }
        if !self.getting && !self.paused && self.client.can_poll(self.now) {
            self.getting = true;
            self.client.handle_poll_begun(self.now);
            self.send(Wire::Get);
        }
        if !self.client.can_write() {
            return;
        }
        if self.is_upgraded() {
            for packet in std::mem::take(&mut self.client_queue) {
                self.send(Wire::ToServer(packet));
            }
            return;
        }
        if !self.posting && !self.paused && !self.client_queue.is_empty() {
            self.posting = true;
            self.client.handle_writing(self.now);
            let packets = std::mem::take(&mut self.client_queue).into();
            self.send(Wire::Post(packets));
        }
    }

    fn client_gets(&mut self, via: Via, text: &str) {
        let packet = decode(self.revision, text);
        if let Some(Message::Text(text)) = self.client.handle_packet(via, packet, self.now) {
            self.received[1].push(text.parse().expect("a number"));
        }
    }

    fn server_gets(&mut self, via: Via, text: &str) {
        let packet = decode(self.revision, text);
        if let Some(Message::Text(text)) = self.server.handle_packet(via, packet, self.now) {
            self.received[0].push(text.parse().expect("a number"));
        }
    }

    fn arrive(&mut self, wire: Wire) {
        match wire {
            Wire::Get => {
                let queue = match self.server_queue.is_empty() {
                    true => Queue::Empty,
                    false => Queue::Filled,
                };
                assert_eq!(self.server.handle_get(queue), GetStart::Accepted);
                self.server_get = true;
            }
            Wire::Post(packets) => {
                assert_eq!(self.server.handle_post(), PostStart::Accepted);
                for packet in packets {
                    self.server_gets(Via::Main, &packet);
                }
                self.server.handle_post_done();
                self.send(Wire::PostAnswer);
            }
            Wire::GetAnswer(packets) => {
                self.getting = false;
                for packet in packets {
                    self.client_gets(Via::Main, &packet);
                }
                self.client.handle_poll_answered(self.now);
            }
            Wire::PostAnswer => {
                self.posting = false;
                self.client.handle_written(true, self.now);
            }
            Wire::ProbeOpens => {
                self.probe_open = self.server.handle_probe(Transport::WebSocket, self.now);
                assert!(self.probe_open);
                self.send(Wire::ProbeOpened);
            }
            Wire::ProbeOpened => self.client.handle_probe_opened(),
            Wire::ToServer(text) => {
                let via = match self.server.transport() {
                    Transport::WebSocket => Via::Main,
                    _ => Via::Probe,
                };
                self.server_gets(via, &text);
            }
            Wire::ToClient(text) => {
                let via = if self.is_upgraded() {
                    Via::Main
                } else {
                    Via::Probe
                };
                self.client_gets(via, &text);
            }
        }
    }

    /// Lets simulated time pass, with messages at random moments.
    fn run(&mut self, duration: Duration, messages_each_minute: u64) {
        let end = self.now + duration;
        let mut next_message = self.now;
        while self.now < end {
            self.settle();
            let arrival = match self.cut {
                true => None,
                false => self.wire.keys().next().map(|(at, _)| *at),
            };
            let timers = [self.client.poll_timeout(), self.server.poll_timeout()];
            let due = timers.into_iter().flatten().chain(arrival);
            let wanted = (messages_each_minute > 0).then_some(next_message);
            self.now = due.chain(wanted).min().unwrap_or(end).clamp(self.now, end);
            if wanted.is_some_and(|at| at <= self.now) {
                next_message = self.now + ms(1 + self.random.below(120_000 / messages_each_minute));
                let side = self.random.below(2) as usize;
                self.emit(side);
            }
            while let Some(entry) = self.wire.first_entry()
                && !self.cut
                && entry.key().0 <= self.now
            {
                let wire = entry.remove();
                self.arrive(wire);
                self.settle();
            }
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        self.settle();
    }

    fn closings(&self) -> (Vec<CloseReason>, Vec<CloseReason>) {
        let client = self.client_events.iter().filter_map(|event| match event {
            ClientEvent::Closed { reason, .. } => Some(*reason),
            _ => None,
        });
        let server = self.server_events.iter().filter_map(|event| match event {
            Event::Closed { reason, .. } => Some(*reason),
            _ => None,
        });
        (client.collect(), server.collect())
    }
}

fn decode(revision: Revision, text: &str) -> Packet<'_> {
    match revision {
        Revision::V4 => Packet::decode_text(text),
        Revision::V3 => socketio_proto::engine::v3::decode_text(text),
    }
    .expect("a packet")
}

// C003, C036: ten minutes of talk and heartbeats over an upgrade, nothing lost, doubled or out of order.
#[test]
fn both_ends_agree_over_a_slow_network() {
    for (seed, revision) in (1..200).flat_map(|n| [(n, Revision::V4), (n, Revision::V3)]) {
        let mut pair = Pair::new(seed, revision);
        pair.run(ms(10 * 60_000), 60);
        // What is on its way arrives.
        pair.run(ms(1000), 0);
        assert_eq!(pair.closings(), (vec![], vec![]), "seed {seed}");
        assert!(
            pair.is_upgraded() && pair.server.is_upgraded(),
            "seed {seed}"
        );
        for side in 0..2 {
            let expected: Vec<u64> = (0..pair.emitted[side]).collect();
            assert!(expected.len() > 200);
            assert_eq!(pair.received[side], expected, "seed {seed}");
        }
    }
}

// C036, E041: a network that dies without a word is noticed by both, once, within both times together.
#[test]
fn a_dead_network_is_noticed_by_both_ends() {
    for (seed, revision) in (1..100).flat_map(|n| [(n, Revision::V4), (n, Revision::V3)]) {
        let mut pair = Pair::new(seed, revision);
        pair.run(ms(seed * 700), 60);
        pair.cut = true;
        pair.run(ms(25_000 + 20_000 + 1000), 10);
        let (client, server) = pair.closings();
        assert_eq!(client, [CloseReason::PingTimeout], "seed {seed}");
        // The server counts from the last pong, up to one interval before.
        pair.run(ms(25_000), 10);
        assert!(
            !client.is_empty() && pair.closings().1 == [CloseReason::PingTimeout],
            "seed {seed} {server:?}"
        );
    }
}
