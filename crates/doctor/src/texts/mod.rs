//! All that the doctor says, in one place, so that a second language can stand beside the first.
//!
//! Each language has its `Texts`. What it has to say is in two enums, which carry the facts; so none can be
//! forgotten.

mod english;
mod evidence;
#[cfg(test)]
mod guides;
mod hints;
mod page;
mod snippets;
mod spanish;

use std::time::Duration;

use socketio_proto::engine::Transport;

use super::check::{Id, Why};

pub(super) use english::English;
pub use page::page_texts;
pub(super) use snippets::{Advice, Seen, Snippet, tools};
pub(super) use spanish::Spanish;

/// The language of a report.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Spanish.
    Spanish,
}

impl Language {
    /// The language of a locale such as `es_ES.UTF-8`; English where it has none of ours.
    pub fn of_locale(locale: &str) -> Language {
        match locale.split(['_', '.', '-', '@']).next() {
            Some("es") => Language::Spanish,
            _ => Language::English,
        }
    }

    pub(crate) fn texts(self) -> &'static dyn Texts {
        match self {
            Language::English => &English,
            Language::Spanish => &Spanish,
        }
    }
}

/// A language's words.
pub(super) trait Texts: Sync {
    /// The words of the report itself.
    fn words(&self) -> &'static Words;

    /// What a check is about, in a few words.
    fn name(&self, id: Id) -> &'static str;

    /// What a check does, and why.
    fn explain(&self, id: Id) -> &'static str;

    fn text(&self, verdict: &Verdict) -> Text;

    fn note(&self, note: &Note) -> String;

    fn why(&self, why: Why) -> String;

    /// What lines to paste bring about.
    fn advice(&self, advice: &Advice) -> &'static str;

    /// The name of what the lines are for.
    fn tool(&self, name: &str) -> String;

    /// The doctor's own words in a line of evidence, which are English.
    fn said(&self, line: &str) -> String;

    /// Several checks with their names.
    fn names(&self, ids: &[Id]) -> String {
        let names: Vec<String> = ids
            .iter()
            .map(|id| format!("{} ({})", id.as_str(), self.name(*id)))
            .collect();
        names.join(", ")
    }
}

