//! What is emitted, as it is written: an event's name and its arguments.
//!
//! A name is a word or a JSON string, an argument is JSON, or `@file:PATH`, `@hex:..`, `@base64:..`
//! for bytes. Text that is no JSON is refused, with the same text written rightly: guessing would
//! emit a text where a number or an object was meant.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use socketio::Value;

/// An event to be emitted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Emit {
    pub(crate) name: String,
    pub(crate) args: Vec<Value>,
}

impl Emit {
    /// Reads a text such as `move {"x":1} "now"`.
    pub(super) fn parse(text: &str) -> Result<Emit, SyntaxError> {
        let (name, rest) = name(text)?;
        let args = arguments(text, rest)?;
        Ok(Emit { name, args })
    }

    /// Reads the words of a command line: a text if it is one, else the name and its arguments.
    pub(crate) fn from_words(words: &[String]) -> Result<Emit, SyntaxError> {
        let [name, written @ ..] = words else {
            return Err(SyntaxError::new("the name of an event is missing"));
        };
        if written.is_empty() {
            return Emit::parse(name);
        }
        let mut args = Vec::new();
        for (i, word) in written.iter().enumerate() {
            let value = match argument(word) {
                Ok((value, "")) => Ok(value),
                Ok(_) => Err(SyntaxError::not_json(word)),
                Err(error) => Err(error),
            };
            args.push(value.map_err(|mut error| {
                let mut words = words.to_vec();
                words[i + 1] = corrected_word(word);
                error.corrected = error.corrected.map(|_| words);
                error
            })?);
        }
        let name = name.clone();
        Ok(Emit { name, args })
    }
}

/// Why a text is no event.
#[derive(Debug, PartialEq)]
pub(crate) struct SyntaxError {
    message: String,
    /// The same words, written rightly, where that can be guessed.
    corrected: Option<Vec<String>>,
}

impl SyntaxError {
    pub(super) fn new(message: impl Into<String>) -> SyntaxError {
        SyntaxError {
            message: message.into(),
            corrected: None,
        }
    }

    fn not_json(word: &str) -> SyntaxError {
        SyntaxError {
            message: format!("{} is not JSON", shortened(meant(word))),
            corrected: Some(Vec::new()),
        }
    }

    /// What should have been written, as words of a shell.
    pub(crate) fn corrected_for_shell(&self) -> Option<String> {
        let words = self.corrected.as_ref()?;
        let quoted: Vec<String> = words.iter().map(|word| for_shell(word)).collect();
        Some(quoted.join(" "))
    }

    /// What should have been written, as a line.
    pub(super) fn corrected(&self) -> Option<String> {
        Some(self.corrected.as_ref()?.join(" "))
    }

    /// The same error in a longer line.
    pub(super) fn after(mut self, words: &str) -> SyntaxError {
        if let Some(first) = self.corrected.as_mut().and_then(|words| words.first_mut()) {
            *first = format!("{words} {first}");
        }
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SyntaxError {}

/// What those do wrong who write text that is no JSON.
pub(super) const QUOTATION: &str = "text stands in quotation marks";

/// Reads the name at the beginning of a text, and gives what follows.
fn name(text: &str) -> Result<(String, &str), SyntaxError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(SyntaxError::new("the name of an event is missing"));
    }
    if text.starts_with('"') {
        return quoted(text).ok_or_else(|| {
            SyntaxError::new(format!("{} is no name: a \" is missing", shortened(text)))
        });
    }
    let (word, rest) = word(text);
    Ok((word.to_owned(), rest))
}

/// Reads arguments separated by white space; `rest` is the end of `text`.
pub(super) fn arguments(text: &str, rest: &str) -> Result<Vec<Value>, SyntaxError> {
    let mut rest = rest.trim();
    let mut args = Vec::new();
    while !rest.is_empty() {
        let (value, after) = argument(rest).map_err(|mut error| {
            let text = text.trim();
            let before = &text[..text.len() - rest.len()];
            let text = format!("{before}{}", corrected(rest));
            error.corrected = error.corrected.map(|_| vec![text]);
            error
        })?;
        args.push(value);
        rest = after.trim_start();
    }
    Ok(args)
}

