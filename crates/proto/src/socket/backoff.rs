//! How long a client waits before it connects again.

use std::time::Duration;

/// The pauses between attempts to connect: each twice the one before, with some jitter, up to a bound.
///
/// They are computed as the reference computes them, to the millisecond, so that a crowd of clients of
/// all kinds spreads alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The first pause, before jitter.
    pub min: Duration,
    /// The longest pause, jitter included.
    pub max: Duration,
    /// Which part of a pause is random: from 0 for none to 1 for anything up to twice as long.
    pub jitter: f64,
    attempts: u32,
}

impl Backoff {
    /// Begins with no attempts made.
    pub fn new(min: Duration, max: Duration, jitter: f64) -> Backoff {
        Backoff {
            min,
            max,
            jitter,
            attempts: 0,
        }
    }

    /// Returns how many pauses there were since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Returns the next pause. `random` is drawn evenly from 0 up to, but not including, 1.
    pub fn next_pause(&mut self, random: f64) -> Duration {
        let exponent = i32::try_from(self.attempts).unwrap_or(i32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let mut pause = millis(self.min) * 2_f64.powi(exponent);
        if self.jitter > 0.0 {
            let deviation = (random * self.jitter * pause).floor();
            match (random * 10.0).floor() as i64 & 1 {
                0 => pause -= deviation,
                _ => pause += deviation,
            }
        }
        // Beyond the largest integers too: the bound is applied before the conversion.
        Duration::from_millis(pause.clamp(0.0, millis(self.max)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(jitter: f64, randoms: &[f64]) -> Vec<u128> {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), jitter);
        let pause = |&random| backoff.next_pause(random).as_millis();
        randoms.iter().map(pause).collect()
    }

    // C015
    #[test]
    fn pauses_double_up_to_the_bound() {
        assert_eq!(pauses(0.0, &[0.7; 5]), [1000, 2000, 4000, 5000, 5000]);
    }

    // C015: subtracted when the first decimal of the random number is even, else added.
    #[test]
    fn jitter_is_the_reference_s() {
        assert_eq!(pauses(0.5, &[0.0]), [1000]);
        assert_eq!(pauses(0.5, &[0.25]), [875]);
        assert_eq!(pauses(0.5, &[0.99]), [1495]);
        assert_eq!(pauses(0.5, &[0.999, 0.4]), [1499, 1600]);
        assert_eq!(pauses(0.5, &[0.1, 0.3, 0.9]), [1050, 2300, 5000]);
        assert_eq!(pauses(1.0, &[0.9]), [1900]);
    }

    #[test]
    fn the_bound_holds_after_any_number_of_attempts() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), 0.5);
        for _ in 0..5000 {
            assert!(backoff.next_pause(0.3) <= Duration::from_secs(5));
        }
        assert_eq!(backoff.attempts(), 5000);
        backoff.reset();
        assert_eq!(backoff.next_pause(0.0), Duration::from_secs(1));
    }
}
