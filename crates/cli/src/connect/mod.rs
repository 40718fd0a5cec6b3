//! `sio connect`: a client in the terminal, for people and for scripts.
//!
//! The loop below brings together what comes from the server, what is to be emitted and what says when
//! to leave. It decides little: [`ending`] says when all is done, [`client`] what a connection is.

mod args;
mod client;
mod command;
pub(crate) mod emit;
mod ending;
mod input;
mod json;
mod output;
mod pretty;
mod prompt;
mod record;

use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socketio::Value;

use self::client::{Happening, Link, Question};
use self::command::Command;
use self::emit::{Emit, QUOTATION, SyntaxError};
use self::ending::{Exit, Work};
use self::input::{Input, Source};
use self::output::Output;
use self::prompt::Names;
use self::record::Record;
use crate::serve::asked_to_end;

pub(crate) use self::args::ConnectArgs;

/// Connects, does what is asked for, and leaves.
pub(crate) async fn run(options: ConnectArgs) -> ExitCode {
    match connect(options).await {
        Ok(exit) => exit.into(),
        // Nobody reads any more, as with `| head -1`: all is done.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(error) => {
            eprintln!("sio: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn connect(mut options: ConnectArgs) -> io::Result<Exit> {
    let mut output = Output::new(options.json, options.color);
    let opened = options
        .emits
        .events()
        .and_then(|emits| Ok((emits, Link::open(&options)?)));
    let (emits, mut link) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            output.say(format!("sio: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    let mut interrupted = pin!(asked_to_end());
    let joined = tokio::select! {
        joined = joined(&mut link, &mut output) => joined?,
        () = &mut interrupted => Err(Exit::Interrupted),
    };
    if let Err(exit) = joined {
        return Ok(exit);
    }
    let source = Source::choose(!emits.is_empty(), options.is_listening());
    let names = Names::default();
    let input = match Input::start(source, emits, options.ack, &mut output, &names) {
        Ok(input) => input,
        Err(error) => {
            output.say(format!("sio: the prompt cannot be shown: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    let mut session = Session {
        link,
        output,
        input,
        work: Work {
            missing_events: options.count,
            is_listening: options.is_listening(),
            ..Work::default()
        },
        source,
        names,
        wanted: options.listen.take().unwrap_or_default(),
        ack_timeout: options.ack_timeout,
        acks: FuturesUnordered::new(),
        sending: None,
        question: None,
    };
    let exit = session.run(interrupted, options.time).await?;
    // A second Ctrl-C does not wait for a slow server.
    tokio::select! {
        () = session.link.disconnect() => Ok(exit),
        () = asked_to_end() => Ok(Exit::Interrupted),
    }
}

/// Waits until the namespace is joined. The first failure is the last: a wrong address would be tried
/// for ever.
async fn joined(link: &mut Link, output: &mut Output) -> io::Result<Result<(), Exit>> {
    loop {
        let (Happening::State(record) | Happening::Ended(record, _) | Happening::Event(record, _)) =
            link.happened().await;
        output.record(&record)?;
        match record {
            Record::Connect { .. } => return Ok(Ok(())),
            Record::ConnectError { .. } => return Ok(Err(Exit::NotConnected)),
            _ => {}
        }
    }
}

struct Session {
    link: Link,
    output: Output,
    input: Input,
    work: Work,
    source: Source,
    names: Names,
    /// The names of the events to be printed; all if there are none.
    wanted: Vec<String>,
    ack_timeout: Duration,
    /// They come in the order of the server's packets.
    acks: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// One event at a time is on its way, so that they stay in order.
    sending: Option<Sending>,
    question: Option<Question>,
}

type Sending = Pin<Box<dyn Future<Output = (Emit, Result<(), String>)> + Send>>;

/// What came, or why nothing did.
struct Answer {
    name: String,
    args: Result<Vec<Value>, String>,
    took: Duration,
}

impl Session {
    async fn run(
        &mut self,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
        time: Option<Duration>,
    ) -> io::Result<Exit> {
        let mut time_over = pin!(async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => pending().await,
            }
        });
        loop {
            self.work.awaited_acks = self.acks.len();
            self.work.has_input = self.input.is_open() || self.sending.is_some();
            if let Some(exit) = self.work.exit() {
                return Ok(exit);
            }
            let can_read = self.sending.is_none() && self.acks.len() < MAX_ACKS;
            let exit = tokio::select! {
                () = &mut interrupted => Some(self.work.exit_interrupted()),
                () = &mut time_over => Some(self.work.exit_now()),
                happening = self.link.happened() => self.handle(happening)?,
                Some(answer) = self.acks.next() => self.answered(answer).await?,
                (emit, sent) = until(&mut self.sending) => self.sent(emit, sent)?,
                command = self.input.next(), if can_read && self.input.is_open() => match command {
                    Some(Ok(command)) => self.command(command)?,
                    Some(Err(error)) => self.refuse(&error)?,
                    None if self.source == Source::Prompt => Some(Exit::Done),
                    None => None,
                },
            };
            if let Some(exit) = exit {
                return Ok(exit);
            }
        }
    }

    fn handle(&mut self, happening: Happening) -> io::Result<Option<Exit>> {
        match happening {
            Happening::Ended(record, exit) => {
                self.output.record(&record)?;
                Ok((self.source != Source::Prompt).then_some(exit))
            }
            Happening::Event(record, question) => {
                if let Record::Event { name, .. } = &record {
                    self.names.add(name);
                    let is_wanted = self.wanted.is_empty() || self.wanted.contains(name);
                    if !is_wanted || self.work.missing_events == Some(0) {
                        return Ok(None);
                    }
                }
                if question.is_some() {
                    self.question = question;
                }
                self.work.note_event();
                self.output.record(&record)?;
                Ok(None)
            }
            Happening::State(record) => {
                self.output.record(&record)?;
                Ok(None)
            }
        }
    }

    fn command(&mut self, command: Command) -> io::Result<Option<Exit>> {
        match command {
            Command::Ack(emit) => self.ask(emit)?,
            Command::Answer(args) => self.answer(&args)?,
            Command::Connect => self.link.connect(),
            // It is told when it is done.
            Command::Disconnect => drop(self.link.disconnect()),
            Command::Emit(emit) => {
                self.names.add(&emit.name);
                self.sending = Some(Box::pin(self.link.emit(emit)));
            }
            Command::Help => self.output.say(command::HELP)?,
            Command::Nothing => {}
            Command::Quit => return Ok(Some(Exit::Done)),
            Command::Status => {
                let status = self.link.status();
                self.output.say(status)?;
            }
        }
        Ok(None)
    }

    fn ask(&mut self, emit: Emit) -> io::Result<()> {
        self.names.add(&emit.name);
        let start = Instant::now();
        let answer = self.link.ask(&emit, self.ack_timeout);
        let Emit { name, args } = emit;
        self.output.record(&Record::Sent {
            name: name.clone(),
            args,
        })?;
        self.acks.push(Box::pin(async move {
            let args = answer.await;
            let took = start.elapsed();
            Answer { name, args, took }
        }));
        Ok(())
    }

    fn answer(&mut self, args: &[Value]) -> io::Result<()> {
        let Some(question) = self.question.take() else {
            return self.fail("no event waits for an answer");
        };
        let name = question.name.clone();
        match question.answer(args) {
            Ok(()) => self.output.say(format!("answered {}", pretty::Name(&name))),
            Err(error) => self.fail(&error),
        }
    }

    async fn answered(&mut self, answer: Answer) -> io::Result<Option<Exit>> {
        // What came before the answer is told before it.
        for _ in 0..MAX_EVENTS {
            let Some(happening) = self.link.happened_already().await else {
                break;
            };
            if let Some(exit) = self.handle(happening)? {
                return Ok(Some(exit));
            }
        }
        let Answer { name, args, took } = answer;
        let record = match args {
            Ok(args) => Record::Ack {
                name,
                args,
                ms: took,
            },
            Err(message) => {
                self.work.failures += 1;
                Record::AckError { name, message }
            }
        };
        self.output.record(&record)?;
        Ok(None)
    }

    fn sent(&mut self, emit: Emit, sent: Result<(), String>) -> io::Result<Option<Exit>> {
        self.sending = None;
        let Emit { name, args } = emit;
        match sent {
            Ok(()) => self.output.record(&Record::Sent { name, args })?,
            Err(error) => self.fail(&format!("{} was not sent: {error}", pretty::Name(&name)))?,
        }
        Ok(None)
    }

    fn fail(&mut self, message: &str) -> io::Result<()> {
        self.work.failures += 1;
        self.output.say(format!("sio: {message}"))
    }

    /// Tells what is wrong with a line. At a prompt there is another try; a script stops.
    fn refuse(&mut self, error: &SyntaxError) -> io::Result<Option<Exit>> {
        let mut text = match self.source {
            Source::Prompt => error.to_string(),
            Source::Lines | Source::Options => format!("sio: line {}: {error}", self.input.number),
        };
        if let Some(corrected) = error.corrected() {
            text += &format!("; {QUOTATION}\n  write: {corrected}");
        }
        self.output.say(text)?;
        Ok((self.source != Source::Prompt).then_some(Exit::Usage))
    }
}

async fn until(sending: &mut Option<Sending>) -> (Emit, Result<(), String>) {
    match sending {
        Some(sending) => sending.await,
        None => pending().await,
    }
}

/// While so many answers are awaited, no more is read from a script.
const MAX_ACKS: usize = 1000;

/// So many events are at most told before an answer, as the server may never stop.
const MAX_EVENTS: usize = 1000;
