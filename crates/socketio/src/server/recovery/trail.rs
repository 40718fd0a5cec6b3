//! What was sent to one client in one namespace since it was last known to have received everything.
//!
//! ```text
//!            connection ends                 claim, finish
//!    Live ─────────────────────► Away ──────────────────────► Live (another socket)
//!      │ left for good            │ expired
//!      └────────► Ended ◄─────────┘
//! ```

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde_json::Value;

use socketio_proto::websocket;

use super::super::broadcast::Flags;
use super::super::session::Full;
use super::super::socket::{Socket, SocketInner};
use super::entries::{Entries, Entry};
use super::position::{Position, Tag};
use crate::encode::Unfinished;
use crate::error::EmitError;
use crate::id::{Pid, SocketId};

/// What all trails of a namespace share.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) tag: Tag,
    pub(super) max_client_bytes: usize,
    pub(super) max_bytes: usize,
    /// Bytes that are kept in trails and in the log.
    pub(super) kept: AtomicUsize,
    /// The number of the last broadcast.
    pub(super) sequence: AtomicU64,
}

/// What was sent to one client.
pub(crate) struct Trail {
    pid: Pid,
    sid: SocketId,
    account: Arc<Account>,
    state: Mutex<State>,
}

struct State {
    place: Place,
    /// What was sent after `base`, in order.
    sent: Entries,
    /// The number of things that were ever appended to `sent`.
    end: u64,
    /// What `end` was when the last ping went out: its pong confirms what came before.
    pinged: u64,
    /// The position before the first of `sent`.
    base: Position,
    /// The number of the last event to this client alone.
    own: u64,
    /// Set when events were sent ahead of CONNECT after this position. A client that asks from here
    /// again may have some of them.
    ahead: Option<Position>,
    /// Set while the client is in to tell what it has received: see [`Trail::ask`].
    asked: Option<Asked>,
    data: Value,
}

enum Place {
    Live(Weak<SocketInner>),
    Away(Away),
    Ended,
}

struct Away {
    /// What it takes; counted for as long as it is away.
    kept: KeptAway,
    rooms: Vec<String>,
    since: Instant,
    /// The number of the last broadcast before.
    sequence: u64,
    /// How much was sent before.
    end: u64,
    claimed: bool,
    /// When its time ends, if that was set: in seconds since 1970.
    expires: Option<NonZeroU32>,
}

impl Away {
    fn has_expired(&self) -> bool {
        let expires = self.expires.map(expiry_time);
        expires.is_some_and(|at| at <= SystemTime::now())
    }
}

fn expiry_time(seconds: NonZeroU32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.get().into())
}

/// The time in seconds: a second early at most, and never later.
fn expiry_seconds(time: SystemTime) -> NonZeroU32 {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = seconds.map_or(1, |passed| passed.as_secs());
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN)
}

/// What is sent to a client that is asked is kept, as for one that is away.
struct Asked {
    /// Of [`Away`].
    sequence: u64,
    end: u64,
    pongs: Pongs,
}

/// The pongs of a client that is asked. The official client may answer the ping behind CONNECT before
/// it looks at CONNECT; the next ping comes to it when it has.
///
/// ```text
///   Earlier ──► First ──► Second ──► Enough
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pongs {
    /// One to a ping that was sent before CONNECT is to come.
    Earlier,
    First,
    Second,
    Enough,
}

/// What a session does after a pong; the greatest of its sockets' answers counts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum AfterPong {
    Nothing,
    /// The client was let in for its pongs alone, and is to come again.
    Close,
    Ping,
}

/// The bytes of a client that is away, beside what it was sent: they count until this is dropped.
struct KeptAway {
    account: Arc<Account>,
    bytes: usize,
}

impl KeptAway {
    fn new(account: &Arc<Account>, rooms: &[String], data: &Value) -> KeptAway {
        let names = rooms.iter().map(|room| room.capacity());
        let rooms = size_of_val(rooms) + names.sum::<usize>();
        let bytes = TRAIL + rooms + value_size(data);
        account.kept.fetch_add(bytes, Ordering::Relaxed);
        KeptAway {
            account: account.clone(),
            bytes,
        }
    }
}

