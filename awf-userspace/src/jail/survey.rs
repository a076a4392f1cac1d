//! Looks at the host's files and mounts, for the plan of the new root. A user may change them meanwhile: what is
//! mounted later is opened without following links, and must be of the kind that was seen here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::mounts::mount_table;
use super::rootfs::{Entry, Facts, Kind, Wanted, walk};

/// What is known of the paths `wanted` is about, and of the mounts.
///
/// # Errors
/// When the mount table cannot be read. A path that cannot be looked at counts as missing.
pub fn look(wanted: &Wanted) -> io::Result<Facts> {
    let mounts = mount_table(&fs::read("/proc/self/mountinfo")?);
    let mut seen: BTreeMap<PathBuf, Option<Entry>> = BTreeMap::new();
    let mut look = |path: &Path| match seen.get(path) {
        Some(known) => known.clone(),
        None => {
            let found = entry(path);
            seen.insert(path.into(), found.clone());
            found
        }
    };
    for path in wanted.paths().iter().chain(mounts.iter().map(|mount| &mount.at)) {
        walk(path, &mut look);
    }
    let entries = seen.into_iter().filter_map(|(path, entry)| Some((path, entry?))).collect();
    Ok(Facts { entries, mounts })
}

/// What lstat(2) says of `path`; `None` if nothing.
pub fn entry(path: &Path) -> Option<Entry> {
    let meta = fs::symlink_metadata(path).ok()?;
    let kind = match meta.file_type() {
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_file() => Kind::File,
        kind if kind.is_symlink() => Kind::Link(fs::read_link(path).ok()?),
        _ => Kind::Other,
    };
    Some(Entry { kind, uid: meta.uid() })
}
