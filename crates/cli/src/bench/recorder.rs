//! What all connections record: latency by shard, and what is rare by cause.
//!
//! A lane records into its shard, so that lanes rarely meet; the run's clock empties the shards once a
//! second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;
use socketio_proto::is_unprintable;

#[derive(Debug)]
pub(crate) struct Recorder {
    begin: Instant,
    shards: Box<[Shard]>,
    connecting: Mutex<Latency>,
    reconnecting: Mutex<Latency>,
    gone: Mutex<Latency>,
    /// Why connections were not opened.
    failures: Mutex<Causes>,
    /// What to do about the last of these.
    pub(crate) hint: Mutex<Option<String>>,
    /// Why connections ended, other than those that were cut.
    pub(crate) disconnects: Mutex<Causes>,
    /// What else went wrong.
    pub(crate) errors: Mutex<Causes>,
    /// Connections that are open now.
    open: AtomicUsize,
    pub(crate) cuts: AtomicU64,
}

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Latency>);

impl Recorder {
    pub(crate) fn new(begin: Instant) -> Recorder {
        Recorder {
            begin,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            connecting: Mutex::default(),
            reconnecting: Mutex::default(),
            gone: Mutex::default(),
            failures: Mutex::default(),
            hint: Mutex::default(),
            disconnects: Mutex::default(),
            errors: Mutex::default(),
            open: AtomicUsize::new(0),
            cuts: AtomicU64::new(0),
        }
    }

    /// The run's time, as messages carry it.
    pub(crate) fn now_us(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    /// The run's time of an instant.
    pub(crate) fn us_of(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.begin).as_micros() as u64
    }

    /// Records what took so long.
    pub(crate) fn record(&self, lane: u32, latency_us: u64) {
        let shard = &self.shards[lane as usize % SHARDS];
        shard.0.lock().record_us(latency_us);
    }

    /// Takes what was recorded since the last time.
    pub(crate) fn take(&self) -> Latency {
        let mut taken = Latency::default();
        for shard in &self.shards {
            let mut latency = shard.0.lock();
            taken.add(&latency);
            latency.clear();
        }
        taken
    }

    /// Counts a connection that took so long to open.
    pub(crate) fn opened(&self, took: Duration) {
        self.connecting.lock().record(took);
    }

    /// Counts a connection that was not opened.
    pub(crate) fn failed(&self, cause: impl ToString, hint: Option<&str>) {
        self.failures.lock().add(cause);
        if let Some(hint) = hint {
            *self.hint.lock() = Some(hint.to_owned());
        }
    }

    /// Why connections were not opened.
    pub(crate) fn failures(&self) -> Vec<Cause> {
        self.failures.lock().list()
    }

    /// Counts a connection that is back: how long it was gone, and how long the attempt took that
    /// brought it back.
    pub(crate) fn reconnected(&self, gone: Duration, attempt: Duration) {
        self.gone.lock().record(gone);
        self.reconnecting.lock().record(attempt);
    }

    /// How long opening took.
    pub(crate) fn connecting(&self) -> Latency {
        self.connecting.lock().clone()
    }

    /// How long opening again took.
    pub(crate) fn reconnecting(&self) -> Latency {
        self.reconnecting.lock().clone()
    }

    /// How long connections were gone.
    pub(crate) fn gone(&self) -> Latency {
        self.gone.lock().clone()
    }

    pub(crate) fn joined(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn left(&self) {
        // A connection cannot leave that had not joined.
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Durations in microseconds, with three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Latency(histogram.expect("the bounds are right"))
    }
}

impl Latency {
    fn record(&mut self, took: Duration) {
        self.record_us(took.as_micros() as u64);
    }

    pub(crate) fn record_us(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    pub(crate) fn add(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0.reset();
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that such a part of all is not above; none when there is none.
    pub(crate) fn quantile_us(&self, part: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(part))
    }

    pub(crate) fn summary(&self) -> Option<Summary> {
        Some(Summary {
            count: self.count(),
            min: (!self.0.is_empty()).then(|| self.0.min())?,
            mean: (self.0.mean() * 10.0).round() / 10.0,
            p50: self.quantile_us(0.5)?,
            p90: self.quantile_us(0.9)?,
            p99: self.quantile_us(0.99)?,
            p99_9: self.quantile_us(0.999)?,
            max: self.0.max(),
        })
    }

    /// How many took how long, in ranges that grow with the durations: ten for each power of ten.
    pub(crate) fn distribution(&self) -> Vec<Bin> {
        let mut bins: BTreeMap<u32, u64> = BTreeMap::new();
        for value in self.0.iter_recorded() {
            let us = value.value_iterated_to().max(1);
            let bin = (us as f64).log10() * f64::from(BINS);
            *bins.entry(bin as u32).or_default() += value.count_since_last_iteration();
        }
        let (Some(first), Some(last)) = (bins.keys().next(), bins.keys().next_back()) else {
            return Vec::new();
        };
        let bound = |bin: u32| 10_f64.powf(f64::from(bin) / f64::from(BINS));
        (*first..=*last)
            .map(|bin| Bin {
                from_us: round(bound(bin)),
                to_us: round(bound(bin + 1)),
                count: bins.get(&bin).copied().unwrap_or_default(),
            })
            .collect()
    }
}

/// The figures of a latency, in microseconds but for the count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    #[serde(rename = "min_us")]
    pub(crate) min: u64,
    #[serde(rename = "mean_us")]
    pub(crate) mean: f64,
    #[serde(rename = "p50_us")]
    pub(crate) p50: u64,
    #[serde(rename = "p90_us")]
    pub(crate) p90: u64,
    #[serde(rename = "p99_us")]
    pub(crate) p99: u64,
    #[serde(rename = "p99_9_us")]
    pub(crate) p99_9: u64,
    #[serde(rename = "max_us")]
    pub(crate) max: u64,
}

/// One range of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Bin {
    pub(crate) from_us: f64,
    pub(crate) to_us: f64,
    pub(crate) count: u64,
}

