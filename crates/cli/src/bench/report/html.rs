//! The report as one page that needs nothing else: no network, no script.

use std::fmt::Write;

use super::figures::{duration_us, number};
use super::plot::{self, Axis, Line, Plot};
use super::text::{Row, rows};
use super::{Report, Second};

/// The whole page.
pub(crate) fn html(report: &Report) -> String {
    let title = escape(&format!("sio bench: {}", report.settings.scenario));
    let command = escape(&report.command_line);
    let (date, tool) = (escape(&report.started_at), escape(report.tool));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n\
         <p><code>{command}</code></p>\n<p><time datetime=\"{date}\">{date}</time>, {tool}</p>\n\
         </header>\n<main>\n",
    );
    page.push_str("<section>\n<h2>Summary</h2>\n<table>\n");
    for Row { name, value } in rows(report) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escape(name.trim()),
            escape(&value)
        );
    }
    page.push_str("</table>\n</section>\n");
    for (heading, plot) in plots(report) {
        let _ = writeln!(
            page,
            "<section>\n<h2>{}</h2>\n{plot}</section>",
            escape(&heading)
        );
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// The plots that there is something to show in.
fn plots(report: &Report) -> Vec<(String, String)> {
    let seconds = &report.seconds;
    let mut plots = Vec::new();
    if report.throughput.count > 0 {
        let heading = format!("Throughput: {} per second", report.throughput.unit);
        let line = line("throughput", "a", seconds, |second| Some(second.per_second));
        plots.push((heading, over_time(vec![line], Axis::Linear, number)));
    }
    if report.latency.is_some() {
        let us = |value: Option<u64>| value.map(|us| us as f64);
        let lines = vec![
            line("p50", "a", seconds, |second| us(second.p50_us)),
            line("p99", "b", seconds, |second| us(second.p99_us)),
        ];
        let plot = over_time(lines, Axis::Log, duration_us);
        plots.push(("Latency over time".to_owned(), plot));
        let plot = plot::bars(&report.latency_distribution, duration_us, number);
        plots.push(("Distribution of latency".to_owned(), plot));
    }
    let open = line("open connections", "a", seconds, |second| {
        Some(second.open_connections as f64)
    });
    if open.points.iter().any(|(_, count)| *count > 0.0) {
        let plot = over_time(vec![open], Axis::Linear, number);
        plots.push(("Open connections".to_owned(), plot));
    }
    plots
}

fn line(
    name: &'static str,
    class: &'static str,
    seconds: &[Second],
    value: impl Fn(&Second) -> Option<f64>,
) -> Line {
    let points = seconds
        .iter()
        .filter_map(|second| Some((second.at_seconds, value(second)?)));
    Line {
        name,
        class,
        points: points.collect(),
    }
}

fn over_time(lines: Vec<Line>, axis: Axis, label: fn(f64) -> String) -> String {
    Plot { lines, axis, label }.svg()
}

/// A text between tags, and in quotation marks.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    /// Fails unless every tag that is opened is closed, in order, and nothing is left unescaped.
    fn assert_balanced(html: &str) {
        let mut open = Vec::new();
        let mut rest = html.strip_prefix("<!doctype html>").expect("a doctype");
        while let Some(at) = rest.find('<') {
            assert!(!rest[..at].contains('>'), "unescaped: {}", &rest[..at]);
            let end = rest.find('>').expect("the end of a tag");
            let tag = &rest[at + 1..end];
            assert!(!tag.contains('<'), "unescaped: {tag}");
            assert!(tag.matches('"').count().is_multiple_of(2), "quotes: {tag}");
            let name = tag.trim_start_matches('/').split(' ').next();
            let name = name.expect("a name").trim_end_matches('/');
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed), "closed");
            } else if !tag.ends_with('/') && name != "meta" {
                open.push(name);
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "still open: {open:?}");
    }

    #[test]
    fn the_page_is_well_formed() {
        let page = html(&example(&[]));
        assert_balanced(&page);
        assert_eq!(page.matches("<svg ").count(), 4);
        assert!(page.contains("2025-11-24T16:00:00Z"));
    }

    #[test]
    fn the_page_of_a_run_without_answers_has_no_empty_plots() {
        let mut report = example(&["idle"]);
        report.throughput.count = 0;
        report.latency = None;
        report.seconds.clear();
        let page = html(&report);
        assert_balanced(&page);
        assert!(!page.contains("<svg"));
    }

    #[test]
    fn texts_of_others_are_escaped() {
        let mut report = example(&[]);
        report.command_line = "sio bench '<script>alert(1)</script>'".to_owned();
        report.settings.url = "http://x/\"><img src=x onerror='a'>&".to_owned();
        let page = html(&report);
        assert_balanced(&page);
        for text in [
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "&quot;&gt;&lt;img src=x onerror=&#39;a&#39;&gt;&amp;",
            "&lt;websocket&gt; &amp; &quot;error&quot;",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("<script") && !page.contains("<img"));
    }

    #[test]
    fn the_page_loads_nothing() {
        let page = html(&example(&[]));
        for word in ["src=", "href=", "url(", "@import", "<link", "<script"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
