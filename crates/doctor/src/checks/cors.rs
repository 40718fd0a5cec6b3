//! D20 to D25: what a browser would let a page see.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use socketio_proto::engine::Transport;
use url::Url;

use crate::check::{Check, Confidence, Finding, Id, Outcome, Why};
use crate::engine::Reading;
use crate::facts::Patient;
use crate::options::Origin;
use crate::texts::{Note, Verdict};
use crate::wire::Ask;

/// The page's origin, if a browser would ask for permission.
pub(super) fn page(patient: &Patient) -> Result<String, Why> {
    let Some(Origin(origin)) = patient.options.origin.clone() else {
        return Err(Why::OnlyWith("--origin"));
    };
    let own =
        Url::parse(&patient.wire.target.origin()).map(|url| url.origin().ascii_serialization());
    if own.is_ok_and(|own| own == origin) {
        return Err(Why::SameOrigin);
    }
    // No browser asks for permission to open a WebSocket.
    match patient.has_polling() && patient.options.transport != Some(Transport::WebSocket) {
        true => Ok(origin),
        false => Err(Why::NoPolling),
    }
}

pub(super) struct Simple;

impl Check for Simple {
    fn id(&self) -> Id {
        Id::D20
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let origin = match page(patient) {
                Ok(origin) => origin,
                Err(why) => return Outcome::Skipped(why),
            };
            let exchange = match patient.cors.take() {
                Some(exchange) => exchange,
                None => {
                    let (exchange, open) = patient.handshake_of(&origin).await;
                    if let Some(open) = open {
                        patient.leave(patient.revision(), &open.sid).await;
                    }
                    exchange
                }
            };
            let Some(answer) = exchange.answer() else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let finding = |verdict| {
                let finding = Finding::fatal(verdict, Confidence::Certain).with(&exchange);
                Outcome::found(finding)
            };
            match Reading::of(answer) {
                Reading::Open(..) => {}
                Reading::OriginRefused => return finding(Verdict::OriginRefused { origin }),
                _ => return Outcome::Inconclusive(Why::Unclear),
            }
            let allowed: Vec<&str> = answer.all("access-control-allow-origin").collect();
            let outcome = match allowed[..] {
                [] => finding(Verdict::CorsMissing { origin }),
                [one] if one == origin || one == "*" => {
                    Outcome::Passed(Note::Cors(origin), Vec::new())
                }
                _ => {
                    let allowed = allowed.join(", ");
                    let is_near = is_near(&origin, &allowed);
                    finding(Verdict::CorsOther {
                        origin,
                        allowed,
                        is_near,
                    })
                }
            };
            patient.cors = Some(exchange);
            outcome
        }
        .boxed()
    }
}

/// Says whether two origins differ only in scheme, port, `www` or what follows the host.
fn is_near(origin: &str, allowed: &str) -> bool {
    let host = |text: &str| {
        let url = Url::parse(text).ok()?;
        let host = url.host_str()?;
        Some(host.strip_prefix("www.").unwrap_or(host).to_owned())
    };
    host(origin).is_some_and(|host_of| host(allowed) == Some(host_of))
}

pub(super) struct Preflight;

/// Headers that need no permission.
const SIMPLE: [&str; 4] = ["accept", "accept-language", "content-language", "cookie"];

impl Check for Preflight {
    fn id(&self) -> Id {
        Id::D21
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D06]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let origin = match page(patient) {
                Ok(origin) => origin,
                Err(why) => return Outcome::Skipped(why),
            };
            let names = patient.wire.header_names().map(str::to_ascii_lowercase);
            let names: Vec<String> = names
                .filter(|name| !SIMPLE.contains(&name.as_str()))
                .collect();
            let target = patient.engine(patient.revision(), Transport::Polling, None);
            let mut ask = Ask::get(target).with_header("Origin", &origin);
            ask.method = "OPTIONS";
            ask = ask.with_header("Access-Control-Request-Method", "GET");
            if !names.is_empty() {
                ask = ask.with_header("Access-Control-Request-Headers", &names.join(","));
            }
            let exchange = patient.wire.ask_bare(ask).await;
            let Some(answer) = exchange.answer() else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let is_refused = Reading::of(answer).code() == Some(2);
            if is_refused {
                // Without headers of one's own browsers do not ask, so that nothing breaks.
                let finding = match names.is_empty() {
                    true => Finding::info(Verdict::PreflightRefused, Confidence::Certain),
                    false => Finding::fatal(Verdict::PreflightRefused, Confidence::Certain),
                };
                return Outcome::found(finding.with(&exchange));
            }
            let allowed = answer
                .all("access-control-allow-headers")
                .collect::<Vec<_>>()
                .join(",");
            let allowed: Vec<String> = allowed
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .collect();
            let is_allowed = |name: &String| {
                allowed.contains(name)
                    || (name != "authorization" && allowed.iter().any(|name| name == "*"))
            };
            let missing: Vec<&str> = names
                .iter()
                .filter(|name| !is_allowed(name))
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                let verdict = Verdict::PreflightHeader {
                    missing: missing.join(", "),
                };
                let finding = Finding::fatal(verdict, Confidence::Certain);
                return Outcome::found(finding.with(&exchange));
            }
            Outcome::Passed(Note::None, Vec::new())
        }
        .boxed()
    }
}

