//! D27: whether the state of a connection is recovered when it was lost, where the server offers that.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::channel::{Channel, Reply, of_namespace};
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::facts::Patient;
use crate::texts::{Note, Verdict};
use crate::wire::Frame;

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
            let Some(joined) = patient.joined.take() else {
                return Outcome::Skipped(Why::NoWebSocket);
            };
            let mut channel = Channel::WebSocket(joined);
            let Some(pid) = patient.greeting["pid"].as_str() else {
                channel.close(patient).await;
                return Outcome::Skipped(Why::NoRecovery);
            };
            let offset = match &patient.offset {
                Some(offset) => Some(offset.clone()),
                None => event(patient, &mut channel).await,
            };
            let Some(offset) = offset else {
                channel.close(patient).await;
                return Outcome::Passed(Note::NoOffset, Vec::new());
            };
            // It ends without a farewell of the namespace, so that the server keeps the state.
            channel.send(patient, "1").await;
            channel.close(patient).await;
            let mut again: Map<String, Value> = match &patient.options.auth {
                Some(Value::Object(map)) => map.clone(),
                _ => Map::new(),
            };
            again.insert("pid".to_owned(), pid.into());
            again.insert("offset".to_owned(), offset.into());
            let Some((channel, second)) = join(patient, Some(&Value::Object(again))).await else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            channel.close(patient).await;
            if second["sid"] == patient.greeting["sid"] {
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

/// The place of the first event that comes.
async fn event(patient: &Patient, channel: &mut Channel) -> Option<String> {
    let start = Instant::now();
    loop {
        let wait = EVENT.checked_sub(start.elapsed())?;
        match channel.next(patient, wait).await {
            Frame::Text(text) if text == "2" => channel.send(patient, "3").await,
            Frame::Text(text) => {
                if let Some(offset) = offset(&text, &patient.wire.target.namespace) {
                    return Some(offset);
                }
            }
            Frame::Binary(_) => {}
            Frame::Broken(..) | Frame::Close(_) | Frame::Ended | Frame::Silent => return None,
        }
    }
}

/// The place of an event, which a server that recovers adds to its arguments.
pub(super) fn offset(packet: &str, namespace: &str) -> Option<String> {
    let event = of_namespace(packet.strip_prefix("42")?, namespace)?;
    let mut event: Vec<Value> = serde_json::from_str(event).ok()?;
    match event.len() {
        0 | 1 => None,
        _ => Some(event.pop()?.as_str()?.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_event_is_its_last_argument() {
        assert_eq!(
            offset(r#"42["a",1,"place"]"#, "/"),
            Some("place".to_owned())
        );
        assert_eq!(
            offset(r#"42/b,["a","place"]"#, "/b"),
            Some("place".to_owned())
        );
        assert_eq!(offset(r#"42["a",1]"#, "/"), None);
        assert_eq!(offset(r#"42["a"]"#, "/"), None);
        assert_eq!(offset(r#"42/b,["a","place"]"#, "/"), None);
    }
}
