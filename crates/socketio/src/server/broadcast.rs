//! Addressing many sockets at once.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ack::{BroadcastAck, Collector};
use super::adapter::{AdapterError, BroadcastPacket};
use super::config::QueuePolicy;
use super::emit::Emit;
use super::handlers::Handlers;
use super::namespace::NamespaceInner;
use super::remote::RemoteSocket;
use crate::args::Args;
use crate::error::EmitError;
use crate::event::Event;
use crate::id::SocketId;

/// Options of one emit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) volatile: bool,
    pub(crate) uncompressed: bool,
    pub(crate) local: bool,
    pub(crate) timeout: Option<Duration>,
    /// What to do where a queue is full, if not what the server does.
    pub(crate) if_full: Option<QueuePolicy>,
}

impl Flags {
    /// Takes the namespace's policy where the emit has none.
    pub(crate) fn or_policy_of(mut self, handlers: &Handlers) -> Flags {
        self.if_full = self.if_full.or_else(|| handlers.policy());
        self
    }
}

/// Whom a broadcast reaches: the union of the rooms (none: the whole namespace) without those in any
/// of the excepted rooms, each socket once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Target {
    /// The rooms, or none for the whole namespace.
    pub rooms: Vec<String>,
    /// The rooms whose sockets are left out.
    pub except: Vec<String>,
}

impl Target {
    /// Says whether a socket that is in these rooms is reached.
    pub(crate) fn reaches(&self, own: &[String]) -> bool {
        let is_in = |rooms: &[String]| rooms.iter().any(|room| own.contains(room));
        (self.rooms.is_empty() || is_in(&self.rooms)) && !is_in(&self.except)
    }
}

/// A selection of sockets and what to do with them: emit, or make them join, leave or disconnect.
///
/// Each method gives a new selection; one can be kept, cloned and used several times.
#[derive(Clone)]
#[must_use = "a selection does nothing until something is emitted or asked"]
pub struct Broadcast {
    namespace: Arc<NamespaceInner>,
    target: Target,
    flags: Flags,
}

impl Broadcast {
    pub(crate) fn new(namespace: Arc<NamespaceInner>) -> Broadcast {
        Broadcast {
            namespace,
            target: Target::default(),
            flags: Flags::default(),
        }
    }

    pub(crate) fn with(mut self, flags: &Flags) -> Broadcast {
        self.flags = *flags;
        self
    }

