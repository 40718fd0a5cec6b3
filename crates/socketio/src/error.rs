//! What can go wrong, one type for each operation.

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::args::{DecodeError, EncodeError};

/// Why an event was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket has left its namespace, or its connection has ended.
    #[error("the socket is not connected")]
    Disconnected,
    /// A volatile event could not be written at once, so that its answer will not come. Without one
    /// that is no error.
    #[error("the volatile event was dropped: it could not be sent at once")]
    Dropped,
    /// The arguments cannot be serialised.
    #[error("the arguments cannot be serialised")]
    Encode(#[from] EncodeError),
    /// The other side reads more slowly than it is sent to, and its queue is full; or, on a client, so
    /// much waits for a connection.
    ///
    /// Await what `emit` returns, so that the sender waits for the reader, or raise
    /// [`max_queue`](crate::ServerBuilder::max_queue).
    #[error("the queue is full")]
    QueueFull,
    /// So many answers of this client are awaited that no more may be; see
    /// [`max_pending_acks`](crate::ServerBuilder::max_pending_acks).
    ///
    /// Bound the waits with [`timeout`](crate::Socket::timeout).
    #[error("too many answers of the client are awaited")]
    TooManyAcks,
    /// The message is larger than the server accepts; sent, it would end the connection.
    ///
    /// Raise the server's [`max_payload`](crate::ServerBuilder::max_payload) (`maxHttpBufferSize` in
    /// JavaScript), or send less at once.
    #[error("the message of {size} bytes is larger than the {max} that the server accepts")]
    TooLarge {
        /// The bytes of the message, as it would travel.
        size: usize,
        /// The server's bound in bytes.
        max: u64,
    },
    /// The name belongs to the protocol: `connect`, `connect_error`, `disconnect`, `disconnecting`,
    /// `newListener` and `removeListener` cannot be emitted.
    #[error("\"{0}\" is a reserved event name")]
    Reserved(String),
}

/// Why a client's answer did not come.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AckError {
    /// The answer is not of the expected type.
    #[error("the answer is not of the expected type")]
    Decode(#[from] DecodeError),
    /// The client left before it answered.
    #[error("socket has been disconnected")]
    Disconnected,
    /// The event could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The client did not answer in time.
    #[error("operation has timed out")]
    Timeout,
}

/// Why a broadcast's answers are not complete.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BroadcastAckError<T> {
    /// Answers are not of the expected type.
    #[error("an answer is not of the expected type")]
    Decode {
        /// The answers that are.
        responses: Vec<T>,
        /// What is wrong with the others, one for each.
        undecodable: Vec<DecodeError>,
        /// How many answers did not come.
        missing: usize,
    },
    /// The event could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Some clients did not answer in time, or left before they did.
    #[error("operation has timed out")]
    Incomplete {
        /// The answers that came.
        responses: Vec<T>,
        /// How many did not come.
        missing: usize,
    },
}

/// Why a client may not join a namespace: what a connection middleware refuses with.
///
/// The client's `connect_error` has the message, and the data as `err.data`.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{message}")]
pub struct ConnectError {
    message: String,
    data: Option<Value>,
}

impl ConnectError {
    /// Refuses with a message.
    pub fn new(message: impl Into<String>) -> ConnectError {
        ConnectError {
            message: message.into(),
            data: None,
        }
    }

    /// Adds data for the client; what cannot be serialised is left out.
    #[must_use]
    pub fn with_data(mut self, data: impl Serialize) -> ConnectError {
        self.data = serde_json::to_value(data).ok();
        self
    }

    /// Says why, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Says why, for programs.
    pub fn data(&self) -> Option<&Value> {
        self.data.as_ref()
    }

    /// What clients of version 2 get: the data if there is any, else the message.
    pub(crate) fn to_old_json(&self) -> String {
        match &self.data {
            Some(data) => data.to_string(),
            None => Value::from(&*self.message).to_string(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        // In the reference's order.
        let message = Value::from(&*self.message);
        match &self.data {
            Some(data) => format!(r#"{{"message":{message},"data":{data}}}"#),
            None => format!(r#"{{"message":{message}}}"#),
        }
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> ConnectError {
        ConnectError::new(message)
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> ConnectError {
        ConnectError::new(message)
    }
}
