//! Cuts connections at random moments.

use std::time::Duration;

use super::client::Connected;

/// Cuts so often that each connection is cut `each` times per second on average; never ends.
pub(crate) async fn cut(connected: &[Connected], each: f64) {
    let all = each * connected.len() as f64;
    loop {
        tokio::time::sleep(pause(rand::random(), all)).await;
        if let Some(connected) = connected.get(rand::random_range(0..connected.len().max(1))) {
            connected.cut();
        }
    }
}

/// The time until the next of so many events per second that know nothing of each other, for a random
/// number from 0 to 1.
fn pause(random: f64, rate: f64) -> Duration {
    // With no connections there is nothing to cut.
    let seconds = -(1.0 - random).ln() / rate.max(0.001);
    Duration::from_secs_f64(seconds.min(LONGEST))
}

const LONGEST: f64 = 3600.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_have_the_mean_of_their_rate() {
        let count = 10_000;
        let pauses = (0..count).map(|i| pause((f64::from(i) + 0.5) / f64::from(count), 20.0));
        let mean = pauses.sum::<Duration>() / count;
        assert!(mean.abs_diff(Duration::from_millis(50)) < Duration::from_millis(1));
    }

    #[test]
    fn no_number_makes_a_pause_without_end() {
        assert_eq!(pause(0.0, 20.0), Duration::ZERO);
        assert_eq!(pause(1.0, 20.0), Duration::from_secs(3600));
        assert_eq!(pause(1.0, 0.0), Duration::from_secs(3600));
    }
}