/// The words between the findings. The values of `--json` are the same in every language.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) ok: &'static str,
    pub(super) failed: &'static str,
    pub(super) skipped: &'static str,
    pub(super) inconclusive: &'static str,
    pub(super) evidence: &'static str,
    pub(super) fix: &'static str,
    pub(super) check: &'static str,
    pub(super) namespace: &'static str,
    pub(super) path: &'static str,
    pub(super) healthy: &'static str,
    /// Nothing was found, and not all was seen.
    pub(super) unclear: &'static str,
    /// One, and several.
    pub(super) fault: [&'static str; 2],
    pub(super) requests: &'static str,
    pub(super) more: &'static str,
    /// What else there are lines for.
    pub(super) others: &'static str,
    pub(super) warning: [&'static str; 2],
    /// In the order of [`Severity`](super::check::Severity).
    pub(super) severity: [&'static str; 3],
    /// In the order of [`Confidence`](super::check::Confidence).
    pub(super) confidence: [&'static str; 3],
}

/// What is said about a finding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Text {
    pub(super) title: String,
    /// What it means for somebody who has never heard of Engine.IO.
    pub(super) meaning: String,
    pub(super) fix: String,
}

/// What a check has learnt where all is well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Note {
    None,
    /// An event was acknowledged after this time.
    Ack(Duration),
    Addresses(usize),
    /// The path of the requests and the namespace.
    Aims(String, String),
    /// A browser sends this cookie.
    CookieSent(String),
    Cors(String),
    Engine(Vec<u8>),
    /// This client and the server understand each other.
    Fits(String),
    Heartbeat,
    Joined {
        namespace: String,
        recovery: bool,
    },
    Held(Duration),
    /// No event came whose place a client could tell when it comes back.
    NoOffset,
    NotObserved(Duration),
    /// A message of so many bytes has passed.
    Payload(u64),
    Recovered,
    Rounds(usize),
    /// The proxy makes no difference.
    Same,
    Session {
        ping_interval: Duration,
        ping_timeout: Duration,
        max_payload: Option<u64>,
    },
    /// Connections were open for so long.
    Soaked(Duration),
    Tcp(Duration),
    Tls(&'static str),
    Transports(&'static str),
    Took(Duration),
    Refuses,
}

/// What can be found, with the facts of the case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    PathIsNamespace {
        path: String,
    },
    UnknownHost {
        host: String,
        error: String,
    },
    LocalhostV6,
    Refused {
        address: String,
        has_proxy: bool,
    },
    Dropped {
        address: String,
        has_proxy: bool,
    },
    Unreachable {
        address: String,
        error: String,
    },
    SomeAddresses {
        dead: String,
    },
    CertificateExpired,
    CertificateNotYetValid,
    CertificateOtherName {
        host: String,
        names: String,
    },
    CertificateSelfSigned,
    CertificateChain,
    CertificateAuthority,
    CertificateOther {
        what: String,
    },
    CertificateIgnored {
        what: String,
    },
    TlsToPlain,
    PlainToTls,
    TlsOld {
        what: String,
    },
    TlsFailed {
        what: String,
    },
    Page {
        path: String,
    },
    NotFound {
        path: String,
        status: u16,
    },
    NotEngine {
        status: u16,
    },
    PlainWebSocket {
        path: String,
    },
    Gateway {
        status: u16,
    },
    AuthWall {
        status: u16,
    },
    Forbidden {
        message: String,
    },
    BadRequest {
        code: u8,
        message: String,
    },
    Redirect {
        status: u16,
        to: String,
    },
    Busy {
        status: u16,
    },
    Silent,
    HungUp,
    NotHttp,
    WrongPath {
        asked: String,
        found: String,
    },
    OldServer {
        /// As it was named.
        client: Option<String>,
    },
    OldClient {
        client: String,
    },
    /// A client of version 1, which only servers of version 1 are made for.
    FirstClient {
        client: String,
    },
    WebSocketOnly,
    PollingUnreachable {
        status: String,
    },
    PollingOnly,
    NoStickiness {
        failed: usize,
        total: usize,
    },
    CookieStickiness {
        cookie: String,
        failed: usize,
        total: usize,
    },
    LostSessions {
        failed: usize,
        total: usize,
    },
    CookieSameSite {
        cookie: String,
    },
    CookieNotAllowed {
        cookie: String,
    },
    UpgradeStripped,
    WebSocketPage {
        status: u16,
    },
    WebSocketGateway {
        status: u16,
    },
    WebSocketRefused {
        status: u16,
        message: String,
    },
    WebSocketSilent,
    WebSocketClosed,
    WebSocketNoSession,
    WebSocketBroken,
    /// A WebSocket goes to another server than the requests of the session.
    WebSocketElsewhere,
    UpgradeRefused {
        message: String,
    },
    ProbeUnanswered,
    PollNotReleased,
    Cached {
        sign: String,
    },
    PollCut {
        after: Duration,
        how: String,
        ping_interval: Duration,
    },
    Buffered {
        after: Duration,
    },
    NoNamespace {
        namespace: String,
        from_url: bool,
    },
    ConnectRefused {
        message: String,
        token: Option<Token>,
    },
    ConnectUnanswered {
        namespace: String,
    },
    OtherParser,
    ConnectClosed,
    TunnelCut {
        after: Duration,
        interval: Duration,
    },
    NoPing {
        interval: Duration,
    },
    HastyTimeout {
        timeout: Duration,
    },
    RarePings {
        interval: Duration,
    },
    TabPings {
        limit: Duration,
    },
    IdleCut {
        after: Duration,
        interval: Duration,
    },
    LifeCut {
        after: Duration,
    },
    BodyCapped {
        transport: Transport,
        size: u64,
        /// A message of so many bytes has passed; 0 where that was not looked for.
        passed: u64,
        /// The server says that it takes messages of this size.
        is_promised: bool,
    },
    MessageTooLarge {
        size: u64,
        limit: u64,
    },
    SlowUpload {
        size: u64,
        timeout: Duration,
    },
    NoAck {
        event: String,
    },
    LateHandler {
        event: String,
    },
    CorsMissing {
        origin: String,
    },
    CorsOther {
        origin: String,
        allowed: String,
        is_near: bool,
    },
    OriginRefused {
        origin: String,
    },
    PreflightRefused,
    PreflightHeader {
        missing: String,
    },
    ErrorsWithoutCors {
        status: u16,
    },
    AnyOrigin,
    Wildcard {
        with_cookies: bool,
    },
    ProxyAtFault {
        ids: Vec<Id>,
    },
    BehindToo {
        ids: Vec<Id>,
    },
    NotRecovered,
    Limited {
        status: u16,
        /// So many requests were answered before.
        after: usize,
    },
    Challenge {
        status: u16,
    },
}

/// What the times in a token say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Token {
    Expired(Duration),
    NotYetValid(Duration),
}

