//! The server's side of one connection: which namespaces it has joined, and what its packets mean.
//!
//! ```text
//!             CONNECT              accept
//!   (none) ------------> connecting ------> joined
//!      ^                     | refuse         | DISCONNECT, leave
//!      +---------------------+----------------+
//! ```
//!
//! A packet for a namespace that is not joined, a CONNECT for one that is not left, and a
//! CONNECT_ERROR from a client are invalid: the driver closes the connection, as the reference does.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thiserror::Error;

use super::super::engine::Query;
use super::decoder::{Decoder, Text};
use super::json::{self, EventText};
use super::packet::{Packet, PacketKind, ParseError, check_control};

/// The limits of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionConfig {
    /// The time a client has to join its first namespace. Default: 45 s.
    pub connect_timeout: Duration,
    /// How many attachments a packet may have. Default: 10.
    pub max_attachments: usize,
    /// How many namespaces one client may join. Default: 1,000.
    pub max_namespaces: usize,
    /// The largest message, in bytes; a packet's attachments together may be `max_attachments` times
    /// as large. Default: 1,000,000.
    pub max_payload: usize,
}

impl Default for ConnectionConfig {
    fn default() -> ConnectionConfig {
        ConnectionConfig {
            connect_timeout: Duration::from_secs(45),
            max_attachments: 10,
            max_namespaces: 1000,
            max_payload: 1_000_000,
        }
    }
}

/// The Socket.IO state of one session; `S` is the driver's handle of a socket.
#[derive(Debug)]
pub struct Connection<S> {
    decoder: Decoder,
    entries: Vec<Entry<S>>,
    max_namespaces: usize,
    /// Clients of version 2 put their `auth` into the query of the namespace.
    has_queries: bool,
    /// Until when a namespace has to be joined; `None` once one was.
    deadline: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
struct Entry<S> {
    nsp: Box<str>,
    /// `None` while the namespace is being joined.
    socket: Option<S>,
}

/// What a client's packet asks for.
#[derive(Debug)]
pub enum Incoming<'a, S> {
    /// The answer to an event; the arguments are what stands between the brackets.
    Ack {
        /// The socket.
        socket: S,
        /// The id that the event had.
        id: u64,
        /// The arguments.
        args: Cow<'a, str>,
        /// The attachments.
        attachments: Vec<Bytes>,
    },
    /// To join a namespace: the driver says [`Connection::accept`] or [`Connection::refuse`].
    Connect {
        /// The namespace.
        nsp: Cow<'a, str>,
        /// A JSON object, or empty.
        auth: Cow<'a, str>,
    },
    /// The client has left a namespace.
    Disconnect {
        /// The socket.
        socket: S,
    },
    /// An event.
    Event {
        /// The socket.
        socket: S,
        /// Set when the client wants an answer.
        id: Option<u64>,
        /// The event; `None` for a packet without payload.
        event: Option<EventRef<'a>>,
        /// The attachments.
        attachments: Vec<Bytes>,
    },
}

/// An event's name and arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventRef<'a> {
    name: Cow<'a, str>,
    /// The arguments: valid JSON values, separated by commas.
    pub args: Cow<'a, str>,
}

impl EventRef<'_> {
    /// The name; that of an event named by a number is its text.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<'a> From<EventText<'a>> for EventRef<'a> {
    fn from(text: EventText<'a>) -> EventRef<'a> {
        EventRef {
            name: text.name,
            args: text.args.into(),
        }
    }
}

/// Why a connection has to be closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Invalid {
    /// A message is not a packet.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A packet does not fit the state of the connection.
    #[error("invalid state: {0}")]
    State(&'static str),
}

impl<S: Clone> Connection<S> {
    /// Makes the state of a new connection.
    pub fn new(config: &ConnectionConfig, now: Instant) -> Connection<S> {
        let max_bytes = config.max_payload.saturating_mul(config.max_attachments);
        Connection {
            decoder: Decoder::new(config.max_attachments, max_bytes),
            entries: Vec::new(),
            max_namespaces: config.max_namespaces,
            has_queries: false,
            deadline: Some(now + config.connect_timeout),
            closed: false,
        }
    }

    /// Treats namespaces as clients of version 2 write them: what follows a question mark is the
    /// query, whose pairs become `auth`.
    pub fn with_namespace_queries(mut self) -> Connection<S> {
        self.has_queries = true;
        self
    }

