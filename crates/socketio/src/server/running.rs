//! Running handlers: started in place in the order of events, then side by side.
//!
//! A handler is called and polled once on the spot. If it is not done, it joins the connection's
//! own set of running handlers, which the connection's task polls; no task is spawned per event.
//! A panic ends that one handler.

use socketio_proto::Printable;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use tracing::Instrument;

use socketio_proto::socket::DisconnectReason;

use super::handlers::{INTERNAL_ERROR, List, Moment};
use super::session::Session;
use super::socket::Socket;
use crate::application::Callback;
use crate::args::Args;
use crate::handler::{Call, HandlerFuture, Registered};

/// The handlers of one connection which have started and not ended.
#[derive(Default)]
pub(crate) struct Running(Option<Box<FuturesUnordered<Guarded>>>);

/// A handler that goes on. It is counted by its session, and a panic ends only itself.
struct Guarded {
    future: Option<HandlerFuture>,
    session: Arc<Session>,
    callback: Callback,
}

impl Running {
    /// Makes a future and starts it: polls it once and keeps it if it is not done.
    pub(crate) fn start(
        &mut self,
        session: &Arc<Session>,
        callback: Callback,
        make: impl FnOnce() -> Option<HandlerFuture>,
    ) {
        let mut cx = Context::from_waker(Waker::noop());
        let started = session.shared().application().call(callback, || {
            let mut future = make()?;
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(()) => None,
                Poll::Pending => Some(future),
            }
        });
        if let Ok(Some(future)) = started {
            self.keep(session, callback, future);
        }
    }

    fn keep(&mut self, session: &Arc<Session>, callback: Callback, future: HandlerFuture) {
        session.handler_started();
        let guarded = Guarded {
            future: Some(future),
            session: session.clone(),
            callback,
        };
        self.0.get_or_insert_default().push(guarded);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Polls all that want it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(set) = &mut self.0 else {
            return Poll::Ready(());
        };
        loop {
            match Pin::new(&mut **set).poll_next(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => {
                    self.0 = None;
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Goes on in a task of its own, where the connection has none that could.
    pub(crate) fn detach(self, session: &Arc<Session>) {
        self.detach_with(session, ());
    }

    /// Goes on in a task of its own, which holds something until the last handler has ended.
    fn detach_with(mut self, session: &Arc<Session>, held: impl Send + 'static) {
        if !self.is_empty() {
            session.shared().spawn(async move {
                let _held = held;
                std::future::poll_fn(|cx| {
                    let _turn = super::turn::begin();
                    self.poll(cx)
                })
                .await;
            });
        }
    }
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let application = this.session.shared().application();
        // What panics has ended, too.
        application
            .poll(this.callback, &mut this.future, cx)
            .map(|_| ())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.session.shared().application().discard(future);
        }
        self.session.handler_ended();
    }
}

/// Hands one event to its handlers.
pub(crate) fn event(
    socket: &Socket,
    name: &str,
    args: &str,
    attachments: Vec<Bytes>,
    ack: Option<u64>,
    running: &mut Running,
) {
    let shared = socket.0.namespace.handlers();
    let own = socket.own_handlers();
    if shared.is_sequential() {
        let call = OwnedCall {
            name: name.into(),
            args: args.into(),
            attachments,
            ack,
        };
        if let Some(call) = socket.with_sequence(|sequence| sequence.admit(call)) {
            running.start(&socket.0.session, Callback::Handler, || {
                Some(Box::pin(in_sequence(socket.clone(), call)))
            });
        } else {
            socket.0.session.handler_started();
        }
        return;
    }
    if shared.has_waiting_middleware() || own.is_some_and(|own| own.has_waiting_middleware()) {
        let call = OwnedCall {
            name: name.into(),
            args: args.into(),
            attachments,
            ack,
        };
        let socket = socket.clone();
        let session = socket.0.session.clone();
        running.start(&session, Callback::Handler, || {
            Some(Box::pin(async move { run_to_end(&socket, &call).await }))
        });
        return;
    }
    let call = Call {
        socket,
        event: name,
        args,
        attachments: &attachments,
        ack,
        is_auth: false,
    };
    if !passes(&call, running) {
        return;
    }
    let (first, second) = (shared.event(name), own.and_then(|own| own.event(name)));
    if first.is_none() && second.is_none() {
        socket
            .0
            .session
            .shared()
            .unhandled(socket.0.namespace.name(), name);
        return;
    }
    for list in [first, second].into_iter().flatten() {
        start_list(&list, call, running);
    }
}

/// Tells the catch-all handlers and asks the middlewares; false drops the event.
fn passes(call: &Call<'_, Socket>, running: &mut Running) -> bool {
    let tables = [
        Some(call.socket.0.namespace.handlers()),
        call.socket.own_handlers(),
    ];
    for handlers in tables.into_iter().flatten() {
        let any = handlers.moment(Moment::Any);
        if !any.is_empty() {
            let args = with_name(call.event, call.args);
            start_list(
                &any,
                Call {
                    args: &args,
                    ack: None,
                    ..*call
                },
                running,
            );
        }
    }
    for handlers in tables.into_iter().flatten() {
        if handlers.has_event_middleware() {
            let args = Args::new(call.args, call.attachments.to_vec());
            if let Err(message) = handlers.check_event(call.socket, call.event, &args) {
                error(call.socket, &message, running);
                return false;
            }
        }
    }
    true
}

/// The arguments with the event's name in front.
fn with_name(name: &str, args: &str) -> String {
    let mut text = Vec::with_capacity(name.len() + args.len() + 3);
    socketio_proto::socket::write_json_string(&mut text, name);
    if !args.is_empty() {
        text.push(b',');
        text.extend_from_slice(args.as_bytes());
    }
    String::from_utf8(text).expect("made of strings")
}

/// Tells a socket's `on_error` handlers.
pub(crate) fn error(socket: &Socket, message: &str, running: &mut Running) {
    let args = serde_json::Value::from(message).to_string();
    lifecycle(socket, Moment::Error, &args, running);
}

/// Runs the handlers of a moment in the socket's life.
pub(crate) fn lifecycle(socket: &Socket, moment: Moment, args: &str, running: &mut Running) {
    let event = match moment {
        Moment::Any => "*",
        Moment::Disconnect => "disconnect",
        Moment::Disconnecting => "disconnecting",
        Moment::Error => "error",
        Moment::Expiring => "expiring",
    };
    let call = Call {
        socket,
        event,
        args,
        attachments: &[],
        ack: None,
        is_auth: false,
    };
    start_list(&socket.0.namespace.handlers().moment(moment), call, running);
    if let Some(own) = socket.own_handlers() {
        start_list(&own.moment(moment), call, running);
    }
}

fn start_list(list: &[Registered<Socket>], call: Call<'_, Socket>, running: &mut Running) {
    for registered in list {
        if registered.take_turn() {
            let session = &call.socket.0.session;
            running.start(session, Callback::Handler, || prepare(registered, call));
        }
    }
}

/// Decodes the arguments and makes the handler's future.
fn prepare(registered: &Registered<Socket>, call: Call<'_, Socket>) -> Option<HandlerFuture> {
    match (registered.handler)(call) {
        Ok(future) => Some(in_span(call.socket, call.event, future)),
        Err(error) => {
            let shared = call.socket.0.session.shared();
            shared.undecodable(call.socket, call.event, &error);
            None
        }
    }
}

/// Runs a handler in the span of its event, where anybody looks at that.
pub(crate) fn in_span(socket: &Socket, event: &str, future: HandlerFuture) -> HandlerFuture {
    let span = tracing::trace_span!(
        "event",
        namespace = Printable::new(socket.0.namespace.name()).to_string(),
        event = Printable::new(event).to_string(),
        socket = %socket.id()
    );
    match span.is_disabled() {
        true => future,
        false => Box::pin(future.instrument(span)),
    }
}

/// An event that waits for its turn.
pub(crate) struct OwnedCall {
    name: Box<str>,
    args: Box<str>,
    attachments: Vec<Bytes>,
    ack: Option<u64>,
}

/// A socket's events in a sequential namespace: one runs, the others wait. How many may wait is
/// bounded with the running handlers of the connection. Those that wait when the client leaves were
/// read before, and are handled; only when the application has sent it away, they are dropped.
#[derive(Default)]
pub(crate) struct Sequence {
    busy: bool,
    waiting: VecDeque<OwnedCall>,
}

impl Sequence {
    /// Gives the call back if it may run now.
    fn admit(&mut self, call: OwnedCall) -> Option<OwnedCall> {
        if self.busy {
            self.waiting.push_back(call);
            return None;
        }
        self.busy = true;
        Some(call)
    }

    fn next(&mut self) -> Option<OwnedCall> {
        let next = self.waiting.pop_front();
        self.busy = next.is_some();
        next
    }
}

async fn in_sequence(socket: Socket, first: OwnedCall) {
    let mut next = Some(first);
    while let Some(owned) = next {
        run_to_end(&socket, &owned).await;
        next = socket.with_sequence(Sequence::next);
        if next.is_some() {
            socket.0.session.handler_ended();
        }
    }
}

async fn run_to_end(socket: &Socket, owned: &OwnedCall) {
    let mut running = Running::default();
    let call = Call {
        socket,
        event: &owned.name,
        args: &owned.args,
        attachments: &owned.attachments,
        ack: owned.ack,
        is_auth: false,
    };
    let shared = socket.0.session.shared();
    let has_passed = !socket.was_sent_away()
        && passes(&call, &mut running)
        && waits_and_passes(&call, &mut running).await;
    if socket.was_sent_away() {
        shared.counters().dropped_after_leaving();
    } else if has_passed {
        if !socket.is_connected() {
            shared.counters().events_after_leaving();
        }
        let tables = [Some(socket.0.namespace.handlers()), socket.own_handlers()];
        let lists = tables.into_iter().flatten();
        let lists: Vec<List> = lists.filter_map(|h| h.event(&owned.name)).collect();
        if lists.is_empty() {
            shared.unhandled(socket.0.namespace.name(), &owned.name);
        }
        for list in lists {
            start_list(&list, call, &mut running);
        }
    }
    std::future::poll_fn(|cx| running.poll(cx)).await;
}

/// Asks the middlewares that may wait; false drops the event.
async fn waits_and_passes(call: &Call<'_, Socket>, running: &mut Running) -> bool {
    let tables = [
        Some(call.socket.0.namespace.handlers()),
        call.socket.own_handlers(),
    ];
    for handlers in tables.into_iter().flatten() {
        for middleware in handlers.waiting_middlewares() {
            let args = Args::new(call.args, call.attachments.to_vec());
            let ask = || middleware(call.socket.clone(), call.event.to_owned(), args);
            let application = call.socket.0.session.shared().application();
            let asked = application.run(Callback::EventMiddleware, ask).await;
            if let Err(message) = asked.unwrap_or_else(|_| Err(INTERNAL_ERROR.to_owned())) {
                error(call.socket, &message, running);
                return false;
            }
        }
    }
    true
}

/// Takes a socket out of its namespace, with its handlers before and after; between them its life
/// there is ended.
pub(crate) fn leave(
    socket: &Socket,
    reason: DisconnectReason,
    description: Option<&str>,
    end: impl FnOnce(),
) {
    let namespace = &socket.0.namespace;
    let mut args = serde_json::Value::from(reason.as_str()).to_string();
    if let Some(description) = description {
        args.push(',');
        args.push_str(&serde_json::Value::from(description).to_string());
    }
    let mut running = Running::default();
    lifecycle(socket, Moment::Disconnecting, &args, &mut running);
    end();
    namespace.remove(socket);
    lifecycle(socket, Moment::Disconnect, &args, &mut running);
    let session = &socket.0.session;
    if !running.is_empty() {
        // A server that shuts down waits for them.
        running.detach_with(session, session.shared().unfinished());
    }
    socket.forget();
}
