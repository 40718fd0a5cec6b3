//! D10: whether all requests of a client reach the same server.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use socketio_proto::engine::Transport;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::{self, Reading};
use crate::facts::Patient;
use crate::texts::{Note, Verdict};
use crate::wire::{Ask, Exchange};

pub(super) struct Stickiness;

impl Check for Stickiness {
    fn id(&self) -> Id {
        Id::D10
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            if !patient.has_polling() || patient.options.transport == Some(Transport::WebSocket) {
                return Outcome::Skipped(Why::NoPolling);
            }
            let first = pass(patient, ROUNDS, false).await;
            if let Some(sid) = first.repeated(&patient.sids) {
                // Two clients with one session: what else fails is no matter of the servers.
                patient.sids.push(sid);
                return Outcome::Passed(Note::None, Vec::new());
            }
            if first.hits == 0 && first.misses.is_empty() {
                return Outcome::Inconclusive(Why::Unclear);
            }
            if first.misses.is_empty() {
                return Outcome::Passed(Note::Rounds(ROUNDS), Vec::new());
            }
            let (outcome, has_cookies) = explain(patient, first).await;
            // With cookies the rest can be examined as a browser meets it.
            if !has_cookies {
                patient.polling_fault = Some(Id::D10);
            }
            outcome
        }
        .boxed()
    }
}

/// With the beats of each and its end that makes 20 requests: a balancer that tosses a coin finds the
/// right one of two servers for all of them once in a million times.
const ROUNDS: usize = 4;
const BEATS: usize = 4;
/// With the cookies of the balancer, so many rounds.
const COOKIE_ROUNDS: usize = 3;
/// After so many misses there is no doubt that there are some.
const ENOUGH: usize = 2;
/// So many requests on one connection meet the right one of three servers all but twice in a thousand
/// times, and in a rotation over as many servers each time.
const PROBES: usize = 15;

/// What became of the requests that followed handshakes.
#[derive(Debug, Default)]
struct Pass {
    hits: usize,
    misses: Vec<Exchange>,
    /// A session was unknown to one request, and known to a later one: it has not died.
    has_revived: bool,
    cookies: Vec<String>,
    sids: Vec<String>,
}

impl Pass {
    /// A session that was given to two, or that is one of `known`.
    fn repeated(&self, known: &[String]) -> Option<String> {
        let mut sids = self.sids.iter().enumerate();
        let found = sids.find(|(i, sid)| known.contains(sid) || self.sids[..*i].contains(sid))?;
        Some(found.1.clone())
    }
}

/// Opens sessions and follows each up, each time on a new connection.
///
/// The first round is alone, so that a strict rotation cannot hide: it sends the request after the
/// handshake to another server. Rounds in lockstep could fall in step with it.
async fn pass(patient: &Patient, rounds: usize, with_cookies: bool) -> Pass {
    let mut sum = Pass::default();
    for count in [1, rounds - 1] {
        // With cookies a single one says all.
        let enough = if with_cookies { 1 } else { ENOUGH };
        if sum.misses.len() >= enough {
            break;
        }
        for round in join_all((0..count).map(|_| round(patient, with_cookies))).await {
            sum.hits += round.hits;
            sum.misses.extend(round.misses);
            sum.has_revived |= round.has_revived;
            sum.sids.extend(round.sids);
            if sum.cookies.is_empty() {
                sum.cookies = round.cookies;
            }
        }
    }
    sum
}

/// What changes nothing: in revision 3 the client pings, in revision 4 it answers pings; either is taken
/// at any time.
fn beat(patient: &Patient) -> &'static str {
    if patient.revision() == 3 { "2" } else { "3" }
}

