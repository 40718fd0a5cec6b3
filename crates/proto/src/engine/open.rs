//! The open packet: what the server tells a client first.
//!
//! The server writes it with the keys in the reference's order; the client reads it in any order,
//! with keys that it does not know.
//!
//! Spec: Engine.IO v4, "Handshake".

use std::time::Duration;

use serde::Deserialize;
use serde::ser::{Serialize, SerializeStruct, Serializer};
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
    /// Writes the JSON object that follows the packet's type.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always JSON")
    }
}

impl Serialize for OpenPacket<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let upgrades: Vec<_> = self
            .upgrades
            .iter()
            .map(|transport| transport.as_str())
            .collect();
        let mut object = serializer.serialize_struct("OpenPacket", 5)?;
        object.serialize_field("sid", self.sid)?;
        object.serialize_field("upgrades", &upgrades)?;
        object.serialize_field("pingInterval", &millis(self.ping_interval))?;
        object.serialize_field("pingTimeout", &millis(self.ping_timeout))?;
        object.serialize_field("maxPayload", &self.max_payload)?;
        object.end()
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
    /// # Errors
    /// Fails if this is no JSON object, or if the id or an interval is missing.
    pub fn decode(json: &str) -> Result<OpenData, OpenError> {
        let object: OpenObject = serde_json::from_str(json).map_err(|_| OpenError::Malformed)?;
        Ok(OpenData {
            sid: object.sid,
            upgrades: object
                .upgrades
                .iter()
                .filter_map(|n| Transport::from_name(n))
                .collect(),
            ping_interval: Duration::from_millis(object.ping_interval),
            ping_timeout: Duration::from_millis(object.ping_timeout),
            max_payload: object.max_payload,
        })
    }
}

/// An open packet that cannot be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// It is no JSON object with an id and intervals: the peer is no Engine.IO server.
    #[error("malformed open packet")]
    Malformed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenObject {
    sid: String,
    #[serde(default)]
    upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: Option<u64>,
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
        packet.to_json()
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
            "{}",
            "[]",
            "1",
            r#"{"sid":1}"#,
            r#"{"sid":"a","pingInterval":-1}"#,
            &deep,
        ] {
            assert_eq!(OpenData::decode(json), Err(OpenError::Malformed));
        }
    }
}
