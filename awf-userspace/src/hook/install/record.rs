//! `/etc/awf-bpf/installed/NAME.json`: what an installation changes and what was there before, written down before the
//! first change, so that whoever finds it half done can undo it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{
    InstallError, disk,
    piece::{Access, Change, State},
};

/// The directory of the records, root's alone: `.env` may hold secrets, and they keep copies of it.
pub const DIR: &str = "/etc/awf-bpf/installed";
/// Of what is written here. Another one is not touched.
const FORMAT: u32 = 1;

/// One runner's installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    /// All changes are made. Without it, none may stay.
    pub done: bool,
    pub runner_dir: PathBuf,
    pub user: String,
    pub uid: u32,
    pub unit: Option<String>,
    pub binary: PathBuf,
    pub disable_sudo: bool,
    pub protect_env: bool,
    pub changes: Vec<Change>,
}

impl Record {
    #[must_use]
    pub fn new(runner_dir: PathBuf, user: String, uid: u32) -> Self {
        Self {
            format: FORMAT,
            done: false,
            runner_dir,
            user,
            uid,
            unit: None,
            binary: PathBuf::new(),
            disable_sudo: false,
            protect_env: false,
            changes: Vec::new(),
        }
    }

    #[must_use]
    pub fn change(&self, path: &Path) -> Option<&Change> {
        self.changes.iter().find(|change| change.path == path)
    }

    fn path(&self) -> PathBuf {
        Path::new(DIR).join(file_name(&self.runner_dir))
    }

    /// Writes it to the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn store(&self) -> Result<(), InstallError> {
        let path = self.path();
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| InstallError::Record { path: path.clone(), source: e })?;
        disk::put(&path, &State::file(Access::root(0o600), bytes), |_| Ok(()))
            .map_err(|source| InstallError::Path { path, source })
    }

    /// Forgets it: nothing of it is left.
    ///
    /// # Errors
    ///
    /// When the file cannot be removed.
    pub fn remove(&self) -> Result<(), InstallError> {
        let path = self.path();
        disk::put(&path, &State::Absent, |_| Ok(())).map_err(|source| InstallError::Path { path, source })
    }
}

/// All records of this machine.
///
/// # Errors
///
/// When one cannot be read: without it nobody knows what was there before.
pub fn all() -> Result<Vec<Record>, InstallError> {
    let failed = |path: &Path, source| InstallError::Path { path: path.to_owned(), source };
    let entries = match fs::read_dir(DIR) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| failed(Path::new(DIR), e))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| failed(Path::new(DIR), e))?.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let bytes = fs::read(&path).map_err(|e| failed(&path, e))?;
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|source| InstallError::Record { path: path.clone(), source })?;
        if record.format != FORMAT {
            return Err(InstallError::Format { path, format: record.format });
        }
        all.push(record);
    }
    all.sort_by(|a, b| a.runner_dir.cmp(&b.runner_dir));
    Ok(all)
}

/// Removes records that were never finished; to be called under the [`Lock`].
pub(super) fn sweep() {
    let unfinished = |path: &PathBuf| path.extension().is_some_and(|end| end == "awf-bpf-new");
    let entries = fs::read_dir(DIR).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(unfinished) {
        let _ = fs::remove_file(path);
    }
}

/// Holds off every other installation of this machine, until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] fs::File);

/// Waits for nobody: two administrators at once should know of each other.
///
/// # Errors
///
/// When another one is at work.
pub fn lock() -> Result<Lock, InstallError> {
    // Of a directory that always is there: ours come and go.
    let failed = |source| InstallError::Path { path: "/etc".into(), source };
    let file = fs::File::open("/etc").map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(InstallError::Busy),
        Err(e) => Err(failed(e.into())),
    }
}

/// The last part of the directory, to be recognized, and a number to be unique.
fn file_name(runner_dir: &Path) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
    let last = runner_dir.file_name().unwrap_or_default().to_string_lossy();
    let last: String = last.chars().filter(fits).take(40).collect();
    let hash = ring::digest::digest(&ring::digest::SHA256, runner_dir.as_os_str().as_encoded_bytes());
    let hash: String = hash.as_ref()[..6].iter().map(|b| format!("{b:02x}")).collect();
    format!("{last}-{hash}.json")
}

#[cfg(test)]
mod tests {
    use super::super::piece::Role;
    use super::*;

    #[test]
    fn runners_of_the_same_name_have_different_records() {
        let (a, b) = (file_name(Path::new("/srv/a/runner")), file_name(Path::new("/srv/b/runner")));
        assert!(a != b && a.starts_with("runner-") && a.ends_with(".json"), "{a} {b}");
        assert!(!file_name(Path::new("/srv/a b/../x\n")).contains([' ', '/', '\n']));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = Record::new("/srv/r".into(), "runner".into(), 7);
        let before = State::file(Access { mode: 0o640, uid: 7, gid: 8 }, vec![0, 255, b'\n']);
        let (role, path) = (Role::Env, "/srv/r/.env".into());
        record.changes.push(Change { role, path, before, after: State::Absent, earlier: Some(State::Other) });
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
