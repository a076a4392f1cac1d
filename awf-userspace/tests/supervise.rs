//! A running CMD between signals and time limits, and what happens to it when awf-bpf is gone.
//!
//! No test harness: signals must be blocked before any thread exists. Each case starts this program again as a
//! driver, a small `awf-bpf exec` without the firewall, and treats it as a user would.

#[path = "launch_support/mod.rs"]
mod support;

mod supervise_cases;

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use awf_userspace::launch::{BlockedSignals, LaunchSpec, Limits, Signals, spawn, supervise};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["drive", cgroup, timeout, grace, command @ ..] => drive(cgroup, timeout, grace, command),
        ["repeat", cgroup, times] => repeat(cgroup, times.parse().unwrap()),
        filters => supervise_cases::run_all(filters),
    }
}

/// Runs `command` in `cgroup`, and ends as `awf-bpf exec` would. Times in milliseconds, `-` for none.
fn drive(cgroup: &str, timeout: &str, grace: &str, command: &[&str]) -> ExitCode {
    let blocked = BlockedSignals::install().unwrap();
    let dir = std::fs::File::open(cgroup).unwrap();
    let mut init = support::command(command).init;
    init.restore.sigmask = blocked.original_mask();
    let mut spec = LaunchSpec::new(dir.as_fd(), None, init);
    spec.program = support::AWF_BPF.into();
    let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
    let limits = Limits { timeout: millis(timeout), grace: millis(grace).unwrap() };
    support::runtime().block_on(async {
        let mut signals = Signals::listen(blocked).unwrap();
        let mut child = spawn(&spec).await.unwrap();
        let kill = || std::fs::write(format!("{cgroup}/cgroup.kill"), "1").unwrap();
        let outcome = supervise(&mut child, &mut signals, limits, kill).await.unwrap();
        ExitCode::from(outcome.code())
    })
}

/// Starts commands, good and bad, and fails if anything of them is left in this process.
fn repeat(cgroup: &str, times: usize) -> ExitCode {
    let dir = std::fs::File::open(cgroup).unwrap();
    let spec_of = |argv: &[&str]| {
        let mut spec = LaunchSpec::new(dir.as_fd(), None, support::command(argv).init);
        spec.program = support::AWF_BPF.into();
        spec
    };
    let (good, bad, endless) = (spec_of(&["true"]), spec_of(&["no-such-command"]), spec_of(&["cat"]));
    let open_fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    support::runtime().block_on(async {
        let mut before = 0;
        for round in 0..times {
            assert_eq!(spawn(&good).await.unwrap().wait().await.unwrap().code(), 0);
            assert_eq!(spawn(&bad).await.unwrap_err().exit_code(), 127);
            drop(spawn(&endless).await.unwrap());
            if round == 0 {
                before = open_fds();
            }
        }
        assert_eq!(open_fds(), before, "descriptors after {times} rounds");
    });
    let children = rustix::process::waitpid(None, rustix::process::WaitOptions::NOHANG);
    assert_eq!(children.unwrap_err(), rustix::io::Errno::CHILD, "a child is left");
    ExitCode::SUCCESS
}
