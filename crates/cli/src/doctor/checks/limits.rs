//! D29: whether something on the way limits how often one may ask, so that the rest says little.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::doctor::check::{Check, Confidence, Finding, Id, Outcome};
use crate::doctor::facts::Patient;
use crate::doctor::texts::{Note, Verdict};
use crate::doctor::wire::Exchange;

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
            let found = log.iter().enumerate().find_map(|(before, exchange)| {
                Some((verdict(&log[..before], exchange)?, exchange))
            });
            match found {
                Some(((verdict, confidence), exchange)) => {
                    Outcome::found(Finding::warn(verdict, confidence).with(exchange))
                }
                None => Outcome::Passed(Note::None, Vec::new()),
            }
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
