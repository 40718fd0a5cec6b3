//! Which hint fits a failed connection; the server's own where the server has told its code.

use serde_json::Value;
use socketio_proto::Hint;
use socketio_proto::engine::{RequestError, Transport};

pub(crate) const OLD_SERVER: &str = "It seems you are trying to reach a Socket.IO server in v2.x with a v3.x client, but they are not compatible (more information here: https://socket.io/docs/v3/migrating-from-2-x-to-3-0/)";

pub(crate) const NOT_JOINED: &str = "the session is open, but the server does not let the client into the namespace: look for a middleware of it that never calls `next`, and whether what answers is a Socket.IO server";

pub(crate) const SENT_AWAY: &str = "the server sent the client away before it had let it into the namespace: look for a middleware of it that calls `disconnect`";

pub(crate) const KICKED: &str = "the server's application called `disconnect` on this socket; the client comes back when `connect` is called";

pub(crate) const CLOSED: &str = "the server, or a proxy before it, closed the whole connection in good order: it restarts or ends, closes what is silent for too long, or its application closed it (`disconnect(true)`)";

const OTHER_CODE: &str = "the code says why the server closed the WebSocket (RFC 6455, section 7.4.1): look into its log";

pub(crate) const ENCODED: &str = "something in front of the server compresses what it is not to: let it leave out the path of Socket.IO, or use gzip";

pub(crate) const NO_MESSAGE: &str = "look for a middleware of the server that refuses without saying why: `next(new Error(\"why\"))` says it";

pub(crate) const NOT_PARSED: &str = "what the server sent is no packet of Socket.IO: look whether it uses another parser (MessagePack, say), or whether something in between changes messages";

/// The hint for an answer that is not what it should be.
pub(crate) fn answer(is_websocket: bool, status: u16, body: &str) -> Option<Hint> {
    if let Some(hint) = engine_error(is_websocket, status, body) {
        return Some(hint);
    }
    let is_page = body.trim_start().get(..1) == Some("<");
    Some(match status {
        200 if is_websocket => Hint::NoWebSocket,
        200 if is_page => Hint::Page,
        200 => Hint::NotSocketIo,
        301 | 302 | 303 | 307 | 308 => Hint::Redirect,
        // nginx and Go have these words.
        400 if body.contains("to HTTPS port") || body.contains("to an HTTPS server") => {
            Hint::TlsWanted
        }
        401 | 407 => Hint::Credentials,
        403 => Hint::Forbidden,
        404 => Hint::NotFound,
        413 => Hint::TooLarge,
        426 if is_websocket => Hint::UpgradeStripped,
        426 => Hint::PlainWebSocket,
        429 | 503 => Hint::Busy,
        502 | 504 => Hint::Gateway,
        _ => return None,
    })
}

/// The hint for a refusal with a code of Engine.IO.
fn engine_error(is_websocket: bool, status: u16, body: &str) -> Option<Hint> {
    let code = match serde_json::from_str::<Value>(body) {
        Ok(object) => {
            object.get("message")?.as_str()?;
            object.get("code")?.as_u64()?
        }
        // A refused upgrade has the bare message, and status 400 whatever it is.
        Err(_) if !is_websocket || status != 400 => return None,
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
        5 => RequestError::UnsupportedProtocol { protocol: 4 },
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
///
/// Spec: RFC 6455, section 7.4.1.
pub(crate) fn close_code(code: u16) -> &'static str {
    match code {
        1000 | 1001 | 1005 => CLOSED,
        1006 => Hint::Broken.as_str(),
        1008 => Hint::Forbidden.as_str(),
        1009 => Hint::TooLarge.as_str(),
        1012 | 1013 => Hint::Busy.as_str(),
        _ => OTHER_CODE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_own_hints_are_used_for_its_codes() {
        let hint = |code| answer(false, 400, &format!(r#"{{"code":{code},"message":"x"}}"#));
        let expected = [
            Hint::Transport,
            Hint::Sticky,
            Hint::HandshakeMethod,
            Hint::LatePoll,
            Hint::AllowRequest,
            Hint::Revision,
        ];
        assert_eq!([0, 1, 2, 3, 4, 5].map(hint), expected.map(Some));
        assert_eq!(hint(6), None);
        let websocket = |body| answer(true, 400, body);
        assert_eq!(websocket("Session ID unknown"), Some(Hint::Sticky));
        assert_eq!(websocket("Bad request"), Some(Hint::UpgradeStripped));
        assert_eq!(websocket("Forbidden"), Some(Hint::AllowRequest));
        // In these words others refuse, too.
        for is_websocket in [false, true] {
            assert_eq!(
                answer(is_websocket, 403, "Forbidden"),
                Some(Hint::Forbidden)
            );
        }
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
        for (status, body, hint) in [
            (200, "<!doctype html>", Some(Hint::Page)),
            (200, "ok", Some(Hint::NotSocketIo)),
            (301, "", Some(Hint::Redirect)),
            (
                400,
                "HTTP request was sent to HTTPS port",
                Some(Hint::TlsWanted),
            ),
            (404, "", Some(Hint::NotFound)),
            (418, "", None),
            (426, "", Some(Hint::PlainWebSocket)),
            (502, "", Some(Hint::Gateway)),
        ] {
            assert_eq!(answer(false, status, body), hint, "{status}");
        }
        assert_eq!(
            answer(true, 200, "<!doctype html>"),
            Some(Hint::NoWebSocket)
        );
        assert_eq!(answer(true, 426, ""), Some(Hint::UpgradeStripped));
    }
}
