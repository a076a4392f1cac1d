//! Builds the root that was planned, in a mount namespace of our own, and enters it.
//!
//! Everything goes by descriptors: a source is opened without following any link and cloned; a mount point is opened
//! beneath the new root, likewise. Whoever swaps a path for a link meanwhile gets an error, not a mount elsewhere.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    FileType, Mode, OFlags, RawMode, ResolveFlags, fchown, fstat, mkdirat, mknodat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use rustix::process::{Gid, Uid, chdir, fchdir, pivot_root, umask};

use super::error::JailError;
use super::rootfs::{Inode, KernelFs, RootfsPlan, Step};
use crate::sys::mount_attr::{self, NODEV, NOSUID, RDONLY};

const NO_LINKS: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS);
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_EMPTY_PATH);
/// Exists everywhere, and nothing is bound from it: here the new root lies until it is entered.
const PLACE: &str = "/proc";
/// Percent of memory for our own few directories and links.
const ROOT_SIZE: u8 = 1;
/// `tty` on Debian and its kin, and what glibc's grantpt(3) expects.
const TTY_GROUP: &str = "5";

/// Builds what `plan` says and makes it the root of this process; the host's mounts are out of reach afterwards.
/// Needs a mount namespace of our own, and the pid namespace whose /proc it shall be.
pub(super) fn enter(plan: &RootfsPlan) -> Result<(), JailError> {
    // The caller's mask must not close what CMD needs.
    let mask = umask(Mode::empty());
    let mut building = Building::begin()?;
    for step in &plan.steps {
        building.carry_out(step).map_err(|source| JailError::Rootfs { step: describe(step), source })?;
    }
    building.enter()?;
    umask(mask);
    Ok(())
}

#[derive(Debug)]
struct Building {
    host: OwnedFd,
    root: OwnedFd,
    /// Of the file systems made here: nothing is made in any other.
    devices: Vec<u64>,
}

