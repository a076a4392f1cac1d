//! The run's cgroups: `awf-bpf-<run>/{agent,proxy}` below our own cgroup, so that the programs and limits of every
//! parent (systemd's, an outer awf-bpf's) go on applying to the command.

mod aside;
mod find;
pub mod limits;
mod mount;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use aside::{OWN, remove_beside};
pub use find::{at, depth, enter, members, of_process, open_dir, root};
pub use mount::{V2Mount, own_cgroup, v2_mount};

/// What each run's cgroup name starts with.
pub const PREFIX: &str = "awf-bpf-";

/// Why the run's cgroups could not be made, or not be ended.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("reading {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "no cgroup v2 file system is mounted (see cgroups(7)); mount one: mount -t cgroup2 none /sys/fs/cgroup"
    )]
    NoV2,
    #[error("/proc/self/cgroup has no cgroup v2 line (0::/...)")]
    NoOwn,
    #[error("making cgroup {path}: {source}")]
    Make { path: PathBuf, source: io::Error },
    #[error("opening cgroup {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("cgroup {0} has no file cgroup.kill: this kernel is too old; awf-bpf needs Linux 5.18 or newer")]
    NoKill(PathBuf),
    #[error("killing the processes of cgroup {path}: {source}")]
    Kill { path: PathBuf, source: io::Error },
    #[error("processes of cgroup {path} are still there {waited:?} after SIGKILL")]
    StillThere { path: PathBuf, waited: Duration },
    #[error(transparent)]
    Limit(#[from] limits::LimitError),
    #[error("going back to cgroup {path}: {source}")]
    Return { path: PathBuf, source: io::Error },
    #[error("moving process {pid} to cgroup {path}: {source}")]
    Enter { path: PathBuf, pid: u32, source: io::Error },
    #[error("removing cgroup {path}: {source}")]
    Remove { path: PathBuf, source: io::Error },
}

/// The run's cgroups.
#[derive(Debug)]
pub struct RunCgroup {
    dir: PathBuf,
    agent: OwnedFd,
    proxy: OwnedFd,
    end: End,
}

/// The files by which a cgroup is ended. Those of a run are held open: when its end has come there may be no
/// descriptor left to open them with.
#[derive(Debug)]
struct End {
    dir: PathBuf,
    kill: File,
    events: File,
}

/// Where the cgroup of run `id` is to be: below the cgroup of this process.
///
/// # Errors
///
/// When there is no cgroup v2 hierarchy, or /proc cannot be read.
pub fn place(id: &str) -> Result<PathBuf, CgroupError> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|source| CgroupError::Read { path: path.into(), source })
    };
    let mount = v2_mount(&read("/proc/self/mountinfo")?).ok_or(CgroupError::NoV2)?;
    let own = own_cgroup(&read("/proc/self/cgroup")?).ok_or(CgroupError::NoOwn)?;
    Ok(mount.below(&own).join(format!("{PREFIX}{id}")))
}

impl RunCgroup {
    /// Makes `dir` (see [`place`]) with the cgroups of the command and of the proxy in it.
    ///
    /// # Errors
    ///
    /// Names the directory that could not be made or opened.
    pub fn create(dir: PathBuf) -> Result<Self, CgroupError> {
        for path in [dir.clone(), dir.join("agent"), dir.join("proxy")] {
            fs::create_dir(&path).map_err(|source| CgroupError::Make { path, source })?;
        }
        let open = |name: &str| open_dir(&dir.join(name));
        let end = End::open(&dir).map_err(|source| match source.kind() {
            // The cgroup was made just now: what is missing is not the directory.
            io::ErrorKind::NotFound => CgroupError::NoKill(dir.clone()),
            _ => CgroupError::Open { path: dir.clone(), source },
        })?;
        Ok(Self { agent: open("agent")?, proxy: open("proxy")?, dir, end })
    }

    /// Kills every process and waits until none is left.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or a process outlives `patience` (uninterruptible sleep).
    pub fn kill(&self, patience: Duration) -> Result<(), CgroupError> {
        self.end.kill()?;
        self.end.wait_empty(patience)
    }

