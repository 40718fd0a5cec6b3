//! What was sent to one client, entry after entry in one buffer: appended at the end, forgotten at the
//! front. An allocation for each event would cost more than all the rest of recovery.

use super::position::Position;

/// The entries.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where the first entry begins.
    head: usize,
    len: usize,
    /// The number of the own event before the first one in the buffer: they are consecutive.
    own_before: u64,
}

/// One thing that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry<'a> {
    /// A broadcast, whose frames the log has.
    Broadcast(u64),
    /// An event to this client alone.
    Own {
        number: u64,
        /// The number of the last broadcast before.
        after: u64,
        /// WebSocket frames, one after the other.
        frames: &'a [u8],
    },
}

impl Entry<'_> {
    pub(super) fn position(&self) -> Position {
        match *self {
            Entry::Broadcast(number) => Position::Broadcast(number),
            Entry::Own { number, .. } => Position::Own(number),
        }
    }
}

/// Each entry begins with the length of its frames and a number.
const HEADER: usize = 12;
/// The length that a broadcast has.
const BROADCAST: u32 = u32::MAX;

impl Entries {
    /// Makes an empty list; the next own event has the number after this one.
    pub(super) fn after(own: u64) -> Entries {
        Entries {
            own_before: own,
            ..Entries::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that the entries take.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(super) fn push_broadcast(&mut self, number: u64) {
        self.bytes.extend_from_slice(&BROADCAST.to_le_bytes());
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.len += 1;
    }

    /// Appends an own event, whose frames `write` appends to the buffer.
    pub(super) fn push_own(&mut self, after: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&after.to_le_bytes());
        write(&mut self.bytes);
        // A client's queue is far smaller than 4 GiB.
        let length = (self.bytes.len() - start - HEADER) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.len += 1;
    }

    /// Forgets the first entry and gives its position.
    pub(super) fn pop(&mut self) -> Option<Position> {
        let (entry, size) = self.at(self.head, self.own_before)?;
        let position = entry.position();
        if let Position::Own(number) = position {
            self.own_before = number;
        }
        self.head += size;
        self.len -= 1;
        self.compact();
        Some(position)
    }

    /// Gives the room at the front back when it is more than half: each byte moves once for two that
    /// are appended.
    fn compact(&mut self) {
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
        } else if self.head > KEPT && self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
            if self.bytes.capacity() > 4 * self.bytes.len() {
                self.bytes.shrink_to(2 * self.bytes.len());
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let (mut at, mut own) = (self.head, self.own_before);
        std::iter::from_fn(move || {
            let (entry, size) = self.at(at, own)?;
            if let Entry::Own { number, .. } = entry {
                own = number;
            }
            at += size;
            Some(entry)
        })
    }

    /// The entry at a place in the buffer and its size, if there is one.
    fn at(&self, at: usize, own_before: u64) -> Option<(Entry<'_>, usize)> {
        let (length, rest) = self.bytes.get(at..)?.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let number = u64::from_le_bytes(*number);
        match u32::from_le_bytes(*length) {
            BROADCAST => Some((Entry::Broadcast(number), HEADER)),
            length => {
                let frames = rest.get(..length as usize)?;
                let entry = Entry::Own {
                    number: own_before + 1,
                    after: number,
                    frames,
                };
                Some((entry, HEADER + frames.len()))
            }
        }
    }
}

/// Buffers up to this many bytes are not given back.
const KEPT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_given_as_they_were_pushed() {
        let mut entries = Entries::after(6);
        entries.push_broadcast(1);
        entries.push_own(1, |out| out.extend_from_slice(b"seven"));
        entries.push_broadcast(2);
        entries.push_own(2, |_| {});
        let own = |number, after, frames| Entry::Own {
            number,
            after,
            frames,
        };
        let expected = [
            Entry::Broadcast(1),
            own(7, 1, &b"seven"[..]),
            Entry::Broadcast(2),
            own(8, 2, &[]),
        ];
        assert_eq!(entries.iter().collect::<Vec<_>>(), expected);
        assert_eq!(entries.pop(), Some(Position::Broadcast(1)));
        assert_eq!(entries.pop(), Some(Position::Own(7)));
        assert_eq!(entries.iter().collect::<Vec<_>>(), expected[2..]);
        assert_eq!((entries.len(), entries.size()), (2, 2 * HEADER));
        assert_eq!(entries.pop(), Some(Position::Broadcast(2)));
        assert_eq!(entries.pop(), Some(Position::Own(8)));
        assert_eq!((entries.pop(), entries.len(), entries.size()), (None, 0, 0));
    }

    #[test]
    fn a_long_life_takes_no_more_room_than_its_entries() {
        let mut entries = Entries::default();
        for n in 1..100_000_u64 {
            entries.push_own(n, |out| out.extend_from_slice(&[7; 50]));
            while entries.size() > 100_000 {
                entries.pop();
            }
            assert!(entries.bytes.len() <= 2 * 100_000 + KEPT);
        }
        assert_eq!(
            entries.iter().last().map(|entry| entry.position()),
            Some(Position::Own(99_999))
        );
        while entries.len() > 0 {
            entries.pop();
        }
        assert!(entries.bytes.capacity() <= KEPT);
    }
}
