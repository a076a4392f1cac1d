//! Paths CMD must not see: an empty read-only tmpfs over a directory, /dev/null over anything else.
//!
//! The path is opened once, symlinks followed, and the mount is made on what was opened; afterwards the path is
//! walked again and must lead to the cover. A process of the user that moves a symlink meanwhile gets an error,
//! not a gap.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};

use super::error::JailError;
use super::identity::Identity;
use super::trust::TrustFiles;

const COVER: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Devices that send packets past every socket: a tap of the user's own, RDMA, a virtual machine's network.
const DEVICES: [&str; 4] = ["/dev/net", "/dev/infiniband", "/dev/vhost-net", "/dev/vhost-vsock"];

/// Services that act for whoever connects to them, by default: container engines, the system's and the user's
/// managers and buses, name services (glibc asks nscd and systemd-resolved before it opens a socket of its own),
/// terminal multiplexers and displays, in which a command could be typed. Not `/run/systemd` as a whole:
/// `/etc/resolv.conf` often points into it.
pub fn services(uid: u32) -> Vec<PathBuf> {
    let below_run = SERVICES_IN_RUN.iter().flat_map(|name| {
        // /var/run may be a directory of its own and not a link.
        [Path::new("/run").join(name), Path::new("/var/run").join(name)]
    });
    let elsewhere = SERVICES_ELSEWHERE.iter().map(PathBuf::from);
    let own = [format!("/tmp/tmux-{uid}"), format!("/tmp/screens/S-{uid}")].map(PathBuf::from);
    let devices = DEVICES.iter().map(PathBuf::from);
    below_run.chain(elsewhere).chain(own).chain(devices).collect()
}

#[rustfmt::skip]
const SERVICES_IN_RUN: &[&str] = &[
    "awf-bpf", "user",
    "docker.sock", "docker", "containerd", "podman", "crio", "buildkit", "libvirt", "lxd.socket", "incus",
    "dbus", "systemd/private", "systemd/machine", "systemd/userdb", "snapd.socket", "snapd-snap.socket",
    "nscd", "systemd/resolve/io.systemd.Resolve", "systemd/resolve/io.systemd.Resolve.Monitor", "avahi-daemon",
    "screen", "cups", "pcscd",
];

#[rustfmt::skip]
const SERVICES_ELSEWHERE: &[&str] = &[
    "/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket", "/var/lib/incus/unix.socket",
    "/var/lib/sss/pipes", "/tmp/.X11-unix", "/tmp/.ICE-unix",
    // No service: records, which whoever called sudo may read.
    "/var/log/awf-bpf",
];

/// What is made beneath the covers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Below<'a> {
    pub(super) home: Option<&'a Path>,
    pub(super) trust: Option<&'a TrustFiles>,
}

/// Covers every path of `hide` that exists, and makes what shall be `below` one of the covers.
pub(super) fn apply(
    hide: &[PathBuf],
    sockets: &[PathBuf],
    below: &Below<'_>,
    user: &Identity,
) -> Result<(), JailError> {
    let mut covers: Vec<Cover> = Vec::new();
    for path in hide.iter().chain(sockets.iter().filter(|path| is_socket(path))) {
        if let Some(cover) = cover(path, &covers)? {
            covers.push(cover);
        }
    }
    if let Some(home) = below.home {
        make_home(home, &covers, user)?;
    }
    if let Some(trust) = below.trust {
        trust.write(|path| covers.iter().any(|cover| path != cover.path && path.starts_with(&cover.path)))?;
    }
    covers.iter().try_for_each(Cover::freeze)
}

/// A tmpfs of ours, still writable.
struct Cover {
    path: PathBuf,
    root: OwnedFd,
    device: u64,
}

impl Cover {
    fn freeze(&self) -> Result<(), JailError> {
        mount_remount(proc_path(&self.root), MountFlags::BIND | MountFlags::RDONLY | COVER, c"")
            .map_err(|e| hide_error(&self.path, "remount read-only", e))
    }
}

/// How often a socket may be exchanged while it is covered: services that start again do that once.
const TRIES: u32 = 16;

