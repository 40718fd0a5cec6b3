//! The options of WebSocket compression.

use socketio_proto::websocket::DeflateConfig;

use super::outbox::DeflateOptions;

/// The options of WebSocket compression; see
/// [`ServerBuilder::per_message_deflate`](crate::ServerBuilder::per_message_deflate).
///
/// By default each message is compressed by itself: then a connection costs no memory beyond 32
/// bytes, each thread has one compressor of 371 KiB and one inflater of 47 KiB, and a broadcast is
/// compressed once for all of its receivers.
///
/// Spec: RFC 7692.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "options do nothing until they are given to a builder"]
pub struct PerMessageDeflate {
    pub(crate) config: DeflateConfig,
    threshold: usize,
}

impl PerMessageDeflate {
    /// Messages from 1,024 bytes on are compressed, each by itself.
    pub fn new() -> PerMessageDeflate {
        PerMessageDeflate {
            config: DeflateConfig::default(),
            threshold: 1024,
        }
    }

    /// Sets from how many bytes on a message is compressed. Default: 1,024.
    pub fn threshold(mut self, bytes: usize) -> PerMessageDeflate {
        self.threshold = bytes;
        self
    }

    /// Sets how hard the compressor tries, 0 to 9. Default: 6.
    pub fn level(mut self, level: u32) -> PerMessageDeflate {
        self.config.level = level;
        self
    }

    /// Compresses a message with regard to those before it, for clients that allow it. Default: not.
    ///
    /// That makes messages smaller which resemble each other. It costs up to 371 KiB for each
    /// connection, and a broadcast is compressed for each of them.
    #[doc(alias = "serverNoContextTakeover")]
    pub fn server_context_takeover(mut self) -> PerMessageDeflate {
        self.config.server_no_context_takeover = false;
        self
    }

    /// Lets clients compress a message with regard to those before it. Default: not.
    ///
    /// It costs 47 KiB for each connection that has sent a compressed message.
    #[doc(alias = "clientNoContextTakeover")]
    pub fn client_context_takeover(mut self) -> PerMessageDeflate {
        self.config.client_no_context_takeover = false;
        self
    }

    /// Sets the largest window of the server's compressor, as a power of two, 9 to 15. Default: 15.
    #[doc(alias = "serverMaxWindowBits")]
    pub fn server_max_window_bits(mut self, bits: u8) -> PerMessageDeflate {
        self.config.server_max_window_bits = bits;
        self
    }

    /// Sets the largest window of the clients' compressors, as a power of two, 9 to 15. Default: 15.
    #[doc(alias = "clientMaxWindowBits")]
    pub fn client_max_window_bits(mut self, bits: u8) -> PerMessageDeflate {
        self.config.client_max_window_bits = bits;
        self
    }

    pub(crate) fn outgoing(&self) -> DeflateOptions {
        DeflateOptions {
            threshold: self.threshold,
            level: self.config.level,
        }
    }
}

impl Default for PerMessageDeflate {
    fn default() -> PerMessageDeflate {
        PerMessageDeflate::new()
    }
}
