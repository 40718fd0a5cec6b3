//! D26: whether what is wrong is wrong behind the proxy too.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::payload::Payload;
use super::soak::Soak;
use crate::check::{Check, Confidence, Finding, Id, Outcome, Severity, Why};
use crate::examine::make_checks;
use crate::facts::Patient;
use crate::options::{Backend, Options};
use crate::report::Layer;
use crate::target::Target;
use crate::texts::{Note, Verdict};

pub(super) struct Behind;

/// Checks of the way to the address that was given, which another address does not share.
const OWN: [Id; 4] = [Id::D01, Id::D02, Id::D03, Id::D04];

impl Check for Behind {
    fn id(&self) -> Id {
        Id::D26
    }

    fn needs(&self) -> &'static [Id] {
        &[]
    }

    fn allowance(&self, options: &Options) -> (usize, Duration) {
        match options.backend {
            Some(_) => {
                let (_, payload) = Payload.allowance(options);
                let (_, soak) = Soak.allowance(options);
                (0, options.timeout + payload + soak)
            }
            None => (0, Duration::ZERO),
        }
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(Backend(url)) = &patient.options.backend else {
                return Outcome::Skipped(Why::OnlyWith("--backend"));
            };
            let front = &patient.wire.target;
            let Ok(target) = Target::parse(url.as_str(), &front.path, Some(&front.namespace))
            else {
                return Outcome::Inconclusive(Why::NoBackend);
            };
            let words = format!("the same checks of {}", target.origin());
            let options = Options {
                backend: None,
                emit: None,
                ..patient.options.clone()
            };
            let Ok(behind) = make_checks(&options, target, &mut |_| {}).await else {
                return Outcome::Inconclusive(Why::NoBackend);
            };
            patient.behind = behind.wire.log();
            let is_reached =
                |layer: &Layer| layer.id != Id::D03 || matches!(layer.outcome, Outcome::Passed(..));
            if !behind.layers.iter().all(is_reached) {
                return Outcome::Inconclusive(Why::NoBackend);
            }
            let wrong_here = accused(&patient.layers);
            let wrong_there = accused(&behind.layers);
            let is_fine_there = |id: &Id| {
                let layer = behind.layers.iter().find(|layer| layer.id == *id);
                !wrong_there.contains(id)
                    && layer.is_some_and(|layer| matches!(layer.outcome, Outcome::Passed(..)))
            };
            let (proxy, rest): (Vec<Id>, Vec<Id>) =
                wrong_here.iter().partition(|id| is_fine_there(id));
            let both: Vec<Id> = rest
                .into_iter()
                .filter(|id| wrong_there.contains(id))
                .collect();
            let mut findings = Vec::new();
            if !proxy.is_empty() {
                // That it works without the proxy rules the other causes out.
                let mut worst = Severity::Warn;
                for layer in &mut patient.layers {
                    for finding in layer.findings_mut() {
                        if proxy.contains(&finding.verdict.id())
                            && finding.severity > Severity::Info
                        {
                            finding.confidence = Confidence::Certain;
                            worst = worst.max(finding.severity);
                        }
                    }
                }
                let finding =
                    Finding::fatal(Verdict::ProxyAtFault { ids: proxy }, Confidence::Certain);
                findings.push(Finding {
                    severity: worst,
                    ..finding
                });
            }
            if !both.is_empty() {
                findings.push(Finding::info(
                    Verdict::BehindToo { ids: both },
                    Confidence::Certain,
                ));
            }
            let answer = match wrong_there.is_empty() {
                true => "nothing is wrong there".to_owned(),
                false => {
                    let ids: Vec<&str> = wrong_there.iter().map(|id| id.as_str()).collect();
                    ids.join(", ")
                }
            };
            let findings: Vec<Finding> = findings
                .into_iter()
                .map(|finding| finding.with_words(words.clone(), answer.clone()))
                .collect();
            match findings
                .iter()
                .any(|finding| finding.severity == Severity::Fatal)
            {
                true => Outcome::Failed(findings),
                false => Outcome::Passed(Note::Same, findings),
            }
        }
        .boxed()
    }
}

/// The checks that name something wrong.
fn accused(layers: &[Layer]) -> Vec<Id> {
    let mut ids: Vec<Id> = layers
        .iter()
        .flat_map(Layer::findings)
        .filter(|finding| finding.severity > Severity::Info)
        .map(|finding| finding.verdict.id())
        .filter(|id| !OWN.contains(id))
        .collect();
    ids.sort_by_key(|id| id.as_str());
    ids.dedup();
    ids
}
