//! What is known of the host's files: entries as lstat(2) tells them, and the mount table.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

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
}

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    pub at: PathBuf,
    pub fs_type: String,
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
        let Entry { kind, uid } = entry(&next)?;
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
}
