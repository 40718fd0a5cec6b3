//! What a message carries: whose it is, its number, and when it was due.
//!
//! The stamp stands at the payload's beginning as 28 hexadecimal digits, in texts and in bytes alike.
//! The time is in the message itself, so that no table of what is under way has to be kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A payload that is made once and stamped anew for each message.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Binary,
    Text,
}

impl Payload {
    /// A payload of so many bytes, at least [`SMALLEST`].
    pub(crate) fn new(size: usize, kind: Kind) -> Payload {
        Payload {
            bytes: vec![b'x'; size.max(SMALLEST)],
            kind,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Writes whose message it is, its number and when it was due.
    pub(crate) fn stamp(&mut self, run: u16, lane: u32, sequence: u32, due_us: u64) {
        let mut at = 0;
        for (value, digits) in [
            (u64::from(run), RUN),
            (u64::from(lane), LANE),
            (u64::from(sequence), SEQUENCE),
            (due_us, DUE),
        ] {
            for (i, place) in self.bytes[at..at + digits].iter_mut().rev().enumerate() {
                *place = DIGITS[(value >> (4 * i) & 15) as usize];
            }
            at += digits;
        }
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.kind {
            Kind::Binary => serializer.serialize_bytes(&self.bytes),
            Kind::Text => {
                let text = std::str::from_utf8(&self.bytes).expect("the payload is ASCII");
                serializer.serialize_str(text)
            }
        }
    }
}

/// What came: a stamped message, or anything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Received {
    /// A message without a stamp: the server's own.
    Foreign,
    Stamped(Stamp),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) run: u16,
    pub(crate) lane: u32,
    pub(crate) sequence: u32,
    pub(crate) due_us: u64,
    /// The bytes of the payload, stamp and all.
    pub(crate) size: usize,
}

impl Received {
    fn read(bytes: &[u8]) -> Received {
        let mut at = 0;
        let mut number = |digits: usize| {
            let text = std::str::from_utf8(bytes.get(at..at + digits)?).ok()?;
            at += digits;
            // A sign would be accepted otherwise.
            let is_number = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_number
                .then(|| u64::from_str_radix(text, 16).ok())
                .flatten()
        };
        let mut read = || {
            Some(Stamp {
                run: number(RUN)?.try_into().ok()?,
                lane: number(LANE)?.try_into().ok()?,
                sequence: number(SEQUENCE)?.try_into().ok()?,
                due_us: number(DUE)?,
                size: bytes.len(),
            })
        };
        read().map_or(Received::Foreign, Received::Stamped)
    }
}

/// Reads anything, and the stamp without a copy of the payload.
impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Received, D::Error> {
        deserializer.deserialize_any(ReceivedVisitor)
    }
}

struct ReceivedVisitor;

impl<'de> Visitor<'de> for ReceivedVisitor {
    type Value = Received;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Received, E> {
        Ok(Received::read(text.as_bytes()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Received, E> {
        Ok(Received::read(bytes))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Received, E> {
        Ok(Received::Foreign)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Received, E> {
        Ok(Received::Foreign)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Received, E> {
        Ok(Received::Foreign)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Received, E> {
        Ok(Received::Foreign)
    }

    fn visit_unit<E>(self) -> Result<Received, E> {
        Ok(Received::Foreign)
    }

    fn visit_none<E>(self) -> Result<Received, E> {
        Ok(Received::Foreign)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Received, D::Error> {
        Received::deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Received, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Received::Foreign)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Received, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Received::Foreign)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

const RUN: usize = 4;
const LANE: usize = 6;
const SEQUENCE: usize = 8;
const DUE: usize = 10;

/// The bytes of a payload with nothing but its stamp.
pub(crate) const SMALLEST: usize = RUN + LANE + SEQUENCE + DUE;

#[cfg(test)]
mod tests {
    use socketio::Value;

    use super::*;

    fn read(json: &str) -> Received {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn a_stamp_comes_back_as_it_was_written() {
        let mut payload = Payload::new(32, Kind::Text);
        payload.stamp(0xab, 0xff_ffff, 7, 1_000_000);
        let text = serde_json::to_string(&payload).expect("a text");
        assert_eq!(text, r#""00abffffff0000000700000f4240xxxx""#);
        let stamp = Stamp {
            run: 0xab,
            lane: 0xff_ffff,
            sequence: 7,
            due_us: 1_000_000,
            size: 32,
        };
        assert_eq!(read(&text), Received::Stamped(stamp));
    }

    #[test]
    fn bytes_are_stamped_as_texts_are() {
        let mut payload = Payload::new(SMALLEST, Kind::Binary);
        payload.stamp(1, 2, 3, 4);
        let bytes = Value::Binary(payload.bytes.clone().into());
        let Ok(Received::Stamped(stamp)) = Received::deserialize(bytes) else {
            panic!("no stamp");
        };
        assert_eq!(
            (stamp.run, stamp.lane, stamp.sequence, stamp.due_us),
            (1, 2, 3, 4)
        );
        assert_eq!(stamp.size, SMALLEST);
    }

    #[test]
    fn what_the_server_says_by_itself_is_foreign() {
        for json in [
            "null",
            "true",
            "-1",
            "1",
            "1.5",
            r#""hello""#,
            r#"["00abffffff0000000700000f4240xxxx"]"#,
            r#"{"a":[1]}"#,
            r#""+0abffffff0000000700000f4240xxxx""#,
            r#""ünïcödë ünïcödë ünïcödë ünïcödë""#,
        ] {
            assert_eq!(read(json), Received::Foreign, "{json}");
        }
    }
}
