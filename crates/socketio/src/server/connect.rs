//! How a client joins a namespace: found or made, asked of the middlewares, announced.

use std::sync::Arc;

use socketio_proto::engine::Revision;
use socketio_proto::socket::PacketKind;

use super::broadcast::Flags;
use super::handlers::Moment;
use super::namespace::{NamespaceInner, Namespaces};
use super::recovery::{Claim, Finished, NotRecovered};
use super::running::{self, Running};
use super::session::Session;
use super::socket::Socket;
use crate::encode;
use crate::error::ConnectError;
use crate::handler::Call;
use crate::id::{Pid, SocketId};

/// Answers a CONNECT packet, at once where nothing has to be waited for.
pub(crate) fn connect(session: &Arc<Session>, nsp: &str, auth: &str, running: &mut Running) {
    let shared = session.shared();
    if let Some(namespace) = shared.namespaces().enter(nsp) {
        join(session, namespace, auth, running);
    } else if shared.namespaces().has_parents() {
        let (joining, name, auth) = (session.clone(), nsp.to_owned(), auth.to_owned());
        let join_dynamic = async move {
            let session = joining;
            let shared = session.shared().clone();
            match Namespaces::enter_dynamic(shared, name.clone(), auth.clone()).await {
                Some(namespace) => {
                    let mut running = Running::default();
                    join(&session, namespace, &auth, &mut running);
                    std::future::poll_fn(|cx| running.poll(cx)).await;
                }
                None => refuse(&session, &name, &ConnectError::new("Invalid namespace")),
            }
        };
        running.start(session, "namespace", Box::pin(join_dynamic));
    } else {
        refuse(session, nsp, &ConnectError::new("Invalid namespace"));
    }
}

fn join(session: &Arc<Session>, namespace: Arc<NamespaceInner>, auth: &str, running: &mut Running) {
    let revision = session.dialect().revision;
    let claim = match claim(session, &namespace, auth) {
        Some(claim) if claim.is_unsure() => return ask(session, &namespace, claim),
        claim => claim,
    };
    let socket = match &claim {
        Some(claim) => {
            let trail = claim.trail().clone();
            Socket::recovered(trail, namespace.clone(), session.clone(), auth)
        }
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
    if claim.is_some()
        && namespace
            .local()
            .log()
            .is_some_and(|log| log.skips_middlewares())
    {
        middlewares.clear();
    }
    if middlewares.is_empty() {
        return joined(&socket, claim, running);
    }
    running.start(
        session,
        "connection",
        Box::pin(async move {
            for middleware in middlewares {
                let call = Call {
                    socket: &socket,
                    event: "connect",
                    args: socket.auth_text(),
                    attachments: &[],
                    ack: None,
                };
                let result = match middleware(call) {
                    Ok(future) => future.await,
                    Err(error) => Err(ConnectError::new(format!("invalid auth: {error}"))),
                };
                if let Err(error) = result {
                    let text = match socket.0.session.dialect().revision {
                        Revision::V3 => error.to_old_json(),
                        Revision::V4 => error.to_json(),
                    };
                    refuse_with(&socket.0.session, socket.0.namespace.name(), &text);
                    socket.0.namespace.remove(&socket);
                    return;
                }
            }
            let mut running = Running::default();
            joined(&socket, claim, &mut running);
            std::future::poll_fn(|cx| running.poll(cx)).await;
        }),
    );
}

/// Looks whether this is a client that has come back.
fn claim(session: &Session, namespace: &NamespaceInner, auth: &str) -> Option<Claim> {
    let counters = session.shared().counters();
    if session.dialect().revision == Revision::V3 {
        return None;
    }
    match namespace.local().log()?.claim(auth)? {
        Ok(claim) => Some(claim),
        Err(cause) => {
            match cause {
                NotRecovered::Offset => counters.not_recovered_offset(),
                NotRecovered::Unknown => counters.not_recovered_unknown(),
            }
            tracing::debug!(session = ?session.id(), ?cause, "a client was not recovered");
            None
        }
    }
}

/// Makes a client that may have got a part of what it had missed come back once more: after a CONNECT
/// its offset is exact.
fn ask(session: &Arc<Session>, namespace: &NamespaceInner, claim: Claim) {
    let welcome = welcome(claim.trail().sid(), Some(claim.trail().pid()));
    session.refuse_namespace(namespace.name());
    send_control(session, PacketKind::Connect, namespace.name(), &welcome);
    namespace.not_entered();
    claim.ask();
    session.close();
}

/// The socket is in: it is told first, then the handlers.
fn joined(socket: &Socket, claim: Option<Claim>, running: &mut Running) {
    let namespace = &socket.0.namespace;
    match claim {
        Some(claim) => {
            if claim.finish(socket, namespace.local()) == Finished::Failed {
                namespace.remove(socket);
                return socket.0.session.close();
            }
            socket.0.session.shared().counters().recovered();
        }
        None => {
            if !socket.enter() {
                return namespace.remove(socket);
            }
            let pid = socket.trail().map(|trail| {
                if let Some(log) = namespace.local().log() {
                    log.joined(socket, trail);
                }
                trail.pid()
            });
            let welcome = match socket.0.session.dialect().revision {
                Revision::V3 => String::new(),
                Revision::V4 => welcome(socket.id(), pid),
            };
            socket.send_control(PacketKind::Connect, &welcome);
        }
    }
    running::lifecycle(socket, Moment::Connect, socket.auth_text(), running);
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
