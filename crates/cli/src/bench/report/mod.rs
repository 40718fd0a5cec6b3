//! What a run has shown, in the order of the JSON report.
//!
//! Every figure has its unit in its name. A change that a reader could stumble over raises
//! [`SCHEMA`].

mod figures;
mod html;
mod plot;
mod text;

use std::time::{Duration, SystemTime};

use serde::Serialize;
use socketio_proto::printable_json;

use super::args::{BenchArgs, Scenario, TransportChoice};
use super::lane::Counts;
use super::recorder::{Bin, Cause, Latency, Recorder, Summary};
use super::series::Series;

pub(crate) use figures::{duration_us, number};
pub(crate) use html::html;
pub(crate) use text::text;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: u32,
    tool: &'static str,
    pub(crate) command_line: String,
    /// When the run began, in UTC.
    pub(crate) started_at: String,
    pub(crate) settings: Settings,
    /// Whether the user ended the run.
    pub(crate) ended_early: bool,
    /// What was measured: without the warm-up, and without waiting for the last answers.
    pub(crate) measured_seconds: f64,
    pub(crate) connections: Connections,
    pub(crate) throughput: Throughput,
    /// Of what came in the measured time and after it.
    pub(crate) latency: Option<Summary>,
    /// Of the whole run, with the warm-up; none where no messages are sent.
    pub(crate) messages: Option<Messages>,
    pub(crate) errors: Vec<Cause>,
    pub(crate) reconnections: Reconnections,
    pub(crate) seconds: Vec<Second>,
    pub(crate) latency_distribution: Vec<Bin>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) scenario: Scenario,
    pub(crate) transport: TransportChoice,
    pub(crate) connections: u32,
    pub(crate) depth: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) is_binary: bool,
    pub(crate) rate_per_second: Option<u32>,
    pub(crate) for_seconds: f64,
    pub(crate) warm_up_seconds: f64,
    pub(crate) ramp_per_second: Option<u32>,
    pub(crate) one_in: u32,
    pub(crate) cuts_per_second_of_each: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Connections {
    pub(crate) asked: u64,
    pub(crate) opened: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<Cause>,
    /// Those that ended although nobody had asked for it.
    pub(crate) lost: u64,
    pub(crate) losses: Vec<Cause>,
    /// How long opening took.
    pub(crate) opening: Option<Summary>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Throughput {
    pub(crate) unit: &'static str,
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    pub(crate) payload_bytes_per_second: f64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Messages {
    pub(crate) sent: u64,
    /// Those that had to come: with a broadcast, each to every connection.
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    /// None where nobody can tell: answers to acks are matched to what they answer.
    pub(crate) duplicated: Option<u64>,
    pub(crate) reordered: Option<u64>,
    pub(crate) altered: u64,
    pub(crate) foreign: u64,
    pub(crate) sent_payload_bytes: u64,
    pub(crate) received_payload_bytes: u64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Reconnections {
    /// Connections that were cut on purpose.
    pub(crate) cut: u64,
    pub(crate) reconnected: u64,
    /// How long connections were gone, with the time that clients wait before they try.
    pub(crate) gone: Option<Summary>,
    /// How long the attempts took that brought them back.
    pub(crate) reconnecting: Option<Summary>,
}

/// What one second of the measured time has shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Second {
    /// The end of the second, from the beginning of what is measured.
    pub(crate) at_seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) open_connections: usize,
}

/// What a run leaves behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) started_at: SystemTime,
    pub(crate) ended_early: bool,
    /// The connections that were to be opened; none if that is as many as could be.
    pub(crate) asked: Option<u64>,
    pub(crate) series: Series,
    /// The sum of all lanes, and what they had to receive; none where no messages are sent.
    pub(crate) messages: Option<(Counts, u64)>,
}

