//! Who looks for runs: for all of them, or for one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{DeadRun, STATE, StateError, UNBORN, attached, check_format, dead_run, is_id};

/// What is in the state directory.
#[derive(Debug, Default)]
pub struct Found {
    pub dead: Vec<DeadRun>,
    pub living: usize,
    /// Of formats that this awf-bpf does not know.
    pub unknown: Vec<String>,
}

/// Looks for runs whose owner is gone.
///
/// # Errors
///
/// When the state directory cannot be read; that it does not exist is not an error.
pub fn find() -> Result<Found, StateError> {
    let mut found = Found::default();
    let entries = match fs::read_dir(STATE) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.map_err(|source| StateError::Path { path: STATE.into(), source })?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (id, unborn) = match name.strip_prefix(UNBORN) {
            Some(id) => (id, true),
            None => (name.as_str(), false),
        };
        if !is_id(id) {
            continue;
        }
        if check_format(&entry.path()).is_err() {
            found.unknown.push(id.to_owned());
            continue;
        }
        match dead_run(entry.path(), id, unborn) {
            Some(run) => found.dead.push(run),
            None => found.living += 1,
        }
    }
    Ok(found)
}

/// A run that was looked for by its name.
#[derive(Debug)]
pub enum Life {
    /// In this directory.
    Living(PathBuf),
    Dead(DeadRun),
}

impl Life {
    /// As [`DeadRun::attached`].
    ///
    /// # Errors
    ///
    /// As [`DeadRun::attached`].
    pub fn attached(&self) -> Result<Option<Vec<u8>>, StateError> {
        match self {
            Self::Living(dir) => attached(dir),
            Self::Dead(run) => run.attached(),
        }
    }
}

/// Looks for run `id`; `None`: there is none.
///
/// # Errors
///
/// When it is of a format that is not known.
pub fn look(id: &str) -> Result<Option<Life>, StateError> {
    let dir = Path::new(STATE).join(id);
    if !is_id(id) || !dir.is_dir() {
        return Ok(None);
    }
    check_format(&dir)?;
    Ok(Some(dead_run(dir.clone(), id, false).map_or(Life::Living(dir), Life::Dead)))
}

/// The names of all runs, dead ones too.
///
/// # Errors
///
/// When the state directory cannot be read; that it does not exist is not an error.
pub fn ids() -> Result<Vec<String>, StateError> {
    let entries = match fs::read_dir(STATE) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| StateError::Path { path: STATE.into(), source })?,
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut ids: Vec<_> = names.filter(|name| is_id(name)).collect();
    ids.sort_unstable();
    Ok(ids)
}
