//! What the handles of a connection and its task share.
//!
//! Handles act at once: they change the machines under a lock, queue what is to be written, and wake
//! the task, which does the rest. While the task works (its turn), what is queued leaves at the turn's
//! end. Locks are taken in the order: a socket's, then the connection's; none while an application's
//! code runs.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use socketio_proto::engine::{ClientPacket, Transport};
use socketio_proto::socket::{ClientSocket, DisconnectReason, Manager as Machine, ReconnectConfig};
use socketio_proto::websocket::{self, Frames, Opcode};
use tokio::sync::{Notify, oneshot};

use super::auth::Auth;
use super::clock::Clock;
use super::config::Config;
use super::cookies::Cookies;
use super::error::ConnectError;
use super::events::EventQueue;
use super::handlers::Handlers;
use super::manager::{Manager, ManagerEvent};
use super::socket::Socket;
use super::task::Task;
use super::unsent::UnsentEvents;
use crate::application::{Application, Callback};
use crate::args::Args;
use crate::encode::{Encoded, EventArgs};
use crate::error::{AckError, EmitError};
use crate::plugins;
use crate::wakers::Wakers;

pub(crate) struct Shared {
    pub(crate) application: Arc<Application>,
    pub(crate) config: Config,
    pub(crate) cookies: Cookies,
    pub(crate) clock: Clock,
    /// The events that were not sent without anybody being told.
    pub(crate) unsent: UnsentEvents,
    state: Mutex<State>,
    listeners: RwLock<Vec<Arc<Listener>>>,
    guard: OnceLock<Weak<Guard>>,
    /// Told when something has been written, or the connection has ended.
    pub(crate) quiet: Notify,
}

pub(crate) type Listener = dyn Fn(&ManagerEvent) + Send + Sync;

pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) sockets: Vec<Arc<SocketCore>>,
    pub(crate) outbox: Outbox,
    /// What the task is to do beyond what the machine says.
    pub(crate) requests: VecDeque<Request>,
    pub(crate) session: Option<SessionInfo>,
    /// What the server has chosen for the latest WebSocket.
    pub(crate) subprotocol: Option<Box<str>>,
    /// The number of the connection that there is, open or not.
    link: Option<u64>,
    /// How many connections there have been.
    links: u64,
    task: TaskState,
    /// The last handle is gone.
    pub(crate) abandoned: bool,
    /// The connection is to be broken off.
    pub(crate) break_off: bool,
    /// A full stream of events has room again, for those that wait.
    pub(crate) has_room: bool,
    /// When the server is given up.
    expires: Option<Instant>,
}

/// What is known of the open session.
#[derive(Clone, Debug)]
pub(crate) struct SessionInfo {
    pub(crate) transport: Transport,
    pub(crate) max_payload: Option<u64>,
}

pub(crate) enum Request {
    /// Joins a namespace while the connection is open.
    Join(Arc<SocketCore>),
    /// Tells a socket's handlers that it has left.
    Left(Arc<SocketCore>, DisconnectReason),
}

enum TaskState {
    None,
    /// It looks at the queues before it sleeps.
    Working,
    Sleeping(Waker),
}

/// One namespace of a connection.
pub(crate) struct SocketCore {
    pub(crate) nsp: Box<str>,
    pub(crate) auth: Mutex<Auth>,
    pub(crate) handlers: Handlers,
    pub(crate) inner: Mutex<Inner>,
}

pub(crate) struct Inner {
    pub(crate) machine: ClientSocket<Unsent, Waiter>,
    /// Those who wait for `connect`.
    pub(crate) connecting: Vec<oneshot::Sender<Result<(), ConnectError>>>,
    pub(crate) streams: Vec<Arc<EventQueue>>,
}

impl SocketCore {
    /// A stream that takes no more before it is read.
    pub(crate) fn full_stream(&self) -> Option<Arc<EventQueue>> {
        let inner = self.inner.lock();
        inner.streams.iter().find(|queue| queue.is_full()).cloned()
    }
}

/// Who waits for an answer. One that is dropped learns that the connection is gone.
pub(crate) type Waiter = oneshot::Sender<Result<Args, AckError>>;

/// An event that waits for its connection.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) name: Box<str>,
    pub(crate) args: EventArgs,
}

impl Unsent {
    pub(crate) fn size(&self) -> usize {
        size_of::<Unsent>() + self.name.len() + self.args.size()
    }
}

/// Ends the connection when the last handle is dropped.
pub(crate) struct Guard(pub(crate) Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.abandoned = true;
        state.wake();
    }
}

