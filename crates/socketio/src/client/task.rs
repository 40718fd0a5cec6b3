//! The task of one connection: it does what the machines say.
//!
//! There is one for each client, and none while a client neither is connected nor wants to be.

use socketio_proto::Printable;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socketio_proto::engine::{ClientEvent, CloseReason, Transport};
use socketio_proto::socket::{DisconnectReason, ManagerAction, ManagerEvent as Happened};
use tokio::time::Sleep;

use super::error::{self, ConnectError, Disconnected, TransportError};
use super::inbox::Inbox;
use super::link::Link;
use super::manager::ManagerEvent;
use super::shared::{Request, SessionInfo, Shared, SocketCore};

pub(crate) struct Task {
    shared: Arc<Shared>,
    inbox: Inbox,
    link: Option<Box<Link>>,
    /// Which of the transports is tried, of those that there are.
    attempt: usize,
    /// The last session had moved to WebSocket, or begun there.
    had_websocket: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// So often a turn looks at everything again, so that one busy connection starves nobody.
const ROUNDS: usize = 8;
/// The timer runs at least so often, to see that the machine has slept.
const TICK: Duration = Duration::from_secs(15);

impl Task {
    pub(crate) fn new(shared: Arc<Shared>) -> Task {
        Task {
            inbox: Inbox::new(shared.clone()),
            shared,
            link: None,
            attempt: 0,
            had_websocket: false,
            timer: None,
        }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.shared.clock.now();
        self.shared.with_state(|state| state.has_room = false);
        self.inbox.poll(cx);
        let mut progress = self.requests();
        progress |= self.actions(now);
        let awaited = self.inbox.poll_joining(cx);
        let awaited = awaited.and_then(|()| self.inbox.check_joining(now));
        let awaited = awaited.and_then(|()| self.inbox.check_attachments(now));
        if let Some(link) = &mut self.link {
            if let Err(broken) = awaited {
                link.invalid(broken);
            }
            progress |= link.poll(cx, &mut self.inbox, now);
        }
        progress |= self.time(now);
        progress |= self.settle(cx, now);
        if let Some(link) = &mut self.link {
            progress |= link.flush(cx, &self.inbox, now);
        }
        progress | self.settle(cx, now)
    }

    /// Does what handles have asked for.
    fn requests(&mut self) -> bool {
        let (mut requests, abandoned, break_off) = self.shared.with_state(|state| {
            (
                std::mem::take(&mut state.requests),
                std::mem::take(&mut state.abandoned),
                std::mem::take(&mut state.break_off),
            )
        });
        let progress = !requests.is_empty() || abandoned || break_off;
        while let Some(request) = requests.pop_front() {
            match request {
                Request::Join(core) => {
                    if self.shared.with_state(|state| state.machine.is_open()) {
                        self.inbox.join(&core);
                    }
                }
                Request::Left(core, reason) => {
                    self.inbox
                        .gone(&core, &Disconnected::new(reason, false, None));
                    self.inbox.end_streams(&core);
                }
            }
        }
        if abandoned {
            for core in self.shared.sockets() {
                self.inbox.leave(&core);
                self.inbox.end_streams(&core);
            }
            self.shared.with_state(|state| {
                state.outbox.push_barrier();
                state.machine.close();
            });
        }
        if break_off && let Some(link) = &mut self.link {
            link.engine
                .handle_transport_closed(CloseReason::ForcedClose);
        }
        progress
    }

    /// Does what the reconnecting machine says.
    fn actions(&mut self, now: Instant) -> bool {
        let mut progress = false;
        loop {
            let has_link = self.link.is_some();
            let action = self
                .shared
                .with_state(|state| match state.machine.next_action() {
                    // The one before is still being closed.
                    Some(ManagerAction::Open) if has_link => None,
                    _ => state.machine.poll_action(),
                });
            match action {
                None => return progress,
                Some(ManagerAction::Open) => self.open(now),
                Some(ManagerAction::Close) => {
                    if let Some(link) = &mut self.link {
                        link.retired = true;
                        link.engine.close(now);
                    }
                }
                Some(ManagerAction::Abort) => {
                    let awaited = self.link.take().map(|link| link.awaited());
                    self.shared.with_state(|state| state.set_linked(false));
                    let limit = self
                        .shared
                        .with_state(|state| state.machine.config().timeout);
                    let awaited = awaited.unwrap_or("the session was not opened");
                    self.open_failed(&ConnectError::timeout(awaited, limit), now);
                }
            }
            progress = true;
        }
    }

    fn open(&mut self, now: Instant) {
        let config = &self.shared.config;
        let transports = &config.transports;
        let remembers = config.remember_upgrade && self.had_websocket;
        let transport = match remembers && transports.contains(&Transport::WebSocket) {
            true => Transport::WebSocket,
            false => transports[self.attempt.min(transports.len() - 1)],
        };
        self.inbox.reset();
        self.shared.with_state(|state| {
            state.outbox.clear();
            state.set_linked(true);
        });
        self.link = Some(Box::new(Link::open(&self.shared, transport, now)));
    }

