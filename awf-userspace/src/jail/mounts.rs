//! Namespaces of the process, and what the whole mount table needs: no propagation, cgroup file systems read-only.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::error::JailError;
use super::rootfs::MountPoint;
use crate::sys::namespace;

/// Enters the run's network namespace; `expected` and no descriptor is an error, never the host's network.
pub(super) fn enter_network(netns: Option<OwnedFd>, expected: bool) -> Result<(), JailError> {
    match (netns, expected) {
        (None, false) => Ok(()),
        (Some(netns), true) => move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| JailError::EnterNetns(e.into())),
        _ => Err(JailError::NoNetns),
    }
}

/// Enters cgroups of v1; v2's was given at birth.
pub(super) fn join(cgroups: &[PathBuf]) -> Result<(), JailError> {
    for path in cgroups {
        std::fs::write(path.join("cgroup.procs"), "0")
            .map_err(|source| JailError::Join { path: path.clone(), source })?;
    }
    Ok(())
}

/// A mount table of its own, cut off from the host's in both directions, and System V and POSIX IPC of its own; for
/// a root of its own (`with_root`) also its name and the cgroup it is in as the topmost one.
pub(super) fn private_view(with_root: bool) -> Result<(), JailError> {
    let root = UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    let more = if with_root { root } else { UnshareFlags::empty() };
    namespace::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWIPC | more).map_err(JailError::Unshare)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|e| JailError::Propagation(e.into()))
}

/// Makes every reachable cgroup file system read-only: CMD must not move to another cgroup, whoever owns it.
/// Not hidden: JVMs and Node read their limits there. So with that of security modules, which have files that everybody
/// may write to: by TOMOYO's self_domain (security/tomoyo/securityfs_if.c) a process moves where its policy lets it.
pub(super) fn freeze_kernel_fs() -> Result<(), JailError> {
    let table = std::fs::read("/proc/self/mountinfo").map_err(JailError::MountInfo)?;
    for path in kernel_mounts(&table) {
        freeze(&path).map_err(|e| JailError::Freeze { path, source: e.into() })?;
    }
    Ok(())
}

fn freeze(path: &Path) -> rustix::io::Result<()> {
    /// `CGROUP_SUPER_MAGIC`, `CGROUP2_SUPER_MAGIC` and `SECURITYFS_MAGIC` of `linux/magic.h`.
    const MAGICS: [i64; 3] = [0x0027_e0eb, 0x6367_7270, 0x7363_6673];
    let is_on_top = |path: &Path| match rustix::fs::statfs(path) {
        Ok(fs) => Ok(MAGICS.contains(&fs.f_type)),
        // Beneath another mount: no path leads there.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error),
    };
    if !is_on_top(path)? {
        return Ok(());
    }
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::RELATIME;
    mount_remount(path, flags, c"")?;
    if rustix::fs::statvfs(path)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        Ok(())
    } else {
        Err(rustix::io::Errno::BUSY)
    }
}

/// An empty devpts over every one there is: the caller's terminals belong to CMD's user, who could read them, type
/// into them and change their modes.
pub(super) fn cover_terminals() -> Result<(), JailError> {
    let table = std::fs::read("/proc/self/mountinfo").map_err(JailError::MountInfo)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    for pts in mount_table(&table).into_iter().filter(|mount| mount.fs_type == "devpts") {
        match mount("devpts", &pts.at, "devpts", flags, DEVPTS) {
            // Beneath another mount: no path leads there.
            Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
            Err(e) => {
                let source = e.into();
                return Err(JailError::Hide { path: pts.at, action: "mount devpts", source });
            }
        }
    }
    Ok(())
}

/// As `root` mounts it.
const DEVPTS: &std::ffi::CStr = c"ptmxmode=0666,mode=0620,gid=5";

/// Mount points of cgroup (v1 and v2) file systems.
fn kernel_mounts(table: &[u8]) -> Vec<PathBuf> {
    let is_one = |mount: &MountPoint| matches!(&*mount.fs_type, "cgroup" | "cgroup2" | "securityfs");
    mount_table(table).into_iter().filter(is_one).map(|mount| mount.at).collect()
}

/// What a mountinfo table says (proc_pid_mountinfo(5)); lines that cannot be understood are skipped.
pub(super) fn mount_table(table: &[u8]) -> Vec<MountPoint> {
    table.split(|byte| *byte == b'\n').filter_map(mount_point).collect()
}

fn mount_point(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let device = text(fields.nth(2)?);
    let (root, at) = (unescape(fields.next()?), unescape(fields.next()?));
    let fs_type = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    Some(MountPoint { at, fs_type, device, root })
}

/// Blanks, tabs, newlines and backslashes are written as `\ooo`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                path.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_whatever_their_names() {
        let table = b"24 1 0:22 / /sys rw - sysfs sysfs rw\n\
            30 24 0:26 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n\
            31 24 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            32 24 0:28 / /odd\\040name\\134 rw - cgroup2 none rw\n\
            33 24 0:29 / /cgroup2 rw - tmpfs cgroup2 rw\n\
            34 24 0:7 / /sys/kernel/security rw - securityfs securityfs rw\n\
            broken\n";
        let want = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/odd name\\", "/sys/kernel/security"]
            .map(PathBuf::from);
        assert_eq!(kernel_mounts(table), want);
    }

    #[test]
    fn a_missing_namespace_is_never_the_hosts() {
        assert!(matches!(enter_network(None, true), Err(JailError::NoNetns)));
    }
}
