//! The doctor, run by a client with its own settings.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use socketio::client::{Client, ClientBuilder, DiagnoseError, Version};
use socketio::doctor::{Diagnosis, Id, Language, Report, Severity};
use socketio::{ConnectError, Server, Socket, Transport};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{WEBSOCKET, echo_server, url};
use crate::client_dial::listen_tls;
use crate::fake::{Fake, Reply};
use crate::support::{listen, soon, until};
use crate::tls::Files;

async fn diagnose(client: ClientBuilder) -> Report {
    let socket = client.build().expect("valid");
    // Also as a task of its own.
    let report = tokio::spawn(async move { socket.diagnose().await });
    soon(report).await.expect("no panic").expect("settings")
}

/// The findings that are worse than a note.
fn faults(report: &Report) -> Vec<Diagnosis> {
    let mut found = report.diagnoses(Language::English);
    found.retain(|diagnosis| diagnosis.severity > Severity::Info);
    found
}

fn assert_healthy(report: &Report) {
    let text = report.to_text(Language::English);
    assert!(report.is_healthy() && faults(report).is_empty(), "{text}");
}

/// The only finding has to be of this check.
fn assert_found(report: &Report, check: Id) {
    let text = report.to_text(Language::English);
    let found: Vec<Id> = faults(report).iter().map(|one| one.check).collect();
    assert!(!report.is_healthy() && found == [check], "{text}");
}

fn forms(report: &Report) -> String {
    [
        report.to_text(Language::English),
        report.to_colored_text(Language::Spanish),
        report.to_json(Language::English),
        report.to_markdown(Language::English),
        report.to_junit(Language::English, Severity::Info),
        report.to_har(),
        format!("{report:?} {:?}", report.diagnoses(Language::English)),
    ]
    .concat()
}

#[tokio::test]
async fn a_healthy_server_is_healthy_also_beside_a_connection() {
    let io = echo_server();
    let url = url(&io).await;
    assert_healthy(&diagnose(Client::builder(&url)).await);
    until(|| io.stats().clients == 0).await;
    assert_eq!(io.stats().events, 0);
    let socket = soon(Client::connect(&url)).await.expect("connected");
    let report = soon(socket.diagnose()).await.expect("settings");
    assert_healthy(&report);
    assert!(socket.is_connected());
    until(|| io.stats().clients == 1).await;
}

#[tokio::test]
async fn a_wrong_path_is_named() {
    let url = url(&Server::new()).await;
    let report = diagnose(Client::builder(&url).path("/elsewhere")).await;
    assert_found(&report, Id::D07);
}

#[tokio::test]
async fn an_old_server_is_named_unless_the_client_speaks_its_version() {
    let open = r#"0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
    let old = Fake::start(move |head, _| match head.starts_with("POST") {
        true => Reply::Http(200, "", "ok".to_owned()),
        false => Reply::Http(200, "", format!("{}:{open}2:40", open.len())),
    })
    .await;
    let client = || Client::builder(&old.url).transports([Transport::Polling]);
    let found = |report: &Report| faults(report).iter().any(|one| one.check == Id::D28);
    assert!(found(&diagnose(client()).await));
    assert!(!found(&diagnose(client().version(Version::V2)).await));
}

/// A load balancer that gives each connection to the next server.
async fn balancer(servers: [SocketAddr; 2]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let turn = AtomicUsize::new(0);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = servers[turn.fetch_add(1, Ordering::Relaxed) % 2];
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    url
}

#[tokio::test]
async fn servers_without_sticky_sessions_are_named_unless_the_client_needs_none() {
    let (one, other) = (Server::new(), Server::new());
    let url = balancer([listen(&one).await, listen(&other).await]).await;
    assert_found(&diagnose(Client::builder(&url)).await, Id::D10);
    // From WebSocket a client comes to no other transport.
    for transports in [WEBSOCKET, &[Transport::WebSocket, Transport::Polling]] {
        let client = Client::builder(&url).transports(transports.iter().copied());
        assert_healthy(&diagnose(client).await);
    }
}

#[tokio::test]
async fn a_client_that_stays_with_polling_misses_no_websocket() {
    let io = Server::builder().transports([Transport::Polling]).build();
    let url = url(&io).await;
    let found = faults(&diagnose(Client::builder(&url)).await);
    assert_eq!(
        (found[0].check, found[0].severity),
        (Id::D09, Severity::Warn)
    );
    for client in [
        Client::builder(&url).without_upgrade(),
        Client::builder(&url).transports([Transport::Polling]),
    ] {
        assert_healthy(&diagnose(client).await);
    }
}

#[tokio::test]
async fn what_the_client_says_of_itself_is_said_and_not_reported() {
    const SECRETS: [&str; 4] = ["tok-5ecret", "key-5ecret", "id-5ecret", "q-5ecret"];
    let io = Server::new();
    let chat = io.of("/chat");
    chat.middleware(async |socket: Socket, auth: Value| {
        let handshake = socket.handshake();
        let tenant = handshake.query("tenant");
        let said = [
            auth["token"].as_str(),
            handshake.header("x-key"),
            handshake.header("cookie"),
            tenant.as_deref(),
        ];
        Err::<(), _>(ConnectError::new(format!("who is {said:?}?")))
    });
    let url = url(&io).await;
    let client = Client::builder(format!("{url}/chat"))
        .auth_with(async || Ok::<_, io::Error>(json!({ "token": SECRETS[0] })))
        .header("X-Key", SECRETS[1])
        .header("Cookie", format!("session={}", SECRETS[2]))
        .query("tenant", SECRETS[3]);
    let report = diagnose(client).await;
    assert_found(&report, Id::D15);
    let forms = forms(&report);
    let said = r#"[Some("…"), Some("…"), Some("session=…"), Some("…")]"#;
    let evidence = &faults(&report)[0].evidence;
    assert!(
        evidence[0].answer.contains(&said.replace('"', r#"\""#)),
        "{evidence:?}"
    );
    for secret in SECRETS {
        assert!(!forms.contains(secret), "{secret} in {forms}");
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_as_the_client_trusts_it() {
    let files = Files::with("diagnose", "localhost", |_| {});
    let url = format!("https://localhost:{}", listen_tls(&files).await.port());
    assert_found(&diagnose(Client::builder(&url)).await, Id::D04);
    let pem = std::fs::read(files.cert()).expect("a certificate");
    for client in [
        Client::builder(&url).root_certificate(files.cert()),
        Client::builder(&url).root_certificate_pem(pem),
        Client::builder(&url).danger_accept_invalid_certificates(),
    ] {
        assert_healthy(&diagnose(client).await);
    }
}

#[tokio::test]
async fn what_cannot_be_examined_is_an_error() {
    let failing = Client::builder("http://localhost")
        .auth_with(async || Err::<Value, _>("no token"))
        .build()
        .expect("valid");
    let error = failing.diagnose().await.expect_err("no auth");
    assert_eq!(error.to_string(), "auth could not be provided: no token");
    let socket = Client::builder("http://localhost")
        .unix_socket("/nowhere")
        .build()
        .expect("valid");
    let error = socket.diagnose().await.expect_err("a Unix socket");
    assert!(matches!(error, DiagnoseError::UnixSocket));
}
