//! TLS to a server, by rustls.

use socketio_proto::Printable;
use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use socketio_proto::Hint;
use socketio_tls::{Explained, Verifier, explain, wants_no_protocol};
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
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
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
        "the proxy's URL has to begin with http://, https://, socks5:// or socks5h://, to have a host, and a port from 1 to 65535 if any, unlike \"{0}\""
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
    config: OnceCell<ClientConfig>,
}

enum Trust {
    Anyone,
    /// The platform's authorities, and these.
    Platform(Vec<CertificateDer<'static>>),
}

/// Why there is no TLS on a stream.
pub(super) struct Unwrapped {
    /// The server may take a handshake that offers no protocols.
    pub(super) wants_no_protocol: bool,
    pub(super) error: DialError,
}

impl Tls {
    /// Reads the application's files.
    pub(super) fn new(options: &TlsOptions) -> Result<Tls, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut given = Vec::new();
        for pem in &options.root_certificates {
            for certificate in pem.certificates()? {
                let usable = RootCertStore::empty().add(certificate.clone());
                usable.map_err(|error| pem.error(&error))?;
                given.push(certificate);
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
            false => Trust::Platform(given),
        };
        Ok(Tls {
            provider,
            trust,
            client,
            config: OnceCell::new(),
        })
    }

    /// Speaks TLS with a host, which is a name or an address, over a stream to it. HTTP/1.1 is offered
    /// as the protocol (RFC 7301), or none.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: Stream,
        offers_protocol: bool,
    ) -> Result<Stream, Unwrapped> {
        let failed = |what: String, hint: Option<Hint>| DialError::Tls {
            host: host.to_owned(),
            what,
            hint: hint.map(Hint::as_str),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Unwrapped {
            wants_no_protocol: false,
            error: failed("this is no name of a host".to_owned(), None),
        })?;
        let mut config = self.config.get_or_init(|| self.config()).await.clone();
        if !offers_protocol {
            config.alpn_protocols.clear();
        }
        match TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
        {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let explained = explain(&error);
                Err(Unwrapped {
                    wants_no_protocol: offers_protocol && wants_no_protocol(&error),
                    error: failed(explained.what, explained.hint),
                })
            }
        }
    }

    async fn config(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for the default versions");
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trust {
            Trust::Anyone => Arc::new(AcceptAll(self.provider.clone())),
            Trust::Platform(given) => {
                let platform = platform_roots().await;
                let verifier = Verifier::new(
                    Arc::unwrap_or_clone(platform),
                    given.clone(),
                    self.provider.clone(),
                );
                Arc::new(verifier.expect("each was found usable when it was given"))
            }
        };
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(certified) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone()))),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// The authorities that the platform trusts; read once for the process.
async fn platform_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(error = %Printable::new(&error), "some of the platform's certificates cannot be read");
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

/// Explains an error of TLS that a request met after the handshake: with TLS 1.3, a server that misses
/// the client's certificate says so only then.
pub(crate) fn explain_late(error: &(dyn std::error::Error + 'static)) -> Option<Explained> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The source of an `io::Error` is not what it contains, but the source of that.
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.get_ref().is_some_and(|inner| inner.is::<Error>())
        {
            return Some(explain(io));
        }
        cause = error.source();
    }
    None
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
