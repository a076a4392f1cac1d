//! Files that programs outside run by themselves, and that were not there when the command started: nothing can be
//! mounted upon what does not exist. What the command made of them is said at the end; with `--chroot off`, where
//! nothing is mounted, also of those that were there, and of the files that decide over the next run. So it is of a file
//! that has another name (a hard link): it is read-only by the name that is known, and where the other one is nobody
//! can tell.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::jail::rootfs::watched_files;

/// Device, inode, seconds and nanoseconds of the last change: another one for every change.
type Stamp = (u64, u64, i64, i64);

/// What was there at the start.
#[derive(Debug, Default)]
pub(super) struct StartupFiles(Vec<(PathBuf, Option<Stamp>)>);

impl StartupFiles {
    /// Of HOME and the directories of settings; `all`: also those that are kept.
    pub(super) fn look(home: &Path, config_dirs: &[PathBuf], all: bool) -> Self {
        let files = watched_files(home, config_dirs).into_iter().map(|path| (stamp(&path), path));
        let open = files.filter(|(stamp, path)| all || stamp.is_none() || has_names(path));
        Self(open.map(|(stamp, path)| (path, stamp)).collect())
    }

    /// Of `paths`; `all`: also those that are kept.
    pub(super) fn of(paths: impl Iterator<Item = PathBuf>, all: bool) -> Self {
        let open = paths.filter(|path| all || has_names(path));
        Self(open.map(|path| (path.clone(), stamp(&path))).collect())
    }

    /// Those that are other now, by whoever's doing.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter(|(path, before)| stamp(path) != *before).map(|(path, _)| path.as_path())
    }
}

/// Whether it can be written to by a name that nothing is mounted upon. Links are followed: what they lead to is kept.
fn has_names(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.nlink() > 1)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).ok()?;
    Some((meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
}
