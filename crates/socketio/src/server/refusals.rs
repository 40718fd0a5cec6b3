//! The log lines of refused requests: a few for each cause, however many there are.
//!
//! A cluster without sticky sessions refuses thousands of requests each second. One line with a number
//! says as much as all of them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use socketio_proto::Printable;
use socketio_proto::websocket::HandshakeError;

use super::admission::Busy;
use super::request::ConnectionError;
use crate::id::SocketId;

/// When which cause was logged.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    causes: Mutex<Vec<Cause>>,
    accepts: Rare,
    crowds: Rare,
    heads: Rare,
    acks: Rare,
    strangers: Rare,
    proxy_headers: Rare,
}

/// A line that is logged once a minute at most.
#[derive(Debug, Default)]
pub(crate) struct Rare(Mutex<(Option<Instant>, u64)>);

impl Rare {
    /// Says whether to log now; then how many times it was not since the last line.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let (logged, suppressed) = &mut *state;
        if logged.is_some_and(|at| now.saturating_duration_since(at) < MINUTE) {
            *suppressed += 1;
            return None;
        }
        *logged = Some(now);
        Some(std::mem::take(suppressed))
    }
}

#[derive(Debug)]
struct Cause {
    /// What the client reads, or `NO_CODE`.
    code: u8,
    /// For the several causes of a code.
    hint: &'static str,
    logged: Instant,
    suppressed: u64,
}

/// The time between two lines for the same cause.
const PAUSE: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// What is refused without a code of Engine.IO.
const NO_CODE: u8 = u8::MAX;
/// Codes and hints are two dozen.
const MAX_CAUSES: usize = 32;

impl Refusals {
    /// Says whether to log a refusal now; then how many like it were not logged since the last line.
    fn admit(&self, error: &ConnectionError, now: Instant) -> Option<u64> {
        self.admit_cause(error.code, error.hint, PAUSE, now)
    }

    fn admit_cause(
        &self,
        code: u8,
        hint: &'static str,
        pause: Duration,
        now: Instant,
    ) -> Option<u64> {
        let mut causes = self.causes.lock();
        let known = causes.len();
        let same = |cause: &&mut Cause| cause.code == code && cause.hint == hint;
        match causes.iter_mut().find(same) {
            Some(cause) if now.saturating_duration_since(cause.logged) < pause => {
                cause.suppressed += 1;
                None
            }
            Some(cause) => {
                cause.logged = now;
                Some(std::mem::take(&mut cause.suppressed))
            }
            None if known >= MAX_CAUSES => None,
            None => {
                causes.push(Cause {
                    code,
                    hint,
                    logged: now,
                    suppressed: 0,
                });
                Some(0)
            }
        }
    }

    /// A listener cannot accept.
    pub(crate) fn log_accept(&self, error: &io::Error) {
        if let Some(suppressed) = self.accepts.admit(Instant::now()) {
            tracing::error!(
                error = %Printable::new(error),
                suppressed,
                "no connection can be accepted; connections without a request are dropped, and it is \
                 tried again: raise the limit of open files (`ulimit -n`)"
            );
        }
    }

    /// There are too many TCP connections.
    pub(crate) fn log_crowd(&self, max: usize) {
        if let Some(suppressed) = self.crowds.admit(Instant::now()) {
            tracing::warn!(
                max,
                suppressed,
                "TCP connections are dropped, those without a request first: raise \
                 `max_tcp_connections`, and the limit of open files (`ulimit -n`)"
            );
        }
    }

    /// A request was answered with 431.
    pub(crate) fn log_long_head(&self, max_bytes: usize, max_lines: usize) {
        if let Some(suppressed) = self.heads.admit(Instant::now()) {
            tracing::warn!(
                max_bytes,
                max_lines,
                suppressed,
                "refused: a request's head is too long; mostly a domain has too many cookies, or \
                 proxies add too many lines: `max_header_bytes` allows longer ones"
            );
        }
    }

    /// A socket owes so many answers that no more is asked of it.
    pub(crate) fn log_acks(&self, socket: &SocketId, max: usize) {
        if let Some(suppressed) = self.acks.admit(Instant::now()) {
            tracing::warn!(
                %socket,
                max,
                suppressed,
                "an answer is not awaited, since the client owes too many: set a `timeout`, or raise \
                 `max_pending_acks`"
            );
        }
    }

