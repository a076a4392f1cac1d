//! `--memory-limit` and `--pids-limit`: what is beyond them does not happen, and nothing of them stays.

use std::time::Duration;

use harness::{Lab, Output, leftovers};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(10);

/// Whether the machine can set the limit. If not, nothing may have run, and the way is named.
fn is_set(out: &Output) -> bool {
    if !out.stderr().contains("systemd-run --scope") {
        return true;
    }
    out.code(125).stdout_is("");
    eprintln!("NOT SHOWN: the tests' cgroup has processes of its own, and cannot divide its memory");
    false
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
    for flags in [&["--pids-limit", "20"][..], &["--pids-limit", "20", "--chroot", "off"]] {
        let run = if flags.len() > 2 { lab.awf().machine_files() } else { lab.awf() };
        let out = run.args(flags[..2].iter().copied()).run(&["python3", "-c", script]);
        out.ok().stdout_is("19\nno thread\n").stderr_contains("no more processes by --pids-limit: ");
    }
    let out = lab.awf().args(["--pids-limit", "200"]).run(&["python3", "-c", script]);
    out.ok().stdout_is("99\n\n").stderr_lacks("--pids-limit");
}

#[test]
fn memory_beyond_the_limit_is_the_end() {
    let lab = Lab::new();
    let script = "import sys\nkept = bytearray(int(sys.argv[1]) << 20)\nprint(len(kept) >> 20)";
    let run = |limit: &str, mib: &str| {
        lab.awf().args(["--memory-limit", limit]).run(&["python3", "-c", script, mib])
    };
    let out = run("128m", "200");
    if !is_set(&out) {
        return;
    }
    out.code(137).stdout_is("").stderr_contains("out of memory by --memory-limit: 1 process was killed");
    run("400m", "200").ok().stdout_is("200\n").stderr_lacks("--memory-limit");
    // In a process of its own, and in a file system in memory.
    let child =
        "python3 -c 'x = bytearray(200 << 20)'; echo $?; head -c 200M /dev/zero > /dev/shm/x; echo end";
    let out = lab.awf().args(["--memory-limit", "128m"]).sh(&format!("set +e; {child}"));
    out.check(!out.stdout().contains('0') && out.exit_code() != 125, || "neither has room".into());
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
            lab.awf().subcommand(&["gc"]).ok();
        }
        leftovers::assert_none(&lab, &id);
    }
}