    /// Does what is due.
    fn time(&mut self, now: Instant) -> bool {
        let happened = self.shared.with_state(|state| {
            let due = state.machine.poll_timeout().is_some_and(|due| due <= now);
            state.machine.handle_timeout(now);
            due
        });
        if self.shared.config.retries {
            for core in self.shared.sockets() {
                let given_up = core.inner.lock().machine.handle_timeout(now);
                self.inbox.give_up(given_up);
                if let Some(socket) = self.shared.socket(&core) {
                    socket.try_again(now);
                }
            }
        }
        if let Some(link) = &mut self.link {
            link.engine.handle_timeout(now);
        }
        self.tell_happened();
        happened
    }

    /// Does what the session's machine says, and tells what has become of the session.
    fn settle(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut progress = false;
        while let Some(link) = &mut self.link {
            // An event may tell what a request needs: the session's id.
            if let Some(event) = link.engine.poll_event() {
                self.event(event, cx, now);
            } else if let Some(transmit) = link.engine.poll_transmit() {
                link.transmit(transmit);
            } else {
                let can_write = link.engine.can_write();
                self.shared
                    .with_state(|state| state.outbox.open = can_write);
                break;
            }
            progress = true;
        }
        progress
    }

    fn event(&mut self, event: ClientEvent, cx: &mut Context<'_>, now: Instant) {
        let Some(link) = &mut self.link else { return };
        match event {
            ClientEvent::Open(data) => {
                link.set_sid(&data.sid);
                self.attempt = 0;
                self.had_websocket = link.engine.transport() == Transport::WebSocket;
                let session = SessionInfo {
                    transport: link.engine.transport(),
                    // 0 is what servers say that do not know it.
                    max_payload: data.max_payload.filter(|&max| max > 0),
                };
                self.shared.with_state(|state| {
                    state.session = Some(session);
                    state.outbox.open = true;
                    state.machine.handle_opened();
                });
                self.shared.tell(&ManagerEvent::Open);
                self.tell_happened();
                for core in self.shared.sockets() {
                    let wanted = core.inner.lock().machine.is_active();
                    if wanted {
                        self.inbox.join(&core);
                    }
                }
                if let Err(broken) = self.inbox.opened(data.sid, data.ping_timeout)
                    && let Some(link) = &mut self.link
                {
                    link.invalid(broken);
                }
            }
            ClientEvent::Ping => self.shared.tell(&ManagerEvent::Ping),
            ClientEvent::Upgraded(transport) => {
                self.had_websocket = true;
                self.shared.with_state(|state| {
                    if let Some(session) = &mut state.session {
                        session.transport = transport;
                    }
                });
                self.shared.tell(&ManagerEvent::Upgraded(transport));
            }
            ClientEvent::UpgradeFailed(detail) => {
                tracing::debug!(detail = %Printable::new(&detail), "the upgrade failed; the session goes on with polling");
                self.shared
                    .tell(&ManagerEvent::UpgradeFailed(detail.into_owned()));
            }
            ClientEvent::Closed {
                reason,
                message,
                detail,
            } => {
                if let Some(mut link) = self.link.take() {
                    let is_told = !message.is_empty() || detail.is_some();
                    let message = match message {
                        "" => reason.as_str(),
                        message => message,
                    };
                    let found = || {
                        let error = TransportError::found(message, detail);
                        match &link.came {
                            Some(came) if message == "server error" => error.because_of(came),
                            _ => error,
                        }
                    };
                    let failure = link.failure.take();
                    let failure = failure.or_else(|| is_told.then(found));
                    self.closed(*link, reason, failure, cx, now);
                }
            }
        }
    }

    fn closed(
        &mut self,
        mut link: Link,
        reason: CloseReason,
        failure: Option<TransportError>,
        cx: &mut Context<'_>,
        now: Instant,
    ) {
        let (retired, join_failure) = (link.retired, link.join_failure.take());
        link.farewell(cx);
        let (was_open, is_unwanted) = self.shared.with_state(|state| {
            state.session = None;
            state.set_linked(false);
            let unwritten = state.outbox.frames().count();
            if unwritten > 0 || state.outbox.in_flight > 0 {
                tracing::warn!(
                    unwritten,
                    bytes_in_flight = state.outbox.in_flight,
                    "the connection ended before everything was written"
                );
            }
            state.outbox.clear();
            (state.machine.is_open(), state.machine.is_closed())
        });
        self.shared.quiet.notify_waiters();
        if retired || is_unwanted {
            // What then breaks concerns nobody; what was not written does.
            let lost = failure.filter(|error| error.message == reason.as_str());
            let gone = Disconnected::new(DisconnectReason::ForcedClose, false, lost.as_ref());
            return self.shared.tell(&ManagerEvent::Closed(gone));
        }
        if was_open {
            return self.lost(error::reason(reason), failure.as_ref(), join_failure, now);
        }
        let failure = failure.unwrap_or_else(|| TransportError::ended(reason));
        if self.shared.config.try_all_transports
            && self.attempt + 1 < self.shared.config.transports.len()
        {
            self.attempt += 1;
            return self.open(now);
        }
        self.open_failed(&failure.into(), now);
    }

