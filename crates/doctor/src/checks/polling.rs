//! D14: whether a request may wait, and whether a cache is in the way.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::Transport;
use tokio::time::timeout;

use super::sticky::cookies;
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::Reading;
use crate::facts::Patient;
use crate::texts::{Note, Verdict};
use crate::wire::{Answer, Ask, Fault};

pub(super) struct LongPoll;

/// So long a request is left waiting.
const HOLD: Duration = Duration::from_secs(2);
/// So long the request may outlast the farewell.
const FAREWELL: Duration = Duration::from_secs(1);
/// The end of the examination is left to others.
const RESERVE: Duration = Duration::from_millis(2500);

impl Check for LongPoll {
    fn id(&self) -> Id {
        Id::D14
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06, Id::D10]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            if !patient.has_polling() || patient.options.transport == Some(Transport::WebSocket) {
                return Outcome::Skipped(Why::NoPolling);
            }
            if let Some(id) = patient.polling_fault {
                return Outcome::Skipped(Why::Needs(id));
            }
            let revision = patient.revision();
            let (handshake, open) = patient.handshake(&[]).await;
            let Some(open) = open else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            if patient.sids.contains(&open.sid) {
                let sign = "two clients got the same session".to_owned();
                let finding = Finding::fatal(Verdict::Cached { sign }, Confidence::Certain);
                return Outcome::found(finding.with(&handshake));
            }
            patient.sids.push(open.sid.clone());
            if let Some(sign) = handshake.answer().and_then(stored) {
                patient.leave(revision, &open.sid).await;
                let finding = Finding::warn(Verdict::Cached { sign }, Confidence::Likely);
                return Outcome::found(finding.with(&handshake));
            }
            // As a browser would: where sessions stick by a cookie, it is sent.
            let cookies = cookies(&handshake);
            let poll = || {
                let target = patient.engine(revision, Transport::Polling, Some(&open.sid));
                Ask::get(target).with_cookies(&cookies)
            };
            let leave = || patient.post(revision, &open.sid, "1", &cookies);
            let hold = HOLD.min(patient.wire.budget.left().saturating_sub(RESERVE));
            let limit = hold + patient.wire.budget.answer();
            let mut waiting = Box::pin(patient.wire.ask_for(poll(), limit));
            let mut ended = timeout(hold, &mut waiting).await.ok();
            if revision == 3
                && ended
                    .as_ref()
                    .is_some_and(|exchange| exchange.status() == Some(200))
            {
                // The greeting of the main namespace came unasked.
                waiting = Box::pin(patient.wire.ask_for(poll(), limit));
                ended = timeout(hold, &mut waiting).await.ok();
            }
            let buffered = buffered(patient);
            let Some(exchange) = ended else {
                // The farewell ends the request too.
                let farewell = timeout(FAREWELL, &mut waiting);
                let (_, _) = tokio::join!(leave(), farewell);
                return Outcome::Passed(Note::Held(hold), buffered);
            };
            leave().await;
            drop(waiting);
            let how = match &exchange.got {
                Ok(answer) => match answer.status {
                    200 => return Outcome::Passed(Note::Held(exchange.took), buffered),
                    // Other requests of a session have met its server, and are answered at once: who
                    // has waited in vain has asked another server.
                    status @ 400
                        if Reading::of(answer).code() == Some(1)
                            && exchange.took > handshake.took * 4 + IMPATIENT =>
                    {
                        format!("status {status}, Session ID unknown")
                    }
                    status @ (408 | 499 | 502..=504 | 520..=524) => format!("status {status}"),
                    _ => return Outcome::Inconclusive(Why::Unclear),
                },
                Err(Fault::Closed | Fault::Cut) => "the connection was closed".to_owned(),
                Err(_) => return Outcome::Inconclusive(Why::Unclear),
            };
            patient.polling_fault = Some(Id::D14);
            let verdict = Verdict::PollCut {
                after: exchange.took,
                how,
                ping_interval: open.ping_interval,
            };
            Outcome::found(Finding::fatal(verdict, Confidence::Likely).with(&exchange))
        }
        .boxed()
    }
}

/// A delay of each body, if there is one. Head and body of an answer are short and come together,
/// unless something collects what passes through.
fn buffered(patient: &Patient) -> Vec<Finding> {
    let log = patient.wire.log();
    let answers = log.iter().filter(|exchange| !exchange.is_websocket());
    let answers = answers.filter_map(|exchange| Some((exchange, exchange.answer()?)));
    let mut bodies: Vec<_> = answers
        .filter(|(_, answer)| !answer.body.is_empty())
        .collect();
    bodies.sort_by_key(|(_, answer)| answer.receive);
    // Whatever one of them met by accident, the one in the middle did not.
    match bodies.get(bodies.len() / 2) {
        Some((exchange, answer)) if bodies.len() >= ENOUGH && answer.receive > IMPATIENT => {
            let verdict = Verdict::Buffered {
                after: answer.receive,
            };
            vec![Finding::warn(verdict, Confidence::Likely).with(exchange)]
        }
        _ => Vec::new(),
    }
}

/// A shorter delay says nothing.
const IMPATIENT: Duration = Duration::from_millis(200);
/// So many delays are no accident.
const ENOUGH: usize = 3;

/// What in an answer's head tells that it came from a cache.
fn stored(answer: &Answer) -> Option<String> {
    for name in ["cf-cache-status", "x-cache", "x-vercel-cache"] {
        if let Some(value) = answer.header(name)
            && value
                .to_ascii_uppercase()
                .split([' ', ','])
                .any(|word| word == "HIT")
        {
            return Some(format!("{name}: {value}"));
        }
    }
    let age = answer.header("age")?;
    (age.trim().parse::<u64>().ok()? > 0).then(|| format!("age: {age}"))
}
