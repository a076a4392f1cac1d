//! /proc/PID/stat: who a process descends from, and what tells it from a later one of the same number.

use std::fs;

/// What is needed of it (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Of the process's own choice.
    pub comm: String,
    pub ppid: u32,
    /// The process that began its session.
    pub session: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// `None`: there is no such process.
    #[must_use]
    pub fn read(pid: u32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    /// The name is in parentheses and may itself hold any byte: the last `)` ends it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.rsplit_once(')')?;
        let comm = head.split_once('(')?.1.to_owned();
        // From the third field on.
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        let start = fields.get(19)?.parse().ok()?;
        Some(Self { comm, ppid: number(1)?, session: number(3)?, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let text = "42 (a) S 1 (b) R 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 100 200";
        let stat = Stat { comm: "a) S 1 (b".into(), ppid: 7, session: 9, start: 12345 };
        assert_eq!(Stat::parse(text), Some(stat));
        for odd in ["", "1 (x) S", "1 (x) S 1 1", "1 x S 1"] {
            assert_eq!(Stat::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn this_process_has_a_parent_and_a_start() {
        let own = Stat::read(std::process::id()).unwrap();
        assert_eq!(own.ppid, std::os::unix::process::parent_id());
        assert!(own.start > 0 && Stat::read(u32::MAX).is_none());
    }
}
