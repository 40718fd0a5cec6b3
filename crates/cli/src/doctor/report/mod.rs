//! What an examination has shown, and its three forms.

mod explain;
mod json;
mod markdown;
mod pretty;

use std::time::Duration;

use socketio_proto::engine::OpenData;

use super::Exit;
use super::check::{Evidence, Finding, Id, Outcome, Severity, Why};
use super::redact::Redactor;
use super::target::Target;
use super::texts::{Advice, Seen, Snippet, Text, Texts};

pub(super) use explain::explain;
pub(super) use json::json;
pub(super) use markdown::markdown;
pub(super) use pretty::pretty;

pub(super) struct Report {
    pub(super) target: Target,
    pub(super) started: String,
    pub(super) took: Duration,
    pub(super) requests: usize,
    pub(super) revisions: Vec<u8>,
    pub(super) open: Option<OpenData>,
    pub(super) seen: Seen,
    pub(super) layers: Vec<Layer>,
    pub(super) redactor: Redactor,
}

/// One check and what came of it.
pub(super) struct Layer {
    pub(super) id: Id,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// A finding in words, without secrets.
pub(super) struct Told {
    pub(super) text: Text,
    pub(super) evidence: Vec<Evidence>,
    pub(super) snippets: Vec<Snippet>,
    /// What else `--explain` has lines for.
    pub(super) others: Vec<&'static str>,
}

impl Report {
    pub(super) fn exit(&self, is_strict: bool) -> Exit {
        let worst = self.findings().map(|(_, finding)| finding.severity).max();
        let is_unclear = |layer: &Layer| matches!(layer.outcome, Outcome::Inconclusive(_));
        match worst {
            Some(Severity::Fatal) => Exit::Fault,
            _ if self.layers.iter().any(is_unclear) => Exit::Inconclusive,
            Some(Severity::Warn) if is_strict => Exit::Warnings,
            _ => Exit::Healthy,
        }
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = (Id, &Finding)> {
        let findings = self.layers.iter().flat_map(|layer| layer.findings());
        findings.map(|finding| (finding.verdict.id(), finding))
    }

    /// Puts a finding into words; all of it goes through the redactor here.
    pub(super) fn tell(&self, finding: &Finding, texts: &dyn Texts) -> Told {
        let clean = |text: &str| self.redactor.clean(text);
        let text = texts.text(&finding.verdict);
        let evidence = finding.evidence.iter().map(|evidence| Evidence {
            request: texts.said(&clean(&evidence.request)),
            answer: texts.said(&clean(&evidence.answer)),
            body: clean(&evidence.body),
            curl: clean(&evidence.curl),
        });
        let advice = Advice::of(&finding.verdict);
        let (snippets, others) = advice
            .map(|advice| advice.fitting(&self.seen))
            .unwrap_or_default();
        Told {
            text: Text {
                title: clean(&text.title),
                meaning: clean(&text.meaning),
                fix: clean(&text.fix),
            },
            evidence: evidence.collect(),
            snippets,
            others,
        }
    }

    /// The address, without the query, which may have secrets.
    pub(super) fn url(&self) -> String {
        self.target.origin()
    }
}

impl Told {
    /// Where to find the lines that are not shown.
    pub(super) fn others(&self, id: Id, texts: &dyn Texts) -> Option<String> {
        let names: Vec<String> = self.others.iter().map(|name| texts.tool(name)).collect();
        let line = || {
            format!(
                "({}: {}: sio doctor --explain {})",
                texts.words().others,
                names.join(", "),
                id.as_str()
            )
        };
        (!names.is_empty()).then(line)
    }
}

impl Layer {
    pub(super) fn findings(&self) -> &[Finding] {
        match &self.outcome {
            Outcome::Passed(_, findings) | Outcome::Failed(findings) => findings,
            Outcome::Inconclusive(_) | Outcome::Skipped(_) => &[],
        }
    }

    /// One word for what came of it.
    pub(super) fn status(&self) -> &'static str {
        match &self.outcome {
            Outcome::Passed(_, findings) => {
                match findings.iter().map(|finding| finding.severity).max() {
                    Some(Severity::Warn | Severity::Fatal) => "warning",
                    Some(Severity::Info) | None => "ok",
                }
            }
            Outcome::Failed(_) => "failed",
            Outcome::Inconclusive(_) => "inconclusive",
            Outcome::Skipped(_) => "skipped",
        }
    }

    /// What is said about it in a line.
    pub(super) fn detail(&self, texts: &dyn Texts) -> String {
        let why = |why: Why| texts.why(why);
        match &self.outcome {
            Outcome::Passed(note, _) => texts.note(note),
            Outcome::Failed(_) => String::new(),
            Outcome::Inconclusive(reason) | Outcome::Skipped(reason) => why(*reason),
        }
    }
}
