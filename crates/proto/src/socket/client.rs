//! One namespace as a client sees it: joining, what is kept while it is away, answers, recovery.
//!
//! Events are the caller's (`E`), as are those who wait for answers (`W`): here stands what is sent
//! when, and what is kept, forgotten or failed. Acks are counted from 0 and never twice.
//!
//! Spec: Socket.IO v5, "Connection to a namespace"; the reference's client for what it keeps.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value};
use thiserror::Error;

use super::connection::EventRef;
use super::json::MalformedJson;
use super::kept::Kept;
use super::reader::Reader;

/// One namespace as a client sees it.
#[derive(Debug)]
pub struct ClientSocket<E, W> {
    config: ClientSocketConfig,
    phase: Phase,
    sid: Option<Box<str>>,
    pid: Option<Box<str>>,
    offset: Option<Box<str>>,
    recovered: bool,
    next_id: u64,
    waiters: HashMap<u64, W>,
    /// What was emitted while the namespace was not joined.
    offline: Kept<Place, Offline<E>>,
    /// What came before the namespace was joined: the server sends what was missed ahead of its answer.
    received: VecDeque<StoredEvent>,
    received_bytes: usize,
    /// What is sent until it is answered, one after the other.
    retried: Kept<u64, Retried<E, W>>,
    /// The next number of those that are kept and have no other.
    next_ticket: u64,
}

/// How a client's namespaces behave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientSocketConfig {
    /// How many bytes of events are kept while the namespace is away, and how many that come before it
    /// is joined. Where nothing is kept, one event of any size is.
    pub max_bytes: usize,
    /// How often an event is sent again that was not answered.
    pub retries: u32,
    /// How long an answer to a try may take; `None` is without bound.
    pub ack_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Neither joined nor wanted.
    Inactive,
    /// To be joined as soon as there is a connection, and an answer, for which there is a deadline.
    Joining {
        deadline: Option<Instant>,
    },
    Joined,
}

/// The order of events that are kept. Ack ids are given in order, so that an event with an id is found
/// by it alone: it stands behind those without one that were kept before the id was given.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    /// The event's id, or the next one that was to be given.
    id: u64,
    ticket: u64,
}

impl Place {
    fn of_id(id: u64) -> Place {
        let ticket = u64::MAX;
        Place { id, ticket }
    }
}

#[derive(Debug)]
struct Offline<E> {
    event: E,
    id: Option<u64>,
}

#[derive(Debug)]
struct Retried<E, W> {
    event: E,
    /// Who waits for the answer, if anybody does.
    waiter: Option<W>,
    /// How long each try may take.
    timeout: Option<Duration>,
    tries: u32,
    /// The ack that is waited for, and for how long.
    pending: Option<(u64, Option<Instant>)>,
}

/// An event that was sent as often as may be, and never answered in time.
#[derive(Debug, Eq, PartialEq)]
pub struct GivenUp<E, W> {
    /// The event.
    pub event: E,
    /// Who waits for the answer, if anybody does.
    pub waiter: Option<W>,
}

/// What the end of a connection means for a namespace.
#[derive(Debug, Eq, PartialEq)]
pub struct Lost<E, W> {
    /// Whether the namespace had been joined.
    pub was_joined: bool,
    /// Those whose answers will not come.
    pub waiters: Vec<W>,
    /// The event whose last try was lost.
    pub given_up: Option<GivenUp<E, W>>,
}

/// An event that is kept for later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEvent {
    /// The event's name.
    pub name: Box<str>,
    /// The arguments: valid JSON values, separated by commas.
    pub args: Box<str>,
    /// The attachments.
    pub attachments: Vec<Bytes>,
    /// Set when the server wants an answer.
    pub id: Option<u64>,
}

impl StoredEvent {
    /// Keeps an event.
    pub fn new(event: &EventRef<'_>, id: Option<u64>, attachments: Vec<Bytes>) -> StoredEvent {
        StoredEvent {
            name: event.name().into(),
            args: (&*event.args).into(),
            attachments,
            id,
        }
    }

