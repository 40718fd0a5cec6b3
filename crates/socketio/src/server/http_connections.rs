//! The TCP connections of a server's listeners: how many there are, who is idle for too long, who goes
//! first when there is no room, and how all are told of the end.
//!
//! One task of each listener looks at its connections now and then. That costs nothing for each
//! request, as a timer for each would.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// All TCP connections of a server's listeners.
#[derive(Debug, Default)]
pub(crate) struct HttpConnections {
    table: Mutex<Table>,
    /// Those that have become WebSockets: they are not in the table any more.
    websockets: AtomicUsize,
    /// Both ends of WebSockets that pass through to other servers.
    passing: AtomicUsize,
    listeners: AtomicUsize,
    /// Told when there is none left.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Arc<HttpConnection>>>,
    free: Vec<usize>,
    closed: bool,
    /// How many connections there have been.
    added: u64,
    /// Those whose first head has not come, oldest first, and others, which are skipped.
    silent: VecDeque<(usize, u64)>,
    /// When those without a session were sent away.
    swept: Option<Instant>,
}

/// One connection that speaks HTTP.
#[derive(Debug, Default)]
pub(crate) struct HttpConnection {
    /// Its number among all there have been.
    number: u64,
    listener: usize,
    begun: AtomicU32,
    ended: AtomicU32,
    /// How often the client has read again after it had not.
    unblocked: AtomicU32,
    /// An answer cannot be written, since the client does not read.
    is_blocked: AtomicBool,
    /// What `begun` and `unblocked` were together when it was looked at the last time.
    seen: AtomicU32,
    is_of_session: AtomicBool,
    end: AtomicU8,
    closed: AtomicBool,
    waker: AtomicWaker,
}

/// Why a connection is to end at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Nothing has come for too long.
    Idle,
    /// Others need the room.
    CrowdedOut,
}

const IDLE: u8 = 1;
const CROWDED_OUT: u8 = 2;

/// The time between two looks for connections without a session, which are looks at all.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Keeps a connection in the table.
#[derive(Debug)]
pub(crate) struct Entry {
    connections: Arc<HttpConnections>,
    connection: Arc<HttpConnection>,
    key: usize,
}

impl HttpConnections {
    /// Gives a listener its number.
    pub(crate) fn add_listener(&self) -> usize {
        self.listeners.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a connection of a listener.
    pub(crate) fn add(self: &Arc<HttpConnections>, listener: usize) -> Entry {
        let mut table = self.table.lock();
        table.added += 1;
        let connection = Arc::new(HttpConnection {
            number: table.added,
            listener,
            seen: AtomicU32::new(u32::MAX),
            closed: AtomicBool::new(table.closed),
            ..HttpConnection::default()
        });
        let key = table.free.pop().unwrap_or_else(|| {
            table.slots.push(None);
            table.slots.len() - 1
        });
        table.slots[key] = Some(connection.clone());
        table.remember_silent(key, connection.number);
        Entry {
            connections: self.clone(),
            connection,
            key,
        }
    }

    /// The number of TCP connections, WebSockets among them.
    pub(crate) fn len(&self) -> usize {
        let table = self.table.lock();
        let passing = self.passing.load(Ordering::Relaxed);
        table.slots.len() - table.free.len() + self.websockets.load(Ordering::Relaxed) + passing
    }

    pub(crate) fn websockets(&self) -> usize {
        self.websockets.load(Ordering::Acquire)
    }

    /// Counts a WebSocket that passes through, until the result is dropped. It is none of those that
    /// the end of the server waits for: it ends with it.
    pub(crate) fn pass(self: &Arc<HttpConnections>) -> Passing {
        self.passing.fetch_add(2, Ordering::Relaxed);
        Passing(self.clone())
    }

    pub(crate) fn websocket_began(&self) {
        self.websockets.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn websocket_ended(&self) {
        self.websockets.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the connections of a listener on which nothing has begun since the last look, and nothing
    /// is pending; and those that have read nothing since then of an answer that waits.
    pub(crate) fn end_idle(&self, listener: usize) {
        for connection in self.table.lock().slots.iter().flatten() {
            if connection.listener != listener {
                continue;
            }
            let begun = connection.begun.load(Ordering::Relaxed);
            let moves = begun.wrapping_add(connection.unblocked.load(Ordering::Relaxed));
            let same = connection.seen.swap(moves, Ordering::Relaxed) == moves;
            if same && (!connection.is_pending() || connection.is_blocked()) {
                connection.end(IDLE);
            }
        }
    }

    /// Sends the oldest connection away whose first head has not come; if there is none, all on which
    /// nothing is pending and no session was seen. Gives how many it were.
    ///
    /// A session's connection is never sent away, nor a WebSocket.
    pub(crate) fn make_room(&self, now: Instant) -> usize {
        let mut table = self.table.lock();
        while let Some((key, number)) = table.silent.pop_front() {
            if let Some(silent) = table.silent(key, number) {
                silent.end(CROWDED_OUT);
                return 1;
            }
        }
        let swept = table.swept;
        if swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_PAUSE) {
            return 0;
        }
        table.swept = Some(now);
        let strangers = table.slots.iter().flatten().filter(|connection| {
            let has_session = connection.is_of_session.load(Ordering::Relaxed);
            !has_session && !connection.is_pending() && connection.ending().is_none()
        });
        strangers.map(|stranger| stranger.end(CROWDED_OUT)).count()
    }

    /// Tells all connections, present and future, to end when their requests are answered.
    pub(crate) fn close(&self) {
        let mut table = self.table.lock();
        table.closed = true;
        for connection in table.slots.iter().flatten() {
            connection.closed.store(true, Ordering::Release);
            connection.waker.wake();
        }
    }

    /// Ends all connections at once, whatever they are doing.
    pub(crate) fn cut_off(&self) {
        for connection in self.table.lock().slots.iter().flatten() {
            connection.end(CROWDED_OUT);
        }
    }

    /// Waits until none speaks HTTP.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.table.lock().slots.is_empty() {
                return;
            }
            ended.await;
        }
    }
}

