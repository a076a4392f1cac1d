//! What a run leaves where the next start can find it: `/run/awf-bpf/<run>/`, with a lock that its owner holds for
//! as long as it lives and the path of its cgroup.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

mod look;

pub use look::{Found, Life, find, ids, look};

/// The state directory, 0700 and root's.
pub const STATE: &str = "/run/awf-bpf";
/// Runs that are being made are named so until they hold their lock.
const UNBORN: &str = ".new-";
/// How often a run may be taken for dead while it is being made.
const BIRTHS: u32 = 100;
/// How the state is written. Another number is another awf-bpf's, and none of our business.
const FORMAT: &str = "1";
/// The file that says so. Without it a run is being made, or is of before there was one.
pub(super) const FORMAT_FILE: &str = "format";
/// The file that only attached runs have.
const ATTACHED: &str = "attached.json";

/// Why the state of a run could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{path}: {source}")]
    Path { path: PathBuf, source: io::Error },
    #[error("{path} is not a directory of root's alone (owner {uid}, mode {mode:o}); remove it")]
    NotPrivate { path: PathBuf, uid: u32, mode: u32 },
    #[error("mounting bpffs on {path}: {source}")]
    MountBpffs { path: PathBuf, source: io::Error },
    #[error(
        "{path} is of format {found:?}, which this awf-bpf does not know; the awf-bpf that made it clears it"
    )]
    Format { path: PathBuf, found: String },
    #[error("reading random bytes: {0}")]
    Random(#[source] io::Error),
}

/// Makes `path` a directory of root's alone, or checks that it is one: another user who made it first would own
/// what is in it.
///
/// # Errors
///
/// When it cannot be made, or belongs to someone else.
pub fn make_private(path: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::Path { path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    let mode = meta.mode() & 0o7777;
    if !meta.is_dir() || meta.uid() != 0 || mode & 0o077 != 0 {
        return Err(StateError::NotPrivate { path: path.to_owned(), uid: meta.uid(), mode });
    }
    Ok(())
}

/// The state of a living run. Its lock ends with this value or with the process, however it ends.
#[derive(Debug)]
pub struct RunState {
    id: String,
    dir: PathBuf,
    _lock: File,
    _any: File,
}

impl RunState {
    /// Makes the directory of run `id`, holding its lock from the moment it has its name.
    ///
    /// # Errors
    ///
    /// Names the path that could not be made.
    pub fn create(id: String) -> Result<Self, StateError> {
        make_private(Path::new(STATE))?;
        let any = lock_any(FlockOperation::LockShared)?;
        let mut born = Self::bear(&id);
        // Between making its lock and holding it, a run looks dead to another one's start.
        for _ in 1..BIRTHS {
            match &born {
                Err(StateError::Path { source, .. }) if was_reaped(source) => born = Self::bear(&id),
                _ => break,
            }
        }
        let (dir, lock) = born?;
        Ok(Self { id, dir, _lock: lock, _any: any })
    }

    fn bear(id: &str) -> Result<(PathBuf, File), StateError> {
        // Another name at each try: what is swept may still be there in part.
        let unborn = Path::new(STATE).join(format!("{UNBORN}{}", new_id()?));
        let dir = Path::new(STATE).join(id);
        make_private(&unborn)?;
        let lock = open_lock(&unborn, true)?;
        let failed = |source| StateError::Path { path: unborn.clone(), source };
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| failed(e.into()))?;
        // Only what is locked is written to: what sweeps finds nothing new in a directory that it removes.
        fs::write(unborn.join(FORMAT_FILE), FORMAT).map_err(failed)?;
        fs::rename(&unborn, &dir).map_err(failed)?;
        Ok((dir, lock))
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes down which cgroup is the run's, before it is made: whoever finds us dead finds it.
    ///
    /// # Errors
    ///
    /// Names the file that could not be written.
    pub fn note_cgroup(&self, cgroup: &Path) -> Result<(), StateError> {
        let path = self.dir.join("cgroup");
        fs::write(&path, cgroup.as_os_str().as_encoded_bytes())
            .map_err(|source| StateError::Path { path, source })
    }

    /// Writes down the run's other cgroups, before they are made.
    ///
    /// # Errors
    ///
    /// Names the file that could not be written.
    pub fn note_more<'a>(&self, cgroups: impl Iterator<Item = &'a Path>) -> Result<(), StateError> {
        let bytes = cgroups.map(|path| path.as_os_str().as_encoded_bytes()).collect::<Vec<_>>().join(&0);
        let path = self.dir.join("more-cgroups");
        fs::write(&path, bytes).map_err(|source| StateError::Path { path, source })
    }

    /// The run's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes down what an attached run is. Whoever reads it reads all of it, or what it was before.
    ///
    /// # Errors
    ///
    /// Names the file that could not be written.
    pub fn note_attached(&self, bytes: &[u8]) -> Result<(), StateError> {
        let (path, new) = (self.dir.join(ATTACHED), self.dir.join(".attached.new"));
        fs::write(&new, bytes)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| StateError::Path { path, source })
    }

    /// Removes the state: nothing of the run is left.
    ///
    /// # Errors
    ///
    /// Names the directory that could not be removed.
    pub fn remove(self) -> Result<(), StateError> {
        remove_dir(&self.dir)
    }
}

