//! D28: whether the client that was named and the server understand each other.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::Reading;
use crate::facts::Patient;
use crate::texts::{Note, Verdict};

pub(super) struct Fit;

impl Check for Fit {
    fn id(&self) -> Id {
        Id::D28
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D08]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(client) = &patient.options.client else {
                return Outcome::Skipped(Why::OnlyWith("--client"));
            };
            let name = format!("{} {}", client.name, client.major);
            let speaks = patient.revisions.contains(&client.revision);
            let (verdict, exchange) = match (client.revision, speaks) {
                // Version 2 of the server changed what it expects of the client's version 1.
                (3, true) if client.name == "js" && client.major == 1 => {
                    let finding =
                        Finding::warn(Verdict::FirstClient { client: name }, Confidence::Possible);
                    let revisions = format!("revisions {:?}", patient.revisions);
                    return Outcome::found(finding.with_words("what the server speaks", revisions));
                }
                (_, true) => return Outcome::Passed(Note::Fits(name), Vec::new()),
                (3, false) => (Verdict::OldClient { client: name }, patient.old.as_ref()),
                (_, false) => {
                    let first = patient.polling.as_ref().map(|(exchange, _)| exchange);
                    (Verdict::OldServer { client: Some(name) }, first)
                }
            };
            let Some(exchange) = exchange else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let code = exchange
                .answer()
                .map(Reading::of)
                .and_then(|reading| reading.code());
            let confidence = match &verdict {
                Verdict::OldClient { .. } if code != Some(5) => Confidence::Likely,
                _ => Confidence::Certain,
            };
            Outcome::found(Finding::fatal(verdict, confidence).with(exchange))
        }
        .boxed()
    }
}
