//! Finds cgroups and who is in them.

use std::{
    fs, io,
    os::fd::OwnedFd,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::{CgroupError, V2Mount, own_cgroup, v2_mount};

/// `PROC_CGROUP_INIT_INO` (include/linux/proc_ns.h): the inode of the first cgroup namespace.
const FIRST_NAMESPACE: u64 = 0xefff_fffb;

/// The root of all cgroups (v2) that can be seen here.
///
/// # Errors
///
/// When there is no cgroup v2 hierarchy, or it cannot be opened.
pub fn root() -> Result<OwnedFd, CgroupError> {
    open_dir(&mount()?.below(Path::new("/")))
}

/// Opens a cgroup's directory.
///
/// # Errors
///
/// Names it.
pub fn open_dir(path: &Path) -> Result<OwnedFd, CgroupError> {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| CgroupError::Open { path: path.into(), source: e.into() })
}

/// The cgroup of a process.
///
/// # Errors
///
/// When it is gone, or cannot be seen from here.
pub fn of_process(pid: u32) -> Result<PathBuf, CgroupError> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let text = fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
    Ok(mount()?.below(&own_cgroup(&text).ok_or(CgroupError::NoOwn)?))
}

/// Where the cgroup `path`, as in /proc/PID/cgroup, is in the file system.
///
/// # Errors
///
/// When there is no cgroup v2 hierarchy.
pub fn at(path: &Path) -> Result<PathBuf, CgroupError> {
    Ok(mount()?.below(path))
}

/// How deep `dir` is below the root of all cgroups; `None` where only a part of them can be seen.
///
/// # Errors
///
/// When there is no cgroup v2 hierarchy.
pub fn depth(dir: &Path) -> Result<Option<u64>, CgroupError> {
    let mount = mount()?;
    let whole = mount.is_whole()
        && fs::metadata("/proc/self/ns/cgroup").is_ok_and(|meta| meta.ino() == FIRST_NAMESPACE);
    let below = dir.strip_prefix(mount.below(Path::new("/"))).ok().filter(|_| whole);
    Ok(below.map(|below| below.components().count() as u64))
}

/// The processes of `dir`, and with `below` of all cgroups in it. One of another pid namespace is 0.
///
/// # Errors
///
/// Names the file that could not be read; a cgroup that is gone has nobody.
pub fn members(dir: &Path, below: bool) -> Result<Vec<u32>, CgroupError> {
    let path = dir.join("cgroup.procs");
    let mut found: Vec<u32> = match fs::read_to_string(&path) {
        Ok(text) => text.lines().filter_map(|line| line.parse().ok()).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound || super::is_gone(&e) => return Ok(Vec::new()),
        // Of a threaded cgroup: its threads belong to processes of its domain.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Vec::new(),
        Err(source) => return Err(CgroupError::Read { path, source }),
    };
    if below {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.extend(members(&entry.path(), true)?);
            }
        }
    }
    Ok(found)
}

/// Moves a process, with all its threads, into `dir`. `false`: it is gone.
///
/// # Errors
///
/// When the kernel does not let it in.
pub fn enter(dir: &Path, pid: u32) -> Result<bool, CgroupError> {
    let path = dir.join("cgroup.procs");
    match fs::write(&path, pid.to_string()) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(source) => Err(CgroupError::Enter { path: dir.into(), pid, source }),
    }
}

fn mount() -> Result<V2Mount, CgroupError> {
    let path = PathBuf::from("/proc/self/mountinfo");
    let text = fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
    v2_mount(&text).ok_or(CgroupError::NoV2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_where_it_is_said_to_be() {
        let own = of_process(std::process::id()).unwrap();
        assert!(members(&own, false).unwrap().contains(&std::process::id()));
        let root = mount().unwrap().below(Path::new("/"));
        assert!(own.starts_with(&root));
        if let Some(depth) = depth(&own).unwrap() {
            assert_eq!(depth as usize, own.components().count() - root.components().count());
        }
    }

    #[test]
    fn who_is_gone_is_nobody() {
        assert_eq!(members(Path::new("/nonexistent"), true).unwrap(), Vec::<u32>::new());
        assert!(of_process(u32::MAX).is_err());
    }
}
