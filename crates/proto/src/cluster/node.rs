//! A server among others which know each other by heartbeats.
//!
//! One node is one namespace of one server, with an id of its own. Where Redis counts the servers,
//! there are no heartbeats, and [`Requests`] are used alone. Specification: socket.io-adapter 2.5.8,
//! `ClusterAdapterWithHeartbeat`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::message::{Body, Message, RequestId, Uid};
use super::requests::{
    Answer, Expected, Finished, Question, Requests, RequestsConfig, TooManyRequests,
};

/// One node of a cluster.
///
/// After every `handle_*` and every command: publish what
/// [`poll_transmit`](Node::poll_transmit) gives, drain [`poll_event`](Node::poll_event), and call
/// [`handle_timeout`](Node::handle_timeout) at [`poll_timeout`](Node::poll_timeout). Being called early
/// or twice does no harm.
///
/// Before a node is made, its messages should be listened to: it begins by asking who is there.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    uid: Uid,
    nsp: String,
    phase: Phase,
    /// When each peer was heard last.
    peers: HashMap<Uid, Instant>,
    requests: Requests,
    transmits: VecDeque<Body>,
    events: VecDeque<NodeEvent>,
}

/// The times and bounds of a [`Node`]. All nodes need the same times.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    /// After how long a silence the node says that it is alive.
    pub heartbeat_interval: Duration,
    /// After how long a silence a peer is gone. It is noticed within a second.
    pub heartbeat_timeout: Duration,
    /// How many peers there may be. Others are not counted, and not asked.
    pub max_peers: usize,
    /// The bounds of requests.
    pub requests: RequestsConfig,
}

impl Default for NodeConfig {
    /// Five and ten seconds, a thousand peers.
    fn default() -> NodeConfig {
        NodeConfig {
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            max_peers: 1000,
            requests: RequestsConfig::default(),
        }
    }
}

/// What happens to a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NodeEvent {
    /// A peer was heard for the first time.
    Joined(Uid),
    /// A peer has taken its leave, or is silent.
    Left(Uid),
    /// A request waits no longer.
    Finished(Finished),
}

#[derive(Debug)]
enum Phase {
    Open {
        next_heartbeat: Instant,
        /// When peers are looked at.
        next_check: Instant,
    },
    Closed,
}

impl Node {
    /// Comes into the cluster.
    pub fn new(config: NodeConfig, uid: Uid, nsp: impl Into<String>, now: Instant) -> Node {
        Node {
            uid,
            nsp: nsp.into(),
            phase: Phase::Open {
                next_heartbeat: now + config.heartbeat_interval,
                next_check: now + CHECK_INTERVAL,
            },
            peers: HashMap::new(),
            requests: Requests::new(config.requests),
            transmits: VecDeque::from([Body::InitialHeartbeat]),
            events: VecDeque::new(),
            config,
        }
    }

    /// The node's id.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The number of servers, this one included.
    pub fn server_count(&self) -> usize {
        1 + self.peers.len()
    }

    /// The other nodes, in no order.
    pub fn peers(&self) -> impl Iterator<Item = &Uid> {
        self.peers.keys()
    }

    /// Makes a message of what this node says.
    pub fn message(&self, body: Body) -> Message {
        Message {
            uid: self.uid.clone(),
            nsp: self.nsp.clone(),
            body,
        }
    }

    // --- What comes in ---

