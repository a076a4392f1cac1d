//! Scheduling of the calling thread (sched(7)).

use std::io;

/// Puts the calling thread before every thread without a real-time priority, at the lowest of those priorities. Only for
/// a thread that sleeps most of the time.
///
/// # Errors
///
/// What sched_setscheduler(2) says: `EPERM` without CAP_SYS_NICE.
pub fn prefer_this_thread() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 is the calling thread; the parameters live on this stack.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
