//! What an examination has shown, and its forms.

mod explain;
mod har;
mod json;
mod junit;
mod markdown;
mod pretty;

use std::fmt;
use std::time::Duration;

use socketio_proto::engine::OpenData;

use super::check::{Confidence, Evidence, Finding, Id, Outcome, Severity, Why};
use super::redact::Redactor;
use super::target::Target;
use super::texts::{Advice, Language, Note, Seen, Snippet, Text, Texts};
use super::wire::Exchange;

pub use explain::{explain, explain_json};
use har::har;
use json::json;
use junit::junit;
use markdown::markdown;
use pretty::pretty;

/// What an examination has shown. No form of it has the secrets that were given, cookies, or ids of
/// sessions.
pub struct Report {
    pub(super) target: Target,
    pub(super) started: String,
    pub(super) took: Duration,
    pub(super) requests: usize,
    pub(super) revisions: Vec<u8>,
    pub(super) open: Option<OpenData>,
    pub(super) seen: Seen,
    pub(super) layers: Vec<Layer>,
    /// All that was asked, in this order.
    pub(super) exchanges: Vec<Exchange>,
    pub(super) redactor: Redactor,
}

/// What an examination has come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conclusion {
    /// Nothing is wrong.
    Healthy,
    /// There are only warnings.
    Warnings,
    /// Something keeps clients from connecting, or from what they should be able to do.
    Fault,
    /// Nothing was found, but something could not be examined.
    Inconclusive,
}

/// Something that was found, in words and without secrets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The check that names it.
    pub check: Id,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// What it is, in a line.
    pub title: String,
    /// What it means for somebody who has never heard of Engine.IO.
    pub meaning: String,
    /// What to do about it.
    pub fix: String,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

/// One check and what came of it.
pub(super) struct Layer {
    pub(super) id: Id,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    /// So many requests had been answered when it ended.
    pub(super) asked: usize,
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
    /// Says whether there is neither a fault nor something that could not be examined. There may be
    /// warnings.
    pub fn is_healthy(&self) -> bool {
        matches!(
            self.conclusion(),
            Conclusion::Healthy | Conclusion::Warnings
        )
    }

    /// What the examination has come to.
    pub fn conclusion(&self) -> Conclusion {
        let worst = self.findings().map(|(_, finding)| finding.severity).max();
        let is_unclear = |layer: &Layer| matches!(layer.outcome, Outcome::Inconclusive(_));
        match worst {
            Some(Severity::Fatal) => Conclusion::Fault,
            _ if self.layers.iter().any(is_unclear) => Conclusion::Inconclusive,
            Some(Severity::Warn) => Conclusion::Warnings,
            Some(Severity::Info) | None => Conclusion::Healthy,
        }
    }

    /// The exit code of `sio doctor` without `--strict`, which stands in JSON too: 0 healthy, 2 a
    /// fault, 4 inconclusive.
    pub fn exit_code(&self) -> u8 {
        match self.conclusion() {
            Conclusion::Healthy | Conclusion::Warnings => 0,
            Conclusion::Fault => 2,
            Conclusion::Inconclusive => 4,
        }
    }

    /// What was found, in words.
    pub fn diagnoses(&self, language: Language) -> Vec<Diagnosis> {
        let diagnosis = |(check, finding): (Id, &Finding)| {
            let told = self.tell(finding, language.texts());
            Diagnosis {
                check,
                severity: finding.severity,
                confidence: finding.confidence,
                title: told.text.title,
                meaning: told.text.meaning,
                fix: told.text.fix,
                evidence: told.evidence,
            }
        };
        self.findings().map(diagnosis).collect()
    }

    /// The report for people, in lines of at most about 100 characters.
    pub fn to_text(&self, language: Language) -> String {
        pretty(self, language.texts(), false)
    }

    /// The same as [`to_text`](Report::to_text), with colors for a terminal.
    pub fn to_colored_text(&self, language: Language) -> String {
        pretty(self, language.texts(), true)
    }

    /// One JSON object, for programs; `docs/doctor.md` tells its keys.
    pub fn to_json(&self, language: Language) -> String {
        json(self, language.texts())
    }

    /// Markdown, for an issue or a message.
    pub fn to_markdown(&self, language: Language) -> String {
        markdown(self, language.texts())
    }

    /// JUnit's XML, for continuous integration. What is at least so bad is a failure.
    pub fn to_junit(&self, language: Language, failure: Severity) -> String {
        junit(self, language.texts(), failure)
    }

