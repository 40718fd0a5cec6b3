//! What was broadcast in a namespace, and the clients that are away.
//!
//! Locks are taken in the order broadcasts, index of rooms, trail, outbox. A broadcast gets its
//! number and reaches all receivers under the first: so every client receives the broadcasts in the
//! order of their numbers, and none falls between a client's departure and its return.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use socketio_proto::socket::{DisconnectReason, PacketKind};
use socketio_proto::websocket;

use super::super::Shared;
use super::super::adapter::LocalAdapter;
use super::super::broadcast::Target;
use super::super::connect::welcome;
use super::super::ending::Close;
use super::super::socket::Socket;
use super::position::{Offset, Position, Tag};
use super::trail::{Account, Missed, Refused, Resumed, Sent, Trail};
use super::{Recovery, proof};
use crate::encode;
use crate::id::{Pid, SocketId};

/// The part of recovery that a namespace's sockets share.
pub(crate) struct Log {
    options: Recovery,
    /// How long broadcasts are kept: a client may be away for as long as allowed after the server
    /// has taken a full heartbeat to notice.
    retention: Duration,
    account: Arc<Account>,
    broadcasts: Mutex<Broadcasts>,
    clients: Mutex<Clients>,
    server: Weak<Shared>,
    sweeping: AtomicBool,
}

#[derive(Default)]
struct Broadcasts {
    /// The number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
}

struct Entry {
    at: Instant,
    frames: Vec<Bytes>,
    target: Target,
}

#[derive(Default)]
struct Clients {
    by_pid: HashMap<Pid, Arc<Trail>, RandomState>,
    /// Those that are away, in the order they left; some may be back.
    away: VecDeque<(Instant, Arc<Trail>)>,
}

/// A broadcast in progress: nobody leaves or comes back until it is done.
pub(crate) struct Numbered<'a> {
    log: &'a Arc<Log>,
    broadcasts: MutexGuard<'a, Broadcasts>,
    pub(crate) number: u64,
}

/// Why a client that wanted to be recovered was not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotRecovered {
    /// Nobody with this private id is known: too long away, or away from another server.
    Unknown,
    /// What it has missed is not kept, or its offset is none of ours.
    Offset,
    /// It is to come again.
    Later,
}

/// The promise of its place to a client that is back.
pub(crate) struct Claim {
    log: Arc<Log>,
    trail: Arc<Trail>,
    position: Position,
    is_unsure: bool,
    done: bool,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Finished {
    Recovered,
    /// The connection has ended in the meantime, or what was missed is lost: the connection is to
    /// be closed.
    Failed,
}

/// Events are sent ahead of CONNECT up to this many bytes: what a new TCP connection sends at once.
/// Before CONNECT the official client keeps events without remembering their offset, so that a
/// connection which breaks in between leaves it with events that nobody knows of.
const AHEAD: usize = 14_000;

impl Log {
    pub(crate) fn new(options: &Recovery, server: &Arc<Shared>) -> Arc<Log> {
        let engine = server.engine();
        let account = Account {
            tag: Tag::random(),
            max_client_bytes: options.max_client_bytes,
            max_bytes: options.max_bytes,
            kept: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
        };
        Arc::new(Log {
            options: options.clone(),
            retention: options.max_disconnection + engine.ping_interval + engine.ping_timeout,
            account: Arc::new(account),
            broadcasts: Mutex::new(Broadcasts {
                first: 1,
                entries: VecDeque::new(),
            }),
            clients: Mutex::default(),
            server: Arc::downgrade(server),
            sweeping: AtomicBool::new(false),
        })
    }

    /// Bytes that are kept for clients.
    pub(crate) fn kept(&self) -> usize {
        self.account.kept.load(Ordering::Relaxed)
    }

    /// Makes the trail of a new socket.
    pub(crate) fn trail(&self, sid: &SocketId) -> Arc<Trail> {
        let trail = Trail::new(Pid::generate(), sid.clone(), self.account.clone());
        Arc::new(trail)
    }

    /// A new socket has joined the namespace.
    pub(crate) fn joined(&self, socket: &Socket, trail: &Arc<Trail>) {
        trail.begin(socket);
        let mut clients = self.clients.lock();
        clients.by_pid.insert(trail.pid().clone(), trail.clone());
    }

