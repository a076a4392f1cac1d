//! Files that programs outside run by themselves, and that were not there when the command started: nothing can be
//! mounted upon what does not exist. What the command made of them is said at the end; with `--chroot off`, where
//! nothing is mounted, also of those that were there, and of the files that decide over the next run.

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
    /// Of HOME and the directories of settings; `all`: also those that exist, because nothing keeps them.
    pub(super) fn look(home: &Path, config_dirs: &[PathBuf], all: bool) -> Self {
        let files = watched_files(home, config_dirs).into_iter().map(|path| (stamp(&path), path));
        Self(files.filter(|(stamp, _)| all || stamp.is_none()).map(|(stamp, path)| (path, stamp)).collect())
    }

    /// Of `paths`, whatever they are.
    pub(super) fn of(paths: impl Iterator<Item = PathBuf>) -> Self {
        Self(paths.map(|path| (path.clone(), stamp(&path))).collect())
    }

    /// Those that are other now, by whoever's doing.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter(|(path, before)| stamp(path) != *before).map(|(path, _)| path.as_path())
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
}
