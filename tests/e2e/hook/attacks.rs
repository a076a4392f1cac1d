//! A step, or what an earlier job left behind, wants out.

use std::{
    fs,
    time::{Duration, Instant},
};

use harness::{
    runner::{Kind, Step, executable},
    tools,
    workdir::UID,
};

use super::setup::{BINARY, Machine, job, run_of, said, try_host};

const POLICY: &str = "[policy]\nallow_domains = [\"allowed.test\"]\n";

/// Runs `script` as a step and sees that a later one is held as before.
#[track_caller]
fn held_after(machine: &Machine, script: &str) -> harness::runner::Transcript {
    let runner = machine.runner("actions-runner");
    let both = format!("{}; {}", try_host("denied.test"), try_host("allowed.test"));
    let job = job(1).run("attack", script).step(Step::new("later", Kind::Script, &both).always());
    let done = runner.run(&job);
    done.started().ok();
    said(done.step("later").ok(), "denied.test", "refused");
    said(done.step("later"), "allowed.test", "reached");
    machine.lab().assert_not_dialled("denied.test");
    machine.assert_clean(&runner, &[run_of(&done)]);
    done
}

#[test]
fn a_step_cannot_leave_its_cgroup() {
    let machine = Machine::new(POLICY);
    let script = format!(
        "dir=$(awk '$3 == \"cgroup2\" {{ print $2; exit }}' /proc/mounts)$(sed -n 's/^0:://p' /proc/self/cgroup)
service=${{dir%/awf-bpf-*}}; [ -e $service/cgroup.procs ] || echo lost
case $dir in */awf-bpf-*/agent/job) echo inside;; esac
for to in $dir/.. $dir/../.. $service $service/.. $dir/../../proxy; do
  echo $$ 2>/dev/null >$to/cgroup.procs && echo left; echo 1 2>/dev/null >$to/cgroup.kill && echo killed
  mkdir $to/x 2>/dev/null && echo made; rmdir $dir 2>/dev/null && echo removed; echo 1 2>/dev/null >$to/cgroup.freeze && echo frozen
done; setsid -w curl -sS --max-time 20 http://denied.test/ && echo opened; (setsid nohup curl -sS --max-time 20 http://denied.test/ && echo opened) & wait
ls /run/awf-bpf 2>&1 || true; {}", try_host("denied.test"));
    let done = held_after(&machine, &script);
    let step = done.step("attack").ok().shows("inside").shows("Permission denied");
    for word in ["lost", "left", "killed", "made", "removed", "frozen", "opened"] {
        assert!(!step.said.lines.iter().any(|line| line == word), "{word}: {step:#?}");
    }
}

