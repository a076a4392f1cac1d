//! The lab's machine: what a host looks like that trusts the lab's CA, asks the lab's DNS server and has the
//! command's user in its passwd. Only the machine's own mount namespace sees it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::mount_bind;

use crate::{
    hosts,
    ns::Namespace,
    tools,
    workdir::{UID, WorkDir},
};

/// The user's name for [`UID`].
pub const USER: &str = "runner";

/// A machine without links yet.
pub(crate) fn new(dir: &WorkDir, ca_pem: &str) -> Namespace {
    let machine = Namespace::machine();
    let user = format!("{USER}:x:{UID}:{UID}:lab:{}:/bin/bash\n", dir.home().display());
    let files = [
        ("/etc/resolv.conf", format!("nameserver {}\nnameserver {}\n", hosts::DNS_V4, hosts::DNS_V6)),
        ("/etc/passwd", read("/etc/passwd") + &user),
        ("/etc/group", read("/etc/group") + &format!("{USER}:x:{UID}:\n")),
    ];
    let etc = dir.root().join("etc");
    for (path, content) in files {
        let replacement = etc.join(Path::new(path).file_name().expect("it has one"));
        fs::write(&replacement, content).unwrap_or_else(|e| panic!("write {}: {e}", replacement.display()));
        cover(&machine, Path::new(path), &replacement);
    }
    cover(&machine, Path::new("/etc/ssl/certs"), &certificates(&etc, ca_pem));
    machine
}

/// A trust store as Debian lays it out: one bundle, and a file for each CA named by its subject's hash.
fn certificates(etc: &Path, ca_pem: &str) -> PathBuf {
    let dir = etc.join("certs");
    fs::create_dir_all(dir.join("java")).expect("make the trust store");
    let bundle = dir.join("ca-certificates.crt");
    fs::write(&bundle, ca_pem).expect("write the CA bundle");
    let mut openssl = Command::new(tools::require("openssl"));
    let hash = tools::succeed(openssl.args(["x509", "-noout", "-hash", "-in"]).arg(&bundle));
    fs::write(dir.join(format!("{}.0", hash.trim())), ca_pem).expect("write the CA by its hash");
    dir
}

/// Puts `replacement` over `path`, on this machine only.
///
/// # Panics
/// If `path` does not exist.
pub fn cover(machine: &Namespace, path: &Path, replacement: &Path) {
    machine.within(|| {
        let target = path.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        mount_bind(replacement, &target).unwrap_or_else(|e| panic!("cover {}: {e}", target.display()));
    });
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
