//! What rustix does not offer of pseudo-terminals.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::Signal;

/// Sends INT, QUIT or TSTP to the foreground process group of the terminal whose master this is, as a key would
/// (`TIOCSIG`, drivers/tty/pty.c).
///
/// # Errors
/// `EINVAL` for another signal, `ENOTTY` for something that is no master.
pub fn signal_foreground(master: impl AsFd, signal: Signal) -> io::Result<()> {
    let fd = master.as_fd().as_raw_fd();
    // SAFETY: TIOCSIG takes the number itself; no memory is involved.
    match unsafe { libc::ioctl(fd, TIOCSIG, libc::c_long::from(signal.as_raw())) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `_IOW('T', 0x36, int)` of asm-generic/ioctls.h: x86, Arm and RISC-V. musl's requests are `int`.
#[allow(
    overflowing_literals,
    clippy::unnecessary_cast,
    reason = "the type of a request differs among C libraries"
)]
const TIOCSIG: libc::Ioctl = 0x4004_5436 as libc::Ioctl;
