//! CMD's terminal, from inside: a pseudo-terminal out of the devpts that CMD sees, so that ttyname(3) and /dev/tty
//! work. Its master goes to awf-bpf by a socket that CMD never has; init leads the session, so that CMD's process
//! group has a parent outside of it and can be stopped by Ctrl-Z (an orphaned group cannot, POSIX 11.1.4).

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, send, sendmsg};
use rustix::process::{Pid, Signal, getpgrp, getpid, kill_process_group, setpgid, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use serde::{Deserialize, Serialize};

use super::error::JailError;
use crate::sys::signalfd::{self, SignalMask};

/// What CMD's terminal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSpec {
    /// Which of stdin, stdout and stderr it replaces.
    pub streams: [bool; 3],
    /// Whether CMD may read it from the start; else it is stopped when it tries, and awf-bpf decides.
    pub foreground: bool,
}

/// From awf-bpf to CMD's init, one byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The terminal is as it should be: go on.
    Start,
    /// Continue a stopped CMD, and say whether it has the terminal.
    Continue { foreground: bool },
    /// The caller's terminal is gone.
    HangUp,
}

/// The byte that comes with the master; every other one is the signal that stopped CMD.
pub const MASTER: u8 = 0;

impl Order {
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Start => b'S',
            Self::Continue { foreground: true } => b'F',
            Self::Continue { foreground: false } => b'B',
            Self::HangUp => b'H',
        }
    }

    /// `None` for anything [`Order::to_byte`] does not give.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let all = [
            Self::Start,
            Self::Continue { foreground: true },
            Self::Continue { foreground: false },
            Self::HangUp,
        ];
        all.into_iter().find(|order| order.to_byte() == byte)
    }
}

/// The terminal of the session that this process leads.
#[derive(Debug)]
pub(super) struct Terminal {
    control: OwnedFd,
    slave: OwnedFd,
    foreground: bool,
    /// Who was in front when CMD was stopped: CMD, or who CMD put there.
    front: Option<Pid>,
}

/// Leaves the caller's session, whose terminal `/dev/tty` would be; with `spec` a terminal of its own takes its place
/// and that of the standard streams that were one.
pub(super) fn begin_session(
    spec: Option<&TerminalSpec>,
    control: Option<OwnedFd>,
    uid: u32,
) -> Result<Option<Terminal>, JailError> {
    setsid().map_err(|e| JailError::Session(e.into()))?;
    match (spec, control) {
        (None, _) => Ok(None),
        (Some(spec), Some(control)) => Terminal::open(spec, control, uid).map(Some),
        (Some(_), None) => Err(JailError::NoTerminal),
    }
}

