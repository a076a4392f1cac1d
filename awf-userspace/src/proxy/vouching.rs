//! Who vouches for a server: a chain to one of this host's roots; or itself, if its very certificate is among them, as it
//! is of servers that people sign by hand (`openssl req -x509` makes it a CA's, which no chain may end with).

use std::{collections::HashSet, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, ExtendedKeyPurpose, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, time::ASN1Time};

#[derive(Debug)]
pub(super) struct Vouching {
    /// None without roots, which the library does not take.
    chains: Option<Arc<WebPkiServerVerifier>>,
    known: HashSet<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Vouching {
    /// By `known`; those that can begin a chain do.
    pub(super) fn new(known: HashSet<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(known.iter().cloned());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Self { chains: chains.build().ok(), known, provider: Arc::clone(provider) }
    }
}

impl ServerCertVerifier for Vouching {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Err(CertificateError::UnknownIssuer.into());
        let by_chain = self
            .chains
            .as_ref()
            .map_or_else(unknown, |chains| chains.verify_server_cert(own, between, name, ocsp, now));
        if by_chain.is_ok() || !self.known.contains(own) {
            return by_chain;
        }
        by_itself(own, name, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, own, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, own, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is left to look at in a certificate that is trusted as such: its time, its names, its use.
fn by_itself(
    own: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let (_, parsed) = X509Certificate::from_der(own).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = i64::try_from(now.as_secs()).map_err(|_| Error::FailedToGetCurrentTime)?;
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| Error::FailedToGetCurrentTime)?;
    let validity = parsed.validity();
    if now < validity.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after {
        return Err(CertificateError::Expired.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        let required = ExtendedKeyPurpose::ServerAuth;
        return Err(CertificateError::InvalidPurposeContext { required, presented: Vec::new() }.into());
    }
    verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// As `openssl req -x509` makes it for `self.test`, but for what `change` changes.
    fn by_hand(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["self.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn verify(known: &[&CertificateDer<'static>], own: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let vouching = Vouching::new(known.iter().map(|known| (*known).clone()).collect(), &provider);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        vouching.verify_server_cert(own, &[], &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn a_certificate_that_is_known_as_such_vouches_for_itself_and_its_names_only() {
        let (own, other) = (by_hand(|_| {}), by_hand(|_| {}));
        assert_eq!(verify(&[&own], &own, "self.test"), Ok(()));
        assert_eq!(verify(&[&other, &own], &own, "self.test"), Ok(()));
        for (known, name) in [(&[][..], "self.test"), (&[&other], "self.test"), (&[&own], "other.test")] {
            let error = verify(known, &own, name).unwrap_err();
            assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
        }
        // It is no CA for others by being its own.
        assert!(verify(&[&own], &other, "self.test").is_err());
    }

    #[test]
    fn its_time_and_its_use_count() {
        let at = |days: i64| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let seconds = now.as_secs().cast_signed() + days * DAY.as_secs().cast_signed();
            time::OffsetDateTime::from_unix_timestamp(seconds).unwrap()
        };
        for (from, until) in [(-9, -1), (1, 9)] {
            let own = by_hand(|params| (params.not_before, params.not_after) = (at(from), at(until)));
            assert!(verify(&[&own], &own, "self.test").is_err(), "{from} to {until}");
        }
        for (usage, fits) in
            [(ExtendedKeyUsagePurpose::ServerAuth, true), (ExtendedKeyUsagePurpose::ClientAuth, false)]
        {
            let own = by_hand(|params| params.extended_key_usages = vec![usage]);
            assert_eq!(verify(&[&own], &own, "self.test").is_ok(), fits);
        }
    }
}
