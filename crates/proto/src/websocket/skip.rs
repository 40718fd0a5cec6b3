//! What is thrown away of a connection that is being closed.

/// Passes over frames until the peer's close frame. RFC 6455, section 5.2.
///
/// Frames are skipped by their headers: nothing is unmasked, inflated, checked or kept, so that what a
/// peer sends to a connection that is being closed costs no more than to read it.
///
/// # Examples
///
/// ```
/// use socketio_proto::websocket::CloseSearch;
///
/// let mut search = CloseSearch::default();
/// assert!(!search.finds(b"\x81\x81\0\0"));
/// assert!(search.finds(b"\0\0a\x88\x80\0\0\0\0"));
/// ```
#[derive(Debug, Default)]
pub struct CloseSearch {
    header: [u8; 10],
    /// So many bytes of it have come.
    known: usize,
    /// So many bytes of the frame are to be skipped.
    skip: u64,
}

const CLOSE: u8 = 8;

impl CloseSearch {
    /// Takes the bytes that come next, the first of which begin a frame; true when the close frame has
    /// begun among them.
    pub fn finds(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = usize::try_from(self.skip).map_or(bytes.len(), |n| n.min(bytes.len()));
            self.skip -= skipped as u64;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first() else {
                return false;
            };
            bytes = rest;
            if self.known == 0 && byte & 0x0f == CLOSE {
                return true;
            }
            self.header[self.known] = byte;
            self.known += 1;
            if let Some(length) = self.length() {
                let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
                self.skip = length.saturating_add(mask);
                self.known = 0;
            }
        }
    }

    /// The length of the frame's payload, once its bytes are there.
    fn length(&self) -> Option<u64> {
        let [_, short, long @ ..] = &self.header;
        let known = &long[..self.known.checked_sub(2)?];
        match (short & 0x7f, known) {
            (126, &[a, b]) => Some(u16::from_be_bytes([a, b]).into()),
            (127, known) => known.try_into().ok().map(u64::from_be_bytes),
            (126, _) => None,
            (length, _) => Some(length.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        // What looks like a close frame in a mask or payload is none.
        bytes.resize(bytes.len() + length + if masked { 4 } else { 0 }, 0x88);
        bytes
    }

    #[test]
    fn the_close_frame_is_found_behind_frames_of_each_length_however_they_are_cut() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
                let mut bytes = [frame(1, length, masked), frame(2, 3, masked)].concat();
                let end = bytes.len();
                bytes.extend(frame(8, 2, masked));
                for at in (0..30).chain([length, length + 5, end - 1, end]) {
                    let (first, second) = bytes.split_at(at.min(end));
                    let mut search = CloseSearch::default();
                    assert!(!search.finds(first), "{masked} {length} {at}");
                    assert!(search.finds(second), "{masked} {length} {at}");
                }
                let mut search = CloseSearch::default();
                let found = bytes.iter().position(|byte| search.finds(&[*byte]));
                assert_eq!(found, Some(end), "{masked} {length}");
            }
        }
    }

    #[test]
    fn lengths_that_nobody_sends_are_skipped_for_ever() {
        let mut search = CloseSearch::default();
        assert!(!search.finds(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
        assert!(!search.finds(&[0x88; 1000]));
    }
}
