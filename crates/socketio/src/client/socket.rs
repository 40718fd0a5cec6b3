//! One namespace of a connection: what applications use.

use socketio_proto::Printable;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use socketio_proto::socket::{DisconnectReason, PacketKind, is_reserved};
use tokio::sync::oneshot;

use super::ack::{AckFuture, Sent};
use super::auth::Auth;
use super::emit::Emit;
use super::error::{BuildError, ConnectError, Disconnected};
use super::events::Events;
use super::manager::Manager;
use super::shared::{Guard, Inner, Request, Shared, SocketCore, Unsent, Waiter};
use crate::args::Args;
use crate::encode::{self, Encoded, EventArgs, EventHead};
use crate::error::EmitError;
use crate::event::Event;
use crate::handler::{Endpoint, Handler};
use crate::id::SocketId;

/// One namespace of a connection to a server.
///
/// A handle: cheap to clone. When the last handle of a connection is dropped, with all its namespaces,
/// what was emitted is written, the connection is closed, and its task ends. A handler that owns a
/// clone of its own socket keeps the connection open; it need not, as it gets the socket as its first
/// argument.
///
/// Handlers start in the order of events, each in place; one that waits goes on beside the others, and
/// neither keeps the heartbeat from being answered nor other events from being handled.
#[derive(Clone)]
pub struct Socket {
    pub(crate) core: Arc<SocketCore>,
    guard: Arc<Guard>,
}

/// How an event is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) volatile: bool,
    pub(crate) timeout: Option<Duration>,
}

impl Socket {
    pub(crate) fn new(core: Arc<SocketCore>, guard: Arc<Guard>) -> Socket {
        Socket { core, guard }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.guard.0
    }

    fn inner<R>(&self, then: impl FnOnce(&mut Inner) -> R) -> R {
        then(&mut self.core.inner.lock())
    }

    /// The socket's id, while it is connected: new for each connection, unless that was recovered. It is
    /// the same as on the server.
    #[doc(alias = "socket.id")]
    pub fn id(&self) -> Option<SocketId> {
        self.inner(|inner| inner.machine.sid().map(SocketId::from))
    }

    /// The name of the namespace.
    #[doc(alias = "nsp")]
    pub fn namespace(&self) -> &str {
        &self.core.nsp
    }

    /// Says whether the namespace is joined.
    #[doc(alias = "connected")]
    pub fn is_connected(&self) -> bool {
        self.inner(|inner| inner.machine.is_joined())
    }

    /// Says whether the namespace is joined, or will be by itself as soon as the server can be reached.
    #[doc(alias = "active")]
    pub fn is_active(&self) -> bool {
        self.inner(|inner| inner.machine.is_active())
    }

    /// Says whether the connection went on where the one before had ended: with the same id and rooms,
    /// and with the events that were missed.
    #[doc(alias = "recovered")]
    pub fn is_recovered(&self) -> bool {
        self.inner(|inner| inner.machine.is_recovered())
    }

    /// The connection, which other namespaces can share.
    #[doc(alias = "io")]
    pub fn manager(&self) -> Manager {
        Manager::new(self.guard.clone())
    }

    // --- Connecting ---

    /// Sets what the server's middlewares get as `auth` from the next joining of the namespace on: a JSON
    /// object. What was [provided](super::ClientBuilder::auth_with) is not asked for any more.
    ///
    /// # Errors
    ///
    /// When it is no JSON object, and for the main namespace of Socket.IO 2, which has none.
    #[doc(alias = "auth")]
    pub fn set_auth(&self, auth: impl Serialize) -> Result<(), BuildError> {
        let auth = Auth::value(&auth)?;
        auth.check(self.shared().config.version, self.namespace())?;
        // What it was may be the application's, whose code runs when that is dropped.
        let before = std::mem::replace(&mut *self.core.auth.lock(), auth);
        drop(before);
        Ok(())
    }

