//! Real processes: this test is the Worker, its children are steps.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal};

use super::*;

/// A shell that does what is written to it.
struct Step {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Step {
    fn start(action: Option<&str>, program: &str) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", program, "/w/_temp/0a1b.sh"]).env_clear().env("PATH", "/usr/bin:/bin");
        command.envs(action.map(|action| ("GITHUB_ACTION", action)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// The number that it writes.
    fn pid(&mut self) -> u32 {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().parse().unwrap_or_else(|_| panic!("{line:?}"))
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn steps() -> Steps {
    let own = std::process::id();
    Steps::new(own, Stat::read(own).unwrap().start)
}

fn step_of(steps: &Steps, pid: u32) -> String {
    steps.of(pid, &Stat::read(pid).unwrap())
}

#[test]
fn a_process_belongs_to_the_step_that_it_descends_from() {
    let steps = steps();
    let mut step = Step::start(Some("__run_2"), "echo $$; (echo $BASHPID; read; exit)");
    for _ in 0..2 {
        let pid = step.pid();
        assert_eq!(step_of(&steps, pid), "__run_2");
    }
    assert_eq!(step_of(&steps, std::process::id()), "runner");
    let mut hook = Step::start(None, "echo $$; read");
    let pid = hook.pid();
    assert_eq!(step_of(&steps, pid), "0a1b.sh");
}

#[test]
fn who_was_seen_before_its_parent_ended_stays_with_its_step() {
    let steps = steps();
    let mut step = Step::start(
        Some("a"),
        "bash -c 'echo $$; setsid bash -c \"echo \\$\\$; read\" <&3 & wait' 3<&0; read",
    );
    let (parent, child) = (step.pid(), step.pid());
    assert_eq!(step_of(&steps, child), "a");
    rustix::process::kill_process(Pid::from_raw(parent.cast_signed()).unwrap(), Signal::KILL).unwrap();
    wait_until_orphaned(child, parent);
    assert_eq!(step_of(&steps, child), "a");
}

fn wait_until_orphaned(child: u32, parent: u32) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::time::Instant::now() < end && Stat::read(child).unwrap().ppid == parent {
        std::thread::yield_now();
    }
}

#[test]
fn an_orphan_that_nobody_saw_is_known_by_its_session_or_by_its_own_words_which_are_marked() {
    let steps = steps();
    let script =
        "setsid bash -c 'echo $$; (echo $BASHPID; bash -c \"echo \\$\\$; read\" <&3 &) 3<&0; read'; read";
    let mut step = Step::start(Some("b"), script);
    let (leader, parent, orphan) = (step.pid(), step.pid(), step.pid());
    wait_until_orphaned(orphan, parent);
    assert_eq!(step_of(&steps, leader), "b");
    let stat = Stat::read(orphan).unwrap();
    assert_eq!(stat.session, leader);
    assert_eq!(steps.of(orphan, &stat), "b");
    let stranger = Steps::new(std::process::id(), 0);
    assert_eq!(step_of(&stranger, orphan), "claimed:b", "it descends from nobody that is known");
}

#[test]
fn names_are_bounded_and_plain_and_not_ours() {
    let steps = steps();
    let long = "x".repeat(10_000);
    for (name, shown) in [
        ("a\u{1b}[31m\n::error::b|`<c>`", "a??31m???error??b???c??"),
        ("runner", "step:runner"),
        ("unknown", "step:unknown"),
        ("claimed:b", "claimed?b"),
        (long.as_str(), &long[..NAME_MAX]),
    ] {
        let mut step = Step::start(Some(name), "echo $$; read");
        let pid = step.pid();
        assert_eq!(step_of(&steps, pid), shown);
    }
}

#[test]
fn many_processes_fill_no_memory() {
    let mut known = Known::default();
    for pid in 0..100_000 {
        known.keep((pid, 1), "a");
    }
    assert!(known.processes.iter().map(HashMap::len).sum::<usize>() <= KEPT);
    assert!(known.of(99_999, 1).is_some() && known.of(0, 1).is_none());
}
