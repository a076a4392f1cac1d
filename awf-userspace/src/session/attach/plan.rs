//! What is to be attached, as plain data, and what became of it.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::{
    audit::Invoker,
    config::Deadlines,
    policy::{Policy, live::Process},
    resolve::NameServer,
    upstream_proxy::UpstreamProxies,
};

/// Everything about an attached run that is known before it starts.
#[derive(Clone, Debug)]
pub struct AttachPlan {
    pub target: Target,
    /// What all processes of the target may reach.
    pub policy: Policy,
    /// Single processes of it with a policy of their own (the runner's Worker).
    pub own: Vec<(Process, Policy)>,
    /// The process whose children are the steps of a job: each record says in which one it happened. What is left of them
    /// is killed when it has ended.
    pub steps_of: Option<Process>,
    /// Where names are resolved; `None` is the host's own configuration.
    pub name_servers: Option<Vec<NameServer>>,
    pub upstream_proxies: UpstreamProxies,
    pub deadlines: Deadlines,
    /// Where the record and the daemon's log are kept; `None`: /var/log/awf-bpf/ID.
    pub audit_dir: Option<PathBuf>,
    /// Who may read them.
    pub invoker: Option<Invoker>,
    pub sockets: OldSockets,
    pub on_failure: OnFailure,
    /// How long [`super::start`] waits for the daemon.
    pub patience: Duration,
    /// Kept with the run's state: what its starter finds it by (`run_id`, `job` ...).
    pub labels: BTreeMap<String, String>,
}

impl AttachPlan {
    /// A plan with everything else as it is without a flag.
    #[must_use]
    pub fn new(target: Target, policy: Policy) -> Self {
        Self {
            target,
            policy,
            own: Vec::new(),
            steps_of: None,
            name_servers: None,
            upstream_proxies: UpstreamProxies::default(),
            deadlines: Deadlines::default(),
            audit_dir: None,
            invoker: None,
            sockets: OldSockets::Cut,
            on_failure: OnFailure::Undo,
            patience: Duration::from_secs(30),
            labels: BTreeMap::new(),
        }
    }
}

/// Whom to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process and its descendants: moved to a cgroup of their own below that of the process.
    Pid(u32),
    /// All that is in a cgroup (v2), a path of the file system, now and later. Nobody is moved.
    Cgroup(PathBuf),
    /// The same for the cgroup of a unit of systemd's.
    Unit(String),
    /// These processes alone, moved to a cgroup of their own below that of the first one; what they start later is in
    /// it, what they have started before is not.
    Processes(Vec<Process>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "pid {pid}"),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::Unit(unit) => write!(f, "unit {unit}"),
            Self::Processes(processes) => {
                let pids: Vec<_> = processes.iter().map(|process| process.tgid.to_string()).collect();
                write!(f, "pid {} alone", pids.join(", "))
            }
        }
    }
}

/// What becomes of sockets that the processes had before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OldSockets {
    /// They send and receive nothing any more. One that this cannot be done to is an error.
    #[default]
    Cut,
    /// They are reported, and go on past the firewall.
    Keep,
}

/// What a failure leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Everything as it was before.
    #[default]
    Undo,
    /// Once processes were to be moved: no network for them, until `detach`.
    Refuse,
}

/// A run that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    pub id: String,
    /// The audit file.
    pub audit: PathBuf,
    /// Processes that were moved, or found in the cgroup.
    pub processes: usize,
    /// Sockets that they had before.
    pub old_sockets: Vec<OldSocket>,
    /// What its user should hear.
    pub notes: Vec<String>,
}

/// A socket that is older than the firewall.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OldSocket {
    pub pid: u32,
    pub comm: String,
    /// `tcp`, `udp`, ...
    pub protocol: String,
    /// Where it was connected to, or listened.
    pub address: String,
    /// Whether it can send and receive nothing any more.
    pub cut: bool,
}

/// A run that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    pub id: String,
    /// Whether its daemon lived.
    pub was_alive: bool,
    /// The audit file, if the state names it.
    pub audit: Option<PathBuf>,
}

/// What is known of an attached run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RunInfo {
    pub id: String,
    /// `false`: one of `exec`, which ends with its command.
    pub attached: bool,
    pub target: String,
    /// The cgroup that is enforced on.
    pub cgroup: PathBuf,
    #[serde(skip)]
    pub since: Option<SystemTime>,
    /// Whether its daemon lives; without it everything is refused.
    pub alive: bool,
    /// The daemon.
    pub daemon: Option<u32>,
    pub processes: usize,
    /// `None`: nobody is there to be asked.
    pub allowed: Option<u64>,
    pub denied: Option<u64>,
    pub audit: Option<PathBuf>,
    pub labels: BTreeMap<String, String>,
}