impl Building {
    fn begin() -> Result<Self, JailError> {
        let failed =
            |what: &'static str| move |source: io::Error| JailError::Rootfs { step: what.to_owned(), source };
        let host = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| failed("open the host's root")(e.into()))?;
        // No nodev: its /dev is a directory of this file system.
        let root = memory(0o755, (0, 0), ROOT_SIZE, MountAttrFlags::MOUNT_ATTR_NOSUID)
            .map_err(failed("make a tmpfs for the new root"))?;
        move_mount(&root, "", &host, PLACE.trim_start_matches('/'), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|e| failed("mount the new root")(e.into()))?;
        let device = fstat(&root).map_err(|e| failed("look at the new root")(e.into()))?.st_dev;
        Ok(Self { host, root, devices: vec![device] })
    }

    fn carry_out(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Dir { at, mode } => self.dir(at, *mode),
            Step::Link { at, to } => {
                let (parent, name) = self.parent(at)?;
                Ok(symlinkat(to, parent.as_fd(), name)?)
            }
            Step::File { at, content } => self.file(at, content, None),
            Step::UserFile { at, content, owner } => self.file(at, content, Some(*owner)),
            Step::Bind { from, at, dir, writable, seen } => {
                let access = if *writable { 0 } else { RDONLY };
                let source = open_in(self.host.as_fd(), from)?;
                check_same(&source, *seen, from)?;
                check_kind(&source, *dir)?;
                if !*dir && FileType::from_raw_mode(fstat(&source)?.st_mode) != FileType::RegularFile {
                    return Err(Errno::XDEV.into());
                }
                let target = open_in(self.root.as_fd(), at)?;
                bind(&source, &target, *dir, access, OpenTreeFlags::AT_RECURSIVE)
            }
            Step::Socket { at, seen } => {
                let source = open_in(self.host.as_fd(), at)?;
                check_same(&source, *seen, at)?;
                if FileType::from_raw_mode(fstat(&source)?.st_mode) != FileType::Socket {
                    return Err(Errno::NOTSOCK.into());
                }
                let target = open_in(self.root.as_fd(), at)?;
                bind(&source, &target, false, RDONLY, OpenTreeFlags::empty())
            }
            Step::Cover { from, at, dir, seen } => {
                let source = open_in(self.root.as_fd(), from)?;
                let target = open_in(self.root.as_fd(), at)?;
                check_same(&target, *seen, at)?;
                bind(&source, &target, *dir, RDONLY, OpenTreeFlags::empty())
            }
            Step::Again { from, at } => {
                let source = open_in(self.root.as_fd(), from)?;
                let target = open_in(self.root.as_fd(), at)?;
                bind(&source, &target, true, RDONLY, OpenTreeFlags::AT_RECURSIVE)
            }
            Step::Pin { at, writable, seen } => self.pin(at, *writable, *seen),
            Step::Tmpfs { at, mode, owner, size } => {
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                let mount = memory(*mode, *owner, *size, attributes)?;
                self.devices.push(fstat(&mount)?.st_dev);
                self.mount(&mount, at)
            }
            Step::Kernel { at, what } => self.kernel(at, *what),
            Step::Device { at, major, minor } => self.device(at, *major, *minor),
        }
    }

    fn dir(&self, at: &Path, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        Ok(mkdirat(parent.as_fd(), name, Mode::from_raw_mode(mode as RawMode))?)
    }

    /// `owner`: whose alone it is; nobody's: everybody may read it.
    fn file(&self, at: &Path, content: &[u8], owner: Option<(u32, u32)>) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if owner.is_some() { 0o600 } else { 0o644 };
        let file = rustix::fs::openat(parent.as_fd(), name, flags, Mode::from_raw_mode(mode))?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        io::Write::write_all(&mut std::fs::File::from(file), content)
    }

    /// A link too is mounted upon itself, and still leads where it did.
    fn pin(&self, at: &Path, writable: bool, seen: Option<Inode>) -> io::Result<()> {
        let below = at.strip_prefix("/").unwrap_or(at);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat2(&self.root, below, flags, Mode::empty(), NO_LINKS)?;
        check_same(&target, seen, at)?;
        let tree = open_tree(&target, "", CLONE | OpenTreeFlags::AT_RECURSIVE)?;
        if !writable {
            mount_attr::set(tree.as_fd(), RDONLY | NOSUID | NODEV, true)?;
        }
        put(&tree, &target)
    }

    fn mount(&self, mount: &OwnedFd, at: &Path) -> io::Result<()> {
        put(mount, &open_in(self.root.as_fd(), at)?)
    }

    fn kernel(&self, at: &Path, what: KernelFs) -> io::Result<()> {
        let (name, options): (_, &[(&str, &str)]) = match what {
            KernelFs::Proc => ("proc", &[("hidepid", "2")]),
            KernelFs::Sys => ("sysfs", &[]),
            KernelFs::Cgroup => ("cgroup2", &[]),
            KernelFs::Devpts => ("devpts", &[("ptmxmode", "0666"), ("mode", "0620"), ("gid", TTY_GROUP)]),
        };
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        if what != KernelFs::Devpts {
            attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
        }
        if matches!(what, KernelFs::Sys | KernelFs::Cgroup) {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        self.mount(&fresh(name, options, attributes)?, at)
    }

    /// Made new; where a container forbids that, the host's is bound.
    fn device(&self, at: &Path, major: u32, minor: u32) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        let number = rustix::fs::makedev(major, minor);
        match mknodat(parent.as_fd(), name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number) {
            Err(Errno::PERM) => {
                self.file(at, &[], None)?;
                let source = open_in(self.host.as_fd(), at)?;
                let stat = fstat(&source)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
                    || stat.st_rdev != number
                {
                    return Err(Errno::NODEV.into());
                }
                let node = open_tree(&source, "", CLONE)?;
                mount_attr::set(node.as_fd(), NOSUID, false)?;
                self.mount(&node, at)
            }
            other => Ok(other?),
        }
    }

    /// The directory something of ours is made in: never one of the host's.
    fn parent<'a>(&self, at: &'a Path) -> io::Result<(OwnedFd, &'a Path)> {
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let dir = open_in(self.root.as_fd(), parent)?;
        let is_ours = self.devices.contains(&fstat(&dir)?.st_dev);
        if is_ours { Ok((dir, Path::new(name))) } else { Err(Errno::XDEV.into()) }
    }

    fn enter(self) -> Result<(), JailError> {
        let failed =
            |what: &'static str| move |source: io::Error| JailError::Rootfs { step: what.to_owned(), source };
        mount_attr::set(self.root.as_fd(), RDONLY, false).map_err(failed("make the new root read-only"))?;
        fchdir(&self.root).map_err(|e| failed("go to the new root")(e.into()))?;
        // The old root lies on top of the new one then, where it is taken away (pivot_root(2), NOTES).
        pivot_root(".", ".").map_err(|source| JailError::Pivot(source.into()))?;
        unmount(".", UnmountFlags::DETACH).map_err(|e| failed("leave the host's root")(e.into()))?;
        chdir("/").map_err(|e| failed("enter the new root")(e.into()))
    }
}

