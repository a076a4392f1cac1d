//! Moves processes into the run's cgroup, and back.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    AttachError,
    procs::{self, Stat},
    record::{AttachedState, Stray},
};
use crate::{cgroup, policy::live::Process, session::state};

/// What is moved once is moved with all that it starts later: each round finds what was started before. So many rounds
/// are only needed by who forks to get away.
const ROUNDS: usize = 1000;

/// How long a process may take to end.
const ENDING: Duration = Duration::from_secs(1);
pub(super) const HEADLESS: &str =
    "a process whose first thread has ended while others go on: it cannot be moved as a whole";

/// Whom to move.
#[derive(Clone, Debug)]
pub(super) enum Moves {
    /// Nobody: they are there.
    None,
    /// A process and its descendants.
    Tree(Process),
    /// These alone.
    Alone(Vec<Process>),
}

/// What was moved.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) processes: usize,
    /// Those that were not in `home`.
    pub(super) strays: Vec<Stray>,
}

/// Moves them to `agent`, from `home` or wherever they are.
///
/// # Errors
///
/// When the first process is gone, the kernel does not let one in, or the last round still found somebody.
pub(super) fn gather(moves: &Moves, agent: &Path, home: &Path) -> Result<Moved, AttachError> {
    let mut moved = Moved::default();
    match moves {
        Moves::None => {}
        Moves::Alone(processes) => {
            for process in processes {
                let stat = Stat::read(process.tgid).filter(|stat| stat.started == process.started);
                let stat = stat.ok_or(AttachError::NoProcess(process.tgid))?;
                take(&stat, agent, home, &mut moved)?;
            }
        }
        Moves::Tree(root) => gather_tree(*root, agent, home, &mut moved)?,
    }
    Ok(moved)
}

fn gather_tree(root: Process, agent: &Path, home: &Path, moved: &mut Moved) -> Result<(), AttachError> {
    let first = procs::all();
    let begin = first.values().map(|stat| stat.started).max().unwrap_or_default();
    if first.get(&root.tgid).is_none_or(|stat| stat.started != root.started) {
        return Err(AttachError::NoProcess(root.tgid));
    }
    let mut table = first;
    // Sessions of the tree, and whether one of it may have left a child behind before it was moved.
    let (mut sessions, mut lost) = (HashSet::new(), false);
    let patience = Instant::now() + ENDING;
    for _ in 0..ROUNDS {
        let inside: HashSet<u32> = cgroup::members(agent, true)?.into_iter().collect();
        let mut outside: Vec<&Stat> =
            procs::tree(&table, root.tgid).iter().filter_map(|pid| table.get(pid)).collect();
        sessions.extend(outside.iter().map(|stat| stat.session));
        if lost {
            outside.extend(orphans(&table, begin, &sessions));
        }
        outside.retain(|stat| !inside.contains(&stat.pid) && is_movable(stat));
        // The kernel moves its other threads, and goes on to say that it is where it was: nobody would find it again.
        if let Some(headless) = outside.iter().find(|stat| stat.is_headless) {
            if Instant::now() > patience {
                return Err(AttachError::NotThat(headless.pid, HEADLESS));
            }
            // One that is about to end, most likely.
            thread::yield_now();
            table = procs::all();
            continue;
        }
        if outside.is_empty() {
            return Ok(());
        }
        for stat in outside {
            lost |= !take(stat, agent, home, moved)?;
        }
        table = procs::all();
        if table.get(&root.tgid).is_none_or(|stat| stat.started != root.started) {
            // What it left is found by what it shared; who has its number now is somebody else.
            lost = true;
            table.remove(&root.tgid);
        }
    }
    Err(AttachError::Restless(format!("pid {}", root.tgid)))
}

/// Processes that began meanwhile and whose parent has ended, as those do that an ended process of the tree left behind.
fn orphans<'a>(
    table: &'a HashMap<u32, Stat>,
    begin: u64,
    sessions: &HashSet<u32>,
) -> impl Iterator<Item = &'a Stat> {
    let adopted = |stat: &&Stat| stat.started >= begin && sessions.contains(&stat.session);
    table.values().filter(adopted).collect::<Vec<_>>().into_iter()
}

/// This process is outside for good: the caller's tree may hold who started it, never itself.
fn is_movable(stat: &Stat) -> bool {
    stat.pid != std::process::id() && !stat.is_zombie && !stat.is_kernel
}

/// `false`: it was gone.
fn take(stat: &Stat, agent: &Path, home: &Path, moved: &mut Moved) -> Result<bool, AttachError> {
    let from = cgroup::of_process(stat.pid).ok();
    if !cgroup::enter(agent, stat.pid)? {
        return Ok(false);
    }
    moved.processes += 1;
    if let Some(from) = from.filter(|from| from != home && !from.starts_with(agent)) {
        moved.strays.push(Stray { pid: stat.pid, started: stat.started, from });
    }
    Ok(true)
}

/// Moves everybody out of the run's cgroup, to where they are from.
///
/// # Errors
///
/// When the kernel does not let one in, another run is inside, or they do not come to rest.
pub(super) fn scatter(state: &AttachedState) -> Result<(), AttachError> {
    if let Some(run) = inner_run(&state.agent) {
        return Err(AttachError::Holds { path: state.agent.clone(), run });
    }
    for _ in 0..ROUNDS {
        let members = cgroup::members(&state.agent, true)?;
        if members.is_empty() {
            return Ok(());
        }
        // 0 is somebody of another pid namespace, and for the kernel whoever writes it.
        for pid in members.into_iter().filter(|pid| *pid != 0) {
            let started = Stat::read(pid).map(|stat| stat.started);
            let home = state.home_of(pid, started).map(existing);
            if let Some(home) = home {
                cgroup::enter(&home, pid)?;
            }
        }
    }
    Err(AttachError::Restless(state.agent.display().to_string()))
}

/// The cgroup, or the nearest above it that is left.
fn existing(dir: &Path) -> PathBuf {
    dir.ancestors().find(|dir| dir.join("cgroup.procs").exists()).unwrap_or(dir).to_owned()
}

/// The run whose directory `dir` is.
pub(super) fn run_of(dir: &Path) -> Option<String> {
    let name = dir.file_name()?.to_str()?.strip_prefix(cgroup::PREFIX)?;
    state::is_id(name).then(|| name.to_owned())
}

/// The name of another run below `dir`.
pub(super) fn inner_run(dir: &Path) -> Option<String> {
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if let Some(id) = run_of(&path).or_else(|| inner_run(&path)) {
            return Some(id);
        }
    }
    None
}
