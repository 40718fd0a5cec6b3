//! What to do about a connection that fails: one sentence for each cause.
//!
//! The server says it with a refusal, the client with an error and `sio doctor` with a finding, all in
//! these words. This does not find the cause.

use std::fmt;

/// The likely cause of a failure and its remedy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// `allow_request` of the server refused.
    AllowRequest,
    /// The connection broke without a farewell.
    Broken,
    /// The server has too much to do, or restarts.
    Busy,
    /// The certificate's authority is not trusted.
    CertificateAuthority,
    /// The certificate is not valid yet.
    CertificateEarly,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate is that of an authority.
    CertificateOfAuthority,
    /// The certificate is for another name.
    CertificateOtherName,
    /// The certificate has another fault.
    CertificateUnusable,
    /// Something in front of the server wants credentials.
    Credentials,
    /// Something in front of the server forbids the request.
    Forbidden,
    /// A proxy does not reach the server.
    Gateway,
    /// A session is asked for with another method than GET.
    HandshakeMethod,
    /// The header `Origin` is no such.
    InvalidOrigin,
    /// The client wants JSONP, which is switched off.
    Jsonp,
    /// A session that has moved to WebSocket is polled.
    LatePoll,
    /// A middleware of the engine refused.
    Middleware,
    /// The address of a session's server leads to another one.
    Misdirected,
    /// The namespace does not exist.
    Namespace,
    /// What answers does not speak HTTP.
    NoHttp,
    /// Something that knows no WebSocket answers.
    NoWebSocket,
    /// There is no Socket.IO at the path.
    NotFound,
    /// The answer is not one of Socket.IO.
    NotSocketIo,
    /// What answers does not speak TLS.
    NotTls,
    /// The server is of Socket.IO 1 or 2.
    OldServer,
    /// The revision changed within a session.
    OtherRevision,
    /// A web page answers.
    Page,
    /// The heartbeat failed.
    PingTimeout,
    /// A plain WebSocket server answers.
    PlainWebSocket,
    /// The server redirects.
    Redirect,
    /// Nothing listens on the port.
    Refused,
    /// Client and server speak different revisions of the protocol.
    Revision,
    /// The session's server does not answer.
    ServerUnreachable,
    /// The session is no longer on its server.
    SessionEnded,
    /// No id could be made for a session.
    SessionId,
    /// The session is not known.
    Sticky,
    /// Nothing came in time.
    Timeout,
    /// The server refused the handshake of TLS.
    TlsRefused,
    /// There is no TLS that both speak.
    TlsVersion,
    /// The port wants TLS.
    TlsWanted,
    /// The message is too large.
    TooLarge,
    /// The transport is unknown or disabled.
    Transport,
    /// The connection could not be made a transport.
    TransportFailed,
    /// The name does not resolve.
    UnknownHost,
    /// The address cannot be reached.
    Unreachable,
    /// The headers of the WebSocket handshake are missing.
    UpgradeStripped,
    /// A WebSocket says that its transport is polling.
    WebSocketOnly,
    /// The session is on another server, and nothing is forwarded.
    WrongServer,
}

impl Hint {
    /// All hints, in alphabetical order.
    pub const ALL: [Hint; 48] = [
        Hint::AllowRequest,
        Hint::Broken,
        Hint::Busy,
        Hint::CertificateAuthority,
        Hint::CertificateEarly,
        Hint::CertificateExpired,
        Hint::CertificateOfAuthority,
        Hint::CertificateOtherName,
        Hint::CertificateUnusable,
        Hint::Credentials,
        Hint::Forbidden,
        Hint::Gateway,
        Hint::HandshakeMethod,
        Hint::InvalidOrigin,
        Hint::Jsonp,
        Hint::LatePoll,
        Hint::Middleware,
        Hint::Misdirected,
        Hint::Namespace,
        Hint::NoHttp,
        Hint::NoWebSocket,
        Hint::NotFound,
        Hint::NotSocketIo,
        Hint::NotTls,
        Hint::OldServer,
        Hint::OtherRevision,
        Hint::Page,
        Hint::PingTimeout,
        Hint::PlainWebSocket,
        Hint::Redirect,
        Hint::Refused,
        Hint::Revision,
        Hint::ServerUnreachable,
        Hint::SessionEnded,
        Hint::SessionId,
        Hint::Sticky,
        Hint::Timeout,
        Hint::TlsRefused,
        Hint::TlsVersion,
        Hint::TlsWanted,
        Hint::TooLarge,
        Hint::Transport,
        Hint::TransportFailed,
        Hint::UnknownHost,
        Hint::Unreachable,
        Hint::UpgradeStripped,
        Hint::WebSocketOnly,
        Hint::WrongServer,
    ];

