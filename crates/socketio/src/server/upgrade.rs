//! WebSocket handshakes: a new session, or a second transport for one that polls.

use socketio_proto::Printable;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use socketio_proto::engine::{self, Query, RequestError, Transport, Via};
use socketio_proto::websocket::{self, HandshakeError, UpgradeHeaders};

use super::Shared;
use super::admission::NotStarted;
use super::ending::Close;
use super::farewell::dismiss;
use super::http::{
    Owner, Peer, Response, change_headers, has_no_twins, info, is_extended_connect, refuse,
    refuse_start, refuse_upgrade, respond, start,
};
use super::http_stream::HttpStream;
use super::session::Session;
use super::websocket::{Incoming, StreamTask, TcpTask, Terms};
use crate::application::Callback;

/// Answers 101, or 200 over HTTP/2, and goes on in a task of its own when the connection is ours.
pub(crate) fn answer<B>(
    shared: &Arc<Shared>,
    mut parts: Parts,
    owner: Owner,
    mut headers: HeaderMap,
) -> Response<B> {
    let is_extended = is_extended_connect(&parts);
    let (version, key) = (
        only(&parts, SEC_WEBSOCKET_VERSION),
        only(&parts, SEC_WEBSOCKET_KEY),
    );
    let checked = match is_extended {
        true => websocket::check_version(version),
        false => websocket::check_upgrade(&UpgradeHeaders {
            method: parts.method.as_str(),
            upgrade: only(&parts, UPGRADE),
            version,
            key,
        }),
    };
    let protocol = match checked.and_then(|()| offered_protocols(&parts)) {
        Ok(offered) => select_protocol(shared, &parts, &offered),
        Err(error) => return refuse_handshake(shared, error),
    };
    let accept = websocket::accept_key(key.unwrap_or_default());
    let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        // A server that does not let go of its connection.
        return refuse(
            shared,
            &parts,
            true,
            headers,
            &RequestError::TransportHandshakeError,
        );
    };
    let is_new = matches!(owner, Owner::New(_));
    let begin = match Begin::of(shared, &parts, owner) {
        Ok(begin) => begin,
        Err(error) => return refuse_start(shared, &parts, true, headers, error),
    };
    let status = match is_extended {
        true => StatusCode::OK,
        false => {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            let accept = HeaderValue::from_bytes(accept.as_ref());
            headers.insert(
                SEC_WEBSOCKET_ACCEPT,
                accept.expect("base64 is a header value"),
            );
            StatusCode::SWITCHING_PROTOCOLS
        }
    };
    headers.extend(protocol.map(|protocol| (SEC_WEBSOCKET_PROTOCOL, protocol)));
    let mut terms = Terms {
        deflate: None,
        base64: wants_base64(&parts),
    };
    if let Some(options) = &shared.config().per_message_deflate {
        let offers = parts.headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
        let offers = offers.iter().map(HeaderValue::as_bytes);
        if let Some((negotiated, answer)) = websocket::negotiate(&options.config, offers) {
            let answer = HeaderValue::from_str(&answer).expect("names and digits");
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, answer);
            terms.deflate = Some(negotiated);
        }
    }
    if is_new {
        change_headers(
            shared,
            &parts,
            &shared.config().initial_headers,
            &mut headers,
        );
    }
    change_headers(shared, &parts, &shared.config().headers, &mut headers);
    // Our own listener has said so already.
    let sets_nodelay = parts.extensions.get::<Peer>().is_none();
    shared.spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => begin.run(upgraded, terms, sets_nodelay),
            Err(error) => {
                tracing::debug!(error = %Printable::new(&error), "a connection ended during its WebSocket handshake");
                begin.give_up();
            }
        }
    });
    respond(status, headers, Bytes::new())
}

/// What a connection becomes when its handshake is done.
enum Begin {
    Open(Arc<Session>),
    Probe(Arc<Session>),
    /// Only to be closed: the session has moved already, or is just about to.
    Close(Arc<Shared>),
}

impl Begin {
    fn of(shared: &Arc<Shared>, parts: &Parts, owner: Owner) -> Result<Begin, NotStarted> {
        let session = match owner {
            Owner::New(new) => return start(shared, parts, new).map(Begin::Open),
            Owner::Known(session) => session,
        };
        let is_probed = session.handle_probe(Transport::WebSocket, Instant::now());
        Ok(match is_probed {
            true => Begin::Probe(session),
            false => Begin::Close(shared.clone()),
        })
    }

