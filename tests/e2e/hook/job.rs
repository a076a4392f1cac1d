//! A job whose runner has our hooks, from its first step to its summary.

use harness::runner::{Kind, Step};

use super::setup::{Machine, SERVER, job, run_of, said, try_host};

const POLICY: &str = "[policy]\nallow_domains = [\"allowed.test\", \"git.test\"]\n";

#[test]
fn steps_reach_what_the_policy_allows_and_the_worker_what_it_needs() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let fetch = "const http = require('http'); for (const host of ['allowed.test', 'denied.test'])
http.get('http://' + host, { agent: false }, r => { console.log(host + '=' + r.statusCode); r.resume() }).on('error', e => console.log(host + '=' + e.code))";
    let all = format!("{}; {}; {}", try_host("allowed.test"), try_host("denied.test"), try_host(SERVER));
    let job = job(41)
        .run("__run", &format!("{all}; curl -sS https://allowed.test/ >/dev/null && echo tls; for v in 4 6; do curl -sS -$v https://denied.test/ && echo opened$v; done; true"))
        .run("__git", "git ls-remote https://git.test/git/project.git HEAD; git ls-remote https://denied.test/git/project.git HEAD || echo shut")
        .step(Step::new("__node", Kind::Node, fetch))
        .step(Step::new("worker", Kind::Worker, &format!("http://{SERVER}/")))
        .step(Step::new("greedy", Kind::Worker, "http://allowed.test/"))
        .step(Step::new("__actions_checkout", Kind::Composite, &all).post(&try_host("denied.test")));
    let done = runner.run(&job);
    done.started().ok().shows("allowed.test");
    assert!(!done.started().left_open, "{done:#?}");
    for step in ["__run", "__actions_checkout"] {
        let step = done.step(step).ok();
        said(step, "allowed.test", "reached");
        said(step, "denied.test", "refused");
        said(step, SERVER, "refused");
    }
    let step = done.step("__run").shows("tls");
    assert!(!step.said.text().contains("opened"), "{step:#?}");
    done.step("__git").ok().shows("\tHEAD").shows("shut");
    done.step("__node").ok().shows("allowed.test=200");
    assert!(!done.step("__node").said.text().contains("denied.test=200"));
    assert!(done.step("worker").got.starts_with("HTTP/1.1 200"), "{done:#?}");
    assert!(!done.step("greedy").got.starts_with("HTTP/1.1 200"), "{done:#?}");
    machine.lab().assert_not_dialled("denied.test");

    let id = run_of(&done);
    let completed = done.completed().ok();
    let warnings = completed.annotations("warning");
    assert!((1..=10).contains(&warnings.len()), "{completed:#?}");
    assert!(
        warnings.iter().any(|one| one.message.contains("denied.test")
            && one.message.contains("allow_domains = [\"denied.test\"]")),
        "{warnings:#?}"
    );
    let summary = completed.summary.replace("&#46;", ".").replace("&#95;", "_");
    for part in [
        "### awf-bpf: ",
        "<code>denied.test",
        "<code>__run</code>",
        "<code>__node</code>",
        "<code>curl</code>",
        "<code>runner</code>",
    ] {
        assert!(summary.contains(part), "{part:?} in {summary}");
    }
    let records = machine.records(&id);
    let steps_of = |host: &str| -> std::collections::BTreeSet<String> {
        let of = records.iter().filter(|record| record["host"] == host);
        of.map(|record| record["step"].as_str().unwrap_or("none").to_owned()).collect()
    };
    let steps: Vec<_> = steps_of("allowed.test").into_iter().collect();
    assert_eq!(steps, ["__actions_checkout", "__node", "__run", "runner"], "{records:#?}");
    assert!(steps_of(SERVER).contains("runner"));
    machine.assert_clean(&runner, &[id]);
}

#[test]
fn the_rest_of_the_machines_file_counts_too_and_a_report_is_of_its_own_run() {
    let machine = Machine::new(
        "[policy]\nallow_domains = [\"allowed.test\"]\n[output]\naudit_dir = \"/var/log/awf-bpf/all\"\n[hook]\nannotations = 1\n",
    );
    let runner = machine.runner("actions-runner");
    let denied = ["denied.test", "v4only.test", "dual.test"].map(try_host).join("; ");
    let done = runner
        .start(&[job(1).run("__run", &denied), job(2).run("__run", &try_host("allowed.test"))])
        .finish();
    machine.records("all");
    let warnings = done[0].completed().ok().annotations("warning");
    assert!(warnings.len() == 1 && warnings[0].message.contains("more targets"), "{warnings:#?}");
    done[1].completed().ok().shows("1 allowed, 0 denied");
    assert!(done[1].completed().annotations("warning").is_empty(), "{done:#?}");
    machine.assert_clean(&runner, &done.iter().map(run_of).collect::<Vec<_>>());
}

#[test]
fn what_steps_leave_is_ended_with_the_job() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let done = runner.run(&job(1).run("__run", "unset RUNNER_TRACKING_ID; setsid sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 >/dev/null 2>&1 & echo left"));
    done.completed().ok().shows("2 processes that the steps left were ended");
    assert!(done.orphans.is_empty(), "{done:#?}");
    machine.assert_clean(&runner, &[run_of(&done)]);
}

#[test]
fn a_job_whose_completed_hook_never_ran_is_cleared_by_the_next_one() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let first =
        job(1).run("__run", "unset RUNNER_TRACKING_ID; setsid sleep 1000 >/dev/null 2>&1 & kill -9 $PPID");
    let running = runner.start(&[first, job(2).run("__run", &try_host("allowed.test"))]);
    let log = running.wait_for("allowed.test=reached");
    let first = log.split_once("(run ").and_then(|(_, rest)| rest.split_once(')'));
    let first = first.map(|(id, _)| id.to_owned()).unwrap_or_else(|| panic!("{log}"));
    let done = running.finish_last();
    done.completed().ok();
    assert_ne!(run_of(&done), first);
    machine.assert_clean(&runner, &[first, run_of(&done)]);
}

#[test]
fn ten_jobs_one_after_another_leave_nothing() {
    let machine = Machine::new(POLICY);
    let runner = machine.runner("actions-runner");
    let jobs: Vec<_> = (0..10)
        .map(|number| {
            job(number).run("__run", &format!("{}; {}", try_host("allowed.test"), try_host("denied.test")))
        })
        .collect();
    let done = runner.start(&jobs).finish();
    let ids: Vec<_> = done.iter().map(run_of).collect();
    for one in &done {
        said(one.step("__run").ok(), "allowed.test", "reached");
        said(one.step("__run"), "denied.test", "refused");
        one.completed().ok();
    }
    machine.assert_clean(&runner, &ids);
}

#[test]
fn four_jobs_at_once_hold_apart_and_leave_nothing() {
    let machine = Machine::new(POLICY);
    let runners: Vec<_> = (0..4).map(|number| machine.runner(&format!("runner-{number}"))).collect();
    let script = format!("{}; {}", try_host("allowed.test"), try_host("denied.test"));
    let running: Vec<_> = runners
        .iter()
        .zip(1..)
        .map(|(runner, number)| runner.start(&[job(number).run("__run", &script)]))
        .collect();
    let done: Vec<_> = running.into_iter().map(|running| running.finish().remove(0)).collect();
    let ids: Vec<_> = done.iter().map(run_of).collect();
    for one in &done {
        said(one.step("__run").ok(), "allowed.test", "reached");
        said(one.step("__run"), "denied.test", "refused");
    }
    runners.iter().for_each(|runner| machine.assert_clean(runner, &ids));
}
