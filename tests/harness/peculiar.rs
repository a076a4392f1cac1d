//! Origins that are not as they should be, each under a name of its own: certificates that nobody must accept,
//! servers that want certificates of clients, and single versions of TLS and HTTP.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, Certificate, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use crate::pki::{self, Pki};

/// Signed by the lab's CA unless it is said otherwise; all of them lead to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peculiarity {
    Expired,
    NotYetValid,
    /// By nobody but itself.
    SelfSigned,
    OtherName,
    /// By [`Peculiar::stranger_pem`].
    Stranger,
    /// It says that it is a CA.
    Authority,
    /// For clients only.
    ForClients,
    /// TLS without a client's certificate fails.
    Mutual,
    /// The same in TLS 1.2, where the client hears of it during the handshake.
    Mutual12,
    /// A client's certificate is asked for, and the request answered 403 without.
    Asks,
    Tls12,
    Tls13,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
}

use Peculiarity::*;

/// Names and what is wrong with each.
const NAMES: &[(&str, Peculiarity)] = &[
    ("expired.test", Expired),
    ("early.test", NotYetValid),
    ("selfsigned.test", SelfSigned),
    ("misnamed.test", OtherName),
    ("stranger.test", Stranger),
    ("authority.test", Authority),
    ("forclients.test", ForClients),
    ("mutual.test", Mutual),
    ("mutual12.test", Mutual12),
    ("asks.test", Asks),
    ("tls12.test", Tls12),
    ("tls13.test", Tls13),
    ("http1.test", Http1),
    ("http2.test", Http2),
];

/// Where all of them lead.
pub(crate) const HOST: &str = "fallback.test";

/// Whether the lab knows `name`, and by this.
#[must_use]
pub(crate) fn is_known(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

/// Whether a request to `name` is answered only if its client has shown a certificate.
#[must_use]
pub(crate) fn asks(name: Option<&str>) -> bool {
    NAMES.iter().any(|(known, how)| Some(*known) == name && *how == Asks)
}

/// The configurations of these servers.
#[derive(Clone, Debug)]
pub struct Peculiar {
    configs: Arc<HashMap<&'static str, Arc<ServerConfig>>>,
    stranger_pem: String,
    self_signed_pem: String,
    client_pem: String,
}

impl Peculiar {
    pub(crate) fn new(issuer: &Issuer<'_, KeyPair>, ca: &Certificate) -> Self {
        let (stranger, stranger_pem) = stranger();
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).expect("the lab's CA is one");
        let verifier = |optional: bool| -> Arc<dyn ClientCertVerifier> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider);
            let builder = if optional { builder.allow_unauthenticated() } else { builder };
            builder.build().expect("there is a root")
        };
        let mut self_signed_pem = String::new();
        let config = |(name, how): &(&'static str, Peculiarity)| {
            let signed_by = if *how == Stranger { &stranger } else { issuer };
            let (leaf, pem) = leaf(name, *how, signed_by);
            if *how == SelfSigned {
                self_signed_pem = pem;
            }
            let versions: &[&SupportedProtocolVersion] = match how {
                Mutual12 | Tls12 => &[&TLS12],
                Tls13 => &[&TLS13],
                _ => rustls::ALL_VERSIONS,
            };
            let client = match how {
                Mutual | Mutual12 => Some(verifier(false)),
                Asks => Some(verifier(true)),
                _ => None,
            };
            let alpn: &[&[u8]] = match how {
                Http1 => &[b"http/1.1"],
                Http2 => &[b"h2"],
                _ => &[b"h2", b"http/1.1"],
            };
            (*name, server(versions, client, alpn, leaf))
        };
        let configs = NAMES.iter().map(config).collect();
        Self { configs: Arc::new(configs), stranger_pem, self_signed_pem, client_pem: client(issuer) }
    }

    /// The server of `name`, if it is one of these.
    pub(crate) fn config(&self, name: &str) -> Option<Arc<ServerConfig>> {
        self.configs.get(name).cloned()
    }

    /// A CA that nobody trusts: `stranger.test` is signed by it.
    #[must_use]
    pub fn stranger_pem(&self) -> &str {
        &self.stranger_pem
    }

    /// A certificate that servers take who ask clients for one, and its key.
    #[must_use]
    pub fn client_pem(&self) -> &str {
        &self.client_pem
    }

    /// The certificate of `selfsigned.test`.
    #[must_use]
    pub fn self_signed_pem(&self) -> &str {
        &self.self_signed_pem
    }
}

fn client(issuer: &Issuer<'_, KeyPair>) -> String {
    let key = KeyPair::generate().expect("make a key");
    let mut params = pki::leaf_params("client.test");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.signed_by(&key, issuer).expect("sign the client's certificate").pem() + &key.serialize_pem()
}

fn stranger() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().expect("make a key");
    let params = Pki::ca_params("a stranger's CA");
    let pem = params.self_signed(&key).expect("sign the stranger's CA").pem();
    (Issuer::new(params, key), pem)
}

fn server(
    versions: &[&'static SupportedProtocolVersion],
    client: Option<Arc<dyn ClientCertVerifier>>,
    alpn: &[&[u8]],
    leaf: Arc<CertifiedKey>,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider knows TLS 1.2 and 1.3");
    let builder = match client {
        Some(client) => builder.with_client_cert_verifier(client),
        None => builder.with_no_client_auth(),
    };
    let resolver = rustls::sign::SingleCertAndKey::from(Arc::unwrap_or_clone(leaf));
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

fn leaf(name: &str, how: Peculiarity, issuer: &Issuer<'_, KeyPair>) -> (Arc<CertifiedKey>, String) {
    let day = Duration::from_secs(24 * 60 * 60);
    let now = std::time::SystemTime::now();
    let mut params = pki::leaf_params(if how == OtherName { "allowed.test" } else { name });
    match how {
        Expired => (params.not_before, params.not_after) = ((now - 2 * day).into(), (now - day).into()),
        NotYetValid => (params.not_before, params.not_after) = ((now + day).into(), (now + 2 * day).into()),
        Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        ForClients => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        _ => {}
    }
    let key = KeyPair::generate().expect("make a leaf's key");
    let certificate = match how {
        SelfSigned => params.self_signed(&key),
        _ => params.signed_by(&key, issuer),
    };
    let certificate: Certificate = certificate.expect("sign a leaf");
    (pki::certified(&certificate, &key), certificate.pem())
}
