//! Compression of HTTP answers: gzip and deflate, whichever the client prefers.
//!
//! Spec: RFC 9110, sections 8.4.1 and 12.5.3.

use std::cmp::{Ordering, Reverse};
use std::io::Write;
use std::sync::Arc;
use std::thread::available_parallelism;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Semaphore;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    /// What HTTP calls so is the format of zlib.
    Deflate,
    Gzip,
}

impl Encoding {
    /// What can be made of any answer.
    pub(crate) const ALL: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

    /// Finds the one that the client prefers; the first of equals in its list.
    pub(crate) fn accepted(request: &HeaderMap) -> Option<Encoding> {
        preferred(request, &Encoding::ALL, Encoding::as_str)
    }

    pub(crate) fn name(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Encoding::Deflate => "deflate",
            Encoding::Gzip => "gzip",
        }
    }

    pub(crate) fn compress(self, plain: &[u8]) -> Vec<u8> {
        let mut gzip;
        let mut zlib;
        let (level, out) = (Compression::new(LEVEL), Vec::new());
        let finished = match self {
            Encoding::Gzip => {
                gzip = GzEncoder::new(out, level);
                gzip.write_all(plain).and_then(|()| gzip.finish())
            }
            Encoding::Deflate => {
                zlib = ZlibEncoder::new(out, level);
                zlib.write_all(plain).and_then(|()| zlib.finish())
            }
        };
        finished.expect("memory can be written to")
    }
}

/// Answers of more bytes than this, which takes about half a millisecond, are not compressed on a thread
/// that serves clients.
pub(crate) const ASIDE: usize = 32 * 1024;

/// Large answers that are being compressed, each on a thread of its own: of half as many as there are
/// cores. The others wait.
#[derive(Debug)]
pub(crate) struct Compressions(Arc<Semaphore>);

impl Default for Compressions {
    fn default() -> Compressions {
        let cores = available_parallelism().map_or(1, usize::from);
        Compressions(Arc::new(Semaphore::new(cores.div_ceil(2))))
    }
}

impl Compressions {
    /// Compresses a large answer; gives it as it is, and false, where the runtime is about to end.
    pub(crate) async fn compress(&self, encoding: Encoding, plain: Bytes) -> (Bytes, bool) {
        let Ok(place) = self.0.clone().acquire_owned().await else {
            return (plain, false);
        };
        let source = plain.clone();
        let compressed = tokio::task::spawn_blocking(move || {
            // Kept to the end, also when nobody waits any more.
            let _place = place;
            encoding.compress(&source)
        });
        match compressed.await {
            Ok(compressed) => (compressed.into(), true),
            Err(_) => (plain, false),
        }
    }
}

/// Finds what the client prefers of what there is; the first of equals in its list. `*` is what it does
/// not name. RFC 9110, section 12.5.3, with the oddities of the reference, which reads it with negotiator.
pub(crate) fn preferred<E: Copy>(
    request: &HeaderMap,
    offered: &[E],
    name: impl Fn(E) -> &'static str,
) -> Option<E> {
    let mut best: Option<(E, Wish)> = None;
    for &encoding in offered {
        let Some(wish) = wish(request, name(encoding).as_bytes()) else {
            continue;
        };
        if wish.quality > 0.0 && best.is_none_or(|(_, best)| wish.is_above(best)) {
            best = Some((encoding, wish));
        }
    }
    best.map(|(encoding, _)| encoding)
}

/// How much a client wants an encoding.
#[derive(Clone, Copy)]
struct Wish {
    /// No number if what it says is none: then it does not want it.
    quality: f64,
    is_named: bool,
    position: usize,
}

impl Wish {
    /// Says whether one encoding goes before another.
    fn is_above(self, other: Wish) -> bool {
        match self.quality.partial_cmp(&other.quality) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Less) => false,
            Some(Ordering::Equal) | None => {
                (self.is_named, Reverse(self.position)) > (other.is_named, Reverse(other.position))
            }
        }
    }

    /// Says whether a later one for the same encoding counts in its stead.
    fn gives_way(self, later: Wish) -> bool {
        match (self.is_named, later.is_named) {
            (false, true) => true,
            (true, false) => false,
            (true, true) | (false, false) => {
                self.quality.partial_cmp(&later.quality) != Some(Ordering::Greater)
            }
        }
    }
}

fn wish(request: &HeaderMap, name: &[u8]) -> Option<Wish> {
    let values = request.get_all(ACCEPT_ENCODING).into_iter();
    let items = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let mut wish: Option<Wish> = None;
    for (position, item) in items.enumerate() {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let item = parts.next().unwrap_or_default();
        let is_named = item.eq_ignore_ascii_case(name);
        if !is_named && item != b"*" {
            continue;
        }
        let quality = parts.find_map(|part| match part {
            b"q" => Some(f64::NAN),
            part => part.strip_prefix(b"q=").map(number),
        });
        let later = Wish {
            quality: quality.unwrap_or(1.0),
            is_named,
            position,
        };
        if wish.is_none_or(|wish| wish.gives_way(later)) {
            wish = Some(later);
        }
    }
    wish
}

