//! One process of a test: its output captured as it comes, its end waited for with a deadline, its group killed.

use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open},
};

use crate::{patience::stretch, seen::Seen};

/// A running process, leader of its own process group; killed with the group when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    shown: String,
    started: Instant,
    stdout: Stream,
    stderr: Stream,
    reaped: bool,
}

/// How a process ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub elapsed: Duration,
}

impl Process {
    /// Starts the command with all three standard streams piped; `stdin` is written, then closed.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(command: &mut Command, stdin: Vec<u8>) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("start {shown}: {e}"));
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("open the child's pidfd");
        let mut pipe = child.stdin.take().expect("stdin is piped");
        // A command that does not read its input to the end closes it; that is no error of the test.
        thread::spawn(move || pipe.write_all(&stdin));
        let stdout = Stream::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Stream::read(child.stderr.take().expect("stderr is piped"));
        Self { child, pidfd, shown, started, stdout, stderr, reaped: false }
    }

    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|e| panic!("{signal:?} to {}: {e}", self.shown));
    }

    /// Waits until stdout contains `text` and returns what was written up to then.
    ///
    /// # Panics
    /// If it does not within `limit`; with both streams.
    #[track_caller]
    pub fn wait_for_stdout(&self, text: &str, limit: Duration) -> String {
        self.stdout.wait_for(text, limit).unwrap_or_else(|| self.complain(text, limit))
    }

    /// As [`Self::wait_for_stdout`], on stderr.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str, limit: Duration) -> String {
        self.stderr.wait_for(text, limit).unwrap_or_else(|| self.complain(text, limit))
    }

    /// Waits for the end of this one process; false if it still runs after `limit`.
    #[must_use]
    pub fn wait_exit(&self, limit: Duration) -> bool {
        wait_readable(&self.pidfd, stretch(limit))
    }

    /// Waits for the end of the process and of everything that holds its stdout or stderr.
    ///
    /// # Panics
    /// If it outlives `limit`, counted from its start; the group is killed first.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Ended {
        let limit = stretch(limit);
        let left = || limit.saturating_sub(self.started.elapsed());
        let exited = wait_readable(&self.pidfd, left());
        let elapsed = self.started.elapsed();
        let closed = exited && self.stdout.wait_closed(left()) && self.stderr.wait_closed(left());
        if !closed {
            self.kill();
            let what = if exited { "something it started still holds its output" } else { "it still runs" };
            panic!("{} after {limit:?}: {what}\n{}", self.shown, self.written());
        }
        let status = self.child.wait().expect("reap the child");
        self.reaped = true;
        Ended { status, stdout: self.stdout.bytes(), stderr: self.stderr.bytes(), elapsed }
    }

    fn complain(&self, text: &str, limit: Duration) -> ! {
        panic!("{} did not write {text:?} in {limit:?}\n{}", self.shown, self.written())
    }

    fn written(&self) -> String {
        let text = |stream: &Stream| String::from_utf8_lossy(&stream.bytes()).into_owned();
        format!("--- stdout\n{}\n--- stderr\n{}", text(&self.stdout), text(&self.stderr))
    }

    fn kill(&mut self) {
        // ESRCH: nobody of the group is left, which is what is wanted.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
        self.reaped = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

/// Waits until `fd` is readable; a pidfd is once its process has ended.
pub fn wait_readable(fd: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("the limit is short");
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&limit)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("poll a descriptor: {e}"),
        }
    }
}

/// The bytes of one pipe; an empty piece marks its end.
#[derive(Debug)]
struct Stream(Seen<Vec<u8>>);

impl Stream {
    fn read(mut pipe: impl Read + Send + 'static) -> Self {
        let seen = Seen::default();
        let writer = seen.clone();
        thread::spawn(move || {
            let mut buf = vec![0; 1 << 16];
            loop {
                let len = pipe.read(&mut buf).unwrap_or(0);
                writer.push(buf[..len].to_vec());
                if len == 0 {
                    return;
                }
            }
        });
        Self(seen)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.all().concat()
    }

    fn wait_closed(&self, limit: Duration) -> bool {
        self.0.wait_for(limit, Vec::is_empty).is_some()
    }

    fn wait_for(&self, text: &str, limit: Duration) -> Option<String> {
        let wanted = |pieces: &[Vec<u8>]| {
            let all = String::from_utf8_lossy(&pieces.concat()).into_owned();
            all.contains(text).then_some(all)
        };
        self.0.wait_until(limit, wanted)
    }
}
