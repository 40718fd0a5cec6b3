//! permessage-deflate, RFC 7692: messages that are compressed one by one.
//!
//! `offer` is what a client says about the parameters in the opening handshake, `negotiation` what a
//! server makes of it; `codec` compresses and inflates payloads. Which messages are worth compressing
//! is for the caller to say. Without context takeover, which is a server's default, a connection
//! keeps nothing between messages: the codecs belong to the thread and are used by all its
//! connections in turn.

mod codec;
mod negotiation;
mod offer;

pub use codec::{Deflater, Inflater, compress};
pub use negotiation::{DeflateConfig, Negotiated, negotiate};
pub use offer::{DeflateOffer, ExtensionError};