    /// Handles a message; gives it back if it is for the application. One's own are not.
    #[must_use = "a message is for the application"]
    pub fn handle_message(&mut self, message: Message, now: Instant) -> Option<Message> {
        let is_closed = matches!(self.phase, Phase::Closed);
        if is_closed || message.uid == self.uid || message.nsp != self.nsp {
            return None;
        }
        let Message { uid, nsp, body } = message;
        if !uid.is_emitter() && body != Body::AdapterClose {
            self.note(&uid, now);
        }
        // What answers without a name is counted, where servers are.
        let from = (!uid.is_emitter()).then_some(&uid);
        match body {
            Body::InitialHeartbeat => self.beat(now),
            Body::Heartbeat => {}
            Body::AdapterClose => self.remove(&uid),
            Body::FetchSocketsResponse {
                request_id,
                sockets,
            } => {
                let answer = Answer::Sockets(sockets);
                self.requests.handle_answer(&request_id, from, answer);
            }
            Body::ServerSideEmitResponse { request_id, value } => {
                let answer = Answer::Value(value);
                self.requests.handle_answer(&request_id, from, answer);
            }
            Body::BroadcastClientCount {
                request_id,
                client_count,
            } => {
                self.requests
                    .handle_client_count(&request_id, from, client_count);
            }
            Body::BroadcastAck { request_id, value } => {
                self.requests.handle_ack(&request_id, value);
            }
            Body::Broadcast { .. }
            | Body::SocketsJoin { .. }
            | Body::SocketsLeave { .. }
            | Body::DisconnectSockets { .. }
            | Body::FetchSockets { .. }
            | Body::ServerSideEmit { .. } => return Some(Message { uid, nsp, body }),
        }
        None
    }

    /// Learns that the application has published a message.
    ///
    /// Requests, and events for servers, show as well as a heartbeat that the node is alive.
    pub fn handle_published(&mut self, body: &Body, now: Instant) {
        let is_sign = match body {
            Body::InitialHeartbeat
            | Body::Heartbeat
            | Body::FetchSockets { .. }
            | Body::ServerSideEmit { .. }
            | Body::AdapterClose => true,
            Body::Broadcast { request_id, .. } => request_id.is_some(),
            Body::SocketsJoin { .. }
            | Body::SocketsLeave { .. }
            | Body::DisconnectSockets { .. }
            | Body::FetchSocketsResponse { .. }
            | Body::ServerSideEmitResponse { .. }
            | Body::BroadcastClientCount { .. }
            | Body::BroadcastAck { .. } => false,
        };
        if let Phase::Open { next_heartbeat, .. } = &mut self.phase
            && is_sign
        {
            *next_heartbeat = now + self.config.heartbeat_interval;
        }
    }

    // --- Commands ---

    /// Starts to wait for the answers of all peers, at most for `timeout`. Publishing the question is
    /// the caller's; without peers, or when the node is closed, the request finishes at once.
    ///
    /// # Errors
    ///
    /// When too many requests wait already.
    pub fn start_request(
        &mut self,
        id: RequestId,
        question: Question,
        timeout: Duration,
        now: Instant,
    ) -> Result<(), TooManyRequests> {
        let nodes: BTreeSet<Uid> = self.peers.keys().cloned().collect();
        self.requests
            .start(id, question, Expected::Nodes(nodes), timeout, now)?;
        if let Phase::Closed = self.phase {
            self.requests.close();
        }
        Ok(())
    }

    /// The requests: to take the answers of this server's own sockets, and to cancel.
    pub fn requests(&mut self) -> &mut Requests {
        &mut self.requests
    }

    /// Takes leave of the cluster. Requests that wait are finished with what has come.
    pub fn close(&mut self) {
        if let Phase::Open { .. } = self.phase {
            self.phase = Phase::Closed;
            self.transmits.clear();
            self.transmits.push_back(Body::AdapterClose);
            self.peers.clear();
            self.requests.close();
        }
    }

