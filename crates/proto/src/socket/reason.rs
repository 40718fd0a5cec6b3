//! Why a socket has left its namespace.

use serde::{Deserialize, Serialize};

/// Why a socket has left its namespace; the texts are those of the JavaScript server and client.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client has left the namespace.
    #[serde(rename = "client namespace disconnect")]
    ClientNamespaceDisconnect,
    /// On a client: the application has left the namespace.
    #[serde(rename = "io client disconnect")]
    IoClientDisconnect,
    /// On a client: the server has ended the namespace. The client does not come back by itself.
    #[serde(rename = "io server disconnect")]
    IoServerDisconnect,
    /// The connection was closed by this side, or after a malformed packet.
    #[serde(rename = "forced close")]
    ForcedClose,
    /// The client sent a packet that does not fit the state of its connection, over polling.
    #[serde(rename = "forced server close")]
    ForcedServerClose,
    /// The client sent what is no Engine.IO packet.
    #[serde(rename = "parse error")]
    ParseError,
    /// The client did not answer a ping in time.
    #[serde(rename = "ping timeout")]
    PingTimeout,
    /// The server has made the socket leave.
    #[serde(rename = "server namespace disconnect")]
    ServerNamespaceDisconnect,
    /// The server closes.
    #[serde(rename = "server shutting down")]
    ServerShuttingDown,
    /// The client has closed its connection.
    #[serde(rename = "transport close")]
    TransportClose,
    /// The connection broke, or the client broke the rules of its transport.
    #[serde(rename = "transport error")]
    TransportError,
}

impl DisconnectReason {
    /// The reason in the words of the JavaScript server and client.
    pub fn as_str(self) -> &'static str {
        match self {
            DisconnectReason::ClientNamespaceDisconnect => "client namespace disconnect",
            DisconnectReason::ForcedClose => "forced close",
            DisconnectReason::ForcedServerClose => "forced server close",
            DisconnectReason::IoClientDisconnect => "io client disconnect",
            DisconnectReason::IoServerDisconnect => "io server disconnect",
            DisconnectReason::ParseError => "parse error",
            DisconnectReason::PingTimeout => "ping timeout",
            DisconnectReason::ServerNamespaceDisconnect => "server namespace disconnect",
            DisconnectReason::ServerShuttingDown => "server shutting down",
            DisconnectReason::TransportClose => "transport close",
            DisconnectReason::TransportError => "transport error",
        }
    }
}

impl std::fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_from_its_own_text() {
        for reason in [
            DisconnectReason::ClientNamespaceDisconnect,
            DisconnectReason::ForcedClose,
            DisconnectReason::IoClientDisconnect,
            DisconnectReason::IoServerDisconnect,
            DisconnectReason::ForcedServerClose,
            DisconnectReason::ParseError,
            DisconnectReason::PingTimeout,
            DisconnectReason::ServerNamespaceDisconnect,
            DisconnectReason::ServerShuttingDown,
            DisconnectReason::TransportClose,
            DisconnectReason::TransportError,
        ] {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
            assert_eq!(
                serde_json::from_str::<DisconnectReason>(&json).unwrap(),
                reason
            );
        }
    }
}
