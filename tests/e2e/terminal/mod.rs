//! CMD's terminal: interactive programs, keys, sizes, job control, ends, and what it is not: the caller's.

mod attacks;
mod ends;
mod jobs;
mod programs;
mod streams;

use std::{os::unix::fs::PermissionsExt, process::Command};

use harness::{
    Lab, Run,
    terminal::{Terminal, line},
};

/// awf-bpf as the leader of a terminal's session.
fn start(run: &Run<'_>, lab: &Lab, argv: &[&str]) -> Terminal {
    let command = run.command(argv);
    lab.machine().within(|| Terminal::start(command))
}

/// Both views of files: their terminals are made in different ways.
fn both(lab: &Lab) -> [Run<'_>; 2] {
    [quiet(lab.awf()), quiet(lab.awf().machine_files())]
}

fn quiet(run: Run<'_>) -> Run<'_> {
    run.args(["-q"]).outer_env("TERM", "xterm")
}

/// A shell with job control, in which awf-bpf is a job.
struct Shell {
    terminal: Terminal,
}

impl Shell {
    fn start(run: &Run<'_>, lab: &Lab, argv: &[&str]) -> Self {
        let awf = run.command(argv);
        let mut bash = Command::new("/bin/bash");
        bash.args(["--norc", "--noprofile", "-i"])
            .env_clear()
            .envs(awf.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bash.env("PS1", "outer> ").current_dir(lab.dir().work());
        let terminal = lab.machine().within(|| Terminal::start(bash));
        let job = lab.dir().file("job", format!("#!/bin/sh\nexec {}\n", line(&awf)));
        std::fs::set_permissions(&job, PermissionsExt::from_mode(0o755)).expect("make it a program");
        let mut shell = Self { terminal };
        shell.terminal.send("bind 'set enable-bracketed-paste off'; set -b; echo rea''dy\n");
        shell.terminal.expect("ready\r\n");
        shell.terminal.expect("outer> ");
        shell
    }

    /// Types a line in which `@` is awf-bpf and its command.
    fn type_line(&mut self, text: &str) {
        self.terminal.send(&format!("{}\n", text.replace('@', "./job")));
    }

    fn expect(&mut self, text: &str) -> String {
        self.terminal.expect(text)
    }

    fn send(&self, keys: &str) {
        self.terminal.send(keys);
    }
}

impl Shell {
    /// Signals the job, by the shell: from another terminal it would be the same.
    fn awf_bpf(&self, signal: rustix::process::Signal) {
        let leader = self.terminal.pid();
        let job = rustix::termios::tcgetpgrp(self.terminal.master()).expect("who is in front");
        assert_ne!(job, leader, "the job is in front");
        rustix::process::kill_process(job, signal).expect("signal awf-bpf");
    }

    /// The rest of the line behind `text`.
    fn expect_line(&mut self, text: &str) -> String {
        self.expect(&format!("\n{text}"));
        self.expect("\r\n")
    }
}