    // --- Time ---

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.requests.handle_timeout(now);
        let Phase::Open {
            next_heartbeat,
            next_check,
        } = &mut self.phase
        else {
            return;
        };
        let is_check_due = *next_check <= now;
        if is_check_due {
            *next_check = now + CHECK_INTERVAL;
        }
        if *next_heartbeat <= now {
            self.beat(now);
        }
        if is_check_due {
            let timeout = self.config.heartbeat_timeout;
            let silent = |last: &Instant| now.saturating_duration_since(*last) > timeout;
            let peers = self.peers.iter();
            let mut gone: Vec<_> = peers
                .filter(|(_, last)| silent(last))
                .map(|(uid, _)| uid.clone())
                .collect();
            gone.sort_unstable();
            gone.iter().for_each(|uid| self.remove(uid));
        }
    }

    /// When [`handle_timeout`](Node::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Open { next_heartbeat, .. } if self.peers.is_empty() => Some(next_heartbeat),
            Phase::Open {
                next_heartbeat,
                next_check,
            } => Some(next_heartbeat.min(next_check)),
            Phase::Closed => None,
        };
        own.into_iter().chain(self.requests.poll_timeout()).min()
    }

    // --- What goes out ---

    /// Gives what is to be published, as a [`message`](Node::message).
    pub fn poll_transmit(&mut self) -> Option<Body> {
        self.transmits.pop_front()
    }

    /// Gives what has happened.
    pub fn poll_event(&mut self) -> Option<NodeEvent> {
        let finished = |requests: &mut Requests| requests.poll_finished().map(NodeEvent::Finished);
        self.events
            .pop_front()
            .or_else(|| finished(&mut self.requests))
    }

    /// Has a heartbeat sent. Several that are asked for together are one.
    fn beat(&mut self, now: Instant) {
        if !self.transmits.contains(&Body::Heartbeat) {
            self.transmits.push_back(Body::Heartbeat);
        }
        self.handle_published(&Body::Heartbeat, now);
    }

    fn note(&mut self, uid: &Uid, now: Instant) {
        if let Some(last) = self.peers.get_mut(uid) {
            *last = now;
        } else if self.peers.len() < self.config.max_peers {
            self.peers.insert(uid.clone(), now);
            self.events.push_back(NodeEvent::Joined(uid.clone()));
        }
    }

    fn remove(&mut self, uid: &Uid) {
        if self.peers.remove(uid).is_some() {
            self.events.push_back(NodeEvent::Left(uid.clone()));
            self.requests.handle_node_gone(uid);
        }
    }
}

