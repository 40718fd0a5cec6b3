//! Questions to other servers that wait for answers.
//!
//! Where servers know each other by heartbeats, a request waits for certain nodes, and one that is
//! gone is not waited for; elsewhere it waits for a number of answers, which Redis has counted.
//! Asking, and doing the local part, are the caller's. Specification: socket.io-adapter 2.5.8, whose
//! requests do not bound what they gather.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::message::{RequestId, Sockets, Uid, Values};

/// The requests of one adapter.
///
/// After every `handle_*` and every command, drain [`poll_finished`](Requests::poll_finished), and
/// call [`handle_timeout`](Requests::handle_timeout) at [`poll_timeout`](Requests::poll_timeout). Each
/// request that was started finishes once, unless it is [cancelled](Requests::cancel).
#[derive(Debug)]
pub struct Requests {
    config: RequestsConfig,
    pending: HashMap<RequestId, Pending>,
    deadlines: BTreeSet<(Instant, RequestId)>,
    finished: VecDeque<Finished>,
}

/// The bounds of [`Requests`].
#[derive(Clone, Copy, Debug)]
pub struct RequestsConfig {
    /// How many may wait at the same time.
    pub max_pending: usize,
    /// How many answers one keeps. What is beyond that is missing.
    pub max_answers: usize,
}

impl Default for RequestsConfig {
    /// Ten thousand requests, a million answers.
    fn default() -> RequestsConfig {
        RequestsConfig {
            max_pending: 10_000,
            max_answers: 1_000_000,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// One answer of each server.
    Servers,
    /// Answers of sockets: each server says how many of its own there will be, and then gives them.
    Clients {
        /// How many sockets of this server are to answer.
        local: u64,
    },
}

/// Whose answers are awaited; never one's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expected {
    /// So many servers.
    Count(usize),
    /// These nodes.
    Nodes(BTreeSet<Uid>),
    /// It is being asked; [`Requests::handle_server_count`] will tell.
    Unknown,
}

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The server has nothing to say.
    Nothing,
    /// The names of rooms.
    Rooms(Vec<String>),
    /// Sockets.
    Sockets(Sockets),
    /// A value; none is `undefined`.
    Value(Option<Values>),
}

/// A request that waits no longer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finished {
    /// The request.
    pub id: RequestId,
    /// What came, in its order.
    pub answers: Vec<Answer>,
    /// What did not.
    pub missing: Missing,
}

/// Whose answers did not come.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Missing {
    /// How many servers.
    pub servers: usize,
    /// Which, where they are known.
    pub nodes: Vec<Uid>,
    /// How many sockets, of the servers that told.
    pub clients: u64,
}

impl Missing {
    /// Says whether all answers came.
    pub fn is_nothing(&self) -> bool {
        self.servers == 0 && self.clients == 0
    }
}

/// Too many requests wait already.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("too many requests to other servers are pending")]
pub struct TooManyRequests;

#[derive(Debug)]
struct Pending {
    deadline: Instant,
    waiting: Waiting,
    /// For answers of sockets.
    clients: Option<Clients>,
    answers: Vec<Answer>,
}

/// The servers that have not answered.
#[derive(Debug)]
enum Waiting {
    Count {
        /// How many are to answer, once that is known.
        expected: Option<usize>,
        came: usize,
        /// Those that have answered and have a name.
        heard: BTreeSet<Uid>,
    },
    Nodes(BTreeSet<Uid>),
}

#[derive(Debug)]
struct Clients {
    /// How many are to answer, as far as it is known.
    expected: u64,
    came: u64,
}

impl Requests {
    /// Begins without requests.
    pub fn new(config: RequestsConfig) -> Requests {
        Requests {
            config,
            pending: HashMap::new(),
            deadlines: BTreeSet::new(),
            finished: VecDeque::new(),
        }
    }

    /// The number of requests that wait.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Says whether none waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Says whether a request is one of these: one's own requests come back on some channels.
    pub fn contains(&self, id: &RequestId) -> bool {
        self.pending.contains_key(id)
    }

    // --- Commands ---

