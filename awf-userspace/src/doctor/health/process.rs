//! What this process may do.

use super::{Finding, Level, read};

/// By their numbers in include/uapi/linux/capability.h: without these no run begins.
const NEEDED: [(u32, &str); 9] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (8, "CAP_SETPCAP"),
    (12, "CAP_NET_ADMIN"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
    (27, "CAP_MKNOD"),
];
/// Without these there is less.
const WANTED: [(u32, &str); 5] =
    [(5, "CAP_KILL"), (19, "CAP_SYS_PTRACE"), (24, "CAP_SYS_RESOURCE"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

pub(super) fn look(root: bool) -> Option<Finding> {
    let status = read("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Some(capabilities(root, line.map(str::trim)))
}

/// `effective` as in /proc/PID/status (proc_pid_status(5)).
pub(super) fn capabilities(root: bool, effective: Option<&str>) -> Finding {
    const CHECK: &str = "capabilities";
    if !root {
        return Finding::unknown(CHECK, "not root: awf-bpf exec, attach and hook need root");
    }
    let Some(bits) = effective.and_then(|text| u64::from_str_radix(text, 16).ok()) else {
        return Finding::bad(CHECK, Level::Unknown, "/proc/self/status does not say", "mount /proc");
    };
    // Either lets programs be loaded (capabilities(7)).
    let lacks = |number: u32| bits & (1 << number) == 0;
    let names = |all: &[(u32, &'static str)]| -> Vec<&str> {
        all.iter().filter(|(number, _)| lacks(*number)).map(|(_, name)| *name).collect()
    };
    let (needed, wanted) = (names(&NEEDED), names(&WANTED));
    let remedy = "run it as root of the machine, or give the container these capabilities (--privileged)";
    if !needed.is_empty() {
        return Finding::bad(CHECK, Level::Unusable, format!("root without {}", needed.join(", ")), remedy);
    }
    if !wanted.is_empty() {
        return Finding::bad(CHECK, Level::Degraded, format!("root without {}", wanted.join(", ")), remedy);
    }
    Finding::ok(CHECK, "root, with all that are needed")
}
