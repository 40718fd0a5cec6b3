//! Records for programs: one JSON object a line. What stands in them is documented in the help and
//! does not change.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use socketio::Value;
use socketio_proto::printable_json;

use super::record::Record;

/// A record that happened at a time, in milliseconds since 1970.
pub(super) fn line(record: &Record, at: u64) -> String {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        record: &'a Record,
        at: u64,
    }
    printable_json(serde_json::to_string(&Line { record, at }).expect("all keys are texts"))
}

pub(super) fn values<S: Serializer>(values: &[Value], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(Json))
}

/// A value in which bytes are `{"base64":".."}`.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => self::values(values, serializer),
            Value::Binary(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(bytes))?;
                map.end()
            }
            Value::Object(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, Json(value))))
            }
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {
                self.0.serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_is_one_object_with_its_type_in_front() {
        let name = || "chat message".to_owned();
        let args = vec![
            Value::from(vec![(
                "data".to_owned(),
                Value::Binary(b"hi".as_slice().into()),
            )]),
            Value::Null,
        ];
        let error = Record::ConnectError {
            message: "not authorized".to_owned(),
            status: None,
            detail: None,
            data: Some(serde_json::json!({"code": 42})),
            hint: None,
        };
        for (record, expected) in [
            (
                Record::Event {
                    name: name(),
                    args: args.clone(),
                    wants_ack: false,
                },
                r#"{"type":"event","name":"chat message","args":[{"data":{"base64":"aGk="}},null],"wants_ack":false,"at":7}"#,
            ),
            (
                Record::Sent { name: name(), args },
                r#"{"type":"sent","name":"chat message","args":[{"data":{"base64":"aGk="}},null],"at":7}"#,
            ),
            (
                Record::Ack {
                    name: name(),
                    args: vec![],
                    ms: Duration::from_micros(12_900),
                },
                r#"{"type":"ack","name":"chat message","args":[],"ms":12,"at":7}"#,
            ),
            (
                Record::AckError {
                    name: name(),
                    message: "operation has timed out".to_owned(),
                },
                r#"{"type":"ack_error","name":"chat message","message":"operation has timed out","at":7}"#,
            ),
            (
                Record::Connect {
                    id: "x".to_owned(),
                    namespace: "/".to_owned(),
                    transport: Some("polling"),
                    recovered: false,
                },
                r#"{"type":"connect","id":"x","namespace":"/","transport":"polling","recovered":false,"at":7}"#,
            ),
            (
                error,
                r#"{"type":"connect_error","message":"not authorized","data":{"code":42},"at":7}"#,
            ),
            (
                Record::Disconnect {
                    reason: "transport close",
                    detail: None,
                    hint: None,
                    will_reconnect: true,
                },
                r#"{"type":"disconnect","reason":"transport close","will_reconnect":true,"at":7}"#,
            ),
            (
                Record::Upgrade {
                    transport: "websocket",
                },
                r#"{"type":"upgrade","transport":"websocket","at":7}"#,
            ),
            (
                Record::Reconnecting { attempt: 2 },
                r#"{"type":"reconnecting","attempt":2,"at":7}"#,
            ),
        ] {
            assert_eq!(line(&record, 7), expected);
        }
    }
}
