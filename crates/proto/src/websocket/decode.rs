//! Frames on their way in: strict, in place, and without an allocation for what is not there yet.

use std::borrow::Cow;

use thiserror::Error;

use super::deflate::{Inflater, Negotiated};
use super::encode::{COMPRESSED, MASKED};

/// Which end of the connection decodes: a server wants masked frames, a client unmasked ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Frames come from a server.
    Client,
    /// Frames come from a client.
    Server,
}

/// The state of one connection's incoming frames.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    max_message: usize,
    /// The message whose first parts have come.
    partial: Option<Box<Partial>>,
    /// What inflates compressed messages, if the peer may send any.
    inflater: Option<Box<Inflater>>,
}

#[derive(Debug)]
struct Partial {
    is_text: bool,
    is_compressed: bool,
    bytes: Vec<u8>,
}

/// An item and how many bytes of the buffer it took.
#[derive(Debug)]
pub struct Decoded<'b> {
    /// The bytes to be dropped from the front of the buffer.
    pub consumed: usize,
    /// What they were.
    pub item: Item<'b>,
}

/// What has come.
#[derive(Debug, Eq, PartialEq)]
pub enum Item<'b> {
    /// A message of bytes.
    Binary(Cow<'b, [u8]>),
    /// The peer ends the connection, with a code and a reason if it gives any.
    Close(Option<(u16, &'b str)>),
    /// A part of a message, which is kept until the last one has come.
    Fragment,
    /// A ping, to be answered by a pong with the same payload.
    Ping(&'b [u8]),
    /// A pong.
    Pong(&'b [u8]),
    /// A message of text.
    Text(Cow<'b, str>),
}

/// How the peer has broken the rules; the connection has to be closed with [`close_code`](DecodeError::close_code).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A close frame has a code that must not be sent, or half of one.
    #[error("Invalid WebSocket frame: invalid status code")]
    CloseCode,
    /// A control frame is in parts, or announces more than 125 bytes.
    #[error("Invalid WebSocket frame: invalid control frame")]
    Control,
    /// A compressed message cannot be inflated.
    #[error("Invalid WebSocket frame: invalid compressed data")]
    Deflate,
    /// A message begins before the one before has ended, or a part has no beginning.
    #[error("Invalid WebSocket frame: invalid opcode in a fragmented message")]
    Fragmentation,
    /// A client did not mask its frame, or a server did.
    #[error("Invalid WebSocket frame: {0}")]
    Mask(&'static str),
    /// The opcode is none.
    #[error("Invalid WebSocket frame: invalid opcode {0}")]
    Opcode(u8),
    /// Reserved bits are set, which no extension has negotiated, or where none may set them.
    #[error("Invalid WebSocket frame: RSV1, RSV2 and RSV3 must be clear")]
    ReservedBits,
    /// The message is longer than allowed.
    #[error("Max payload size exceeded")]
    TooLarge,
    /// Text or a close reason is not UTF-8.
    #[error("Invalid WebSocket frame: invalid UTF-8 sequence")]
    Utf8,
}

impl DecodeError {
    /// The code for the close frame. RFC 6455, section 7.4.1.
    pub fn close_code(&self) -> u16 {
        match self {
            DecodeError::Deflate | DecodeError::Utf8 => 1007,
            DecodeError::TooLarge => 1009,
            DecodeError::CloseCode
            | DecodeError::Control
            | DecodeError::Fragmentation
            | DecodeError::Mask(_)
            | DecodeError::Opcode(_)
            | DecodeError::ReservedBits => 1002,
        }
    }
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// Set in the opcodes of control frames.
const CONTROL: u8 = 8;
const COMPRESSED_TEXT: u8 = COMPRESSED | 1;
const COMPRESSED_BINARY: u8 = COMPRESSED | 2;
const MAX_CONTROL: u8 = 125;

impl Decoder {
    /// Makes a decoder that refuses messages of more than `max_message` bytes.
    pub fn new(role: Role, max_message: usize) -> Decoder {
        Decoder {
            role,
            max_message,
            partial: None,
            inflater: None,
        }
    }

    /// Makes a decoder for a connection that has negotiated permessage-deflate. A message must not
    /// be more than `max_message` bytes, neither compressed nor inflated.
    pub fn with_deflate(role: Role, max_message: usize, negotiated: &Negotiated) -> Decoder {
        Decoder {
            inflater: Some(Box::new(Inflater::new(role, negotiated))),
            ..Decoder::new(role, max_message)
        }
    }

    /// Decodes the frame at the front of the buffer, unmasking it in place. `None` means that the
    /// frame is not complete; the buffer is then as it was.
    ///
    /// # Errors
    ///
    /// When the peer breaks the rules. A length above the limit is refused as soon as it is
    /// announced.
    #[inline]
    pub fn decode<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<Decoded<'b>>, DecodeError> {
        let &[first, second, ..] = &*buffer else {
            return Ok(None);
        };
        // With RSV1 if the message is compressed.
        let kind = self.check_first(first)?;
        self.check_mask(second)?;
        let Some((head, length)) = length(second & !MASKED, buffer) else {
            return Ok(None);
        };
        if kind & CONTROL != 0 {
            if second & !MASKED > MAX_CONTROL || first & FIN == 0 {
                return Err(DecodeError::Control);
            }
        } else {
            let before = self
                .partial
                .as_ref()
                .map_or(0, |partial| partial.bytes.len());
            if length > self.max_message.saturating_sub(before) {
                return Err(DecodeError::TooLarge);
            }
        }
        let masked = if second & MASKED == 0 { 0 } else { 4 };
        let (start, end) = (head + masked, head + masked + length);
        if buffer.len() < end {
            return Ok(None);
        }
        let payload = match buffer[..end].split_at_mut(start) {
            (head, payload) if masked == 4 => {
                let mask = [
                    head[start - 4],
                    head[start - 3],
                    head[start - 2],
                    head[start - 1],
                ];
                apply_mask(payload, mask);
                &*payload
            }
            (_, payload) => &*payload,
        };
        let item = match kind {
            0..=2 => self.data(kind, first & FIN != 0, payload)?,
            8 => Item::Close(close(payload)?),
            9 => Item::Ping(payload),
            COMPRESSED_TEXT | COMPRESSED_BINARY => {
                self.compressed(kind, first & FIN != 0, payload)?
            }
            _ => Item::Pong(payload),
        };
        Ok(Some(Decoded {
            consumed: end,
            item,
        }))
    }

    /// Checks what the first byte says and gives the opcode, with RSV1 if the message is compressed.
    #[inline]
    fn check_first(&self, first: u8) -> Result<u8, DecodeError> {
        let opcode = first & 15;
        if first & RESERVED != 0 {
            return self.check_reserved(first);
        }
        match opcode {
            0 if self.partial.is_none() => Err(DecodeError::Fragmentation),
            1 | 2 if self.partial.is_some() => Err(DecodeError::Fragmentation),
            0..=2 | 8..=10 => Ok(opcode),
            _ => Err(DecodeError::Opcode(opcode)),
        }
    }

    /// RFC 7692, section 6.
    #[cold]
    fn check_reserved(&self, first: u8) -> Result<u8, DecodeError> {
        let kind = first & (RESERVED | 15);
        if self.inflater.is_none() || !matches!(kind, COMPRESSED_TEXT | COMPRESSED_BINARY) {
            return Err(DecodeError::ReservedBits);
        }
        match self.partial {
            Some(_) => Err(DecodeError::Fragmentation),
            None => Ok(kind),
        }
    }

    #[inline]
    fn check_mask(&self, second: u8) -> Result<(), DecodeError> {
        match (self.role, second & MASKED != 0) {
            (Role::Server, true) | (Role::Client, false) => Ok(()),
            (Role::Server, false) => Err(DecodeError::Mask("MASK must be set")),
            (Role::Client, true) => Err(DecodeError::Mask("MASK must be clear")),
        }
    }

    #[inline]
    fn data<'b>(
        &mut self,
        opcode: u8,
        is_last: bool,
        payload: &'b [u8],
    ) -> Result<Item<'b>, DecodeError> {
        match (opcode, is_last) {
            (1, true) => {
                let text = simdutf8::basic::from_utf8(payload).map_err(|_| DecodeError::Utf8)?;
                Ok(Item::Text(Cow::Borrowed(text)))
            }
            (2, true) => Ok(Item::Binary(Cow::Borrowed(payload))),
            _ => self.part(opcode, is_last, payload),
        }
    }

    #[inline(never)]
    fn compressed<'b>(
        &mut self,
        kind: u8,
        is_last: bool,
        payload: &[u8],
    ) -> Result<Item<'b>, DecodeError> {
        match is_last {
            true => self.inflated(kind == COMPRESSED_TEXT, payload),
            false => self.part(kind, false, payload),
        }
    }

    #[cold]
    fn part<'b>(
        &mut self,
        kind: u8,
        is_last: bool,
        payload: &[u8],
    ) -> Result<Item<'b>, DecodeError> {
        let partial = self.partial.get_or_insert_with(|| {
            Box::new(Partial {
                is_text: kind & 15 == 1,
                is_compressed: kind & COMPRESSED != 0,
                bytes: Vec::new(),
            })
        });
        partial.bytes.extend_from_slice(payload);
        if !is_last {
            return Ok(Item::Fragment);
        }
        let Some(partial) = self.partial.take() else {
            return Err(DecodeError::Fragmentation);
        };
        match partial.is_compressed {
            true => self.inflated(partial.is_text, &partial.bytes),
            false => owned(partial.is_text, partial.bytes),
        }
    }

    fn inflated<'b>(&mut self, is_text: bool, compressed: &[u8]) -> Result<Item<'b>, DecodeError> {
        let Some(inflater) = &mut self.inflater else {
            return Err(DecodeError::ReservedBits);
        };
        owned(is_text, inflater.inflate(compressed, self.max_message)?)
    }
}

