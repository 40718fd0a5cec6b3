//! D08: which revisions of the protocol the server speaks, and whether the client's is among them.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio::Transport;

use crate::doctor::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::doctor::engine::Reading;
use crate::doctor::facts::{Attempt, Patient};
use crate::doctor::texts::{Note, Verdict};
use crate::doctor::wire::{Ask, Exchange};

pub(super) struct Versions;

impl Check for Versions {
    fn id(&self) -> Id {
        Id::D08
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some((first, _)) = patient.polling.clone() else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let old = match patient.revisions[..] {
                [3] => None,
                _ => Some(try_old(patient).await),
            };
            if let Some((_, true)) = old {
                patient.revisions.push(3);
            }
            if patient.revisions.is_empty() {
                // Whether revision 4 is spoken over WebSocket, the next check sees.
                patient.revisions.push(4);
            }
            let client = patient.args.client.clone();
            let revision = client.as_ref().map_or(4, |client| client.revision);
            let name = client
                .as_ref()
                .map(|client| format!("{} {}", client.name, client.major));
            let mut revisions = patient.revisions.clone();
            revisions.sort_unstable();
            if revisions.contains(&revision) {
                return Outcome::Passed(Note::Engine(revisions), Vec::new());
            }
            match revision {
                3 => {
                    let Some((exchange, _)) = old else {
                        return Outcome::Inconclusive(Why::Unclear);
                    };
                    let is_told = exchange
                        .answer()
                        .map(Reading::of)
                        .and_then(|reading| reading.code())
                        == Some(5);
                    let confidence = if is_told {
                        Confidence::Certain
                    } else {
                        Confidence::Likely
                    };
                    let client = name.unwrap_or_default();
                    let finding = Finding::fatal(Verdict::OldClient { client }, confidence);
                    Outcome::found(finding.with(&exchange))
                }
                _ => {
                    // Without --client it is only assumed that the client is a recent one.
                    let confidence = match &name {
                        Some(_) => Confidence::Certain,
                        None => Confidence::Likely,
                    };
                    let client = name.unwrap_or_else(|| {
                        "of version 3 or 4 (assumed; tell it with --client)".to_owned()
                    });
                    let finding = Finding::fatal(Verdict::OldServer { client }, confidence);
                    Outcome::found(finding.with(&first))
                }
            }
        }
        .boxed()
    }
}

/// Asks in revision 3, and ends the session if one is opened.
async fn try_old(patient: &Patient) -> (Exchange, bool) {
    if !patient.has_polling() && patient.has_websocket() {
        let (exchange, attempt, websocket) = patient.open_websocket(3).await;
        if let Some(websocket) = websocket {
            websocket.close().await;
        }
        return (exchange, matches!(attempt, Attempt::Open(_)));
    }
    let target = patient.engine(3, Transport::Polling, None);
    let exchange = patient.wire.ask(Ask::get(target)).await;
    match exchange.answer().map(Reading::of) {
        Some(Reading::Open(open, 3)) => {
            patient.leave(3, &open.sid).await;
            (exchange, true)
        }
        _ => (exchange, false),
    }
}
