//! The adapter of a namespace of a server among others.
//!
//! It asks and answers; who is there and whose answers are missing is told by proto's machines.
//! Specification: socket.io-adapter 2.5.8, `ClusterAdapter`.

use socketio_proto::Printable;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use socketio_proto::cluster::streams::Offset;
use socketio_proto::cluster::{
    Answer, Body, BroadcastOptions, Event, Expected, Finished, Message, Node, NodeConfig,
    NodeEvent, Question, RequestId, Sockets, TooManyRequests, Uid,
};
use tokio::sync::{Notify, oneshot};

use super::bus::{Bus, Channel, Inbox};
use super::rejected::{Rejected, Rejections};
use super::{plugins, wire};
use crate::args::Args;
use crate::id::SocketId;
use crate::server::ack::Collector;
use crate::server::adapter::{Adapter, AdapterError, BroadcastPacket, LocalAdapter, RoomEvent};
use crate::server::broadcast::Target;
use crate::server::counters::Counters;
use crate::server::namespace::{Namespace, NamespaceInner};
use crate::server::refusals::Rare;
use crate::server::remote::RemoteSocket;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// After so long, those that have not answered are missing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct ClusterAdapter(Arc<Inner>);

struct Inner {
    bus: Arc<dyn Bus>,
    local: Arc<LocalAdapter>,
    uid: Uid,
    opened: OnceLock<Opened>,
    /// Wakes the task that watches deadlines.
    changed: Arc<Notify>,
    rejections: Rejections,
    crowded: Rare,
    has_refused: AtomicBool,
}

/// What is there once the namespace is.
struct Opened {
    nsp: Box<str>,
    namespace: Weak<NamespaceInner>,
    channel: Arc<dyn Channel>,
    state: Mutex<State>,
}

struct State {
    node: Node,
    waiting: HashMap<RequestId, Waiting>,
}

/// Who is told when a request has finished.
enum Waiting {
    One(oneshot::Sender<Finished>),
    Collector(Arc<Collector>),
}

impl ClusterAdapter {
    pub(crate) fn new(bus: &Arc<dyn Bus>, local: &Arc<LocalAdapter>) -> ClusterAdapter {
        ClusterAdapter(Arc::new(Inner {
            bus: bus.clone(),
            local: local.clone(),
            uid: Uid::new(format!("{:016x}", rand::random::<u64>())),
            opened: OnceLock::new(),
            changed: Arc::default(),
            rejections: Rejections::default(),
            crowded: Rare::default(),
            has_refused: AtomicBool::new(false),
        }))
    }

    /// Asks the other servers and gives what came, and what did not.
    async fn ask(
        &self,
        body: impl FnOnce(RequestId) -> Body,
    ) -> Result<Option<Finished>, AdapterError> {
        let Some(opened) = self.0.opened.get() else {
            return Ok(None);
        };
        let expected = match opened.channel.has_heartbeats() {
            true => None,
            false => match opened.count().await?.saturating_sub(1) {
                0 => return Ok(None),
                others => Some(Expected::Count(others)),
            },
        };
        let id = request_id();
        let body = body(id.clone());
        let (sender, receiver) = oneshot::channel();
        opened
            .start(
                &id,
                Question::Servers,
                expected,
                REQUEST_TIMEOUT,
                Waiting::One(sender),
            )
            .map_err(|error| AdapterError::Unreachable(error.to_string()))?;
        // Whoever does not wait any longer is forgotten.
        let forget = Forget(opened, &id);
        self.0.publish(body, None)?;
        self.0.work();
        let finished = receiver.await;
        drop(forget);
        let closed = || AdapterError::Unreachable("the server is closed".to_owned());
        finished.map(Some).map_err(|_| closed())
    }
}

struct Forget<'a>(&'a Opened, &'a RequestId);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting.remove(self.1);
        state.node.requests().cancel(self.1);
    }
}

impl Opened {
    async fn count(&self) -> Result<usize, AdapterError> {
        let count = self.channel.server_count().await;
        count.map_err(|error| AdapterError::Unreachable(error.to_string()))
    }