/// The number that a text begins with, as JavaScript reads it.
fn number(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let sign = |at: usize| usize::from(matches!(text.get(at), Some(b'+' | b'-')));
    let mut end = sign(0);
    match text[end..].starts_with(b"Infinity") {
        true => end += b"Infinity".len(),
        false => {
            end += digits(end);
            if text.get(end) == Some(&b'.') {
                end += 1 + digits(end + 1);
            }
            if let Some(b'e' | b'E') = text.get(end) {
                let exponent = end + 1 + sign(end + 1);
                if digits(exponent) > 0 {
                    end = exponent + digits(exponent);
                }
            }
        }
    }
    let text = std::str::from_utf8(&text[..end]).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// Half of the default's time, for a few percent more bytes.
const LEVEL: u32 = 4;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    #[test]
    fn the_client_s_preference_decides() {
        for (header, expected) in [
            ("gzip, deflate, br", Some(Encoding::Gzip)),
            ("deflate, gzip", Some(Encoding::Deflate)),
            ("deflate;q=0.5, gzip;q=0.8", Some(Encoding::Gzip)),
            ("GZIP;q=0, deflate", Some(Encoding::Deflate)),
            ("*", Some(Encoding::Gzip)),
            ("br", None),
            ("gzip;q=0", None),
            ("gzip;q=0, *", Some(Encoding::Deflate)),
            ("*, gzip;q=0", Some(Encoding::Deflate)),
            ("*, deflate", Some(Encoding::Deflate)),
            ("gzip;q=0.5, *", Some(Encoding::Deflate)),
            ("*;q=0.5, gzip", Some(Encoding::Gzip)),
            ("*;q=0", None),
            ("gzip;q=abc", None),
            ("gzip;q", None),
            ("gzip;q=", None),
            ("gzip;q=.", None),
            ("gzip;q=-1", None),
            ("gzip;q=0.0005", Some(Encoding::Gzip)),
            ("gzip;q=1e-9", Some(Encoding::Gzip)),
            ("gzip;q=.5", Some(Encoding::Gzip)),
            ("gzip;q=0.5x", Some(Encoding::Gzip)),
            ("gzip;q= 1", Some(Encoding::Gzip)),
            ("gzip;q=1e", Some(Encoding::Gzip)),
            ("gzip;Q=0", Some(Encoding::Gzip)),
            ("gzip;q =0", Some(Encoding::Gzip)),
            ("gzip;", Some(Encoding::Gzip)),
            ("gzip ; x=1 ; q=0", None),
            ("gzip;q=0;q=1", None),
            ("gzip x", None),
            ("gzip;q=2, deflate;q=3", Some(Encoding::Deflate)),
            ("gzip;q=2, deflate;q=Infinity", Some(Encoding::Deflate)),
            ("gzip;q=0.0005, deflate;q=0.0006", Some(Encoding::Deflate)),
            ("gzip;q=0.5, deflate;q=0.6, gzip", Some(Encoding::Gzip)),
            ("gzip;q=0, gzip", Some(Encoding::Gzip)),
            ("gzip, gzip;q=0", Some(Encoding::Gzip)),
            ("gzip, gzip;q=abc", None),
            ("gzip;q=abc, gzip", Some(Encoding::Gzip)),
            ("*;q=0, *;q=1", Some(Encoding::Gzip)),
            ("deflate, gzip, deflate", Some(Encoding::Gzip)),
            ("x-gzip", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(header));
            assert_eq!(Encoding::accepted(&headers), expected, "{header}");
        }
        assert_eq!(Encoding::accepted(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_large_answer_is_not_compressed_on_the_thread_that_serves() {
        let compressions = Compressions::default();
        let plain = Bytes::from(b"abcabcabc".repeat(100_000));
        let mut compressing = std::pin::pin!(compressions.compress(Encoding::Gzip, plain.clone()));
        // With one thread nothing else can have happened meanwhile.
        let is_ready = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(compressing.as_mut().poll(cx).is_ready())
        });
        assert!(!is_ready.await);
        let (compressed, true) = compressing.await else {
            panic!("not compressed");
        };
        let mut read = Vec::new();
        let mut decoder = GzDecoder::new(&compressed[..]);
        decoder.read_to_end(&mut read).unwrap();
        assert_eq!(read, plain);
    }

    #[test]
    fn what_is_compressed_is_in_the_format_of_its_name() {
        let plain = b"abcabcabc".repeat(100);
        let mut read = Vec::new();
        let gzip = Encoding::Gzip.compress(&plain);
        GzDecoder::new(&gzip[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, plain);
        read.clear();
        let zlib = Encoding::Deflate.compress(&plain);
        ZlibDecoder::new(&zlib[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, plain);
    }
}