impl Drop for KeptAway {
    fn drop(&mut self) {
        self.account.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a trail takes that is empty, with its places in the tables of its namespace.
const TRAIL: usize = 800;

/// About how many bytes a value takes.
fn value_size(value: &Value) -> usize {
    let (mut bytes, mut rest) = (0, vec![value]);
    while let Some(value) = rest.pop() {
        bytes += size_of::<Value>();
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => bytes += text.len(),
            Value::Array(values) => rest.extend(values),
            Value::Object(members) => {
                let keys = members.keys().map(|key| size_of::<String>() + key.len());
                bytes += keys.sum::<usize>();
                rest.extend(members.values());
            }
        }
    }
    bytes
}

/// One thing that is sent again.
pub(super) enum Sent {
    /// A broadcast, whose frames the log has.
    Broadcast(u64),
    Own {
        /// The number of the last broadcast before.
        after: u64,
        /// WebSocket frames, one after the other.
        frames: Box<[u8]>,
    },
}

/// Why a client cannot go on where it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// Another connection is being let in for it.
    Claimed,
    Ended,
    /// What it has missed is not kept any more, or its offset is none of ours.
    Offset,
}

/// A client that may go on.
pub(super) struct Resumed {
    /// The socket on the connection that is dead, though the server does not know.
    pub(super) old: Option<Socket>,
    pub(super) position: Position,
    /// Set if what the client has must be found out first.
    pub(super) is_unsure: bool,
}

/// What a client has missed.
pub(super) struct Missed {
    /// What was sent before the server knew that the client was away.
    pub(super) before: Vec<Sent>,
    /// Events to this client since.
    pub(super) own: Vec<Sent>,
    /// The number of the last broadcast before it was away.
    pub(super) sequence: u64,
}

impl Trail {
    pub(super) fn new(pid: Pid, sid: SocketId, account: Arc<Account>) -> Trail {
        Trail {
            pid,
            sid,
            account,
            state: Mutex::new(State {
                place: Place::Ended,
                sent: Entries::default(),
                end: 0,
                pinged: 0,
                base: Position::Start,
                own: 0,
                ahead: None,
                asked: None,
                data: Value::Null,
            }),
        }
    }

    pub(crate) fn pid(&self) -> &Pid {
        &self.pid
    }

    pub(crate) fn sid(&self) -> &SocketId {
        &self.sid
    }

    pub(crate) fn data(&self) -> Value {
        self.state.lock().data.clone()
    }

    pub(crate) fn set_data(&self, data: Value) {
        let mut state = self.state.lock();
        if let Place::Away(away) = &mut state.place {
            away.kept = KeptAway::new(&self.account, &away.rooms, &data);
        }
        state.data = data;
    }

    /// From here on a socket stands for the client.
    pub(super) fn begin(&self, socket: &Socket) {
        self.state.lock().place = Place::Live(Arc::downgrade(&socket.0));
    }

    // --- Sending ---

    /// Sends an event to this client alone: now, or when it has come back.
    pub(crate) fn send(
        &self,
        socket: &Socket,
        event: Unfinished<'_>,
        flags: &Flags,
    ) -> Result<(), EmitError> {
        let mut state = self.state.lock();
        let successor = match &state.place {
            Place::Live(_) if state.asked.is_some() => Some(None),
            Place::Live(_) if socket.is_connected() => None,
            Place::Live(other) => Some(other.upgrade()),
            Place::Away(_) => Some(None),
            Place::Ended => return Err(EmitError::Disconnected),
        };
        let receiver = match &successor {
            None => Some(&socket.0),
            Some(other) => other.as_ref(),
        };
        let number = state.own + 1;
        let offset = self.account.tag.offset(Position::Own(number));
        let full = event.finish(Some(offset.as_bytes()), |encoded| {
            if let Some(socket) = receiver
                && socket.session.send_unless_full(&encoded, flags).is_err()
            {
                return receiver;
            }
            state.own = number;
            let after = self.account.sequence.load(Ordering::Acquire);
            let before = state.sent.size();
            state.sent.push_own(after, |out| {
                encoded.frames(|opcode, payload| {
                    websocket::header(out, opcode, payload.len());
                    out.extend_from_slice(payload);
                });
            });
            self.pushed(&mut state, before);
            None
        });
        drop(state);
        match full {
            None => Ok(()),
            Some(socket) => {
                socket.session.overflowed(flags);
                Err(EmitError::QueueFull)
            }
        }
    }

