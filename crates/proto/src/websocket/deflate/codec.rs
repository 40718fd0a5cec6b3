//! Compression and inflation of whole messages. RFC 7692, sections 7.2.1 and 7.2.2.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::super::decode::{DecodeError, Role};
use super::Negotiated;

/// What a flush leaves at the end of every message, and what is not sent.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The smallest output buffer. A flush must not begin with less than six bytes of room.
const BLOCK: usize = 64;

thread_local! {
    /// The compressor for messages without context. To reset one costs an eighth of making one.
    static COMPRESSOR: RefCell<Option<Compressor>> = const { RefCell::new(None) };
    /// The inflater for messages without context.
    static INFLATER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

struct Compressor {
    window_bits: u8,
    level: u32,
    codec: Compress,
}

/// Compresses a payload by itself, as the server's message for every connection that has negotiated
/// the same [`server_max_window_bits`](Negotiated::server_max_window_bits).
///
/// The result depends on nothing but the payload, these bits and the level, so that many
/// connections can share it. One whose server keeps context can have it too, if its [`Deflater`] is
/// told to [`forget`](Deflater::forget).
pub fn compress(payload: &[u8], negotiated: &Negotiated, level: u32) -> Vec<u8> {
    let (_, window_bits) = negotiated.sending(Role::Server);
    compress_alone(payload, window_bits, level)
}

fn compress_alone(payload: &[u8], window_bits: u8, level: u32) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|spare| {
        let compressor = match spare.take() {
            Some(mut same) if same.window_bits == window_bits && same.level == level => {
                same.codec.reset();
                same
            }
            _ => Compressor {
                window_bits,
                level,
                codec: compressor(window_bits, level),
            },
        };
        deflate(&mut spare.insert(compressor).codec, payload)
    })
}

fn compressor(window_bits: u8, level: u32) -> Compress {
    Compress::new_with_window_bits(Compression::new(level.min(9)), false, window_bits)
}

