//! `unshare(2)` for the calling thread.

use std::io;

use rustix::thread::UnshareFlags;

/// Gives the calling thread new namespaces, or its own copy of what threads share. For namespaces the process should
/// have one thread only.
///
/// # Errors
/// What `unshare(2)` says; `EINVAL` when `flags` holds `FILES`, which would break other threads' descriptors.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: only UnshareFlags::FILES can make descriptors invalid for others, and it is refused above.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    Ok(())
}
