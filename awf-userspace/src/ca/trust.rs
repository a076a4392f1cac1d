//! Everything that makes programs trust the run's CA: files, where they lie over the machine's, and variables. Pure,
//! from what was found; `session` gives it to the jail.

use std::{
    ffi::OsString,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{
    Authority,
    bundle::Bundle,
    gather::{Directory, Found},
    jks, nss,
    subject_hash::subject_hash,
    variables::{self, BUNDLE, CA, DIRECTORY, EXTRA, OF_JVMS, STORE},
};

/// Files of ours in directories that are read whole.
const ANCHOR: &str = "awf-bpf.pem";

/// What the command is given, when something is intercepted.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Files for everybody to read, below [`variables::PLACE`].
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Links, likewise.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Files of the machine, and which of ours lies over each.
    pub over: Vec<Over>,
    /// Directories of the machine that have more in them.
    pub directories: Vec<More>,
    /// [`super::DATA_BASE_FILE`] in [`super::DATA_BASE`], the user's own.
    pub data_base: Option<Vec<u8>>,
    pub variables: Vec<(OsString, OsString)>,
    pub warnings: Vec<String>,
    /// Base64 of the SHA-256 of the CA's public key: what Chromium takes for --ignore-certificate-errors-spki-list.
    pub key_pin: String,
}

/// One file over another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    pub at: PathBuf,
    pub file: PathBuf,
    /// It is a JVM's, which the command's user may be unable to run.
    pub optional: bool,
}

/// A directory as it is, and `ours` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct More {
    pub at: PathBuf,
    pub links: Vec<(OsString, PathBuf)>,
    pub others: Vec<OsString>,
    pub ours: (OsString, PathBuf),
}

impl Trust {
    /// For `authority`, on the machine and for the caller of whom `found` tells.
    #[must_use]
    pub fn new(authority: &Authority, found: &Found) -> Self {
        let mut trust = Self { warnings: found.warnings.clone(), ..Self::default() };
        let chain = authority.chain();
        trust.check_chain(chain, found);
        let all = |first: &[CertificateDer<'static>], more: &[&Bundle]| {
            let mut bundle = Bundle::default();
            bundle.add(first);
            more.iter().for_each(|more| bundle.add(more.certificates()));
            bundle
        };
        // Ours first: who reads one certificate only has the right one.
        let bundle = all(chain, &[&found.roots, &found.inherited]);
        let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        trust.files = vec![
            (CA.into(), all(chain, &[]).pem()),
            (EXTRA.into(), all(chain, &[&found.added]).pem()),
            (BUNDLE.into(), bundle.pem()),
            (STORE.into(), jks::write(bundle.certificates(), made, None)),
        ];
        trust.over = found.bundles.iter().map(|at| over(at.clone(), BUNDLE)).collect();
        trust.stores(chain, found, made);
        let hash = subject_hash(authority.certificate()).unwrap_or_default();
        trust.links.push((PathBuf::from(DIRECTORY).join(format!("{hash}.0")), CA.into()));
        trust.directories = found.directories.iter().map(|directory| more(directory, &hash)).collect();
        let hashed = found.directories.iter().filter(|dir| dir.hashed).map(|dir| dir.path.clone());
        trust.data_base = nss::write(chain);
        if trust.data_base.is_none() {
            let why = "the CA's certificates do not fit into a data base of NSS: Chromium does not trust it";
            trust.warnings.push(why.to_owned());
        }
        trust.variables = variables::environment(&found.variables, &hashed.collect::<Vec<_>>());
        trust.key_pin = key_pin(authority.certificate());
        trust
    }

    /// Each JVM's own certificates and ours; one whose own cannot be told has what the machine trusts.
    fn stores(&mut self, chain: &[CertificateDer<'static>], found: &Found, made: u64) {
        for (number, store) in found.stores.iter().enumerate() {
            let mut bundle = Bundle::default();
            bundle.add(chain);
            match &store.certificates {
                Some(own) => bundle.add(own),
                None => bundle.add(found.roots.certificates().iter().chain(found.inherited.certificates())),
            }
            let file = PathBuf::from(format!("{OF_JVMS}/{number}.jks"));
            let password = store.password.as_ref().map(|password| &*password.0);
            self.files.push((file.clone(), jks::write(bundle.certificates(), made, password)));
            self.over.push(Over { at: store.path.clone(), file, optional: true });
        }
    }

    /// An organisation's CA that another one signed is worth what is known of that one: Java, Go and Node take it for
    /// an anchor, OpenSSL does not.
    fn check_chain(&mut self, chain: &[CertificateDer<'static>], found: &Found) {
        let Some(last) = chain.last().and_then(parsed) else { return };
        let mut roots = found.roots.certificates().iter().chain(found.inherited.certificates());
        let is_issuer = |der: &CertificateDer<'_>| {
            parsed(der).is_some_and(|root| root.subject().as_raw() == last.issuer().as_raw())
        };
        if last.subject().as_raw() != last.issuer().as_raw() && !roots.any(is_issuer) {
            let issuer = last.issuer();
            self.warnings.push(format!(
                "the CA is signed by {issuer}, of which there is no certificate: OpenSSL's clients will not trust it; \
                 append that certificate to the file of the CA's"
            ));
        }
    }

    /// What is left without a root of the command's own, where the machine's files stay: what to say of it.
    #[must_use]
    pub fn of_environment_alone(&self) -> String {
        let java = "-e JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=";
        format!(
            "--chroot off: the CA is known by variables alone ({count} of them). Who reads none does not trust it: \
             programs with GnuTLS (wget, apt), PHP's curl, Java ({java}{STORE}), Chromium \
             (--ignore-certificate-errors-spki-list={pin}), and what starts with an empty environment",
            count = self.variables.len(),
            pin = self.key_pin,
        )
    }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)
}

fn over(at: PathBuf, file: &str) -> Over {
    Over { at, file: file.into(), optional: false }
}

/// The name of ours is one that nothing there has: OpenSSL tries `.0`, `.1` and so on until there is none.
fn more(directory: &Directory, hash: &str) -> More {
    let taken = |name: &OsString| {
        directory.others.contains(name) || directory.links.iter().any(|(known, _)| known == name)
    };
    let hashed = (0..).map(|number| OsString::from(format!("{hash}.{number}"))).find(|name| !taken(name));
    let name = if directory.hashed { hashed.unwrap_or_default() } else { ANCHOR.into() };
    let is_ours = |other: &OsString| *other == name;
    More {
        at: directory.path.clone(),
        links: directory.links.iter().filter(|(other, _)| !is_ours(other)).cloned().collect(),
        others: directory.others.iter().filter(|other| !is_ours(other)).cloned().collect(),
        ours: (name, CA.into()),
    }
}

fn key_pin(certificate: &CertificateDer<'_>) -> String {
    let key = |parsed: X509Certificate<'_>| STANDARD.encode(digest(&SHA256, parsed.public_key().raw));
    parsed(certificate).map(key).unwrap_or_default()
}

#[cfg(test)]
mod tests;
