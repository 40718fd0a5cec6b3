//! The date until which a cookie is kept, in the many forms that servers write.
//!
//! Spec: RFC 6265, section 5.1.1.

use std::time::{Duration, SystemTime};

pub(super) fn parse(text: &[u8]) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_delimiter =
        |byte: &u8| !matches!(byte, b'0'..=b'9' | b':' | b'a'..=b'z' | b'A'..=b'Z' | 0x7f..);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        let token = String::from_utf8_lossy(token);
        if time.is_none() && token.contains(':') {
            time = clock(&token);
        } else if day.is_none() && digits(&token) > 0 && digits(&token) <= 2 {
            day = number(&token);
        } else if month.is_none() && month_of(&token).is_some() {
            month = month_of(&token);
        } else if year.is_none() && matches!(digits(&token), 2..=4) {
            year = number(&token);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let (time, day, month) = (time?, day?, month?);
    if !(1..=31).contains(&day) || year < 1601 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + time;
    match u64::try_from(seconds) {
        Ok(seconds) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
        // Before anything that could ask.
        Err(_) => Some(SystemTime::UNIX_EPOCH),
    }
}

/// How many digits a token begins with.
fn digits(token: &str) -> usize {
    token.bytes().take_while(u8::is_ascii_digit).count()
}

fn number(token: &str) -> Option<i64> {
    token[..digits(token)].parse().ok()
}

fn clock(token: &str) -> Option<i64> {
    let mut parts = token.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_time = hour < 24 && minute < 60 && second < 60;
    is_time.then_some(hour * 3600 + minute * 60 + second)
}

fn month_of(token: &str) -> Option<i64> {
    const NAMES: &str = "janfebmaraprmayjunjulaugsepoctnovdec";
    let name = token.get(..3)?.to_ascii_lowercase();
    let at = NAMES.find(&name).filter(|at| at % 3 == 0)?;
    Some(at as i64 / 3 + 1)
}

/// The days from 1970 to a day of the Gregorian calendar, whose year begins in March here.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_forms_are_read() {
        let seconds = |text: &str| {
            let date = parse(text.as_bytes())?;
            Some(
                date.duration_since(SystemTime::UNIX_EPOCH)
                    .expect("later")
                    .as_secs(),
            )
        };
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "08:49:37 6 nov 1994",
        ] {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Tue, 29 Feb 2000 00:00:01 GMT"), Some(951_782_401));
        assert_eq!(
            seconds("Fri, 31 Dec 9999 23:59:59 GMT"),
            Some(253_402_300_799)
        );
        assert_eq!(seconds("Mon, 01 Jan 1601 00:00:00 GMT"), Some(0));
        for text in [
            "",
            "soon",
            "32 Jan 2000 00:00:00",
            "1 Jan 2000 24:00:00",
            "1 Jan 2000",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
