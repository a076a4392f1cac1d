//! The bpffs our links are pinned in: a mount of our own below the state directory, so that no other program's
//! directory is touched and nobody but root can look in.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock, statfs},
    mount::MountFlags,
};

use super::state::{STATE, StateError, lock_any, make_private};

/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The directory, mounted where it was not.
///
/// # Errors
///
/// When the directory cannot be made or the file system not be mounted.
pub fn directory() -> Result<PathBuf, StateError> {
    let dir = PathBuf::from(STATE).join("bpf");
    make_private(Path::new(STATE))?;
    make_private(&dir)?;
    if !is_bpffs(&dir)? {
        mount(&dir)?;
    }
    Ok(dir)
}

/// Two that are the first at once would mount it twice, the second upon the pins of the first.
fn mount(dir: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::Path { path: dir.to_owned(), source };
    let below = fs::File::open(dir).map_err(failed)?;
    flock(&below, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
    if is_bpffs(dir)? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("none", dir, "bpf", flags, Some(c"mode=0700"))
        .map_err(|e| StateError::MountBpffs { path: dir.to_owned(), source: e.into() })
}

/// Removes the pinned links of a run, which detaches its programs; that there are none is not an error.
///
/// # Errors
///
/// What unlink(2) and rmdir(2) say.
pub fn remove_pins(pins: &Path) -> io::Result<()> {
    match fs::remove_dir_all(pins) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Unmounts it when no run is left. A run that begins meanwhile would lose its pins with it, and with them what
/// enforces after its awf-bpf was killed: it waits.
///
/// # Errors
///
/// What umount2(2) says.
pub fn unmount() -> io::Result<()> {
    let Ok(_nobody) = lock_any(FlockOperation::NonBlockingLockExclusive) else { return Ok(()) };
    let dir = PathBuf::from(STATE).join("bpf");
    match is_bpffs(&dir) {
        Ok(true) => Ok(rustix::mount::unmount(&dir, rustix::mount::UnmountFlags::NOFOLLOW)?),
        _ => Ok(()),
    }
}

fn is_bpffs(dir: &Path) -> Result<bool, StateError> {
    let stat = statfs(dir).map_err(|e| StateError::Path { path: dir.to_owned(), source: e.into() })?;
    Ok(stat.f_type as u64 == BPF_FS_MAGIC)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use rustix::{mount::MountPropagationFlags, thread::UnshareFlags};

    use super::*;
    use crate::sys::namespace;

    /// In a mount namespace of its own, where there is no state yet.
    #[test]
    fn the_first_ones_at_once_mount_it_once() {
        const AT_ONCE: usize = 16;
        let first_ones = || {
            namespace::unshare(UnshareFlags::NEWNS).expect("a mount namespace: these tests need root");
            let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
            rustix::mount::mount_change("/", private).unwrap();
            fs::create_dir_all(STATE).unwrap();
            rustix::mount::mount("none", STATE, "tmpfs", MountFlags::empty(), Some(c"mode=0700")).unwrap();
            // What the tmpfs covers is listed, too.
            let mounted = || {
                let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
                table.matches(&format!(" {STATE}/bpf ")).count()
            };
            let before = mounted();
            let barrier = Barrier::new(AT_ONCE);
            let start = || {
                barrier.wait();
                directory().unwrap()
            };
            std::thread::scope(|scope| {
                let starts: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(start)).collect();
                starts.into_iter().for_each(|start| drop(start.join().unwrap()));
            });
            mounted() - before
        };
        for _ in 0..10 {
            assert_eq!(std::thread::spawn(first_ones).join().unwrap(), 1);
        }
    }
}
