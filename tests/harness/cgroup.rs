//! A cgroup of a test's own, as systemd gives one to a scope: cgroup v2, with the controllers of memory and processes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// Set where the machine is known to have them: then that it has not is a failure.
const REQUIRED: &str = "AWF_TEST_CGROUP2";

/// Removed when dropped, with what is in it.
#[derive(Debug)]
pub struct OwnCgroup {
    dir: PathBuf,
}

impl OwnCgroup {
    /// `None`, and said so: cgroup v2 does not count memory here, or in a container divides nothing.
    ///
    /// # Panics
    /// If `AWF_TEST_CGROUP2` is set, and it cannot be made.
    #[must_use]
    pub fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("awf-bpf-test-{}-{number}", std::process::id());
        match root().and_then(|root| Self::below(&root, &name)) {
            Ok(own) => Some(own),
            Err(why) => {
                assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but {why}");
                eprintln!("NOT SHOWN: no cgroup v2 that counts memory: {why}");
                None
            }
        }
    }

    fn below(root: &Path, name: &str) -> io::Result<Self> {
        let known = fs::read_to_string(root.join("cgroup.controllers"))?;
        if let Some(missing) = CONTROLLERS.iter().find(|one| !known.split_whitespace().any(|k| k == **one)) {
            return Err(io::Error::other(format!("{} has no controller {missing}", root.display())));
        }
        for controller in CONTROLLERS {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
        let dir = root.join(name);
        fs::create_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The file that a process joins by.
    #[must_use]
    pub fn procs(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    /// Panics unless it is as it was made: nothing below it, and not divided.
    #[track_caller]
    pub fn assert_undivided(&self) {
        let passed_on = fs::read_to_string(self.dir.join("cgroup.subtree_control")).expect("read it");
        assert_eq!(passed_on.trim(), "", "{} is divided", self.dir.display());
        assert_eq!(below(&self.dir), Vec::<PathBuf>::new());
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        end(&self.dir);
    }
}

/// Kills what is in the cgroup and removes it.
pub(crate) fn end(dir: &Path) {
    // Removed once it is empty: what is killed takes a moment, and who fails here has failed before.
    let _ = fs::write(dir.join("cgroup.kill"), "1");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !remove(dir) && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
}

fn remove(dir: &Path) -> bool {
    below(dir).iter().all(|one| remove(one)) && fs::remove_dir(dir).is_ok()
}

pub(crate) fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect()
}

/// Where cgroup v2 is mounted.
pub(crate) fn root() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let of_v2 = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    };
    mounts.lines().find_map(of_v2).ok_or_else(|| io::Error::other("cgroup v2 is not mounted"))
}
