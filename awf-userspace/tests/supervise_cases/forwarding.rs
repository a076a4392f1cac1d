//! Signals that reach CMD, once.

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Case, Driver, Options, PATIENT};
use crate::support::Cgroup;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

pub(super) const CASES: &[Case] = &[
    ("every_forwarded_signal_arrives", every_forwarded_signal_arrives),
    ("a_default_action_gives_128_plus_n", a_default_action_gives_128_plus_n),
    ("an_ignored_signal_stays_ignored", an_ignored_signal_stays_ignored),
    ("ctrl_c_arrives_once", ctrl_c_arrives_once),
];

/// Prints the number of every signal it gets; ends with code 42 on SIGTERM.
const LISTENER: &str = "import os, signal\n\
    def got(n, _):\n \
     print(n)\n \
     if n == 15: os._exit(42)\n\
    for n in (1, 2, 3, 10, 12, 15):\n \
     if signal.getsignal(n) is not signal.SIG_IGN: signal.signal(n, got)\n\
    print('ready')\n\
    while True: signal.pause()";

fn every_forwarded_signal_arrives() {
    let mut driver = Driver::python(&PATIENT, LISTENER);
    for signal in [Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::HUP] {
        driver.signal(signal);
        assert_eq!(driver.line(), signal.as_raw().to_string());
    }
    driver.signal(Signal::TERM);
    assert_eq!(driver.finish(), ("15\n".to_owned(), 42));
}

fn a_default_action_gives_128_plus_n() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::USR1, 138)] {
        let driver =
            Driver::python(&PATIENT, "import signal\nsignal.signal(2, 0)\nprint('ready')\nsignal.pause()");
        driver.signal(signal);
        assert_eq!(driver.finish().1, code);
    }
}

/// `nohup awf-bpf …`, or a background job of a script: what its caller made it ignore ends neither awf-bpf nor CMD.
fn an_ignored_signal_stays_ignored() {
    for signal in [Signal::HUP, Signal::INT] {
        let options = Options { ignored: Some(signal.as_raw()), ..PATIENT };
        let mut driver = Driver::python(&options, LISTENER);
        // One to ask for the end and one to enforce it, if they counted.
        for number in [10, 12] {
            driver.signal(signal);
            driver.signal(Signal::from_named_raw(number).unwrap());
            assert_eq!(driver.line(), number.to_string());
        }
        driver.signal(Signal::TERM);
        assert_eq!(driver.finish(), ("15\n".to_owned(), 42));
    }
}

/// On a real terminal: the kernel signals our foreground group, which CMD, in a session of its own, is not in.
fn ctrl_c_arrives_once() {
    let (mut keyboard, screen) = terminal();
    let cgroup = Cgroup::new();
    let mut driver = Command::new(std::env::current_exe().unwrap());
    driver.args([
        "drive",
        cgroup.path.to_str().unwrap(),
        "-",
        PATIENT.grace,
        "/usr/bin/python3",
        "-uc",
        LISTENER,
    ]);
    let clone = || screen.try_clone().unwrap();
    driver.stdin(clone()).stdout(clone()).stderr(clone());
    // SAFETY: both calls are async-signal-safe; descriptor 0 is the terminal by then.
    unsafe {
        driver.pre_exec(|| {
            libc::setsid();
            match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    };
    let mut process = driver.spawn().unwrap();
    drop((driver, screen));
    let mut shown = BufReader::new(keyboard.try_clone().unwrap());
    let mut line = || {
        // The terminal echoes the key.
        super::read_line(&mut shown).replace("^C", "")
    };
    assert_eq!(line(), "ready");
    keyboard.write_all(b"\x03").unwrap();
    assert_eq!(line(), "2");
    // A second SIGINT would have left awf-bpf before this one, and have been printed before it.
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, Signal::USR1).unwrap();
    assert_eq!(line(), "10");
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(line(), "15");
    assert_eq!(process.wait().unwrap().code(), Some(42));
}

/// The two ends of a new pseudo terminal.
fn terminal() -> (File, OwnedFd) {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap();
    let screen = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    assert!(screen.as_raw_fd() > 2);
    (keyboard.into(), screen.into())
}