/// How often it is looked for silent peers. Spec: socket.io-adapter 2.5.8, `cleanupTimer`.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::message::{BroadcastOptions, Event, Sockets, Values};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        Instant::now()
    }

    /// Nodes that hear each other at once, and a clock.
    struct Cluster {
        nodes: Vec<Node>,
        now: Instant,
        start: Instant,
        /// Those that are not heard, and do not hear.
        cut_off: Vec<usize>,
        events: Vec<(u64, usize, NodeEvent)>,
        /// Heartbeats: when, and whose.
        beats: Vec<(u64, usize)>,
    }

    impl Cluster {
        fn new(count: usize) -> Cluster {
            let now = start();
            let node = |i| Node::new(NodeConfig::default(), uid(i), "/", now);
            let mut cluster = Cluster {
                nodes: (0..count).map(node).collect(),
                now,
                start: now,
                cut_off: Vec::new(),
                events: Vec::new(),
                beats: Vec::new(),
            };
            cluster.drain();
            cluster
        }

        fn seconds(&self) -> u64 {
            (self.now - self.start).as_secs()
        }

        fn drain(&mut self) {
            while let Some((from, body)) = self.next() {
                if body == Body::Heartbeat {
                    self.beats.push((self.seconds(), from));
                }
                self.publish(from, body);
            }
            for i in 0..self.nodes.len() {
                while let Some(event) = self.nodes[i].poll_event() {
                    self.events.push((self.seconds(), i, event));
                }
            }
        }

        fn next(&mut self) -> Option<(usize, Body)> {
            let mut nodes = self.nodes.iter_mut().enumerate();
            nodes.find_map(|(i, node)| Some((i, node.poll_transmit()?)))
        }

        fn publish(&mut self, from: usize, body: Body) {
            let message = self.nodes[from].message(body);
            for i in 0..self.nodes.len() {
                if !self.cut_off.contains(&from) && !self.cut_off.contains(&i) {
                    let passed = self.nodes[i].handle_message(message.clone(), self.now);
                    assert!(passed.is_none() || i != from);
                }
            }
        }

        fn run(&mut self, seconds: u64) {
            let end = self.now + Duration::from_secs(seconds);
            loop {
                let due = self.nodes.iter().filter_map(Node::poll_timeout).min();
                let Some(due) = due.filter(|due| *due <= end) else {
                    break;
                };
                self.now = due;
                self.nodes
                    .iter_mut()
                    .for_each(|node| node.handle_timeout(due));
                self.drain();
            }
            self.now = end;
        }

        fn counts(&self) -> Vec<usize> {
            self.nodes.iter().map(Node::server_count).collect()
        }
    }

    fn uid(i: usize) -> Uid {
        Uid::new(format!("node{i}"))
    }

    fn fetch(id: &str) -> Body {
        Body::FetchSockets {
            opts: BroadcastOptions::default(),
            request_id: RequestId::new(id),
        }
    }

    fn response(id: &str) -> Body {
        Body::FetchSocketsResponse {
            request_id: RequestId::new(id),
            sockets: Sockets::default(),
        }
    }

    #[test]
    fn nodes_find_each_other_at_once() {
        let cluster = Cluster::new(3);
        assert_eq!(cluster.counts(), [3, 3, 3]);
        assert_eq!(cluster.events.len(), 6);
        let joined = (0, 0, NodeEvent::Joined(uid(1)));
        assert!(cluster.events.contains(&joined));
    }

    #[test]
    fn idle_nodes_beat_every_five_seconds() {
        let mut cluster = Cluster::new(2);
        cluster.beats.clear();
        cluster.run(3600);
        assert_eq!(cluster.counts(), [2, 2]);
        assert_eq!(cluster.beats.len(), 2 * 720);
        assert_eq!(cluster.beats[..2], [(5, 0), (5, 1)]);
    }

    #[test]
    fn a_question_is_as_good_as_a_heartbeat() {
        let mut cluster = Cluster::new(2);
        cluster.beats.clear();
        cluster.run(4);
        let now = cluster.now;
        cluster.nodes[0].handle_published(&fetch("1"), now);
        let join = Body::SocketsJoin {
            opts: BroadcastOptions::default(),
            rooms: Vec::new(),
        };
        cluster.nodes[1].handle_published(&join, now);
        cluster.run(5);
        assert_eq!(cluster.beats, [(5, 1), (9, 0)]);
    }

    #[test]
    fn a_silent_node_is_gone_after_ten_to_eleven_seconds() {
        let mut cluster = Cluster::new(3);
        cluster.cut_off.push(2);
        cluster.events.clear();
        cluster.run(10);
        assert_eq!(cluster.counts(), [3, 3, 3]);
        cluster.run(1);
        assert_eq!(cluster.counts(), [2, 2, 1]);
        let left = (11, 0, NodeEvent::Left(uid(2)));
        assert!(cluster.events.contains(&left), "{:?}", cluster.events);
        cluster.cut_off.clear();
        cluster.run(5);
        assert_eq!(cluster.counts(), [3, 3, 3]);
    }

    #[test]
    fn a_node_that_takes_its_leave_is_gone_at_once() {
        let mut cluster = Cluster::new(2);
        cluster.events.clear();
        cluster.nodes[1].close();
        cluster.nodes[1].close();
        cluster.drain();
        assert_eq!(cluster.counts(), [1, 1]);
        assert_eq!(cluster.events, [(0, 0, NodeEvent::Left(uid(1)))]);
        assert_eq!(cluster.nodes[1].poll_timeout(), None);
        cluster.run(60);
        assert_eq!(cluster.events.len(), 1);
    }

    #[test]
    fn a_request_gathers_the_answers_of_all() {
        let mut cluster = Cluster::new(3);
        let (now, id) = (cluster.now, RequestId::new("1"));
        let node = &mut cluster.nodes[0];
        node.start_request(id, Question::Servers, 5 * SECOND, now)
            .unwrap();
        cluster.events.clear();
        cluster.publish(1, response("1"));
        cluster.publish(1, response("1"));
        cluster.publish(1, response("other"));
        cluster.drain();
        assert!(cluster.events.is_empty());
        cluster.publish(2, response("1"));
        cluster.drain();
        let [(0, 0, NodeEvent::Finished(finished))] = &cluster.events[..] else {
            panic!("{:?}", cluster.events);
        };
        assert_eq!(finished.answers.len(), 2);
        assert!(finished.missing.is_nothing());
    }

    #[test]
    fn a_dead_node_shortens_the_wait() {
        let mut cluster = Cluster::new(3);
        cluster.cut_off.push(2);
        let (now, id) = (cluster.now, RequestId::new("1"));
        let node = &mut cluster.nodes[0];
        node.start_request(id, Question::Servers, 60 * SECOND, now)
            .unwrap();
        cluster.events.clear();
        cluster.publish(1, response("1"));
        cluster.run(30);
        let finished = cluster.events.iter().find_map(|event| match event {
            (at, 0, NodeEvent::Finished(finished)) => Some((*at, finished)),
            _ => None,
        });
        let (at, finished) = finished.unwrap();
        assert_eq!(at, 11);
        assert!(finished.missing.is_nothing());
    }

    #[test]
    fn a_silent_node_is_named_when_time_is_up() {
        let mut cluster = Cluster::new(2);
        let (now, id) = (cluster.now, RequestId::new("1"));
        let node = &mut cluster.nodes[0];
        node.start_request(id, Question::Servers, 5 * SECOND, now)
            .unwrap();
        cluster.events.clear();
        cluster.run(6);
        let [(5, 0, NodeEvent::Finished(finished))] = &cluster.events[..] else {
            panic!("{:?}", cluster.events);
        };
        assert_eq!(finished.missing.nodes, [uid(1)]);
    }

    #[test]
    fn closing_finishes_requests() {
        let mut cluster = Cluster::new(2);
        let (now, id) = (cluster.now, RequestId::new("1"));
        let node = &mut cluster.nodes[0];
        node.start_request(id, Question::Servers, 5 * SECOND, now)
            .unwrap();
        node.close();
        let finished = node.poll_event();
        let Some(NodeEvent::Finished(finished)) = finished else {
            panic!("{finished:?}");
        };
        assert_eq!(finished.missing.nodes, [uid(1)]);
        assert_eq!(node.poll_event(), None);
    }

    #[test]
    fn only_messages_for_the_application_are_given_back() {
        let now = start();
        let mut node = Node::new(NodeConfig::default(), uid(0), "/", now);
        let event = Event {
            name: "a".to_owned(),
            args: Values::default(),
        };
        let emit = Body::ServerSideEmit {
            event,
            request_id: None,
        };
        let from = |uid: Uid, nsp: &str| Message {
            uid,
            nsp: nsp.to_owned(),
            body: emit.clone(),
        };
        for (message, is_passed, count) in [
            (from(uid(0), "/"), false, 1),
            (from(uid(1), "/foo"), false, 1),
            (from(Uid::new(Uid::EMITTER), "/"), true, 1),
            (from(uid(1), "/"), true, 2),
        ] {
            let passed = node.handle_message(message, now);
            assert_eq!(passed.is_some(), is_passed);
            assert_eq!(node.server_count(), count);
        }
    }

    #[test]
    fn peers_and_heartbeats_are_bounded() {
        let now = start();
        let config = NodeConfig {
            max_peers: 3,
            ..NodeConfig::default()
        };
        let mut node = Node::new(config, uid(0), "/", now);
        assert_eq!(node.poll_transmit(), Some(Body::InitialHeartbeat));
        for i in 1..100 {
            let message = Message {
                uid: uid(i),
                nsp: "/".to_owned(),
                body: Body::InitialHeartbeat,
            };
            assert_eq!(node.handle_message(message, now), None);
        }
        assert_eq!(node.server_count(), 4);
        assert_eq!(node.poll_transmit(), Some(Body::Heartbeat));
        assert_eq!(node.poll_transmit(), None);
    }
}
