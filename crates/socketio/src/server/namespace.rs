//! Namespaces: the sockets that share handlers and rooms.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use regex::Regex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::Shared;
use super::ack::BroadcastAck;
use super::adapter::{Adapter, AdapterError, Frames, LocalAdapter};
use super::broadcast::{Broadcast, Flags, RoomNames};
use super::config::QueuePolicy;
use super::counters::Counters;
use super::emit::Emit;
use super::handlers::Handlers;
use super::recovery::{Log, Recoveries, Returns};
use super::remote::RemoteSocket;
use super::socket::Socket;
use crate::application::{Application, BoxFuture, Callback};
use crate::args::Args;
use crate::encode::{self, EventArgs, EventHead};
use crate::error::EmitError;
use crate::event::Event;
use crate::id::SocketId;

/// A namespace: a part of the server with handlers, rooms and sockets of its own.
///
/// A handle: cheap to clone. Handlers are registered through [`Handlers`], which it dereferences to.
#[derive(Clone)]
pub struct Namespace(pub(crate) Arc<NamespaceInner>);

pub(crate) struct NamespaceInner {
    name: Box<str>,
    server: Weak<Shared>,
    handlers: Arc<Handlers>,
    local: Arc<LocalAdapter>,
    adapter: Arc<dyn Adapter>,
    ack_ids: AtomicU64,
    server_side: Arc<ServerSide>,
    /// Sockets that are joining or have joined.
    members: AtomicUsize,
    /// Set for a child of a dynamic namespace.
    is_child: bool,
    emptied: Mutex<Emptied>,
}

/// A child's way to being given back.
#[derive(Default)]
struct Emptied {
    /// When its last socket left; another may have come since.
    at: Option<Instant>,
    /// It stands in the list of those that may be given back.
    is_listed: bool,
}

/// Listeners for events of other servers.
#[derive(Default)]
pub(crate) struct ServerSide {
    listeners: RwLock<HashMap<String, Vec<Arc<ServerSideListener>>>>,
}

type ServerSideListener = dyn Fn(Args) -> Option<Value> + Send + Sync;

impl NamespaceInner {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn server(&self) -> &Weak<Shared> {
        &self.server
    }

    pub(crate) fn handlers(&self) -> &Handlers {
        &self.handlers
    }

    pub(crate) fn local(&self) -> &Arc<LocalAdapter> {
        &self.local
    }

    pub(crate) fn adapter(&self) -> &Arc<dyn Adapter> {
        &self.adapter
    }

    pub(crate) fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts what concerns the whole server.
    pub(crate) fn count(&self, count: impl FnOnce(&Counters)) {
        if let Some(server) = self.server.upgrade() {
            count(server.counters());
        }
    }

    /// Spawns a task on the server's runtime.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(server) = self.server.upgrade() {
            server.spawn(future);
        }
    }

    /// What happens where the queue of a receiver is full.
    pub(crate) fn policy(&self, flags: &Flags) -> QueuePolicy {
        flags.if_full.unwrap_or_else(|| {
            let server = self.server.upgrade();
            server
                .map(|server| server.queue_policy())
                .unwrap_or_default()
        })
    }

    /// Encodes an event for many receivers.
    pub(crate) fn encode_event<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        id: Option<u64>,
        flags: &Flags,
    ) -> Result<Frames, EmitError> {
        let server = self.server.upgrade().ok_or(EmitError::Disconnected)?;
        let head = EventHead {
            parser: server.parser(),
            nsp: &self.name,
            id,
            name: event,
        };
        if self.local.recoveries().is_some() && id.is_none() && !flags.volatile {
            return EventArgs::new(head, args).map(Frames::Unfinished);
        }
        encode::event(head, args, |encoded| Frames::Finished(encoded.to_shared()))
    }

    /// Takes back that a socket was about to be inserted.
    pub(crate) fn not_entered(&self) {
        if self.members.fetch_sub(1, Ordering::AcqRel) == 1
            && self.is_child
            && let Some(server) = self.server.upgrade()
        {
            server.namespaces().emptied(self, &server);
        }
    }

    /// Takes a socket out; an empty child of a dynamic namespace goes away some time after its last one.
    pub(crate) fn remove(&self, socket: &Socket) {
        if self.local.remove(socket) {
            self.not_entered();
        }
    }
}