/// `None` when nothing is there, or it is covered already, or the cover is a file's.
fn cover(path: &Path, covers: &[Cover]) -> Result<Option<Cover>, JailError> {
    for _ in 0..TRIES {
        if let Some(done) = try_cover(path, covers)? {
            return Ok(done);
        }
    }
    Err(JailError::HideRaced { path: path.into() })
}

/// `None` when a file was exchanged meanwhile.
fn try_cover(path: &Path, covers: &[Cover]) -> Result<Option<Option<Cover>>, JailError> {
    let Some((target, stat)) = open(path)? else { return Ok(Some(None)) };
    let null = rustix::fs::stat("/dev/null").map_err(|e| hide_error(path, "stat /dev/null", e))?;
    let is_null = |stat: &Stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == null.st_rdev
    };
    if is_null(&stat) || covers.iter().any(|cover| cover.device == stat.st_dev) {
        return Ok(Some(None));
    }
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_dir {
        mount("tmpfs", proc_path(&target), "tmpfs", COVER, c"mode=0755,size=64k,nr_inodes=16")
            .map_err(|e| hide_error(path, "mount tmpfs", e))?;
    } else {
        mount_bind("/dev/null", proc_path(&target)).map_err(|e| hide_error(path, "bind /dev/null", e))?;
    }
    match (open(path)?, is_dir) {
        (Some((root, now)), true) if is_empty_tmpfs(&root, &stat, &now) => {
            Ok(Some(Some(Cover { path: path.into(), root, device: now.st_dev })))
        }
        (_, true) => Err(JailError::HideRaced { path: path.into() }),
        (Some((_, now)), false) if !is_null(&now) => Ok(None),
        // A socket that is gone is as one that never was.
        (_, false) => Ok(Some(None)),
    }
}

/// What cannot be looked at is covered, or fails to be.
fn is_socket(path: &Path) -> bool {
    match rustix::fs::lstat(path) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Socket,
        Err(_) => true,
    }
}

fn is_empty_tmpfs(root: &OwnedFd, before: &Stat, now: &Stat) -> bool {
    /// `TMPFS_MAGIC` of `linux/magic.h`.
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let is_tmpfs = rustix::fs::fstatfs(root).is_ok_and(|fs| fs.f_type == TMPFS_MAGIC);
    // A new tmpfs has a device number of its own, even over another tmpfs such as /run.
    is_tmpfs && now.st_dev != before.st_dev && now.st_uid == 0
}

fn open(path: &Path) -> Result<Option<(OwnedFd, Stat)>, JailError> {
    let fd = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(hide_error(path, "open", error)),
    };
    let stat = fstat(&fd).map_err(|e| hide_error(path, "fstat", e))?;
    Ok(Some((fd, stat)))
}

/// A home directory that only `user` can enter. The covers around it are still writable, and root's.
fn make_home(home: &Path, covers: &[Cover], user: &Identity) -> Result<(), JailError> {
    let fail = |action, source: io::Error| JailError::Home { path: home.into(), action, source };
    if !covers.iter().any(|cover| home != cover.path && home.starts_with(&cover.path)) {
        return Err(JailError::HomeOutside { path: home.into() });
    }
    std::fs::create_dir_all(home).map_err(|e| fail("create the directory", e))?;
    let options = CString::new(format!("mode=0700,uid={},gid={}", user.uid, user.gid))
        .expect("digits and punctuation contain no NUL");
    mount("tmpfs", home, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())
        .map_err(|e| fail("mount tmpfs", e.into()))
}

fn proc_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn hide_error(path: &Path, action: &'static str, source: Errno) -> JailError {
    JailError::Hide { path: path.into(), action, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_outside_every_cover_is_refused() {
        let user = Identity::bare(4242, 4242);
        let below = Below { home: Some(Path::new("/nowhere/home")), ..Below::default() };
        let result = apply(&[], &[], &below, &user);
        assert!(matches!(result, Err(JailError::HomeOutside { .. })));
    }

    #[test]
    fn the_users_own_services_are_listed() {
        let all = services(4242);
        for path in [
            "/dev/net",
            "/run/docker.sock",
            "/var/run/docker.sock",
            "/run/nscd",
            "/run/user",
            "/tmp/tmux-4242",
        ] {
            assert!(all.contains(&PathBuf::from(path)), "{path}");
        }
    }
}