    /// Returns the sentence, in lower case and without a full stop.
    pub fn as_str(self) -> &'static str {
        match self {
            Hint::AllowRequest => {
                "the server's own `allow_request` refused the request: see its reason in the context"
            }
            Hint::Broken => {
                "the connection broke without a farewell: the server ended, or a proxy closed it \
                 because it was silent for too long, and has to wait longer than `ping_interval` and \
                 `ping_timeout` together"
            }
            Hint::Busy => {
                "the server is busy or restarts, and the client tries again by itself: behind a \
                 proxy, check that all clients are not counted as one"
            }
            Hint::CertificateAuthority => {
                "let clients trust the authority, or the certificate if it is self-signed \
                 (`root_certificate`, in JavaScript `ca`); a machine without any authorities lacks \
                 the package ca-certificates; a server behind a public one has to send its whole chain"
            }
            Hint::CertificateEarly => {
                "check this machine's clock, and the server's when it made the certificate"
            }
            Hint::CertificateExpired => {
                "renew the server's certificate, and check this machine's clock"
            }
            Hint::CertificateOfAuthority => {
                "give it to the client (`root_certificate`, `--cacert`) if it is meant to be the server's \
                 own, or sign a certificate for the server with it"
            }
            Hint::CertificateOtherName => {
                "connect by a name that is in the certificate, or add this one to its subjectAltName"
            }
            Hint::CertificateUnusable => {
                "look at the certificate with `openssl s_client`, and replace it"
            }
            Hint::Credentials => {
                "the server or a proxy wants credentials: send them with \
                 `header(\"Authorization\", ..)`, in JavaScript `extraHeaders`"
            }
            Hint::Forbidden => {
                "the server or something in front of it forbids the request: see the body for its \
                 reason"
            }
            Hint::Gateway => {
                "the proxy cannot reach the server behind it: is it running, and is the address in \
                 the proxy's configuration right?"
            }
            Hint::HandshakeMethod => {
                "a session is opened by a GET: check what sends this request, and for a browser's \
                 preflight (OPTIONS) configure `cors`"
            }
            Hint::InvalidOrigin => {
                "the header Origin has control characters, which no browser sends: check what \
                 changes the headers on the way"
            }
            Hint::Jsonp => {
                "the client asks for JSONP, which this server does not serve because any web page can \
                 read it: take `forceJSONP` out of the client's options and configure `cors`, or allow \
                 it on the server (`sio serve --allow-jsonp`)"
            }
            Hint::LatePoll => {
                "the session has moved to WebSocket and is not polled any more: mostly a late or \
                 repeated request, harmless once; if it is frequent, look for a proxy that repeats \
                 requests"
            }
            Hint::Middleware => {
                "one of the server's own engine middlewares refused the request: see its log"
            }
            Hint::Misdirected => {
                "the address that the context names leads to another server than the one which \
                 advertises it: give each server an address of its own, not that of a load balancer"
            }
            Hint::Namespace => {
                "the server has no such namespace: the path of the URL is the namespace, while the \
                 path of the requests is the option `path`"
            }
            Hint::NoHttp => {
                "what listens there does not answer in HTTP: if the port is one of HTTPS, use \
                 https:// or wss://; if not, check the address and port"
            }
            Hint::NoWebSocket => {
                "a server that knows nothing of WebSocket answered: check the path, and that the \
                 proxy in front forwards the headers `Upgrade` and `Connection`"
            }
            Hint::NotFound => {
                "no Socket.IO server answers at this path: compare the option `path` with the \
                 server's, and check that the proxy in front routes it"
            }
            Hint::NotSocketIo => {
                "the answer is not of Engine.IO: check the option `path`, and whether something on \
                 the way changes answers"
            }
            Hint::NotTls => {
                "the port may not speak TLS: use http:// or ws:// for it, or the port of HTTPS"
            }
            Hint::OldServer => {
                "the server speaks Socket.IO 1 or 2: update it, or use a client of version 2 (in \
                 Rust `version(Version::V2)`)"
            }
            Hint::OtherRevision => {
                "the revision of the protocol (EIO) changed within a session: check what rewrites \
                 the query of the requests on the way"
            }
            Hint::Page => {
                "a web page came instead of an answer of Socket.IO: the request reached a static \
                 file server or the fallback of a single-page application; check the option `path` \
                 and the proxy's routes"
            }
            Hint::PingTimeout => {
                "nothing came from the server for as long as its heartbeat allows: the network \
                 broke, the machine slept, or a proxy holds packets back"
            }
            Hint::PlainWebSocket => {
                "a plain WebSocket server answered: use a client of WebSocket for it, or make it a \
                 Socket.IO server"
            }
            Hint::Revision => {
                "client and server speak different revisions of the protocol: use a client of \
                 version 3 or 4, or let older ones in on the server (`allow_eio3`, `sio serve \
                 --allow-eio3`, in JavaScript `allowEIO3`); for a server of version 2 use a client of version 2 (in Rust \
                 `version(Version::V2)`)"
            }
            Hint::Redirect => "the server redirects: connect to the final address",
            Hint::Refused => "nothing listens there: is the server running, and is the port right?",
            Hint::ServerUnreachable => {
                "the session's server, which the context names, does not answer: it has ended, or the \
                 address that it advertises cannot be reached from here; the client connects again by \
                 itself"
            }
            Hint::SessionEnded => {
                "the request has reached its server, where the session has ended: it was closed and \
                 the request is late, it timed out, or the server restarted; a client that was not \
                 sent away connects again by itself"
            }
            Hint::SessionId => {
                "the server's own `generate_id` failed or gave an id that is in use: see the error \
                 in the context"
            }
            Hint::Sticky => {
                "with several servers, turn on sticky sessions or routing (`routing`, `sio serve \
                 --advertise`), or use WebSocket only; with one, the session timed out or the server \
                 restarted, and the client connects again by itself"
            }
            Hint::Timeout => {
                "the server did not answer in time: check that the address and port are those of a \
                 Socket.IO server, and that no firewall drops the packets"
            }
            Hint::TlsRefused => {
                "the server may want a certificate of the client (`client_certificate`), or know no \
                 such host name"
            }
            Hint::TlsVersion => {
                "the server has to speak TLS 1.2 or 1.3, with a cipher that is still held secure"
            }
            Hint::TlsWanted => "the port is one of HTTPS: use https:// or wss:// for it",
            Hint::TooLarge => {
                "the message is larger than the server accepts: raise `max_payload` \
                 (maxHttpBufferSize in JavaScript) on the server, or send less at once"
            }
            Hint::Transport => {
                "the request names no transport that this server has enabled: compare the \
                 `transports` of client and server, and check that the request comes from a \
                 Socket.IO client"
            }
            Hint::TransportFailed => {
                "the connection could not be made a transport: see the error in the context"
            }
            Hint::UnknownHost => {
                "check the spelling of the host's name, and that a name server can be reached"
            }
            Hint::Unreachable => {
                "check that the address is right, and that no firewall or security group is between"
            }
            Hint::UpgradeStripped => {
                "a proxy removed the headers of the WebSocket handshake: make it speak HTTP/1.1 to \
                 the server and forward the headers `Upgrade` and `Connection: Upgrade`"
            }
            Hint::WebSocketOnly => {
                "a WebSocket says `transport=polling`: name WebSocket alone in the client's options, \
                 in Dart `OptionBuilder().setTransports(['websocket'])`"
            }
            Hint::WrongServer => {
                "the session lives on the server that the context names: turn on sticky sessions in \
                 the load balancer, or take `without_forwarding` away"
            }
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_hint_is_one_sentence_of_its_own() {
        let mut seen = HashSet::new();
        for hint in Hint::ALL {
            let text = hint.as_str();
            assert!(seen.insert(text), "{text}");
            assert!(
                text.len() > 30 && !text.ends_with('.') && !text.contains(". "),
                "{text}"
            );
            assert!(!text.contains("  "), "{text}");
            assert!(text.starts_with(char::is_lowercase), "{text}");
        }
    }
}
