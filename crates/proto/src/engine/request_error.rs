//! Why a request was refused: what the client reads, and what the server's owner needs to know.
//!
//! Codes, messages and the shape of the context are the reference's.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use serde_json::{Value, json};

use super::packet::Transport;
use crate::Hint;

/// Why the server refused a request.
///
/// The client reads code and message. Both are part of the protocol: they never change.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// The transport in the query is missing, unknown or disabled (code 0).
    UnknownTransport {
        /// The name in the query.
        transport: Option<String>,
    },
    /// No session has this id (code 1).
    ///
    /// With several servers this mostly means that the requests of one client reach different
    /// servers: turn on sticky sessions or routing, or allow WebSocket only.
    UnknownSid {
        /// The id in the query.
        sid: String,
    },
    /// This server has closed the session with this id not long ago (code 1).
    ///
    /// A request was late, as after a namespace that the client may not join.
    Closed {
        /// The id in the query.
        sid: String,
    },
    /// The id names this server, and there is no such session any more (code 1).
    SessionEnded {
        /// The server that the id names.
        server: String,
    },
    /// The id names another server, and requests are not forwarded here (code 1).
    WrongServer {
        /// The server that the id names.
        server: String,
    },
    /// The id names another server, which did not answer (code 1).
    ServerUnreachable {
        /// The server that the id names.
        server: String,
        /// What went wrong.
        error: String,
    },
    /// The id names another server, and another one has forwarded the request to this one (code 1).
    Misdirected {
        /// The server that the id names.
        server: String,
    },
    /// A session can only be opened by a GET (code 2).
    BadHandshakeMethod {
        /// The method of the request.
        method: String,
    },
    /// The header `Origin` has illegal characters (code 3).
    InvalidOrigin {
        /// The header's value.
        origin: String,
    },
    /// The session uses another transport (code 3).
    ///
    /// Mostly a proxy has removed the headers of a WebSocket handshake.
    TransportMismatch {
        /// The transport in the query.
        transport: Transport,
        /// The session's transport.
        previous_transport: Transport,
    },
    /// The session was opened with another revision of the protocol (code 3).
    ProtocolMismatch {
        /// The revision in the query.
        protocol: u8,
        /// The session's revision.
        previous_protocol: u8,
    },
    /// A WebSocket was asked for without a WebSocket handshake (code 3).
    TransportHandshakeError,
    /// The transport could not be set up (code 3).
    TransportFailed {
        /// What went wrong.
        error: String,
    },
    /// JSONP is asked for, and switched off (code 3).
    JsonpDisabled,
    /// A WebSocket names polling as its transport (code 3).
    ///
    /// Mostly a native client written in Dart, whose default transports mean that.
    UpgradeOfPolling,
    /// No id could be made for the session (code 3).
    IdGenerationError {
        /// What went wrong.
        error: String,
    },
    /// A middleware refused the request (code 3).
    MiddlewareFailure,
    /// `allow_request` refused the request (code 4).
    Forbidden {
        /// What the client is to read instead of "Forbidden".
        message: Option<String>,
    },
    /// The client speaks another revision of the protocol (code 5).
    UnsupportedProtocol {
        /// The revision; all but 4 count as 3.
        protocol: u8,
    },
}

impl RequestError {
    /// Returns the number that the client reads.
    pub fn code(&self) -> u8 {
        match self {
            RequestError::UnknownTransport { .. } => 0,
            RequestError::UnknownSid { .. }
            | RequestError::Closed { .. }
            | RequestError::SessionEnded { .. }
            | RequestError::WrongServer { .. }
            | RequestError::ServerUnreachable { .. }
            | RequestError::Misdirected { .. } => 1,
            RequestError::BadHandshakeMethod { .. } => 2,
            RequestError::InvalidOrigin { .. }
            | RequestError::TransportMismatch { .. }
            | RequestError::ProtocolMismatch { .. }
            | RequestError::TransportHandshakeError
            | RequestError::TransportFailed { .. }
            | RequestError::JsonpDisabled
            | RequestError::UpgradeOfPolling
            | RequestError::IdGenerationError { .. }
            | RequestError::MiddlewareFailure => 3,
            RequestError::Forbidden { .. } => 4,
            RequestError::UnsupportedProtocol { .. } => 5,
        }
    }

