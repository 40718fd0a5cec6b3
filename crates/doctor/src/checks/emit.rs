//! D19: whether an event is answered. The only check that says something to the application.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::channel::{Channel, Reply, head, of_namespace};
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::facts::Patient;
use crate::options::Options;
use crate::texts::{Note, Verdict};
use crate::wire::Frame;

pub(super) struct Ack;

/// So long an answer is awaited.
const ANSWER: Duration = Duration::from_millis(1500);

impl Check for Ack {
    fn id(&self) -> Id {
        Id::D19
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D15]
    }

    fn allowance(&self, options: &Options) -> (usize, Duration) {
        match options.emit {
            Some(_) => (10, ANSWER * 3),
            None => (0, Duration::ZERO),
        }
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(emit) = patient.options.emit.clone() else {
                return Outcome::Skipped(Why::OnlyWith("--emit"));
            };
            let channel = Channel::open(patient, patient.revision()).await;
            let mut channel = match channel {
                Ok(Some(channel)) => channel,
                Ok(None) => return Outcome::Inconclusive(Why::Unclear),
                Err(why) => return Outcome::Skipped(why),
            };
            let joined = channel.join(patient, patient.options.auth.as_ref()).await;
            let Reply::Joined(_) = joined else {
                channel.close(patient).await;
                return Outcome::Inconclusive(Why::Unclear);
            };
            let arguments: Vec<Value> = [Value::from(&*emit.event)]
                .into_iter()
                .chain(emit.argument)
                .collect();
            let event = json!(arguments);
            let begin = head(&patient.wire.target.namespace, "42");
            let acknowledged = |took| Outcome::Passed(Note::Ack(took), Vec::new());
            // The first goes as early as can be; if it is lost, the second tells why.
            let first = ask(patient, &mut channel, &format!("{begin}1{event}")).await;
            let outcome = match first {
                Some((_, took)) => acknowledged(took),
                None => match ask(patient, &mut channel, &format!("{begin}2{event}")).await {
                    Some((2, took)) => {
                        let verdict = Verdict::LateHandler { event: emit.event };
                        let words = format!("answered after {} ms", took.as_millis());
                        let finding = Finding::fatal(verdict, Confidence::Certain);
                        Outcome::found(
                            finding
                                .with_words("the event, at once after joining", NOTHING)
                                .with_words("the event, later", words),
                        )
                    }
                    // It is the first one's, which took longer.
                    Some((_, took)) => acknowledged(ANSWER + took),
                    None => {
                        let verdict = Verdict::NoAck { event: emit.event };
                        let finding = Finding::fatal(verdict, Confidence::Likely);
                        Outcome::found(finding.with_words("the event, twice", NOTHING))
                    }
                },
            };
            channel.close(patient).await;
            outcome
        }
        .boxed()
    }
}

const NOTHING: &str = "no acknowledgement";

/// Sends an event and waits for the acknowledgement; gives its number and how long it took.
async fn ask(patient: &Patient, channel: &mut Channel, packet: &str) -> Option<(u64, Duration)> {
    let start = Instant::now();
    channel.send(patient, packet).await;
    loop {
        let wait = ANSWER.checked_sub(start.elapsed())?;
        match channel.next(patient, wait).await {
            Frame::Text(text) if text == "2" => channel.send(patient, "3").await,
            Frame::Text(text) => {
                if let Some(number) = number(&text, &patient.wire.target.namespace) {
                    return Some((number, start.elapsed()));
                }
            }
            Frame::Binary(_) => {}
            Frame::Broken(..) | Frame::Close(_) | Frame::Ended | Frame::Silent => return None,
        }
    }
}

/// The number of an acknowledgement, with or without attachments.
fn number(packet: &str, namespace: &str) -> Option<u64> {
    let rest = match packet.split_at_checked(2)? {
        ("43", rest) => rest,
        ("46", rest) => rest.split_once('-')?.1,
        _ => return None,
    };
    let digits = of_namespace(rest, namespace)?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_have_numbers() {
        assert_eq!(number(r#"431["x"]"#, "/"), Some(1));
        assert_eq!(number(r#"43/chat,12[]"#, "/chat"), Some(12));
        assert_eq!(
            number(r#"461-2[{"_placeholder":true,"num":0}]"#, "/"),
            Some(2)
        );
        assert_eq!(number(r#"42["x"]"#, "/"), None);
        assert_eq!(number("43/other,1[]", "/"), None);
    }
}