    /// Returns about how many bytes it takes.
    pub fn size(&self) -> usize {
        let attachments: usize = self.attachments.iter().map(Bytes::len).sum();
        size_of::<StoredEvent>() + self.name.len() + self.args.len() + attachments
    }
}

/// The server's answer has no id: it speaks the protocol of Socket.IO 2.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "It seems you are trying to reach a Socket.IO server in v2.x with a v3.x client, but they are not compatible (more information here: https://socket.io/docs/v3/migrating-from-2-x-to-3-0/)"
)]
pub struct OldServer;

/// More was to be kept than may be.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("more is waiting than may be kept")]
pub struct TooMuch;

impl<E, W> ClientSocket<E, W> {
    /// Begins inactive.
    pub fn new(config: ClientSocketConfig) -> ClientSocket<E, W> {
        ClientSocket {
            config,
            phase: Phase::Inactive,
            sid: None,
            pid: None,
            offset: None,
            recovered: false,
            next_id: 0,
            waiters: HashMap::new(),
            offline: Kept::new(),
            received: VecDeque::new(),
            received_bytes: 0,
            retried: Kept::new(),
            next_ticket: 0,
        }
    }

    /// Returns the settings.
    pub fn config(&self) -> &ClientSocketConfig {
        &self.config
    }

    /// Says whether the namespace is joined, or to be joined.
    pub fn is_active(&self) -> bool {
        self.phase != Phase::Inactive
    }

    /// Says whether the namespace is joined.
    pub fn is_joined(&self) -> bool {
        self.phase == Phase::Joined
    }

    /// Returns the socket's id while the namespace is joined.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Says whether the last joining went on where the connection before had ended.
    pub fn is_recovered(&self) -> bool {
        self.recovered
    }

    // --- Joining and leaving ---

    /// Wants the namespace to be joined; false if it is, or is wanted, already.
    pub fn activate(&mut self) -> bool {
        let was_inactive = self.phase == Phase::Inactive;
        if was_inactive {
            self.phase = Phase::Joining { deadline: None };
        }
        was_inactive
    }

    /// Learns that the server is about to be asked to let the client in, and until when it has to.
    pub fn handle_joining(&mut self, until: Option<Instant>) {
        if let Phase::Joining { deadline } = &mut self.phase {
            *deadline = until;
        }
    }

