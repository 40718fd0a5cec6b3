//! How a client joins a namespace: found or made, asked of the middlewares, announced.

use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use socketio_proto::engine::Revision;
use socketio_proto::socket::PacketKind;

use super::broadcast::Flags;
use super::ending::Close;
use super::handlers::{Handlers, INTERNAL_ERROR};
use super::middleware::ErasedMiddleware;
use super::namespace::{NamespaceInner, Namespaces};
use super::recovery::{self, Claim, Finished, Memory, NotRecovered, Recoveries, Return};
use super::running::{Running, in_span};
use super::session::Session;
use super::socket::Socket;
use crate::application::Callback;
use crate::args::DecodeError;
use crate::encode;
use crate::error::ConnectError;
use crate::handler::{Call, PreparedHandler};
use crate::id::{Pid, SocketId};

/// Answers a CONNECT packet, at once where nothing has to be waited for.
pub(crate) fn connect(session: &Arc<Session>, nsp: &str, auth: &str, running: &mut Running) {
    let shared = session.shared();
    let Some(auth) = Auth::keep(session, auth) else {
        shared.counters().large_auths();
        return refuse(session, nsp, &ConnectError::new("auth too large"));
    };
    if let Some(namespace) = shared.namespaces().enter(nsp) {
        join(session, namespace, auth, running);
    } else if shared.namespaces().has_parents() {
        let (joining, name) = (session.clone(), nsp.to_owned());
        let join_dynamic = async move {
            let session = joining;
            let shared = session.shared().clone();
            match Namespaces::enter_dynamic(shared, name.clone(), auth.to_string()).await {
                Some(namespace) => {
                    let mut running = Running::default();
                    join(&session, namespace, auth, &mut running);
                    std::future::poll_fn(|cx| running.poll(cx)).await;
                }
                None => refuse(&session, &name, &ConnectError::new("Invalid namespace")),
            }
        };
        running.start(session, Callback::NamespacePredicate, || {
            Some(Box::pin(join_dynamic))
        });
    } else {
        refuse(session, nsp, &ConnectError::new("Invalid namespace"));
    }
}

/// The `auth` of one CONNECT. It counts for its session for as long as it is kept, here or by the socket.
pub(crate) struct Auth {
    text: Box<str>,
    session: Arc<Session>,
}

impl Auth {
    /// `None` if the client has too much of it kept already.
    fn keep(session: &Arc<Session>, text: &str) -> Option<Auth> {
        session.keep_auth(text.len()).then(|| Auth {
            text: text.into(),
            session: session.clone(),
        })
    }

    /// Gives the text to the socket, which says when it goes.
    pub(crate) fn into_text(mut self) -> Box<str> {
        std::mem::take(&mut self.text)
    }
}

