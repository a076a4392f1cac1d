//! A terminal with somebody in front of it: what a test types, and what it waits to be shown, with a deadline.

use std::{
    fmt::Write as _,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::Uid,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{OptionalActions, Termios, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};

use crate::workdir::UID;

/// The longest wait for anything to be shown.
const LIMIT: Duration = Duration::from_secs(30);

/// Which of a program's streams are the terminal; the others are as its `Command` says.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// All three.
pub const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };

/// A pseudo-terminal and the leader of its session, which is killed with its group when dropped.
#[derive(Debug)]
pub struct Terminal {
    master: Option<OwnedFd>,
    /// Held until the program ends: with none of its streams here, it may have nothing of the terminal open.
    slave: Option<OwnedFd>,
    child: Child,
    pidfd: OwnedFd,
    shown: String,
    read: usize,
    partial: Vec<u8>,
}

impl Terminal {
    /// Starts a program on a terminal of 24 lines and 80 columns.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(command: Command) -> Self {
        Self::start_with(command, ALL)
    }

    /// As [`Self::start`], with some of the streams elsewhere.
    pub fn start_with(mut command: Command, streams: Streams) -> Self {
        let (master, slave) = pair();
        let clone = || slave.try_clone().expect("clone the terminal");
        if streams.stdin {
            command.stdin(clone());
        }
        if streams.stdout {
            command.stdout(clone());
        }
        if streams.stderr {
            command.stderr(clone());
        }
        let controlling = slave.try_clone().expect("clone the terminal");
        // SAFETY: setsid(2) and ioctl(2) are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                Ok(rustix::process::ioctl_tiocsctty(&controlling)?)
            })
        };
        let child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("open the child's pidfd");
        Self {
            master: Some(master),
            slave: Some(slave),
            child,
            pidfd,
            shown: String::new(),
            read: 0,
            partial: Vec::new(),
        }
    }

    /// Types.
    #[track_caller]
    pub fn send(&self, keys: &str) {
        let mut rest = keys.as_bytes();
        while !rest.is_empty() {
            let sent = rustix::io::write(self.master(), rest).expect("type");
            rest = &rest[sent..];
        }
    }

    /// Waits until `text` is shown behind what was read before; what came in between.
    ///
    /// # Panics
    /// If it is not shown within half a minute, or never can be.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.shown[self.read..].find(text) {
                let before = self.shown[self.read..][..at].to_owned();
                self.read += at + text.len();
                return before;
            }
            if !self.more(deadline) {
                let shown = &self.shown;
                panic!("{text:?} was not shown; what was, from {}:\n{}", self.read, shown.escape_debug());
            }
        }
    }

    /// Waits for the end of the program and of the terminal; how it ended, and what was shown and not read before.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + LIMIT;
        while self.more(deadline) {}
        let late = Instant::now() >= deadline;
        assert!(!late, "the program did not end:\n{}", self.shown.escape_debug());
        let status = self.child.wait().expect("reap the program");
        (status, self.shown[self.read..].to_owned())
    }

    /// As [`Self::end`] for one that is to exit with `code`.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> String {
        let (status, rest) = self.end();
        assert_eq!(status.code(), Some(code), "{status}: {}", rest.escape_debug());
        rest
    }

    /// Pulls the plug: the program's side is hung up.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    /// Waits for the end of the program alone.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("reap the program")
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master(), size).expect("resize the terminal");
    }

    /// Its modes, as text: to be compared.
    #[must_use]
    pub fn modes(&self) -> String {
        let modes = self.termios();
        let mut text = String::new();
        let _ = write!(text, "{:?} {:?}", modes.input_modes, modes.output_modes);
        let _ = write!(text, " {:?} {:?}", modes.control_modes, modes.local_modes);
        text
    }

    #[must_use]
    pub fn termios(&self) -> Termios {
        tcgetattr(self.master()).expect("ask for the modes")
    }

    pub fn set_termios(&self, modes: &Termios) {
        tcsetattr(self.master(), OptionalActions::Now, modes).expect("set the modes");
    }

    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("signal the program");
    }

    /// The side of who sits in front of it.
    #[must_use]
    pub fn master(&self) -> &OwnedFd {
        self.master.as_ref().expect("the terminal is not hung up")
    }

    /// False at the end, and when the deadline has come.
    fn more(&mut self, deadline: Instant) -> bool {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).expect("short");
        let master = self.master.as_ref().expect("the terminal is not hung up");
        if self.slave.is_some() {
            let mut events = [PollFd::new(master, PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
            if poll(&mut events, Some(&left)) == Ok(0) {
                return false;
            }
            if !events[1].revents().is_empty() {
                self.slave = None;
            }
            if events[0].revents().is_empty() {
                return true;
            }
        } else if poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&left)) == Ok(0) {
            return false;
        }
        let mut bytes = [0; 1 << 16];
        match rustix::io::read(master, &mut bytes) {
            // EIO: nobody has the other side any more.
            Ok(0) | Err(_) => false,
            Ok(got) => {
                self.partial.extend_from_slice(&bytes[..got]);
                let whole = match std::str::from_utf8(&self.partial) {
                    Ok(text) => text.len(),
                    Err(error) if error.error_len().is_none() => error.valid_up_to(),
                    Err(_) => self.partial.len(),
                };
                let whole: Vec<u8> = self.partial.drain(..whole).collect();
                self.shown.push_str(&String::from_utf8_lossy(&whole));
                true
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command as a line for a shell.
#[must_use]
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("open a terminal");
    unlockpt(&master).expect("unlock it");
    let slave = ioctl_tiocgptpeer(&master, flags).expect("open its other side");
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size).expect("give it a size");
    // As after a login: its user is whom the command becomes, too.
    rustix::fs::fchown(&slave, Some(Uid::from_raw(UID)), None).expect("give it to the user");
    (master, slave)
}
