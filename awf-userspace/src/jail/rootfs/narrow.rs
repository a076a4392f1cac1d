//! `filesystem.allow_write`: of what CMD could write to, only these places.

use std::path::{Path, PathBuf};

use super::RootfsError;
use super::build::{IN_MEMORY, Item, What};
use super::facts::{Facts, Kind};
use super::guards::Guard;
use super::wanted::Wanted;

/// Takes the right to write from what of the host is not at or below one of the listed paths, and gives back what
/// lies deeper. The tmpfs of our own stay as they are: nothing of them outlives the run.
pub(super) fn apply(items: &mut Vec<Item>, wanted: &Wanted, facts: &Facts) -> Vec<RootfsError> {
    let Some(allowed) = &wanted.allow_write else { return Vec::new() };
    let (mut more, mut errors) = (Vec::new(), Vec::new());
    for path in allowed {
        match place(path, items, facts) {
            Ok(item) => more.extend(item),
            Err(why) => errors.push(RootfsError::AllowWrite { path: path.clone(), why }),
        }
    }
    for item in items.iter_mut() {
        let listed = allowed.iter().any(|path| item.at.starts_with(path));
        match &mut item.what {
            What::Bind { writable, .. } => *writable &= listed,
            What::User { mount } => mount.writable &= listed,
            _ => {}
        }
    }
    // Last: of the same depth, they lie on top.
    items.append(&mut more);
    errors
}

/// What to put at `path`; nothing where it is writable by itself.
fn place(path: &Path, items: &[Item], facts: &Facts) -> Result<Option<Item>, &'static str> {
    const NOWHERE: &str =
        "is not in what the command could write to without it: HOME, the working directory, `rw` mounts";
    let over = items.iter().filter(|item| path.starts_with(&item.at) && !is_kept(item));
    let Some(item) = over.max_by_key(|item| item.at.components().count()) else {
        return if IN_MEMORY.iter().any(|dir| path == *dir) { Ok(None) } else { Err(NOWHERE) };
    };
    let source = match &item.what {
        What::Bind { walk, writable: true } => &walk.path,
        What::User { mount } if mount.writable => &mount.source,
        What::Memory => return Ok(None),
        What::Guard(_) => return Err("is a place of credentials; --mount shows one"),
        _ => return Err(NOWHERE),
    };
    let rest = path.strip_prefix(&item.at).map_err(|_| NOWHERE)?;
    if rest.as_os_str().is_empty() {
        return Ok(None);
    }
    let from = source.join(rest);
    let walk = facts.walk(&from).ok_or("does not exist")?;
    if walk.path != from {
        return Err("is or goes through a symbolic link; write where it leads to");
    }
    if walk.kind == Kind::Other {
        return Err("is neither a file nor a directory");
    }
    let (at, dir) = (path.to_owned(), walk.kind == Kind::Directory);
    Ok(Some(Item { at, dir, what: What::Again { from } }))
}

/// What is only kept in place or read-only by default may be asked for by name.
fn is_kept(item: &Item) -> bool {
    matches!(&item.what, What::Guard(guarded) if matches!(guarded.guard, Guard::Pin | Guard::ReadOnly))
}

/// What must be looked at on the host for `path`, as CMD sees it.
pub(super) fn sources(path: &Path, wanted: &Wanted) -> Vec<PathBuf> {
    let through = wanted.mounts.iter().filter_map(|mount| {
        let rest = path.strip_prefix(&mount.target).ok()?;
        Some(mount.source.join(rest))
    });
    through.chain([path.to_owned()]).collect()
}
