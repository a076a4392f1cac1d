//! `clone3(2)` out of a threaded process: the child does nothing but arrange descriptors and `execve`.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

use super::exec::CStrArray;

/// First byte of what the child writes to its status descriptor when it fails before `execve`; the step's byte and
/// the errno in native order follow.
pub const FAILURE_MARK: u8 = b'E';
/// Length of that message.
pub const FAILURE_LEN: usize = 6;
/// Exit status of a child that failed before `execve`.
const FAILURE_STATUS: i32 = 125;
/// Sources are copied to numbers from here up, so that no target number can overwrite one.
const FIRST_SOURCE: RawFd = 64;
/// No source: the target is closed.
const NONE: RawFd = -1;

/// A step of the child between `clone3` and the new program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    Dup = 1,
    CloseRange = 2,
    Execve = 3,
}

impl Step {
    /// The step behind a byte of a failure message.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Dup, Self::CloseRange, Self::Execve].into_iter().find(|step| *step as u8 == byte)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Dup => "dup2",
            Self::CloseRange => "close_range",
            Self::Execve => "execve",
        }
    }
}

/// What to start, where, with which descriptors.
#[derive(Debug)]
pub struct Plan<'a> {
    pub program: &'a CStr,
    pub argv: &'a CStrArray,
    pub envp: &'a CStrArray,
    /// The cgroup v2 directory the child is born in.
    pub cgroup: BorrowedFd<'a>,
    /// Whether the child is the first process of a pid namespace of its own.
    pub first: bool,
    /// Becomes descriptors 0, 1, 2 … of the child; every other one, and the number of a `None`, is closed.
    pub fds: &'a [Option<BorrowedFd<'a>>],
    /// Index into `fds` of where a failure is reported.
    pub status: usize,
}

/// Starts the child with its signal handlers reset (ignored signals stay ignored) and the caller's signal mask.
/// The descriptor of the process is close-on-exec.
///
/// # Errors
/// Running out of descriptors; what `clone3(2)` says: `ENOSYS` or `E2BIG` before Linux 5.7 and in some containers,
/// `EACCES`, `EBUSY` or `ENODEV` for an unusable cgroup.
pub fn spawn(plan: &Plan<'_>) -> io::Result<(Pid, OwnedFd)> {
    let first = FIRST_SOURCE.max(plan.fds.len() as RawFd);
    let sources = plan
        .fds
        .iter()
        .map(|fd| fd.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, first)).transpose())
        .collect::<Result<Vec<Option<OwnedFd>>, _>>()?;
    let numbers: Vec<RawFd> = sources.iter().map(|fd| fd.as_ref().map_or(NONE, AsRawFd::as_raw_fd)).collect();
    let mut pidfd: RawFd = -1;
    let mut args = clone_args(plan, &mut pidfd);

    // SAFETY: `args` is a valid clone_args of the given size whose pidfd points to a live integer. Without CLONE_VM
    // the child has its own copy of all memory and, like fork's, returns here once on that copy of this stack.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: we are the child of the clone3 above, single-threaded, everything prepared.
        0 => unsafe { become_program(plan, &numbers) },
        pid => {
            // SAFETY: CLONE_PIDFD succeeded: a new descriptor that belongs to us alone.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = Pid::from_raw(pid as i32).expect("clone3 returns a pid above 0 to the parent");
            Ok((pid, pidfd))
        }
    }
}

fn clone_args(plan: &Plan<'_>, pidfd: &mut RawFd) -> libc::clone_args {
    // CLONE_CLEAR_SIGHAND and CLONE_INTO_CGROUP do not fit the c_int that libc gives them.
    const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: clone_args is plain integers, for which zero is "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let first = if plan.first { libc::CLONE_NEWPID as u64 } else { 0 };
    args.flags = libc::CLONE_PIDFD as u64 | CLEAR_SIGHAND | INTO_CGROUP | first;
    args.pidfd = &raw mut *pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = plan.cgroup.as_raw_fd() as u64;
    args
}

/// The child's whole life under our code.
///
/// # Safety
/// Only in a fresh child of `clone3`. Async-signal-safe: another thread of the parent may have held the allocator's
/// lock at the moment of the clone, so nothing here allocates, locks or panics.
unsafe fn become_program(plan: &Plan<'_>, sources: &[RawFd]) -> ! {
    let mut target = 0;
    for source in sources {
        if *source == NONE {
            // SAFETY: no owner runs in this process any more; a number that is not open is as wanted.
            unsafe { libc::close(target) };
        // SAFETY: numbers only; targets are all below any source, so no source is overwritten.
        } else if unsafe { libc::dup2(*source, target) } < 0 {
            // SAFETY: as this function.
            unsafe { fail(sources, plan.status, Step::Dup) };
        }
        target += 1;
    }
    let status = plan.status as RawFd;
    // SAFETY: no owner runs in this process any more; the sources' own numbers are not needed after this.
    if unsafe { libc::close_range(target as u32, u32::MAX, 0) } < 0 {
        // SAFETY: as this function.
        unsafe { fail_on(status, Step::CloseRange) };
    }
    // SAFETY: NUL-terminated string and NULL-terminated arrays, alive in our copy of the parent's memory.
    unsafe {
        libc::execve(plan.program.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
        fail_on(status, Step::Execve)
    }
}

/// # Safety
/// As [`become_program`].
unsafe fn fail(sources: &[RawFd], status: usize, step: Step) -> ! {
    let fd = match sources.get(status) {
        Some(fd) => *fd,
        None => -1,
    };
    // SAFETY: as this function.
    unsafe { fail_on(fd, step) }
}

/// # Safety
/// As [`become_program`].
unsafe fn fail_on(status: RawFd, step: Step) -> ! {
    // SAFETY: errno is thread-local and was set by the call that failed.
    let errno = unsafe { *libc::__errno_location() }.to_ne_bytes();
    let message: [u8; FAILURE_LEN] = [FAILURE_MARK, step as u8, errno[0], errno[1], errno[2], errno[3]];
    // SAFETY: a live buffer of its length; _exit runs no destructors and no handlers of the parent.
    unsafe {
        libc::write(status, message.as_ptr().cast(), message.len());
        libc::_exit(FAILURE_STATUS)
    }
}
