//! What a check is, and what it may find.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::facts::Patient;
use super::options::Options;
use super::texts::{Language, Note, Verdict};
use super::wire::{Exchange, Fault};

/// The name of a check, as in `sio doctor --explain D10`; it never changes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Id {
    /// URL.
    D01,
    /// Name resolution.
    D02,
    /// TCP.
    D03,
    /// TLS.
    D04,
    /// Redirects.
    D05,
    /// Socket.IO handshake.
    D06,
    /// Path.
    D07,
    /// Versions.
    D08,
    /// Transports.
    D09,
    /// Sticky sessions.
    D10,
    /// Cookies across sites.
    D11,
    /// WebSocket.
    D12,
    /// Upgrade to WebSocket.
    D13,
    /// Long polling.
    D14,
    /// Namespace.
    D15,
    /// Heartbeat.
    D16,
    /// Endurance.
    D17,
    /// Message size.
    D18,
    /// Acknowledgement.
    D19,
    /// CORS.
    D20,
    /// CORS preflight.
    D21,
    /// CORS with cookies.
    D22,
    /// CORS on errors.
    D23,
    /// WebSocket and origins.
    D25,
    /// Proxy.
    D26,
    /// State recovery.
    D27,
    /// Client.
    D28,
    /// Rate limits.
    D29,
}

/// One check. What it learns for others it notes in the patient's facts.
pub(super) trait Check: Sync {
    fn id(&self) -> Id;

    /// The checks without which this one makes no sense; they come earlier.
    fn needs(&self) -> &'static [Id];

    /// How many requests and how much time it may take beyond what all share, if it was asked for
    /// expressly.
    fn allowance(&self, _options: &Options) -> (usize, Duration) {
        (0, Duration::ZERO)
    }

    fn run<'a>(&'a self, patient: &'a mut Patient) -> BoxFuture<'a, Outcome>;
}

/// What came of a check.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All is well, or there are findings below `Fatal`.
    Passed(Note, Vec<Finding>),
    /// There is a fault, so that what needs this makes no sense.
    Failed(Vec<Finding>),
    /// It could not be told.
    Inconclusive(Why),
    /// It was not made.
    Skipped(Why),
}

/// Why a check was not made, or came to no end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// Something limits how many requests it answers.
    Limited,
    /// This other check has failed.
    Needs(Id),
    /// What is examined behind the proxy cannot be reached, or its URL is wrong.
    NoBackend,
    /// No cookie is needed.
    NoCookie,
    NoHttps,
    NoPolling,
    /// The server does not give what recovery takes.
    NoRecovery,
    NoTime,
    NoUpgrade,
    NoWebSocket,
    /// It is made only with this option.
    OnlyWith(&'static str),
    /// The page is the server's own.
    SameOrigin,
    /// The page is of the server's site, though of another origin.
    SameSite,
    /// The requests were answered in a way that says nothing.
    Unclear,
    /// It is not the path that is wrong.
    Unneeded,
}

/// Something that was found.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) severity: Severity,
    pub(super) confidence: Confidence,
    pub(super) evidence: Vec<Evidence>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// It is worth knowing.
    Info,
    /// Some clients suffer from it, or all now and then.
    Warn,
    /// Clients cannot connect, or do not get through as they should.
    Fatal,
}

/// How sure it is: `Certain` when another probe has ruled out the rivals.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Confidence {
    /// Other causes are as likely.
    Possible,
    /// Other causes are not ruled out.
    Likely,
    /// Another probe has ruled out the rivals.
    Certain,
}

/// What a finding rests on, in words that can be repeated.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// What was asked.
    pub request: String,
    /// What came.
    pub answer: String,
    /// How the body began.
    pub body: String,
    /// A line to repeat it.
    pub curl: String,
}

impl Id {
    /// All checks, by their numbers.
    pub const ALL: &[Id] = &[
        Id::D01,
        Id::D02,
        Id::D03,
        Id::D04,
        Id::D05,
        Id::D06,
        Id::D07,
        Id::D08,
        Id::D09,
        Id::D10,
        Id::D11,
        Id::D12,
        Id::D13,
        Id::D14,
        Id::D15,
        Id::D16,
        Id::D17,
        Id::D18,
        Id::D19,
        Id::D20,
        Id::D21,
        Id::D22,
        Id::D23,
        Id::D25,
        Id::D26,
        Id::D27,
        Id::D28,
        Id::D29,
    ];

    /// What the check is about, in a few words.
    pub fn name(self, language: Language) -> &'static str {
        language.texts().name(self)
    }

    /// Its name in reports, such as `D10`.
    pub fn as_str(self) -> &'static str {
        match self {
            Id::D01 => "D01",
            Id::D02 => "D02",
            Id::D03 => "D03",
            Id::D04 => "D04",
            Id::D05 => "D05",
            Id::D06 => "D06",
            Id::D07 => "D07",
            Id::D08 => "D08",
            Id::D09 => "D09",
            Id::D10 => "D10",
            Id::D11 => "D11",
            Id::D12 => "D12",
            Id::D13 => "D13",
            Id::D14 => "D14",
            Id::D15 => "D15",
            Id::D16 => "D16",
            Id::D17 => "D17",
            Id::D18 => "D18",
            Id::D19 => "D19",
            Id::D20 => "D20",
            Id::D21 => "D21",
            Id::D22 => "D22",
            Id::D23 => "D23",
            Id::D25 => "D25",
            Id::D26 => "D26",
            Id::D27 => "D27",
            Id::D28 => "D28",
            Id::D29 => "D29",
        }
    }
}