    // --- Broadcasts ---

    /// Gives a broadcast its number.
    pub(crate) fn number(self: &Arc<Log>) -> Numbered<'_> {
        let broadcasts = self.broadcasts.lock();
        let number = broadcasts.first + broadcasts.entries.len() as u64;
        Numbered {
            log: self,
            broadcasts,
            number,
        }
    }

    // --- Leaving ---

    /// Takes note that a socket leaves; false if it has left already.
    pub(crate) fn leave(
        self: &Arc<Log>,
        socket: &Socket,
        trail: &Arc<Trail>,
        reason: DisconnectReason,
    ) -> bool {
        let now = Instant::now();
        let is_away = {
            let _broadcasts = self.broadcasts.lock();
            if !socket.has_left() {
                return false;
            }
            match is_recoverable(reason) {
                true => trail.leave(socket, socket.rooms(), now),
                false => {
                    if trail.end(socket) {
                        self.clients.lock().by_pid.remove(trail.pid());
                    }
                    false
                }
            }
        };
        if is_away {
            self.clients.lock().away.push_back((now, trail.clone()));
            self.make_room();
            self.sweep_later();
        }
        true
    }

    // --- Coming back ---

    /// Promises its place to a client that proves who it is; `None` if it does not ask.
    pub(crate) fn claim(self: &Arc<Log>, auth: &str) -> Option<Result<Claim, NotRecovered>> {
        let (pid, offset) = proof(auth)?;
        Some(self.claim_as(&pid, offset.as_deref()))
    }

    fn claim_as(self: &Arc<Log>, pid: &str, offset: Option<&str>) -> Result<Claim, NotRecovered> {
        let trail = self.clients.lock().by_pid.get(pid).cloned();
        let trail = trail.ok_or(NotRecovered::Unknown)?;
        let oldest = Instant::now().checked_sub(self.options.max_disconnection);
        if oldest.is_some_and(|oldest| trail.expire(oldest)) {
            self.clients.lock().by_pid.remove(pid);
            return Err(NotRecovered::Unknown);
        }
        let refused = |refused| match refused {
            Refused::Claimed | Refused::Ended => NotRecovered::Unknown,
            Refused::Offset => NotRecovered::Offset,
        };
        let Resumed {
            old,
            position,
            is_unsure,
        } = trail.claim(offset).map_err(refused)?;
        if let Some(old) = old {
            // Whoever knows the private id is the client: its old connection is dead.
            old.0.session.close(Close::broken(SUPERSEDED));
            // The session may have been ending just now, in another thread.
            old.left(DisconnectReason::TransportError, Some(SUPERSEDED));
            old.0.namespace.remove(&old);
            if !trail.claim_left() {
                return Err(NotRecovered::Unknown);
            }
        }
        let claim = Claim {
            log: self.clone(),
            trail,
            position,
            is_unsure,
            done: false,
        };
        let first = self.broadcasts.lock().first;
        match claim.trail.needs(position) {
            Some(needed) if needed >= first => Ok(claim),
            _ => Err(NotRecovered::Offset),
        }
    }

    // --- Forgetting ---

