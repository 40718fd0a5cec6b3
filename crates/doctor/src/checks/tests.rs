//! Faults that a script can make, and their healthy twins; the others are in
//! `interop/test/doctor.test.mjs`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{CertificateParams, Issuer, KeyPair};
use socketio::Server;
use socketio_proto::engine::Transport;
use socketio_proto::websocket::{Opcode, accept_key, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::check::{Confidence, Id, Severity};
use crate::examine::examine;
use crate::options::{Authority, Options};
use crate::report::{Conclusion, Report};
use crate::texts::Verdict;

async fn report(options: &Options) -> Report {
    examine(options).await.unwrap()
}

/// What else than the URL there is to be said.
fn with(url: &str, change: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options::new(url);
    change(&mut options);
    options
}

/// The only finding of an examination.
async fn verdict(options: &Options) -> (Verdict, Severity, Confidence) {
    let report = report(options).await;
    let findings: Vec<_> = report.findings().map(|(_, finding)| finding).collect();
    let [finding] = findings[..] else {
        panic!("{findings:?}");
    };
    (
        finding.verdict.clone(),
        finding.severity,
        finding.confidence,
    )
}

async fn assert_healthy(options: &Options) {
    let report = report(options).await;
    let findings: Vec<_> = report.findings().collect();
    let layers: Vec<_> = report
        .layers
        .iter()
        .map(|layer| (layer.id, &layer.outcome))
        .collect();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(report.conclusion(), Conclusion::Healthy, "{layers:?}");
}

fn status(report: &Report, id: Id) -> &'static str {
    report
        .layers
        .iter()
        .find(|layer| layer.id == id)
        .unwrap()
        .status()
}

/// What one request gets.
enum Reply {
    Http(&'static str, String),
    /// A WebSocket with these texts, which answers each text it gets as this function says.
    WebSocket(Vec<String>, fn(&str) -> Option<&'static str>),
    Nothing,
    Close,
}

/// Starts a server that answers as `answer` says, which gets the head of each request.
async fn fake(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move { serve(stream, &*answer).await });
        }
    });
    url
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &(impl Fn(&str) -> Reply + ?Sized),
) -> Option<()> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    match answer(&head) {
        Reply::Http(start, body) => {
            let answer = format!(
                "HTTP/1.1 {start}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.ok()?;
            stream.read_buf(&mut bytes).await.ok()?;
        }
        Reply::WebSocket(texts, respond) => {
            let key = head
                .lines()
                .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
            let start = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
            let mut answer = start.as_bytes().to_vec();
            answer.extend_from_slice(&accept_key(key.trim().as_bytes()));
            answer.extend_from_slice(b"\r\n\r\n");
            for text in texts {
                answer.extend_from_slice(&frame(Opcode::Text, text.as_bytes()));
            }
            stream.write_all(&answer).await.ok()?;
            let mut decoder = socketio_proto::websocket::Decoder::new(
                socketio_proto::websocket::Role::Server,
                1000,
            );
            let mut bytes = Vec::new();
            while stream.read_buf(&mut bytes).await.ok()? > 0 {
                while let Ok(Some(decoded)) = decoder.decode(&mut bytes) {
                    use socketio_proto::websocket::Item;
                    let used = decoded.consumed;
                    let out = match decoded.item {
                        Item::Text(text) => {
                            respond(&text).map(|text| frame(Opcode::Text, text.as_bytes()))
                        }
                        Item::Close(_) => return None,
                        _ => None,
                    };
                    bytes.drain(..used);
                    if let Some(out) = out {
                        stream.write_all(&out).await.ok()?;
                    }
                }
            }
        }
        Reply::Nothing => while stream.read_buf(&mut bytes).await.ok()? > 0 {},
        Reply::Close => {}
    }
    None
}

