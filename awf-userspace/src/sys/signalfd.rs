//! Signals as data: blocked in every thread and read from a descriptor that also says who sent them.
//! (`tokio::signal` does not tell a terminal's Ctrl-C from a `kill`.)

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::process::Signal;

/// A thread's signal mask, bit N-1 for signal N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SignalMask(u64);

/// One signal, by [`read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub signo: i32,
    /// Sent by the kernel itself (`SI_KERNEL`): a key on the terminal, which reaches its whole foreground group.
    pub from_kernel: bool,
}

impl SignalMask {
    pub fn of(signals: &[Signal]) -> Self {
        Self(signals.iter().fold(0, |mask, signal| mask | 1 << (signal.as_raw() - 1)))
    }

    pub fn contains(self, signal: Signal) -> bool {
        self.0 & 1 << (signal.as_raw() - 1) != 0
    }

    fn to_libc(self) -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set; sigaddset gets an initialised set and a number in 1..=64.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signo in (1..=64).filter(|n| self.0 & 1 << (n - 1) != 0) {
                libc::sigaddset(set.as_mut_ptr(), signo);
            }
            set.assume_init()
        }
    }

    fn from_libc(set: &libc::sigset_t) -> Self {
        // SAFETY: an initialised set and a number in 1..=64.
        let member = |signo: i32| unsafe { libc::sigismember(set, signo) } == 1;
        Self((1..=64).filter(|n| member(*n)).fold(0, |mask, n| mask | 1 << (n - 1)))
    }
}

/// Adds `mask` to the calling thread's blocked signals and returns what was blocked before. Threads started later
/// inherit it.
pub fn block(mask: SignalMask) -> io::Result<SignalMask> {
    change_mask(libc::SIG_BLOCK, mask)
}

/// Sets the calling thread's blocked signals.
pub fn set_mask(mask: SignalMask) -> io::Result<()> {
    change_mask(libc::SIG_SETMASK, mask).map(drop)
}

fn change_mask(how: libc::c_int, mask: SignalMask) -> io::Result<SignalMask> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are valid for the call; pthread_sigmask returns its error and writes `before` on success.
    match unsafe { libc::pthread_sigmask(how, &mask.to_libc(), before.as_mut_ptr()) } {
        // SAFETY: written, as the call succeeded.
        0 => Ok(SignalMask::from_libc(unsafe { before.assume_init_ref() })),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Whether `signal` waits for this process while it is blocked.
pub fn is_pending(signal: Signal) -> io::Result<bool> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the kernel writes the whole set on success.
    match unsafe { libc::sigpending(set.as_mut_ptr()) } {
        // SAFETY: written, as the call succeeded.
        0 => Ok(SignalMask::from_libc(unsafe { set.assume_init_ref() }).contains(signal)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets a blocked `signal` that is pending take its effect on this process, here and now.
pub fn let_through(signal: Signal) -> io::Result<()> {
    let mask = SignalMask::of(&[signal]);
    let before = change_mask(libc::SIG_UNBLOCK, mask)?;
    change_mask(libc::SIG_SETMASK, before).map(drop)
}

/// Whether this process ignores `signal` (`nohup`, a background job of a shell without job control).
pub fn is_ignored(signal: Signal) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a NULL new action only asks; the kernel writes the old one on success.
    match unsafe { libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr()) } {
        // SAFETY: written, as the call succeeded.
        0 => Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives `signal` its default action.
pub fn set_default(signal: Signal) -> io::Result<()> {
    // SAFETY: SIG_DFL installs no code of ours.
    match unsafe { libc::signal(signal.as_raw(), libc::SIG_DFL) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A non-blocking, close-on-exec descriptor that becomes readable when a signal of `mask` is pending.
pub fn open(mask: SignalMask) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: -1 asks for a new descriptor; the set is valid for the call.
    let fd = unsafe { libc::signalfd(-1, &mask.to_libc(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that the kernel just gave to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next pending signal of a signalfd; `WouldBlock` when there is none.
pub fn read(signalfd: &OwnedFd) -> io::Result<Received> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: `info` has room for `size` bytes.
    let got = unsafe { libc::read(signalfd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    if got as usize != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: plain integers, zeroed and then filled by the kernel.
    let info = unsafe { info.assume_init() };
    Ok(Received { signo: info.ssi_signo as i32, from_kernel: info.ssi_code == libc::SI_KERNEL })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_survives_the_way_through_libc() {
        let mask = SignalMask::of(&[Signal::INT, Signal::TERM, Signal::USR2]);
        assert_eq!(SignalMask::from_libc(&mask.to_libc()), mask);
        assert!(mask.contains(Signal::USR2) && !mask.contains(Signal::HUP));
    }

    #[test]
    fn a_blocked_signal_is_read_with_its_sender() {
        // Directed at this thread, so that tests running in other threads do not see it.
        let mask = SignalMask::of(&[Signal::USR1]);
        let before = block(mask).unwrap();
        let fd = open(mask).unwrap();
        assert_eq!(read(&fd).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // SAFETY: pthread_self is alive; the signal is blocked above.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1) };
        assert_eq!(read(&fd).unwrap(), Received { signo: libc::SIGUSR1, from_kernel: false });
        set_mask(before).unwrap();
    }
}
