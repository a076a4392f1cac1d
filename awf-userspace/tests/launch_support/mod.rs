//! What the launch tests share: a cgroup guard, and a run of one command with its output caught in memory.
#![allow(dead_code, reason = "two test binaries use different parts")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use awf_userspace::jail::{Identity, InitSpec};
use awf_userspace::launch::{Exit, LaunchError, LaunchSpec, Stdio, spawn};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::MemfdFlags;

pub(crate) const AWF_BPF: &str = env!("CARGO_BIN_EXE_awf-bpf");
/// A uid and gid nobody has.
pub(crate) const UID: u32 = 424_242;

/// A cgroup v2 directory, emptied and removed at the end.
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    dir: File,
}

impl Cgroup {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = v2_mount().join(format!("awf-test-launch-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("make a cgroup: these tests need root");
        let dir = File::open(&path).unwrap();
        Self { path, dir }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub(crate) fn kill(&self) {
        std::fs::write(self.path.join("cgroup.kill"), "1").unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        let events = File::open(self.path.join("cgroup.events")).unwrap();
        while !std::fs::read_to_string(self.path.join("cgroup.events")).unwrap().contains("populated 0") {
            // The kernel notifies; the first poll after a read may return at once.
            let mut waited = [PollFd::new(&events, PollFlags::PRI)];
            rustix::event::poll(&mut waited, None).unwrap();
        }
        std::fs::remove_dir(&self.path).unwrap();
    }
}

fn v2_mount() -> PathBuf {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2 is mounted");
    line.split(' ').nth(4).unwrap().into()
}

/// One command, with what it is given.
pub(crate) struct Run {
    pub(crate) init: InitSpec,
    pub(crate) stdin: OwnedFd,
    pub(crate) netns: Option<OwnedFd>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) notes: Vec<String>,
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn code(&self) -> u8 {
        self.exit.code()
    }
}

/// `argv` as [`UID`] in `/`, with a plain PATH and nothing on stdin.
pub(crate) fn command(argv: &[&str]) -> Run {
    let argv = argv.iter().map(OsString::from).collect();
    let mut init = InitSpec::new(argv, Identity::bare(UID, UID), "/".into());
    init.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    Run { init, stdin: File::open("/dev/null").unwrap().into(), netns: None }
}

pub(crate) fn sh(script: &str) -> Run {
    command(&["sh", "-c", script])
}

pub(crate) fn python(script: &str) -> Run {
    command(&["/usr/bin/python3", "-c", script])
}

impl Run {
    pub(crate) fn try_run(&self) -> Result<Ran, LaunchError> {
        self.try_run_in(&Cgroup::new())
    }

    pub(crate) fn run(&self) -> Ran {
        self.try_run().unwrap_or_else(|error| panic!("{error} ({error:?})"))
    }

    pub(crate) fn refused(&self) -> LaunchError {
        self.try_run().expect_err("it ran")
    }

    pub(crate) fn try_run_in(&self, cgroup: &Cgroup) -> Result<Ran, LaunchError> {
        let (mut stdout, mut stderr) = (memory(b""), memory(b""));
        let exit = runtime().block_on(async {
            let mut spec =
                LaunchSpec::new(cgroup.fd(), self.netns.as_ref().map(AsFd::as_fd), self.init.clone());
            spec.program = AWF_BPF.into();
            spec.stdio = Stdio { stdin: self.stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() };
            let mut child = spawn(&spec).await?;
            let exit = child.wait().await.unwrap();
            Ok((exit, child.notes().to_vec()))
        });
        let (exit, notes) = exit?;
        let stderr = String::from_utf8_lossy(&contents(&mut stderr)).into_owned();
        Ok(Ran { exit, stdout: contents(&mut stdout), stderr, notes })
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A file in memory, positioned at its start.
pub(crate) fn memory(bytes: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn contents(file: &mut File) -> Vec<u8> {
    let mut all = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut all).unwrap();
    all
}

/// A directory under /tmp that everybody can enter, removed at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/awf-test-launch-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        set_mode(&path, mode);
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
