//! D12 and D13: a WebSocket of its own, and one to which a session moves.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::Transport;
use tokio::time::timeout;

use super::cors::page;
use super::sticky::cookies;
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::Reading;
use crate::facts::{Attempt, Patient};
use crate::options::Origin;
use crate::texts::{Note, Verdict};
use crate::wire::{Answer, Ask, Fault, Frame, WebSocket};

/// A WebSocket with a session of its own.
pub(super) struct Direct;

impl Check for Direct {
    fn id(&self) -> Id {
        Id::D12
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            if patient.options.transport == Some(Transport::Polling) {
                return Outcome::Skipped(Why::NoWebSocket);
            }
            if patient.websocket.is_none() {
                let revision = patient.revision();
                let (exchange, attempt, websocket) = patient.open_websocket(revision).await;
                if let Some(websocket) = websocket {
                    websocket.close().await;
                }
                if let (Attempt::Open(open), None) = (&attempt, &patient.open) {
                    patient.open = Some(open.clone());
                }
                patient.websocket = Some((exchange, attempt));
            }
            if patient.is_polling_only() {
                return Outcome::Skipped(Why::NoUpgrade);
            }
            let Some((exchange, attempt)) = &patient.websocket else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let (verdict, confidence) = match attempt {
                Attempt::Open(_) => return Outcome::Passed(Note::Took(exchange.took), Vec::new()),
                Attempt::Broken => (Verdict::WebSocketBroken, Confidence::Certain),
                Attempt::NoSession(Frame::Broken(..)) => {
                    return Outcome::Inconclusive(Why::Unclear);
                }
                Attempt::NoSession(_) => (Verdict::WebSocketNoSession, Confidence::Likely),
                Attempt::Fault(Fault::Silent) => (Verdict::WebSocketSilent, Confidence::Likely),
                Attempt::Fault(Fault::Closed | Fault::Cut | Fault::NotHttp(_)) => {
                    (Verdict::WebSocketClosed, Confidence::Likely)
                }
                Attempt::Fault(Fault::Spent | Fault::Tls(_) | Fault::Unreachable(_)) => {
                    return Outcome::Inconclusive(Why::Unclear);
                }
                Attempt::Refused(answer) => match refused(answer) {
                    Some(found) => found,
                    None => return Outcome::Inconclusive(Why::Unclear),
                },
            };
            let mut finding = Finding::fatal(verdict, confidence).with(exchange);
            if finding.verdict == Verdict::UpgradeStripped {
                // An ordinary request gets the very same answer, if it is the headers that are missing.
                let target = patient.engine(patient.revision(), Transport::WebSocket, None);
                let plain = patient.wire.ask(Ask::get(target)).await;
                let same = |answer: &Answer| (answer.status, answer.text());
                if plain.answer().map(same) != exchange.answer().map(same) {
                    finding.confidence = Confidence::Possible;
                }
                finding = finding.with(&plain);
            }
            Outcome::found(finding)
        }
        .boxed()
    }
}

/// What an answer other than 101 means.
fn refused(answer: &Answer) -> Option<(Verdict, Confidence)> {
    let status = answer.status;
    let text = answer.text();
    let message: String = text.trim().chars().take(100).collect();
    Some(match Reading::of(answer) {
        // A server that saw the upgrade refuses in plain text; this is its answer to another request.
        Reading::Refused(3, _) => (Verdict::UpgradeStripped, Confidence::Likely),
        Reading::Refused(_, message) => (
            Verdict::WebSocketRefused { status, message },
            Confidence::Certain,
        ),
        Reading::OriginRefused => (
            Verdict::WebSocketRefused { status, message },
            Confidence::Certain,
        ),
        Reading::Open(..) => (Verdict::WebSocketPage { status }, Confidence::Likely),
        Reading::Page | Reading::Other => match status {
            426 => (Verdict::UpgradeStripped, Confidence::Likely),
            429 => return None,
            502..=504 | 520..=524 => (Verdict::WebSocketGateway { status }, Confidence::Likely),
            400 | 401 | 403 | 407 => (
                Verdict::WebSocketRefused { status, message },
                Confidence::Likely,
            ),
            _ => (Verdict::WebSocketPage { status }, Confidence::Likely),
        },
    })
}

/// A session over polling that moves to a WebSocket.
pub(super) struct Upgrade;

