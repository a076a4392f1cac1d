//! Pid 1 of CMD's pid namespace: reaps what CMD orphans, passes signals on, and ends with CMD; then the kernel kills
//! everything else in the namespace. It keeps one capability, to send signals to another user's process, and one
//! descriptor, by which it tells how CMD ended and notices that awf-bpf is gone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use rustix::thread::CapabilitySet;

use super::error::JailError;
use super::status::Ending;
use super::{lifeline, privileges};
use crate::sys::fork::{Fork, fork};
use crate::sys::inherit;
use crate::sys::signalfd::{self, SignalMask};

/// What may be meant for CMD (`launch::signals` has the same list), and the end of a child.
const HEARD: [Signal; 7] =
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::CHILD];

/// Exit code when we cannot go on; awf-bpf sees that no ending was told.
const LOST: u8 = 125;

/// Which of the two processes this is, and for init: with which code to exit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Command,
    Init(u8),
}

/// Returns at once in a new process that is to become CMD, and in this one when CMD has ended. The caller has one
/// thread.
pub(super) fn split(told: &OwnedFd) -> Result<Side, JailError> {
    let mask = SignalMask::of(&HEARD);
    signalfd::block(mask).map_err(JailError::Fork)?;
    let signals = signalfd::open(mask).map_err(JailError::Fork)?;
    match fork().map_err(JailError::Fork)? {
        Fork::Child => {
            lifeline::die_with_parent()?;
            lifeline::check_parent(Pid::INIT.as_raw_nonzero().get() as u32)?;
            Ok(Side::Command)
        }
        // Where it fails there is nobody to tell any more; CMD dies with us.
        Fork::Parent(command) => Ok(Side::Init(serve(command, &signals, told).unwrap_or(LOST))),
    }
}

fn serve(command: Pid, signals: &OwnedFd, told: &OwnedFd) -> Result<u8, JailError> {
    privileges::keep_only(CapabilitySet::KILL)?;
    // CMD's streams and the status pipe must not seem open because of us.
    inherit::close_all_but([signals.as_fd(), told.as_fd()]).map_err(JailError::CloseRange)?;
    loop {
        let mut events = [PollFd::new(signals, PollFlags::IN), PollFd::new(told, PollFlags::empty())];
        match poll(&mut events, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(JailError::Fork(error.into())),
        }
        // Nobody reads any more: awf-bpf is gone.
        if !events[1].revents().is_empty() {
            return Ok(LOST);
        }
        hear(command, signals).map_err(JailError::Fork)?;
        if let Some(ending) = reap(command) {
            // Five bytes into an empty pipe: whole, or its reader is gone.
            let _ = rustix::io::write(told, &ending.to_bytes());
            return Ok(ending.exit_code());
        }
    }
}

/// Passes on what was sent to us. Keys of the terminal reach CMD by themselves.
fn hear(command: Pid, signals: &OwnedFd) -> io::Result<()> {
    loop {
        match signalfd::read(signals) {
            Ok(got) if got.from_kernel || got.signo == libc::SIGCHLD => {}
            Ok(got) => {
                let _ = Signal::from_named_raw(got.signo).map(|signal| kill_process(command, signal));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Buries the dead; how CMD ended, if it has.
fn reap(command: Pid) -> Option<Ending> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => return Some(ending(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn ending(status: WaitStatus) -> Ending {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Code(code),
        (None, signal) => Ending::Signal(signal.unwrap_or(libc::SIGKILL)),
    }
}