impl Namespace {
    /// The namespace's name, with its leading slash.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The sockets of this server in the namespace.
    pub fn sockets(&self) -> Vec<Socket> {
        self.0.local.select(&Default::default())
    }

    /// A socket of this server by its id.
    pub fn socket(&self, id: &SocketId) -> Option<Socket> {
        self.0.local.socket(id).filter(Socket::is_connected)
    }

    /// The index of this server's sockets and rooms, and their events.
    pub fn local_adapter(&self) -> &LocalAdapter {
        &self.0.local
    }

    /// Addresses the sockets in these rooms.
    #[doc(alias = "in")]
    pub fn to(&self, rooms: impl RoomNames) -> Broadcast {
        self.all().to(rooms)
    }

    /// Addresses all sockets but those in these rooms.
    pub fn except(&self, rooms: impl RoomNames) -> Broadcast {
        self.all().except(rooms)
    }

    /// Addresses the sockets of this server only.
    pub fn local(&self) -> Broadcast {
        self.all().local()
    }

    /// Drops the next event for each client that it cannot be written to at once.
    pub fn volatile(&self) -> Broadcast {
        self.all().volatile()
    }

    /// Sends the next event without compression.
    #[doc(alias = "compress")]
    pub fn uncompressed(&self) -> Broadcast {
        self.all().uncompressed()
    }

    /// Bounds the wait for the next event's answers.
    pub fn timeout(&self, timeout: Duration) -> Broadcast {
        self.all().timeout(timeout)
    }

    /// Addresses all sockets.
    pub fn all(&self) -> Broadcast {
        Broadcast::new(self.0.clone())
    }

    /// Sends an event to all sockets; see [`Broadcast::emit`].
    pub fn emit(&self, event: impl AsRef<str>, args: impl Serialize) -> Emit<'static> {
        self.all().emit(event, args)
    }

    /// Sends a typed event to all sockets.
    pub fn emit_event<E: Event>(&self, event: &E) -> Emit<'static> {
        self.all().emit_event(event)
    }

    /// Sends the event `message` to all sockets.
    #[doc(alias = "write")]
    pub fn send(&self, args: impl Serialize) -> Emit<'static> {
        self.all().send(args)
    }

    /// Sends an event to all sockets and gives their answers; see [`Broadcast::emit_with_ack`].
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> BroadcastAck<T> {
        self.all().emit_with_ack(event, args)
    }

    /// Gives all sockets, of all servers; see [`Broadcast::fetch_sockets`].
    ///
    /// # Errors
    ///
    /// When other servers of a cluster do not answer.
    #[doc(alias = "fetchSockets")]
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, AdapterError> {
        self.all().fetch_sockets().await
    }

    /// Makes all sockets join rooms.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(&self, rooms: impl RoomNames) {
        self.all().sockets_join(rooms);
    }

    /// Makes all sockets leave rooms.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(&self, rooms: impl RoomNames) {
        self.all().sockets_leave(rooms);
    }

    /// Makes all sockets leave the namespace; their connections stay.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(&self) {
        self.all().disconnect_sockets();
    }

    /// Closes the connections of all sockets.
    pub fn disconnect_and_close_sockets(&self) {
        self.all().disconnect_and_close_sockets();
    }

    /// Sends an event to the other servers of the cluster. A server that is alone reaches nobody.
    ///
    /// # Errors
    ///
    /// For the names `connect`, `connection` and `new_namespace`, for arguments that cannot be
    /// serialised, and when the cluster cannot be reached.
    #[doc(alias = "serverSideEmit")]
    pub async fn server_side_emit(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<(), ServerSideError> {
        let args = server_side_args(event, args)?;
        self.0.adapter.server_side_emit(event, args, false).await?;
        Ok(())
    }

    /// Sends an event to the other servers of the cluster and gives their answers, one of each. A
    /// server that is alone gets none.
    ///
    /// # Errors
    ///
    /// As [`server_side_emit`](Namespace::server_side_emit), and when servers do not answer.
    #[doc(alias = "serverSideEmitWithAck")]
    pub async fn server_side_emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> Result<Vec<T>, ServerSideError> {
        let args = server_side_args(event, args)?;
        let answers = self.0.adapter.server_side_emit(event, args, true).await?;
        answers
            .into_iter()
            .map(|v| serde_json::from_value(v).map_err(Into::into))
            .collect()
    }

    /// Gives the number of servers of the cluster, this one included.
    ///
    /// # Errors
    ///
    /// When the cluster cannot be reached.
    #[doc(alias = "serverCount")]
    pub async fn server_count(&self) -> Result<usize, AdapterError> {
        self.0.adapter.server_count().await
    }

    /// Handles an event that another server of the cluster sent; what it returns is the answer.
    ///
    /// It must not block; should it panic, it has answered nothing.
    ///
    /// # Panics
    ///
    /// For `connect`, `connection` and `new_namespace`, which no server can send.
    #[track_caller]
    pub fn on_server_side(
        &self,
        event: &str,
        listener: impl Fn(Args) -> Option<Value> + Send + Sync + 'static,
    ) -> &Self {
        assert!(
            !is_reserved_between_servers(event),
            "no server can send the event \"{event}\""
        );
        let listener = self.0.local.application().hold(listener);
        let listener = move |args| (*listener)(args);
        let mut listeners = self.0.server_side.listeners.write();
        listeners
            .entry(event.to_owned())
            .or_default()
            .push(Arc::new(listener));
        drop(listeners);
        self
    }

    /// Hands an event of another server to its listeners; an adapter calls this. Gives the first
    /// answer.
    pub fn receive_server_side(&self, event: &str, args: &Args) -> Option<Value> {
        let listeners = self.0.server_side.listeners.read().get(event).cloned();
        let mut answer = None;
        for listener in listeners.into_iter().flatten() {
            let ask = || listener(args.clone());
            let application = self.0.local.application();
            let this = application.call(Callback::ServerSideListener, ask);
            answer = answer.or(this.ok().flatten());
        }
        answer
    }
}

