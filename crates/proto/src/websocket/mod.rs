//! RFC 6455 and 7692: frames, their compression and the opening handshake, without IO.
//!
//! A decoder looks at the front of a buffer that belongs to the caller and gives slices of it, so
//! that an idle connection holds no buffer. A finished frame can be shared by many receivers. The
//! only extension is permessage-deflate.

mod decode;
mod deflate;
mod encode;
mod handshake;
mod response;
mod skip;

pub use decode::{DecodeError, Decoded, Decoder, Item, Role};
pub use deflate::{
    DeflateConfig, DeflateOffer, Deflater, ExtensionError, Inflater, Negotiated, compress,
    negotiate,
};
pub use encode::{
    CLOSE_EMPTY, Frames, Opcode, compressed_header, frame, frames, header, header_length,
    masked_compressed_frame, masked_frame,
};
pub use handshake::{
    HandshakeError, UpgradeHeaders, accept_key, check_upgrade, check_version, offered_protocols,
};
pub use response::{ResponseError, ResponseHeaders, check_response, client_key};
pub use skip::CloseSearch;
