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
        let mut out = Writer::new(Undefined::Absent);
        out.raw("[");
        out.string(self.uid.as_str());
        out.raw(",");
        out.packet(&self.event, Some(&self.nsp));
        out.raw(",");
        match self.uid.is_emitter() {
            true => out.emitter_options(&self.opts),
            false => out.options(&self.opts),
        }
        out.raw("]");
        let attachments = self.event.args.attachments();
        to_msgpack(&out.finish(), attachments, Dialect::Notepack)
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
        let uid = Uid::new(reader.text()?.ok_or(MALFORMED)?);
        next(&mut reader)?;
        let packet = reader.raw_within(PACKET_DEPTH)?;
        next(&mut reader)?;
        let opts = read_options(&mut reader, limits)?.ok_or(MALFORMED)?;
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
