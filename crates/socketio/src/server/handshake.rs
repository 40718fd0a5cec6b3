//! What the application may see of a session's first request.
//!
//! Copied into one compact allocation: header values as the HTTP server has them would keep its whole
//! read buffer alive for as long as the session lives.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

use socketio_proto::engine::Query;

/// A session's first request: its headers, address and query.
pub struct Handshake {
    /// The URL, then each header's name and value; each behind its length in 4 bytes.
    parts: Box<[u8]>,
    address: Option<SocketAddr>,
    /// Milliseconds since 1970, shifted left by one; the lowest bit is set for TLS.
    issued_and_secure: u64,
}

impl Handshake {
    pub(crate) fn new(
        uri: &Uri,
        headers: &HeaderMap,
        address: Option<SocketAddr>,
        secure: bool,
        issued: SystemTime,
    ) -> Handshake {
        let url = uri.path_and_query().map_or("/", |url| url.as_str());
        let lengths = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 8);
        let mut parts = Vec::with_capacity(4 + url.len() + lengths.sum::<usize>());
        let mut push = |part: &[u8]| {
            // A request's head is far smaller than 4 GiB.
            parts.extend_from_slice(&(part.len() as u32).to_le_bytes());
            parts.extend_from_slice(part);
        };
        push(url.as_bytes());
        for (name, value) in headers {
            push(name.as_str().as_bytes());
            push(value.as_bytes());
        }
        let issued = issued
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as u64;
        Handshake {
            parts: parts.into(),
            address,
            issued_and_secure: issued << 1 | u64::from(secure),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.parts;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk()?;
            let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            Some(part)
        })
    }

    /// The path and query of the request.
    pub fn url(&self) -> &str {
        self.parts()
            .next()
            .and_then(|url| std::str::from_utf8(url).ok())
            .unwrap_or_default()
    }

    /// All headers, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut parts = self.parts().skip(1);
        std::iter::from_fn(move || {
            let name = std::str::from_utf8(parts.next()?).ok()?;
            Some((name, parts.next()?))
        })
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let url = self.url();
        let (_, query) = url.split_once('?')?;
        Query::parse(query).get(name).map(str::to_owned)
    }

    /// The peer's address, if the server knows it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Says whether the connection is encrypted, as far as this server knows.
    pub fn is_secure(&self) -> bool {
        self.issued_and_secure & 1 == 1
    }

    /// Says whether the request came from a page: it has an `Origin`.
    #[doc(alias = "xdomain")]
    pub fn is_cross_domain(&self) -> bool {
        self.header("origin").is_some()
    }

    /// When the session began.
    pub fn issued(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.issued_and_secure >> 1)
    }

    /// The ten fields that the JavaScript server gives, with the client's `auth` as JSON text.
    pub(crate) fn to_json(&self, auth: Option<&str>) -> Value {
        let mut headers = Map::new();
        for (name, value) in self.headers() {
            let value = String::from_utf8_lossy(value);
            match headers.get_mut(name) {
                Some(Value::String(before)) => {
                    before.push_str(", ");
                    before.push_str(&value);
                }
                _ => drop(headers.insert(name.to_owned(), value.into())),
            }
        }
        let url = self.url();
        let query: Map<String, Value> = Query::parse(url.split_once('?').map_or("", |(_, q)| q))
            .iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect();
        let auth = auth
            .and_then(|auth| serde_json::from_str(auth).ok())
            .unwrap_or(json!({}));
        json!({
            "headers": headers,
            "time": js_date(self.issued()),
            "address": self.address.map(|address| address.ip().to_string()),
            "xdomain": self.is_cross_domain(),
            "secure": self.is_secure(),
            "issued": self.issued_and_secure >> 1,
            "url": url,
            "query": query,
            "auth": auth,
        })
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and query may hold secrets.
        f.debug_struct("Handshake")
            .field("address", &self.address)
            .field("issued", &self.issued())
            .finish_non_exhaustive()
    }
}

/// A time as HTTP writes it. Spec: RFC 9110, section 5.6.7.
pub(super) fn http_date(time: SystemTime) -> String {
    let (weekday, day, month, year, clock) = calendar(time);
    format!("{weekday}, {day:02} {month} {year} {clock} GMT")
}

/// A time as JavaScript's `Date` writes it, in UTC.
fn js_date(time: SystemTime) -> String {
    let (weekday, day, month, year, clock) = calendar(time);
    format!("{weekday} {month} {day:02} {year} {clock} GMT+0000 (Coordinated Universal Time)")
}

/// Weekday, day, month, year and the time of day, in UTC.
fn calendar(time: SystemTime) -> (&'static str, u64, &'static str, u64, String) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let clock = format!(
        "{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [
        31,
        28 + u64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    (
        DAYS[(days % 7) as usize],
        day + 1,
        MONTHS[month],
        year,
        clock,
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn handshake() -> Handshake {
        let uri = "/socket.io/?EIO=4&transport=polling&name=J%C3%BCrgen"
            .parse()
            .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.com"));
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        headers.insert("x-bytes", HeaderValue::from_bytes(b"\xff").unwrap());
        let address = Some("127.0.0.1:1".parse().unwrap());
        let issued = UNIX_EPOCH + Duration::from_millis(784_111_777_123);
        Handshake::new(&uri, &headers, address, true, issued)
    }

    #[test]
    fn everything_is_kept() {
        let handshake = handshake();
        assert_eq!(
            handshake.url(),
            "/socket.io/?EIO=4&transport=polling&name=J%C3%BCrgen"
        );
        assert_eq!(handshake.header("Host"), Some("example.com"));
        assert_eq!(
            handshake
                .headers()
                .filter(|(name, _)| *name == "x-a")
                .count(),
            2
        );
        assert!(handshake.headers().any(|(_, value)| value == b"\xff"));
        assert_eq!(handshake.query("name").as_deref(), Some("Jürgen"));
        assert!(handshake.is_secure() && !handshake.is_cross_domain());
    }

    // S050.
    #[test]
    fn the_javascript_server_s_fields_are_there() {
        let json = handshake().to_json(Some(r#"{"token":1}"#));
        assert_eq!(json["headers"]["x-a"], "1, 2");
        assert_eq!(
            json["time"],
            "Sun Nov 06 1994 08:49:37 GMT+0000 (Coordinated Universal Time)"
        );
        assert_eq!(json["issued"], 784_111_777_123_u64);
        assert_eq!(
            json["query"],
            json!({ "EIO": "4", "transport": "polling", "name": "Jürgen" })
        );
        assert_eq!(json["auth"], json!({ "token": 1 }));
        assert_eq!(
            (&json["address"], &json["secure"]),
            (&json!("127.0.0.1"), &json!(true))
        );
        assert_eq!(json.as_object().unwrap().len(), 9);
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(seconds)), date);
        }
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Handshake>() <= 56);
    }
}
