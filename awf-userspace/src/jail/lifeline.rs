//! CMD dies with awf-bpf: `PR_SET_PDEATHSIG`, and the check that the parent had not died before it was set.
//!
//! The kernel sends the signal when the parent *thread* ends, so `launch::spawn` belongs on a thread that lives as
//! long as the run. It covers CMD itself; what CMD started is ended by `cgroup.kill`, and has no network meanwhile.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::error::JailError;

/// From now on SIGKILL follows the parent's end. A change of uid clears it.
pub(super) fn die_with_parent() -> Result<(), JailError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| JailError::Lifeline(e.into()))
}

/// Fails if the parent ended before [`die_with_parent`]: then nobody would send the signal.
pub(super) fn check_parent(parent: u32) -> Result<(), JailError> {
    let current = getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
    if current == parent { Ok(()) } else { Err(JailError::Orphaned { parent }) }
}