    /// Returns the text that the client reads.
    pub fn message(&self) -> Cow<'_, str> {
        if let RequestError::Forbidden {
            message: Some(message),
        } = self
            && !message.is_empty()
        {
            return Cow::Borrowed(message);
        }
        Cow::Borrowed(match self {
            // No browser shows it, but whoever looks at the answer.
            RequestError::JsonpDisabled => "JSONP is disabled",
            _ => self.text(),
        })
    }

    /// Returns what the code means, whatever reason was given.
    pub fn text(&self) -> &'static str {
        match self.code() {
            0 => "Transport unknown",
            1 => "Session ID unknown",
            2 => "Bad handshake method",
            4 => "Forbidden",
            5 => "Unsupported protocol version",
            _ => "Bad request",
        }
    }

    /// Returns the status of the answer to a plain request; a refused upgrade is always 400.
    pub fn status(&self) -> u16 {
        if self.code() == 4 { 403 } else { 400 }
    }

    /// Returns the body of the answer to a plain request, which is JSON.
    pub fn body(&self) -> String {
        let message = Value::from(self.message());
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }

    /// Returns the body of the answer to a refused upgrade, which is the bare message.
    pub fn upgrade_message(&self) -> String {
        self.message().into_owned()
    }

    /// Returns the details, as the object that the reference gives.
    ///
    /// What the reference leaves undefined is null. Where an id names its server, the reference has
    /// no word for it; then the id, which may be that of a living session, is not told.
    pub fn context(&self) -> Value {
        match self {
            RequestError::UnknownTransport { transport } => json!({ "transport": transport }),
            RequestError::UnknownSid { sid } | RequestError::Closed { sid } => {
                json!({ "sid": sid })
            }
            RequestError::SessionEnded { server } => {
                json!({ "name": "SESSION_ENDED", "server": server })
            }
            RequestError::WrongServer { server } => {
                json!({ "name": "WRONG_SERVER", "server": server })
            }
            RequestError::ServerUnreachable { server, error } => {
                json!({ "name": "SERVER_UNREACHABLE", "server": server, "error": error })
            }
            RequestError::Misdirected { server } => {
                json!({ "name": "MISDIRECTED", "server": server })
            }
            RequestError::BadHandshakeMethod { method } => json!({ "method": method }),
            RequestError::InvalidOrigin { origin } => {
                json!({ "name": "INVALID_ORIGIN", "origin": origin })
            }
            RequestError::TransportMismatch {
                transport,
                previous_transport,
            } => json!({
                "name": "TRANSPORT_MISMATCH",
                "transport": transport.as_str(),
                "previousTransport": previous_transport.as_str(),
            }),
            RequestError::ProtocolMismatch {
                protocol,
                previous_protocol,
            } => json!({
                "name": "PROTOCOL_MISMATCH",
                "protocol": protocol,
                "previousProtocol": previous_protocol,
            }),
            RequestError::TransportHandshakeError => json!({ "name": "TRANSPORT_HANDSHAKE_ERROR" }),
            RequestError::TransportFailed { error } => {
                json!({ "name": "TRANSPORT_HANDSHAKE_ERROR", "error": error })
            }
            RequestError::JsonpDisabled => json!({ "name": "JSONP_DISABLED" }),
            RequestError::UpgradeOfPolling => json!({ "name": "UPGRADE_OF_POLLING" }),
            RequestError::IdGenerationError { error } => {
                json!({ "name": "ID_GENERATION_ERROR", "error": error })
            }
            RequestError::MiddlewareFailure => json!({ "name": "MIDDLEWARE_FAILURE" }),
            RequestError::Forbidden { message } => json!({ "message": message }),
            RequestError::UnsupportedProtocol { protocol } => json!({ "protocol": protocol }),
        }
    }

    /// Returns the likely cause and its remedy.
    pub fn hint(&self) -> Hint {
        match self {
            RequestError::UnknownTransport { .. } => Hint::Transport,
            RequestError::UnknownSid { .. } => Hint::Sticky,
            RequestError::Closed { .. } | RequestError::SessionEnded { .. } => Hint::SessionEnded,
            RequestError::WrongServer { .. } => Hint::WrongServer,
            RequestError::ServerUnreachable { .. } => Hint::ServerUnreachable,
            RequestError::Misdirected { .. } => Hint::Misdirected,
            RequestError::BadHandshakeMethod { .. } => Hint::HandshakeMethod,
            RequestError::InvalidOrigin { .. } => Hint::InvalidOrigin,
            RequestError::TransportMismatch {
                transport: Transport::WebSocket,
                ..
            }
            | RequestError::TransportHandshakeError => Hint::UpgradeStripped,
            RequestError::TransportMismatch {
                transport: Transport::Polling,
                ..
            } => Hint::LatePoll,
            RequestError::ProtocolMismatch { .. } => Hint::OtherRevision,
            RequestError::TransportFailed { .. } => Hint::TransportFailed,
            RequestError::JsonpDisabled => Hint::Jsonp,
            RequestError::UpgradeOfPolling => Hint::WebSocketOnly,
            RequestError::IdGenerationError { .. } => Hint::SessionId,
            RequestError::MiddlewareFailure => Hint::Middleware,
            RequestError::Forbidden { .. } => Hint::AllowRequest,
            RequestError::UnsupportedProtocol { .. } => Hint::Revision,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(RequestError, u8, &'static str, Value)> {
        let server = || "a:1".to_owned();
        let mismatch = |transport, previous_transport| RequestError::TransportMismatch {
            transport,
            previous_transport,
        };
        vec![
            (
                RequestError::UnknownTransport {
                    transport: Some("foo".to_owned()),
                },
                0,
                "Transport unknown",
                json!({ "transport": "foo" }),
            ),
            (
                RequestError::UnknownTransport { transport: None },
                0,
                "Transport unknown",
                json!({ "transport": null }),
            ),
            (
                RequestError::UnknownSid {
                    sid: "a".to_owned(),
                },
                1,
                "Session ID unknown",
                json!({ "sid": "a" }),
            ),
            (
                RequestError::Closed {
                    sid: "a".to_owned(),
                },
                1,
                "Session ID unknown",
                json!({ "sid": "a" }),
            ),
            (
                RequestError::SessionEnded { server: server() },
                1,
                "Session ID unknown",
                json!({ "name": "SESSION_ENDED", "server": "a:1" }),
            ),
            (
                RequestError::WrongServer { server: server() },
                1,
                "Session ID unknown",
                json!({ "name": "WRONG_SERVER", "server": "a:1" }),
            ),
            (
                RequestError::ServerUnreachable {
                    server: server(),
                    error: "e".to_owned(),
                },
                1,
                "Session ID unknown",
                json!({ "name": "SERVER_UNREACHABLE", "server": "a:1", "error": "e" }),
            ),
            (
                RequestError::Misdirected { server: server() },
                1,
                "Session ID unknown",
                json!({ "name": "MISDIRECTED", "server": "a:1" }),
            ),
            (
                RequestError::BadHandshakeMethod {
                    method: "PUT".to_owned(),
                },
                2,
                "Bad handshake method",
                json!({ "method": "PUT" }),
            ),
            (
                RequestError::InvalidOrigin {
                    origin: "\u{1}".to_owned(),
                },
                3,
                "Bad request",
                json!({ "name": "INVALID_ORIGIN", "origin": "\u{1}" }),
            ),
            (
                mismatch(Transport::WebSocket, Transport::Polling),
                3,
                "Bad request",
                json!({
                    "name": "TRANSPORT_MISMATCH",
                    "transport": "websocket",
                    "previousTransport": "polling",
                }),
            ),
            (
                mismatch(Transport::Polling, Transport::WebSocket),
                3,
                "Bad request",
                json!({
                    "name": "TRANSPORT_MISMATCH",
                    "transport": "polling",
                    "previousTransport": "websocket",
                }),
            ),
            (
                RequestError::ProtocolMismatch {
                    protocol: 3,
                    previous_protocol: 4,
                },
                3,
                "Bad request",
                json!({ "name": "PROTOCOL_MISMATCH", "protocol": 3, "previousProtocol": 4 }),
            ),
            (
                RequestError::TransportHandshakeError,
                3,
                "Bad request",
                json!({ "name": "TRANSPORT_HANDSHAKE_ERROR" }),
            ),
            (
                RequestError::JsonpDisabled,
                3,
                "JSONP is disabled",
                json!({ "name": "JSONP_DISABLED" }),
            ),
            (
                RequestError::UpgradeOfPolling,
                3,
                "Bad request",
                json!({ "name": "UPGRADE_OF_POLLING" }),
            ),
            (
                RequestError::TransportFailed {
                    error: "e".to_owned(),
                },
                3,
                "Bad request",
                json!({ "name": "TRANSPORT_HANDSHAKE_ERROR", "error": "e" }),
            ),
            (
                RequestError::IdGenerationError {
                    error: "e".to_owned(),
                },
                3,
                "Bad request",
                json!({ "name": "ID_GENERATION_ERROR", "error": "e" }),
            ),
            (
                RequestError::MiddlewareFailure,
                3,
                "Bad request",
                json!({ "name": "MIDDLEWARE_FAILURE" }),
            ),
            (
                RequestError::Forbidden { message: None },
                4,
                "Forbidden",
                json!({ "message": null }),
            ),
            (
                RequestError::UnsupportedProtocol { protocol: 3 },
                5,
                "Unsupported protocol version",
                json!({ "protocol": 3 }),
            ),
        ]
    }

    // E004, E005, E006, E007, E008, E009, E010, E012, E015, E062
    #[test]
    fn every_error_has_the_code_text_and_context_of_the_reference() {
        for (error, code, message, context) in all() {
            assert_eq!(error.code(), code);
            assert_eq!(error.message(), message);
            assert_eq!(error.to_string(), message);
            assert_eq!(error.upgrade_message(), message);
            assert_eq!(error.context(), context);
            assert_eq!(error.status(), if code == 4 { 403 } else { 400 });
            assert_eq!(
                error.body(),
                format!(r#"{{"code":{code},"message":"{message}"}}"#)
            );
        }
    }

    // E010, E014
    #[test]
    fn message_of_allow_request_replaces_forbidden() {
        let error = RequestError::Forbidden {
            message: Some("a \"b\"".to_owned()),
        };
        assert_eq!(error.body(), r#"{"code":4,"message":"a \"b\""}"#);
        assert_eq!(error.upgrade_message(), "a \"b\"");
        assert_eq!(error.context(), json!({ "message": "a \"b\"" }));
        let error = RequestError::Forbidden {
            message: Some(String::new()),
        };
        assert_eq!(error.message(), "Forbidden");
    }
}
