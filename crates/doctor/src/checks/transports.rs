//! D09: which ways to carry messages the server offers.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::Transport;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::Reading;
use crate::facts::Patient;
use crate::texts::{Note, Verdict};

pub(super) struct Transports;

impl Check for Transports {
    fn id(&self) -> Id {
        Id::D09
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some((polling, reading)) = &patient.polling else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let pass = |names| Outcome::Passed(Note::Transports(names), Vec::new());
            match (patient.has_polling(), patient.has_websocket()) {
                (true, true) => {
                    let offers = patient
                        .open
                        .as_ref()
                        .is_some_and(|open| !open.upgrades.is_empty());
                    match offers {
                        true => pass("polling and WebSocket"),
                        false => {
                            let finding = Finding::warn(Verdict::PollingOnly, Confidence::Certain);
                            Outcome::found(finding.with(polling))
                        }
                    }
                }
                (true, false) if patient.is_polling_only() => {
                    let finding =
                        Finding::warn(Verdict::PollingOnly, Confidence::Certain).with(polling);
                    Outcome::found(match &patient.websocket {
                        Some((exchange, _)) => finding.with(exchange),
                        None => finding,
                    })
                }
                (true, false) => pass("polling"),
                (false, true) if patient.options.transport == Some(Transport::WebSocket) => {
                    pass("WebSocket")
                }
                (false, true) => {
                    let verdict = match reading.as_ref().and_then(Reading::code) {
                        Some(0) => Verdict::WebSocketOnly,
                        _ => Verdict::PollingUnreachable {
                            status: match polling.status() {
                                Some(status) => format!("status {status}"),
                                None => "no answer".to_owned(),
                            },
                        },
                    };
                    let finding = Finding::fatal(verdict, Confidence::Certain).with(polling);
                    Outcome::found(match &patient.websocket {
                        Some((exchange, _)) => finding.with(exchange),
                        None => finding,
                    })
                }
                (false, false) => Outcome::Skipped(Why::Needs(Id::D12)),
            }
        }
        .boxed()
    }
}
