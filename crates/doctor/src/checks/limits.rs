//! D29: whether something on the way limits how often one may ask, so that the rest says little.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Severity, Why};
use crate::facts::Patient;
use crate::texts::{Note, Verdict};
use crate::wire::Exchange;

pub(super) struct Limits;

impl Check for Limits {
    fn id(&self) -> Id {
        Id::D29
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D04]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let log = patient.wire.log();
            let found = log
                .iter()
                .enumerate()
                .find_map(|(before, exchange)| Some((verdict(&log[..before], exchange)?, before)));
            let Some(((verdict, confidence), at)) = found else {
                return Outcome::Passed(Note::None, Vec::new());
            };
            // Those before with the same status may have met the limit already.
            let status = log[at].status();
            let is_other = |exchange: &Exchange| exchange.status() != status;
            let start = log[..at]
                .iter()
                .rposition(is_other)
                .map_or(0, |other| other + 1);
            if matches!(verdict, Verdict::Limited { .. }) {
                for layer in &mut patient.layers {
                    let is_accused = layer
                        .findings()
                        .iter()
                        .any(|finding| finding.severity > Severity::Info);
                    if is_accused && layer.asked > start {
                        layer.outcome = Outcome::Inconclusive(Why::Limited);
                    }
                }
            }
            let verdict = match verdict {
                Verdict::Limited { status, .. } => Verdict::Limited {
                    status,
                    after: start,
                },
                other => other,
            };
            Outcome::found(Finding::warn(verdict, confidence).with(&log[at]))
        }
        .boxed()
    }
}

/// What an answer says about a limit, after those that came before.
fn verdict(before: &[Exchange], exchange: &Exchange) -> Option<(Verdict, Confidence)> {
    let answer = exchange.answer()?;
    let status = answer.status;
    let is_challenge = ["cf-mitigated", "x-amzn-waf-action"]
        .iter()
        .any(|name| answer.header(name).is_some());
    if is_challenge {
        return Some((Verdict::Challenge { status }, Confidence::Certain));
    }
    let after = before.len();
    match status {
        429 => Some((Verdict::Limited { status, after }, Confidence::Certain)),
        // The same request was welcome before.
        403 => {
            let is_same = |other: &&Exchange| {
                other.method == exchange.method
                    && other.target == exchange.target
                    && other.headers == exchange.headers
            };
            let was_welcome = before
                .iter()
                .filter(is_same)
                .any(|other| other.status() == Some(200));
            was_welcome.then_some((Verdict::Limited { status, after }, Confidence::Likely))
        }
        _ => None,
    }
}
