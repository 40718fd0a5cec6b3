//! TLS to a server, by rustls.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use socketio_proto::Hint;
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio::task;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{DialError, Stream};

/// Whom a client trusts, and what it shows of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    pub(crate) root_certificates: Vec<Pem>,
    /// A chain and its key.
    pub(crate) client_certificate: Option<(Pem, Pem)>,
    pub(crate) danger_accept_invalid_certificates: bool,
}

/// Certificates or a key in PEM.
#[derive(Clone)]
pub(crate) enum Pem {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// Why a certificate or proxy that was given cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or it or what was given instead of one has no PEM section of the kind
    /// expected.
    #[error("{path}: {reason}")]
    File {
        /// The file, or "the PEM text that was given".
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL of the proxy cannot be used.
    #[error(
        "the proxy's URL has to begin with http://, https://, socks5:// or socks5h:// and to have a host, unlike \"{0}\""
    )]
    Proxy(String),
    /// The certificate and the key cannot be used together.
    #[error("the client's certificate and key cannot be used: {0}")]
    Rejected(String),
}

/// How a client speaks TLS.
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    trust: Trust,
    client: Option<Arc<CertifiedKey>>,
    /// Made when it is needed: reading the platform's certificates takes milliseconds.
    connector: OnceCell<TlsConnector>,
}

enum Trust {
    Anyone,
    /// The platform's authorities, and these.
    Platform(RootCertStore),
}

impl Tls {
    /// Reads the application's files.
    pub(super) fn new(options: &TlsOptions) -> Result<Tls, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for pem in &options.root_certificates {
            for certificate in pem.certificates()? {
                roots.add(certificate).map_err(|error| pem.error(&error))?;
            }
        }
        let client = match &options.client_certificate {
            None => None,
            Some((chain, key)) => {
                let certified =
                    CertifiedKey::from_der(chain.certificates()?, key.key()?, &provider);
                let rejected = |error: Error| TlsError::Rejected(error.to_string());
                Some(Arc::new(certified.map_err(rejected)?))
            }
        };
        let trust = match options.danger_accept_invalid_certificates {
            true => Trust::Anyone,
            false => Trust::Platform(roots),
        };
        Ok(Tls {
            provider,
            trust,
            client,
            connector: OnceCell::new(),
        })
    }

    /// Speaks TLS with a host, which is a name or an address, over a stream to it.
    pub(super) async fn wrap(&self, host: &str, stream: Stream) -> Result<Stream, DialError> {
        let failed = |(what, hint): (String, Option<Hint>)| DialError::Tls {
            host: host.to_owned(),
            what,
            hint: hint.map(Hint::as_str),
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed((error.to_string(), None)))?;
        let connector = self.connector.get_or_init(|| self.connector()).await;
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(failed(explain(&error))),
        }
    }

    async fn connector(&self) -> TlsConnector {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for the default versions");
        let builder = match &self.trust {
            Trust::Anyone => {
                let verifier = Arc::new(AcceptAll(self.provider.clone()));
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
            }
            Trust::Platform(own) => {
                let mut roots = platform_roots().await;
                if !own.is_empty() {
                    Arc::make_mut(&mut roots).extend(own.roots.iter().cloned());
                }
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(certified) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone()))),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

/// The authorities that the platform trusts; read once for the process.
async fn platform_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "some of the platform's certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        // Some that cannot be used must not keep the others from being used.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!("the platform has no certificates of authorities");
        }
        Arc::new(roots)
    };
    // Some platforms take long.
    match task::spawn_blocking(move || ROOTS.get_or_init(read).clone()).await {
        Ok(roots) => roots,
        // The runtime ends, and the connection with it.
        Err(_) => Arc::new(RootCertStore::empty()),
    }
}