impl Table {
    fn remember_silent(&mut self, key: usize, number: u64) {
        let count = self.slots.len() - self.free.len();
        if self.silent.len() > 2 * count + 64 {
            let mut silent = std::mem::take(&mut self.silent);
            silent.retain(|&(key, number)| self.silent(key, number).is_some());
            silent.shrink_to(2 * silent.len() + 64);
            self.silent = silent;
        }
        self.silent.push_back((key, number));
    }

    /// The connection with this number, if it is there and its first head has not come.
    fn silent(&self, key: usize, number: u64) -> Option<&HttpConnection> {
        let connection = self.slots.get(key)?.as_deref()?;
        let is_silent = !connection.has_begun() && connection.ending().is_none();
        (connection.number == number && is_silent).then_some(connection)
    }
}

/// A WebSocket that passes through.
#[derive(Debug)]
pub(crate) struct Passing(Arc<HttpConnections>);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.passing.fetch_sub(2, Ordering::Relaxed);
    }
}

impl Entry {
    pub(crate) fn connection(&self) -> &Arc<HttpConnection> {
        &self.connection
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        table.slots[self.key] = None;
        table.free.push(self.key);
        if table.free.len() == table.slots.len() {
            table.slots = Vec::new();
            table.free = Vec::new();
            table.silent = VecDeque::new();
            self.connections.ended.notify_waiters();
        }
    }
}

