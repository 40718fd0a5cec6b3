//! Polling by script elements, for browsers without CORS: payloads as JavaScript, and as a form.
//!
//! Spec: Engine.IO v3, "JSONP"; the reference's server still has it in revision 4.

use super::query::Query;

/// Makes a script that hands the payload to the callback with this index, of which only the digits
/// count.
pub fn wrap(index: &str, payload: &str) -> String {
    let mut script = String::with_capacity(payload.len() + 32);
    script.push_str("___eio[");
    script.extend(index.chars().filter(char::is_ascii_digit));
    script.push_str("](");
    // Not a character of a string in JavaScript before 2019, though they are in JSON.
    let text = serde_json::Value::from(payload).to_string();
    for piece in text.split_inclusive(['\u{2028}', '\u{2029}']) {
        match piece.strip_suffix('\u{2028}') {
            Some(piece) => script.extend([piece, "\\u2028"]),
            None => match piece.strip_suffix('\u{2029}') {
                Some(piece) => script.extend([piece, "\\u2029"]),
                None => script.push_str(piece),
            },
        }
    }
    script.push_str(");");
    script
}

/// Takes the payload out of a form; `None` if it has no field `d`.
///
/// Browsers turn newlines in a form into pairs of carriage return and newline, so that the client
/// sends them as `\n`, and a backslash before an `n` as two.
pub fn unwrap(form: &str) -> Option<String> {
    let form = Query::parse(form);
    let data = form.get("d")?;
    let mut payload = String::with_capacity(data.len());
    let mut rest = data;
    while let Some(at) = rest.find('\\') {
        payload.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\\\n") {
            payload.push_str("\\n");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\n") {
            payload.push('\n');
            rest = after;
        } else {
            payload.push('\\');
            rest = &rest[1..];
        }
    }
    payload.push_str(rest);
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    // E055.
    #[test]
    fn a_payload_becomes_a_script() {
        assert_eq!(wrap("3", "4\"a\"\n"), r#"___eio[3]("4\"a\"\n");"#);
        assert_eq!(wrap("1);alert(2", "6"), r#"___eio[12]("6");"#);
        assert_eq!(
            wrap("0", "\u{2028}x\u{2029}\u{2028}"),
            r#"___eio[0]("\u2028x\u2029\u2028");"#
        );
        assert_eq!(wrap("", "é"), r#"___eio[]("é");"#);
    }

    // E055.
    #[test]
    fn a_form_becomes_a_payload() {
        assert_eq!(unwrap("d=4a%2Bb+c").as_deref(), Some("4a+b c"));
        assert_eq!(unwrap(r"d=a\nb\\nc\d\").as_deref(), Some("a\nb\\nc\\d\\"));
        assert_eq!(unwrap("x=1"), None);
        assert_eq!(unwrap(""), None);
    }
}
