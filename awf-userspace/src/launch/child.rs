//! A running CMD, held by a descriptor of its process: no pid can be reused under our hands.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};
use tokio::io::unix::AsyncFd;

use super::terminal::Console;
use crate::jail::status::{ENDING_LEN, Ending};
use crate::sys::async_fd::readable;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// The shell's rule: the code, or 128+N for signal N.
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code as u8,
            Self::Signal(signo) => (128 + signo) as u8,
        }
    }

    /// As CMD's init tells it, through `pipe`; `None` when it did not get to it, or there is none.
    fn told(pipe: &OwnedFd) -> Option<Self> {
        let mut bytes = [0; ENDING_LEN];
        let read = rustix::io::read(pipe, &mut bytes).ok()?;
        match Ending::from_bytes(bytes).filter(|_| read == ENDING_LEN)? {
            Ending::Code(code) => Some(Self::Code(code)),
            Ending::Signal(signo) => Some(Self::Signal(signo)),
        }
    }

    fn of(status: &WaitIdStatus) -> Option<Self> {
        let code = status.exit_status().map(Self::Code);
        code.or_else(|| status.terminating_signal().map(Self::Signal))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signo) => write!(f, "signal {signo}"),
        }
    }
}

/// A child process: CMD, or its init, which ends with it. Dropped before it ended, it is killed.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    ending: OwnedFd,
    exit: Option<Exit>,
    notes: Vec<String>,
    pub(super) console: Option<Console>,
}

impl Child {
    /// Must run inside a tokio runtime with I/O enabled.
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, ending: OwnedFd) -> io::Result<Self> {
        let pidfd = readable(pidfd).map_err(|(pidfd, error)| {
            kill_and_reap(pidfd.as_fd());
            error
        })?;
        Ok(Self { pid, pidfd, ending, exit: None, notes: Vec::new(), console: None })
    }

    /// Its process id, in awf-bpf's pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// What set-up wants the user to know, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn add_note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What remains of its terminal: to be drained when all of CMD is dead.
    pub fn take_console(&mut self) -> Option<Console> {
        self.console.take()
    }

    /// Waits for the end and reaps. Cancel-safe; answers again when called again.
    ///
    /// # Errors
    /// What `waitid(2)` says.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            let mut ready = self.pidfd.readable().await?;
            match try_wait(ready.get_inner().as_fd())? {
                Some(exit) => self.exit = Some(Exit::told(&self.ending).unwrap_or(exit)),
                None => ready.clear_ready(),
            }
        }
    }

    /// Sends a signal; one that has ended already is no error.
    ///
    /// # Errors
    /// What `pidfd_send_signal(2)` says.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.exit.is_some() {
            return Ok(());
        }
        match pidfd_send_signal(&self.pidfd, signal) {
            Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            kill_and_reap(self.pidfd.as_fd());
        }
    }
}

fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<Exit>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    Ok(waitid(WaitId::PidFd(pidfd), options)?.as_ref().and_then(Exit::of))
}

/// SIGKILL cannot be refused, so the wait is short.
fn kill_and_reap(pidfd: BorrowedFd<'_>) {
    if pidfd_send_signal(pidfd, Signal::KILL).is_ok() {
        let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    }
}
