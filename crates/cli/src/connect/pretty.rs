//! Records for people: a time, an arrow, the event as it would be written to emit it.
//!
//! What comes from a server is untrusted: no control character of it reaches the terminal.

use std::fmt::{self, Write};

use socketio::Value;
use socketio_proto::is_unprintable;

use super::record::Record;

/// The lines of a record that happened at a time, without the last line feed.
pub(super) fn lines(record: &Record, time: &str, has_colors: bool) -> String {
    let mut out = Painter {
        out: String::new(),
        has_colors,
    };
    out.paint(DIM, time);
    match record {
        Record::Ack { name, args, ms } => {
            out.event(GREEN, "✓", name, args);
            out.paint(DIM, format_args!(" ({} ms)", ms.as_millis()));
        }
        Record::AckError { name, message } => {
            out.event(RED, "✗", name, &[]);
            out.plain(format_args!(": {}", Printable(message)));
        }
        Record::Connect {
            id,
            namespace,
            transport,
            recovered,
        } => {
            out.state(GREEN, "connected");
            out.plain(format_args!(
                " as {} to {}",
                Printable(id),
                Printable(namespace)
            ));
            if let Some(transport) = transport {
                out.plain(format_args!(" over {transport}"));
            }
            if *recovered {
                out.plain(", recovered");
            }
        }
        Record::ConnectError {
            message,
            status,
            detail,
            data,
            hint,
        } => {
            out.state(RED, "cannot connect");
            out.plain(": ");
            match &**message {
                "" => out.plain("the server refused the namespace without a message"),
                message => out.plain(format_args!("{}", Printable(message))),
            }
            if let Some(status) = status {
                out.plain(format_args!(" (HTTP status {status})"));
            }
            if let Some(detail) = detail {
                out.plain(format_args!(" ({})", Printable(detail)));
            }
            if let Some(data) = data {
                out.plain(format_args!(" {}", Printable(&data.to_string())));
            }
            out.hint(hint.as_deref());
        }
        Record::Disconnect {
            reason,
            detail,
            hint,
            will_reconnect,
        } => {
            out.state(RED, "disconnected");
            out.plain(format_args!(": {reason}"));
            if let Some(detail) = detail {
                out.plain(format_args!(" ({})", Printable(detail)));
            }
            if *will_reconnect {
                out.plain(", will connect again");
            }
            out.hint(hint.as_deref());
        }
        Record::Event {
            name,
            args,
            wants_ack,
        } => {
            out.event(CYAN, "←", name, args);
            if *wants_ack {
                out.paint(DIM, " (waits for an answer)");
            }
        }
        Record::Reconnecting { attempt } => {
            out.state(YELLOW, format_args!("connecting again, attempt {attempt}"));
        }
        Record::Sent { name, args } => out.event(YELLOW, "→", name, args),
        Record::Upgrade { transport } => out.state(GREEN, format_args!("upgraded to {transport}")),
    }
    out.out
}

struct Painter {
    out: String,
    has_colors: bool,
}

// Writing to a string cannot fail.
impl Painter {
    fn plain(&mut self, text: impl fmt::Display) {
        let _ = write!(self.out, "{text}");
    }

    fn paint(&mut self, color: &str, text: impl fmt::Display) {
        let _ = match self.has_colors {
            true => write!(self.out, "\x1b[{color}m{text}\x1b[0m"),
            false => write!(self.out, "{text}"),
        };
    }

    fn event(&mut self, color: &str, arrow: &str, name: &str, args: &[Value]) {
        self.plain(" ");
        self.paint(color, arrow);
        self.plain(" ");
        self.paint(BOLD, Name(name));
        for arg in args {
            self.plain(" ");
            self.value(arg);
        }
    }

    fn state(&mut self, color: &str, text: impl fmt::Display) {
        self.plain(" ");
        self.paint(color, "•");
        self.plain(" ");
        self.plain(text);
    }

