//! From what is wanted to the steps: first what every root has, then HOME, workspaces, mounts and covers from the
//! outside in, last our own files in /etc and the run's CA.

use std::path::{Path, PathBuf};

use super::area::{Area, depth};
use super::facts::{Facts, Kind, Walk};
use super::guards::{self, Guard, Guarded, Shown};
use super::root::Root;
use super::wanted::{Home, SYSTEM, UserMount, Wanted};
use super::{KernelFs, RootfsError, RootfsPlan, Step, check, narrow, trust};

/// `mode` of directories everybody may write to, and of ours.
const SHARED: u32 = 0o1777;
pub(super) const PLAIN: u32 = 0o755;

/// Major and minor numbers (Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 7] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
];

/// Something that goes over a path of the new root.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) at: PathBuf,
    pub(super) dir: bool,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Bind {
        walk: Walk,
        writable: bool,
    },
    /// A part of what lies below, writable.
    Again {
        from: PathBuf,
    },
    Memory,
    Socket(Walk),
    Guard(Guarded),
    User {
        mount: UserMount,
    },
}

/// Everybody's, empty at the start, gone at the end. All that is in memory is less than memory together: what fills it is
/// nobody's when the kernel looks for a process to kill, and it would kill the machine's instead.
const SIZES: [(&str, u8); 3] = [("/dev/shm", 15), ("/tmp", 50), ("/var/tmp", 10)];
pub(super) const IN_MEMORY: [&str; 3] = [SIZES[0].0, SIZES[1].0, SIZES[2].0];
const HOME_SIZE: u8 = 15;