    /// Returns when the server has to have let the client in.
    pub fn join_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Joining { deadline } => deadline,
            Phase::Inactive | Phase::Joined => None,
        }
    }

    /// Says, once, whether the server has not let the client in in time.
    pub fn handle_join_timeout(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Joining { deadline } if deadline.is_some_and(|at| at <= now) => {
                *deadline = None;
                true
            }
            Phase::Joining { .. } | Phase::Inactive | Phase::Joined => false,
        }
    }

    /// Returns the payload of CONNECT: the application's `auth` (a JSON object, or nothing) and what
    /// proves to the server who it was that went away. The application's keys win.
    pub fn connect_payload(&self, auth: &str) -> String {
        let Some(pid) = &self.pid else {
            return auth.to_owned();
        };
        let mut payload = Map::new();
        payload.insert("pid".to_owned(), Value::from(&**pid));
        if let Some(offset) = &self.offset {
            payload.insert("offset".to_owned(), Value::from(&**offset));
        }
        if let Ok(own) = serde_json::from_str::<Map<String, Value>>(auth) {
            payload.extend(own);
        }
        Value::from(payload).to_string()
    }

    /// Handles the server's answer to CONNECT. What was received and emitted before is to be taken
    /// then, in this order: [`take_received`](ClientSocket::take_received),
    /// [`take_offline`](ClientSocket::take_offline), [`next_try`](ClientSocket::next_try).
    ///
    /// # Errors
    ///
    /// When the answer has no id. One that is no text is taken as JavaScript takes it: whatever counts
    /// as true there.
    pub fn handle_connect(&mut self, data: &str) -> Result<(), OldServer> {
        let Ids { sid, pid } = Ids::read(data).unwrap_or_default();
        self.join(sid.ok_or(OldServer)?, pid);
        Ok(())
    }

    /// Joins with the id that a server of Socket.IO 2 does not tell.
    pub fn handle_old_connect(&mut self, sid: &str) {
        self.join(sid.into(), None);
    }

    fn join(&mut self, sid: Box<str>, pid: Option<Box<str>>) {
        self.recovered = pid.is_some() && pid == self.pid;
        if !self.recovered {
            // A position among the events of another connection.
            self.offset = None;
        }
        self.sid = Some(sid);
        self.pid = pid;
        self.phase = Phase::Joined;
    }

    /// Learns that the namespace is not joined any more, and is not to be: it was left, or refused.
    /// Nobody waits for an answer from then on; events whose answer was waited for are not kept.
    pub fn deactivate(&mut self) -> Lost<E, W> {
        let mut lost = self.handle_lost();
        self.phase = Phase::Inactive;
        self.offline.take_all(|event| event.id.is_some());
        lost.waiters
            .extend(self.waiters.drain().map(|(_, waiter)| waiter));
        let retried = self.retried.take_all(|event| event.waiter.is_some());
        let waiters = retried.into_iter().filter_map(|event| event.waiter);
        lost.waiters.extend(waiters);
        lost
    }

    /// Learns that the connection is gone. Those who wait for the answer to what is still kept go on
    /// waiting.
    pub fn handle_lost(&mut self) -> Lost<E, W> {
        let was_joined = self.phase == Phase::Joined;
        if self.phase != Phase::Inactive {
            self.phase = Phase::Joining { deadline: None };
        }
        self.sid = None;
        self.received.clear();
        self.received_bytes = 0;
        let kept: HashSet<u64> = self.offline.iter().filter_map(|event| event.id).collect();
        let lost = self.waiters.extract_if(|id, _| !kept.contains(id));
        let waiters = lost.map(|(_, waiter)| waiter).collect();
        let mut given_up = None;
        if let Some(head) = self.retried.first_mut()
            && head.pending.take().is_some()
            && head.tries > self.config.retries
        {
            given_up = self.give_up();
        }
        Lost {
            was_joined,
            waiters,
            given_up,
        }
    }

    fn give_up(&mut self) -> Option<GivenUp<E, W>> {
        let Retried { event, waiter, .. } = self.retried.pop()?;
        Some(GivenUp { event, waiter })
    }

    // --- Events that come ---

    /// Takes an event; says whether it is to be handled now. One that comes ahead of the answer to
    /// CONNECT is kept.
    ///
    /// # Errors
    ///
    /// When more came ahead of the answer than is kept.
    pub fn handle_event(
        &mut self,
        event: &EventRef<'_>,
        id: Option<u64>,
        attachments: &[Bytes],
    ) -> Result<bool, TooMuch> {
        match self.phase {
            Phase::Joined => Ok(true),
            Phase::Inactive => Ok(false),
            Phase::Joining { .. } => {
                let event = StoredEvent::new(event, id, attachments.to_vec());
                let is_first = self.received.is_empty();
                self.received_bytes += event.size();
                if self.received_bytes > self.config.max_bytes && !is_first {
                    return Err(TooMuch);
                }
                self.received.push_back(event);
                Ok(false)
            }
        }
    }

    /// Returns the next of the events that came before the namespace was joined.
    pub fn take_received(&mut self) -> Option<StoredEvent> {
        let event = self.received.pop_front();
        if self.received.is_empty() {
            self.received_bytes = 0;
        }
        event
    }

    /// Notes an event's position, which a server that can recover connections adds as the last
    /// argument. `args` are valid JSON values, separated by commas; an event that asks for an answer
    /// has no position.
    pub fn note_offset(&mut self, args: &str) {
        if self.pid.is_some()
            && let Some(offset) = last_string(args)
        {
            self.offset = Some(offset);
        }
    }

    // --- Answers ---

    /// Returns a new ack id, whose answer `waiter` gets.
    pub fn next_ack(&mut self, waiter: W) -> u64 {
        let id = self.take_id();
        self.waiters.insert(id, waiter);
        id
    }

    /// Takes out who waits for this answer.
    pub fn take_waiter(&mut self, id: u64) -> Option<W> {
        let is_tried = |head: &Retried<E, W>| head.pending.is_some_and(|(tried, _)| tried == id);
        if self.retried.first().is_some_and(is_tried) {
            return self.retried.pop()?.waiter;
        }
        self.waiters.remove(&id)
    }

    /// Forgets who waits for this answer, and the event that asks for it if it was not sent yet.
    pub fn forget_ack(&mut self, id: u64) {
        self.waiters.remove(&id);
        self.offline.take_if(&Place::of_id(id), |_| true);
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    // --- Events that go ---

    /// Keeps an event of `size` bytes until the namespace is joined. An id is the one that
    /// [`next_ack`](ClientSocket::next_ack) has given last.
    ///
    /// # Errors
    ///
    /// When more is kept then than may be.
    pub fn keep(&mut self, event: E, id: Option<u64>, size: usize) -> Result<(), TooMuch> {
        if self.offline.is_full(size, self.config.max_bytes) {
            return Err(TooMuch);
        }
        let place = match id {
            Some(id) => Place::of_id(id),
            None => Place {
                id: self.next_id,
                ticket: self.take_ticket(),
            },
        };
        self.offline.push(place, Offline { event, id }, size);
        Ok(())
    }

    /// Returns the next of the events that were kept, with its ack id.
    pub fn take_offline(&mut self) -> Option<(E, Option<u64>)> {
        let Offline { event, id } = self.offline.pop()?;
        Some((event, id))
    }

    fn take_ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    /// Queues an event that is sent again until it is answered; `timeout` bounds each try, the settings'
    /// [`ack_timeout`](ClientSocketConfig::ack_timeout) if there is none. Gives a ticket for
    /// [`forget_retry`](ClientSocket::forget_retry).
    ///
    /// # Errors
    ///
    /// When more is kept then than may be.
    pub fn retry(
        &mut self,
        event: E,
        waiter: Option<W>,
        size: usize,
        timeout: Option<Duration>,
    ) -> Result<u64, TooMuch> {
        if self.retried.is_full(size, self.config.max_bytes) {
            return Err(TooMuch);
        }
        let ticket = self.take_ticket();
        let retried = Retried {
            event,
            waiter,
            timeout: timeout.or(self.config.ack_timeout),
            tries: 0,
            pending: None,
        };
        self.retried.push(ticket, retried, size);
        Ok(ticket)
    }

    /// Forgets a queued event that was not sent yet.
    pub fn forget_retry(&mut self, ticket: u64) {
        self.retried.take_if(&ticket, |retried| retried.tries == 0);
    }

    /// Returns the queued event that is to be sent now, with its ack id, if there is one.
    pub fn next_try(&mut self, now: Instant) -> Option<(&E, u64)> {
        if self.phase != Phase::Joined || self.retried.first()?.pending.is_some() {
            return None;
        }
        let id = self.take_id();
        let head = self.retried.first_mut()?;
        let deadline = head.timeout.and_then(|timeout| now.checked_add(timeout));
        head.tries += 1;
        head.pending = Some((id, deadline));
        Some((&head.event, id))
    }

    /// Returns when [`handle_timeout`](ClientSocket::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.retried.first()?.pending?.1
    }

    /// Gives up a try whose answer did not come in time: [`next_try`](ClientSocket::next_try) is next.
    /// If it was the last, it gives the event.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<GivenUp<E, W>> {
        let head = self.retried.first_mut()?;
        let (_, deadline) = head.pending?;
        if deadline.is_none_or(|deadline| deadline > now) {
            return None;
        }
        head.pending = None;
        match head.tries > self.config.retries {
            true => self.give_up(),
            false => None,
        }
    }
}

