//! Packets: `<type>[<attachments>-][<namespace>,][<ack id>][JSON]`.
//!
//! The header is read as the reference's parser reads it, its oddities included: white space counts
//! as the digit 0, and a namespace may end with the packet instead of a comma. It does not take
//! numbers of attachments that are not written in digits alone (`5+1-`). Ack ids beyond 64 bits, or
//! with white space between digits, count as none: the reference answers them in a way that no client
//! understands.

use std::borrow::Cow;

use bytes::Bytes;
use thiserror::Error;

use super::json::{self, MalformedJson};

/// The type of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PacketKind {
    /// A request to join a namespace, and its answer.
    Connect = 0,
    /// The end of a namespace.
    Disconnect = 1,
    /// An event.
    Event = 2,
    /// The answer to an event.
    Ack = 3,
    /// The refusal to join a namespace.
    ConnectError = 4,
    /// An event with attachments; a decoded packet is an `Event`.
    BinaryEvent = 5,
    /// An answer with attachments; a decoded packet is an `Ack`.
    BinaryAck = 6,
}

/// A packet whose payload is still JSON text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// The type; those with attachments are `Event` or `Ack`.
    pub kind: PacketKind,
    /// The namespace, `/` if none is named.
    pub nsp: Cow<'a, str>,
    /// The ack id.
    pub id: Option<u64>,
    /// The payload, a valid JSON text, or empty if there is none.
    pub data: Cow<'a, str>,
    /// The attachments, in the order of their numbers.
    pub attachments: Vec<Bytes>,
}

/// What is wrong with a packet, in the words of the reference.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ParseError {
    /// The number of attachments is none, or not a number.
    #[error("Illegal attachments")]
    AttachmentCount,
    /// The payload refers to an attachment that the packet does not have.
    #[error("illegal attachments")]
    AttachmentIndex,
    /// The attachments that were announced did not come in time.
    #[error("attachments are missing")]
    AttachmentsMissing,
    /// The attachments together are larger than allowed.
    #[error("attachments are too large")]
    AttachmentsTooLarge,
    /// The message is not in the format of the parser.
    #[error("Could not parse")]
    Malformed,
    /// The namespace is not text.
    #[error("invalid namespace")]
    Namespace,
    /// The ack id is not an integer, or is negative.
    #[error("invalid packet id")]
    PacketId,
    /// The type is not the number of one.
    #[error("invalid packet type")]
    PacketType,
    /// The payload is not JSON, or not of the shape that its type demands.
    #[error("invalid payload")]
    Payload,
    /// The payload is nested too deeply.
    #[error("nested too deeply")]
    TooDeep,
    /// There are more attachments than allowed.
    #[error("too many attachments")]
    TooManyAttachments,
    /// Bytes follow the packet in its message.
    #[error("{0} trailing bytes")]
    TrailingBytes(usize),
    /// An attachment came without its packet.
    #[error("got binary data when not reconstructing a packet")]
    UnexpectedBinary,
    /// Text came where an attachment was due.
    #[error("got plaintext data when reconstructing a packet")]
    UnexpectedText,
    /// The type is none.
    #[error("unknown packet type {}", number(*.0))]
    UnknownType(char),
}

impl From<MalformedJson> for ParseError {
    fn from(_: MalformedJson) -> ParseError {
        ParseError::Payload
    }
}

/// A packet's type as JavaScript writes it, which has converted it to a number.
fn number(kind: char) -> String {
    kind.to_digit(10)
        .map_or_else(|| "NaN".to_owned(), |digit| digit.to_string())
}

/// Says whether an event's name belongs to the protocol.
#[inline]
pub fn is_reserved(name: &str) -> bool {
    // Nearly every name is told apart by its length and first letter.
    matches!(name.as_bytes().first(), Some(b'c' | b'd' | b'n' | b'r'))
        && matches!(
            name,
            "connect"
                | "connect_error"
                | "disconnect"
                | "disconnecting"
                | "newListener"
                | "removeListener"
        )
}

/// A packet's text, taken apart.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) kind: PacketKind,
    pub(super) attachments: usize,
    pub(super) nsp: &'a str,
    pub(super) id: Option<u64>,
    pub(super) data: &'a str,
}

impl<'a> Header<'a> {
    #[inline]
    pub(super) fn parse(text: &'a str, max_attachments: usize) -> Result<Header<'a>, ParseError> {
        let mut kind_length = 1;
        let kind = match text.as_bytes().first() {
            Some(b'0') => PacketKind::Connect,
            Some(b'1') => PacketKind::Disconnect,
            Some(b'2') => PacketKind::Event,
            Some(b'3') => PacketKind::Ack,
            Some(b'4') => PacketKind::ConnectError,
            Some(b'5') => PacketKind::BinaryEvent,
            Some(b'6') => PacketKind::BinaryAck,
            _ => match text.chars().next() {
                Some(space) if is_space(space) => {
                    kind_length = space.len_utf8();
                    PacketKind::Connect
                }
                // The reference cannot read an empty message either.
                other => return Err(ParseError::UnknownType(other.unwrap_or(' '))),
            },
        };
        let mut rest = &text[kind_length..];
        let mut attachments = 0;
        if matches!(kind, PacketKind::BinaryEvent | PacketKind::BinaryAck) {
            let (count, after) = rest.split_once('-').ok_or(ParseError::AttachmentCount)?;
            attachments = attachment_count(count, max_attachments)?;
            rest = after;
        }
        let mut nsp = "/";
        if rest.as_bytes().first() == Some(&b'/') {
            (nsp, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let (id, data) = ack_id(rest);
        Ok(Header {
            kind,
            attachments,
            nsp,
            id,
            data,
        })
    }
}

fn attachment_count(count: &str, max: usize) -> Result<usize, ParseError> {
    if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseError::AttachmentCount);
    }
    match count.parse() {
        Ok(0) => Err(ParseError::AttachmentCount),
        Ok(count) if count <= max => Ok(count),
        // More than fits a number is too many as well.
        Ok(_) | Err(_) => Err(ParseError::TooManyAttachments),
    }
}

#[inline]
fn ack_id(rest: &str) -> (Option<u64>, &str) {
    // What follows is mostly the payload.
    if let None | Some(b'[' | b'{') = rest.as_bytes().first() {
        return (None, rest);
    }
    let length = rest
        .find(|c: char| !c.is_ascii_digit() && !is_space(c))
        .unwrap_or(rest.len());
    let (id, rest) = rest.split_at(length);
    let id = match id.trim_matches(is_space) {
        "" if id.is_empty() => None,
        "" => Some(0),
        id => id.parse().ok(),
    };
    (id, rest)
}

/// White space in the sense of JavaScript, which converts it to the number 0.
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// Checks the payload of a packet that is neither an event nor an ack.
pub(super) fn check_control(kind: PacketKind, data: &str) -> Result<Cow<'_, str>, ParseError> {
    if data.is_empty() {
        return Ok(Cow::Borrowed(data));
    }
    let data = json::value(data)?;
    let first = data.trim_ascii_start().as_bytes().first();
    match (kind, first) {
        (PacketKind::Connect | PacketKind::ConnectError, Some(b'{'))
        | (PacketKind::ConnectError, Some(b'"')) => Ok(data),
        _ => Err(ParseError::Payload),
    }
}
