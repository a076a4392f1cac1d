//! What of an attached run exists outside of our process, and how it is undone. Nobody is ever killed.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{AttachError, AttachPlan, place::Place, record::AttachedState, tree};
use crate::{
    bpf::{Guarded, Kernel, Places, Programs},
    cgroup,
    session::{SessionError, bpffs, state::RunState},
};

/// The run's kernel objects.
#[derive(Debug)]
pub(super) struct Ground {
    state: RunState,
    pub(super) record: AttachedState,
    pub(super) place: Place,
    agent: Option<OwnedFd>,
    proxy: Option<OwnedFd>,
    pub(super) kernel: Option<Kernel>,
}

impl Ground {
    /// Makes the state of run `id`. Nothing is enforced yet.
    ///
    /// # Errors
    ///
    /// Names the step; nothing is left then.
    pub(super) fn lay(id: &str, plan: &AttachPlan, place: Place) -> Result<Self, AttachError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let record = AttachedState {
            target: plan.target.to_string(),
            agent: place.agent.clone(),
            own: place.own.clone(),
            home: place.home.clone(),
            strays: Vec::new(),
            since,
            audit: None,
            daemon: std::process::id(),
            labels: plan.labels.clone(),
        };
        let state = RunState::create(id.to_owned())?;
        let mut this = Self { state, record, place, agent: None, proxy: None, kernel: None };
        match this.make() {
            Ok(()) => Ok(this),
            Err(e) => {
                if let Err(also) = this.undo() {
                    log::warn!("{also}");
                }
                Err(e)
            }
        }
    }

    fn make(&mut self) -> Result<(), AttachError> {
        // Written down before it is made: whoever finds us dead finds it.
        self.note()?;
        let proxy = self.place.own.join("proxy");
        let agent = self.record.is_made().then(|| self.place.agent.clone());
        for path in [self.place.own.clone(), proxy.clone()].into_iter().chain(agent) {
            fs::create_dir(&path).map_err(|source| cgroup::CgroupError::Make { path, source })?;
        }
        self.proxy = Some(cgroup::open_dir(&proxy)?);
        self.agent = Some(cgroup::open_dir(&self.place.agent)?);
        Ok(())
    }

    /// Writes down what is known of the run.
    ///
    /// # Errors
    ///
    /// Names the file.
    pub(super) fn note(&self) -> Result<(), AttachError> {
        Ok(self.state.note_attached(&self.record.bytes())?)
    }

    pub(super) fn id(&self) -> &str {
        self.state.id()
    }

    pub(super) fn dir(&self) -> &std::path::Path {
        self.state.dir()
    }

    /// The cgroup of the listeners.
    ///
    /// # Errors
    ///
    /// Never, after [`Ground::lay`].
    pub(super) fn proxy(&self) -> Result<std::os::fd::BorrowedFd<'_>, AttachError> {
        Ok(self.proxy.as_ref().ok_or(SessionError::NotEnforced)?.as_fd())
    }

    /// Attaches the programs; from now on the target has no network but ours.
    ///
    /// # Errors
    ///
    /// Names the program and the step; none is attached then.
    pub(super) fn enforce(&mut self, programs: Programs) -> Result<(), AttachError> {
        let pins = self.pins()?;
        let root = cgroup::root()?;
        let level = cgroup::depth(&self.place.agent)?.unwrap_or(0);
        let (Some(agent), Some(proxy)) = (&self.agent, &self.proxy) else {
            return Err(SessionError::NotEnforced.into());
        };
        let guard = Some(Guarded { root: root.as_fd(), level });
        let places = Places { agent: agent.as_fd(), proxy: proxy.as_fd(), guard };
        let kernel = programs.attach(places, &pins).inspect_err(|_| {
            let _ = bpffs::remove_pins(&pins);
        })?;
        self.kernel = Some(kernel);
        Ok(())
    }

    /// # Errors
    ///
    /// Before [`Ground::enforce`].
    pub(super) fn kernel(&mut self) -> Result<&mut Kernel, AttachError> {
        Ok(self.kernel.as_mut().ok_or(SessionError::NotEnforced)?)
    }

    fn pins(&self) -> Result<PathBuf, AttachError> {
        Ok(bpffs::directory()?.join(self.id()))
    }

    /// Frees the processes.
    ///
    /// # Errors
    ///
    /// What could not be undone; it stays, enforcement included.
    pub(super) fn free(&mut self) -> Result<(), AttachError> {
        free(self.id(), &self.record)?;
        self.kernel = None;
        Ok(())
    }

    /// Removes what is left of it, after [`Ground::free`].
    ///
    /// # Errors
    ///
    /// Names what could not be removed.
    pub(super) fn remove(self) -> Result<(), AttachError> {
        cgroup::remove(&self.record.own)?;
        Ok(self.state.remove()?)
    }

    /// Makes everything as it was before.
    ///
    /// # Errors
    ///
    /// What could not be undone; it stays, enforcement included.
    pub(super) fn undo(mut self) -> Result<(), AttachError> {
        self.free()?;
        self.remove()
    }
}

/// Takes the processes of a run out of its cgroup, and its programs away.
///
/// # Errors
///
/// What could not be undone; it stays.
pub(super) fn free(id: &str, record: &AttachedState) -> Result<(), AttachError> {
    if record.is_made() {
        tree::scatter(record)?;
    }
    bpffs::remove_pins(&bpffs::directory()?.join(id)).map_err(|e: io::Error| SessionError::Detach(e).into())
}
