//! RFC 6455: frames and the opening handshake, without IO.
//!
//! A decoder looks at the front of a buffer that belongs to the caller and gives slices of it, so
//! that an idle connection holds no buffer. A finished frame can be shared by many receivers. There
//! is no extension: `Decoder::check_first` is the one place where permessage-deflate will come in.

mod decode;
mod encode;
mod handshake;

pub use decode::{DecodeError, Decoded, Decoder, Item, Role};
pub use encode::{CLOSE_EMPTY, Frames, Opcode, frame, frames, header, masked_frame};
pub use handshake::{HandshakeError, UpgradeHeaders, accept_key, check_upgrade};
