//! `--tls` and what goes with it.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::Case;
use crate::{
    config::{TlsMode, TlsPlan},
    policy::Host,
};

fn plan(flags: &[&str]) -> TlsPlan {
    Case::new(flags).resolved().plan.tls
}

/// A CA as PEM, with its key.
fn ca() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn nothing_is_intercepted_unless_it_is_said() {
    assert_eq!(plan(&[]).mode, TlsMode::Off);
    assert_eq!(plan(&["--tls", "off"]).mode, TlsMode::Off);
    assert_eq!(plan(&["--tls", "deny-only"]).mode, TlsMode::DenyOnly);
    for flags in [&["--tls", "on"][..], &["--ssl-bump"], &["--ssl-bump", "--tls", "on"]] {
        assert_eq!(plan(flags).mode, TlsMode::On, "{flags:?}");
    }
    assert_eq!(
        Case::new(&["--ssl-bump", "--tls", "deny-only"]).texts(),
        ["--ssl-bump is --tls on, and --tls says deny-only; leave one of the two out"]
    );
}

#[test]
fn what_is_excluded_is_so_on_every_port_unless_one_is_named() {
    let plan =
        plan(&["--tls", "on", "--tls-exclude", "a.test,=b.test:8443", "--tls-exclude", "203.0.113.0/24"]);
    let is = |host: &str, port| plan.exclude().contains(&Host::parse(host).unwrap(), port);
    assert!(is("a.test", 443) && is("sub.a.test", 9443));
    assert!(is("b.test", 8443) && !is("b.test", 443) && !is("sub.b.test", 8443));
    assert!(is("203.0.113.9", 443) && !is("198.51.100.9", 443) && !is("c.test", 443));
    assert!(!TlsPlan::default().exclude().contains(&Host::parse("a.test").unwrap(), 443));
    let wrong = Case::new(&["--tls", "on", "--tls-exclude", "a.test/path"]).texts();
    assert!(wrong[0].starts_with("--tls-exclude: \"a.test/path\" has a path"), "{wrong:?}");
    let unused = Case::new(&["--tls", "deny-only", "--tls-exclude", "a.test"]).texts();
    assert_eq!(
        unused,
        ["--tls-exclude is about what is intercepted with --tls on; add --tls on, or leave it out"]
    );
}

#[test]
fn an_organisations_ca_is_read_and_its_key_is_nobodys_to_see() {
    let (certificate, key) = ca();
    let flags = ["--tls", "on", "--ca-cert", "ca.pem", "--ca-key", "keys/ca.key"];
    let case = |certificate: &str, key: &str| Case::new(&flags).file("ca.pem", certificate).key(key);
    let plan = case(&certificate, &key).resolved().plan;
    assert!(plan.jail.secrets.contains(&"keys/ca.key".into()));
    assert!(plan.jail.decisive.contains(&"ca.pem".into()));
    let fingerprint = plan.tls.authority.as_ref().expect("a CA").fingerprint();
    let shown = plan.to_string();
    assert!(shown.contains("tls        on\n"), "{shown}");
    assert!(shown.contains(&format!("ca         {fingerprint}\n")), "{shown}");
    let body = key.lines().nth(1).unwrap();
    assert!(!shown.contains(body) && !format!("{plan:?}").contains(body));

    let (_, other) = ca();
    assert_eq!(
        case(&certificate, &other).texts(),
        ["--ca-key keys/ca.key: the private key is not that of the certificate"]
    );
    assert!(case("", &key).texts()[0].starts_with("--ca-cert ca.pem: holds no certificate"));
    assert!(
        case(&certificate, "x").texts()[0]
            .starts_with("--ca-key keys/ca.key: the private key cannot be used")
    );
}
