//! The open packet: what the server tells a client first.
//!
//! The server writes it with the keys in the reference's order; the client reads it in any order,
//! with keys that it does not know.
//!
//! Spec: Engine.IO v4, "Handshake".

use std::collections::HashMap;
use std::time::Duration;

use serde_json::value::RawValue;
use thiserror::Error;

use super::packet::Transport;

/// The open packet as the server writes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenPacket<'a> {
    /// The session's id.
    pub sid: &'a str,
    /// The transports the client may upgrade to.
    pub upgrades: &'a [Transport],
    /// The delay between a pong and the next ping.
    pub ping_interval: Duration,
    /// The time the client has to answer a ping.
    pub ping_timeout: Duration,
    /// The largest message the client may send, in bytes.
    pub max_payload: u64,
}

impl OpenPacket<'_> {
    /// Writes the packet: its type, and a JSON object.
    pub fn encode(&self) -> Vec<u8> {
        // Written by hand: every connection begins with it.
        let mut out = Vec::with_capacity(192);
        out.extend_from_slice(b"0{\"sid\":");
        serde_json::to_writer(&mut out, self.sid).expect("a text is always JSON");
        out.extend_from_slice(b",\"upgrades\":[");
        for (n, transport) in self.upgrades.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b"\"" } else { b",\"" });
            out.extend_from_slice(transport.as_str().as_bytes());
            out.push(b'"');
        }
        out.push(b']');
        for (key, number) in [
            (&b",\"pingInterval\":"[..], millis(self.ping_interval)),
            (b",\"pingTimeout\":", millis(self.ping_timeout)),
            (b",\"maxPayload\":", self.max_payload),
        ] {
            out.extend_from_slice(key);
            serde_json::to_writer(&mut out, &number).expect("a number is always JSON");
        }
        out.push(b'}');
        out
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The open packet as the client reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct OpenData {
    /// The session's id.
    pub sid: String,
    /// The transports the server offers, without those that are unknown here.
    pub upgrades: Vec<Transport>,
    /// The delay between a pong and the server's next ping.
    pub ping_interval: Duration,
    /// The time the server waits for a pong.
    pub ping_timeout: Duration,
    /// The largest message the server takes, in bytes; old servers do not tell.
    pub max_payload: Option<u64>,
}

impl OpenData {
    /// Decodes the JSON object that follows the packet's type.
    ///
    /// Servers of many makes write it. Numbers may be texts and texts numbers, of equal keys the last
    /// counts, as in JavaScript, and what is no use is as if it were not there: a bound of 0, or an
    /// interval that is not between a millisecond and a day, for which 25 and 20 seconds stand.
    ///
    /// # Errors
    /// Fails if this is no JSON object, or has no id.
    pub fn decode(json: &str) -> Result<OpenData, OpenError> {
        let object: Members<'_> = serde_json::from_str(json).map_err(|_| OpenError::Malformed)?;
        let number = |key| object.get(key).and_then(|raw| number(raw.get()));
        let interval = |key, default| {
            let millis = number(key).filter(|millis| (1.0..=DAY_MILLIS).contains(millis));
            Duration::from_millis(millis.map_or(default, |millis| millis as u64))
        };
        Ok(OpenData {
            sid: object
                .get("sid")
                .and_then(|raw| id(raw.get()))
                .ok_or(OpenError::Sid)?,
            upgrades: object
                .get("upgrades")
                .map_or_else(Vec::new, |raw| transports(raw.get())),
            ping_interval: interval("pingInterval", 25_000),
            ping_timeout: interval("pingTimeout", 20_000),
            max_payload: number("maxPayload")
                .filter(|max| max.is_finite() && *max >= 1.0)
                .map(|max| max as u64),
        })
    }
}

const DAY_MILLIS: f64 = 24.0 * 60.0 * 60.0 * 1000.0;

/// The members of an object as they are written; of equal keys the last.
type Members<'a> = HashMap<String, &'a RawValue>;

/// A number, or a text of one.
fn number(json: &str) -> Option<f64> {
    let text: String;
    let digits = match json.starts_with('"') {
        true => {
            text = serde_json::from_str(json).ok()?;
            text.trim()
        }
        false => json,
    };
    digits.parse().ok()
}

/// A text, or a number in its digits. It goes into URLs, which take anything.
fn id(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok(),
        b'-' | b'0'..=b'9' => Some(json.to_owned()),
        _ => None,
    }
    .filter(|id| !id.is_empty())
}

/// The transports that are known among the items of an array.
fn transports(json: &str) -> Vec<Transport> {
    let items: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    let names = items
        .iter()
        .filter_map(|item| serde_json::from_str::<String>(item.get()).ok());
    names
        .filter_map(|name| Transport::from_name(&name))
        .collect()
}