/// How often something happened, by cause.
#[derive(Debug, Default)]
pub(crate) struct Causes(BTreeMap<String, u64>);

/// A cause and how often it was one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Cause {
    pub(crate) cause: String,
    pub(crate) count: u64,
}

impl Causes {
    pub(crate) fn add(&mut self, cause: impl ToString) {
        self.add_many(cause, 1);
    }

    pub(crate) fn add_many(&mut self, cause: impl ToString, count: u64) {
        // What the peer says may be of any length, different each time, and meant for a terminal.
        let cause = cause.to_string();
        let cause: String = cause
            .chars()
            .map(|c| if is_unprintable(c) { ' ' } else { c })
            .take(LONGEST_CAUSE)
            .collect();
        let cause = match self.0.len() < MOST_CAUSES || self.0.contains_key(&cause) {
            true => cause,
            false => "other causes".to_owned(),
        };
        *self.0.entry(cause).or_default() += count;
    }

    /// All causes, the most frequent first.
    pub(crate) fn list(&self) -> Vec<Cause> {
        let mut list: Vec<Cause> = self
            .0
            .iter()
            .map(|(cause, count)| Cause {
                cause: cause.clone(),
                count: *count,
            })
            .collect();
        list.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        list
    }
}

fn round(us: f64) -> f64 {
    (us * 100.0).round() / 100.0
}

/// More than the threads that record at once.
const SHARDS: usize = 16;

/// Ten minutes; what takes longer counts as that.
const LONGEST_US: u64 = 600_000_000;

const BINS: u32 = 10;

const MOST_CAUSES: usize = 20;

const LONGEST_CAUSE: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_percentiles() {
        let mut latency = Latency::default();
        (1..=1000).for_each(|us| latency.record_us(us));
        let summary = latency.summary().expect("figures");
        assert_eq!((summary.count, summary.min, summary.max), (1000, 1, 1000));
        assert_eq!(
            (summary.p50, summary.p90, summary.p99, summary.p99_9),
            (500, 900, 990, 999)
        );
        assert_eq!(summary.mean, 500.5);
        assert_eq!(Latency::default().summary(), None);
    }

    #[test]
    fn what_was_taken_is_not_taken_again() {
        let recorder = Recorder::new(Instant::now());
        (0..100).for_each(|lane| recorder.record(lane, 5));
        assert_eq!(recorder.take().count(), 100);
        assert_eq!(recorder.take().count(), 0);
        recorder.record(1, 7);
        assert_eq!(recorder.take().quantile_us(0.5), Some(7));
    }

    #[test]
    fn the_distribution_holds_all_and_has_no_gaps() {
        let mut latency = Latency::default();
        for us in [0, 1, 15, 15, 900, 2_000_000] {
            latency.record_us(us);
        }
        let bins = latency.distribution();
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 6);
        assert_eq!(bins[0].from_us, 1.0);
        for pair in bins.windows(2) {
            assert_eq!(pair[0].to_us, pair[1].from_us);
        }
        assert!(Latency::default().distribution().is_empty());
    }

    #[test]
    fn what_takes_too_long_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.record_us(u64::MAX);
        let max = latency.summary().expect("a figure").max;
        assert!((LONGEST_US..LONGEST_US * 2).contains(&max), "{max}");
    }

    #[test]
    fn causes_are_bounded_and_sorted() {
        let mut causes = Causes::default();
        (0..100).for_each(|i| causes.add(format!("cause {i:02}")));
        causes.add_many("cause 03", 5);
        let list = causes.list();
        assert_eq!(list.len(), MOST_CAUSES + 1);
        assert_eq!(
            (list[0].cause.as_str(), list[0].count),
            ("other causes", 80)
        );
        assert_eq!((list[1].cause.as_str(), list[1].count), ("cause 03", 6));
    }

    #[test]
    fn a_cause_is_one_short_line_whatever_the_peer_says() {
        let mut causes = Causes::default();
        causes.add(format!("\x1b[2J\n{}", "x".repeat(1000)));
        let cause = &causes.list()[0].cause;
        assert!(cause.starts_with(" [2J x"), "{cause}");
        assert_eq!(cause.len(), LONGEST_CAUSE);
    }
}