#[test]
fn a_step_can_neither_kill_nor_starve_the_daemon() {
    let machine = Machine::new(POLICY);
    let script = "pids=$(pgrep -x awf-bpf); [ -n \"$pids\" ] && echo found
for pid in $pids; do kill -9 $pid 2>&1 || true; kill -STOP $pid 2>&1 || true; cat /proc/$pid/environ 2>&1 | head -c 1; ls -l /proc/$pid/fd 2>&1 | head -1; done
node -e '
const net = require(\"net\"); let open = 0, ended = 0;
for (let i = 0; i < 600; i++) net.connect(80, \"203.0.113.10\", () => open++).on(\"error\", () => ended++);
setTimeout(() => { console.log(\"connections\", open + ended > 0); process.exit(0) }, 3000)'";
    let done = held_after(&machine, script);
    let step =
        done.step("attack").ok().shows("found").shows("Operation not permitted").shows("connections true");
    assert!(!step.said.text().contains("total "), "{step:#?}");
}

#[test]
fn a_step_that_calls_the_hooks_gains_nothing() {
    let machine = Machine::new(POLICY);
    let other =
        format!("exec env GITHUB_RUN_ID=999 bash -c 'sudo -n {BINARY} hook post-job || echo other=$?'");
    let denied = try_host("denied.test");
    let script = format!(
        "sudo -n {BINARY} hook pre-job || echo pre=$?; {denied}
bash -c 'sudo -n {BINARY} hook pre-job || echo deep=$?; sudo -n {BINARY} hook post-job || echo deep=$?; :'
(sudo -n {BINARY} hook pre-job || echo sub=$?; :)
setsid bash -c 'sudo -n {BINARY} hook pre-job || echo orphan=$?' &
wait; sudo -n {BINARY} hook post-job && echo post=0; {denied}; sudo -n {BINARY} hook post-job && echo post=0; sudo -n {BINARY} hook pre-job || echo pre=$?
{denied}; {other}"
    );
    let done = held_after(&machine, &script);
    let step = done.step("attack");
    for word in ["pre=125", "deep=125", "sub=125", "orphan=125", "post=0", "other=125", "denied.test=refused"]
    {
        step.shows(word);
    }
    assert!(!step.said.text().contains("denied.test=reached"), "{step:#?}");
    let errors: Vec<_> = step.annotations("error").into_iter().map(|one| one.message.clone()).collect();
    assert!(errors.iter().any(|text| text.contains("holds this job already")), "{errors:#?}");
    assert!(errors.iter().any(|text| text.contains("not called by a job hook")), "{errors:#?}");
    assert!(errors.iter().any(|text| text.contains("999/1/build")), "{errors:#?}");
    done.completed().ok();
}

/// In no job: a process of the user's, as an earlier job may have left it before there were hooks.
#[test]
fn a_forged_worker_gets_no_run_of_its_own_choice() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let fake = machine.lab().dir().work().join("Runner.Worker");
    fs::copy("/bin/bash", &fake).expect("copy bash");
    executable(&fake);
    std::os::unix::fs::chown(&fake, Some(UID), Some(UID)).expect("give it to the user");
    let fake = fake.display();
    let denied = try_host("denied.test");
    for (about, script, error) in [
        (
            "by name",
            format!("exec -a Runner.Worker bash -c 'bash -c \"sudo -n {BINARY} hook pre-job; :\"; :'"),
            "not called by a job hook",
        ),
        (
            "by nobody",
            format!(
                "(setsid bash -c 'sleep 1; sudo -n {BINARY} hook pre-job >out 2>&1; echo >>out' &) ; while ! [ -s out ]; do :; done; cat out"
            ),
            "not called by a job hook",
        ),
        (
            "by a copy",
            format!("{fake} -c 'bash -c \"sudo -n {BINARY} hook pre-job; :\"; {denied}; :'"),
            "is no Runner.Worker of a runner",
        ),
    ] {
        let env: Vec<String> = [
            "GITHUB_RUN_ID=1",
            "GITHUB_RUN_ATTEMPT=1",
            "GITHUB_JOB=x",
            "GITHUB_SERVER_URL=https://denied.test",
            "GITHUB_API_URL=https://denied.test",
            "GITHUB_WORKSPACE=/tmp/x",
        ]
        .map(str::to_owned)
        .into();
        let work = machine.lab().dir().work().display().to_string();
        let script = format!("cd {work}; export {}; {script}", env.join(" "));
        let service = runner.service().display().to_string();
        let out = machine.lab().bare().as_root().cwd("/").run(&["bash", "-c",
            &format!("echo 0 >{service}/cgroup.procs; exec setpriv --reuid {UID} --regid {UID} --clear-groups bash -c \"$0\""), &script]);
        out.check(out.stdout().contains(error), || format!("{about}: {error}"));
        out.check(!out.stdout().contains("=reached"), || format!("{about}: nothing is reached"));
    }
    machine.lab().assert_not_dialled("denied.test");
    machine.assert_clean(&runner, &[]);
}

/// Of pre-jobs that are called at once for one Worker one holds the job; the others change nothing.
#[test]
fn pre_jobs_that_race_hold_a_job_once() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let calls = format!("for n in 1 2 3 4; do sudo -n {BINARY} hook pre-job >said.$n 2>&1 & done; wait");
    let count = "for word in ::group:: 'holds this job already'; do echo \"$(cat said.* | grep -c \"$word\") $word\"; done";
    machine.root_sh(&format!(
        "printf '%s\\n' 'cd $GITHUB_WORKSPACE; {calls}' > /etc/awf-bpf/hooks/pre-job.sh; cat /etc/awf-bpf/hooks/pre-job.sh"
    ));
    let both = format!("{}; {}; {count}", try_host("denied.test"), try_host("allowed.test"));
    let done = runner.run(&job(1).run("__run", &both));
    done.started().ok();
    let step = done.step("__run").ok().shows("3 holds this job already");
    said(step, "denied.test", "refused");
    said(step, "allowed.test", "reached");
    machine.lab().assert_not_dialled("denied.test");
    machine.root_sh("[ \"$(ls -d /run/awf-bpf/????????????/ | wc -l)\" -le 1 ]");
}

#[test]
fn what_no_runner_sets_is_refused_and_the_steps_have_no_network() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    for (name, value) in [
        ("GITHUB_JOB", "a\n::set-env name=X::y"),
        ("GITHUB_RUN_ID", "../../1"),
        ("GITHUB_SERVER_URL", "https://x@denied.test"),
        ("GITHUB_WORKSPACE", "/tmp/../etc"),
        ("GITHUB_RUN_ATTEMPT", "$(touch /tmp/awf-evil)"),
    ] {
        let job = job(1)
            .env(name, value)
            .step(Step::new("later", Kind::Script, &try_host("allowed.test")).always());
        let done = runner.run(&job);
        let error = done.started().fails().error();
        assert!(error.message.contains(name) && error.message.contains("no network"), "{error:?}");
        assert!(done.started().said.other.is_empty(), "{done:#?}");
        said(done.step("later"), "allowed.test", "refused");
    }
    machine.assert_clean(&runner, &[]);
}

#[test]
fn a_repository_narrows_and_never_widens() {
    let machine = Machine::new(
        "[policy]\nallow_domains = [\"allowed.test\", \"v4only.test\"]\n[hook]\nallow_repository_policy = true\n",
    );
    let runner = machine.runner("actions-runner");
    let all = ["allowed.test", "v4only.test", "denied.test"].map(try_host).join("; ");
    let later = || job(1).step(Step::new("later", Kind::Script, &all).always());
    let done = runner.run(&later());
    said(done.step("later"), "v4only.test", "reached");
    let file = "_work/p/p/.github/awf-bpf.toml";
    runner.write(file, "[policy]\nallow_domains = [\"allowed.test\", \"denied.test\"]\n");
    let done = runner.run(&later());
    done.started().ok().shows("narrowed");
    for (host, word) in [("allowed.test", "reached"), ("v4only.test", "refused"), ("denied.test", "refused")]
    {
        said(done.step("later"), host, word);
    }
    runner.write(file, "[policy]\n\nallow_domain = [\"x.test\"]\n");
    let done = runner.run(&later());
    let error = done.started().fails().error();
    assert_eq!((&*error.file, &*error.line), (".github/awf-bpf.toml", "3"), "{error:?}");
    said(done.step("later"), "allowed.test", "refused");
    machine.assert_clean(&runner, &[]);
}

#[test]
fn a_hostile_file_of_a_repository_leaks_nothing_and_stops_the_network() {
    let machine = Machine::new(
        "[policy]\nallow_domains = [\"allowed.test\"]\n[hook]\nallow_repository_policy = true\n",
    );
    let runner = machine.runner("actions-runner");
    machine.root_sh("echo 'rootsecret' > /opt/secret; chmod 600 /opt/secret");
    let dir = runner.workspace().join(".github");
    runner.write("_work/p/p/.github/x", "");
    let file = dir.join("awf-bpf.toml");
    let show = |path: &std::path::Path| path.display().to_string();
    for make in [
        format!("ln -s /opt/secret {}", show(&file)),
        format!("mkfifo {0}; chown {UID} {0}", show(&file)),
        format!("mkdir {0}; chown {UID} {0}", show(&file)),
        format!("cp /opt/secret {0}; chmod 600 {0}", show(&file)),
        format!("echo > {0}; ln {0} {0}.2; chown {UID} {0}", show(&file)),
        format!("head -c 70000 /dev/zero | tr '\\0' '#' > {0}; chown {UID} {0}", show(&file)),
        format!(
            "printf '[policy]\\nallow_domains_file = \"/opt/secret\"\\n' > {0}; chown {UID} {0}",
            show(&file)
        ),
        format!("printf '\\n\\n= ::error::x %%0A\\n::set-env name=a::b' > {0}; chown {UID} {0}", show(&file)),
    ] {
        machine.root_sh(&make);
        let done =
            runner.run(&job(1).step(Step::new("later", Kind::Script, &try_host("allowed.test")).always()));
        let error = done.started().fails().error();
        assert_eq!(error.file, ".github/awf-bpf.toml", "{make}: {error:?}");
        assert!(!format!("{:?}", done.started()).contains("rootsecret"), "{make}");
        assert!(done.started().said.other.is_empty(), "{make}: {done:#?}");
        said(done.step("later"), "allowed.test", "refused");
        machine.root_sh(&format!("rm -rf {0} {0}.2", show(&file)));
    }
    machine.assert_clean(&runner, &[]);
}

#[test]
fn a_policy_that_others_can_write_is_none() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let later = || job(1).step(Step::new("later", Kind::Script, &try_host("allowed.test")).always());
    for (make, undo) in [
        ("chmod 666 /etc/awf-bpf/policy.toml", "chmod 644 /etc/awf-bpf/policy.toml"),
        ("chown 12345 /etc/awf-bpf", "chown 0 /etc/awf-bpf"),
        ("mv /etc/awf-bpf/policy.toml /etc/awf-bpf/p", "mv /etc/awf-bpf/p /etc/awf-bpf/policy.toml"),
    ] {
        machine.root_sh(make);
        let done = runner.run(&later());
        machine.root_sh(undo);
        assert!(done.started().fails().error().message.contains("/etc/awf-bpf"), "{done:#?}");
        said(done.step("later"), "allowed.test", "refused");
    }
    machine.set_policy("[policy]\nallow_domains = [\"a b\"]\n");
    let done = runner.run(&later());
    assert!(done.started().fails().error().message.contains("policy.toml:2"), "{done:#?}");
    machine.assert_clean(&runner, &[]);
}

#[test]
fn a_dead_daemon_refuses_the_network_and_the_next_job_starts_clean() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let script = format!(
        "{}; mkfifo go; echo begun; read x <go; {}",
        try_host("allowed.test"),
        try_host("allowed.test")
    );
    let running =
        runner.start(&[job(1).run("__run", &script), job(2).run("__run", &try_host("allowed.test"))]);
    running.wait_for("begun");
    assert_eq!(machine.kill_all(), 1, "the daemon");
    fs::write(runner.workspace().join("go"), "\n").expect("let the step go on");
    let done = running.finish();
    let lines: Vec<_> =
        done[0].step("__run").said.lines.iter().filter(|line| line.contains("allowed.test=")).collect();
    assert_eq!(lines, ["allowed.test=reached", "allowed.test=refused"]);
    let warned =
        done[0].completed().ok().annotations("warning").iter().any(|one| one.message.contains("daemon died"));
    assert!(warned, "{done:#?}");
    said(done[1].step("__run").ok(), "allowed.test", "reached");
    machine.root_sh(&format!("{BINARY} gc"));
    machine.assert_clean(&runner, &[run_of(&done[0]), run_of(&done[1])]);
}