    /// Passes a broadcast on to the client's connection, and remembers that it was.
    pub(crate) fn broadcast(
        &self,
        sequence: u64,
        send: impl FnOnce() -> Result<(), Full>,
    ) -> Result<(), Full> {
        let mut state = self.state.lock();
        if state.asked.is_some() {
            return Ok(());
        }
        send()?;
        let before = state.sent.size();
        state.sent.push_broadcast(sequence);
        self.pushed(&mut state, before);
        Ok(())
    }

    /// Something was pushed, before which the entries took `before` bytes: forgets what is too much.
    fn pushed(&self, state: &mut State, before: usize) {
        state.end += 1;
        let is_claimed = matches!(&state.place, Place::Away(away) if away.claimed);
        // While a client is being let in nothing is forgotten that it may have been promised.
        if !is_claimed {
            let kept = self.account.kept.load(Ordering::Relaxed);
            let max = match kept > self.account.max_bytes {
                true => 0,
                false => self.account.max_client_bytes,
            };
            while state.sent.size() > max && state.forget_first() {}
        }
        self.account(before, state.sent.size());
    }

    /// Counts that the entries take `after` bytes instead of `before`.
    fn account(&self, before: usize, after: usize) {
        let kept = &self.account.kept;
        match after.checked_sub(before) {
            Some(0) => {}
            Some(more) => drop(kept.fetch_add(more, Ordering::Relaxed)),
            None => drop(kept.fetch_sub(before - after, Ordering::Relaxed)),
        }
    }

    fn forget_all(&self, state: &mut State) {
        self.account(state.sent.size(), 0);
        state.sent = Entries::after(state.own);
    }

    /// A ping has been queued behind what was sent.
    pub(crate) fn pinged(&self) {
        let mut state = self.state.lock();
        if state.asked.is_none() {
            state.pinged = state.end;
        }
    }

    /// The ping was answered: what was sent before it has been received.
    pub(crate) fn ponged(&self) -> AfterPong {
        #[cfg(test)]
        tests::PONGED.with(|count| count.set(count.get() + 1));
        let mut state = self.state.lock();
        if let Some(asked) = &mut state.asked {
            let (pongs, next) = match asked.pongs {
                Pongs::Earlier => (Pongs::First, AfterPong::Ping),
                Pongs::First => (Pongs::Second, AfterPong::Ping),
                Pongs::Second | Pongs::Enough => (Pongs::Enough, AfterPong::Close),
            };
            asked.pongs = pongs;
            if pongs == Pongs::Enough {
                state.ahead = None;
            }
            return next;
        }
        let first = state.end - state.sent.len() as u64;
        let before = state.sent.size();
        for _ in first..state.pinged {
            state.forget_first();
        }
        self.account(before, state.sent.size());
        AfterPong::Nothing
    }

    // --- Leaving and coming back. The caller holds the lock of the namespace's broadcasts. ---

    /// The client's connection has ended; false if this socket does not stand for it.
    pub(super) fn leave(&self, socket: &Socket, rooms: Vec<String>, now: Instant) -> bool {
        let expires = socket.expires().map(expiry_seconds);
        let mut state = self.state.lock();
        if !state.place.is(socket) {
            return false;
        }
        let (sequence, end) = match state.asked.take() {
            Some(asked) => (asked.sequence, asked.end),
            None => (self.account.sequence.load(Ordering::Acquire), state.end),
        };
        let kept = KeptAway::new(&self.account, &rooms, &state.data);
        state.place = Place::Away(Away {
            kept,
            rooms,
            since: now,
            sequence,
            end,
            claimed: false,
            expires,
        });
        true
    }

    /// The client has left for good; false if this socket does not stand for it.
    pub(super) fn end(&self, socket: &Socket) -> bool {
        let mut state = self.state.lock();
        let ends = state.place.is(socket);
        if ends {
            state.place = Place::Ended;
            self.forget_all(&mut state);
        }
        ends
    }

