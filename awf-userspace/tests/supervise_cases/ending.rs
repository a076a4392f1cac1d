//! CMD's end: asked for, enforced, by the clock, and with awf-bpf's own.

use std::process::Command;

use super::{Case, Driver, Options, PATIENT};
use crate::support::Cgroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

pub(super) const CASES: &[Case] = &[
    ("a_stubborn_command_is_killed_with_its_children", a_stubborn_command_is_killed_with_its_children),
    ("a_second_request_kills_at_once", a_second_request_kills_at_once),
    ("the_time_limit_is_124", the_time_limit_is_124),
    ("a_kill_of_awf_bpf_kills_the_command", a_kill_of_awf_bpf_kills_the_command),
    ("nothing_leaks", nothing_leaks),
];

/// Says each SIGTERM and SIGINT and goes on; has a child that keeps the output open and ignores them, too.
const STUBBORN: &str = "import os, signal\n\
    signal.signal(15, signal.SIG_IGN)\n\
    if os.fork() == 0:\n \
     while True: signal.pause()\n\
    signal.signal(15, lambda n, _: print(n))\n\
    print('ready')\n\
    while True: signal.pause()";

fn a_stubborn_command_is_killed_with_its_children() {
    let mut driver = Driver::python(&Options { grace: "100", ..PATIENT }, STUBBORN);
    driver.signal(Signal::TERM);
    assert_eq!(driver.line(), "15");
    // The output ends only when the child is gone as well.
    assert_eq!(driver.finish(), (String::new(), 143));
}

fn a_second_request_kills_at_once() {
    let mut driver = Driver::python(&PATIENT, STUBBORN);
    driver.signal(Signal::TERM);
    assert_eq!(driver.line(), "15");
    driver.signal(Signal::TERM);
    assert_eq!(driver.finish(), (String::new(), 143));
}

fn the_time_limit_is_124() {
    let short = Options { timeout: "500", grace: "100", ..PATIENT };
    let obedient = Driver::start(&short, &["cat"]);
    assert_eq!(obedient.finish().1, 124);
    let stubborn = Driver::start(&short, &["/usr/bin/python3", "-uc", STUBBORN]);
    assert_eq!(stubborn.finish().1, 124);
    let quick = Driver::start(&Options { timeout: "3600000", ..PATIENT }, &["sh", "-c", "exit 5"]);
    assert_eq!(quick.finish().1, 5);
}

fn a_kill_of_awf_bpf_kills_the_command() {
    let script = "import os, signal\nprint('ready')\nprint(os.getpid())\nsignal.pause()";
    let mut driver = Driver::python(&PATIENT, script);
    let command = Pid::from_raw(driver.line().parse().unwrap()).unwrap();
    let pidfd = pidfd_open(command, PidfdFlags::empty()).unwrap();
    driver.process.kill().unwrap();
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    let ready = poll(&mut ended, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap();
    assert_eq!(ready, 1, "the command outlived awf-bpf");
}

fn nothing_leaks() {
    let cgroup = Cgroup::new();
    let mut driver = Command::new(std::env::current_exe().unwrap());
    driver.args(["repeat", cgroup.path.to_str().unwrap(), "70"]);
    assert!(driver.status().unwrap().success());
}
