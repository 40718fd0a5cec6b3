//! What a server reads from a stream: one connection for each stream, which comes back by itself and
//! goes on where it was.

use socketio_proto::Printable;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;
use redis::aio::MultiplexedConnection;
use socketio::cluster::{BusError, Inbox, Rejected, together};
use socketio_proto::cluster::streams::{Entry, Offset};
use socketio_proto::cluster::{Limits, Message};
use tokio::sync::watch;
use tokio::time::timeout;

use super::line::{ANSWER, connect};
use crate::redis::master::Master;
use crate::redis::subscriber::{OVERHEAD, TOGETHER};

/// A stream, and who listens to it.
pub(super) struct Stream {
    name: String,
    members: Mutex<Vec<Member>>,
    /// Where reading began, and what was delivered since.
    delivered: watch::Sender<Option<Offset>>,
    gaps: Arc<AtomicU64>,
}

struct Member {
    nsp: String,
    inbox: Arc<dyn Inbox>,
}

/// One read entry: its place, and its fields.
pub(super) type Row = (String, Value);

const COUNT: usize = 100;
/// A server that is further behind lets nobody come back.
const CATCH_UP: Duration = Duration::from_secs(20);
const BLOCK: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

impl Stream {
    pub(super) fn new(name: String, gaps: Arc<AtomicU64>) -> Stream {
        Stream {
            name,
            members: Mutex::default(),
            delivered: watch::Sender::new(None),
            gaps,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn add(&self, nsp: &str, inbox: Arc<dyn Inbox>) {
        let nsp = nsp.to_owned();
        self.members.lock().push(Member { nsp, inbox });
    }

    pub(super) fn remove(&self, inbox: &Arc<dyn Inbox>) {
        let is_another = |member: &Member| !Arc::ptr_eq(&member.inbox, inbox);
        self.members.lock().retain(is_another);
    }

    /// Finds the end of the stream, where reading begins.
    pub(super) async fn start(&self, line: &mut MultiplexedConnection) -> Result<(), String> {
        if self.delivered.borrow().is_none() {
            let end = end(line, &self.name).await?;
            self.delivered.send_replace(Some(end.unwrap_or_default()));
        }
        Ok(())
    }

    /// Waits until everything up to an offset has been delivered, and gives how far that is.
    pub(super) async fn delivered(&self, offset: Offset) -> Result<Offset, BusError> {
        let mut delivered = self.delivered.subscribe();
        let waiting = delivered.wait_for(|now| now.is_some_and(|now| now >= offset));
        let late = || BusError("the stream is read too slowly".to_owned());
        let delivered = timeout(CATCH_UP, waiting).await.map_err(|_| late())?;
        delivered.map_err(|_| late())?.ok_or_else(late)
    }

    /// Reads the stream, for ever.
    pub(super) async fn read(self: Arc<Stream>, master: Master) {
        let mut started = self.delivered.subscribe();
        let started = started.wait_for(Option::is_some).await;
        let Some(mut offset) = started.ok().and_then(|started| *started) else {
            return;
        };
        let (mut connection, mut pause, mut is_behind) = (None, FIRST_PAUSE, true);
        loop {
            let read = self.page(&master, &mut connection, &mut offset, is_behind);
            match read.await {
                Ok(rows) => {
                    pause = FIRST_PAUSE;
                    // Only who is far behind, or was away, can miss what is trimmed.
                    is_behind = rows.is_empty() || rows.len() >= COUNT;
                    let mut rows = rows.into_iter().peekable();
                    while rows.peek().is_some() {
                        together(|| self.deliver_some(&mut rows, &mut offset));
                        tokio::task::yield_now().await;
                    }
                    self.delivered.send_replace(Some(offset));
                }
                Err(error) => {
                    tracing::warn!(stream = self.name, error = %Printable::new(&error), "cannot read from Redis");
                    (connection, is_behind) = (None, true);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Reads on, or waits for more.
    async fn page(
        &self,
        master: &Master,
        connection: &mut Option<MultiplexedConnection>,
        offset: &mut Offset,
        is_behind: bool,
    ) -> Result<Vec<Row>, String> {
        let line = match connection {
            Some(line) => line,
            None => connection.insert(connect(master).await?),
        };
        if is_behind {
            self.look_for_gap(line, offset).await?;
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK");
        read.arg(BLOCK.as_millis() as u64).arg("STREAMS");
        read.arg(&self.name).arg(offset.to_string());
        let rows = timeout(
            BLOCK + ANSWER,
            read.query_async::<Option<Vec<(String, Vec<Row>)>>>(line),
        );
        let rows = rows.await.map_err(|_| "no answer".to_owned())?;
        let rows = rows.map_err(|error| error.to_string())?;
        let streams = rows.unwrap_or_default();
        Ok(streams.into_iter().flat_map(|(_, rows)| rows).collect())
    }

    /// Notices what cannot be read any more.
    async fn look_for_gap(
        &self,
        line: &mut MultiplexedConnection,
        offset: &mut Offset,
    ) -> Result<(), String> {
        let Some(end) = end(line, &self.name).await? else {
            // Whatever comes now is new, even if the clock of Redis was set back.
            *offset = Offset::default();
            return Ok(());
        };
        let mut first = redis::cmd("XRANGE");
        first.arg(&self.name).arg("-").arg("+").arg("COUNT").arg(1);
        let first = ids(line, &first).await?;
        let is_gap = *offset != Offset::default() && first.is_some_and(|first| first > *offset);
        if end < *offset {
            // What Redis has lost has been delivered; what comes after its new end has not.
            tracing::warn!(stream = self.name, "the end of the stream is lost");
            *offset = end;
        } else if is_gap {
            tracing::warn!(
                stream = self.name,
                "the stream was trimmed before it was read: messages may be lost"
            );
        } else {
            return Ok(());
        }
        self.gaps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Delivers some of what was read, within bounds.
    fn deliver_some(&self, rows: &mut impl Iterator<Item = Row>, offset: &mut Offset) {
        let mut bytes = 0;
        while bytes < TOGETHER
            && let Some((id, fields)) = rows.next()
        {
            bytes += size(&fields) + OVERHEAD;
            if let Ok(id) = id.parse() {
                self.deliver(id, &fields);
                *offset = id;
            }
        }
    }

    fn deliver(&self, offset: Offset, fields: &Value) {
        let Some(entry) = entry(fields) else {
            // Of no namespace: counted once.
            let first = self.members.lock().first().map(|first| first.inbox.clone());
            let reason = "`uid`, `nsp` or `type` is missing";
            let rejected = Rejected::new(&self.name, None, &reason);
            return first.iter().for_each(|inbox| inbox.reject(&rejected));
        };
        let inboxes: Vec<_> = {
            let members = self.members.lock();
            let listening = members.iter().filter(|member| member.nsp == entry.nsp);
            listening.map(|member| member.inbox.clone()).collect()
        };
        if inboxes.is_empty() {
            return;
        }
        let message = entry.decode(&Limits::default());
        for inbox in inboxes {
            match &message {
                Ok(message) => inbox.receive_at(message.clone(), offset),
                Err(error) => inbox.reject(&Rejected::new(&self.name, Some(&entry.uid), error)),
            }
        }
    }
}

/// The bytes of an entry.
fn size(fields: &Value) -> usize {
    match fields {
        Value::Array(words) => words.iter().map(size).sum(),
        Value::BulkString(bytes) => bytes.len(),
        _ => 0,
    }
}

/// Reads an entry's fields; `None` if it is none of Socket.IO's.
fn entry(fields: &Value) -> Option<Entry> {
    let Value::Array(words) = fields else {
        return None;
    };
    let fields = words.chunks_exact(2);
    let fields: Option<Vec<_>> = fields
        .map(|field| Some((text(&field[0])?, text(&field[1])?)))
        .collect();
    Entry::from_fields(fields?)
}

fn text(word: &Value) -> Option<&str> {
    match word {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Reads the message of a row, if it is one of this namespace.
pub(super) fn message(row: &Row, nsp: &str) -> Option<Message> {
    let entry = entry(&row.1).filter(|entry| entry.nsp == nsp)?;
    entry.decode(&Limits::default()).ok()
}

/// The last place in a stream that is not empty.
async fn end(line: &mut MultiplexedConnection, name: &str) -> Result<Option<Offset>, String> {
    let mut last = redis::cmd("XREVRANGE");
    last.arg(name).arg("+").arg("-").arg("COUNT").arg(1);
    ids(line, &last).await
}

/// The first place of an answer.
async fn ids(
    line: &mut MultiplexedConnection,
    command: &redis::Cmd,
) -> Result<Option<Offset>, String> {
    let rows = timeout(ANSWER, command.query_async::<Vec<Row>>(line)).await;
    let rows = rows.map_err(|_| "no answer".to_owned())?;
    let rows = rows.map_err(|error| error.to_string())?;
    Ok(rows.first().and_then(|(id, _)| id.parse().ok()))
}
