//! The certificate authority of the lab and a certificate for each of its names.

use std::{collections::HashMap, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::hosts;

/// A CA trusted by the lab's machine and by nobody else.
#[derive(Clone, Debug)]
pub struct Pki {
    ca_pem: String,
    leaves: Arc<Leaves>,
}

#[derive(Debug)]
struct Leaves(HashMap<String, Arc<CertifiedKey>>);

impl Pki {
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("make the CA's key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "awf-bpf lab CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = params.self_signed(&key).expect("sign the CA").pem();
        let issuer = Issuer::new(params, key);
        let names = hosts::HOSTS
            .iter()
            .map(|h| h.name)
            .chain(hosts::ALIASES.iter().chain(hosts::BEHIND_PROXY).map(|a| a.0));
        let leaves = names.map(|name| (name.to_owned(), leaf(name, &issuer))).collect();
        Self { ca_pem, leaves: Arc::new(Leaves(leaves)) }
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// TLS 1.2 and 1.3; the certificate follows SNI, and a ClientHello without a known name is refused.
    #[must_use]
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.leaves) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.get(hello.server_name()?).cloned()
    }
}

fn leaf(name: &str, issuer: &Issuer<'_, KeyPair>) -> Arc<CertifiedKey> {
    let key = KeyPair::generate().expect("make a leaf's key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("the name is a DNS name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer).expect("sign a leaf");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("ring signs with P-256");
    Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
}
