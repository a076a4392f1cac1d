//! Where machines keep what their programs trust: Debian and Ubuntu, RHEL and Fedora, Alpine, openSUSE, Arch, Gentoo,
//! NixOS, Linuxbrew; and where JVMs are. `*` stands for any name.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Bundles in PEM. The first that holds any certificate is what this machine trusts.
pub(super) const BUNDLES: &[&str] = &[
    // Debian, Ubuntu, Alpine, Arch, Gentoo, NixOS.
    "/etc/ssl/certs/ca-certificates.crt",
    // RHEL, Fedora, Amazon Linux, NixOS.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-bundle.crt",
    // openSUSE.
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    // Arch.
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    // Alpine, Arch.
    "/etc/ssl/cert.pem",
    "/etc/ssl1.1/cert.pem",
    // OpenSSL's own default, as built.
    "/usr/lib/ssl/cert.pem",
    "/usr/local/ssl/cert.pem",
    "/home/linuxbrew/.linuxbrew/etc/ca-certificates/cert.pem",
    "/home/linuxbrew/.linuxbrew/etc/openssl@3/cert.pem",
];

/// Directories in which OpenSSL looks for `HASH.0`.
pub(super) const HASHED: &[&str] = &[
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted/pem/directory-hash",
    "/usr/local/ssl/certs",
    "/home/linuxbrew/.linuxbrew/etc/openssl@3/certs",
];

/// Directories of which p11-kit takes every file: GnuTLS and NSS ask it on RHEL, Fedora, openSUSE and Arch.
pub(super) const ANCHORS: &[&str] = &[
    "/etc/pki/ca-trust/source/anchors",
    "/etc/pki/trust/anchors",
    "/etc/ca-certificates/trust-source/anchors",
];

/// Key stores that JVMs of the machine share.
const STORES: &[&str] = &[
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/var/lib/ca-certificates/java-cacerts",
    "/etc/ca-certificates/extracted/java-cacerts.jks",
];

/// What `JAVA_HOME` would be.
const JVMS: &[&str] = &[
    "/usr/lib/jvm/*",
    "/usr/lib64/jvm/*",
    "/usr/java/*",
    "/opt/*",
    "/opt/java/*",
    "/opt/hostedtoolcache/Java_*/*/*",
];
const JVMS_IN_HOME: &[&str] = &[
    ".sdkman/candidates/java/*",
    ".jdks/*",
    ".gradle/jdks/*",
    ".asdf/installs/java/*",
    ".local/share/mise/installs/java/*",
];
const JVMS_IN_TOOL_CACHE: &str = "Java_*/*/*";

/// Below such a home; `jssecacerts` is read instead of `cacerts` where it exists.
const STORES_OF_JVM: &[&str] = &[
    "lib/security/cacerts",
    "jre/lib/security/cacerts",
    "lib/security/jssecacerts",
    "jre/lib/security/jssecacerts",
];

/// Names looked at in one directory.
const MOST: usize = 512;

/// Every key store of a JVM, links followed, each once. `homes` are what variables say, `path` is PATH.
pub(super) fn stores(
    homes: &[PathBuf],
    tool_caches: &[PathBuf],
    home: &Path,
    path: &[PathBuf],
) -> BTreeSet<PathBuf> {
    let mut jvms = homes.to_vec();
    jvms.extend(JVMS.iter().flat_map(|pattern| expand(Path::new(pattern))));
    jvms.extend(JVMS_IN_HOME.iter().flat_map(|pattern| expand(&home.join(pattern))));
    jvms.extend(tool_caches.iter().flat_map(|cache| expand(&cache.join(JVMS_IN_TOOL_CACHE))));
    jvms.extend(path.iter().filter_map(|dir| jvm_of(&dir.join("java"))));
    let own = jvms.iter().flat_map(|jvm| STORES_OF_JVM.iter().map(|store| jvm.join(store)));
    let all = STORES.iter().map(PathBuf::from).chain(own);
    all.filter_map(|path| fs::canonicalize(path).ok()).filter(|path| path.is_file()).collect()
}

/// `/opt/jdk` of `/usr/local/bin/java -> /opt/jdk/bin/java`.
fn jvm_of(java: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(java).ok()?.parent()?.parent()?.to_owned())
}

/// The paths that fit `pattern`, of which a component is a name, `*`, or begins with a name and ends with `*`.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let star = match part {
            Component::Normal(name) => name.to_str().and_then(|name| name.strip_suffix('*')),
            _ => None,
        };
        found = match star {
            None => found.into_iter().map(|path| path.join(part)).collect(),
            Some(prefix) => found.iter().flat_map(|dir| below(dir, prefix)).take(MOST).collect(),
        };
    }
    found
}

fn below(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let names = names(dir).unwrap_or_default().into_iter();
    let fit = names.filter(|name| name.to_string_lossy().starts_with(prefix));
    fit.map(|name| dir.join(name)).collect()
}

/// What is in `dir`, sorted, up to a bound.
pub(super) fn names(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(dir)?.take(4 * MOST);
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn jvms_are_found_by_variables_tool_caches_home_and_path() {
        let base = std::env::temp_dir().join(format!("awf-places-{}", std::process::id()));
        let store = |jvm: &str| {
            let path = base.join(jvm).join("lib/security/cacerts");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"").unwrap();
            path
        };
        let want = [
            store("named"),
            store("cache/Java_Temurin/21.0.1/x64"),
            store("home/.jdks/corretto"),
            store("elsewhere"),
        ];
        let other = store("cache/Node/21/x64");
        fs::create_dir_all(base.join("elsewhere/bin")).unwrap();
        fs::create_dir_all(base.join("bin")).unwrap();
        fs::write(base.join("elsewhere/bin/java"), b"").unwrap();
        symlink(base.join("elsewhere/bin/java"), base.join("bin/java")).unwrap();
        let of = |name: &str| vec![base.join(name)];
        let found = stores(&of("named"), &of("cache"), &base.join("home"), &of("bin"));
        assert!(want.iter().all(|path| found.contains(path)) && !found.contains(&other), "{found:?}");
        fs::remove_dir_all(&base).unwrap();
    }
}
