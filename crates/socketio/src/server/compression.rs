//! Compression of HTTP answers: gzip and deflate, whichever the client prefers.
//!
//! Spec: RFC 9110, sections 8.4.1 and 12.5.3.

use std::cmp::Reverse;
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
/// not name. RFC 9110, section 12.5.3.
pub(crate) fn preferred<E: Copy>(
    request: &HeaderMap,
    offered: &[E],
    name: impl Fn(E) -> &'static str,
) -> Option<E> {
    let mut best: Option<(E, Wish)> = None;
    for &encoding in offered {
        let named = wish(request, name(encoding).as_bytes());
        let Some(wish) = named.or_else(|| wish(request, b"*")) else {
            continue;
        };
        if wish.thousandths > 0 && best.is_none_or(|(_, best)| wish > best) {
            best = Some((encoding, wish));
        }
    }
    best.map(|(encoding, _)| encoding)
}

/// How much a client wants an encoding; the more, the greater.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Wish {
    thousandths: u32,
    is_named: bool,
    position: Reverse<usize>,
}

fn wish(request: &HeaderMap, name: &[u8]) -> Option<Wish> {
    let values = request.get_all(ACCEPT_ENCODING).into_iter();
    let items = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    items.enumerate().find_map(|(position, item)| {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let is_it = parts.next()?.eq_ignore_ascii_case(name);
        let quality = parts.find_map(|part| part.strip_prefix(b"q="));
        is_it.then(|| Wish {
            thousandths: quality.map_or(1000, thousandths),
            is_named: name != b"*",
            position: Reverse(position),
        })
    })
}

/// Half of the default's time, for a few percent more bytes.
const LEVEL: u32 = 4;

/// Reads a quality such as `0.5`; what is none counts as 0, as with the reference.
fn thousandths(quality: &[u8]) -> u32 {
    let quality = std::str::from_utf8(quality)
        .ok()
        .and_then(|q| q.parse::<f32>().ok());
    quality.map_or(0, |quality| (quality.clamp(0.0, 1.0) * 1000.0) as u32)
}

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