/// Why an event did not reach the other servers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerSideError {
    /// The cluster cannot be reached, or not completely.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// An answer is not of the expected type.
    #[error("an answer is not of the expected type")]
    Decode(#[from] serde_json::Error),
    /// The arguments cannot be sent, or the name is reserved.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

fn is_reserved_between_servers(event: &str) -> bool {
    matches!(event, "connect" | "connection" | "new_namespace")
}

fn server_side_args(event: &str, args: impl Serialize) -> Result<Args, EmitError> {
    if is_reserved_between_servers(event) {
        return Err(EmitError::Reserved(event.to_owned()));
    }
    Ok(Args::from_value(&args)?)
}

impl Deref for Namespace {
    type Target = Handlers;

    fn deref(&self) -> &Handlers {
        &self.0.handlers
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.0.name)
            .finish_non_exhaustive()
    }
}

/// A dynamic namespace: a pattern or a predicate whose children are made when clients ask for them.
///
/// The children share its handlers. Emits reach all children.
#[derive(Clone)]
pub struct ParentNamespace(Arc<Parent>);

pub(crate) struct Parent {
    matcher: Matcher,
    handlers: Arc<Handlers>,
    children: RwLock<Vec<Weak<NamespaceInner>>>,
}

enum Matcher {
    Pattern(Regex),
    Predicate(Box<Predicate>),
}

type Predicate = dyn Fn(String, Value) -> BoxFuture<bool> + Send + Sync;

impl ParentNamespace {
    /// The children that exist at the moment.
    pub fn children(&self) -> Vec<Namespace> {
        let children = self.0.children.read();
        children
            .iter()
            .filter_map(Weak::upgrade)
            .map(Namespace)
            .collect()
    }

    /// Sends an event to all sockets of all children.
    pub fn emit(&self, event: impl AsRef<str>, args: impl Serialize) -> Result<(), EmitError> {
        let (event, args) = (event.as_ref(), Args::from_value(&args)?);
        self.children()
            .iter()
            .try_for_each(|child| child.emit(event, &args).now())
    }

    /// Sends an event to the sockets of all children which are in these rooms.
    pub fn emit_to(
        &self,
        rooms: impl RoomNames,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> Result<(), EmitError> {
        let (rooms, event) = (rooms.into_names(), event.as_ref());
        let args = Args::from_value(&args)?;
        self.children()
            .iter()
            .try_for_each(|child| child.to(&rooms).emit(event, &args).now())
    }

    /// Refuses: which children there are changes all the time. Ask them one by one.
    ///
    /// # Errors
    ///
    /// Always [`AdapterError::ParentNamespace`].
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, AdapterError> {
        Err(AdapterError::ParentNamespace)
    }
}

impl Deref for ParentNamespace {
    type Target = Handlers;