    /// Sends SIGKILL to every process, also to those that are being forked; does not wait.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn kill_now(&self) -> Result<(), CgroupError> {
        self.end.kill()
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The command's cgroup.
    #[must_use]
    pub fn agent(&self) -> BorrowedFd<'_> {
        self.agent.as_fd()
    }

    /// The cgroup of the sockets that face the command.
    #[must_use]
    pub fn proxy(&self) -> BorrowedFd<'_> {
        self.proxy.as_fd()
    }
}

/// Kills every process below `dir` and waits until none is left; a cgroup that is gone is empty.
///
/// # Errors
///
/// When the kernel refuses, or a process outlives `patience` (uninterruptible sleep).
pub fn kill(dir: &Path, patience: Duration) -> Result<(), CgroupError> {
    match End::open(dir) {
        Ok(end) => {
            end.kill()?;
            end.wait_empty(patience)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CgroupError::Open { path: dir.into(), source }),
    }
}

impl End {
    fn open(dir: &Path) -> io::Result<Self> {
        let kill = File::options().write(true).open(dir.join("cgroup.kill"))?;
        Ok(Self { kill, events: File::open(dir.join("cgroup.events"))?, dir: dir.into() })
    }

    fn kill(&self) -> Result<(), CgroupError> {
        match (&self.kill).write_all(b"1") {
            Err(e) if !is_gone(&e) => Err(CgroupError::Kill { path: self.dir.clone(), source: e }),
            _ => Ok(()),
        }
    }

    /// Waits for `populated 0`.
    fn wait_empty(&self, patience: Duration) -> Result<(), CgroupError> {
        let failed = |source: io::Error| CgroupError::Read { path: self.dir.join("cgroup.events"), source };
        let deadline = Instant::now() + patience;
        loop {
            // A change after this read wakes the poll below: nothing is missed.
            let mut text = [0; 128];
            match self.events.read_at(&mut text, 0) {
                Err(e) if is_gone(&e) => return Ok(()),
                Err(e) => return Err(failed(e)),
                Ok(read) if !text[..read].starts_with(b"populated 1") => return Ok(()),
                Ok(_) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CgroupError::StillThere { path: self.dir.clone(), waited: patience });
            }
            let left = Timespec::try_from(left).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
            match poll(&mut [PollFd::new(&self.events, PollFlags::PRI)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(failed(e.into())),
            }
        }
    }
}

/// Whether an open file of a cgroup says that the cgroup was removed.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

/// Removes `dir` and the cgroups in it, all empty; what is not there is not an error.
///
/// # Errors
///
/// Names the cgroup that could not be removed.
pub fn remove(dir: &Path) -> Result<(), CgroupError> {
    for path in [dir.join("agent"), dir.join("proxy"), dir.to_owned()] {
        remove_one(&path)?;
    }
    Ok(())
}

/// Removes a cgroup and those the command may have made below it; one that is not there is not an error.
///
/// # Errors
///
/// Names the cgroup that could not be removed.
pub fn remove_one(path: &Path) -> Result<(), CgroupError> {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_one(&entry.path())?;
            }
        }
    }
    match fs::remove_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(CgroupError::Remove { path: path.to_owned(), source: e })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> RunCgroup {
        RunCgroup::create(place(&format!("unit-{}-{name}", std::process::id())).unwrap()).unwrap()
    }

    #[test]
    fn processes_are_killed_with_their_cgroup() {
        let cgroup = scratch("kill");
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        fs::write(cgroup.dir().join("agent/cgroup.procs"), child.id().to_string()).unwrap();
        cgroup.kill(Duration::from_secs(10)).unwrap();
        assert!(child.wait().unwrap().code().is_none());
        remove(cgroup.dir()).unwrap();
        assert!(!cgroup.dir().exists());
    }

    #[test]
    fn a_cgroup_that_is_gone_is_empty() {
        let cgroup = scratch("gone");
        remove(cgroup.dir()).unwrap();
        kill(cgroup.dir(), Duration::ZERO).unwrap();
        remove(cgroup.dir()).unwrap();
    }

    #[test]
    fn cgroups_below_are_removed() {
        let cgroup = scratch("below");
        fs::create_dir_all(cgroup.dir().join("agent/a/b")).unwrap();
        remove(cgroup.dir()).unwrap();
        assert!(!cgroup.dir().exists());
    }
}
