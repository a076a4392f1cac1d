//! Hosts and ports, each with the reason: how often, and by which programs.

use std::collections::{BTreeSet, HashMap};

use super::{host, place, program, times};
use crate::{
    audit::{EventKind, Record},
    policy::Reason,
};

/// Most of them kept; a command that dials a million names must not fill our memory.
pub(super) const KEPT_MAX: usize = 1000;
/// Most programs named for one.
const PROGRAMS_MAX: usize = 8;
/// Most processes whose look-ups of one name are told apart; those of others are each counted.
pub(super) const LOOKERS_MAX: usize = 64;
/// Most printed.
pub(super) const SHOWN_MAX: usize = 20;

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    pub(super) rows: HashMap<Target, Row>,
    /// Records of those beyond [`KEPT_MAX`].
    pub(super) beyond: u64,
}

impl Targets {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds one record up; how many attempts that makes.
    pub(super) fn add(&mut self, record: &Record) -> u64 {
        let times = record.count.unwrap_or(1);
        let target = Target { host: host(record), port: record.port, reason: record.reason };
        if self.rows.len() >= KEPT_MAX && !self.rows.contains_key(&target) {
            self.beyond += times;
            return times;
        }
        let row = self.rows.entry(target).or_default();
        let times = if record.event == EventKind::Dns { row.new_lookups(record, times) } else { times };
        if times == 0 {
            return 0;
        }
        row.count += times;
        if let Some(program) = program(record).filter(|_| row.programs.len() < PROGRAMS_MAX) {
            row.programs.insert(program);
        }
        if row.allow_with.is_none() {
            row.allow_with.clone_from(&record.allow_with);
        }
        times
    }

    /// Lines, of which each says `what` it is about.
    pub(super) fn text(&self, what: &str) -> Vec<String> {
        let mut lines: Vec<_> = self.shown().map(|(target, row)| line(what, target, row)).collect();
        let hidden = self.rows.len().saturating_sub(SHOWN_MAX);
        if hidden > 0 {
            lines.push(format!("  - and {hidden} more targets, see the audit record"));
        }
        if self.beyond > 0 {
            lines.push(format!("  - and {} of targets that are not listed", times(self.beyond)));
        }
        lines
    }

    /// What would allow those that are shown.
    pub(super) fn flags(&self) -> impl Iterator<Item = &str> {
        self.shown().filter_map(|(_, row)| row.allow_with.as_deref())
    }

    fn shown(&self) -> impl Iterator<Item = (&Target, &Row)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|(a, ra), (b, rb)| rb.count.cmp(&ra.count).then_with(|| a.cmp(b)));
        rows.into_iter().take(SHOWN_MAX)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Target {
    host: String,
    port: Option<u16>,
    reason: Reason,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    count: u64,
    programs: BTreeSet<String>,
    allow_with: Option<String>,
    /// How often each process (0: not known) asked for each kind of record; see [`Row::new_lookups`].
    pub(super) lookups: HashMap<u32, [u64; KINDS]>,
}

impl Row {
    /// How many look-ups a record of `times` equal queries adds. One getaddrinfo(3) asks for IPv4 and IPv6 addresses, a
    /// browser also for the service: one look-up to its user, who is told of one. So a process has looked a name up as
    /// often as it asked for the kind of record it asked for most.
    fn new_lookups(&mut self, query: &Record, times: u64) -> u64 {
        let pid = query.process.as_ref().map_or(0, |process| process.pid);
        if self.lookups.len() >= LOOKERS_MAX && !self.lookups.contains_key(&pid) {
            return times;
        }
        let kinds = self.lookups.entry(pid).or_default();
        let before = kinds.iter().copied().max().unwrap_or(0);
        let kind = &mut kinds[kind(query)];
        *kind = kind.saturating_add(times);
        (*kind).saturating_sub(before)
    }
}

/// The kinds of records told apart; the last is all others.
const KINDS: usize = 4;

fn kind(query: &Record) -> usize {
    match query.method.as_deref() {
        Some("A") => 0,
        Some("AAAA") => 1,
        Some("HTTPS" | "SVCB") => 2,
        _ => 3,
    }
}

fn line(what: &str, target: &Target, row: &Row) -> String {
    let place = place(&target.host, target.port);
    let by = match row.programs.is_empty() {
        true => String::new(),
        false => format!(" by {}", row.programs.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    let reason = target.reason.as_str().replace('_', " ");
    format!("  - {what}: {place} ({reason}), {}{by}", times(row.count))
}
