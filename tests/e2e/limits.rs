//! `--memory-limit` and `--pids-limit`: what is beyond them does not happen, and nothing of them stays.

use std::{process::Command, time::Duration};

use harness::{Lab, Output, OwnCgroup, Process, leftovers, tools};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(10);

/// Whether it cannot be set for who else is in the tests' cgroup. Nothing may have run then, and the way is named.
fn is_shared(out: &Output) -> bool {
    let shared = out.stderr().contains("systemd-run --scope -p Delegate=yes");
    if shared {
        out.code(125).stdout_is("").stderr_contains("has other processes (");
    }
    shared
}

#[test]
fn processes_are_refused_beyond_the_limit() {
    let lab = Lab::new();
    let script = "import os, signal, threading
n = 0
try:
    while n < 99:
        if os.fork() == 0: signal.pause()
        n += 1
except BlockingIOError: pass
print(n)
try:
    threading.Thread(target=print).start()
except RuntimeError: print('no thread')";
    let own = OwnCgroup::new();
    for flags in [&["--pids-limit", "20"][..], &["--pids-limit", "20", "--chroot", "off"]] {
        let run = if flags.len() > 2 { lab.awf().machine_files() } else { lab.awf() };
        let out = run.in_cgroup(&own).args(flags[..2].iter().copied()).run(&["python3", "-c", script]);
        if own.is_none() && is_shared(&out) {
            return;
        }
        out.ok().stdout_is("19\nno thread\n").stderr_contains("no more processes by --pids-limit: ");
    }
    let out = lab.awf().in_cgroup(&own).args(["--pids-limit", "200"]).run(&["python3", "-c", script]);
    out.ok().stdout_is("99\n\n").stderr_lacks("--pids-limit");
}

#[test]
fn memory_beyond_the_limit_is_the_end() {
    let lab = Lab::new();
    // Where memory is v1's, any cgroup can be divided.
    let own = OwnCgroup::new();
    let script = "import sys\nkept = bytearray(int(sys.argv[1]) << 20)\nprint(len(kept) >> 20)";
    let awf = |limit: &str| lab.awf().in_cgroup(&own).args(["--memory-limit", limit]);
    let out = awf("128m").run(&["python3", "-c", script, "200"]);
    if own.is_none() && is_shared(&out) {
        return;
    }
    out.code(137).stdout_is("").stderr_contains("out of memory by --memory-limit: 1 process was killed");
    awf("400m").run(&["python3", "-c", script, "200"]).ok().stdout_is("200\n").stderr_lacks("--memory-limit");
    // In a process of its own, and in a file system in memory.
    let child =
        "python3 -c 'x = bytearray(200 << 20)'; echo $?; head -c 200M /dev/zero > /dev/shm/x; echo end";
    let out = awf("128m").sh(&format!("set +e; {child}"));
    out.check(!out.stdout().contains('0') && out.exit_code() != 125, || "neither has room".into());
    own.inspect(OwnCgroup::assert_undivided);
}

#[test]
fn a_cgroup_that_others_are_in_is_not_divided() {
    let lab = Lab::new();
    let Some(own) = OwnCgroup::new() else { return };
    let mut neighbour = Command::new("bash");
    neighbour.args(["-c", r#"echo 0 >"$0" && echo in && read -r _ <> <(:)"#]).arg(own.procs());
    let neighbour = Process::spawn(&mut neighbour, Vec::new());
    neighbour.wait_for_stdout("in", SOON);
    for limit in ["--pids-limit=20", "--memory-limit=64m"] {
        let out = lab.awf().in_cgroup(&own).args([limit]).run(&["echo", "ran"]);
        out.check(is_shared(&out), || "a refusal".into());
        out.stderr_contains(&format!("{} bash", neighbour.pid()));
        own.assert_undivided();
    }
    // With pids passed on from it, no cgroup below it could have processes.
    lab.awf().in_cgroup(&own).run(&["echo", "ran"]).ok().stdout_is("ran\n");
}

/// What steps aside is not the run's, and dies apart from it.
#[test]
fn a_cgroup_of_ones_own_is_divided_for_the_run() {
    let lab = Lab::new();
    let Some(own) = OwnCgroup::new() else { return };
    let limits = ["--memory-limit", "256m", "--pids-limit", "20"];
    for kill in [true, false] {
        let run = lab.awf().in_cgroup(&own).args(limits);
        let seen = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; echo \"$AWF_BPF_RUN_ID\"; echo up; read -r _ <> <(:)";
        let process = run.spawn(&["bash", "-c", seen]);
        let said = process.wait_for_stdout("up", SOON);
        let lines: Vec<_> = said.lines().collect();
        // One more: the run's first process.
        assert_eq!(lines[..2], ["268435456", "21"]);
        process.signal(if kill { Signal::KILL } else { Signal::TERM });
        assert!(process.wait_exit(SOON), "awf-bpf is gone");
        if kill {
            leftovers::gc_and_assert_none(&lab, lines[2], SOON);
        } else {
            leftovers::assert_none(&lab, lines[2]);
        }
        own.assert_undivided();
    }
}

#[test]
fn nothing_of_a_limit_stays_after_a_kill() {
    let lab = Lab::new();
    for kill in [true, false] {
        let run = lab.awf().args(["--pids-limit", "50"]);
        let process = run.spawn(&["bash", "-c", "echo \"$AWF_BPF_RUN_ID\"; echo up; read -r _ <> <(:)"]);
        let said = process.wait_for_stdout("up", SOON);
        let id = said.lines().next().expect("its id").to_owned();
        assert!(!leftovers::of_run(&lab, &id).is_empty(), "a live run has a cgroup named by its id");
        process.signal(if kill { Signal::KILL } else { Signal::TERM });
        assert!(process.wait_exit(SOON), "awf-bpf is gone");
        if kill {
            leftovers::gc_and_assert_none(&lab, &id, SOON);
        } else {
            leftovers::assert_none(&lab, &id);
        }
    }
}

#[test]
fn when_the_machine_has_no_memory_left_the_command_goes_before_awf_bpf() {
    let lab = Lab::new();
    let go = lab.dir().work().join("go");
    tools::succeed(Command::new(tools::require("mkfifo")).args(["-m", "666"]).arg(&go));
    let run = lab.awf();
    let process = run.spawn(&["bash", "-c", "cat /proc/self/oom_score_adj; read -r line < go"]);
    process.wait_for_stdout("\n", SOON);
    let path = format!("/proc/{}/oom_score_adj", process.pid().as_raw_nonzero());
    let score = |text: &str| text.trim().parse::<i32>().expect("a score");
    let own = score(&std::fs::read_to_string(path).expect("awf-bpf's score"));
    std::fs::write(&go, "go\n").expect("let it end");
    let out = run.finish(process);
    let commands = score(&out.ok().stdout());
    out.check(commands > own, || format!("the command's score is {commands}, awf-bpf's {own}"));
}
