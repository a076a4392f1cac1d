//! Whose job it is: the Runner.Worker that started the hook that started us, found by descent.
//!
//! sudo and the hook's shell stand between. Names and arguments are their owner's to choose; the parent, the executable
//! and the start of a process are not. A Worker is one if its executable is the very file that the installed runner has.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{hook::install::record, policy::live::Process, sys::proc_stat::Stat};

/// The file name of the Worker's executable.
const NAME: &str = "Runner.Worker";
/// Processes of sudo that may stand between: itself, and one that watches the terminal.
const SUDOS: usize = 3;

/// How long a thread may take to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why it is nobody's job.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkerError {
    #[error("awf-bpf hook is for the runner to call, as root by sudo (hook install sets that up)")]
    NotRoot,
    #[error("the process that called ended meanwhile")]
    Gone,
    #[error(
        "it was not called by a job hook of a runner: process {pid} ({exe}) stands where Runner.Worker would"
    )]
    NotAWorker { pid: u32, exe: String },
    #[error(
        "the runner's Worker runs as user {0}: root leaves what holds a job; configure the runner for a user of its own"
    )]
    Root(u32),
    #[error("Runner.Worker {pid} is not a process of the user {caller} who called")]
    Foreign { pid: u32, caller: u32 },
}

/// The Worker above us.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) process: Process,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) exe: PathBuf,
    /// The processes between it and us, we the first one: numbers and starts.
    pub(super) between: Vec<(u32, u64)>,
    /// The directory of the installed runner that it belongs to.
    pub(super) runner: Option<PathBuf>,
}

impl Worker {
    /// Looks upwards from this process.
    ///
    /// # Errors
    ///
    /// When it is not a Worker that called.
    pub(super) fn find(sudo_uid: Option<&str>) -> Result<Self, WorkerError> {
        if !rustix::process::geteuid().is_root() {
            return Err(WorkerError::NotRoot);
        }
        let chain = chain()?;
        let (worker, between) = chain.split_last().ok_or(WorkerError::Gone)?;
        let exe = exe(worker.pid).unwrap_or_else(|| PathBuf::from("no executable that can be seen"));
        if exe.file_name().is_none_or(|name| name != NAME) {
            return Err(WorkerError::NotAWorker { pid: worker.pid, exe: shown(&exe) });
        }
        let (uid, gid) = owner(worker.pid).ok_or(WorkerError::Gone)?;
        if uid == 0 {
            return Err(WorkerError::Root(uid));
        }
        let caller: Option<u32> = sudo_uid.and_then(|uid| uid.parse().ok());
        if let Some(caller) = caller.filter(|caller| *caller != uid) {
            return Err(WorkerError::Foreign { pid: worker.pid, caller });
        }
        let runner = installed(worker.pid, uid);
        let found = Self {
            process: Process { tgid: worker.pid, started: worker.stat.start },
            uid,
            gid,
            exe,
            between: between.iter().map(|one| (one.pid, one.stat.start)).collect(),
            runner,
        };
        // All of them are who they were when it was asked whose children they are.
        let same = |one: &Link| Stat::read(one.pid).is_some_and(|now| now == one.stat);
        if chain.iter().all(same) { Ok(found) } else { Err(WorkerError::Gone) }
    }

    /// Whether it still is the process that was found.
    pub(super) fn lives(&self) -> bool {
        lives(self.process.tgid, self.process.started)
    }

    /// Whether all between it and us are still there, each the child of the next, so that it waits for them. (Who has ended
    /// may be in /proc for another while; its children are somebody else's at once.)
    pub(super) fn waits(&self) -> bool {
        let above = self.between.iter().skip(1).map(|(pid, _)| *pid).chain([self.process.tgid]);
        let mut links = self.between.iter().zip(above);
        links.all(|((pid, started), above)| {
            Stat::read(*pid).is_some_and(|stat| stat.start == *started && stat.ppid == above)
        })
    }

    /// Stops it: were the hook that it waits for ended, it would go on to the steps while nothing holds them yet.
    pub(super) fn stop(&self) -> Option<Stopped> {
        let pidfd = pidfd_open(Pid::from_raw(self.process.tgid.cast_signed())?, PidfdFlags::empty()).ok()?;
        pidfd_send_signal(&pidfd, Signal::STOP).ok().filter(|()| self.lives())?;
        let stopped = Stopped(pidfd);
        let end = Instant::now() + PATIENCE;
        while self.lives() && Instant::now() < end && !all_stopped(self.process.tgid) {
            thread::yield_now();
        }
        Some(stopped)
    }

