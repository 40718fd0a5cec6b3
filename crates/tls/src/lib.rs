//! Whom a client trusts over TLS, and what went wrong in words: the same for the library's client and
//! for the doctor, which must not come to another verdict.
//!
//! Nothing here opens connections or reads files.

mod certificate;
mod explain;
mod verifier;

pub use certificate::is_self_signed;
pub use explain::{Explained, explain, wants_no_protocol, words};
pub use verifier::Verifier;
