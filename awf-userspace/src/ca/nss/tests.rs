//! What NSS itself makes of our data base: `certutil` of libnss3-tools.

use std::{fs, path::PathBuf, process::Command};

use rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::ca::{Authority, Leaves};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("awf-nss-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A directory with our data base and nothing else.
    fn ours(name: &str, chain: &[CertificateDer<'static>]) -> Self {
        let dir = Self::new(name);
        fs::write(dir.0.join(FILE), write(chain).unwrap()).unwrap();
        dir
    }

    fn certutil(&self, args: &[&str]) -> String {
        run(Command::new("certutil").args(["-d", &format!("sql:{}", self.0.display())]).args(args))
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Every row, by its class: columns with their values.
    fn rows(&self) -> serde_json::Value {
        const READ: &str = "
import sqlite3, sys, json
c = sqlite3.connect(sys.argv[1]); q = c.execute('select * from nssPublic')
names = [d[0] for d in q.description][1:]
rows = {row[1].hex(): {n: v.hex() for n, v in zip(names, row[1:]) if v is not None} for row in q}
json.dump([c.execute('pragma integrity_check').fetchall(), names, rows], sys.stdout)";
        let file = self.0.join(FILE);
        let out = run(Command::new("/usr/bin/python3").args(["-c", READ]).arg(file));
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let ran = command.output().expect("it is installed");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{out}{said}");
    out
}

/// An organisation's, made by openssl: with this kind of key, its certificate longer by so many bytes.
fn organisations(key: &[&str], more: usize) -> CertificateDer<'static> {
    let dir = Dir::new(&format!("openssl-{more}"));
    let subject = format!("/O=Büro/CN=corporate CA {more}");
    let comment = format!("nsComment={}", "x".repeat(more.max(1)));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "1", "-subj", &subject, "-utf8"]);
    openssl.args(["-addext", &comment, "-newkey"]).args(key);
    run(openssl.args(["-keyout", "/dev/null", "-out"]).arg(dir.0.join("ca.pem")));
    CertificateDer::from_pem_slice(&fs::read(dir.0.join("ca.pem")).unwrap()).unwrap()
}

/// Every row that certutil writes for the same certificate, but for an MD5 that nobody needs.
#[test]
fn rows_are_certutils() {
    let authority = Authority::new("run", None).unwrap();
    let (ours, theirs) = (Dir::ours("rows", authority.chain()), Dir::new("theirs"));
    let der = theirs.file("ca.der", authority.certificate());
    theirs.certutil(&["-N", "--empty-password"]);
    theirs.certutil(&["-A", "-n", "awf-bpf", "-t", "C,,", "-i", &der]);
    let (ours, mut theirs) = (ours.rows(), theirs.rows());
    let md5 = theirs[2]["ce534353"].as_object_mut().unwrap().remove("ace5363b5");
    assert!(md5.is_some());
    assert_eq!(ours, theirs);
}

#[test]
fn nss_believes_a_server_by_it_and_goes_on_writing() {
    let authority = std::sync::Arc::new(Authority::new("run", None).unwrap());
    let dir = Dir::ours("verify", authority.chain());
    let leaves = Leaves::new(std::sync::Arc::clone(&authority)).unwrap();
    let leaf = leaves.get(&crate::policy::Host::parse("allowed.test").unwrap()).unwrap();
    let leaf = dir.file("leaf.der", &leaf.cert[0]);
    dir.certutil(&["-A", "-n", "leaf", "-t", ",,", "-i", &leaf]);
    let verified = dir.certutil(&["-V", "-n", "leaf", "-u", "V"]);
    assert!(verified.contains("certificate is valid"), "{verified}");
    // As an e-mail's signer it is nobody.
    let other = Command::new("certutil").arg("-d").arg(&dir.0).args(["-V", "-n", "leaf", "-u", "S"]).output();
    assert!(!other.unwrap().status.success());
}

#[test]
fn whatever_an_organisations_ca_is_nss_lists_it_with_its_signers() {
    let rsa = organisations(&["rsa:4096"], 0);
    let long = organisations(&["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], 3900);
    let longer = organisations(&["rsa:2048"], 30_000);
    let own = Authority::new("own", None).unwrap().certificate().clone();
    let all = [vec![rsa.clone()], vec![own, rsa, long.clone()], vec![long, longer]];
    for (number, chain) in all.iter().enumerate() {
        let dir = Dir::ours(&format!("list-{number}"), chain);
        // What only reads wants a data base of keys beside it, which what writes makes.
        dir.certutil(&["-M", "-n", "awf-bpf", "-t", "C,,"]);
        let listed = dir.certutil(&["-L"]);
        let believed = listed.lines().filter(|line| line.ends_with("C,,  "));
        assert_eq!(believed.count(), chain.len(), "{listed}");
        for (at, der) in chain.iter().enumerate() {
            let label = if at == 0 { "awf-bpf".to_owned() } else { format!("awf-bpf signer {at}") };
            let pem = dir.certutil(&["-L", "-n", &label, "-a"]);
            assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), *der, "{label}");
        }
    }
}

#[test]
fn what_is_no_certificate_or_too_much_makes_no_data_base() {
    assert!(write(&[CertificateDer::from(b"0".to_vec())]).is_none());
    let many: Vec<_> =
        (0..200).map(|i| Authority::new(&i.to_string(), None).unwrap().certificate().clone()).collect();
    assert!(write(&many).is_none());
}