    /// All requests and answers as HAR 1.2, which browsers read.
    pub fn to_har(&self) -> String {
        har(self)
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

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("url", &self.url())
            .field("conclusion", &self.conclusion())
            .finish_non_exhaustive()
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

/// The layers with each finding in the one whose check it names, so that the list and the findings
/// say the same: a check may come upon what is another's.
pub(super) fn settled(mut layers: Vec<Layer>) -> Vec<Layer> {
    for at in 0..layers.len() {
        let id = layers[at].id;
        let (own, others): (Vec<Finding>, Vec<Finding>) = match &mut layers[at].outcome {
            Outcome::Passed(_, findings) | Outcome::Failed(findings) => findings
                .drain(..)
                .partition(|finding| finding.verdict.id() == id),
            Outcome::Inconclusive(_) | Outcome::Skipped(_) => continue,
        };
        let root = others.first().map(|finding| finding.verdict.id());
        for finding in others {
            let home = finding.verdict.id();
            let home = layers.iter_mut().find(|layer| layer.id == home);
            if let Some(home) = home {
                home.take(finding);
            }
        }
        let layer = &mut layers[at];
        match &mut layer.outcome {
            Outcome::Passed(_, findings) => *findings = own,
            Outcome::Failed(findings) if !own.is_empty() => *findings = own,
            _ => {}
        }
        let has_nothing =
            matches!(&layer.outcome, Outcome::Failed(findings) if findings.is_empty());
        if let Some(root) = root.filter(|_| has_nothing) {
            excuse(&mut layers, id, root);
        }
    }
    let empty = |layer: &&Layer| matches!(&layer.outcome, Outcome::Failed(list) if list.is_empty());
    let told = |layer: &&Layer| matches!(&layer.outcome, Outcome::Failed(list) if !list.is_empty());
    if let Some(id) = layers.iter().find(empty).map(|layer| layer.id)
        && let Some(root) = layers.iter().find(told).map(|layer| layer.id)
    {
        excuse(&mut layers, id, root);
    }
    layers
}

/// A check has failed because of what another names.
fn excuse(layers: &mut [Layer], id: Id, root: Id) {
    for layer in layers {
        if layer.id == id
            || matches!(layer.outcome, Outcome::Skipped(Why::Needs(needed)) if needed == id)
        {
            layer.outcome = Outcome::Skipped(Why::Needs(root));
        }
    }
}

impl Layer {
    /// Takes a finding that another check has come upon.
    fn take(&mut self, finding: Finding) {
        let mut findings = match &mut self.outcome {
            Outcome::Passed(_, findings) | Outcome::Failed(findings) => std::mem::take(findings),
            Outcome::Inconclusive(_) | Outcome::Skipped(_) => Vec::new(),
        };
        findings.push(finding);
        let is_fatal = |finding: &Finding| finding.severity == Severity::Fatal;
        self.outcome = match findings.iter().any(is_fatal) {
            true => Outcome::Failed(findings),
            false => Outcome::Passed(Note::None, findings),
        };
    }

    pub(super) fn findings(&self) -> &[Finding] {
        match &self.outcome {
            Outcome::Passed(_, findings) | Outcome::Failed(findings) => findings,
            Outcome::Inconclusive(_) | Outcome::Skipped(_) => &[],
        }
    }

    pub(super) fn findings_mut(&mut self) -> &mut [Finding] {
        match &mut self.outcome {
            Outcome::Passed(_, findings) | Outcome::Failed(findings) => findings,
            Outcome::Inconclusive(_) | Outcome::Skipped(_) => &mut [],
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::Verdict;

    fn layer(id: Id, outcome: Outcome) -> Layer {
        Layer {
            id,
            outcome,
            took: Duration::ZERO,
            asked: 0,
        }
    }

    #[test]
    fn a_finding_stands_in_the_layer_of_the_check_it_names() {
        let found = || {
            vec![Finding::fatal(
                Verdict::WebSocketElsewhere,
                Confidence::Likely,
            )]
        };
        let layers = settled(vec![
            layer(Id::D10, Outcome::Passed(Note::Rounds(4), Vec::new())),
            layer(Id::D13, Outcome::Failed(found())),
            layer(Id::D14, Outcome::Skipped(Why::Needs(Id::D13))),
        ]);
        let status: Vec<&str> = layers.iter().map(Layer::status).collect();
        assert_eq!(status, ["failed", "skipped", "skipped"]);
        assert_eq!(layers[0].findings().len(), 1);
        for layer in &layers[1..] {
            let because = Outcome::Skipped(Why::Needs(Id::D10));
            assert_eq!(format!("{:?}", layer.outcome), format!("{because:?}"));
        }
    }

    #[test]
    fn a_check_that_names_nothing_has_not_failed_itself() {
        let verdict = Verdict::WrongPath {
            asked: "/a/".to_owned(),
            found: "/b/".to_owned(),
        };
        let layers = settled(vec![
            layer(Id::D06, Outcome::Failed(Vec::new())),
            layer(
                Id::D07,
                Outcome::found(Finding::fatal(verdict, Confidence::Certain)),
            ),
            layer(Id::D12, Outcome::Skipped(Why::Needs(Id::D06))),
        ]);
        let status: Vec<&str> = layers.iter().map(Layer::status).collect();
        assert_eq!(status, ["skipped", "failed", "skipped"]);
    }
}
