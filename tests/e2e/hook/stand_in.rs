//! The stand-in does what `runner-hooks` says of the real runner; without it no other test here would mean anything.

use std::{
    fs,
    time::{Duration, Instant},
};

use harness::{
    Lab,
    runner::{Job, Kind, Runner, Step, executable},
    workdir::UID,
};

/// A hook of a test's own, which is not ours.
fn script(runner: &Runner<'_>, name: &str, text: &str) -> std::path::PathBuf {
    let path = runner.write(&format!("hooks/{name}.sh"), text);
    executable(&path);
    path
}

#[test]
fn hooks_and_steps_run_as_the_runner_runs_them() {
    let lab = Lab::new();
    let runner = Runner::new(&lab, "actions-runner");
    let started = script(
        &runner,
        "started",
        "echo started; id -u; pwd; cat; echo \"$GITHUB_JOB $GITHUB_RUN_ID ${GITHUB_ACTION-none}\"
echo x=1 >>$GITHUB_ENV; cat /proc/$PPID/comm; echo '# hello' >>$GITHUB_STEP_SUMMARY
echo '::group::one'; echo '::warning title=t::w%0Ax'; echo err >&2",
    );
    let completed =
        script(&runner, "completed", "echo \"completed ${x-none}\"; false | true; false; echo never");
    runner.hook(&started, &completed);
    let job = Job::new(7)
        .run("__run", "echo \"one $GITHUB_ACTION $0\"; tr '\\0' ' ' </proc/$$/cmdline; false")
        .run("__run_2", "echo never")
        .step(
            Step::new("__node", Kind::Node, "console.log('node', process.env.GITHUB_ACTION)")
                .always()
                .post("console.log('post')"),
        )
        .step(Step::new("__composite", Kind::Composite, "echo $GITHUB_ACTION_PATH").always());
    let done = runner.run(&job);
    let first = done.started().ok();
    let workspace = runner.workspace().display().to_string();
    assert_eq!(
        first.said.lines[..6],
        ["started", &UID.to_string(), &workspace, "build 7 none", "Runner.Worker", "err"]
    );
    assert_eq!((first.summary.as_str(), first.said.groups.len()), ("# hello\n", 1));
    assert_eq!(first.annotations("warning")[0].message, "w\nx");
    done.step("__run").fails().shows("one __run ").shows("/usr/bin/bash -e ");
    assert_eq!(done.step("__run_2").exit, -1);
    let nodes: Vec<_> =
        done.steps.iter().filter(|step| step.name == "__node").map(|step| step.said.text()).collect();
    assert_eq!(nodes, ["node __node", "post"]);
    done.step("__composite").ok().shows("_work/_actions");
    let last = done.completed().fails();
    assert_eq!(
        (last.said.text().as_str(), done.steps.last().map(|step| &*step.name)),
        ("completed none", Some(&*last.name))
    );
}

#[test]
fn what_a_hook_leaves_is_waited_for_five_seconds_and_orphans_are_killed() {
    let lab = Lab::new();
    let runner = Runner::new(&lab, "actions-runner");
    let started =
        script(&runner, "started", "mkfifo held; (echo pid=$BASHPID; exec cat <>held) & echo begun");
    let completed = script(&runner, "completed", "true");
    runner.hook(&started, &completed);
    let done = runner.run(&Job::new(1).run("__run", "setsid cat <>held >/dev/null 2>&1 & disown; echo over"));
    assert!(done.started().ok().left_open, "{done:#?}");
    assert!(!done.step("__run").ok().left_open, "{done:#?}");
    assert_eq!(done.orphans.len(), 2, "{done:#?}");
    let alive =
        |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| text.starts_with(b"cat"));
    // A signal takes effect when its process runs next.
    let end = Instant::now() + Duration::from_secs(10);
    while done.orphans.iter().any(&alive) {
        assert!(Instant::now() < end, "{:?}", done.orphans);
        std::thread::yield_now();
    }
}