    /// When [`handle_timeout`](Connection::handle_timeout) and
    /// [`check_attachments`](Connection::check_attachments) are to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let attachments = self.decoder.poll_timeout();
        [self.deadline, attachments].into_iter().flatten().min()
    }

    /// Bytes of a packet that waits for its attachments.
    pub fn held(&self) -> usize {
        self.decoder.held()
    }

    /// Looks whether a packet waits for attachments that do not come; each has the time `within`, which
    /// begins with the first look after the one before. This is to be called now and then, say once a
    /// heartbeat. While `is_read` is false the time does not run: what is not read cannot come.
    ///
    /// # Errors
    ///
    /// When the connection has to be closed.
    pub fn check_attachments(
        &mut self,
        now: Instant,
        within: Duration,
        is_read: bool,
    ) -> Result<(), Invalid> {
        if !is_read {
            self.decoder.excuse();
        } else if !self.closed && self.decoder.is_late(now, within) {
            return Err(ParseError::AttachmentsMissing.into());
        }
        Ok(())
    }

    /// Says whether all have left: nothing that comes means anything any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Says whether the connection has to be closed because no namespace was joined in time.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_late = self.deadline.is_some_and(|deadline| now >= deadline);
        if is_late {
            self.deadline = None;
        }
        is_late
    }

    /// Handles a text message. `None` means that attachments follow, or that nothing is to be done.
    ///
    /// # Errors
    ///
    /// When the connection has to be closed.
    #[inline]
    pub fn handle_text<'a>(&mut self, text: &'a str) -> Result<Option<Incoming<'a, S>>, Invalid> {
        let header = match self.decoder.header(text)? {
            Text::Whole(header) => header,
            Text::Partial => return Ok(None),
        };
        let (nsp, data) = (header.nsp, header.data);
        match header.kind {
            PacketKind::Event | PacketKind::BinaryEvent => {
                let event = event(data)?;
                let socket = self.socket(nsp)?.clone();
                let attachments = Vec::new();
                Ok(Some(Incoming::Event {
                    socket,
                    id: header.id,
                    event,
                    attachments,
                }))
            }
            PacketKind::Ack | PacketKind::BinaryAck => {
                let args = ack(data)?.into();
                let socket = self.socket(nsp)?.clone();
                let id = header.id;
                Ok(id.map(|id| Incoming::Ack {
                    socket,
                    id,
                    args,
                    attachments: Vec::new(),
                }))
            }
            kind => {
                let data = check_control(kind, data)?;
                self.control(kind, nsp.into(), data)
            }
        }
    }

    /// Joins a namespace without being asked, as clients of version 2 expect it for `/`.
    ///
    /// # Errors
    ///
    /// When it is joined already.
    pub fn connect(&mut self, nsp: &str) -> Result<(), Invalid> {
        let connect = self.control(PacketKind::Connect, nsp.to_owned().into(), "".into());
        connect.map(drop)
    }

    /// Handles a binary message: an attachment.
    ///
    /// # Errors
    ///
    /// When the connection has to be closed.
    pub fn handle_binary<'a>(
        &mut self,
        bytes: Cow<'_, [u8]>,
    ) -> Result<Option<Incoming<'a, S>>, Invalid> {
        match self.decoder.binary(bytes)? {
            Some(packet) => self.handle_packet(packet),
            None => Ok(None),
        }
    }

    /// Handles a packet that a parser has decoded.
    ///
    /// # Errors
    ///
    /// When the connection has to be closed.
    pub fn handle_packet<'a>(
        &mut self,
        packet: Packet<'_>,
    ) -> Result<Option<Incoming<'a, S>>, Invalid> {
        let Packet {
            kind,
            nsp,
            id,
            data,
            attachments,
        } = packet;
        match kind {
            PacketKind::Event | PacketKind::BinaryEvent => {
                // Which names belong to the protocol is the parser's business: MessagePack's has none.
                let event = any_event(&data)?.map(|event| EventRef {
                    name: event.name.into_owned().into(),
                    args: event.args.into_owned().into(),
                });
                let socket = self.socket(&nsp)?.clone();
                Ok(Some(Incoming::Event {
                    socket,
                    id,
                    event,
                    attachments,
                }))
            }
            PacketKind::Ack | PacketKind::BinaryAck => {
                let args = ack(&data)?.to_owned().into();
                let socket = self.socket(&nsp)?.clone();
                Ok(id.map(|id| Incoming::Ack {
                    socket,
                    id,
                    args,
                    attachments,
                }))
            }
            kind => {
                let data = check_control(kind, &data)?.into_owned();
                self.control(kind, nsp.into_owned().into(), data.into())
            }
        }
    }

    fn control<'a>(
        &mut self,
        kind: PacketKind,
        nsp: Cow<'a, str>,
        data: Cow<'a, str>,
    ) -> Result<Option<Incoming<'a, S>>, Invalid> {
        let (nsp, data) = match kind {
            PacketKind::Connect if self.has_queries => split_query(nsp),
            _ => (nsp, data),
        };
        match kind {
            PacketKind::Connect => {
                if self.entries.iter().any(|entry| *entry.nsp == *nsp) {
                    return Err(Invalid::State(
                        "CONNECT for a namespace that is joined already",
                    ));
                }
                if self.entries.len() >= self.max_namespaces {
                    return Err(Invalid::State("too many namespaces"));
                }
                // Most clients join one namespace: no room is kept for more.
                self.entries.reserve_exact(1);
                self.entries.push(Entry {
                    nsp: (&*nsp).into(),
                    socket: None,
                });
                Ok(Some(Incoming::Connect { nsp, auth: data }))
            }
            PacketKind::Disconnect => {
                self.socket(&nsp)?;
                let nsp = match self.has_queries {
                    true => without_query(&nsp),
                    false => &*nsp,
                };
                Ok(self
                    .leave(nsp)
                    .map(|socket| Incoming::Disconnect { socket }))
            }
            _ => Err(Invalid::State("CONNECT_ERROR from a client")),
        }
    }

    #[inline]
    fn socket(&self, nsp: &str) -> Result<&S, Invalid> {
        let nsp = match self.has_queries {
            true => without_query(nsp),
            false => nsp,
        };
        let entry = self.entries.iter().find(|entry| *entry.nsp == *nsp);
        entry
            .and_then(|entry| entry.socket.as_ref())
            .ok_or(Invalid::State(
                "a packet for a namespace that is not joined",
            ))
    }

    /// Lets a client join; false if the connection was closed, or the namespace left, meanwhile.
    pub fn accept(&mut self, nsp: &str, socket: S) -> bool {
        let entry = self.entries.iter_mut().find(|entry| *entry.nsp == *nsp);
        match entry {
            Some(entry) if !self.closed && entry.socket.is_none() => {
                entry.socket = Some(socket);
                self.deadline = None;
                true
            }
            _ => false,
        }
    }

    /// Does not let a client join: it may ask again.
    pub fn refuse(&mut self, nsp: &str) {
        self.entries
            .retain(|entry| *entry.nsp != *nsp || entry.socket.is_some());
    }

    /// Takes a socket out of its namespace: the client may join again.
    pub fn leave(&mut self, nsp: &str) -> Option<S> {
        let at = self
            .entries
            .iter()
            .position(|e| *e.nsp == *nsp && e.socket.is_some())?;
        self.entries.remove(at).socket
    }

    /// The sockets of all joined namespaces.
    pub fn sockets(&self) -> impl Iterator<Item = &S> {
        self.entries
            .iter()
            .filter_map(|entry| entry.socket.as_ref())
    }

    /// Ends the connection and gives the sockets of all joined namespaces.
    pub fn close(&mut self) -> Vec<S> {
        self.closed = true;
        self.deadline = None;
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter_map(|entry| entry.socket)
            .collect()
    }
}

