//! HTTPS and WSS, with certificate files.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use socketio::{Args, Server, Socket, TlsError};
use socketio_proto::websocket::{Decoder, Item, Opcode, Role, masked_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{HANDSHAKE, soon};

/// A certificate for `localhost` and its key, as files.
pub(crate) struct Files {
    directory: PathBuf,
    pub(crate) der: CertificateDer<'static>,
}

impl Files {
    fn make(name: &str) -> Files {
        Files::with(name, "localhost", |_| {})
    }

    /// A certificate for another host, or with other properties.
    pub(crate) fn with(
        name: &str,
        host: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Files {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let directory =
            std::env::temp_dir().join(format!("socketio-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("cert.pem"), certificate.pem()).expect("to write");
        std::fs::write(directory.join("key.pem"), key.serialize_pem()).expect("to write");
        Files {
            directory,
            der: certificate.der().clone(),
        }
    }

    pub(crate) fn cert(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) async fn connect(address: std::net::SocketAddr, files: &Files) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(files.der.clone()).expect("a certificate");
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.expect("to connect");
    let name = ServerName::try_from("localhost").expect("a name");
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .expect("TLS")
}

#[tokio::test(flavor = "multi_thread")]
async fn https_and_wss_are_served_from_certificate_files() {
    let files = Files::make("tls");
    let io = Server::new();
    io.on_connect(async |socket: Socket| {
        assert!(socket.handshake().is_secure());
        socket.emit("large", "x".repeat(1_000_000));
    });
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let listening = listening
        .tls(files.cert(), files.key())
        .expect("a certificate");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(listening.into_future());

    let mut https = connect(address, &files).await;
    let request = format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    https.write_all(request.as_bytes()).await.expect("to write");
    let mut answer = String::new();
    soon(https.read_to_string(&mut answer))
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let mut wss = connect(address, &files).await;
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n\
                   Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut frames = request.as_bytes().to_vec();
    for text in ["40", "42[\"echo\",1]", "42[\"echo\",2]"] {
        masked_frame(&mut frames, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
    }
    // All at once: what is read ahead of the handshake's answer counts as well.
    wss.write_all(&frames).await.expect("to write");
    let (mut buffer, mut decoder) = (Vec::new(), Decoder::new(Role::Client, 10_000_000));
    let mut texts = Vec::new();
    while texts.len() < 5 {
        assert!(soon(wss.read_buf(&mut buffer)).await.expect("frames") > 0);
        if buffer.starts_with(b"HTTP/1.1 101") {
            let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            buffer.drain(..end + 4);
        }
        while let Some(decoded) = decoder.decode(&mut buffer).expect("valid") {
            let consumed = decoded.consumed;
            if let Item::Text(text) = decoded.item {
                texts.push(text.into_owned());
            }
            buffer.drain(..consumed);
        }
    }
    assert!(texts[0].starts_with("0{") && texts[1].starts_with("40{"));
    assert_eq!(texts[2].len(), "42[\"large\",\"\"]".len() + 1_000_000);
    assert_eq!(texts[3..], ["42[\"echo\",1]", "42[\"echo\",2]"]);
    let end = async {
        let mut close = [0; 2];
        soon(wss.read_exact(&mut close)).await.expect("a frame");
        assert_eq!(close, [0x88, 0]);
        let mut answer = Vec::new();
        masked_frame(&mut answer, Opcode::Close, &[], [1, 2, 3, 4]);
        wss.write_all(&answer).await.expect("to write");
        let mut rest = Vec::new();
        let end = soon(wss.read_to_end(&mut rest)).await;
        assert_eq!(end.expect("an orderly end"), 0);
        drop(wss);
    };
    tokio::join!(io.close(), end);
    assert_eq!(io.clients_count(), 0);
}

#[tokio::test]
async fn who_is_silent_before_tls_makes_room() {
    let files = Files::make("tls-silent");
    let io = Server::builder().max_tcp_connections(3).build();
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let listening = listening
        .tls(files.cert(), files.key())
        .expect("a certificate");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(listening.into_future());
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await.expect("to connect"));
    }
    drop(connect(address, &files).await);
    assert_eq!(soon(silent[0].read_u8()).await.ok(), None);
    assert_eq!(io.stats().dropped_connections, 1);
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let files = Files::make("tls-bad");
    let tls = async |cert: PathBuf, key: PathBuf| {
        let listening = Server::new().listen("127.0.0.1:0").await.expect("a port");
        listening.tls(cert, key).expect_err("a mistake")
    };
    let missing = tls("/nonexistent.pem".into(), files.key()).await;
    assert!(
        missing.to_string().starts_with("/nonexistent.pem: "),
        "{missing}"
    );
    let swapped = tls(files.key(), files.key()).await;
    assert!(
        swapped
            .to_string()
            .contains("key.pem: there is no certificate in it"),
        "{swapped}"
    );
    let other = Files::make("tls-other");
    assert!(matches!(
        tls(files.cert(), other.key()).await,
        TlsError::Rejected(_)
    ));
}
