//! TLS, with the reasons for which a certificate is refused told apart.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socketio_tls::{Verifier, is_self_signed, wants_no_protocol, words};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore,
    SignatureScheme,
};

use super::Stream;
use crate::options::{Authority, InvalidOption};

/// How TLS is spoken.
#[derive(Clone)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    is_lenient: bool,
}

/// What was seen of a handshake that went well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TlsSeen {
    pub(crate) version: &'static str,
}

/// Why a handshake failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TlsFault {
    Certificate(CertificateFault, Certificates),
    /// The connection was closed, or nothing came.
    Ended,
    /// What came is not TLS.
    NotTls,
    /// The server is too old, or too new.
    Incompatible(String),
    /// The server has refused the handshake for the protocols that were offered in it.
    NoProtocol,
    Other(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum CertificateFault {
    Expired,
    NotYetValid,
    /// It is for other names.
    OtherName(Vec<String>),
    Other(String),
    /// Its issuer is not trusted.
    UnknownIssuer,
}

/// What is known of the certificates that were shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Certificates {
    pub(crate) count: usize,
    /// The first has signed itself.
    pub(crate) is_self_signed: bool,
    /// The first tells where its issuer's certificate is, as those of public authorities do.
    pub(crate) names_issuer: bool,
}

impl Tls {
    /// Trusts the platform's authorities and these.
    pub(crate) fn new(authorities: &[Authority]) -> Result<Tls, InvalidOption> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let mut given = Vec::new();
        for authority in authorities {
            let wrong = |error: &dyn fmt::Display| InvalidOption(format!("{authority}: {error}"));
            let certificates: Result<Vec<CertificateDer<'static>>, _> = match authority {
                Authority::File(path) => {
                    CertificateDer::pem_file_iter(path).and_then(Iterator::collect)
                }
                Authority::Pem(pem) => CertificateDer::pem_slice_iter(pem).collect(),
            };
            let certificates = certificates.map_err(|error| wrong(&error))?;
            if certificates.is_empty() {
                return Err(wrong(&"there is no certificate in it"));
            }
            for certificate in certificates {
                let usable = RootCertStore::empty().add(certificate.clone());
                usable.map_err(|error| wrong(&error))?;
                given.push(certificate);
            }
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(roots, given, provider.clone());
        let verifier = verifier.map_err(|error| InvalidOption(error.to_string()))?;
        Ok(Tls {
            provider,
            verifier: Arc::new(verifier),
            is_lenient: false,
        })
    }

    /// The same without a look at the certificates.
    pub(crate) fn lenient(&self) -> Tls {
        Tls {
            is_lenient: true,
            ..self.clone()
        }
    }

    pub(super) async fn wrap(
        &self,
        host: &str,
        tcp: TcpStream,
        wait: Duration,
        offers_protocol: bool,
    ) -> Result<(Box<dyn Stream>, TlsSeen), TlsFault> {
        let other = |error: &dyn fmt::Display| TlsFault::Other(error.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| other(&error))?;
        let verifier = Arc::new(Observer {
            inner: self.verifier.clone(),
            is_lenient: self.is_lenient,
            seen: OnceLock::new(),
        });
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| other(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = config.with_no_client_auth();
        if offers_protocol {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let connector = TlsConnector::from(Arc::new(config));
        match timeout(wait, connector.connect(name, tcp)).await {
            Err(_) => Err(TlsFault::Ended),
            Ok(Ok(stream)) => {
                let version = match stream.get_ref().1.protocol_version() {
                    Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                    _ => "TLS 1.2",
                };
                Ok((Box::new(stream), TlsSeen { version }))
            }
            Ok(Err(error)) if offers_protocol && wants_no_protocol(&error) => {
                Err(TlsFault::NoProtocol)
            }
            Ok(Err(error)) => Err(fault(&error, verifier.seen.get().copied())),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authority::File(path) => path.display().fmt(f),
            Authority::Pem(_) => f.write_str("the PEM text that was given"),
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFault::Certificate(fault, _) => write!(f, "the certificate is refused: {fault}"),
            TlsFault::Ended => f.write_str("the handshake did not end"),
            TlsFault::NoProtocol => f.write_str("the server speaks no HTTP/1.1 on this port"),
            TlsFault::NotTls => f.write_str("what came is not TLS"),
            TlsFault::Incompatible(what) | TlsFault::Other(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateFault::Expired => f.write_str("expired"),
            CertificateFault::NotYetValid => f.write_str("not valid yet"),
            CertificateFault::OtherName(names) => write!(f, "it is for {}", names.join(", ")),
            CertificateFault::Other(what) => f.write_str(what),
            CertificateFault::UnknownIssuer => f.write_str("unknown issuer"),
        }
    }
}

fn fault(error: &io::Error, seen: Option<Certificates>) -> TlsFault {
    let Some(tls) = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Error>())
    else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => TlsFault::Ended,
            _ => TlsFault::Other(error.to_string()),
        };
    };
    match tls {
        Error::InvalidCertificate(error) => {
            let fault = match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    CertificateFault::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    CertificateFault::NotYetValid
                }
                CertificateError::NotValidForNameContext { presented, .. } => {
                    CertificateFault::OtherName(presented.iter().map(|name| plain(name)).collect())
                }
                CertificateError::NotValidForName => CertificateFault::OtherName(Vec::new()),
                CertificateError::UnknownIssuer => CertificateFault::UnknownIssuer,
                _ => CertificateFault::Other(words(tls)),
            };
            TlsFault::Certificate(fault, seen.unwrap_or_default())
        }
        Error::InvalidMessage(_) => TlsFault::NotTls,
        Error::PeerIncompatible(_) | Error::AlertReceived(_) => TlsFault::Incompatible(words(tls)),
        other => TlsFault::Other(words(other)),
    }
}

/// rustls gives a name as `DnsName("example.com")`.
fn plain(name: &str) -> String {
    match name.split_once('(') {
        Some((_, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.to_owned(),
    }
}

/// Looks at the certificates, and has them verified unless it is lenient.
#[derive(Debug)]
struct Observer {
    inner: Arc<Verifier>,
    is_lenient: bool,
    seen: OnceLock<Certificates>,
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let _ = self.seen.set(Certificates {
            count: 1 + rest.len(),
            is_self_signed: is_self_signed(end).unwrap_or(false),
            names_issuer: end
                .windows(CA_ISSUERS.len())
                .any(|window| window == CA_ISSUERS),
        });
        match self.is_lenient {
            true => Ok(ServerCertVerified::assertion()),
            false => self.inner.verify_server_cert(end, rest, name, ocsp, now),
        }
    }

    // Signatures only prove that whoever answers has the key of what it shows; the verdict is on what
    // it shows.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.is_lenient {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => self
                .inner
                .verify_tls12_signature(message, certificate, signed),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.is_lenient {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => self
                .inner
                .verify_tls13_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The object id of `id-ad-caIssuers`, 1.3.6.1.5.5.7.48.2, as it stands in a certificate.
const CA_ISSUERS: &[u8] = &[0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
