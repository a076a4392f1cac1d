//! A job that prepares the next one's: what it leaves, what it does to the runner's own processes, what it calls meanwhile.

use std::fs;

use harness::runner::{Job, Kind, Step};

use super::setup::{BINARY, Machine, job, run_of, said, try_host};

const POLICY: &str = "[policy]\nallow_domains = [\"allowed.test\"]\n";

/// A job whose only step runs whatever the started hook exits with.
fn whatever() -> Job {
    job(2).step(Step::new("later", Kind::Script, &try_host("denied.test")).always())
}

/// A step's child that outlives its job, unless somebody ends it: in no tracking, in no session of the job's.
fn leave(script: &str) -> String {
    format!(
        "cat > left.py <<'END'\n{script}\nEND\n\
         env -u RUNNER_TRACKING_ID setsid python3 left.py </dev/null >/dev/null 2>&1 & until [ -e begun ]; do :; done"
    )
}

#[test]
fn what_a_job_leaves_does_not_kill_the_hooks_of_the_next_one() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    // Those of this runner's: other tests have theirs.
    let script = "import os, signal
open('begun', 'w')
while True:
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            words = open(f'/proc/{pid}/cmdline', 'rb').read()
            ours = words.startswith(b'bash\\0-e\\0/etc/awf-bpf/hooks/') and os.readlink(f'/proc/{pid}/cwd') == os.getcwd()
            if ours: os.kill(int(pid), signal.SIGKILL)
        except OSError: pass";
    let first = runner.run(&job(1).run("__run", &leave(script)));
    assert_eq!(first.completed().exit, 137, "{first:#?}");
    // The next job is not there at once, as it would not be with GitHub's runner, which asks its server for it.
    machine.assert_clean(&runner, &[run_of(&first)]);
    let done = runner.run(&whatever());
    said(done.step("later").ok(), "denied.test", "refused");
    machine.lab().assert_not_dialled("denied.test");
}

/// As when a job is cancelled in its started hook: the runner goes on while that is still at work. (It waits for five
/// seconds for outputs to be closed; so that the test need not, they are.)
#[test]
fn a_hook_that_is_ended_while_it_works_lets_no_step_go() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    // The hook itself and the daemon that it has started, in the cgroup of this runner's service.
    let wrapper = format!(
        "sudo -n {BINARY} hook pre-job </dev/null >/dev/null 2>&1 &
own=$(grep ^0:: /proc/self/cgroup)
until [ \"$(for pid in $(pgrep -x awf-bpf); do cat /proc/$pid/cgroup; done 2>/dev/null | grep -cxF \"$own\")\" -ge 2 ]; do :; done
kill -KILL $$"
    );
    fs::write(machine.lab().dir().root().join("machine-etc/awf-bpf/hooks/pre-job.sh"), wrapper)
        .expect("change the wrapper");
    if let Some(done) = runner.start(&[whatever()]).finish_any() {
        said(done.step("later"), "denied.test", "refused");
    }
    machine.lab().assert_not_dialled("denied.test");
    machine.assert_clean(&runner, &[]);
}

/// sudo is not there, and nothing else is found: no more may be possible where an earlier job has limited the Listener.
#[test]
fn a_wrapper_that_can_start_nothing_ends_its_job() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    machine.root_sh("f=/etc/awf-bpf/hooks/pre-job.sh; sed -i -e 's#/[a-z/]*/sudo -n#/nowhere&#g' -e '2i PATH=/nowhere' $f; grep -q /nowhere/usr $f");
    let ended = runner.start(&[whatever()]).finish_any();
    assert!(ended.is_none(), "its Worker went on: {ended:#?}");
    machine.assert_clean(&runner, &[]);
}

/// A step limits the Listener, from which the next job's Worker, hooks and daemon are born; and calls the hook many times.
#[test]
fn what_a_step_hands_down_to_the_hooks_does_not_count() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    // Hard limits as they are: without CAP_SYS_RESOURCE, as tests may run, nobody raises them again.
    let limit = "listener=$(ps -o ppid= $PPID); for what in fsize cpu; do prlimit --pid $listener --$what=100000:; done; echo limited";
    let seen = "own=$(sed -n 's#^0::\\(.*\\)/awf-bpf-.*#\\1#p' /proc/self/cgroup); ulimit -f; for pid in $(pgrep -x awf-bpf); do
grep -q \"$own\" /proc/$pid/cgroup && grep -hE 'Max (file|cpu)' /proc/$pid/limits || :; done";
    let calls = format!(
        "for n in 1 2 3 4 5; do sudo -n {BINARY} hook post-job >/dev/null & done; wait; {}",
        try_host("denied.test")
    );
    let jobs = [
        job(1).run("__run", limit),
        job(2).run("__run", seen).step(Step::new("calls", Kind::Script, &calls).always()),
    ];
    let done = runner.start(&jobs).finish();
    done[0].step("__run").ok().shows("limited");
    done[1].started().ok();
    let step = done[1].step("__run").ok();
    let limits: Vec<_> = step.said.lines.iter().filter(|line| line.starts_with("Max ")).collect();
    assert!(step.said.lines.iter().any(|line| line == "97") && limits.len() >= 2, "{step:#?}");
    assert!(limits.iter().all(|line| line.contains("unlimited  ")), "{limits:#?}");
    said(done[1].step("calls"), "denied.test", "refused");
    let completed = done[1].completed().ok();
    assert!(
        !completed.annotations("warning").iter().any(|one| one.message.contains("may still run")),
        "{completed:#?}"
    );
    machine.assert_clean(&runner, &done.iter().map(run_of).collect::<Vec<_>>());
}