impl Verdict {
    /// The check that finds it.
    pub(super) fn id(&self) -> Id {
        use Verdict::*;
        match self {
            PathIsNamespace { .. } => Id::D01,
            UnknownHost { .. } | LocalhostV6 => Id::D02,
            Refused { .. }
            | Dropped { .. }
            | Unreachable { .. }
            | SomeAddresses { .. }
            | HungUp => Id::D03,
            CertificateExpired
            | CertificateNotYetValid
            | CertificateOtherName { .. }
            | CertificateSelfSigned
            | CertificateChain
            | CertificateAuthority
            | CertificateOther { .. }
            | CertificateIgnored { .. }
            | TlsToPlain
            | PlainToTls
            | TlsOld { .. }
            | TlsFailed { .. } => Id::D04,
            Redirect { .. } => Id::D05,
            Page { .. }
            | NotFound { .. }
            | NotEngine { .. }
            | PlainWebSocket { .. }
            | Gateway { .. }
            | AuthWall { .. }
            | Forbidden { .. }
            | BadRequest { .. }
            | Busy { .. }
            | Silent
            | NotHttp => Id::D06,
            WrongPath { .. } => Id::D07,
            OldServer { client: None } => Id::D08,
            OldServer { client: Some(_) } | OldClient { .. } | FirstClient { .. } => Id::D28,
            WebSocketOnly | PollingUnreachable { .. } | PollingOnly => Id::D09,
            NoStickiness { .. }
            | CookieStickiness { .. }
            | LostSessions { .. }
            | WebSocketElsewhere => Id::D10,
            CookieSameSite { .. } | CookieNotAllowed { .. } => Id::D11,
            UpgradeStripped
            | WebSocketPage { .. }
            | WebSocketGateway { .. }
            | WebSocketRefused { .. }
            | WebSocketSilent
            | WebSocketClosed
            | WebSocketNoSession
            | WebSocketBroken => Id::D12,
            UpgradeRefused { .. } | ProbeUnanswered | PollNotReleased => Id::D13,
            Cached { .. } | PollCut { .. } | Buffered { .. } => Id::D14,
            NoNamespace { .. }
            | ConnectRefused { .. }
            | ConnectUnanswered { .. }
            | OtherParser
            | ConnectClosed => Id::D15,
            NoPing { .. }
            | TunnelCut { .. }
            | HastyTimeout { .. }
            | RarePings { .. }
            | TabPings { .. } => Id::D16,
            IdleCut { .. } | LifeCut { .. } => Id::D17,
            BodyCapped { .. } | MessageTooLarge { .. } | SlowUpload { .. } => Id::D18,
            NoAck { .. } | LateHandler { .. } => Id::D19,
            CorsMissing { .. } | CorsOther { .. } | OriginRefused { .. } => Id::D20,
            PreflightRefused | PreflightHeader { .. } => Id::D21,
            Wildcard { .. } => Id::D22,
            ErrorsWithoutCors { .. } => Id::D23,
            AnyOrigin => Id::D25,
            ProxyAtFault { .. } | BehindToo { .. } => Id::D26,
            NotRecovered => Id::D27,
            Limited { .. } | Challenge { .. } => Id::D29,
        }
    }
}

#[cfg(test)]
mod tests {
    use socketio_proto::Hint;
    use socketio_proto::engine::RequestError;

    use super::*;

    #[test]
    fn a_finding_says_the_hint_of_the_library() {
        let refusal = RequestError::UnknownSid { sid: String::new() }.hint();
        let no_stickiness = Verdict::NoStickiness {
            failed: 1,
            total: 2,
        };
        for (verdict, hint) in [
            (no_stickiness, refusal),
            (Verdict::UpgradeStripped, Hint::UpgradeStripped),
            (Verdict::PlainToTls, Hint::TlsWanted),
            (Verdict::AuthWall { status: 401 }, Hint::Credentials),
        ] {
            let words = [hint.as_str(), hints::spanish(hint)];
            for (texts, words) in [&English as &dyn Texts, &Spanish].into_iter().zip(words) {
                let fix = texts.text(&verdict).fix;
                assert!(fix.starts_with(&hints::sentence(words, "")), "{fix}");
            }
        }
    }

    #[test]
    fn every_hint_is_translated() {
        for hint in Hint::ALL {
            assert_ne!(hints::spanish(hint), hint.as_str());
        }
    }

    #[test]
    fn every_check_is_named_and_explained() {
        for texts in [&English as &dyn Texts, &Spanish] {
            for id in Id::ALL.iter().copied() {
                assert!(!texts.name(id).is_empty(), "{id:?}");
                assert!(texts.explain(id).len() > 60, "{id:?}");
            }
        }
    }

    #[test]
    fn a_locale_chooses_the_language() {
        let skipped = |locale| Language::of_locale(locale).texts().words().skipped;
        assert_eq!(skipped("es_ES.UTF-8"), "omitido");
        assert_eq!(skipped("es"), "omitido");
        for locale in ["", "C", "C.UTF-8", "en_US.UTF-8", "est_EE"] {
            assert_eq!(skipped(locale), "skipped", "{locale}");
        }
    }
}