    /// Connects, and connects again whenever the connection is lost, until
    /// [`disconnect`](Socket::disconnect).
    ///
    /// It begins at once. Awaited, it gives the outcome of joining the namespace: success, or the first
    /// failure. After a failure to reach the server the attempts go on, if they are not turned off;
    /// after a refusal by the server they do not.
    ///
    /// # Errors
    ///
    /// Why the namespace was not joined.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    #[doc(alias = "open")]
    #[track_caller]
    pub fn connect(&self) -> Connecting<'_> {
        let (sender, receiver) = oneshot::channel();
        let is_new = self.inner(|inner| {
            if inner.machine.is_joined() {
                // Whoever waits will not be told again.
                let _ = sender.send(Ok(()));
                return false;
            }
            inner.connecting.retain(|waiting| !waiting.is_closed());
            inner.connecting.push(sender);
            inner.machine.activate()
        });
        let shared = self.shared();
        shared.with_state(|state| {
            if state.machine.is_open() {
                if is_new {
                    state.requests.push_back(Request::Join(self.core.clone()));
                }
            } else {
                state.machine.open(shared.clock.now());
            }
        });
        shared.run();
        Connecting {
            receiver,
            _socket: self,
        }
    }

    /// Leaves the namespace and does not come back by itself. With the last namespace the connection
    /// is closed.
    ///
    /// It acts at once: nobody waits for an answer any more. What was emitted before arrives: the server
    /// is told of the leave when it has shown that it has read the rest, or after 5 s. Awaited, it waits
    /// until that is written, and, with the last namespace, until the connection is closed: 10 s at most
    /// after the server has taken something last, and 60 s in all.
    ///
    /// Events that wait for a connection are kept for the next [`connect`](Socket::connect), but for
    /// those whose answer was awaited.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    #[doc(alias = "close")]
    pub fn disconnect(&self) -> Disconnecting {
        let shared = self.shared();
        let (lost, connecting) = {
            let mut inner = self.core.inner.lock();
            if inner.machine.is_joined() {
                shared.with_state(|state| state.outbox.push_barrier());
                self.control(PacketKind::Disconnect, "");
            }
            let connecting = std::mem::take(&mut inner.connecting);
            (inner.machine.deactivate(), connecting)
        };
        for waiting in connecting {
            let reason = DisconnectReason::IoClientDisconnect;
            let _ = waiting.send(Err(ConnectError::closed(reason, None)));
        }
        let is_last = !shared.has_active_sockets();
        let link = shared.with_state(|state| {
            if lost.was_joined {
                let left = Request::Left(self.core.clone(), DisconnectReason::IoClientDisconnect);
                state.requests.push_back(left);
            }
            if is_last {
                state.machine.close();
            }
            state.wake();
            state.link()
        });
        Disconnecting::new(shared.clone(), link)
    }

    // --- Emitting ---

    /// Sends an event to the server.
    ///
    /// A tuple gives several arguments, `()` none, anything else one. Bytes (`bytes::Bytes`,
    /// `serde_bytes`) may stand anywhere and travel as binary.
    ///
    /// The event is queued at once and in order, whether or not the returned value is awaited. While
    /// the namespace is not joined it is kept, and sent as soon as it is. Awaiting it waits until the
    /// queue is short.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(socket: socketio::client::Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// socket.emit("chat message", "hi");
    /// socket.emit("move", (3, 4)).await?; // waits while the server reads slowly
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit(&self, event: impl AsRef<str>, args: impl Serialize) -> Emit<'_> {
        self.emit_with(event.as_ref(), &args, Flags::default())
    }

    /// Sends a typed event, whose name its type carries.
    pub fn emit_event<E: Event>(&self, event: &E) -> Emit<'_> {
        self.emit_with(E::NAME, event, Flags::default())
    }

    /// Sends the event `message`.
    #[doc(alias = "write")]
    pub fn send(&self, args: impl Serialize) -> Emit<'_> {
        self.emit("message", args)
    }

    /// Sends an event and gives the server's answer.
    ///
    /// It waits for as long as the connection lives, or for the
    /// [`ack_timeout`](super::ClientBuilder::ack_timeout); see [`timeout`](Socket::timeout). Before there
    /// is a connection it waits for one, until the namespace is [left](Socket::disconnect), refused, or
    /// given up.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(socket: socketio::client::Socket) -> Result<(), socketio::AckError> {
    /// let sum: i64 = socket.timeout(Duration::from_secs(5)).emit_with_ack("add", (1, 2)).await?;
    /// # assert_eq!(sum, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> AckFuture<T> {
        self.ack_with(event.as_ref(), &args, Flags::default())
    }

    /// Drops the next event instead of keeping it if it cannot be written at once. It is not repeated
    /// with [`retries`](super::ClientBuilder::retries).
    pub fn volatile(&self) -> SocketEmit<'_> {
        self.with(Flags {
            volatile: true,
            ..Flags::default()
        })
    }

    /// Bounds the wait for the next event's answer. An event that was not sent by then is not sent.
    ///
    /// With [`retries`](super::ClientBuilder::retries) each try has this time, and all together, with the
    /// wait for a connection and for earlier events, as many times as there are tries.
    pub fn timeout(&self, timeout: Duration) -> SocketEmit<'_> {
        self.with(Flags {
            timeout: Some(timeout),
            ..Flags::default()
        })
    }

    fn with(&self, flags: Flags) -> SocketEmit<'_> {
        SocketEmit {
            socket: self,
            flags,
        }
    }

    fn emit_with<T: Serialize + ?Sized>(&self, event: &str, args: &T, flags: Flags) -> Emit<'_> {
        let outcome = match self.transmit(event, args, None, flags) {
            Ok(_) => Ok(()),
            Err(EmitError::Dropped) => {
                tracing::debug!(
                    event = Printable::new(event).to_string(),
                    "a volatile event was dropped"
                );
                Ok(())
            }
            Err(error) => Err(error),
        };
        Emit::new(self.shared(), event, outcome)
    }

    fn ack_with<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
        flags: Flags,
    ) -> AckFuture<T> {
        let (sender, receiver) = oneshot::channel();
        let config = &self.shared().config.socket;
        match self.transmit(event, args, Some(sender), flags) {
            Ok(sent) => {
                let timeout = match sent {
                    Sent::Once(_) => flags.timeout.or(config.ack_timeout),
                    // Each try has its own; this is for what is never tried.
                    Sent::Retried(_) => flags.timeout.map(|timeout| {
                        let tries = config.retries.saturating_add(1);
                        timeout.saturating_mul(tries)
                    }),
                };
                AckFuture::waiting(self.clone(), sent, receiver, timeout)
            }
            Err(error) => AckFuture::failed(error),
        }
    }

    /// Sends an event, or keeps it for later.
    fn transmit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        waiter: Option<Waiter>,
        flags: Flags,
    ) -> Result<Sent, EmitError> {
        let shared = self.shared();
        let head = self.head(event, None);
        if self.core.handlers.has_outgoing() && !is_reserved(event) {
            let args = Args::from_value(args)?;
            self.core.handlers.tell_outgoing(self, event, &args);
        }
        if shared.config.retries && !flags.volatile {
            let unsent = Unsent {
                name: event.into(),
                args: EventArgs::new(head, args)?,
            };
            let size = unsent.size();
            let ticket = self
                .inner(|inner| inner.machine.retry(unsent, waiter, size, flags.timeout))
                .map_err(|_| EmitError::QueueFull)?;
            self.try_again(shared.clock.now());
            return Ok(Sent::Retried(ticket));
        }
        encode::unfinished(head, args, |unfinished| {
            let mut inner = self.core.inner.lock();
            let machine = &mut inner.machine;
            let is_sent =
                machine.is_joined() && shared.with_state(|state| state.is_alive(&shared.clock));
            if !is_sent && flags.volatile {
                return Err(EmitError::Dropped);
            }
            let id = waiter.map(|waiter| machine.next_ack(waiter));
            let done = match is_sent {
                true => unfinished
                    .with_id(id)
                    .finish(None, |encoded| shared.push(&encoded, flags.volatile)),
                false => {
                    let unsent = Unsent {
                        name: event.into(),
                        args: unfinished.to_args(),
                    };
                    let size = unsent.size();
                    // The task learns that the heartbeat has stopped.
                    shared.with_state(|state| state.wake());
                    machine
                        .keep(unsent, id, size)
                        .map_err(|_| EmitError::QueueFull)
                }
            };
            if let (Err(_), Some(id)) = (&done, id) {
                machine.forget_ack(id);
            }
            done.map(|()| Sent::Once(id))
        })?
    }

    fn head<'a>(&'a self, name: &'a str, id: Option<u64>) -> EventHead<'a> {
        EventHead {
            parser: self.shared().config.parser.as_ref(),
            nsp: &self.core.nsp,
            id,
            name,
        }
    }

    /// Sends what was emitted while the namespace was away.
    pub(crate) fn send_offline(&self) {
        loop {
            let failed = {
                let mut inner = self.core.inner.lock();
                let Some((unsent, id)) = inner.machine.take_offline() else {
                    return;
                };
                let sent = self.send_kept(&unsent, id);
                sent.err().map(|error| {
                    let waiter = id.and_then(|id| inner.machine.take_waiter(id));
                    (unsent.name, waiter, error)
                })
            };
            if let Some((event, waiter, error)) = failed {
                self.shared().fail(&event, waiter, error.into());
            }
        }
    }

    /// Sends the event that is repeated until it is answered, if it is its turn.
    pub(crate) fn try_again(&self, now: Instant) {
        loop {
            let failed = {
                let mut inner = self.core.inner.lock();
                let Some((unsent, id)) = inner.machine.next_try(now) else {
                    break;
                };
                let Err(error) = self.send_kept(unsent, Some(id)) else {
                    break;
                };
                let event = unsent.name.clone();
                (event, inner.machine.take_waiter(id), error)
            };
            let (event, waiter, error) = failed;
            self.shared().fail(&event, waiter, error.into());
        }
        // The task watches the new deadline.
        self.shared().with_state(|state| state.wake());
    }

    fn send_kept(&self, unsent: &Unsent, id: Option<u64>) -> Result<(), EmitError> {
        unsent.args.encoded(self.head(&unsent.name, id), |encoded| {
            self.shared().push_kept(&encoded)
        })
    }

    pub(crate) fn control(&self, kind: PacketKind, data: &str) {
        let parser = self.shared().config.parser.as_ref();
        encode::control(
            parser,
            kind,
            &self.core.nsp,
            data,
            |encoded: Encoded<'_>| self.shared().push_control(&encoded),
        );
    }

    /// Nobody waits for the answer to an event any more.
    pub(crate) fn forget(&self, sent: Sent) {
        self.inner(|inner| match sent {
            Sent::Once(None) => {}
            Sent::Once(Some(id)) => inner.machine.forget_ack(id),
            Sent::Retried(ticket) => inner.machine.forget_retry(ticket),
        });
    }

    // --- Handlers ---

    /// Handles an event. The shapes are those of [`Handler`].
    ///
    /// Several handlers of one event all run, in the order of registration. One that panics has ended:
    /// its event stays unanswered, the panic is logged, and everything else goes on.
    ///
    /// # Panics
    ///
    /// For the names of moments, which no server can send, and for which there are methods: `connect`,
    /// `connect_error` and `disconnect`; also for `disconnecting`, `newListener` and `removeListener`.
    ///
    /// # Examples
    ///
    /// ```
    /// use socketio::client::{Client, Socket};
    ///
    /// # fn example() -> Result<(), socketio::client::BuildError> {
    /// let socket = Client::builder("http://localhost:3000").build()?;
    /// socket.on("chat message", async |socket: Socket, (from, text): (String, String)| {
    ///     println!("{from}: {text}");
    ///     socket.emit("seen", ());
    /// });
    /// socket.on("question", async |_: Socket, (a, b): (i64, i64)| a + b); // answers the server's ack
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn on<S>(&self, event: impl AsRef<str>, handler: impl Handler<Socket, S>) -> &Socket {
        self.core.handlers.on(event.as_ref(), handler);
        self
    }

    /// Handles a typed event, whose name its type carries.
    ///
    /// # Panics
    ///
    /// As [`on`](Socket::on).
    #[track_caller]
    pub fn on_event<E, S>(&self, handler: impl Handler<Socket, S>) -> &Socket
    where
        E: Event + DeserializeOwned,
    {
        self.on(E::NAME, handler)
    }

    /// Handles an event the first time it comes.
    ///
    /// # Panics
    ///
    /// As [`on`](Socket::on).
    #[track_caller]
    pub fn once<S>(&self, event: impl AsRef<str>, handler: impl Handler<Socket, S>) -> &Socket {
        self.core.handlers.once(event.as_ref(), handler);
        self
    }

    /// Removes all handlers of an event.
    #[doc(alias = "removeAllListeners")]
    pub fn off(&self, event: impl AsRef<str>) -> &Socket {
        self.core.handlers.off(event.as_ref());
        self
    }

    /// Runs for each event before its own handlers; `T` takes the event's name and its arguments, as in
    /// `(name, args): (String, Args)`.
    #[doc(alias = "onAny")]
    pub fn on_any<S>(&self, handler: impl Handler<Socket, S>) -> &Socket {
        self.core.handlers.on_any(handler);
        self
    }

    /// Like [`on_any`](Socket::on_any), before those that are there already.
    #[doc(alias = "prependAny")]
    pub fn prepend_any<S>(&self, handler: impl Handler<Socket, S>) -> &Socket {
        self.core.handlers.prepend_any(handler);
        self
    }

    /// Removes all that [`on_any`](Socket::on_any) registered.
    #[doc(alias = "offAny")]
    pub fn off_any(&self) -> &Socket {
        self.core.handlers.off_any();
        self
    }

    /// Sees each event that is emitted, acks not. The function is called on the spot; it must not
    /// block. Should it panic, the event is sent nevertheless.
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &str, &Args) + Send + Sync + 'static,
    ) -> &Socket {
        self.core.handlers.on_any_outgoing(listener);
        self
    }

    /// Removes all that [`on_any_outgoing`](Socket::on_any_outgoing) registered.
    #[doc(alias = "offAnyOutgoing")]
    pub fn off_any_outgoing(&self) -> &Socket {
        self.core.handlers.off_any_outgoing();
        self
    }

    /// Runs each time the namespace has been joined. Events that were missed or emitted in the meantime
    /// come and go before it.
    #[doc(alias = "connect")]
    pub fn on_connect<S>(&self, handler: impl Handler<Socket, S>) -> &Socket {
        self.core.handlers.on_connect(handler);
        self
    }

    /// Runs each time the namespace could not be joined.
    ///
    /// ```
    /// # use socketio::client::{Client, ConnectError, Socket};
    /// # fn example(socket: Socket) {
    /// socket.on_connect_error(async |_: Socket, error: ConnectError| {
    ///     eprintln!("{error}; {}", error.hint().unwrap_or_default());
    /// });
    /// # }
    /// ```
    #[doc(alias = "connect_error")]
    pub fn on_connect_error<F, Fut>(&self, handler: F) -> &Socket
    where
        F: FnOnce(Socket, ConnectError) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.core.handlers.on_connect_error(handler);
        self
    }

    /// Runs each time the namespace is joined no more.
    #[doc(alias = "disconnect")]
    pub fn on_disconnect<F, Fut>(&self, handler: F) -> &Socket
    where
        F: FnOnce(Socket, Disconnected) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.core.handlers.on_disconnect(handler);
        self
    }

    /// Gives all events from here on, one after the other. See [`Events`].
    pub fn events(&self) -> Events {
        Events::new(self)
    }
}

