//! The cases of `supervise.rs`, and the handle on a driver.

mod ending;
mod forwarding;

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use crate::support::Cgroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

type Case = (&'static str, fn());

/// Runs the cases whose name contains one of the filters, all without any.
pub(crate) fn run_all(filters: &[&str]) -> ExitCode {
    // Whoever runs the tests may ignore some (nohup, a shell's `&`), and drivers would inherit that.
    for signo in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: SIG_DFL is no code of ours.
        unsafe { libc::signal(signo, libc::SIG_DFL) };
    }
    let words: Vec<&str> = filters.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let mut failed = 0;
    for (name, case) in
        [forwarding::CASES, ending::CASES].concat().into_iter().filter(|(name, _)| wanted(name))
    {
        let ok = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed += u8::from(!ok);
    }
    ExitCode::from(failed)
}

/// A driver with one command, in a cgroup of its own.
pub(crate) struct Driver {
    pub(crate) process: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
    /// Emptied and removed after the driver's end.
    _cgroup: Cgroup,
}

/// How a driver is started; times in milliseconds, `-` for none.
pub(crate) struct Options {
    pub(crate) timeout: &'static str,
    pub(crate) grace: &'static str,
    pub(crate) ignored: Option<i32>,
}

/// Nothing ends by the clock.
pub(crate) const PATIENT: Options = Options { timeout: "-", grace: "3600000", ignored: None };

impl Driver {
    /// Runs a python script as the command and waits for its first line, `ready`.
    pub(crate) fn python(options: &Options, script: &str) -> Self {
        let mut driver = Self::start(options, &["/usr/bin/python3", "-uc", script]);
        assert_eq!(driver.line(), "ready");
        driver
    }

    pub(crate) fn start(options: &Options, command: &[&str]) -> Self {
        let cgroup = Cgroup::new();
        let mut driver = Command::new(std::env::current_exe().unwrap());
        driver.args(["drive", cgroup.path.to_str().unwrap(), options.timeout, options.grace]).args(command);
        driver.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(signo) = options.ignored {
            // SAFETY: signal(2) is async-signal-safe and SIG_IGN is no code of ours.
            unsafe {
                driver.pre_exec(move || {
                    libc::signal(signo, libc::SIG_IGN);
                    Ok(())
                })
            };
        }
        let mut process = driver.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdout, _cgroup: cgroup }
    }

    pub(crate) fn line(&mut self) -> String {
        read_line(&mut self.stdout)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Everything up to the last writer's end, and the exit code.
    pub(crate) fn finish(mut self) -> (String, i32) {
        let mut rest = String::new();
        loop {
            match read_some_line(&mut self.stdout) {
                line if line.is_empty() => break,
                line => rest.push_str(&line),
            }
        }
        let code = self.process.wait().unwrap().code().expect("the driver itself was killed");
        (rest, code)
    }
}

/// A case that fails leaves nothing behind; the cgroup goes after it.
impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One line without its end.
pub(crate) fn read_line(from: &mut BufReader<impl Read + AsFd>) -> String {
    read_some_line(from).trim_end().to_owned()
}

/// Empty at the end. Nothing to read for a minute is a failure, not a test that hangs.
fn read_some_line(from: &mut BufReader<impl Read + AsFd>) -> String {
    if from.buffer().is_empty() {
        let mut waited = [PollFd::new(from.get_ref(), PollFlags::IN)];
        let ready = poll(&mut waited, Some(&Timespec { tv_sec: 60, tv_nsec: 0 })).unwrap();
        assert_eq!(ready, 1, "no output for a minute");
    }
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line
}
