//! `sio bench`: load from many connections against any Socket.IO server.
//!
//! A run has stages: connections are opened, messages flow unmeasured, then measured, then the last
//! answers are waited for, and all connections are closed: `stages`. `client` makes the connections, `messages`,
//! `ack` and `connect` are the scenarios, `lane` judges what each connection gets, `recorder` counts,
//! `report` tells.

mod ack;
mod args;
mod arrivals;
mod client;
mod connect;
mod jitter;
mod lane;
mod messages;
mod pacer;
mod progress;
mod recorder;
mod report;
mod series;
mod stages;
mod stamp;
mod target;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use args::Scenario;
use progress::Progress;
use recorder::Recorder;
use report::{Report, Run};
use stages::Stages;

pub(crate) use args::BenchArgs;

/// Runs and reports; the exit code says how it was.
pub(crate) async fn run(options: BenchArgs) -> ExitCode {
    match bench(options).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("sio bench: {error}");
            ExitCode::from(WRONG_ARGUMENTS)
        }
    }
}

/// What all parts of a run share.
#[derive(Debug)]
pub(crate) struct Bench {
    options: BenchArgs,
    recorder: Recorder,
    progress: Progress,
    /// Tells this run's messages from those of others.
    tag: u16,
    is_sending: AtomicBool,
    is_closing: AtomicBool,
    /// The user wants it to end.
    stop: watch::Receiver<bool>,
}

impl Bench {
    /// Says whether messages are to be sent.
    fn is_sending(&self) -> bool {
        self.is_sending.load(Ordering::Relaxed)
    }

    /// Says whether connections end because the run does.
    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Waits until the user ends the run.
    async fn stopped(&self) {
        let mut stop = self.stop.clone();
        // Who could stop the run lives as long as the run.
        let _ = stop.wait_for(|stopped| *stopped).await;
    }
}

async fn bench(options: BenchArgs) -> Result<u8, String> {
    options.check()?;
    if let Err(error) = client::builder(&options).build() {
        return Err(error.to_string());
    }
    target::allow(&options).await?;
    // A file that cannot be written is better known before the run than after it.
    let json = create(options.json.as_deref())?;
    let html = create(options.html.as_deref())?;

    let (stop, stopped) = watch::channel(false);
    let interrupted = tokio::spawn(stop_when_interrupted(stop));
    let started_at = SystemTime::now();
    let bench = Arc::new(Bench {
        recorder: Recorder::new(Instant::now()),
        progress: Progress::new(),
        tag: rand::random(),
        is_sending: AtomicBool::new(false),
        is_closing: AtomicBool::new(false),
        stop: stopped,
        options,
    });
    let mut stages = Stages::new(&bench);
    let messages = stages.run().await;
    bench.progress.end();
    if stages.was_silent {
        eprintln!("sio bench: {}", silence(&bench.options));
    }
    let run = Run {
        started_at,
        ended_early: *bench.stop.borrow(),
        asked: match bench.options.scenario {
            Scenario::Connect => None,
            Scenario::Ack | Scenario::Broadcast | Scenario::Echo | Scenario::Idle => {
                Some(u64::from(bench.options.connections))
            }
        },
        series: stages.series,
        messages,
    };
    interrupted.abort();
    let report = Report::new(&bench.options, &bench.recorder, run);
    if let (true, Some(hint)) = (report.has_no_connection(), &*bench.recorder.hint.lock()) {
        eprintln!("sio bench: {hint}");
    }
    tell(&bench.options, &report, json, html)?;
    Ok(match () {
        () if report.has_no_connection() => NOTHING_CONNECTED,
        () if report.has_errors() => ERRORS,
        () => 0,
    })
}

/// What is to be said when nothing comes back.
fn silence(options: &BenchArgs) -> String {
    let (event, reply) = (options.event(), options.reply_event());
    let duty = match options.scenario {
        Scenario::Ack => "call the function that comes with it".to_owned(),
        Scenario::Broadcast => format!("emit `{reply}` with its argument to all, the sender too"),
        Scenario::Connect | Scenario::Echo | Scenario::Idle => {
            format!("emit `{reply}` with its argument to the sender")
        }
    };
    format!("the server does not answer `{event}`: it has to {duty}; see sio bench --help")
}

/// Stops the run at the first Ctrl-C, and the program at the second.
async fn stop_when_interrupted(stop: watch::Sender<bool>) {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler for signals the process ends by the signal itself.
        std::future::pending::<()>().await;
    }
    let _ = stop.send(true);
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(INTERRUPTED);
    }
}

/// Makes the file of a report.
fn create(path: Option<&Path>) -> Result<Option<Box<dyn Write>>, String> {
    match path {
        None => Ok(None),
        Some(path) if path == Path::new("-") => Ok(Some(Box::new(std::io::stdout()))),
        Some(path) => {
            let file = File::create(path);
            let file = file.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            Ok(Some(Box::new(file)))
        }
    }
}

/// Writes the reports; the summary gives way to one on the standard output.
fn tell(
    options: &BenchArgs,
    report: &Report,
    json: Option<Box<dyn Write>>,
    html: Option<Box<dyn Write>>,
) -> Result<(), String> {
    let dash = Some(Path::new("-"));
    match [&options.json, &options.html]
        .iter()
        .any(|path| path.as_deref() == dash)
    {
        true => eprint!("{}", report::text(report)),
        false => print!("{}", report::text(report)),
    }
    let write = |target: Option<Box<dyn Write>>, text: &dyn Fn() -> String| match target {
        Some(mut target) => {
            let written = target.write_all(text().as_bytes());
            let written = written.and_then(|()| target.flush());
            written.map_err(|error| format!("the report cannot be written: {error}"))
        }
        None => Ok(()),
    };
    write(json, &|| report.json())?;
    write(html, &|| report::html(report))
}

const NOTHING_CONNECTED: u8 = 1;
const WRONG_ARGUMENTS: u8 = 2;
const ERRORS: u8 = 3;
/// What a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;