/// An open packet that cannot be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// It is no JSON object: the peer is no Engine.IO server.
    #[error("the open packet is no JSON object")]
    Malformed,
    /// It has no id.
    #[error("`sid` of the open packet is missing, or neither text nor number")]
    Sid,
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::*;

    fn open(upgrades: &[Transport]) -> String {
        let config = Config::default();
        let packet = OpenPacket {
            sid: "lv_VI97HAXpY6yYWAAAC",
            upgrades,
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            max_payload: config.max_payload,
        };
        let text = String::from_utf8(packet.encode()).unwrap();
        text.strip_prefix('0').unwrap().to_owned()
    }

    // E001
    #[test]
    fn server_writes_five_keys_in_order() {
        let config = Config::default();
        assert_eq!(
            open(config.upgrades(Transport::Polling)),
            r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
    }

    // E002
    #[test]
    fn no_upgrade_is_an_empty_list() {
        assert!(open(&[]).contains(r#","upgrades":[],"#));
    }

    #[test]
    fn client_reads_what_the_server_writes() {
        let data = OpenData::decode(&open(&[Transport::WebSocket])).unwrap();
        assert_eq!(data.sid, "lv_VI97HAXpY6yYWAAAC");
        assert_eq!(data.upgrades, [Transport::WebSocket]);
        assert_eq!(data.ping_interval, Duration::from_secs(25));
        assert_eq!(data.ping_timeout, Duration::from_secs(20));
        assert_eq!(data.max_payload, Some(1_000_000));
    }

    #[test]
    fn client_tolerates_unknown_keys_and_transports_and_a_missing_limit() {
        let json = r#"{"x":[{}],"pingTimeout":2,"upgrades":["webtransport","websocket"],"pingInterval":1,"sid":"a"}"#;
        let data = OpenData::decode(json).unwrap();
        assert_eq!(data.upgrades, [Transport::WebSocket]);
        assert_eq!(data.max_payload, None);
        assert_eq!(data.ping_interval, Duration::from_millis(1));
    }

    #[test]
    fn client_refuses_what_is_no_open_packet() {
        let deep = "[".repeat(100_000);
        for json in [
            "",
            "[]",
            "1",
            "null",
            r#"{"sid":"a""#,
            r#"{"sid":"a"}x"#,
            &deep,
        ] {
            assert_eq!(OpenData::decode(json), Err(OpenError::Malformed), "{json}");
        }
        for sid in [
            "",
            "x",
            r#""sid":"","#,
            r#""sid":null,"#,
            r#""sid":[1],"#,
            r#""sid":{},"#,
        ] {
            let json = match sid {
                "x" => r#"{"Sid":"a"}"#.to_owned(),
                sid => format!(r#"{{{sid}"upgrades":[]}}"#),
            };
            assert_eq!(OpenData::decode(&json), Err(OpenError::Sid), "{json}");
        }
    }

    fn with(members: &str) -> OpenData {
        let json = format!(r#"{{"sid":"a",{members}"x":1e400,"y":"\ud800"}}"#);
        OpenData::decode(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn intervals_are_read_leniently_and_always_there() {
        for (value, millis) in [
            ("1", Some(1)),
            ("300", Some(300)),
            ("300.0", Some(300)),
            ("300.9", Some(300)),
            ("1e6", Some(1_000_000)),
            ("\"300\"", Some(300)),
            ("\" 3e2 \"", Some(300)),
            ("86400000", Some(86_400_000)),
            ("86400001", None),
            ("0", None),
            ("0.5", None),
            ("-300", None),
            ("1e400", None),
            ("1e20", None),
            ("\"inf\"", None),
            ("\"NaN\"", None),
            ("\"\"", None),
            ("\"soon\"", None),
            ("null", None),
            ("true", None),
            ("[300]", None),
            ("{}", None),
        ] {
            for (key, default) in [("pingInterval", 25_000), ("pingTimeout", 20_000)] {
                let data = with(&format!(r#""{key}":{value},"#));
                let found = match key {
                    "pingInterval" => data.ping_interval,
                    _ => data.ping_timeout,
                };
                let expected = Duration::from_millis(millis.unwrap_or(default));
                assert_eq!(found, expected, "{key} {value}");
            }
        }
        let data = with("");
        assert_eq!(data.ping_interval, Duration::from_secs(25));
        assert_eq!(data.ping_timeout, Duration::from_secs(20));
        let twice = with(r#""pingInterval":1,"pingInterval":2,"#);
        assert_eq!(twice.ping_interval, Duration::from_millis(2));
    }

    #[test]
    fn a_bound_that_says_nothing_is_none() {
        for (value, max) in [
            ("1", Some(1)),
            ("1000000.0", Some(1_000_000)),
            ("1e6", Some(1_000_000)),
            ("\"1000000\"", Some(1_000_000)),
            ("1e30", Some(u64::MAX)),
            ("0", None),
            ("0.5", None),
            ("-1", None),
            ("1e400", None),
            ("null", None),
            ("\"\"", None),
            ("\"big\"", None),
            ("[]", None),
        ] {
            let data = with(&format!(r#""maxPayload":{value},"#));
            assert_eq!(data.max_payload, max, "{value}");
        }
        assert_eq!(with("").max_payload, None);
    }

    #[test]
    fn upgrades_that_are_not_known_are_skipped() {
        for (value, upgrades) in [
            (r#"["websocket"]"#, true),
            (r#"[null,1,{"a":[]},"webtransport","websocket"]"#, true),
            (r#"["\ud800","websocket"]"#, true),
            ("[]", false),
            ("null", false),
            ("false", false),
            (r#""websocket""#, false),
            ("{}", false),
            ("[1,2]", false),
        ] {
            let data = with(&format!(r#""upgrades":{value},"#));
            assert_eq!(data.upgrades == [Transport::WebSocket], upgrades, "{value}");
        }
        assert_eq!(with("").upgrades, []);
    }

    #[test]
    fn an_id_may_be_a_number() {
        for (value, sid) in [
            (r#""a b/ü&""#, "a b/ü&"),
            ("5", "5"),
            ("-1", "-1"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            let data = with(&format!(r#""sid":{value},"#));
            assert_eq!(data.sid, sid);
        }
    }
}
