//! D15 and D16: joining the namespace, and the heartbeat.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use socketio::Transport;
use socketio_proto::engine::OpenData;
use socketio_proto::socket::{EncodedMessage, MsgpackParser, Packet, PacketKind, Parser};
use tokio::time::Instant;

use super::recovery::offset;
use crate::doctor::args::Only;
use crate::doctor::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::doctor::engine;
use crate::doctor::facts::Patient;
use crate::doctor::texts::{Note, Token, Verdict};
use crate::doctor::wire::{Ask, Fault, Frame, WebSocket};

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
            let reply = channel.join(patient, patient.args.auth.as_ref()).await;
            let asked = head(&namespace, "40");
            let asked = match &patient.args.auth {
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

/// What came of the request to join.
pub(super) enum Reply {
    Joined(String),
    Refused(String),
    Silent,
    Ended(String),
    Unclear,
}

/// A session over one of the transports.
pub(super) enum Channel {
    Polling {
        sid: String,
        revision: u8,
        queue: VecDeque<String>,
    },
    WebSocket(WebSocket),
}

impl Channel {
    /// Opens a session, over WebSocket if that works: its messages always reach the same server.
    pub(super) async fn open(patient: &Patient, revision: u8) -> Result<Option<Channel>, Why> {
        if patient.has_websocket() && patient.args.transport != Some(Only::Polling) {
            let (_, _, websocket) = patient.open_websocket(revision).await;
            return Ok(websocket.map(Channel::WebSocket));
        }
        if !patient.has_polling() {
            return Err(Why::Needs(Id::D12));
        }
        if let Some(id) = patient.polling_fault {
            return Err(Why::Needs(id));
        }
        let (exchange, open) = patient.handshake(&[]).await;
        let text = exchange
            .answer()
            .map(|answer| answer.text())
            .unwrap_or_default();
        Ok(open.map(|open| Channel::Polling {
            sid: open.sid,
            revision,
            queue: engine::packets(revision, &text)
                .into_iter()
                .skip(1)
                .collect(),
        }))
    }

    /// Asks to join the namespace, and reads until it is known what came of it.
    pub(super) async fn join(&mut self, patient: &Patient, auth: Option<&Value>) -> Reply {
        let namespace = &patient.wire.target.namespace;
        // In revision 3 the main namespace is joined unasked.
        if patient.revision() == 4 || namespace != "/" {
            let auth = auth.map(Value::to_string).unwrap_or_default();
            let packet = format!("{}{auth}", head(namespace, "40"));
            self.send(patient, &packet).await;
        }
        self.reply(patient, namespace).await
    }

    pub(super) async fn send(&mut self, patient: &Patient, packet: &str) {
        match self {
            Channel::WebSocket(websocket) => websocket.send_text(packet).await,
            Channel::Polling { sid, revision, .. } => {
                patient.post(*revision, sid, packet, &[]).await;
            }
        }
    }

    pub(super) async fn next(&mut self, patient: &Patient, wait: Duration) -> Frame {
        match self {
            Channel::WebSocket(websocket) => websocket.next(wait).await,
            Channel::Polling {
                sid,
                revision,
                queue,
            } => {
                if let Some(packet) = queue.pop_front() {
                    return Frame::Text(packet);
                }
                let target = patient.engine(*revision, Transport::Polling, Some(sid));
                let exchange = patient.wire.ask_for(Ask::get(target), wait).await;
                match &exchange.got {
                    Err(Fault::Silent | Fault::Spent) => Frame::Silent,
                    Err(_) => Frame::Ended,
                    Ok(answer) => {
                        queue.extend(engine::packets(*revision, &answer.text()));
                        match queue.pop_front() {
                            Some(packet) if answer.status == 200 => Frame::Text(packet),
                            _ => Frame::Ended,
                        }
                    }
                }
            }
        }
    }

    /// Reads until it is known what came of the request to join a namespace.
    pub(super) async fn reply(&mut self, patient: &Patient, namespace: &str) -> Reply {
        let deadline = Instant::now() + patient.wire.budget.answer().min(ANSWER);
        for _ in 0..MAX_PACKETS {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.next(patient, wait).await {
                Frame::Text(text) if text == "2" => self.send(patient, "3").await,
                Frame::Text(text) if text == "1" => return Reply::Ended("1".to_owned()),
                Frame::Text(text) => match text.split_at_checked(2) {
                    Some(("40", rest)) => match of_namespace(rest, namespace) {
                        Some(data) => return Reply::Joined(data.to_owned()),
                        None => continue,
                    },
                    Some(("44", rest)) => match of_namespace(rest, namespace) {
                        Some(data) => return Reply::Refused(data.to_owned()),
                        None => continue,
                    },
                    _ => continue,
                },
                Frame::Binary(_) => continue,
                Frame::Broken(what, _) => return Reply::Ended(what),
                Frame::Close(code) => return Reply::Ended(format!("closed with code {code}")),
                Frame::Ended => return Reply::Ended("the connection was closed".to_owned()),
                Frame::Silent => return Reply::Silent,
            }
        }
        Reply::Unclear
    }

    pub(super) async fn close(self, patient: &Patient) {
        match self {
            Channel::WebSocket(websocket) => websocket.close().await,
            Channel::Polling { sid, revision, .. } => {
                patient.leave(revision, &sid).await;
            }
        }
    }
}

/// So long the answer to a request to join is awaited.
const ANSWER: Duration = Duration::from_millis(2500);
/// A server that talks more before it answers is not listened to.
const MAX_PACKETS: usize = 1000;

/// How a packet of a namespace begins.
pub(super) fn head(namespace: &str, kind: &str) -> String {
    match namespace {
        "/" => kind.to_owned(),
        name => format!("{kind}{name},"),
    }
}

/// The data of a packet, if it is of this namespace.
pub(super) fn of_namespace<'a>(rest: &'a str, namespace: &str) -> Option<&'a str> {
    let (found, data) = match rest.starts_with('/') {
        // Old servers leave the comma out where no data follows.
        true => rest.split_once(',').unwrap_or((rest, "")),
        false => ("/", rest),
    };
    let name = found.split('?').next().unwrap_or(found);
    (name == namespace || found == namespace).then_some(data)
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
            from_url: patient.args.namespace.is_none(),
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
    let token = patient.args.auth.as_ref().and_then(token);
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
        .args
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