    /// Begins to wait for answers; without `expected`, of all peers.
    fn start(
        &self,
        id: &RequestId,
        question: Question,
        expected: Option<Expected>,
        timeout: Duration,
        waiting: Waiting,
    ) -> Result<(), TooManyRequests> {
        let mut state = self.state.lock();
        let now = Instant::now();
        match expected {
            None => state
                .node
                .start_request(id.clone(), question, timeout, now)?,
            Some(expected) => {
                let requests = state.node.requests();
                requests.start(id.clone(), question, expected, timeout, now)?;
            }
        }
        state.waiting.insert(id.clone(), waiting);
        Ok(())
    }

    fn namespace(&self) -> Option<Namespace> {
        self.namespace.upgrade().map(Namespace)
    }
}

impl Inner {
    fn publish(&self, body: Body, to: Option<&Uid>) -> Result<(), AdapterError> {
        let Some(opened) = self.opened.get() else {
            return Ok(());
        };
        let message = Message {
            uid: self.uid.clone(),
            nsp: opened.nsp.to_string(),
            body,
        };
        match opened.channel.publish(&message, to) {
            Ok(()) => {
                let mut state = opened.state.lock();
                state.node.handle_published(&message.body, Instant::now());
                Ok(())
            }
            Err(error) => {
                if let Some(namespace) = opened.namespace.upgrade() {
                    namespace.count(Counters::cluster_refused);
                }
                if !self.has_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(nsp = Printable::new(&opened.nsp).to_string(), error = %Printable::new(&error), "other servers do not get a message");
                }
                Err(AdapterError::Unreachable(error.to_string()))
            }
        }
    }

    /// Publishes what all servers do; a failure is counted. True if this server is not to do it now:
    /// it does when it is its turn, or nobody does.
    fn tell(&self, body: impl FnOnce() -> Body) -> bool {
        let _ = self.publish(body(), None);
        self.opened.get().is_some() && self.bus.is_ordered()
    }

    /// Does what is due, and lets the watch look for the next deadline.
    fn work(&self) {
        self.do_due();
        self.changed.notify_one();
    }

    /// Does what is due, and tells those whose requests have finished.
    fn do_due(&self) {
        let Some(opened) = self.opened.get() else {
            return;
        };
        let (transmits, finished) = {
            let mut state = opened.state.lock();
            state.node.handle_timeout(Instant::now());
            let transmits: Vec<_> = std::iter::from_fn(|| state.node.poll_transmit()).collect();
            let mut finished = Vec::new();
            while let Some(event) = state.node.poll_event() {
                if let NodeEvent::Finished(request) = event
                    && let Some(waiting) = state.waiting.remove(&request.id)
                {
                    finished.push((waiting, request));
                }
            }
            (transmits, finished)
        };
        if opened.channel.has_heartbeats() {
            for body in transmits {
                let _ = self.publish(body, None);
            }
        }
        for (waiting, request) in finished {
            match waiting {
                // Nobody may wait for it any longer.
                Waiting::One(sender) => drop(sender.send(request)),
                Waiting::Collector(collector) => {
                    let missing = request.missing.servers as u64 + request.missing.clients;
                    collector.others_done(usize::try_from(missing).unwrap_or(usize::MAX));
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, message: Message, offset: Option<Offset>) {
        let Some(opened) = self.opened.get() else {
            return;
        };
        let is_own_turn = offset.is_some() && message.uid == self.uid;
        let message = if is_own_turn {
            Some(message).filter(|message| acts_in_turn(&message.body))
        } else {
            let mut state = opened.state.lock();
            // A socket's answer is passed on at once: the others may never come.
            if let Body::BroadcastAck { request_id, value } = &message.body
                && let Some(Waiting::Collector(collector)) = state.waiting.get(request_id)
            {
                collector.other(value.as_ref().map(wire::args).unwrap_or_default());
            }
            state.node.handle_message(message, Instant::now())
        };
        if let Some(Message { uid, body, .. }) = message
            && let Some(namespace) = opened.namespace()
        {
            self.act(&namespace, &uid, body, offset);
        }
        self.work();
    }

    /// Does what another server, or an emitter, asks for.
    fn act(
        self: &Arc<Self>,
        namespace: &Namespace,
        from: &Uid,
        body: Body,
        offset: Option<Offset>,
    ) {
        match body {
            Body::Broadcast {
                event,
                opts,
                request_id: None,
            } => {
                if let Some(packet) = packet(&namespace.0, &event, &opts, None, offset) {
                    self.local.broadcast(&packet, &wire::target(&opts));
                }
            }
            Body::Broadcast {
                event,
                opts,
                request_id: Some(id),
            } => self.ask_sockets(namespace, from, &event, &opts, id),
            Body::SocketsJoin { opts, rooms } => {
                for socket in self.local.select(&wire::target(&opts)) {
                    self.local.join(&socket, &rooms);
                }
            }
            Body::SocketsLeave { opts, rooms } => {
                for socket in self.local.select(&wire::target(&opts)) {
                    self.local.leave(&socket, &rooms);
                }
            }
            Body::DisconnectSockets { opts, close } => {
                let (target, returns) = (wire::target(&opts), self.local.returns());
                if !returns.is_some_and(|returns| returns.was_taken(&self.local, &target)) {
                    self.local.disconnect(&target, close);
                }
            }
            Body::FetchSockets { opts, request_id } => {
                let sockets = self.local.fetch_sockets(&wire::target(&opts));
                let sockets = Sockets {
                    sockets: sockets.iter().filter_map(wire::described).collect(),
                    attachments: Vec::new(),
                };
                let answer = Body::FetchSocketsResponse {
                    request_id,
                    sockets,
                };
                let _ = self.publish(answer, Some(from));
            }
            Body::ServerSideEmit { event, request_id } => {
                let answer = namespace.receive_server_side(&event.name, &wire::args(&event.args));
                // As in JavaScript: a server that has nothing to say does not answer.
                if let (Some(request_id), Some(answer)) = (request_id, answer) {
                    let answer = Body::ServerSideEmitResponse {
                        request_id,
                        value: wire::values(&answer),
                    };
                    let _ = self.publish(answer, Some(from));
                }
            }
            Body::InitialHeartbeat
            | Body::Heartbeat
            | Body::FetchSocketsResponse { .. }
            | Body::ServerSideEmitResponse { .. }
            | Body::BroadcastClientCount { .. }
            | Body::BroadcastAck { .. }
            | Body::AdapterClose => {}
        }
    }

    /// Asks this server's sockets on behalf of another server.
    fn ask_sockets(
        self: &Arc<Self>,
        namespace: &Namespace,
        from: &Uid,
        event: &Event,
        opts: &BroadcastOptions,
        request_id: RequestId,
    ) {
        let id = namespace.0.next_ack_id();
        let hold = hold(opts.flags.timeout);
        let (collector, mut answers) = Collector::new(id, Some(hold));
        let packet = packet(&namespace.0, event, opts, Some((id, collector)), None);
        let receivers = packet.map_or(0, |packet| {
            self.local.broadcast(&packet, &wire::target(opts))
        });
        let count = Body::BroadcastClientCount {
            request_id: request_id.clone(),
            client_count: receivers as u64,
        };
        let _ = self.publish(count, Some(from));
        if receivers == 0 {
            return;
        }
        answers.expect(receivers);
        let (this, from) = (Arc::downgrade(self), from.clone());
        namespace.0.spawn(async move {
            let pass_on = async {
                while let Some((_, args)) = answers.next().await {
                    let Some(this) = this.upgrade() else {
                        return;
                    };
                    let answer = Body::BroadcastAck {
                        request_id: request_id.clone(),
                        value: wire::first(&args),
                    };
                    let _ = this.publish(answer, Some(&from));
                }
            };
            let _ = tokio::time::timeout(hold, pass_on).await;
        });
    }
}

/// How long the sockets that another server asks have time to answer, if it does not say, or says
/// what is no number of milliseconds.
const HOLD: Duration = Duration::from_secs(60);
/// No other server makes this one wait longer.
const MAX_HOLD: Duration = Duration::from_secs(10 * 60);

fn hold(asked: Option<Duration>) -> Duration {
    asked.map_or(HOLD, |timeout| timeout.min(MAX_HOLD))
}

/// The packet of an event that came from the bus, with its offset if it has a place in the order.
pub(crate) fn packet(
    namespace: &NamespaceInner,
    event: &Event,
    opts: &BroadcastOptions,
    collector: Option<(u64, Arc<Collector>)>,
    offset: Option<Offset>,
) -> Option<BroadcastPacket> {
    let (args, flags) = (wire::args(&event.args), wire::flags(opts));
    let packet = BroadcastPacket::received(namespace, &event.name, &args, flags, collector);
    let mut packet = packet
        .inspect_err(|error| tracing::debug!(error = %Printable::new(&error), "an event of another server is not sent"))
        .ok()?;
    packet.offset = offset.filter(|_| !opts.flags.volatile);
    Some(packet)
}

/// Says whether all servers do this alike, the one that asks for it included.
fn acts_in_turn(body: &Body) -> bool {
    match body {
        Body::Broadcast { request_id, .. } => request_id.is_none(),
        Body::SocketsJoin { .. } | Body::SocketsLeave { .. } | Body::DisconnectSockets { .. } => {
            true
        }
        Body::InitialHeartbeat
        | Body::Heartbeat
        | Body::FetchSockets { .. }
        | Body::FetchSocketsResponse { .. }
        | Body::ServerSideEmit { .. }
        | Body::ServerSideEmitResponse { .. }
        | Body::BroadcastClientCount { .. }
        | Body::BroadcastAck { .. }
        | Body::AdapterClose => false,
    }
}

fn request_id() -> RequestId {
    RequestId::new(format!("{:016x}", rand::random::<u64>()))
}

/// Tells the channel which rooms come and go.
fn follower(adapter: Weak<Inner>) -> impl Fn(&RoomEvent) {
    move |event| {
        if let RoomEvent::Created(room) | RoomEvent::Deleted(room) = event
            && let Some(inner) = adapter.upgrade()
            && let Some(opened) = inner.opened.get()
        {
            opened.channel.room_changed(room);
        }
    }
}

/// Watches the deadlines of an adapter until it is dropped or closed.
async fn watch(adapter: Weak<Inner>, changed: Arc<Notify>) {
    loop {
        let Some(deadline) = adapter.upgrade().and_then(|inner| {
            let state = inner.opened.get()?.state.lock();
            state.node.poll_timeout()
        }) else {
            return;
        };
        // An early call does no harm.
        let _ = tokio::time::timeout_at(deadline.into(), changed.notified()).await;
        match adapter.upgrade() {
            Some(inner) => inner.do_due(),
            None => return,
        }
    }
}

impl Adapter for ClusterAdapter {
    fn local(&self) -> &Arc<LocalAdapter> {
        &self.0.local
    }

    fn needs_args(&self) -> bool {
        true
    }

    fn init(&self, namespace: &Namespace) {
        let inner = &self.0;
        if tokio::runtime::Handle::try_current().is_err() {
            tracing::error!("no tokio runtime: a namespace of a cluster is made inside one only");
            return;
        }
        let nsp = namespace.name();
        let inbox = Arc::new(Incoming(Arc::downgrade(inner)));
        let application = inner.local.application();
        let channel = plugins::open(&inner.bus, nsp, &inner.uid, inbox, application);
        if let Some(returns) = inner.local.returns() {
            returns.open(channel.store(), nsp, &inner.uid);
        }
        let config = NodeConfig::default();
        let node = Node::new(config, inner.uid.clone(), nsp, Instant::now());
        let opened = Opened {
            nsp: nsp.into(),
            namespace: Arc::downgrade(&namespace.0),
            channel,
            state: Mutex::new(State {
                node,
                waiting: HashMap::new(),
            }),
        };
        let follows_rooms = opened.channel.follows_rooms();
        if inner.opened.set(opened).is_ok() {
            if follows_rooms {
                inner.local.on_room_event(follower(Arc::downgrade(inner)));
            }
            inner.work();
            tokio::spawn(watch(Arc::downgrade(inner), inner.changed.clone()));
        }
    }

    fn broadcast(&self, packet: &BroadcastPacket, target: &Target) {
        let body = |event| Body::Broadcast {
            event,
            opts: wire::options_with(target, &packet.flags, None),
            request_id: None,
        };
        if let Some(event) = self.outgoing(packet)
            && self.0.tell(|| body(event))
        {
            return;
        }
        self.0.local.broadcast(packet, target);
    }

    fn broadcast_with_ack(&self, packet: &BroadcastPacket, target: &Target) -> usize {
        let local = self.0.local.broadcast(packet, target);
        let (Some(event), Some(opened), Some((_, collector))) = (
            self.outgoing(packet),
            self.0.opened.get(),
            &packet.collector,
        ) else {
            return local;
        };
        let (id, has_heartbeats) = (request_id(), opened.channel.has_heartbeats());
        let timeout = packet.flags.timeout.unwrap_or(REQUEST_TIMEOUT);
        let expected = (!has_heartbeats).then_some(Expected::Unknown);
        let question = Question::Clients { local: 0 };
        let waiting = Waiting::Collector(collector.clone());
        let started = opened.start(&id, question, expected, timeout, waiting);
        if let Err(error) = started {
            // They get it all the same, and their answers find nobody.
            if let Some(suppressed) = self.0.crowded.admit(Instant::now()) {
                tracing::warn!(error = %Printable::new(&error), suppressed, "answers of other servers are not awaited");
            }
            collector.others_done(1);
        }
        // Not in anybody's turn: the answers are waited for.
        self.0.tell(|| Body::Broadcast {
            event,
            opts: wire::options_with(target, &packet.flags, Some(timeout)),
            request_id: Some(id.clone()),
        });
        self.0.work();
        if !has_heartbeats
            && started.is_ok()
            && let Some(namespace) = opened.namespace()
        {
            let (inner, channel) = (Arc::downgrade(&self.0), opened.channel.clone());
            namespace.0.spawn(async move {
                // If they cannot be counted, the request ends with its timeout.
                if let Ok(count) = channel.server_count().await
                    && let Some(inner) = inner.upgrade()
                    && let Some(opened) = inner.opened.get()
                {
                    let others = count.saturating_sub(1);
                    opened
                        .state
                        .lock()
                        .node
                        .requests()
                        .handle_server_count(&id, others);
                    inner.work();
                }
            });
        }
        // One more, for all others together.
        local + 1
    }

    fn fetch_sockets<'a>(
        &'a self,
        target: &'a Target,
        local: bool,
    ) -> BoxFuture<'a, Result<Vec<RemoteSocket>, AdapterError>> {
        Box::pin(async move {
            let mut sockets = self.0.local.fetch_sockets(target);
            if local {
                return Ok(sockets);
            }
            let finished = self
                .ask(|request_id| Body::FetchSockets {
                    opts: wire::options(target),
                    request_id,
                })
                .await?;
            let (Some(finished), Some(namespace)) =
                (finished, self.0.opened.get().and_then(Opened::namespace))
            else {
                return Ok(sockets);
            };
            for answer in finished.answers {
                if let Answer::Sockets(theirs) = answer {
                    let theirs = theirs.sockets.into_iter();
                    sockets.extend(theirs.map(|socket| wire::remote(&namespace, socket)));
                }
            }
            match finished.missing.servers {
                0 => Ok(sockets),
                missing => Err(AdapterError::Timeout {
                    sockets,
                    answers: Vec::new(),
                    missing,
                    servers: names(&finished.missing.nodes),
                }),
            }
        })
    }

    fn sockets_join(&self, target: &Target, rooms: &[String], local: bool) {
        let body = || Body::SocketsJoin {
            opts: wire::options(target),
            rooms: rooms.to_vec(),
        };
        if !local && self.0.tell(body) {
            return;
        }
        for socket in self.0.local.select(target) {
            self.0.local.join(&socket, rooms);
        }
    }

    fn sockets_leave(&self, target: &Target, rooms: &[String], local: bool) {
        let body = || Body::SocketsLeave {
            opts: wire::options(target),
            rooms: rooms.to_vec(),
        };
        if !local && self.0.tell(body) {
            return;
        }
        for socket in self.0.local.select(target) {
            self.0.local.leave(&socket, rooms);
        }
    }

    fn disconnect_sockets(&self, target: &Target, close: bool, local: bool) {
        let body = || Body::DisconnectSockets {
            opts: wire::options(target),
            close,
        };
        if !local && self.0.tell(body) {
            return;
        }
        self.0.local.disconnect(target, close);
    }

    fn server_side_emit<'a>(
        &'a self,
        event: &'a str,
        args: Args,
        answers: bool,
    ) -> BoxFuture<'a, Result<Vec<Value>, AdapterError>> {
        Box::pin(async move {
            let too_deep =
                || AdapterError::Unreachable("the arguments are nested too deeply".to_owned());
            let event = wire::event(event, &args).ok_or_else(too_deep)?;
            if !answers {
                let request_id = None;
                self.0
                    .publish(Body::ServerSideEmit { event, request_id }, None)?;
                return Ok(Vec::new());
            }
            let finished = self
                .ask(|request_id| Body::ServerSideEmit {
                    event,
                    request_id: Some(request_id),
                })
                .await?;
            let Some(finished) = finished else {
                return Ok(Vec::new());
            };
            let answers = finished.answers.iter().map(|answer| match answer {
                Answer::Value(Some(value)) => wire::args(value).decode().unwrap_or_default(),
                _ => Value::Null,
            });
            let answers: Vec<Value> = answers.collect();
            match finished.missing.servers {
                0 => Ok(answers),
                missing => Err(AdapterError::Timeout {
                    sockets: Vec::new(),
                    answers,
                    missing,
                    servers: names(&finished.missing.nodes),
                }),
            }
        })
    }

    fn server_count(&self) -> BoxFuture<'_, Result<usize, AdapterError>> {
        Box::pin(async {
            match self.0.opened.get() {
                Some(opened) if opened.channel.has_heartbeats() => {
                    Ok(opened.state.lock().node.server_count())
                }
                Some(opened) => opened.count().await,
                None => Ok(1),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(opened) = self.0.opened.get() {
                opened.state.lock().node.close();
                self.0.work();
                opened.channel.close().await;
            }
        })
    }
}

