//! From MessagePack to packets: values are written as JSON while they are read.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::encode::{number, write_json_string};
use super::super::json::MAX_DEPTH;
use super::super::packet::{Packet, PacketKind, ParseError};
use super::date::write_date;
use super::{Binary, MAX_EXACT, MsgpackParser, PLACEHOLDER};

/// Reads a packet.
pub(super) fn decode(bytes: &[u8], limits: MsgpackParser) -> Result<Packet<'static>, ParseError> {
    let mut input = Input { bytes };
    let (mut kind, mut nsp, mut id) = (None, None, Id::Absent);
    let mut data = Data::new(limits);
    let mut shape = Shape::Absent;
    // Anything else has no type in JavaScript.
    let Token::Map(count) = input.token()? else {
        return Err(ParseError::PacketType);
    };
    for _ in 0..count {
        // Of equal keys the last counts, as in JavaScript.
        match &*input.key()? {
            "type" => kind = input.scalar()?.and_then(Token::integer),
            "nsp" => nsp = input.scalar()?.and_then(Token::text),
            "id" => id = input.scalar()?.map_or(Id::Invalid, Id::from),
            "data" => {
                data = Data::new(limits);
                shape = data.value(&mut input, 0)?;
            }
            _ => input.skip()?,
        }
    }
    if !input.bytes.is_empty() {
        return Err(ParseError::TrailingBytes(input.bytes.len()));
    }
    let kind = match kind {
        Some(0) => PacketKind::Connect,
        Some(1) => PacketKind::Disconnect,
        Some(2) => PacketKind::Event,
        Some(3) => PacketKind::Ack,
        Some(4) => PacketKind::ConnectError,
        _ => return Err(ParseError::PacketType),
    };
    let nsp = nsp.ok_or(ParseError::Namespace)?.into_owned().into();
    if !shape.suits(kind) {
        return Err(ParseError::Payload);
    }
    let id = match id {
        Id::Absent | Id::Unanswerable => None,
        Id::Invalid => return Err(ParseError::PacketId),
        Id::Valid(id) => Some(id),
    };
    let (data, attachments) = match (kind, shape) {
        // What has no name is nobody's event.
        (_, Shape::Absent) | (PacketKind::Event, Shape::Array { is_named: false }) => {
            (String::new(), Vec::new())
        }
        _ => data.finish(),
    };
    Ok(Packet {
        kind,
        nsp,
        id,
        data: data.into(),
        attachments,
    })
}

/// Reads one value as JSON.
pub(super) fn decode_value(
    bytes: &[u8],
    limits: MsgpackParser,
    max_depth: usize,
    binary: Binary,
) -> Result<(String, Vec<Bytes>), ParseError> {
    let mut input = Input { bytes };
    let mut data = Data {
        max_depth,
        binary,
        ..Data::new(limits)
    };
    data.value(&mut input, 0)?;
    match input.bytes.len() {
        0 => Ok(data.finish()),
        trailing => Err(ParseError::TrailingBytes(trailing)),
    }
}

/// A packet's ack id.
enum Id {
    Absent,
    Invalid,
    /// An integer that no answer can have: the event is handled all the same.
    Unanswerable,
    Valid(u64),
}

impl From<Token<'_>> for Id {
    fn from(token: Token<'_>) -> Id {
        match token {
            Token::Undefined => Id::Absent,
            Token::Int(id) if id < 0 => Id::Unanswerable,
            // Zero may have a sign.
            Token::Float(id) if id.fract() == 0.0 && !(0.0..=MAX_EXACT).contains(&id) => {
                Id::Unanswerable
            }
            token => token.integer().map_or(Id::Invalid, Id::Valid),
        }
    }
}

/// What a packet's type demands to know about its payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    Absent,
    Array {
        /// The first item can be the name of an event.
        is_named: bool,
    },
    Map,
    Number,
    Other,
    Text,
}

impl Shape {
    fn suits(self, kind: PacketKind) -> bool {
        match kind {
            PacketKind::Connect => matches!(self, Shape::Absent | Shape::Map),
            PacketKind::Disconnect => self == Shape::Absent,
            PacketKind::Event
            | PacketKind::BinaryEvent
            | PacketKind::Ack
            | PacketKind::BinaryAck => matches!(self, Shape::Array { .. }),
            PacketKind::ConnectError => matches!(self, Shape::Map | Shape::Text),
        }
    }
}

