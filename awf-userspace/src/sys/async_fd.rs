//! Descriptors in tokio's reactor. `AsyncFd::register` is unsafe because any `AsRawFd` could lie; an `OwnedFd` cannot.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor for reading; gives it back with the error when that fails. Must run inside a tokio runtime
/// with I/O enabled.
///
/// # Errors
/// What `epoll_ctl(2)` says; `EPERM` for a regular file.
pub fn readable(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>, (OwnedFd, io::Error)> {
    register(fd, Interest::READABLE)
}

/// As [`readable`], for writing too.
///
/// # Errors
/// As [`readable`].
pub fn duplex(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    register(fd, Interest::READABLE | Interest::WRITABLE).map_err(|(_, error)| error)
}

fn register(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, (OwnedFd, io::Error)> {
    // SAFETY: an OwnedFd is open, always the same number, and closed only when dropped, which AsyncFd does last.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(|error| error.into_parts())
}
