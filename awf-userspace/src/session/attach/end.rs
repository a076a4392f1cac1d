//! Runs that are there: what is known of them, and their end, whether their daemon lives or is dead.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, UNIX_EPOCH},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{AttachError, Detached, RunInfo, ground, record::AttachedState};
use crate::{
    cgroup,
    session::{
        control::{self, Reply, Request},
        state::{self, DeadRun, Life, StateError},
    },
};

/// For numbers.
const SHORT: Duration = Duration::from_secs(2);
/// For an end: connections may take a moment to.
const LONG: Duration = Duration::from_secs(30);

pub(super) fn detach(id: &str) -> Result<Detached, AttachError> {
    let none = || AttachError::NoRun(id.to_owned());
    let life = state::look(id)?.ok_or_else(none)?;
    let record = AttachedState::of(id, &life)?.ok_or_else(|| AttachError::NotAttached(id.to_owned()))?;
    let detached = |was_alive| Detached { id: id.to_owned(), was_alive, audit: record.audit.clone() };
    match life {
        Life::Dead(run) => end_dead(&record, run).map(|()| detached(false)),
        Life::Living(_) => match control::ask(id, &Request::Detach {}, LONG) {
            Ok(_) => Ok(detached(true)),
            Err(e) => match after(id, record.daemon)? {
                // It ended by itself meanwhile, or died.
                None => Ok(detached(true)),
                Some(Life::Dead(run)) => end_dead(&record, run).map(|()| detached(false)),
                Some(Life::Living(_)) => {
                    let why =
                        format!("{e}; when it is dead (`kill -9 {}`) it can be detached", record.daemon);
                    Err(AttachError::Control { id: id.to_owned(), why })
                }
            },
        },
    }
}

/// What has become of a run whose daemon gave no answer: it may be dying just now.
fn after(id: &str, daemon: u32) -> Result<Option<Life>, StateError> {
    let pid = Pid::from_raw(daemon.cast_signed());
    if let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        let limit = Timespec { tv_sec: 2, tv_nsec: 0 };
        // Whatever comes of it, the state says what is so.
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
    }
    state::look(id)
}

fn end_dead(record: &AttachedState, run: DeadRun) -> Result<(), AttachError> {
    ground::free(&run.id, record)?;
    cgroup::remove(&record.own)?;
    Ok(run.remove()?)
}

pub(super) fn list() -> Result<Vec<RunInfo>, AttachError> {
    let mut runs: Vec<_> =
        records()?.into_iter().map(|(id, record, alive)| info(id, &record, alive)).collect();
    for id in state::ids()?.into_iter().filter(|id| !runs.iter().any(|run| run.id == *id)).collect::<Vec<_>>()
    {
        runs.extend(of_exec(id)?);
    }
    runs.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(runs)
}

/// A run of `exec` that answers; a dead one is `gc`'s.
fn of_exec(id: String) -> Result<Option<RunInfo>, AttachError> {
    let Ok(Some(Life::Living(dir))) = state::look(&id) else { return Ok(None) };
    let Ok(Reply::Shown(shown)) = control::ask(&id, &Request::Show {}, SHORT) else { return Ok(None) };
    let cgroup = state::cgroup_of(&dir).map(|dir| dir.join("agent")).unwrap_or_default();
    Ok(Some(RunInfo {
        attached: false,
        target: "exec".to_owned(),
        since: fs::metadata(dir.join(state::FORMAT_FILE)).and_then(|meta| meta.modified()).ok(),
        alive: true,
        daemon: shown.daemon,
        processes: cgroup::members(&cgroup, true)?.len(),
        allowed: Some(shown.allowed),
        denied: Some(shown.denied),
        audit: shown.audit,
        labels: BTreeMap::new(),
        cgroup,
        id,
    }))
}

/// Every attached run, as it is written down, and whether its daemon lives.
pub(super) fn records() -> Result<Vec<(String, AttachedState, bool)>, AttachError> {
    let mut found = Vec::new();
    for id in state::ids()? {
        let life = match state::look(&id) {
            Ok(Some(life)) => life,
            Ok(None) => continue,
            Err(e @ StateError::Format { .. }) => {
                log::warn!("{e}");
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        let record = match AttachedState::of(&id, &life) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            // It must not hide the others.
            Err(e) => {
                log::warn!("{e}");
                continue;
            }
        };
        found.push((id, record, matches!(life, Life::Living(_))));
    }
    Ok(found)
}

fn info(id: String, record: &AttachedState, alive: bool) -> RunInfo {
    let shown = match alive.then(|| control::ask(&id, &Request::Show {}, SHORT)) {
        Some(Ok(Reply::Shown(shown))) => Some(shown),
        Some(Err(e)) => {
            log::debug!("run {id}: {e}");
            None
        }
        _ => None,
    };
    RunInfo {
        attached: true,
        target: record.target.clone(),
        cgroup: record.agent.clone(),
        since: UNIX_EPOCH.checked_add(Duration::from_secs(record.since)),
        alive,
        daemon: alive.then_some(record.daemon),
        processes: cgroup::members(&record.agent, true).map_or(0, |members| members.len()),
        allowed: shown.as_ref().map(|shown| shown.allowed),
        denied: shown.as_ref().map(|shown| shown.denied),
        audit: record.audit.clone(),
        labels: record.labels.clone(),
        id,
    }
}

/// Clears a dead run whose processes are gone. `false`: there are some, which have no network until `detach`.
///
/// # Errors
///
/// What cannot be undone.
pub(in crate::session) fn reap(run: DeadRun, bytes: &[u8]) -> Result<bool, AttachError> {
    let record = AttachedState::read(&run.id, bytes)?;
    let is_left = if record.is_made() {
        !cgroup::members(&record.agent, true)?.is_empty()
    } else {
        // Whoever is started there next is meant, too.
        record.agent.exists()
    };
    if is_left {
        return Ok(false);
    }
    end_dead(&record, run).map(|()| true)
}
