//! Variables of every state, and what is taken of them.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::ca::Authority;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("awf-gather-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A file with a certificate of its own.
    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        let der = Authority::new(name, None).unwrap().certificate().clone();
        let mut bundle = Bundle::default();
        bundle.add([&der]);
        fs::write(self.0.join(name), bundle.pem()).unwrap();
        der
    }

    fn look(&self, variables: &[(&str, &str)]) -> Found {
        let value = |value: &str| value.replace('@', self.0.to_str().unwrap()).into();
        let variables = variables.iter().map(|(name, v)| ((*name).into(), value(v))).collect();
        Found::look(&Caller { variables, home: self.0.clone(), path: Vec::new(), here: self.0.clone() })
    }

    /// Warnings that are about this directory.
    fn warned(&self, found: &Found) -> Vec<String> {
        let base = self.0.to_str().unwrap();
        found.warnings.iter().filter(|line| line.contains(base)).map(|line| line.replace(base, "@")).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_the_caller_has_is_taken_from_files_directories_and_relative_paths() {
    let dir = Dir::new("all");
    fs::create_dir(dir.0.join("certs")).unwrap();
    let want = ["node", "curl", "certs/one", "git"].map(|name| dir.certificate(name));
    fs::write(dir.0.join("certs/README"), "nothing").unwrap();
    let found = dir.look(&[
        ("NODE_EXTRA_CA_CERTS", "@/node"),
        ("CURL_CA_BUNDLE", "curl"),
        ("SSL_CERT_DIR", "/none/such:@/certs:"),
        ("GIT_SSL_CAINFO", "@/git"),
        ("REQUESTS_CA_BUNDLE", "@/curl"),
        ("PIP_CERT", ""),
    ]);
    let set = |all: &[CertificateDer<'static>]| all.iter().map(|der| der.to_vec()).collect::<BTreeSet<_>>();
    assert_eq!(set(found.inherited.certificates()), set(&want));
    assert_eq!(found.added.certificates(), &want[..1], "only what adds outside adds inside");
    assert_eq!(dir.warned(&found), Vec::<String>::new());
    assert!(found.files.contains(&dir.0.join("curl")));
}

#[test]
fn what_cannot_be_read_is_warned_of_by_variable_and_path() {
    let dir = Dir::new("bad");
    let good = dir.certificate("good");
    let text = fs::read_to_string(dir.0.join("good")).unwrap();
    fs::write(dir.0.join("half"), format!("-----BEGIN CERTIFICATE-----\nAAAA\n{text}")).unwrap();
    fs::write(dir.0.join("text"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::File::create(dir.0.join("huge")).unwrap().set_len(MOST + 1).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.0.join("fifo"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    let found = dir.look(&[
        ("NODE_EXTRA_CA_CERTS", "@/gone"),
        ("SSL_CERT_FILE", "@/half"),
        ("CURL_CA_BUNDLE", "@/text"),
        ("PIP_CERT", "@/huge"),
        ("AWS_CA_BUNDLE", "@/fifo"),
        ("CONDA_SSL_VERIFY", "false"),
    ]);
    assert_eq!(found.inherited.certificates(), [good]);
    let warned = dir.warned(&found);
    let begins = |begin: &str| warned.iter().any(|line| line.starts_with(begin));
    for begin in [
        "NODE_EXTRA_CA_CERTS=@/gone: No such file",
        "SSL_CERT_FILE=@/half: it holds 1 that are no certificates",
        "CURL_CA_BUNDLE=@/text: it holds no certificate",
        "PIP_CERT=@/huge: it is larger than 8 MiB",
        "AWS_CA_BUNDLE=@/fifo: it is no file",
    ] {
        assert!(begins(begin), "{begin}: {warned:#?}");
    }
    assert_eq!(warned.len(), 5);
    assert!(warned.iter().all(|line| !line.contains("root:x")), "{warned:?}");
}

#[test]
fn this_machine_has_roots_and_their_places() {
    let dir = Dir::new("machine");
    let found = dir.look(&[]);
    if Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
        assert!(found.roots.certificates().len() > 50);
        assert_eq!(found.bundles[0], Path::new("/etc/ssl/certs/ca-certificates.crt"));
        let certs = found.directories.iter().find(|dir| dir.path == Path::new("/etc/ssl/certs")).unwrap();
        assert!(certs.hashed && certs.others.contains(&"ca-certificates.crt".into()));
    }
}

#[test]
fn a_jvms_store_is_read_and_one_that_cannot_be_is_warned_of() {
    let dir = Dir::new("jvm");
    let jvm = |name: &str, content: &[u8]| {
        let path = dir.0.join(name).join("lib/security");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cacerts"), content).unwrap();
        fs::set_permissions(path.join("cacerts"), fs::Permissions::from_mode(0o644)).unwrap();
    };
    let der = dir.certificate("own");
    jvm("good", &jks::write(std::slice::from_ref(&der), 0, None));
    jvm("odd", b"what is this");
    let found = dir.look(&[("JAVA_HOME", "@/good"), ("JAVA_HOME_21_X64", "@/odd")]);
    let of = |name: &str| found.stores.iter().find(|store| store.path.starts_with(dir.0.join(name))).unwrap();
    assert_eq!(of("good").certificates.as_deref(), Some(&[der][..]));
    assert_eq!(of("odd").certificates, None);
    assert_eq!(dir.warned(&found).len(), 1, "{:?}", found.warnings);
}

/// Such a JVM never looks at its own.
#[test]
fn the_store_that_jvms_are_told_of_is_added_to_with_its_password() {
    let dir = Dir::new("options");
    let der = dir.certificate("own");
    fs::write(dir.0.join("corp.jks"), jks::write(std::slice::from_ref(&der), 0, Some("secret"))).unwrap();
    let options = "-Xmx1g -Djavax.net.ssl.trustStore=@/corp.jks -Djavax.net.ssl.trustStorePassword=secret";
    let found =
        dir.look(&[("JAVA_TOOL_OPTIONS", options), ("MAVEN_OPTS", "-Djavax.net.ssl.trustStore=@/gone")]);
    let store = found.stores.iter().find(|store| store.path == dir.0.join("corp.jks")).unwrap();
    assert_eq!(store.certificates.as_deref(), Some(&[der][..]));
    assert_eq!(store.password.as_ref().map(|password| &*password.0), Some("secret"));
    let caller = Caller { variables: [("TOKEN".into(), "secret".into())].into(), ..Caller::default() };
    assert!(!format!("{found:?}{caller:?}").contains("secret"), "what is shown has no secrets");
    let warned = dir.warned(&found);
    assert!(warned.len() == 1 && warned[0].starts_with("MAVEN_OPTS=@/gone: No such file"), "{warned:?}");
}

/// The attack: a link that an earlier command left in HOME, to something that does a thing when it is opened. A socket's
/// own name cannot even be opened, which shows that nobody tries.
#[test]
fn what_is_no_file_is_not_opened() {
    let dir = Dir::new("opened");
    let _socket = std::os::unix::net::UnixListener::bind(dir.0.join("socket")).unwrap();
    std::os::unix::fs::symlink("socket", dir.0.join(".curlrc")).unwrap();
    assert_eq!(file(&dir.0.join(".curlrc")).unwrap_err().to_string(), "it is no file");
}

/// The attack: a directory of links that the next run trusts, and a file that one of them leads to.
#[test]
fn where_a_directory_of_links_leads_decides_too() {
    let dir = Dir::new("links");
    for name in ["certs", "elsewhere"] {
        fs::create_dir(dir.0.join(name)).unwrap();
    }
    dir.certificate("elsewhere/ca");
    dir.certificate("certs/own");
    std::os::unix::fs::symlink("../elsewhere/ca", dir.0.join("certs/0.0")).unwrap();
    std::os::unix::fs::symlink("own", dir.0.join("certs/1.0")).unwrap();
    let found = dir.look(&[("SSL_CERT_DIR", "@/certs")]);
    assert_eq!(found.inherited.certificates().len(), 2);
    assert_eq!(found.files, [dir.0.join("certs"), dir.0.join("certs/0.0")]);
}
