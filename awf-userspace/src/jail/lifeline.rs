//! CMD dies with awf-bpf: `PR_SET_PDEATHSIG`, and the check that the parent had not died before it was set.
//!
//! The kernel sends the signal when the parent *thread* ends, so `launch::spawn` belongs on a thread that lives as
//! long as the run. It covers CMD itself; what CMD started is ended by `cgroup.kill`, and has no network meanwhile.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::error::JailError;

/// From now on SIGKILL follows the parent's end. A change of uid clears it.
pub(super) fn die_with_parent() -> Result<(), JailError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|e| JailError::Lifeline(e.into()))
}

/// Fails if nobody reads `pipe`, which only the parent does: from a pid namespace of our own its number cannot be
/// asked for. Init goes on watching.
pub(super) fn check_reader(pipe: impl AsFd, parent: u32) -> Result<(), JailError> {
    let mut events = [PollFd::new(&pipe, PollFlags::empty())];
    match poll(&mut events, Some(&Timespec::default())) {
        Ok(_) if events[0].revents().is_empty() => Ok(()),
        Ok(_) => Err(JailError::Orphaned { parent }),
        Err(error) => Err(JailError::Lifeline(error.into())),
    }
}

/// Waits until awf-bpf says through `gate` that the firewall stands. Its end without a word means that it does not.
pub(super) fn pass(gate: OwnedFd, parent: u32) -> Result<(), JailError> {
    loop {
        match rustix::io::read(&gate, &mut [0; 1]) {
            Ok(0) => return Err(JailError::Orphaned { parent }),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(JailError::Lifeline(error.into())),
        }
    }
}

/// As [`check_parent`], for the number asked earlier.
pub(super) fn check_unchanged(parent: Option<Pid>) -> Result<(), JailError> {
    check_parent(parent.map_or(0, |pid| pid.as_raw_nonzero().get() as u32))
}

/// Fails if the parent ended before [`die_with_parent`]: then nobody would send the signal.
pub(super) fn check_parent(parent: u32) -> Result<(), JailError> {
    let current = getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
    if current == parent { Ok(()) } else { Err(JailError::Orphaned { parent }) }
}
