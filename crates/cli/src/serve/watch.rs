//! What those who watch a server ask: whether it lives, whether it lets clients in, and its figures.
//!
//! On a listener of its own, so that it need not be open to the world.

use std::fmt::Write;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use socketio::{Histogram, Metrics, Server};

pub(crate) fn router(io: &Server) -> Router {
    let (ready, figures) = (io.clone(), io.clone());
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route(
            "/readyz",
            get(async move || match ready.is_ready() {
                true => (StatusCode::OK, "ready"),
                false => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            }),
        )
        .route(
            "/metrics",
            get(async move || {
                let content_type = "text/plain; version=0.0.4; charset=utf-8";
                ([(CONTENT_TYPE, content_type)], text(&figures.metrics()))
            }),
        )
}

/// The figures in the text format of Prometheus, version 0.0.4.
fn text(metrics: &Metrics) -> String {
    let mut out = Text(String::new());
    let stats = &metrics.stats;
    out.family("sio_connections", "gauge", "Open sessions.");
    for (transport, revision, count) in &metrics.connections {
        let labels = [
            ("transport", transport.as_str()),
            ("eio", &revision.to_string()),
        ];
        out.value("sio_connections", &labels, *count as f64);
    }
    out.family(
        "sio_dynamic_namespaces",
        "gauge",
        "Children of dynamic namespaces.",
    );
    let children = metrics.dynamic_namespaces as f64;
    out.value("sio_dynamic_namespaces", &[], children);
    out.family(
        "sio_held_bytes",
        "gauge",
        "Bytes of packets that wait for their attachments.",
    );
    out.value("sio_held_bytes", &[], metrics.held_bytes as f64);
    out.family(
        "sio_handshakes_total",
        "counter",
        "Handshakes and other requests, by outcome.",
    );
    out.value(
        "sio_handshakes_total",
        &[("result", "opened")],
        stats.opened as f64,
    );
    for (code, count) in metrics.refused.iter().enumerate() {
        let labels = [("result", "refused"), ("code", &code.to_string())];
        out.value("sio_handshakes_total", &labels, *count as f64);
    }
    for (result, count) in [
        ("too many connections", stats.refused_connections),
        ("too many of the address", stats.refused_addresses),
        ("too fast", stats.refused_handshakes),
        ("draining", stats.refused_draining),
    ] {
        out.value("sio_handshakes_total", &[("result", result)], count as f64);
    }
    out.family(
        "sio_upgrades_total",
        "counter",
        "Upgrades from polling, by outcome.",
    );
    for (result, count) in [("done", stats.upgraded), ("failed", stats.failed_upgrades)] {
        out.value("sio_upgrades_total", &[("result", result)], count as f64);
    }
    out.family(
        "sio_disconnects_total",
        "counter",
        "Sockets that left, by reason.",
    );
    for (reason, count) in &metrics.disconnects {
        out.value(
            "sio_disconnects_total",
            &[("reason", reason.as_str())],
            *count as f64,
        );
    }
    out.family("sio_events_total", "counter", "Events from clients.");
    out.value("sio_events_total", &[], stats.events as f64);
    out.family(
        "sio_events_problem_total",
        "counter",
        "Events that reached no handler.",
    );
    for (problem, count) in [
        ("client sent away", stats.dropped_after_leaving),
        ("no handler", stats.unhandled_events),
        ("undecodable", stats.undecodable_events),
    ] {
        out.value(
            "sio_events_problem_total",
            &[("problem", problem)],
            count as f64,
        );
    }
    out.family(
        "sio_packets_sent_total",
        "counter",
        "Packets queued for clients.",
    );
    out.value("sio_packets_sent_total", &[], stats.packets as f64);
    out.family("sio_dropped_total", "counter", "Packets that were dropped.");
    for (cause, count) in [
        ("queue full", stats.dropped_full),
        ("for other servers", stats.cluster_refused),
        ("malformed message of the cluster", stats.cluster_rejected),
        ("volatile", stats.dropped_volatile),
    ] {
        out.value("sio_dropped_total", &[("cause", cause)], count as f64);
    }
    out.family(
        "sio_application_total",
        "counter",
        "What went wrong in the application's code.",
    );
    for (problem, count) in [
        ("panic", stats.panics),
        ("blocked its thread", stats.blocked_callbacks),
        ("failed emit that nobody looked at", stats.failed_emits),
    ] {
        out.value(
            "sio_application_total",
            &[("problem", problem)],
            count as f64,
        );
    }
    out.family("sio_limits_total", "counter", "Clients that met a limit.");
    for (limit, count) in [
        ("invalid packet", stats.invalid_packets),
        ("late attachments", stats.late_attachments),
        ("queues of all clients", stats.shed_clients),
        ("running handlers", stats.saturated),
        ("no namespace in time", stats.connect_timeouts),
        ("too slow", stats.slow_clients),
        ("tcp connections", stats.dropped_connections),
        ("no PROXY header", stats.refused_proxies),
        ("malformed WebSocket handshake", stats.malformed_handshakes),
        ("long head", stats.long_heads),
        ("large message", stats.large_messages),
        ("awaited answers", stats.refused_acks),
        ("auth", stats.large_auths),
        ("dynamic namespaces", stats.refused_namespaces),
        ("rate: waits", stats.rate_waits),
        ("rate: refused", stats.rate_refused),
        ("rate: dropped", stats.rate_dropped),
        ("rate: disconnected", stats.rate_disconnects),
        ("expired", stats.expired),
    ] {
        out.value("sio_limits_total", &[("limit", limit)], count as f64);
    }
    out.family(
        "sio_recovery_total",
        "counter",
        "Clients that came back, by outcome.",
    );
    for (result, count) in [
        ("recovered", stats.recovered),
        ("unknown", stats.not_recovered_unknown),
        ("offset", stats.not_recovered_offset),
    ] {
        out.value("sio_recovery_total", &[("result", result)], count as f64);
    }
    out.family(
        "sio_recovery_bytes",
        "gauge",
        "Bytes kept for clients that may come back.",
    );
    out.value("sio_recovery_bytes", &[], stats.recovery_bytes as f64);
    out.family(
        "sio_forwarded_total",
        "counter",
        "Requests for other servers' sessions, by outcome.",
    );
    for (result, count) in [
        ("forwarded", stats.forwarded),
        ("too many", stats.refused_forwards),
    ] {
        out.value("sio_forwarded_total", &[("result", result)], count as f64);
    }
    out.family(
        "sio_forwarding",
        "gauge",
        "Requests and WebSockets on their way to other servers.",
    );
    out.value("sio_forwarding", &[], metrics.forwarding as f64);
    out.family("sio_ready", "gauge", "1 while clients are let in.");
    out.value("sio_ready", &[], f64::from(u8::from(metrics.is_ready)));
    out.histogram(
        "sio_ack_seconds",
        "The time clients took for their answers.",
        &metrics.ack_seconds,
    );
    out.histogram(
        "sio_send_queue_bytes",
        "Bytes waiting for each client now.",
        &metrics.queue_bytes,
    );
    out.0
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (bound, count) in &histogram.buckets {
            below += count;
            let bound = match bound.is_infinite() {
                true => "+Inf".to_owned(),
                false => bound.to_string(),
            };
            self.value(&format!("{name}_bucket"), &[("le", &bound)], below as f64);
        }
        self.value(&format!("{name}_sum"), &[], histogram.sum);
        self.value(&format!("{name}_count"), &[], below as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let text = text(&Server::new().metrics());
        for line in [
            "# TYPE sio_connections gauge",
            "sio_connections{transport=\"websocket\",eio=\"4\"} 0",
            "sio_handshakes_total{result=\"refused\",code=\"5\"} 0",
            "sio_disconnects_total{reason=\"ping timeout\"} 0",
            "sio_ack_seconds_bucket{le=\"0.0025\"} 0",
            "sio_ack_seconds_bucket{le=\"+Inf\"} 0",
            "sio_ready 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (_, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
