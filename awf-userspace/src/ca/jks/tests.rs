//! Stores of ours as Java reads them, and Java's as we do.

use std::{path::PathBuf, process::Command};

use super::*;
use crate::ca::Authority;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("awf-jks-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn made(count: usize) -> Vec<CertificateDer<'static>> {
    (0..count).map(|i| Authority::new(&i.to_string(), None).unwrap().certificate().clone()).collect()
}

fn keytool(args: &[&str]) -> String {
    let ran = Command::new("keytool").args(args).output().expect("a JDK is installed");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn java_lists_what_was_written_and_we_read_it() {
    let all = made(3);
    let store = write(&all, 1_700_000_000_000, None);
    assert_eq!(read(&store).unwrap(), all);
    let dir = Dir::new("list");
    let path = dir.file("cacerts", &store);
    let listed = keytool(&["-list", "-keystore", &path, "-storepass", PASSWORD]);
    assert!(listed.contains("contains 3 entries") && listed.contains("awf-bpf-0002, "), "{listed}");
    assert_eq!(listed.matches("trustedCertEntry").count(), 3, "{listed}");
}

#[test]
fn a_password_of_the_callers_opens_it() {
    let dir = Dir::new("password");
    let path = dir.file("store", &write(&made(1), 0, Some("of müller")));
    let listed = keytool(&["-list", "-keystore", &path, "-storepass", "of müller"]);
    assert!(listed.contains("contains 1 entry"), "{listed}");
}

#[test]
fn an_empty_store_is_one() {
    assert_eq!(read(&write(&[], 0, None)), Ok(Vec::new()));
}

/// As JDKs from 18 on ship theirs, and as keytool makes them by default.
#[test]
fn pkcs12_is_read_unless_it_is_encrypted() {
    let dir = Dir::new("p12");
    let all = made(2);
    let path = dir.0.join("store").to_str().unwrap().to_owned();
    let fill = |more: &[&str]| {
        let _ = std::fs::remove_file(&path);
        for (number, der) in all.iter().enumerate() {
            let (alias, file) = (format!("a{number}"), dir.file(&format!("{number}.der"), der));
            let mut args = more.to_vec();
            args.extend(["-importcert", "-noprompt", "-storetype", "PKCS12", "-storepass", PASSWORD]);
            args.extend(["-keystore", &path, "-alias", &alias, "-file", &file]);
            keytool(&args);
        }
        read(&std::fs::read(&path).unwrap())
    };
    let plain = ["-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE", "-J-Dkeystore.pkcs12.macAlgorithm=NONE"];
    assert_eq!(fill(&plain), Ok(all.clone()));
    assert_eq!(fill(&plain[..1]), Ok(all.clone()), "with an integrity check, which is not ours to make");
    assert_eq!(fill(&[]), Err(StoreError::Encrypted));
}

#[test]
fn what_is_cut_or_is_something_else_is_refused() {
    let store = write(&made(1), 0, None);
    for end in 0..store.len() {
        assert!(read(&store[..end]).is_err(), "{end}");
    }
    for (at, byte) in [(4, 9), (11, 2), (11, 0), (15, 3)] {
        let mut store = store.clone();
        store[at] = byte;
        assert_eq!(read(&store), Err(StoreError::Malformed), "{at}");
    }
    for other in [&b"PK\x03\x04"[..], b"-----BEGIN CERTIFICATE-----", b"\xce\xce\xce\xce\0\0\0\x02"] {
        assert_eq!(read(other), Err(StoreError::Unknown));
    }
    for der in [&b"0\x80"[..], b"0\x03\x02\x01\x03", b"0\x84\xff\xff\xff\xff", b"0"] {
        assert!(read(der).is_err());
    }
}

/// The store of a Debian JDK, if there is one.
#[test]
fn this_machines_store_is_read_whole() {
    let Ok(store) = std::fs::read("/etc/ssl/certs/java/cacerts") else { return };
    let count = u32::from_be_bytes(store[8..12].try_into().unwrap());
    assert_eq!(read(&store).unwrap().len(), count as usize);
}
