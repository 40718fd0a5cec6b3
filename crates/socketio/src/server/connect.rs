//! How a client joins a namespace: found or made, asked of the middlewares, announced.

use std::sync::Arc;

use socketio_proto::socket::PacketKind;

use super::broadcast::Flags;
use super::encode;
use super::handler::Call;
use super::handlers::Moment;
use super::namespace::{NamespaceInner, Namespaces};
use super::running::{self, Running};
use super::session::Session;
use super::socket::Socket;
use crate::error::ConnectError;
use crate::id::SocketId;

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
    let socket = Socket::new(
        SocketId::generate(),
        namespace.clone(),
        session.clone(),
        auth,
    );
    namespace.local().insert(&socket);
    let middlewares = namespace.handlers().middlewares();
    if middlewares.is_empty() {
        return joined(&socket, running);
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
                    refuse(&socket.0.session, socket.0.namespace.name(), &error);
                    socket.0.namespace.remove(&socket);
                    return;
                }
            }
            let mut running = Running::default();
            joined(&socket, &mut running);
            std::future::poll_fn(|cx| running.poll(cx)).await;
        }),
    );
}

/// The socket is in: it is told first, then the handlers.
fn joined(socket: &Socket, running: &mut Running) {
    socket.set_connected(true);
    if !socket.0.session.accept(socket.0.namespace.name(), socket) {
        // The connection has ended in the meantime.
        socket.set_connected(false);
        socket.0.namespace.remove(socket);
        return;
    }
    socket.send_control(
        PacketKind::Connect,
        &format!(r#"{{"sid":"{}"}}"#, socket.id()),
    );
    running::lifecycle(socket, Moment::Connect, socket.auth_text(), running);
}

fn refuse(session: &Arc<Session>, nsp: &str, error: &ConnectError) {
    session.refuse_namespace(nsp);
    let parser = session.shared().parser();
    encode::control(
        parser,
        PacketKind::ConnectError,
        nsp,
        &error.to_json(),
        |encoded| {
            // A connection that has ended needs no answer.
            let _ = session.send(encoded, &Flags::default());
        },
    );
}
