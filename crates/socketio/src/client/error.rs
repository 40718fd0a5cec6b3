//! Why a client cannot connect, and why it is connected no more.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde_json::Value;
use socketio_proto::engine::CloseReason;
use socketio_proto::socket::{DisconnectReason, OldServer};
use socketio_proto::{Hint, is_unprintable};
use thiserror::Error;

use super::dial::{DialError, TlsError};
use super::hints;
use super::http::Head;
use crate::duration::DurationError;

/// Why a client cannot be built from its options.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// `auth` is not a JSON object.
    #[error("auth has to be a JSON object such as {{\"token\": \"..\"}}, not {0}")]
    Auth(String),
    /// A duration is so long that it has no end.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// A header cannot be sent.
    #[error("the header \"{name}\" cannot be sent: {reason}")]
    Header {
        /// The header's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Servers of Socket.IO 2 take no `auth` for the main namespace, which clients are in without asking.
    ///
    /// Send it with [`query`](super::ClientBuilder::query): such a server has it in its handshake.
    #[error("Socket.IO 2 has no auth for the namespace \"/\": send it with `query`")]
    NoAuth,
    /// The list of transports is empty.
    #[error("No transports available")]
    NoTransports,
    /// The URL of the proxy, or a certificate, cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The URL cannot be used.
    #[error("the URL \"{url}\" cannot be used: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a namespace could not be joined: what JavaScript gives to `connect_error`.
///
/// Printed, it is one line with all that is known; [`hint`](ConnectError::hint) says what to do.
#[derive(Clone, Debug)]
pub struct ConnectError {
    cause: Cause,
}

#[derive(Clone, Debug)]
enum Cause {
    Auth(Box<str>),
    Build(Box<str>),
    /// The session ended before the namespace was joined, for this reason and by that.
    Closed(DisconnectReason, Option<Box<TransportError>>),
    OldServer,
    Refused {
        message: Box<str>,
        data: Option<Box<Value>>,
    },
    /// Something did not come in time.
    Timeout {
        what: Box<str>,
        hint: &'static str,
    },
    Transport(Box<TransportError>),
}

impl ConnectError {
    pub(crate) fn auth(message: String) -> ConnectError {
        Cause::Auth(message.into()).into()
    }

    pub(crate) fn closed(reason: DisconnectReason, error: Option<&TransportError>) -> ConnectError {
        Cause::Closed(reason, error.cloned().map(Box::new)).into()
    }

    pub(crate) fn old_server() -> ConnectError {
        Cause::OldServer.into()
    }

    /// The session was not opened in time.
    pub(crate) fn timeout(what: &str, limit: Option<Duration>) -> ConnectError {
        Cause::Timeout {
            what: format!("{what} within {:?}", limit.unwrap_or_default()).into(),
            hint: Hint::Timeout.as_str(),
        }
        .into()
    }

    /// The namespace was not joined in time.
    pub(crate) fn not_joined(nsp: &str, limit: Option<Duration>) -> ConnectError {
        let limit = limit.unwrap_or_default();
        let what = format!("the server did not answer CONNECT for {nsp} within {limit:?}");
        Cause::Timeout {
            what: what.into(),
            hint: hints::NOT_JOINED,
        }
        .into()
    }

    /// What the server says in CONNECT_ERROR: an object with a message and data, a text from before
    /// revision 5, or any value from Socket.IO 2.
    pub(crate) fn refused(data: &str) -> ConnectError {
        let value: Value = serde_json::from_str(data).unwrap_or_default();
        let (message, data) = match value {
            Value::Object(mut object) => match object.remove("message") {
                Some(Value::String(message)) => (message, object.remove("data")),
                Some(other) => (other.to_string(), object.remove("data")),
                None => (String::new(), Some(Value::Object(object))),
            },
            Value::String(message) => (message, None),
            other => (String::new(), Some(other).filter(|other| !other.is_null())),
        };
        Cause::Refused {
            message: message.into(),
            data: data.map(Box::new),
        }
        .into()
    }

    /// The message, in the words of the JavaScript client: `xhr poll error`, `websocket error`,
    /// `timeout`, `Invalid namespace`, or what a middleware of the server says.
    pub fn message(&self) -> &str {
        match &self.cause {
            Cause::Auth(message) | Cause::Build(message) => message,
            Cause::Closed(reason, error) => match error {
                Some(error) => error.message,
                None => reason.as_str(),
            },
            Cause::OldServer => hints::OLD_SERVER,
            Cause::Refused { message, .. } => message,
            Cause::Timeout { .. } => "timeout",
            Cause::Transport(error) => error.message,
        }
    }

    /// The status of the HTTP answer that was not what it should be.
    #[doc(alias = "description")]
    pub fn status(&self) -> Option<u16> {
        self.transport_error()?.status
    }

    /// The body of that answer, up to 16 KiB of it.
    #[doc(alias = "context")]
    pub fn body(&self) -> Option<&str> {
        self.transport_error()?.body.as_deref()
    }

    /// What exactly happened, if there is more to say than the message.
    pub fn detail(&self) -> Option<&str> {
        match &self.cause {
            Cause::Timeout { what, .. } => Some(what),
            _ => self.transport_error()?.detail.as_deref(),
        }
    }

    /// The code with which the WebSocket was closed; 1006 if it broke without one.
    pub fn close_code(&self) -> Option<u16> {
        self.transport_error()?.close_code
    }

    /// The data that a middleware of the server has given along.
    pub fn data(&self) -> Option<&Value> {
        match &self.cause {
            Cause::Refused { data, .. } => data.as_deref(),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match &self.cause {
            Cause::Transport(error) => error.hint(),
            Cause::Closed(DisconnectReason::IoServerDisconnect, _) => Some(hints::SENT_AWAY),
            Cause::Closed(reason, error) => hint(*reason, error.as_deref()),
            Cause::OldServer => Some(Hint::OldServer.as_str()),
            Cause::Refused { message, .. } if &**message == "Invalid namespace" => {
                Some(Hint::Namespace.as_str())
            }
            Cause::Refused { message, .. } if message.is_empty() => Some(hints::NO_MESSAGE),
            Cause::Timeout { hint, .. } => Some(hint),
            Cause::Auth(_) | Cause::Build(_) | Cause::Refused { .. } => None,
        }
    }

    /// Says whether the server has refused the namespace: then the socket does not try again by itself.
    pub fn is_refused(&self) -> bool {
        matches!(self.cause, Cause::Refused { .. })
    }

    fn transport_error(&self) -> Option<&TransportError> {
        match &self.cause {
            Cause::Transport(error) => Some(error),
            Cause::Closed(_, error) => error.as_deref(),
            _ => None,
        }
    }
}

impl From<Cause> for ConnectError {
    fn from(cause: Cause) -> ConnectError {
        ConnectError { cause }
    }
}

impl From<BuildError> for ConnectError {
    fn from(error: BuildError) -> ConnectError {
        Cause::Build(error.to_string().into()).into()
    }
}

impl From<TransportError> for ConnectError {
    fn from(error: TransportError) -> ConnectError {
        Cause::Transport(Box::new(error)).into()
    }
}

impl From<OldServer> for ConnectError {
    fn from(_: OldServer) -> ConnectError {
        ConnectError::old_server()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f = &mut OneLine(f);
        match &self.cause {
            Cause::Transport(error) => error.write(f),
            Cause::Auth(message) => write!(f, "auth could not be provided: {message}"),
            Cause::Closed(reason, error) => {
                f.write_str("the connection ended before the namespace was joined: ")?;
                write_reason(f, *reason, error.as_deref())
            }
            Cause::Refused { message, data } => {
                match &**message {
                    "" => f.write_str("the server refused the namespace without a message")?,
                    message => f.write_str(message)?,
                }
                match data {
                    Some(data) => write!(f, " ({data})"),
                    None => Ok(()),
                }
            }
            Cause::Timeout { what, .. } => write!(f, "timeout: {what}"),
            Cause::Build(_) | Cause::OldServer => f.write_str(self.message()),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Why the socket is connected no more: what JavaScript gives to `disconnect`.
#[derive(Clone, Debug)]
pub struct Disconnected {
    reason: DisconnectReason,
    will_reconnect: bool,
    error: Option<Box<TransportError>>,
}

impl Disconnected {
    pub(crate) fn new(
        reason: DisconnectReason,
        will_reconnect: bool,
        error: Option<&TransportError>,
    ) -> Disconnected {
        Disconnected {
            reason,
            will_reconnect,
            error: error.cloned().map(Box::new),
        }
    }

    /// Why, in the words of the JavaScript client.
    pub fn reason(&self) -> DisconnectReason {
        self.reason
    }

    /// Says whether the client connects again by itself.
    pub fn will_reconnect(&self) -> bool {
        self.will_reconnect
    }

    /// What happened below, in the words of the JavaScript client, such as `xhr post error`.
    #[doc(alias = "details")]
    pub fn message(&self) -> Option<&str> {
        self.error.as_ref().map(|error| error.message)
    }

    /// What exactly happened, if there is more to say.
    pub fn description(&self) -> Option<&str> {
        self.error.as_ref()?.detail.as_deref()
    }

    /// The status of the HTTP answer that was not what it should be.
    pub fn status(&self) -> Option<u16> {
        self.error.as_ref()?.status
    }

    /// The body of that answer, up to 16 KiB of it.
    #[doc(alias = "context")]
    pub fn body(&self) -> Option<&str> {
        self.error.as_ref()?.body.as_deref()
    }

    /// The code with which the WebSocket was closed; 1006 if it broke without one.
    pub fn close_code(&self) -> Option<u16> {
        self.error.as_ref()?.close_code
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        hint(self.reason, self.error.as_deref())
    }
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_reason(&mut OneLine(f), self.reason, self.error.as_deref())
    }
}

/// What to do about a session that has ended.
fn hint(reason: DisconnectReason, error: Option<&TransportError>) -> Option<&'static str> {
    match error.and_then(TransportError::hint) {
        None if reason == DisconnectReason::PingTimeout => Some(Hint::PingTimeout.as_str()),
        None if reason == DisconnectReason::IoServerDisconnect => Some(hints::KICKED),
        None if reason == DisconnectReason::TransportClose => Some(hints::CLOSED),
        None if reason == DisconnectReason::ParseError => Some(hints::NOT_PARSED),
        // A request or a connection that broke below HTTP.
        None if reason == DisconnectReason::TransportError
            && error.is_some_and(|error| error.status.is_none()) =>
        {
            Some(Hint::Broken.as_str())
        }
        hint => hint,
    }
}

/// Why a session has ended, without saying it twice.
fn write_reason(
    f: &mut impl fmt::Write,
    reason: DisconnectReason,
    error: Option<&TransportError>,
) -> fmt::Result {
    match error {
        Some(error) if error.message == reason.as_str() => error.write(f),
        Some(error) => {
            write!(f, "{reason}: ")?;
            error.write(f)
        }
        None => write!(f, "{reason}: {}", meaning(reason)),
    }
}

/// What a reason means of which nothing more is known.
fn meaning(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::ForcedClose => "this side has closed the connection",
        DisconnectReason::IoClientDisconnect => "this side has left the namespace",
        DisconnectReason::IoServerDisconnect => {
            "the server has sent this client away from the namespace"
        }
        DisconnectReason::PingTimeout => "nothing came from the server for too long",
        _ => "the connection has ended, and nothing tells why",
    }
}

/// Writes texts of which a server may have made a part: on one line, without control characters or
/// marks that turn the direction of what follows.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (n, part) in text.split(is_unprintable).enumerate() {
            if n > 0 {
                self.0.write_str(" ")?;
            }
            self.0.write_str(part)?;
        }
        Ok(())
    }
}

