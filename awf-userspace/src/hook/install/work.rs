//! Makes a plan true, and undoes what is on record.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    InstallError, disk, env_file, files,
    piece::{Access, Change, Piece, Role, State},
    plan,
    record::Record,
};
use crate::hook::tools;

/// What `pieces` change, given what is on record: of this runner, and of others that share files with it.
///
/// # Errors
///
/// Names a path where something is that is not ours, or a directory that others can write.
pub(super) fn changes(
    pieces: Vec<Piece>,
    old: Option<&Record>,
    others: &[Record],
) -> Result<Vec<Change>, InstallError> {
    let mut all = Vec::new();
    for Piece { role, path, want } in pieces {
        let now = observe(&path)?;
        let known = old.into_iter().chain(others).find_map(|record| record.change(&path));
        if role == Role::Directory {
            check_directory(&path, &now)?;
        }
        let change = |before: &State, after, earlier| Change {
            role,
            path: path.clone(),
            before: before.clone(),
            after,
            earlier,
        };
        match known {
            Some(known) if role.keeps_what_is_there() && now != State::Absent => all.push(known.clone()),
            Some(known) => {
                let earlier = Some(known.after.clone()).filter(|earlier| *earlier != want);
                all.push(change(&known.before, want, earlier));
            }
            None if now == State::Absent || role.edits() => all.push(change(&now, want, None)),
            None if role.keeps_what_is_there() => {}
            // Of an installation whose record was lost.
            None if now == want => all.push(change(&State::Absent, want, None)),
            None => return Err(InstallError::Occupied(path)),
        }
    }
    Ok(all)
}

/// What is in a directory that others can write is theirs.
fn check_directory(path: &Path, now: &State) -> Result<(), InstallError> {
    match now {
        State::Absent | State::Directory(Access { uid: 0, mode: 0..=0o755, .. }) => Ok(()),
        State::Directory(access) if access.uid == 0 && access.mode & 0o022 == 0 => Ok(()),
        _ => Err(InstallError::NotRoots(path.to_owned())),
    }
}

/// Whether `change` is still to be made.
pub(super) fn is_due(change: &Change) -> Result<bool, InstallError> {
    let now = observe(&change.path)?;
    Ok(if change.role.keeps_what_is_there() { now == State::Absent } else { now != change.after })
}

/// Makes one change.
pub(super) fn make(change: &Change) -> Result<(), InstallError> {
    let failed = |source| InstallError::Path { path: change.path.clone(), source };
    let check = |new: &Path| match change.role {
        Role::Sudoers => {
            let args = ["-cqf".as_ref(), new.as_os_str()];
            tools::run("visudo", &args).map(drop).map_err(io::Error::other)
        }
        _ => Ok(()),
    };
    disk::put(&change.path, &change.after, check).map_err(failed)
}

/// What became of a change that was to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undone {
    /// It is as it was before.
    Yes,
    /// It never was made, or is undone already.
    Before,
    /// Another runner of this machine needs it.
    Shared,
    /// Somebody changed it since.
    Changed,
    /// Somebody put something in it.
    NotEmpty,
}

/// Undoes one change, unless somebody else has a say in it.
///
/// # Errors
///
/// When it cannot be undone.
pub(super) fn undo(change: &Change, others: &[Record]) -> Result<Undone, InstallError> {
    let failed = |source| InstallError::Path { path: change.path.clone(), source };
    if others.iter().any(|other| other.change(&change.path).is_some()) {
        return Ok(Undone::Shared);
    }
    disk::remove_temporary(&change.path).map_err(failed)?;
    let now = match disk::observe(&change.path) {
        // With the directory above it all is gone.
        Err(e) if e.kind() == io::ErrorKind::NotFound => State::Absent,
        other => other.map_err(failed)?,
    };
    if now == change.before {
        return Ok(Undone::Before);
    }
    let target = match change.role {
        Role::Env => match env_without_hooks(change, &now) {
            Some(target) => target,
            None => return Ok(Undone::Changed),
        },
        Role::Directory if now != State::Absent => change.before.clone(),
        _ if change.made(&now) => change.before.clone(),
        _ => return Ok(Undone::Changed),
    };
    match disk::put(&change.path, &target, |_| Ok(())) {
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(Undone::NotEmpty),
        Err(e) => Err(failed(e)),
        Ok(()) => Ok(Undone::Yes),
    }
}

/// The runner's `.env` as it was, or, if somebody changed it since, as it is now without our lines.
fn env_without_hooks(change: &Change, now: &State) -> Option<State> {
    let State::File { access, bytes } = now else { return None };
    let (was, own) = match &change.before {
        State::File { access, bytes } => (bytes.as_slice(), Some(*access)),
        _ => (&[][..], None),
    };
    let untouched = env_file::with(was, plan::hooks()).is_ok_and(|with| with == *bytes);
    let left = if untouched { was.to_vec() } else { env_file::without(bytes, plan::hooks())? };
    // Ours only if we gave it away.
    let given = matches!(&change.after, State::File { access: after, .. } if after == access);
    match own {
        None if left.is_empty() => Some(State::Absent),
        own => Some(State::file(own.filter(|_| given).unwrap_or(*access), left)),
    }
}

/// The directories of the records and of all, if they are empty and were not there before.
pub(super) fn remove_directories(record: &Record) {
    let _ = std::fs::remove_dir(super::record::DIR);
    let etc = record.change(Path::new(files::ETC));
    if etc.is_some_and(|change| change.before == State::Absent) {
        let _ = std::fs::remove_dir(files::ETC);
    }
}

pub(super) fn observe(path: &Path) -> Result<State, InstallError> {
    match disk::observe(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(State::Absent),
        other => other.map_err(|source| InstallError::Path { path: path.to_owned(), source }),
    }
}

/// Where the records are, made before the first of them.
pub(super) fn make_record_directory() -> Result<(), InstallError> {
    for (path, mode) in [(files::ETC, 0o755), (super::record::DIR, 0o700)] {
        let path = PathBuf::from(path);
        if observe(&path)? == State::Absent {
            let made = disk::put(&path, &State::Directory(Access::root(mode)), |_| Ok(()));
            made.map_err(|source| InstallError::Path { path, source })?;
        }
    }
    Ok(())
}
