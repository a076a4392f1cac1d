//! Which part of the new root shows what.

use std::path::{Path, PathBuf};

/// A mount of the new root, or the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    pub at: PathBuf,
    /// The host's directory or file it shows; `None`: it is ours.
    pub from: Option<PathBuf>,
    /// Where the same directory of ours can be written while the root is built, if that is not `at`.
    pub backing: Option<PathBuf>,
    pub writable: bool,
}

impl Area {
    /// Where this area, uncovered, shows the host's `path`.
    pub(super) fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(join(&self.at, path.strip_prefix(self.from.as_ref()?).ok()?))
    }

    /// What of the host this area shows at `at`.
    pub(super) fn host(&self, at: &Path) -> Option<PathBuf> {
        Some(join(self.from.as_ref()?, at.strip_prefix(&self.at).ok()?))
    }
}

/// The area that is seen at `path`: of those it lies in the deepest, of those the last.
pub(super) fn covering<'a>(areas: &'a [Area], path: &Path) -> Option<&'a Area> {
    let over = areas.iter().filter(|area| path.starts_with(&area.at));
    over.max_by_key(|area| depth(&area.at))
}

pub(super) fn depth(path: &Path) -> usize {
    path.components().count()
}

/// `Path::join` adds a slash for an empty second half.
pub(super) fn join(base: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { base.to_owned() } else { base.join(rest) }
}
