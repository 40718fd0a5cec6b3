//! What an answer says in the words of Engine.IO, in any server's dialect.

use serde_json::Value;
use socketio_proto::engine::{OpenData, Packet, decode_payload};

use super::wire::Answer;

/// An answer to a handshake over polling, classified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// A session was opened, in this revision.
    Open(OpenData, u8),
    /// An Engine.IO server refused, with its code.
    Refused(u8, String),
    /// python-engineio does not accept the origin.
    OriginRefused,
    /// A web page.
    Page,
    /// Something else.
    Other,
}

impl Reading {
    pub(super) fn of(answer: &Answer) -> Reading {
        let text = answer.text();
        if answer.status == 200 {
            if let Some(open) = text.strip_prefix('0').and_then(open) {
                return Reading::Open(open, 4);
            }
            let old = v3_packets(&text);
            if let Some(open) = old
                .first()
                .and_then(|packet| open(packet.strip_prefix('0')?))
            {
                return Reading::Open(open, 3);
            }
        }
        if let Some((code, message)) = refusal(&text) {
            return Reading::Refused(code, message);
        }
        if answer.status == 400
            && let Ok(Value::String(message)) = serde_json::from_str(&text)
        {
            // python-engineio refuses in words.
            return match &*message {
                _ if message.contains("is not an accepted origin") => Reading::OriginRefused,
                _ if message.starts_with("Invalid session") => Reading::Refused(1, message),
                _ if message.starts_with("Invalid transport") => Reading::Refused(0, message),
                _ if message.contains("unsupported version") => Reading::Refused(5, message),
                _ => Reading::Other,
            };
        }
        match text.trim_start().starts_with('<') {
            true => Reading::Page,
            false => Reading::Other,
        }
    }

    /// The code of a refusal.
    pub(super) fn code(&self) -> Option<u8> {
        match self {
            Reading::Refused(code, _) => Some(*code),
            _ => None,
        }
    }
}

/// The code and message of a refusal in JSON.
fn refusal(text: &str) -> Option<(u8, String)> {
    let object: Value = serde_json::from_str(text).ok()?;
    let code = u8::try_from(object.get("code")?.as_u64()?)
        .ok()
        .filter(|code| *code <= 5)?;
    Some((code, object.get("message")?.as_str()?.to_owned()))
}

/// The data of an open packet, which other packets may follow.
pub(super) fn open(text: &str) -> Option<OpenData> {
    let text = text.split('\u{1e}').next()?;
    OpenData::decode(text).ok()
}

/// A payload of one packet, in the revision's form.
pub(super) fn payload(revision: u8, packet: &str) -> String {
    match revision {
        3 => format!("{}:{packet}", packet.encode_utf16().count()),
        _ => packet.to_owned(),
    }
}

/// The packets of a payload, as texts.
pub(super) fn packets(revision: u8, body: &str) -> Vec<String> {
    if revision == 3 {
        return v3_packets(body);
    }
    let encode = |packet: Packet<'_>| {
        let mut out = Vec::new();
        packet.encode_text(&mut out);
        String::from_utf8(out).unwrap_or_default()
    };
    decode_payload(body)
        .map_while(Result::ok)
        .map(encode)
        .collect()
}

/// The packets of an old payload: a length in UTF-16 units, a colon, the packet.
fn v3_packets(body: &str) -> Vec<String> {
    let mut packets = Vec::new();
    let mut rest = body;
    while let Some((length, after)) = rest.split_once(':') {
        let Ok(mut units) = length.parse::<usize>() else {
            break;
        };
        let mut end = 0;
        for c in after.chars() {
            if units == 0 {
                break;
            }
            units = units.saturating_sub(c.len_utf16());
            end += c.len_utf8();
        }
        if units > 0 {
            break;
        }
        packets.push(after[..end].to_owned());
        rest = &after[end..];
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(status: u16, body: &str) -> Reading {
        let body = body.as_bytes().to_vec();
        Reading::of(&Answer {
            status,
            body,
            ..Answer::default()
        })
    }

    #[test]
    fn every_dialect_is_understood() {
        let open = r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
        assert!(matches!(reading(200, open), Reading::Open(_, 4)));
        let old = format!("{}:{open}2:40", open.len());
        assert!(matches!(reading(200, &old), Reading::Open(_, 3)));
        assert_eq!(packets(3, &old), [open, "40"]);
        let refused = r#"{"code":5,"message":"Unsupported protocol version"}"#;
        assert_eq!(reading(400, refused).code(), Some(5));
        assert_eq!(reading(400, r#""Invalid session nope""#).code(), Some(1));
        assert_eq!(
            reading(400, r#""http://a is not an accepted origin.""#),
            Reading::OriginRefused
        );
        assert_eq!(reading(200, "<!doctype html>"), Reading::Page);
        assert_eq!(reading(200, r#"{"code":"x"}"#), Reading::Other);
        assert_eq!(reading(404, "Cannot GET /socket.io/"), Reading::Other);
    }
}