/// The path of a namespace that may have a query and a fragment.
fn without_query(nsp: &str) -> &str {
    nsp.split(['?', '#']).next().unwrap_or_default()
}

/// Takes query and fragment off a namespace and makes the query an object. Spec: RFC 3986, section 3.
///
/// That is all the `auth` that old clients have: what else is in their packet is not heeded.
fn split_query(nsp: Cow<'_, str>) -> (Cow<'_, str>, Cow<'_, str>) {
    let name = without_query(&nsp);
    if name.len() == nsp.len() {
        return (nsp, "".into());
    }
    let before_fragment = nsp.split('#').next().unwrap_or_default();
    let Some((_, query)) = before_fragment.split_once('?') else {
        return (name.to_owned().into(), "".into());
    };
    let mut pairs = serde_json::Map::new();
    for (key, value) in Query::parse(query).iter() {
        pairs.insert(key.to_owned(), value.into());
    }
    let auth = serde_json::Value::from(pairs).to_string();
    (name.to_owned().into(), auth.into())
}

#[inline]
pub(super) fn event(data: &str) -> Result<Option<EventRef<'_>>, ParseError> {
    match data {
        "" => Ok(None),
        data => Ok(Some(json::event(data)?.into())),
    }
}

/// An event whose name may belong to the protocol.
#[inline]
pub(super) fn any_event(data: &str) -> Result<Option<EventRef<'_>>, ParseError> {
    match data {
        "" => Ok(None),
        data => Ok(Some(json::any_event(data)?.into())),
    }
}

