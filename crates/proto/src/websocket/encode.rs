//! Frames on their way out, and the walk over frames that were made here.

use bytes::Bytes;

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// A further part of a message.
    Continuation = 0,
    /// A message of text, or its first part.
    Text = 1,
    /// A message of bytes, or its first part.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// A question whether the peer is there.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

/// A close frame without a status code.
pub const CLOSE_EMPTY: [u8; 2] = [0x88, 0];

const FIN: u8 = 0x80;
pub(super) const MASKED: u8 = 0x80;
/// RSV1 of the first frame of a message. RFC 7692, section 6.
pub(super) const COMPRESSED: u8 = 0x40;

/// Appends the header of an unmasked frame that is a whole message.
#[inline]
pub fn header(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    write_header(out, FIN | opcode as u8, length, 0);
}

/// Appends the header of an unmasked frame that is a whole message compressed by permessage-deflate.
/// The length is that of the compressed payload.
#[inline]
pub fn compressed_header(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    write_header(out, FIN | COMPRESSED | opcode as u8, length, 0);
}

#[inline]
fn write_header(out: &mut Vec<u8>, first: u8, length: usize, masked: u8) {
    match length {
        0..126 => out.extend_from_slice(&[first, masked | length as u8]),
        126..65536 => {
            let [a, b] = (length as u16).to_be_bytes();
            out.extend_from_slice(&[first, masked | 126, a, b]);
        }
        _ => {
            out.extend_from_slice(&[first, masked | 127]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Gives the length of the header that [`header`] writes.
pub fn header_length(length: usize) -> usize {
    match length {
        0..126 => 2,
        126..65536 => 4,
        _ => 10,
    }
}

/// Makes an unmasked frame that many receivers can share.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// Appends a frame as a client sends it, with a mask that the caller has drawn at random.
pub fn masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    write_masked(out, FIN | opcode as u8, payload, mask);
}

/// Appends a frame as a client sends it, whose payload is a whole message compressed by
/// permessage-deflate, with a mask that the caller has drawn at random.
pub fn masked_compressed_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    write_masked(out, FIN | COMPRESSED | opcode as u8, payload, mask);
}

fn write_masked(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
    write_header(out, first, payload.len(), MASKED);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    super::decode::apply_mask(&mut out[start..], mask);
}

/// Walks over unmasked frames made by [`header`], [`compressed_header`] or [`frame`]. Each item is
/// the opcode, the payload, and whether that is compressed.
pub fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames { rest: bytes }
}

/// The frames in a buffer; see [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = (Opcode, &'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[first, short], rest) = self.rest.split_first_chunk()?;
        let (length, rest) = match short {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
            }
            short => (usize::from(short), rest),
        };
        let (payload, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        let opcode = match first & 15 {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            _ => Opcode::Pong,
        };
        Some((opcode, payload, first & COMPRESSED != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_form_of_each_length_is_used() {
        for (length, expected) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65535, vec![0x82, 126, 0xff, 0xff]),
            (65536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            header(&mut out, Opcode::Binary, length);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn frames_made_here_are_walked_over_as_they_were_made() {
        let payloads: Vec<Vec<u8>> = [0, 1, 125, 126, 65535, 65536].map(|n| vec![7; n]).into();
        let mut out = Vec::new();
        for payload in &payloads {
            out.extend_from_slice(&frame(Opcode::Text, payload));
        }
        let walked: Vec<_> = frames(&out).collect();
        let expected: Vec<_> = payloads
            .iter()
            .map(|p| (Opcode::Text, &p[..], false))
            .collect();
        assert_eq!(walked, expected);
    }

    #[test]
    fn a_compressed_frame_is_told_from_others() {
        let mut out = Vec::new();
        compressed_header(&mut out, Opcode::Text, 1);
        out.push(0);
        header(&mut out, Opcode::Binary, 0);
        assert_eq!(out, [0xc1, 1, 0, 0x82, 0]);
        let walked: Vec<_> = frames(&out).collect();
        let expected = [
            (Opcode::Text, &[0][..], true),
            (Opcode::Binary, &[][..], false),
        ];
        assert_eq!(walked, expected);
    }

    // RFC 6455, section 5.7.
    #[test]
    fn the_specification_s_masked_hello() {
        let mut out = Vec::new();
        masked_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        let expected = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(out, expected);
    }

    // RFC 7692, section 7.2.3.1, with the mask of RFC 6455, section 5.7.
    #[test]
    fn the_specification_s_compressed_hello_masked() {
        let (mut out, mask) = (Vec::new(), [0x37, 0xfa, 0x21, 0x3d]);
        let compressed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        masked_compressed_frame(&mut out, Opcode::Text, &compressed, mask);
        let expected = [
            0xc1, 0x87, 0x37, 0xfa, 0x21, 0x3d, 0xc5, 0xb2, 0xec, 0xf4, 0xfe, 0xfd, 0x21,
        ];
        assert_eq!(out, expected);
    }
}
