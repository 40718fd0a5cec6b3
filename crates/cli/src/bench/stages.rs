//! The stages of a run, one after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::args::Scenario;
use super::client::{self, Connected};
use super::lane::Counts;
use super::series::Series;
use super::{Bench, ack, connect, jitter, messages, pacer};

/// The stages of a run, and what they have shown.
pub(crate) struct Stages<'a> {
    bench: &'a Arc<Bench>,
    pub(crate) series: Series,
    /// When the load began.
    began: Instant,
    /// Something has come back.
    has_heard: bool,
    /// Nothing has, to the end.
    pub(crate) was_silent: bool,
}

impl<'a> Stages<'a> {
    pub(crate) fn new(bench: &'a Arc<Bench>) -> Stages<'a> {
        Stages {
            bench,
            series: Series::default(),
            began: Instant::now(),
            has_heard: false,
            was_silent: false,
        }
    }

    /// Goes through all stages; what the lanes have counted, and how many messages had to come, unless
    /// no messages are sent.
    pub(crate) async fn run(&mut self) -> Option<(Counts, u64)> {
        match self.bench.options.scenario {
            Scenario::Connect => {
                self.connect().await;
                None
            }
            Scenario::Ack | Scenario::Broadcast | Scenario::Echo | Scenario::Idle => {
                self.stay().await
            }
        }
    }

    /// Connections that stay: all scenarios but one.
    async fn stay(&mut self) -> Option<(Counts, u64)> {
        let bench = self.bench;
        let connected: Arc<[Connected]> = client::open(bench).await.into();
        let has_messages = bench.options.scenario != Scenario::Idle;
        if connected.is_empty() || *bench.stop.borrow() {
            bench.is_closing.store(true, Ordering::Relaxed);
            client::close(&connected).await;
            return None;
        }
        self.began = Instant::now();
        bench.is_sending.store(true, Ordering::Relaxed);
        let mut asking = JoinSet::new();
        let pacing = self.begin(&connected, &mut asking);
        {
            let cutting = async {
                match bench.options.jitter {
                    Some(each) => jitter::cut(&connected, each).await,
                    None => std::future::pending().await,
                }
            };
            let nudge = || {
                if let Scenario::Broadcast | Scenario::Echo = bench.options.scenario {
                    connected.iter().for_each(messages::nudge);
                }
            };
            tokio::select! {
                () = self.load(nudge) => {}
                () = cutting => {}
            }
        }
        bench.is_sending.store(false, Ordering::Relaxed);
        if let Some(pacing) = pacing {
            // It looks at the flag many times a second.
            let _ = tokio::task::spawn_blocking(move || pacing.join()).await;
        }
        if has_messages {
            self.drain(|| is_complete(bench, &connected)).await;
            // What could not even be sent has its own cause.
            self.was_silent = self.is_silent() && counts(bench, &connected).0.sent > 0;
        }
        bench.is_closing.store(true, Ordering::Relaxed);
        let counts = has_messages.then(|| counts(bench, &connected));
        asking.shutdown().await;
        client::close(&connected).await;
        counts
    }

    /// Starts whatever sends.
    fn begin(
        &self,
        connected: &Arc<[Connected]>,
        asking: &mut JoinSet<()>,
    ) -> Option<std::thread::JoinHandle<()>> {
        let bench = self.bench;
        let scenario = bench.options.scenario;
        if let (Some(rate), true) = (bench.options.rate, scenario != Scenario::Idle) {
            let senders: Vec<Connected> = connected
                .iter()
                .filter(|connected| connected.member.lane.lock().is_sender())
                .cloned()
                .collect();
            let send = match scenario {
                Scenario::Ack => ack::ask_due,
                Scenario::Broadcast | Scenario::Connect | Scenario::Echo | Scenario::Idle => {
                    messages::send_due
                }
            };
            let started = pacer::start(bench.clone(), rate, move |number, due| {
                if let Some(place) = number.checked_rem(senders.len() as u64) {
                    send(&senders[place as usize], due);
                }
            });
            if let Err(error) = &started {
                let cause = format!("no thread could be started: {error}");
                bench.recorder.errors.lock().add(cause);
            }
            return started.ok();
        }
        match scenario {
            Scenario::Ack => connected.iter().for_each(|one| ack::begin(one, asking)),
            Scenario::Broadcast | Scenario::Echo => connected.iter().for_each(messages::begin),
            Scenario::Connect | Scenario::Idle => {}
        }
        None
    }

    /// Connections that come and go.
    async fn connect(&mut self) {
        self.began = Instant::now();
        self.bench.is_sending.store(true, Ordering::Relaxed);
        let mut connecting = connect::begin(self.bench);
        self.load(|| {}).await;
        self.bench.is_sending.store(false, Ordering::Relaxed);
        let all_ended = async { while connecting.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LONGEST_DRAIN, all_ended).await;
        self.series.late(&self.bench.recorder.take());
    }

    /// The warm-up, and what is measured.
    async fn load(&mut self, nudge: impl Fn()) {
        let options = &self.bench.options;
        if !options.warm_up.is_zero() {
            self.bench.progress.stage("warming up", options.warm_up);
        }
        if !self.watch(options.warm_up, &nudge, false).await {
            return;
        }
        let text = format!("measuring for {} s", options.duration.as_secs_f64());
        self.bench.progress.stage(&text, options.duration);
        self.watch(options.duration, &nudge, true).await;
    }

    /// Looks once a second; false if the run is to end early.
    async fn watch(&mut self, duration: Duration, nudge: impl Fn(), is_measured: bool) -> bool {
        let bench = self.bench;
        let begin = Instant::now();
        let end = begin + duration;
        let mut last = begin;
        while last < end {
            let next = (last + Duration::from_secs(1)).min(end);
            let goes_on = tokio::select! {
                () = tokio::time::sleep_until(next.into()) => true,
                () = bench.stopped() => false,
            };
            let now = Instant::now();
            let latency = bench.recorder.take();
            self.has_heard |= latency.count() > 0;
            let (took, open) = (now - last, bench.recorder.open());
            bench.progress.show(now - begin, open, &latency, took);
            if is_measured {
                self.series.measured(latency, took, open);
            }
            last = now;
            if !goes_on || (self.is_silent() && self.began.elapsed() >= SILENCE) {
                return false;
            }
            nudge();
        }
        true
    }

    /// Waits for the last answers.
    async fn drain(&mut self, is_complete: impl Fn() -> bool) {
        let begin = Instant::now();
        let mut heard = begin;
        loop {
            let latency = self.bench.recorder.take();
            if latency.count() > 0 {
                heard = Instant::now();
                self.has_heard = true;
                self.series.late(&latency);
            }
            let is_quiet = heard.elapsed() > QUIET;
            let is_in_vain = is_quiet && (self.has_heard || self.began.elapsed() > SILENCE);
            if is_complete() || is_in_vain || begin.elapsed() > LONGEST_DRAIN {
                // What came between the two looks.
                self.series.late(&self.bench.recorder.take());
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Says whether nothing has come back although it should have.
    fn is_silent(&self) -> bool {
        let is_answered = !matches!(
            self.bench.options.scenario,
            Scenario::Connect | Scenario::Idle
        );
        is_answered && !self.has_heard && self.bench.recorder.open() > 0
    }
}

/// What all lanes have counted, and how many messages had to come.
fn counts(bench: &Bench, connected: &[Connected]) -> (Counts, u64) {
    let mut counts = Counts::default();
    for one in connected {
        counts += one.member.lane.lock().counts();
    }
    let expected = match bench.options.scenario {
        Scenario::Broadcast => counts.sent * connected.len() as u64,
        Scenario::Ack | Scenario::Connect | Scenario::Echo | Scenario::Idle => counts.sent,
    };
    (counts, expected)
}

/// Says whether nothing is waited for any more.
fn is_complete(bench: &Bench, connected: &[Connected]) -> bool {
    let (counts, expected) = counts(bench, connected);
    let owes = |one: &Connected| one.member.lane.lock().in_flight() > 0;
    // A broadcast is under way as long as somebody has not got it.
    counts.received == expected
        || (bench.options.scenario != Scenario::Broadcast && !connected.iter().any(owes))
}

/// A server that has not answered anything after so long does not answer.
const SILENCE: Duration = Duration::from_secs(5);

/// After so long without any message nothing more is expected.
const QUIET: Duration = Duration::from_secs(2);

const LONGEST_DRAIN: Duration = Duration::from_secs(15);