impl ClusterAdapter {
    /// What other servers are told of a packet; nothing if it is for this one alone.
    fn outgoing(&self, packet: &BroadcastPacket) -> Option<Event> {
        if packet.is_local() {
            return None;
        }
        let event = wire::event(&packet.event, packet.args.as_ref()?);
        if event.is_none() {
            tracing::warn!(
                event = Printable::new(&packet.event).to_string(),
                "arguments nested too deeply for other servers"
            );
        }
        event
    }
}

fn names(nodes: &[Uid]) -> Vec<String> {
    nodes.iter().map(|uid| uid.as_str().to_owned()).collect()
}

impl Drop for ClusterAdapter {
    fn drop(&mut self) {
        self.0.changed.notify_one();
    }
}

impl fmt::Debug for ClusterAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterAdapter")
            .field("uid", &self.0.uid)
            .finish_non_exhaustive()
    }
}

/// Where a bus delivers; it does not keep the adapter alive.
struct Incoming(Weak<Inner>);

impl Inbox for Incoming {
    fn receive(&self, message: Message) {
        if let Some(inner) = self.0.upgrade() {
            inner.receive(message, None);
        }
    }

    fn receive_at(&self, message: Message, offset: Offset) {
        if let Some(inner) = self.0.upgrade() {
            inner.receive(message, Some(offset));
        }
    }

