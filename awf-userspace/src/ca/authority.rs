//! The certificate authority itself.

use std::{fmt, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};
use zeroize::{Zeroize as _, Zeroizing};

/// Clocks of those who check are not ours: certificates are older than they are.
const MARGIN: Duration = Duration::from_secs(60 * 60);
/// For a run without a time limit.
const ENDLESS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("making the session CA: {0}")]
    Make(#[source] rcgen::Error),
    #[error("holds no certificate: a PEM file that begins with -----BEGIN CERTIFICATE----- is expected")]
    NoCertificate,
    #[error("the first certificate cannot be read: {0}")]
    Certificate(String),
    #[error("the first certificate is no CA's (basicConstraints)")]
    NoAuthority,
    #[error("the first certificate may not sign others (keyUsage lacks keyCertSign)")]
    MayNotSign,
    #[error("the first certificate is valid from {from} to {until}, which is not now")]
    OutOfTime { from: String, until: String },
    #[error(
        "the private key cannot be used: {0}; a PEM without a password is expected (openssl pkey -in KEY -out PLAIN takes it off)"
    )]
    Key(String),
    #[error("the private key is not that of the certificate")]
    OtherKey,
}

impl CaError {
    /// Whether it is the private key that is wrong, not the certificate.
    #[must_use]
    pub fn is_the_keys(&self) -> bool {
        matches!(self, Self::Key(_) | Self::OtherKey)
    }
}

/// A CA that signs for this run.
pub struct Authority {
    issuer: Issuer<'static, Secret>,
    /// Itself first, then those that signed it, up to what clients trust.
    chain: Vec<CertificateDer<'static>>,
    until: OffsetDateTime,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one, for a run of at most `limit`: ECDSA on P-256, named after the run so that two are told apart.
    ///
    /// It bears no name constraints: names that are refused are answered with it too, so that the client reads why.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn new(run: &str, limit: Option<Duration>) -> Result<Self, CaError> {
        let now = OffsetDateTime::now_utc();
        let until = now + limit.unwrap_or(ENDLESS) + MARGIN;
        let key = Secret(KeyPair::generate().map_err(CaError::Make)?);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "awf-bpf");
        params.distinguished_name.push(DnType::CommonName, format!("awf-bpf session {run}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (now - MARGIN, until);
        let certificate = params.self_signed(&key).map_err(CaError::Make)?;
        let chain = vec![certificate.der().clone()];
        Ok(Self { issuer: Issuer::new(params, key), chain, until })
    }

    /// An organisation's own, of two PEM texts. `certificates`: its own first.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, CaError> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|e| CaError::Certificate(e.to_string()))?;
        let own = chain.first().ok_or(CaError::NoCertificate)?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|e| CaError::Certificate(e.to_string()))?;
        let key = Secret(read_key(key, parsed.public_key().raw)?);
        let until = check(&parsed, &key)?;
        let issuer = Issuer::from_ca_cert_der(own, key).map_err(|e| CaError::Certificate(e.to_string()))?;
        Ok(Self { issuer, chain, until })
    }

    /// What clients are to trust, DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        // Both constructors put one there.
        &self.chain[0]
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` writes it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.certificate());
        digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// When its certificate ends, and those it signs.
    pub(super) fn until(&self) -> OffsetDateTime {
        self.until
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }
}

/// A private key in any of the forms that openssl writes. `public`: the SubjectPublicKeyInfo it belongs to, which says of
/// what kind it is where the form does not.
fn read_key(pem: &[u8], public: &[u8]) -> Result<KeyPair, CaError> {
    let bad = |error: &dyn fmt::Display| CaError::Key(error.to_string());
    let mut key = PrivateKeyDer::from_pem_slice(pem).map_err(|e| bad(&e))?;
    let pkcs8 = match &key {
        PrivateKeyDer::Pkcs8(key) => Zeroizing::new(key.secret_pkcs8_der().to_vec()),
        other => Zeroizing::new(as_pkcs8(other.secret_der(), public).map_err(|e| bad(&e))?),
    };
    key.zeroize();
    KeyPair::try_from(pkcs8.as_slice()).map_err(|e| bad(&e))
}

/// What OneAsymmetricKey (RFC 5958 section 2) is made of: the algorithm, which a certificate names in the same way, and
/// an RSAPrivateKey (RFC 8017) or ECPrivateKey (RFC 5915).
fn as_pkcs8(key: &[u8], public: &[u8]) -> yasna::ASN1Result<Vec<u8>> {
    let algorithm = yasna::parse_der(public, |reader| {
        reader.read_sequence(|reader| {
            let algorithm = reader.next().read_der()?;
            reader.next().read_der().map(|_| algorithm)
        })
    })?;
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            writer.next().write_der(&algorithm);
            writer.next().write_bytes(key);
        });
    }))
}

/// Whether `certificate` may sign for others now, with `key`; until when.
fn check(certificate: &X509Certificate<'_>, key: &Secret) -> Result<OffsetDateTime, CaError> {
    if !certificate.is_ca() {
        return Err(CaError::NoAuthority);
    }
    let usage = certificate.key_usage().map_err(|e| CaError::Certificate(e.to_string()))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(CaError::MayNotSign);
    }
    let validity = certificate.validity();
    if !validity.is_valid() {
        let (from, until) = (validity.not_before.to_string(), validity.not_after.to_string());
        return Err(CaError::OutOfTime { from, until });
    }
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(CaError::OtherKey);
    }
    Ok(validity.not_after.to_datetime())
}

/// A private key whose bytes are overwritten when it is dropped.
struct Secret(KeyPair);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Secret {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Secret {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

#[cfg(test)]
mod tests;
