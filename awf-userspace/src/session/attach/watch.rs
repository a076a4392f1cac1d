//! Notices that nobody is left in a cgroup, and sees to it that nobody is when a job's Worker has ended.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, thread, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::sync::mpsc;

use super::{AttachError, procs::Stat};
use crate::{cgroup, policy::live::Process};

/// How often it is looked, whatever is told: a change within 10 ms of another one is told of later, and not at all if the
/// cgroup is removed by then (`cgroup_file_notify`, kernel/cgroup/cgroup.c).
const LOOK: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Tells once: when `cgroup` is empty if it was `made` for the run, else when it was removed. Who stops a service leaves
/// its cgroup empty for the one that starts next.
///
/// # Errors
///
/// When it cannot be watched.
pub(super) fn start(cgroup: &Path, made: bool) -> Result<mpsc::Receiver<()>, AttachError> {
    let path = cgroup.join("cgroup.events");
    let failed = |source| AttachError::Io { what: "watching", path: path.clone(), source };
    let events = File::open(&path).map_err(failed)?;
    let (sender, receiver) = mpsc::channel(1);
    let cgroup = cgroup.to_owned();
    let watch = move || {
        if let Err(e) = wait(&events, &cgroup, made) {
            // Whoever detaches it still can.
            log::error!("{} is not watched any more: {e}", cgroup.display());
            return;
        }
        let _ = sender.blocking_send(());
    };
    thread::Builder::new().name("awf-watch".into()).spawn(watch).map_err(failed)?;
    Ok(receiver)
}

/// Kills whatever is in `cgroup` once `process` has ended. What outlived a job would be there, as the same user, when the next
/// one's hooks begin, and could kill them.
///
/// # Errors
///
/// When that cannot be waited for.
pub(super) fn end_with(process: Process, cgroup: &Path) -> Result<(), AttachError> {
    /// For processes in uninterruptible sleep: they are killed all the same.
    const PATIENCE: Duration = Duration::from_secs(10);
    let failed =
        |source| AttachError::Io { what: "watching", path: format!("/proc/{}", process.tgid).into(), source };
    let pid = Pid::from_raw(process.tgid.cast_signed()).ok_or(AttachError::NoProcess(process.tgid))?;
    // Of a process that is gone there is nothing to wait for.
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            Some(pidfd).filter(|_| Stat::read(process.tgid).is_some_and(|now| now.process() == process))
        }
        Err(rustix::io::Errno::SRCH) => None,
        Err(e) => return Err(failed(e.into())),
    };
    let cgroup = cgroup.to_owned();
    let end = move || {
        if let Some(pidfd) = pidfd {
            while poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
        }
        if let Err(e) = cgroup::kill(&cgroup, PATIENCE) {
            log::error!("what a job left may still run: {e}");
        }
    };
    thread::Builder::new().name("awf-end".into()).spawn(end).map(drop).map_err(failed)
}

fn wait(events: &File, cgroup: &Path, made: bool) -> io::Result<()> {
    loop {
        let mut text = [0; 128];
        let populated = match events.read_at(&mut text, 0) {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            other => text[..other?].starts_with(b"populated 1"),
        };
        if !populated && (made || !cgroup.exists()) {
            return Ok(());
        }
        match poll(&mut [PollFd::new(events, PollFlags::PRI)], Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
