//! JSON text: validated in one pass, without recursion, and taken apart without being decoded.
//!
//! The grammar is RFC 8259's, nested at most [`MAX_DEPTH`] deep. An escape of half a surrogate pair
//! is legal JSON text, but stands for no character. Arguments keep it, since they may be sent on as
//! they came; who decodes them makes them [`readable`] first. In all else U+FFFD takes its place.

use std::borrow::Cow;

use thiserror::Error;

use super::packet::{ParseError, is_reserved};

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: usize = 128;

/// A text is not JSON, or is nested too deeply.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("malformed JSON at byte {at}")]
pub struct MalformedJson {
    /// Where it was noticed.
    pub at: usize,
}

/// Checks that a text is one JSON value.
///
/// # Errors
///
/// When it is not, or is nested too deeply.
pub fn validate(text: &str) -> Result<(), MalformedJson> {
    value(text).map(drop)
}

/// Checks that a text is one JSON value, and makes it readable for every decoder.
pub(super) fn value(text: &str) -> Result<Cow<'_, str>, MalformedJson> {
    let mut scanner = Scanner::new(text);
    scanner.space();
    scanner.value(0)?;
    scanner.end()?;
    Ok(match scanner.has_lone_surrogate {
        false => Cow::Borrowed(text),
        true => readable(text),
    })
}

/// An event's payload, taken apart.
#[derive(Debug, PartialEq)]
pub(super) struct EventText<'a> {
    pub(super) name: Cow<'a, str>,
    /// The arguments, separated by commas, without brackets.
    pub(super) args: &'a str,
}

/// Takes an event's payload apart: an array whose first item is its name.
#[inline]
pub(super) fn event(text: &str) -> Result<EventText<'_>, ParseError> {
    match any_event(text)? {
        event if is_reserved(&event.name) => Err(ParseError::Payload),
        event => Ok(event),
    }
}

/// The same for an event whose name may belong to the protocol.
#[inline]
pub(super) fn any_event(text: &str) -> Result<EventText<'_>, ParseError> {
    Scanner::new(text).event()
}

/// Takes an ack's payload apart: what stands between the brackets.
#[inline]
pub(super) fn ack(text: &str) -> Result<&str, ParseError> {
    Ok(Scanner::new(text).array()?)
}

/// Gives the arguments of a valid list of arguments one by one.
pub fn split_args(args: &str) -> SplitArgs<'_> {
    SplitArgs {
        scanner: Scanner::new(args),
    }
}

/// The arguments in a list; see [`split_args`].
#[derive(Clone, Debug)]
pub struct SplitArgs<'a> {
    scanner: Scanner<'a>,
}

impl<'a> SplitArgs<'a> {
    /// The values that are left, without taking any.
    pub fn rest(&self) -> &'a str {
        let rest = self.scanner.text[self.scanner.at..].trim_ascii_start();
        rest.strip_prefix(',').unwrap_or(rest).trim_ascii()
    }
}

impl<'a> Iterator for SplitArgs<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let scanner = &mut self.scanner;
        scanner.space();
        if scanner.at > 0 && scanner.peek() == Some(b',') {
            scanner.at += 1;
            scanner.space();
        }
        let start = scanner.at;
        // A text that is not valid ends the list.
        scanner.value(0).ok()?;
        Some(&scanner.text[start..scanner.at])
    }
}

#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) has_lone_surrogate: bool,
}

