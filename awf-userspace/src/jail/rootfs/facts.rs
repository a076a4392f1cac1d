//! What is known of the host's files: entries as lstat(2) tells them, and the mount table.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::area::{depth, join};

/// A path's own kind; links are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    /// With its target.
    Link(PathBuf),
    /// A device, a socket, a FIFO.
    Other,
}

/// What lstat(2) and readlink(2) say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub uid: u32,
    /// `None`: it may become another one by itself, as where a file system is mounted on use.
    pub inode: Option<Inode>,
}

/// Which file or directory it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub number: u64,
}

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    pub at: PathBuf,
    pub fs_type: String,
    /// `major:minor` of the file system.
    pub device: String,
    /// What of that file system is mounted.
    pub root: PathBuf,
}

/// File systems of the kernel that show more than CMD's own namespaces; below a directory that is bound they are
/// covered, and nothing in them is shown.
const KERNEL_TYPES: [&str; 17] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devtmpfs",
    "devpts",
    "bpf",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "efivarfs",
    "pstore",
    "rpc_pipefs",
    "binfmt_misc",
    "nsfs",
    "fusectl",
];

impl MountPoint {
    pub(super) fn is_kernels(&self) -> bool {
        KERNEL_TYPES.contains(&self.fs_type.as_str())
    }
}

/// The host, as far as it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By path; what is not here does not exist.
    pub entries: BTreeMap<PathBuf, Entry>,
    pub mounts: Vec<MountPoint>,
}

/// A walk along a path, every link followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Without links.
    pub path: PathBuf,
    pub kind: Kind,
    pub uid: u32,
    /// The links on the way, by the paths of the directories they are really in, and their targets.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// As the kernel's `MAXSYMLINKS`.
const MAX_LINKS: usize = 40;

/// Follows an absolute `path` by what `entry` says of each one on the way; `None`: it leads nowhere.
pub fn walk(path: &Path, mut entry: impl FnMut(&Path) -> Option<Entry>) -> Option<Walk> {
    let mut todo: VecDeque<OsString> = names(path);
    let mut done = Walk { path: "/".into(), kind: Kind::Directory, uid: 0, links: Vec::new() };
    while let Some(name) = todo.pop_front() {
        if done.kind != Kind::Directory {
            return None;
        }
        if name == ".." {
            done.path.pop();
            continue;
        }
        let next = done.path.join(&name);
        let Entry { kind, uid, .. } = entry(&next)?;
        if let Kind::Link(target) = kind {
            done.links.push((next, target.clone()));
            if done.links.len() > MAX_LINKS {
                return None;
            }
            if target.is_absolute() {
                done.path = "/".into();
            }
            names(&target).into_iter().rev().for_each(|name| todo.push_front(name));
            continue;
        }
        (done.path, done.kind, done.uid) = (next, kind, uid);
    }
    Some(done)
}

fn names(path: &Path) -> VecDeque<OsString> {
    let named = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(named).collect()
}

impl Facts {
    pub(super) fn walk(&self, path: &Path) -> Option<Walk> {
        walk(path, |path| self.entries.get(path).cloned())
    }

    /// All paths at which the host shows what is at `path`, which has no links in it: its own, and those in other
    /// mounts of the same file system.
    pub(super) fn names_of(&self, path: &Path) -> Vec<PathBuf> {
        let mut names = vec![path.to_owned()];
        let Some(own) = self.mount_of(path) else { return names };
        let Ok(rest) = path.strip_prefix(&own.at) else { return names };
        let within = join(&own.root, rest);
        let others =
            self.mounts.iter().filter(|mount| mount.device == own.device && !std::ptr::eq(*mount, own));
        let name = |mount: &MountPoint| Some(join(&mount.at, within.strip_prefix(&mount.root).ok()?));
        let visible = |(mount, name): &(&MountPoint, PathBuf)| {
            self.mount_of(name).is_some_and(|shown| std::ptr::eq(shown, *mount))
        };
        let others = others.filter_map(|mount| Some((mount, name(mount)?))).filter(visible);
        names.extend(others.map(|(_, name)| name));
        names
    }

    /// What was found at `path`, or at another name of it.
    pub(super) fn inode(&self, path: &Path) -> Option<Inode> {
        let known = |path: &Path| self.entries.get(path);
        let entry = known(path).or_else(|| self.names_of(path).iter().find_map(|name| known(name)));
        entry.and_then(|entry| entry.inode)
    }

    /// What is at `path` in one mount table, by the paths it has in another one.
    pub fn names_between(path: &Path, from: &[MountPoint], to: &[MountPoint]) -> Vec<PathBuf> {
        let Some(own) = deepest(path, from) else { return Vec::new() };
        let Ok(rest) = path.strip_prefix(&own.at) else { return Vec::new() };
        let within = join(&own.root, rest);
        let same = to.iter().filter(|mount| mount.device == own.device);
        same.filter_map(|mount| Some(join(&mount.at, within.strip_prefix(&mount.root).ok()?))).collect()
    }

    /// Whether `path`, which has no links in it, lies in a file system of the kernel.
    pub(super) fn is_kernels(&self, path: &Path) -> bool {
        self.mount_of(path).is_some_and(MountPoint::is_kernels)
    }

    /// The mount that `path` lies in: of several at one place the last.
    fn mount_of(&self, path: &Path) -> Option<&MountPoint> {
        deepest(path, &self.mounts)
    }
}

fn deepest<'a>(path: &Path, mounts: &'a [MountPoint]) -> Option<&'a MountPoint> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.at));
    above.max_by_key(|mount| depth(&mount.at))
}
