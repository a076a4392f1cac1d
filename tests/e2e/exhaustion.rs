//! A command that uses up what awf-bpf needs gets neither out nor around its end.

use std::{os::unix::process::CommandExt as _, time::Duration};

use harness::{
    Lab, Process, leftovers,
    procs::{self, Marker},
};
use rustix::process::{Resource, Rlimit, setrlimit};

const SOON: Duration = Duration::from_secs(10);
/// Descriptors of awf-bpf, before it helps itself.
const FEW: u64 = 128;

/// Eight daemons hold forty silent connections each; then the command ends.
const HOLDS: &str = "hold() { for n in {1..40}; do exec {fd}<>/dev/tcp/203.0.113.10/443 || break; done; \
    echo held; exec sleep 1000 5<&-; }; export -f hold; \
    exec 5< <(for n in {1..8}; do setsid bash -c hold \"$0\" <&- 2>&- & done); \
    for n in {1..8}; do read -r -u5 _; done; exit 7";

#[test]
fn a_command_that_takes_every_descriptor_ends_with_its_own_code_and_leaves_nothing() {
    for host in [false, true] {
        let lab = Lab::new();
        let marker = Marker::new("descriptors");
        let run = lab.awf().allow("allowed.test");
        let run = if host { run.host_network() } else { run };
        let mut command = run.command(&["bash", "-c", HOLDS, &marker.0]);
        let few = || {
            setrlimit(Resource::Nofile, Rlimit { current: Some(FEW), maximum: Some(FEW) }).map_err(Into::into)
        };
        // SAFETY: the closure only calls prlimit64(2).
        unsafe { command.pre_exec(few) };
        let process = lab.machine().within(|| Process::spawn(&mut command, Vec::new()));
        let out = run.finish(process);
        out.check(out.exit_code() == 7, || "the command's own exit code".to_owned());
        let left = procs::wait_gone(&marker.0, SOON);
        out.check(left.is_empty(), || format!("no survivor, but {left:?}"));
        let id = out.audit()[0]["run"].as_str().expect("a record names its run").to_owned();
        leftovers::assert_none(&lab, &id);
    }
}

/// A caller's `ulimit` that is too little: an error that says so, nothing run, no death by a signal.
#[test]
fn what_a_callers_limits_do_not_allow_is_said() {
    let lab = Lab::new();
    for (resource, most, said) in
        [(Resource::Nofile, 64, "may open 64 files at once"), (Resource::Fsize, 0, "File too large")]
    {
        let mut command = lab.awf().command(&["true"]);
        let limit = move || {
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(Into::into)
        };
        // SAFETY: the closure only calls prlimit64(2).
        unsafe { command.pre_exec(limit) };
        let process = lab.machine().within(|| Process::spawn(&mut command, Vec::new()));
        lab.awf().finish(process).code(125).stderr_contains(said);
    }
}
