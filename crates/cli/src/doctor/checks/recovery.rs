//! D27: whether the state of a connection is recovered when it was lost, where the server offers that.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::namespace::{Channel, Reply, of_namespace};
use crate::doctor::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::doctor::facts::Patient;
use crate::doctor::texts::{Note, Verdict};
use crate::doctor::wire::Frame;

pub(super) struct Recovery;

/// So long an event is awaited, without which nothing is recovered.
const EVENT: Duration = Duration::from_millis(700);

impl Check for Recovery {
    fn id(&self) -> Id {
        Id::D27
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D15]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            if !patient.has_recovery {
                return Outcome::Skipped(Why::NoRecovery);
            }
            if !patient.has_websocket() {
                return Outcome::Skipped(Why::NoWebSocket);
            }
            let auth = patient.args.auth.clone();
            let Some((mut channel, greeting)) = join(patient, auth.as_ref()).await else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let Some(offset) = offset(patient, &mut channel).await else {
                channel.close(patient).await;
                return Outcome::Passed(Note::NoOffset, Vec::new());
            };
            // It ends without a farewell of the namespace, so that the server keeps the state.
            channel.send(patient, "1").await;
            channel.close(patient).await;
            let Some(pid) = greeting["pid"].as_str() else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let mut again: Map<String, Value> = match auth {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            again.insert("pid".to_owned(), pid.into());
            again.insert("offset".to_owned(), offset.into());
            let Some((channel, second)) = join(patient, Some(&Value::Object(again))).await else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            channel.close(patient).await;
            if second["sid"] == greeting["sid"] {
                return Outcome::Passed(Note::Recovered, Vec::new());
            }
            let finding = Finding::warn(Verdict::NotRecovered, Confidence::Likely);
            let words = "a session of another id";
            Outcome::found(finding.with_words("joining with the pid and offset of before", words))
        }
        .boxed()
    }
}

/// Joins the namespace; gives what the server said to it.
async fn join(patient: &Patient, auth: Option<&Value>) -> Option<(Channel, Value)> {
    let mut channel = Channel::open(patient, 4).await.ok()??;
    let Reply::Joined(data) = channel.join(patient, auth).await else {
        channel.close(patient).await;
        return None;
    };
    Some((channel, serde_json::from_str(&data).unwrap_or_default()))
}

/// The offset of the first event that comes.
async fn offset(patient: &Patient, channel: &mut Channel) -> Option<String> {
    let start = Instant::now();
    let namespace = &patient.wire.target.namespace;
    loop {
        let wait = EVENT.checked_sub(start.elapsed())?;
        match channel.next(patient, wait).await {
            Frame::Text(text) if text == "2" => channel.send(patient, "3").await,
            Frame::Text(text) => {
                let event = text.strip_prefix("42");
                let event = event.and_then(|rest| of_namespace(rest, namespace));
                let event: Option<Vec<Value>> =
                    event.and_then(|event| serde_json::from_str(event).ok());
                if let Some(Value::String(offset)) = event.and_then(|mut event| event.pop()) {
                    return Some(offset);
                }
            }
            Frame::Binary(_) => {}
            Frame::Broken(..) | Frame::Close(_) | Frame::Ended | Frame::Silent => return None,
        }
    }
}