impl Endpoint for Socket {
    fn answer(&self, id: u64, answer: &(impl Serialize + ?Sized)) {
        let parser = self.shared().config.parser.as_ref();
        let sent = encode::ack(parser, &self.core.nsp, id, answer, |encoded| {
            match self.is_connected() {
                true => self.shared().push(&encoded, false),
                // An answer to another connection means nothing to this one.
                false => Ok(()),
            }
        });
        if let Err(error) | Ok(Err(error)) = sent {
            self.shared().unsent.note("ack", &error);
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.namespace())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// The next event with its options; see [`Socket::volatile`] and [`Socket::timeout`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is sent until an event is emitted"]
pub struct SocketEmit<'a> {
    socket: &'a Socket,
    flags: Flags,
}

impl<'a> SocketEmit<'a> {
    /// Drops the event instead of keeping it if it cannot be written at once.
    pub fn volatile(mut self) -> SocketEmit<'a> {
        self.flags.volatile = true;
        self
    }

    /// Bounds the wait for the answer.
    pub fn timeout(mut self, timeout: Duration) -> SocketEmit<'a> {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Sends an event; see [`Socket::emit`].
    pub fn emit(self, event: impl AsRef<str>, args: impl Serialize) -> Emit<'a> {
        self.socket.emit_with(event.as_ref(), &args, self.flags)
    }

    /// Sends a typed event; see [`Socket::emit_event`].
    pub fn emit_event<E: Event>(self, event: &E) -> Emit<'a> {
        self.socket.emit_with(E::NAME, event, self.flags)
    }

    /// Sends the event `message`; see [`Socket::send`].
    pub fn send(self, args: impl Serialize) -> Emit<'a> {
        self.emit("message", args)
    }

    /// Sends an event and gives the server's answer; see [`Socket::emit_with_ack`].
    pub fn emit_with_ack<T: DeserializeOwned>(
        self,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> AckFuture<T> {
        self.socket.ack_with(event.as_ref(), &args, self.flags)
    }
}

/// The outcome of [`Socket::connect`], which connects whether or not this is awaited.
#[derive(Debug)]
pub struct Connecting<'a> {
    receiver: oneshot::Receiver<Result<(), ConnectError>>,
    _socket: &'a Socket,
}

impl Future for Connecting<'_> {
    type Output = Result<(), ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.receiver).poll(cx));
        // The other end is only dropped with the runtime.
        let closed = || ConnectError::closed(DisconnectReason::ForcedClose, None);
        Poll::Ready(outcome.unwrap_or_else(|_| Err(closed())))
    }
}

/// The end of [`Socket::disconnect`], to be awaited.
pub struct Disconnecting(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Disconnecting {
    /// Waits for the connection of this number.
    pub(crate) fn new(shared: Arc<Shared>, link: Option<u64>) -> Disconnecting {
        Disconnecting(Box::pin(async move {
            loop {
                let notified = shared.quiet.notified();
                let mut notified = std::pin::pin!(notified);
                notified.as_mut().enable();
                if shared.with_state(|state| state.is_quiet(link)) {
                    return;
                }
                notified.await;
            }
        }))
    }
}

impl Future for Disconnecting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Disconnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disconnecting").finish_non_exhaustive()
    }
}
