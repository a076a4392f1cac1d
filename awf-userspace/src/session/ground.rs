//! What of a run exists outside of our process and must be undone: its state, its cgroups, its programs. The one
//! place that knows the order: kill, wait until empty, detach, remove.

use std::{path::Path, time::Duration};

use super::{attach, bpffs, error::SessionError, state};
use crate::{
    bpf::{Kernel, Places, Programs},
    cgroup::{
        self, RunCgroup,
        limits::{LimitPlan, Limits},
    },
};

/// How long a killed process may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// The run's kernel objects. Dropped, it undoes them as [`Ground::clear`] does, and logs what it could not.
#[derive(Debug)]
pub struct Ground {
    state: Option<state::RunState>,
    cgroup: RunCgroup,
    limits: LimitPlan,
    kernel: Option<Kernel>,
    cleared: bool,
}

impl Ground {
    /// Makes the state of run `id` and its cgroups.
    ///
    /// # Errors
    ///
    /// Names the step; nothing is left behind then.
    pub fn lay(id: String) -> Result<Self, SessionError> {
        let state = state::RunState::create(id)?;
        match Self::lay_cgroup(&state) {
            Ok(cgroup) => Ok(Self {
                state: Some(state),
                cgroup,
                limits: LimitPlan::default(),
                kernel: None,
                cleared: false,
            }),
            Err(e) => {
                if let Err(also) = state.remove() {
                    log::warn!("{also}");
                }
                Err(e)
            }
        }
    }

    fn lay_cgroup(state: &state::RunState) -> Result<RunCgroup, SessionError> {
        let dir = cgroup::place(state.id())?;
        state.note_cgroup(&dir)?;
        RunCgroup::create(dir.clone()).map_err(|e| {
            if let Err(also) = cgroup::remove(&dir) {
                log::warn!("{also}");
            }
            e.into()
        })
    }

    #[must_use]
    pub fn id(&self) -> &str {
        self.state.as_ref().map_or("", state::RunState::id)
    }

    /// The run's directory.
    ///
    /// # Errors
    ///
    /// After [`Ground::clear`].
    pub fn dir(&self) -> Result<&Path, SessionError> {
        self.state.as_ref().map(state::RunState::dir).ok_or(SessionError::NotEnforced)
    }

    #[must_use]
    pub fn cgroup(&self) -> &RunCgroup {
        &self.cgroup
    }

    /// Limits what the command may have; `init`: a process of ours is counted with it.
    ///
    /// # Errors
    ///
    /// Names the limit that cannot be set, and what to do.
    pub fn limit(&mut self, limits: Limits, init: bool) -> Result<(), SessionError> {
        if limits == Limits::default() {
            return Ok(());
        }
        let plan = LimitPlan::new(self.cgroup.dir(), limits)?;
        if let Some(state) = &self.state {
            state.note_more(plan.more())?;
        }
        self.limits = plan;
        Ok(self.limits.set(self.cgroup.dir(), init)?)
    }

    /// The limits, once they are set.
    #[must_use]
    pub fn limits(&self) -> &LimitPlan {
        &self.limits
    }

    /// Attaches the programs to the run's cgroups.
    ///
    /// # Errors
    ///
    /// Names the program and the step.
    pub fn enforce(&mut self, programs: Programs) -> Result<(), SessionError> {
        let pins = bpffs::directory()?.join(self.id());
        let places = Places { agent: self.cgroup.agent(), proxy: self.cgroup.proxy(), guard: None };
        let kernel = programs.attach(places, &pins).inspect_err(|_| {
            // Only an init of ours may be in the cgroup, before its gate: the links may go.
            let _ = bpffs::remove_pins(&pins);
        })?;
        self.kernel = Some(kernel);
        Ok(())
    }

    /// The attached programs.
    ///
    /// # Errors
    ///
    /// Before [`Ground::enforce`].
    pub fn kernel(&mut self) -> Result<&mut Kernel, SessionError> {
        self.kernel.as_mut().ok_or(SessionError::NotEnforced)
    }

