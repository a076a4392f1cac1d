//! The descriptors a fresh `__init` process finds at known numbers, taken into ownership once.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::FdFlags;

/// Sealed memfd with the specification.
pub const SPEC_FD: RawFd = 3;
/// Write end of the status pipe.
pub const STATUS_FD: RawFd = 4;
/// Write end of the pipe by which CMD's init tells how CMD ended.
pub const ENDING_FD: RawFd = 5;
/// Read end of the pipe by which awf-bpf says that the firewall stands.
pub const GATE_FD: RawFd = 6;
/// The network namespace to enter, if there is one.
pub const NETNS_FD: RawFd = 7;
/// Our end of the socket pair by which awf-bpf gets CMD's terminal, if there is one.
pub const TERMINAL_FD: RawFd = 8;

/// What the parent passed besides stdin, stdout and stderr. The pipes last as long as the process, or until
/// [`keep_only`] or [`close_all_but`]: no owner closes them a second time.
#[derive(Debug)]
pub struct Inherited {
    pub spec: OwnedFd,
    pub status: ManuallyDrop<OwnedFd>,
    pub ending: ManuallyDrop<OwnedFd>,
    pub gate: OwnedFd,
    pub netns: Option<OwnedFd>,
    pub terminal: Option<OwnedFd>,
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the inherited descriptors, all close-on-exec from here on. To be called once, before the process opens
/// anything of its own.
///
/// # Errors
/// `EALREADY` the second time; `EBADF` when this process was not started by [`super::clone::spawn`].
pub fn take() -> io::Result<Inherited> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EALREADY));
    }
    Ok(Inherited {
        spec: adopt(SPEC_FD)?,
        status: ManuallyDrop::new(adopt(STATUS_FD)?),
        ending: ManuallyDrop::new(adopt(ENDING_FD)?),
        gate: adopt(GATE_FD)?,
        netns: adopt(NETNS_FD).ok(),
        terminal: adopt(TERMINAL_FD).ok(),
    })
}

/// Closes every descriptor from 3 up except `kept`. For the single-threaded `__init`, when it owns nothing else.
///
/// # Errors
/// `EINVAL` when `kept` is a standard stream; what `close_range(2)` says.
pub fn keep_only(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd();
    if kept < SPEC_FD {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    if kept > SPEC_FD {
        close_range(SPEC_FD as u32, kept as u32 - 1)?;
    }
    close_range(kept as u32 + 1, u32::MAX)
}

/// Closes every descriptor except those `kept`, the standard streams too. For a process that has nothing more to
/// say to anyone else.
///
/// # Errors
/// What `close_range(2)` says.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<_> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: no memory is involved. The callers are documented for a process that uses nothing else from then on;
    // whatever is open here came from outside, or belongs to what is never dropped.
    match unsafe { libc::close_range(first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: borrowed for one fcntl, which fails with EBADF when nothing is open there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: open (just checked), passed by the parent at this number for us to own, and taken only once (TAKEN).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
