//! The report for an issue or a message.

use super::{Layer, Report};
use crate::check::Outcome;
use crate::texts::{Texts, Words};

pub(crate) fn markdown(report: &Report, texts: &dyn Texts) -> String {
    let target = &report.target;
    let words = texts.words();
    let mut out = format!(
        "# sio doctor: {}\n\n{} `{}`, {} `{}`, {} ({} {}).\n",
        report.url(),
        words.namespace,
        target.namespace,
        words.path,
        target.path,
        report.started,
        report.requests,
        words.requests
    );
    for (id, finding) in report.findings() {
        let told = report.tell(finding, texts);
        out += &format!(
            "\n## {} {}\n\n{}, {}. {}\n\n",
            id.as_str(),
            told.text.title,
            words.severity[finding.severity as usize],
            words.confidence[finding.confidence as usize],
            told.text.meaning
        );
        for evidence in &told.evidence {
            let lines = [
                format!("{} → {}", evidence.request, evidence.answer),
                evidence.body.clone(),
                evidence.curl.clone(),
            ];
            let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            out += &fenced(&lines.join("\n"));
        }
        out += &format!("**{}:** {}\n\n", words.fix, told.text.fix);
        for snippet in &told.snippets {
            out += &format!("{}:\n\n{}", texts.tool(snippet.tool), fenced(&snippet.text));
        }
        if let Some(others) = told.others(id, texts) {
            out += &format!("{others}\n\n");
        }
    }
    out += &format!("\n| {} | | |\n|---|---|---|\n", words.check);
    for layer in &report.layers {
        let detail = report
            .redactor
            .clean(&layer.detail(texts))
            .replace('|', "\\|");
        out += &format!(
            "| {} {} | {} | {detail} |\n",
            layer.id.as_str(),
            texts.name(layer.id),
            status(layer, words)
        );
    }
    out
}

fn status(layer: &Layer, words: &Words) -> &'static str {
    match (&layer.outcome, layer.status()) {
        (Outcome::Passed(..), "warning") => words.warning[0],
        (Outcome::Passed(..), _) => words.ok,
        (Outcome::Failed(_), _) => words.failed,
        (Outcome::Inconclusive(_), _) => words.inconclusive,
        (Outcome::Skipped(_), _) => words.skipped,
    }
}

/// A block whose fence is longer than any in it.
fn fenced(text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}\n{text}\n{fence}\n\n")
}