impl Deref for Auth {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl Drop for Auth {
    fn drop(&mut self) {
        self.session.forget_auth(self.text.len());
    }
}

/// A client that has come back.
enum Back {
    Here(Claim),
    /// To one of several servers.
    Anywhere(Return),
}

fn join(session: &Arc<Session>, namespace: Arc<NamespaceInner>, auth: Auth, running: &mut Running) {
    if session.dialect().revision == Revision::V3 {
        return enter(session, namespace, auth, None, running);
    }
    match namespace.local().recoveries().cloned() {
        None => enter(session, namespace, auth, None, running),
        Some(Recoveries::Log(log)) => {
            let claim = log.claim(&auth).map(|claim| counted(session, claim));
            let back = claim.and_then(Result::ok).map(Back::Here);
            enter(session, namespace, auth, back, running)
        }
        Some(Recoveries::Returns(returns)) => {
            let Some((pid, offset)) = recovery::proof(&auth) else {
                return enter(session, namespace, auth, None, running);
            };
            let joining = session.clone();
            let look_up = async move {
                let session = joining;
                let claim = returns.claim(&namespace, &pid, offset.as_deref()).await;
                let back = match counted(&session, claim) {
                    Ok(claim) => Some(Back::Anywhere(claim)),
                    Err(NotRecovered::Later) => {
                        namespace.not_entered();
                        return session.close(Close::FORCED);
                    }
                    Err(NotRecovered::Offset | NotRecovered::Unknown) => None,
                };
                let mut running = Running::default();
                enter(&session, namespace, auth, back, &mut running);
                std::future::poll_fn(|cx| running.poll(cx)).await;
            };
            running.start(session, Callback::Store, || Some(Box::pin(look_up)));
        }
    }
}

/// Makes the socket and asks the middlewares.
fn enter(
    session: &Arc<Session>,
    namespace: Arc<NamespaceInner>,
    auth: Auth,
    back: Option<Back>,
    running: &mut Running,
) {
    let revision = session.dialect().revision;
    let memory = back.as_ref().map(|back| match back {
        Back::Here(claim) => Memory::Trail(claim.trail().clone()),
        Back::Anywhere(claim) => Memory::Kept(claim.client().clone()),
    });
    let socket = match memory {
        Some(memory) => Socket::recovered(memory, namespace.clone(), session.clone(), auth),
        None => {
            let id = match (revision, namespace.name()) {
                (Revision::V4, _) => SocketId::generate(),
                (Revision::V3, "/") => SocketId::from(session.id().as_str()),
                (Revision::V3, name) => SocketId::from(format!("{name}#{}", session.id())),
            };
            Socket::new(id, namespace.clone(), session.clone(), auth)
        }
    };
    namespace.local().insert(&socket);
    let mut middlewares = namespace.handlers().middlewares();
    let skips_middlewares = match &back {
        Some(Back::Here(claim)) => claim.skips_middlewares(),
        Some(Back::Anywhere(claim)) => claim.skips_middlewares(),
        None => false,
    };
    if skips_middlewares {
        middlewares.clear();
    }
    if middlewares.is_empty() {
        return joined(&socket, back, running);
    }
    let ask = async move {
        for middleware in middlewares {
            if let Err(error) = while_connected(&socket, pass(&socket, &middleware)).await {
                return turn_away(&socket, &error);
            }
        }
        let mut running = Running::default();
        joined(&socket, back, &mut running);
        std::future::poll_fn(|cx| running.poll(cx)).await;
    };
    running.start(session, Callback::Middleware, || Some(Box::pin(ask)));
}

/// Awaits a middleware. Should the connection end meanwhile, the socket is nowhere any more, however long
/// that takes.
async fn while_connected<R>(socket: &Socket, asked: impl Future<Output = R>) -> R {
    let mut asked = pin!(asked);
    let mut is_connected = true;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(decided) = asked.as_mut().poll(cx) {
            return Poll::Ready(decided);
        }
        let session = &socket.0.session;
        if is_connected && !session.with_outbox(|outbox| outbox.wait_closed(cx.waker())) {
            is_connected = false;
            socket.0.namespace.remove(socket);
            socket.forget();
        }
        Poll::Pending
    })
    .await
}

/// Asks one middleware.
async fn pass(socket: &Socket, middleware: &ErasedMiddleware) -> Result<(), ConnectError> {
    let application = socket.0.session.shared().application();
    let panicked = |_| ConnectError::new(INTERNAL_ERROR);
    let made = application.call(Callback::Middleware, || middleware(auth_of(socket)));
    let future = made
        .map_err(panicked)?
        .map_err(|error| invalid_auth(socket, &error))?;
    let decided = application.run(Callback::Middleware, || future).await;
    decided.map_err(panicked)?
}

/// A client's `auth`, on its way to who reads it.
fn auth_of(socket: &Socket) -> Call<'_, Socket> {
    Call {
        socket,
        event: "connect",
        args: socket.auth_text(),
        attachments: &[],
        ack: None,
        is_auth: true,
    }
}

/// What fits is the application's affair, and nothing for clients to read.
fn invalid_auth(socket: &Socket, error: &DecodeError) -> ConnectError {
    let shared = socket.0.session.shared();
    shared.undecodable_auth(socket, error);
    ConnectError::new("invalid auth")
}

/// Refuses a client that has a socket already.
fn turn_away(socket: &Socket, error: &ConnectError) {
    let text = match socket.0.session.dialect().revision {
        Revision::V3 => error.to_old_json(),
        Revision::V4 => error.to_json(),
    };
    refuse_with(&socket.0.session, socket.0.namespace.name(), &text);
    socket.0.namespace.remove(socket);
    socket.forget();
}

