//! What hooks may see of a request, and what they may say.

use std::fmt;
use std::net::SocketAddr;

use http::{HeaderMap, Method, Uri};
use serde_json::Value;
use socketio_proto::engine::RequestError;

/// A request as hooks see it.
#[derive(Clone)]
#[non_exhaustive]
pub struct RequestInfo {
    /// The method.
    pub method: Method,
    /// The path and query.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The peer's address, if the server knows it.
    pub address: Option<SocketAddr>,
}

impl fmt::Debug for RequestInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold secrets: cookies, authorizations, tokens among the subprotocols.
        f.debug_struct("RequestInfo")
            .field("method", &self.method)
            .field("uri", &self.uri)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A request that was refused; see [`Server::on_connection_error`](crate::Server::on_connection_error).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionError {
    /// The request.
    #[doc(alias = "req")]
    pub request: RequestInfo,
    /// The cause as a number: 0 transport unknown, 1 session id unknown, 2 bad handshake method,
    /// 3 bad request, 4 forbidden, 5 unsupported protocol version.
    pub code: u8,
    /// The cause in words. What `allow_request` gave as its reason, which the client reads
    /// instead, is in `context`.
    pub message: String,
    /// What was wrong, in detail: the object that the JavaScript server gives.
    pub context: Value,
    /// The likely cause and its remedy, in one sentence.
    pub hint: &'static str,
}

impl ConnectionError {
    pub(crate) fn new(request: RequestInfo, error: &RequestError) -> ConnectionError {
        ConnectionError {
            request,
            code: error.code(),
            message: error.text().to_owned(),
            context: error.context(),
            hint: error.hint().as_str(),
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {}): {}", self.message, self.code, self.hint)
    }
}

/// What `allow_request` refuses with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forbidden(pub(crate) Option<String>);

impl Forbidden {
    /// Refuses; the client reads "Forbidden".
    pub fn new() -> Forbidden {
        Forbidden::default()
    }
}

impl From<&str> for Forbidden {
    fn from(message: &str) -> Forbidden {
        Forbidden(Some(message.to_owned()))
    }
}

impl From<String> for Forbidden {
    fn from(message: String) -> Forbidden {
        Forbidden(Some(message))
    }
}

/// What an engine middleware refuses with.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineRefusal {
    /// Answers 400 with code 3, "Bad request".
    Failed(String),
    /// Answers with a response of the middleware's own.
    Response(http::Response<bytes::Bytes>),
}
