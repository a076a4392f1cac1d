//! What a running awf-bpf takes of the machine, read from /proc.

use std::{fs, time::Duration};

use rustix::process::Pid;

/// One look.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the load began.
    pub at: Duration,
    pub pss_kib: u64,
    pub rss_kib: u64,
    pub fds: usize,
    pub threads: u64,
    /// Seconds of processor time, user and system.
    pub cpu: f64,
}

/// Looks at the process.
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn sample(pid: Pid, at: Duration) -> Sample {
    let proc = |name: &str| {
        let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}: awf-bpf is gone"))
    };
    let (rollup, status, stat) = (proc("smaps_rollup"), proc("status"), proc("stat"));
    let fds = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).map_or(0, Iterator::count);
    // Fields 14 and 15 (proc_pid_stat(5)), counted behind the name in parentheses; in ticks of 10 ms.
    let times = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Sample {
        at,
        pss_kib: field(&rollup, "Pss:"),
        rss_kib: field(&rollup, "Rss:"),
        fds,
        threads: field(&status, "Threads:"),
        cpu: ticks as f64 / 100.0,
    }
}

/// The most memory the process ever had (`VmHWM`), in KiB.
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn peak_kib(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}: awf-bpf is gone"));
    field(&status, "VmHWM:")
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_whitespace().next()).and_then(|n| n.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}