fn deflate(codec: &mut Compress, payload: &[u8]) -> Vec<u8> {
    if payload.is_empty() {
        // There is nothing to flush. RFC 7692, section 7.2.3.6.
        return vec![0];
    }
    let mut out = Vec::with_capacity(payload.len() / 2 + BLOCK);
    let mut input = payload;
    loop {
        let before = codec.total_in();
        codec
            .compress_vec(input, &mut out, FlushCompress::Sync)
            .expect("a raw stream that is never finished takes all input");
        input = &input[(codec.total_in() - before) as usize..];
        if input.is_empty() && out.len() < out.capacity() {
            break;
        }
        out.reserve(BLOCK);
    }
    debug_assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

/// Compresses the messages of one connection, in the order in which they are sent.
///
/// Without context takeover it is as small as it looks.
#[derive(Debug)]
pub struct Deflater {
    /// There from the first message on, if context is kept.
    codec: Option<Box<Compress>>,
    level: u32,
    window_bits: u8,
    keeps_context: bool,
}

impl Deflater {
    /// Makes the compressor for this end of a connection.
    pub fn new(role: Role, negotiated: &Negotiated, level: u32) -> Deflater {
        let (keeps_context, window_bits) = negotiated.sending(role);
        Deflater {
            codec: None,
            level,
            window_bits,
            keeps_context,
        }
    }

    /// Compresses a whole message.
    pub fn compress(&mut self, payload: &[u8]) -> Vec<u8> {
        if !self.keeps_context {
            return compress_alone(payload, self.window_bits, self.level);
        }
        let codec = self
            .codec
            .get_or_insert_with(|| Box::new(compressor(self.window_bits, self.level)));
        deflate(codec, payload)
    }

    /// Makes the next message refer to none before it. This is needed after each compressed message
    /// that was sent without this compressor, because the peer has that one in its window.
    pub fn forget(&mut self) {
        if let Some(codec) = &mut self.codec {
            codec.reset();
        }
    }
}

/// Inflates the messages of one connection, in the order in which they come.
#[derive(Debug)]
pub struct Inflater {
    /// There from the first message on, if context is kept.
    codec: Option<Box<Decompress>>,
    keeps_context: bool,
}

impl Inflater {
    /// Makes the inflater for this end of a connection.
    pub fn new(role: Role, negotiated: &Negotiated) -> Inflater {
        Inflater {
            codec: None,
            keeps_context: negotiated.receives_context(role),
        }
    }

    /// Inflates a whole message.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Deflate`] when it is malformed, [`DecodeError::TooLarge`] when it is more than
    /// `max_message` bytes; hardly more than these are ever allocated. The inflater is of no use
    /// afterwards.
    pub fn inflate(
        &mut self,
        compressed: &[u8],
        max_message: usize,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::new();
        if self.keeps_context {
            let codec = self.codec.get_or_insert_with(|| Box::new(inflater()));
            inflate(codec, compressed, max_message, &mut out)?;
        } else {
            INFLATER.with_borrow_mut(|spare| {
                let codec = spare.get_or_insert_with(inflater);
                codec.reset(false);
                inflate(codec, compressed, max_message, &mut out)
            })?;
        }
        Ok(out)
    }
}

/// It has the largest window, which all others fit into: a smaller one would take as much memory.
fn inflater() -> Decompress {
    Decompress::new_with_window_bits(false, 15)
}

fn inflate(
    codec: &mut Decompress,
    compressed: &[u8],
    max_message: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    if compressed.is_empty() {
        // Even nothing is one byte, but the reference takes it.
        return Ok(());
    }
    // One byte more than allowed shows that there is more.
    let limit = max_message.saturating_add(1);
    out.reserve_exact(compressed.len().saturating_mul(4).max(BLOCK).min(limit));
    for mut input in [compressed, &TAIL] {
        loop {
            let (len, before) = (out.len(), codec.total_in());
            let status = codec
                .decompress_vec(input, out, FlushDecompress::Sync)
                .map_err(|_| DecodeError::Deflate)?;
            let consumed = (codec.total_in() - before) as usize;
            input = &input[consumed..];
            if out.len() > max_message {
                return Err(DecodeError::TooLarge);
            }
            if status == Status::StreamEnd {
                // A final block is not the end of the message: another may follow, on a byte of its
                // own. If none does, the tail belongs to nothing. RFC 7692, section 7.2.3.4.
                codec.reset(false);
                if input.is_empty() {
                    return Ok(());
                }
            } else if out.len() == out.capacity() {
                let target = out.capacity().saturating_mul(2).min(limit);
                out.reserve_exact(target - out.len());
            } else if input.is_empty() {
                break;
            } else if consumed == 0 && out.len() == len {
                return Err(DecodeError::Deflate);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{DeflateConfig, negotiate};
    use super::*;

    fn negotiated(offer: &str) -> Negotiated {
        let config = DeflateConfig {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            ..DeflateConfig::default()
        };
        let offer = format!("permessage-deflate; client_max_window_bits{offer}");
        negotiate(&config, [offer.as_bytes()].into_iter())
            .expect("acceptable")
            .0
    }

    fn alone() -> Negotiated {
        negotiated("; server_no_context_takeover; client_no_context_takeover")
    }

    fn inflate_alone(compressed: &[u8], max_message: usize) -> Result<Vec<u8>, DecodeError> {
        Inflater::new(Role::Client, &alone()).inflate(compressed, max_message)
    }

    /// Bytes without much repetition.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    // RFC 7692, section 7.2.3.
    #[test]
    fn the_specification_s_hello_in_all_its_forms() {
        let forms: [&[u8]; 5] = [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            // Not compressed.
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            // With BFINAL.
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            // Two blocks.
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ];
        for form in forms {
            assert_eq!(inflate_alone(form, 5).as_deref(), Ok(&b"Hello"[..]));
            assert_eq!(inflate_alone(form, 4), Err(DecodeError::TooLarge));
        }
        assert_eq!(compress(b"Hello", &alone(), 6), forms[0]);
    }

    // RFC 7692, section 7.2.3.2.
    #[test]
    fn with_context_the_second_hello_refers_to_the_first() {
        let mut deflater = Deflater::new(Role::Server, &negotiated(""), 6);
        let mut inflater = Inflater::new(Role::Client, &negotiated(""));
        let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let second = [0xf2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(deflater.compress(b"Hello"), first);
        assert_eq!(deflater.compress(b"Hello"), second);
        assert_eq!(inflater.inflate(&first, 5).as_deref(), Ok(&b"Hello"[..]));
        assert_eq!(inflater.inflate(&second, 5).as_deref(), Ok(&b"Hello"[..]));
        assert_eq!(inflate_alone(&second, 5), Err(DecodeError::Deflate));
    }

    #[test]
    fn context_is_kept_in_both_directions_or_in_one() {
        let payload = noise(600);
        for (offer, keepers) in [
            ("", &[Role::Server, Role::Client][..]),
            ("; server_no_context_takeover", &[Role::Client]),
            ("; client_no_context_takeover", &[Role::Server]),
        ] {
            let negotiated = negotiated(offer);
            for (role, peer) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
                let mut deflater = Deflater::new(role, &negotiated, 6);
                let mut inflater = Inflater::new(peer, &negotiated);
                let sizes = [(); 3].map(|()| {
                    let compressed = deflater.compress(&payload);
                    assert_eq!(inflater.inflate(&compressed, 600).as_ref(), Ok(&payload));
                    compressed.len()
                });
                let is_kept = keepers.contains(&role);
                assert_eq!(sizes[1] < 50, is_kept, "{offer} {role:?} {sizes:?}");
                assert_eq!(deflater.codec.is_some(), is_kept);
                assert_eq!(inflater.codec.is_some(), is_kept);
            }
        }
    }

    #[test]
    fn a_shared_message_fits_in_when_the_deflater_forgets() {
        let negotiated = negotiated("");
        let mut deflater = Deflater::new(Role::Server, &negotiated, 6);
        let mut inflater = Inflater::new(Role::Client, &negotiated);
        let payload = noise(600);
        for _ in 0..3 {
            let own = deflater.compress(&payload);
            assert_eq!(inflater.inflate(&own, 600).as_ref(), Ok(&payload));
            let shared = compress(b"to everyone", &negotiated, 6);
            deflater.forget();
            let inflated = inflater.inflate(&shared, 600);
            assert_eq!(inflated.as_deref(), Ok(&b"to everyone"[..]));
        }
    }

    #[test]
    fn the_same_message_is_compressed_to_the_same_bytes_whatever_came_before() {
        let text = br#"42["message",{"text":"hello there, hello"}]"#.repeat(30);
        for level in 0..=9 {
            let first = compress(&text, &alone(), level);
            compress(&noise(70_000), &alone(), level);
            assert_eq!(compress(&text, &alone(), level), first);
            let fresh = deflate(&mut compressor(15, level), &text);
            assert_eq!(fresh, first, "{level}");
        }
        let [most, ten] = [9, 10].map(|level| compress(&text, &alone(), level));
        assert_eq!(most, ten);
    }

    #[test]
    fn messages_of_all_sizes_come_back() {
        for level in [0, 1, 6, 9] {
            for length in [0, 1, 63, 64, 65, 5000, 65_535, 65_536, 100_000] {
                for payload in [noise(length), vec![7; length]] {
                    let compressed = compress(&payload, &alone(), level);
                    assert_eq!(inflate_alone(&compressed, length), Ok(payload));
                }
            }
        }
    }

    #[test]
    fn an_empty_message_is_one_byte_and_even_none_is_taken() {
        let mut deflater = Deflater::new(Role::Server, &negotiated(""), 6);
        let mut inflater = Inflater::new(Role::Client, &negotiated(""));
        for payload in [&b""[..], b"", b"a", b"", b"a"] {
            let compressed = deflater.compress(payload);
            assert_eq!(compressed == [0], payload.is_empty());
            assert_eq!(inflater.inflate(&compressed, 1).as_deref(), Ok(payload));
        }
        assert_eq!(inflater.inflate(b"", 0), Ok(Vec::new()));
        assert_eq!(inflate_alone(&[0], 0), Ok(Vec::new()));
        assert_eq!(inflate_alone(&[2, 0], 0), Ok(Vec::new()));
    }

    #[test]
    fn repetitions_further_back_than_the_window_are_not_referred_to() {
        let narrow = negotiated("; server_max_window_bits=9");
        for level in 1..=9 {
            let size = |period, negotiated: &Negotiated| {
                let payload = noise(period).repeat(3);
                let compressed = compress(&payload, negotiated, level);
                let inflated = inflate_alone(&compressed, payload.len());
                assert_eq!(inflated, Ok(payload));
                compressed.len()
            };
            assert!(size(100, &narrow) < 150, "{level}");
            // This holds for a window of 8 bits as well, which is what is used in its place.
            assert!(size(257, &narrow) >= 3 * 257, "{level}");
            assert!(size(600, &narrow) >= 3 * 600, "{level}");
            assert!(size(600, &alone()) < 1200, "{level}");
        }
    }

    #[test]
    fn a_window_of_nine_bits_is_enough_in_both_directions() {
        let narrow = negotiated("=9; server_max_window_bits=9");
        for (role, peer) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
            let mut deflater = Deflater::new(role, &narrow, 6);
            let mut inflater = Inflater::new(peer, &narrow);
            for length in [200, 2000, 200, 0, 200] {
                let compressed = deflater.compress(&noise(length));
                assert_eq!(inflater.inflate(&compressed, length), Ok(noise(length)));
            }
        }
    }

    #[test]
    fn a_client_whose_window_has_eight_bits_can_still_send() {
        let tiny = negotiated("=8");
        assert_eq!(tiny.client_max_window_bits(), 8);
        let payload = noise(250).repeat(4);
        let compressed = Deflater::new(Role::Client, &tiny, 6).compress(&payload);
        let inflated = Inflater::new(Role::Server, &tiny).inflate(&compressed, 1000);
        assert_eq!(inflated, Ok(payload));
    }

    #[test]
    fn a_bomb_is_refused_at_the_bound_and_allocates_no_more() {
        let bomb = compress(&vec![0; 16 << 20], &alone(), 9);
        assert!(bomb.len() < 17_000);
        for bound in [0, 1, 1000, 100_000, 1_000_000] {
            let mut out = Vec::new();
            let result = inflate(&mut inflater(), &bomb, bound, &mut out);
            assert_eq!(result, Err(DecodeError::TooLarge));
            assert!(out.capacity() <= bound + BLOCK, "{}", out.capacity());
        }
        assert_eq!(
            inflate_alone(&bomb, 16 << 20).map(|out| out.len()),
            Ok(16 << 20)
        );
    }

    #[test]
    fn malformed_data_is_refused_and_does_no_harm_to_what_follows() {
        for malformed in [
            // A block of the type that is none.
            &[0x07][..],
            // A stored block whose length and its complement do not agree.
            &[0x00, 0x05, 0x00, 0x00, 0x00],
            // A distance back before the beginning.
            &[0x02, 0x0d, 0x00],
            &[0xff; 40],
            // After a final block.
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x07],
        ] {
            let error = inflate_alone(malformed, 1000);
            assert_eq!(error, Err(DecodeError::Deflate), "{malformed:x?}");
            let hello = compress(b"Hello", &alone(), 6);
            assert_eq!(inflate_alone(&hello, 5).as_deref(), Ok(&b"Hello"[..]));
        }
    }

    #[test]
    fn final_blocks_one_after_another_are_one_message() {
        let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut inflater = Inflater::new(Role::Client, &negotiated(""));
        let inflated = inflater.inflate(&hello.repeat(3), 15);
        assert_eq!(inflated.as_deref(), Ok(&b"HelloHelloHello"[..]));
        assert_eq!(inflater.inflate(&hello, 5).as_deref(), Ok(&b"Hello"[..]));
    }

    #[test]
    fn codecs_that_keep_nothing_are_small() {
        assert!(size_of::<Deflater>() <= 16);
        assert!(size_of::<Inflater>() <= 16);
    }
}