    fn deref(&self) -> &Handlers {
        &self.0.handlers
    }
}

impl fmt::Debug for ParentNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentNamespace").finish_non_exhaustive()
    }
}

/// All namespaces of a server.
#[derive(Default)]
pub(crate) struct Namespaces {
    by_name: RwLock<HashMap<Box<str>, Arc<NamespaceInner>>>,
    parents: RwLock<Vec<Arc<Parent>>>,
    /// How many children of dynamic namespaces there are. Changed under the lock of `by_name`.
    children: AtomicUsize,
    /// Children that had no sockets at this time, in its order.
    empty: Mutex<Empty>,
    created: RwLock<Vec<Arc<Created>>>,
}

#[derive(Default)]
struct Empty {
    children: VecDeque<(Instant, Arc<str>)>,
    /// A task gives them back.
    is_watched: bool,
}

type Created = dyn Fn(&Namespace) + Send + Sync;

impl Namespaces {
    fn get(&self, name: &str) -> Option<Arc<NamespaceInner>> {
        self.by_name.read().get(name).cloned()
    }

    /// Gives the namespace for a socket that is about to be inserted: it counts as a member from
    /// here on, so that the namespace cannot be cleaned up in between.
    pub(crate) fn enter(&self, name: &str) -> Option<Arc<NamespaceInner>> {
        let by_name = self.by_name.read();
        let namespace = by_name.get(name)?;
        namespace.members.fetch_add(1, Ordering::AcqRel);
        Some(namespace.clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<NamespaceInner>> {
        self.by_name.read().values().cloned().collect()
    }

    pub(crate) fn on_created(&self, listener: impl Fn(&Namespace) + Send + Sync + 'static) {
        self.created.write().push(Arc::new(listener));
    }

    /// Gives the namespace of this name and makes it if need be; one that a parent's pattern
    /// matches becomes its child.
    pub(crate) fn get_or_create(&self, server: &Arc<Shared>, name: &str) -> Arc<NamespaceInner> {
        if let Some(namespace) = self.get(name) {
            return namespace;
        }
        let parent = self
            .parents
            .read()
            .iter()
            .find(|parent| parent.has_pattern_for(name))
            .cloned();
        self.create(server, name, parent.as_ref(), usize::MAX)
            .expect("there is no limit for the application")
    }

    /// How many children of dynamic namespaces there are.
    pub(crate) fn children(&self) -> usize {
        self.children.load(Ordering::Relaxed)
    }

    /// `None` if it is not there and there are `max` children already.
    fn create(
        &self,
        server: &Arc<Shared>,
        name: &str,
        parent: Option<&Arc<Parent>>,
        max: usize,
    ) -> Option<Arc<NamespaceInner>> {
        if let Some(namespace) = self.get(name) {
            return Some(namespace);
        }
        if self.children() >= max {
            return None;
        }
        let application = server.application();
        let recovery = server.config().recovery.as_ref();
        let recoveries = recovery.map(|options| match server.config().is_ordered {
            true => Recoveries::Returns(Returns::new(options, server)),
            false => Recoveries::Log(Log::new(options, server)),
        });
        let local = LocalAdapter::new(name, server.parser(), recoveries, application);
        let local = Arc::new(local);
        // Before the lock is taken: it may be the application's code that makes it.
        let adapter = server.make_adapter(name, &local);
        let namespace = {
            let mut by_name = self.by_name.write();
            if let Some(namespace) = by_name.get(name).cloned() {
                drop(by_name);
                application.discard(adapter);
                return Some(namespace);
            }
            if self.children() >= max {
                drop(by_name);
                application.discard(adapter);
                return None;
            }
            let namespace = Arc::new(NamespaceInner {
                name: name.into(),
                server: Arc::downgrade(server),
                handlers: parent
                    .map(|parent| parent.handlers.clone())
                    .unwrap_or_else(|| Arc::new(Handlers::of_namespace(application))),
                adapter,
                local,
                ack_ids: AtomicU64::new(0),
                server_side: Arc::default(),
                members: AtomicUsize::new(0),
                is_child: parent.is_some(),
                emptied: Mutex::default(),
            });
            if server.config().rate_limit.is_some() {
                namespace.handlers.set_limited();
            }
            by_name.insert(name.into(), namespace.clone());
            if parent.is_some() {
                self.children.fetch_add(1, Ordering::Relaxed);
            }
            namespace
        };
        namespace.adapter.init(&Namespace(namespace.clone()));
        if let Some(parent) = parent {
            let mut children = parent.children.write();
            push_child(&mut children, &namespace);
        }
        if name != "/" {
            let listeners = self.created.read().clone();
            for listener in &listeners {
                let tell = || listener(&Namespace(namespace.clone()));
                let _ = application.call(Callback::NamespaceListener, tell);
            }
        }
        Some(namespace)
    }

    pub(crate) fn add_pattern(
        &self,
        pattern: Regex,
        application: &Arc<Application>,
    ) -> ParentNamespace {
        self.add_parent(Matcher::Pattern(pattern), application)
    }

    pub(crate) fn add_predicate<F, Fut>(
        &self,
        predicate: F,
        application: &Arc<Application>,
    ) -> ParentNamespace
    where
        F: FnOnce(String, Value) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let predicate = application.hold(predicate);
        let predicate: Box<Predicate> =
            Box::new(move |name, auth| Box::pin((*predicate).clone()(name, auth)));
        self.add_parent(Matcher::Predicate(predicate), application)
    }

    fn add_parent(&self, matcher: Matcher, application: &Arc<Application>) -> ParentNamespace {
        let parent = Arc::new(Parent {
            matcher,
            handlers: Arc::new(Handlers::of_namespace(application)),
            children: RwLock::default(),
        });
        self.parents.write().push(parent.clone());
        ParentNamespace(parent)
    }

    /// Says whether only an answer of a dynamic namespace can tell if `name` exists.
    pub(crate) fn has_parents(&self) -> bool {
        !self.parents.read().is_empty()
    }

    /// Asks the dynamic namespaces, in the order they were made.
    pub(crate) async fn enter_dynamic(
        server: Arc<Shared>,
        name: String,
        auth: String,
    ) -> Option<Arc<NamespaceInner>> {
        let parents = server.namespaces().parents.read().clone();
        for parent in parents {
            let matches = match &parent.matcher {
                Matcher::Pattern(pattern) => pattern.is_match(&name),
                Matcher::Predicate(predicate) => {
                    let auth = serde_json::from_str(&auth).unwrap_or_default();
                    let ask = || predicate(name.clone(), auth);
                    let application = server.application();
                    let accepted = application.run(Callback::NamespacePredicate, ask).await;
                    accepted.unwrap_or(false)
                }
            };
            if !matches {
                continue;
            }
            // Again if it is cleaned up before it could be entered.
            loop {
                let max = server.config().max_dynamic_namespaces;
                let namespaces = server.namespaces();
                if namespaces
                    .create(&server, &name, Some(&parent), max)
                    .is_none()
                {
                    server.counters().refused_namespaces();
                    return None;
                }
                if let Some(entered) = server.namespaces().enter(&name) {
                    return Some(entered);
                }
            }
        }
        None
    }

    /// A child has no sockets any more: it is given back now, or later if it is still so.
    fn emptied(&self, namespace: &NamespaceInner, server: &Arc<Shared>) {
        if server.keeps_children().is_zero() {
            return self.give_back(namespace.name(), server, |_| true);
        }
        let mut emptied = namespace.emptied.lock();
        let now = Instant::now();
        emptied.at = Some(now);
        if !emptied.is_listed {
            emptied.is_listed = true;
            drop(emptied);
            self.list(namespace.name().into(), now, server);
        }
    }

    fn list(&self, name: Arc<str>, since: Instant, server: &Arc<Shared>) {
        let mut empty = self.empty.lock();
        empty.children.push_back((since, name));
        if !empty.is_watched {
            empty.is_watched = true;
            let server_of_task = Arc::downgrade(server);
            server.spawn(async move {
                while let Some(next) = sweep(&server_of_task) {
                    tokio::time::sleep_until(next).await;
                }
            });
        }
    }

    /// Gives a child without sockets back, if that is right.
    fn give_back(
        &self,
        name: &str,
        server: &Arc<Shared>,
        is_right: impl FnOnce(&Arc<NamespaceInner>) -> bool,
    ) {
        let removed = {
            let mut by_name = self.by_name.write();
            let is_empty = |found: &&Arc<NamespaceInner>| {
                found.members.load(Ordering::Acquire) == 0 && is_right(found)
            };
            let removed = match by_name.get(name).filter(is_empty) {
                Some(_) => by_name.remove(name),
                None => None,
            };
            if removed.is_some() {
                self.children.fetch_sub(1, Ordering::Relaxed);
                if by_name.capacity() > 4 * by_name.len() + 64 {
                    by_name.shrink_to_fit();
                }
            }
            removed
        };
        if let Some(removed) = removed {
            server.spawn(async move { removed.adapter.close().await });
        }
    }

    fn has(&self, namespace: &Arc<NamespaceInner>) -> bool {
        let by_name = self.by_name.read();
        let found = by_name.get(namespace.name());
        found.is_some_and(|found| Arc::ptr_eq(found, namespace))
    }

    /// Looks whether a child that was listed is to go, or is to be listed again.
    fn consider(&self, name: Arc<str>, now: Instant, server: &Arc<Shared>) {
        let Some(namespace) = self.by_name.read().get(&*name).map(Arc::downgrade) else {
            return;
        };
        let keep = server.keeps_children();
        self.give_back(&name, server, |found| {
            let is_old = found.emptied.lock().at.is_some_and(|at| at + keep <= now);
            // Who holds it may emit to those who are going to come.
            is_old && Arc::strong_count(found) == 1
        });
        // It may be another one by now, which was made since.
        let Some(namespace) = namespace.upgrade().filter(|it| self.has(it)) else {
            return;
        };
        let mut emptied = namespace.emptied.lock();
        emptied.is_listed = namespace.members.load(Ordering::Acquire) == 0;
        if emptied.is_listed {
            let at = emptied.at.filter(|at| *at + keep > now).unwrap_or(now);
            drop(emptied);
            self.list(name, at, server);
        }
    }
}

/// Children that are looked at before others have their turn.
const PORTION: usize = 64;

/// Gives back the children that have been without sockets for long enough; gives the time of the next
/// look, or `None` when there are none.
fn sweep(server: &Weak<Shared>) -> Option<Instant> {
    let server = server.upgrade()?;
    let namespaces = server.namespaces();
    let (now, keep) = (Instant::now(), server.keeps_children());
    for _ in 0..PORTION {
        let mut empty = namespaces.empty.lock();
        match empty.children.front() {
            Some((since, _)) if *since + keep > now => return Some(*since + keep),
            Some(_) => {}
            None => {
                // Under the lock: who is listed after this starts another task.
                *empty = Empty::default();
                return None;
            }
        }
        let first = empty.children.pop_front();
        drop(empty);
        if let Some((_, name)) = first {
            namespaces.consider(name, now, &server);
        }
    }
    Some(now)
}

impl Parent {
    fn has_pattern_for(&self, name: &str) -> bool {
        matches!(&self.matcher, Matcher::Pattern(pattern) if pattern.is_match(name))
    }
}

/// Adds a child and forgets those that are gone, only when the list would grow: each costs the same,
/// however many there are.
fn push_child<T>(children: &mut Vec<Weak<T>>, child: &Arc<T>) {
    if children.len() == children.capacity() {
        children.retain(|child| child.strong_count() > 0);
        // Room for as many again, so that the next look is as far away as it is long.
        children.reserve(children.len().max(4));
    }
    children.push(Arc::downgrade(child));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_looked_through_seldom_and_the_gone_are_forgotten() {
        for keeps in [1, 2, 10, usize::MAX] {
            let (mut children, mut kept, mut looked_at) = (Vec::new(), Vec::new(), 0);
            for number in 0..10_000 {
                if children.len() == children.capacity() {
                    looked_at += children.len();
                }
                let child = Arc::new(number);
                push_child(&mut children, &child);
                if kept.len() < keeps {
                    kept.push(child);
                }
            }
            assert!(looked_at < 3 * 10_000, "{looked_at} for {keeps}");
            assert!(children.len() < 3 * kept.len() + 8, "{}", children.len());
            let alive = children.iter().filter(|child| child.strong_count() > 0);
            assert_eq!(alive.count(), kept.len());
        }
    }
}
