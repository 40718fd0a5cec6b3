//! TLS to a server, by rustls.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use thiserror::Error;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::{DialError, Stream};

/// Whom a client trusts, and what it shows of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    pub(crate) root_certificates: Vec<PathBuf>,
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) danger_accept_invalid_certificates: bool,
}

/// Why a certificate or proxy that was given cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or has no PEM section of the kind expected.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL of the proxy cannot be used.
    #[error(
        "the proxy's URL has to begin with http://, socks5:// or socks5h:// and to have a host, unlike \"{0}\""
    )]
    Proxy(String),
    /// The certificate and the key cannot be used together.
    #[error("the client's certificate and key cannot be used: {0}")]
    Rejected(String),
}

#[derive(Debug)]
pub(super) struct Tls {
    options: TlsOptions,
    /// Made when it is needed: reading the platform's certificates takes milliseconds.
    connector: OnceLock<Result<Connector, TlsError>>,
    /// The certificates that the application has given.
    own: Own,
}

#[derive(Debug, Default)]
struct Own {
    roots: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector(..)")
    }
}

impl Tls {
    /// Reads the application's files.
    pub(super) fn new(options: TlsOptions) -> Result<Tls, TlsError> {
        let mut own = Own::default();
        for path in &options.root_certificates {
            own.roots.extend(certificates(path)?);
        }
        if let Some((chain, key)) = &options.client_certificate {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, &error))?;
            own.client = Some((certificates(chain)?, private));
        }
        Ok(Tls {
            options,
            connector: OnceLock::new(),
            own,
        })
    }

    pub(super) async fn wrap(&self, host: &str, stream: Stream) -> Result<Stream, DialError> {
        let connector = self.connector.get_or_init(|| self.connector());
        let Connector(connector) = connector.as_ref().map_err(Clone::clone)?;
        let failed = |error: &dyn Display, hint| DialError::Tls {
            host: host.to_owned(),
            what: error.to_string(),
            hint,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error, None))?;
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let hint = hint(&error);
                Err(failed(&error, hint))
            }
        }
    }

    fn connector(&self) -> Result<Connector, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Rejected(error.to_string()))?;
        let builder = if self.options.danger_accept_invalid_certificates {
            let verifier = Arc::new(AcceptAll(provider));
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        } else {
            let mut roots = RootCertStore::empty();
            // Some that cannot be read must not keep the others from being used.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots.add_parsable_certificates(self.own.roots.iter().cloned());
            builder.with_root_certificates(roots)
        };
        let mut config = match &self.own.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| TlsError::Rejected(error.to_string()))?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Connector(TlsConnector::from(Arc::new(config))))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file(path, &error))?;
    match certificates.is_empty() {
        true => Err(file(path, &"there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn file(path: &Path, reason: &dyn Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

fn hint(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired: renew it, and check this machine's clock"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: check this machine's clock"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name: connect by a name that is in it"
            }
            _ => {
                "the server's certificate is not trusted here: if it is signed by an authority of your own, add that with `root_certificate`; if it is self-signed, add the certificate itself"
            }
        },
        Error::InvalidMessage(_) => {
            "the port does not speak TLS: use http:// or ws:// for it, or the port of HTTPS"
        }
        Error::AlertReceived(_) => {
            "the server refused the handshake: it may want a certificate of the client (`client_certificate`), or know no such host name"
        }
        _ => return None,
    })
}

/// Accepts any certificate; behind a switch that says what it is.
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
