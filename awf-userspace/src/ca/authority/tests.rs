//! What an authority is made of, and which are refused.

use std::{process::Command, sync::Arc, time::SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, PKCS_ED25519};

use super::*;
use crate::{ca::Leaves, policy::Host};

fn parsed(authority: &Authority) -> X509Certificate<'_> {
    X509Certificate::from_der(authority.certificate()).unwrap().1
}

#[test]
fn it_lives_as_long_as_the_run_and_a_little() {
    for (limit, least) in [(Some(Duration::from_secs(600)), 600), (None, ENDLESS.as_secs() as i64)] {
        let authority = Authority::new("0123", limit).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
        let certificate = parsed(&authority);
        let left = certificate.validity().not_after.timestamp() - now;
        assert!((least..=least + MARGIN.as_secs() as i64).contains(&left), "{left}");
        assert!(certificate.validity().not_before.timestamp() <= now - MARGIN.as_secs() as i64 + 60);
        assert!(certificate.is_ca() && certificate.subject().to_string().contains("awf-bpf session 0123"));
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert_eq!(constraints.value.path_len_constraint, Some(0));
    }
}

#[test]
fn two_runs_have_two_of_them() {
    let [one, two] = ["a", "a"].map(|run| Authority::new(run, None).unwrap());
    assert_ne!(one.fingerprint(), two.fingerprint());
    assert_eq!(one.fingerprint().len(), 32 * 3 - 1);
}

/// Nothing of the key is in what is shown of it.
#[test]
fn what_is_printed_of_it_holds_no_key() {
    let authority = Authority::new("a", None).unwrap();
    let shown = format!("{authority:?}");
    assert!(shown.starts_with("Authority { until: ") && !shown.contains("key"), "{shown}");
}

/// Certificate and key of a CA, changed by `change`.
fn own(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn an_organisations_own_is_taken_with_its_chain() {
    let root = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_pem = params.self_signed(&root).unwrap().pem();
    let root = Issuer::new(params, root);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let pem = params.signed_by(&key, &root).unwrap().pem();
    let both = format!("{pem}{root_pem}");
    let authority = Authority::from_pem(both.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(authority.chain().len(), 2);
    // Of another kind than ours, too.
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
}

/// openssl's words for keys of both kinds, in the forms that it writes by itself and on request.
#[test]
fn keys_of_every_form_are_taken() {
    let dir = std::env::temp_dir().join(format!("awf-ca-key-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (make, begins) in [
        ("openssl ecparam -name prime256v1 -genkey -noout -out key", "EC PRIVATE KEY"),
        ("openssl ecparam -name secp384r1 -genkey -out key", "EC PARAMETERS"),
        ("openssl genrsa -traditional -out key 2048", "RSA PRIVATE KEY"),
        ("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key", "PRIVATE KEY"),
    ] {
        let script =
            format!("{make} && openssl req -x509 -new -key key -subj /CN=own -days 2 -out certificate");
        let out = Command::new("sh").args(["-c", &script]).current_dir(&dir).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let [key, certificate] = ["key", "certificate"].map(|name| std::fs::read(dir.join(name)).unwrap());
        assert!(key.starts_with(format!("-----BEGIN {begins}-----").as_bytes()));
        let authority = Authority::from_pem(&certificate, &key).unwrap();
        let leaf = Leaves::new(Arc::new(authority)).unwrap().get(&Host::parse("x.test").unwrap());
        assert!(leaf.is_ok(), "{make}");
        let (_, other) = own(|_| {});
        assert!(matches!(Authority::from_pem(&certificate, other.as_bytes()), Err(CaError::OtherKey)));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_cannot_sign_is_refused_with_its_reason() {
    let long_ago = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(60 * 60 * 24 * 365);
    let (good, key) = own(|_| {});
    let (_, other_key) = own(|_| {});
    let leaf = own(|params| params.is_ca = IsCa::ExplicitNoCa);
    let mute = own(|params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let old = own(|params| (params.not_before, params.not_after) = (long_ago, long_ago + MARGIN));
    let refused = |certificate: &str, key: &str| {
        Authority::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err()
    };
    assert!(matches!(refused("", &key), CaError::NoCertificate));
    assert!(matches!(refused(&key, &key), CaError::NoCertificate));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(refused(broken, &key), CaError::Certificate(_)));
    assert!(matches!(refused(&good, &good), CaError::Key(_)));
    let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(matches!(refused(&good, &locked), CaError::Key(_)));
    assert!(matches!(refused(&good, &other_key), CaError::OtherKey));
    assert!(matches!(refused(&leaf.0, &leaf.1), CaError::NoAuthority));
    assert!(matches!(refused(&mute.0, &mute.1), CaError::MayNotSign));
    assert!(matches!(refused(&old.0, &old.1), CaError::OutOfTime { .. }));
}
