//! Unix sockets that are bound in other network namespaces: of containers, of other runs of awf-bpf. Our own
//! /proc/net/unix does not list them, and by a directory that both share they are reached all the same.
//!
//! A table is read once a namespace, through any process in it. The paths in it are those that the binder used: where
//! that process has mounts of its own, they are followed by the mount tables to what they are called here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags, open, readlinkat_raw};

use super::{
    mounts::mount_table,
    rootfs::{Facts, MountPoint},
    unix_sockets::served,
};

/// Of namespaces, and of mount tables in them.
const MOST: usize = 512;
/// A machine with thousands of processes is looked through in a tenth of this.
const LIMIT: Duration = Duration::from_millis(250);

/// `PROC_PID_INIT_INO` (include/linux/proc_ns.h): the inode of the first pid namespace.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// A network namespace and a mount namespace.
type View = (Vec<u8>, Vec<u8>);

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// By the paths they have here.
    pub sockets: Vec<PathBuf>,
    /// Why there may be more.
    pub missed: Option<&'static str>,
}

/// The paths at which processes in other network namespaces answer. Namespaces without a process of their own and
/// sockets bound by a relative path or through a link are not found.
///
/// # Errors
/// When /proc or our own mount table cannot be read. What ends meanwhile is no error.
pub fn look() -> io::Result<Found> {
    let start = Instant::now();
    let mut found = Found::default();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = open("/proc", flags, Mode::empty())?;
    let views = views(&proc, &mut found, start)?;
    if views.is_empty() {
        return Ok(found);
    }
    let (own, ours) = (namespace(&proc, "self", "mnt"), table("self")?);
    let mut tables: BTreeMap<Vec<u8>, Vec<PathBuf>> = BTreeMap::new();
    for ((network, mounts), pid) in views {
        if start.elapsed() > LIMIT {
            found.missed = Some("they are too many to look through");
            break;
        }
        let text = || fs::read(format!("/proc/{pid}/net/unix")).map(|text| served(&text));
        let paths = tables.entry(network).or_insert_with(|| text().unwrap_or_default());
        if paths.is_empty() {
            continue;
        }
        match table(&pid) {
            _ if own.as_ref() == Some(&mounts) => found.sockets.extend(paths.iter().cloned()),
            Ok(theirs) => found.sockets.extend(paths.iter().flat_map(|path| here(path, &theirs, &ours))),
            Err(_) => {}
        }
    }
    found.sockets.sort_unstable();
    found.sockets.dedup();
    Ok(found)
}

/// Each network namespace but our own, with each mount namespace in it, and a process that is in both.
fn views(proc: &OwnedFd, found: &mut Found, start: Instant) -> io::Result<BTreeMap<View, String>> {
    let own = namespace(proc, "self", "net");
    let kernel = kernel_threads();
    let mut views = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        else {
            continue;
        };
        if kernel.contains(pid) {
            continue;
        }
        let network = namespace(proc, pid, "net").filter(|network| Some(network) != own.as_ref());
        let Some(network) = network else { continue };
        let Some(mounts) = namespace(proc, pid, "mnt") else { continue };
        views.entry((network, mounts)).or_insert_with(|| pid.to_owned());
        if views.len() > MOST || start.elapsed() > LIMIT {
            found.missed = Some("they are too many to look through");
            break;
        }
    }
    Ok(views)
}

/// By its link's text (namespaces(7)), which costs half of a look at what it leads to.
fn namespace(proc: &OwnedFd, pid: &str, kind: &str) -> Option<Vec<u8>> {
    let mut text = [MaybeUninit::uninit(); 32];
    let (text, _) = readlinkat_raw(proc, format!("{pid}/ns/{kind}"), &mut text).ok()?;
    Some(text.to_vec())
}

/// The children of kthreadd, which have no sockets: a third of what is there on an idle machine. In another pid
/// namespace than the first, number 2 is anybody.
fn kernel_threads() -> BTreeSet<String> {
    let is_kthreadd = fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n")
        && fs::metadata("/proc/self/ns/pid").is_ok_and(|meta| meta.ino() == FIRST_PID_NAMESPACE);
    let text = if is_kthreadd { fs::read_to_string("/proc/2/task/2/children") } else { Ok(String::new()) };
    text.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}

fn table(pid: &str) -> io::Result<Vec<MountPoint>> {
    Ok(mount_table(&fs::read(format!("/proc/{pid}/mountinfo"))?))
}

/// What `path`, as a process with the mounts `theirs` calls it, is called with `ours`.
fn here(path: &Path, theirs: &[MountPoint], ours: &[MountPoint]) -> Vec<PathBuf> {
    // Usually a link.
    let run = path.strip_prefix("/var/run").ok().map(|rest| Path::new("/run").join(rest));
    let names = |path: &Path| Facts::names_between(path, theirs, ours);
    let mut all = names(path);
    all.extend(run.iter().flat_map(|path| names(path)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_container_is_followed_to_its_name_here() {
        let ours = b"25 1 8:1 / / rw - ext4 /dev/sda1 rw\n26 25 8:2 / /data rw - ext4 /dev/sdb1 rw\n\
            27 25 0:20 / /run rw - tmpfs tmpfs rw\n28 25 8:2 /a /srv/a rw - ext4 /dev/sdb1 rw\n";
        let theirs =
            b"50 1 0:40 / / rw - overlay overlay rw\n51 50 8:1 /home/u/proj /proj rw - ext4 /dev/sda1 rw\n\
            52 50 8:2 /a/b /srv rw - ext4 /dev/sdb1 rw\n53 50 0:20 /x /run/x rw - tmpfs tmpfs rw\n";
        let (ours, theirs) = (mount_table(ours), mount_table(theirs));
        let here = |path: &str| -> Vec<String> {
            let all = here(Path::new(path), &theirs, &ours);
            all.iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(here("/proj/s"), ["/home/u/proj/s"]);
        assert_eq!(here("/srv/s"), ["/data/a/b/s", "/srv/a/b/s"]);
        assert_eq!(here("/var/run/x/s"), ["/run/x/s"]);
        assert_eq!(here("/tmp/s"), [""; 0]);
    }
}
