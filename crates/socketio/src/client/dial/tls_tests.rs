//! TLS with certificates of the tests' own authority.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::tests::{Files, assert_pong, connected, direct, failure, listener, pong, soon, tls};
use super::*;

/// A certificate and its key in PEM.
pub(super) struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }
}

/// An authority of the test's own.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Authority {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(super) fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Options of a client that trusts this authority.
    pub(super) fn trusted(&self, files: &Files) -> DialOptions {
        let mut options = direct();
        let file = Pem::File(files.write("authority.pem", &self.0.pem()));
        options.tls.root_certificates.push(file);
        options
    }
}

pub(super) fn params(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    CertificateParams::new(hosts).expect("hosts")
}

pub(super) fn config(identity: &Identity) -> ServerConfig {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.key())
        .expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Serves TLS; tells of each connection which protocol was negotiated and whether the client has
/// shown a certificate.
pub(super) async fn tls_server(
    config: ServerConfig,
) -> (u16, mpsc::UnboundedReceiver<(Option<Vec<u8>>, bool)>) {
    let (listener, address) = listener().await;
    let (sender, receiver) = mpsc::unbounded_channel();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let connection = stream.get_ref().1;
            let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
            let _ = sender.send((protocol, connection.peer_certificates().is_some()));
            tokio::spawn(pong(stream));
        }
    });
    (address.port(), receiver)
}

// C041
#[tokio::test]
async fn a_server_is_trusted_by_a_root_certificate() {
    let files = Files::new("trusted");
    let authority = Authority::new();
    let identity = authority.issue(params(&["localhost", "127.0.0.1"]));
    let (port, mut told) = tls_server(config(&identity)).await;
    for host in ["localhost", "127.0.0.1"] {
        assert_pong(connected(authority.trusted(&files), tls(host, port)).await).await;
        assert_eq!(
            soon(told.recv()).await,
            Some((Some(b"http/1.1".to_vec()), false))
        );
    }
}

#[tokio::test]
async fn each_flaw_of_a_certificate_is_told_in_words() {
    let files = Files::new("flaws");
    let authority = Authority::new();
    let told = async |params: CertificateParams| {
        let (port, _told) = tls_server(config(&authority.issue(params))).await;
        let error = failure(authority.trusted(&files), tls("localhost", port)).await;
        (error.to_string(), error.hint().expect("a hint"))
    };

    let mut expired = params(&["localhost"]);
    expired.not_after = date_time_ymd(2001, 1, 1);
    let (text, hint) = told(expired).await;
    assert_eq!(
        text,
        "TLS with localhost failed: the server's certificate has expired"
    );
    assert!(hint.contains("renew"), "{hint}");

    let mut early = params(&["localhost"]);
    early.not_before = date_time_ymd(3000, 1, 1);
    let (text, hint) = told(early).await;
    assert_eq!(
        text,
        "TLS with localhost failed: the server's certificate is not valid yet"
    );
    assert!(hint.contains("clock"), "{hint}");

    let (text, hint) = told(params(&["example.com", "10.0.0.1"])).await;
    assert_eq!(
        text,
        "TLS with localhost failed: \
         the server's certificate is for example.com, 10.0.0.1, not for localhost"
    );
    assert!(hint.contains("subjectAltName"), "{hint}");

    let (text, _) = told(params(&[])).await;
    assert_eq!(
        text,
        "TLS with localhost failed: \
         the server's certificate is for no host at all, not for localhost"
    );

    let mut is_authority = params(&["localhost"]);
    is_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (text, hint) = told(is_authority).await;
    assert_eq!(
        text,
        "TLS with localhost failed: \
         the server's certificate is that of an authority, not of a server"
    );
    assert!(hint.contains("`root_certificate`"), "{hint}");
}

#[tokio::test]
async fn an_unknown_certificate_is_accepted_only_behind_the_switch() {
    let identity = Authority::new().issue(params(&["elsewhere"]));
    let (port, _told) = tls_server(config(&identity)).await;
    let error = failure(direct(), tls("localhost", port)).await;
    assert_eq!(
        error.to_string(),
        "TLS with localhost failed: the server's certificate is signed by an authority that is \
         not trusted here, or by itself"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("`root_certificate`"))
    );

    let mut options = direct();
    options.tls.danger_accept_invalid_certificates = true;
    assert_pong(connected(options, tls("localhost", port)).await).await;
}

#[tokio::test]
async fn a_client_shows_its_certificate_when_asked() {
    let files = Files::new("client");
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).expect("an authority");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .expect("a verifier");
    let identity = authority.issue(params(&["localhost"]));
    // Only in TLS 1.2 does a refusal arrive before the handshake is over.
    let config = ServerConfig::builder_with_protocol_versions(&[&TLS12])
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())
        .expect("a certificate");
    let (port, mut told) = tls_server(config).await;

    let client = authority.issue(params(&["client"]));
    let mut options = authority.trusted(&files);
    options.tls.client_certificate = Some((
        Pem::File(files.write("client.pem", &client.certificate)),
        Pem::File(files.write("client.key", &client.key)),
    ));
    assert_pong(connected(options, tls("localhost", port)).await).await;
    assert_eq!(soon(told.recv()).await, Some((None, true)));

    let error = failure(authority.trusted(&files), tls("localhost", port)).await;
    assert!(
        error
            .to_string()
            .starts_with("TLS with localhost failed: the server refused the handshake: "),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("`client_certificate`"))
    );
}

