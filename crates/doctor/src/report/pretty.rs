//! The report for people. What the server said is printed without what could steer a terminal.

use socketio_proto::is_unprintable;

use super::{Layer, Report};
use crate::check::{Finding, Outcome, Severity};
use crate::texts::{Texts, Words};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

pub(crate) fn pretty(report: &Report, texts: &dyn Texts, has_colors: bool) -> String {
    let target = &report.target;
    let words = texts.words();
    let mut out = format!(
        "sio doctor  {}  ({} {}, {} {})\n\n",
        paint(&report.url(), BOLD, has_colors),
        words.namespace,
        plain(&target.namespace),
        words.path,
        plain(&target.path)
    );
    for layer in &report.layers {
        out += &line(report, layer, texts, has_colors);
    }
    let mut findings: Vec<&Finding> = report.findings().map(|(_, finding)| finding).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in &findings {
        out.push('\n');
        out += &block(report, finding, texts, has_colors);
    }
    out += &summary(report, &findings, words);
    out
}

fn line(report: &Report, layer: &Layer, texts: &dyn Texts, has_colors: bool) -> String {
    let (mark, color) = match (&layer.outcome, layer.status()) {
        (Outcome::Passed(..), "warning") => ("⚠", YELLOW),
        (Outcome::Passed(..), _) => ("✔", GREEN),
        (Outcome::Failed(_), _) => ("✘", RED),
        (Outcome::Inconclusive(_), _) => ("?", YELLOW),
        (Outcome::Skipped(_), _) => ("–", DIM),
    };
    let words = texts.words();
    let detail = plain(&report.redactor.clean(&layer.detail(texts)));
    let detail = match &layer.outcome {
        Outcome::Skipped(_) => paint(&format!("{}: {detail}", words.skipped), DIM, has_colors),
        Outcome::Inconclusive(_) => format!("{}: {detail}", words.inconclusive),
        Outcome::Passed(..) | Outcome::Failed(_) => detail,
    };
    let line = format!(
        " {} {}  {:<22}{detail}",
        paint(mark, color, has_colors),
        layer.id.as_str(),
        texts.name(layer.id)
    );
    format!("{}\n", line.trim_end())
}

fn block(report: &Report, finding: &Finding, texts: &dyn Texts, has_colors: bool) -> String {
    let told = report.tell(finding, texts);
    let words = texts.words();
    let (mark, color) = match finding.severity {
        Severity::Fatal => ("✘", RED),
        Severity::Warn => ("⚠", YELLOW),
        Severity::Info => ("•", DIM),
    };
    let mut out = format!(
        "{} {} {}  {}\n",
        paint(mark, color, has_colors),
        finding.verdict.id().as_str(),
        paint(&plain(&told.text.title), BOLD, has_colors),
        paint(
            &format!(
                "({}, {})",
                words.severity[finding.severity as usize],
                words.confidence[finding.confidence as usize]
            ),
            DIM,
            has_colors
        )
    );
    out += &indented(&wrapped(&plain(&told.text.meaning)), "    ");
    out += &format!("\n    {}\n", words.evidence);
    for evidence in &told.evidence {
        out += &format!(
            "      {} → {}\n",
            plain(&evidence.request),
            plain(&evidence.answer)
        );
        if !evidence.body.is_empty() {
            let body = evidence
                .body
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            out += &format!("        {}\n", plain(&body));
        }
        if !evidence.curl.is_empty() {
            let curl = format!("        {}\n", plain(&evidence.curl));
            out += &paint(&curl, DIM, has_colors);
        }
    }
    out += &format!("    {}\n", words.fix);
    out += &indented(&wrapped(&plain(&told.text.fix)), "      ");
    for snippet in &told.snippets {
        out += &format!("      {}:\n", texts.tool(snippet.tool));
        out += &indented(&snippet.text, "        ");
    }
    if let Some(others) = told.others(finding.verdict.id(), texts) {
        out += &indented(&wrapped(&others), "      ");
    }
    out
}

fn summary(report: &Report, findings: &[&Finding], words: &Words) -> String {
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let (fatal, warn) = (count(Severity::Fatal), count(Severity::Warn));
    let unclear = report
        .layers
        .iter()
        .any(|layer| matches!(layer.outcome, Outcome::Inconclusive(_)));
    let verdict = match (fatal, warn, unclear) {
        (0, 0, false) => words.healthy.to_owned(),
        (0, 0, true) => words.unclear.to_owned(),
        _ => {
            let [fault, warning] = [(fatal, words.fault), (warn, words.warning)]
                .map(|(count, word)| word[usize::from(count != 1)]);
            format!("{fatal} {fault}, {warn} {warning}.")
        }
    };
    let more = match findings.first() {
        Some(finding) => format!(
            "  {}: sio doctor --explain {}",
            words.more,
            finding.verdict.id().as_str()
        ),
        None => String::new(),
    };
    let (requests, took) = (report.requests, report.took.as_secs_f64());
    format!(
        "\n{verdict}  {requests} {}, {took:.1} s.{more}\n",
        words.requests
    )
}

fn paint(text: &str, color: &str, has_colors: bool) -> String {
    match has_colors {
        true => format!("{color}{text}{RESET}"),
        false => text.to_owned(),
    }
}

/// Without control characters and marks of direction.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_unprintable(c) { '·' } else { c })
        .collect()
}

fn indented(text: &str, indent: &str) -> String {
    text.lines()
        .map(|line| format!("{indent}{line}\n"))
        .collect()
}

/// Breaks a text at spaces.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 92;
    let mut out = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out += word;
        width += length;
    }
    out
}
