//! An application's parser, called as its code is called: it may panic.
//!
//! A packet that could not be encoded is not sent; a message that could not be decoded is malformed, and
//! ends its connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use socketio_proto::socket::{EncodedMessage, Packet, PacketDecoder, ParseError, Parser};

use crate::application::{Application, Callback, Held};

pub(crate) fn parser(parser: Arc<dyn Parser>, application: &Arc<Application>) -> Arc<dyn Parser> {
    Arc::new(GuardedParser {
        parser: application.hold(parser),
        application: application.clone(),
    })
}

struct GuardedParser {
    parser: Held<Arc<dyn Parser>>,
    application: Arc<Application>,
}

impl Parser for GuardedParser {
    fn encode(&self, packet: &Packet<'_>) -> Vec<EncodedMessage> {
        let encode = || self.parser.encode(packet);
        let encoded = self.application.call(Callback::Parser, encode);
        encoded.unwrap_or_default()
    }

    fn decoder(&self) -> Box<dyn PacketDecoder> {
        let decoder = self
            .application
            .call(Callback::Parser, || self.parser.decoder());
        Box::new(GuardedDecoder {
            decoder: decoder.ok(),
            application: self.application.clone(),
        })
    }
}

impl std::fmt::Debug for GuardedParser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parser.fmt(f)
    }
}

struct GuardedDecoder {
    /// None where it could not even be made.
    decoder: Option<Box<dyn PacketDecoder>>,
    application: Arc<Application>,
}

impl GuardedDecoder {
    fn decode(
        &mut self,
        decode: impl FnOnce(&mut dyn PacketDecoder) -> Result<Option<Packet<'static>>, ParseError>,
    ) -> Result<Option<Packet<'static>>, ParseError> {
        let decoder = self.decoder.as_mut().ok_or(ParseError::Malformed)?;
        let decode = || decode(&mut **decoder);
        let decoded = self.application.call(Callback::Parser, decode);
        decoded.unwrap_or(Err(ParseError::Malformed))
    }
}

impl PacketDecoder for GuardedDecoder {
    fn add_text(&mut self, text: &str) -> Result<Option<Packet<'static>>, ParseError> {
        self.decode(|decoder| decoder.add_text(text))
    }

    fn add_binary(&mut self, bytes: &[u8]) -> Result<Option<Packet<'static>>, ParseError> {
        self.decode(|decoder| decoder.add_binary(bytes))
    }

    fn is_late(&mut self, now: Instant, within: Duration) -> bool {
        let Some(decoder) = &mut self.decoder else {
            return false;
        };
        let ask = || decoder.is_late(now, within);
        self.application
            .call(Callback::Parser, ask)
            .unwrap_or_default()
    }
}

impl Drop for GuardedDecoder {
    fn drop(&mut self) {
        self.application.discard(self.decoder.take());
    }
}
