//! The body of an answer: how long it is, and its bytes.
//!
//! Spec: RFC 9112, sections 6 and 7.

use std::io;

use bytes::Buf;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Exchange, Head};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Chunked,
    Length(u64),
    None,
    /// It ends with the connection.
    UntilEnd,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The connection was closed in good order, which was the body's end.
    Closed,
    /// As was said before it.
    Complete,
    /// The connection broke, or ended without the goodbye that TLS has: something may be missing.
    Cut,
}

/// What is wrong with a body.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    #[error("its chunks are malformed: {0}")]
    Chunks(&'static str),
    #[error("it is compressed with {0}, for which nobody has asked")]
    Encoding(String),
    #[error("the connection ended after {got} bytes of it{}", of(*wanted))]
    Ended { got: usize, wanted: Option<u64> },
    #[error("after {got} bytes of it: {source}")]
    Io { got: usize, source: io::Error },
    #[error("its length is given as {0}")]
    Length(String),
    #[error("it is larger than the {0} bytes of `max_message`")]
    TooLarge(usize),
    #[error("it cannot be unpacked: {0}")]
    Unpack(io::Error),
}

/// So many chunks are always taken, and beyond them one for each [`MIN_CHUNK`] bytes.
const MAX_CHUNKS: usize = 100_000;
const MIN_CHUNK: usize = 32;
/// A line before a chunk, and all that follows the last one.
const MAX_LINE: usize = 4 * 1024;
/// All that stands on lines before chunks beside their lengths.
const MAX_EXTENSIONS: usize = 64 * 1024;

impl Framing {
    /// Reads it from the head. A request for a tunnel or by HEAD has no such answer.
    pub(super) fn of(head: &Head) -> Result<Framing, BodyError> {
        if matches!(head.status, 100..200 | 204 | 304) {
            return Ok(Framing::None);
        }
        let codings = head.joined(TRANSFER_ENCODING.as_str());
        if let Some(codings) = codings {
            let last = codings.rsplit(|byte| *byte == b',').next();
            let is_chunked =
                last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            return match is_chunked {
                true => Ok(Framing::Chunked),
                false => Ok(Framing::UntilEnd),
            };
        }
        let Some(all) = head.joined(CONTENT_LENGTH.as_str()) else {
            return Ok(Framing::UntilEnd);
        };
        // RFC 9110, section 8.6: the same several times is one. A sign, or another length, would let two
        // readers find two ends.
        let mut lengths = all.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let first = lengths.next().unwrap_or_default();
        let is_one = first.iter().all(u8::is_ascii_digit) && lengths.all(|other| other == first);
        let length = std::str::from_utf8(first)
            .ok()
            .and_then(|text| text.parse().ok());
        match length.filter(|_| is_one) {
            Some(length) => Ok(Framing::Length(length)),
            None => Err(BodyError::Length(super::shown(&all))),
        }
    }
}

/// Reads a body that is not larger than allowed; what has come of it is there in any case.
pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &mut Exchange<S>,
    framing: Framing,
    max: usize,
    body: &mut Vec<u8>,
) -> Result<End, BodyError> {
    match framing {
        Framing::None => Ok(End::Complete),
        Framing::Chunked => chunks(exchange, max, body).await,
        Framing::Length(length) => {
            if length > max as u64 {
                // A part tells why a request was refused.
                take(exchange, max, body, Some(length)).await?;
                return Err(BodyError::TooLarge(max));
            }
            // It is not larger than `max`.
            take(exchange, length as usize, body, Some(length)).await?;
            Ok(End::Complete)
        }
        Framing::UntilEnd => loop {
            let room = max - body.len();
            let count = exchange.bytes.len().min(room);
            body.extend_from_slice(&exchange.bytes.split_to(count));
            if !exchange.bytes.is_empty() {
                return Err(BodyError::TooLarge(max));
            }
            match exchange.fill().await {
                Ok(0) => return Ok(End::Closed),
                Ok(_) => {}
                Err(_) => return Ok(End::Cut),
            }
        },
    }
}

/// Moves so many bytes more to the body.
async fn take<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &mut Exchange<S>,
    mut count: usize,
    body: &mut Vec<u8>,
    wanted: Option<u64>,
) -> Result<(), BodyError> {
    loop {
        let now = exchange.bytes.len().min(count);
        body.extend_from_slice(&exchange.bytes[..now]);
        exchange.bytes.advance(now);
        count -= now;
        if count == 0 {
            return Ok(());
        }
        more(exchange, body.len(), wanted).await?;
    }
}

async fn chunks<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &mut Exchange<S>,
    max: usize,
    body: &mut Vec<u8>,
) -> Result<End, BodyError> {
    let (mut count, mut extensions) = (0, 0);
    loop {
        let line = line(exchange, body.len()).await?;
        let parsed = httparse::parse_chunk_size(&line);
        let Ok(httparse::Status::Complete((_, length))) = parsed else {
            return Err(BodyError::Chunks("a length is not one"));
        };
        if length == 0 {
            break;
        }
        count += 1;
        // Of what has no digits, as many as a length ever needs.
        extensions += line.len().saturating_sub(18);
        if count > MAX_CHUNKS + body.len() / MIN_CHUNK {
            return Err(BodyError::Chunks("they are too many and too small"));
        }
        if extensions > MAX_EXTENSIONS {
            return Err(BodyError::Chunks("they have too much beside them"));
        }
        let room = max - body.len();
        if length > room as u64 {
            take(exchange, room, body, None).await?;
            return Err(BodyError::TooLarge(max));
        }
        take(exchange, length as usize, body, None).await?;
        if !self::line(exchange, body.len())
            .await?
            .trim_ascii()
            .is_empty()
        {
            return Err(BodyError::Chunks("one is longer than it says"));
        }
    }
    let mut trailers = 0;
    loop {
        let line = line(exchange, body.len()).await?;
        if line.trim_ascii().is_empty() {
            return Ok(End::Complete);
        }
        trailers += line.len();
        if trailers > MAX_EXTENSIONS {
            return Err(BodyError::Chunks("too much follows them"));
        }
    }
}

/// Takes a line with its end.
async fn line<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &mut Exchange<S>,
    got: usize,
) -> Result<bytes::BytesMut, BodyError> {
    let mut searched = 0;
    loop {
        let found = exchange.bytes[searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        if let Some(at) = found {
            return Ok(exchange.bytes.split_to(searched + at + 1));
        }
        searched = exchange.bytes.len();
        if searched > MAX_LINE {
            return Err(BodyError::Chunks("a line is too long"));
        }
        more(exchange, got, None).await?;
    }
}

async fn more<S: AsyncRead + AsyncWrite + Unpin>(
    exchange: &mut Exchange<S>,
    got: usize,
    wanted: Option<u64>,
) -> Result<(), BodyError> {
    match exchange.fill().await {
        Ok(0) => Err(BodyError::Ended { got, wanted }),
        Ok(_) => Ok(()),
        // TLS tells an end without its goodbye so.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(BodyError::Ended { got, wanted })
        }
        Err(source) => Err(BodyError::Io { got, source }),
    }
}

fn of(wanted: Option<u64>) -> String {
    wanted.map_or_else(String::new, |wanted| format!(", of {wanted}"))
}
