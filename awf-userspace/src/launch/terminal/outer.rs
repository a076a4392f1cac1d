//! The caller's terminal: raw while CMD has it, and as it was at every end.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::io::unix::AsyncFd;

/// Whether what is written to the terminal needs its carriage returns.
static RAW: AtomicBool = AtomicBool::new(false);

/// What ends a line on stderr now.
#[must_use]
pub fn line_end() -> &'static str {
    if RAW.load(Ordering::Relaxed) && rustix::termios::isatty(rustix::stdio::stderr()) {
        "\r\n"
    } else {
        "\n"
    }
}

/// What of the terminal's modes stays on while it is raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    /// Line ends: others write to it as they always do.
    pub(super) keep_output: bool,
    /// Ctrl-C and its kin signal the whole pipeline.
    pub(super) keep_keys: bool,
}

/// The caller's terminal; restored when dropped.
#[derive(Debug)]
pub(super) struct Outer {
    pub(super) fd: AsyncFd<OwnedFd>,
    modes: Modes,
    /// As it was, while it is raw.
    saved: Option<Termios>,
}

impl Outer {
    pub(super) fn new(fd: AsyncFd<OwnedFd>, modes: Modes) -> Self {
        Self { fd, modes, saved: None }
    }

    pub(super) fn is_in_front(&self) -> bool {
        is_in_front(self.fd.get_ref())
    }

    /// Whether there is still somebody at the other end.
    pub(super) fn is_gone(&self) -> bool {
        tcgetattr(self.fd.get_ref()).is_err()
    }

    pub(super) fn make_raw(&mut self) -> rustix::io::Result<()> {
        if self.saved.is_some() {
            return Ok(());
        }
        // Not as we found it once: the shell may have changed it since.
        let found = tcgetattr(self.fd.get_ref())?;
        tcsetattr(self.fd.get_ref(), OptionalActions::Now, &raw(&found, self.modes))?;
        RAW.store(!self.modes.keep_output, Ordering::Relaxed);
        self.saved = Some(found);
        Ok(())
    }

    /// Puts it back as it was, unless it is another's by now.
    pub(super) fn restore(&mut self) {
        if let Some(saved) = self.saved.take() {
            RAW.store(false, Ordering::Relaxed);
            if self.is_in_front() {
                let _ = tcsetattr(self.fd.get_ref(), OptionalActions::Now, &saved);
            }
        }
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        self.restore();
    }
}

fn raw(found: &Termios, modes: Modes) -> Termios {
    let mut raw = found.clone();
    raw.make_raw();
    if modes.keep_output {
        raw.output_modes = found.output_modes;
    }
    if modes.keep_keys {
        raw.local_modes |= found.local_modes & LocalModes::ISIG;
    }
    raw
}

/// Whether our process group has the terminal; one that controls nobody here is everybody's.
pub(super) fn is_in_front(terminal: impl AsFd) -> bool {
    match tcgetpgrp(terminal) {
        Ok(group) => group == getpgrp(),
        Err(error) => error == Errno::NOTTY,
    }
}
