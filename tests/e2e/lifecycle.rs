//! However a run begins, ends or is killed, the network stays closed and the machine is left as it was.

use std::time::Duration;

use harness::{
    Lab, Process, Run, leftovers,
    origin::Connection,
    procs::{self, Marker},
};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(10);

/// Dials a denied origin on both families for ever, once more from a daemon that ignores every signal it may; says
/// `up` when that has left the session. `$0` marks the processes.
const DIALS: &str = "dial() { trap '' TERM HUP INT; while :; do \
    (exec 3<>/dev/tcp/203.0.113.20/443) 2>/dev/null; (exec 3<>/dev/tcp/2001:db8:2::20/443) 2>/dev/null; done; }; \
    export -f dial; setsid bash -c dial \"$0\" <&- >&- 2>&- & \
    until read -r _ _ _ _ _ session _ </proc/$!/stat && [ \"$session\" = $! ]; do :; done; echo up; dial";

fn start(run: &Run<'_>, marker: &Marker) -> Process {
    run.spawn(&["bash", "-c", DIALS, &marker.0])
}

/// The id of a run that has refused something: it stands in every record.
fn id(run: &Run<'_>, script: &str) -> String {
    run.sh(script).ok().audit()[0]["run"].as_str().expect("a record names its run").to_owned()
}

fn reached(lab: &Lab) -> Vec<Connection> {
    lab.connections().all()
}

#[test]
fn the_dialling_script_reaches_the_world_without_the_firewall() {
    let lab = Lab::new();
    let marker = Marker::new("bare");
    let process = start(&lab.bare(), &marker);
    process.wait_for_stdout("up", SOON);
    for v6 in [false, true] {
        assert!(
            lab.connections().wait_for(SOON, |conn| conn.to.is_ipv6() == v6).is_some(),
            "the script dials"
        );
    }
    drop(process);
    assert!(!procs::marked(&marker.0).is_empty(), "the daemon left the process group");
}

/// The kernel would bury their children for them, and nobody could tell how the command ended.
#[test]
fn a_caller_that_ignores_the_end_of_its_children_is_no_obstacle() {
    let lab = Lab::new();
    for run in [lab.awf(), lab.awf().machine_files(), lab.awf().host_network()] {
        let command = run.command(&["sh", "-c", "trap; exit 7"]);
        let mut shell = std::process::Command::new("/bin/bash");
        shell
            .args(["-c", "trap '' CHLD; exec \"$@\"", "bash"])
            .arg(command.get_program())
            .args(command.get_args());
        shell.current_dir(lab.dir().work());
        let process = lab.machine().within(|| Process::spawn(&mut shell, Vec::new()));
        run.finish(process).code(7);
    }
}

#[test]
fn sigkill_while_the_command_runs_leaves_it_without_network() {
    for (name, host_network) in [("isolated", false), ("host", true)] {
        let lab = Lab::new();
        let marker = Marker::new(name);
        let run = if host_network { lab.awf().host_network() } else { lab.awf() };
        let process = start(&run.allow("allowed.test"), &marker);
        process.wait_for_stdout("up", SOON);
        process.signal(Signal::KILL);
        assert!(process.wait_exit(SOON), "awf-bpf is dead");
        // Whoever survives goes on dialling, hundreds of times in these seconds.
        let _ = procs::wait_gone(&marker.0, Duration::from_secs(3));
        lab.awf().subcommand(&["gc"]).ok();
        assert!(procs::wait_gone(&marker.0, SOON).is_empty(), "gc ends what a killed run left running");
        assert!(reached(&lab).is_empty(), "{:#?}", reached(&lab));
    }
}

#[test]
fn sigkill_at_any_moment_never_opens_the_network() {
    let lab = Lab::new();
    let marker = Marker::new("moments");
    for moment in 0..24 {
        let process = start(&lab.awf().allow("allowed.test"), &marker);
        // Not a wait for anything: the moment is what varies.
        let early = process.wait_exit(Duration::from_millis(moment * moment));
        assert!(!early, "the script never ends by itself");
        process.signal(Signal::KILL);
        assert!(process.wait_exit(SOON), "awf-bpf is dead");
    }
    let _ = procs::wait_gone(&marker.0, Duration::from_secs(3));
    lab.awf().subcommand(&["gc"]).ok();
    assert!(procs::wait_gone(&marker.0, SOON).is_empty(), "gc ends what a killed run left running");
    assert!(reached(&lab).is_empty(), "{:#?}", reached(&lab));
}

#[test]
fn a_killed_run_is_reaped_by_gc_and_by_the_next_start() {
    let lab = Lab::new();
    for by_gc in [true, false] {
        let run = lab.awf().allow("allowed.test");
        let script = "curl -sS http://denied.test/ >/dev/null; echo up; exec sleep 1000";
        let process = run.spawn(&["bash", "-c", script]);
        process.wait_for_stdout("up", SOON);
        let path = run.audit_dir().join("audit.jsonl");
        let line = std::fs::read_to_string(&path).expect("a denial is on record at once");
        let record: serde_json::Value =
            serde_json::from_str(line.lines().next().expect("a line")).expect("JSON");
        let id = record["run"].as_str().expect("a record names its run").to_owned();
        assert!(
            !leftovers::of_run(&lab, &id).is_empty(),
            "a live run has a directory or a cgroup named by its id"
        );
        process.signal(Signal::KILL);
        assert!(process.wait_exit(SOON), "awf-bpf is dead");
        if by_gc {
            lab.awf().subcommand(&["gc"]).ok();
        } else {
            lab.awf().run(&["true"]).ok();
        }
        leftovers::gc_and_assert_none(&lab, &id, SOON);
    }
}

