//! Java's key stores, as far as they hold certificates: JKS written and read, PKCS #12 without encryption read (what JDKs
//! since 18 have). By hand: it is thirty lines, and every crate for it brings ciphers along.
//!
//! JKS is what every JDK from 8 on loads, whatever its default type is: sun.security.provider.KeyStoreDelegator looks at
//! the magic. Format: sun/security/provider/JavaKeyStore.java, `engineStore`.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, FromDer as _, Oid, Tag};

use super::bundle::is_certificate;

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
/// An entry that is a private key with its chain.
const KEY: u32 = 1;
/// An entry that is a certificate to be trusted.
const CERTIFICATE: u32 = 2;
/// Of every JDK's own; it protects against accidents only.
const PASSWORD: &str = "changeit";
/// Part of what is digested, since JDK 1.2.
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// Bytes of the digest at the end.
const DIGEST: usize = 20;

/// PKCS #7 data (RFC 2315), PKCS #12 certBag and x509Certificate (RFC 7292).
const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const CERT_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];

/// Why the certificates of a key store are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoreError {
    #[error(
        "it is encrypted: only stores whose certificates are readable without a password can be added to"
    )]
    Encrypted,
    #[error("it is neither a JKS nor a PKCS #12 store")]
    Unknown,
    #[error("it ends early, or says of itself what cannot be")]
    Malformed,
}

/// A JKS store that trusts `certificates`. `made`: milliseconds since 1970, what it says of every entry's age.
/// `password`: what JVMs were told that it is, if they were told one.
pub(super) fn write(certificates: &[CertificateDer<'static>], made: u64, password: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    let count = u32::try_from(certificates.len()).unwrap_or(u32::MAX);
    [MAGIC, VERSION, count].iter().for_each(|word| out.extend(word.to_be_bytes()));
    for (number, certificate) in certificates.iter().enumerate() {
        out.extend(CERTIFICATE.to_be_bytes());
        text(&mut out, &format!("awf-bpf-{number:04}"));
        out.extend(made.to_be_bytes());
        text(&mut out, "X.509");
        out.extend(u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(certificate);
    }
    let seal = seal(&out, password.unwrap_or(PASSWORD));
    out.extend(seal);
    out
}

/// As `DataOutputStream.writeUTF`, for ASCII.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

fn seal(body: &[u8], password: &str) -> Vec<u8> {
    let mut all: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    all.extend(WHITENER);
    all.extend(body);
    digest(&SHA1_FOR_LEGACY_USE_ONLY, &all).as_ref().to_vec()
}

/// The certificates that `store` trusts.
///
/// # Errors
/// When they cannot be told; also when it is broken, of which nothing is taken.
pub(super) fn read(store: &[u8]) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    if store.starts_with(&MAGIC.to_be_bytes()) {
        read_jks(store).ok_or(StoreError::Malformed)
    } else if store.first() == Some(&0x30) {
        read_pkcs12(store)
    } else {
        Err(StoreError::Unknown)
    }
}

fn read_jks(store: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut rest = Rest(store.get(..store.len().checked_sub(DIGEST)?)?);
    let (_magic, version, count) = (rest.word()?, rest.word()?, rest.word()?);
    let mut found = Vec::new();
    for _ in 0..count {
        let tag = rest.word()?;
        rest.text()?;
        rest.take(8)?;
        match tag {
            CERTIFICATE => found.push(rest.certificate(version)?),
            KEY => {
                rest.long()?;
                for _ in 0..rest.word()? {
                    rest.certificate(version)?;
                }
            }
            _ => return None,
        }
    }
    let all_good = (1..=VERSION).contains(&version) && rest.0.is_empty();
    found.retain(|der| is_certificate(der));
    all_good.then_some(found)
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.take(2).and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)))?;
        self.take(length.into())
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.word()?;
        self.take(length.try_into().ok()?)
    }

    /// Version 1 does not name the type.
    fn certificate(&mut self, version: u32) -> Option<CertificateDer<'static>> {
        if version > 1 {
            self.text()?;
        }
        self.long().map(|der| CertificateDer::from(der.to_vec()))
    }
}

/// Of RFC 7292: PFX, its AuthenticatedSafe, the SafeContents in it, their CertBags. Depth is fixed, nothing recurses.
fn read_pkcs12(store: &[u8]) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let mut pfx = items(store).ok_or(StoreError::Malformed)?.into_iter();
    let safe = pfx.nth(1).ok_or(StoreError::Malformed)?;
    let safe = data(&safe)?;
    let mut found = Vec::new();
    for contents in items(&safe).ok_or(StoreError::Malformed)? {
        for bag in items(&data(&contents)?).ok_or(StoreError::Malformed)? {
            found.extend(certificate_of(&bag).filter(|der| is_certificate(der)));
        }
    }
    Ok(found)
}

/// What is in the `OCTET STRING` of a ContentInfo.
fn data(content_info: &[u8]) -> Result<Vec<u8>, StoreError> {
    let parts = items(content_info).ok_or(StoreError::Malformed)?;
    let [kind, content] = &parts[..] else { return Err(StoreError::Malformed) };
    if !is_oid(kind, DATA) {
        return Err(StoreError::Encrypted);
    }
    octets_within(content).ok_or(StoreError::Malformed)
}

fn certificate_of(bag: &[u8]) -> Option<CertificateDer<'static>> {
    let parts = items(bag)?;
    if !is_oid(parts.first()?, CERT_BAG) {
        return None;
    }
    let (_, value) = Any::from_der(parts.get(1)?).ok()?;
    let parts = items(value.data)?;
    let is_x509 = is_oid(parts.first()?, X509);
    is_x509.then(|| octets_within(parts.get(1)?).map(CertificateDer::from)).flatten()
}

/// The elements of a `SEQUENCE`, each with its header.
fn items(der: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (_, outer) = Any::from_der(der).ok()?;
    outer.tag().eq(&Tag::Sequence).then_some(())?;
    let (mut rest, mut found) = (outer.data, Vec::new());
    while !rest.is_empty() {
        let (after, _) = Any::from_der(rest).ok()?;
        found.push(rest[..rest.len() - after.len()].to_vec());
        rest = after;
    }
    Some(found)
}

/// Of `[0] EXPLICIT OCTET STRING`.
fn octets_within(tagged: &[u8]) -> Option<Vec<u8>> {
    let (_, outer) = Any::from_der(tagged).ok()?;
    let (_, inner) = Any::from_der(outer.data).ok()?;
    inner.tag().eq(&Tag::OctetString).then(|| inner.data.to_vec())
}

fn is_oid(der: &[u8], wanted: &[u64]) -> bool {
    Oid::from_der(der).is_ok_and(|(_, oid)| Oid::from(wanted).is_ok_and(|wanted| wanted == oid))
}

#[cfg(test)]
mod tests;
