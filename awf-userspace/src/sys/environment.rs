//! The environment that a process was started with, as others see it in /proc.

use std::ffi::c_char;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Empties the environment of this process, in /proc/PID/environ too, which shows the bytes that it was started with.
/// A runner kills at a job's end whoever has the job's RUNNER_TRACKING_ID there.
///
/// Does nothing in a process of several threads: another one may be reading it.
pub fn forget() {
    if !std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1) {
        return;
    }
    // SAFETY: no other thread exists (just checked), so nobody else reads or changes the array or its strings, all of
    // them NUL-terminated and writable; the array ends with a null pointer. Afterwards it is empty.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let length = libc::strlen(*at);
            std::ptr::write_bytes(*at, 0, length);
            at = at.add(1);
        }
        libc::clearenv();
    }
}