fn owned<'b>(is_text: bool, bytes: Vec<u8>) -> Result<Item<'b>, DecodeError> {
    match is_text {
        true => {
            let text = String::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
            Ok(Item::Text(Cow::Owned(text)))
        }
        false => Ok(Item::Binary(Cow::Owned(bytes))),
    }
}

/// The length of the header without the mask, and that of the payload. RFC 6455, section 5.2.
///
/// The specification wants the shortest form; like the reference this takes each.
#[inline]
fn length(short: u8, buffer: &[u8]) -> Option<(usize, usize)> {
    match short {
        126 => {
            let bytes = buffer.get(2..)?.first_chunk()?;
            Some((4, usize::from(u16::from_be_bytes(*bytes))))
        }
        127 => {
            let bytes = buffer.get(2..)?.first_chunk()?;
            // Far above any limit: the sum with the header must not overflow.
            let longest = usize::MAX >> 1;
            let length = usize::try_from(u64::from_be_bytes(*bytes)).unwrap_or(longest);
            Some((10, length.min(longest)))
        }
        short => Some((2, usize::from(short))),
    }
}

/// RFC 6455, sections 5.5.1 and 7.4.
fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, DecodeError> {
    match payload {
        [] => Ok(None),
        [_] => Err(DecodeError::CloseCode),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(DecodeError::CloseCode);
            }
            let reason = simdutf8::basic::from_utf8(reason).map_err(|_| DecodeError::Utf8)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Masks or unmasks: it is the same. RFC 6455, section 5.3.
#[inline]
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DeflateConfig, Opcode, masked_frame, negotiate};
    use super::*;

    fn server() -> Decoder {
        Decoder::new(Role::Server, 1000)
    }

    fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        masked_frame(&mut out, Opcode::Text, payload, [1, 2, 3, 4]);
        out[0] = first;
        out
    }

    fn error(mut bytes: Vec<u8>) -> DecodeError {
        server().decode(&mut bytes).expect_err("an error")
    }

    // RFC 6455, section 5.7.
    #[test]
    fn the_specification_s_examples_are_understood() {
        let mut masked = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let decoded = server()
            .decode(&mut masked)
            .expect("valid")
            .expect("complete");
        assert_eq!(
            (decoded.consumed, decoded.item),
            (11, Item::Text("Hello".into()))
        );
        let mut client = Decoder::new(Role::Client, 1000);
        let mut first = [0x01, 0x03, 0x48, 0x65, 0x6c];
        assert_eq!(
            client
                .decode(&mut first)
                .expect("valid")
                .expect("complete")
                .item,
            Item::Fragment
        );
        let mut ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        let item = client
            .decode(&mut ping)
            .expect("valid")
            .expect("complete")
            .item;
        assert_eq!(item, Item::Ping(b"Hello"));
        let mut last = [0x80, 0x02, 0x6c, 0x6f];
        let item = client
            .decode(&mut last)
            .expect("valid")
            .expect("complete")
            .item;
        assert_eq!(item, Item::Text("Hello".into()));
    }

    #[test]
    fn each_broken_rule_has_its_error() {
        assert_eq!(error(raw(0xc1, b"x")), DecodeError::ReservedBits);
        assert_eq!(error(raw(0x83, b"x")), DecodeError::Opcode(3));
        assert_eq!(error(raw(0x8b, b"x")), DecodeError::Opcode(11));
        assert_eq!(
            error(vec![0x81, 0x01, b'x']),
            DecodeError::Mask("MASK must be set")
        );
        assert_eq!(error(raw(0x09, b"x")), DecodeError::Control);
        assert_eq!(error(raw(0x89, &[0; 126])), DecodeError::Control);
        assert_eq!(error(raw(0x80, b"x")), DecodeError::Fragmentation);
        assert_eq!(error(vec![0x89, 0xfe, 0, 5]), DecodeError::Control);
        for length in [0x80, 0x20, 0x01].map(|high| [high, 0, 0, 0, 0, 0, 0, 0]) {
            let head = [vec![0x81, 0xff], length.to_vec()].concat();
            assert_eq!(error(head), DecodeError::TooLarge);
        }
        assert_eq!(error(raw(0x81, b"\xff")), DecodeError::Utf8);
        assert_eq!(error(raw(0x81, b"\xed\xa0\x80")), DecodeError::Utf8);
        assert_eq!(error(raw(0x88, b"x")), DecodeError::CloseCode);
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert_eq!(
                error(raw(0x88, &code.to_be_bytes())),
                DecodeError::CloseCode,
                "{code}"
            );
        }
        assert_eq!(error(raw(0x88, b"\x03\xe8\xff")), DecodeError::Utf8);
        assert_eq!(error(raw(0x82, &[0; 1001])), DecodeError::TooLarge);
    }

    #[test]
    fn a_length_may_be_in_each_of_its_forms() {
        for length in [0u8, 5, 125, 126, 200] {
            let payload = vec![b'x'; length.into()];
            let forms = [
                vec![0x82, 0xfe, 0, length],
                vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, length],
            ];
            for head in forms {
                let mut frame = [head, vec![0; 4], payload.clone()].concat();
                let whole = frame.len();
                let decoded = server().decode(&mut frame).expect("valid").expect("whole");
                assert_eq!(decoded.consumed, whole);
                assert_eq!(decoded.item, Item::Binary(payload.as_slice().into()));
            }
        }
    }

    #[test]
    fn a_new_message_in_the_middle_of_another_is_refused() {
        let mut decoder = server();
        decoder.decode(&mut raw(0x01, b"a")).expect("valid");
        let error = decoder.decode(&mut raw(0x81, b"b")).expect_err("an error");
        assert_eq!(error, DecodeError::Fragmentation);
    }

    #[test]
    fn the_limit_holds_for_the_sum_of_the_parts() {
        let mut decoder = server();
        decoder.decode(&mut raw(0x02, &[0; 600])).expect("valid");
        decoder
            .decode(&mut raw(0x00, &[0; 400]))
            .expect("exactly the limit");
        let error = decoder
            .decode(&mut raw(0x80, &[0; 1]))
            .expect_err("an error");
        assert_eq!(error, DecodeError::TooLarge);
    }

    // E074: the announcement alone is refused; nothing was allocated for it.
    #[test]
    fn a_header_that_announces_a_huge_frame_is_refused_at_once() {
        let huge = vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(error(huge.clone()), DecodeError::TooLarge);
        let mut generous = Decoder::new(Role::Server, usize::MAX >> 1);
        assert!(
            generous
                .decode(&mut huge.clone())
                .expect("within the limit")
                .is_none()
        );
        assert!(generous.partial.is_none());
    }

    #[test]
    fn text_split_inside_a_character_is_one_text() {
        let mut decoder = server();
        decoder.decode(&mut raw(0x01, b"\xe2\x82")).expect("valid");
        let mut last = raw(0x80, b"\xac");
        let item = decoder
            .decode(&mut last)
            .expect("valid")
            .expect("complete")
            .item;
        assert_eq!(item, Item::Text("€".into()));
    }

    #[test]
    fn an_incomplete_frame_leaves_the_buffer_as_it_was() {
        for length in [0, 5, 125, 126, 300] {
            let whole = raw(0x81, &vec![b'x'; length]);
            for cut in 0..whole.len() {
                let mut part = whole[..cut].to_vec();
                assert!(server().decode(&mut part).expect("no error").is_none());
                assert_eq!(part, whole[..cut]);
            }
        }
    }

    #[test]
    fn a_close_frame_gives_its_code_and_reason() {
        let mut close = raw(0x88, b"\x03\xe8bye");
        let item = server()
            .decode(&mut close)
            .expect("valid")
            .expect("complete")
            .item;
        assert_eq!(item, Item::Close(Some((1000, "bye"))));
        let mut empty = raw(0x88, b"");
        let item = server()
            .decode(&mut empty)
            .expect("valid")
            .expect("complete")
            .item;
        assert_eq!(item, Item::Close(None));
    }

    #[test]
    fn masking_is_bytewise_whatever_the_length() {
        for length in 0..40 {
            let mask = [9, 8, 7, 6];
            let mut payload: Vec<u8> = (0..length).collect();
            apply_mask(&mut payload, mask);
            let expected: Vec<u8> = (0..length).map(|i| i ^ mask[usize::from(i) % 4]).collect();
            assert_eq!(payload, expected);
        }
    }

    fn deflating(role: Role, offer: &str, max_message: usize) -> Decoder {
        let config = DeflateConfig {
            client_no_context_takeover: false,
            server_no_context_takeover: false,
            ..DeflateConfig::default()
        };
        let (negotiated, _) =
            negotiate(&config, [offer.as_bytes()].into_iter()).expect("acceptable");
        Decoder::with_deflate(role, max_message, &negotiated)
    }

    /// The items of unmasked frames.
    fn items(decoder: &mut Decoder, frames: &[u8]) -> Result<Vec<String>, DecodeError> {
        let (mut buffer, mut items) = (frames.to_vec(), Vec::new());
        while let Some(decoded) = decoder.decode(&mut buffer)? {
            items.push(format!("{:?}", decoded.item));
            let consumed = decoded.consumed;
            buffer.drain(..consumed);
        }
        Ok(items)
    }

    const HELLO: [u8; 9] = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

    // RFC 7692, section 7.2.3.
    #[test]
    fn the_specification_s_compressed_frames_are_understood() {
        let hello = r#"Text("Hello")"#;
        let mut decoder = deflating(Role::Client, "permessage-deflate", 7);
        assert_eq!(items(&mut decoder, &HELLO), Ok(vec![hello.into()]));
        let with_context = [0xc1, 0x05, 0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(items(&mut decoder, &with_context), Ok(vec![hello.into()]));
        let parts_around_a_ping = [
            0x41, 0x03, 0xf2, 0x48, 0xcd, 0x89, 0x00, 0x80, 0x04, 0xc9, 0xc9, 0x07, 0x00,
        ];
        assert_eq!(
            items(&mut decoder, &parts_around_a_ping),
            Ok(vec!["Fragment".into(), "Ping([])".into(), hello.into()])
        );
        let plain = [0x81, 0x05, b'H', b'e', b'l', b'l', b'o'];
        assert_eq!(items(&mut decoder, &plain), Ok(vec![hello.into()]));
        let binary = [&[0xc2], &HELLO[1..]].concat();
        assert_eq!(
            items(&mut decoder, &binary),
            Ok(vec![format!("Binary({:?})", b"Hello")])
        );
    }

    #[test]
    fn masked_frames_are_inflated_too() {
        let mut decoder = deflating(Role::Server, "permessage-deflate", 1000);
        let mut frame = raw(0xc1, &HELLO[2..]);
        let decoded = decoder
            .decode(&mut frame)
            .expect("valid")
            .expect("complete");
        assert_eq!(decoded.item, Item::Text("Hello".into()));
        assert_eq!(decoded.consumed, 13);
    }

    #[test]
    fn rsv1_is_for_the_first_frame_of_a_message_when_negotiated() {
        let refused = |frames: &[u8], error| {
            let mut decoder = deflating(Role::Client, "permessage-deflate", 1000);
            assert_eq!(items(&mut decoder, frames), Err(error), "{frames:x?}");
        };
        refused(&[0xc9, 0], DecodeError::ReservedBits);
        refused(&[0xc8, 0], DecodeError::ReservedBits);
        refused(&[0xc3, 0], DecodeError::ReservedBits);
        refused(&[0xa1, 0], DecodeError::ReservedBits);
        refused(&[0xd1, 0], DecodeError::ReservedBits);
        refused(&[0xc0, 0], DecodeError::ReservedBits);
        refused(&[0x41, 1, 0xf2, 0xc0, 0], DecodeError::ReservedBits);
        refused(&[0x01, 1, b'a', 0xc1, 0], DecodeError::Fragmentation);
        let mut without = Decoder::new(Role::Client, 1000);
        assert_eq!(items(&mut without, &HELLO), Err(DecodeError::ReservedBits));
    }

    #[test]
    fn the_limit_holds_for_compressed_and_for_inflated_bytes() {
        let decoder = |max_message| deflating(Role::Client, "permessage-deflate", max_message);
        let too_large = Err(DecodeError::TooLarge);
        // 7 bytes that are 5.
        assert_eq!(items(&mut decoder(6), &HELLO), too_large);
        // 5 bytes that are 8.
        let eights = [0xc1, 0x05, 0xb2, 0xb0, 0x80, 0x00, 0x00];
        let text = r#"Text("88888888")"#;
        assert_eq!(items(&mut decoder(8), &eights), Ok(vec![text.into()]));
        assert_eq!(items(&mut decoder(7), &eights), too_large);
        let parts = [&[0x41, 0x03][..], &[0; 3], &[0x80, 0x04], &[0; 4]].concat();
        assert_eq!(items(&mut decoder(6), &parts), too_large);
    }

    #[test]
    fn what_does_not_inflate_or_is_not_text_then_is_code_1007() {
        let mut decoder = deflating(Role::Client, "permessage-deflate", 1000);
        let error = items(&mut decoder, &[0xc1, 1, 7]).expect_err("an error");
        assert_eq!((error, error.close_code()), (DecodeError::Deflate, 1007));
        let mut decoder = deflating(Role::Client, "permessage-deflate", 1000);
        let not_text = [0xc1, 7, 0, 1, 0, 0xfe, 0xff, 0xff, 0];
        assert_eq!(items(&mut decoder, &not_text), Err(DecodeError::Utf8));
    }

    #[test]
    fn a_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 32);
    }
}