    /// The connection is lost.
    fn lost(
        &mut self,
        reason: DisconnectReason,
        failure: Option<&TransportError>,
        join_failure: Option<ConnectError>,
        now: Instant,
    ) {
        let again = self.shared.with_state(|state| {
            state.machine.handle_lost(now, rand::random());
            !state.machine.is_closed()
        });
        let gone = Disconnected::new(reason, again, failure);
        tracing::debug!(gone = %Printable::new(&gone), "the connection is lost");
        self.shared.tell(&ManagerEvent::Closed(gone.clone()));
        for core in self.shared.sockets() {
            let (was_active, lost) = {
                let machine = &mut core.inner.lock().machine;
                let was_active = machine.is_active();
                let lost = match again {
                    true => machine.handle_lost(),
                    false => machine.deactivate(),
                };
                (was_active, lost)
            };
            drop(lost.waiters);
            self.inbox.give_up(lost.given_up);
            if lost.was_joined {
                self.inbox.gone(&core, &gone);
            } else if was_active {
                let closed = || ConnectError::closed(reason, failure);
                let error = join_failure.clone().unwrap_or_else(closed);
                self.inbox.connect_error(&core, &error);
            }
            if !again {
                self.inbox.end_streams(&core);
            }
        }
        self.tell_happened();
    }

    /// The connection could not be opened.
    fn open_failed(&mut self, error: &ConnectError, now: Instant) {
        // As in the reference, an error makes the next attempt begin with the first transport.
        self.attempt = 0;
        self.had_websocket = false;
        let again = self.shared.with_state(|state| {
            state.machine.handle_open_failed(now, rand::random());
            !state.machine.is_closed()
        });
        tracing::debug!(error = %Printable::new(&error), "the connection could not be opened");
        for core in self.shared.sockets() {
            if !core.inner.lock().machine.is_active() {
                continue;
            }
            if !again {
                self.inbox.leave(&core);
            }
            self.inbox.connect_error(&core, error);
            if !again {
                self.inbox.end_streams(&core);
            }
        }
        self.shared.tell(&ManagerEvent::Error(error.clone()));
        self.tell_happened();
    }

    fn tell_happened(&self) {
        while let Some(happened) = self.shared.with_state(|state| state.machine.poll_event()) {
            self.shared.tell(&match happened {
                Happened::ReconnectAttempt(attempt) => ManagerEvent::ReconnectAttempt(attempt),
                Happened::Reconnected(attempts) => ManagerEvent::Reconnected(attempts),
                Happened::ReconnectError => ManagerEvent::ReconnectError,
                Happened::ReconnectFailed => ManagerEvent::ReconnectFailed,
            });
        }
    }

    /// When there is something to do, whatever comes.
    fn deadline(&self) -> Option<Instant> {
        let machine = self.shared.with_state(|state| state.machine.poll_timeout());
        let link = self.link.as_ref();
        let session = link.and_then(|link| link.engine.poll_timeout());
        let joining = link.and_then(|_| self.inbox.join_due());
        let attachments = link.and_then(|_| self.inbox.attachments_due());
        let tries = match self.shared.config.retries {
            true => {
                let sockets = self.shared.sockets();
                let due = |core: &Arc<SocketCore>| core.inner.lock().machine.poll_timeout();
                sockets.iter().filter_map(due).min()
            }
            false => None,
        };
        [machine, session, joining, attachments, tries]
            .into_iter()
            .flatten()
            .min()
    }

    /// Sets the timer; true if it is over already.
    fn sleep(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>, now: Instant) -> bool {
        let Some(deadline) = deadline else {
            self.timer = None;
            return false;
        };
        let pause = deadline.saturating_duration_since(now).min(TICK);
        let until = tokio::time::Instant::now() + pause;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        timer.as_mut().reset(until);
        timer.as_mut().poll(cx).is_ready()
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.begin_turn();
        for _ in 0..ROUNDS {
            if this.round(cx) {
                continue;
            }
            if this.link.is_none() && this.inbox.is_idle() && this.shared.end_task() {
                this.shared.quiet.notify_waiters();
                return Poll::Ready(());
            }
            let deadline = this.deadline();
            let expires = this.link.as_ref().and_then(|link| link.engine.expires());
            let now = this.shared.clock.now();
            if !this.sleep(cx, deadline, now) && this.shared.end_turn(cx.waker(), expires) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Task {
    /// The runtime is shutting down: nobody is to wait for ever.
    fn drop(&mut self) {
        for core in self.shared.sockets() {
            let lost = take_waiting(&core);
            drop(lost);
        }
        self.shared.quiet.notify_waiters();
    }
}

fn take_waiting(core: &SocketCore) -> impl Sized {
    let mut inner = core.inner.lock();
    (
        inner.machine.deactivate(),
        std::mem::take(&mut inner.connecting),
    )
}