/// Opens a session, sends what changes nothing, and ends it.
async fn round(patient: &Patient, with_cookies: bool) -> Pass {
    let mut pass = Pass::default();
    let (exchange, open) = patient.handshake(&[]).await;
    let Some(open) = open else {
        return pass;
    };
    pass.sids = vec![open.sid.clone()];
    pass.cookies = cookies(&exchange);
    let sent: &[String] = if with_cookies {
        &pass.cookies.clone()
    } else {
        &[]
    };
    for packet in [beat(patient); BEATS].into_iter().chain(["1", "1"]) {
        let exchange = patient
            .post(patient.revision(), &open.sid, packet, sent)
            .await;
        if exchange.status() == Some(200) {
            pass.has_revived |= !pass.misses.is_empty();
            pass.hits += 1;
            if packet == "1" {
                break;
            }
        } else if exchange
            .answer()
            .map(Reading::of)
            .and_then(|reading| reading.code())
            == Some(1)
        {
            pass.misses.push(exchange);
        }
    }
    pass
}

/// The cookies that came with an answer, without the one of Engine.IO itself.
pub(super) fn cookies(exchange: &Exchange) -> Vec<String> {
    let Some(answer) = exchange.answer() else {
        return Vec::new();
    };
    let pairs = answer
        .all("set-cookie")
        .filter_map(|value| value.split(';').next());
    pairs
        .map(str::trim)
        .filter(|pair| !pair.starts_with("io="))
        .map(str::to_owned)
        .collect()
}

/// Tells why sessions are not found, and whether they are with the cookies of the balancer.
async fn explain(patient: &Patient, first: Pass) -> (Outcome, bool) {
    let (failed, total) = (first.misses.len(), first.hits + first.misses.len());
    let tell = |mut finding: Finding| {
        for exchange in first.misses.iter().take(2) {
            finding = finding.with(exchange);
        }
        Outcome::found(finding)
    };
    // A session that was found after it was not has not died: there is another server.
    let mut has_revived = first.has_revived;
    if !first.cookies.is_empty() {
        let second = pass(patient, COOKIE_ROUNDS, true).await;
        if second.misses.is_empty() && second.hits >= COOKIE_ROUNDS {
            let names = first
                .cookies
                .iter()
                .filter_map(|pair| Some(pair.split_once('=')?.0));
            let cookie = names.collect::<Vec<_>>().join(", ");
            let verdict = Verdict::CookieStickiness {
                cookie,
                failed,
                total,
            };
            return (tell(Finding::warn(verdict, Confidence::Certain)), true);
        }
        has_revived |= second.has_revived;
    }
    let is_known = if has_revived {
        Some(true)
    } else {
        same_connection(patient).await
    };
    let (verdict, confidence) = match is_known {
        Some(true) => (Verdict::NoStickiness { failed, total }, Confidence::Certain),
        Some(false) if first.hits == 0 => {
            (Verdict::LostSessions { failed, total }, Confidence::Likely)
        }
        _ => (Verdict::NoStickiness { failed, total }, Confidence::Likely),
    };
    (tell(Finding::fatal(verdict, confidence)), false)
}

/// Says whether a session is ever known on the very connection on which it was opened. A balancer may
/// choose a server for each request there, too: several are sent. `None` when it cannot be seen.
async fn same_connection(patient: &Patient) -> Option<bool> {
    let revision = patient.revision();
    let mut line = patient.wire.line().await.ok()?;
    let ask = Ask::get(patient.engine(revision, Transport::Polling, None));
    let exchange = patient.wire.ask_on(&mut line, ask).await;
    let Reading::Open(open, _) = Reading::of(exchange.answer()?) else {
        return None;
    };
    let target = patient.engine(revision, Transport::Polling, Some(&open.sid));
    for _ in 0..PROBES {
        let ask = Ask::post(target.clone(), engine::payload(revision, beat(patient)));
        let exchange = patient.wire.ask_on(&mut line, ask).await;
        let answer = exchange.answer()?;
        if answer.status == 200 {
            // Ends the session, where the same server is met again.
            let end = Ask::post(target, engine::payload(revision, "1"));
            patient.wire.ask_on(&mut line, end).await;
            return Some(true);
        }
        if Reading::of(answer).code() != Some(1) {
            return None;
        }
    }
    Some(false)
}
