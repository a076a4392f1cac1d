//! Which programs took the run's CA, and for which hosts. Bounded: the command makes processes and names as it likes.

use std::collections::{HashMap, HashSet};

use crate::{audit::ProcessInfo, ca::program_of};

/// Most programs kept, and hosts of each; what comes later is not known.
const MOST: usize = 512;
const HOSTS: usize = 64;

/// An executable; of an interpreter each process by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(String, Option<u32>);

impl Key {
    pub(super) fn of(process: &ProcessInfo) -> Self {
        let interprets = program_of(process).is_some_and(|program| program.interprets);
        let exe = process.exe.clone().unwrap_or_else(|| process.comm.clone());
        Self(exe, interprets.then_some(process.pid))
    }
}

/// Where a program took the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trusted {
    Here,
    Elsewhere,
    Nowhere,
}

#[derive(Debug, Default)]
struct Seen {
    hosts: HashSet<String>,
    left: HashMap<String, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Known(HashMap<Key, Seen>);

impl Known {
    fn of(&mut self, key: &Key) -> Option<&mut Seen> {
        let room = self.0.len() < MOST || self.0.contains_key(key);
        room.then(|| self.0.entry(key.clone()).or_default())
    }

    /// It took the CA for `host`.
    pub(super) fn trusted(&mut self, key: &Key, host: &str) {
        if let Some(seen) = self.of(key).filter(|seen| seen.hosts.len() < HOSTS && !seen.hosts.contains(host))
        {
            seen.hosts.insert(host.to_owned());
        }
    }

    pub(super) fn look(&self, key: &Key, host: &str) -> Trusted {
        match self.0.get(key) {
            Some(seen) if seen.hosts.contains(host) => Trusted::Here,
            Some(seen) if !seen.hosts.is_empty() => Trusted::Elsewhere,
            _ => Trusted::Nowhere,
        }
    }

    /// It left `host` without a word; how often it did.
    pub(super) fn left(&mut self, key: &Key, host: &str) -> u64 {
        let Some(seen) = self.of(key) else { return 1 };
        if seen.left.len() >= HOSTS && !seen.left.contains_key(host) {
            return 1;
        }
        let count = seen.left.entry(host.to_owned()).or_default();
        *count += 1;
        *count
    }
}
