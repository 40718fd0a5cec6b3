//! Whether a server is the one that it should be.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use crate::certificate::Fields;
use crate::explain::Unusable;

/// Trusts the authorities of the platform and those that were given; and a certificate that was given
/// itself.
///
/// The latter is for what `openssl req -x509` makes: a certificate of an authority, which webpki takes
/// for no server's. Who gives such a certificate trusts its key for more than one server already. It
/// has to be the same byte for byte, within its dates and for the server's name, and the server proves
/// by the handshake's signature that it has its key.
#[derive(Debug)]
pub struct Verifier {
    given: Vec<CertificateDer<'static>>,
    /// None when there are no authorities at all.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Trusts these.
    ///
    /// # Errors
    ///
    /// When a certificate that was given cannot be used as that of an authority.
    pub fn new(
        platform: RootCertStore,
        given: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Verifier, Error> {
        let mut roots = platform;
        for certificate in &given {
            roots.add(certificate.clone())?;
        }
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Ok(Verifier {
            given,
            authorities: builder.build().ok(),
            provider,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.given.iter().any(|given| given == end) {
            check_dates(end, now)?;
            verify_server_name(&ParsedCertificate::try_from(end)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let Some(authorities) = &self.authorities else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        authorities
            .verify_server_cert(end, rest, name, ocsp, now)
            .map_err(|error| named(error, end))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
        .map_err(|error| named(error, certificate))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
        .map_err(|error| named(error, certificate))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn check_dates(certificate: &[u8], now: UnixTime) -> Result<(), Error> {
    let validity = Fields::of(certificate).and_then(|fields| fields.validity());
    let (from, to) = validity.ok_or(CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < from {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > to {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Names the key, where that is what keeps a signature from being checked.
fn named(error: Error, certificate: &[u8]) -> Error {
    let concerns_key = match &error {
        Error::InvalidCertificate(error) => !matches!(
            error,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::UnknownIssuer
        ),
        Error::PeerIncompatible(_) | Error::PeerMisbehaved(_) => true,
        _ => false,
    };
    let key = Fields::of(certificate).and_then(|fields| fields.unusable_key());
    match key.filter(|_| concerns_key) {
        Some(what) => {
            let other = OtherError(Arc::new(Unusable(what)));
            CertificateError::Other(other).into()
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    /// What `openssl req -x509 -addext subjectAltName=DNS:localhost` makes.
    fn own(host: &str, years: (i32, i32)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    /// The verdict on the first of these, where the second are given and the third the platform's.
    fn verdict(
        shown: &CertificateDer<'_>,
        given: &[&CertificateDer<'static>],
        platform: &[&CertificateDer<'static>],
    ) -> Result<(), CertificateError> {
        let mut roots = RootCertStore::empty();
        for root in platform {
            roots.add((*root).clone()).unwrap();
        }
        let given = given.iter().map(|given| (*given).clone()).collect();
        let verifier = Verifier::new(roots, given, Arc::new(ring::default_provider())).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        // The first of January 2026.
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));
        match verifier.verify_server_cert(shown, &[], &name, &[], now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    const NOW: (i32, i32) = (2025, 2030);

    #[test]
    fn a_certificate_that_was_given_is_trusted_although_it_is_an_authority_s() {
        let (certificate, other) = (own("localhost", NOW), own("localhost", NOW));
        assert_eq!(verdict(&certificate, &[&certificate], &[]), Ok(()));
        assert_eq!(
            verdict(&certificate, &[&other, &certificate], &[&other]),
            Ok(())
        );
    }

    #[test]
    fn one_with_another_key_date_or_name_is_refused_and_so_is_one_of_the_system() {
        let (certificate, other) = (own("localhost", NOW), own("localhost", NOW));
        assert!(
            verdict(&other, &[&certificate], &[]).is_err(),
            "another key"
        );
        assert!(
            verdict(&certificate, &[], &[&certificate]).is_err(),
            "the system's"
        );
        assert!(verdict(&certificate, &[], &[]).is_err(), "nobody's");
        let mut changed = certificate.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert!(
            verdict(&changed.into(), &[&certificate], &[]).is_err(),
            "changed"
        );
        let old = own("localhost", (2020, 2026));
        assert_eq!(verdict(&old, &[&old], &[]), Ok(()), "to the last second");
        let old = own("localhost", (2020, 2025));
        assert_eq!(verdict(&old, &[&old], &[]), Err(CertificateError::Expired));
        let early = own("localhost", (2027, 2030));
        assert_eq!(
            verdict(&early, &[&early], &[]),
            Err(CertificateError::NotValidYet)
        );
        let elsewhere = own("example.com", NOW);
        assert!(matches!(
            verdict(&elsewhere, &[&elsewhere], &[]),
            Err(CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName)
        ));
    }
}
