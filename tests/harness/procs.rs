//! Processes found by a marker in their arguments, wherever they have moved, and their end waited for.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{patience::stretch, process::wait_readable};

/// Kills whatever still carries the marker when dropped: a test that fails leaves nothing running.
#[derive(Debug)]
pub struct Marker(pub String);

impl Marker {
    /// A marker of this process and this name alone.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(format!("awf-e2e-marker-{name}-{}", std::process::id()))
    }

    /// Kills them and waits for their end.
    ///
    /// # Panics
    /// If one does not end.
    pub fn kill(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        // Again and again: between the look and the kill one may have forked.
        loop {
            let alive = marked(&self.0);
            let late = Instant::now() > end;
            assert!(alive.is_empty() || !late || thread::panicking(), "{alive:?} survived SIGKILL");
            if alive.is_empty() || late {
                return;
            }
            for pid in alive {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = wait_gone(&self.0, Duration::from_millis(100));
        }
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Every living process (zombies have no arguments) with `marker` in its command line.
#[must_use]
pub fn marked(marker: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let carries = |pid: &i32| {
        // A process that ended meanwhile carries nothing.
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id().cast_signed() && String::from_utf8_lossy(&cmdline).contains(marker)
    };
    pids.filter(carries).filter_map(Pid::from_raw).collect()
}

/// Waits until no process carries the marker; those still there when `limit` is over.
#[must_use]
pub fn wait_gone(marker: &str, limit: Duration) -> Vec<Pid> {
    let end = Instant::now() + stretch(limit);
    loop {
        let alive = marked(marker);
        let left = end.saturating_duration_since(Instant::now());
        let Some(first) = alive.first() else { return alive };
        if left.is_zero() {
            return alive;
        }
        // No pidfd: it ended just now.
        if let Ok(pidfd) = pidfd_open(*first, PidfdFlags::empty()) {
            wait_readable(&pidfd, left);
        }
    }
}
