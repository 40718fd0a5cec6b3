//! What was measured, second by second and as a whole.

use std::time::Duration;

use super::recorder::Latency;
use super::report::{Second, rate};

#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) seconds: Vec<Second>,
    pub(crate) latency: Latency,
    /// What came while it was measured.
    pub(crate) count: u64,
    pub(crate) measured: Duration,
}

impl Series {
    /// Adds what came within the last second, more or less.
    pub(crate) fn measured(&mut self, latency: Latency, took: Duration, open: usize) {
        self.measured += took;
        self.count += latency.count();
        self.seconds.push(Second {
            at_seconds: (self.measured.as_secs_f64() * 1000.0).round() / 1000.0,
            per_second: rate(latency.count(), took),
            p50_us: latency.quantile_us(0.5),
            p99_us: latency.quantile_us(0.99),
            open_connections: open,
        });
        self.latency.add(&latency);
    }

    /// Adds what came after the end: its latency counts, or the slowest would be left out.
    pub(crate) fn late(&mut self, latency: &Latency) {
        self.latency.add(latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_the_end_counts_for_latency_alone() {
        let mut latency = Latency::default();
        latency.record_us(10);
        let mut series = Series::default();
        series.measured(latency.clone(), Duration::from_millis(500), 3);
        series.late(&latency);
        assert_eq!((series.count, series.latency.count()), (1, 2));
        let second = series.seconds[0];
        assert_eq!((second.at_seconds, second.per_second), (0.5, 2.0));
        assert_eq!((second.p99_us, second.open_connections), (Some(10), 3));
    }
}
