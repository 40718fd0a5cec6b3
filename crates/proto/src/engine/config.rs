//! What a server is set up to do.
//!
//! The defaults are the reference's. Values are not checked here: zero durations make a session
//! that closes at once, and are for the caller to refuse.

use std::time::Duration;

use super::packet::Transport;

/// The settings that all sessions of a server share.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The delay between a pong and the next ping. Default: 25 s.
    ///
    /// A longer one saves traffic; a proxy in front must tolerate a connection that is silent for
    /// that long.
    #[doc(alias = "pingInterval")]
    pub ping_interval: Duration,
    /// The time a client has to answer a ping. Default: 20 s.
    ///
    /// A longer one tolerates slow uploads, a shorter one notices dead clients sooner.
    #[doc(alias = "pingTimeout")]
    pub ping_timeout: Duration,
    /// The time a second transport has to complete an upgrade. Default: 10 s.
    #[doc(alias = "upgradeTimeout")]
    pub upgrade_timeout: Duration,
    /// The time a closed polling session waits for a GET that takes the close packet. Default: 30 s.
    pub close_timeout: Duration,
    /// The largest message a client may send, in bytes, inclusive. Default: 1,000,000.
    ///
    /// It bounds one POST body and one WebSocket message, and is announced to the client.
    #[doc(alias = "maxHttpBufferSize")]
    pub max_payload: u64,
    /// Whether clients are told that they may upgrade. Default: true.
    ///
    /// A client that upgrades without being told is accepted, as by the reference.
    #[doc(alias = "allowUpgrades")]
    pub allow_upgrades: bool,
    /// Whether clients of revision 3 are let in: those of Socket.IO 1 and 2. Default: false.
    #[doc(alias = "allowEIO3")]
    pub allow_eio3: bool,
    polling: bool,
    websocket: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
            max_payload: 1_000_000,
            allow_upgrades: true,
            allow_eio3: false,
            polling: true,
            websocket: true,
        }
    }
}

impl Config {
    /// Says whether clients may use this transport.
    pub fn allows(&self, transport: Transport) -> bool {
        match transport {
            Transport::Polling => self.polling,
            Transport::WebSocket => self.websocket,
        }
    }

    /// Replaces the transports that clients may use. Default: polling and WebSocket.
    pub fn set_transports(&mut self, transports: impl IntoIterator<Item = Transport>) {
        self.polling = false;
        self.websocket = false;
        for transport in transports {
            match transport {
                Transport::Polling => self.polling = true,
                Transport::WebSocket => self.websocket = true,
            }
        }
    }

    /// Says whether clients may use any transport at all.
    pub fn has_transports(&self) -> bool {
        self.polling || self.websocket
    }

    /// Returns the transports that a session on `from` is told it may upgrade to.
    pub fn upgrades(&self, from: Transport) -> &'static [Transport] {
        match from {
            Transport::Polling if self.allow_upgrades && self.websocket => &[Transport::WebSocket],
            Transport::Polling | Transport::WebSocket => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_may_upgrade_to_websocket_and_websocket_to_nothing() {
        let config = Config::default();
        assert_eq!(config.upgrades(Transport::Polling), [Transport::WebSocket]);
        assert_eq!(config.upgrades(Transport::WebSocket), []);
    }

    // E052
    #[test]
    fn no_upgrade_is_announced_when_upgrades_are_not_allowed() {
        let config = Config {
            allow_upgrades: false,
            ..Config::default()
        };
        assert_eq!(config.upgrades(Transport::Polling), []);
    }

    // E053
    #[test]
    fn no_upgrade_is_announced_with_one_transport() {
        let mut config = Config::default();
        config.set_transports([Transport::Polling]);
        assert!(config.allows(Transport::Polling) && !config.allows(Transport::WebSocket));
        assert_eq!(config.upgrades(Transport::Polling), []);
        config.set_transports([Transport::WebSocket]);
        assert!(!config.allows(Transport::Polling) && config.allows(Transport::WebSocket));
        assert_eq!(config.upgrades(Transport::WebSocket), []);
        config.set_transports([]);
        assert!(!config.has_transports());
    }
}