impl<'a> Scanner<'a> {
    #[inline]
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner {
            text,
            at: 0,
            has_lone_surrogate: false,
        }
    }

    #[inline]
    fn event(&mut self) -> Result<EventText<'a>, ParseError> {
        self.space();
        self.expect(b'[')?;
        self.space();
        let start = self.at;
        let name = match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string()?;
                let inner = &self.text[start + 1..self.at - 1];
                match inner.contains('\\') {
                    false => Cow::Borrowed(inner),
                    true => {
                        let text = readable(&self.text[start..self.at]);
                        Cow::Owned(serde_json::from_str(&text).unwrap_or_default())
                    }
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                self.value(1)?;
                Cow::Borrowed(&self.text[start..self.at])
            }
            _ => return Err(ParseError::Payload),
        };
        self.space();
        match self.peek() {
            Some(b']') => {}
            Some(b',') => {
                self.at += 1;
                self.space();
                if self.peek() == Some(b']') {
                    return Err(ParseError::Payload);
                }
            }
            _ => return Err(ParseError::Payload),
        }
        let args = self.rest_of_array()?;
        Ok(EventText { name, args })
    }

    fn array(&mut self) -> Result<&'a str, MalformedJson> {
        self.space();
        self.expect(b'[')?;
        self.space();
        self.rest_of_array()
    }

    /// The values up to the closing bracket, and the end of the text after it.
    #[inline]
    fn rest_of_array(&mut self) -> Result<&'a str, MalformedJson> {
        let start = self.at;
        let mut end = start;
        if self.peek() != Some(b']') {
            loop {
                self.value(1)?;
                end = self.at;
                self.space();
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
                self.space();
            }
        }
        self.expect(b']')?;
        self.end()?;
        Ok(&self.text[start..end])
    }

    /// One value. `outer` is the depth it stands at. Spec: RFC 8259, section 3.
    #[inline]
    pub(super) fn value(&mut self, outer: usize) -> Result<(), MalformedJson> {
        // One bit for each open container: set for an object.
        let mut open: u128 = 0;
        let mut depth = outer;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.string()?;
                }
                Some(first @ (b'[' | b'{')) => {
                    if depth == MAX_DEPTH {
                        return Err(self.malformed());
                    }
                    self.at += 1;
                    self.space();
                    let is_object = first == b'{';
                    if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                        self.at += 1;
                    } else {
                        depth += 1;
                        open = open << 1 | u128::from(is_object);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return Err(self.malformed()),
            }
            loop {
                if depth == outer {
                    return Ok(());
                }
                self.space();
                let is_object = open & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.space();
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if is_object => self.at += 1,
                    Some(b']') if !is_object => self.at += 1,
                    _ => return Err(self.malformed()),
                }
                depth -= 1;
                open >>= 1;
            }
        }
    }

    fn key(&mut self) -> Result<(), MalformedJson> {
        self.expect(b'"')?;
        self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(())
    }

    /// The rest of a string after its opening quote. Spec: RFC 8259, section 7.
    #[inline]
    pub(super) fn string(&mut self) -> Result<(), MalformedJson> {
        let bytes = self.text.as_bytes();
        loop {
            while let Some(word) = bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let found = special(u64::from_le_bytes(*word));
                if found != 0 {
                    self.at += (found.trailing_zeros() / 8) as usize;
                    break;
                }
                self.at += 8;
            }
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                Some(..0x20) | None => return Err(self.malformed()),
            }
        }
    }

    #[cold]
    fn escape(&mut self) -> Result<(), MalformedJson> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = hex(bytes, self.at + 2).ok_or(self.malformed())?;
                self.at += 6;
                match unit {
                    0xd800..0xdc00 => match low_surrogate(bytes, self.at) {
                        true => self.at += 6,
                        false => self.has_lone_surrogate = true,
                    },
                    0xdc00..0xe000 => self.has_lone_surrogate = true,
                    _ => {}
                }
                Ok(())
            }
            _ => Err(self.malformed()),
        }
    }

    /// Spec: RFC 8259, section 6.
    fn number(&mut self) -> Result<(), MalformedJson> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.malformed()),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), MalformedJson> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.malformed()),
        }
    }

    fn literal(&mut self, literal: &str) -> Result<(), MalformedJson> {
        if !self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            return Err(self.malformed());
        }
        self.at += literal.len();
        Ok(())
    }

    #[inline]
    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), MalformedJson> {
        if self.peek() != Some(byte) {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), MalformedJson> {
        self.space();
        match self.at == self.text.len() {
            true => Ok(()),
            false => Err(self.malformed()),
        }
    }

    pub(super) fn malformed(&self) -> MalformedJson {
        MalformedJson { at: self.at }
    }
}

/// Marks the bytes of a word that end a run of plain characters: the quote, the backslash and control
/// characters. Only the lowest mark is exact.
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let equals = |byte: u8| {
        let x = word ^ (ONES * u64::from(byte));
        x.wrapping_sub(ONES) & !x & HIGH
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    equals(b'"') | equals(b'\\') | control
}

fn hex(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | digit as u16)
    })
}

fn low_surrogate(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 2) == Some(b"\\u")
        && hex(bytes, at + 2).is_some_and(|unit| (0xdc00..0xe000).contains(&unit))
}