/// How a scripted server of Socket.IO differs from a healthy one.
struct Script {
    sid: fn(usize) -> String,
    ping_interval: u32,
    /// The answer to a request that waits.
    poll: fn(&str) -> Reply,
    respond: fn(&str) -> Option<&'static str>,
    extra: &'static str,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            sid: |n| format!("sid{n}"),
            ping_interval: 25_000,
            poll: |_| Reply::Nothing,
            respond,
            extra: "",
        }
    }
}

fn respond(text: &str) -> Option<&'static str> {
    match text {
        "2probe" => Some("3probe"),
        "40" => Some(r#"40{"sid":"x"}"#),
        _ => None,
    }
}

async fn scripted(script: Script) -> String {
    let count = AtomicUsize::new(0);
    fake(move |head| {
        let line = head.lines().next().unwrap_or_default();
        let is_old = line.contains("EIO=3");
        let open = || {
            let sid = (script.sid)(count.fetch_add(1, Ordering::Relaxed));
            let upgrades = if line.contains("polling") { r#""websocket""# } else { "" };
            let interval = script.ping_interval;
            format!(r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingInterval":{interval},"pingTimeout":20000,"maxPayload":1000000}}"#)
        };
        let start = if script.extra.is_empty() { "200 OK".to_owned() } else { format!("200 OK\r\n{}", script.extra) };
        let start: &'static str = Box::leak(start.into_boxed_str());
        if is_old {
            return Reply::Http("400 X", r#"{"code":5,"message":"Unsupported protocol version"}"#.to_owned());
        }
        match (line.contains("transport=websocket"), line.contains("sid="), line.starts_with("POST")) {
            (true, true, _) => Reply::WebSocket(Vec::new(), script.respond),
            (true, false, _) => Reply::WebSocket(vec![open()], script.respond),
            (false, _, true) => Reply::Http("200 OK", "ok".to_owned()),
            (false, true, false) => (script.poll)(head),
            (false, false, false) => Reply::Http(start, open()),
        }
    })
    .await
}

/// A server of this project.
async fn healthy() -> String {
    let listening = Server::new().listen("127.0.0.1:0").await.unwrap();
    let address = listening.local_addr().unwrap();
    tokio::spawn(async move { listening.await });
    format!("http://{address}")
}

#[tokio::test]
async fn d01_a_path_of_requests_in_the_url() {
    let url = scripted(Script::default()).await;
    let report = report(&Options::new(format!("{url}/socket.io/"))).await;
    let first = report.findings().next().unwrap().1;
    assert_eq!(
        first.verdict,
        Verdict::PathIsNamespace {
            path: "/socket.io/".to_owned()
        }
    );
    assert_eq!(first.severity, Severity::Warn);
}

#[tokio::test]
async fn d02_a_name_that_nobody_has() {
    let report = report(&Options::new("http://nobody.invalid")).await;
    let (id, finding) = report.findings().next().unwrap();
    assert_eq!((id, finding.confidence), (Id::D02, Confidence::Certain));
    assert_eq!(status(&report, Id::D15), "skipped");
    assert_eq!(
        (report.requests, report.conclusion()),
        (0, Conclusion::Fault)
    );
}

#[tokio::test]
async fn d06_a_port_that_says_nothing_or_hangs_up_or_speaks_otherwise() {
    let silent = fake(|_| Reply::Nothing).await;
    assert_eq!(
        verdict(&with(&silent, |options| options.timeout = Duration::from_secs(3)))
            .await
            .0,
        Verdict::Silent
    );
    let rude = fake(|_| Reply::Close).await;
    assert_eq!(verdict(&Options::new(rude)).await.0, Verdict::HungUp);
    let moved = fake(|_| Reply::Http("301 X\r\nLocation: https://b.example/", String::new())).await;
    let redirect = Verdict::Redirect {
        status: 301,
        to: "https://b.example/".to_owned(),
    };
    assert_eq!(verdict(&Options::new(moved)).await.0, redirect);
}

#[tokio::test]
async fn d12_a_websocket_that_fails_in_its_own_way() {
    let cases = [
        ((|| Reply::Close) as fn() -> Reply, Verdict::WebSocketClosed),
        (|| Reply::Nothing, Verdict::WebSocketSilent),
        (
            || Reply::Http("502 X", String::new()),
            Verdict::WebSocketGateway { status: 502 },
        ),
        (
            || Reply::Http("404 X", String::new()),
            Verdict::WebSocketPage { status: 404 },
        ),
        (
            || Reply::Http("101 X", String::new()),
            Verdict::WebSocketBroken,
        ),
        (
            || Reply::WebSocket(vec!["hi".to_owned()], |_| None),
            Verdict::WebSocketNoSession,
        ),
    ];
    join_all(cases.map(async |(reply, expected)| {
        let count = AtomicUsize::new(0);
        let url = fake(move |head| {
            let line = head.lines().next().unwrap_or_default();
            let sid = count.fetch_add(1, Ordering::Relaxed);
            match (line.contains("transport=websocket"), line.starts_with("POST"), line.contains("sid=")) {
                (true, ..) => reply(),
                (_, true, _) => Reply::Http("200 OK", "ok".to_owned()),
                (_, _, false) => Reply::Http("200 OK", format!(r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}}"#)),
                (_, _, true) => Reply::Http("200 OK", r#"40{"sid":"x"}"#.to_owned()),
            }
        })
        .await;
        assert_eq!(verdict(&with(&url, |options| options.timeout = Duration::from_secs(5))).await.0, expected);
    }))
    .await;
}

#[tokio::test]
async fn d13_an_upgrade_that_stops_half_way() {
    let released = |_: &str| Reply::Http("200 OK", "6".to_owned());
    let deaf = Script {
        respond: |text| respond(text).filter(|_| text != "2probe"),
        ..Script::default()
    };
    assert_eq!(
        verdict(&Options::new(scripted(deaf).await)).await.0,
        Verdict::ProbeUnanswered
    );
    let (found, severity, _) = verdict(&Options::new(scripted(Script::default()).await)).await;
    assert_eq!(
        (found, severity),
        (Verdict::PollNotReleased, Severity::Warn)
    );
    let released = Script {
        poll: released,
        ..Script::default()
    };
    assert_healthy(&Options::new(scripted(released).await)).await;
}

#[tokio::test]
async fn d14_a_cache_or_an_impatient_proxy() {
    let same = Script {
        sid: |_| "same".to_owned(),
        poll: |_| Reply::Http("200 OK", "6".to_owned()),
        ..Script::default()
    };
    let (found, severity, confidence) = verdict(&Options::new(scripted(same).await)).await;
    assert!(matches!(found, Verdict::Cached { .. }));
    assert_eq!(
        (severity, confidence),
        (Severity::Fatal, Confidence::Certain)
    );
    let hit = Script {
        extra: "X-Cache: HIT from edge",
        poll: |_| Reply::Http("200 OK", "6".to_owned()),
        ..Script::default()
    };
    let sign = "x-cache: HIT from edge".to_owned();
    assert_eq!(
        verdict(&Options::new(scripted(hit).await)).await.0,
        Verdict::Cached { sign }
    );
    let cut = Script {
        poll: |_| Reply::Http("504 X", String::new()),
        ..Script::default()
    };
    let url = scripted(cut).await;
    assert!(matches!(
        verdict(&with(&url, |options| options.transport = Some(Transport::Polling)))
            .await
            .0,
        Verdict::PollCut { .. }
    ));
}

#[tokio::test]
async fn d15_a_middleware_that_never_ends() {
    let silent = Script {
        respond: |text| respond(text).filter(|_| text != "40"),
        poll: |_| Reply::Http("200 OK", "6".to_owned()),
        ..Script::default()
    };
    let unanswered = Verdict::ConnectUnanswered {
        namespace: "/".to_owned(),
    };
    assert_eq!(
        verdict(&Options::new(scripted(silent).await)).await.0,
        unanswered
    );
}

#[tokio::test]
async fn d16_a_ping_that_does_not_come() {
    let quiet = Script {
        ping_interval: 300,
        poll: |_| Reply::Http("200 OK", "6".to_owned()),
        ..Script::default()
    };
    assert!(matches!(
        verdict(&Options::new(scripted(quiet).await)).await.0,
        Verdict::NoPing { .. }
    ));
}

/// A port that speaks TLS with such a certificate, and is otherwise healthy.
async fn with_tls(
    change: impl FnOnce(&mut CertificateParams),
    is_signed: bool,
) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut leaf =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    change(&mut leaf);
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "an authority");
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let certificate = match is_signed {
        true => leaf
            .signed_by(&key, &Issuer::new(authority, authority_key))
            .unwrap(),
        false => leaf.self_signed(&key).unwrap(),
    };
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.ok()?;
                serve(stream, &|_: &str| Reply::Http("404 X", String::new())).await
            });
        }
    });
    (url, pem)
}

