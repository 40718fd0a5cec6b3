//! D18: whether messages of some size get through, and how quickly.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::OpenData;
use socketio_proto::engine::Transport;
use tokio::time::Instant;

use super::channel::{Channel, Reply, head};
use super::sticky::cookies;
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine;
use crate::facts::Patient;
use crate::options::{Options, PayloadSize};
use crate::texts::{Note, Verdict};
use crate::wire::{Ask, Exchange, Fault};

pub(super) struct Payload;

/// What servers take by default, in bytes.
const DEFAULT: u64 = 1_000_000;
/// So long one message may be on its way.
const UPLOAD: Duration = Duration::from_secs(20);
/// So often the size is halved in search of one that passes.
const HALVINGS: u32 = 8;

impl Check for Payload {
    fn id(&self) -> Id {
        Id::D18
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn allowance(&self, options: &Options) -> (usize, Duration) {
        match options.payload {
            Some(_) => (40, UPLOAD * 3),
            None => (0, Duration::ZERO),
        }
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(asked) = patient.options.payload else {
                return Outcome::Skipped(Why::OnlyWith("--payload"));
            };
            let Some(open) = patient.open.clone() else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let size = match asked {
                PayloadSize::Bytes(size) => size,
                PayloadSize::Limit => open.max_payload.unwrap_or(DEFAULT),
            };
            let only = patient.options.transport;
            let is_polled = patient.has_polling() && patient.polling_fault.is_none();
            let mut sent = Vec::new();
            if is_polled && only != Some(Transport::WebSocket) {
                sent.push(over_polling(patient, &open, size).await);
            }
            if patient.has_websocket() && only != Some(Transport::Polling) {
                sent.push(over_websocket(patient, &open, size).await);
            }
            let mut findings: Vec<Finding> = Vec::new();
            let mut has_passed = false;
            for sent in sent {
                match sent {
                    Sent::Passed => has_passed = true,
                    Sent::Unclear => {}
                    // The server's own limit, and a slow line, are the same for both transports.
                    Sent::Failed(finding) => {
                        if findings
                            .iter()
                            .all(|other| other.verdict != finding.verdict)
                        {
                            findings.push(finding);
                        }
                    }
                }
            }
            match (findings.is_empty(), has_passed) {
                (false, _) => Outcome::Failed(findings),
                (true, true) => Outcome::Passed(Note::Payload(size), Vec::new()),
                (true, false) => Outcome::Inconclusive(Why::Unclear),
            }
        }
        .boxed()
    }
}

/// What became of a message.
enum Sent {
    Passed,
    Failed(Finding),
    Unclear,
}

/// A packet that servers ignore, of so many bytes: an answer to a ping, or in revision 3 a ping.
fn packet(revision: u8, size: u64) -> String {
    let letter = if revision == 3 { "2" } else { "3" };
    letter.repeat(usize::try_from(size).unwrap_or(usize::MAX))
}

/// Says whether a message that was so long on its way was too slow for the heartbeat.
fn too_slow(open: &OpenData, size: u64, took: Duration) -> Option<Finding> {
    let timeout = open.ping_timeout;
    (took > timeout).then(|| {
        // Its very length may differ from one run to the next.
        let verdict = Verdict::SlowUpload { size, timeout };
        let words = format!("{} ms on its way", took.as_millis());
        Finding::fatal(verdict, Confidence::Likely)
            .with_words(format!("a message of {size} bytes"), words)
    })
}

/// Says whether the server has said that it takes no such message.
fn too_large(open: &OpenData, size: u64) -> Option<Verdict> {
    let limit = open.max_payload.filter(|limit| *limit < size)?;
    Some(Verdict::MessageTooLarge { size, limit })
}