/// The last of some JSON values, if it is a string.
fn last_string(args: &str) -> Option<Box<str>> {
    let inside = args.trim_ascii_end().strip_suffix('"')?;
    let mut end = inside.len();
    loop {
        let quote = inside[..end].rfind('"')?;
        let backslashes = inside[..quote].bytes().rev().take_while(|&b| b == b'\\');
        if backslashes.count() % 2 == 0 {
            let text = &inside[quote + 1..];
            return match text.contains('\\') {
                false => Some(text.into()),
                true => serde_json::from_str(&args.trim_ascii_end()[quote..]).ok(),
            };
        }
        end = quote;
    }
}

/// The ids in an answer to CONNECT: texts as they are, anything else as JSON.
#[derive(Default)]
struct Ids {
    sid: Option<Box<str>>,
    pid: Option<Box<str>>,
}

impl Ids {
    fn read(data: &str) -> Result<Ids, MalformedJson> {
        let mut ids = Ids::default();
        let mut reader = Reader::new(data);
        if !reader.enter_object()? {
            return Ok(ids);
        }
        while let Some(key) = reader.next_key()? {
            let id = match &*key {
                "sid" => &mut ids.sid,
                "pid" => &mut ids.pid,
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            let text = match reader.first() {
                Some(b'"') => reader.text()?,
                _ => Some(reader.raw()?).filter(|raw| !matches!(&**raw, "0" | "false" | "null")),
            };
            let text = text.filter(|text| !text.is_empty());
            *id = text.map(|text| text.into_owned().into());
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tested = ClientSocket<&'static str, u8>;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
        Instant::now()
    }

    fn socket() -> Tested {
        let mut socket = Tested::new(ClientSocketConfig {
            max_bytes: 100,
            retries: 2,
            ack_timeout: Some(Duration::from_secs(1)),
        });
        assert!(socket.activate());
        socket
    }

    fn lost(was_joined: bool, waiters: &[u8]) -> Lost<&'static str, u8> {
        Lost {
            was_joined,
            waiters: waiters.to_vec(),
            given_up: None,
        }
    }

    fn given_up(event: &'static str, waiter: u8) -> Option<GivenUp<&'static str, u8>> {
        let waiter = Some(waiter);
        Some(GivenUp { event, waiter })
    }

    fn joined() -> Tested {
        let mut socket = socket();
        socket.handle_connect(r#"{"sid":"a","pid":"p"}"#).unwrap();
        socket
    }

    fn event(text: &str) -> EventRef<'_> {
        let event = super::super::connection::event(text);
        event.ok().flatten().expect("an event")
    }

    // C008
    #[test]
    fn a_namespace_is_joined_with_the_server_s_answer() {
        let mut socket = socket();
        assert!(socket.is_active() && !socket.is_joined() && socket.sid().is_none());
        assert!(!socket.activate());
        socket.handle_connect(r#"{"sid":"a"}"#).unwrap();
        assert!(socket.is_joined() && !socket.is_recovered());
        assert_eq!(socket.sid(), Some("a"));
        assert_eq!(socket.handle_lost(), lost(true, &[]));
        assert!(socket.is_active() && !socket.is_joined() && socket.sid().is_none());
    }

    #[test]
    fn an_id_may_be_odd() {
        for (data, sid) in [
            (r#"{"sid":5}"#, "5"),
            (r#"{"sid":1.5e3}"#, "1.5e3"),
            (r#"{"sid":"0"}"#, "0"),
            (r#"{"sid":true}"#, "true"),
            (r#"{"sid":{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"sid":"a","sid":"b"}"#, "b"),
            (r#"{"x":1e400,"sid":"a","y":"\ud800"}"#, "a"),
            (r#"{"sid":"\ud800"}"#, "\u{fffd}"),
        ] {
            let mut socket = socket();
            assert_eq!(socket.handle_connect(data), Ok(()), "{data}");
            assert_eq!(socket.sid(), Some(sid), "{data}");
        }
        let mut socket = socket();
        for recovered in [false, true] {
            socket.handle_connect(r#"{"sid":"a","pid":7}"#).unwrap();
            assert_eq!(socket.is_recovered(), recovered);
            socket.handle_lost();
        }
    }

    // C044
    #[test]
    fn an_answer_without_an_id_is_from_an_old_server() {
        for data in [
            "",
            "{}",
            "[]",
            r#"{"sid":""}"#,
            r#"{"sid":0}"#,
            r#"{"sid":null}"#,
            r#"{"sid":"a","sid":false}"#,
        ] {
            assert_eq!(socket().handle_connect(data), Err(OldServer), "{data}");
        }
        assert!(
            OldServer
                .to_string()
                .starts_with("It seems you are trying to reach")
        );
    }

    // C035
    #[test]
    fn who_was_away_proves_who_it_is_and_where_it_was() {
        let mut socket = joined();
        assert_eq!(socket.connect_payload(r#"{"t":1}"#), r#"{"pid":"p","t":1}"#);
        socket.note_offset(r#"1,"of\"f""#);
        socket.note_offset(r#"{"a":"x"}"#);
        socket.handle_lost();
        assert_eq!(
            socket.connect_payload(""),
            r#"{"offset":"of\"f","pid":"p"}"#
        );
        assert_eq!(
            socket.connect_payload(r#"{"offset":"own"}"#),
            r#"{"offset":"own","pid":"p"}"#
        );
        socket.handle_connect(r#"{"sid":"a","pid":"p"}"#).unwrap();
        assert!(socket.is_recovered());
        socket.handle_lost();
        socket.handle_connect(r#"{"sid":"b","pid":"q"}"#).unwrap();
        assert!(!socket.is_recovered());
        // A position of the other connection proves nothing.
        assert_eq!(socket.connect_payload(""), r#"{"pid":"q"}"#);
    }

    #[test]
    fn without_recovery_there_is_no_position() {
        let mut socket = socket();
        socket.handle_connect(r#"{"sid":"a"}"#).unwrap();
        socket.note_offset(r#""x""#);
        assert_eq!(socket.connect_payload(""), "");
    }

    #[test]
    fn the_last_argument_is_found_if_it_is_text() {
        for (args, expected) in [
            (r#""a","b""#, Some("b")),
            (r#"{"k":"v"},"" "#, Some("")),
            (r#""a\"b""#, Some("a\"b")),
            (r#""\\","c\\""#, Some("c\\")),
            (r#"1,["x"]"#, None),
            ("", None),
            ("1", None),
        ] {
            assert_eq!(last_string(args).as_deref(), expected, "{args}");
        }
    }

    // C032
    #[test]
    fn what_comes_ahead_of_the_answer_is_kept_in_order() {
        let mut socket = Tested::new(ClientSocketConfig {
            max_bytes: 1000,
            ..*socket().config()
        });
        socket.activate();
        assert_eq!(socket.handle_event(&event("[\"a\"]"), None, &[]), Ok(false));
        assert_eq!(
            socket.handle_event(&event("[\"b\",1]"), Some(1), &[]),
            Ok(false)
        );
        socket.handle_connect(r#"{"sid":"a"}"#).unwrap();
        let first = socket.take_received().unwrap();
        assert_eq!((&*first.name, &*first.args, first.id), ("a", "", None));
        let second = socket.take_received().unwrap();
        assert_eq!(
            (&*second.name, &*second.args, second.id),
            ("b", "1", Some(1))
        );
        assert_eq!(socket.take_received(), None);
        assert_eq!(socket.handle_event(&event("[\"c\"]"), None, &[]), Ok(true));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut socket = socket();
        assert_eq!(socket.keep("a", None, 60), Ok(()));
        assert_eq!(socket.keep("b", None, 41), Err(TooMuch));
        assert_eq!(socket.keep("c", None, 40), Ok(()));
        let long = format!("[\"{}\"]", "x".repeat(200));
        assert_eq!(socket.handle_event(&event("[\"a\"]"), None, &[]), Ok(false));
        assert_eq!(socket.handle_event(&event(&long), None, &[]), Err(TooMuch));
        assert!(socket.retry("d", None, 60, None).is_ok());
        assert_eq!(socket.retry("e", None, 41, None), Err(TooMuch));
        assert_eq!(socket.take_offline(), Some(("a", None)));
        assert_eq!(socket.keep("b", None, 41), Ok(()));
    }

    #[test]
    fn where_nothing_is_kept_one_of_any_size_is() {
        let mut socket = socket();
        assert_eq!(socket.keep("a", None, 101), Ok(()));
        assert_eq!(socket.keep("b", None, 1), Err(TooMuch));
        assert!(socket.retry("c", None, 101, None).is_ok());
        assert_eq!(socket.retry("d", None, 1, None), Err(TooMuch));
        let long = format!("[\"{}\"]", "x".repeat(200));
        assert_eq!(socket.handle_event(&event(&long), None, &[]), Ok(false));
        assert_eq!(
            socket.handle_event(&event("[\"a\"]"), None, &[]),
            Err(TooMuch)
        );
    }

    #[test]
    fn a_server_has_so_long_to_let_a_client_in() {
        let now = start();
        let mut socket = socket();
        assert_eq!(socket.join_timeout(), None);
        let due = now + Duration::from_secs(20);
        socket.handle_joining(Some(due));
        assert_eq!(socket.join_timeout(), Some(due));
        assert!(!socket.handle_join_timeout(now));
        assert!(socket.handle_join_timeout(due) && !socket.handle_join_timeout(due));
        // An answer that comes late is one all the same, and ends the wait.
        socket.handle_joining(Some(due));
        socket.handle_connect(r#"{"sid":"a"}"#).unwrap();
        assert!(socket.join_timeout().is_none() && !socket.handle_join_timeout(due));
        socket.handle_lost();
        assert_eq!(socket.join_timeout(), None);
    }

    #[test]
    fn nobody_waits_for_a_namespace_that_is_left() {
        let now = start();
        let mut socket = socket();
        let kept = socket.next_ack(1);
        socket.keep("a", Some(kept), 10).unwrap();
        socket.keep("b", None, 10).unwrap();
        socket.retry("c", Some(2), 10, None).unwrap();
        socket.retry("d", None, 10, None).unwrap();
        assert_eq!(socket.deactivate(), lost(false, &[1, 2]));
        // What nobody waits for goes when the namespace is joined again.
        socket.activate();
        socket.handle_connect(r#"{"sid":"a"}"#).unwrap();
        assert_eq!(socket.take_offline(), Some(("b", None)));
        assert_eq!(socket.take_offline(), None);
        assert_eq!(socket.next_try(now).map(|(event, _)| *event), Some("d"));
    }

    #[test]
    fn a_try_has_the_time_that_its_event_was_given() {
        let now = start();
        let mut socket = joined();
        socket
            .retry("a", Some(1), 1, Some(Duration::from_millis(10)))
            .unwrap();
        socket.retry("b", Some(2), 1, None).unwrap();
        socket.next_try(now);
        assert_eq!(socket.poll_timeout(), Some(now + Duration::from_millis(10)));
        socket.take_waiter(0);
        socket.next_try(now);
        assert_eq!(socket.poll_timeout(), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn an_event_that_was_not_tried_can_be_taken_back() {
        let mut socket = joined();
        let first = socket.retry("a", Some(1), 1, None).unwrap();
        let second = socket.retry("b", Some(2), 1, None).unwrap();
        socket.next_try(start());
        socket.forget_retry(first);
        socket.forget_retry(second);
        assert_eq!(socket.take_waiter(0), Some(1));
        assert_eq!(socket.next_try(start()), None);
    }

    #[test]
    fn events_with_and_without_an_answer_keep_their_order() {
        let mut socket = Tested::new(ClientSocketConfig {
            max_bytes: 1000,
            ..*socket().config()
        });
        socket.next_ack(0);
        let mut ids = Vec::new();
        for (event, waits) in [
            ("a", false),
            ("b", true),
            ("c", false),
            ("d", true),
            ("e", false),
        ] {
            let id = waits.then(|| socket.next_ack(1));
            socket.keep(event, id, 1).unwrap();
            ids.extend(id);
        }
        socket.forget_ack(ids[0]);
        let sent = std::iter::from_fn(|| socket.take_offline()).map(|(event, _)| event);
        assert_eq!(sent.collect::<Vec<_>>(), ["a", "c", "d", "e"]);
    }

    // C027
    #[test]
    fn who_gives_up_takes_the_event_along_that_was_not_sent() {
        let mut socket = socket();
        let id = socket.next_ack(1);
        socket.keep("a", Some(id), 10).unwrap();
        socket.keep("b", None, 10).unwrap();
        socket.forget_ack(id);
        assert_eq!(socket.take_offline(), Some(("b", None)));
        assert_eq!(socket.take_offline(), None);
        assert_eq!(socket.take_waiter(id), None);
    }

    // C028: the answer to what is still kept may come.
    #[test]
    fn a_lost_connection_fails_those_whose_events_were_sent() {
        let mut socket = joined();
        let sent = socket.next_ack(1);
        socket.handle_lost();
        assert_eq!(socket.take_waiter(sent), None);
        let kept = socket.next_ack(2);
        socket.keep("a", Some(kept), 1).unwrap();
        assert_eq!(socket.handle_lost(), lost(false, &[]));
        assert_eq!(socket.take_waiter(kept), Some(2));
        assert!(kept > sent);
        let mut socket = joined();
        socket.next_ack(3);
        assert_eq!(socket.deactivate(), lost(true, &[3]));
        assert!(!socket.is_active());
    }

    // C031
    #[test]
    fn retried_events_go_one_by_one_each_so_often() {
        let now = start();
        let second = Duration::from_secs(1);
        let mut socket = joined();
        socket.retry("a", Some(1), 1, None).unwrap();
        socket.retry("b", Some(2), 1, None).unwrap();
        assert_eq!(socket.next_try(now), Some((&"a", 0)));
        assert_eq!(socket.next_try(now), None);
        assert_eq!(socket.poll_timeout(), Some(now + second));
        assert_eq!(socket.handle_timeout(now), None);
        assert_eq!(socket.handle_timeout(now + second), None);
        assert_eq!(socket.next_try(now + second), Some((&"a", 1)));
        // The answer to the try before comes too late.
        assert_eq!(socket.take_waiter(0), None);
        // The third and last is not answered either.
        socket.handle_timeout(now + 2 * second);
        assert_eq!(socket.next_try(now + 2 * second), Some((&"a", 2)));
        assert_eq!(socket.handle_timeout(now + 3 * second), given_up("a", 1));
        assert_eq!(socket.next_try(now + 3 * second), Some((&"b", 3)));
        assert_eq!(socket.take_waiter(3), Some(2));
        assert_eq!(socket.next_try(now), None);
    }

    // C031
    #[test]
    fn retried_events_survive_a_reconnection() {
        let now = start();
        let mut socket = joined();
        socket.retry("a", Some(1), 1, None).unwrap();
        assert!(socket.next_try(now).is_some());
        assert_eq!(socket.handle_lost(), lost(true, &[]));
        assert_eq!(socket.next_try(now), None);
        socket.handle_connect(r#"{"sid":"b"}"#).unwrap();
        assert_eq!(socket.next_try(now), Some((&"a", 1)));
        // Those that were lost on the way count.
        socket.handle_lost();
        socket.handle_connect(r#"{"sid":"c"}"#).unwrap();
        assert_eq!(socket.next_try(now), Some((&"a", 2)));
        assert_eq!(socket.handle_lost().given_up, given_up("a", 1));
    }
}