impl Pem {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Result<Vec<_>, _> = match self {
            Pem::Bytes(bytes) => CertificateDer::pem_slice_iter(bytes).collect(),
            Pem::File(path) => CertificateDer::pem_file_iter(path).and_then(Iterator::collect),
        };
        let certificates = certificates.map_err(|error| self.error(&error))?;
        match certificates.is_empty() {
            true => Err(self.error(&"there is no certificate in it")),
            false => Ok(certificates),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let key = match self {
            Pem::Bytes(bytes) => PrivateKeyDer::from_pem_slice(bytes),
            Pem::File(path) => PrivateKeyDer::from_pem_file(path),
        };
        key.map_err(|error| self.error(&error))
    }

    fn error(&self, reason: &dyn Display) -> TlsError {
        let path = match self {
            Pem::Bytes(_) => "the PEM text that was given".to_owned(),
            Pem::File(path) => path.display().to_string(),
        };
        TlsError::File {
            path,
            reason: reason.to_string(),
        }
    }
}

/// Without what may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::Bytes(_) => f.write_str("Bytes(..)"),
            Pem::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What to do about an error of TLS that a request met after the handshake: with TLS 1.3, a server
/// that misses the client's certificate says so only then.
pub(crate) fn late_hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The source of an `io::Error` is not what it contains, but the source of that.
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.get_ref().is_some_and(|inner| inner.is::<Error>())
        {
            return explain(io).1.map(Hint::as_str);
        }
        cause = error.source();
    }
    None
}

/// What went wrong in a handshake, and what to do about it.
fn explain(error: &io::Error) -> (String, Option<Hint>) {
    let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref()) else {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let what = "the server closed the connection during the handshake";
            return (what.to_owned(), Some(Hint::NotTls));
        }
        return (error.to_string(), None);
    };
    match tls {
        Error::InvalidCertificate(error) => {
            let (what, hint) = explain_certificate(error);
            (what, Some(hint))
        }
        Error::InvalidMessage(_) => (
            "what the server sent is not TLS".to_owned(),
            Some(Hint::NotTls),
        ),
        Error::AlertReceived(alert) => (
            format!("the server refused the handshake: {alert:?}"),
            Some(Hint::TlsRefused),
        ),
        Error::PeerIncompatible(_) => (tls.to_string(), Some(Hint::TlsVersion)),
        other => (other.to_string(), None),
    }
}

fn explain_certificate(error: &CertificateError) -> (String, Hint) {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "the server's certificate has expired".to_owned(),
            Hint::CertificateExpired,
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "the server's certificate is not valid yet".to_owned(),
            Hint::CertificateEarly,
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => (
            format!(
                "the server's certificate is for {}, not for {}",
                names(presented),
                expected.to_str()
            ),
            Hint::CertificateOtherName,
        ),
        CertificateError::NotValidForName => (
            "the server's certificate is for another host".to_owned(),
            Hint::CertificateOtherName,
        ),
        CertificateError::UnknownIssuer => (
            "the server's certificate is signed by an authority that is not trusted here, or by itself".to_owned(),
            Hint::CertificateAuthority,
        ),
        // rustls has no variant for it. What `openssl req -x509` makes is of this kind.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            "the server's certificate is that of an authority, not of a server".to_owned(),
            Hint::CertificateOfAuthority,
        ),
        other => {
            let reason: &dyn Display = match other {
                CertificateError::Other(reason) => reason,
                _ => other,
            };
            (
                format!("the server's certificate cannot be used: {reason}"),
                Hint::CertificateUnusable,
            )
        }
    }
}

/// The hosts of a certificate, which rustls gives as `DnsName("example.com")`.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 5;
    let plain = |name: &String| match name.split_once('(') {
        Some((_, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    let names: Vec<_> = presented.iter().take(SHOWN).map(plain).collect();
    match presented.len() {
        0 => "no host at all".to_owned(),
        1..=SHOWN => names.join(", "),
        _ => format!("{} and others", names.join(", ")),
    }
}

/// Accepts any certificate; behind a switch that says what it is.
///
/// Signatures are not checked either: they would only prove that whoever answers has made the
/// certificate that it shows.
#[derive(Debug)]
struct AcceptAll(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