impl Shared {
    pub(crate) fn start(
        mut config: Config,
        reconnect: ReconnectConfig,
        application: Arc<Application>,
    ) -> Manager {
        config.parser = config
            .parser
            .map(|parser| plugins::parser(parser, &application));
        let shared = Arc::new(Shared {
            application,
            cookies: Cookies::new(config.cookies),
            config,
            clock: Clock::new(),
            unsent: UnsentEvents::default(),
            state: Mutex::new(State {
                machine: Machine::new(reconnect),
                sockets: Vec::new(),
                outbox: Outbox::default(),
                requests: VecDeque::new(),
                session: None,
                subprotocol: None,
                link: None,
                links: 0,
                task: TaskState::None,
                abandoned: false,
                break_off: false,
                has_room: false,
                expires: None,
            }),
            listeners: RwLock::default(),
            guard: OnceLock::new(),
            quiet: Notify::new(),
        });
        let guard = Arc::new(Guard(shared.clone()));
        shared.guard.set(Arc::downgrade(&guard)).unwrap_or_default();
        Manager::new(guard)
    }

    pub(crate) fn with_state<R>(&self, then: impl FnOnce(&mut State) -> R) -> R {
        then(&mut self.state.lock())
    }

    /// The handle of a socket; none when the application has dropped all of its own.
    pub(crate) fn socket(&self, core: &Arc<SocketCore>) -> Option<Socket> {
        let guard = self.guard.get()?.upgrade()?;
        Some(Socket::new(core.clone(), guard))
    }

    /// Sees to it that there is a task, and that it does what is to be done.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[track_caller]
    pub(crate) fn run(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if let TaskState::None = state.task {
            state.task = TaskState::Working;
            drop(state);
            tokio::spawn(Task::new(self.clone()));
        } else {
            state.wake();
        }
    }

    pub(crate) fn sockets(&self) -> Vec<Arc<SocketCore>> {
        self.state.lock().sockets.clone()
    }

    /// Says whether the connection has other namespaces than this one.
    pub(crate) fn has_others(&self, core: &Arc<SocketCore>) -> bool {
        let is_other = |other: &Arc<SocketCore>| {
            !Arc::ptr_eq(other, core) && other.inner.lock().machine.is_active()
        };
        self.sockets().iter().any(is_other)
    }

    pub(crate) fn has_active_sockets(&self) -> bool {
        let is_active = |core: &Arc<SocketCore>| core.inner.lock().machine.is_active();
        self.sockets().iter().any(is_active)
    }

    pub(crate) fn listen(&self, listener: Arc<Listener>) {
        self.listeners.write().push(listener);
    }

    pub(crate) fn tell(&self, event: &ManagerEvent) {
        let listeners = self.listeners.read().clone();
        for listener in &listeners {
            let _ = self
                .application
                .call(Callback::ManagerListener, || listener(event));
        }
    }

    /// Queues an event for the open session.
    pub(crate) fn push(&self, encoded: &Encoded<'_>, volatile: bool) -> Result<(), EmitError> {
        let mut state = self.state.lock();
        if volatile && !state.outbox.is_writable() {
            return Err(EmitError::Dropped);
        }
        state.check_size(encoded)?;
        // One that is larger than the whole queue goes through an empty one.
        let waiting = state.outbox.frames.len();
        if waiting > 0 && waiting + encoded.size() > self.config.max_queue {
            return Err(EmitError::QueueFull);
        }
        state.push(encoded);
        Ok(())
    }

    /// Queues an event that was kept for this session, and counted against a bound then.
    pub(crate) fn push_kept(&self, encoded: &Encoded<'_>) -> Result<(), EmitError> {
        let mut state = self.state.lock();
        state.check_size(encoded)?;
        state.push(encoded);
        Ok(())
    }

    /// Queues a packet of the protocol, which is sent whatever bounds there are: without it nothing
    /// goes on.
    pub(crate) fn push_control(&self, encoded: &Encoded<'_>) {
        self.state.lock().push(encoded);
    }

    /// Tells who waits for an answer why it will not come, and counts the event if nobody does. No lock
    /// may be held.
    pub(crate) fn fail(&self, event: &str, waiter: Option<Waiter>, error: AckError) {
        match waiter {
            Some(waiter) => drop(waiter.send(Err(error))),
            None => self.unsent.note(event, &error),
        }
    }

    // --- For the task ---

    /// Begins a turn: from here on nobody wakes the task.
    pub(crate) fn begin_turn(&self) {
        self.state.lock().task = TaskState::Working;
    }

    /// Ends a turn; false if there is more to do.
    pub(crate) fn end_turn(&self, waker: &Waker, expires: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        let has_frames = state.outbox.is_writable() && !state.outbox.frames.is_empty();
        if has_frames || state.has_work() {
            return false;
        }
        state.expires = expires;
        state.task = TaskState::Sleeping(waker.clone());
        true
    }

    /// Ends the task, unless there is more to do.
    pub(crate) fn end_task(&self) -> bool {
        let mut state = self.state.lock();
        if !state.machine.is_closed() || state.has_work() {
            return false;
        }
        state.task = TaskState::None;
        true
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.quiet.notify_waiters();
    }
}

impl State {
    /// Has the task look at what is to be done.
    pub(crate) fn wake(&mut self) {
        if let TaskState::Sleeping(_) = self.task
            && let TaskState::Sleeping(waker) =
                std::mem::replace(&mut self.task, TaskState::Working)
        {
            waker.wake();
        }
    }