/// What went wrong with a transport.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransportError {
    /// In the words of the JavaScript client.
    pub(crate) message: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) body: Option<Box<str>>,
    pub(crate) close_code: Option<u16>,
    pub(crate) detail: Option<Cow<'static, str>>,
    hint: Option<&'static str>,
}

pub(crate) const POLL_ERROR: &str = "xhr poll error";
pub(crate) const POST_ERROR: &str = "xhr post error";
pub(crate) const WEBSOCKET_ERROR: &str = "websocket error";

impl TransportError {
    /// Something went wrong below HTTP.
    pub(crate) fn broken(message: &'static str, detail: impl fmt::Display) -> TransportError {
        TransportError {
            message,
            detail: Some(detail.to_string().into()),
            ..TransportError::default()
        }
    }

    /// The connection broke before anything was answered.
    pub(crate) fn unanswered(
        message: &'static str,
        detail: impl fmt::Display,
        hint: Option<&'static str>,
    ) -> TransportError {
        TransportError {
            hint,
            ..TransportError::broken(message, detail)
        }
    }

    /// The server could not be reached.
    pub(crate) fn unreachable(message: &'static str, error: &DialError) -> TransportError {
        TransportError::unanswered(message, error, error.hint())
    }

    /// The server has answered, but not as it should.
    pub(crate) fn refused(message: &'static str, head: &Head, body: &[u8]) -> TransportError {
        let error = TransportError::answer(message, head.status, head.location(), body);
        match head.unknown_encoding() {
            Some(encoding) => error.packed_with(&encoding),
            None => error,
        }
    }

