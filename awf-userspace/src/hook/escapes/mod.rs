//! Ways out of a job's cgroup: each leads through something that runs outside of it and does what a step asks. What
//! can be closed is named with the remedy; nothing is taken for closed that could not be looked at.
//!
//! ```text
//! sudo       what it lets the user run          sockets    services that begin processes for others
//! daemons    cron, at, sshd, polkit, su         processes  of the same user, outside the job
//! files      of the runner, which decide the next job      cgroups    that the user may enter
//! networks   that others plug into the machine's
//! ```

pub mod cgroups;
mod daemons;
mod files;
mod networks;
mod processes;
mod sockets;
pub mod sudo;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{account::Account, install::record};

/// Whether a way out can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Closed,
    /// It could not be looked at.
    Unknown,
    Open,
}

/// One way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Escape {
    pub name: &'static str,
    pub way: Way,
    pub found: String,
    /// What closes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Escape {
    fn closed(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, way: Way::Closed, found: found.into(), remedy: None }
    }

    fn open(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, way: Way::Open, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn unknown(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, way: Way::Unknown, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// Every known way out for the steps of `account`, whose runner is in `runner_dir`; `binary` is what sudo runs for the
/// hooks. To be called by root: what sudo and the processes of others say is not for everybody.
#[must_use]
pub fn look(account: &Account, runner_dir: Option<&Path>, binary: &Path) -> Vec<Escape> {
    if account.uid == 0 {
        let found = "the runner runs as root, and root leaves every cgroup";
        return vec![Escape::open("root", found, "give the runner a user of its own")];
    }
    let mut all = vec![of_sudo(account, binary)];
    all.extend(sockets::look(account));
    all.push(sockets::vsock());
    all.push(networks::look(account));
    all.extend(daemons::look(account));
    all.push(processes::look(account));
    all.push(processes::diagnostics(account));
    all.push(cgroups::look(account));
    all.push(of_others(account, runner_dir));
    all.extend(runner_dir.map(|dir| files::look(account, dir)).into_iter().flatten());
    all
}

/// A step of another runner's may kill the shell of this one's hook before that has called sudo.
fn of_others(account: &Account, runner_dir: Option<&Path>) -> Escape {
    const NAME: &str = "other runners";
    const REMEDY: &str = "a user of its own for each runner";
    let records = match record::all() {
        Ok(records) => records,
        Err(e) => return Escape::unknown(NAME, e.to_string(), REMEDY),
    };
    let others =
        records.iter().filter(|record| record.uid == account.uid && Some(&*record.runner_dir) != runner_dir);
    let others: Vec<_> = others.take(5).map(|record| record.runner_dir.display().to_string()).collect();
    if others.is_empty() {
        return Escape::closed(NAME, format!("{} has one", account.name));
    }
    let found = format!(
        "{} runs others, too, whose jobs reach this one's processes: {}",
        account.name,
        others.join(", ")
    );
    Escape::open(NAME, found, REMEDY)
}

fn of_sudo(account: &Account, binary: &Path) -> Escape {
    let remedy = "awf-bpf hook install --disable-sudo";
    match sudo::beyond_the_hooks(&account.name, binary) {
        Err(e) => Escape::unknown("sudo", e.to_string(), remedy),
        Ok(all) if all.is_empty() => Escape::closed("sudo", "nothing but the hooks"),
        Ok(all) => {
            let free = all.iter().filter(|entry| entry.no_password).count();
            let shown = all.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let found = format!("{} may run {shown}", account.name);
            match free {
                // Who reads it from a keyboard or a file is not known here.
                0 => Escape::unknown("sudo", found, remedy),
                _ => Escape::open("sudo", found, remedy),
            }
        }
    }
}

/// The processes whose executable `wanted` takes, with its path.
fn running(wanted: impl Fn(&Path) -> bool) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let exe = |pid: u32| Some((pid, std::fs::read_link(format!("/proc/{pid}/exe")).ok()?));
    pids.filter_map(exe).filter(|(_, exe)| wanted(exe)).collect()
}

#[cfg(test)]
mod tests;