#[test]
fn gc_leaves_a_live_run_alone() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    let process = run.stdin("go\n").spawn(&[
        "bash",
        "-c",
        "echo up; until [ -e go ]; do read -rt 0.05 <> <(:); done; \
        curl -sS https://allowed.test/",
    ]);
    process.wait_for_stdout("up", SOON);
    lab.awf().subcommand(&["gc"]).ok();
    lab.dir().file("go", "");
    process.wait_for_stdout("hello from allowed.test", SOON);
}

#[test]
fn a_run_leaves_nothing_behind() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    let id = id(&run, "curl -sS https://allowed.test/; curl -s https://denied.test/ || true");
    leftovers::assert_none(&lab, &id);
}

#[test]
fn a_daemon_does_not_outlive_the_run() {
    let lab = Lab::new();
    let marker = Marker::new("daemon");
    let script = "setsid bash -c 'trap \"\" TERM HUP; while :; do read -rt 1 <> <(:); done' \"$0\" <&- >&- 2>&- & true";
    lab.awf().run(&["bash", "-c", script, &marker.0]).ok().fast();
    assert!(procs::marked(&marker.0).is_empty());
}

#[test]
fn signals_reach_the_command_and_its_answer_is_the_exit_code() {
    let lab = Lab::new();
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
    ] {
        let run = lab.awf();
        let script = format!("trap 'echo got {name}; exit 7' {name}; echo up; sleep 1000 & wait");
        let process = run.spawn(&["bash", "-c", &script]);
        process.wait_for_stdout("up", SOON);
        process.signal(signal);
        run.finish(process).code(7).stdout_contains(&format!("got {name}"));
    }
}

#[test]
fn a_signal_the_command_does_not_catch_is_128_and_its_number() {
    let lab = Lab::new();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let run = lab.awf();
        let process = run.spawn(&[
            "/usr/bin/python3",
            "-c",
            "import signal\n\
            signal.signal(signal.SIGINT, signal.SIG_DFL)\nprint('up', flush=True)\nsignal.pause()",
        ]);
        process.wait_for_stdout("up", SOON);
        process.signal(signal);
        run.finish(process).code(code);
    }
}

#[test]
fn two_runs_at_once_have_each_its_own_policy() {
    let lab = Lab::new();
    let script = "echo up; until [ -e go ]; do read -rt 0.05 <> <(:); done; \
        for host in allowed.test other.test; do curl -sS https://$host/ 2>&1; done; true";
    let runs = ["allowed.test", "other.test"].map(|host| lab.awf().allow(host));
    let processes: Vec<_> = runs.iter().map(|run| run.spawn(&["bash", "-c", script])).collect();
    for process in &processes {
        process.wait_for_stdout("up", SOON);
    }
    lab.dir().file("go", "");
    let outs: Vec<_> = runs.iter().zip(processes).map(|(run, process)| run.finish(process)).collect();
    outs[0].ok().stdout_contains("hello from allowed.test").denied("other.test", "not_in_allowlist");
    outs[1].ok().stdout_contains("hello from other.test").denied("allowed.test", "not_in_allowlist");
}

/// Each start looks for runs whose owner is dead, in the middle of the others' beginnings and ends.
/// It has no privileges to make a firewall with, and needs none.
#[test]
fn awf_bpf_inside_itself_says_that_it_is() {
    let lab = Lab::new();
    let own = lab.dir().install(&harness::tools::awf_bpf());
    let own = own.to_str().expect("the lab's paths are UTF-8");
    for flags in [&[][..], &["--user", "root"]] {
        let out = lab.awf().args(flags).run(&[own, "-d", "*.test", "--", "true"]);
        out.code(125).stderr_contains("this is inside run ").stderr_contains("leave awf-bpf out");
    }
}

#[test]
fn sixteen_starts_at_once_all_run() {
    let lab = Lab::new();
    let runs: Vec<_> = (0..16).map(|_| lab.awf()).collect();
    for round in 0..3 {
        let word = format!("round {round}");
        let processes: Vec<_> = runs.iter().map(|run| run.spawn(&["echo", &word])).collect();
        for (run, process) in runs.iter().zip(processes) {
            run.finish(process).ok().stdout_is(&format!("{word}\n"));
        }
    }
}

#[test]
fn a_hundred_connections_at_once_are_all_judged_rightly() {
    let lab = Lab::new();
    let script = "for i in $(seq 50); do for host in allowed denied; do \
        curl -sS -m 20 --resolve \"$host.test:443:203.0.113.$1\" https://$host.test/ 2>/dev/null & done; done; wait";
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    let out = run.run(&["bash", "-c", script, "bash", "20"]);
    out.ok().stdout_is(&"hello from allowed.test\n".repeat(50));
    let denied = out.records(&[("host", "denied.test".into()), ("event", "connection".into())]);
    out.check(denied.len() == 50, || format!("50 denials, not {}", denied.len()));
    lab.assert_not_dialled("denied.test");
}
