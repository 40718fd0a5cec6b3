//! `sio doctor`: says why a Socket.IO connection fails, from outside, against any server.
//!
//! Checks are made one after the other, from the name to the namespace; what a failed check makes
//! senseless is skipped and never blamed. It opens and ends sessions, joins the namespace, and emits
//! nothing. It does not repair anything.

mod args;
mod budget;
mod check;
mod checks;
mod engine;
mod facts;
mod redact;
mod report;
mod target;
mod texts;
mod wire;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use tokio::time::timeout;

pub(crate) use args::DoctorArgs;
use check::{Check, Id, Outcome, Why};
use facts::{Attempt, Patient};
use redact::Redactor;
use report::{Layer, Report, settled};
use target::Target;
use texts::{Seen, Texts, language, tools};
use wire::{Answer, Tls, Wire};

/// What the page of `sio serve` says, by language.
pub(crate) fn page_texts() -> serde_json::Value {
    texts::page()
}

/// The exit codes, which `--help` tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Exit {
    Healthy = 0,
    Warnings = 1,
    Fault = 2,
    CannotRun = 3,
    Inconclusive = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Runs the command.
pub(crate) async fn run(args: DoctorArgs) -> ExitCode {
    let texts = language(&args.locale());
    if args.list {
        for id in Id::ALL {
            print(&format!("{}  {}\n", id.as_str(), texts.name(id)));
        }
        return Exit::Healthy.into();
    }
    if let Some(id) = args.explain {
        print(&report::explain(id, &args, texts));
        return Exit::Healthy.into();
    }
    let examined = tokio::select! {
        report = examine(&args, progress(&args)) => report,
        _ = tokio::signal::ctrl_c() => Err("stopped".to_owned()),
    };
    let report = match examined {
        Ok(report) => report,
        Err(error) => {
            eprintln!("sio: {error}");
            return Exit::CannotRun.into();
        }
    };
    type Form = fn(&Report, &dyn Texts, bool) -> String;
    let forms: [(&Option<PathBuf>, Form); 3] = [
        (&args.md, |report, texts, _| report::markdown(report, texts)),
        (&args.junit, report::junit),
        (&args.har, |report, _, _| report::har(report)),
    ];
    let mut is_on_stdout = false;
    for (path, form) in forms {
        let Some(path) = path else {
            continue;
        };
        let text = form(&report, texts, args.strict);
        if path == Path::new("-") {
            is_on_stdout = true;
            print(&text);
        } else if let Err(error) = fs::write(path, text) {
            eprintln!("sio: {}: {error}", path.display());
            return Exit::CannotRun.into();
        }
    }
    if args.json {
        print(&report::json(&report, texts));
    } else if !is_on_stdout {
        print(&report::pretty(&report, texts, has_colors()));
    }
    report.exit(args.strict).into()
}

/// Examines a server and reports.
async fn examine(args: &DoctorArgs, progress: fn(&str)) -> Result<Report, String> {
    let given = args.url.as_deref().unwrap_or_default();
    let target = Target::parse(given, &args.path, args.namespace.as_deref())
        .map_err(|error| format!("the URL cannot be used: {error}"))?;
    let redactor = redactor(args, &target);
    let start = Instant::now();
    let started = jiff::Timestamp::now();
    let patient = make_checks(args, target, progress).await?;
    let seen = seen(&patient);
    let mut exchanges = patient.wire.log();
    exchanges.extend(patient.behind);
    Ok(Report {
        target: patient.wire.target,
        started: started.to_string(),
        took: start.elapsed(),
        requests: patient.wire.budget.used(),
        revisions: patient.revisions,
        open: patient.open,
        seen,
        layers: settled(patient.layers),
        exchanges,
        redactor,
    })
}

