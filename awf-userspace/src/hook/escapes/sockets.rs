//! Unix sockets of services that begin processes, or ask the network, for whoever may connect.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use super::Escape;
use crate::hook::account::{Account, has_acl};

/// A name, paths (`{uid}` is the user's), what it does for a step, and what closes it.
type Service = (&'static str, &'static [&'static str], &'static str, &'static str);

const SERVICES: [Service; 5] = [
    (
        "containers",
        &[
            "/run/docker.sock",
            "/var/run/docker.sock",
            "/run/user/{uid}/docker.sock",
            "/run/podman/podman.sock",
            "/run/user/{uid}/podman/podman.sock",
            "/run/containerd/containerd.sock",
            "/run/crio/crio.sock",
            "/run/buildkit/buildkitd.sock",
        ],
        "a container is in the daemon's cgroup, not in the job's",
        "take the user out of the socket's group (gpasswd -d USER docker), or do without the daemon",
    ),
    (
        "machines",
        &[
            "/var/lib/lxd/unix.socket",
            "/var/snap/lxd/common/lxd/unix.socket",
            "/var/lib/incus/unix.socket",
            "/run/libvirt/libvirt-sock",
            "/run/snapd.socket",
        ],
        "a machine or a service of theirs is not in the job's cgroup",
        "take the user out of the socket's group",
    ),
    (
        "user manager",
        &["/run/user/{uid}/systemd/private", "/run/user/{uid}/bus"],
        "systemd-run --user begins processes in a cgroup of its own",
        "loginctl disable-linger USER, and let nobody log in as the runner's user",
    ),
    (
        "name services",
        &[
            "/run/systemd/resolve/io.systemd.Resolve",
            "/run/nscd/socket",
            "/var/run/nscd/socket",
            "/run/avahi-daemon/socket",
        ],
        "it asks the network for any name, whatever the policy says, and a name carries data out",
        "systemctl mask --now the service, or close its socket to the user",
    ),
    (
        "proxies of others",
        &["/run/user/{uid}/gnupg/S.dirmngr", "/run/acpid.socket", "/run/cups/cups.sock"],
        "it connects to where a client says",
        "stop the service, or close its socket to the user",
    ),
];

pub(super) fn look(account: &Account) -> Vec<Escape> {
    SERVICES.iter().map(|service| one(account, service)).collect()
}

fn one(account: &Account, (name, paths, does, remedy): &Service) -> Escape {
    let paths = paths.iter().map(|path| path.replace("{uid}", &account.uid.to_string()));
    let mut open: Vec<_> = paths.filter(|path| may_connect(account, Path::new(path))).collect();
    // /var/run is /run.
    open.dedup_by(|a, b| a.strip_prefix("/var") == Some(b));
    if open.is_empty() {
        return Escape::closed(name, format!("no socket of theirs takes {}", account.name));
    }
    let found = format!("{} may connect to {}: {does}", account.name, open.join(", "));
    Escape::open(name, found, remedy.replace("USER", &account.name))
}

/// Connecting takes write permission on the socket, and search permission on the way (unix(7)).
pub(super) fn may_connect(account: &Account, path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let Ok(meta) = fs::metadata(&real) else { return false };
    let open = |dir: &Path| fs::metadata(dir).is_ok_and(|meta| may_search(account, &meta, has_acl(dir)));
    meta.file_type().is_socket()
        && account.may_write(&meta, has_acl(&real))
        && real.ancestors().skip(1).all(open)
}

fn may_search(account: &Account, meta: &fs::Metadata, has_acl: bool) -> bool {
    let mode = meta.mode();
    meta.uid() == account.uid
        || (mode & 0o010 != 0 && (has_acl || account.groups.contains(&meta.gid())))
        || mode & 0o001 != 0
}

/// vsock(7), by which a virtual machine speaks to its host: no program on a cgroup sees a socket of that family. Where there
/// is a device the kernel has it; without one it leads nowhere.
pub(super) fn vsock() -> Escape {
    const NAME: &str = "vsock";
    const REMEDY: &str =
        "take the machine's vsock device away; or, in /etc/modprobe.d, install vsock /bin/false";
    match fs::read_to_string("/proc/net/protocols") {
        Ok(text) if has_vsock(&text) => {
            Escape::open(NAME, "a step may speak to the host of this virtual machine", REMEDY)
        }
        Ok(_) => Escape::closed(NAME, "the kernel has none"),
        Err(e) => Escape::unknown(NAME, format!("/proc/net/protocols: {e}"), REMEDY),
    }
}

/// Whether the family is in the kernel's list of protocols.
pub(super) fn has_vsock(protocols: &str) -> bool {
    protocols.lines().any(|line| line.split_whitespace().next() == Some("AF_VSOCK"))
}