pub(super) struct Credentials;

impl Check for Credentials {
    fn id(&self) -> Id {
        Id::D22
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D20]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            if let Err(why) = page(patient) {
                return Outcome::Skipped(why);
            }
            let Some((exchange, answer)) = patient
                .cors
                .as_ref()
                .and_then(|exchange| Some((exchange, exchange.answer()?)))
            else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let with_cookies = patient.wire.has_cookies();
            let is_star = answer.header("access-control-allow-origin") == Some("*");
            let allows = answer.header("access-control-allow-credentials") == Some("true");
            let verdict = Verdict::Wildcard { with_cookies };
            match (is_star, with_cookies, allows) {
                (true, true, _) => {
                    Outcome::found(Finding::fatal(verdict, Confidence::Certain).with(exchange))
                }
                (true, false, true) => {
                    Outcome::found(Finding::warn(verdict, Confidence::Certain).with(exchange))
                }
                _ => Outcome::Passed(Note::None, Vec::new()),
            }
        }
        .boxed()
    }
}

pub(super) struct Errors;

impl Check for Errors {
    fn id(&self) -> Id {
        Id::D23
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D20]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            let origin = match page(patient) {
                Ok(origin) => origin,
                Err(why) => return Outcome::Skipped(why),
            };
            let revision = patient.revision();
            let target = patient.engine(revision, Transport::Polling, Some("sio-doctor"));
            let ask = Ask::get(target).with_header("Origin", &origin);
            let exchange = patient.wire.ask(ask).await;
            let Some(answer) = exchange.answer().filter(|answer| answer.status >= 400) else {
                return Outcome::Inconclusive(Why::Unclear);
            };
            let allowed = answer.header("access-control-allow-origin");
            if allowed.is_some_and(|allowed| allowed == origin || allowed == "*") {
                return Outcome::Passed(Note::None, Vec::new());
            }
            let status = answer.status;
            let verdict = Verdict::ErrorsWithoutCors { status };
            Outcome::found(Finding::warn(verdict, Confidence::Certain).with(&exchange))
        }
        .boxed()
    }
}

pub(super) struct AnyOrigin;

/// A page that no server can mean to allow; the name is reserved for examples.
const FOREIGN: &str = "https://foreign.example";

impl Check for AnyOrigin {
    fn id(&self) -> Id {
        Id::D25
    }

    fn needs(&self) -> &'static [Id] {
        &[Id::D12]
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome> {
        async move {
            if patient.options.origin.is_none() {
                return Outcome::Skipped(Why::OnlyWith("--origin"));
            }
            if !patient.has_websocket() {
                return Outcome::Skipped(Why::NoWebSocket);
            }
            let target = patient.engine(patient.revision(), Transport::WebSocket, None);
            let ask = Ask::get(target).with_header("Origin", FOREIGN);
            let (exchange, websocket) = patient.wire.websocket(ask).await;
            let Some(websocket) = websocket else {
                return Outcome::Passed(Note::None, Vec::new());
            };
            websocket.close().await;
            let finding = Finding::warn(Verdict::AnyOrigin, Confidence::Certain);
            Outcome::found(finding.with(&exchange))
        }
        .boxed()
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn near_misses_are_seen() {
        assert!(is_near("https://a.example", "http://a.example"));
        assert!(is_near("https://a.example", "https://www.a.example"));
        assert!(is_near("https://a.example", "https://a.example/"));
        assert!(!is_near("https://a.example", "https://b.example"));
        assert!(!is_near("https://a.example", "null"));
    }
}