    fn answer(
        message: &'static str,
        status: u16,
        location: Option<&str>,
        body: &[u8],
    ) -> TransportError {
        let body = &body[..body.len().min(MAX_BODY)];
        let body = String::from_utf8_lossy(body);
        TransportError {
            message,
            status: Some(status),
            detail: location.map(|location| format!("it redirects to {location}").into()),
            hint: hints::answer(message == WEBSOCKET_ERROR, status, &body).map(Hint::as_str),
            body: Some(body.into()),
            ..TransportError::default()
        }
    }

    /// Adds that the answer's body cannot be read, since it is packed in a way that is not known here.
    pub(crate) fn packed_with(mut self, encoding: &str) -> TransportError {
        let packed = format!("its body is compressed with {encoding}, for which nobody has asked");
        self.detail = Some(match self.detail {
            Some(detail) => format!("{detail}; {packed}").into(),
            None => packed.into(),
        });
        if self.status == Some(200) || self.hint.is_none() {
            self.hint = Some(hints::ENCODED);
        }
        self
    }

    /// The WebSocket was closed.
    pub(crate) fn closed(code: u16, reason: &str) -> TransportError {
        TransportError {
            message: "websocket connection closed",
            close_code: Some(code),
            detail: Some(reason.to_owned().into()).filter(|_| !reason.is_empty()),
            hint: Some(hints::close_code(code)),
            ..TransportError::default()
        }
    }

