//! What a server can tell of itself beyond plain counters: gauges are taken when somebody asks, and
//! cost nothing otherwise.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socketio_proto::engine::{Revision, Transport};
use socketio_proto::socket::DisconnectReason;

use super::Shared;
use super::counters::Stats;

/// A picture of a running server; see [`Server::metrics`](crate::Server::metrics).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The plain counters.
    pub stats: Stats,
    /// Open sessions, by transport and by revision of Engine.IO (3 or 4).
    pub connections: Vec<(Transport, u8, usize)>,
    /// Refused requests, by code (0 to 5).
    pub refused: [u64; 6],
    /// Sockets that have left their namespace, by reason.
    pub disconnects: Vec<(DisconnectReason, u64)>,
    /// The time that clients took for their answers, in seconds.
    pub ack_seconds: Histogram,
    /// Bytes that wait for each client now.
    pub queue_bytes: Histogram,
    /// Bytes that wait in long queues now, of 64 KiB and more, for one client each: what
    /// [`max_total_queue`](crate::ServerBuilder::max_total_queue) bounds.
    pub long_queue_bytes: usize,
    /// Bytes of packets that wait for their attachments now, of all clients.
    pub held_bytes: usize,
    /// Requests and WebSockets that are on their way to other servers now.
    pub forwarding: usize,
    /// Children of dynamic namespaces that there are now.
    pub dynamic_namespaces: usize,
    /// Says whether clients are let in.
    pub is_ready: bool,
}

/// How often values of which size came.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// The upper bound of each bucket, the last one infinite, and the number of values in it that are
    /// in no smaller one.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
}

impl Histogram {
    /// The number of values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    fn of(bounds: &[f64], values: impl Iterator<Item = f64>) -> Histogram {
        let all = bounds.iter().copied().chain([f64::INFINITY]);
        let mut histogram = Histogram {
            buckets: all.map(|bound| (bound, 0)).collect(),
            sum: 0.0,
        };
        for value in values {
            histogram.sum += value;
            let bucket = histogram
                .buckets
                .iter_mut()
                .find(|(bound, _)| value <= *bound);
            if let Some((_, count)) = bucket {
                *count += 1;
            }
        }
        histogram
    }
}

const ACK_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
const QUEUE_BYTES: [f64; 6] = [0.0, 1024.0, 16_384.0, 262_144.0, 4_194_304.0, 33_554_432.0];

/// The times of answers.
#[derive(Debug, Default)]
pub(crate) struct AckTimes {
    buckets: [AtomicU64; ACK_SECONDS.len() + 1],
    micros: AtomicU64,
}

impl AckTimes {
    pub(crate) fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let at = ACK_SECONDS.partition_point(|bound| *bound < seconds);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn histogram(&self) -> Histogram {
        let counts = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let bounds = ACK_SECONDS.into_iter().chain([f64::INFINITY]);
        Histogram {
            buckets: bounds.zip(counts).collect(),
            sum: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

/// A counter that many threads add to: each to a place of its own.
#[derive(Debug, Default)]
pub(crate) struct Striped([Padded; 8]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

static THREADS: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % 8;
}

impl Striped {
    pub(crate) fn add_one(&self) {
        STRIPE.with(|&stripe| self.0[stripe].0.fetch_add(1, Ordering::Relaxed));
    }

    pub(crate) fn load(&self) -> u64 {
        self.0
            .iter()
            .map(|place| place.0.load(Ordering::Relaxed))
            .sum()
    }
}

impl Shared {
    pub(crate) fn metrics(&self) -> Metrics {
        let sessions = self.sessions().all();
        let mut connections = Vec::new();
        for transport in [Transport::Polling, Transport::WebSocket] {
            for revision in [Revision::V3, Revision::V4] {
                let same = sessions.iter().filter(|session| {
                    session.dialect().revision == revision && session.transport() == transport
                });
                connections.push((transport, revision.number(), same.count()));
            }
        }
        let queued = sessions.iter().map(|session| session.queued() as f64);
        Metrics {
            stats: self.stats(),
            connections,
            refused: self.counters().refused_by_code(),
            disconnects: self.counters().disconnects(),
            ack_seconds: self.counters().ack_times.histogram(),
            queue_bytes: Histogram::of(&QUEUE_BYTES, queued),
            long_queue_bytes: self.total_queue().bytes(),
            held_bytes: sessions.iter().map(|session| session.held()).sum(),
            forwarding: self.router().map_or(0, |router| router.in_flight()),
            dynamic_namespaces: self.namespaces().children(),
            is_ready: self.is_ready(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_their_buckets() {
        let times = AckTimes::default();
        for millis in [0, 1, 2, 20_000] {
            times.add(Duration::from_millis(millis));
        }
        let histogram = times.histogram();
        assert_eq!(histogram.buckets[..2], [(0.001, 2), (0.0025, 1)]);
        assert_eq!(histogram.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!(histogram.count(), 4);
        assert!((histogram.sum - 20.003).abs() < 1e-9);
        let queue = Histogram::of(&QUEUE_BYTES, [0.0, 5.0, 1e9].into_iter());
        assert_eq!(
            (queue.buckets[0].1, queue.buckets[1].1, queue.count()),
            (1, 1, 3)
        );
    }

    #[test]
    fn all_stripes_are_counted() {
        let counter = Striped::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..100).for_each(|_| counter.add_one()));
            }
        });
        assert_eq!(counter.load(), 2000);
    }
}