    /// Starts to wait, at most for `timeout`. If there is nobody to wait for, the request finishes at
    /// once.
    ///
    /// # Errors
    ///
    /// When too many wait already, or one with this id.
    pub fn start(
        &mut self,
        id: RequestId,
        question: Question,
        expected: Expected,
        timeout: Duration,
        now: Instant,
    ) -> Result<(), TooManyRequests> {
        if self.pending.len() >= self.config.max_pending || self.contains(&id) {
            return Err(TooManyRequests);
        }
        let deadline = now + timeout.min(MAX_TIMEOUT);
        let count = |expected| Waiting::Count {
            expected,
            came: 0,
            heard: BTreeSet::new(),
        };
        let pending = Pending {
            deadline,
            waiting: match expected {
                Expected::Count(servers) => count(Some(servers)),
                Expected::Nodes(nodes) => Waiting::Nodes(nodes),
                Expected::Unknown => count(None),
            },
            clients: match question {
                Question::Servers => None,
                Question::Clients { local } => Some(Clients {
                    expected: local,
                    came: 0,
                }),
            },
            answers: Vec::new(),
        };
        self.deadlines.insert((deadline, id.clone()));
        self.pending.insert(id.clone(), pending);
        self.finish_if_complete(&id);
        Ok(())
    }

    /// Forgets a request, which then does not finish.
    pub fn cancel(&mut self, id: &RequestId) {
        self.remove(id);
    }

    /// Finishes all requests with what has come.
    pub fn close(&mut self) {
        for (_, id) in std::mem::take(&mut self.deadlines) {
            self.finish(&id);
        }
    }

    // --- What comes in ---

    /// Handles a server's answer. Strangers, and those who have answered, are not listened to.
    pub fn handle_answer(&mut self, id: &RequestId, from: Option<&Uid>, answer: Answer) {
        let max = self.config.max_answers;
        let Some(pending) = self.pending.get_mut(id) else {
            return;
        };
        if pending.clients.is_none() && pending.waiting.heard(from, max) {
            pending.answers.push(answer);
            self.finish_if_complete(id);
        }
    }

    /// Learns how many sockets of a server are to answer.
    pub fn handle_client_count(&mut self, id: &RequestId, from: Option<&Uid>, count: u64) {
        let max = self.config.max_answers;
        let Some(pending) = self.pending.get_mut(id) else {
            return;
        };
        if let Some(clients) = &mut pending.clients
            && pending.waiting.heard(from, max)
        {
            clients.expected = clients.expected.saturating_add(count);
            self.finish_if_complete(id);
        }
    }

    /// Handles the answer of a socket of any server, this one included.
    pub fn handle_ack(&mut self, id: &RequestId, value: Option<Values>) {
        let Some(pending) = self.pending.get_mut(id) else {
            return;
        };
        if let Some(clients) = &mut pending.clients
            && pending.answers.len() < self.config.max_answers
        {
            clients.came += 1;
            pending.answers.push(Answer::Value(value));
            self.finish_if_complete(id);
        }
    }

    /// Learns how many servers there are, besides this one, where that was unknown.
    pub fn handle_server_count(&mut self, id: &RequestId, others: usize) {
        if let Some(pending) = self.pending.get_mut(id)
            && let Waiting::Count { expected, .. } = &mut pending.waiting
            && expected.is_none()
        {
            *expected = Some(others);
            self.finish_if_complete(id);
        }
    }

    /// Learns that a node is gone: its answers are not awaited any longer. Those of its sockets are,
    /// if it has told their number, as those of any that are silent.
    pub fn handle_node_gone(&mut self, uid: &Uid) {
        let gone = |pending: &mut Pending| match &mut pending.waiting {
            Waiting::Nodes(nodes) => nodes.remove(uid) && pending.is_complete(),
            Waiting::Count { .. } => false,
        };
        let pending = self.pending.iter_mut();
        let complete = pending.filter_map(|(id, pending)| gone(pending).then(|| id.clone()));
        let mut complete: Vec<_> = complete.collect();
        // The order of a map is never the same.
        complete.sort_unstable();
        complete.iter().for_each(|id| self.finish(id));
    }

    // --- Time ---