impl HttpConnection {
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let waker: &Waker = cx.waker();
        self.waker.register(waker);
    }

    /// Becomes ready when the connection is to end.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<End> {
        self.register(cx);
        self.ending().map_or(Poll::Pending, Poll::Ready)
    }

    /// Says whether the connection is to end at once, and why.
    pub(crate) fn ending(&self) -> Option<End> {
        match self.end.load(Ordering::Acquire) {
            IDLE => Some(End::Idle),
            CROWDED_OUT => Some(End::CrowdedOut),
            _ => None,
        }
    }

    fn end(&self, why: u8) {
        self.end.store(why, Ordering::Release);
        self.waker.wake();
    }

    /// Says whether a whole head has ever come.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.ended.load(Ordering::Relaxed)
    }

    /// Notes whether something waits to be written because the client does not read.
    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
        if !is_blocked {
            self.unblocked.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Counts a request that begins; it ends when the result is dropped.
    pub(crate) fn begin(self: &Arc<HttpConnection>) -> Pending {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Pending(self.clone())
    }
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Pending(Arc<HttpConnection>);

impl Pending {
    /// Notes that a session uses the connection.
    pub(crate) fn is_of_session(&self) {
        self.0.is_of_session.store(true, Ordering::Relaxed);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(entries: &[Entry]) -> Vec<bool> {
        let ending = entries.iter().map(|entry| entry.connection.ending());
        ending.map(|end| end == Some(End::CrowdedOut)).collect()
    }

    #[test]
    fn the_oldest_silent_connection_goes_first_and_no_session_s() {
        let connections = Arc::new(HttpConnections::default());
        let mut entries: Vec<_> = (0..6).map(|_| connections.add(0)).collect();
        // The first polls, the second waits for its first answer, the third was refused.
        let session = entries[0].connection.begin();
        session.is_of_session();
        drop(session);
        let waiting = entries[1].connection.begin();
        drop(entries[2].connection.begin());
        let now = Instant::now();
        assert_eq!(connections.make_room(now), 1);
        assert_eq!(ended(&entries), [false, false, false, true, false, false]);
        // A place that was given back and taken again is not taken for the old connection.
        drop(entries.remove(4));
        entries.push(connections.add(0));
        assert_eq!(connections.make_room(now), 1);
        assert_eq!(ended(&entries), [false, false, false, true, true, false]);
        assert_eq!(connections.make_room(now), 1);
        assert_eq!(ended(&entries), [false, false, false, true, true, true]);
        assert_eq!(connections.make_room(now), 1);
        assert_eq!(ended(&entries), [false, false, true, true, true, true]);
        assert_eq!(connections.make_room(now), 0);
        // At all connections it does not look again at once.
        drop(waiting);
        assert_eq!(connections.make_room(now), 0);
        assert_eq!(connections.make_room(now + SWEEP_PAUSE), 1);
        assert_eq!(ended(&entries), [false, true, true, true, true, true]);
    }

    #[test]
    fn a_slow_reader_is_waited_for_and_who_reads_nothing_is_not() {
        let connections = Arc::new(HttpConnections::default());
        let entries: Vec<_> = (0..4).map(|_| connections.add(0)).collect();
        let mut pending: Vec<_> = entries.iter().map(|e| e.connection.begin()).collect();
        let [slow, deaf, thinks, sent] = [0, 1, 2, 3].map(|at| &entries[at].connection);
        for connection in [slow, deaf, sent] {
            connection.set_blocked(true);
        }
        // Its answer is complete, and waits in our buffers.
        drop(pending.pop());
        for _ in 0..10 {
            connections.end_idle(0);
            slow.set_blocked(false);
            slow.set_blocked(true);
        }
        let ending = [slow, deaf, thinks, sent].map(|connection| connection.ending());
        let idle = Some(End::Idle);
        assert_eq!(ending, [None, idle, None, idle]);
    }

    #[test]
    fn what_is_kept_of_silent_connections_is_bounded() {
        let connections = Arc::new(HttpConnections::default());
        let stays = connections.add(0);
        for _ in 0..100_000 {
            drop(connections.add(0));
        }
        let table = connections.table.lock();
        assert!(table.silent.len() <= 128 && table.silent.capacity() <= 512);
        assert!(table.silent.contains(&(stays.key, stays.connection.number)));
    }

    #[test]
    fn websockets_are_counted_as_well() {
        let connections = Arc::new(HttpConnections::default());
        let entry = connections.add(0);
        connections.websocket_began();
        let passing = connections.pass();
        assert_eq!((connections.len(), connections.websockets()), (4, 1));
        drop(entry);
        drop(passing);
        assert_eq!((connections.len(), connections.websockets()), (1, 1));
        connections.websocket_ended();
        assert_eq!(connections.len(), 0);
    }

    #[test]
    fn a_look_is_at_the_connections_of_its_listener() {
        let connections = Arc::new(HttpConnections::default());
        let entries = [connections.add(0), connections.add(1)];
        for (looks, idle) in [(1, false), (2, true)] {
            connections.end_idle(1);
            let of_other = entries[0].connection.ending();
            assert_eq!(of_other, None, "{looks}");
            assert_eq!(entries[1].connection.ending().is_some(), idle);
        }
    }
}
