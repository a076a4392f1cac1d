//! What /proc says of processes: who began whom, and when.

use std::{collections::HashMap, fs, path::PathBuf};

use crate::policy::live::Process;

/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// The part of /proc/PID/stat that is needed (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) comm: String,
    pub(super) parent: u32,
    pub(super) session: u32,
    pub(super) is_kernel: bool,
    pub(super) is_zombie: bool,
    /// Its first thread has ended, and others live: it looks like a zombie, and is none.
    pub(super) is_headless: bool,
    /// Clock ticks since boot.
    pub(super) started: u64,
}

impl Stat {
    /// `None`: there is no such process.
    pub(super) fn read(pid: u32) -> Option<Self> {
        parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    pub(super) fn process(&self) -> Process {
        Process { tgid: self.pid, started: self.started }
    }
}

fn parse(text: &str) -> Option<Stat> {
    // The name may hold blanks and parentheses.
    let (pid, rest) = text.split_once(" (")?;
    let (comm, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let has_ended = matches!(*fields.first()?, "Z" | "X");
    let others = fields.get(17)?.parse::<u32>().ok()? > 1;
    Some(Stat {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        is_zombie: has_ended && !others,
        is_headless: has_ended && others,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        is_kernel: fields.get(6)?.parse::<u32>().ok()? & KERNEL_THREAD != 0,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Every process that can be seen, at about one moment.
pub(super) fn all() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect()
}

/// `root` and all below it in `table`, parents before children.
pub(super) fn tree(table: &HashMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for stat in table.values() {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let next = children.remove(&found[at]).unwrap_or_default();
        found.extend(next.into_iter().filter(|pid| table.contains_key(pid)));
        at += 1;
    }
    found
}

/// The network namespace of a process, as the kernel names it; `None`: it is gone.
pub(super) fn network(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_and_parentheses_are_read() {
        let text = "42 (a) b ( c) S 7 42 40 0 -1 2097216 1 2 3 4 5 6 7 8 9 10 11 0 123456 9 9";
        let stat = parse(text).unwrap();
        assert_eq!((stat.pid, stat.comm.as_str(), stat.parent, stat.session), (42, "a) b ( c", 7, 40));
        assert_eq!((stat.started, stat.is_kernel, stat.is_zombie), (123_456, true, false));
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn this_process_is_below_its_parent() {
        let own = std::process::id();
        let table = all();
        let parent = table[&own].parent;
        let found = tree(&table, parent);
        assert_eq!(found[0], parent);
        assert!(found.contains(&own));
        assert!(!table[&own].is_kernel && table[&own] == Stat::read(own).unwrap());
    }
}
