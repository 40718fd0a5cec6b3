//! Where commands come from: the options, what is piped in, or a prompt.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::thread;

use tokio::sync::mpsc;

use super::command::Command;
use super::emit::{Emit, SyntaxError};
use super::output::Output;
use super::prompt::{self, Names};

/// Where commands come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    Lines,
    Options,
    Prompt,
}

impl Source {
    pub(super) fn choose(has_emits: bool, is_listening: bool) -> Source {
        let (stdin, stdout) = (io::stdin().is_terminal(), io::stdout().is_terminal());
        match (stdin, stdout) {
            _ if has_emits => Source::Options,
            (true, _) if is_listening => Source::Options,
            (true, true) => Source::Prompt,
            (true, false) | (false, _) => Source::Lines,
        }
    }
}

/// The commands to come, one after the other.
pub(super) struct Input {
    emits: VecDeque<Command>,
    lines: Option<mpsc::Receiver<String>>,
    /// The number of the last line.
    pub(super) number: usize,
}

impl Input {
    /// Starts to read. The prompt then also has the output, and knows `names`.
    pub(super) fn start(
        source: Source,
        emits: Vec<Emit>,
        wants_acks: bool,
        output: &mut Output,
        names: &Names,
    ) -> Result<Input, Box<dyn std::error::Error + Send + Sync>> {
        let command = match wants_acks {
            true => Command::Ack,
            false => Command::Emit,
        };
        let lines = match source {
            Source::Lines => Some(piped()),
            Source::Options => None,
            Source::Prompt => Some(prompt::start(output, names.clone())?),
        };
        Ok(Input {
            emits: emits.into_iter().map(command).collect(),
            lines,
            number: 0,
        })
    }

    /// Says whether there may be more.
    pub(super) fn is_open(&self) -> bool {
        !self.emits.is_empty() || self.lines.is_some()
    }

    /// The next command, or `None` when there are no more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Command, SyntaxError>> {
        if let Some(command) = self.emits.pop_front() {
            return Some(Ok(command));
        }
        let Some(line) = self.lines.as_mut()?.recv().await else {
            self.lines = None;
            return None;
        };
        self.number += 1;
        Some(Command::parse(&line))
    }
}

/// Reads stdin in a thread of its own: a runtime waits for its own readers when it ends, and a line
/// that never comes would keep it.
fn piped() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