impl Report {
    pub(crate) fn new(options: &BenchArgs, recorder: &Recorder, run: Run) -> Report {
        let Run { series, .. } = run;
        let opening = recorder.connecting();
        let failures = recorder.failures();
        let losses = recorder.disconnects.lock().list();
        let total = |causes: &[Cause]| causes.iter().map(|cause| cause.count).sum();
        let failed: u64 = total(&failures);
        let gone = recorder.gone();
        let mut errors = recorder.errors.lock();
        let payload = u64::from(options.payload);
        let has_order = options.scenario != Scenario::Ack;
        let messages = run.messages.map(|(counts, expected)| {
            if counts.altered > 0 {
                errors.add_many("a message came back with another size", counts.altered);
            }
            Messages {
                sent: counts.sent,
                expected,
                received: counts.received,
                lost: expected.saturating_sub(counts.received),
                duplicated: has_order.then_some(counts.duplicated),
                reordered: has_order.then_some(counts.reordered),
                altered: counts.altered,
                foreign: counts.foreign,
                sent_payload_bytes: counts.sent * payload,
                received_payload_bytes: counts.received_bytes,
            }
        });
        Report {
            schema: SCHEMA,
            tool: concat!("sio ", env!("CARGO_PKG_VERSION")),
            command_line: command_line(std::env::args().skip(1)),
            started_at: figures::date(run.started_at),
            settings: Settings::new(options),
            ended_early: run.ended_early,
            measured_seconds: round(series.measured.as_secs_f64()),
            connections: Connections {
                asked: run.asked.unwrap_or(opening.count() + failed),
                opened: opening.count(),
                failed,
                failures,
                lost: total(&losses),
                losses,
                opening: opening.summary(),
            },
            throughput: throughput(options.scenario, &series, messages.as_ref()),
            latency: series.latency.summary(),
            latency_distribution: series.latency.distribution(),
            messages,
            errors: errors.list(),
            reconnections: Reconnections {
                cut: recorder.cuts.load(std::sync::atomic::Ordering::Relaxed),
                reconnected: gone.count(),
                gone: gone.summary(),
                reconnecting: recorder.reconnecting().summary(),
            },
            seconds: series.seconds,
        }
    }

    /// Says whether no connection could be opened.
    pub(crate) fn has_no_connection(&self) -> bool {
        self.connections.opened == 0
    }

    /// Says whether something was lost or went wrong.
    pub(crate) fn has_errors(&self) -> bool {
        let messages = self.messages.as_ref();
        self.connections.failed > 0
            || self.connections.lost > 0
            || !self.errors.is_empty()
            || messages.is_some_and(|messages| messages.lost > 0 || messages.duplicated > Some(0))
    }

    pub(crate) fn json(&self) -> String {
        // No map has keys that are no texts, so that nothing can fail.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        printable_json(json)
    }
}

impl Settings {
    fn new(options: &BenchArgs) -> Settings {
        Settings {
            url: options.url.clone(),
            scenario: options.scenario,
            transport: options.transport,
            connections: options.connections,
            depth: options.depth,
            payload_bytes: options.payload,
            is_binary: options.binary,
            rate_per_second: options.rate,
            for_seconds: options.duration.as_secs_f64(),
            warm_up_seconds: options.warm_up.as_secs_f64(),
            ramp_per_second: options.ramp,
            one_in: options.one_in,
            cuts_per_second_of_each: options.jitter,
        }
    }
}

fn throughput(scenario: Scenario, series: &Series, messages: Option<&Messages>) -> Throughput {
    let per_second = rate(series.count, series.measured);
    // All messages are of one size; where the answers carry none, nothing is received.
    let size = messages.map_or(0.0, |messages| match messages.received {
        0 => 0.0,
        received => messages.received_payload_bytes as f64 / received as f64,
    });
    Throughput {
        unit: scenario.unit(),
        count: series.count,
        per_second,
        payload_bytes_per_second: round(per_second * size),
    }
}

/// So many in so long, by second.
pub(crate) fn rate(count: u64, took: Duration) -> f64 {
    match took.is_zero() {
        true => 0.0,
        false => round(count as f64 / took.as_secs_f64()),
    }
}