    /// The environment of the hook's own process; of one that sudo took the place of, sudo's.
    pub(super) fn caller(&self) -> Option<u32> {
        self.between.last().map(|(pid, _)| *pid).filter(|pid| *pid != std::process::id())
    }
}

/// Goes on when this value is gone.
#[derive(Debug)]
pub(super) struct Stopped(OwnedFd);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended.
        let _ = pidfd_send_signal(&self.0, Signal::CONT);
    }
}

/// Whether every thread is (proc_pid_stat(5)): one that was in the middle of a call stops when that is done.
fn all_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.into_iter().all(|task| {
        let text = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        text.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// Whether the process of that number is still the one that started then.
pub(super) fn lives(pid: u32, started: u64) -> bool {
    Stat::read(pid).is_some_and(|stat| stat.start == started)
}

struct Link {
    pid: u32,
    stat: Stat,
}

/// From us upwards: sudo's processes, at most one of the user's, and who started that.
fn chain() -> Result<Vec<Link>, WorkerError> {
    let link = |pid| Stat::read(pid).map(|stat| Link { pid, stat }).ok_or(WorkerError::Gone);
    let mut chain = vec![link(std::process::id())?];
    let mut of_user = 0;
    while of_user < 2 && chain.len() < SUDOS + 3 {
        let last = &chain[chain.len() - 1];
        let parent = link(last.stat.ppid)?;
        if parent.stat.start > last.stat.start {
            return Err(WorkerError::Gone);
        }
        of_user += usize::from(of_user > 0 || !is_sudo(parent.pid));
        let named = exe(parent.pid).is_some_and(|exe| exe.file_name().is_some_and(|name| name == NAME));
        // Who lost its parent has init's.
        let done = named || parent.pid <= 1;
        chain.push(parent);
        if done {
            break;
        }
    }
    Ok(chain)
}

/// Root's sudo, become root: its real user is still who called.
fn is_sudo(pid: u32) -> bool {
    let named =
        exe(pid).is_some_and(|exe| exe.file_name().is_some_and(|name| name == "sudo" || name == "sudo-rs"));
    let root = fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(|meta| meta.uid() == 0);
    named && root && ids(pid, "Uid:").is_some_and(|[_, effective, saved, _]| (effective, saved) == (0, 0))
}

/// The runner whose Worker `pid` executes: the same file, whatever its path says in whatever mount namespace.
fn installed(pid: u32, uid: u32) -> Option<PathBuf> {
    let id = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let own = id(Path::new(&format!("/proc/{pid}/exe")))?;
    let records = record::all().unwrap_or_else(|e| {
        log::error!("{e}");
        Vec::new()
    });
    let dirs =
        records.into_iter().filter(|record| record.done && record.uid == uid).map(|record| record.runner_dir);
    dirs.into_iter().find(|dir| id(&dir.join("bin").join(NAME)) == Some(own))
}

fn exe(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// The user and the group of a process that has but one of each.
fn owner(pid: u32) -> Option<(u32, u32)> {
    Some((only(pid, "Uid:")?, only(pid, "Gid:")?))
}

/// The id in a line of /proc/PID/status, if real, effective, saved and file system id are one.
fn only(pid: u32, name: &str) -> Option<u32> {
    let ids = ids(pid, name)?;
    ids.iter().all(|id| *id == ids[0]).then(|| ids[0])
}

fn ids(pid: u32, name: &str) -> Option<[u32; 4]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let ids: Vec<u32> = line.split_whitespace().map_while(|id| id.parse().ok()).collect();
    ids.try_into().ok()
}

/// A path is its owner's words.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_no_runner_started_is_refused() {
        // The test's own parents are cargo and a shell, whoever calls it.
        let error = Worker::find(None).unwrap_err();
        assert!(
            matches!(error, WorkerError::NotAWorker { .. } | WorkerError::Gone | WorkerError::NotRoot),
            "{error}"
        );
    }

    #[test]
    fn this_process_has_one_user_and_lives() {
        let own = std::process::id();
        assert_eq!(owner(own).map(|(uid, _)| uid), Some(rustix::process::getuid().as_raw()));
        let start = Stat::read(own).unwrap().start;
        assert!(lives(own, start) && !lives(own, start + 1) && !lives(u32::MAX, start));
        assert!(!is_sudo(own) && installed(own, 1).is_none());
    }
}
