//! All requests and answers as HAR 1.2, which the network panel of browsers reads. Messages of a
//! WebSocket stand in `_webSocketMessages`, as Chromium writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use socketio_proto::printable_json;

use super::Report;
use crate::redact::{REDACTED, Redactor};
use crate::wire::{Answer, Direction, Exchange, Message};

pub(crate) fn har(report: &Report) -> String {
    let entries = report
        .exchanges
        .iter()
        .map(|exchange| entry(exchange, &report.redactor));
    let value = json!({
        "log": {
            "version": "1.2",
            "creator": { "name": "sio doctor", "version": env!("CARGO_PKG_VERSION") },
            "entries": entries.collect::<Vec<_>>(),
        },
    });
    printable_json(format!("{value:#}\n"))
}

fn entry(exchange: &Exchange, redactor: &Redactor) -> Value {
    let time = exchange.took.as_secs_f64() * 1000.0;
    let receive = exchange
        .answer()
        .map_or(0.0, |answer| answer.receive.as_secs_f64() * 1000.0);
    let mut entry = json!({
        "startedDateTime": exchange.started.to_string(),
        "time": time,
        "request": request(exchange, redactor),
        "response": response(exchange, redactor),
        "cache": {},
        // The connection is part of the wait: it is not timed on its own.
        "timings": { "send": 0, "wait": (time - receive).max(0.0), "receive": receive },
    });
    if let Some(transcript) = &exchange.transcript {
        let messages = transcript.messages();
        let messages: Vec<Value> = messages.iter().map(|one| message(one, redactor)).collect();
        entry["_resourceType"] = "websocket".into();
        entry["_webSocketMessages"] = messages.into();
    }
    entry
}

fn request(exchange: &Exchange, redactor: &Redactor) -> Value {
    let url = redactor.clean(&format!("{}{}", exchange.origin, exchange.target));
    let query = url
        .split_once('?')
        .map(|(_, query)| query)
        .unwrap_or_default();
    let query = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            json!({ "name": name, "value": value })
        });
    let mut sent = exchange.headers.clone();
    if exchange.is_websocket() {
        let own = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
        ];
        sent.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    let body = exchange.sent_body.as_deref();
    let mut request = json!({
        "method": exchange.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&sent, redactor),
        "queryString": query.collect::<Vec<_>>(),
        "headersSize": -1,
        "bodySize": body.map_or(0, str::len),
    });
    if let Some(body) = body {
        request["postData"] = json!({
            "mimeType": "text/plain;charset=UTF-8",
            "params": [],
            "text": redactor.clean(&shown(body)),
        });
    }
    request
}

fn response(exchange: &Exchange, redactor: &Redactor) -> Value {
    let none = Answer::default();
    let answer = exchange.answer().unwrap_or(&none);
    let mut response = json!({
        "status": answer.status,
        "statusText": "",
        "httpVersion": if answer.status == 0 { "" } else { "HTTP/1.1" },
        "cookies": [],
        "headers": headers(&answer.headers, redactor),
        "content": {
            "size": answer.body.len(),
            "mimeType": answer.header("content-type").unwrap_or("x-unknown"),
            "text": redactor.clean(&shown(&answer.text())),
        },
        "redirectURL": redactor.clean(answer.header("location").unwrap_or_default()),
        "headersSize": -1,
        "bodySize": answer.body.len(),
    });
    if let Err(fault) = &exchange.got {
        response["_error"] = redactor.clean(&format!("{fault:?}")).into();
    }
    response
}

/// Whoever has seen the value of a cookie or of such a header can pass for its owner.
const SECRET: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
];

fn headers(headers: &[(String, String)], redactor: &Redactor) -> Value {
    let headers = headers.iter().map(|(name, value)| {
        let is_secret = SECRET
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret));
        let value = match (is_secret, value.split_once('=')) {
            (false, _) => redactor.clean(value),
            // The name and the attributes of a cookie tell something.
            (true, Some((cookie, rest))) if name.eq_ignore_ascii_case("set-cookie") => {
                let attributes = rest.split_once(';').map(|(_, attributes)| attributes);
                let attributes = attributes
                    .map(|text| format!(";{text}"))
                    .unwrap_or_default();
                format!("{cookie}={REDACTED}{attributes}")
            }
            (true, _) => REDACTED.to_owned(),
        };
        json!({ "name": name, "value": value })
    });
    headers.collect::<Vec<_>>().into()
}

fn message(message: &Message, redactor: &Redactor) -> Value {
    let (opcode, data) = match message.is_text {
        true => (1, redactor.clean(&String::from_utf8_lossy(&message.data))),
        false => (2, STANDARD.encode(&message.data)),
    };
    json!({
        "type": match message.direction {
            Direction::Received => "receive",
            Direction::Sent => "send",
        },
        "time": message.at.as_millisecond() as f64 / 1000.0,
        "opcode": opcode,
        "data": data,
    })
}

/// The beginning of a body.
fn shown(text: &str) -> String {
    text.chars().take(MAX_BODY).collect()
}

/// More of a body is not written, in characters.
const MAX_BODY: usize = 10_000;
