//! `{"_placeholder":true,"num":N}`: where an attachment belongs.
//!
//! Placeholders are only checked here, not replaced: that is done where arguments become values. But
//! their numbers are made such that every reader of JSON finds the same attachment.
//! Specification: Socket.IO protocol, revision 5, "Packet encoding".

use std::ops::Range;

use memchr::memmem;

use super::json::{MalformedJson, split_args};
use super::packet::ParseError;
use super::reader::Reader;

/// Checks that every placeholder in valid arguments refers to one of `count` attachments. Gives the
/// arguments anew if their numbers are not written as everybody does.
///
/// A number is JavaScript's: 1.0 is 1, and there is nothing at 0.5, which is null in JSON.
pub(super) fn check(args: &str, count: usize) -> Result<Option<String>, ParseError> {
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
    Ok(None)
}

/// The same for texts which are written in another way.
#[cold]
fn check_all(args: &str, count: usize) -> Result<Option<String>, ParseError> {
    let mut check = Check {
        reader: Reader::new(args),
        count,
        odd: Vec::new(),
    };
    let mut last = 0;
    let mut written = String::new();
    for arg in split_args(args) {
        check.reader = Reader::new(arg);
        if check.value()? == Found::Bad {
            return Err(ParseError::AttachmentIndex);
        }
        // The argument is a part of the text.
        let start = arg.as_ptr() as usize - args.as_ptr() as usize;
        for odd in check.odd.drain(..) {
            written.push_str(&args[last..start + odd.place.start]);
            match odd.index {
                Some(index) => {
                    written.push_str("{\"_placeholder\":true,\"num\":");
                    written.push_str(&index.to_string());
                    written.push('}');
                }
                None => written.push_str("null"),
            }
            last = start + odd.place.end;
        }
    }
    if last == 0 {
        return Ok(None);
    }
    written.push_str(&args[last..]);
    Ok(Some(written))
}

/// What a value is.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    /// It is or contains a placeholder without attachment.
    Bad,
    Number {
        value: f64,
        is_plain: bool,
    },
    Other,
    True,
}

/// A placeholder that has to be written anew.
struct Odd {
    place: Range<usize>,
    /// `None` if there is no attachment at its number.
    index: Option<usize>,
}

/// Reads an argument, which is nested as deep as [`MAX_DEPTH`](super::MAX_DEPTH) at most: so is this.
struct Check<'a> {
    reader: Reader<'a>,
    count: usize,
    /// In their order, none within another.
    odd: Vec<Odd>,
}

impl Check<'_> {
    fn value(&mut self) -> Result<Found, MalformedJson> {
        match self.reader.first() {
            Some(b'[') => {
                self.reader.enter_array()?;
                let mut found = Found::Other;
                while self.reader.next_item()? {
                    if self.value()? == Found::Bad {
                        found = Found::Bad;
                    }
                }
                Ok(found)
            }
            Some(b'{') => self.object(),
            Some(b'-' | b'0'..=b'9') => {
                let text = self.reader.raw()?;
                let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
                Ok(match text.parse() {
                    Ok(value) => Found::Number { value, is_plain },
                    Err(_) => Found::Other,
                })
            }
            _ => Ok(match &*self.reader.raw()? {
                "true" => Found::True,
                _ => Found::Other,
            }),
        }
    }

    fn object(&mut self) -> Result<Found, MalformedJson> {
        let start = self.reader.at();
        let (mut is_placeholder, mut num, mut found) = (false, Found::Other, Found::Other);
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let value = self.value()?;
            // Of equal keys the last counts, as in JavaScript.
            match &*key {
                "_placeholder" => is_placeholder = value == Found::True,
                "num" => num = value,
                _ => {}
            }
            if value == Found::Bad {
                found = Found::Bad;
            }
        }
        if !is_placeholder {
            return Ok(found);
        }
        // What else a placeholder contains is replaced together with it.
        match num {
            Found::Number { value, is_plain } if value >= 0.0 && value < self.count as f64 => {
                self.odd.retain(|odd| odd.place.start < start);
                if !is_plain {
                    self.odd.push(Odd {
                        place: start..self.reader.at(),
                        index: (value.fract() == 0.0).then_some(value as usize),
                    });
                }
                Ok(Found::Other)
            }
            _ => Ok(Found::Bad),
        }
    }
}

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
            (r#"["a",{"_placeholder":true,"num":-0.5}]"#, 1, false),
            (r#"["a",{"_placeholder":true,"num":1.0}]"#, 1, false),
            (r#"["a",{"_placeholder":true,"num":1e400}]"#, 1, false),
            (r#"["a",{"_placeholder":true,"num":null}]"#, 1, false),
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
            let expected = good.then_some(None).ok_or(ParseError::AttachmentIndex);
            assert_eq!(check(args, count), expected, "{text}");
        }
    }

    // As `attachments[num]` is in JavaScript.
    #[test]
    fn numbers_are_written_as_everybody_does() {
        let placeholder = |num: &str| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        for (num, expected) in [
            ("0.0", placeholder("0")),
            ("-0", placeholder("0")),
            ("0e5", placeholder("0")),
            ("1.0", placeholder("1")),
            ("10e-1", placeholder("1")),
            ("0.99999999999999999999", placeholder("1")),
            ("0.5", "null".to_owned()),
            ("1e-9", "null".to_owned()),
            ("1.5", "null".to_owned()),
        ] {
            let odd = placeholder(num);
            for (before, after) in [
                ("", ""),
                ("1, ", " ,2"),
                (r#"{"_placeholder":true,"num":1},[{"é":"#, r#"}],{"num":0}"#),
                (r#"["\ud800"],"#, ""),
            ] {
                let args = format!("{before}{odd}{after}");
                let expected = format!("{before}{expected}{after}");
                assert_eq!(check(&args, 2), Ok(Some(expected)), "{args}");
                let args = format!("{before}[{odd},[{odd}]]{after}");
                let twice = check(&args, 2).unwrap().unwrap();
                assert_eq!(check(&twice, 2), Ok(None), "{args}");
                assert!(!twice.contains(&odd), "{args}");
            }
        }
        // The outer one is replaced as a whole.
        let inner = placeholder("0.5");
        let outer = format!(r#"{{"x":{inner},"_placeholder":true,"num":1e0}}"#);
        assert_eq!(check(&outer, 2), Ok(Some(placeholder("1"))));
        let outer = format!(r#"{{"x":{inner},"_placeholder":true,"num":1}}"#);
        assert_eq!(check(&outer, 2), Ok(None));
    }

    // P010, P011.
    #[test]
    fn the_deepest_texts_half_surrogate_pairs_and_large_numbers_are_checked_too() {
        let (open, close) = ("[".repeat(MAX_DEPTH - 2), "]".repeat(MAX_DEPTH - 2));
        for num in 0..2 {
            let text = format!(
                r#"["\ud800",1e400,{open}{{"num":{num},"_placeholder":true,"\udfff":0}}{close}]"#
            );
            let args = json::event(&text).unwrap().args;
            assert_eq!(check(args, 1).is_ok(), num == 0, "{text}");
        }
    }
}
