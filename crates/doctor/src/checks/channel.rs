//! A session over one of the transports, to say something to the server and to hear it.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use socketio_proto::engine::Transport;
use tokio::time::Instant;

use crate::check::{Id, Why};
use crate::engine;
use crate::facts::Patient;
use crate::wire::{Ask, Fault, Frame, WebSocket};

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
        if patient.has_websocket() && patient.options.transport != Some(Transport::Polling) {
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
pub(super) const ANSWER: Duration = Duration::from_millis(2500);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart_by_their_namespace() {
        assert_eq!(of_namespace(r#"{"sid":"a"}"#, "/"), Some(r#"{"sid":"a"}"#));
        assert_eq!(of_namespace("/a,1", "/a"), Some("1"));
        assert_eq!(of_namespace("/a", "/a"), Some(""));
        assert_eq!(of_namespace("/b,1", "/a"), None);
        assert_eq!(of_namespace("", "/a"), None);
    }
}