#[inline]
pub(super) fn ack(data: &str) -> Result<&str, ParseError> {
    match data {
        "" => Ok(""),
        data => json::ack(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> (Connection<u8>, Instant) {
        #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
        let now = Instant::now();
        (Connection::new(&ConnectionConfig::default(), now), now)
    }

    fn joined() -> Connection<u8> {
        let (mut connection, _) = start();
        connection.handle_text("0").unwrap();
        assert!(connection.accept("/", 7));
        connection
    }

    fn state(result: Result<Option<Incoming<'_, u8>>, Invalid>) {
        assert!(matches!(result, Err(Invalid::State(_))), "{result:?}");
    }

    // S001, S002.
    #[test]
    fn a_client_joins_with_its_auth() {
        let (mut connection, _) = start();
        let incoming = connection.handle_text("0/a,{\"t\":1}").unwrap();
        let Some(Incoming::Connect { nsp, auth }) = incoming else {
            panic!("{incoming:?}")
        };
        assert_eq!((&*nsp, &*auth), ("/a", "{\"t\":1}"));
        assert!(connection.accept("/a", 1));
        let incoming = connection.handle_text("2/a,3[\"x\",1,2]").unwrap();
        let Some(Incoming::Event {
            socket,
            id,
            event: Some(event),
            ..
        }) = incoming
        else {
            panic!("{incoming:?}")
        };
        assert_eq!(
            (socket, id, event.name(), &*event.args),
            (1, Some(3), "x", "1,2")
        );
    }

    // S069.
    #[test]
    fn the_query_of_an_old_client_s_namespace_is_its_auth() {
        let (connection, _) = start();
        let mut connection = connection.with_namespace_queries();
        let incoming = connection.handle_text("0/a?t=1&u=%C3%BC+x").unwrap();
        let Some(Incoming::Connect { nsp, auth }) = incoming else {
            panic!("{incoming:?}")
        };
        assert_eq!((&*nsp, &*auth), ("/a", r#"{"t":"1","u":"ü x"}"#));
        assert!(connection.accept("/a", 1));
        state(connection.handle_text("0/a?t=2,"));
        let left = connection.handle_text("1/a?t=1,").unwrap();
        assert!(matches!(left, Some(Incoming::Disconnect { socket: 1 })));
    }

    // S069: as `url.parse` takes it apart.
    #[test]
    fn the_namespace_of_an_old_client_ends_at_a_question_mark_or_a_hash() {
        for (text, nsp, auth) in [
            ("0/a#x", "/a", ""),
            ("0/a#x?t=1", "/a", ""),
            ("0/a?t=1#x", "/a", r#"{"t":"1"}"#),
            ("0/a?t=1?u#x?y#z", "/a", r#"{"t":"1?u"}"#),
            ("0/a?#", "/a", "{}"),
            ("0/a", "/a", ""),
            (r#"0/a,{"t":"1"}"#, "/a", ""),
        ] {
            let mut connection = start().0.with_namespace_queries();
            let Some(Incoming::Connect { nsp: n, auth: a }) = connection.handle_text(text).unwrap()
            else {
                panic!("{text}")
            };
            assert_eq!((&*n, &*a), (nsp, auth), "{text}");
            assert!(connection.accept(nsp, 1));
            let (nsp, _) = text.split_once(',').unwrap_or((text, ""));
            let event = nsp.replacen('0', "2", 1) + ",[\"x\"]";
            assert!(connection.handle_text(&event).unwrap().is_some(), "{event}");
        }
        // Later revisions have no queries there.
        let (mut connection, _) = start();
        let Some(Incoming::Connect { nsp, .. }) = connection.handle_text("0/a#x?t").unwrap() else {
            panic!("no CONNECT")
        };
        assert_eq!(nsp, "/a#x?t");
    }

    // S003: a refused namespace may be asked for again.
    #[test]
    fn a_refused_client_may_ask_again() {
        let (mut connection, _) = start();
        for _ in 0..3 {
            connection.handle_text("0/x").unwrap();
            connection.refuse("/x");
        }
        assert_eq!(connection.sockets().count(), 0);
    }

    // S005, S006, S007.
    #[test]
    fn packets_that_do_not_fit_the_state_are_invalid() {
        let (mut connection, _) = start();
        state(connection.handle_text("2[\"x\"]"));
        state(connection.handle_text("30[]"));
        state(connection.handle_text("1"));
        connection.handle_text("0").unwrap();
        state(connection.handle_text("2[\"too early\"]"));
        state(connection.handle_text("0"));
        assert!(connection.accept("/", 1));
        state(connection.handle_text("0"));
        state(connection.handle_text("4{\"message\":\"x\"}"));
        state(connection.handle_text("2/other,[\"x\"]"));
    }

    // S008.
    #[test]
    fn a_client_that_has_left_may_join_again() {
        let mut connection = joined();
        let incoming = connection.handle_text("1").unwrap();
        assert!(matches!(incoming, Some(Incoming::Disconnect { socket: 7 })));
        assert!(matches!(
            connection.handle_text("0").unwrap(),
            Some(Incoming::Connect { .. })
        ));
        assert!(connection.accept("/", 8));
    }

    // S004.
    #[test]
    fn a_namespace_has_to_be_joined_in_time_once() {
        let (mut connection, now) = start();
        let deadline = connection.poll_timeout().unwrap();
        assert_eq!(deadline - now, Duration::from_secs(45));
        assert!(!connection.handle_timeout(deadline - Duration::from_millis(1)));
        assert!(connection.handle_timeout(deadline));
        assert!(!connection.handle_timeout(deadline));
        let mut connection = joined();
        connection.handle_text("1").unwrap();
        assert_eq!(connection.poll_timeout(), None);
    }

    #[test]
    fn namespaces_are_bounded() {
        let (_, now) = start();
        let config = ConnectionConfig {
            max_namespaces: 2,
            ..ConnectionConfig::default()
        };
        let mut connection = Connection::<u8>::new(&config, now);
        connection.handle_text("0/a").unwrap();
        connection.handle_text("0/b").unwrap();
        state(connection.handle_text("0/c"));
    }

    #[test]
    fn who_is_accepted_after_the_end_has_not_joined() {
        let (mut connection, _) = start();
        connection.handle_text("0").unwrap();
        assert!(connection.close().is_empty());
        assert!(!connection.accept("/", 1));
    }

    // S072: the packet is complete with its last attachment.
    #[test]
    fn binary_events_and_acks_are_put_together() {
        let mut connection = joined();
        let text = r#"51-["b",{"_placeholder":true,"num":0}]"#;
        assert!(connection.handle_text(text).unwrap().is_none());
        let incoming = connection.handle_binary(b"x"[..].into()).unwrap();
        let Some(Incoming::Event {
            event: Some(event),
            attachments,
            ..
        }) = incoming
        else {
            panic!("{incoming:?}")
        };
        assert_eq!(event.name(), "b");
        assert_eq!(attachments, [&b"x"[..]]);
        connection
            .handle_text(r#"61-9[{"_placeholder":true,"num":0}]"#)
            .unwrap();
        let incoming = connection.handle_binary(b"y"[..].into()).unwrap();
        assert!(
            matches!(incoming, Some(Incoming::Ack { id: 9, .. })),
            "{incoming:?}"
        );
    }

    #[test]
    fn a_packet_does_not_wait_for_its_attachments_for_ever() {
        let (mut connection, now) = start();
        connection.handle_text("0").unwrap();
        assert!(connection.accept("/", 7));
        let second = Duration::from_secs(1);
        connection.handle_text(r#"52-["b"]"#).unwrap();
        assert_eq!(connection.check_attachments(now, second, false), Ok(()));
        assert_eq!(connection.poll_timeout(), None);
        assert_eq!(connection.check_attachments(now, second, true), Ok(()));
        assert_eq!(connection.poll_timeout(), Some(now + second));
        assert_eq!(
            connection.check_attachments(now + second, second, true),
            Err(Invalid::Parse(ParseError::AttachmentsMissing))
        );
        connection.close();
        assert_eq!(
            connection.check_attachments(now + second, second, true),
            Ok(())
        );
    }

    #[test]
    fn oddities_of_the_reference_are_accepted() {
        let mut connection = joined();
        let incoming = connection.handle_text("2").unwrap();
        assert!(matches!(
            incoming,
            Some(Incoming::Event { event: None, .. })
        ));
        let incoming = connection.handle_text("2[1]").unwrap();
        assert!(
            matches!(incoming, Some(Incoming::Event { event: Some(e), .. }) if e.name() == "1")
        );
        // An ack without an id answers nothing.
        assert!(connection.handle_text("3").unwrap().is_none());
        let incoming = connection.handle_text("35").unwrap();
        assert!(matches!(incoming, Some(Incoming::Ack { id: 5, args, .. }) if args.is_empty()));
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(
            size_of::<Connection<usize>>() <= 88,
            "{}",
            size_of::<Connection<usize>>()
        );
    }
}
