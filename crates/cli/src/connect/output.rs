//! Where records go: as lines for people or for programs, to stdout, to stderr, or above the prompt.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::args::Color;
use super::record::Record;
use super::{json, pretty};

/// Prints records. An error means that nobody reads them any more.
pub(super) struct Output {
    is_json: bool,
    color: Color,
    prompt: Option<Above>,
}

/// Prints lines above the prompt.
pub(super) type Above = Box<dyn FnMut(String) -> io::Result<()> + Send>;

impl Output {
    pub(super) fn new(is_json: bool, color: Color) -> Output {
        Output {
            is_json,
            color,
            prompt: None,
        }
    }

    /// Prints above a prompt from here on.
    pub(super) fn set_prompt(&mut self, above: Above) {
        self.prompt = Some(above);
    }

    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        // What programs want is on stdout: the answers, or all of it in JSON.
        let is_result = match record {
            Record::Ack { .. } | Record::Event { .. } => true,
            Record::AckError { .. }
            | Record::Connect { .. }
            | Record::ConnectError { .. }
            | Record::Disconnect { .. }
            | Record::Reconnecting { .. }
            | Record::Sent { .. }
            | Record::Upgrade { .. } => false,
        };
        let is_stdout = self.is_json || is_result || self.prompt.is_some();
        let line = match self.is_json {
            true => json::line(record, now()),
            false => {
                let time = jiff::ZonedDateTime::now()
                    .strftime("%H:%M:%S%.3f")
                    .to_string();
                pretty::lines(record, &time, self.has_colors(is_stdout))
            }
        };
        self.print(line, is_stdout)
    }

    /// Says something that is no record.
    pub(super) fn say(&mut self, text: impl Into<String>) -> io::Result<()> {
        self.print(text.into(), false)
    }

    fn print(&mut self, mut line: String, is_stdout: bool) -> io::Result<()> {
        line.push('\n');
        match &mut self.prompt {
            Some(print) => print(line),
            None if is_stdout => io::stdout().write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        }
    }

    fn has_colors(&self, is_stdout: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org: set, and not empty.
            Color::Auto if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            Color::Auto if env::var_os("TERM").is_some_and(|value| value == "dumb") => false,
            Color::Auto if is_stdout => io::stdout().is_terminal(),
            Color::Auto => io::stderr().is_terminal(),
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
