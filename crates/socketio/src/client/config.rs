//! The options of a client, checked.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use socketio_proto::engine::{ClientConfig, Revision, Transport};
use socketio_proto::socket::{ClientSocketConfig, Parser};

use super::address::Address;
use super::dial::Dialer;

/// Which servers a client speaks to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Version {
    /// Socket.IO 2 (Engine.IO 3).
    V2,
    /// Socket.IO 3 and 4 (Engine.IO 4).
    #[default]
    V4,
}

#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) address: Address,
    /// The path of the requests, with its slashes.
    pub(crate) path: Box<str>,
    /// The application's own query, encoded.
    pub(crate) query: Box<str>,
    pub(crate) version: Version,
    pub(crate) transports: Vec<Transport>,
    pub(crate) upgrade: bool,
    pub(crate) remember_upgrade: bool,
    pub(crate) try_all_transports: bool,
    pub(crate) parser: Option<Arc<dyn Parser>>,
    pub(crate) headers: HeaderMap,
    pub(crate) cookies: bool,
    pub(crate) force_base64: bool,
    pub(crate) timestamps: bool,
    pub(crate) deflate: bool,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) socket: ClientSocketConfig,
    /// Whether events are repeated until they are answered.
    pub(crate) retries: bool,
    pub(crate) max_queue: usize,
    pub(crate) max_message: usize,
    pub(crate) max_attachments: usize,
    pub(crate) max_running_handlers: usize,
    pub(crate) dialer: Dialer,
}

impl Config {
    pub(crate) fn revision(&self) -> Revision {
        match self.version {
            Version::V2 => Revision::V3,
            Version::V4 => Revision::V4,
        }
    }

    pub(crate) fn engine(&self) -> ClientConfig {
        ClientConfig {
            revision: self.revision(),
            upgrade: self.upgrade && self.transports.contains(&Transport::WebSocket),
            upgrade_timeout: UPGRADE_TIMEOUT,
        }
    }

    /// The transport with which the client begins, if it cannot come to another.
    #[cfg(feature = "doctor")]
    pub(crate) fn only_transport(&self) -> Option<Transport> {
        let first = *self.transports.first()?;
        let has_others = self.transports.iter().any(|other| *other != first);
        let changes = self.try_all_transports || (self.upgrade && first == Transport::Polling);
        (!(has_others && changes)).then_some(first)
    }

    /// The path and query of a request.
    pub(crate) fn request_target(&self, transport: Transport, sid: Option<&str>) -> String {
        let mut target = format!(
            "{}?EIO={}&transport={}",
            self.path,
            self.revision().number(),
            transport.as_str()
        );
        if transport == Transport::Polling && self.timestamps {
            target.push_str("&t=");
            target.push_str(&timestamp());
        }
        if let Some(sid) = sid {
            target.push_str("&sid=");
            target.extend(url::form_urlencoded::byte_serialize(sid.as_bytes()));
        }
        // Payloads of revision 3 are asked for as text: binary ones carry nothing that text cannot.
        let wants_base64 = self.force_base64 || self.version == Version::V2;
        if transport == Transport::Polling && wants_base64 {
            target.push_str("&b64=1");
        }
        if !self.query.is_empty() {
            target.push('&');
            target.push_str(&self.query);
        }
        target
    }
}

/// What tells a request from all others, so that no cache answers it: 8 characters.
fn timestamp() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random: u64 = rand::random();
    let mut digit = || {
        let digit = DIGITS[(random % 36) as usize];
        random /= 36;
        char::from(digit)
    };
    (0..8).map(|_| digit()).collect()
}

/// The server's own bound is 10 s; one that does not answer at all must not keep the probe for ever.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(20);