/// A payload as JSON with placeholders.
struct Data {
    limits: MsgpackParser,
    max_depth: usize,
    binary: Binary,
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    /// How many bytes the attachments have together.
    size: usize,
    /// Where `true` stands for the key `_placeholder` of the peer's own objects.
    lookalikes: Vec<usize>,
}

impl Data {
    fn new(limits: MsgpackParser) -> Data {
        Data {
            limits,
            max_depth: MAX_DEPTH,
            binary: Binary::Attach,
            json: Vec::new(),
            attachments: Vec::new(),
            size: 0,
            lookalikes: Vec::new(),
        }
    }

    /// Writes the next value, which stands in `depth` arrays and objects.
    fn value(&mut self, input: &mut Input<'_>, depth: usize) -> Result<Shape, ParseError> {
        match input.token()? {
            Token::Array(count) => {
                self.inside(depth)?;
                self.json.push(b'[');
                let mut is_named = false;
                for i in 0..count {
                    if i > 0 {
                        self.json.push(b',');
                    }
                    let shape = self.value(input, depth + 1)?;
                    is_named |= i == 0 && matches!(shape, Shape::Number | Shape::Text);
                }
                self.json.push(b']');
                return Ok(Shape::Array { is_named });
            }
            Token::Map(count) => {
                self.inside(depth)?;
                self.json.push(b'{');
                for i in 0..count {
                    if i > 0 {
                        self.json.push(b',');
                    }
                    let key = input.key()?;
                    write_json_string(&mut self.json, &key);
                    self.json.push(b':');
                    let start = self.json.len();
                    self.value(input, depth + 1)?;
                    if key == PLACEHOLDER && self.json[start..] == *b"true" {
                        self.lookalikes.push(start);
                    }
                }
                self.json.push(b'}');
                return Ok(Shape::Map);
            }
            Token::Str(text) => {
                write_json_string(&mut self.json, &String::from_utf8_lossy(text));
                return Ok(Shape::Text);
            }
            Token::Uint(value) => {
                number(&mut self.json, value);
                return Ok(Shape::Number);
            }
            Token::Int(value) => {
                write_integer(&mut self.json, value);
                return Ok(Shape::Number);
            }
            Token::Float(value) => {
                write_float(&mut self.json, value);
                if value.is_finite() {
                    return Ok(Shape::Number);
                }
            }
            Token::Undefined => {
                self.json.extend_from_slice(b"null");
                return Ok(Shape::Absent);
            }
            Token::Nil => self.json.extend_from_slice(b"null"),
            Token::Bool(true) => self.json.extend_from_slice(b"true"),
            Token::Bool(false) => self.json.extend_from_slice(b"false"),
            Token::Date(time) => write_date(&mut self.json, time),
            Token::Bin(bytes) => self.attachment(bytes, depth)?,
            // As the reference gives it.
            Token::Ext(kind, bytes) => {
                self.inside(depth)?;
                self.json.push(b'[');
                write_integer(&mut self.json, kind.into());
                self.json.push(b',');
                self.attachment(bytes, depth + 1)?;
                self.json.push(b']');
            }
        }
        Ok(Shape::Other)
    }