    fn hint(&mut self, hint: Option<&str>) {
        if let Some(hint) = hint {
            self.plain(format_args!("\n  {}", Printable(hint)));
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(values) => {
                self.plain("[");
                for (i, value) in values.iter().enumerate() {
                    self.plain(if i > 0 { "," } else { "" });
                    self.value(value);
                }
                self.plain("]");
            }
            Value::Binary(bytes) => self.paint(MAGENTA, Binary(bytes)),
            Value::Bool(value) => self.paint(YELLOW, value),
            Value::Null => self.paint(DIM, "null"),
            Value::Number(number) => self.paint(YELLOW, number),
            Value::Object(entries) => {
                self.plain("{");
                for (i, (key, value)) in entries.iter().enumerate() {
                    self.plain(if i > 0 { "," } else { "" });
                    self.paint(BLUE, Json(key));
                    self.plain(":");
                    self.value(value);
                }
                self.plain("}");
            }
            Value::String(text) => self.paint(GREEN, Json(text)),
        }
    }
}

/// A name as it is written to emit the event: quoted, unless it is a plain word.
pub(super) struct Name<'a>(pub(super) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_odd = |c: char| c.is_whitespace() || is_unprintable(c) || c == '"';
        match self.0.is_empty() || self.0.contains(is_odd) {
            true => Json(self.0).fmt(f),
            false => f.write_str(self.0),
        }
    }
}

/// A JSON string.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&serde_json::Value::from(self.0).to_string()).fmt(f)
    }
}

/// A text in which what a terminal would act on is escaped as in JSON.
pub(super) struct Printable<'a>(pub(super) &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match is_unprintable(c) {
            true => write!(f, "\\u{:04x}", u32::from(c)),
            false => f.write_char(c),
        })
    }
}

/// Bytes: how many, and how they begin.
struct Binary<'a>(&'a [u8]);