/// Reads the argument at the beginning of a text, and gives what follows.
fn argument(text: &str) -> Result<(Value, &str), SyntaxError> {
    if text.starts_with('@') {
        return binary(text);
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next();
    let rest = &text[values.byte_offset()..];
    match value {
        Some(Ok(value)) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
            Ok((value, rest))
        }
        _ => Err(SyntaxError::not_json(text)),
    }
}

fn binary(text: &str) -> Result<(Value, &str), SyntaxError> {
    let unknown = || {
        let (word, _) = word(text);
        SyntaxError::new(format!(
            "{} is no argument: bytes are @file:PATH, @hex:.. or @base64:.., text stands in \"\"",
            shortened(word)
        ))
    };
    let (kind, operand) = text.split_once(':').ok_or_else(unknown)?;
    let (operand, rest) = file_name(operand);
    let wrong = |error: &dyn fmt::Display| SyntaxError::new(format!("{kind}:{operand}: {error}"));
    let bytes = match kind {
        "@file" => std::fs::read(&operand).map_err(|error| wrong(&error))?,
        "@hex" => hex(&operand).ok_or_else(|| wrong(&"these are not pairs of digits 0-9, a-f"))?,
        "@base64" => STANDARD.decode(&operand).map_err(|error| wrong(&error))?,
        _ => return Err(unknown()),
    };
    Ok((Value::Binary(bytes.into()), rest))
}

/// Reads a word, or a JSON string if there are spaces in the name, and gives what follows.
pub(super) fn file_name(text: &str) -> (String, &str) {
    quoted(text).unwrap_or_else(|| {
        let (word, rest) = word(text);
        (word.to_owned(), rest)
    })
}

/// Reads a JSON string.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let value = values.next()?.ok()?;
    let rest = &text[values.byte_offset()..];
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some((value, rest))
}

pub(super) fn word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text.split_at(end)
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// Writes what is no JSON as the JSON that was probably meant.
fn corrected(text: &str) -> String {
    if let Some((inner, rest)) = text.strip_prefix('\'').and_then(|t| t.split_once('\'')) {
        let inner = match serde_json::from_str::<Value>(inner) {
            Ok(_) => inner.to_owned(),
            Err(_) => corrected(inner),
        };
        return inner + rest;
    }
    if text.starts_with(['{', '[']) {
        // A shell took the quotation marks away.
        let quoted = with_quoted_words(text);
        if serde_json::from_str::<Value>(&quoted).is_ok() {
            return quoted;
        }
    }
    let meant = meant(text);
    serde_json::Value::from(meant).to_string() + &text[meant.len()..]
}

/// The same for a word of a command line, which is one argument.
fn corrected_word(text: &str) -> String {
    let corrected = corrected(text);
    match serde_json::from_str::<Value>(&corrected) {
        Ok(_) => corrected,
        Err(_) => serde_json::Value::from(text).to_string(),
    }
}

/// What of a text was probably meant as one argument: all of it, if nothing in it looks like more.
fn meant(text: &str) -> &str {
    let is_one = text.starts_with(['{', '[']) || !text.contains(['"', '{', '[', '@']);
    if is_one { text } else { word(text).0 }
}