async fn over_polling(patient: &Patient, open: &OpenData, size: u64) -> Sent {
    let Some(exchange) = post(patient, size).await else {
        return Sent::Unclear;
    };
    let status = exchange.status();
    if let Some(finding) = too_slow(open, size, exchange.took) {
        return Sent::Failed(finding.with(&exchange));
    }
    if status == Some(200) {
        return Sent::Passed;
    }
    let is_cut = matches!(exchange.got, Err(Fault::Closed | Fault::Cut));
    if !is_cut && !matches!(status, Some(400 | 413 | 500..=504)) {
        return Sent::Unclear;
    }
    if let Some(verdict) = too_large(open, size) {
        return Sent::Failed(Finding::fatal(verdict, Confidence::Certain).with(&exchange));
    }
    let mut passed = None;
    for halving in 1..=HALVINGS {
        let smaller = size >> halving;
        let exchange = post(patient, smaller).await;
        if exchange.and_then(|exchange| exchange.status()) == Some(200) {
            passed = Some(smaller);
            break;
        }
    }
    let Some(passed) = passed else {
        return Sent::Unclear;
    };
    let verdict = Verdict::BodyCapped {
        transport: Transport::Polling,
        size,
        passed,
        is_promised: open.max_payload.is_some(),
    };
    // Servers say no more than the status.
    let is_page = exchange
        .answer()
        .is_some_and(|answer| !answer.body.is_empty());
    let confidence = match is_page {
        true => Confidence::Certain,
        false => Confidence::Likely,
    };
    Sent::Failed(Finding::fatal(verdict, confidence).with(&exchange))
}

/// Sends a message over polling, in a session of its own.
async fn post(patient: &Patient, size: u64) -> Option<Exchange> {
    let revision = patient.revision();
    let (handshake, open) = patient.handshake(&[]).await;
    let sid = open?.sid;
    let cookies = cookies(&handshake);
    let target = patient.engine(revision, Transport::Polling, Some(&sid));
    // In revision 3 the length stands before the packet; all of it is the body.
    let around = match revision {
        3 => size.to_string().len() as u64 + 1,
        _ => 0,
    };
    let body = engine::payload(revision, &packet(revision, size.saturating_sub(around)));
    let ask = Ask::post(target, body).with_cookies(&cookies);
    let exchange = patient.wire.ask_for(ask, UPLOAD).await;
    patient.post(revision, &sid, "1", &cookies).await;
    Some(exchange)
}

async fn over_websocket(patient: &Patient, open: &OpenData, size: u64) -> Sent {
    let revision = patient.revision();
    let (_, _, websocket) = patient.open_websocket(revision).await;
    let Some(mut websocket) = websocket else {
        return Sent::Unclear;
    };
    let namespace = &patient.wire.target.namespace;
    let start = Instant::now();
    websocket
        .send_text_for(&packet(revision, size), UPLOAD)
        .await;
    // What follows is answered only when it has passed.
    websocket.send_text(&head(namespace, "40")).await;
    let mut channel = Channel::WebSocket(websocket);
    let reply = loop {
        match channel.reply(patient, namespace).await {
            Reply::Silent if start.elapsed() < UPLOAD => {}
            reply => break reply,
        }
    };
    let took = start.elapsed();
    let how = match reply {
        Reply::Ended(how) => how,
        Reply::Joined(_) | Reply::Refused(_) => {
            channel.close(patient).await;
            return match too_slow(open, size, took) {
                Some(finding) => Sent::Failed(finding),
                None => Sent::Passed,
            };
        }
        Reply::Silent | Reply::Unclear => {
            channel.close(patient).await;
            return Sent::Unclear;
        }
    };
    let words = (format!("a WebSocket message of {size} bytes"), how);
    let finding = match (too_large(open, size), too_slow(open, size, took)) {
        (Some(verdict), _) => Finding::fatal(verdict, Confidence::Certain),
        (None, Some(finding)) => finding,
        (None, None) => {
            let transport = Transport::WebSocket;
            let verdict = Verdict::BodyCapped {
                transport,
                size,
                passed: 0,
                is_promised: open.max_payload.is_some(),
            };
            Finding::fatal(verdict, Confidence::Likely)
        }
    };
    Sent::Failed(finding.with_words(words.0, words.1))
}
