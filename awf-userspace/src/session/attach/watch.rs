//! Notices that nobody is left in a cgroup.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::AttachError;

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