    /// Keeps bytes, and writes a placeholder for them. It is an object like others to those who
    /// read the JSON.
    fn attachment(&mut self, bytes: &[u8], depth: usize) -> Result<(), ParseError> {
        self.inside(depth)?;
        if self.attachments.len() >= self.limits.max_attachments {
            return Err(ParseError::TooManyAttachments);
        }
        self.size += bytes.len();
        if self.size > self.limits.max_bytes {
            return Err(ParseError::AttachmentsTooLarge);
        }
        if self.binary == Binary::Inline {
            self.json
                .extend_from_slice(b"{\"type\":\"Buffer\",\"data\":[");
            for (i, byte) in bytes.iter().enumerate() {
                if i > 0 {
                    self.json.push(b',');
                }
                number(&mut self.json, u64::from(*byte));
            }
            self.json.extend_from_slice(b"]}");
            return Ok(());
        }
        self.json
            .extend_from_slice(b"{\"_placeholder\":true,\"num\":");
        number(&mut self.json, self.attachments.len() as u64);
        self.json.push(b'}');
        self.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    /// Checks that there may be an array or object at this depth.
    fn inside(&self, depth: usize) -> Result<(), ParseError> {
        match depth < self.max_depth {
            true => Ok(()),
            false => Err(ParseError::TooDeep),
        }
    }

    /// The payload's text and attachments.
    fn finish(mut self) -> (String, Vec<Bytes>) {
        // Without attachments nobody looks for placeholders.
        if !self.attachments.is_empty() {
            for at in self.lookalikes {
                self.json[at..at + 4].copy_from_slice(b"null");
            }
        }
        let json = String::from_utf8(self.json).expect("made of strings");
        (json, self.attachments)
    }
}

fn write_integer(json: &mut Vec<u8>, value: i64) {
    if value < 0 {
        json.push(b'-');
    }
    number(json, value.unsigned_abs());
}

/// Writes a float as JavaScript would: an integer if it is one, `null` if JSON cannot have it.
fn write_float(json: &mut Vec<u8>, value: f64) {
    match value.fract() == 0.0 && value.abs() <= MAX_EXACT {
        true => write_integer(json, value as i64),
        false => serde_json::to_writer(json, &value).expect("a number can be written to memory"),
    }
}

/// One item of MessagePack; the values in arrays and maps follow it.
#[derive(Debug)]
enum Token<'a> {
    Array(u64),
    Bin(&'a [u8]),
    Bool(bool),
    /// Milliseconds from 1970, if they fit.
    Date(Option<i64>),
    Ext(i8, &'a [u8]),
    Float(f64),
    Int(i64),
    Map(u64),
    Nil,
    Str(&'a [u8]),
    Uint(u64),
    Undefined,
}

impl<'a> Token<'a> {
    /// The value of an integer that is not negative, in whatever form.
    fn integer(self) -> Option<u64> {
        match self {
            Token::Float(value) if value.fract() == 0.0 && (0.0..=MAX_EXACT).contains(&value) => {
                Some(value as u64)
            }
            Token::Int(value) => value.try_into().ok(),
            Token::Uint(value) => Some(value),
            _ => None,
        }
    }

    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Token::Str(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }
}

/// What is left of a message.
#[derive(Debug)]
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads one item. Spec: MessagePack, "Formats".
    fn token(&mut self) -> Result<Token<'a>, ParseError> {
        let marker = self.take(1)?[0];
        Ok(match marker {
            0x00..=0x7f => Token::Uint(marker.into()),
            0x80..=0x8f => Token::Map((marker & 15).into()),
            0x90..=0x9f => Token::Array((marker & 15).into()),
            0xa0..=0xbf => Token::Str(self.take((marker & 31).into())?),
            0xc0 => Token::Nil,
            0xc1 => return Err(ParseError::Malformed),
            0xc2 | 0xc3 => Token::Bool(marker == 0xc3),
            0xc4..=0xc6 => Token::Bin(self.announced(1 << (marker - 0xc4))?),
            0xc7..=0xc9 => {
                let length = self.unsigned(1 << (marker - 0xc7))?;
                match (self.ext_type()?, self.take(length)?) {
                    // How the reference writes typed arrays.
                    (0, bytes) => Token::Bin(bytes),
                    (-1, bytes) => timestamp(bytes),
                    (kind, bytes) => Token::Ext(kind, bytes),
                }
            }
            0xca => Token::Float(f32::from_bits(self.unsigned(4)? as u32).into()),
            0xcb => Token::Float(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => Token::Uint(self.unsigned(1 << (marker - 0xcc))?),
            0xd0..=0xd3 => {
                let width = 1 << (marker - 0xd0);
                let unused = 64 - 8 * width as u32;
                Token::Int((self.unsigned(width)? << unused) as i64 >> unused)
            }
            0xd4..=0xd8 => match (self.ext_type()?, self.take(1 << (marker - 0xd4))?) {
                (0, [_]) => Token::Undefined,
                (0, bytes) if bytes.len() == 8 => Token::Date(Some(big_endian(bytes) as i64)),
                (-1, bytes) => timestamp(bytes),
                (kind, bytes) => Token::Ext(kind, bytes),
            },
            0xd9..=0xdb => Token::Str(self.announced(1 << (marker - 0xd9))?),
            0xdc | 0xdd => Token::Array(self.unsigned(2 << (marker - 0xdc))?),
            0xde | 0xdf => Token::Map(self.unsigned(2 << (marker - 0xde))?),
            0xe0..=0xff => Token::Int(i64::from(marker as i8)),
        })
    }

    /// Reads a key. What is no text becomes one as in JavaScript, except for arrays, maps and the
    /// like, which are refused.
    fn key(&mut self) -> Result<Cow<'a, str>, ParseError> {
        let mut text = Vec::new();
        match self.token()? {
            Token::Bin(key) | Token::Str(key) => return Ok(String::from_utf8_lossy(key)),
            Token::Bool(true) => return Ok("true".into()),
            Token::Bool(false) => return Ok("false".into()),
            Token::Nil => return Ok("null".into()),
            Token::Undefined => return Ok("undefined".into()),
            Token::Float(key) if key.is_nan() => return Ok("NaN".into()),
            Token::Float(f64::INFINITY) => return Ok("Infinity".into()),
            Token::Float(f64::NEG_INFINITY) => return Ok("-Infinity".into()),
            Token::Float(key) => write_float(&mut text, key),
            Token::Int(key) => write_integer(&mut text, key),
            Token::Uint(key) => number(&mut text, key),
            Token::Array(_) | Token::Date(_) | Token::Ext(..) | Token::Map(_) => {
                return Err(ParseError::Malformed);
            }
        }
        Ok(String::from_utf8(text).expect("numbers are text").into())
    }

    /// Reads a value that should have no others in it; if it has, they are skipped.
    fn scalar(&mut self) -> Result<Option<Token<'a>>, ParseError> {
        match self.token()? {
            Token::Array(count) => self.skip_values(count).map(|()| None),
            Token::Map(count) => self.skip_values(2 * count).map(|()| None),
            token => Ok(Some(token)),
        }
    }

