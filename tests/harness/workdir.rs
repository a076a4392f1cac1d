//! The directory of one lab on disk, removed with it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::tools;

/// Whom the command runs as: the owner of its working directory.
pub const UID: u32 = 12345;

/// `/tmp/awf-e2e-PID-N`: root's, with a home, a working directory and a TMPDIR of [`UID`] inside.
#[derive(Debug)]
pub struct WorkDir(PathBuf);

impl WorkDir {
    #[must_use]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = PathBuf::from(format!("/tmp/awf-e2e-{}-{number}", std::process::id()));
        fs::create_dir(&root).unwrap_or_else(|e| panic!("create {}: {e}", root.display()));
        let dir = Self(root);
        fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o755)).expect("open the lab's directory");
        for name in ["home", "work", "tmp"] {
            dir.owned_dir(name);
        }
        fs::create_dir(dir.0.join("etc")).expect("create etc in the lab's directory");
        fs::create_dir(dir.0.join("bin")).expect("create bin in the lab's directory");
        dir
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// A file in the command's working directory, the command's own.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        chown(&path, Some(UID), Some(UID)).expect("give the file to the command");
        path
    }

    /// Copies a program to where every user may execute it (a build directory may be closed to others).
    pub fn install(&self, program: &Path) -> PathBuf {
        let path = self.0.join("bin").join(program.file_name().expect("a program has a name"));
        // Not by this process: a child that another test forks meanwhile would hold the copy open for writing, and
        // execve(2) would answer ETXTBSY.
        tools::succeed(Command::new(tools::require("install")).args(["-m", "755"]).arg(program).arg(&path));
        path
    }

    fn owned_dir(&self, name: &str) {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
        chown(&path, Some(UID), Some(UID)).expect("give the directory to the command (are you root?)");
    }
}

impl Default for WorkDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // A panic here would hide the test's own; what cannot be removed is in /tmp.
        let _ = fs::remove_dir_all(&self.0);
    }
}