pub(super) struct Heartbeat;

/// Longer intervals are not waited for.
const MAX_INTERVAL: Duration = Duration::from_millis(3500);
/// A ping may come so late.
const GRACE: Duration = Duration::from_secs(1);

impl Check for Heartbeat {
    fn id(&self) -> Id {
        Id::D16
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D15]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let Some(open) = patient.open.clone() else {
                return Outcome::Skipped(Why::Unclear);
            };
            let interval = open.ping_interval;
            let odd = odd(patient, &open);
            let is_short =
                interval <= MAX_INTERVAL && interval + GRACE * 2 < patient.wire.budget.left();
            // In revision 3 it is the client that pings.
            let is_old = patient.revision() == 3;
            let Some(mut websocket) = patient.joined.take() else {
                return Outcome::Passed(Note::NotObserved(interval), odd);
            };
            if !is_short || is_old {
                patient.joined = Some(websocket);
                return Outcome::Passed(Note::NotObserved(interval), odd);
            }
            let start = Instant::now();
            let deadline = start + interval + GRACE;
            loop {
                let wait = deadline.saturating_duration_since(Instant::now());
                match websocket.next(wait).await {
                    Frame::Text(text) if text == "2" => {
                        websocket.send_text("3").await;
                        patient.joined = Some(websocket);
                        return Outcome::Passed(Note::Heartbeat, odd);
                    }
                    Frame::Text(text) => {
                        let found = offset(&text, &patient.wire.target.namespace);
                        patient.offset = patient.offset.take().or(found);
                    }
                    Frame::Binary(_) => {}
                    Frame::Silent => {
                        websocket.close().await;
                        let verdict = Verdict::NoPing {
                            interval: interval + GRACE,
                        };
                        let finding = Finding::fatal(verdict, Confidence::Likely);
                        return Outcome::found(
                            finding.with_words("a WebSocket that waits", "no ping"),
                        );
                    }
                    // Who ends a connection on purpose says so: a proxy only hangs up.
                    Frame::Ended if start.elapsed() < interval => {
                        let after = start.elapsed();
                        let verdict = Verdict::TunnelCut { after, interval };
                        let finding = Finding::fatal(verdict, Confidence::Likely);
                        let words = "it ended without a close frame";
                        return Outcome::found(finding.with_words("a WebSocket that waits", words));
                    }
                    // The application may end connections as it likes.
                    Frame::Broken(..) | Frame::Close(_) | Frame::Ended => {
                        return Outcome::Inconclusive(Why::Unclear);
                    }
                }
            }
        }
        .boxed()
    }
}

/// What is unusual about the times of the heartbeat.
fn odd(patient: &Patient, open: &OpenData) -> Vec<Finding> {
    let (interval, wait) = (open.ping_interval, open.ping_timeout);
    let words = format!(
        "pingInterval {} ms, pingTimeout {} ms",
        interval.as_millis(),
        wait.as_millis()
    );
    let mut findings = Vec::new();
    if wait < MIN_TIMEOUT {
        let verdict = Verdict::HastyTimeout { timeout: wait };
        findings.push(Finding::warn(verdict, Confidence::Likely));
    }
    if interval > LONG_INTERVAL {
        let verdict = Verdict::RarePings { interval };
        findings.push(Finding::warn(verdict, Confidence::Possible));
    }
    // In revision 3 the client's own timer keeps the connection, which browsers slow down in tabs that
    // nobody sees.
    let client = patient.args.client.as_ref();
    if patient.revision() == 3
        && client.is_some_and(|client| client.name == "js")
        && interval + wait < THROTTLED
    {
        let verdict = Verdict::TabPings {
            limit: interval + wait,
        };
        findings.push(Finding::info(verdict, Confidence::Likely));
    }
    let told = |finding: Finding| finding.with_words("the handshake", words.clone());
    findings.into_iter().map(told).collect()
}

/// Less is not enough for a phone that changes its network, or for a large message.
const MIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Most proxies cut a connection on which nothing is said for so long.
const LONG_INTERVAL: Duration = Duration::from_secs(60);
/// The timers of a hidden tab fire so rarely.
const THROTTLED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod unit {
    use serde_json::json;

    use super::*;

    #[test]
    fn packets_are_told_apart_by_their_namespace() {
        assert_eq!(of_namespace(r#"{"sid":"a"}"#, "/"), Some(r#"{"sid":"a"}"#));
        assert_eq!(of_namespace("/a,1", "/a"), Some("1"));
        assert_eq!(of_namespace("/a", "/a"), Some(""));
        assert_eq!(of_namespace("/b,1", "/a"), None);
        assert_eq!(of_namespace("", "/a"), None);
    }

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
