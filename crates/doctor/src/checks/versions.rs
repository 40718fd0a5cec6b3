//! D08: which revisions of the protocol the server speaks.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::Transport;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::Reading;
use crate::facts::{Attempt, Patient};
use crate::texts::{Note, Verdict};
use crate::wire::{Ask, Exchange};

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
            let is_old = patient.revisions == [3];
            patient.old = old.map(|(exchange, _)| exchange);
            let mut revisions = patient.revisions.clone();
            revisions.sort_unstable();
            // Without --client it is assumed that the client is a recent one.
            let findings = (is_old && patient.options.client.is_none()).then(|| {
                let client = None;
                Finding::fatal(Verdict::OldServer { client }, Confidence::Likely).with(&first)
            });
            match findings {
                Some(finding) => Outcome::found(finding),
                None => Outcome::Passed(Note::Engine(revisions), Vec::new()),
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