    /// Ends a client that has been away since `since`; false if it is not.
    pub(super) fn expire(&self, before: Instant) -> bool {
        let mut state = self.state.lock();
        let expired =
            matches!(&state.place, Place::Away(away) if !away.claimed && away.since <= before);
        if expired {
            state.place = Place::Ended;
            self.forget_all(&mut state);
        }
        expired
    }

    /// Promises the place to a newcomer, if it can go on from its offset.
    pub(super) fn claim(&self, offset: Option<&str>) -> Result<Resumed, Refused> {
        let mut state = self.state.lock();
        let old = match &state.place {
            Place::Ended => return Err(Refused::Ended),
            Place::Away(away) if away.claimed => return Err(Refused::Claimed),
            Place::Away(away) if away.has_expired() => return Err(Refused::Ended),
            Place::Away(_) => None,
            Place::Live(socket) => socket.upgrade().map(Socket),
        };
        let position = match offset {
            None => Position::Start,
            Some(offset) => self.account.tag.position(offset).ok_or(Refused::Offset)?,
        };
        state.find(position).ok_or(Refused::Offset)?;
        if let Place::Away(away) = &mut state.place {
            away.claimed = true;
        }
        Ok(Resumed {
            old,
            position,
            is_unsure: state.ahead == Some(position),
        })
    }

    /// Claims what the old connection of a newcomer has just left.
    pub(super) fn claim_left(&self) -> bool {
        match &mut self.state.lock().place {
            Place::Away(away) if !away.claimed && !away.has_expired() => {
                away.claimed = true;
                true
            }
            Place::Away(_) | Place::Live(_) | Place::Ended => false,
        }
    }

    /// Gives a promise up: the newcomer was not let in.
    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        if let Place::Away(away) = &mut state.place {
            away.claimed = false;
        }
    }

    /// The number of the first broadcast that a client which goes on from `position` has missed, or
    /// may have.
    pub(super) fn needs(&self, position: Position) -> Option<u64> {
        let state = self.state.lock();
        let Place::Away(away) = &state.place else {
            return None;
        };
        let mut sent = state.sent.iter().skip(state.find(position)?);
        let first = sent.find_map(|sent| match sent {
            Entry::Broadcast(number) => Some(number),
            Entry::Own { .. } => None,
        });
        Some(first.unwrap_or(away.sequence + 1))
    }

    /// When the time of a client that is away ends.
    pub(super) fn expires(&self) -> Option<SystemTime> {
        match &self.state.lock().place {
            Place::Away(away) => away.expires.map(expiry_time),
            Place::Live(_) | Place::Ended => None,
        }
    }

    /// The rooms of a client that is away.
    pub(super) fn rooms(&self) -> Option<Vec<String>> {
        match &self.state.lock().place {
            Place::Away(away) => Some(away.rooms.clone()),
            Place::Live(_) | Place::Ended => None,
        }
    }

    /// The client is back. `replay` gets what it has missed since `position` and gives what it was
    /// sent, and whether some of it went ahead of CONNECT.
    ///
    /// The lock is held meanwhile: an event to this client waits until it can follow.
    pub(super) fn resume(
        &self,
        socket: &Socket,
        position: Position,
        replay: impl FnOnce(Missed) -> (Vec<Sent>, bool),
    ) {
        let mut state = self.state.lock();
        let Place::Away(away) = &state.place else {
            return;
        };
        let (sequence, left) = (away.sequence, away.end);
        let from = state.find(position).unwrap_or(state.sent.len());
        let first = state.end - state.sent.len() as u64;
        let known = usize::try_from(left.saturating_sub(first)).unwrap_or(usize::MAX);
        let known = known.clamp(from, state.sent.len());
        let mut missed = state.sent.iter().skip(from).map(Sent::of);
        let before = missed.by_ref().take(known - from).collect();
        let own: Vec<_> = missed.collect();
        let (sent, is_ahead) = replay(Missed {
            before,
            own,
            sequence,
        });
        self.forget_all(&mut state);
        // Own events are consecutive, and all that are missed are sent.
        let own = sent.iter().filter(|sent| matches!(sent, Sent::Own { .. }));
        state.sent = Entries::after(state.own - own.count() as u64);
        state.base = position;
        state.place = Place::Live(Arc::downgrade(&socket.0));
        state.ahead = is_ahead.then_some(position);
        state.pinged = state.end;
        for sent in sent {
            let before = state.sent.size();
            match sent {
                Sent::Broadcast(number) => state.sent.push_broadcast(number),
                Sent::Own { after, frames } => {
                    state
                        .sent
                        .push_own(after, |out| out.extend_from_slice(&frames));
                }
            }
            self.pushed(&mut state, before);
        }
    }

    /// The client is in to tell what it has received: nothing that it has missed is sent, and it is to
    /// be sent away when its pongs have come. `is_pinged` if one to an earlier ping is under way.
    pub(super) fn ask(&self, socket: &Socket, is_pinged: bool) {
        let mut state = self.state.lock();
        let Place::Away(away) = &state.place else {
            return;
        };
        state.asked = Some(Asked {
            sequence: away.sequence,
            end: away.end,
            pongs: if is_pinged {
                Pongs::Earlier
            } else {
                Pongs::First
            },
        });
        state.place = Place::Live(Arc::downgrade(&socket.0));
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let size = self.state.get_mut().sent.size();
        self.account(size, 0);
    }
}

