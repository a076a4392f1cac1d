//! The certificate authority of the lab and a certificate for each of its names.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{hosts, peculiar::Peculiar};

/// A CA trusted by the lab's machine and by nobody else.
#[derive(Clone, Debug)]
pub struct Pki {
    ca_pem: String,
    leaves: Arc<Leaves>,
    peculiar: Peculiar,
}

#[derive(Debug)]
struct Leaves {
    names: HashMap<String, Arc<CertifiedKey>>,
    /// For every address of the lab, and for localhost.
    addresses: Arc<CertifiedKey>,
}

impl Pki {
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("make the CA's key");
        let params = Self::ca_params("awf-bpf lab CA");
        let ca = params.self_signed(&key).expect("sign the CA");
        let issuer = Issuer::new(params, key);
        let names = hosts::HOSTS
            .iter()
            .map(|h| h.name)
            .chain(hosts::ALIASES.iter().chain(hosts::BEHIND_PROXY).map(|a| a.0));
        let names = names.map(|name| (name.to_owned(), leaf(leaf_params(name), &issuer))).collect();
        let mut params = leaf_params("localhost");
        let addresses = hosts::HOSTS.iter().flat_map(hosts::Host::addrs);
        params.subject_alt_names.extend(addresses.chain(LOOPBACK).map(SanType::IpAddress));
        let leaves = Leaves { names, addresses: leaf(params, &issuer) };
        let peculiar = Peculiar::new(&issuer, &ca);
        Self { ca_pem: ca.pem(), leaves: Arc::new(leaves), peculiar }
    }

    pub(crate) fn ca_params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// The CA certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Servers that are not as they should be.
    #[must_use]
    pub fn peculiar(&self) -> &Peculiar {
        &self.peculiar
    }

    /// TLS 1.2 and 1.3; the certificate follows SNI. Without one it is that of all addresses, and a ClientHello with an
    /// unknown name is refused.
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

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            None | Some("localhost") => Some(Arc::clone(&self.addresses)),
            Some(name) => self.names.get(name).cloned(),
        }
    }
}

pub(crate) fn leaf_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("the name is a DNS name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn leaf(params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Arc<CertifiedKey> {
    let key = KeyPair::generate().expect("make a leaf's key");
    certified(&params.signed_by(&key, issuer).expect("sign a leaf"), &key)
}

pub(crate) fn certified(certificate: &Certificate, key: &KeyPair) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("ring signs with P-256");
    Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
}
