//! D17: whether a connection outlives what closes connections that are idle, or old.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::channel::{Channel, Reply};
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::facts::Patient;
use crate::options::Options;
use crate::texts::{Note, Verdict};
use crate::wire::Frame;

pub(super) struct Soak;

/// So often the busy one says something.
const CHATTER: Duration = Duration::from_millis(400);
/// To open and to close the connections.
const AROUND: Duration = Duration::from_secs(8);
/// A ping may come so late.
const GRACE: Duration = Duration::from_secs(2);

impl Check for Soak {
    fn id(&self) -> Id {
        Id::D17
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D15]
    }

    fn allowance(&self, options: &Options) -> (usize, Duration) {
        match options.soak {
            Some(time) => (3, time + AROUND),
            None => (0, Duration::ZERO),
        }
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(time) = patient.options.soak else {
                return Outcome::Skipped(Why::OnlyWith("--soak"));
            };
            if !patient.has_websocket() {
                return Outcome::Skipped(Why::NoWebSocket);
            }
            let Some(open) = patient.open.clone() else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let interval = open.ping_interval;
            let patient = &*patient;
            let lives = [Manner::Idle, Manner::Idle, Manner::Busy];
            let lives = lives.map(|manner| live(patient, manner, interval, time));
            let lives: Option<Vec<Life>> = join_all(lives).await.into_iter().collect();
            let Some(lives) = lives else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let [one, other, busy] = &lives[..] else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let tell = |verdict, confidence| {
                let names = [
                    "an idle WebSocket",
                    "another",
                    "one on which something is said",
                ];
                let finding = Finding::fatal(verdict, confidence);
                let told = names
                    .iter()
                    .zip(&lives)
                    .fold(finding, |finding, (name, life)| {
                        finding.with_words(*name, life.words())
                    });
                Outcome::found(told)
            };
            match (&one.end, &other.end, &busy.end) {
                (End::Open, End::Open, End::Open) => {
                    let is_due = interval + GRACE < time && patient.revision() == 4;
                    match is_due && one.pings + other.pings + busy.pings == 0 {
                        true => tell(Verdict::NoPing { interval: time }, Confidence::Likely),
                        false => Outcome::Passed(Note::Soaked(time), Vec::new()),
                    }
                }
                (End::Cut, End::Cut, End::Open) if is_about(one.silent, other.silent) => {
                    let after = one.silent;
                    tell(Verdict::IdleCut { after, interval }, Confidence::Certain)
                }
                (End::Cut, End::Cut, End::Cut)
                    if is_about(one.age, other.age) && is_about(one.age, busy.age) =>
                {
                    tell(Verdict::LifeCut { after: one.age }, Confidence::Likely)
                }
                _ => Outcome::Inconclusive(Why::Unclear),
            }
        }
        .boxed()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// Answers pings, and says nothing else.
    Idle,
    Busy,
}

/// How a connection lived.
struct Life {
    age: Duration,
    /// How long nothing had been said in the end.
    silent: Duration,
    pings: usize,
    end: End,
}

enum End {
    Open,
    /// Without a farewell, as proxies do it.
    Cut,
    /// By the server, or because it said what makes no sense.
    Closed(String),
}

impl Life {
    fn words(&self) -> String {
        let (age, silent) = (self.age.as_secs_f64(), self.silent.as_secs_f64());
        match &self.end {
            End::Open => format!("open after {age:.1} s"),
            End::Cut => {
                format!(
                    "cut without a close frame after {age:.1} s, {silent:.1} s after the last message"
                )
            }
            End::Closed(how) => format!("{how} after {age:.1} s"),
        }
    }
}

/// Opens a connection and keeps it for so long.
async fn live(
    patient: &Patient,
    manner: Manner,
    interval: Duration,
    time: Duration,
) -> Option<Life> {
    let revision = patient.revision();
    let (_, _, websocket) = patient.open_websocket(revision).await;
    let mut channel = Channel::WebSocket(websocket?);
    // Who does not join is closed by the server after a while.
    let Reply::Joined(_) = channel.join(patient, patient.options.auth.as_ref()).await else {
        channel.close(patient).await;
        return None;
    };
    // In revision 3 the client pings.
    let (beat, pace) = match (manner, revision) {
        (Manner::Busy, 3) => ("2", CHATTER),
        (Manner::Busy, _) => ("3", CHATTER),
        (Manner::Idle, 3) => ("2", interval),
        (Manner::Idle, _) => ("", time),
    };
    let start = Instant::now();
    let mut last = start;
    let mut beaten = start;
    let mut pings = 0;
    let end = loop {
        let now = Instant::now();
        let left = time.saturating_sub(now - start);
        if left.is_zero() {
            break End::Open;
        }
        let wait = left.min(pace.saturating_sub(now - beaten));
        match channel.next(patient, wait).await {
            Frame::Text(text) if text == "2" => {
                pings += 1;
                channel.send(patient, "3").await;
                last = Instant::now();
            }
            Frame::Text(_) | Frame::Binary(_) => last = Instant::now(),
            Frame::Silent if !beat.is_empty() && beaten.elapsed() >= pace => {
                channel.send(patient, beat).await;
                beaten = Instant::now();
                last = beaten;
            }
            Frame::Silent => {}
            Frame::Ended => break End::Cut,
            Frame::Close(code) => break End::Closed(format!("closed with code {code}")),
            Frame::Broken(what, _) => break End::Closed(what),
        }
    };
    let life = Life {
        age: start.elapsed(),
        silent: last.elapsed(),
        pings,
        end,
    };
    channel.close(patient).await;
    Some(life)
}

/// Says whether two times are one, as far as clocks and networks go.
fn is_about(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) < Duration::from_secs(2).min(one.max(other) / 4)
}