    fn sweep_later(self: &Arc<Log>) {
        let Some(server) = self.server.upgrade() else {
            return;
        };
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            let log = Arc::downgrade(self);
            server.spawn(async move {
                while let Some(next) = log.upgrade().and_then(|log| log.sweep()) {
                    tokio::time::sleep_until(next.into()).await;
                }
            });
        }
    }

    /// Forgets what is too old; gives the time of the next look, or `None` when nothing is left.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut broadcasts = self.broadcasts.lock();
        self.forget_broadcasts(&mut broadcasts, now);
        let mut next = broadcasts
            .entries
            .front()
            .map(|first| first.at + self.retention);
        let mut clients = self.clients.lock();
        while let Some((since, _)) = clients.away.front() {
            let expires = *since + self.options.max_disconnection;
            if expires > now {
                next = Some(next.map_or(expires, |next| expires.min(next)));
                break;
            }
            let Some((since, trail)) = clients.away.pop_front() else {
                break;
            };
            if trail.expire(since) {
                clients.by_pid.remove(trail.pid());
            }
        }
        if clients.away.is_empty() {
            clients.away = VecDeque::new();
        }
        if next.is_none() {
            // Under the locks: who leaves after this starts another sweep.
            self.sweeping.store(false, Ordering::Release);
        }
        // A client that is being let in keeps its place for as long as that takes.
        next.map(|next| next.max(now + Duration::from_millis(10)))
    }

    /// Forgets what is too much, broadcasts and clients that are away, the oldest first: to one that has
    /// left before the oldest broadcast something may be missing.
    fn make_room(&self) {
        let is_too_much = || self.kept() > self.options.max_bytes;
        if !is_too_much() {
            return;
        }
        let mut broadcasts = self.broadcasts.lock();
        let mut clients = self.clients.lock();
        while is_too_much() {
            let left = clients.away.front().map(|(since, _)| *since);
            match broadcasts.entries.front() {
                Some(first) if left.is_none_or(|left| first.at <= left) => {
                    self.forget_first(&mut broadcasts);
                }
                Some(_) | None => {
                    let Some((since, trail)) = clients.away.pop_front() else {
                        break;
                    };
                    if trail.expire(since) {
                        clients.by_pid.remove(trail.pid());
                    }
                }
            }
        }
    }

    fn forget_first(&self, broadcasts: &mut Broadcasts) {
        if let Some(first) = broadcasts.entries.pop_front() {
            self.account.kept.fetch_sub(first.size(), Ordering::Relaxed);
            broadcasts.first += 1;
        }
    }

    fn forget_broadcasts(&self, broadcasts: &mut Broadcasts, now: Instant) {
        while let Some(first) = broadcasts.entries.front() {
            let too_much = self.kept() > self.options.max_bytes && broadcasts.entries.len() > 1;
            if !too_much && first.at + self.retention > now {
                break;
            }
            self.forget_first(broadcasts);
        }
        if broadcasts.entries.is_empty() {
            broadcasts.entries = VecDeque::new();
        }
    }
}

impl Numbered<'_> {
    pub(crate) fn offset(&self) -> Offset {
        self.log
            .account
            .tag
            .offset(Position::Broadcast(self.number))
    }

    /// Keeps the broadcast for those who are away.
    pub(crate) fn keep(mut self, frames: &[Bytes], target: &Target) {
        let now = Instant::now();
        let entry = Entry {
            at: now,
            frames: frames.to_vec(),
            target: target.clone(),
        };
        self.log
            .account
            .kept
            .fetch_add(entry.size(), Ordering::Relaxed);
        self.log
            .account
            .sequence
            .store(self.number, Ordering::Release);
        self.broadcasts.entries.push_back(entry);
        self.log.forget_broadcasts(&mut self.broadcasts, now);
        drop(self.broadcasts);
        self.log.sweep_later();
    }
}

impl Claim {
    pub(crate) fn skips_middlewares(&self) -> bool {
        self.log.options.skip_middlewares
    }

    pub(crate) fn trail(&self) -> &Arc<Trail> {
        &self.trail
    }

    /// Lets the client in: it gets what it has missed, and everything from here on.
    ///
    /// If events were sent ahead of CONNECT when it was here the last time, and that CONNECT may not
    /// have reached it, it may have some of them without their offset. Then it gets CONNECT alone,
    /// which makes it count them, and is pinged until it has certainly sent what it had kept while it
    /// was offline; it is sent away, and comes back with an exact offset.
    pub(crate) fn finish(mut self, socket: &Socket, local: &LocalAdapter) -> Finished {
        let log = self.log.clone();
        let broadcasts = log.broadcasts.lock();
        let is_kept = |needed| needed >= broadcasts.first;
        let Some(rooms) = self.trail.rooms() else {
            return Finished::Failed;
        };
        if let Some(time) = self.trail.expires().filter(|_| socket.expires().is_none()) {
            socket.expires_at(time);
        }
        if !self.trail.needs(self.position).is_some_and(is_kept) || !socket.enter() {
            return Finished::Failed;
        }
        let events = local.join_quietly(socket, &rooms);
        let session = &socket.0.session;
        if self.is_unsure {
            self.trail.ask(socket, session.awaits_pong());
            send_connect(socket, self.trail.pid());
        } else {
            self.trail.resume(socket, self.position, |missed| {
                let sent = broadcasts.merge(missed, &rooms);
                let is_ahead = broadcasts.replay(&sent, socket, self.trail.pid());
                (sent, is_ahead)
            });
        }
        self.done = true;
        drop(broadcasts);
        if self.is_unsure {
            session.ping();
        }
        local.tell(&events);
        Finished::Recovered
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.done {
            self.trail.release();
            let away = (Instant::now(), self.trail.clone());
            self.log.clients.lock().away.push_back(away);
            self.log.sweep_later();
        }
    }
}

