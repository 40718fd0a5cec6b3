//! `{"_placeholder":true,"num":N}`: where an attachment belongs.
//!
//! Placeholders are only checked here, not replaced: that is done where arguments become values.
//! Specification: Socket.IO protocol, revision 5, "Packet encoding".

use memchr::memmem;

use super::json::{MalformedJson, split_args};
use super::packet::ParseError;
use super::reader::Reader;

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

/// The same for texts which are written in another way. Nothing is built from them.
#[cold]
fn check_all(args: &str, count: usize) -> Result<(), ParseError> {
    for arg in split_args(args) {
        if value(&mut Reader::new(arg), count)? == Found::Bad {
            return Err(ParseError::AttachmentIndex);
        }
    }
    Ok(())
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

/// Reads a value, which is nested as deep as [`MAX_DEPTH`](super::MAX_DEPTH) at most: so is this.
fn value(reader: &mut Reader<'_>, count: usize) -> Result<Found, MalformedJson> {
    match reader.first() {
        Some(b'[') => {
            reader.enter_array()?;
            let mut found = Found::Other;
            while reader.next_item()? {
                if value(reader, count)? == Found::Bad {
                    found = Found::Bad;
                }
            }
            Ok(found)
        }
        Some(b'{') => object(reader, count),
        _ => Ok(match &*reader.raw()? {
            "true" => Found::True,
            other => other.parse().map_or(Found::Other, Found::Index),
        }),
    }
}

fn object(reader: &mut Reader<'_>, count: usize) -> Result<Found, MalformedJson> {
    let (mut is_placeholder, mut index, mut found) = (false, None, Found::Other);
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        let value = value(reader, count)?;
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
        (true, Some(index)) if index < count as u64 => Found::Other,
        (true, _) => Found::Bad,
        (false, _) => found,
    })
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
            assert_eq!(check(args, count), expected, "{text}");
        }
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
