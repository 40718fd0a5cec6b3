//! Between what a server has and what messages hold.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use socketio_proto::cluster::{self, BroadcastOptions, Event, Values};

use crate::args::Args;
use crate::server::broadcast::{Flags, Target};
use crate::server::namespace::Namespace;
use crate::server::remote::RemoteSocket;

pub(super) fn options(target: &Target) -> BroadcastOptions {
    BroadcastOptions {
        rooms: target.rooms.clone(),
        except: target.except.clone(),
        flags: cluster::Flags::default(),
    }
}

pub(super) fn options_with(
    target: &Target,
    flags: &Flags,
    timeout: Option<Duration>,
) -> BroadcastOptions {
    BroadcastOptions {
        flags: cluster::Flags {
            expect_single_response: false,
            volatile: flags.volatile,
            compress: flags.uncompressed.then_some(false),
            timeout,
        },
        ..options(target)
    }
}

pub(crate) fn target(opts: &BroadcastOptions) -> Target {
    Target {
        rooms: opts.rooms.clone(),
        except: opts.except.clone(),
    }
}

pub(super) fn flags(opts: &BroadcastOptions) -> Flags {
    Flags {
        volatile: opts.flags.volatile,
        uncompressed: opts.flags.compress == Some(false),
        timeout: opts.flags.timeout,
        ..Flags::default()
    }
}

/// `None` for arguments that are nested too deeply for other servers.
pub(super) fn event(name: &str, args: &Args) -> Option<Event> {
    Some(Event {
        name: name.to_owned(),
        args: Values::new(args.bytes().clone(), args.attachments().to_vec())?,
    })
}

pub(super) fn args(values: &Values) -> Args {
    Args::from_valid(values.text().clone(), values.attachments().to_vec())
}

/// The first argument, which is all that an answer has between servers.
pub(super) fn first(args: &Args) -> Option<Values> {
    let text = args.iter().next()?;
    Values::new(
        Bytes::copy_from_slice(text.as_bytes()),
        args.attachments().to_vec(),
    )
}

pub(super) fn values(value: &Value) -> Option<Values> {
    Values::new(value.to_string(), Vec::new())
}

pub(super) fn described(socket: &RemoteSocket) -> Option<cluster::RemoteSocket> {
    cluster::RemoteSocket::new(
        socket.id().as_str().to_owned(),
        socket.handshake().to_string(),
        socket.rooms().to_vec(),
        socket.data().to_string(),
    )
}

pub(super) fn remote(namespace: &Namespace, socket: cluster::RemoteSocket) -> RemoteSocket {
    let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
    let (handshake, data) = (json(socket.handshake()), json(socket.data()));
    RemoteSocket::new(
        socket.id.into(),
        namespace.clone(),
        handshake,
        socket.rooms,
        data,
    )
}
