//! Bodies that were compressed although nobody had asked for it: some proxies and frameworks do.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::body::BodyError;

/// Unpacks a body, up to a bound.
///
/// Spec: RFC 9110, section 8.4: the encodings stand in the order in which they were applied.
pub(super) fn decode(encodings: &[u8], body: Vec<u8>, max: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = body;
    let mut applied = 0;
    for encoding in encodings.rsplit(|byte| *byte == b',') {
        let encoding = String::from_utf8_lossy(encoding.trim_ascii()).to_ascii_lowercase();
        if matches!(&*encoding, "" | "identity") {
            continue;
        }
        applied += 1;
        body = match &*encoding {
            _ if applied > MAX_APPLIED => return Err(BodyError::Encoding(encoding)),
            // An answer without a body has nothing to unpack.
            _ if body.is_empty() => body,
            "gzip" | "x-gzip" => unpack(MultiGzDecoder::new(&body[..]), max)?,
            // The name stands for zlib's format; some send what is in it.
            "deflate" if is_zlib(&body) => unpack(ZlibDecoder::new(&body[..]), max)?,
            "deflate" => unpack(DeflateDecoder::new(&body[..]), max)?,
            // What says so and is text was not packed.
            _ if std::str::from_utf8(&body).is_ok() => body,
            _ => return Err(BodyError::Encoding(encoding)),
        };
    }
    Ok(body)
}

/// The first of some encodings that is not known here.
pub(super) fn unknown(encodings: &[u8]) -> Option<String> {
    let names = encodings.split(|byte| *byte == b',');
    let names = names.map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase());
    let is_known = |name: &str| matches!(name, "" | "identity" | "gzip" | "x-gzip" | "deflate");
    names.into_iter().find(|name| !is_known(name))
}

const MAX_APPLIED: usize = 2;

/// RFC 1950, section 2.2.
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0
        }
        _ => false,
    }
}

fn unpack(decoder: impl Read, max: usize) -> Result<Vec<u8>, BodyError> {
    let mut unpacked = Vec::new();
    let mut bounded = decoder.take(max as u64 + 1);
    match bounded.read_to_end(&mut unpacked) {
        Ok(_) if unpacked.len() > max => Err(BodyError::TooLarge(max)),
        Ok(_) => Ok(unpacked),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(BodyError::Unpack(io::Error::other("its end is missing")))
        }
        Err(error) => Err(BodyError::Unpack(error)),
    }
}