fn open_in(base: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(openat2(base, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), NO_LINKS)?)
}

fn check_kind(fd: &OwnedFd, dir: bool) -> io::Result<()> {
    match (dir, FileType::from_raw_mode(fstat(fd)?.st_mode)) {
        (true, FileType::Directory) => Ok(()),
        (true, _) => Err(Errno::NOTDIR.into()),
        (false, FileType::Directory) => Err(Errno::ISDIR.into()),
        (false, _) => Ok(()),
    }
}

/// That `fd`, opened at `path`, is what was looked at when the root was planned: of the right kind is also what a user
/// renamed into its place.
fn check_same(fd: &OwnedFd, seen: Option<Inode>, path: &Path) -> io::Result<()> {
    let Some(seen) = seen else { return Ok(()) };
    let stat = fstat(fd)?;
    if (Inode { device: stat.st_dev, number: stat.st_ino }) == seen {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::other(format!(
        "{path} was exchanged for another file while awf-bpf started; start it again"
    )))
}

fn bind(source: &OwnedFd, target: &OwnedFd, dir: bool, access: u64, depth: OpenTreeFlags) -> io::Result<()> {
    let tree = open_tree(source, "", CLONE | depth)?;
    let recursive = depth.contains(OpenTreeFlags::AT_RECURSIVE);
    mount_attr::set(tree.as_fd(), access | NOSUID | NODEV, recursive)?;
    check_kind(target, dir)?;
    put(&tree, target)
}

fn put(mount: &OwnedFd, at: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", at, "", flags)?)
}

fn memory(mode: u32, (uid, gid): (u32, u32), size: u8, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let (uid, gid, size) = (uid.to_string(), gid.to_string(), format!("{size}%"));
    let options = [("mode", format!("{mode:o}")), ("uid", uid), ("gid", gid), ("size", size)];
    let options: Vec<_> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fresh("tmpfs", &options, attributes)
}

fn fresh(name: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let fs = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // What df(1) and mount(8) call it; "none" otherwise.
    fsconfig_set_string(fs.as_fd(), "source", name)?;
    for (key, value) in options {
        fsconfig_set_string(fs.as_fd(), *key, *value)?;
    }
    fsconfig_create(fs.as_fd())?;
    Ok(fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn describe(step: &Step) -> String {
    let (verb, at): (&str, &PathBuf) = match step {
        Step::Bind { from, at, .. } | Step::Again { from, at } => {
            return format!("show {} at {}", from.display(), at.display());
        }
        Step::Pin { at, .. } => ("keep in place", at),
        Step::Dir { at, .. } => ("make the directory", at),
        Step::Link { at, .. } => ("make the link", at),
        Step::File { at, .. } | Step::UserFile { at, .. } => ("make the file", at),
        Step::Cover { at, .. } => ("hide what is at", at),
        Step::Socket { at, .. } => ("show the socket", at),
        Step::Tmpfs { at, .. } => ("mount a tmpfs at", at),
        Step::Kernel { at, .. } => ("mount", at),
        Step::Device { at, .. } => ("make the device", at),
    };
    format!("{verb} {}", at.display())
}