#[test]
fn a_summary_is_written_to_no_file_but_the_users() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    machine.root_sh("echo before > /opt/target; chmod 666 /opt/target");
    let names = "(exec -a '|`x`<b>' curl -sS --max-time 20 http://denied.test/) || true";
    let linked = format!(
        "ln -s /opt/target link; exec env GITHUB_STEP_SUMMARY=$PWD/link bash -c 'sudo -n {BINARY} hook post-job; :'"
    );
    let direct =
        format!("exec env GITHUB_STEP_SUMMARY=/opt/target bash -c 'sudo -n {BINARY} hook post-job; :'");
    let done = runner.run(&job(1).run("__run", names).run("linked", &linked).run("direct", &direct));
    for step in ["linked", "direct"] {
        done.step(step).ok().shows("No summary was written");
    }
    let completed = done.completed().ok();
    assert!(completed.summary.contains("<code>denied"), "{completed:#?}");
    assert!(!completed.summary.contains("<b>") && !completed.summary.contains("`x`"), "{completed:#?}");
    machine.root_sh("[ \"$(cat /opt/target)\" = before ]");
    machine.assert_clean(&runner, &[run_of(&done)]);
}

/// The same at each step: each write(2) of theirs is a file of a cgroup, a mark of how far it is, a word to another one.
#[test]
fn killing_each_process_of_ours_at_each_of_its_writes_opens_nothing() {
    const WRITES: usize = 20;
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let (strace, inject) = (tools::require("strace"), "/opt/inject");
    // It makes room for what it traces, whose parent is sudo as ever (-D).
    let traced = format!(
        "#!/bin/bash\nexec {} -D -f -qq -o /dev/null -e trace=write -e inject=write:signal=KILL:when=$(cat /opt/number) {BINARY} \"$@\"",
        strace.display()
    );
    machine.root_sh(&format!(
        "cat > {inject} <<'END'\n{traced}\nEND\nchmod 755 {inject}; sed -i 's#{BINARY} hook#{inject} hook#' /etc/awf-bpf/hooks/pre-job.sh
grep -q '{inject} hook pre-job' /etc/awf-bpf/hooks/pre-job.sh; cd /etc/sudoers.d; sed -i 's#{BINARY} hook#{inject} hook#g' awf-bpf-*; visudo -cq"
    ));
    let later = job(1).step(Step::new("later", Kind::Script, &try_host("denied.test")).always());
    let (mut killed_workers, mut begun) = (0, 0);
    for number in 1..=WRITES {
        machine.root_sh(&format!("echo {number} > /opt/number"));
        match runner.start(std::slice::from_ref(&later)).finish_any() {
            Some(done) => {
                begun += usize::from(done.started().exit == 0);
                said(done.step("later"), "denied.test", "refused");
            }
            None => killed_workers += 1,
        }
        machine.lab().assert_not_dialled("denied.test");
    }
    assert!(killed_workers > 0 && begun < WRITES, "{killed_workers} Workers killed, {begun} hooks went well");
    machine.root_sh(&format!("sed -i 's#{inject} hook#{BINARY} hook#' /etc/awf-bpf/hooks/pre-job.sh /etc/sudoers.d/awf-bpf-*; {BINARY} gc"));
    let last = runner.run(&job(2).run("__run", &try_host("allowed.test")));
    said(last.step("__run").ok(), "allowed.test", "reached");
    machine.assert_clean(&runner, &[]);
}

/// What a hook's death leaves open would be open for the whole job.
#[test]
fn killing_every_process_of_ours_at_any_moment_opens_nothing() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let later = job(1).step(Step::new("later", Kind::Script, &try_host("denied.test")).always());
    let mut killed_workers = 0;
    // Each time a little later than the last: through the whole start.
    for round in 0..10 {
        let running = runner.start(std::slice::from_ref(&later));
        let end = Instant::now() + Duration::from_secs(30);
        while machine.processes().is_empty() && Instant::now() < end {
            std::thread::yield_now();
        }
        let moment = Instant::now() + Duration::from_millis(200) * round;
        while Instant::now() < moment {
            std::thread::yield_now();
        }
        machine.kill_all();
        match running.finish_any() {
            Some(done) => said(done.step("later"), "denied.test", "refused"),
            None => killed_workers += 1,
        }
        machine.lab().assert_not_dialled("denied.test");
    }
    assert!(killed_workers > 0, "at least the first time nothing held yet");
    machine.root_sh(&format!("{BINARY} gc"));
    let last = runner.run(&job(2).run("__run", &try_host("allowed.test")));
    said(last.step("__run").ok(), "allowed.test", "reached");
    machine.assert_clean(&runner, &[]);
}
