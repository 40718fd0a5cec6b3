//! Positions in what was sent to a client, and their form on the wire.

use std::fmt;

/// The last thing that was sent, or received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Position {
    /// A broadcast, by its number in the namespace.
    Broadcast(u64),
    /// An event to this client alone, by its number.
    Own(u64),
    /// Nothing yet.
    Start,
}

/// Four random characters in front of every offset of a namespace: the official client takes any
/// text at the end of an event for an offset, and one of the application's must not pass for ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tag([u8; 4]);

/// A position as text: at most 4 + 1 + 13 characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offset {
    text: [u8; 18],
    length: usize,
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

impl Tag {
    pub(crate) fn random() -> Tag {
        let random: [u8; 4] = rand::random();
        Tag(random.map(|byte| b'A' + byte % 26))
    }

    /// Writes a position: `.` and a number for an own event, `-` and a number for a broadcast.
    pub(crate) fn offset(self, position: Position) -> Offset {
        let (kind, mut number) = match position {
            Position::Broadcast(number) => (b'-', number),
            Position::Own(number) => (b'.', number),
            Position::Start => (b'-', 0),
        };
        let mut digits = [0; 13];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = DIGITS[(number % 36) as usize];
            number /= 36;
            if number == 0 {
                break;
            }
        }
        let digits = &digits[first..];
        let mut text = [0; 18];
        text[..4].copy_from_slice(&self.0);
        text[4] = kind;
        text[5..5 + digits.len()].copy_from_slice(digits);
        Offset {
            text,
            length: 5 + digits.len(),
        }
    }

    /// Reads what [`offset`](Tag::offset) wrote.
    pub(crate) fn position(self, offset: &str) -> Option<Position> {
        let rest = offset.as_bytes().strip_prefix(&self.0)?;
        let (&kind, digits) = rest.split_first()?;
        let canonical = !digits.is_empty() && digits.iter().all(|b| DIGITS.contains(b));
        if !canonical {
            return None;
        }
        let number = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 36).ok()?;
        match kind {
            b'-' => Some(Position::Broadcast(number)),
            b'.' => Some(Position::Own(number)),
            _ => None,
        }
    }
}

impl Offset {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|&byte| fmt::Write::write_char(f, byte.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let tag = Tag::random();
        for number in [0, 1, 35, 36, 1 << 40, u64::MAX] {
            for position in [Position::Broadcast(number), Position::Own(number)] {
                let offset = tag.offset(position).to_string();
                assert_eq!(tag.position(&offset), Some(position), "{offset}");
            }
        }
    }

    #[test]
    fn other_texts_are_no_offsets() {
        let tag = Tag(*b"ABCD");
        for text in [
            "", "ABCD", "ABCD-", "ABCD-A", "ABCD+1", "abcd-1", "ABCE-1", "ABCD--1", "hello",
        ] {
            assert_eq!(tag.position(text), None, "{text}");
        }
        assert_eq!(tag.position("ABCD-zzzzzzzzzzzzzz"), None);
    }
}
