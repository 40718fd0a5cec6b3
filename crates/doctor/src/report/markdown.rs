//! The report for an issue or a message.

use socketio_proto::Printable;

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
            prose(&told.text.title),
            words.severity[finding.severity as usize],
            words.confidence[finding.confidence as usize],
            prose(&told.text.meaning)
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
        out += &format!("**{}:** {}\n\n", words.fix, prose(&told.text.fix));
        for snippet in &told.snippets {
            out += &format!("{}:\n\n{}", texts.tool(snippet.tool), fenced(&snippet.text));
        }
        if let Some(others) = told.others(id, texts) {
            out += &format!("{others}\n\n");
        }
    }
    out += &format!("\n| {} | | |\n|---|---|---|\n", words.check);
    for layer in &report.layers {
        let detail = prose(&report.redactor.clean(&layer.detail(texts)));
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

/// A text on one line that says what it says, and is neither HTML nor a link. Marks of code stay, so
/// that what we quote is code; what is escaped in it only looks odd.
fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in Printable::new(text).up_to(MAX_PROSE).to_string().chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '|' | '[' | ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

const MAX_PROSE: usize = 4000;
const MAX_BLOCK: usize = 16_000;

/// A block whose fence is longer than any in it.
fn fenced(text: &str) -> String {
    let text = Printable::new(text)
        .up_to(MAX_BLOCK)
        .with_lines()
        .to_string();
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}\n{text}\n{fence}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_neither_markup_nor_a_control() {
        for hostile in [
            "\u{1b}[2J",
            "\r\n# forged",
            "\u{202e}",
            "<script>",
            "|",
            "[a](b)",
            "\0",
        ] {
            let told = prose(&format!("before {hostile} after"));
            assert!(!told.contains(socketio_proto::is_unprintable), "{told}");
            assert!(!told.contains(['<', '>']), "{told}");
            let block = fenced(&format!("```{hostile}"));
            assert!(!block.contains(|c| c != '\n' && socketio_proto::is_unprintable(c)));
            assert!(block.starts_with("````\n"));
        }
        assert!(prose(&"x".repeat(1_000_000)).len() < 2 * MAX_PROSE);
    }
}