impl fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.0.len();
        f.write_str("<bytes ")?;
        match len {
            0..1_000 => write!(f, "{len} B")?,
            1_000..1_000_000 => write!(f, "{} kB", len / 1_000)?,
            _ => write!(f, "{:.1} MB", len as f64 / 1e6)?,
        }
        if len > 0 {
            f.write_char(' ')?;
        }
        let shown = if len <= 8 { len } else { 4 };
        self.0[..shown]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if shown < len { "…>" } else { ">" })
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";
const MAGENTA: &str = "35";
const CYAN: &str = "36";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plain(record: Record) -> String {
        lines(&record, "12:00:00.000", false)
    }

    fn event(name: &str, args: Vec<Value>) -> Record {
        let name = name.to_owned();
        Record::Event {
            name,
            args,
            wants_ack: false,
        }
    }

    fn bytes(bytes: &[u8]) -> Value {
        Value::Binary(bytes.to_vec().into())
    }

    #[test]
    fn an_event_is_a_line_that_could_be_emitted() {
        let object = Value::from(vec![
            ("x".to_owned(), Value::from(1)),
            (
                "y".to_owned(),
                Value::from(vec![Value::Null, Value::from(true)]),
            ),
        ]);
        assert_eq!(
            plain(event("move", vec![Value::from("a\"b"), object])),
            r#"12:00:00.000 ← move "a\"b" {"x":1,"y":[null,true]}"#
        );
        assert_eq!(
            plain(event("chat message", vec![])),
            r#"12:00:00.000 ← "chat message""#
        );
        let question = Record::Event {
            name: "q".to_owned(),
            args: vec![],
            wants_ack: true,
        };
        assert_eq!(plain(question), "12:00:00.000 ← q (waits for an answer)");
    }

    #[test]
    fn bytes_are_their_number_and_their_beginning() {
        for (value, expected) in [
            (bytes(b""), "<bytes 0 B>"),
            (bytes(b"\x01\xff"), "<bytes 2 B 01ff>"),
            (bytes(b"\x89PNG\r\n\x1a\n\0"), "<bytes 9 B 89504e47…>"),
            (bytes(&[0; 12_345]), "<bytes 12 kB 00000000…>"),
            (bytes(&[0; 1_250_000]), "<bytes 1.2 MB 00000000…>"),
        ] {
            assert_eq!(
                plain(event("b", vec![value])),
                format!("12:00:00.000 ← b {expected}")
            );
        }
    }

    #[test]
    fn answers_and_what_was_sent_are_lines() {
        let name = || "move".to_owned();
        let args = || vec![Value::from(1)];
        let ms = Duration::from_millis(12);
        let message = "operation has timed out".to_owned();
        for (record, expected) in [
            (
                Record::Sent {
                    name: name(),
                    args: args(),
                },
                "12:00:00.000 → move 1",
            ),
            (
                Record::Ack {
                    name: name(),
                    args: args(),
                    ms,
                },
                "12:00:00.000 ✓ move 1 (12 ms)",
            ),
            (
                Record::AckError {
                    name: name(),
                    message,
                },
                "12:00:00.000 ✗ move: operation has timed out",
            ),
        ] {
            assert_eq!(plain(record), expected);
        }
    }

    #[test]
    fn states_are_lines_with_a_hint_below() {
        let text = |text: &str| text.to_owned();
        for (record, expected) in [
            (
                Record::Connect {
                    id: text("x1"),
                    namespace: text("/admin"),
                    transport: Some("polling"),
                    recovered: true,
                },
                "12:00:00.000 • connected as x1 to /admin over polling, recovered",
            ),
            (
                Record::ConnectError {
                    message: text("xhr poll error"),
                    status: Some(404),
                    detail: None,
                    data: None,
                    hint: Some(text("is the path right?")),
                },
                "12:00:00.000 • cannot connect: xhr poll error (HTTP status 404)\n  is the path right?",
            ),
            (
                Record::ConnectError {
                    message: text("not authorized"),
                    status: None,
                    detail: Some(text("why")),
                    data: Some(serde_json::json!({"code": 42})),
                    hint: None,
                },
                "12:00:00.000 • cannot connect: not authorized (why) {\"code\":42}",
            ),
            (
                Record::ConnectError {
                    message: text(""),
                    status: None,
                    detail: None,
                    data: None,
                    hint: None,
                },
                "12:00:00.000 • cannot connect: the server refused the namespace without a message",
            ),
            (
                Record::Disconnect {
                    reason: "transport close",
                    detail: Some(text("code 1006")),
                    hint: None,
                    will_reconnect: true,
                },
                "12:00:00.000 • disconnected: transport close (code 1006), will connect again",
            ),
            (
                Record::Upgrade {
                    transport: "websocket",
                },
                "12:00:00.000 • upgraded to websocket",
            ),
            (
                Record::Reconnecting { attempt: 2 },
                "12:00:00.000 • connecting again, attempt 2",
            ),
        ] {
            assert_eq!(plain(record), expected);
        }
    }

    #[test]
    fn colors_surround_what_they_mean() {
        let record = event(
            "a",
            vec![Value::from(vec![("k".to_owned(), Value::from("v"))])],
        );
        assert_eq!(
            lines(&record, "now", true),
            "\x1b[2mnow\x1b[0m \x1b[36m←\x1b[0m \x1b[1ma\x1b[0m \
             {\x1b[34m\"k\"\x1b[0m:\x1b[32m\"v\"\x1b[0m}"
        );
    }

    #[test]
    fn a_server_cannot_speak_to_the_terminal() {
        let record = event(
            "\x1b[2J",
            vec![Value::from("\x1b]0;x\x07\u{9b}\u{202e}\u{7f}")],
        );
        assert_eq!(
            plain(record),
            r#"12:00:00.000 ← "\u001b[2J" "\u001b]0;x\u0007\u009b\u202e\u007f""#
        );
        let message = "a\x1b[2Jb\nc".to_owned();
        let record = Record::ConnectError {
            message,
            status: None,
            detail: None,
            data: None,
            hint: None,
        };
        assert_eq!(
            plain(record),
            r"12:00:00.000 • cannot connect: a\u001b[2Jb\u000ac"
        );
    }
}
