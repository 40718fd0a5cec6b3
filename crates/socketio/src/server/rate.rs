//! How fast one client may send: token buckets for its events and their bytes, and what happens to an
//! event for which there is no token.
//!
//! Nothing of this exists for a client before its first event in a namespace with a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::running::Running;
use super::session::Session;
use super::socket::Socket;
use crate::application::Callback;

/// How fast one client may send events: for the server ([`ServerBuilder::rate_limit`]), for a namespace
/// ([`Handlers::rate_limit`]) or for one event ([`Handlers::rate_limit_of`]). All of them count.
///
/// ```
/// use socketio::{RateLimit, RatePolicy, Server, Socket};
///
/// // Whatever a client sends: 100 events and 256 KiB a second; a little more, after a quiet time.
/// let io = Server::builder()
///     .rate_limit(RateLimit::new().events(100, 200).bytes(256 * 1024, 1024 * 1024))
///     .build();
/// // Of these, one in two seconds is answered; others with an error.
/// let search = RateLimit::new().events(1, 3).policy(RatePolicy::Refuse);
/// io.rate_limit_of("search", search);
/// io.on("search", async |_: Socket, text: String| vec![text]);
/// ```
///
/// Counted are events: the arguments as JSON (also where MessagePack is spoken), with their attachments.
/// Answers, heartbeats and packets of namespaces are not; [other limits](crate::ServerBuilder) bound them.
/// The count is one of the connection, over all of its namespaces' children and both transports: it goes
/// on when a namespace is left and joined again, and when polling becomes WebSocket. It begins anew with
/// a new connection, also one that is recovered; how many of those a client may make is bounded by
/// [`max_connections_per_address`](crate::ServerBuilder::max_connections_per_address) and
/// [`max_handshakes_per_second`](crate::ServerBuilder::max_handshakes_per_second).
///
/// Without a limit an event costs a comparison more, and a connection nothing.
///
/// [`ServerBuilder::rate_limit`]: crate::ServerBuilder::rate_limit
/// [`Handlers::rate_limit`]: crate::Handlers::rate_limit
/// [`Handlers::rate_limit_of`]: crate::Handlers::rate_limit_of
/// [`ServerBuilder::max_connections_per_address`]: crate::ServerBuilder::max_connections_per_address
/// [`ServerBuilder::max_handshakes_per_second`]: crate::ServerBuilder::max_handshakes_per_second
#[derive(Clone, Debug, Default)]
#[must_use = "a limit does nothing until it is set"]
pub struct RateLimit {
    events: Option<Rate>,
    bytes: Option<Rate>,
    policy: RatePolicy,
}

/// What happens to an event that comes too fast.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum RatePolicy {
    /// It is handled, and nothing more is read from the client until it has waited long enough: TCP slows
    /// it down, and nothing is lost. Its ping timeout waits meanwhile.
    /// [`Stats::rate_waits`](crate::Stats::rate_waits) counts how often.
    ///
    /// A client waits for all of its namespaces.
    #[default]
    Wait,
    /// It is not handled, and answered with
    /// `{"error":"rate limit exceeded","retryAfter":SECONDS}` if the client wants an answer.
    /// [`Stats::rate_refused`](crate::Stats::rate_refused) counts them.
    Refuse,
    /// It is not handled. [`Stats::rate_dropped`](crate::Stats::rate_dropped) counts them.
    Drop,
    /// It is not handled, and the client leaves all its namespaces with the reason
    /// `server namespace disconnect` and the description `rate limit exceeded`; its connection is closed.
    /// Official clients do not come back by themselves then.
    /// [`Stats::rate_disconnects`](crate::Stats::rate_disconnects) counts them.
    Disconnect,
}

/// In the long run each second, and at once after a quiet time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: f64,
    burst: f64,
}

impl RateLimit {
    /// A limit on nothing yet.
    pub fn new() -> RateLimit {
        RateLimit::default()
    }

    /// Sets how many events a client may send each second in the long run, and how many at once after a
    /// quiet time. Default: no limit. 0 is taken for 1.
    pub fn events(mut self, per_second: u32, burst: u32) -> Self {
        self.events = Some(Rate::new(per_second.into(), burst.into()));
        self
    }

    /// Sets how many bytes of events a client may send each second in the long run, and how many at once
    /// after a quiet time. Default: no limit. 0 is taken for 1.
    ///
    /// An event is let through if there is room for a byte, however large it is, and what it was too large
    /// by is made up for later.
    pub fn bytes(mut self, per_second: usize, burst: usize) -> Self {
        self.bytes = Some(Rate::new(per_second as f64, burst as f64));
        self
    }

    /// Sets what happens to an event that comes too fast. Default: [`RatePolicy::Wait`].
    pub fn policy(mut self, policy: RatePolicy) -> Self {
        self.policy = policy;
        self
    }
}

impl Rate {
    fn new(per_second: f64, burst: f64) -> Rate {
        Rate {
            per_second: per_second.max(1.0),
            burst: burst.max(1.0),
        }
    }

    /// How long it takes until so many tokens are there.
    fn time_for(self, tokens: f64) -> Duration {
        Duration::try_from_secs_f64(tokens.max(0.0) / self.per_second).unwrap_or(Duration::MAX)
    }
}