/// Counts why a client was not recovered.
fn counted<T>(session: &Session, claim: Result<T, NotRecovered>) -> Result<T, NotRecovered> {
    claim.inspect_err(|cause| {
        let counters = session.shared().counters();
        match cause {
            NotRecovered::Offset => counters.not_recovered_offset(),
            NotRecovered::Unknown => counters.not_recovered_unknown(),
            // It may yet be.
            NotRecovered::Later => {}
        }
        tracing::debug!(session = ?session.id(), ?cause, "a client was not recovered");
    })
}

/// The socket is in, unless its `auth` is not what the handlers take: it is told first, then they are.
fn joined(socket: &Socket, back: Option<Back>, running: &mut Running) {
    let namespace = &socket.0.namespace;
    let handlers = match prepare(socket) {
        Ok(handlers) => handlers,
        Err(error) => return turn_away(socket, &error),
    };
    let finished = match back {
        Some(Back::Here(claim)) => Some(claim.finish(socket, namespace.local())),
        Some(Back::Anywhere(claim)) => Some(claim.finish(socket, namespace.local())),
        None if first_time(socket) => None,
        None => {
            namespace.remove(socket);
            return socket.forget();
        }
    };
    match finished {
        Some(Finished::Failed) => {
            namespace.remove(socket);
            socket.forget();
            return socket.0.session.close(Close::FORCED);
        }
        Some(Finished::Recovered) => socket.0.session.shared().counters().recovered(),
        None => {}
    }
    for handler in handlers {
        running.start(&socket.0.session, Callback::Handler, || {
            Some(in_span(socket, "connect", handler()))
        });
    }
}

/// Decodes the client's `auth` for all that handle its coming.
fn prepare(socket: &Socket) -> Result<Vec<PreparedHandler>, ConnectError> {
    let tables = [Some(socket.0.namespace.handlers()), socket.own_handlers()];
    let handlers = tables.into_iter().flatten().flat_map(Handlers::connect);
    let application = socket.0.session.shared().application();
    handlers
        .map(|handler| {
            let read = || handler(auth_of(socket));
            match application.call(Callback::Handler, read) {
                Ok(Ok(prepared)) => Ok(prepared),
                Ok(Err(error)) => Err(invalid_auth(socket, &error)),
                Err(_) => Err(ConnectError::new(INTERNAL_ERROR)),
            }
        })
        .collect()
}

/// Lets a new socket in; false if its connection has ended.
fn first_time(socket: &Socket) -> bool {
    let local = socket.0.namespace.local();
    // What is broadcast meanwhile comes after CONNECT, or not at all.
    let live = local.returns().map(|returns| returns.live());
    if !socket.enter() {
        return false;
    }
    match (socket.memory(), local.recoveries()) {
        (Some(Memory::Trail(trail)), Some(Recoveries::Log(log))) => log.joined(socket, trail),
        (Some(Memory::Kept(client)), Some(Recoveries::Returns(returns))) => {
            client.begin(socket);
            returns.changed(client);
        }
        _ => {}
    }
    let welcome = match socket.0.session.dialect().revision {
        Revision::V3 => String::new(),
        Revision::V4 => welcome(socket.id(), socket.memory().map(Memory::pid)),
    };
    socket.send_control(PacketKind::Connect, &welcome);
    drop(live);
    true
}

fn refuse(session: &Arc<Session>, nsp: &str, error: &ConnectError) {
    refuse_with(session, nsp, &error.to_json());
}

fn refuse_with(session: &Arc<Session>, nsp: &str, json: &str) {
    session.refuse_namespace(nsp);
    send_control(session, PacketKind::ConnectError, nsp, json);
}

fn send_control(session: &Arc<Session>, kind: PacketKind, nsp: &str, data: &str) {
    let parser = session.shared().parser();
    encode::control(parser, kind, nsp, data, |encoded| {
        // A connection that has ended needs no answer.
        let _ = session.send(encoded, &Flags::default());
    });
}

/// The payload of CONNECT's answer.
pub(crate) fn welcome(sid: &SocketId, pid: Option<&Pid>) -> String {
    match pid {
        None => format!(r#"{{"sid":"{sid}"}}"#),
        Some(pid) => format!(r#"{{"sid":"{sid}","pid":"{pid}"}}"#),
    }
}
