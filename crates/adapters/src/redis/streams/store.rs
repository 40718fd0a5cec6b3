//! Clients that may come back to any server: their sessions as Node stores them, and what they have
//! missed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socketio::cluster::{BusError, KeptClient, NotTaken, Published, Store, Taken};
use socketio_proto::cluster::streams::{Entry, Offset, StoredSession, session_key};
use socketio_proto::cluster::{Body, BroadcastOptions, Limits, Message, Uid};

use super::reader::{Row, message};
use super::{Channels, add};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// So many entries are read at a time.
const PAGE: usize = 1000;

impl Channels {
    async fn take_session(&self, pid: &str, offset: Offset) -> Result<Taken, NotTaken> {
        let shared = &self.shared;
        let (key, stream) = (
            session_key(&shared.options.session_prefix, pid),
            self.stream.name(),
        );
        let offset = offset.to_string();
        let mut take = redis::pipe();
        take.atomic().cmd("GET").arg(&key).cmd("DEL").arg(&key);
        take.cmd("XRANGE").arg(stream).arg(&offset).arg(&offset);
        take.cmd("XREVRANGE").arg(stream).arg("+").arg("-");
        take.arg("COUNT").arg(1);
        type Answer = (Option<Vec<u8>>, usize, Vec<Row>, Vec<Row>);
        let taken = shared.line.ask::<Answer>(&take).await;
        let (session, _, found, end) = taken.map_err(NotTaken::Unreachable)?;
        let session = session.and_then(|session| String::from_utf8(session).ok());
        let session =
            session.and_then(|text| StoredSession::decode(&text, &Limits::default()).ok());
        let session = session.ok_or(NotTaken::Unknown)?;
        if found.is_empty() {
            return Err(NotTaken::Offset);
        }
        let end = end.first().and_then(|(id, _)| id.parse().ok());
        let received = self.catch_up(&session, end.unwrap_or_default()).await;
        match received {
            Ok(received) => Ok(Taken { session, received }),
            Err(error) => Err(NotTaken::Later(Box::new(session), error)),
        }
    }

    /// Tells the server which believes that the client is with it, and waits until this one has
    /// received everything: also what others told it of the client.
    async fn catch_up(&self, session: &StoredSession, end: Offset) -> Result<Offset, BusError> {
        let is_elsewhere = |owner: &&Uid| **owner != self.uid;
        let told = match session.owner.as_ref().filter(is_elsewhere) {
            Some(_) => {
                let entry = Entry::new(&Message {
                    uid: self.uid.clone(),
                    nsp: self.nsp.clone(),
                    body: Body::DisconnectSockets {
                        opts: BroadcastOptions {
                            rooms: vec![session.sid.clone()],
                            ..BroadcastOptions::default()
                        },
                        close: false,
                    },
                });
                let mut tell = redis::pipe();
                let words = add(self.stream.name(), self.shared.options.max_len, &entry);
                let (name, words) = ("XADD", &words[1..]);
                tell.cmd(name).arg(words);
                let (id,): (String,) = self.shared.line.ask(&tell).await?;
                id.parse().unwrap_or(end)
            }
            None => end,
        };
        self.stream.delivered(end.max(told)).await
    }
}

impl Store for Channels {
    fn keep(&self, client: Arc<KeptClient>) {
        self.shared.writer.keep(client);
    }

    fn put_back(&self, session: &StoredSession, lifetime: Duration) {
        let key = session_key(&self.shared.options.session_prefix, &session.pid);
        let lifetime = lifetime.as_millis().max(1).to_string();
        let words = ["SET", &key, &session.encode(), "PX", &lifetime, "NX"];
        let words = words.map(|word| word.as_bytes().to_vec()).to_vec();
        // If there is no room for it, the client starts anew.
        let _ = self.shared.writer.command(words);
    }

    fn take<'a>(&'a self, pid: &'a str, offset: Offset) -> BoxFuture<'a, Result<Taken, NotTaken>> {
        Box::pin(self.take_session(pid, offset))
    }

    fn published(
        &self,
        after: Offset,
        until: Offset,
    ) -> BoxFuture<'_, Result<Option<Published>, BusError>> {
        Box::pin(async move {
            let (stream, first) = (self.stream.name(), after.next().unwrap_or(until));
            let mut read = redis::pipe();
            read.cmd("XRANGE").arg(stream).arg(first.to_string());
            read.arg(until.to_string()).arg("COUNT").arg(PAGE);
            // If it is there after the others were read, nothing of them was trimmed.
            let after = after.to_string();
            read.cmd("XRANGE").arg(stream).arg(&after).arg(&after);
            type Answer = (Vec<Row>, Vec<Row>);
            let (rows, before) = self.shared.line.ask::<Answer>(&read).await?;
            if before.is_empty() {
                return Ok(None);
            }
            let rows = rows.iter().filter_map(|row| {
                let offset = row.0.parse().ok()?;
                Some((offset, message(row, &self.nsp)))
            });
            Ok(Some(rows.collect()))
        })
    }
}
