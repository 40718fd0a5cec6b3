//! Broadcasts of the classic Redis adapter.

use super::super::decode::{DecodeError, Limits, PACKET_DEPTH, Text, read_options, read_packet};
use super::super::encode::{Undefined, Writer, to_msgpack};
use super::super::message::{BroadcastOptions, Event, Uid};
use crate::socket::{Dialect, Reader};

/// A broadcast without answers: three values in an array, always MessagePack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broadcast {
    /// Who sends it.
    pub uid: Uid,
    /// The namespace.
    pub nsp: String,
    /// The event.
    pub event: Event,
    /// Whom it is for.
    pub opts: BroadcastOptions,
}

impl Broadcast {
    /// Writes the broadcast.
    pub fn encode(&self) -> Vec<u8> {
        Broadcast::encode_parts(&self.uid, &self.nsp, &self.event, &self.opts)
    }

    /// Writes a broadcast whose parts are somebody else's.
    pub fn encode_parts(uid: &Uid, nsp: &str, event: &Event, opts: &BroadcastOptions) -> Vec<u8> {
        let mut out = Writer::new(Undefined::Absent);
        out.raw("[");
        out.string(uid.as_str());
        out.raw(",");
        out.packet(event, Some(nsp));
        out.raw(",");
        match uid.is_emitter() {
            true => out.emitter_options(opts),
            false => out.options(opts),
        }
        out.raw("]");
        to_msgpack(&out.finish(), event.args.attachments(), Dialect::Notepack)
    }

    /// Says whether a server of this id has written a broadcast, without reading it: servers hear their
    /// own ones. False for ids of 32 bytes or more.
    pub fn is_by(bytes: &[u8], uid: &Uid) -> bool {
        const ARRAY_OF_3: u8 = 0x93;
        const SHORT_TEXT: u8 = 0xa0;
        let uid = uid.as_str().as_bytes();
        match bytes {
            [ARRAY_OF_3, head, rest @ ..] => {
                uid.len() < 32
                    && usize::from(*head) == usize::from(SHORT_TEXT) + uid.len()
                    && rest.starts_with(uid)
            }
            _ => false,
        }
    }

    /// Reads a broadcast. A packet without namespace is for `/`.
    ///
    /// # Errors
    ///
    /// When it is none, or is too large.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Broadcast, DecodeError> {
        const MALFORMED: DecodeError = DecodeError::Malformed;
        let text = Text::from_msgpack(bytes, limits)?;
        let mut reader = Reader::new(&text.json);
        let next = |reader: &mut Reader<'_>| match reader.next_item()? {
            true => Ok(()),
            false => Err(MALFORMED),
        };
        if !reader.enter_array()? {
            return Err(MALFORMED);
        }
        next(&mut reader)?;
        let uid = Uid::new(reader.text()?.ok_or(DecodeError::Member("uid"))?);
        next(&mut reader)?;
        let packet = reader.raw_within(PACKET_DEPTH)?;
        next(&mut reader)?;
        let opts = read_options(&mut reader, limits)?.ok_or(DecodeError::Member("opts"))?;
        reader.rest_of_array()?;
        reader.end()?;
        let (nsp, event) = read_packet(&packet, text.attachments)?;
        Ok(Broadcast {
            uid,
            nsp: nsp.unwrap_or_else(|| "/".to_owned()),
            event,
            opts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::message::Values;
    use super::*;

    #[test]
    fn a_servers_own_broadcasts_are_known_without_being_read() {
        let event = Event {
            name: "news".to_owned(),
            args: Values::new("1", Vec::new()).unwrap(),
        };
        let by = |uid: &str| {
            let uid = Uid::new(uid);
            Broadcast::encode_parts(&uid, "/", &event, &BroadcastOptions::default())
        };
        let is_by = |bytes: &[u8], uid: &str| Broadcast::is_by(bytes, &Uid::new(uid));
        let longest = "x".repeat(31);
        assert!(is_by(&by("0123456789abcdef"), "0123456789abcdef"));
        assert!(is_by(&by(&longest), &longest));
        assert!(!is_by(&by("0123456789abcdef"), "0123456789abcdee"));
        assert!(!is_by(&by("0123456789abcdef"), "0123456789abcde"));
        assert!(!is_by(&by("0123456789abcde"), "0123456789abcdef"));
        for end in 0..18 {
            assert!(!is_by(&by("0123456789abcdef")[..end], "0123456789abcdef"));
        }
        // Longer ids have another head.
        let too_long = "x".repeat(32);
        assert!(!is_by(&by(&too_long), &too_long));
    }
}
