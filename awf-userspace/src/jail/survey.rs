//! Looks at the host's files and mounts, for the plan of the new root. A user may change them meanwhile: what is
//! mounted later is opened without following links, and must be the very file or directory that was seen here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::mounts::mount_table;
use super::rootfs::{Entry, Facts, Inode, Kind, MountPoint, Wanted, walk};

/// What is known of the paths `wanted` is about, and of the mounts.
///
/// # Errors
/// When the mount table cannot be read. A path that cannot be looked at counts as missing.
pub fn look(wanted: &Wanted) -> io::Result<Facts> {
    let mounts = mount_table(&fs::read("/proc/self/mountinfo")?);
    let on_use: Vec<u64> = mounts.iter().filter_map(on_use).collect();
    let mut seen: BTreeMap<PathBuf, Option<Entry>> = BTreeMap::new();
    let mut look = |path: &Path| match seen.get(path) {
        Some(known) => known.clone(),
        None => {
            let found = entry(path).map(|entry| lasting(entry, &on_use));
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
    let inode = Some(Inode { device: meta.dev(), number: meta.ino() });
    Some(Entry { kind, uid: meta.uid(), inode })
}

/// The device of a file system that has another one in its place as soon as somebody looks (autofs): whoever looked
/// first saw something else.
fn on_use(mount: &MountPoint) -> Option<u64> {
    let (major, minor) = mount.device.split_once(':')?;
    let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    (mount.fs_type == "autofs").then_some(device)
}

fn lasting(mut entry: Entry, on_use: &[u64]) -> Entry {
    entry.inode = entry.inode.filter(|inode| !on_use.contains(&inode.device));
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_on_use_may_become_another() {
        let table =
            b"24 1 0:22 / /home rw - autofs auto.home rw,indirect\n25 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let on_use: Vec<u64> = mount_table(table).iter().filter_map(on_use).collect();
        let inode = |major| {
            let inode = Inode { device: rustix::fs::makedev(major, 22), number: 7 };
            lasting(Entry { kind: Kind::Directory, uid: 0, inode: Some(inode) }, &on_use).inode
        };
        assert!(inode(0).is_none() && inode(8).is_some());
    }
}
