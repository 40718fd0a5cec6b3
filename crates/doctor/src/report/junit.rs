//! The checks as JUnit's XML, for the reports of continuous integration. A check is a test case: a
//! fault is its failure, and what could not be examined is skipped.

use socketio_proto::is_unprintable;

use super::{Layer, Report};
use crate::check::{Finding, Outcome, Severity};
use crate::texts::Texts;

pub(crate) fn junit(report: &Report, texts: &dyn Texts, failure: Severity) -> String {
    let is_failure = |finding: &&Finding| finding.severity >= failure;
    let count =
        |test: &dyn Fn(&Layer) -> bool| report.layers.iter().filter(|layer| test(layer)).count();
    let failures = count(&|layer| layer.findings().iter().any(|finding| is_failure(&finding)));
    let skipped = count(&|layer| {
        matches!(
            layer.outcome,
            Outcome::Inconclusive(_) | Outcome::Skipped(_)
        )
    });
    let totals = format!(
        r#"tests="{}" failures="{failures}" errors="0" skipped="{skipped}" time="{:.3}""#,
        report.layers.len(),
        report.took.as_secs_f64()
    );
    let name = escaped(&format!("sio doctor {}", report.url()));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {totals}>\n<testsuite name=\"{name}\" timestamp=\"{}\" {totals}>\n",
        escaped(&report.started)
    );
    for layer in &report.layers {
        out += &format!(
            "<testcase classname=\"sio.doctor\" name=\"{} {}\" time=\"{:.3}\">",
            layer.id.as_str(),
            escaped(texts.name(layer.id)),
            layer.took.as_secs_f64()
        );
        let detail = escaped(&report.redactor.clean(&layer.detail(texts)));
        if matches!(
            layer.outcome,
            Outcome::Inconclusive(_) | Outcome::Skipped(_)
        ) {
            out += &format!("<skipped message=\"{}: {detail}\"/>", layer.status());
        }
        // Only the first failure of a test case is read by most programs.
        let (failed, told): (Vec<&Finding>, Vec<&Finding>) =
            layer.findings().iter().partition(is_failure);
        if let Some(first) = failed.first() {
            let title = escaped(&report.tell(first, texts).text.title);
            let texts: Vec<String> = failed
                .iter()
                .map(|finding| text(report, finding, texts))
                .collect();
            out += &format!(
                "<failure type=\"{}\" message=\"{title}\">{}</failure>",
                first.severity.as_str(),
                escaped(&texts.join("\n"))
            );
        }
        if !told.is_empty() {
            let texts: Vec<String> = told
                .iter()
                .map(|finding| text(report, finding, texts))
                .collect();
            out += &format!("<system-out>{}</system-out>", escaped(&texts.join("\n")));
        }
        out += "</testcase>\n";
    }
    out + "</testsuite>\n</testsuites>\n"
}

/// A finding in lines.
fn text(report: &Report, finding: &Finding, texts: &dyn Texts) -> String {
    let told = report.tell(finding, texts);
    let words = texts.words();
    let mut lines = vec![
        format!(
            "{} {} ({}, {})",
            finding.verdict.id().as_str(),
            told.text.title,
            words.severity[finding.severity as usize],
            words.confidence[finding.confidence as usize]
        ),
        told.text.meaning,
    ];
    for evidence in &told.evidence {
        lines.push(format!("{} → {}", evidence.request, evidence.answer));
        lines.extend(
            [&evidence.body, &evidence.curl]
                .into_iter()
                .filter(|line| !line.is_empty())
                .cloned(),
        );
    }
    lines.push(format!("{}: {}", words.fix, told.text.fix));
    lines.join("\n")
}

/// As XML takes it in a text or an attribute. XML has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            // A page that shows it would act on it.
            c if is_unprintable(c) => out += &c.escape_unicode().to_string(),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            escaped("<a b=\"&\">\u{1b}\n\u{202e}"),
            "&lt;a b=&quot;&amp;&quot;&gt;\u{fffd}\n\\u{202e}"
        );
    }
}
