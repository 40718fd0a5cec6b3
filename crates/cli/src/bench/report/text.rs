//! The summary that the terminal shows, and the rows that the page has as well.

use std::fmt::Write;

use super::figures::{bytes, duration_us, number};
use super::{Cause, Report, Summary};
use crate::bench::args::Scenario;

/// One line of the summary: what it is, and the figures.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// The summary as plain lines.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    for Row { name, value } in rows(report) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<13} {value}");
    }
    text
}

/// All there is to say, in lines.
pub(super) fn rows(report: &Report) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |name, value| rows.push(Row { name, value });
    let settings = &report.settings;
    let connections = &report.connections;
    row(
        "scenario",
        format!(
            "{} to {}{}",
            settings.scenario,
            settings.url,
            if report.ended_early {
                ", ended early"
            } else {
                ""
            }
        ),
    );
    row(
        "connections",
        format!(
            "{} asked, {} opened, {} failed, {} lost",
            number(connections.asked as f64),
            number(connections.opened as f64),
            number(connections.failed as f64),
            number(connections.lost as f64)
        ),
    );
    causes(&connections.failures, |text| row("  failed", text));
    causes(&connections.losses, |text| row("  lost", text));
    if let Some(opening) = &connections.opening {
        row("opening", latency(opening));
    }
    if let (Scenario::Idle, Some(last)) = (settings.scenario, report.seconds.last()) {
        let (open, seconds) = (last.open_connections as f64, report.measured_seconds);
        row("held", format!("{} after {seconds:.1} s", number(open)));
    }
    let throughput = &report.throughput;
    if throughput.count > 0 {
        let size = match throughput.payload_bytes_per_second {
            0.0 => String::new(),
            rate => format!(", {}/s of payload", bytes(rate)),
        };
        row(
            "throughput",
            format!(
                "{} {}/s{size} ({} in {:.1} s)",
                number(throughput.per_second),
                throughput.unit,
                number(throughput.count as f64),
                report.measured_seconds
            ),
        );
    }
    if let Some(measured) = &report.latency {
        row("latency", latency(measured));
        let what = settings
            .scenario
            .latency(settings.rate_per_second.is_some());
        row("", what.to_owned());
    }
    if let Some(messages) = &report.messages {
        row(
            "messages",
            format!(
                "{} sent, {} of {} received",
                number(messages.sent as f64),
                number(messages.received as f64),
                number(messages.expected as f64)
            ),
        );
        let counts = [
            (Some(messages.lost), "lost"),
            (messages.duplicated, "duplicated"),
            (messages.reordered, "reordered"),
        ];
        let counts = counts
            .into_iter()
            .filter_map(|(count, what)| Some(format!("{} {what}", number(count? as f64))));
        row("", counts.collect::<Vec<_>>().join(", "));
        if messages.foreign > 0 {
            let foreign = number(messages.foreign as f64);
            row("", format!("{foreign} that were none of this run"));
        }
        row(
            "payload",
            format!(
                "{} sent, {} received",
                bytes(messages.sent_payload_bytes as f64),
                bytes(messages.received_payload_bytes as f64)
            ),
        );
    }
    let reconnections = &report.reconnections;
    if reconnections.cut > 0 || reconnections.reconnected > 0 {
        row(
            "reconnections",
            format!(
                "{} cut on purpose, {} came back",
                number(reconnections.cut as f64),
                number(reconnections.reconnected as f64)
            ),
        );
    }
    if let Some(gone) = &reconnections.gone {
        row("  gone for", latency(gone));
    }
    if let Some(reconnecting) = &reconnections.reconnecting {
        row("  the attempt", latency(reconnecting));
    }
    match report.errors.is_empty() {
        true => row("errors", "none".to_owned()),
        false => causes(&report.errors, |text| row("errors", text)),
    }
    rows
}

fn causes(causes: &[Cause], mut row: impl FnMut(String)) {
    for Cause { cause, count } in causes {
        row(format!("{}x {cause}", number(*count as f64)));
    }
}

fn latency(summary: &Summary) -> String {
    let figures = [
        ("min", summary.min as f64),
        ("mean", summary.mean),
        ("p50", summary.p50 as f64),
        ("p90", summary.p90 as f64),
        ("p99", summary.p99 as f64),
        ("p99.9", summary.p99_9 as f64),
        ("max", summary.max as f64),
    ];
    let figures = figures.map(|(name, us)| format!("{name} {}", duration_us(us)));
    figures.join("  ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn the_summary_has_a_line_for_each_thing() {
        let text = text(&example(&[]));
        for line in [
            "scenario      echo to http://localhost",
            "connections   2 asked, 1 opened, 1 failed, 0 lost",
            "  failed      1x <websocket> & \"error\"",
            "throughput    5 messages/s, 160 B/s of payload (10 in 2.0 s)",
            "              from the emit to the receipt",
            "messages      11 sent, 10 of 11 received",
            "              1 lost, 0 duplicated, 0 reordered",
            "payload       352 B sent, 320 B received",
            "errors        none",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
