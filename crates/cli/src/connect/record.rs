//! What happens, as it is reported.

use std::time::Duration;

use serde::{Serialize, Serializer};
use socketio::Value;

/// Something that happened. In JSON the variant is the `type`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Record {
    /// The answer to an event.
    Ack {
        name: String,
        #[serde(serialize_with = "super::json::values")]
        args: Vec<Value>,
        /// How long it took.
        #[serde(serialize_with = "milliseconds")]
        ms: Duration,
    },
    /// No answer came.
    AckError { name: String, message: String },
    /// A namespace was joined.
    Connect {
        id: String,
        namespace: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        transport: Option<&'static str>,
        recovered: bool,
    },
    /// A namespace was not joined.
    ConnectError {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// A namespace was left.
    Disconnect {
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        will_reconnect: bool,
    },
    /// An event came.
    Event {
        name: String,
        #[serde(serialize_with = "super::json::values")]
        args: Vec<Value>,
        /// The server waits for an answer.
        wants_ack: bool,
    },
    /// The connection is tried again.
    Reconnecting { attempt: u32 },
    /// An event was sent.
    Sent {
        name: String,
        #[serde(serialize_with = "super::json::values")]
        args: Vec<Value>,
    },
    /// The connection changed its transport.
    Upgrade { transport: &'static str },
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
