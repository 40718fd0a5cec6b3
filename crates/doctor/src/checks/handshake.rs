//! D05 to D07: whether it sends us away, whether Socket.IO answers, and where.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use socketio_proto::engine::Transport;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::Reading;
use crate::facts::{Attempt, Family, Patient};
use crate::texts::{Note, Verdict};
use crate::wire::{self, Answer, Ask, Exchange, Fault};

/// Are we sent elsewhere?
pub(super) struct Redirects;

impl Check for Redirects {
    fn id(&self) -> Id {
        Id::D05
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D04]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let target = patient.engine(4, Transport::Polling, None);
            let exchange = patient.wire.ask(Ask::get(target)).await;
            let answer = exchange.answer();
            let redirect = answer
                .filter(|answer| matches!(answer.status, 301 | 302 | 303 | 307 | 308))
                .map(|answer| Verdict::Redirect {
                    status: answer.status,
                    to: answer.header("location").unwrap_or("nowhere").to_owned(),
                });
            if let Some(verdict) = redirect {
                let finding = Finding::fatal(verdict, Confidence::Certain);
                return Outcome::found(finding.with(&exchange));
            }
            patient.first = Some(exchange);
            Outcome::Passed(Note::None, Vec::new())
        }
        .boxed()
    }
}

/// Is it Socket.IO at all?
pub(super) struct Handshake;

impl Check for Handshake {
    fn id(&self) -> Id {
        Id::D06
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D05]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(exchange) = patient.first.take() else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let reading = exchange.answer().map(Reading::of);
            patient.polling = Some((exchange.clone(), reading.clone()));
            match (&exchange.got, reading) {
                (Ok(answer), Some(reading)) => answered(patient, &exchange, answer, reading).await,
                (Err(fault), _) => failed(patient, &exchange, fault).await,
                (Ok(_), None) => Outcome::Inconclusive(Why::Unclear),
            }
        }
        .boxed()
    }
}

async fn answered(
    patient: &mut Patient,
    exchange: &Exchange,
    answer: &Answer,
    reading: Reading,
) -> Outcome {
    let fatal =
        |verdict, confidence| Outcome::found(Finding::fatal(verdict, confidence).with(exchange));
    let status = answer.status;
    match reading {
        Reading::Open(open, revision) => {
            let text = answer.text();
            if text.find(r#""pingTimeout""#) < text.find(r#""pingInterval""#) {
                patient.family = Family::Python;
            }
            patient.revisions = vec![revision];
            patient.sids.push(open.sid.clone());
            patient.leave(revision, &open.sid).await;
            let note = Note::Session {
                ping_interval: open.ping_interval,
                ping_timeout: open.ping_timeout,
                max_payload: open.max_payload,
            };
            patient.open = Some(open);
            return Outcome::Passed(note, Vec::new());
        }
        Reading::Refused(0 | 5, message) => {
            if !message.starts_with("Transport") && !message.starts_with("Unsupported") {
                patient.family = Family::Python;
            }
            return Outcome::Passed(Note::Refuses, Vec::new());
        }
        Reading::Refused(4, message) => {
            return fatal(Verdict::Forbidden { message }, Confidence::Certain);
        }
        Reading::Refused(code, message) => {
            return fatal(Verdict::BadRequest { code, message }, Confidence::Certain);
        }
        Reading::OriginRefused => {
            let origin = patient.wire.target.origin();
            return fatal(Verdict::OriginRefused { origin }, Confidence::Certain);
        }
        Reading::Page | Reading::Other => {}
    }
    if status == 400 && answer.text().contains("HTTPS port") && speaks_tls(patient).await {
        return fatal(Verdict::PlainToTls, Confidence::Certain);
    }
    if answer.header("cf-mitigated").is_some() {
        // A firewall's page for this program: browsers may get through.
        return Outcome::Inconclusive(Why::Unclear);
    }
    match status {
        401 | 403 | 407 => fatal(Verdict::AuthWall { status }, Confidence::Likely),
        // It says nothing about what others get.
        429 => Outcome::Inconclusive(Why::Unclear),
        503 if answer.text().starts_with('{') => {
            fatal(Verdict::Busy { status }, Confidence::Likely)
        }
        502..=504 | 520..=524 => fatal(Verdict::Gateway { status }, Confidence::Likely),
        _ => match try_websocket(patient).await {
            true => Outcome::Passed(Note::Refuses, Vec::new()),
            // Where it is instead is the question of the next check.
            false => {
                patient.is_elsewhere = true;
                Outcome::Failed(Vec::new())
            }
        },
    }
}

async fn failed(patient: &mut Patient, exchange: &Exchange, fault: &Fault) -> Outcome {
    let (verdict, confidence) = match fault {
        Fault::NotHttp(_) | Fault::Closed | Fault::Cut | Fault::Silent
            if !patient.wire.target.is_tls && speaks_tls(patient).await =>
        {
            (Verdict::PlainToTls, Confidence::Certain)
        }
        Fault::NotHttp(_) => (Verdict::NotHttp, Confidence::Certain),
        Fault::Closed | Fault::Cut | Fault::Silent => {
            if try_websocket(patient).await {
                return Outcome::Passed(Note::Refuses, Vec::new());
            }
            match fault {
                Fault::Silent => (Verdict::Silent, Confidence::Certain),
                _ => (Verdict::HungUp, Confidence::Certain),
            }
        }
        Fault::Spent | Fault::Tls(_) | Fault::Unreachable(_) => {
            return Outcome::Inconclusive(Why::Unclear);
        }
    };
    Outcome::found(Finding::fatal(verdict, confidence).with(exchange))
}