    /// Says whether a handle has asked for something.
    fn has_work(&self) -> bool {
        !self.requests.is_empty()
            || self.abandoned
            || self.break_off
            || self.has_room
            || self.machine.next_action().is_some()
    }

    /// Says whether events can be queued for the server: the session is open, and its heartbeat has not
    /// stopped while the machine slept.
    pub(crate) fn is_alive(&self, clock: &Clock) -> bool {
        self.session.is_some() && self.expires.is_none_or(|expires| clock.now() < expires)
    }

    /// A connection begins, or has ended.
    pub(crate) fn set_linked(&mut self, is_linked: bool) {
        self.links += u64::from(is_linked);
        self.link = is_linked.then_some(self.links);
    }

    /// The number of the connection that there is.
    pub(crate) fn link(&self) -> Option<u64> {
        self.link
    }

    /// Says whether nothing waits to be written to a connection, and it is not being closed.
    pub(crate) fn is_quiet(&self, link: Option<u64>) -> bool {
        link.is_none()
            || self.link != link
            || (self.outbox.frames.is_empty()
                && self.outbox.in_flight == 0
                && self.machine.is_open())
    }

    fn push(&mut self, encoded: &Encoded<'_>) {
        encoded.frames(|opcode, payload| self.outbox.push(opcode, payload));
        self.wake();
    }

    /// Refuses what the server would end the connection for.
    fn check_size(&self, encoded: &Encoded<'_>) -> Result<(), EmitError> {
        match &self.session {
            Some(SessionInfo {
                transport,
                max_payload: Some(max),
            }) => check_size(encoded, *transport, *max),
            _ => Ok(()),
        }
    }
}

/// What waits to be written: unmasked frames, one after the other.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) frames: Vec<u8>,
    /// Bytes that the task has taken and not written yet.
    pub(crate) in_flight: usize,
    /// Set while a session is open that can be written to.
    pub(crate) open: bool,
    /// The answer to a ping waits; one is enough.
    pub(crate) has_pong: bool,
    /// Those who wait until the queue is short.
    pub(crate) waiting: Wakers,
}

impl Outbox {
    pub(crate) fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        websocket::header(&mut self.frames, opcode, payload.len());
        self.frames.extend_from_slice(payload);
    }

    /// Queues a barrier: what follows is written when the server has shown that it has read what goes
    /// before. It stands as a ping, the one frame that is never queued otherwise.
    pub(crate) fn push_barrier(&mut self) {
        self.push(Opcode::Ping, &[]);
    }

    /// Queues a packet of the session. Many pings while an answer waits get one.
    pub(crate) fn control(&mut self, packet: ClientPacket) {
        let is_pong = packet == ClientPacket::Pong;
        if !is_pong || !std::mem::replace(&mut self.has_pong, true) {
            self.push(Opcode::Text, packet.as_str().as_bytes());
        }
    }

    /// Removes what has been handed to a transport: so many bytes of frames.
    pub(crate) fn take(&mut self, used: usize) {
        if used == 0 {
            return;
        }
        self.has_pong = false;
        if used < self.frames.len() {
            self.frames.drain(..used);
            return;
        }
        self.frames.clear();
        if self.frames.capacity() > KEPT {
            self.frames = Vec::new();
        }
    }

    pub(crate) fn frames(&self) -> Frames<'_> {
        websocket::frames(&self.frames)
    }

    /// Says whether what is queued is likely to leave at once.
    pub(crate) fn is_writable(&self) -> bool {
        self.open && self.in_flight == 0
    }

    /// Says whether an emitter has to wait; if so, it is woken when the queue is short.
    pub(crate) fn wait_below_mark(&mut self, waker: &Waker) -> bool {
        let waits = self.frames.len() + self.in_flight > MARK;
        if waits {
            self.waiting.add(waker);
        }
        waits
    }

    /// Learns that something has been written.
    pub(crate) fn written(&mut self) {
        if self.frames.len() + self.in_flight <= MARK {
            self.waiting.wake_all();
        }
    }

    /// Forgets all: the session has ended.
    pub(crate) fn clear(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        *self = Outbox::default();
        waiting.wake_all();
    }
}

/// An outbox that has grown beyond this gives its buffer back.
const KEPT: usize = 16 * 1024;
/// Above so many bytes, those who await their emits wait.
const MARK: usize = 64 * 1024;

fn check_size(encoded: &Encoded<'_>, transport: Transport, max: u64) -> Result<(), EmitError> {
    let mut largest = 0;
    encoded.frames(|opcode, payload| {
        let size = match (transport, opcode) {
            (Transport::Polling, Opcode::Binary) => 1 + payload.len().div_ceil(3) * 4,
            _ => payload.len(),
        };
        largest = largest.max(size);
    });
    match largest as u64 > max {
        true => Err(EmitError::TooLarge { size: largest, max }),
        false => Ok(()),
    }
}
