//! The bpffs our links are pinned in: a mount of our own below the state directory, so that no other program's
//! directory is touched and nobody but root can look in.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, statfs},
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
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("none", &dir, "bpf", flags, Some(c"mode=0700"))
            .map_err(|e| StateError::MountBpffs { path: dir.clone(), source: e.into() })?;
    }
    Ok(dir)
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
