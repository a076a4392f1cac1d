//! Processes of the runner's user that are no part of a job: Runner.Listener, and who starts it. Who may trace one acts
//! with its hands (ptrace(2), /proc/PID/mem).

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use super::{Escape, running};
use crate::hook::account::Account;

pub(super) fn look(account: &Account) -> Escape {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    judge(scope.as_deref().map(str::trim), &of(account.uid))
}

/// The .NET runtime of the runner takes commands of its user's processes on a socket, among them to load code
/// (learn.microsoft.com/dotnet/core/diagnostics/diagnostic-port).
pub(super) fn diagnostics(account: &Account) -> Escape {
    const NAME: &str = "diagnostics port";
    const REMEDY: &str = "Environment=DOTNET_EnableDiagnostics=0 in the runner's service (systemctl edit), and restart it: \
        .env is read too late";
    let sockets = match fs::read_to_string("/proc/net/unix") {
        Ok(text) => text,
        Err(e) => return Escape::unknown(NAME, format!("/proc/net/unix: {e}"), REMEDY),
    };
    let is_runners =
        |exe: &PathBuf| exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("Runner."));
    let has_one = |pid: u32| sockets.contains(&format!("/dotnet-diagnostic-{pid}-"));
    let open: Vec<_> =
        of(account.uid).into_iter().filter(|(pid, exe)| is_runners(exe) && has_one(*pid)).collect();
    if open.is_empty() {
        return Escape::closed(NAME, "no process of the runner's that runs has one");
    }
    let shown: Vec<_> = open.iter().take(5).map(|(pid, exe)| format!("{} ({pid})", exe.display())).collect();
    Escape::open(
        NAME,
        format!("a step may have the runner's own processes load its code: {}", shown.join(", ")),
        REMEDY,
    )
}

/// Processes of that user, with their executables.
pub(super) fn of(uid: u32) -> Vec<(u32, PathBuf)> {
    let own = |pid: u32| fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == uid);
    running(|_| true).into_iter().filter(|(pid, _)| own(*pid)).collect()
}

/// Yama (Documentation/admin-guide/LSM/Yama.rst): 0 is as without it, 1 a process's own children.
pub(super) fn judge(scope: Option<&str>, own: &[(u32, PathBuf)]) -> Escape {
    const NAME: &str = "ptrace";
    match scope {
        Some(scope @ ("1" | "2" | "3")) => Escape::closed(
            NAME,
            format!("kernel.yama.ptrace_scope is {scope}: a step traces at most its own children"),
        ),
        _ => {
            let shown: Vec<_> =
                own.iter().take(5).map(|(pid, exe)| format!("{} ({pid})", exe.display())).collect();
            let now = if shown.is_empty() { "none runs now".to_owned() } else { shown.join(", ") };
            Escape::open(
                NAME,
                format!(
                    "a step may take over processes of its user outside the job, as Runner.Listener: {now}"
                ),
                "sysctl -w kernel.yama.ptrace_scope=1, and in /etc/sysctl.d; a kernel without Yama has no remedy",
            )
        }
    }
}