impl State {
    /// Finds the index of what follows a position.
    fn find(&self, position: Position) -> Option<usize> {
        if position == self.base {
            return Some(0);
        }
        let at = self
            .sent
            .iter()
            .position(|sent| sent.position() == position)?;
        Some(at + 1)
    }

    /// Forgets the oldest; false if there is none.
    fn forget_first(&mut self) -> bool {
        match self.sent.pop() {
            Some(position) => {
                self.base = position;
                true
            }
            None => false,
        }
    }
}

impl Place {
    fn is(&self, socket: &Socket) -> bool {
        matches!(self, Place::Live(live) if std::ptr::eq(live.as_ptr(), Arc::as_ptr(&socket.0)))
    }
}

impl Sent {
    fn of(entry: Entry<'_>) -> Sent {
        match entry {
            Entry::Broadcast(number) => Sent::Broadcast(number),
            Entry::Own { after, frames, .. } => Sent::Own {
                after,
                frames: frames.into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, SystemTime};

    use http::{HeaderMap, Uri};
    use socketio_proto::engine::{Message, Packet, Revision, Transport, Via};

    use super::super::super::handshake::Handshake;
    use super::super::super::http::New;
    use super::super::super::running::Running;
    use super::super::super::session::{Dialect, Session};
    use crate::id::SessionId;
    use crate::{Recovery, Server};

    use super::*;

    thread_local! {
        pub(super) static PONGED: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn pongs_that_nobody_has_asked_for_walk_no_namespaces() {
        const NAMESPACES: usize = 100;
        let io = Server::builder().recovery(Recovery::new()).build();
        let start = Instant::now();
        let new = New {
            id: SessionId::generate(),
            transport: Transport::WebSocket,
            dialect: Dialect {
                revision: Revision::V4,
                base64: false,
                jsonp: false,
            },
        };
        let (uri, headers) = (Uri::from_static("/socket.io/"), HeaderMap::new());
        let handshake = Handshake::new(&uri, &headers, None, false, SystemTime::now());
        let session = Arc::new(Session::new(new, &io.shared, handshake, start));
        let mut running = Running::default();
        for n in 0..NAMESPACES {
            io.of(format!("/{n}"));
            let join = format!("0/{n},");
            let join = Packet::Message(Message::Text(&join));
            session.handle_packet(Via::Main, join, start, &mut running);
        }
        let mut flood = |now| {
            for _ in 0..1000 {
                session.handle_packet(Via::Main, Packet::Pong(""), now, &mut running);
            }
            PONGED.take()
        };
        assert_eq!(flood(start), 0);
        let later = start + Duration::from_secs(25);
        session.handle_timeout(later);
        assert_eq!((flood(later), flood(later)), (NAMESPACES, 0));
    }
}
