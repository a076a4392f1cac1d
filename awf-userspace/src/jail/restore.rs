//! What awf-bpf changed about itself, put back for CMD.

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::error::JailError;
use super::spec::Restore;
use crate::sys::signalfd;

/// Limits and the out-of-memory score; needs privileges.
pub(super) fn limits(restore: &Restore) -> Result<(), JailError> {
    if let Some((soft, hard)) = restore.nofile {
        setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: Some(hard) })
            .map_err(|e| JailError::Restore { what: "RLIMIT_NOFILE", source: e.into() })?;
    }
    if let Some(score) = restore.oom_score_adj {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(|source| JailError::Restore { what: "/proc/self/oom_score_adj", source })?;
    }
    Ok(())
}

/// The signal mask, and SIGPIPE's action: the Rust runtime ignores it, and ignored signals survive `execve`.
pub(super) fn signals(restore: &Restore) -> Result<(), JailError> {
    signalfd::set_default(Signal::PIPE).map_err(|source| JailError::Restore { what: "SIGPIPE", source })?;
    signalfd::set_mask(restore.sigmask)
        .map_err(|source| JailError::Restore { what: "the signal mask", source })
}