impl Terminal {
    fn open(spec: &TerminalSpec, control: OwnedFd, uid: u32) -> Result<Self, JailError> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = open_master(flags).map_err(failed("open /dev/pts/ptmx"))?;
        unlockpt(&master).map_err(failed("unlock it"))?;
        // Not by its name: between two looks a name can come to mean another.
        let slave = ioctl_tiocgptpeer(&master, flags).map_err(failed("open its other side"))?;
        rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(uid)), None)
            .map_err(failed("give it to the command's user"))?;
        hand_over(&control, master.as_fd()).map_err(failed("hand it to awf-bpf"))?;
        drop(master);
        match receive(&control).map_err(failed("wait for awf-bpf"))? {
            Some(Order::Start) => {}
            _ => return Err(failed("wait for awf-bpf")(Errno::PIPE)),
        }
        rustix::process::ioctl_tiocsctty(&slave).map_err(failed("make it the session's"))?;
        let place = [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr];
        for (_, place) in spec.streams.iter().zip(place).filter(|(replaced, _)| **replaced) {
            place(&slave).map_err(failed("make it a standard stream"))?;
        }
        // We change who is in front from behind.
        signalfd::block(SignalMask::of(&[Signal::TTIN, Signal::TTOU]))
            .map_err(|source| JailError::Terminal { step: "block its signals", source })?;
        Ok(Self { control, slave, foreground: spec.foreground, front: None })
    }

    /// For CMD: a process group of its own, in front if it may be. Nothing of this is open afterwards.
    pub(super) fn join(self) -> Result<(), JailError> {
        setpgid(None, None).map_err(failed("make a process group"))?;
        if self.foreground {
            tcsetpgrp(&self.slave, getpid()).map_err(failed("put the command in front"))?;
        }
        Ok(())
    }

    /// What init has to keep open.
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.control.as_fd(), self.slave.as_fd()]
    }

    pub(super) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Carries out what awf-bpf ordered, if it has.
    pub(super) fn obey(&mut self, command: Pid) {
        match receive_now(&self.control) {
            Ok(Some(Order::Continue { foreground })) => {
                let front = self.front.unwrap_or(command);
                // EIO or ENOTTY: it was hung up, and nobody is in front any more.
                let _ = tcsetpgrp(&self.slave, if foreground { front } else { getpgrp() });
                signal_groups(&[command, front], Signal::CONT);
            }
            Ok(Some(Order::HangUp)) => {
                let front = self.in_front().unwrap_or(command);
                signal_groups(&[command, front], Signal::HUP);
                signal_groups(&[command, front], Signal::CONT);
            }
            _ => {}
        }
    }

    /// Tells that CMD was stopped.
    pub(super) fn stopped(&mut self, signo: i32) {
        self.front = self.in_front();
        // Seldom, one byte each, into an empty socket: whole, or its reader is gone.
        let _ = send(&self.control, &[signo as u8], SendFlags::NOSIGNAL);
    }

    /// A key was pressed while nobody but us was in front: it was meant for CMD.
    pub(super) fn pass_key(command: Pid, signal: Signal) {
        signal_groups(&[command], signal);
    }

    /// Who has the terminal, if that is not us.
    fn in_front(&self) -> Option<Pid> {
        tcgetpgrp(&self.slave).ok().filter(|group| *group != getpgrp())
    }
}

/// Each group once. One that has ended already is no error.
fn signal_groups(groups: &[Pid], signal: Signal) {
    for (_, group) in groups.iter().enumerate().filter(|(i, group)| !groups[..*i].contains(group)) {
        let _ = kill_process_group(*group, signal);
    }
}

/// `/dev/ptmx` may be bound from another devpts than the one that is seen.
fn open_master(flags: OpenptFlags) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::open(c"/dev/pts/ptmx", flags.into(), Mode::empty()) {
        Err(Errno::NOENT) => openpt(flags),
        other => other,
    }
}

fn hand_over(control: &OwnedFd, master: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let fds = [master];
    rights.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(control, &[IoSlice::new(&[MASTER])], &mut rights, SendFlags::NOSIGNAL).map(drop)
}

fn receive(control: &OwnedFd) -> rustix::io::Result<Option<Order>> {
    order(control, RecvFlags::empty())
}

fn receive_now(control: &OwnedFd) -> rustix::io::Result<Option<Order>> {
    order(control, RecvFlags::DONTWAIT)
}

/// `None` at the end, and for what is no order.
fn order(control: &OwnedFd, flags: RecvFlags) -> rustix::io::Result<Option<Order>> {
    let mut byte = [0_u8; 1];
    let (got, _) = rustix::io::retry_on_intr(|| recv(control, &mut byte, flags))?;
    Ok(Order::from_byte(byte[0]).filter(|_| got == 1))
}

fn failed(step: &'static str) -> impl Fn(Errno) -> JailError {
    move |errno| JailError::Terminal { step, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_way() {
        for byte in 0..=u8::MAX {
            assert!(Order::from_byte(byte).is_none_or(|order| order.to_byte() == byte));
        }
        assert_eq!(Order::from_byte(b'F'), Some(Order::Continue { foreground: true }));
        assert_eq!(Order::from_byte(0), None);
    }
}
