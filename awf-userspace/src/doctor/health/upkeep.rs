//! What comes with time: the clock, what killed runs left, and disk space.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use super::{Finding, Level};
use crate::session::state;

/// No clock that is right says less: 2026-01-01T00:00:00Z, before the first version was built.
const BUILT: Duration = Duration::from_secs(1_767_225_600);
/// Where records are kept: beside the run's state, or in a directory that --audit-dir names.
const AUDIT: &str = "/var/log";
/// A record has some hundred bytes.
const ROOM: u64 = 64 << 20;

pub(super) fn look(root: bool) -> Vec<Finding> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let modified = std::fs::metadata("/proc/self/exe").and_then(|meta| meta.modified()).ok();
    let installed = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let mut findings = vec![clock(now, installed), leftovers(root, state::find().ok())];
    let room = rustix::fs::statvfs(AUDIT).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    findings.push(disk(room.ok()));
    findings
}

/// Certificates are judged by the clock, and so are those that a run makes.
pub(super) fn clock(now: Duration, installed: Option<Duration>) -> Finding {
    const CHECK: &str = "clock";
    let remedy = "set the clock (timedatectl set-ntp true): certificates are judged by it";
    let slack = Duration::from_secs(24 * 3600);
    if now < BUILT {
        return Finding::bad(CHECK, Level::Degraded, "it shows a time before this program was built", remedy);
    }
    if installed.is_some_and(|time| time > now + slack) {
        return Finding::bad(
            CHECK,
            Level::Degraded,
            "it shows a time before this program was installed",
            remedy,
        );
    }
    Finding::ok(CHECK, "after the day on which this program was made")
}

pub(super) fn leftovers(root: bool, found: Option<state::Found>) -> Finding {
    const CHECK: &str = "leftover runs";
    let Some(found) = found else {
        let path = Path::new(state::STATE).display();
        return if root {
            Finding::bad(CHECK, Level::Degraded, format!("{path} cannot be read"), "awf-bpf gc says why")
        } else {
            Finding::unknown(CHECK, format!("{path} is root's"))
        };
    };
    let living = match found.living {
        0 => String::new(),
        living => format!("; {living} at work"),
    };
    if !found.unknown.is_empty() {
        let found = format!("{} of another version of awf-bpf", found.unknown.len());
        return Finding::bad(CHECK, Level::Degraded, found, "sudo awf-bpf gc, with that version");
    }
    match found.dead.len() {
        0 => Finding::ok(CHECK, format!("none{living}")),
        dead => {
            Finding::bad(CHECK, Level::Degraded, format!("{dead} of killed runs{living}"), "sudo awf-bpf gc")
        }
    }
}

/// Bytes that are left.
pub(super) fn disk(room: Option<u64>) -> Finding {
    const CHECK: &str = "disk";
    match room {
        Some(room) if room >= ROOM => {
            Finding::ok(CHECK, format!("{} MiB are free below {AUDIT}", room >> 20))
        }
        Some(room) => Finding::bad(
            CHECK,
            Level::Degraded,
            format!("{} MiB are free below {AUDIT}", room >> 20),
            "make room, or name another directory: --audit-dir; a record that cannot be written is lost",
        ),
        None => Finding::bad(
            CHECK,
            Level::Degraded,
            format!("{AUDIT} is not there"),
            "name a directory: --audit-dir",
        ),
    }
}