    /// What the programs counted.
    #[must_use]
    pub fn counters(&self) -> crate::bpf::Counters {
        let counters = self.kernel.as_ref().map(Kernel::counters).transpose();
        counters
            .unwrap_or_else(|e| {
                log::warn!("{e}");
                None
            })
            .unwrap_or_default()
    }

    /// Kills every process of the run and waits until they are gone.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or a process cannot die.
    pub fn kill(&self) -> Result<(), SessionError> {
        Ok(self.cgroup.kill(PATIENCE)?)
    }

    /// Sends SIGKILL to every process of the run, and does not wait.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn kill_now(&self) -> Result<(), SessionError> {
        Ok(self.cgroup.kill_now()?)
    }

    /// Undoes everything.
    ///
    /// # Errors
    ///
    /// What could not be undone; it stays, enforcement included, for `awf-bpf gc`.
    pub fn clear(mut self) -> Result<(), SessionError> {
        self.undo()
    }

    fn undo(&mut self) -> Result<(), SessionError> {
        self.cleared = true;
        self.kill()?;
        if let Some(kernel) = self.kernel.take() {
            kernel.detach().map_err(SessionError::Detach)?;
        }
        self.limits.hit(self.cgroup.dir()).iter().for_each(|hit| log::warn!("{hit}"));
        cgroup::remove(self.cgroup.dir())?;
        self.limits.clear()?;
        if let Some(state) = self.state.take() {
            state.remove()?;
        }
        Ok(())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !self.cleared
            && let Err(e) = self.undo()
        {
            log::error!("{e}; `awf-bpf gc` clears what is left");
        }
    }
}

/// Clears what runs left whose awf-bpf is dead.
///
/// # Errors
///
/// When the state directory cannot be read. What cannot be cleared of one run is logged, and does not keep the
/// others.
pub(super) fn reap() -> Result<Reaped, SessionError> {
    let found = state::find()?;
    let mut reaped = Reaped { living: found.living, ..Reaped::default() };
    reaped.unknown = found.unknown;
    for run in found.dead {
        let id = run.id.clone();
        match reap_one(run) {
            Ok(true) => reaped.cleared.push(id),
            Ok(false) => reaped.refusing.push(id),
            Err(e) => {
                log::error!("run {id}: {e}");
                reaped.failed.push(id);
            }
        }
    }
    Ok(reaped)
}

/// What [`reap`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    pub cleared: Vec<String>,
    pub failed: Vec<String>,
    pub living: usize,
    /// Attached runs without a daemon whose processes live, and have no network.
    pub refusing: Vec<String>,
    /// Whose state this awf-bpf cannot read.
    pub unknown: Vec<String>,
}

/// `false`: it stays, for the sake of those that it keeps from the network.
fn reap_one(run: state::DeadRun) -> Result<bool, SessionError> {
    if let Some(bytes) = run.attached()? {
        return attach::reap(run, &bytes).map_err(|e| SessionError::Attached(Box::new(e)));
    }
    if let Some(dir) = run.cgroup.as_deref().filter(|dir| is_ours(dir, &run.id)) {
        cgroup::kill(dir, PATIENCE)?;
        bpffs::remove_pins(&bpffs::directory()?.join(&run.id)).map_err(SessionError::Detach)?;
        cgroup::remove(dir)?;
        for path in run.more_cgroups.iter().filter(|path| is_beside(path, &run.id)) {
            cgroup::remove_beside(path, PATIENCE)?;
        }
    }
    run.remove()?;
    Ok(true)
}

/// The path comes from a file: only a run's own cgroup is ever killed.
fn is_ours(dir: &Path, id: &str) -> bool {
    dir.is_absolute() && dir.file_name().is_some_and(|name| *name == *format!("{}{id}", cgroup::PREFIX))
}

/// A v1 cgroup of the run, or the one where its awf-bpf was.
fn is_beside(dir: &Path, id: &str) -> bool {
    is_ours(dir, id) || is_ours(dir, &format!("{id}{}", cgroup::OWN))
}
