//! The HTTP connections of a listener: who is idle for too long, and how all are told of the end.
//!
//! One task looks at all of them now and then. That costs nothing for each request, as a timer for
//! each would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// All HTTP connections of a listener.
#[derive(Debug, Default)]
pub(crate) struct HttpConnections {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<Arc<HttpConnection>>>,
    free: Vec<usize>,
    closed: bool,
}

/// One HTTP connection.
#[derive(Debug, Default)]
pub(crate) struct HttpConnection {
    begun: AtomicU32,
    ended: AtomicU32,
    /// What `begun` was when it was looked at the last time.
    seen: AtomicU32,
    idle: AtomicBool,
    closed: AtomicBool,
    waker: AtomicWaker,
}

/// Keeps a connection in the table.
#[derive(Debug)]
pub(crate) struct Entry {
    connections: Arc<HttpConnections>,
    connection: Arc<HttpConnection>,
    key: usize,
}

impl HttpConnections {
    pub(crate) fn add(self: &Arc<HttpConnections>) -> Entry {
        let connection = Arc::new(HttpConnection::default());
        connection.seen.store(u32::MAX, Ordering::Relaxed);
        let mut table = self.table.lock();
        connection.closed.store(table.closed, Ordering::Relaxed);
        let key = table.free.pop().unwrap_or_else(|| {
            table.slots.push(None);
            table.slots.len() - 1
        });
        table.slots[key] = Some(connection.clone());
        Entry {
            connections: self.clone(),
            connection,
            key,
        }
    }

    pub(crate) fn len(&self) -> usize {
        let table = self.table.lock();
        table.slots.len() - table.free.len()
    }

    /// Ends the connections on which nothing has begun since the last look, and nothing is pending.
    pub(crate) fn end_idle(&self) {
        for connection in self.table.lock().slots.iter().flatten() {
            let begun = connection.begun.load(Ordering::Relaxed);
            let pending = begun != connection.ended.load(Ordering::Relaxed);
            if connection.seen.swap(begun, Ordering::Relaxed) == begun && !pending {
                connection.idle.store(true, Ordering::Release);
                connection.waker.wake();
            }
        }
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
        }
    }
}

impl HttpConnection {
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let waker: &Waker = cx.waker();
        self.waker.register(waker);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire)
    }

    /// Says whether a whole head has ever come.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
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

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}