    /// Finishes what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.first()
            && *deadline <= now
        {
            let id = id.clone();
            self.finish(&id);
        }
    }

    /// When [`handle_timeout`](Requests::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    // --- What goes out ---

    /// Gives a request that waits no longer.
    pub fn poll_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    fn finish_if_complete(&mut self, id: &RequestId) {
        if self.pending.get(id).is_some_and(Pending::is_complete) {
            self.finish(id);
        }
    }

    fn finish(&mut self, id: &RequestId) {
        if let Some(pending) = self.remove(id) {
            self.finished.push_back(Finished {
                id: id.clone(),
                missing: pending.missing(),
                answers: pending.answers,
            });
        }
    }

    fn remove(&mut self, id: &RequestId) -> Option<Pending> {
        let pending = self.pending.remove(id)?;
        self.deadlines.remove(&(pending.deadline, id.clone()));
        Some(pending)
    }
}

impl Pending {
    fn is_complete(&self) -> bool {
        let clients = self.clients.as_ref();
        self.waiting.is_over() && clients.is_none_or(|clients| clients.came >= clients.expected)
    }

    fn missing(&self) -> Missing {
        let (servers, nodes) = match &self.waiting {
            Waiting::Count { expected, came, .. } => (
                expected.unwrap_or_default().saturating_sub(*came),
                Vec::new(),
            ),
            Waiting::Nodes(nodes) => (nodes.len(), nodes.iter().cloned().collect()),
        };
        let clients = self.clients.as_ref();
        Missing {
            servers,
            nodes,
            clients: clients.map_or(0, |clients| clients.expected.saturating_sub(clients.came)),
        }
    }
}

impl Waiting {
    /// Notes a server's answer; says whether it was awaited.
    fn heard(&mut self, from: Option<&Uid>, max: usize) -> bool {
        match self {
            Waiting::Count { came, heard, .. } => {
                if *came >= max || from.is_some_and(|uid| !heard.insert(uid.clone())) {
                    return false;
                }
                *came += 1;
                true
            }
            Waiting::Nodes(nodes) => from.is_some_and(|uid| nodes.remove(uid)),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Waiting::Count { expected, came, .. } => {
                expected.is_some_and(|servers| *came >= servers)
            }
            Waiting::Nodes(nodes) => nodes.is_empty(),
        }
    }
}

