//! HTTP requests: whose they are, what is wrong with them, and the handshake.
//!
//! The order of the checks is the reference's: middlewares, then the request itself, then
//! `allow_request`, then the protocol version, then the id.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use ::http::header::{
    self, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, SET_COOKIE,
    UPGRADE,
};
use ::http::request::Parts;
use ::http::{Extensions, HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use bytes::Bytes;
use http_body::Body;

use socketio_proto::engine::{
    self, OpenPacket, Query, RequestError, RequestMeta, SessionView, Transport, Verified,
};

use super::admission::{Busy, NotStarted};
use super::body::ResponseBody;
use super::config::HeadersHook;
use super::cors::Flow;
use super::handlers::INTERNAL_ERROR;
use super::handshake::Handshake;
use super::request::{ConnectionError, EngineRefusal, Forbidden, RequestInfo};
use super::routing::{self, Forwarded};
use super::session::{Dialect, Session};
use super::{Shared, polling, upgrade};
use crate::application::{Callback, Panicked};
use crate::id::SessionId;

/// A response with one of our bodies.
pub(crate) type Response<B> = ::http::Response<ResponseBody<B>>;

/// The peer's address, as the listener knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) secure: bool,
}

/// An answer, now or later.
pub(crate) enum Answer<B> {
    Now(Option<Response<B>>),
    Later(Pin<Box<dyn Future<Output = Response<B>> + Send>>),
    Get(polling::Get),
}

impl<B> Future for Answer<B> {
    type Output = Response<B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<B>> {
        match &mut *self {
            Answer::Now(response) => match response.take() {
                Some(response) => Poll::Ready(response),
                None => Poll::Pending,
            },
            Answer::Later(future) => future.as_mut().poll(cx),
            Answer::Get(get) => get.poll(cx),
        }
    }
}

impl<B> Unpin for Answer<B> {}

/// Answers a request for the server's path.
pub(crate) fn answer<Q, B>(
    shared: &Arc<Shared>,
    request: Request<Q>,
    peer: Option<Peer>,
) -> Answer<B>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: Send + 'static,
{
    match shared.router() {
        None => answer_here(shared, request, peer),
        Some(router) => routing::answer(shared, router, request, peer),
    }
}

/// Answers a request that is not forwarded.
///
/// What nearly all requests are, a GET or a POST of a session, takes no detour; the rest is in
/// `answer_slowly`.
pub(crate) fn answer_here<Q, B>(
    shared: &Arc<Shared>,
    request: Request<Q>,
    peer: Option<Peer>,
) -> Answer<B>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let config = shared.config();
    let mut headers = HeaderMap::new();
    if let Some(cors) = &config.cors
        && let Flow::Preflight(status) = cors.apply(
            &parts.method,
            &parts.headers,
            &mut headers,
            shared.application(),
        )
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        return Answer::Now(Some(respond(status, headers, Bytes::new())));
    }
    if let Some(files) = &config.client_files
        && let Some(name) = parts.uri.path().strip_prefix(&*config.path)
        && let Some((status, more, file)) = files.respond(name, &parts.headers)
    {
        headers.extend(more);
        return Answer::Now(Some(respond(status, headers, file)));
    }
    if !config.engine_middlewares.is_empty() {
        parts.extensions.extend(extension(peer));
        let upgrade = is_upgrade(shared, &parts);
        let shared = shared.clone();
        return Answer::Later(Box::pin(async move {
            for middleware in &shared.config().engine_middlewares {
                let ask = || middleware(info(&shared, &parts));
                let application = shared.application();
                match application.run(Callback::EngineMiddleware, ask).await {
                    Ok(Ok(added)) => headers.extend(added),
                    Ok(Err(EngineRefusal::Response(response))) => {
                        return response.map(ResponseBody::full);
                    }
                    Ok(Err(EngineRefusal::Failed(_))) | Err(Panicked) => {
                        let error = RequestError::MiddlewareFailure;
                        return refuse(&shared, &parts, upgrade, headers, &error);
                    }
                }
            }
            dispatch(&shared, parts, body, peer, headers).await
        }));
    }
    dispatch(shared, parts, body, peer, headers)
}

pub(crate) fn extension(peer: Option<Peer>) -> Extensions {
    let mut extensions = Extensions::new();
    if let Some(peer) = peer {
        extensions.insert(peer);
    }
    extensions
}

