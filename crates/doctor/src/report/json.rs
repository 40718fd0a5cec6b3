//! The report for programs. Keys may be added; those that are there keep their meaning while
//! `schema` is 1.

use serde_json::{Map, Value, json};
use socketio_proto::printable_json;

use super::Report;
use crate::facts::Family;
use crate::texts::Texts;

pub(crate) fn json(report: &Report, texts: &dyn Texts) -> String {
    let layers = report.layers.iter().map(|layer| {
        json!({
            "id": layer.id.as_str(),
            "name": texts.name(layer.id),
            "status": layer.status(),
            "detail": report.redactor.clean(&layer.detail(texts)),
        })
    });
    let findings = report.findings().map(|(id, finding)| {
        let told = report.tell(finding, texts);
        let evidence = told.evidence.iter().map(|evidence| {
            json!({
                "request": evidence.request,
                "answer": evidence.answer,
                "body": evidence.body,
                "curl": evidence.curl,
            })
        });
        let snippets: Map<String, Value> = told
            .snippets
            .into_iter()
            .map(|snippet| (snippet.tool.to_owned(), snippet.text.into()))
            .collect();
        json!({
            "id": id.as_str(),
            "severity": finding.severity.as_str(),
            "confidence": finding.confidence.as_str(),
            "title": told.text.title,
            "meaning": told.text.meaning,
            "evidence": evidence.collect::<Vec<_>>(),
            "fix": { "text": told.text.fix, "snippets": snippets },
        })
    });
    let timings: Map<String, Value> = report
        .layers
        .iter()
        .map(|layer| (layer.id.as_str().to_owned(), millis(layer.took)))
        .collect();
    let family = match report.seen.family {
        Family::Python => "python",
        Family::Unknown => "unknown",
    };
    let mut revisions = report.revisions.clone();
    revisions.sort_unstable();
    let version_range = match (&revisions[..], &report.open) {
        ([3], _) => Some("1-2"),
        (_, Some(open)) if open.max_payload.is_none() => Some("3-4.4"),
        (_, Some(_)) => Some("4.5+"),
        (_, None) => None,
    };
    let value = json!({
        "schema": 1,
        "target": {
            "url": report.url(),
            "path": report.target.path,
            "namespace": report.target.namespace,
        },
        "started": report.started,
        "duration_ms": millis(report.took),
        "requests": report.requests,
        "server": {
            "family": family,
            "version_range": version_range,
            "eio": revisions,
            "header": report.seen.server,
        },
        "layers": layers.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
        "timings": timings,
        "exit": report.exit_code(),
    });
    printable_json(format!("{value:#}\n"))
}

fn millis(duration: std::time::Duration) -> Value {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .into()
}
