//! permessage-deflate, RFC 7692: messages that are compressed one by one.
//!
//! `negotiation` settles the parameters in the opening handshake, `codec` compresses and inflates
//! payloads. Which messages are worth compressing is for the caller to say. Without context takeover,
//! which is the default, a connection keeps nothing between messages: the codecs belong to the
//! thread and are used by all its connections in turn.

mod codec;
mod negotiation;

pub use codec::{Deflater, Inflater, compress};
pub use negotiation::{DeflateConfig, Negotiated, negotiate};