fn dispatch<Q, B>(
    shared: &Arc<Shared>,
    mut parts: Parts,
    body: Q,
    peer: Option<Peer>,
    headers: HeaderMap,
) -> Answer<B>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: Send + 'static,
{
    let upgrade = is_upgrade(shared, &parts);
    let checked = check(shared, &parts, upgrade);
    let is_usual = matches!(checked, Ok(Checked::Known(..)));
    if upgrade || !is_usual || !shared.config().headers.is_empty() {
        // Only where it may be asked for: an extension costs three allocations.
        parts.extensions.extend(extension(peer));
    }
    match checked {
        Err(error) => Answer::Now(Some(refuse(shared, &parts, upgrade, headers, &error))),
        Ok(Checked::Known(session)) if upgrade => {
            let owner = Owner::Known(session);
            Answer::Now(Some(upgrade::answer(shared, parts, owner, headers)))
        }
        Ok(Checked::Known(session)) => polling::answer(session, parts, body, headers),
        Ok(Checked::Handshake(transport, dialect)) => {
            let config = shared.config();
            if let Err(busy) = admit(shared, &parts) {
                return Answer::Now(Some(refuse_for_now(headers, busy)));
            }
            if config.allow_request.is_none() && config.generate_id.is_none() {
                let new = dialect.map(|dialect| New {
                    id: new_id(shared),
                    transport,
                    dialect,
                });
                return Answer::Now(Some(open(shared, parts, new, upgrade, headers)));
            }
            let shared = shared.clone();
            Answer::Later(Box::pin(async move {
                let new = handshake(&shared, &parts, transport, dialect).await;
                open(&shared, parts, new, upgrade, headers)
            }))
        }
    }
}

/// Asks whether one more session may be opened.
fn admit(shared: &Shared, parts: &Parts) -> Result<(), Busy> {
    let limits = &shared.config().limits;
    let address = match limits.max_per_address {
        Some(_) => client(shared, parts).0.map(|address| address.ip()),
        None => None,
    };
    let sessions = shared.sessions().len();
    let admitted = shared
        .admission()
        .ask(limits, sessions, address, Instant::now());
    if let Err(busy) = admitted {
        shared.refused_for_now(busy, address);
    }
    admitted
}

/// Refuses a request that may come again later.
pub(crate) fn refuse_for_now<B>(mut headers: HeaderMap, busy: Busy) -> Response<B> {
    headers.insert(RETRY_AFTER, busy.retry_after().into());
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = format!(r#"{{"message":"{}"}}"#, busy.message());
    respond(StatusCode::SERVICE_UNAVAILABLE, headers, body)
}

/// Who a verified request belongs to.
pub(crate) enum Owner {
    New(New),
    Known(Arc<Session>),
}

/// A session that is to be opened.
pub(crate) struct New {
    pub(crate) id: SessionId,
    pub(crate) transport: Transport,
    pub(crate) dialect: Dialect,
}

enum Checked {
    Known(Arc<Session>),
    /// A handshake, and whether its protocol version is served: that is said last.
    Handshake(Transport, Result<Dialect, RequestError>),
}

fn check(shared: &Shared, parts: &Parts, upgrade: bool) -> Result<Checked, RequestError> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let request = engine::Request::from_query(&query);
    let meta = RequestMeta {
        method: match is_extended_connect(parts) {
            true => "GET",
            false => parts.method.as_str(),
        },
        is_upgrade: upgrade,
        origin: parts.headers.get(header::ORIGIN).map(HeaderValue::as_bytes),
    };
    let now = Instant::now();
    let mut found = None;
    let verified = engine::verify(&request, &meta, shared.engine(), |sid| {
        let session = shared.sessions().get(sid)?;
        let view = SessionView {
            transport: session.transport_at(now)?,
            revision: session.dialect().revision,
        };
        found = Some(session);
        Some(view)
    });
    let verified = match (verified, shared.router()) {
        (Err(RequestError::UnknownSid { sid }), None) if shared.sessions().has_ended(&sid) => {
            return Err(RequestError::Closed { sid });
        }
        (Err(RequestError::UnknownSid { sid }), Some(router)) => {
            return Err(router.explain(sid, parts));
        }
        (verified, _) => verified?,
    };
    Ok(match (verified, found) {
        (Verified::Session { transport }, Some(session)) => {
            if transport == Transport::WebSocket && !upgrade {
                // The reference never answers.
                return Err(RequestError::TransportHandshakeError);
            }
            Checked::Known(session)
        }
        (Verified::Session { transport } | Verified::Handshake { transport }, _) => {
            let revision = engine::verify_protocol(&request, shared.engine());
            let dialect = revision.map(|revision| Dialect::of(&request, revision, transport));
            let dialect = dialect.and_then(|dialect| match dialect.jsonp {
                true if !shared.config().jsonp => Err(RequestError::JsonpDisabled),
                _ => Ok(dialect),
            });
            Checked::Handshake(transport, dialect)
        }
    })
}

