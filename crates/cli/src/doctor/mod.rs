//! `sio doctor`: says why a Socket.IO connection fails. The `socketio-doctor` crate finds it out; here
//! are the arguments, the files of the reports, and the exit codes.

mod args;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use socketio_doctor::{
    Conclusion, Id, InvalidOption, Language, Options, Report, Severity, examine_with_progress,
    explain, explain_json,
};

pub(crate) use args::DoctorArgs;

/// The exit codes beyond those of the report, which `--help` tells.
const WARNINGS: u8 = 1;
pub(crate) const CANNOT_RUN: u8 = 3;

/// Runs the command.
pub(crate) async fn run(args: DoctorArgs) -> ExitCode {
    let language = Language::of_locale(&args.locale());
    if args.list {
        for id in Id::ALL {
            print(&format!("{}  {}\n", id.as_str(), id.name(language)));
        }
        return ExitCode::SUCCESS;
    }
    let options = Options::from(&args);
    if let Some(id) = args.explain {
        print(&match args.json {
            true => explain_json(id, &options, language),
            false => explain(id, &options, language),
        });
        return ExitCode::SUCCESS;
    }
    let examined = tokio::select! {
        report = examine(&options, &args, language) => report.map_err(|error| error.to_string()),
        _ = tokio::signal::ctrl_c() => Err("stopped".to_owned()),
    };
    let report = match examined {
        Ok(report) => report,
        Err(error) => {
            eprintln!("sio: {error}");
            return CANNOT_RUN.into();
        }
    };
    let failure = match args.strict {
        true => Severity::Warn,
        false => Severity::Fatal,
    };
    type Form<'a> = &'a dyn Fn() -> String;
    let forms: [(&Option<PathBuf>, Form<'_>); 3] = [
        (&args.md, &|| report.to_markdown(language)),
        (&args.junit, &|| report.to_junit(language, failure)),
        (&args.har, &|| report.to_har()),
    ];
    let mut is_on_stdout = false;
    for (path, form) in forms {
        let Some(path) = path else {
            continue;
        };
        if path == Path::new("-") {
            is_on_stdout = true;
            print(&form());
        } else if let Err(error) = fs::write(path, form()) {
            eprintln!("sio: {}: {error}", path.display());
            return CANNOT_RUN.into();
        }
    }
    if args.json {
        print(&report.to_json(language));
    } else if !is_on_stdout && has_colors() {
        print(&report.to_colored_text(language));
    } else if !is_on_stdout {
        print(&report.to_text(language));
    }
    match report.conclusion() {
        Conclusion::Warnings if args.strict => WARNINGS.into(),
        _ => report.exit_code().into(),
    }
}

/// Examines a server, and tells on a terminal which check is running.
async fn examine(
    options: &Options,
    args: &DoctorArgs,
    language: Language,
) -> Result<Report, InvalidOption> {
    let is_terminal = io::stderr().is_terminal() && io::stdout().is_terminal() && !args.json;
    let tell = |line: &str| {
        if is_terminal {
            let _ = io::stderr().write_all(format!("\r\x1b[K{line}").as_bytes());
        }
    };
    let progress = |id: Id| tell(&format!("… {}", id.name(language)));
    let report = examine_with_progress(options, progress).await;
    tell("");
    report
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
