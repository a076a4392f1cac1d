//! Why a run could not be made or ended.

use std::{io, path::PathBuf};

use super::{control::ControlError, state::StateError, unix::AllowUnixError};
use crate::{
    audit::AuditError,
    bpf::{BpfError, EventsError},
    ca::CaError,
    cgroup::CgroupError,
    dns::DnsError,
    jail::{identity::IdentityError, rootfs::RootfsError},
    launch::LaunchError,
    netns::NetnsError,
};

/// A step of a session that failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Bpf(#[from] BpfError),
    #[error(transparent)]
    Events(#[from] EventsError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(
        "awf-bpf is behind run {0} of awf-bpf here, which keeps a proxy of the same network from the command: leave out \
         --network host"
    )]
    Behind(String),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(
        "awf-bpf may open {limit} files at once and needs {least}: raise the hard limit of its caller (ulimit -Hn)"
    )]
    Descriptors { limit: u64, least: u64 },
    #[error("keeping this process out of core dumps (PR_SET_DUMPABLE): {0}")]
    Undumpable(#[source] io::Error),
    #[error("preparing TLS: {0}")]
    Tls(#[source] rustls::Error),
    #[error("{0}")]
    Accounts(#[source] io::Error),
    #[error("making {path}: {source}; --audit-dir names another place")]
    AuditDir { path: PathBuf, source: io::Error },
    #[error("reading /proc/self/mountinfo: {0}")]
    MountTable(#[source] io::Error),
    #[error("{}", lines(.0))]
    Mounts(Vec<RootfsError>),
    #[error("reading this host's addresses: {0}")]
    OwnAddresses(#[source] io::Error),
    #[error(
        "reading /proc/net/unix: {0}; without it sockets of this host could not be kept from the command"
    )]
    UnixSockets(#[source] io::Error),
    #[error(transparent)]
    AllowUnix(#[from] AllowUnixError),
    #[error("opening the terminal: {0}; with all of stdin, stdout and stderr redirected it is not needed")]
    Terminal(#[source] io::Error),
    #[error("taking over the signals: {0}")]
    Signals(#[source] io::Error),
    #[error("the kernel programs are not attached")]
    NotEnforced,
    #[error("removing the pinned links: {0}")]
    Detach(#[source] io::Error),
    #[error("starting the runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("handing the listening sockets to the runtime: {0}")]
    Listener(#[source] io::Error),
    #[error("the command's network did not reach the proxy: {0}; nothing was run")]
    SelfTest(String),
    #[error(transparent)]
    Attached(Box<super::attach::AttachError>),
    #[error("waiting for the command: {0}")]
    Wait(#[source] io::Error),
}

fn lines(errors: &[RootfsError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl SessionError {
    /// awf-bpf's exit code: 125, or 126 and 127 where CMD itself could not be executed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Launch(e) => e.exit_code(),
            _ => 125,
        }
    }
}
