//! Pid 1 of CMD's pid namespace, or with `--chroot off` the leader of its session: reaps what CMD orphans, passes
//! signals on, and ends with CMD; then the kernel kills everything else in the namespace. It keeps one capability, to
//! send signals to another user's process, and one descriptor, by which it tells how CMD ended and notices that awf-bpf
//! is gone; with a terminal also that, and the socket on which awf-bpf orders it to stop and go on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use rustix::thread::CapabilitySet;

use super::error::JailError;
use super::status::Ending;
use super::terminal::Terminal;
use super::{lifeline, privileges};
use crate::sys::fork::{Fork, fork};
use crate::sys::inherit;
use crate::sys::signalfd::{self, SignalMask};

/// What may be meant for CMD (`launch::signals` has the same list), and the end of a child.
const HEARD: [Signal; 8] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TSTP,
    Signal::CHILD,
];

/// Exit code when we cannot go on; awf-bpf sees that no ending was told.
const LOST: u8 = 125;

/// Which of the two processes this is, and for init: with which code to exit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Command,
    Init(u8),
}

/// Returns at once in a new process that is to become CMD, and in this one, after `filter`, when CMD has ended. The
/// caller has one thread.
pub(super) fn split(
    told: &OwnedFd,
    terminal: Option<Terminal>,
    filter: impl FnOnce() -> Result<(), JailError>,
) -> Result<Side, JailError> {
    let mask = SignalMask::of(&HEARD);
    signalfd::block(mask).map_err(JailError::Fork)?;
    let signals = signalfd::open(mask).map_err(JailError::Fork)?;
    let own = std::process::id();
    match fork().map_err(JailError::Fork)? {
        Fork::Child => {
            lifeline::die_with_parent()?;
            lifeline::check_parent(own)?;
            terminal.map_or(Ok(()), Terminal::join)?;
            Ok(Side::Command)
        }
        // Where it fails there is nobody to tell any more; CMD dies with us.
        Fork::Parent(command) => {
            let code = filter().and_then(|()| serve(command, &signals, told, terminal));
            Ok(Side::Init(code.unwrap_or(LOST)))
        }
    }
}

fn serve(
    command: Pid,
    signals: &OwnedFd,
    told: &OwnedFd,
    mut terminal: Option<Terminal>,
) -> Result<u8, JailError> {
    privileges::keep_only(CapabilitySet::KILL)?;
    // CMD's streams and the status pipe must not seem open because of us.
    let mut kept = vec![signals.as_fd(), told.as_fd()];
    kept.extend(terminal.iter().flat_map(Terminal::fds));
    inherit::close_all_but(&kept).map_err(JailError::CloseRange)?;
    loop {
        let control = terminal.as_ref().map(Terminal::control);
        let mut events = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(told, PollFlags::empty())];
        events.extend(control.as_ref().map(|control| PollFd::new(control, PollFlags::IN)));
        match poll(&mut events, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(JailError::Fork(error.into())),
        }
        // Nobody reads any more: awf-bpf is gone.
        if !events[1].revents().is_empty() {
            return Ok(LOST);
        }
        hear(command, signals, terminal.is_some()).map_err(JailError::Fork)?;
        if let Some(terminal) = &mut terminal {
            terminal.obey(command);
        }
        if let Some(ending) = reap(command, terminal.as_mut()) {
            // Five bytes into an empty pipe: whole, or its reader is gone.
            let _ = rustix::io::write(told, &ending.to_bytes());
            return Ok(ending.exit_code());
        }
    }
}

/// Passes on what was sent to us. Keys of the terminal reach CMD by themselves, unless we are in front of it.
fn hear(command: Pid, signals: &OwnedFd, with_terminal: bool) -> io::Result<()> {
    loop {
        match signalfd::read(signals) {
            Ok(got) if got.signo == libc::SIGCHLD => {}
            Ok(got) => match Signal::from_named_raw(got.signo) {
                Some(signal) if got.from_kernel && with_terminal => Terminal::pass_key(command, signal),
                Some(signal) if !got.from_kernel => drop(kill_process(command, signal)),
                _ => {}
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Buries the dead; how CMD ended, if it has.
fn reap(command: Pid, mut terminal: Option<&mut Terminal>) -> Option<Ending> {
    let stopped = if terminal.is_some() { WaitOptions::UNTRACED } else { WaitOptions::empty() };
    loop {
        match wait(WaitOptions::NOHANG | stopped) {
            Ok(Some((pid, status))) if pid == command && !status.stopped() => return Some(ending(status)),
            Ok(Some((pid, status))) if pid == command => {
                if let (Some(terminal), Some(signo)) = (terminal.as_mut(), status.stopping_signal()) {
                    terminal.stopped(signo);
                }
            }
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