/// Asks the application whether the client may connect, and for the session's id.
async fn handshake(
    shared: &Shared,
    parts: &Parts,
    transport: Transport,
    dialect: Result<Dialect, RequestError>,
) -> Result<New, RequestError> {
    let (config, application) = (shared.config(), shared.application());
    if let Some(allow_request) = &config.allow_request {
        let ask = || allow_request(info(shared, parts));
        let decision = application.run(Callback::AllowRequest, ask).await;
        decision
            .unwrap_or_else(|_| Err(Forbidden::new()))
            .map_err(|forbidden| RequestError::Forbidden {
                message: forbidden.0,
            })?;
    }
    let dialect = dialect?;
    let id = match &config.generate_id {
        None => new_id(shared),
        Some(generate) => {
            let ask = || generate(info(shared, parts));
            let id = application.run(Callback::GenerateId, ask).await;
            let error = match id.unwrap_or_else(|_| Err(INTERNAL_ERROR.to_owned())) {
                Ok(id) if shared.sessions().get(&id).is_none() => Ok(SessionId::from(id)),
                Ok(_) => Err("the id is in use".to_owned()),
                Err(error) => Err(error),
            };
            error.map_err(|error| RequestError::IdGenerationError { error })?
        }
    };
    Ok(New {
        id,
        transport,
        dialect,
    })
}

fn new_id(shared: &Shared) -> SessionId {
    match shared.router() {
        None => SessionId::generate(),
        Some(router) => router.generate_id(),
    }
}

/// Opens a session.
fn open<B>(
    shared: &Arc<Shared>,
    parts: Parts,
    new: Result<New, RequestError>,
    upgrade: bool,
    headers: HeaderMap,
) -> Response<B> {
    match new {
        Err(error) => refuse(shared, &parts, upgrade, headers, &error),
        Ok(new) if upgrade => upgrade::answer(shared, parts, Owner::New(new), headers),
        Ok(new) => open_polling(shared, &parts, new, headers),
    }
}

fn open_polling<B>(
    shared: &Arc<Shared>,
    parts: &Parts,
    new: New,
    mut headers: HeaderMap,
) -> Response<B> {
    let cookie = shared.config().cookie.as_ref();
    let cookie = cookie.map(|cookie| cookie.header_value(new.id.as_str()));
    let session = match start(shared, parts, new) {
        Ok(session) => session,
        Err(error) => return refuse_start(shared, parts, false, headers, error),
    };
    if let Some(cookie) = cookie {
        headers.append(SET_COOKIE, cookie);
    }
    polling::text_headers(&mut headers, parts);
    let body = match session.dialect().is_usual() && shared.config().initial_packet.is_none() {
        true => open_packet(&session, Transport::Polling),
        false => {
            session.greet();
            polling::first_answer(&session, parts, &mut headers)
        }
    };
    let body = polling::compress_first(shared, parts, body, &mut headers);
    change_headers(
        shared,
        parts,
        &shared.config().initial_headers,
        &mut headers,
    );
    change_headers(shared, parts, &shared.config().headers, &mut headers);
    respond(StatusCode::OK, headers, body)
}

/// Makes a session and enters it into the table.
pub(crate) fn start(
    shared: &Arc<Shared>,
    parts: &Parts,
    new: New,
) -> Result<Arc<Session>, NotStarted> {
    let (address, secure) = client(shared, parts);
    let handshake = Handshake::new(
        &parts.uri,
        &parts.headers,
        address,
        secure,
        SystemTime::now(),
    );
    let session = Arc::new(Session::new(new, shared, handshake, Instant::now()));
    let limits = &shared.config().limits;
    let address = address.map(|address| address.ip());
    let admission = shared.admission();
    admission.open(limits, address).map_err(NotStarted::Busy)?;
    let inserted = shared.sessions().insert(&session, limits.max_connections);
    // Whoever closes all sessions shuts the door first: each is seen here, or there.
    let inserted = match inserted {
        Ok(key) if admission.is_draining() => {
            shared.sessions().remove(session.id(), key);
            Err(NotStarted::Busy(Busy::Draining))
        }
        inserted => inserted,
    };
    let key = inserted.inspect_err(|_| admission.closed(limits, address))?;
    shared.counters().opened();
    session.started(key);
    Ok(session)
}

/// Refuses a request whose session could not be opened.
pub(crate) fn refuse_start<B>(
    shared: &Shared,
    parts: &Parts,
    upgrade: bool,
    headers: HeaderMap,
    error: NotStarted,
) -> Response<B> {
    match error {
        NotStarted::Busy(busy) => {
            shared.refused_for_now(busy, None);
            refuse_for_now(headers, busy)
        }
        NotStarted::IdInUse => {
            let error = RequestError::IdGenerationError {
                error: "the id is in use".into(),
            };
            refuse(shared, parts, upgrade, headers, &error)
        }
    }
}

