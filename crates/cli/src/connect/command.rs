//! The lines of the prompt, or of what is piped in.

use super::emit::{Emit, SyntaxError, arguments, file_name, word};
use socketio::Value;

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    /// Emit, and wait for the answer.
    Ack(Emit),
    /// Answer the event that last asked for it.
    Answer(Vec<Value>),
    Connect,
    Disconnect,
    Emit(Emit),
    Help,
    /// An empty line, or a comment.
    Nothing,
    Quit,
    Status,
}

impl Command {
    pub(super) fn parse(line: &str) -> Result<Command, SyntaxError> {
        let line = line.trim();
        let (first, rest) = word(line);
        if line.is_empty() || line.starts_with('#') {
            return Ok(Command::Nothing);
        }
        match first {
            "emit" => {
                return Ok(Command::Emit(
                    Emit::parse(rest).map_err(|e| e.after("emit"))?,
                ));
            }
            "ack" => return Ok(Command::Ack(Emit::parse(rest).map_err(|e| e.after("ack"))?)),
            "/answer" => return Ok(Command::Answer(arguments(line, rest)?)),
            "/binary" => return binary(rest),
            _ if !first.starts_with('/') => return Ok(Command::Emit(Emit::parse(line)?)),
            _ => {}
        }
        let command = match first {
            "/connect" => Command::Connect,
            "/disconnect" => Command::Disconnect,
            "/help" => Command::Help,
            "/quit" => Command::Quit,
            "/status" => Command::Status,
            _ => {
                return Err(SyntaxError::new(format!(
                    "{first} is no command: see /help; an event of this name is: emit {line}"
                )));
            }
        };
        match rest.trim() {
            "" => Ok(command),
            rest => Err(SyntaxError::new(format!("{first} takes nothing: {rest}"))),
        }
    }
}

fn binary(rest: &str) -> Result<Command, SyntaxError> {
    let (file, event) = file_name(rest.trim_start());
    if event.trim().is_empty() {
        return Err(SyntaxError::new(
            "/binary takes a file and an event: /binary FILE EVENT",
        ));
    }
    let bytes = std::fs::read(&file).map_err(|e| SyntaxError::new(format!("{file}: {e}")))?;
    let mut emit = Emit::parse(event)?;
    emit.args.push(Value::Binary(bytes.into()));
    Ok(Command::Emit(emit))
}

/// What the prompt completes at the beginning of a line.
pub(super) const COMMANDS: [&str; 9] = [
    "/answer",
    "/binary",
    "/connect",
    "/disconnect",
    "/help",
    "/quit",
    "/status",
    "ack",
    "emit",
];

pub(super) const HELP: &str = "\
EVENT ARGS..         emits; arguments are JSON, or @file:PATH, @hex:.., @base64:..
emit EVENT ARGS..    the same, for events that have the name of a command
ack EVENT ARGS..     emits and waits for the answer
/answer ARGS..       answers the event that last asked for an answer
/binary FILE EVENT   emits a file
/connect             connects again
/disconnect          leaves, and stays here
/status              says how the connection is
/help                says this
/quit                leaves; so do Ctrl-C and Ctrl-D
Names with spaces stand in quotation marks: \"chat message\" \"hi\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(text: &str) -> Emit {
        Emit::parse(text).unwrap()
    }

    #[test]
    fn a_line_is_a_command_or_an_event() {
        for (line, command) in [
            ("", Command::Nothing),
            ("  # a comment", Command::Nothing),
            ("move 1", Command::Emit(emit("move 1"))),
            ("emit ack 1", Command::Emit(emit("ack 1"))),
            ("ack /odd \"x\"", Command::Ack(emit("/odd \"x\""))),
            ("\"emit\" 1", Command::Emit(emit("emit 1"))),
            (
                "/answer 1 \"a\"",
                Command::Answer(vec![Value::from(1), Value::from("a")]),
            ),
            ("/answer", Command::Answer(Vec::new())),
            (" /quit ", Command::Quit),
            ("/status", Command::Status),
            ("/connect", Command::Connect),
            ("/disconnect", Command::Disconnect),
            ("/help", Command::Help),
        ] {
            assert_eq!(Command::parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn a_wrong_line_says_what_is_right() {
        for (line, message, corrected) in [
            ("emit", "the name of an event is missing", None),
            ("/quit now", "/quit takes nothing: now", None),
            (
                "/move 1",
                "/move is no command: see /help; an event of this name is: emit /move 1",
                None,
            ),
            (
                "/binary x",
                "/binary takes a file and an event: /binary FILE EVENT",
                None,
            ),
            ("hi you", "you is not JSON", Some("hi \"you\"")),
            ("ack hi you", "you is not JSON", Some("ack hi \"you\"")),
            ("/answer ok", "ok is not JSON", Some("/answer \"ok\"")),
        ] {
            let error = Command::parse(line).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.corrected().as_deref(), corrected);
        }
    }

    #[test]
    fn a_file_can_be_emitted() {
        let file = std::env::temp_dir().join(format!("sio-command-{}", std::process::id()));
        std::fs::write(&file, b"x").unwrap();
        let command = Command::parse(&format!("/binary {} picture 1", file.display()));
        std::fs::remove_file(&file).unwrap();
        let args = vec![Value::from(1), Value::Binary(b"x".as_slice().into())];
        let name = "picture".to_owned();
        assert_eq!(command, Ok(Command::Emit(Emit { name, args })));
    }

    #[test]
    fn every_command_has_its_line_of_help() {
        for command in COMMANDS {
            assert!(
                HELP.lines().any(|line| line.starts_with(command)),
                "{command}"
            );
        }
    }
}
