//! Dates as JavaScript writes them in JSON. Spec: ECMAScript, "Date Time String Format".

/// Writes a date, or `null` if JavaScript has none that far away.
pub(super) fn write_date(json: &mut Vec<u8>, milliseconds: Option<i64>) {
    // 100,000,000 days in either direction. Spec: ECMAScript, "Time Values and Time Range".
    const MAX: u64 = 8_640_000_000_000_000;
    let Some(time) = milliseconds.filter(|time| time.unsigned_abs() <= MAX) else {
        json.extend_from_slice(b"null");
        return;
    };
    let (days, rest) = (time.div_euclid(86_400_000), time.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
    let (seconds, millis) = (rest / 1000 % 60, rest % 1000);
    let text =
        format!("\"{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z\"");
    json.extend_from_slice(text.as_bytes());
}

/// The year, month and day of a day counted from 1970 in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day is the last of its year; 400 years have 146,097
    // days and begin with March 1st, 719,468 days before 1970 being that of the year 0.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // A leap day ends every 4 years, but for 100, and for 400 again.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months in a row have 153 days.
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (turn, month) = match month {
        0..=9 => (0, month + 3),
        _ => (1, month - 9),
    };
    (era * 400 + year + turn, month, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(milliseconds: i64) -> String {
        let mut json = Vec::new();
        write_date(&mut json, Some(milliseconds));
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn dates_are_written_as_javascript_writes_them() {
        for (time, expected) in [
            (0, "\"1970-01-01T00:00:00.000Z\""),
            (-1, "\"1969-12-31T23:59:59.999Z\""),
            (1500, "\"1970-01-01T00:00:01.500Z\""),
            (951_782_400_000, "\"2000-02-29T00:00:00.000Z\""),
            (951_868_799_999, "\"2000-02-29T23:59:59.999Z\""),
            (951_868_800_000, "\"2000-03-01T00:00:00.000Z\""),
            (4_107_542_400_000, "\"2100-03-01T00:00:00.000Z\""),
            (1_795_397_084_566, "\"2026-11-23T01:24:44.566Z\""),
            (253_402_300_800_000, "\"+010000-01-01T00:00:00.000Z\""),
            (-62_167_219_200_000, "\"0000-01-01T00:00:00.000Z\""),
            (-62_167_219_200_001, "\"-000001-12-31T23:59:59.999Z\""),
            (8_640_000_000_000_000, "\"+275760-09-13T00:00:00.000Z\""),
            (-8_640_000_000_000_000, "\"-271821-04-20T00:00:00.000Z\""),
            (8_640_000_000_000_001, "null"),
            (i64::MIN, "null"),
        ] {
            assert_eq!(text(time), expected, "{time}");
        }
    }

    #[test]
    fn days_follow_one_another() {
        let mut last = civil(-800_000);
        for days in -799_999..800_000 {
            let (year, month, day) = civil(days);
            let next = match last {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d < length(y, m) => (y, m, d + 1),
                (y, m, _) => (y, m + 1, 1),
            };
            assert_eq!((year, month, day), next, "{days}");
            last = next;
        }
    }

    fn length(year: i64, month: i64) -> i64 {
        match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}