    fn reject(&self, rejected: &Rejected) {
        let Some(inner) = self.0.upgrade() else {
            return;
        };
        if let Some(namespace) = inner
            .opened
            .get()
            .and_then(|opened| opened.namespace.upgrade())
        {
            namespace.count(Counters::cluster_rejected);
        }
        inner.rejections.log(rejected);
    }

    fn room_names(&self) -> Vec<String> {
        let inner = self.0.upgrade();
        inner.map_or_else(Vec::new, |inner| inner.local.room_names())
    }

    fn has_room(&self, name: &str) -> bool {
        let inner = self.0.upgrade();
        inner.is_some_and(|inner| inner.local.has_room(name))
    }

    fn has_socket(&self, id: &str) -> bool {
        let inner = self.0.upgrade();
        inner.is_some_and(|inner| inner.local.socket(&SocketId::from(id)).is_some())
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use socketio_proto::cluster::Limits;

    use super::*;

    // What each neighbour says, in milliseconds or what it takes for them.
    #[test]
    fn other_servers_hold_places_for_a_bounded_time() {
        for (timeout, seconds) in [
            ("", 60),
            (r#""timeout":5000"#, 5),
            (r#""timeout":0"#, 0),
            (r#""timeout":600000"#, 600),
            (r#""timeout":600001"#, 600),
            (r#""timeout":100000000"#, 600),
            // Go's nanoseconds.
            (r#""timeout":5000000000"#, 60),
            (r#""timeout":1e300"#, 60),
            (r#""timeout":-1"#, 60),
            (r#""timeout":"5000""#, 60),
            (r#""timeout":null"#, 60),
            (r#""timeout":{}"#, 60),
        ] {
            let text = format!(
                r#"{{"uid":"u","type":3,"data":{{"packet":{{"type":2,"data":["a"]}},"requestId":"r","opts":{{"flags":{{{timeout}}}}}}}}}"#
            );
            let message = Message::decode(text.as_bytes(), "/", &Limits::default());
            let Body::Broadcast { opts, .. } = message.expect("a message").body else {
                panic!("no broadcast")
            };
            let held = hold(opts.flags.timeout);
            assert_eq!(held, Duration::from_secs(seconds), "{timeout}");
        }
    }
}