/// A run whose owner is dead. While this value lives nobody else reaps it.
#[derive(Debug)]
pub struct DeadRun {
    pub id: String,
    pub cgroup: Option<PathBuf>,
    /// Of v1, and where awf-bpf itself stepped aside.
    pub more_cgroups: Vec<PathBuf>,
    dir: PathBuf,
    _lock: Option<File>,
}

impl DeadRun {
    /// What [`RunState::note_attached`] wrote; `None`: it is no attached run.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn attached(&self) -> Result<Option<Vec<u8>>, StateError> {
        attached(&self.dir)
    }

    /// Removes its state, after all else of it is gone.
    ///
    /// # Errors
    ///
    /// Names the directory that could not be removed.
    pub fn remove(self) -> Result<(), StateError> {
        remove_dir(&self.dir)
    }
}

/// What [`RunState::note_cgroup`] wrote.
pub(super) fn cgroup_of(dir: &Path) -> Option<PathBuf> {
    paths(dir, "cgroup").pop()
}

fn paths(dir: &Path, name: &str) -> Vec<PathBuf> {
    let bytes = fs::read(dir.join(name)).unwrap_or_default();
    let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
}

fn attached(dir: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let path = dir.join(ATTACHED);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Path { path, source }),
    }
}

fn check_format(dir: &Path) -> Result<(), StateError> {
    let path = dir.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == FORMAT => Ok(()),
        Ok(found) => Err(StateError::Format { path: dir.into(), found: found.chars().take(40).collect() }),
        // Not being able to look says nothing: the lock decides.
        Err(_) => Ok(()),
    }
}

/// `None`: its owner lives, or it is being reaped by another process.
fn dead_run(dir: PathBuf, id: &str, unborn: bool) -> Option<DeadRun> {
    let lock = match open_lock(&dir, false) {
        Ok(lock) => {
            flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some(lock)
        }
        // Between mkdir and its lock a run has nothing to reap, and is young.
        Err(e) if is_missing(&e) && (!unborn || is_old(&dir)) => None,
        // Not being able to look (no descriptor left, no memory) says nothing of its owner: who kills a living run
        // for that ends somebody's work.
        Err(_) => return None,
    };
    let (cgroup, more_cgroups) = (cgroup_of(&dir), paths(&dir, "more-cgroups"));
    Some(DeadRun { id: id.to_owned(), cgroup, more_cgroups, dir, _lock: lock })
}

/// The lock that every living run shares. Held exclusively, there is none, and none begins.
///
/// # Errors
///
/// When it cannot be had.
pub(super) fn lock_any(how: FlockOperation) -> Result<File, StateError> {
    let failed = |source| StateError::Path { path: STATE.into(), source };
    let any = File::open(STATE).map_err(failed)?;
    flock(&any, how).map_err(|e| failed(e.into()))?;
    Ok(any)
}

fn is_missing(error: &StateError) -> bool {
    matches!(error, StateError::Path { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Whether a step on the way to a new run failed because another process held its lock, or had removed it.
fn was_reaped(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound)
}

fn is_old(dir: &Path) -> bool {
    let age = fs::metadata(dir).ok().and_then(|m| m.modified().ok()).and_then(|t| t.elapsed().ok());
    age.is_some_and(|age| age > std::time::Duration::from_secs(60))
}

/// Whether a run may be called so.
pub(super) fn is_id(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn open_lock(dir: &Path, create: bool) -> Result<File, StateError> {
    let path = dir.join("lock");
    OpenOptions::new()
        .write(true)
        .create_new(create)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(|source| StateError::Path { path, source })
}

fn remove_dir(dir: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(StateError::Path { path: dir.to_owned(), source: e })
        }
        _ => Ok(()),
    }
}

/// The name of a new run, unique among all of this machine: 12 hexadecimal digits.
///
/// # Errors
///
/// When there are no random numbers.
pub fn new_id() -> Result<String, StateError> {
    let mut bytes = [0; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| StateError::Random(e.into()))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests;
