//! From packets to MessagePack: the JSON text is translated in one pass, without recursion.
//!
//! Numbers, texts and containers take the least room. A float that is an integer is written as one.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::json;
use super::super::packet::{Packet, PacketKind};
use super::{Dialect, MAX_EXACT, NUM, PLACEHOLDER};

/// Writes a packet; `None` if its payload is not JSON.
///
/// What is absent is left out: the reference refuses a `nil` in its place.
pub(super) fn encode(packet: &Packet<'_>) -> Option<Vec<u8>> {
    let kind = match packet.kind {
        PacketKind::BinaryEvent => PacketKind::Event,
        PacketKind::BinaryAck => PacketKind::Ack,
        kind => kind,
    };
    let attached: usize = packet.attachments.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(packet.data.len() + attached + packet.nsp.len() + 40);
    let members = 2 + usize::from(!packet.data.is_empty()) + usize::from(packet.id.is_some());
    out.push(0x80 | members as u8);
    let id = |out: &mut Vec<u8>| {
        if let Some(id) = packet.id {
            write_text(out, "id");
            write_uint(out, id);
        }
    };
    // The order is that of the reference.
    if kind == PacketKind::Ack {
        id(&mut out);
    }
    write_text(&mut out, "type");
    write_uint(&mut out, kind as u64);
    if !packet.data.is_empty() {
        write_text(&mut out, "data");
        let mut translation = Translation {
            text: &packet.data,
            at: 0,
            out,
            open: Vec::new(),
            attachments: &packet.attachments,
            dialect: Dialect::Notepack,
        };
        translation.run()?;
        out = translation.out;
    }
    if kind != PacketKind::Ack {
        id(&mut out);
    }
    write_text(&mut out, "nsp");
    write_text(&mut out, &packet.nsp);
    Some(out)
}

/// Writes one value; `None` if it is not JSON.
pub(super) fn encode_value(text: &str, attachments: &[Bytes], dialect: Dialect) -> Option<Vec<u8>> {
    let attached: usize = attachments.iter().map(Bytes::len).sum();
    let mut translation = Translation {
        text,
        at: 0,
        out: Vec::with_capacity(text.len() + attached),
        open: Vec::new(),
        attachments,
        dialect,
    };
    translation.run()?;
    Some(translation.out)
}

/// JSON on its way to MessagePack.
struct Translation<'a> {
    text: &'a str,
    /// Where in the text.
    at: usize,
    out: Vec<u8>,
    /// The arrays and objects around.
    open: Vec<Open>,
    attachments: &'a [Bytes],
    dialect: Dialect,
}

/// An array or object that has not ended.
struct Open {
    /// Where its header stands in the output: one byte, until the number of its items is known.
    start: usize,
    count: usize,
    container: Container,
}

enum Container {
    Array,
    Object {
        member: Member,
        is_placeholder: bool,
        index: Option<usize>,
    },
}

/// The key that was read last, as far as it matters.
#[derive(Clone, Copy)]
enum Member {
    Num,
    Other,
    Placeholder,
}

/// A value, as far as it matters for a placeholder.
#[derive(Clone, Copy)]
enum Found {
    Index(usize),
    Other,
    True,
}