    /// A request was refused for now.
    pub(crate) fn log_busy(&self, busy: Busy, address: Option<IpAddr>) {
        let remedy = match busy {
            Busy::Address => {
                "`max_connections_per_address` allows more; behind a proxy that is none of \
                 `trusted_proxies` all clients have one address"
            }
            Busy::Connections => "`max_connections` allows more",
            // Whoever drains a server knows, and is told once.
            Busy::Draining => return,
            Busy::Forwards => "`Routing::max_forwarded` allows more",
            Busy::Rate => "`max_handshakes_per_second` allows more",
        };
        if let Some(suppressed) = self.admit_cause(NO_CODE, remedy, MINUTE, Instant::now()) {
            let address = address.map(tracing::field::display);
            tracing::warn!(
                address,
                suppressed,
                "refused with 503: {}; {remedy}",
                busy.message()
            );
        }
    }

    /// A WebSocket handshake was refused because of its headers.
    pub(crate) fn log_handshake(&self, error: &HandshakeError) {
        let remedy = match error {
            HandshakeError::Protocol => {
                "the client's `protocols` have to be names (letters, digits and !#$%&'*+-.^_`|~), each \
                 of them once; a token in base64 has other characters"
            }
            HandshakeError::Method => "a WebSocket begins with a GET",
            HandshakeError::Upgrade => "the header `Upgrade` does not say `websocket`",
            HandshakeError::Version => {
                "clients speak version 13; this is none, or one of another age"
            }
            _ => "the client, or a proxy, has lost or doubled a header of the handshake",
        };
        if let Some(suppressed) = self.admit_cause(NO_CODE, remedy, MINUTE, Instant::now()) {
            tracing::warn!(suppressed, "a WebSocket was refused: {error}; {remedy}");
        }
    }

    /// A client sends faster than a limit allows.
    pub(crate) fn log_rate(&self, socket: &SocketId, event: &str, becomes: &'static str) {
        if let Some(suppressed) = self.admit_cause(NO_CODE, becomes, MINUTE, Instant::now()) {
            tracing::warn!(
                %socket,
                event = %Printable::new(event),
                suppressed,
                "a client sends faster than a `RateLimit` allows: it {becomes}"
            );
        }
    }

    /// A connection came from who may not send the PROXY protocol.
    pub(crate) fn log_stranger(&self, address: SocketAddr) {
        if let Some(suppressed) = self.strangers.admit(Instant::now()) {
            tracing::warn!(
                %address,
                suppressed,
                "dropped: the peer is none of those that may send the PROXY protocol; \
                 `proxy_protocol` names them"
            );
        }
    }

    /// A connection of a load balancer began with something else.
    pub(crate) fn log_no_proxy_header(&self, address: SocketAddr) {
        if let Some(suppressed) = self.proxy_headers.admit(Instant::now()) {
            tracing::warn!(
                %address,
                suppressed,
                "dropped: the connection does not begin with the PROXY protocol; let the load balancer \
                 send it, or leave `proxy_protocol` out"
            );
        }
    }

    pub(crate) fn log(&self, error: &ConnectionError) {
        let Some(suppressed) = self.admit(error, Instant::now()) else {
            return;
        };
        let mut context = error.context.clone();
        // Another server may have opened the session, and who knows its id speaks for its client.
        if let Some(sid) = context.get_mut("sid") {
            *sid = "..".into();
        }
        tracing::warn!(
            code = error.code,
            context = %Printable::new(&context),
            address = error.request.address.map(tracing::field::display),
            suppressed,
            "refused: {}; {}",
            error.message,
            error.hint
        );
    }
}

#[cfg(test)]
mod tests {
    use socketio_proto::engine::RequestError;

    use super::super::request::RequestInfo;
    use super::*;

    #[test]
    fn a_storm_of_one_cause_is_a_line_with_a_number() {
        let error = |error| {
            let request = RequestInfo {
                method: http::Method::GET,
                uri: "/".parse().unwrap(),
                headers: http::HeaderMap::new(),
                address: None,
            };
            ConnectionError::new(request, &error)
        };
        let unknown = error(RequestError::UnknownSid { sid: "x".into() });
        let other = error(RequestError::MiddlewareFailure);
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.admit(&unknown, start), Some(0));
        for _ in 0..100_000 {
            assert_eq!(refusals.admit(&unknown, start + PAUSE / 2), None);
        }
        assert_eq!(refusals.admit(&other, start), Some(0));
        assert_eq!(refusals.admit(&unknown, start + PAUSE), Some(100_000));
    }

    #[test]
    fn a_rare_line_comes_once_a_minute_with_a_number() {
        let (rare, start) = (Rare::default(), Instant::now());
        assert_eq!(rare.admit(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(rare.admit(start + MINUTE / 2), None);
        }
        assert_eq!(rare.admit(start + MINUTE), Some(1000));
        assert_eq!(rare.admit(start + MINUTE), None);
    }
}
