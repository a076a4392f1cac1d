//! From whom to attach to where: which cgroup is enforced on, which one is made, who is moved.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::statfs;

use super::{
    AttachError, Target, end,
    procs::{self, Stat},
    tree::{self, Moves},
};
use crate::cgroup;

/// `CGROUP2_SUPER_MAGIC` (include/uapi/linux/magic.h).
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Where a run is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Made for the run; see [`super::record::AttachedState`].
    pub(super) own: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) home: Option<PathBuf>,
    pub(super) moves: Moves,
}

impl Place {
    /// # Errors
    ///
    /// When the target is not there, or is nobody to attach.
    pub(super) fn of(target: &Target, id: &str) -> Result<Self, AttachError> {
        if let Some(run) = behind(std::process::id()) {
            return Err(AttachError::OurselvesBehind(run));
        }
        match target {
            Target::Pid(pid) => {
                let stat = attachable(*pid)?;
                Self::below(*pid, id, Moves::Tree(stat.process()))
            }
            Target::Processes(processes) => {
                let first = processes.first().ok_or(AttachError::NoProcess(0))?;
                for process in processes {
                    let stat = attachable(process.tgid)?;
                    if stat.started != process.started {
                        return Err(AttachError::NoProcess(process.tgid));
                    }
                }
                Self::below(first.tgid, id, Moves::Alone(processes.clone()))
            }
            Target::Cgroup(path) => Self::whole(path, id),
            Target::Unit(unit) => Self::whole(&of_unit(unit)?, id),
        }
    }

    fn below(pid: u32, id: &str, moves: Moves) -> Result<Self, AttachError> {
        let home = cgroup::of_process(pid)?;
        if let Some(run) = outer_run(&home) {
            return Err(AttachError::Behind { pid, run });
        }
        let own = home.join(format!("{}{id}", cgroup::PREFIX));
        Ok(Self { agent: own.join("agent"), own, home: Some(home), moves })
    }

    fn whole(path: &Path, id: &str) -> Result<Self, AttachError> {
        let refuse = |why: String| AttachError::Target { path: path.into(), why };
        let agent = fs::canonicalize(path).map_err(|e| refuse(e.to_string()))?;
        let magic = statfs(&agent).map_err(|e| refuse(e.to_string()))?.f_type as u64;
        if magic != CGROUP2_MAGIC || !agent.join("cgroup.procs").exists() {
            return Err(refuse("is no cgroup (v2): name a directory such as /sys/fs/cgroup/a.slice".into()));
        }
        // Of all cgroups only the root has no type (cgroups(7)).
        if !agent.join("cgroup.type").exists() {
            return Err(refuse("is the root of all cgroups: name one below it".into()));
        }
        if let Some(run) = outer_run(&agent) {
            return Err(refuse(format!(
                "is behind run {run} of awf-bpf already: `awf-bpf detach {run}` ends that"
            )));
        }
        if let Some(run) = tree::inner_run(&agent) {
            return Err(AttachError::Holds { path: agent, run });
        }
        let ours = cgroup::of_process(std::process::id())?;
        if ours.starts_with(&agent) {
            let why = "awf-bpf itself is in it: start it from another cgroup (another login, systemd-run)";
            return Err(refuse(why.into()));
        }
        for pid in cgroup::members(&agent, true)? {
            in_this_network(pid)?;
        }
        let own = ours.join(format!("{}{id}", cgroup::PREFIX));
        Ok(Self { own, agent, home: None, moves: Moves::None })
    }
}

fn attachable(pid: u32) -> Result<Stat, AttachError> {
    let stat = Stat::read(pid).ok_or(AttachError::NoProcess(pid))?;
    let refuse = |what| Err(AttachError::NotThat(pid, what));
    if pid == 1 {
        return refuse("init");
    }
    if stat.is_kernel {
        return refuse("a thread of the kernel");
    }
    if stat.is_zombie {
        return refuse("a zombie");
    }
    if stat.is_headless {
        return refuse(tree::HEADLESS);
    }
    if is_awf_bpf(pid) {
        return refuse("awf-bpf itself");
    }
    in_this_network(pid)?;
    Ok(stat)
}