/// Puts the bare words of objects and arrays in quotation marks.
fn with_quoted_words(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let (_, after) = rest[1..].split_once('"').unwrap_or(("", ""));
            let (string, after) = rest.split_at(rest.len() - after.len());
            out.push_str(string);
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| "{}[],:\"".contains(c));
        let (words, after) = rest.split_at(end.unwrap_or(rest.len()).max(first.len_utf8()));
        let meant = words.trim();
        if end == Some(0) || meant.is_empty() || serde_json::from_str::<Value>(meant).is_ok() {
            out.push_str(words);
        } else {
            let space = words.len() - words.trim_start().len();
            out.push_str(&words[..space]);
            out.push_str(&serde_json::Value::from(meant).to_string());
        }
        rest = after;
    }
    out
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Quotes a word for a POSIX shell, if it has to be.
pub(super) fn for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String) {
        let emit = Emit::parse(text).expect(text);
        let args = Value::Array(emit.args);
        (emit.name, serde_json::to_string(&args).expect("JSON"))
    }

    /// The message, and what should have been written.
    fn refused(text: &str) -> (String, Option<String>) {
        let error = Emit::parse(text).expect_err(text);
        (error.to_string(), error.corrected())
    }

    fn words(words: &[&str]) -> Result<Emit, SyntaxError> {
        Emit::from_words(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_text_is_a_name_and_arguments() {
        for (text, name, args) in [
            ("ping", "ping", "[]"),
            (r#"move {"x":1} [2,3]"#, "move", r#"[{"x":1},[2,3]]"#),
            (r#"  say   "a b"  1.5 null "#, "say", r#"["a b",1.5,null]"#),
            (r#""chat message" "hi""#, "chat message", r#"["hi"]"#),
            ("größe -1 true", "größe", "[-1,true]"),
        ] {
            assert_eq!(parsed(text), (name.to_owned(), args.to_owned()));
        }
    }

    #[test]
    fn bytes_come_from_digits_and_files() {
        let file = std::env::temp_dir().join(format!("sio emit {}", std::process::id()));
        std::fs::write(&file, b"\x89PNG").unwrap();
        let text = format!(
            "picture @hex:00fF @base64:aGk= @file:{} 1",
            serde_json::to_string(&file).unwrap()
        );
        let emit = Emit::parse(&text).unwrap();
        std::fs::remove_file(&file).unwrap();
        let bytes = |bytes: &'static [u8]| Value::Binary(bytes.into());
        let args = [
            bytes(&[0, 255]),
            bytes(b"hi"),
            bytes(b"\x89PNG"),
            Value::from(1),
        ];
        assert_eq!(emit.args, args);
    }

    #[test]
    fn text_that_is_no_json_is_refused_with_the_right_quoting() {
        for (text, message, corrected) in [
            ("chat hello", "hello is not JSON", r#"chat "hello""#),
            (
                "chat hello you",
                "hello you is not JSON",
                r#"chat "hello you""#,
            ),
            ("chat 1 hi {}", "hi is not JSON", r#"chat 1 "hi" {}"#),
            ("move {x:1}", "{x:1} is not JSON", r#"move {"x":1}"#),
            (
                "move {x: [a b,null], y:{z:true}}",
                "{x: [a b,null], y:{z:true}} is not JSON",
                r#"move {"x": ["a b",null], "y":{"z":true}}"#,
            ),
            ("say 'hi' 1", "'hi' 1 is not JSON", r#"say "hi" 1"#),
            ("say '[1]'", "'[1]' is not JSON", "say [1]"),
            ("say 1,2", "1,2 is not JSON", r#"say "1,2""#),
        ] {
            let expected = (message.to_owned(), Some(corrected.to_owned()));
            assert_eq!(refused(text), expected);
            assert!(Emit::parse(corrected).is_ok(), "{corrected}");
        }
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        for (text, message) in [
            ("", "the name of an event is missing"),
            ("\"a", "\"a is no name: a \" is missing"),
            (
                "a @hex:abc",
                "@hex:abc: these are not pairs of digits 0-9, a-f",
            ),
            (
                "a @me 1",
                "@me is no argument: bytes are @file:PATH, @hex:.. or @base64:.., text stands in \"\"",
            ),
        ] {
            assert_eq!(refused(text), (message.to_owned(), None));
        }
        let (message, _) = refused("a @file:/no/such/file");
        assert!(
            message.starts_with("@file:/no/such/file: No such file"),
            "{message}"
        );
    }

    #[test]
    fn several_words_are_a_name_and_an_argument_each() {
        let emit = words(&["chat message", r#""hi""#, "-1"]).unwrap();
        assert_eq!(emit.name, "chat message");
        assert_eq!(emit.args, [Value::from("hi"), Value::from(-1)]);
        assert_eq!(words(&["move 1"]), Emit::parse("move 1"));
    }

    #[test]
    fn a_command_line_is_corrected_in_words_of_a_shell() {
        let error = words(&["chat message", "it's me", "1"]).unwrap_err();
        assert_eq!(
            error.corrected_for_shell().unwrap(),
            r#"'chat message' '"it'\''s me"' 1"#
        );
        let error = words(&["chat hi"]).unwrap_err();
        assert_eq!(error.corrected_for_shell().unwrap(), r#"'chat "hi"'"#);
    }
}
