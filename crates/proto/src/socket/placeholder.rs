//! `{"_placeholder":true,"num":N}`: where an attachment belongs.
//!
//! Placeholders are only checked here, not replaced: that is done where arguments become values.
//! Specification: Socket.IO protocol, revision 5, "Packet encoding".

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::json::split_args;
use super::packet::ParseError;

/// Checks that every placeholder in valid arguments refers to one of `count` attachments.
pub(super) fn check(args: &str, count: usize) -> Result<(), ParseError> {
    const KEY: &[u8] = b"\"_placeholder\"";
    const USUAL: &[u8] = b"{\"_placeholder\":true,\"num\":";
    let bytes = args.as_bytes();
    // A key may be written in escapes, too.
    if memmem::find(bytes, b"\\u").is_some() {
        return check_all(args, count);
    }
    // Quotes inside a string would be escaped: this is a whole string.
    for at in memmem::find_iter(bytes, KEY) {
        let start = at.wrapping_sub(1);
        let number = bytes.get(start..).and_then(|rest| rest.strip_prefix(USUAL));
        let Some(number) = number else {
            return check_all(args, count);
        };
        let digits = number.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || number.get(digits) != Some(&b'}') {
            return check_all(args, count);
        }
        match args[start + USUAL.len()..][..digits].parse::<usize>() {
            Ok(index) if index < count => {}
            Ok(_) | Err(_) => return Err(ParseError::AttachmentIndex),
        }
    }
    Ok(())
}

/// The same for texts which are written in another way. Nothing is built from them; an argument is
/// nested less deeply than `serde_json` takes. Numbers that are too large for it are refused, as they
/// would be when the argument is decoded.
#[cold]
fn check_all(args: &str, count: usize) -> Result<(), ParseError> {
    for arg in split_args(args) {
        let found = Check { count }.deserialize(&mut serde_json::Deserializer::from_str(arg));
        match found.map_err(|_| ParseError::Payload)? {
            Found::Bad => return Err(ParseError::AttachmentIndex),
            Found::Index(_) | Found::Other | Found::True => {}
        }
    }
    Ok(())
}

/// Reads a value and keeps what a placeholder is recognised by.
#[derive(Clone, Copy)]
struct Check {
    count: usize,
}

/// What a value is.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    /// It is or contains a placeholder without attachment.
    Bad,
    Index(u64),
    Other,
    True,
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Found, E> {
        Ok(if value { Found::True } else { Found::Other })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Found, E> {
        Ok(Found::Index(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Found, A::Error> {
        let mut found = Found::Other;
        while let Some(value) = values.next_element_seed(self)? {
            if value == Found::Bad {
                found = Found::Bad;
            }
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Found, A::Error> {
        let (mut is_placeholder, mut index, mut found) = (false, None, Found::Other);
        while let Some(Key(key)) = entries.next_key()? {
            let value = entries.next_value_seed(self)?;
            // Of equal keys the last counts, as in JavaScript.
            match (&*key, value) {
                ("_placeholder", value) => is_placeholder = value == Found::True,
                ("num", Found::Index(num)) => index = Some(num),
                ("num", _) => index = None,
                _ => {}
            }
            if value == Found::Bad {
                found = Found::Bad;
            }
        }
        // What else a placeholder contains is replaced together with it.
        Ok(match (is_placeholder, index) {
            (true, Some(index)) if index < self.count as u64 => Found::Other,
            (true, _) => Found::Bad,
            (false, _) => found,
        })
    }
}

/// A key, copied only if it contains escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::super::json::{self, MAX_DEPTH};
    use super::*;

    // P004.
    #[test]
    fn every_placeholder_must_have_its_attachment() {
        for (text, count, good) in [
            (r#"["a",{"_placeholder":true,"num":0}]"#, 1, true),
            (r#"["a",{"_placeholder":true,"num":1}]"#, 1, false),
            (
                r#"["a",[{"x":{"_placeholder":true,"num":1}}],{"_placeholder":true,"num":0}]"#,
                2,
                true,
            ),
            (r#"["a",{"num":0,"_placeholder":true}]"#, 1, true),
            (r#"["a",{"num":7,"_placeholder":true}]"#, 1, false),
            (r#"["a",{ "_placeholder" : true, "num" : 0 }]"#, 1, true),
            (r#"["a",{"_placeholder":true,"num":-1}]"#, 1, false),
            (r#"["a",{"_placeholder":true,"num":0.5}]"#, 1, false),
            (r#"["a",{"_placeholder":true,"num":"0"}]"#, 1, false),
            (r#"["a",{"_placeholder":true}]"#, 1, false),
            (r#"["a",{"_placeholder":false}]"#, 1, true),
            (r#"["a","{\"_placeholder\":true,\"num\":9}"]"#, 1, true),
            (
                r#"["a",{"_placeholder":true,"num":99999999999999999999}]"#,
                1,
                false,
            ),
            (r#"["a",{"\u005fplaceholder":true,"num":1}]"#, 1, false),
            (r#"["a",{"_pl\u0061ceholder":true,"num":0}]"#, 1, true),
            (r#"["\u0061",{"\u006eum":9,"_placeholder":true}]"#, 1, false),
            (r#"["a",{"_placeholder":true,"num":9,"num":0}]"#, 1, true),
            (
                r#"["a",{"_placeholder":true,"_placeholder":false}]"#,
                1,
                true,
            ),
            (
                r#"["a",{"x":[{"num":1,"_placeholder":true}]},1.5,-1,null,"b"]"#,
                1,
                false,
            ),
        ] {
            let args = json::event(text).unwrap().args;
            let expected = good.then_some(()).ok_or(ParseError::AttachmentIndex);
            assert_eq!(check(&args, count), expected, "{text}");
        }
    }

    // P010, P011.
    #[test]
    fn the_deepest_texts_and_half_surrogate_pairs_are_checked_too() {
        let (open, close) = ("[".repeat(MAX_DEPTH - 2), "]".repeat(MAX_DEPTH - 2));
        for num in 0..2 {
            let text = format!(
                r#"["\ud800",{open}{{"num":{num},"_placeholder":true,"\udfff":0}}{close}]"#
            );
            let args = json::event(&text).unwrap().args;
            assert_eq!(check(&args, 1).is_ok(), num == 0, "{text}");
        }
    }
}