    /// A server of Socket.IO 2 has opened the session in its own way.
    pub(crate) fn old_server() -> TransportError {
        TransportError {
            hint: Some(Hint::OldServer.as_str()),
            ..TransportError::broken("server error", "the answer is of Engine.IO 3, not 4")
        }
    }

    /// A session that was being opened has ended, and no transport has failed.
    pub(crate) fn ended(close: CloseReason) -> TransportError {
        TransportError::found(close.as_str(), Some(meaning(reason(close)).into()))
    }

    /// The session has found something out by itself.
    pub(crate) fn found(
        message: &'static str,
        detail: Option<Cow<'static, str>>,
    ) -> TransportError {
        TransportError {
            message,
            detail,
            ..TransportError::default()
        }
    }

    /// Adds what the server has sent that is not what it should be: the body of an answer to polling,
    /// or a packet.
    pub(crate) fn because_of(mut self, came: &Came) -> TransportError {
        let text = String::from_utf8_lossy(&came.bytes);
        let hint = hints::answer(false, 200, &text);
        self.hint = hint.or(Some(Hint::NotSocketIo)).map(Hint::as_str);
        match came.is_body {
            true => {
                self.status = Some(200);
                self.body = Some(text.into());
            }
            false => {
                let detail = self.detail.unwrap_or_default();
                let start: String = text.chars().take(LINE).collect();
                self.detail = Some(format!("{detail}: {start:?}").into());
            }
        }
        self
    }

    /// Says whether a GET was refused because the session has moved to WebSocket: 400 with code 3.
    pub(crate) fn is_late_poll(&self) -> bool {
        self.status == Some(400) && self.hint == Some(Hint::LatePoll.as_str())
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

/// What the server has sent that has ended the session.
#[derive(Debug)]
pub(crate) struct Came {
    /// The first bytes of it.
    pub(crate) bytes: Vec<u8>,
    /// It is the body of an answer to polling.
    pub(crate) is_body: bool,
}

/// How much of a body is kept.
pub(crate) const MAX_BODY: usize = 16 * 1024;
/// How much of a body or packet is printed.
pub(crate) const LINE: usize = 200;

impl TransportError {
    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        f.write_str(self.message)?;
        if let Some(status) = self.status {
            write!(f, ": the server answered {status}")?;
            let body = self.body.as_deref().unwrap_or_default().trim();
            let line: String = body.chars().take(LINE).collect();
            if !line.is_empty() {
                write!(f, " ({line})")?;
            }
        }
        if let Some(code) = self.close_code {
            write!(f, " with code {code}")?;
        }
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut OneLine(f))
    }
}

