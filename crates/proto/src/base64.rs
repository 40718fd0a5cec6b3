//! Base64, as bytes travel in text.
//!
//! It is written in the standard alphabet with padding. It is read as the reference's
//! `Buffer.from(text, "base64")` reads it, which takes any text: Java's clients, for one, break it
//! into lines of 76 characters.
//!
//! Spec: RFC 4648, section 4; for what is read, Node's documentation of `Buffer`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Encodes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    PLAIN.encode(bytes)
}

/// Appends bytes as base64.
pub(crate) fn push(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    // Four characters for three bytes or a part of them. No slice is longer than isize::MAX, so that
    // four thirds of it are a usize.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = PLAIN
        .encode_slice(bytes, &mut out[start..])
        .expect("the room for base64 has been made");
    out.truncate(start + written);
}

/// Decodes base64 in either alphabet.
///
/// What is no digit is skipped, the first `=` ends it, and a single digit that is left over is
/// dropped: there is no text that cannot be read.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    if PLAIN.decode_vec(text, &mut bytes).is_ok() {
        return bytes;
    }
    bytes.clear();
    let (mut bits, mut count) = (0_u32, 0);
    // Node looks at the low byte of each UTF-16 code unit.
    for unit in text.encode_utf16() {
        let byte = unit as u8;
        let Some(digit) = digit(byte) else {
            if byte == b'=' {
                break;
            }
            continue;
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Writes padding; reads with and without it.
const PLAIN: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
