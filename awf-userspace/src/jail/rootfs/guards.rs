//! What lies over single paths of the directories that are shown: covers on credentials, and read-only mounts on what
//! programs outside run. In a writable directory each is worth what the way to it is worth: who renames `~/.config`, or
//! replaces a link to it, finds `gh` in it uncovered in the next run. So every directory and link on the way is pinned: a
//! mount of itself upon itself, which cannot be renamed, replaced or removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::area::join;
use super::facts::{Facts, Kind, Walk};
use super::wanted::{Home, Wanted};
use super::{secrets, startup};

/// A directory or file of the host's as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) at: PathBuf,
    pub(super) from: PathBuf,
    pub(super) writable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guard {
    /// Stays where and what it is; its content may change.
    Pin,
    ReadOnly,
    Cover {
        dir: bool,
    },
}

/// One guard: where, and what of the host is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Guarded {
    pub(super) at: PathBuf,
    pub(super) host: PathBuf,
    pub(super) guard: Guard,
}

/// The guards of all that `shown` shows. What was asked for by name has none.
pub(super) fn guards(
    wanted: &Wanted,
    facts: &Facts,
    shown: &[Shown],
    asked_for: impl Fn(&Path) -> bool,
) -> BTreeSet<Guarded> {
    let mut found = BTreeSet::new();
    let secrets = secrets::of(wanted).into_iter().map(|path| (path, true));
    let kept = kept(wanted).into_iter().map(|path| (path, false));
    for (path, secret) in secrets.chain(kept) {
        let Some(walk) = facts.walk(&path) else { continue };
        let guard = match &walk.kind {
            kind if secret => Guard::Cover { dir: *kind == Kind::Directory },
            // Neither can be bound, and nobody starts by reading one.
            Kind::Other => Guard::Cover { dir: false },
            _ => Guard::ReadOnly,
        };
        for shown in shown.iter().filter(|shown| secret || shown.writable) {
            for (at, host) in seen(facts, &walk.path, shown) {
                if !asked_for(&at) {
                    pin_way(&mut found, facts, &walk, shown, &host);
                    found.insert(Guarded { at, host, guard });
                }
            }
        }
    }
    found
}

/// What programs outside use of the user's own, and must find as it was.
fn kept(wanted: &Wanted) -> Vec<PathBuf> {
    let mut all = wanted.keep.clone();
    if let Home::Host(home) = &wanted.home {
        all.extend(startup::startup_files(home, &wanted.config_dirs));
    }
    all
}

/// Where the host's `path` is seen in `shown`, and by which path of the host: its own, or that of another mount.
fn seen(facts: &Facts, path: &Path, shown: &Shown) -> Vec<(PathBuf, PathBuf)> {
    let inside = |host: PathBuf| {
        let rest = host.strip_prefix(&shown.from).ok().filter(|rest| !rest.as_os_str().is_empty())?;
        Some((join(&shown.at, rest), host))
    };
    facts.names_of(path).into_iter().filter_map(inside).collect()
}

/// Pins the directories above `host` and the links that led to it, as far as they can be written to.
fn pin_way(found: &mut BTreeSet<Guarded>, facts: &Facts, walk: &Walk, shown: &Shown, host: &Path) {
    if !shown.writable {
        return;
    }
    let mut pin = |host: &Path| {
        for above in host.ancestors().take_while(|path| *path != shown.from && path.starts_with(&shown.from))
        {
            let at = join(&shown.at, above.strip_prefix(&shown.from).expect("just compared"));
            found.insert(Guarded { at, host: above.into(), guard: Guard::Pin });
        }
    };
    host.parent().map(&mut pin);
    let links = walk.links.iter().flat_map(|(link, _)| facts.names_of(link));
    links.filter(|link| link.starts_with(&shown.from)).for_each(|link| pin(&link));
}
