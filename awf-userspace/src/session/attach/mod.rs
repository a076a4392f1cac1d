//! `attach`: processes that run already, in the host's network, behind a firewall that a daemon of ours holds up. BPF
//! alone enforces, as with `exec --network host`.
//!
//! ```text
//! start   caller forks the daemon, and waits for its word on a pipe
//! daemon  state, lock -> cgroups -> listeners -> programs, links pinned; nothing is allowed -> self-test
//!         -> the processes are moved in -> their old sockets are cut -> the policy is opened -> ready
//! end     `detach`, or the last process ended: moved back -> detached -> servers end -> removed
//! death   the pinned links refuse everything, until `awf-bpf detach` takes them away
//! ```

mod daemon;
mod destroy;
mod end;
mod error;
mod ground;
mod place;
mod plan;
pub mod probe;
mod procs;
mod record;
mod serve;
mod sockets;
mod tree;
pub mod unit;
mod watch;
mod word;

pub(super) use end::reap;
pub use error::AttachError;
pub(super) use place::behind;
pub use plan::{AttachPlan, Attached, Detached, OldSocket, OldSockets, OnFailure, RunInfo, Target};

use std::path::PathBuf;

use super::state;

/// Attaches `plan.target` and returns when its policy is open. A daemon goes on from here; nothing of this process is
/// needed any more, and it keeps none of its descriptors.
///
/// To be called before this process has a second thread: it forks.
///
/// # Errors
///
/// Names the step that failed. With [`OnFailure::Undo`] nothing of it is left then, but if the daemon died
/// ([`AttachError::Died`]). With [`OnFailure::Refuse`], or then, what was to be attached has no network from the moment that
/// its processes were to be moved, until `detach`.
pub fn start(mut plan: AttachPlan) -> Result<Attached, AttachError> {
    if !rustix::process::geteuid().is_root() {
        return Err(AttachError::NotRoot);
    }
    let id = state::new_id()?;
    let patience = plan.patience;
    // The daemon is in no directory of its caller's.
    plan.audit_dir = plan.audit_dir.map(absolute);
    if let Target::Cgroup(path) = &mut plan.target {
        *path = absolute(std::mem::take(path));
    }
    super::reap_quietly();
    let pipe = daemon::start(plan, &id)?;
    let (ready, notes) = word::listen(pipe, &id, patience)?;
    let word::Ready { audit, processes, old_sockets } = ready;
    Ok(Attached { id, audit, processes, old_sockets, notes })
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Ends run `id`, its daemon dead or alive: no policy holds for its processes any more, and none is killed.
///
/// # Errors
///
/// Names what could not be undone; it stays, enforcement included.
pub fn detach(id: &str) -> Result<Detached, AttachError> {
    end::detach(id)
}

/// Every run of this machine that can be spoken to, and attached ones that are dead.
///
/// # Errors
///
/// When the state directory, or the state of a run, cannot be read.
pub fn list() -> Result<Vec<RunInfo>, AttachError> {
    end::list()
}
