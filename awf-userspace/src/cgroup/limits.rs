//! How much memory and how many processes the command may have: by the controllers of cgroup v2, or of v1 on a
//! hybrid host where they are still there.
//!
//! Cgroup v2 divides no cgroup that has processes of its own (cgroups(7), "no internal processes"), and ours has at least
//! us. When it has nobody else we step aside for the time of the run.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{CgroupError, PREFIX, aside::Aside, mount};

/// What the command may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, swap included.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Pids,
}

impl Controller {
    pub(super) const ALL: [Self; 2] = [Self::Memory, Self::Pids];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Memory => "--memory-limit",
            Self::Pids => "--pids-limit",
        }
    }
}

/// Why a limit cannot be set; each names a remedy. A limit that was asked for is set, or nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    #[error("{flag}: this machine has no {controller} controller (see cgroups(7)); leave it out")]
    NoController { flag: &'static str, controller: &'static str },
    #[error(
        "{flag}: {path} has other processes ({others}), and cgroup v2 divides no cgroup that has (see cgroups(7)); \
         start awf-bpf in a cgroup of its own, as by: systemd-run --scope -p Delegate=yes awf-bpf exec ..."
    )]
    Shared { flag: &'static str, path: PathBuf, others: String },
    #[error("{flag}: the {controller} controller cannot be passed on from {path}: {source}")]
    PassOn { flag: &'static str, controller: &'static str, path: PathBuf, source: io::Error },
    #[error("{flag}: leaving cgroup {path} for the time of the run: {source}")]
    Aside { flag: &'static str, path: PathBuf, source: io::Error },
    #[error("{flag}: writing {path}: {source}")]
    Set { flag: &'static str, path: PathBuf, source: io::Error },
}

/// One limit and where it is set.
#[derive(Debug)]
struct Placed {
    controller: Controller,
    limit: u64,
    /// Of v1: a cgroup for this limit alone.
    v1: Option<PathBuf>,
}

/// Limits, and the cgroups they are set in.
#[derive(Debug, Default)]
pub struct LimitPlan {
    placed: Vec<Placed>,
    aside: Option<Aside>,
}

impl LimitPlan {
    /// Finds out who counts for a run whose cgroup is `dir` (see [`super::place`]).
    ///
    /// # Errors
    ///
    /// When there is no such controller, /proc cannot be read, or other processes are where v2 wants none.
    pub fn new(dir: &Path, limits: Limits) -> Result<Self, CgroupError> {
        let wanted = [(Controller::Memory, limits.memory), (Controller::Pids, limits.pids)];
        let wanted = wanted.into_iter().filter_map(|(controller, limit)| Some((controller, limit?)));
        let placed = wanted
            .map(|(controller, limit)| Ok(Placed { controller, limit, v1: Self::place(dir, controller)? }));
        let placed = placed.collect::<Result<Vec<_>, CgroupError>>()?;
        let (v2, above) = (placed.iter().filter(|one| one.v1.is_none()), dir.parent().unwrap_or(dir));
        let new: Vec<_> = v2.map(|one| one.controller).filter(|one| !passes_on(above, *one)).collect();
        let aside = match new.first() {
            Some(first) => Aside::plan(dir, first.flag())?,
            None => None,
        };
        Ok(Self { placed, aside })
    }

    /// The v1 cgroup for a limit, where v2 does not have its controller.
    fn place(dir: &Path, controller: Controller) -> Result<Option<PathBuf>, CgroupError> {
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| CgroupError::Read { path: path.into(), source })
        };
        let name = controller.name();
        let available = read(&dir.parent().unwrap_or(dir).join("cgroup.controllers"))?;
        if available.split_ascii_whitespace().any(|known| known == name) {
            return Ok(None);
        }
        let mounts = read(Path::new("/proc/self/mountinfo"))?;
        let own = read(Path::new("/proc/self/cgroup"))?;
        let run = dir.file_name().filter(|run| run.to_string_lossy().starts_with(PREFIX));
        match (mount::v1_mount(&mounts, name), mount::own_v1(&own, name), run) {
            (Some(mount), Some(own), Some(run)) => Ok(Some(mount.below(&own).join(run))),
            _ => Err(LimitError::NoController { flag: controller.flag(), controller: name }.into()),
        }
    }

    /// The cgroups of v1 that the command's first process has to join.
    pub fn v1(&self) -> impl Iterator<Item = &Path> {
        self.placed.iter().filter_map(|placed| placed.v1.as_deref())
    }

    /// All cgroups beside the run's own that have to be removed.
    pub fn more(&self) -> impl Iterator<Item = &Path> {
        self.v1().chain(self.aside.as_ref().map(Aside::place))
    }

    /// Sets the limits for the run whose cgroup is `dir`. With `init` one process more: it is not the command's.
    ///
    /// # Errors
    ///
    /// Names the file, and what to do.
    pub fn set(&mut self, dir: &Path, init: bool) -> Result<(), CgroupError> {
        if let (Some(aside), Some(first)) = (&mut self.aside, self.placed.first()) {
            aside.step(first.controller.flag())?;
        }
        for Placed { controller, limit, v1 } in &self.placed {
            let value = if *controller == Controller::Pids { limit + u64::from(init) } else { *limit };
            match v1 {
                Some(path) => {
                    fs::create_dir(path)
                        .map_err(|source| CgroupError::Make { path: path.clone(), source })?;
                    set_v1(path, *controller, value)?;
                }
                None => {
                    for above in dir.parent().into_iter().chain([dir]) {
                        if !passes_on(above, *controller) {
                            pass_on(above, *controller)?;
                            let home = self.aside.as_mut().filter(|_| above != dir);
                            home.into_iter().for_each(|aside| aside.undo.push(controller.name()));
                        }
                    }
                    set_v2(&dir.join("agent"), *controller, value)?;
                }
            }
        }
        Ok(())
    }

    /// Removes what the limits needed beside the run's cgroup, after that one is gone.
    ///
    /// # Errors
    ///
    /// Names the cgroup that cannot be removed or gone back to.
    pub fn clear(&mut self) -> Result<(), CgroupError> {
        self.v1().try_for_each(super::remove_one)?;
        self.aside.as_mut().map_or(Ok(()), Aside::back)
    }

    /// Says which limits the command ran into.
    #[must_use]
    pub fn hit(&self, dir: &Path) -> Vec<String> {
        self.placed.iter().filter_map(|placed| placed.hit(&dir.join("agent"))).collect()
    }
}

