//! `{"_placeholder":true,"num":N}`: where an attachment belongs.

use memchr::memmem;
use serde_json::Value;

use super::packet::ParseError;

/// Checks that every placeholder of a valid text refers to one of `count` attachments.
pub(super) fn check(text: &str, count: usize) -> Result<(), ParseError> {
    const KEY: &[u8] = b"\"_placeholder\"";
    const USUAL: &[u8] = b"{\"_placeholder\":true,\"num\":";
    let bytes = text.as_bytes();
    // The quotes cannot be those of a string's content, which would be escaped: it is a key.
    for at in memmem::find_iter(bytes, KEY) {
        let start = at.wrapping_sub(1);
        let number = bytes.get(start..).and_then(|rest| rest.strip_prefix(USUAL));
        let Some(number) = number else {
            return check_all(text, count);
        };
        let digits = number.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || number.get(digits) != Some(&b'}') {
            return check_all(text, count);
        }
        match text[start + USUAL.len()..][..digits].parse::<usize>() {
            Ok(index) if index < count => {}
            Ok(_) | Err(_) => return Err(ParseError::AttachmentIndex),
        }
    }
    Ok(())
}

/// The same for texts which are written in another way. The depth of a valid text is bounded.
#[cold]
fn check_all(text: &str, count: usize) -> Result<(), ParseError> {
    let value: Value = serde_json::from_str(text).map_err(|_| ParseError::Payload)?;
    let mut values = vec![&value];
    while let Some(value) = values.pop() {
        match value {
            Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
                match object.get("num").and_then(Value::as_u64) {
                    Some(index) if (index as usize) < count => {}
                    _ => return Err(ParseError::AttachmentIndex),
                }
            }
            Value::Object(object) => values.extend(object.values()),
            Value::Array(array) => values.extend(array),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
        ] {
            assert_eq!(check(text, count).is_ok(), good, "{text}");
        }
    }
}
