//! The certificates of intercepted hosts: one each, for exactly what the client dials, be it a name, an address of
//! either family or `localhost`.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::{CertifiedKey, SigningKey},
};
use time::OffsetDateTime;

use super::{Authority, CaError};
use crate::policy::Host;

/// How many are kept; the oldest is made again when it is needed.
const MOST: usize = 4096;
/// The longest commonName (RFC 5280 appendix A, ub-common-name); what counts is subjectAltName anyway.
const COMMON_NAME: usize = 64;
/// Clocks of those who check are not ours.
const MARGIN: Duration = Duration::from_secs(60 * 60);

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("making a certificate for {host}: {source}")]
pub struct LeafError {
    host: Host,
    source: rcgen::Error,
}

/// The certificates of one run. All have the same key: what it protects ends here.
pub struct Leaves {
    authority: Arc<Authority>,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    by_host: HashMap<Host, Arc<CertifiedKey>>,
    /// The oldest first.
    order: VecDeque<Host>,
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaves").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Leaves {
    /// # Errors
    /// When there are no random numbers.
    pub fn new(authority: Arc<Authority>) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(CaError::Make)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = rustls::crypto::ring::sign::any_supported_type(&der);
        let signing = signing.map_err(|e| CaError::Key(e.to_string()))?;
        Ok(Self { authority, key, signing, made: Mutex::default() })
    }

    /// The certificate for `host`, with the chain up to the CA.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn get(&self, host: &Host) -> Result<Arc<CertifiedKey>, LeafError> {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made().by_host.get(host) {
            return Ok(Arc::clone(known));
        }
        // Signing takes a while: others are not kept from what is there. Twice the same does no harm.
        let leaf = self.make(host).map_err(|source| LeafError { host: host.clone(), source })?;
        let leaf = Arc::new(leaf);
        let mut made = made();
        if made.by_host.insert(host.clone(), Arc::clone(&leaf)).is_none() {
            made.order.push_back(host.clone());
        }
        if made.order.len() > MOST
            && let Some(oldest) = made.order.pop_front()
        {
            made.by_host.remove(&oldest);
        }
        Ok(leaf)
    }

    fn make(&self, host: &Host) -> Result<CertifiedKey, rcgen::Error> {
        let text = host.to_string();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![match host {
            Host::Name(_) => SanType::DnsName(text.as_str().try_into()?),
            Host::Ip(ip) => SanType::IpAddress(*ip),
        }];
        params.distinguished_name = DistinguishedName::new();
        if text.len() <= COMMON_NAME {
            params.distinguished_name.push(DnType::CommonName, text);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        params.not_before = OffsetDateTime::now_utc() - MARGIN;
        params.not_after = self.authority.until();
        let mut chain = vec![self.authority.sign(&params, &self.key)?];
        chain.extend_from_slice(self.authority.chain());
        Ok(CertifiedKey::new(chain, Arc::clone(&self.signing)))
    }
}

/// 126 random bits: two certificates of one CA never share a number, which Firefox refuses.
fn serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive and of full length (RFC 5280 section 4.1.2.2).
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
