//! D16: whether the server pings, and how often.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::OpenData;
use tokio::time::Instant;

use super::recovery::offset;
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::facts::Patient;
use crate::texts::{Note, Verdict};
use crate::wire::Frame;

pub(super) struct Heartbeat;

/// Longer intervals are not waited for.
const MAX_INTERVAL: Duration = Duration::from_millis(3500);
/// A ping may come so late.
const GRACE: Duration = Duration::from_secs(1);

impl Check for Heartbeat {
    fn id(&self) -> Id {
        Id::D16
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D15]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(open) = patient.open.clone() else {
                return Outcome::Skipped(Why::Unclear);
            };
            let interval = open.ping_interval;
            let odd = odd(patient, &open);
            let is_short =
                interval <= MAX_INTERVAL && interval + GRACE * 2 < patient.wire.budget.left();
            // In revision 3 it is the client that pings.
            let is_old = patient.revision() == 3;
            let Some(mut websocket) = patient.joined.take() else {
                return Outcome::Passed(Note::NotObserved(interval), odd);
            };
            if !is_short || is_old {
                patient.joined = Some(websocket);
                return Outcome::Passed(Note::NotObserved(interval), odd);
            }
            let start = Instant::now();
            let deadline = start + interval + GRACE;
            loop {
                let wait = deadline.saturating_duration_since(Instant::now());
                match websocket.next(wait).await {
                    Frame::Text(text) if text == "2" => {
                        websocket.send_text("3").await;
                        patient.joined = Some(websocket);
                        return Outcome::Passed(Note::Heartbeat, odd);
                    }
                    Frame::Text(text) => {
                        let found = offset(&text, &patient.wire.target.namespace);
                        patient.offset = patient.offset.take().or(found);
                    }
                    Frame::Binary(_) => {}
                    Frame::Silent => {
                        websocket.close().await;
                        let verdict = Verdict::NoPing {
                            interval: interval + GRACE,
                        };
                        let finding = Finding::fatal(verdict, Confidence::Likely);
                        return Outcome::found(
                            finding.with_words("a WebSocket that waits", "no ping"),
                        );
                    }
                    // Who ends a connection on purpose says so: a proxy only hangs up.
                    Frame::Ended if start.elapsed() < interval => {
                        let after = start.elapsed();
                        let verdict = Verdict::TunnelCut { after, interval };
                        let finding = Finding::fatal(verdict, Confidence::Likely);
                        let words = "it ended without a close frame";
                        return Outcome::found(finding.with_words("a WebSocket that waits", words));
                    }
                    // The application may end connections as it likes.
                    Frame::Broken(..) | Frame::Close(_) | Frame::Ended => {
                        return Outcome::Inconclusive(Why::Unclear);
                    }
                }
            }
        }
        .boxed()
    }
}

/// What is unusual about the times of the heartbeat.
fn odd(patient: &Patient, open: &OpenData) -> Vec<Finding> {
    let (interval, wait) = (open.ping_interval, open.ping_timeout);
    let words = format!(
        "pingInterval {} ms, pingTimeout {} ms",
        interval.as_millis(),
        wait.as_millis()
    );
    let mut findings = Vec::new();
    if wait < MIN_TIMEOUT {
        let verdict = Verdict::HastyTimeout { timeout: wait };
        findings.push(Finding::warn(verdict, Confidence::Likely));
    }
    if interval > LONG_INTERVAL {
        let verdict = Verdict::RarePings { interval };
        findings.push(Finding::warn(verdict, Confidence::Possible));
    }
    // In revision 3 the client's own timer keeps the connection, which browsers slow down in tabs that
    // nobody sees.
    let client = patient.options.client.as_ref();
    if patient.revision() == 3
        && client.is_some_and(|client| client.name == "js")
        && interval + wait < THROTTLED
    {
        let verdict = Verdict::TabPings {
            limit: interval + wait,
        };
        findings.push(Finding::info(verdict, Confidence::Likely));
    }
    let told = |finding: Finding| finding.with_words("the handshake", words.clone());
    findings.into_iter().map(told).collect()
}

/// Less is not enough for a phone that changes its network, or for a large message.
const MIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Most proxies cut a connection on which nothing is said for so long.
const LONG_INTERVAL: Duration = Duration::from_secs(60);
/// The timers of a hidden tab fire so rarely.
const THROTTLED: Duration = Duration::from_secs(60);