impl Outcome {
    /// The outcome with this one finding.
    pub(super) fn found(finding: Finding) -> Outcome {
        match finding.severity {
            Severity::Fatal => Outcome::Failed(vec![finding]),
            Severity::Info | Severity::Warn => Outcome::Passed(Note::None, vec![finding]),
        }
    }
}

impl Finding {
    pub(super) fn fatal(verdict: Verdict, confidence: Confidence) -> Finding {
        Finding {
            verdict,
            severity: Severity::Fatal,
            confidence,
            evidence: Vec::new(),
        }
    }

    pub(super) fn warn(verdict: Verdict, confidence: Confidence) -> Finding {
        Finding {
            severity: Severity::Warn,
            ..Finding::fatal(verdict, confidence)
        }
    }

    pub(super) fn info(verdict: Verdict, confidence: Confidence) -> Finding {
        Finding {
            severity: Severity::Info,
            ..Finding::fatal(verdict, confidence)
        }
    }

    pub(super) fn with(mut self, exchange: &Exchange) -> Finding {
        self.evidence.push(Evidence::of(exchange));
        self
    }

    pub(super) fn with_words(
        mut self,
        request: impl Into<String>,
        answer: impl Into<String>,
    ) -> Finding {
        self.evidence.push(Evidence {
            request: request.into(),
            answer: answer.into(),
            ..Evidence::default()
        });
        self
    }
}

impl Severity {
    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Fatal => "fatal",
        }
    }
}

impl Confidence {
    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::Possible => "possible",
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        }
    }
}

/// So much of a body is shown.
const SHOWN: usize = 200;

/// The headers of an answer that say something.
const TELLING: [&str; 11] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-origin",
    "age",
    "cf-cache-status",
    "content-type",
    "location",
    "server",
    "via",
    "x-cache",
    "x-powered-by",
];

/// The headers of a request whose values are no secrets.
const OPEN: [&str; 6] = [
    "access-control-request-headers",
    "access-control-request-method",
    "connection",
    "content-length",
    "content-type",
    "origin",
];

impl Evidence {
    pub(super) fn of(exchange: &Exchange) -> Evidence {
        let answer = match &exchange.got {
            Ok(answer) => {
                let told = TELLING.iter().filter_map(|name| {
                    let value = answer.header(name)?;
                    Some(format!("{name}: {value}"))
                });
                let told: Vec<String> = told.collect();
                match told.is_empty() {
                    true => answer.status.to_string(),
                    false => format!("{} ({})", answer.status, told.join(", ")),
                }
            }
            Err(fault) => match fault {
                Fault::Closed => "the connection was closed without an answer".to_owned(),
                Fault::Cut => "the answer broke off".to_owned(),
                Fault::NotHttp(bytes) => format!("not HTTP: {:?}", String::from_utf8_lossy(bytes)),
                Fault::Silent => format!("nothing for {} ms", exchange.took.as_millis()),
                Fault::Spent => "not asked: too many requests".to_owned(),
                Fault::Tls(what) => what.clone(),
                Fault::Unreachable(what) => what.to_string(),
            },
        };
        let body = exchange
            .answer()
            .map(super::wire::Answer::text)
            .unwrap_or_default();
        let upgrade = if exchange.is_websocket() {
            " with Upgrade: websocket"
        } else {
            ""
        };
        Evidence {
            request: format!("{} {}{upgrade}", exchange.method, exchange.target),
            answer,
            body: body.chars().take(SHOWN).collect(),
            curl: curl(exchange),
        }
    }
}

/// A line that repeats a request. What may be a secret is left out.
fn curl(exchange: &Exchange) -> String {
    let mut line = String::new();
    let long = exchange
        .sent_body
        .as_deref()
        .filter(|body| body.len() > MAX_ARGUMENT);
    if let Some(body) = long {
        // Long bodies are one letter again and again.
        let letter = body.chars().last().unwrap_or_default();
        line = format!("head -c {} /dev/zero | tr '\\0' {letter} | ", body.len());
    }
    line += "curl -isS --http1.1 -m 5";
    let mut add = |word: &str| {
        line.push(' ');
        line += &quoted(word);
    };
    if exchange.method == "OPTIONS" {
        add("-X");
        add("OPTIONS");
    }
    for (name, value) in exchange.own_headers() {
        let is_open = OPEN.contains(&&*name.to_ascii_lowercase());
        if name != "Content-Length" {
            add("-H");
            add(&format!(
                "{name}: {}",
                if is_open {
                    value
                } else {
                    super::redact::REDACTED
                }
            ));
        }
    }
    if exchange.is_websocket() {
        for header in [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ] {
            add("-H");
            add(header);
        }
    }
    if let Some(body) = &exchange.sent_body {
        add("--data-binary");
        add(if long.is_some() { "@-" } else { body });
    }
    add(&format!("{}{}", exchange.origin, exchange.target));
    line
}

/// A longer body is not written out.
const MAX_ARGUMENT: usize = 1000;

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