/// Makes valid JSON readable for decoders that have no half surrogate pairs: U+FFFD takes the place of
/// their escapes.
///
/// ```
/// use socketio_proto::socket::readable;
///
/// assert_eq!(readable(r#""\ud800!",1"#), r#""\ufffd!",1"#);
/// ```
#[cold]
pub fn readable(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        at += found;
        match hex(bytes, at + 2).filter(|_| bytes[at + 1] == b'u') {
            Some(0xd800..0xdc00) if low_surrogate(bytes, at + 6) => at += 12,
            Some(0xd800..0xe000) => {
                out.push_str(&text[copied..at]);
                out.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_texts_are_valid() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.5e-3",
            "12345678901234567890",
            "1E+400",
            "\"\"",
            r#""a\u00e9\n\"\\\/""#,
            "[]",
            "[ ]",
            "{}",
            r#"{"a":[1,{"b":null}],"":""}"#,
            " [ 1 , 2 ] ",
            "\"ünïcödé 🦀\"",
            "\"exactly\"",
            "\"more than eight bytes of text\"",
            r#""\ud83e\udd80""#,
        ] {
            assert_eq!(validate(text), Ok(()), "{text}");
            serde_json::from_str::<serde::de::IgnoredAny>(text).expect("serde_json agrees");
        }
    }

    // P008.
    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "",
            " ",
            "nul",
            "tru",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "-",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "\"eight by\u{1}\"",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "[1]]",
            "[1] 2",
            "[}",
            "{]",
            "'a'",
            "NaN",
        ] {
            assert!(validate(text).is_err(), "{text}");
        }
    }

    // P010.
    #[test]
    fn depth_is_bounded_and_needs_no_stack() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(validate(&nested(MAX_DEPTH)), Ok(()));
        assert!(validate(&nested(MAX_DEPTH + 1)).is_err());
        assert!(validate(&nested(1_000_000)).is_err());
        let objects = format!("{}1{}", "{\"a\":".repeat(128), "}".repeat(128));
        assert_eq!(validate(&objects), Ok(()));
        let event = |depth: usize| format!("[\"x\",{}]", nested(depth));
        assert!(super::event(&event(MAX_DEPTH - 1)).is_ok());
        assert!(super::event(&event(MAX_DEPTH)).is_err());
    }

    #[test]
    fn an_event_is_taken_apart() {
        for (text, name, args) in [
            (r#"["a"]"#, "a", ""),
            (r#"["a",1]"#, "a", "1"),
            (
                r#" [ "a" , {"b":[1, 2]} , "c" ] "#,
                "a",
                r#"{"b":[1, 2]} , "c""#,
            ),
            (r#"["\u0061\n"]"#, "a\n", ""),
            ("[1,2]", "1", "2"),
            ("[-1.5e3]", "-1.5e3", ""),
        ] {
            assert_eq!(
                event(text),
                Ok(EventText {
                    name: name.into(),
                    args,
                })
            );
        }
    }

    // P007, P009, S019.
    #[test]
    fn an_event_needs_a_name_that_is_not_reserved() {
        for text in [
            "[]",
            "{}",
            "\"a\"",
            "[null]",
            "[true]",
            "[{}]",
            "[[\"a\"]]",
            "[\"a\",]",
            "[\"a\" 1]",
            "[\"connect\"]",
            "[\"connect_error\"]",
            "[\"disconnect\"]",
            "[\"disconnecting\"]",
            "[\"newListener\"]",
            "[\"removeListener\"]",
            "[\"c\\u006fnnect\"]",
        ] {
            assert_eq!(event(text), Err(ParseError::Payload), "{text}");
        }
        assert!(event("[\"error\"]").is_ok());
    }

    // P011.
    #[test]
    fn half_a_surrogate_pair_becomes_a_replacement_character_where_it_is_decoded() {
        let found = event(r#"["\ud800x","\udc00\ud83e\udd80","\\ud800"]"#).unwrap();
        assert_eq!(found.name, "\u{fffd}x");
        assert_eq!(found.args, r#""\udc00\ud83e\udd80","\\ud800""#);
        assert_eq!(readable(found.args), r#""\ufffd\ud83e\udd80","\\ud800""#);
        assert_eq!(ack(r#"["\ud800"]"#).unwrap(), r#""\ud800""#);
        assert_eq!(value(r#"{"\udfff":1}"#).unwrap(), r#"{"\ufffd":1}"#);
        for whole in ["", "1", r#""\ud83e\udd80\n\u00e9""#, r#""\\ud800""#] {
            assert!(matches!(readable(whole), Cow::Borrowed(_)), "{whole}");
        }
    }

    #[test]
    fn arguments_are_given_one_by_one() {
        let args = r#"1 , "a,]" ,{"b":[1,2]},[3]"#;
        let split: Vec<_> = split_args(args).collect();
        assert_eq!(split, ["1", r#""a,]""#, r#"{"b":[1,2]}"#, "[3]"]);
        assert_eq!(split_args("").count(), 0);
    }

    #[test]
    fn every_byte_is_judged_alike_wherever_it_stands_in_a_word() {
        for byte in 0..=127u8 {
            for before in 0..16 {
                let text = format!("\"{}{}\"", "x".repeat(before), char::from(byte));
                let expected = serde_json::from_str::<String>(&text).is_ok();
                assert_eq!(validate(&text).is_ok(), expected, "{byte} after {before}");
            }
        }
    }

    #[test]
    fn random_texts_are_judged_as_serde_json_judges_them() {
        let alphabet = b"[]{}\",:\\u0123456789eE+-. truefalsn\n";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            let mut text = Vec::new();
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mut random = state;
            for _ in 0..random % 12 {
                random = random.rotate_left(7).wrapping_mul(0x2545_f491_4f6c_dd1d);
                text.push(alphabet[(random >> 32) as usize % alphabet.len()]);
            }
            let text = String::from_utf8(text).unwrap();
            let ours = validate(&text).is_ok();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            assert_eq!(ours, theirs, "{text}");
        }
    }
}
