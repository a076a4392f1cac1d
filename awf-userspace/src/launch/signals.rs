//! Signals for awf-bpf, as a stream. Blocked before any thread exists, so that every thread inherits it.
//!
//! Without a terminal SIGTSTP, SIGCONT and the rest keep their meaning.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Signal as Named;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::async_fd::readable;
use crate::sys::signalfd::{self, SignalMask};

const FORWARDED: [Named; 6] = [Named::INT, Named::TERM, Named::HUP, Named::QUIT, Named::USR1, Named::USR2];
/// What one hears of a terminal.
const OF_TERMINAL: [Named; 3] = [Named::TSTP, Named::CONT, Named::WINCH];
/// Blocked with them: we look ourselves whether the terminal is ours.
const NOT_IN_FRONT: [Named; 2] = [Named::TTIN, Named::TTOU];

/// Blocked and never read: beyond a caller's `ulimit -f` a write is to fail, and the audit record with it, not to end
/// awf-bpf.
const QUIET: [Named; 1] = [Named::XFSZ];

/// A signal that awf-bpf got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    pub signo: i32,
    /// A key on the terminal (Ctrl-C): everybody in our foreground group has it. CMD is in a session of its own.
    pub from_tty: bool,
}

impl Signal {
    /// As rustix names it.
    pub fn named(self) -> Option<Named> {
        Named::from_named_raw(self.signo)
    }
}

/// The signals, blocked; not yet read.
#[derive(Debug)]
pub struct BlockedSignals {
    fd: OwnedFd,
    original: SignalMask,
}

impl BlockedSignals {
    /// Blocks INT, TERM, HUP, QUIT, USR1 and USR2 in the calling thread, and in all it starts later: call it in
    /// `main`, before the runtime is built. Signals that are ignored (`nohup`) stay ignored.
    ///
    /// # Errors
    /// What `sigaction(2)`, `pthread_sigmask(3)` and `signalfd(2)` say.
    pub fn install() -> io::Result<Self> {
        Self::block(&FORWARDED, &QUIET)
    }

    /// As [`Self::install`], and what a terminal has to tell.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub fn install_for_terminal() -> io::Result<Self> {
        Self::block(&[&FORWARDED[..], &OF_TERMINAL].concat(), &[&QUIET[..], &NOT_IN_FRONT].concat())
    }

    fn block(heard: &[Named], quiet: &[Named]) -> io::Result<Self> {
        let mut ours = Vec::with_capacity(heard.len());
        for signal in heard {
            if !signalfd::is_ignored(*signal)? {
                ours.push(*signal);
            }
        }
        // A caller that ignores it would have the kernel bury our children, and how they ended with them.
        signalfd::set_default(Named::CHILD)?;
        let mask = SignalMask::of(&ours);
        let original = signalfd::block(mask)?;
        signalfd::block(SignalMask::of(quiet))?;
        Ok(Self { fd: signalfd::open(mask)?, original })
    }

    /// What was blocked before: for [`crate::jail::Restore::sigmask`], so that CMD starts with it.
    pub fn original_mask(&self) -> SignalMask {
        self.original
    }
}

/// The stream.
#[derive(Debug)]
pub struct Signals(AsyncFd<OwnedFd>);

impl Signals {
    /// Must run inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// What registering a descriptor with the runtime says.
    pub fn listen(blocked: BlockedSignals) -> io::Result<Self> {
        readable(blocked.fd).map(Self).map_err(|(_, error)| error)
    }

    /// The next signal. Cancel-safe.
    ///
    /// # Errors
    /// What reading a signalfd says.
    pub async fn next(&mut self) -> io::Result<Signal> {
        let got = self.0.async_io(Interest::READABLE, signalfd::read).await?;
        Ok(Signal { signo: got.signo, from_tty: got.from_kernel })
    }
}