/// Makes all checks of a server.
async fn make_checks(
    args: &DoctorArgs,
    target: Target,
    progress: fn(&str),
) -> Result<Patient, String> {
    let tls = Tls::new(args.ca.as_deref(), false)?;
    let wire = Wire::new(target, args);
    let mut patient = Patient::new(args.clone(), wire, Some(tls));
    for check in checks::ALL {
        progress(language(&args.locale()).name(check.id()));
        let start = Instant::now();
        let outcome = examine_one(check, &mut patient).await;
        patient.layers.push(Layer {
            id: check.id(),
            outcome,
            took: start.elapsed(),
            asked: patient.wire.log().len(),
        });
    }
    progress("");
    // Where a check was not made that would have closed it.
    if let Some(websocket) = patient.joined.take() {
        websocket.close().await;
    }
    Ok(patient)
}

async fn examine_one(check: &dyn Check, patient: &mut Patient) -> Outcome {
    let layers = &patient.layers;
    if let Some(id) = check.needs().iter().find_map(|id| blocked(*id, layers)) {
        return Outcome::Skipped(Why::Needs(id));
    }
    let (requests, time) = check.allowance(&patient.args);
    patient.wire.budget.allow(requests, time);
    let left = patient.wire.budget.left();
    if left.is_zero() {
        return Outcome::Inconclusive(Why::NoTime);
    }
    match timeout(left, check.run(patient)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Inconclusive(Why::NoTime),
    }
}

/// The check because of which another cannot be made, if this one has failed or was blocked itself.
fn blocked(id: Id, layers: &[Layer]) -> Option<Id> {
    let layer = layers.iter().find(|layer| layer.id == id)?;
    match &layer.outcome {
        Outcome::Failed(_) | Outcome::Inconclusive(_) => Some(id),
        Outcome::Skipped(Why::Needs(root)) => Some(*root),
        Outcome::Passed(..) | Outcome::Skipped(_) => None,
    }
}

/// What must not appear in the report.
fn redactor(args: &DoctorArgs, target: &Target) -> Redactor {
    let mut redactor = Redactor::default();
    if let Some(auth) = &args.auth {
        redactor.add_value(auth);
    }
    for (_, value) in &args.header {
        redactor.add(value);
    }
    for (_, value) in args.cookie.iter().filter_map(|pair| pair.split_once('=')) {
        redactor.add(value);
    }
    let query = url::form_urlencoded::parse(target.query.as_deref().unwrap_or_default().as_bytes());
    for (_, value) in query {
        redactor.add(&value);
    }
    redactor
}

/// What advice depends on.
fn seen(patient: &Patient) -> Seen {
    let mut server = String::new();
    let answers = [
        patient
            .polling
            .as_ref()
            .and_then(|(exchange, _)| exchange.answer()),
        match &patient.websocket {
            Some((_, Attempt::Refused(answer))) => Some(answer),
            _ => None,
        },
    ];
    let answers: Vec<&Answer> = answers.into_iter().flatten().collect();
    for answer in &answers {
        let texts = ["server", "via"].map(|name| Answer::header(answer, name).unwrap_or_default());
        server += &texts.join(" ").to_ascii_lowercase();
        server.push(' ');
    }
    let client = patient.args.client.as_ref();
    Seen {
        family: patient.family,
        server: server.trim().to_owned(),
        tools: tools(
            &answers,
            patient.family,
            client.map(|client| client.name.as_str()),
        ),
        path: patient.wire.target.path.clone(),
        url: patient.wire.target.origin(),
        origin: patient.args.page(),
    }
}

/// Tells which check is running, on a terminal.
fn progress(args: &DoctorArgs) -> fn(&str) {
    let is_terminal = io::stderr().is_terminal() && io::stdout().is_terminal() && !args.json;
    if !is_terminal {
        return |_| {};
    }
    |name| {
        let line = match name {
            "" => "\r\x1b[K".to_owned(),
            name => format!("\r\x1b[K… {name}"),
        };
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

fn has_colors() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// Who does not read any more has seen enough.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
