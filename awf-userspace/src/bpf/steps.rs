//! Which step of a job a process belongs to: the child of the runner's Worker that it descends from.
//!
//! That a process descends from it is what the kernel says, at the time of its first event, and stays so when its parents
//! end. What the step is called is what that child's environment says (GITHUB_ACTION, which the Worker sets), or else its
//! arguments: read when its program begins, before it can do much about it, but a process may change both. So these are
//! labels for who reads a record, and nothing is decided by them.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    sync::{Mutex, PoisonError},
};

use crate::sys::proc_stat::Stat;

/// The Worker's own events.
const WORKER: &str = "runner";
/// Nothing is known of where the process comes from.
const UNKNOWN: &str = "unknown";
/// Marks the name of a step that is called as one of the above.
const STEP: &str = "step:";
/// Marks what a process says of itself that nobody can be seen to have started.
const CLAIMED: &str = "claimed:";
/// Characters kept of a name.
const NAME_MAX: usize = 64;
/// Generations looked at.
const DEPTH: usize = 64;
/// Processes remembered, and sessions, between two sweeps.
const KEPT: usize = 4096;
/// Bytes read of an environment: the kernel allows megabytes, the Worker's are at its beginning where nobody put others.
const ENVIRON_MAX: u64 = 256 * 1024;

/// The steps of one job.
#[derive(Debug)]
pub struct Steps {
    worker: (u32, u64),
    known: Mutex<Known>,
}

/// By number and start, and by session, with the start of the process that began it.
#[derive(Debug, Default)]
struct Known {
    processes: [HashMap<(u32, u64), String>; 2],
    sessions: [HashMap<u32, (Option<u64>, String)>; 2],
}

impl Steps {
    /// Of the job whose Worker is process `tgid`, started at `start` (clock ticks since boot).
    #[must_use]
    pub fn new(tgid: u32, start: u64) -> Self {
        Self { worker: (tgid, start), known: Mutex::default() }
    }

    /// The step of process `pid`, whose `stat` was read just now.
    #[must_use]
    pub fn of(&self, pid: u32, stat: &Stat) -> String {
        if (pid, stat.start) == self.worker {
            return WORKER.to_owned();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = known.of(pid, stat.start) {
            return step.clone();
        }
        let step = match self.origin(pid, stat, &known) {
            Origin::Known(step) => step,
            Origin::Root(root, start) => name_of(root).map_or(UNKNOWN.to_owned(), |step| {
                known.keep((root, start), &step);
                step
            }),
            // Not remembered: it may be told later by the one that began its session.
            Origin::Lost => return claim(pid),
        };
        known.keep((pid, stat.start), &step);
        if Stat::read(self.worker.0).is_none_or(|worker| worker.session != stat.session) {
            known.keep_session(stat.session, &step);
        }
        step
    }

    /// Goes up to the Worker, or to what is known already.
    fn origin(&self, pid: u32, stat: &Stat, known: &Known) -> Origin {
        let (mut pid, mut stat) = (pid, stat.clone());
        for _ in 0..DEPTH {
            // A number that is younger than the child is not its parent's any more.
            let parent = Stat::read(stat.ppid).filter(|parent| parent.start <= stat.start);
            let Some(parent) = parent.filter(|_| stat.ppid > 1) else { break };
            if (stat.ppid, parent.start) == self.worker {
                return Origin::Root(pid, stat.start);
            }
            if let Some(step) = known.of(stat.ppid, parent.start) {
                return Origin::Known(step.clone());
            }
            (pid, stat) = (stat.ppid, parent);
        }
        known.of_session(stat.session).map_or(Origin::Lost, Origin::Known)
    }
}

enum Origin {
    Known(String),
    /// The Worker's child, and its start.
    Root(u32, u64),
    Lost,
}

impl Known {
    fn of(&self, pid: u32, start: u64) -> Option<&String> {
        self.processes.iter().find_map(|half| half.get(&(pid, start)))
    }

    fn of_session(&self, session: u32) -> Option<String> {
        let (start, step) = self.sessions.iter().find_map(|half| half.get(&session))?;
        // While a session has members nobody else gets its number; with another leader it is another one.
        let leader = Stat::read(session).map(|stat| stat.start);
        (leader.is_none() || leader == *start).then(|| step.clone())
    }

    fn keep(&mut self, key: (u32, u64), step: &str) {
        keep(&mut self.processes, key, step.to_owned());
    }

    fn keep_session(&mut self, session: u32, step: &str) {
        let leader = Stat::read(session).map(|stat| stat.start);
        keep(&mut self.sessions, session, (leader, step.to_owned()));
    }
}

/// Remembers the newest, at most [`KEPT`].
fn keep<K: Eq + std::hash::Hash, V>(halves: &mut [HashMap<K, V>; 2], key: K, value: V) {
    if halves[0].len() >= KEPT / 2 && !halves[0].contains_key(&key) {
        halves.swap(0, 1);
        halves[0].clear();
    }
    halves[1].remove(&key);
    halves[0].insert(key, value);
}

/// What the step of the Worker's child `pid` is called; `None`: it has ended.
fn name_of(pid: u32) -> Option<String> {
    let action = variable(pid, b"GITHUB_ACTION=").filter(|name| !name.is_empty());
    let name = action.or_else(|| script(pid))?;
    Some(if [WORKER, UNKNOWN].contains(&name.as_str()) { format!("{STEP}{name}") } else { name })
}

/// A hook has no action: the file that its shell was given.
fn script(pid: u32) -> Option<String> {
    let cmdline = read(pid, "cmdline")?;
    let args: Vec<&[u8]> = cmdline.split(|byte| *byte == 0).filter(|arg| !arg.is_empty()).collect();
    let script = args.iter().skip(1).find(|arg| arg.contains(&b'/')).or(args.first())?;
    Some(plain(script.rsplit(|byte| *byte == b'/').next()?))
}

fn claim(pid: u32) -> String {
    let claimed = variable(pid, b"GITHUB_ACTION=").filter(|name| !name.is_empty());
    claimed.map_or(UNKNOWN.to_owned(), |name| format!("{CLAIMED}{name}"))
}

fn variable(pid: u32, name: &[u8]) -> Option<String> {
    let environ = read(pid, "environ")?;
    environ.split(|byte| *byte == 0).find_map(|one| one.strip_prefix(name)).map(plain)
}

fn read(pid: u32, file: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{file}")).ok()?.take(ENVIRON_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The characters that the names of actions consist of; any other is a question mark, also `:`, by which our own words
/// are told from theirs.
fn plain(name: &[u8]) -> String {
    let keep = |byte: &u8| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(byte) { char::from(*byte) } else { '?' }
    };
    name.iter().take(NAME_MAX).map(keep).collect()
}

#[cfg(test)]
mod tests;
