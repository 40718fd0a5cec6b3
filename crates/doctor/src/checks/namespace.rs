//! D15: joining the namespace.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use socketio_proto::socket::{EncodedMessage, MsgpackParser, Packet, PacketKind, Parser};

use super::channel::{ANSWER, Channel, Reply, head};
use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::facts::Patient;
use crate::texts::{Note, Token, Verdict};
use crate::wire::Frame;

pub(super) struct Join;

impl Check for Join {
    fn id(&self) -> Id {
        Id::D15
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let revision = patient.revision();
            let Some(mut channel) = (match Channel::open(patient, revision).await {
                Ok(channel) => channel,
                Err(why) => return Outcome::Skipped(why),
            }) else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let namespace = patient.wire.target.namespace.clone();
            let reply = channel.join(patient, patient.options.auth.as_ref()).await;
            let asked = head(&namespace, "40");
            let asked = match &patient.options.auth {
                None => asked,
                Some(_) => format!("{asked}{{…}}"),
            };
            let (finding, is_open) = match reply {
                Reply::Joined(data) => {
                    let recovery = data.contains(r#""pid":"#);
                    patient.greeting = serde_json::from_str(&data).unwrap_or_default();
                    match channel {
                        Channel::WebSocket(websocket) => patient.joined = Some(websocket),
                        Channel::Polling { .. } => channel.close(patient).await,
                    }
                    return Outcome::Passed(
                        Note::Joined {
                            namespace,
                            recovery,
                        },
                        Vec::new(),
                    );
                }
                Reply::Refused(data) => {
                    let finding = refused(patient, &mut channel, &namespace, &data).await;
                    (finding.with_words(asked, format!("44 {data}")), true)
                }
                Reply::Silent => {
                    let verdict = Verdict::ConnectUnanswered { namespace };
                    // It may be a slow one.
                    let finding = Finding::fatal(verdict, Confidence::Possible);
                    (finding.with_words(asked, "nothing came"), true)
                }
                Reply::Ended(how) => {
                    let verdict = match revision == 4 && speaks_msgpack(patient, &namespace).await {
                        true => (Verdict::OtherParser, Confidence::Certain),
                        false => (Verdict::ConnectClosed, Confidence::Likely),
                    };
                    (
                        Finding::fatal(verdict.0, verdict.1).with_words(asked, how),
                        false,
                    )
                }
                Reply::Unclear => return Outcome::Inconclusive(Why::Unclear),
            };
            if is_open {
                channel.close(patient).await;
            }
            Outcome::found(finding)
        }
        .boxed()
    }
}

/// What a refusal means.
async fn refused(patient: &Patient, channel: &mut Channel, namespace: &str, data: &str) -> Finding {
    let value: Value = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data));
    let message = match &value {
        Value::String(text) => text.clone(),
        other => other["message"].as_str().unwrap_or(data).to_owned(),
    };
    let is_unknown = match &*message {
        "Invalid namespace" => true,
        // python-socketio says the same of a namespace that it does not know and of a refusal.
        "Unable to connect" => namespace != "/",
        _ => false,
    };
    if is_unknown && namespace != "/" {
        channel.send(patient, "40").await;
        let works = matches!(channel.reply(patient, "/").await, Reply::Joined(_));
        let verdict = Verdict::NoNamespace {
            namespace: namespace.to_owned(),
            from_url: patient.options.namespace.is_none(),
        };
        if works || message == "Invalid namespace" {
            let is_certain = works && message == "Invalid namespace";
            let confidence = if is_certain {
                Confidence::Certain
            } else {
                Confidence::Likely
            };
            return Finding::fatal(verdict, confidence);
        }
    }
    let data = match &value["data"] {
        Value::Null => String::new(),
        data => format!(" {data}"),
    };
    let token = patient.options.auth.as_ref().and_then(token);
    let message = format!("{message}{data}");
    Finding::fatal(
        Verdict::ConnectRefused { message, token },
        Confidence::Certain,
    )
}

/// What the times in a token (JWT) say, if there is one that is not valid. It is read here and sent
/// nowhere else than to the server.
fn token(auth: &Value) -> Option<Token> {
    match auth {
        Value::Array(items) => items.iter().find_map(token),
        Value::Object(map) => map.values().find_map(token),
        Value::String(text) => {
            let text = text.strip_prefix("Bearer ").unwrap_or(text);
            let claims = text
                .split('.')
                .nth(1)
                .filter(|_| text.split('.').count() == 3)?;
            let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
            let claims: Value = serde_json::from_slice(&claims).ok()?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
            if let Some(end) = claims["exp"].as_u64().filter(|end| *end < now) {
                return Some(Token::Expired(Duration::from_secs(now - end)));
            }
            let start = claims["nbf"].as_u64().filter(|start| *start > now)?;
            Some(Token::NotYetValid(Duration::from_secs(start - now)))
        }
        _ => None,
    }
}

/// Says whether the server understands a request to join in MessagePack.
async fn speaks_msgpack(patient: &Patient, namespace: &str) -> bool {
    let (_, _, websocket) = patient.open_websocket(4).await;
    let Some(mut websocket) = websocket else {
        return false;
    };
    let auth = patient
        .options
        .auth
        .as_ref()
        .map(Value::to_string)
        .unwrap_or_default();
    let packet = Packet {
        kind: PacketKind::Connect,
        nsp: namespace.into(),
        id: None,
        data: auth.as_str().into(),
        attachments: Vec::new(),
    };
    for message in MsgpackParser::default().encode(&packet) {
        match message {
            EncodedMessage::Binary(bytes) => websocket.send_binary(&bytes).await,
            EncodedMessage::Text(text) => websocket.send_text(&text).await,
        }
    }
    let frame = websocket
        .next(ANSWER.min(patient.wire.budget.answer()))
        .await;
    websocket.close().await;
    matches!(frame, Frame::Binary(_))
}

#[cfg(test)]
mod unit {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_s_times_are_read() {
        let jwt = |claims: Value| {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.c2ln", part(&json!({ "alg": "none" })), part(&claims))
        };
        let expired = token(&json!({ "token": jwt(json!({ "exp": 1000 })) }));
        assert!(matches!(expired, Some(Token::Expired(_))));
        assert_eq!(
            token(&json!({ "token": jwt(json!({ "exp": 99_999_999_999_u64 })) })),
            None
        );
        assert_eq!(token(&json!({ "token": "a.b.c" })), None);
        assert_eq!(token(&json!({ "token": 1 })), None);
    }
}
