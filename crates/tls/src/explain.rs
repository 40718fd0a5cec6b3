//! What went wrong, in words that name what is so and not what a library calls it.

use std::fmt;
use std::io;

use socketio_proto::Hint;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// What went wrong, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explained {
    /// What went wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<Hint>,
}

/// Why a certificate cannot be used, where rustls has no name for it.
#[derive(Debug)]
pub(crate) struct Unusable(pub(crate) String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl Explained {
    fn new(what: impl Into<String>, hint: Hint) -> Explained {
        Explained {
            what: what.into(),
            hint: Some(hint),
        }
    }
}

/// Says what went wrong in a handshake, or after it.
pub fn explain(error: &io::Error) -> Explained {
    let Some(tls) = inner(error) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => Explained::new(
                "the server closed the connection during the handshake",
                Hint::NotTls,
            ),
            _ => Explained {
                what: error.to_string(),
                hint: None,
            },
        };
    };
    match tls {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(_) => Explained::new("what the server sent is not TLS", Hint::NotTls),
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            Explained::new(words(tls), Hint::TlsVersion)
        }
        Error::AlertReceived(_) => Explained::new(words(tls), Hint::TlsRefused),
        _ => Explained {
            what: words(tls),
            hint: None,
        },
    }
}

/// Says whether the server has refused a handshake because of the protocols that were offered in it
/// (RFC 7301, section 3.2): it may take one in which none is.
pub fn wants_no_protocol(error: &io::Error) -> bool {
    matches!(
        inner(error),
        Some(Error::AlertReceived(
            AlertDescription::NoApplicationProtocol
        ))
    )
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What an error of TLS is, in words.
pub fn words(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => {
            format!("the server refused the handshake: {}", refusal(*alert))
        }
        Error::InvalidCertificate(error) => certificate(error).what,
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "what the server sent is not TLS".to_owned()
        }
        Error::InappropriateHandshakeMessage { .. } | Error::PeerMisbehaved(_) => {
            "the server breaks the rules of TLS".to_owned()
        }
        Error::NoApplicationProtocol => "the server speaks no HTTP/1.1 on this port".to_owned(),
        Error::NoCertificatesPresented => "the server has shown no certificate".to_owned(),
        Error::DecryptError => "what the server sent cannot be decrypted".to_owned(),
        Error::PeerSentOversizedRecord => "the server sent more at once than TLS allows".to_owned(),
        Error::PeerIncompatible(what) => match what {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
                "the server speaks neither TLS 1.2 nor 1.3"
            }
            PeerIncompatible::NoCipherSuitesInCommon => {
                "the server has no cipher that is known here"
            }
            PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NamedGroupsExtensionRequired => {
                "the server has no curve for the exchange of keys that is known here"
            }
            PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
                "the server has no kind of signature that is known here"
            }
            PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
                "the server's TLS 1.2 lacks the extended master secret"
            }
            _ => "the server's TLS has nothing in common with what is known here",
        }
        .to_owned(),
        other => other.to_string(),
    }
}

fn refusal(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it finds nothing that both know (version, cipher, curve, kind of key), or wants a certificate of the client"
        }
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3",
        AlertDescription::CertificateRequired => "it wants a certificate of the client",
        AlertDescription::UnknownCA => "it does not trust who has signed the client's certificate",
        AlertDescription::CertificateExpired => "the client's certificate has expired",
        AlertDescription::CertificateRevoked => "the client's certificate was revoked",
        AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => {
            "it wants a certificate of the client, or does not accept the one that was shown"
        }
        AlertDescription::AccessDenied => "it does not let this client in",
        AlertDescription::UnrecognisedName => "it knows no host of this name",
        AlertDescription::NoApplicationProtocol => "it speaks no HTTP/1.1 on this port",
        AlertDescription::InternalError => "it failed itself",
        AlertDescription::DecryptError => {
            "it cannot verify a signature of the client: does it accept its certificate?"
        }
        AlertDescription::BadRecordMac => "it could not read what was sent",
        other => return format!("it ended it with alert {}", u8::from(other)),
    }
    .to_owned()
}

fn certificate(error: &CertificateError) -> Explained {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Explained::new(
            "the server's certificate has expired",
            Hint::CertificateExpired,
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Explained::new(
                "the server's certificate is not valid yet",
                Hint::CertificateEarly,
            )
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => Explained::new(
            format!(
                "the server's certificate is for {}, not for {}",
                names(presented),
                expected.to_str()
            ),
            Hint::CertificateOtherName,
        ),
        CertificateError::NotValidForName => Explained::new(
            "the server's certificate is for another host",
            Hint::CertificateOtherName,
        ),
        CertificateError::UnknownIssuer => Explained::new(
            "the server's certificate is signed by an authority that is not trusted here, or by itself",
            Hint::CertificateAuthority,
        ),
        // rustls has no variant for it. What `openssl req -x509` makes is of this kind.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            Explained::new(
                "the server's certificate is that of an authority, not of a server",
                Hint::CertificateOfAuthority,
            )
        }
        other => Explained::new(
            format!("the server's certificate cannot be used: {}", flaw(other)),
            Hint::CertificateUnusable,
        ),
    }
}

fn flaw(error: &CertificateError) -> String {
    match error {
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::BadSignature => "a signature is wrong",
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnhandledCriticalExtension => {
            "it demands something that is not known here"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for servers"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed in a way that is not held secure any more, or not known here"
        }
        CertificateError::Other(reason) => {
            return match reason.0.downcast_ref::<Unusable>() {
                Some(known) => known.to_string(),
                None => own(&reason.to_string()).to_owned(),
            };
        }
        _ => "it breaks the rules",
    }
    .to_owned()
}

/// What webpki finds, where its names are at hand.
fn own(reason: &str) -> &'static str {
    let known = [
        (
            "UnsupportedCertVersion",
            "it is of an old version: version 3 is needed",
        ),
        ("MaximumSignatureChecksExceeded", "its chain is too long"),
        (
            "PathLenConstraintViolated",
            "its chain is longer than its authority allows",
        ),
        (
            "NameConstraintViolation",
            "its authority may not sign for this name",
        ),
        (
            "EndEntityUsedAsCa",
            "it is signed by one that is no authority",
        ),
    ];
    let found = known.iter().find(|(name, _)| reason.contains(name));
    found.map_or("it breaks the rules", |(_, words)| words)
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
