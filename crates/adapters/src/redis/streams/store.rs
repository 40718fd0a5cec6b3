//! Clients that may come back to any server: their sessions as Node stores them, and what they have
//! missed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socketio::cluster::{BusError, KeptClient, NotTaken, Published, Store, Taken, taken_room};
use socketio_proto::cluster::streams::{Entry, Offset, StoredSession, session_key};
use socketio_proto::cluster::{Body, BroadcastOptions, Limits, Message, Uid};

use super::reader::{Row, message};
use super::{Channels, add};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// So many entries are read at a time.
const PAGE: usize = 1000;

/// So often a session is looked at again that its server was just changing.
const ATTEMPTS: usize = 5;

impl Channels {
    async fn take_session(
        &self,
        pid: &str,
        offset: Offset,
        owner: &Uid,
        lifetime: Duration,
    ) -> Result<Taken, NotTaken> {
        let key = session_key(&self.shared.options.session_prefix, pid);
        let (stream, offset) = (self.stream.name(), offset.to_string());
        let mut look = redis::pipe();
        look.cmd("GET").arg(&key);
        look.cmd("XRANGE").arg(stream).arg(&offset).arg(&offset);
        look.cmd("XREVRANGE").arg(stream).arg("+").arg("-");
        look.arg("COUNT").arg(1);
        type Answer = (Option<Vec<u8>>, Vec<Row>, Vec<Row>);
        for _ in 0..ATTEMPTS {
            let found = self.shared.line.ask::<Answer>(&look).await;
            let (before, entry, end) = found.map_err(NotTaken::Later)?;
            let before = before.and_then(|before| String::from_utf8(before).ok());
            let before = before.ok_or(NotTaken::Unknown)?;
            let session = StoredSession::decode(&before, &Limits::default());
            let session = session.map_err(|_| NotTaken::Unknown)?;
            let is_of_another = |nsp: &str| nsp != self.nsp;
            if session.nsp.as_deref().is_some_and(is_of_another) {
                return Err(NotTaken::Unknown);
            }
            if entry.is_empty() {
                return Err(NotTaken::Offset);
            }
            let end = end.first().and_then(|(id, _)| id.parse().ok());
            let stored = StoredSession {
                owner: Some(owner.clone()),
                ..session.clone()
            }
            .encode();
            let words = [
                &*before,
                &*stored,
                &*lifetime.as_millis().max(1).to_string(),
            ];
            let mut take = redis::pipe();
            take.cmd("EVAL").arg(TAKE).arg(2).arg(&key).arg(stream);
            take.arg(&words).arg(self.told(&session));
            let taken = self.shared.line.ask::<(Option<String>,)>(&take).await;
            let (taken,) = taken.map_err(NotTaken::Later)?;
            if let Some(told) = taken {
                // Also what others told this server of the client.
                let until = end.max(told.parse().ok()).unwrap_or_default();
                let received = self.stream.delivered(until).await;
                let received = received.map_err(NotTaken::Later)?;
                return Ok(Taken {
                    session,
                    stored,
                    received,
                });
            }
        }
        let busy = "the session changes all the time".to_owned();
        Err(NotTaken::Later(BusError(busy)))
    }

    /// What the server is told that believes the client is with it: the rest of an XADD. No server of
    /// Node has anybody in that room.
    fn told(&self, session: &StoredSession) -> Vec<Vec<u8>> {
        match &session.owner {
            None => Vec::new(),
            Some(owner) if owner.as_str().starts_with(self.uid.as_str()) => Vec::new(),
            Some(owner) => {
                let entry = Entry::new(&Message {
                    uid: self.uid.clone(),
                    nsp: self.nsp.clone(),
                    body: Body::DisconnectSockets {
                        opts: BroadcastOptions {
                            rooms: vec![taken_room(owner, &session.sid)],
                            ..BroadcastOptions::default()
                        },
                        close: false,
                    },
                });
                add(self.stream.name(), self.shared.options.max_len, &entry).split_off(2)
            }
        }
    }
}

const TAKE: &str = include_str!("take.lua");

impl Store for Channels {
    fn keep(&self, client: Arc<KeptClient>) {
        self.shared.writer.keep(client);
    }

    fn take<'a>(
        &'a self,
        pid: &'a str,
        offset: Offset,
        owner: &'a Uid,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<Taken, NotTaken>> {
        Box::pin(self.take_session(pid, offset, owner, lifetime))
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