impl Check for Upgrade {
    fn id(&self) -> Id {
        Id::D13
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06, Id::D10, Id::D12]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let skip = match patient.options.transport {
                Some(Transport::WebSocket) => Some(Why::NoPolling),
                Some(_) => Some(Why::NoWebSocket),
                None if !patient.has_polling() => Some(Why::NoPolling),
                None if !patient.has_websocket() => Some(Why::NoUpgrade),
                None => patient.polling_fault.map(Why::Needs),
            };
            if let Some(why) = skip {
                return Outcome::Skipped(why);
            }
            let mut opened = None;
            if let Ok(origin) = page(patient) {
                // The checks of CORS read the same answer, which saves requests.
                let (exchange, open) = patient.handshake_of(&origin).await;
                opened = open.map(|open| (exchange.clone(), Some(open)));
                patient.cors = Some(exchange);
            }
            let (handshake, open) = match opened {
                Some(opened) => opened,
                None => patient.handshake(&[]).await,
            };
            let Some(open) = open else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            if patient.sids.contains(&open.sid) {
                // A cache: the next check but this says so.
                return Outcome::Inconclusive(Why::Unclear);
            }
            patient.sids.push(open.sid.clone());
            if open.upgrades.is_empty() {
                patient.leave(patient.revision(), &open.sid).await;
                return Outcome::Skipped(Why::NoUpgrade);
            }
            upgrade(patient, &open.sid, &cookies(&handshake)).await
        }
        .boxed()
    }
}

async fn upgrade(patient: &Patient, sid: &str, cookies: &[String]) -> Outcome {
    let revision = patient.revision();
    let target = patient.engine(revision, Transport::WebSocket, Some(sid));
    let mut ask = Ask::get(target).with_cookies(cookies);
    let leave = || patient.post(revision, sid, CLOSE, cookies);
    if let Some(Origin(origin)) = &patient.options.origin {
        ask = ask.with_header("Origin", origin);
    }
    let (exchange, websocket) = patient.wire.websocket(ask).await;
    let Some(mut websocket) = websocket else {
        leave().await;
        let message = match &exchange.got {
            Err(Fault::Spent | Fault::Tls(_) | Fault::Unreachable(_)) => {
                return Outcome::Inconclusive(Why::Unclear);
            }
            Err(_) => "no answer".to_owned(),
            Ok(answer) if answer.status == 429 => return Outcome::Inconclusive(Why::Unclear),
            Ok(answer) => match Reading::of(answer) {
                Reading::Refused(_, message) => message,
                _ => answer.text().trim().chars().take(100).collect(),
            },
        };
        // Over polling all requests of a session have met the same server.
        let verdict = match &*message {
            "Session ID unknown" => Verdict::WebSocketElsewhere,
            _ => Verdict::UpgradeRefused { message },
        };
        return Outcome::found(Finding::fatal(verdict, Confidence::Likely).with(&exchange));
    };
    let target = patient.engine(revision, Transport::Polling, Some(sid));
    let poll = Ask::get(target).with_cookies(cookies);
    let mut poll = Box::pin(patient.wire.ask_for(poll, patient.wire.budget.answer()));
    let probed = async {
        websocket.send_text("2probe").await;
        websocket.next(STEP).await
    };
    // The request has to be waiting when the probe is answered, as it is with a client.
    let (polled, probed) = {
        let mut probed = Box::pin(probed);
        let mut polled = None;
        loop {
            tokio::select! {
                exchange = &mut poll, if polled.is_none() => polled = Some(exchange),
                frame = &mut probed => break (polled, frame),
            }
        }
    };
    if probed != Frame::Text("3probe".to_owned()) {
        websocket.close().await;
        leave().await;
        if polled.is_none() {
            // The farewell ends it too.
            let _ = timeout(STEP, &mut poll).await;
        }
        let words = match &probed {
            Frame::Text(text) => format!("{text:?}"),
            other => format!("{other:?}"),
        };
        let finding = Finding::fatal(Verdict::ProbeUnanswered, Confidence::Likely);
        return Outcome::found(finding.with(&exchange).with_words("2probe", words));
    }
    let polled = match polled {
        Some(polled) => Some(polled),
        None => timeout(STEP, &mut poll).await.ok(),
    };
    match polled {
        Some(polled) if polled.status() == Some(200) => {
            // In revision 3 the namespace's greeting may come in place of the noop.
            finish(websocket).await;
            Outcome::Passed(Note::Took(exchange.took), Vec::new())
        }
        Some(polled) => {
            websocket.close().await;
            leave().await;
            let finding = Finding::warn(Verdict::PollNotReleased, Confidence::Possible);
            Outcome::found(finding.with(&polled))
        }
        None => {
            finish(websocket).await;
            drop(poll);
            let finding = Finding::warn(Verdict::PollNotReleased, Confidence::Likely);
            let words = format!("nothing for {} ms after 3probe", STEP.as_millis());
            Outcome::found(finding.with_words("the waiting GET", words))
        }
    }
}

/// Completes the upgrade and ends the session there.
async fn finish(mut websocket: WebSocket) {
    websocket.send_text("5").await;
    websocket.send_text(CLOSE).await;
    websocket.close().await;
}

/// So long each step of an upgrade may take.
const STEP: Duration = Duration::from_millis(1500);
/// The packet that ends a session, in each revision.
const CLOSE: &str = "1";