impl Broadcasts {
    /// Puts what a client has missed in the order in which it was sent.
    fn merge(&self, missed: Missed, client: &[String]) -> Vec<Sent> {
        let mut sent = missed.before;
        let mut own = missed.own.into_iter().peekable();
        let mut take_own = |sent: &mut Vec<Sent>, before: u64| {
            let is_before = |own: &Sent| matches!(own, Sent::Own { after, .. } if *after < before);
            while let Some(own) = own.next_if(is_before) {
                sent.push(own);
            }
        };
        let first = missed.sequence + 1;
        let entries = self.entries.iter().skip((first - self.first) as usize);
        for (entry, number) in entries.zip(first..) {
            if entry.target.reaches(client) {
                take_own(&mut sent, number);
                sent.push(Sent::Broadcast(number));
            }
        }
        take_own(&mut sent, u64::MAX);
        sent
    }

    /// Sends what a client has missed, and CONNECT; true if something went ahead of that.
    fn replay(&self, sent: &[Sent], socket: &Socket, pid: &Pid) -> bool {
        let session = &socket.0.session;
        let send = |sent: &Sent| match sent {
            Sent::Broadcast(number) => {
                let frames = self.get(*number);
                session.send_anyway(|outbox| {
                    frames
                        .iter()
                        .for_each(|frame| outbox.push_shared(frame.clone()));
                });
                frames.iter().map(Bytes::len).sum::<usize>()
            }
            Sent::Own { frames, .. } => {
                session.send_anyway(|outbox| {
                    websocket::frames(frames)
                        .for_each(|(opcode, payload, _)| outbox.push(opcode, payload));
                });
                frames.len()
            }
        };
        let mut rest = sent.iter();
        let mut ahead = 0;
        while ahead < AHEAD {
            let Some(sent) = rest.next() else { break };
            ahead += send(sent);
        }
        send_connect(socket, pid);
        for sent in rest {
            send(sent);
        }
        ahead > 0
    }

    fn get(&self, number: u64) -> &[Bytes] {
        let index = number
            .checked_sub(self.first)
            .and_then(|i| usize::try_from(i).ok());
        let entry = index.and_then(|index| self.entries.get(index));
        &entry
            .expect("nobody is let in who needs a broadcast that is forgotten")
            .frames
    }
}

impl Entry {
    fn size(&self) -> usize {
        let names = self.target.rooms.iter().chain(&self.target.except);
        size_of::<Entry>()
            + self
                .frames
                .iter()
                .map(|f| f.len() + size_of::<Bytes>())
                .sum::<usize>()
            + names
                .map(|name| name.len() + size_of::<String>())
                .sum::<usize>()
    }
}

pub(super) fn send_connect(socket: &Socket, pid: &Pid) {
    let session = &socket.0.session;
    let parser = session.shared().parser();
    let nsp = socket.0.namespace.name();
    let welcome = welcome(socket.id(), Some(pid));
    encode::control(parser, PacketKind::Connect, nsp, &welcome, |encoded| {
        session.send_anyway(|outbox| {
            encoded.frames(|opcode, payload| outbox.push(opcode, payload));
        });
    });
}

/// What the handlers of the old connection are told.
pub(super) const SUPERSEDED: &str = "the client has come back on another connection";

/// Those who left on purpose do not come back.
pub(super) fn is_recoverable(reason: DisconnectReason) -> bool {
    match reason {
        DisconnectReason::ForcedClose
        | DisconnectReason::ForcedServerClose
        | DisconnectReason::PingTimeout
        | DisconnectReason::ServerShuttingDown
        | DisconnectReason::TransportClose
        | DisconnectReason::TransportError => true,
        DisconnectReason::ClientNamespaceDisconnect
        | DisconnectReason::ParseError
        | DisconnectReason::ServerNamespaceDisconnect => false,
        _ => false,
    }
}