    fn give_up(self) {
        match self {
            Begin::Open(session) => session.close(Close::broken("the handshake was not finished")),
            Begin::Probe(session) => session.probe_closed(),
            Begin::Close(_) => {}
        }
    }

    fn run(self, upgraded: Upgraded, terms: Terms, sets_nodelay: bool) {
        match plain_tcp(upgraded) {
            Ok((stream, rest)) => {
                if sets_nodelay {
                    // Small packets must not wait for each other.
                    let _ = stream.set_nodelay(true);
                }
                match self {
                    Begin::Open(session) => {
                        session.greet();
                        let shared = session.shared().clone();
                        shared.spawn(TcpTask::new(
                            Incoming::new(session, Via::Main, terms, rest),
                            stream,
                        ));
                    }
                    Begin::Probe(session) => {
                        let shared = session.shared().clone();
                        shared.spawn(TcpTask::new(
                            Incoming::new(session, Via::Probe, terms, rest),
                            stream,
                        ));
                    }
                    Begin::Close(shared) => shared.spawn(dismiss(stream)),
                }
            }
            Err(upgraded) => {
                let stream = TokioIo::new(upgraded);
                match self {
                    Begin::Open(session) => {
                        session.greet();
                        let shared = session.shared().clone();
                        let task = StreamTask::new(
                            Incoming::new(session, Via::Main, terms, Bytes::new()),
                            stream,
                        );
                        shared.spawn(task.run());
                    }
                    Begin::Probe(session) => {
                        let shared = session.shared().clone();
                        let task = StreamTask::new(
                            Incoming::new(session, Via::Probe, terms, Bytes::new()),
                            stream,
                        );
                        shared.spawn(task.run());
                    }
                    Begin::Close(shared) => shared.spawn(dismiss(stream)),
                }
            }
        }
    }
}

/// Takes the TCP connection out of hyper, so that nothing of hyper's stays with an idle one.
pub(crate) fn plain_tcp(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let upgraded = match upgraded.downcast::<TokioIo<HttpStream<TcpStream>>>() {
        Ok(parts) => {
            let (stream, rest) = parts.io.into_inner().into_parts();
            let rest = match rest.is_empty() {
                true => parts.read_buf,
                false => [&parts.read_buf[..], &rest].concat().into(),
            };
            return Ok((stream, rest));
        }
        Err(upgraded) => upgraded,
    };
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// Refuses a handshake whose headers are not those of a WebSocket.
fn refuse_handshake<B>(shared: &Shared, error: HandshakeError) -> Response<B> {
    shared.counters().malformed_handshakes();
    shared.refusals().log_handshake(&error);
    let mut headers = HeaderMap::new();
    if let Some(versions) = error.supported_versions() {
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(versions));
    }
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    refuse_upgrade(status, headers, error.to_string())
}

/// Says whether the client wants bytes as base64, as few do.
fn wants_base64(parts: &Parts) -> bool {
    parts.uri.query().is_some_and(|query| {
        query.contains("b64")
            && engine::Request::from_query(&Query::parse(query))
                .b64
                .is_some()
    })
}

fn offered_protocols(parts: &Parts) -> Result<Vec<&str>, HandshakeError> {
    let lines = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    websocket::offered_protocols(lines.map(HeaderValue::as_bytes))
}

/// The subprotocol that is answered: what the application chooses, else the first. Names may be
/// secrets: they are told to nobody else.
fn select_protocol(shared: &Shared, parts: &Parts, offered: &[&str]) -> Option<HeaderValue> {
    let first = offered.first()?;
    let selected = match &shared.config().select_protocol {
        None => first,
        Some(select) => {
            let select = || select(offered, &info(shared, parts));
            let application = shared.application();
            let selected = application.call(Callback::SelectProtocol, select).ok()??;
            offered.iter().find(|name| **name == selected)?
        }
    };
    HeaderValue::from_str(selected).ok()
}

/// A header's value; if there are several, one that is nothing.
fn only(parts: &Parts, name: HeaderName) -> Option<&[u8]> {
    let value = parts.headers.get(&name)?.as_bytes();
    let is_only =
        has_no_twins(&parts.headers) || parts.headers.get_all(name).iter().nth(1).is_none();
    Some(if is_only { value } else { b"" })
}
