//! One request on its way to the session's own server, and the answer back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use ::http::request::Parts;
use ::http::{Method, Request, StatusCode, Uri, Version};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use socketio_proto::engine::RequestError;
use socketio_proto::websocket;

use super::passing::{Bounded, Passing};
use super::{FORWARDED, Router, tunnel};
use crate::server::Shared;
use crate::server::admission::Busy;
use crate::server::body::ResponseBody;
use crate::server::http::{
    Response, client, is_extended_connect, is_upgrade, refuse, refuse_for_now,
};

/// The time to connect to another server.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time that an unused connection to another server is kept.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// So many unused connections are kept to each other server.
pub(super) const MAX_IDLE: usize = 256;

/// Forwards a request and gives the answer, or a refusal when there is none.
pub(super) async fn answer<Q, B>(
    shared: Arc<Shared>,
    router: Arc<Router>,
    server: String,
    mut parts: Parts,
    body: Q,
) -> Response<B>
where
    Q: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    B: Send + 'static,
{
    let is_upgrade = is_upgrade(&shared, &parts);
    let is_extended = is_extended_connect(&parts);
    if is_extended {
        become_upgrade(&mut parts);
    }
    let Some(place) = router.place(is_upgrade) else {
        shared.refused_for_now(Busy::Forwards, None);
        return refuse_for_now(own_headers(&shared, &parts), Busy::Forwards);
    };
    shared.counters().forwarded();
    let upgraded = match is_upgrade {
        true => parts.extensions.remove::<OnUpgrade>(),
        false => None,
    };
    let announced = parts.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let body = Bounded::new(body, announced, shared.max_payload());
    let answered = send(&shared, &router, &server, &parts, body, is_upgrade).await;
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => {
            let headers = own_headers(&shared, &parts);
            let error = RequestError::ServerUnreachable { server, error };
            return refuse(&shared, &parts, is_upgrade, headers, &error);
        }
    };
    let protocol = response.headers().get(UPGRADE).cloned();
    remove_hop_by_hop(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if is_extended {
            response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
            *response.status_mut() = StatusCode::OK;
        } else {
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.extend(protocol.map(|protocol| (UPGRADE, protocol)));
        }
        return through(&shared, &router, upgraded, response, place);
    }
    if is_upgrade {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    let time = shared.config().body_timeout;
    response.map(|body| ResponseBody::passing(Passing::new(body, time, place)))
}

/// Makes a WebSocket handshake of HTTP/2 one of HTTP/1.1, which is spoken between servers.
fn become_upgrade(parts: &mut Parts) {
    parts.method = Method::GET;
    let websocket = HeaderValue::from_static("websocket");
    parts.headers.insert(UPGRADE, websocket);
    let key = websocket::client_key(rand::random());
    let key = HeaderValue::from_bytes(&key).expect("base64 is a header value");
    parts.headers.insert(SEC_WEBSOCKET_KEY, key);
}

/// The headers of an answer that is this server's own.
fn own_headers(shared: &Shared, parts: &Parts) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(cors) = &shared.config().cors {
        // A preflight is answered by the owner, or not at all.
        let _ = cors.apply(
            &parts.method,
            &parts.headers,
            &mut headers,
            shared.application(),
        );
    }
    headers
}

/// Awaits the head of the answer.
async fn send(
    shared: &Shared,
    router: &Router,
    server: &str,
    parts: &Parts,
    body: Bounded,
    is_upgrade: bool,
) -> Result<::http::Response<Incoming>, String> {
    let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
    let client = client(shared, parts).0;
    let client = client.map(|address| address.to_string());
    let client = client.unwrap_or_default();
    let proof = router.keys.prove(parts.method.as_str(), target, &client);

    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = format!("http://{server}{target}")
        .parse::<Uri>()
        .map_err(|error| error.to_string())?;
    let mark = HeaderValue::try_from(format!("{proof};{client}"));
    let mut headers = parts.headers.clone();
    remove_hop_by_hop(&mut headers);
    headers.remove(EXPECT);
    headers.insert(FORWARDED, mark.map_err(|error| error.to_string())?);
    if is_upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let protocol = parts.headers.get(UPGRADE).cloned();
        headers.extend(protocol.map(|protocol| (UPGRADE, protocol)));
    }
    // HTTP/2 has the host in its target.
    if let (None, Some(host)) = (headers.get(HOST), parts.uri.authority())
        && let Ok(host) = HeaderValue::from_str(host.as_str())
    {
        headers.insert(HOST, host);
    }
    *request.headers_mut() = headers;

    // Nothing of a session is pending for longer than its heartbeat and a body.
    let engine = shared.engine();
    let time = engine.ping_interval + engine.ping_timeout + shared.config().body_timeout;
    let mut response = match timeout(time, router.client.request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(chain(&error)),
        Err(_) => return Err(format!("no answer within {time:?}")),
    };
    let answer = response.headers_mut().remove(FORWARDED);
    match answer.is_some_and(|answer| router.keys.answer_holds(answer.as_bytes(), &proof)) {
        true => Ok(response),
        // Whoever has the address now, or a server with another secret.
        false => Err("what answers there is no server with this secret".to_owned()),
    }
}

/// Passes a WebSocket through from now on.
fn through<B>(
    shared: &Arc<Shared>,
    router: &Router,
    client: Option<OnUpgrade>,
    mut response: ::http::Response<Incoming>,
    place: OwnedSemaphorePermit,
) -> Response<B> {
    let server = hyper::upgrade::on(&mut response);
    // Without it the connection ends with the answer.
    if let Some(client) = client {
        let leaving = router.leaving.subscribe();
        shared.spawn(tunnel::run(shared.clone(), leaving, client, server, place));
    }
    response.map(|_| ResponseBody::full(Bytes::new()))
}

/// Removes what concerns one connection and not the request. Spec: RFC 9110, 7.6.1.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let usual = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let old = ["keep-alive", "proxy-connection"].map(HeaderName::from_static);
    for name in usual.into_iter().chain(old).chain(named) {
        headers.remove(name);
    }
}

/// An error with what is below it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_is_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-mine, Upgrade"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("x-mine", "1"),
            ("cookie", "a=b"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["cookie"], "a=b");
    }
}
