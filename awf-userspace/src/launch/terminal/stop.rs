//! Stopping ourselves as CMD was stopped, so that the caller's shell notices.

use std::io;

use rustix::process::{Signal, kill_current_process_group};

use crate::sys::signalfd;

/// What the caller sees for a CMD stopped by `signo`. SIGSTOP becomes SIGTSTP: no group without a shell that would
/// continue it is stopped by that, and a CMD must not stop who counts its time.
pub(super) fn seen_as(signo: i32) -> Signal {
    match Signal::from_named_raw(signo) {
        Some(signal @ (Signal::TTIN | Signal::TTOU)) => signal,
        _ => Signal::TSTP,
    }
}

/// Stops our whole process group, as the key would: whoever waits for us in it (`sudo`, `time`, a script) shall stop
/// as well. Returns when it is continued; false if there is nobody who would. All of it must be blocked.
pub(super) fn stop_group(signal: Signal) -> io::Result<bool> {
    kill_current_process_group(signal)?;
    signalfd::let_through(signal)?;
    // Also blocked: it is how we learn that we really stopped.
    signalfd::is_pending(Signal::CONT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_a_stop_that_cannot_be_declined() {
        for signo in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGKILL, 0, 64] {
            assert_eq!(seen_as(signo), Signal::TSTP, "{signo}");
        }
        assert_eq!((seen_as(libc::SIGTTIN), seen_as(libc::SIGTTOU)), (Signal::TTIN, Signal::TTOU));
    }
}
