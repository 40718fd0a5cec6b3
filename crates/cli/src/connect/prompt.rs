//! The prompt: line editing, history and completion, in a thread of its own.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use super::command::COMMANDS;
use super::output::Output;
use super::pretty::Name;

/// The names of the events that were seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<BTreeSet<String>>>);

impl Names {
    pub(super) fn add(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A server may invent names for ever.
        if names.len() < MAX_NAMES && !names.contains(name) {
            names.insert(name.to_owned());
        }
    }

    /// Those that begin with a text, as they are written.
    fn beginning_with(&self, text: &str) -> Vec<String> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = names.iter().map(|name| Name(name).to_string());
        written.filter(|name| name.starts_with(text)).collect()
    }
}

/// Shows the prompt, and gives the lines that are entered. What is printed goes above it.
pub(super) fn start(
    output: &mut Output,
    names: Names,
) -> rustyline::Result<mpsc::Receiver<String>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(MAX_HISTORY)?
        .build();
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Completion { names }));
    let history = history();
    if let Some(history) = &history {
        // There is none at first.
        let _ = editor.load_history(history);
    }
    let mut printer = editor.create_external_printer()?;
    output.set_prompt(Box::new(move |line| {
        printer.print(line).map_err(io::Error::other)
    }));
    let (sender, lines) = mpsc::channel(1);
    thread::spawn(move || {
        read(&mut editor, &sender);
        if let Some(history) = history {
            // Without a history the next prompt is as good as the first.
            let _ = editor.append_history(&history);
        }
        drop(editor);
        // The terminal is as it was and the history is kept: the lines may end.
        drop(sender);
    });
    Ok(lines)
}

fn read(editor: &mut Editor<Completion, FileHistory>, sender: &mpsc::Sender<String>) {
    loop {
        match editor.readline("> ") {
            Ok(line) if line.trim() == "/quit" => return,
            Ok(line) => {
                // A history that cannot be kept is no reason to stop.
                let _ = editor.add_history_entry(&line);
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
            Err(ReadlineError::Signal(_)) => {}
            // Ctrl-C, Ctrl-D, or no terminal any more.
            Err(_) => return,
        }
    }
}

/// The file of the history, in a directory that exists.
fn history() -> Option<PathBuf> {
    let directory = state_directory()?.join("sio");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}

/// Where the XDG specification keeps what a program wants to find again, or Windows its like.
fn state_directory() -> Option<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if cfg!(windows) {
        return absolute("LOCALAPPDATA");
    }
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

/// Completes commands, names of events and of files.
struct Completion {
    names: Names,
}

impl Completion {
    /// What may stand from a position on, instead of the rest of the line.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let word = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        if let Some(at) = line[word..].find("@file:") {
            let start = word + at + "@file:".len();
            return (start, files(&line[start..]));
        }
        let (first, rest) = line.split_once(' ').unwrap_or(("", line));
        let start = line.len() - rest.trim_start().len();
        let rest = &line[start..];
        match first {
            "" => {
                let commands = COMMANDS.iter().map(|command| (*command).to_owned());
                let commands = commands.filter(|command| command.starts_with(rest));
                (
                    start,
                    self.names
                        .beginning_with(rest)
                        .into_iter()
                        .chain(commands)
                        .collect(),
                )
            }
            "ack" | "emit" => (start, self.names.beginning_with(rest)),
            "/binary" if !rest.contains(' ') => (start, files(rest)),
            "/binary" => (word, self.names.beginning_with(&line[word..])),
            // The name of an event with a space in it.
            _ if line.starts_with('"') => (0, self.names.beginning_with(line)),
            _ => (line.len(), Vec::new()),
        }
    }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, candidates) = self.candidates(&line[..at]);
        let pair = |replacement: String| Pair {
            display: replacement.clone(),
            replacement,
        };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Hinter for Completion {
    type Hint = String;
}
impl Validator for Completion {}

/// The files whose path begins with a text; those whose name cannot be written as a word are left
/// out.
fn files(beginning: &str) -> Vec<String> {
    let (directory, _) = beginning.split_at(beginning.rfind('/').map_or(0, |at| at + 1));
    let path = if directory.is_empty() { "." } else { directory };
    let entries = fs::read_dir(Path::new(path))
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let end = if entry.path().is_dir() { "/" } else { "" };
            let file = format!("{directory}{name}{end}");
            let is_word = !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
            (is_word && file.starts_with(beginning)).then_some(file)
        })
        .take(MAX_FILES)
        .collect();
    files.sort();
    files
}

const MAX_FILES: usize = 1_000;
const MAX_HISTORY: usize = 1_000;
const MAX_NAMES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(line: &str) -> (usize, Vec<String>) {
        let names = Names::default();
        for name in ["move", "more", "chat message", "emit"] {
            names.add(name);
        }
        Completion { names }.candidates(line)
    }

    #[test]
    fn commands_and_names_are_completed() {
        for (line, start, expected) in [
            ("/d", 0, vec!["/disconnect"]),
            ("mo", 0, vec!["more", "move"]),
            ("em", 0, vec!["emit", "emit"]),
            ("\"chat m", 0, vec!["\"chat message\""]),
            ("ack mov", 4, vec!["move"]),
            ("emit \"chat ", 5, vec!["\"chat message\""]),
            ("/binary x mo", 10, vec!["more", "move"]),
            ("move 1", 6, vec![]),
        ] {
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(candidates(line), (start, expected), "{line}");
        }
    }

    #[test]
    fn files_are_completed() {
        let directory = env::temp_dir().join(format!("sio-prompt-{}", std::process::id()));
        fs::create_dir_all(directory.join("dir")).unwrap();
        fs::write(directory.join("dish"), b"").unwrap();
        fs::write(directory.join("di sh"), b"").unwrap();
        let beginning = format!("{}/di", directory.display());
        let expected = vec![format!("{beginning}r/"), format!("{beginning}sh")];
        for before in ["a 1 @file:", "/binary "] {
            let found = candidates(&format!("{before}{beginning}"));
            assert_eq!(found, (before.len(), expected.clone()));
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_server_cannot_fill_the_memory_with_names() {
        let names = Names::default();
        for i in 0..2 * MAX_NAMES {
            names.add(&i.to_string());
        }
        assert_eq!(names.beginning_with("").len(), MAX_NAMES);
    }
}