/// The reason that sockets are told when their session has ended.
pub(crate) fn reason(reason: CloseReason) -> DisconnectReason {
    match reason {
        CloseReason::ForcedClose => DisconnectReason::ForcedClose,
        CloseReason::ParseError => DisconnectReason::ParseError,
        CloseReason::PingTimeout => DisconnectReason::PingTimeout,
        CloseReason::TransportClose => DisconnectReason::TransportClose,
        CloseReason::TransportError => DisconnectReason::TransportError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C013
    #[test]
    fn a_refusal_has_message_and_data() {
        let error = ConnectError::refused(r#"{"message":"not authorized","data":{"code":42}}"#);
        assert_eq!(error.message(), "not authorized");
        assert_eq!(error.data(), Some(&serde_json::json!({"code": 42})));
        assert!(error.is_refused() && error.hint().is_none());
        assert_eq!(error.to_string(), r#"not authorized ({"code":42})"#);
        let error = ConnectError::refused(r#"{"message":"Invalid namespace"}"#);
        assert!(error.hint().is_some());
        assert_eq!(ConnectError::refused("\"old\"").message(), "old");
        let bare = ConnectError::refused("");
        assert_eq!((bare.message(), bare.hint()), ("", Some(hints::NO_MESSAGE)));
    }

    // M02, M03, M04
    #[test]
    fn a_refused_request_says_which_answer_came() {
        let body = r#"{"code":1,"message":"Session ID unknown"}"#;
        let error = ConnectError::from(TransportError::answer(
            POLL_ERROR,
            400,
            None,
            body.as_bytes(),
        ));
        assert_eq!(
            (error.message(), error.status()),
            ("xhr poll error", Some(400))
        );
        assert_eq!(error.body(), Some(body));
        assert!(error.hint().expect("a hint").contains("sticky sessions"));
        assert_eq!(
            error.to_string(),
            format!("xhr poll error: the server answered 400 ({body})")
        );
    }

    #[test]
    fn a_redirect_says_where_to() {
        let error = TransportError::answer(POLL_ERROR, 301, Some("https://b"), b"");
        assert_eq!(error.hint(), Some(Hint::Redirect.as_str()));
        assert_eq!(
            error.to_string(),
            "xhr poll error: the server answered 301: it redirects to https://b"
        );
    }

    #[test]
    fn no_reason_is_told_twice() {
        for close in [
            CloseReason::ForcedClose,
            CloseReason::ParseError,
            CloseReason::PingTimeout,
            CloseReason::TransportClose,
            CloseReason::TransportError,
        ] {
            let told = |error| Disconnected::new(reason(close), true, Some(&error)).to_string();
            let text = close.as_str();
            let bare = Disconnected::new(reason(close), true, None).to_string();
            assert_eq!(told(TransportError::ended(close)), bare);
            assert!(bare.len() > text.len() + 2, "{bare}");
            let detailed = TransportError::broken(text, "invalid payload");
            assert_eq!(told(detailed), format!("{text}: invalid payload"));
            let other = TransportError::broken("websocket error", "reset");
            assert_eq!(told(other), format!("{text}: websocket error: reset"));
        }
    }

    #[test]
    fn a_closed_websocket_says_with_which_code() {
        let error = TransportError::closed(1009, "too large");
        let gone = Disconnected::new(DisconnectReason::TransportClose, true, Some(&error));
        assert_eq!(gone.close_code(), Some(1009));
        assert_eq!(gone.message(), Some("websocket connection closed"));
        assert!(gone.hint().is_some_and(|hint| hint.contains("max_payload")));
        assert_eq!(
            gone.to_string(),
            "transport close: websocket connection closed with code 1009: too large"
        );
    }
}