    /// Sends an event by way of the adapter; nobody waits for room.
    pub(crate) fn pass_on<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
    ) -> Result<(), EmitError> {
        self.packet(event, args, None, |packet| {
            self.namespace.adapter().broadcast(packet, &self.target);
        })
    }

    /// Adds rooms: each socket that is in any of them gets the event once.
    #[doc(alias = "in")]
    pub fn to(mut self, rooms: impl RoomNames) -> Broadcast {
        self.target.rooms.extend(rooms.into_names());
        self
    }

    /// Leaves out the sockets that are in any of these rooms.
    pub fn except(mut self, rooms: impl RoomNames) -> Broadcast {
        self.target.except.extend(rooms.into_names());
        self
    }

    /// Addresses sockets of this server only.
    pub fn local(mut self) -> Broadcast {
        self.flags.local = true;
        self
    }

    /// Drops the event for each client that it cannot be written to at once.
    pub fn volatile(mut self) -> Broadcast {
        self.flags.volatile = true;
        self
    }

    /// Sends the event without compression.
    #[doc(alias = "compress")]
    pub fn uncompressed(mut self) -> Broadcast {
        self.flags.uncompressed = true;
        self
    }

    /// Sets what happens where a receiver's queue is full.
    pub fn if_full(mut self, policy: QueuePolicy) -> Broadcast {
        self.flags.if_full = Some(policy);
        self
    }

    /// Bounds the wait for the answers.
    pub fn timeout(mut self, timeout: Duration) -> Broadcast {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Sends an event to all selected sockets. It is encoded once, however many there are.
    pub fn emit(&self, event: impl AsRef<str>, args: impl Serialize) -> Emit<'static> {
        self.emit_with(event.as_ref(), &args)
    }

    /// Sends a typed event, whose name its type carries.
    pub fn emit_event<E: Event>(&self, event: &E) -> Emit<'static> {
        self.emit_with(E::NAME, event)
    }

    /// Sends the event `message`.
    #[doc(alias = "write")]
    pub fn send(&self, args: impl Serialize) -> Emit<'static> {
        self.emit("message", args)
    }

    fn emit_with<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Emit<'static> {
        let sent = self.packet(event, args, None, |packet| {
            self.namespace.adapter().broadcast(packet, &self.target);
            packet
                .waiting
                .as_ref()
                .map(|waiting| std::mem::take(&mut *waiting.lock()))
        });
        match sent {
            Ok(waiting) => Emit::waiting(waiting.unwrap_or_default()),
            Err(error) => Emit::failed(error, self.namespace.server().clone()),
        }
    }

    /// Sends an event to all selected sockets and gives their answers.
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> BroadcastAck<T> {
        let id = self.namespace.next_ack_id();
        let (collector, mut answers) = Collector::new(id, self.flags.timeout);
        let sent = self.packet(event.as_ref(), &args, Some((id, &collector)), |packet| {
            self.namespace
                .adapter()
                .broadcast_with_ack(packet, &self.target)
        });
        let answers = sent.map(|receivers| {
            answers.expect(receivers);
            answers
        });
        BroadcastAck::new(answers, self.flags.timeout, self.namespace.server())
    }

    fn packet<T: Serialize + ?Sized, R>(
        &self,
        event: &str,
        args: &T,
        ack: Option<(u64, &Arc<Collector>)>,
        then: impl FnOnce(&BroadcastPacket) -> R,
    ) -> Result<R, EmitError> {
        let id = ack.map(|(id, _)| id);
        let flags = self.flags.or_policy_of(self.namespace.handlers());
        let frames = self.namespace.encode_event(event, args, id, &flags)?;
        let packet = BroadcastPacket {
            event: event.to_owned(),
            args: match self.namespace.local().application().listens_to_outgoing()
                || self.namespace.adapter().needs_args()
            {
                true => Some(Args::from_value(args).map_err(EmitError::Encode)?),
                false => None,
            },
            frames,
            flags,
            offset: None,
            waiting: (self.namespace.policy(&flags) == QueuePolicy::Wait).then(Arc::default),
            collector: ack.map(|(id, collector)| (id, collector.clone())),
        };
        Ok(then(&packet))
    }

    /// Gives the selected sockets, of all servers.
    ///
    /// # Errors
    ///
    /// When other servers of a cluster do not answer; [`AdapterError`] has what did come.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, AdapterError> {
        self.namespace
            .adapter()
            .fetch_sockets(&self.target, self.flags.local)
            .await
    }

    /// Makes the selected sockets join rooms.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(&self, rooms: impl RoomNames) {
        let adapter = self.namespace.adapter();
        adapter.sockets_join(&self.target, &rooms.into_names(), self.flags.local);
    }

    /// Makes the selected sockets leave rooms.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(&self, rooms: impl RoomNames) {
        let adapter = self.namespace.adapter();
        adapter.sockets_leave(&self.target, &rooms.into_names(), self.flags.local);
    }

    /// Makes the selected sockets leave the namespace; their connections stay.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(&self) {
        self.namespace
            .adapter()
            .disconnect_sockets(&self.target, false, self.flags.local);
    }

    /// Closes the connections of the selected sockets.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_and_close_sockets(&self) {
        self.namespace
            .adapter()
            .disconnect_sockets(&self.target, true, self.flags.local);
    }
}

impl std::fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcast")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// One room or several: a string, a socket's id, or a list of them.
pub trait RoomNames {
    /// Gives the names.
    fn into_names(self) -> Vec<String>;
}

impl RoomNames for &str {
    fn into_names(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl RoomNames for String {
    fn into_names(self) -> Vec<String> {
        vec![self]
    }
}

impl RoomNames for &String {
    fn into_names(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl RoomNames for &SocketId {
    fn into_names(self) -> Vec<String> {
        vec![self.as_str().to_owned()]
    }
}

impl RoomNames for SocketId {
    fn into_names(self) -> Vec<String> {
        vec![self.as_str().to_owned()]
    }
}

impl<T: RoomNames, const N: usize> RoomNames for [T; N] {
    fn into_names(self) -> Vec<String> {
        self.into_iter().flat_map(T::into_names).collect()
    }
}

impl<T: RoomNames> RoomNames for Vec<T> {
    fn into_names(self) -> Vec<String> {
        self.into_iter().flat_map(T::into_names).collect()
    }
}

impl<T: AsRef<str>> RoomNames for &[T] {
    fn into_names(self) -> Vec<String> {
        self.iter().map(|name| name.as_ref().to_owned()).collect()
    }
}

impl<T: AsRef<str>> RoomNames for &Vec<T> {
    fn into_names(self) -> Vec<String> {
        self.as_slice().into_names()
    }
}
