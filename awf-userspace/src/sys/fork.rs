//! `fork(2)`, for a process of one thread.

use std::io;

use rustix::process::Pid;

/// Which of the two processes this is.
#[derive(Clone, Copy, Debug)]
pub enum Fork {
    Child,
    Parent(Pid),
}

/// Makes a second process like this one.
///
/// # Errors
/// `EAGAIN` or `ENOMEM` when there can be no more; `EINVAL` when this process has other threads, whose locks would
/// stay locked in the child for ever.
pub fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: no other thread exists (just checked), so the child has the same whole, consistent memory as we do.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid).expect("fork returns a pid above 0 to the parent"))),
    }
}

/// Ends this process at once, with code 0: nothing runs that the process it was copied from has registered.
pub fn end() -> ! {
    // SAFETY: no memory is involved, and nothing of this process comes after.
    unsafe { libc::_exit(0) }
}