impl Translation<'_> {
    /// Translates the whole text, as far as it is JSON.
    fn run(&mut self) -> Option<()> {
        self.space();
        loop {
            let mut found = Found::Other;
            match self.peek()? {
                b'"' => {
                    let text = self.string()?;
                    write_text(&mut self.out, &text);
                }
                first @ (b'[' | b'{') => {
                    self.at += 1;
                    self.space();
                    let is_object = first == b'{';
                    self.open(is_object);
                    if self.peek()? == if is_object { b'}' } else { b']' } {
                        self.at += 1;
                        self.close()?;
                    } else {
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => found = self.number()?,
                b't' => {
                    self.literal("true", 0xc3)?;
                    found = Found::True;
                }
                b'f' => self.literal("false", 0xc2)?,
                b'n' => self.literal("null", 0xc0)?,
                _ => return None,
            }
            loop {
                self.space();
                let Some(open) = self.open.last_mut() else {
                    return (self.at == self.text.len()).then_some(());
                };
                open.took(found);
                let is_object = matches!(open.container, Container::Object { .. });
                let next = self.peek()?;
                self.at += 1;
                match next {
                    b',' => {
                        self.space();
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if is_object => self.close()?,
                    b']' if !is_object => self.close()?,
                    _ => return None,
                }
                found = Found::Other;
            }
        }
    }

    fn open(&mut self, is_object: bool) {
        let container = match is_object {
            true => Container::Object {
                member: Member::Other,
                is_placeholder: false,
                index: None,
            },
            false => Container::Array,
        };
        self.open.push(Open {
            start: self.out.len(),
            count: 0,
            container,
        });
        self.out.push(0);
    }

    /// Ends the innermost array or object. If it was a placeholder, its attachment takes the place
    /// of what was written; one without attachment is an object.
    fn close(&mut self) -> Option<()> {
        let open = self.open.pop()?;
        if let Some(bytes) = open.index().and_then(|index| self.attachments.get(index)) {
            self.out.truncate(open.start);
            write_bytes(&mut self.out, bytes);
            return Some(());
        }
        let (small, large) = match open.container {
            Container::Array => (0x90, 0xdc),
            Container::Object { .. } => (0x80, 0xde),
        };
        let after = open.start + 1;
        match open.count {
            count @ 0..16 => self.out[open.start] = small | count as u8,
            count @ 16..0x1_0000 => {
                self.out[open.start] = large;
                self.out.splice(after..after, (count as u16).to_be_bytes());
            }
            count => {
                self.out[open.start] = large + 1;
                self.out.splice(after..after, (count as u32).to_be_bytes());
            }
        }
        Some(())
    }

    fn key(&mut self) -> Option<()> {
        let key = self.string()?;
        write_text(&mut self.out, &key);
        let new = match &*key {
            NUM => Member::Num,
            PLACEHOLDER => Member::Placeholder,
            _ => Member::Other,
        };
        if let Some(Container::Object { member, .. }) =
            self.open.last_mut().map(|open| &mut open.container)
        {
            *member = new;
        }
        self.space();
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        self.space();
        Some(())
    }
}

impl<'a> Translation<'a> {
    /// Takes a string.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let text = self.text;
        let start = self.at;
        let mut at = start + 1;
        let mut has_escapes = false;
        if self.peek()? != b'"' {
            return None;
        }
        loop {
            at += memchr::memchr2(b'"', b'\\', text.as_bytes().get(at..)?)?;
            if text.as_bytes()[at] == b'"' {
                break;
            }
            has_escapes = true;
            at += 2;
        }
        self.at = at + 1;
        if !has_escapes {
            return Some(Cow::Borrowed(&text[start + 1..at]));
        }
        let valid = json::value(&text[start..=at]).ok()?;
        serde_json::from_str(&valid).ok().map(Cow::Owned)
    }

    /// Takes a number. Beyond all floats it is infinite, as in JavaScript.
    fn number(&mut self) -> Option<Found> {
        let rest = &self.text[self.at..];
        let length = rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        let number = &rest[..length];
        self.at += length;
        let is_integer = |magnitude: u64| match self.dialect {
            Dialect::Msgpack => magnitude < MAX_EXACT as u64,
            Dialect::Notepack => true,
        };
        if let Some(value) = number.parse().ok().filter(|value| is_integer(*value)) {
            write_uint(&mut self.out, value);
            return Some(usize::try_from(value).map_or(Found::Other, Found::Index));
        }
        let negative = number.parse::<i64>().ok();
        if let Some(value) = negative.filter(|value| is_integer(value.unsigned_abs())) {
            write_int(&mut self.out, value);
            return Some(Found::Other);
        }
        let value: f64 = number.parse().ok()?;
        match value.fract() == 0.0 && value.abs() <= MAX_EXACT && is_integer(value.abs() as u64) {
            true => write_int(&mut self.out, value as i64),
            false => write_marked(&mut self.out, 0xcb, &value.to_be_bytes()),
        }
        Some(Found::Other)
    }

    fn literal(&mut self, literal: &str, marker: u8) -> Option<()> {
        if !self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            return None;
        }
        self.at += literal.len();
        self.out.push(marker);
        Some(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

impl Open {
    /// Counts a value. Of equal keys the last counts, as in JavaScript.
    fn took(&mut self, found: Found) {
        self.count += 1;
        let Container::Object {
            member,
            is_placeholder,
            index,
        } = &mut self.container
        else {
            return;
        };
        match member {
            Member::Num => {
                *index = match found {
                    Found::Index(value) => Some(value),
                    Found::Other | Found::True => None,
                }
            }
            Member::Other => {}
            Member::Placeholder => *is_placeholder = matches!(found, Found::True),
        }
    }

    /// The number of the attachment that this stands for.
    fn index(&self) -> Option<usize> {
        match self.container {
            Container::Object {
                is_placeholder: true,
                index,
                ..
            } => index,
            Container::Array | Container::Object { .. } => None,
        }
    }
}

fn write_uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x80 => out.push(value as u8),
        _ => write_sized(out, 0xcc, value),
    }
}

fn write_int(out: &mut Vec<u8>, value: i64) {
    match value {
        0.. => write_uint(out, value as u64),
        -0x20.. => out.push(value as u8),
        -0x80.. => out.extend_from_slice(&[0xd0, value as u8]),
        -0x8000.. => write_marked(out, 0xd1, &(value as i16).to_be_bytes()),
        -0x8000_0000.. => write_marked(out, 0xd2, &(value as i32).to_be_bytes()),
        _ => write_marked(out, 0xd3, &value.to_be_bytes()),
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..32 => out.push(0xa0 | length as u8),
        length => write_sized(out, 0xd9, length as u64),
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_sized(out, 0xc4, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a number in as many bytes as it takes. The markers of 1, 2, 4 and 8 bytes follow one
/// another; a length never takes 8, since no message is that large.
fn write_sized(out: &mut Vec<u8>, marker: u8, value: u64) {
    match value {
        0..0x100 => out.extend_from_slice(&[marker, value as u8]),
        0x100..0x1_0000 => write_marked(out, marker + 1, &(value as u16).to_be_bytes()),
        0x1_0000..0x1_0000_0000 => write_marked(out, marker + 2, &(value as u32).to_be_bytes()),
        _ => write_marked(out, marker + 3, &value.to_be_bytes()),
    }
}

fn write_marked(out: &mut Vec<u8>, marker: u8, bytes: &[u8]) {
    out.push(marker);
    out.extend_from_slice(bytes);
}
