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

use std::{
    fs::File,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::{
    session::{
        attach::RunInfo,
        state::{STATE, StateError, make_private},
    },
    sys::signalfd::{self, SignalMask},
};

/// Leaves what a caller hands down besides its environment: a step limits the runner's processes as it likes (prlimit(2)), and
/// stops by a key what shares its terminal.
pub fn leave_the_caller() {
    for resource in
        [Resource::As, Resource::Cpu, Resource::Data, Resource::Fsize, Resource::Memlock, Resource::Nproc]
    {
        let Rlimit { maximum, .. } = getrlimit(resource);
        let raised = setrlimit(resource, Rlimit { current: None, maximum: None });
        // Without CAP_SYS_RESOURCE, as in a container.
        let raised = raised.or_else(|_| setrlimit(resource, Rlimit { current: maximum, maximum }));
        if let Err(e) = raised {
            log::warn!("{resource:?} cannot be raised: {e}");
        }
    }
    let keys = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TSTP, Signal::TTIN, Signal::TTOU];
    if let Err(e) = signalfd::set_mask(SignalMask::of(&keys)) {
        log::warn!("the caller's signals stay blocked: {e}");
    }
}

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

/// A lock in the state directory, where nobody but root has one.
fn lock(name: &str) -> Result<File, LockError> {
    make_private(Path::new(STATE))?;
    let path = Path::new(STATE).join(name);
    let failed = |source| LockError::Lock { path: path.clone(), source };
    let file =
        File::options().create(true).write(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
    Ok(file)
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("locking {path}: {source}")]
    Lock { path: PathBuf, source: std::io::Error },
}

/// Whether the run was begun by a hook.
fn is_of_hook(run: &RunInfo) -> bool {
    run.labels.get(label::KIND).is_some_and(|kind| kind == label::HOOK)
}

/// The Worker of the run: number and start.
fn worker_of(run: &RunInfo) -> Option<(u32, u64)> {
    let number = |name: &str| run.labels.get(name);
    Some((number(label::WORKER)?.parse().ok()?, number(label::STARTED)?.parse().ok()?))
}
