//! Whether what was asked for by `--mount` can be shown, and what must never be shown whole.

use std::path::{Component, Path, PathBuf};

use super::RootfsError;
use super::facts::{Facts, Kind};
use super::wanted::{SYSTEM, UserMount, Wanted};

/// The kernel's own trees: the new root has its own ones.
pub(super) const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
/// What awf-bpf keeps outside, and makes inside.
const STATE: &str = "/run/awf-bpf";

/// Whether `path` holds more than one user's files: the root, the trees of system and kernel and what is above
/// them, the homes of all, what everybody shares.
pub(super) fn is_reserved(path: &Path) -> bool {
    let shared = ["/run", "/tmp", "/var/tmp", "/home", "/boot", "/root"];
    let inside = KERNEL.iter().chain(&["/run"]).any(|tree| path.starts_with(tree));
    inside || SYSTEM.iter().chain(&shared).any(|tree| Path::new(tree).starts_with(path))
}

/// `..` and `.` taken out by their names alone, for paths of which nothing exists.
pub(super) fn lexically(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

/// The mounts that can be made, each with whether it is a directory, and what is wrong with the others.
pub(super) fn mounts(wanted: &Wanted, facts: &Facts) -> (Vec<(UserMount, bool)>, Vec<RootfsError>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for mount in &wanted.mounts {
        match check(mount, wanted, facts) {
            Ok(dir) => good.push((mount.clone(), dir)),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

fn check(mount: &UserMount, wanted: &Wanted, facts: &Facts) -> Result<bool, RootfsError> {
    let UserMount { source, target, .. } = mount;
    let walk = facts.walk(source).ok_or_else(|| RootfsError::NoSource(mount.clone()))?;
    if let Some((component, _)) = walk.links.first() {
        let (component, instead) = (component.clone(), walk.path.clone());
        return Err(RootfsError::SourceLink { mount: mount.clone(), component, instead });
    }
    if facts.is_kernels(source) {
        return Err(RootfsError::Forbidden { mount: mount.clone(), path: source.clone() });
    }
    let root = Path::new("/");
    for path in [source, target] {
        let kernels = KERNEL.iter().chain(&[STATE]).any(|tree| path.starts_with(tree));
        if kernels || path == root || path == Path::new("/run") {
            return Err(RootfsError::Forbidden { mount: mount.clone(), path: path.clone() });
        }
    }
    if walk.kind == Kind::Other {
        return Err(RootfsError::SourceKind(mount.clone()));
    }
    if source != target
        && let Some(hidden) = hidden(target, wanted, facts)
    {
        return Err(RootfsError::Shadows { mount: mount.clone(), hidden });
    }
    Ok(walk.kind == Kind::Directory)
}

/// What is to be seen at or below `target` and would not be.
fn hidden(target: &Path, wanted: &Wanted, facts: &Facts) -> Option<PathBuf> {
    let system = SYSTEM.iter().map(PathBuf::from).filter(|path| facts.walk(path).is_some());
    let own = wanted.workspaces.iter().chain(&wanted.tool_caches).cloned();
    let all = system.chain([wanted.home.path().to_owned()]).chain(own);
    all.into_iter().find(|path| path.starts_with(target))
}