/// Nothing waits longer: timers of JavaScript have 31 bits.
const MAX_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        Instant::now()
    }

    fn requests() -> Requests {
        Requests::new(RequestsConfig {
            max_pending: 2,
            max_answers: 3,
        })
    }

    fn value(text: &str) -> Option<Values> {
        Values::new(text.to_owned(), Vec::new())
    }

    fn uid(id: &str) -> Uid {
        Uid::new(id)
    }

    fn nodes(ids: &[&str]) -> Expected {
        Expected::Nodes(ids.iter().map(|&id| uid(id)).collect())
    }

    #[test]
    fn a_request_finishes_when_all_nodes_have_answered() {
        let (mut requests, now, id) = (requests(), start(), RequestId::new("1"));
        let started = requests.start(
            id.clone(),
            Question::Servers,
            nodes(&["a", "b"]),
            SECOND,
            now,
        );
        assert_eq!(started, Ok(()));
        assert_eq!(requests.poll_timeout(), Some(now + SECOND));
        requests.handle_answer(&id, Some(&uid("a")), Answer::Value(value("1")));
        requests.handle_answer(&id, Some(&uid("a")), Answer::Value(value("2")));
        requests.handle_answer(&id, Some(&uid("stranger")), Answer::Value(value("3")));
        requests.handle_ack(&id, value("4"));
        requests.handle_client_count(&id, Some(&uid("b")), 1);
        assert_eq!(requests.poll_finished(), None);
        requests.handle_answer(&id, Some(&uid("b")), Answer::Nothing);
        let finished = Finished {
            id: id.clone(),
            answers: vec![Answer::Value(value("1")), Answer::Nothing],
            missing: Missing::default(),
        };
        assert_eq!(requests.poll_finished(), Some(finished));
        requests.handle_timeout(now + SECOND);
        requests.handle_answer(&id, Some(&uid("b")), Answer::Nothing);
        assert_eq!(requests.poll_finished(), None);
        assert_eq!(requests.poll_timeout(), None);
    }

    #[test]
    fn a_timeout_tells_what_came_and_who_is_missing() {
        let (mut requests, now, id) = (requests(), start(), RequestId::new("1"));
        let expected = nodes(&["a", "b", "c"]);
        requests
            .start(id.clone(), Question::Servers, expected, SECOND, now)
            .unwrap();
        requests.handle_answer(&id, Some(&uid("b")), Answer::Nothing);
        requests.handle_timeout(now + SECOND - Duration::from_nanos(1));
        assert_eq!(requests.poll_finished(), None);
        requests.handle_timeout(now + SECOND);
        let finished = requests.poll_finished().unwrap();
        assert_eq!(finished.answers, [Answer::Nothing]);
        assert_eq!(finished.missing.servers, 2);
        assert_eq!(finished.missing.nodes, [uid("a"), uid("c")]);
        assert!(requests.is_empty());
    }

    #[test]
    fn nobody_waits_for_a_node_that_is_gone() {
        let (mut requests, now, id) = (requests(), start(), RequestId::new("1"));
        requests
            .start(
                id.clone(),
                Question::Servers,
                nodes(&["a", "b"]),
                SECOND,
                now,
            )
            .unwrap();
        requests.handle_answer(&id, Some(&uid("a")), Answer::Nothing);
        requests.handle_node_gone(&uid("b"));
        let finished = requests.poll_finished().unwrap();
        assert!(finished.missing.is_nothing());
        assert_eq!(finished.answers.len(), 1);
    }

    #[test]
    fn answers_of_sockets_are_counted_by_server() {
        let (mut requests, now, id) = (requests(), start(), RequestId::new("1"));
        let question = Question::Clients { local: 1 };
        requests
            .start(id.clone(), question, Expected::Unknown, SECOND, now)
            .unwrap();
        requests.handle_client_count(&id, Some(&uid("a")), 1);
        requests.handle_client_count(&id, Some(&uid("a")), 5);
        requests.handle_ack(&id, value("1"));
        requests.handle_ack(&id, None);
        requests.handle_server_count(&id, 2);
        assert_eq!(requests.poll_finished(), None);
        requests.handle_client_count(&id, Some(&uid("b")), 0);
        let finished = requests.poll_finished().unwrap();
        assert_eq!(
            finished.answers,
            [Answer::Value(value("1")), Answer::Value(None)]
        );
        assert!(finished.missing.is_nothing());
    }

    #[test]
    fn silent_sockets_are_missing() {
        let (mut requests, now, id) = (requests(), start(), RequestId::new("1"));
        let question = Question::Clients { local: 2 };
        requests
            .start(id.clone(), question, Expected::Count(2), SECOND, now)
            .unwrap();
        requests.handle_client_count(&id, None, u64::MAX);
        requests.handle_ack(&id, None);
        requests.handle_timeout(now + 2 * SECOND);
        let missing = requests.poll_finished().unwrap().missing;
        assert_eq!((missing.servers, missing.clients), (1, u64::MAX - 1));
    }

    #[test]
    fn alone_a_request_finishes_at_once() {
        for expected in [Expected::Count(0), nodes(&[])] {
            let (mut requests, id) = (requests(), RequestId::new("1"));
            requests
                .start(id, Question::Servers, expected, SECOND, start())
                .unwrap();
            assert!(requests.poll_finished().unwrap().answers.is_empty());
        }
    }

    #[test]
    fn requests_and_their_answers_are_bounded() {
        let (mut requests, now) = (requests(), start());
        let mut start = |id: &str| {
            let question = Question::Clients { local: 5 };
            requests.start(
                RequestId::new(id),
                question,
                Expected::Count(0),
                SECOND,
                now,
            )
        };
        assert_eq!(start("1"), Ok(()));
        assert_eq!(start("1"), Err(TooManyRequests));
        assert_eq!(start("2"), Ok(()));
        assert_eq!(start("3"), Err(TooManyRequests));
        for _ in 0..9 {
            requests.handle_ack(&RequestId::new("1"), None);
        }
        requests.cancel(&RequestId::new("2"));
        requests.close();
        let finished = requests.poll_finished().unwrap();
        assert_eq!((finished.answers.len(), finished.missing.clients), (3, 2));
        assert_eq!(requests.poll_finished(), None);
    }
}
