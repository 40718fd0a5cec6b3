//! The table of sessions: found by id for requests, by key for deadlines.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;

use super::admission::{Busy, NotStarted};
use super::session::Session;
use crate::id::SessionId;

/// All open sessions of a server.
#[derive(Default)]
pub(crate) struct Sessions {
    table: RwLock<Table>,
    hasher: RandomState,
}

#[derive(Default)]
struct Table {
    /// Indices into `slots`, by the hash of the session's id.
    by_id: HashTable<u32>,
    slots: Vec<Option<Arc<Session>>>,
    free: Vec<u32>,
    /// The most sessions there were since a crowd has left.
    peak: usize,
    /// The hashes of the last ids that are gone, in a ring.
    ended: Vec<u64>,
    /// The place of the next one in it.
    next_ended: usize,
}

/// So many ids are remembered once their sessions have ended. Requests that are late are so by a second.
const REMEMBERED: usize = 1024;

/// So many sessions are a crowd.
const CROWD: usize = 1000;

impl Sessions {
    /// Adds a session, unless there are `max`.
    pub(crate) fn insert(&self, session: &Arc<Session>, max: usize) -> Result<u32, NotStarted> {
        let hash = self.hasher.hash_one(session.id().as_bytes());
        let mut table = self.table.write();
        let Table {
            by_id,
            slots,
            free,
            peak,
            ..
        } = &mut *table;
        let same = |&key: &u32| {
            slots[key as usize]
                .as_ref()
                .is_some_and(|s| s.id() == session.id())
        };
        if by_id.find(hash, same).is_some() {
            return Err(NotStarted::IdInUse);
        }
        if by_id.len() >= max {
            return Err(NotStarted::Busy(Busy::Connections));
        }
        // Keys beyond the end are left in the list when the slots at the end are given back.
        let reused = std::iter::from_fn(|| free.pop()).find(|&key| (key as usize) < slots.len());
        let key = reused.unwrap_or_else(|| {
            slots.push(None);
            (slots.len() - 1) as u32
        });
        slots[key as usize] = Some(session.clone());
        by_id.insert_unique(hash, key, |&key| rehash(&self.hasher, slots, key));
        *peak = by_id.len().max(*peak);
        Ok(key)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Session>> {
        let hash = self.hasher.hash_one(id.as_bytes());
        let table = self.table.read();
        let same = |&key: &u32| {
            table.slots[key as usize]
                .as_ref()
                .is_some_and(|session| *session.id() == *id)
        };
        table
            .by_id
            .find(hash, same)
            .and_then(|&key| table.slots[key as usize].clone())
    }

    /// Says whether a session with this id has ended here not long ago.
    pub(crate) fn has_ended(&self, id: &str) -> bool {
        self.table
            .read()
            .ended
            .contains(&self.hasher.hash_one(id.as_bytes()))
    }

    pub(crate) fn by_key(&self, key: u32) -> Option<Arc<Session>> {
        self.table.read().slots.get(key as usize).cloned().flatten()
    }

    /// Takes a session out. True when a crowd has left: then there is memory to give back.
    pub(crate) fn remove(&self, id: &SessionId, key: u32) -> bool {
        let hash = self.hasher.hash_one(id.as_bytes());
        let mut table = self.table.write();
        let Table {
            by_id,
            slots,
            free,
            peak,
            ended,
            next_ended,
        } = &mut *table;
        let Ok(entry) = by_id.find_entry(hash, |&found| found == key) else {
            return false;
        };
        entry.remove();
        match ended.get_mut(*next_ended) {
            Some(oldest) => *oldest = hash,
            None => ended.push(hash),
        }
        *next_ended = (*next_ended + 1) % REMEMBERED;
        slots[key as usize] = None;
        free.push(key);
        while slots.last().is_some_and(Option::is_none) {
            slots.pop();
        }
        if slots.len() < slots.capacity() / 4 {
            slots.shrink_to(slots.len() * 2);
            free.retain(|&key| (key as usize) < slots.len());
            free.shrink_to(free.len() * 2);
            let len = by_id.len();
            by_id.shrink_to(len * 2, |&key| rehash(&self.hasher, slots, key));
        } else if free.len() > 2 * slots.len() + 64 {
            free.retain(|&key| (key as usize) < slots.len());
        }
        let has_left = *peak >= CROWD && by_id.len() < *peak / 4;
        if has_left {
            *peak = by_id.len();
        }
        has_left
    }

    pub(crate) fn len(&self) -> usize {
        self.table.read().by_id.len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.table.read().slots.iter().flatten().cloned().collect()
    }
}

fn rehash(hasher: &RandomState, slots: &[Option<Arc<Session>>], key: u32) -> u64 {
    let session = slots[key as usize]
        .as_ref()
        .expect("the table holds keys of occupied slots");
    hasher.hash_one(session.id().as_bytes())
}