/// How long those took, and how many they were, for lines on the terminal.
pub(crate) fn glance(latency: &Latency) -> String {
    match (latency.quantile_us(0.5), latency.quantile_us(0.99)) {
        (Some(p50), Some(p99)) => {
            format!(
                "p50 {}, p99 {}",
                duration_us(p50 as f64),
                duration_us(p99 as f64)
            )
        }
        _ => "no answers yet".to_owned(),
    }
}

/// The words of the command, without the secrets.
fn command_line(words: impl Iterator<Item = String>) -> String {
    let mut line = vec!["sio".to_owned()];
    let mut is_secret = false;
    for word in words {
        let secret = ["--auth", "--header", "-H"]
            .into_iter()
            .find(|option| word.starts_with(option));
        line.push(match secret {
            _ if is_secret => "..".to_owned(),
            Some(option) if option != word => format!("{option}.."),
            _ => quoted(word.clone()),
        });
        is_secret = !is_secret && secret.is_some_and(|option| option == word);
    }
    line.join(" ")
}

/// A word as a shell reads it.
fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

const SCHEMA: u32 = 1;

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Instant, UNIX_EPOCH};

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        bench: BenchArgs,
    }

    /// A report of 2 s in which one of 11 messages was lost.
    pub(crate) fn example(words: &[&str]) -> Report {
        let words = ["bench", "http://localhost"].iter().chain(words);
        let options = Words::parse_from(words).bench;
        let recorder = Recorder::new(Instant::now());
        recorder.opened(Duration::from_millis(2));
        recorder.failed("<websocket> & \"error\"", None);
        recorder.reconnected(Duration::from_millis(900), Duration::from_millis(30));
        let mut series = Series::default();
        for second in 0..2 {
            (1..=5).for_each(|i| recorder.record(i, 1000 * u64::from(i) + second));
            series.measured(recorder.take(), Duration::from_secs(1), 1);
        }
        let counts = Counts {
            sent: 11,
            received: 10,
            received_bytes: 320,
            ..Counts::default()
        };
        let run = Run {
            started_at: UNIX_EPOCH + Duration::from_secs(1_764_000_000),
            ended_early: false,
            asked: Some(2),
            series,
            messages: Some((counts, 11)),
        };
        Report::new(&options, &recorder, run)
    }

    #[test]
    fn the_figures_are_those_of_the_run() {
        let report = example(&[]);
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
        for (path, value) in [
            ("/schema", serde_json::json!(1)),
            ("/started_at", "2025-11-24T16:00:00Z".into()),
            ("/measured_seconds", 2.0.into()),
            ("/settings/scenario", "echo".into()),
            ("/settings/payload_bytes", 32.into()),
            ("/connections/asked", 2.into()),
            ("/connections/opened", 1.into()),
            ("/connections/failed", 1.into()),
            ("/connections/opening/count", 1.into()),
            ("/throughput/unit", "messages".into()),
            ("/throughput/count", 10.into()),
            ("/throughput/per_second", 5.0.into()),
            ("/throughput/payload_bytes_per_second", 160.0.into()),
            ("/latency/count", 10.into()),
            ("/latency/min_us", 1000.into()),
            ("/messages/lost", 1.into()),
            ("/messages/sent_payload_bytes", 352.into()),
            ("/reconnections/reconnected", 1.into()),
            ("/seconds/0/per_second", 5.0.into()),
            ("/seconds/1/at_seconds", 2.0.into()),
            ("/seconds/1/open_connections", 1.into()),
        ] {
            assert_eq!(json.pointer(path), Some(&value), "{path}");
        }
        assert!(report.has_errors() && !report.has_no_connection());
    }

    #[test]
    fn secrets_are_not_told() {
        let words = [
            "bench",
            "http://x/?a b",
            "--auth",
            r#"{"token":"s3cret"}"#,
            "-H",
            "Cookie: s3cret",
            "--header=Cookie: s3cret",
            "-HCookie: s3cret",
            "--for",
            "2",
        ];
        assert_eq!(
            command_line(words.into_iter().map(str::to_owned)),
            "sio bench 'http://x/?a b' --auth .. -H .. --header.. -H.. --for 2"
        );
    }
}
