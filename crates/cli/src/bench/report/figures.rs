//! Numbers, durations, sizes and dates for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// A whole number with its thousands apart.
pub(crate) fn number(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration in the unit that suits it.
pub(crate) fn duration_us(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 1_000_000.0 => format!("{} ms", digits(us / 1_000.0)),
        us => format!("{} s", digits(us / 1_000_000.0)),
    }
}

/// A size in the unit that suits it, in powers of ten.
pub(crate) fn bytes(count: f64) -> String {
    match count {
        count if count < 1e3 => format!("{count:.0} B"),
        count if count < 1e6 => format!("{} kB", digits(count / 1e3)),
        count if count < 1e9 => format!("{} MB", digits(count / 1e6)),
        count => format!("{} GB", digits(count / 1e9)),
    }
}

/// Three digits that matter.
fn digits(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A time in UTC as RFC 3339 writes it.
pub(super) fn date(time: SystemTime) -> String {
    // A clock before 1970 is as good as any wrong one.
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let date = i64::try_from(seconds).map(jiff::Timestamp::from_second);
    date.ok()
        .and_then(Result::ok)
        .unwrap_or_default()
        .to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(
            [0.0, 999.4, 1_000.0, 1_234_567.0].map(number),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn durations_and_sizes_have_a_fitting_unit() {
        assert_eq!(
            [7.0, 1_234.0, 45_600.0, 2_500_000.0].map(duration_us),
            ["7 µs", "1.23 ms", "45.6 ms", "2.50 s"]
        );
        assert_eq!(
            [7.0, 1_230.0, 4_560_000.0, 1.5e11].map(bytes),
            ["7 B", "1.23 kB", "4.56 MB", "150 GB"]
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
