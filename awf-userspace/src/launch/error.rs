//! Why CMD could not be started.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::child::Exit;

/// A start that failed. CMD has not run; [`Self::exit_code`] is awf-bpf's.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("cannot write the start-up specification: {0}")]
    Spec(#[source] io::Error),
    #[error("{} cannot be the path of awf-bpf: it contains a NUL byte", path.display())]
    Program { path: PathBuf },
    #[error("cannot make the status pipe: {0}")]
    StatusPipe(#[source] io::Error),
    #[error("cannot start a process inside the command's cgroup: clone3: {source}{}", clone_hint(source))]
    Clone { source: io::Error },
    #[error("cannot watch the started process: {0}")]
    Watch(#[source] io::Error),
    #[error("the started process could not run awf-bpf again: {step}: {source}")]
    Reexec { step: &'static str, source: io::Error },
    #[error("cannot read what the started process reports: {0}")]
    Report(#[source] io::Error),
    #[error("the started process reports something unknown: {0:?}")]
    UnknownReport(String),
    #[error("setting up the command took more than {} s: is a hidden path on a server that does not answer?", .0.as_secs())]
    Late(Duration),
    #[error("cannot connect the command's terminal: {0}")]
    Terminal(#[source] io::Error),
    #[error("the started process ended before it ran the command ({0})")]
    Vanished(Exit),
    #[error("{message}")]
    Setup { message: String, errno: Option<i32> },
    #[error("{message}")]
    Exec { message: String, errno: Option<i32>, exit_code: u8 },
}

impl LaunchError {
    /// 127 when CMD was not found, 126 when it cannot be executed, 125 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exec { exit_code, .. } => *exit_code,
            _ => 125,
        }
    }
}

fn clone_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOSYS | libc::E2BIG) => " (needs Linux 5.7, and a container that does not filter clone3)",
        Some(libc::EOPNOTSUPP) => " (the cgroup is in threaded mode)",
        Some(libc::EBUSY) => " (the cgroup has controllers enabled for its children)",
        Some(libc::ENODEV) => " (the cgroup was removed)",
        Some(libc::EAGAIN) => " (a limit on processes: pids.max, or ulimit -u)",
        _ => "",
    }
}
