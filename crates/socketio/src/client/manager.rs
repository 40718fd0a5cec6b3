//! The connection, which several namespaces can share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use socketio_proto::engine::Transport;
use socketio_proto::socket::{ClientSocket, ReconnectConfig};

use super::auth::Auth;
use super::error::{BuildError, ConnectError, Disconnected};
use super::handlers::Handlers;
use super::shared::{Guard, Inner, SocketCore};
use super::socket::{Disconnecting, Socket};
use crate::duration;
use crate::handler::Handler;

/// The connection to a server, which several namespaces can share.
///
/// A handle: cheap to clone, and it keeps the connection as a [`Socket`] does.
///
/// # Examples
///
/// ```no_run
/// # use serde_json::json;
/// # use socketio::Client;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let chat = Client::connect("http://localhost:3000/chat").await?;
/// let admin = chat.manager().socket("/admin").auth(json!({ "token": "t" })).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Manager {
    guard: Arc<Guard>,
}

/// What happens to a connection; see [`Manager::on`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ManagerEvent {
    /// The connection is open.
    Open,
    /// The server has asked whether the client is there, and was answered.
    Ping,
    /// The connection has moved to another transport.
    Upgraded(Transport),
    /// The other transport did not work; the connection stays as it is.
    UpgradeFailed(String),
    /// The connection could not be opened.
    Error(ConnectError),
    /// The connection is lost, or closed.
    Closed(Disconnected),
    /// It is about to be opened again, for the given time.
    ReconnectAttempt(u32),
    /// It is open again, after so many attempts.
    Reconnected(u32),
    /// An attempt has failed.
    ReconnectError,
    /// All attempts have failed.
    ReconnectFailed,
}

/// What a client has counted since it was made; see [`Manager::stats`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls of the application's code (handlers, listeners, what provides `auth`, the parser, the `Drop`
    /// of what it has given) that have ended in a panic.
    pub panics: u64,
    /// Calls of the application's code that have blocked their thread for a second.
    pub blocked_callbacks: u64,
}

impl Manager {
    pub(crate) fn new(guard: Arc<Guard>) -> Manager {
        Manager { guard }
    }

    /// Makes a socket for a further namespace of the same connection, or gives the one that there is.
    pub fn socket(&self, namespace: impl Into<String>) -> SocketBuilder {
        SocketBuilder {
            manager: self.clone(),
            namespace: namespace.into(),
            auth: Ok(Auth::None),
            handlers: Handlers::new(&self.guard.0.application),
        }
    }

    /// The transport of the open connection.
    #[doc(alias = "engine")]
    pub fn transport(&self) -> Option<Transport> {
        self.guard
            .0
            .with_state(|state| state.session.as_ref().map(|session| session.transport))
    }

    /// The subprotocol that the server has chosen for the open WebSocket, of those that were offered
    /// with [`subprotocols`](crate::client::ClientBuilder::subprotocols).
    pub fn subprotocol(&self) -> Option<String> {
        self.guard.0.with_state(|state| {
            let session = state.session.as_ref()?;
            let chosen = state
                .subprotocol
                .as_deref()
                .filter(|chosen| !chosen.is_empty());
            chosen
                .filter(|_| session.transport == Transport::WebSocket)
                .map(str::to_owned)
        })
    }

    /// Calls a function for each thing that happens to the connection, on the spot; it must not block.
    /// Should it panic, that is logged, and the connection goes on.
    pub fn on(&self, listener: impl Fn(&ManagerEvent) + Send + Sync + 'static) -> &Manager {
        let listener = self.guard.0.application.hold(listener);
        let listener = move |event: &ManagerEvent| (*listener)(event);
        self.guard.0.listen(Arc::new(listener));
        self
    }

    /// What the client has counted.
    pub fn stats(&self) -> Stats {
        let application = &self.guard.0.application;
        Stats {
            panics: application.panics(),
            blocked_callbacks: application.blocked(),
        }
    }

    /// Breaks the connection off as if it had been lost, so that it is opened again: for tests of what
    /// happens then.
    #[doc(alias = "engine.close")]
    pub fn break_off(&self) {
        self.guard.0.with_state(|state| {
            state.break_off = true;
            state.wake();
        });
    }

    /// Leaves all namespaces and closes the connection.
    ///
    /// It acts at once. Awaited, it waits until what was emitted has been written and the connection is
    /// closed, for as long as [`Socket::disconnect`].
    pub fn close(&self) -> Disconnecting {
        let shared = &self.guard.0;
        let link = shared.with_state(|state| state.link());
        for core in shared.sockets() {
            drop(Socket::new(core, self.guard.clone()).disconnect());
        }
        Disconnecting::new(shared.clone(), link)
    }

