//! What becomes of a CMD that crashes. Where `kernel.core_pattern` begins with `|` the kernel starts a program for it,
//! as root and outside of everything, and feeds it memory that CMD has written: systemd-coredump, apport, a reporter
//! that sends. CMD chooses when, so CMD's crashes start nothing. Where the pattern is a file's, it stays as it is: that
//! file is made with CMD's rights, in what CMD sees.

use std::fs;

use rustix::process::{Resource, Rlimit, setrlimit};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// The one value by which a pipe is not opened: 0 would not do, "limits are irrelevant to pipes" (fs/coredump.c).
const NO_PIPE: u64 = 1;

/// Who gets CMD's memory when it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CoreDumps {
    /// A file of CMD's own, if its limit is not 0.
    File,
    /// Nobody, as long as the limit stays as it was set, which the system call filter sees to.
    Nobody,
    /// A program outside, which cannot be kept from it.
    Outside,
}

impl CoreDumps {
    pub(super) fn note(self) -> Option<String> {
        let text = "a crash of the command hands its memory to a service outside (kernel.core_pattern)";
        (self == Self::Outside).then(|| text.to_owned())
    }
}

/// Sets the limit for this process and all it becomes. Needs privileges if the limit was 0.
pub(super) fn keep_in() -> CoreDumps {
    // What cannot be read may be a pipe.
    let pattern = fs::read(PATTERN).unwrap_or_else(|_| b"|".to_vec());
    match pattern.first() {
        Some(b'|') => {
            let limit = Rlimit { current: Some(NO_PIPE), maximum: Some(NO_PIPE) };
            setrlimit(Resource::Core, limit).map_or(CoreDumps::Outside, |()| CoreDumps::Nobody)
        }
        // A socket, since Linux 6.16, which no limit keeps from being connected.
        Some(b'@') => CoreDumps::Outside,
        _ => CoreDumps::File,
    }
}
