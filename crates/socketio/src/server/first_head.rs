//! The first request's head, read ahead of the HTTP library.
//!
//! The library has to be told beforehand how many header lines a connection's requests may have, and
//! allocates and fills a table of that size for each of them: 5,500 instructions for 500 lines. So this
//! counts the lines of the first head, and only those who have many pay.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::read_buffer::with_buffer;

/// A connection of which some was read already.
pub(crate) struct Begun<S> {
    pub(super) stream: S,
    /// Read and not taken yet, from `taken` on.
    head: Vec<u8>,
    taken: usize,
}

impl<S: AsyncRead + Unpin> Begun<S> {
    pub(crate) fn new(stream: S) -> Begun<S> {
        Begun {
            stream,
            head: Vec::new(),
            taken: 0,
        }
    }

    /// Reads until the first head is complete or shows that it is none, the stream has ended, or there
    /// are `max` bytes.
    ///
    /// # Errors
    ///
    /// When nothing can be read any more.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<()>> {
        loop {
            let before = self.head.len();
            let read = with_buffer(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
                self.head.extend_from_slice(read.filled());
                Poll::Ready(io::Result::Ok(read.filled().len()))
            });
            let ends = ready!(read)? == 0;
            let is_all = ends || self.head.len() >= max || has_end(&self.head, before);
            if is_all || (before < CHECKED && is_none(&self.head)) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The number of lines in what was read.
    pub(crate) fn lines(&self) -> usize {
        memchr::memchr_iter(b'\n', &self.head).count()
    }
}

impl<S> Begun<S> {
    /// The stream, and what was not taken of what was read.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        let mut rest = self.head;
        rest.drain(..self.taken);
        (self.stream, rest)
    }
}

/// So many bytes are looked at again with each read. What is no request, such as a handshake of TLS,
/// shows at once, and has to be answered at once.
const CHECKED: usize = 1024;

/// Says whether an incomplete head is none of HTTP.
fn is_none(head: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let parsed = httparse::Request::new(&mut headers).parse(head);
    parsed.is_err_and(|error| error != httparse::Error::TooManyHeaders)
}

/// Says whether an empty line ends a head, of which the first `seen` bytes have none.
fn has_end(head: &[u8], seen: usize) -> bool {
    let new = &head[seen.saturating_sub(3)..];
    // Nearly always it is all that comes.
    new.ends_with(b"\r\n\r\n")
        || memchr::memchr_iter(b'\n', new).any(|at| {
            let next = &new[at + 1..];
            next.starts_with(b"\n") || next.starts_with(b"\r\n")
        })
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.head.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let rest = &this.head[this.taken..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        this.taken += count;
        if this.taken == this.head.len() {
            (this.head, this.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Gives its parts one by one, and then nothing.
    struct Parts(Vec<&'static [u8]>);

    impl AsyncRead for Parts {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            buf.put_slice(self.0.remove(0));
            Poll::Ready(Ok(()))
        }
    }

    fn read(parts: &[&'static [u8]], max: usize) -> (Begun<Parts>, bool) {
        let mut begun = Begun::new(Parts(parts.to_vec()));
        let mut cx = Context::from_waker(Waker::noop());
        let is_ready = begun.poll_head(&mut cx, max).is_ready();
        (begun, is_ready)
    }

    #[test]
    fn a_head_is_complete_however_it_is_cut() {
        for head in [
            &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
            b"GET / HTTP/1.1\nHost: h\n\n",
            b"GET / HTTP/1.1\r\nHost: h\n\r\n",
        ] {
            for at in 0..head.len() {
                let (first, second) = head.split_at(at);
                let parts: &[&[u8]] = match at {
                    0 => &[second],
                    _ => &[first, second],
                };
                let (begun, is_ready) = read(parts, 1000);
                assert!(is_ready && begun.head == head, "{at}");
                if at > 0 {
                    assert!(!read(&[first], 1000).1, "{at}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_head_is_not_waited_for() {
        let hello = b"\x16\x03\x01\x02\0\x01\0";
        for parts in [
            &[&hello[..]][..],
            &[b"garbage\r\n"],
            &[b"GET / ", b"HTTP/7.7\r\n"],
            &[b"GET / HTTP/1.1\r\n", b"a header\r\n"],
        ] {
            assert!(read(parts, 1000).1, "{parts:?}");
        }
        let many: String = (0..90).map(|n| format!("{n}:\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\n{many}").leak().as_bytes();
        assert!(!read(&[many], 1000).1);
    }

    #[test]
    fn reading_ends_at_the_limit_and_at_the_end() {
        assert!(read(&[b"GET ", b"/aaa"], 8).1);
        assert!(!read(&[b"GET ", b"/aa"], 8).1);
        assert!(read(&[b"GET", b""], 8).1);
    }

    #[tokio::test]
    async fn what_was_read_comes_first_and_the_rest_is_given_back() {
        let (mut begun, _) = read(&[b"a\nb\n\nrest", b"more"], 1000);
        assert_eq!(begun.lines(), 3);
        let mut few = [0; 3];
        begun.read_exact(&mut few).await.unwrap();
        assert_eq!(&few, b"a\nb");
        let (_, rest) = begun.into_parts();
        assert_eq!(rest, b"\n\nrest");
        let (mut begun, _) = read(&[b"a\n\n", b"more"], 1000);
        let mut all = [0; 7];
        begun.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"a\n\nmore");
        assert_eq!(begun.into_parts().1, b"");
    }
}