    /// Passes over a value.
    fn skip(&mut self) -> Result<(), ParseError> {
        self.skip_values(1)
    }

    /// The values within values are counted: depth costs nothing, and the sum cannot overflow, since
    /// each header takes a byte.
    fn skip_values(&mut self, mut due: u64) -> Result<(), ParseError> {
        while due > 0 {
            due -= 1;
            match self.token()? {
                Token::Array(count) => due += count,
                Token::Map(count) => due += 2 * count,
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the bytes that follow their number, which has `width` bytes.
    fn announced(&mut self, width: u64) -> Result<&'a [u8], ParseError> {
        let length = self.unsigned(width)?;
        self.take(length)
    }

    fn ext_type(&mut self) -> Result<i8, ParseError> {
        Ok(self.take(1)?[0] as i8)
    }

    fn unsigned(&mut self, width: u64) -> Result<u64, ParseError> {
        self.take(width).map(big_endian)
    }

    /// Takes bytes, if there are that many.
    fn take(&mut self, length: u64) -> Result<&'a [u8], ParseError> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.bytes.split_at_checked(length));
        let (taken, rest) = taken.ok_or(ParseError::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }
}

/// Spec: MessagePack, "Timestamp extension type".
fn timestamp(bytes: &[u8]) -> Token<'_> {
    let (seconds, nanoseconds) = match bytes.len() {
        4 => (big_endian(bytes) as i64, 0),
        8 => {
            let both = big_endian(bytes);
            ((both & 0x3_ffff_ffff) as i64, both >> 34)
        }
        12 => (big_endian(&bytes[4..]) as i64, big_endian(&bytes[..4])),
        _ => return Token::Ext(-1, bytes),
    };
    let milliseconds = seconds.checked_mul(1000);
    Token::Date(milliseconds.and_then(|time| time.checked_add((nanoseconds / 1_000_000) as i64)))
}

/// The number in at most eight bytes.
fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}
