//! A job of a self-hosted runner behind the firewall: what the started and the completed hook do, as root.
//!
//! ```text
//! worker    whose job it is: the Runner.Worker above the hook, by what the kernel says of it
//! context   which job it is: the hook's environment, which anybody may have written, checked
//! policies  of /etc/awf-bpf/policy.toml and of the repository: what the steps, and the Worker alone, may reach
//! pre       finds, decides, attaches; whatever goes wrong, the steps have no network
//! post      ends what the steps left, and reports: tally, summary, workflow
//! ```
//!
//! A step can call both hooks, as the runner's user may. It gains nothing: pre-job refuses a Worker that has a run, and
//! post-job opens nothing; enforcement ends with the Worker.

mod context;
mod policies;
mod post;
mod pre;
mod summary;
mod tally;
mod worker;
pub mod workflow;

pub use post::post_job;
pub use pre::pre_job;

use crate::session::attach::RunInfo;

/// What a hook has to say, in lines for the runner, and with what it exits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub lines: Vec<String>,
    pub failed: bool,
}

/// How the labels of a hook's run are called (`awf-bpf ps --json` shows them).
mod label {
    pub(super) const KIND: &str = "kind";
    pub(super) const HOOK: &str = "hook";
    pub(super) const RUN_ID: &str = "run_id";
    pub(super) const ATTEMPT: &str = "run_attempt";
    pub(super) const JOB: &str = "job";
    pub(super) const WORKER: &str = "worker";
    pub(super) const STARTED: &str = "worker_started";
}

/// The cgroups below that of the run: where the steps are born, and where those are who outlive them.
const JOB: &str = "job";
const END: &str = "end";

/// Whether the run was begun by a hook.
fn is_of_hook(run: &RunInfo) -> bool {
    run.labels.get(label::KIND).is_some_and(|kind| kind == label::HOOK)
}

/// The Worker of the run: number and start.
fn worker_of(run: &RunInfo) -> Option<(u32, u64)> {
    let number = |name: &str| run.labels.get(name);
    Some((number(label::WORKER)?.parse().ok()?, number(label::STARTED)?.parse().ok()?))
}
