//! The head of an answer, read as leniently as browsers do; how long its body is, never.

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The words behind the status, if there are any.
    pub(crate) reason: Box<str>,
    pub(crate) headers: HeaderMap,
    /// It says HTTP/1.0.
    pub(crate) is_old: bool,
    /// It breaks the rules: what follows its body may be something else than it seems.
    pub(crate) is_odd: bool,
}

/// Why a head cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum HeadError {
    /// Where the answer ends must not be a matter of opinion: RFC 9112, section 11.
    #[error("a line that gives the length of its body is malformed: {0}")]
    Length(String),
    #[error("{0}")]
    Malformed(httparse::Error),
    #[error("it is longer than 64 KiB")]
    TooLong,
    #[error("it has more than {MAX_LINES} lines")]
    TooMany,
}

const MAX_LINES: usize = 500;

impl Head {
    /// Parses a whole head, the empty line at its end included.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Head, HeadError> {
        match parse(bytes, &httparse::ParserConfig::default()) {
            Ok(head) => Ok(head),
            Err(HeadError::Malformed(_)) => {
                check_lengths(bytes)?;
                let mut lenient = httparse::ParserConfig::default();
                lenient
                    .allow_multiple_spaces_in_response_status_delimiters(true)
                    .allow_obsolete_multiline_headers_in_responses(true)
                    .allow_space_before_first_header_name(true)
                    .allow_spaces_after_header_name_in_responses(true)
                    .ignore_invalid_headers_in_responses(true);
                let head = parse(bytes, &lenient)?;
                Ok(Head {
                    is_odd: true,
                    ..head
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Says whether the server keeps the connection, as far as the head tells.
    pub(crate) fn keeps_connection(&self) -> bool {
        let says = |word: &str| {
            let values = self.headers.get_all(CONNECTION).iter();
            let mut tokens = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
            tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        !self.is_odd && !self.is_old && !says("close")
    }
}

fn parse(bytes: &[u8], config: &httparse::ParserConfig) -> Result<Head, HeadError> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut response = httparse::Response::new(&mut lines);
    match config.parse_response(&mut response, bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => {
            return Err(HeadError::Malformed(httparse::Error::NewLine));
        }
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooMany),
        Err(error) => return Err(HeadError::Malformed(error)),
    }
    let mut headers = HeaderMap::new();
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) {
            headers.append(name, value);
        }
    }
    Ok(Head {
        status: response.code.unwrap_or_default(),
        reason: response.reason.unwrap_or_default().into(),
        headers,
        is_old: response.version == Some(0),
        is_odd: false,
    })
}

/// Finds the end of a head, of which as much has been searched before.
pub(crate) fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let mut ends = bytes[from..].iter().enumerate();
    ends.find_map(|(at, byte)| {
        let rest = &bytes[from + at + 1..];
        match (byte, rest) {
            (b'\n', [b'\n', ..]) => Some(from + at + 2),
            (b'\n', [b'\r', b'\n', ..]) => Some(from + at + 3),
            _ => None,
        }
    })
}

/// Refuses a head in which a line that concerns the body's length is not exactly as it should be.
fn check_lengths(bytes: &[u8]) -> Result<(), HeadError> {
    let mut lines = bytes.split(|byte| *byte == b'\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let Some(name) = trimmed(name) else { continue };
        if !["content-length", "transfer-encoding"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        {
            continue;
        }
        let is_folded = lines
            .peek()
            .is_some_and(|next| next.starts_with(b" ") || next.starts_with(b"\t"));
        let alone = [line, b"\n\r\n"].concat();
        let mut header = [httparse::EMPTY_HEADER; 1];
        let is_good = matches!(
            httparse::parse_headers(&alone, &mut header),
            Ok(httparse::Status::Complete((_, [header]))) if header.name.len() == name.len()
        );
        if is_folded || !is_good {
            return Err(HeadError::Length(super::shown(line)));
        }
    }
    Ok(())
}

/// A name without what must not be around it.
fn trimmed(name: &[u8]) -> Option<&[u8]> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let begin = name.iter().position(is_letter)?;
    let end = name.iter().rposition(is_letter)?;
    Some(&name[begin..=end])
}
