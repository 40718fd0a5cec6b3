//! Servers in one process: for tests, and for an application that runs several.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use socketio_proto::cluster::{Message, Uid};

use super::bus::{Bus, Channel, Inbox, PublishError};

/// A bus inside the process: its clones join the servers that are given one.
///
/// What is published is handled by the other servers before `publish` returns.
///
/// # Examples
///
/// ```
/// use socketio::Server;
/// use socketio::cluster::MemoryBus;
///
/// # #[tokio::main]
/// # async fn main() {
/// let bus = MemoryBus::new();
/// let one = Server::builder().cluster(bus.clone()).build();
/// let other = Server::builder().cluster(bus).build();
/// # let _ = (one.of("/"), other.of("/"));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryBus(Arc<Shared>);

#[derive(Default)]
struct Shared {
    members: Mutex<HashMap<String, Vec<Member>>>,
}

#[derive(Clone)]
struct Member {
    uid: Uid,
    inbox: Arc<dyn Inbox>,
}

impl MemoryBus {
    /// A bus without servers.
    pub fn new() -> MemoryBus {
        MemoryBus::default()
    }
}

impl Bus for MemoryBus {
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let member = Member {
            uid: uid.clone(),
            inbox,
        };
        let mut members = self.0.members.lock();
        members.entry(nsp.to_owned()).or_default().push(member);
        Arc::new(MemoryChannel {
            bus: Arc::downgrade(&self.0),
            nsp: nsp.to_owned(),
            uid: uid.clone(),
        })
    }
}

struct MemoryChannel {
    bus: Weak<Shared>,
    nsp: String,
    uid: Uid,
}

impl MemoryChannel {
    fn leave(&self) {
        let Some(bus) = self.bus.upgrade() else {
            return;
        };
        let mut members = bus.members.lock();
        if let Some(of_namespace) = members.get_mut(&self.nsp) {
            of_namespace.retain(|member| member.uid != self.uid);
            if of_namespace.is_empty() {
                members.remove(&self.nsp);
            }
        }
    }
}

impl Channel for MemoryChannel {
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        let bus = self.bus.upgrade().ok_or(PublishError::Closed)?;
        let members = bus.members.lock().get(&self.nsp).cloned();
        let members = members.unwrap_or_default();
        if !members.iter().any(|member| member.uid == self.uid) {
            return Err(PublishError::Closed);
        }
        let is_meant = |uid: &Uid| *uid != self.uid && to.is_none_or(|to| to == uid);
        for member in members.iter().filter(|member| is_meant(&member.uid)) {
            member.inbox.receive(message.clone());
        }
        Ok(())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.leave();
        Box::pin(async {})
    }
}

impl Drop for MemoryChannel {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.members.lock();
        let sizes = members.iter().map(|(nsp, members)| (nsp, members.len()));
        f.debug_map().entries(sizes).finish()
    }
}

impl fmt::Debug for MemoryChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryChannel")
            .field("nsp", &self.nsp)
            .field("uid", &self.uid)
            .finish()
    }
}