/// A limit in its place. Its number finds a client's bucket.
#[derive(Debug)]
pub(crate) struct Limit {
    number: u64,
    options: RateLimit,
}

impl Limit {
    pub(crate) fn new(options: RateLimit) -> Arc<Limit> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Limit {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            options,
        })
    }
}

/// What one client has left.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    buckets: Vec<Bucket>,
    /// Until when nothing is read from the client.
    paused: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    number: u64,
    events: f64,
    bytes: f64,
    filled: Instant,
}

/// What is to become of an event.
#[derive(Debug, PartialEq)]
enum Verdict {
    Pass,
    /// It passes, and then the client waits until this time.
    Pause(Instant),
    /// It does not; it may come again after this time.
    Not(RatePolicy, Duration),
}

impl Buckets {
    /// Takes the tokens of an event of so many bytes from all buckets, if all have them.
    fn take(&mut self, limits: &[Arc<Limit>], size: usize, now: Instant) -> Verdict {
        for limit in limits {
            let wait = self.bucket(limit, now).wait(&limit.options);
            if limit.options.policy != RatePolicy::Wait && !wait.is_zero() {
                return Verdict::Not(limit.options.policy, wait);
            }
        }
        let mut pause = Duration::ZERO;
        for limit in limits {
            let bucket = self.bucket(limit, now);
            bucket.events -= 1.0;
            bucket.bytes -= size as f64;
            if limit.options.policy == RatePolicy::Wait {
                pause = pause.max(bucket.debt(&limit.options));
            }
        }
        match now.checked_add(pause) {
            _ if pause.is_zero() => Verdict::Pass,
            Some(end) => Verdict::Pause(end),
            None => Verdict::Pause(now + FOREVER),
        }
    }

    /// The bucket of a limit, filled by the time that has passed.
    fn bucket(&mut self, limit: &Limit, now: Instant) -> &mut Bucket {
        let known = self.buckets.iter().position(|b| b.number == limit.number);
        let at = known.unwrap_or_else(|| {
            self.buckets.push(Bucket {
                number: limit.number,
                events: f64::INFINITY,
                bytes: f64::INFINITY,
                filled: now,
            });
            self.buckets.len() - 1
        });
        let bucket = &mut self.buckets[at];
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.filled = now;
        let fill = |tokens: f64, rate: Option<Rate>| match rate {
            Some(rate) => (tokens + passed * rate.per_second).min(rate.burst),
            None => f64::INFINITY,
        };
        bucket.events = fill(bucket.events, limit.options.events);
        bucket.bytes = fill(bucket.bytes, limit.options.bytes);
        bucket
    }
}

impl Bucket {
    /// How long it takes until an event may pass.
    fn wait(&self, limit: &RateLimit) -> Duration {
        let events = limit.events.map(|rate| rate.time_for(1.0 - self.events));
        // A byte's worth: none is there exactly when the debt is paid.
        let bytes = limit.bytes.map(|rate| rate.time_for(1.0 - self.bytes));
        events.max(bytes).unwrap_or_default()
    }

    /// How long it takes until what was taken too much is made up for.
    fn debt(&self, limit: &RateLimit) -> Duration {
        let events = limit.events.map(|rate| rate.time_for(-self.events));
        let bytes = limit.bytes.map(|rate| rate.time_for(-self.bytes));
        events.max(bytes).unwrap_or_default()
    }
}

/// A pause that no client will see the end of.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What clients and handlers read.
const EXCEEDED: &str = "rate limit exceeded";

/// Says whether an event may reach its handlers now, and does what is to be done if not.
pub(crate) fn admits(
    socket: &Socket,
    event: &str,
    size: usize,
    ack: Option<u64>,
    running: &mut Running,
) -> bool {
    let session = &socket.0.session;
    let shared = session.shared();
    let mut limits: Vec<_> = shared.config().rate_limit.iter().cloned().collect();
    socket.0.namespace.handlers().add_limits(event, &mut limits);
    let now = Instant::now();
    let verdict = session.with_rates(|buckets| buckets.take(&limits, size, now));
    let counters = shared.counters();
    match verdict {
        Verdict::Pass => true,
        Verdict::Pause(end) => {
            counters.rate_waits();
            shared.refusals().log_rate(socket.id(), event, "waits");
            pause(session, end, running);
            true
        }
        Verdict::Not(policy, wait) => {
            let becomes = match policy {
                RatePolicy::Refuse => {
                    counters.rate_refused();
                    if let Some(id) = ack {
                        let seconds = wait.as_secs_f64();
                        let answer = json!({ "error": EXCEEDED, "retryAfter": seconds });
                        socket.send_ack(id, &answer);
                    }
                    "is answered with an error"
                }
                RatePolicy::Disconnect => {
                    counters.rate_disconnects();
                    session.disconnect_all(Some(EXCEEDED));
                    "is disconnected"
                }
                RatePolicy::Drop | RatePolicy::Wait => {
                    counters.rate_dropped();
                    "is dropped"
                }
            };
            shared.refusals().log_rate(socket.id(), event, becomes);
            false
        }
    }
}