/// The open packet.
pub(crate) fn open_packet(session: &Session, transport: Transport) -> Vec<u8> {
    let engine = session.shared().engine();
    OpenPacket {
        sid: session.id().as_str(),
        upgrades: engine.upgrades(transport),
        ping_interval: engine.ping_interval,
        ping_timeout: engine.ping_timeout,
        max_payload: engine.max_payload,
    }
    .encode()
}

/// Refuses a request: in JSON, or with the bare message where a WebSocket was asked for.
pub(crate) fn refuse<B>(
    shared: &Shared,
    parts: &Parts,
    upgrade: bool,
    mut headers: HeaderMap,
    error: &RequestError,
) -> Response<B> {
    shared.refused(&ConnectionError::new(info(shared, parts), error));
    if upgrade {
        // A WebSocket client reads no headers of a refusal; the reference sends none of its own.
        let headers = HeaderMap::new();
        return refuse_upgrade(StatusCode::BAD_REQUEST, headers, error.upgrade_message());
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    respond(status, headers, error.body())
}

/// Refuses an upgrade with a text, and ends the connection.
pub(crate) fn refuse_upgrade<B>(
    status: StatusCode,
    mut headers: HeaderMap,
    message: impl Into<Bytes>,
) -> Response<B> {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    respond(status, headers, message)
}

pub(crate) fn respond<B>(
    status: StatusCode,
    headers: HeaderMap,
    body: impl Into<Bytes>,
) -> Response<B> {
    let mut response = ::http::Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Lets the application's hooks change the headers of an answer.
pub(crate) fn change_headers(
    shared: &Shared,
    parts: &Parts,
    hooks: &[HeadersHook],
    headers: &mut HeaderMap,
) {
    if !hooks.is_empty() {
        let info = info(shared, parts);
        for change in hooks {
            let change = || change(headers, &info);
            let _ = shared.application().call(Callback::HeadersHook, change);
        }
    }
}

pub(crate) fn info(shared: &Shared, parts: &Parts) -> RequestInfo {
    RequestInfo {
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        address: client(shared, parts).0,
    }
}

/// The client's address, and whether its connection is encrypted, as far as that is known.
pub(crate) fn client(shared: &Shared, parts: &Parts) -> (Option<SocketAddr>, bool) {
    let config = shared.config();
    if let Some(forwarded) = parts.extensions.get::<Forwarded>() {
        // Whether it is encrypted matters at the handshake only, which nobody forwards.
        return (forwarded.client, false);
    }
    let peer = parts.extensions.get::<Peer>();
    let address = match &config.address {
        Some(address) => {
            let ask = || address(parts);
            let address = shared.application().call(Callback::PeerAddress, ask);
            address.ok().flatten()
        }
        None => peer.map(|peer| peer.address),
    };
    let (address, secure) = config.trusted_proxies.client(address, &parts.headers);
    (
        address,
        secure.unwrap_or(peer.is_some_and(|peer| peer.secure)),
    )
}

/// Says whether this is a WebSocket handshake. Without the WebSocket transport there is none: such a
/// request is answered like any other.
pub(crate) fn is_upgrade(shared: &Shared, parts: &Parts) -> bool {
    (has_upgrade(parts) || is_extended_connect(parts))
        && shared.engine().allows(Transport::WebSocket)
}

/// Says whether this is a WebSocket handshake of HTTP/2. RFC 8441, section 5.
///
/// HTTP/2 lets a CONNECT to a path through only if it names a protocol, which the HTTP library keeps
/// in a type of its feature for HTTP/2. That it is WebSocket shows in the header of its version.
pub(crate) fn is_extended_connect(parts: &Parts) -> bool {
    parts.method == Method::CONNECT
        && parts.version >= Version::HTTP_2
        && parts.headers.contains_key(SEC_WEBSOCKET_VERSION)
}

/// Says whether each header stands there once, which costs less than to look for the second of one.
pub(crate) fn has_no_twins(headers: &HeaderMap) -> bool {
    headers.len() == headers.keys_len()
}

fn has_upgrade(parts: &Parts) -> bool {
    parts
        .headers
        .get(UPGRADE)
        .is_some_and(|protocol| !protocol.is_empty())
        && parts.headers.get_all(CONNECTION).iter().any(|value| {
            let tokens = value.as_bytes().split(|&b| b == b',');
            tokens
                .into_iter()
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
}
