//! The log lines of refused requests: a few for each cause, however many there are.
//!
//! A cluster without sticky sessions refuses thousands of requests each second. One line with a number
//! says as much as all of them.

use socketio_proto::Printable;
use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

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
    code: u8,
    /// For the several causes of a code.
    hint: &'static str,
    logged: Instant,
    suppressed: u64,
}

/// The time between two lines for the same cause.
const PAUSE: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// Codes and hints are a dozen.
const MAX_CAUSES: usize = 32;

impl Refusals {
    /// Says whether to log a refusal now; then how many like it were not logged since the last line.
    fn admit(&self, error: &ConnectionError, now: Instant) -> Option<u64> {
        let mut causes = self.causes.lock();
        let known = causes.len();
        let same = |cause: &&mut Cause| cause.code == error.code && cause.hint == error.hint;
        match causes.iter_mut().find(same) {
            Some(cause) if now.saturating_duration_since(cause.logged) < PAUSE => {
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
                    code: error.code,
                    hint: error.hint,
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