#[tokio::test]
async fn a_port_without_tls_is_told_as_such() {
    for (answer, what) in [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "what the server sent is not TLS",
        ),
        ("", "the server closed the connection during the handshake"),
    ] {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut hello = vec![0; 16 * 1024];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let error = failure(direct(), tls("127.0.0.1", address.port())).await;
        assert_eq!(
            error.to_string(),
            format!("TLS with 127.0.0.1 failed: {what}")
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("http://")));
    }
}

#[tokio::test]
async fn certificates_and_keys_may_be_given_as_texts() {
    let authority = Authority::new();
    let identity = authority.issue(params(&["localhost"]));
    let (port, _told) = tls_server(config(&identity)).await;
    let pem = |text: &str| Pem::Bytes(text.into());
    let mut options = direct();
    options.tls.root_certificates.push(pem(&authority.0.pem()));
    options.tls.client_certificate = Some((pem(&identity.certificate), pem(&identity.key)));
    assert!(!format!("{options:?}").contains("BEGIN"));
    assert_pong(connected(options, tls("localhost", port)).await).await;

    let mut options = direct();
    options.tls.root_certificates.push(pem("none"));
    assert_eq!(
        Dialer::new(options).expect_err("a mistake").to_string(),
        "the PEM text that was given: there is no certificate in it"
    );
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = Files::new("files");
    let text = |options| Dialer::new(options).expect_err("a mistake").to_string();
    let mut options = direct();
    options
        .tls
        .root_certificates
        .push(Pem::File("/nonexistent.pem".into()));
    assert!(text(options).starts_with("/nonexistent.pem: "));

    let (one, other) = (Authority::new(), Authority::new());
    let (one, other) = (one.issue(params(&[])), other.issue(params(&[])));
    let certificate = files.write("certificate.pem", &one.certificate);
    let key = files.write("key.pem", &one.key);
    let mut options = direct();
    options.tls.root_certificates.push(Pem::File(key.clone()));
    let expected = format!("{}: there is no certificate in it", key.display());
    assert_eq!(text(options), expected);

    let key = files.write("other.pem", &other.key);
    let mut options = direct();
    options.tls.client_certificate = Some((Pem::File(certificate), Pem::File(key)));
    assert!(text(options).starts_with("the client's certificate and key cannot be used: "));
}

/// A certificate that has signed itself, as `openssl req -x509` makes it.
fn own() -> Identity {
    let mut params = params(&["localhost"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

#[tokio::test]
async fn a_certificate_that_was_given_is_trusted_from_who_has_its_key() {
    let (identity, other) = (own(), own());
    let mut options = direct();
    let pem = Pem::Bytes(identity.certificate.clone().into());
    options.tls.root_certificates.push(pem);
    let (port, _told) = tls_server(config(&identity)).await;
    assert_pong(connected(options.clone(), tls("localhost", port)).await).await;

    // Who shows the same without its key.
    let key = ring::sign::any_supported_type(&other.key()).expect("a key");
    let shown = Arc::new(CertifiedKey::new(identity.chain(), key));
    for version in [&TLS12, &TLS13] {
        let thief = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown.clone())));
        let (port, _told) = tls_server(thief).await;
        let error = failure(options.clone(), tls("localhost", port)).await;
        assert_eq!(
            error.to_string(),
            "TLS with localhost failed: \
             the server's certificate cannot be used: a signature is wrong"
        );
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_offer_of_protocols_is_asked_once_without() {
    let files = Files::new("alpn");
    let authority = Authority::new();
    let identity = authority.issue(params(&["localhost"]));
    let mut picky = config(&identity);
    picky.alpn_protocols = vec![b"h2".to_vec()];
    let (port, mut told) = tls_server(picky.clone()).await;
    assert_pong(connected(authority.trusted(&files), tls("localhost", port)).await).await;
    assert_eq!(soon(told.recv()).await, Some((None, false)));
    // Verified as ever.
    let error = failure(direct(), tls("localhost", port)).await;
    assert!(error.to_string().contains("not trusted here"), "{error}");

    // Any other refusal is one.
    let (listener, address) = listener().await;
    let (counted, mut count) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = counted.send(());
            let mut hello = vec![0; 16 * 1024];
            let _ = stream.read(&mut hello).await;
            // Alert: fatal, handshake_failure.
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
        }
    });
    let error = failure(direct(), tls("localhost", address.port())).await;
    assert!(
        error
            .to_string()
            .contains("it finds nothing that both know"),
        "{error}"
    );
    assert!(count.recv().await.is_some() && count.try_recv().is_err());
}
