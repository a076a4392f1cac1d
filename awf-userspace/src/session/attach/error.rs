//! Why a run could not be attached, or not be detached.

use std::{io, path::PathBuf, time::Duration};

use super::OldSocket;
use crate::{
    audit::AuditError, bpf::BpfError, cgroup::CgroupError, netns::NetnsError, session::SessionError,
    session::state::StateError,
};

/// A step of attaching or detaching that failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    StateFile(#[from] StateError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Bpf(#[from] BpfError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("attaching takes root: run it with sudo")]
    NotRoot,
    #[error("starting the daemon: {0}")]
    NoFork(#[source] io::Error),
    #[error("the daemon's log {path}: {why}")]
    Log { path: PathBuf, why: String },
    #[error("starting the daemon: it was not ready within {0:?}")]
    Late(Duration),
    #[error(
        "the daemon died while it started; what of it was attached has no network: `awf-bpf detach {0}` takes that away"
    )]
    Died(String),
    #[error("who asked for it is gone")]
    CallerGone,
    #[error("{0}")]
    Daemon(String),
    #[error("{what}: {path}: {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the state of run {id} cannot be read: {source}")]
    State { id: String, source: serde_json::Error },
    #[error("there is no attached run {0}; `awf-bpf ps` names those that there are")]
    NoRun(String),
    #[error("run {0} is one of exec: it ends with its command")]
    NotAttached(String),
    #[error("no process has the number {0}")]
    NoProcess(u32),
    #[error("process {0} is {1}: it cannot be attached")]
    NotThat(u32, &'static str),
    #[error(
        "process {pid} ({comm}) is in another network namespace than awf-bpf: enter that first (nsenter --net=/proc/{pid}/ns/net)"
    )]
    OtherNetwork { pid: u32, comm: String },
    #[error("process {pid} is behind run {run} of awf-bpf already: `awf-bpf detach {run}` ends that")]
    Behind { pid: u32, run: String },
    #[error(
        "awf-bpf itself is behind run {0} of awf-bpf, which keeps its proxy from everybody: start it from another login; \
         `awf-bpf exec` works here"
    )]
    OurselvesBehind(String),
    #[error("{path} has run {run} of awf-bpf in it: end that first")]
    Holds { path: PathBuf, run: String },
    #[error("--cgroup {path}: {why}")]
    Target { path: PathBuf, why: String },
    #[error("--unit {unit}: {why}")]
    Unit { unit: String, why: String },
    #[error("{} of the sockets that the processes had before cannot be cut: {}; --keep-sockets lets them go on", .0.len(), shown(.0))]
    OldSockets(Vec<OldSocket>),
    #[error("the processes of {0} do not come to rest: new ones appear faster than they are moved")]
    Restless(String),
    #[error("the self-test of the attached network failed: {0}")]
    Probe(String),
    #[error("run {id}: {why}")]
    Control { id: String, why: String },
}

fn shown(sockets: &[OldSocket]) -> String {
    let one = |socket: &OldSocket| {
        format!("{} {} of {} {}", socket.protocol, socket.address, socket.pid, socket.comm)
    };
    let mut text = sockets.iter().take(10).map(one).collect::<Vec<_>>().join(", ");
    if sockets.len() > 10 {
        text += " ...";
    }
    text
}
