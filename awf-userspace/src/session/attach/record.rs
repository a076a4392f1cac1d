//! What is written down of an attached run, so that whoever finds its daemon dead can end it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::AttachError;
use crate::session::state::Life;

/// `attached.json`; unknown fields are left alone, those that are missing are an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AttachedState {
    /// For people.
    pub(super) target: String,
    /// The cgroup that is enforced on.
    pub(super) agent: PathBuf,
    /// Ours, with that of the listeners in it, and `agent` too if processes were moved.
    pub(super) own: PathBuf,
    /// Where moved processes go back to; `None`: nobody was moved.
    pub(super) home: Option<PathBuf>,
    /// Those that are from somewhere else.
    #[serde(default)]
    pub(super) strays: Vec<Stray>,
    /// Seconds since 1970.
    pub(super) since: u64,
    pub(super) audit: Option<PathBuf>,
    /// Its number, when it was started.
    pub(super) daemon: u32,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

/// A moved process that was not in the cgroup that the others are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stray {
    pub(super) pid: u32,
    pub(super) started: u64,
    pub(super) from: PathBuf,
}

impl AttachedState {
    pub(super) fn bytes(&self) -> Vec<u8> {
        // Strings and numbers: there is nothing that it could fail at.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// That of `run`; `None`: it is no attached one.
    pub(super) fn of(id: &str, run: &Life) -> Result<Option<Self>, AttachError> {
        let Some(bytes) = run.attached()? else { return Ok(None) };
        Self::read(id, &bytes).map(Some)
    }

    pub(super) fn read(id: &str, bytes: &[u8]) -> Result<Self, AttachError> {
        let state: Self = serde_json::from_slice(bytes)
            .map_err(|source| AttachError::State { id: id.to_owned(), source })?;
        Ok(state)
    }

    /// Whether processes were moved.
    pub(super) fn is_made(&self) -> bool {
        self.agent.starts_with(&self.own)
    }

    /// Where somebody goes back to.
    pub(super) fn home_of(&self, pid: u32, started: Option<u64>) -> Option<&Path> {
        let stray = self.strays.iter().find(|stray| stray.pid == pid && Some(stray.started) == started);
        stray.map(|stray| stray.from.as_path()).or(self.home.as_deref())
    }
}
