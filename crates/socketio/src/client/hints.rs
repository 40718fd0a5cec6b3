//! What to do about a failed connection, in one sentence each; the server's own sentences where the
//! server has told its code.

use std::borrow::Cow;

use serde_json::Value;
use socketio_proto::engine::{RequestError, Transport};

pub(crate) const OLD_SERVER: &str = "It seems you are trying to reach a Socket.IO server in v2.x with a v3.x client, but they are not compatible (more information here: https://socket.io/docs/v3/migrating-from-2-x-to-3-0/)";
pub(crate) const USE_V2: &str =
    "the server speaks Socket.IO 2: set `version(Version::V2)`, or update the server";
pub(crate) const INVALID_NAMESPACE: &str = "the server has no such namespace: the path of the URL is the namespace, while the path of the requests is the option `path`";
pub(crate) const NO_HTTP: &str = "what listens there does not answer in HTTP: if the port is one of HTTPS, use https:// or wss://; if not, check the address and port";
pub(crate) const TIMEOUT: &str = "the server did not answer in time: check that the address and port are those of a Socket.IO server, and that no firewall drops the packets";
pub(crate) const PING_TIMEOUT: &str = "nothing came from the server for as long as its heartbeat allows: the network broke, the machine slept, or a proxy holds packets back";
pub(crate) const TOO_LARGE: &str = "the message is larger than the server accepts: raise `max_payload` (maxHttpBufferSize in JavaScript) on the server, or send less at once";

/// The hint for an answer that is not what it should be.
pub(crate) fn answer(
    is_websocket: bool,
    status: u16,
    location: Option<&str>,
    body: &str,
) -> Option<Cow<'static, str>> {
    if let Some(hint) = engine_error(is_websocket, body) {
        return Some(hint.into());
    }
    let is_page = body.trim_start().get(..1) == Some("<");
    Some(match status {
        200 if is_websocket => "a server that knows nothing of WebSocket answered: check the path, and that the proxy in front forwards the headers `Upgrade` and `Connection`".into(),
        200 if is_page => "a web page came instead of an answer of Socket.IO: the request reached a static file server or the fallback of a single-page application; check the option `path` and the proxy's routes".into(),
        200 => "the answer is not of Engine.IO: check the option `path`, and whether something on the way changes answers".into(),
        301 | 302 | 303 | 307 | 308 => match location {
            Some(location) => format!("the server redirects to {location}: connect to that address").into(),
            None => "the server redirects: connect to the final address".into(),
        },
        // nginx and Go have these words.
        400 if body.contains("to HTTPS port") || body.contains("to an HTTPS server") => {
            "the port is one of HTTPS: use https:// or wss:// for it".into()
        }
        401 | 407 => "the server or a proxy wants credentials: send them with `header(\"Authorization\", ..)`".into(),
        403 => "the server or something in front of it forbids the request: see the body for its reason".into(),
        404 => "no Socket.IO server answers at this path: compare the option `path` with the server's, and check that the proxy in front routes it".into(),
        413 => TOO_LARGE.into(),
        426 => "the server wants a WebSocket handshake which it did not get: a proxy removed its headers".into(),
        429 | 503 => "the server is busy and asks to try later, which the client does by itself".into(),
        502 | 504 => "the proxy cannot reach the server behind it: is it running, and is the address in the proxy's configuration right?".into(),
        _ => return None,
    })
}

/// The hint for a refusal with a code of Engine.IO.
fn engine_error(is_websocket: bool, body: &str) -> Option<&'static str> {
    let code = match serde_json::from_str::<Value>(body) {
        Ok(object) => {
            object.get("message")?.as_str()?;
            object.get("code")?.as_u64()?
        }
        // A refused upgrade has the bare message.
        Err(_) => match body.trim() {
            "Transport unknown" => 0,
            "Session ID unknown" => 1,
            "Bad handshake method" => 2,
            "Bad request" => 3,
            "Forbidden" => 4,
            "Unsupported protocol version" => 5,
            _ => return None,
        },
    };
    let sid = String::new();
    let error = match code {
        0 => RequestError::UnknownTransport { transport: None },
        1 => RequestError::UnknownSid { sid },
        2 => RequestError::BadHandshakeMethod { method: sid },
        3 if is_websocket => RequestError::TransportHandshakeError,
        3 => RequestError::TransportMismatch {
            transport: Transport::Polling,
            previous_transport: Transport::WebSocket,
        },
        4 => RequestError::Forbidden { message: None },
        5 => {
            return Some(
                "the server does not speak this revision of the protocol: set `version(Version::V2)` for a server of Socket.IO 2, or `allow_eio3` on a newer one for an old client",
            );
        }
        _ => return None,
    };
    Some(error.hint())
}

/// Says whether a body of polling begins as Engine.IO 3 does: the length of the open packet, and that.
pub(crate) fn is_of_old_server(body: &[u8]) -> bool {
    let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && body[digits..].starts_with(b":0{")
}

/// The hint for the code with which a WebSocket was closed.
pub(crate) fn close_code(code: u16) -> Option<&'static str> {
    match code {
        1006 => Some(
            "the connection broke without a farewell: the server ended, or a proxy closed it, perhaps because it was silent for longer than the proxy allows",
        ),
        1009 => Some(TOO_LARGE),
        1012 | 1013 => Some("the server restarts or is busy; the client connects again by itself"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_own_sentences_are_used_for_its_codes() {
        let hint = |code| {
            answer(
                false,
                400,
                None,
                &format!(r#"{{"code":{code},"message":"x"}}"#),
            )
        };
        for code in 0..=5 {
            assert!(hint(code).is_some(), "{code}");
        }
        assert!(hint(6).is_none());
        assert_eq!(answer(true, 400, None, "Session ID unknown"), hint(1));
        let unknown = RequestError::UnknownSid { sid: String::new() };
        assert_eq!(hint(1).as_deref(), Some(unknown.hint()));
    }

    #[test]
    fn an_old_open_packet_is_recognised() {
        assert!(is_of_old_server(br#"96:0{"sid":"a"}2:40"#));
        for other in [&b""[..], b"0{}", b"96", b"96:", b":0{", b"4:2"] {
            assert!(!is_of_old_server(other), "{other:?}");
        }
    }

    #[test]
    fn other_servers_are_told_apart() {
        let hint =
            |status, body| answer(false, status, Some("https://b"), body).unwrap_or_default();
        assert!(hint(200, "<!doctype html>").contains("single-page"));
        assert!(hint(301, "").contains("https://b"));
        assert!(hint(404, "").contains("`path`"));
        assert!(hint(502, "").contains("proxy"));
        assert_eq!(answer(false, 418, None, ""), None);
    }
}