fn authorities(file: &Path) -> Vec<Authority> {
    vec![Authority::File(file.to_owned())]
}

#[tokio::test]
async fn d04_certificates_are_wrong_in_different_ways() {
    let none = |_: &mut CertificateParams| {};
    let (url, _) = with_tls(none, false).await;
    let found = verdict(&Options::new(url)).await;
    assert_eq!(
        found,
        (
            Verdict::CertificateSelfSigned,
            Severity::Fatal,
            Confidence::Certain
        )
    );
    let (url, pem) = with_tls(none, true).await;
    assert_eq!(
        verdict(&Options::new(&url)).await.0,
        Verdict::CertificateAuthority
    );
    let file = std::env::temp_dir().join(format!("sio-doctor-{}.pem", std::process::id()));
    std::fs::write(&file, &pem).unwrap();
    let trusted = report(&with(&url, |options| {
        options.authorities = authorities(&file)
    }))
    .await;
    assert_eq!(status(&trusted, Id::D04), "ok");
    let ignoring = report(&with(&url, |options| options.insecure = true)).await;
    assert_eq!(status(&ignoring, Id::D04), "ok");
    assert_eq!(
        ignoring.findings().next().unwrap().1.severity,
        Severity::Info
    );
    for (change, is_expected) in [
        (
            (|leaf: &mut CertificateParams| leaf.not_after = rcgen::date_time_ymd(2001, 1, 1))
                as fn(&mut CertificateParams),
            (|verdict: &Verdict| *verdict == Verdict::CertificateExpired) as fn(&Verdict) -> bool,
        ),
        (
            |leaf| leaf.not_before = rcgen::date_time_ymd(2101, 1, 1),
            |verdict| *verdict == Verdict::CertificateNotYetValid,
        ),
        (
            |leaf| {
                leaf.subject_alt_names =
                    vec![rcgen::SanType::DnsName("b.example".try_into().unwrap())]
            },
            |verdict| matches!(verdict, Verdict::CertificateOtherName { names, .. } if names == "b.example"),
        ),
    ] {
        let (url, pem) = with_tls(change, true).await;
        std::fs::write(&file, &pem).unwrap();
        let (found, ..) = verdict(&with(&url, |options| {
            options.authorities = authorities(&file)
        }))
        .await;
        assert!(is_expected(&found), "{found:?}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn d04_the_scheme_is_the_wrong_one() {
    let (url, _) = with_tls(|_| {}, false).await;
    let found = verdict(&Options::new(url.replace("https", "http"))).await;
    assert_eq!(
        (found.0, found.2),
        (Verdict::PlainToTls, Confidence::Certain)
    );
    let url = scripted(Script::default()).await;
    let found = verdict(&Options::new(url.replace("http", "https"))).await;
    assert_eq!(
        (found.0, found.2),
        (Verdict::TlsToPlain, Confidence::Certain)
    );
}

#[tokio::test]
async fn a_server_of_this_project_is_healthy() {
    assert_healthy(&Options::new(healthy().await)).await;
}