/// Says whether a session can be opened over WebSocket where polling is not answered.
async fn try_websocket(patient: &mut Patient) -> bool {
    let (exchange, attempt, websocket) = patient.open_websocket(4).await;
    if let Some(websocket) = websocket {
        websocket.close().await;
    }
    if let Attempt::Open(open) = &attempt {
        patient.open = Some(open.clone());
        patient.revisions = vec![4];
    }
    patient.websocket = Some((exchange, attempt));
    patient.has_websocket()
}

async fn speaks_tls(patient: &Patient) -> bool {
    let (Some(tls), Some(address)) = (&patient.tls, patient.wire.address()) else {
        return false;
    };
    let wire = &patient.wire;
    let tls = tls.lenient();
    let tried = wire::try_tls(&tls, &wire.target.host, address, wire.budget.answer());
    tried.await.is_ok()
}

/// Where is it, if not here?
pub(super) struct Path;

impl Check for Path {
    fn id(&self) -> Id {
        Id::D07
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D05]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some((asked, _)) = patient.polling.clone().filter(|_| patient.is_elsewhere) else {
                return Outcome::Skipped(Why::Unneeded);
            };
            let paths = candidates(patient);
            let probes = paths.iter().map(|path| probe(patient, path));
            let probes = join_all(probes).await;
            let path = patient.wire.target.path.clone();
            for (found, (exchange, is_engine)) in paths.iter().zip(&probes) {
                if *is_engine {
                    let verdict = Verdict::WrongPath {
                        asked: path,
                        found: found.clone(),
                    };
                    let finding = Finding::fatal(verdict, Confidence::Certain);
                    return Outcome::found(finding.with(&asked).with(exchange));
                }
            }
            let status = asked.status().unwrap_or_default();
            if let Some(outcome) = plain_websocket(patient, &asked, path.clone()).await {
                return outcome;
            }
            let (verdict, confidence) = match (asked.answer().map(Reading::of), status) {
                (Some(Reading::Page), 200) => (Verdict::Page { path }, Confidence::Certain),
                (_, 404) => (Verdict::NotFound { path, status }, Confidence::Certain),
                _ => (Verdict::NotEngine { status }, Confidence::Likely),
            };
            Outcome::found(Finding::fatal(verdict, confidence).with(&asked))
        }
        .boxed()
    }
}

/// Where Socket.IO often is, without the path that was asked for.
fn candidates(patient: &Patient) -> Vec<String> {
    let target = &patient.wire.target;
    let mut paths = vec![
        target.path.trim_end_matches('/').to_owned(),
        "/socket.io/".to_owned(),
    ];
    // Who gives the URL of the requests means its path by it.
    paths.extend(
        target
            .url_path
            .as_deref()
            .map(|path| format!("{}/", path.trim_end_matches('/'))),
    );
    let first = target
        .url_path
        .as_deref()
        .and_then(|path| path.split('/').find(|part| !part.is_empty()));
    paths.extend(
        first
            .filter(|part| *part != "socket.io")
            .map(|part| format!("/{part}/socket.io/")),
    );
    paths.extend(["/api/socket.io/", "/ws/socket.io/"].map(str::to_owned));
    let mut unique = Vec::new();
    for path in paths {
        if !path.is_empty() && path != target.path && !unique.contains(&path) {
            unique.push(path);
        }
    }
    unique
}

/// Asks at another path; ends the session that may be opened.
async fn probe(patient: &Patient, path: &str) -> (Exchange, bool) {
    let on = |parameters: &str| patient.wire.target.on(path, parameters);
    let exchange = patient
        .wire
        .ask(Ask::get(on("EIO=4&transport=polling")))
        .await;
    let is_engine = match exchange.answer().map(Reading::of) {
        Some(Reading::Open(open, revision)) => {
            let sid: String = url::form_urlencoded::byte_serialize(open.sid.as_bytes()).collect();
            let target = on(&format!("EIO={revision}&transport=polling&sid={sid}"));
            let body = crate::engine::payload(revision, "1");
            patient.wire.ask(Ask::post(target, body)).await;
            true
        }
        Some(Reading::Refused(0 | 5, _)) => true,
        _ => false,
    };
    (exchange, is_engine)
}

/// Says whether it is a WebSocket server of another kind.
async fn plain_websocket(patient: &mut Patient, asked: &Exchange, path: String) -> Option<Outcome> {
    let is_plain = |attempt: &Attempt| matches!(attempt, Attempt::NoSession(_));
    let here = patient
        .websocket
        .clone()
        .filter(|(_, attempt)| is_plain(attempt));
    let (exchange, path) = match here {
        Some((exchange, _)) => (exchange, path),
        None => {
            let ask = Ask::get(patient.wire.target.on("/", "EIO=4&transport=websocket"));
            let (exchange, attempt, websocket) = patient.attempt(ask).await;
            if let Some(websocket) = websocket {
                websocket.close().await;
            }
            match is_plain(&attempt) {
                true => (exchange, "/".to_owned()),
                false => return None,
            }
        }
    };
    // A server that asks for an upgrade, and then has no greeting, leaves no doubt.
    let confidence = match asked.status() {
        Some(426) => Confidence::Certain,
        _ => Confidence::Likely,
    };
    let finding = Finding::fatal(Verdict::PlainWebSocket { path }, confidence);
    Some(Outcome::found(finding.with(asked).with(&exchange)))
}