impl Placed {
    fn hit(&self, agent: &Path) -> Option<String> {
        let dir = self.v1.as_deref().unwrap_or(agent);
        let (file, field) = match (self.controller, &self.v1) {
            (Controller::Memory, None) => ("memory.events", "oom_kill"),
            (Controller::Memory, Some(_)) => ("memory.oom_control", "oom_kill"),
            (Controller::Pids, _) => ("pids.events", "max"),
        };
        let text = fs::read_to_string(dir.join(file)).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok())?;
        let flag = self.controller.flag();
        match self.controller {
            _ if count == 0 => None,
            Controller::Memory => Some(format!(
                "out of memory by {flag}: {count} {} killed",
                if count == 1 { "process was" } else { "processes were" }
            )),
            Controller::Pids => Some(format!("no more processes by {flag}: {count} were refused")),
        }
    }
}

/// Whether cgroups below `dir` have the controller.
fn passes_on(dir: &Path, controller: Controller) -> bool {
    let enabled = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    enabled.split_ascii_whitespace().any(|known| known == controller.name())
}

fn pass_on(dir: &Path, controller: Controller) -> Result<(), LimitError> {
    let (flag, name) = (controller.flag(), controller.name());
    fs::write(dir.join("cgroup.subtree_control"), format!("+{name}")).map_err(|source| {
        // Somebody came in after we had looked.
        match source.raw_os_error() {
            Some(libc::EBUSY) => LimitError::Shared { flag, path: dir.into(), others: "just started".into() },
            _ => LimitError::PassOn { flag, controller: name, path: dir.into(), source },
        }
    })
}

fn set_v2(dir: &Path, controller: Controller, value: u64) -> Result<(), CgroupError> {
    match controller {
        Controller::Memory => {
            write(dir, "memory.max", controller, value)?;
            optional(dir, "memory.swap.max", controller, 0)
        }
        Controller::Pids => write(dir, "pids.max", controller, value),
    }
}

fn set_v1(dir: &Path, controller: Controller, value: u64) -> Result<(), CgroupError> {
    match controller {
        Controller::Memory => {
            write(dir, "memory.limit_in_bytes", controller, value)?;
            optional(dir, "memory.memsw.limit_in_bytes", controller, value)
        }
        Controller::Pids => write(dir, "pids.max", controller, value),
    }
}

/// A kernel that does not count swap has no such file.
fn optional(dir: &Path, file: &str, controller: Controller, value: u64) -> Result<(), CgroupError> {
    if dir.join(file).exists() { write(dir, file, controller, value) } else { Ok(()) }
}

fn write(dir: &Path, file: &str, controller: Controller, value: u64) -> Result<(), CgroupError> {
    let path = dir.join(file);
    fs::write(&path, value.to_string())
        .map_err(|source| LimitError::Set { flag: controller.flag(), path, source }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{self, RunCgroup, place};

    #[test]
    fn limits_are_set_where_the_controllers_are() {
        let run = RunCgroup::create(place(&format!("unit-{}-limits", std::process::id())).unwrap()).unwrap();
        let limits = Limits { memory: Some(64 << 20), pids: Some(7) };
        let mut plan = match LimitPlan::new(run.dir(), limits) {
            // Others are in the tests' cgroup; the end-to-end tests make one of their own.
            Err(CgroupError::Limit(LimitError::Shared { .. })) => return cgroup::remove(run.dir()).unwrap(),
            plan => plan.unwrap(),
        };
        plan.set(run.dir(), true).unwrap();
        let pids = plan.v1().find(|path| path.join("pids.max").exists()).map(Path::to_owned);
        let pids = pids.unwrap_or_else(|| run.dir().join("agent"));
        assert_eq!(fs::read_to_string(pids.join("pids.max")).unwrap(), "8\n");
        assert!(plan.hit(run.dir()).is_empty());
        cgroup::remove(run.dir()).unwrap();
        plan.clear().unwrap();
        assert!(plan.more().all(|path| !path.exists()));
    }
}