/// Whether `pid` runs the program that we run.
fn is_awf_bpf(pid: u32) -> bool {
    let id = |path: String| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let ours = id("/proc/self/exe".into());
    ours.is_some() && id(format!("/proc/{pid}/exe")) == ours
}

/// The proxy listens in our network alone: whoever is in another one would have none at all, and nobody would say why.
fn in_this_network(pid: u32) -> Result<(), AttachError> {
    let (Some(theirs), ours) = (procs::network(pid), procs::network(std::process::id())) else {
        return Ok(());
    };
    if Some(&theirs) == ours.as_ref() {
        return Ok(());
    }
    let comm = Stat::read(pid).map(|stat| stat.comm).unwrap_or_default();
    Err(AttachError::OtherNetwork { pid, comm })
}

/// The run of awf-bpf that `pid` is behind.
pub(in crate::session) fn behind(pid: u32) -> Option<String> {
    cgroup::of_process(pid).ok().and_then(|dir| outer_run(&dir))
}

/// The run of awf-bpf that `dir` is in, or is the directory of.
fn outer_run(dir: &Path) -> Option<String> {
    dir.ancestors().find_map(tree::run_of).or_else(|| attached_whole(dir))
}

/// The run that was attached to a cgroup as a whole that `dir` is in.
fn attached_whole(dir: &Path) -> Option<String> {
    let runs = end::records().ok()?;
    runs.into_iter().find(|(_, record, _)| dir.starts_with(&record.agent)).map(|(id, ..)| id)
}

fn of_unit(unit: &str) -> Result<PathBuf, AttachError> {
    let refuse = |why: String| AttachError::Unit { unit: unit.into(), why };
    // sd_booted(3)
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(refuse("systemd does not run here; --cgroup and --pid need none".into()));
    }
    if unit.starts_with('-') || unit.contains('/') {
        return Err(refuse("is no name of a unit, such as actions.service".into()));
    }
    let mut command = Command::new("systemctl");
    command.args(["show", "-p", "ControlGroup", "--value", "--", unit]);
    let out = command.env_clear().env("PATH", super::unit::PATH).output();
    let out = out.map_err(|e| refuse(format!("systemctl: {e}")))?;
    let group = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if !out.status.success() {
        return Err(refuse(String::from_utf8_lossy(&out.stderr).trim().to_owned()));
    }
    if group.is_empty() {
        return Err(refuse("does not run, or there is no such unit: `systemctl status` says which".into()));
    }
    Ok(cgroup::at(Path::new(&group))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_attaches_the_root_the_kernel_or_us() {
        let refused = |target: Target| Place::of(&target, "0123456789ab").unwrap_err().to_string();
        assert!(refused(Target::Pid(1)).contains("init"));
        assert!(refused(Target::Pid(2)).contains("kernel"), "kthreadd");
        assert!(refused(Target::Pid(std::process::id())).contains("awf-bpf itself"));
        assert!(refused(Target::Pid(u32::MAX)).contains("no process"));
        assert!(refused(Target::Cgroup("/tmp".into())).contains("is no cgroup (v2)"));
        let root = cgroup::at(Path::new("/")).unwrap();
        assert!(refused(Target::Cgroup(root)).contains("root of all cgroups"));
    }

    #[test]
    fn a_cgroup_of_a_run_is_known() {
        let inner = Path::new("/sys/fs/cgroup/awf-bpf-0123456789ab/agent/x/y");
        assert_eq!(outer_run(inner).as_deref(), Some("0123456789ab"));
        assert_eq!(outer_run(Path::new("/sys/fs/cgroup/x.slice/agent")), None);
    }
}