    /// How many events could not be sent without anybody being told: those that were refused and not
    /// awaited, those that had waited for a connection and that the server would not have taken, and
    /// those whose last try was not answered. The log has a line for the first, and one each 10 s while
    /// there are more.
    pub fn unsent_events(&self) -> u64 {
        self.guard.0.unsent.count()
    }

    fn reconnect(&self, change: impl FnOnce(&mut ReconnectConfig)) {
        self.guard.0.with_state(|state| {
            let mut config = *state.machine.config();
            change(&mut config);
            state.machine.set_config(config);
        });
    }

    /// Turns connecting again on or off.
    #[doc(alias = "reconnection")]
    pub fn set_reconnection(&self, enabled: bool) {
        self.reconnect(|config| config.enabled = enabled);
    }

    /// Sets after how many attempts it gives up; 0 is never.
    #[doc(alias = "reconnectionAttempts")]
    pub fn set_reconnection_attempts(&self, attempts: u32) {
        self.reconnect(|config| config.attempts = Some(attempts).filter(|&attempts| attempts > 0));
    }

    /// Sets the first pause, from the next one on; at most 365 days.
    #[doc(alias = "reconnectionDelay")]
    pub fn set_reconnection_delay(&self, delay: Duration) {
        self.reconnect(|config| config.delay = duration::capped(delay));
    }

    /// Sets the longest pause, from the next one on; at most 365 days.
    #[doc(alias = "reconnectionDelayMax")]
    pub fn set_reconnection_delay_max(&self, delay: Duration) {
        self.reconnect(|config| config.delay_max = duration::capped(delay));
    }

    /// Sets which part of a pause is random, from the next one on.
    #[doc(alias = "randomizationFactor")]
    pub fn set_randomization_factor(&self, factor: f64) {
        self.reconnect(|config| config.randomization_factor = factor.clamp(0.0, 1.0));
    }

    /// Bounds an attempt to connect, and then the joining of each namespace, from the next one on; at
    /// most 365 days.
    pub fn set_timeout(&self, timeout: Duration) {
        self.reconnect(|config| config.timeout = Some(duration::capped(timeout)));
    }

    pub(crate) fn add(
        &self,
        namespace: &str,
        auth: Auth,
        handlers: Handlers,
    ) -> Result<Socket, BuildError> {
        let mut nsp = namespace.to_owned();
        if !nsp.starts_with('/') {
            nsp.insert(0, '/');
        }
        let shared = &self.guard.0;
        auth.check(shared.config.version, &nsp)?;
        let core = shared.with_state(|state| {
            if let Some(core) = state.sockets.iter().find(|core| *core.nsp == *nsp) {
                return core.clone();
            }
            let core = Arc::new(SocketCore {
                nsp: nsp.into(),
                auth: Mutex::new(auth),
                handlers,
                inner: Mutex::new(Inner {
                    machine: ClientSocket::new(shared.config.socket),
                    connecting: Vec::new(),
                    streams: Vec::new(),
                }),
            });
            state.sockets.push(core.clone());
            core
        });
        Ok(Socket::new(core, self.guard.clone()))
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}

/// A further namespace of a connection; made by [`Manager::socket`].
///
/// The options are of no effect if the connection has a socket for the namespace already.
#[derive(Debug)]
#[must_use = "a builder does nothing until `connect` or `build` is called"]
pub struct SocketBuilder {
    manager: Manager,
    namespace: String,
    auth: Result<Auth, BuildError>,
    handlers: Handlers,
}

impl SocketBuilder {
    /// Sets what the server's middlewares get as `auth`: a JSON object.
    pub fn auth(mut self, auth: impl Serialize) -> SocketBuilder {
        self.auth = Auth::value(&auth);
        self
    }

    /// Sets what gives `auth`; see [`ClientBuilder::auth_with`](super::ClientBuilder::auth_with).
    pub fn auth_with<F, Fut, T, E>(mut self, provider: F) -> SocketBuilder
    where
        F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        let application = &self.manager.guard.0.application;
        self.auth = Ok(Auth::provider(provider, application));
        self
    }

    /// Handles an event, from the first on that the server sends. See [`Socket::on`].
    ///
    /// # Panics
    ///
    /// As [`Socket::on`].
    #[track_caller]
    pub fn on<S>(self, event: impl AsRef<str>, handler: impl Handler<Socket, S>) -> SocketBuilder {
        self.handlers.on(event.as_ref(), handler);
        self
    }

    /// Makes the socket without joining the namespace.
    ///
    /// # Errors
    ///
    /// When `auth` cannot be used.
    pub fn build(self) -> Result<Socket, BuildError> {
        self.manager.add(&self.namespace, self.auth?, self.handlers)
    }

    /// Joins the namespace; resolves when that is done.
    ///
    /// # Errors
    ///
    /// Why it was not joined.
    pub async fn connect(self) -> Result<Socket, ConnectError> {
        let socket = self.build()?;
        socket.connect().await?;
        Ok(socket)
    }
}
