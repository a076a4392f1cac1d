//! `execve(2)` with exactly the arguments, environment and signal state that were prepared.
//!
//! `std::os::unix::process::CommandExt::exec` resets the signal mask and walks our own PATH; the child needs neither.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::ptr;

/// A NULL-terminated array of C strings, as `execve` wants it.
#[derive(Debug)]
pub struct CStrArray {
    // Points into `strings`, whose heap buffers do not move when the vector does.
    pointers: Vec<*const c_char>,
    #[expect(dead_code, reason = "owns what `pointers` points to")]
    strings: Vec<CString>,
}

// SAFETY: the pointers refer only to the owned, never modified `strings`.
unsafe impl Send for CStrArray {}
// SAFETY: as above; nothing is mutable behind a shared reference.
unsafe impl Sync for CStrArray {}

impl CStrArray {
    pub fn new(strings: impl IntoIterator<Item = CString>) -> Self {
        let strings: Vec<CString> = strings.into_iter().collect();
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, strings }
    }

    /// The array, valid as long as `self` is.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// Replaces the process. Returns only when the kernel refused, with its reason.
pub fn execve(program: &CStr, argv: &CStrArray, envp: &CStrArray) -> io::Error {
    // SAFETY: three NUL-terminated strings or NULL-terminated arrays of them, alive during the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}