pub(super) fn plan(wanted: &Wanted, facts: &Facts) -> Result<RootfsPlan, Vec<RootfsError>> {
    let mut root = Root::new(facts);
    base(&mut root);
    let mut notes = Vec::new();
    let mut items = homes(wanted, facts, &root, &mut notes);
    let (users, mut errors) = check::mounts(wanted, facts);
    items.extend(users.into_iter().map(|(mount, dir)| Item {
        at: mount.target.clone(),
        dir,
        what: What::User { mount },
    }));
    let sockets = wanted.unix.iter().filter_map(|path| facts.walk(path));
    let sockets = sockets.filter(|walk| walk.kind == Kind::Other);
    items.extend(sockets.map(|walk| Item { at: walk.path.clone(), dir: false, what: What::Socket(walk) }));
    items.extend(guarded(wanted, facts, &root, &items));
    errors.extend(narrow::apply(&mut items, wanted, facts));
    // From the outside in: what is mounted later lies on top.
    items.sort_by_key(|item| depth(&item.at));
    for item in &items {
        errors.extend(emit(&mut root, item, wanted).err());
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    kernel_file_systems(&mut root, facts);
    wanted.etc.iter().for_each(|(path, content)| etc(&mut root, path, content, wanted));
    let checks = trust::apply(&mut root, wanted, &mut notes);
    let mut plan =
        RootfsPlan { steps: root.steps, checks, notes, areas: root.areas, ..RootfsPlan::default() };
    let walks = wanted.sockets.iter().filter_map(|path| facts.walk(path));
    plan.sockets = walks.flat_map(|walk| plan.inside(&walk.path)).collect();
    plan.sockets.sort_unstable();
    plan.sockets.dedup();
    Ok(plan)
}

fn base(root: &mut Root<'_>) {
    root.kernel("/proc", KernelFs::Proc);
    root.kernel("/sys", KernelFs::Sys);
    root.steps.push(Step::Kernel { at: "/sys/fs/cgroup".into(), what: KernelFs::Cgroup });
    root.dir(Path::new("/dev"), PLAIN);
    for (path, major, minor) in DEVICES {
        root.steps.push(Step::Device { at: path.into(), major, minor });
    }
    root.kernel("/dev/pts", KernelFs::Devpts);
    for (path, size) in SIZES {
        root.tmpfs(Path::new(path), SHARED, (0, 0), size);
    }
    root.dir(Path::new("/run"), PLAIN);
    root.dir(Path::new("/run/lock"), PLAIN);
    LINKS.iter().for_each(|(at, to)| root.link(Path::new(at), Path::new(to)));
    for path in SYSTEM {
        if let Some(walk) = root.facts.walk(Path::new(path)) {
            root.links(&walk);
            if walk.path != Path::new("/") && !root.shows(&walk.path, false) {
                // What is not there cannot be in the way: these are directories of ours.
                let _ = root.bind(&walk.path, &walk.path, walk.kind == Kind::Directory, false);
            }
        }
    }
}

/// HOME, workspaces, tool caches.
fn homes(wanted: &Wanted, facts: &Facts, root: &Root<'_>, notes: &mut Vec<String>) -> Vec<Item> {
    let memory = |path: &Path| Item { at: path.into(), dir: true, what: What::Memory };
    let mut items = Vec::new();
    if wanted.share_tmp
        && let Some(walk) = facts.walk(Path::new("/tmp"))
    {
        items.push(Item { at: walk.path.clone(), dir: true, what: What::Bind { walk, writable: true } });
    }
    match &wanted.home {
        Home::Memory(path) => items.push(memory(path)),
        Home::Host(path) => match facts.walk(path).filter(|walk| walk.kind == Kind::Directory) {
            Some(walk) => items.extend(own("HOME", walk, wanted, root, notes)),
            None if check::is_reserved(path) => {}
            None => {
                notes.push(format!("HOME {} does not exist: an empty one is in memory", path.display()));
                items.push(memory(path));
            }
        },
    }
    for path in &wanted.workspaces {
        if let Some(walk) = facts.walk(path).filter(|walk| walk.kind == Kind::Directory) {
            items.extend(own("the working directory", walk, wanted, root, notes));
        }
    }
    let usable = |walk: &Walk| walk.kind == Kind::Directory && !is_foreign(&walk.path, facts);
    let mut show = |path: &PathBuf, writable, own: bool| {
        let is_fit = |walk: &Walk| usable(walk) && (!own || walk.uid == wanted.uid);
        if let Some(walk) = facts.walk(path).filter(is_fit) {
            items.push(Item { at: walk.path.clone(), dir: true, what: What::Bind { walk, writable } });
        }
    };
    wanted.own.writable.iter().for_each(|path| show(path, true, true));
    wanted.own.read_only.iter().for_each(|path| show(path, false, true));
    wanted.tool_caches.iter().for_each(|path| show(path, false, false));
    items
}

/// Whether `path` holds more than one user's files, by its name or by what is mounted there (another /proc).
pub(super) fn is_foreign(path: &Path, facts: &Facts) -> bool {
    check::is_reserved(path) || facts.is_kernels(path)
}

/// A directory of the user's, writable; not what holds more than that, and not what is somebody else's in a
/// directory that everybody shares.
fn own(name: &str, walk: Walk, wanted: &Wanted, root: &Root<'_>, notes: &mut Vec<String>) -> Option<Item> {
    if is_foreign(&walk.path, root.facts) {
        let path = walk.path.display();
        notes.push(format!("{name} {path} holds more than the command's files: it is not shown (--mount)"));
        return None;
    }
    if root.shows(&walk.path, false) && walk.uid != wanted.uid {
        return None;
    }
    Some(Item { at: walk.path.clone(), dir: true, what: What::Bind { walk, writable: true } })
}

/// What lies over single paths of `items`, and of what every root has.
fn guarded(wanted: &Wanted, facts: &Facts, root: &Root<'_>, items: &[Item]) -> Vec<Item> {
    let of_item = |item: &Item| match &item.what {
        What::Bind { walk, writable } => Some((item.at.clone(), walk.path.clone(), *writable)),
        What::User { mount } => Some((item.at.clone(), mount.source.clone(), mount.writable)),
        _ => None,
    };
    let of_area = |area: &Area| Some((area.at.clone(), area.from.clone()?, area.writable));
    let shown = items.iter().filter_map(of_item).chain(root.areas.iter().filter_map(of_area));
    let shown: Vec<_> = shown.map(|(at, from, writable)| Shown { at, from, writable }).collect();
    // Also a workspace of which a variable says that settings are kept there.
    let asked_for = |at: &Path| items.iter().any(|item| item.at == at);
    let all = guards::guards(wanted, facts, &shown, asked_for).into_iter();
    all.map(|guarded| Item { at: guarded.at.clone(), dir: false, what: What::Guard(guarded) }).collect()
}

fn emit(root: &mut Root<'_>, item: &Item, wanted: &Wanted) -> Result<(), RootfsError> {
    match &item.what {
        What::Memory => root.tmpfs(&item.at, 0o700, (wanted.uid, wanted.gid), HOME_SIZE),
        What::Bind { walk, writable } => {
            root.links(walk);
            // A link that leads into a bound directory shows it; a read-only one on top of a writable one is meant.
            if !root.shows_exactly(&walk.path, *writable) {
                let _ = root.bind(&walk.path, &item.at, item.dir, *writable);
            }
        }
        What::Socket(walk) => {
            root.links(walk);
            if !root.shows_at(&walk.path, &item.at) {
                root.socket(&item.at).map_err(|_| RootfsError::NoPlaceForSocket(item.at.clone()))?;
            }
        }
        What::Again { from } => root.bind(from, &item.at, item.dir, true).map_err(|_| {
            RootfsError::AllowWrite { path: item.at.clone(), why: "is not shown to the command" }
        })?,
        // Where something else is shown meanwhile there is nothing to guard.
        What::Guard(guarded) if !root.shows_at(&guarded.host, &guarded.at) => {}
        What::Guard(Guarded { at, host, guard }) => match guard {
            Guard::Pin => root.pin(at, host, true),
            Guard::ReadOnly => root.pin(at, host, false),
            Guard::Cover { dir } => root.cover(at, *dir),
        },
        // A mount of its own could not be replaced, as programs do that write their settings.
        What::User { mount }
            if mount.source == mount.target && root.shows_exactly(&mount.target, mount.writable) => {}
        What::User { mount } => root
            .bind(&mount.source, &mount.target, item.dir, mount.writable)
            .map_err(|missing| missing.of(mount))?,
    }
    Ok(())
}

fn kernel_file_systems(root: &mut Root<'_>, facts: &Facts) {
    let foreign = facts.mounts.iter().filter(|mount| mount.is_kernels());
    for mount in foreign {
        let dir = facts.walk(&mount.at).is_none_or(|walk| walk.kind == Kind::Directory);
        let areas: Vec<Area> = root.areas.clone();
        for at in areas.iter().filter_map(|area| area.inside(&mount.at)) {
            root.cover(&at, dir);
        }
    }
}

/// A file of ours instead of the host's. What /etc does not have, it does not get: it is the host's directory.
fn etc(root: &mut Root<'_>, path: &Path, content: &[u8], wanted: &Wanted) {
    let links = root.facts.entries.get(path).map(|entry| entry.kind.clone());
    let walked = root.facts.walk(path).map(|walk| walk.path);
    // A link into /run, as resolved's: our /run has nothing there yet.
    let target = walked.or_else(|| match links {
        Some(Kind::Link(to)) => path.parent().map(|dir| check::lexically(&dir.join(to))),
        _ => None,
    });
    if let Some(target) = target.filter(|target| !wanted.mounts.iter().any(|mount| mount.target == *target)) {
        root.replace(&target, content);
    }
}