/// Reads nothing more from a client until then.
fn pause(session: &Arc<Session>, end: Instant, running: &mut Running) {
    let is_paused = session.with_rates(|buckets| {
        let until = buckets.paused.map_or(end, |until| until.max(end));
        buckets.paused.replace(until).is_some()
    });
    if !is_paused {
        let paused = Paused::begin(session);
        running.start(session, Callback::Handler, || {
            Some(Box::pin(paused.wait_for_end()))
        });
    }
}

/// A client from which nothing is read, for as long as this lives.
struct Paused(Arc<Session>);

impl Paused {
    fn begin(session: &Arc<Session>) -> Paused {
        session.pause_reading();
        Paused(session.clone())
    }

    /// Waits for the end of the pause, or of the connection.
    async fn wait_for_end(self) {
        while let Some(end) = self.0.with_rates(|buckets| buckets.paused) {
            if end <= Instant::now() {
                return;
            }
            let mut sleep = std::pin::pin!(tokio::time::sleep_until(end.into()));
            let is_over = std::future::poll_fn(|cx| {
                if !self.0.with_outbox(|outbox| outbox.wait_closed(cx.waker())) {
                    return std::task::Poll::Ready(true);
                }
                sleep.as_mut().poll(cx).map(|()| false)
            });
            if is_over.await {
                return;
            }
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.with_rates(|buckets| buckets.paused = None);
        self.0.resume_reading();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes events of these sizes now; says which passed.
    fn taken(
        buckets: &mut Buckets,
        limits: &[Arc<Limit>],
        sizes: &[usize],
        now: Instant,
    ) -> Vec<bool> {
        let take = |size: &usize| {
            let verdict = buckets.take(limits, *size, now);
            !matches!(verdict, Verdict::Not(..))
        };
        sizes.iter().map(take).collect()
    }

    #[test]
    fn a_burst_passes_and_then_as_many_as_time_allows() {
        let limit = RateLimit::new().events(10, 3).policy(RatePolicy::Drop);
        let (limits, mut buckets) = ([Limit::new(limit)], Buckets::default());
        let mut now = Instant::now();
        let mut take = |now| taken(&mut buckets, &limits, &[1; 4], now);
        assert_eq!(take(now), [true, true, true, false]);
        assert_eq!(take(now), [false; 4]);
        now += Duration::from_millis(100);
        assert_eq!(take(now), [true, false, false, false]);
        now += Duration::from_secs(3600);
        assert_eq!(take(now), [true, true, true, false]);
    }

    #[test]
    fn a_large_event_passes_and_is_made_up_for() {
        let limit = RateLimit::new().bytes(1000, 500).policy(RatePolicy::Drop);
        let (limits, mut buckets) = ([Limit::new(limit)], Buckets::default());
        let mut now = Instant::now();
        assert_eq!(
            taken(&mut buckets, &limits, &[10_500, 0], now),
            [true, false]
        );
        now += Duration::from_millis(9_999);
        assert_eq!(taken(&mut buckets, &limits, &[0], now), [false]);
        now += Duration::from_millis(2);
        assert_eq!(taken(&mut buckets, &limits, &[0], now), [true]);
    }

    #[test]
    fn an_event_that_one_limit_refuses_costs_the_others_nothing() {
        let all = Limit::new(RateLimit::new().events(1, 3).policy(RatePolicy::Drop));
        let search = Limit::new(RateLimit::new().events(1, 1).policy(RatePolicy::Refuse));
        let both = [all.clone(), search];
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        assert_eq!(taken(&mut buckets, &both, &[1; 5], now)[..2], [true, false]);
        let rest = taken(&mut buckets, &[all], &[1; 3], now);
        assert_eq!(rest, [true, true, false]);
        let verdict = buckets.take(&both, 1, now);
        assert_eq!(
            verdict,
            Verdict::Not(RatePolicy::Drop, Duration::from_secs(1))
        );
    }

    #[test]
    fn who_waits_waits_for_what_was_too_much() {
        let limit = RateLimit::new().events(10, 2).bytes(100, 1000);
        let (limits, mut buckets) = ([Limit::new(limit)], Buckets::default());
        let now = Instant::now();
        assert_eq!(buckets.take(&limits, 10, now), Verdict::Pass);
        assert_eq!(buckets.take(&limits, 10, now), Verdict::Pass);
        let tenth = now + Duration::from_millis(100);
        assert_eq!(buckets.take(&limits, 10, now), Verdict::Pause(tenth));
        let long = tenth + Duration::from_secs(10);
        assert_eq!(buckets.take(&limits, 1980, tenth), Verdict::Pause(long));
    }

    #[test]
    fn extreme_limits_are_harmless() {
        for rate in [0, 1, u32::MAX] {
            let limit = RateLimit::new()
                .events(rate, rate)
                .bytes(rate as usize, usize::MAX);
            let (limits, mut buckets) = ([Limit::new(limit)], Buckets::default());
            let now = Instant::now();
            for _ in 0..3 {
                buckets.take(&limits, usize::MAX, now);
            }
        }
    }
}
