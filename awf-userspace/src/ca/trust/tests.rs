//! What each file holds, for machines and callers of several kinds.

use std::path::Path;

use super::*;
use crate::ca::{bundle::Contents, gather::Store};

fn made(name: &str) -> CertificateDer<'static> {
    Authority::new(name, None).unwrap().certificate().clone()
}

fn bundle(of: &[&CertificateDer<'static>]) -> Bundle {
    let mut bundle = Bundle::default();
    bundle.add(of.iter().copied());
    bundle
}

fn pem(trust: &Trust, path: &str) -> Vec<CertificateDer<'static>> {
    Contents::of(&file(trust, path)).certificates
}

fn file(trust: &Trust, path: &str) -> Vec<u8> {
    trust.files.iter().find(|(at, _)| at == Path::new(path)).unwrap().1.clone()
}

#[test]
fn each_file_holds_ours_and_what_its_readers_had() {
    let authority = Authority::new("run", None).unwrap();
    let ours = authority.certificate().clone();
    let (root, corporate, added, java) = (made("root"), made("corporate"), made("added"), made("java"));
    let found = Found {
        roots: bundle(&[&root]),
        inherited: bundle(&[&corporate, &root, &added]),
        added: bundle(&[&added]),
        bundles: vec!["/etc/ssl/certs/ca-certificates.crt".into()],
        stores: vec![
            Store { path: "/jvm/a".into(), certificates: Some(vec![java.clone()]), password: None },
            Store { path: "/jvm/b".into(), certificates: None, password: None },
        ],
        ..Found::default()
    };
    let trust = Trust::new(&authority, &found);
    assert_eq!(pem(&trust, CA), std::slice::from_ref(&ours));
    assert_eq!(pem(&trust, EXTRA), [ours.clone(), added.clone()]);
    let all = vec![ours.clone(), root, corporate, added];
    assert_eq!(pem(&trust, BUNDLE), all);
    assert_eq!(jks::read(&file(&trust, STORE)).unwrap(), all);
    let at = |path: &str| trust.over.iter().find(|over| over.at == Path::new(path)).unwrap();
    assert_eq!(jks::read(&file(&trust, at("/jvm/a").file.to_str().unwrap())).unwrap(), [ours, java]);
    assert_eq!(jks::read(&file(&trust, at("/jvm/b").file.to_str().unwrap())).unwrap(), all);
    assert_eq!(at("/etc/ssl/certs/ca-certificates.crt").file, Path::new(BUNDLE));
    assert!(trust.warnings.is_empty(), "{:?}", trust.warnings);
}

#[test]
fn the_hash_link_takes_a_name_that_is_free() {
    let authority = Authority::new("run", None).unwrap();
    let hash = subject_hash(authority.certificate()).unwrap();
    let directory = |hashed, links: &[&str], others: &[&str]| Directory {
        path: "/etc/ssl/certs".into(),
        hashed,
        links: links.iter().map(|name| (name.into(), "x".into())).collect(),
        others: others.iter().map(OsString::from).collect(),
    };
    let name = |directory| {
        let found = Found { directories: vec![directory], ..Found::default() };
        let more = Trust::new(&authority, &found).directories.remove(0);
        (more.ours.0.into_string().unwrap(), more.links.len(), more.others.len())
    };
    assert_eq!(name(directory(true, &[], &["java"])), (format!("{hash}.0"), 0, 1));
    let (first, second) = (format!("{hash}.0"), format!("{hash}.1"));
    assert_eq!(name(directory(true, &[&first], &[&second])), (format!("{hash}.2"), 1, 1));
    // An older one of ours gives way.
    assert_eq!(name(directory(false, &["a.pem"], &[ANCHOR])), (ANCHOR.to_owned(), 1, 0));
}

#[test]
fn a_ca_whose_signer_is_not_known_is_warned_of() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root = params("root").self_signed(&root_key).unwrap();
    let own = params("own").signed_by(&key, &Issuer::new(params("root"), root_key)).unwrap();
    let authority =
        |chain: String| Authority::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let alone = authority(own.pem());
    let warned = |authority: &Authority, found: &Found| Trust::new(authority, found).warnings;
    let lines = warned(&alone, &Found::default());
    assert!(lines.len() == 1 && lines[0].contains("signed by") && lines[0].contains("root"), "{lines:?}");
    let known = Found { inherited: bundle(&[root.der()]), ..Found::default() };
    assert!(warned(&alone, &known).is_empty());
    let whole = authority(own.pem() + &root.pem());
    assert!(warned(&whole, &Found::default()).is_empty());
    let trust = Trust::new(&whole, &Found::default());
    assert_eq!(pem(&trust, CA), [own.der().clone(), root.der().clone()]);
}

#[test]
fn the_pin_is_that_of_the_key() {
    let authority = Authority::new("run", None).unwrap();
    let trust = Trust::new(&authority, &Found::default());
    assert_eq!(STANDARD.decode(&trust.key_pin).unwrap().len(), 32);
    assert!(trust.of_environment_alone().contains(&trust.key_pin));
}
